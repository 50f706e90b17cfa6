//! Takes known secret values out of a text that leaves the process.
//!
//! In go the values that a job uses; out come texts with `***` in their place, in every shape of [`super::forms`].
//! Nothing is prepared until a text is looked at, since most jobs end well. The search holds copies of the values in
//! memory that is not wiped; it lives as long as the job.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use aho_corasick::AhoCorasick;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use super::bind::Used;
use super::forms::forms;

/// What stands in a value's place.
const MASK: &str = "***";
/// Values with fewer characters are taken out only where they stand alone: `1` is no secret inside `2011`.
const SHORT: usize = 8;

/// Knows the values of a job's secrets and puts `***` in their place. Cheap to clone.
#[derive(Clone, Default)]
pub struct Redactor {
    known: Option<Arc<Known>>,
}

struct Known {
    values: Vec<SecretString>,
    search: OnceLock<Option<Search>>,
}

struct Search {
    automaton: AhoCorasick,
    /// For each pattern: must it stand alone?
    alone: Vec<bool>,
}

impl Redactor {
    /// Knows the values that were put into a job's variables.
    pub fn new(used: &[Used]) -> Self {
        Self::of(used.iter().map(|used| &used.value))
    }

    /// Knows these values. Empty ones are ignored.
    pub fn of<'a>(values: impl IntoIterator<Item = &'a SecretString>) -> Self {
        let mut seen = HashSet::new();
        let values: Vec<SecretString> = values
            .into_iter()
            .filter(|value| !value.expose_secret().is_empty() && seen.insert(value.expose_secret()))
            .cloned()
            .collect();
        Self {
            known: (!values.is_empty()).then(|| {
                Arc::new(Known {
                    values,
                    search: OnceLock::new(),
                })
            }),
        }
    }

    /// The text without any known value.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let Some(known) = &self.known else {
            return Cow::Borrowed(text);
        };
        let places = match known.search.get_or_init(|| Search::new(&known.values)) {
            Some(search) => search.places(text),
            // What cannot be searched is not shown.
            None => return Cow::Borrowed(MASK),
        };
        if places.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut shown = String::with_capacity(text.len());
        let mut copied = 0;
        for place in places {
            shown.push_str(&text[copied..place.start]);
            shown.push_str(MASK);
            copied = place.end;
        }
        shown.push_str(&text[copied..]);
        Cow::Owned(shown)
    }

    /// The value without any known value in its texts and keys. A number that is a known value as a whole, and not a
    /// short one, becomes the text `***`.
    pub fn value(&self, value: Value) -> Value {
        if self.known.is_none() {
            return value;
        }
        match value {
            Value::String(text) => match self.text(&text) {
                Cow::Borrowed(_) => Value::String(text),
                Cow::Owned(shown) => Value::String(shown),
            },
            Value::Array(list) => list.into_iter().map(|element| self.value(element)).collect(),
            Value::Object(object) => Value::Object(self.object(object)),
            Value::Number(number) => {
                let text = number.to_string();
                if text.len() >= SHORT && self.text(&text) == MASK {
                    Value::from(MASK)
                } else {
                    Value::Number(number)
                }
            }
            Value::Null | Value::Bool(_) => value,
        }
    }

    fn object(&self, object: Map<String, Value>) -> Map<String, Value> {
        let shown = |(key, value): (String, Value)| (self.text(&key).into_owned(), self.value(value));
        object.into_iter().map(shown).collect()
    }
}

impl Search {
    /// `None` if there are more patterns than a search can hold.
    fn new(values: &[SecretString]) -> Option<Self> {
        let mut patterns = Vec::new();
        let mut alone = Vec::new();
        for value in values {
            let value = value.expose_secret();
            let short = value.chars().count() < SHORT;
            for form in forms(value, short) {
                patterns.push(form);
                alone.push(short);
            }
        }
        let automaton = AhoCorasick::new(&patterns).ok()?;
        Some(Self { automaton, alone })
    }

    /// Where known values are, from left to right, those that touch or overlap as one: the longest wins, and where one
    /// runs into another neither leaves a rest.
    fn places(&self, text: &str) -> Vec<Range<usize>> {
        let mut places: Vec<Range<usize>> = Vec::new();
        // Matches come in the order of their ends, so that an earlier place can only be swallowed from the back.
        for found in self.automaton.find_overlapping_iter(text) {
            let mut place = found.range();
            if self.alone[found.pattern()] && !stands_alone(text, &place) {
                continue;
            }
            while let Some(last) = places.last().filter(|last| last.end > place.start) {
                place.start = place.start.min(last.start);
                places.pop();
            }
            places.push(place);
        }
        places
    }
}

