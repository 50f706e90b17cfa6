//! Reading a task's fields, and collecting everything that is wrong with them before anything is sent.
//!
//! In go the job's variables; out come typed values and one message with all faults, each naming the field, what was
//! found and what to write instead. What was found is shown only where it cannot be a secret.

use std::collections::HashSet;
use std::time::Duration;

use jiff::{SignedDuration, Span, SpanRelativeTo};
use serde_json::{Map, Value};

use crate::job::describe;
use crate::microsoft::dataverse::Guid;
use crate::outcome::JobError;
use crate::secrets::Bound;
use crate::spelling::nearest;

/// Texts longer than this are described, not shown.
const LONGEST_SHOWN: usize = 60;

/// The fields of a task at one level: the variables themselves, or an object among them.
pub struct Fields<'a> {
    /// `None` where the object is missing: it has no members then.
    object: Option<&'a Map<String, Value>>,
    /// Path of the object, with a dot at its end unless empty.
    prefix: &'static str,
    secret_paths: HashSet<&'a str>,
    faults: Vec<String>,
}

impl<'a> Fields<'a> {
    /// The variables of a job.
    pub fn of(input: &'a Bound) -> Self {
        Self {
            object: Some(&input.variables),
            prefix: "",
            secret_paths: input.used.iter().map(|used| used.path.as_str()).collect(),
            faults: Vec::new(),
        }
    }

    /// Reads the members of the object in field `name`; its faults are collected here. A field without an object has no
    /// members.
    pub fn inside<T>(&mut self, name: &str, prefix: &'static str, read: impl FnOnce(&mut Fields<'a>) -> T) -> T {
        let object = match self.value(name) {
            Some(Value::Object(object)) => Some(object),
            None => None,
            Some(other) => {
                self.fault(name, format!("must be an object, but is {}", describe(other)));
                None
            }
        };
        let mut inner = Fields {
            object,
            prefix,
            secret_paths: std::mem::take(&mut self.secret_paths),
            faults: std::mem::take(&mut self.faults),
        };
        let value = read(&mut inner);
        self.secret_paths = inner.secret_paths;
        self.faults = inner.faults;
        value
    }

    /// The result of reading, or everything that was wrong.
    ///
    /// # Errors
    /// An incident that lists all faults.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, JobError> {
        match value {
            Some(value) if self.faults.is_empty() => Ok(value),
            _ => Err(JobError::input(match self.faults.as_slice() {
                [] => "This task's fields cannot be read.".to_owned(),
                [fault] => format!("Nothing was sent. {fault}"),
                faults => format!(
                    "Nothing was sent. {} fields must be corrected:\n- {}",
                    faults.len(),
                    faults.join("\n- ")
                ),
            })),
        }
    }

    /// Notes a fault of a field.
    pub fn fault(&mut self, name: &str, problem: impl std::fmt::Display) {
        self.faults.push(format!("`{}{name}` {problem}.", self.prefix));
    }

    /// What stands in the field; null and blank texts count as nothing, since that is what forms leave behind.
    pub fn value(&self, name: &str) -> Option<&'a Value> {
        match self.object.and_then(|object| object.get(name)) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if text.trim().is_empty() => None,
            Some(value) => Some(value),
        }
    }

    /// A text. Numbers are taken as they are written.
    pub fn text(&mut self, name: &str) -> Option<String> {
        match self.value(name)? {
            Value::String(text) => Some(text.trim().to_owned()),
            Value::Number(number) => Some(number.to_string()),
            other => {
                self.fault(name, format!("must be a text, but is {}", describe(other)));
                None
            }
        }
    }

    /// A text that must be there; `example` says what to write.
    pub fn required_text(&mut self, name: &str, example: &str) -> Option<String> {
        if self.value(name).is_none() {
            self.fault(name, format!("is missing: write {example}"));
        }
        self.text(name)
    }

    /// One of several words, either case.
    pub fn choice<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        let value = self.value(name)?;
        let word = match value {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            other => {
                let problem = format!("must be {}, but is {}", listed(words), describe(other));
                self.fault(name, problem);
                return None;
            }
        };
        if let Some((_, chosen)) = words.iter().find(|(known, _)| known.eq_ignore_ascii_case(&word)) {
            return Some(*chosen);
        }
        let nearest = nearest(&word, words.iter().map(|(known, _)| *known))
            .map(|known| format!(" (did you mean `{known}`?)"))
            .unwrap_or_default();
        let problem = format!("is {}, but must be {}{nearest}", self.shown(name, &word), listed(words));
        self.fault(name, problem);
        None
    }

    /// One of several words that must be there.
    pub fn required_choice<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        if self.value(name).is_none() {
            self.fault(name, format!("is missing: write {}", listed(words)));
        }
        self.choice(name, words)
    }

    /// A whole number within bounds, as a number or as a text.
    pub fn integer(&mut self, name: &str, bounds: std::ops::RangeInclusive<u64>, unit: &str) -> Option<u64> {
        let value = self.value(name)?;
        let number = match value {
            Value::Number(number) => number.as_u64().or_else(|| whole(number.as_f64()?)),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        if let Some(number) = number.filter(|number| bounds.contains(number)) {
            return Some(number);
        }
        let found = match value {
            Value::String(text) => self.shown(name, text),
            Value::Number(number) => self.shown(name, &number.to_string()),
            other => describe(other).to_owned(),
        };
        let problem = format!(
            "is {found}, but must be a whole number of {unit} from {} to {}",
            bounds.start(),
            bounds.end()
        );
        self.fault(name, problem);
        None
    }

    /// A boolean, as such or as text.
    pub fn boolean(&mut self, name: &str) -> Option<bool> {
        if let Value::Bool(value) = self.value(name)? {
            return Some(*value);
        }
        self.choice(name, &[("true", true), ("false", false)])
    }

    /// An ISO 8601 duration of at least `least`. Days count 24 hours; months and years are refused.
    pub fn duration(&mut self, name: &str, least: Duration) -> Option<Duration> {
        let text = self.text(name)?;
        // The parser knows a second, friendlier way of writing, which the engine's own durations do not.
        let duration = Some(text.as_str())
            .filter(|text| text.starts_with('P'))
            .and_then(|text| text.parse::<Span>().ok())
            .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok())
            .and_then(|duration: SignedDuration| Duration::try_from(duration).ok());
        match duration {
            Some(duration) if duration >= least => Some(duration),
            Some(_) => {
                let problem = format!(
                    "is {}, but must be at least PT{}S",
                    self.shown(name, &text),
                    least.as_secs_f64()
                );
                self.fault(name, problem);
                None
            }
            None => {
                let problem = format!(
                    "is {}, but must be an ISO 8601 duration such as `PT30S`, `PT2H` or `P1D`",
                    self.shown(name, &text)
                );
                self.fault(name, problem);
                None
            }
        }
    }

    /// The id of a row.
    pub fn guid(&mut self, name: &str) -> Option<Guid> {
        let text = self.text(name)?;
        let guid = Guid::parse(&text);
        if guid.is_none() {
            let problem = format!(
                "is {}, but must be an id such as `d9687093-d0c0-ec11-983e-0022480b428a`",
                self.shown(name, &text)
            );
            self.fault(name, problem);
        }
        guid
    }

    /// A text as it may be shown: not if a secret stands in the field, not if it is long.
    pub fn shown(&self, name: &str, text: &str) -> String {
        let path = format!("{}{name}", self.prefix);
        if self.secret_paths.contains(path.as_str()) {
            "a secret's value".into()
        } else if text.chars().count() > LONGEST_SHOWN {
            format!("a text of {} characters", text.chars().count())
        } else {
            format!("\"{text}\"")
        }
    }
}