fn stands_alone(text: &str, place: &Range<usize>) -> bool {
    let part_of_word = |character: char| character.is_alphanumeric() || character == '_';
    !text[..place.start].chars().next_back().is_some_and(part_of_word)
        && !text[place.end..].chars().next().is_some_and(part_of_word)
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let values = self.known.as_ref().map_or(0, |known| known.values.len());
        f.debug_struct("Redactor").field("values", &values).finish()
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use secrecy::SecretString;
    use serde_json::json;

    use super::Redactor;

    fn knows(values: &[&str]) -> Redactor {
        let values: Vec<SecretString> = values.iter().map(|value| SecretString::from(*value)).collect();
        Redactor::of(&values)
    }

    #[test]
    fn a_value_disappears_from_a_message() {
        let shown = knows(&["bar"])
            .text("Something went wrong: bar is not the correct password")
            .into_owned();
        assert_eq!(shown, "Something went wrong: *** is not the correct password");
    }

    #[test]
    fn a_value_disappears_in_every_encoding() {
        let value = "p@ss \"w\\rd\"/+ü\n?~!(x)*";
        let redactor = knows(&[value]);
        let form: String = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("a", value)
            .finish();
        let mut url = url::Url::parse("https://example.com/").unwrap();
        url.query_pairs_mut().append_pair("q", value);
        for text in [
            value.to_owned(),
            json!(value).to_string(),
            form.trim_start_matches("a=").to_owned(),
            url.query().unwrap().trim_start_matches("q=").to_owned(),
            STANDARD.encode(value),
            URL_SAFE_NO_PAD.encode(value),
        ] {
            let shown = redactor.text(&text).into_owned();
            assert!(shown.contains("***"), "{text}");
            // What may be left is a quote, or padding with the bits of a last byte's end.
            assert!(shown.len() <= 8, "{text} → {shown}");
        }
    }

    #[test]
    fn a_value_inside_of_base64_disappears_at_each_alignment() {
        let value = "s3cr3t-value-of-some-length";
        for user in ["", "a", "ab", "abc"] {
            for after in ["", "x", "xy"] {
                let text = STANDARD.encode(format!("{user}{value}{after}"));
                let shown = knows(&[value]).text(&text).into_owned();
                assert!(shown.contains("***") && shown.len() <= 3 + 12, "{shown}");
            }
        }
    }

    #[test]
    fn the_longest_value_wins_and_overlapping_ones_leave_no_rest() {
        assert_eq!(
            knows(&["longsecret", "longsecret-extended"]).text("a longsecret-extended b"),
            "a *** b"
        );
        assert_eq!(knows(&["abcdefgh", "efghijklmn"]).text("<abcdefghijklmn>"), "<***>");
        assert_eq!(
            knows(&["abcdefgh", "xxabcdefghyy", "yyzzzzzz"]).text("xxabcdefghyyzzzzzz"),
            "***"
        );
    }

    #[test]
    fn short_values_disappear_only_where_they_stand_alone() {
        let redactor = knows(&["401", "a b"]);
        assert_eq!(redactor.text("401 (code=401) 4010 x401"), "*** (code=***) 4010 x401");
        assert_eq!(redactor.text("a b, xa b"), "***, xa b");
    }

    #[test]
    fn empty_values_and_unknown_texts_change_nothing() {
        assert_eq!(knows(&[""]).text("anything"), "anything");
        assert!(matches!(
            knows(&["another-value"]).text("anything"),
            std::borrow::Cow::Borrowed("anything")
        ));
    }

    #[test]
    fn values_are_taken_out_of_json_at_any_depth_and_out_of_keys() {
        let value = json!({
            "status": 401, "ok": false, "none": null,
            "headers": {"Authorization": "Bearer top-secret-token", "top-secret-token": 1},
            "list": [["top-secret-token", 401], "x"],
            "pin": 1234567890
        });
        assert_eq!(
            knows(&["top-secret-token", "401", "1234567890"]).value(value),
            json!({
                "status": 401, "ok": false, "none": null,
                "headers": {"Authorization": "Bearer ***", "***": 1},
                "list": [["***", 401], "x"],
                "pin": "***"
            })
        );
    }

    #[test]
    fn a_thousand_values_are_found_in_one_pass() {
        let values: Vec<SecretString> = (0..1000)
            .map(|n| SecretString::from(format!("secret-number-{n:04}!")))
            .collect();
        let redactor = Redactor::of(&values);
        let text = "nothing here, ".repeat(300) + "secret-number-0999! and secret-number-0000!";
        assert!(redactor.text(&text).ends_with("*** and ***"));
    }
}