fn whole(number: f64) -> Option<u64> {
    // Exact for every number of the bounds that are asked for.
    (number.fract() == 0.0 && (0.0..=9e15).contains(&number)).then_some(number as u64)
}

fn listed<T>(words: &[(&str, T)]) -> String {
    let words: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::Used;
    use serde_json::json;

    fn bound(variables: Value) -> Bound {
        Bound::plain(variables.as_object().unwrap().clone())
    }

    fn faults<T>(variables: Value, read: impl FnOnce(&mut Fields<'_>) -> Option<T>) -> String {
        let input = bound(variables);
        let mut fields = Fields::of(&input);
        let value = read(&mut fields);
        fields
            .finish(value)
            .err()
            .map(|error| error.message)
            .unwrap_or_default()
    }

    #[test]
    fn a_duration_is_iso_8601_and_long_enough() {
        let least = Duration::from_secs(1);
        for (text, seconds) in [("PT30S", 30), ("PT1H30M", 5400), ("P1D", 86_400), ("P1W", 604_800)] {
            let input = bound(json!({"wait": text}));
            assert_eq!(
                Fields::of(&input).duration("wait", least),
                Some(Duration::from_secs(seconds)),
                "{text}"
            );
        }
        for text in ["30", "P1M", "P1Y", "soon", "-PT5S", "PT0.5S", "10 minutes"] {
            let message = faults(json!({"wait": text}), |fields| fields.duration("wait", least));
            assert!(message.contains("`wait`"), "{text}: {message}");
        }
    }

    #[test]
    fn a_whole_number_may_be_written_as_text_or_with_a_zero_fraction() {
        for value in [json!(7), json!(7.0), json!("7"), json!(" 7 ")] {
            let input = bound(json!({"n": value}));
            assert_eq!(Fields::of(&input).integer("n", 1..=10, "seconds"), Some(7));
        }
        for value in [json!(0), json!(11), json!(7.5), json!("x"), json!(true), json!(-1)] {
            let message = faults(json!({"n": value}), |fields| fields.integer("n", 1..=10, "seconds"));
            assert!(message.contains("whole number of seconds from 1 to 10"), "{message}");
        }
    }

    #[test]
    fn a_typing_error_is_answered_with_the_word_that_was_meant() {
        let words = [("triggerFlowRun", 1), ("getFlowOutputs", 2)];
        let message = faults(json!({"o": "triggerFlowRuns"}), |fields| {
            fields.required_choice("o", &words)
        });
        assert_eq!(
            message,
            "Nothing was sent. `o` is \"triggerFlowRuns\", but must be `triggerFlowRun` or `getFlowOutputs` (did you mean \
             `triggerFlowRun`?)."
        );
        let message = faults(json!({"o": "dance"}), |fields| fields.required_choice("o", &words));
        assert!(!message.contains("did you mean"), "{message}");
    }

    #[test]
    fn a_secrets_value_is_never_shown() {
        let mut input = bound(json!({"mode": "hunter2"}));
        input.used.push(Used {
            name: "MODE".into(),
            path: "mode".into(),
            value: "hunter2".to_owned().into(),
        });
        let mut fields = Fields::of(&input);
        let read = fields.choice("mode", &[("a", ())]);
        let message = fields.finish(read).unwrap_err().message;
        assert!(
            !message.contains("hunter2") && message.contains("a secret's value"),
            "{message}"
        );
    }

    #[test]
    fn blank_texts_and_null_are_nothing() {
        let input = bound(json!({"a": null, "b": " ", "c": ""}));
        let mut fields = Fields::of(&input);
        assert_eq!(
            (fields.text("a"), fields.text("b"), fields.guid("c")),
            (None, None, None)
        );
        assert!(fields.finish(Some(())).is_ok());
    }
}
