//! Reads fields of a task's input: JSON of any shape goes in, typed values come out, and every fault is collected, so
//! that a modeler sees them all at once.
//!
//! Scalars are read as leniently as Camunda's runtime reads them: `"20"` is a number, `5` is a text, and a list of one
//! element stands for that element.

use std::cell::RefCell;

use serde_json::{Map, Value};

use crate::job::describe;
use crate::outcome::JobError;
use crate::secrets::Bound;

/// Longer texts are described in messages, not shown.
const SHOWN: usize = 60;
/// Fields whose text may be shown. All others may hold a credential that was typed into the diagram as it is.
const SHOWABLE: [&str; 14] = [
    "url",
    "method",
    "skipEncoding",
    "connectionTimeoutInSeconds",
    "readTimeoutInSeconds",
    "storeResponse",
    "ignoreNullValues",
    "followRedirects",
    "type",
    "apiKeyLocation",
    "clientAuthentication",
    "documentReturnFormat",
    "choice",
    "encoding",
];

/// Collects what is wrong with an input.
pub(super) struct Faults<'a> {
    bound: &'a Bound,
    found: RefCell<Vec<String>>,
}

impl<'a> Faults<'a> {
    pub(super) fn new(bound: &'a Bound) -> Self {
        Self {
            bound,
            found: RefCell::default(),
        }
    }

    pub(super) fn add(&self, fault: String) {
        self.found.borrow_mut().push(fault);
    }

    /// What stands in a field, for a message: a short text itself if it is no credential, else only its kind.
    pub(super) fn describe(&self, path: &str, value: &Value) -> String {
        match value {
            Value::String(text) if text.trim().is_empty() => "empty".into(),
            Value::String(text) if self.may_show(path, text) => format!("{text:?}"),
            other => describe(other).into(),
        }
    }

    fn may_show(&self, path: &str, text: &str) -> bool {
        let name = path.rsplit('.').next().unwrap_or_default();
        // A URL can hold a password before its host, or a key in its query.
        let credential_free = name != "url" || !text.contains(['@', '?']);
        text.len() <= SHOWN && SHOWABLE.contains(&name) && credential_free && self.bound.names_at(&[path]).is_empty()
    }

    /// The value, if nothing was wrong.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, JobError> {
        let found = self.found.into_inner();
        match (value, found.as_slice()) {
            (Some(value), []) => Ok(value),
            (_, [one]) => Err(JobError::input(one.clone())),
            (_, several) => Err(JobError::input(format!(
                "The input of this task cannot be used:\n - {}",
                several.join("\n - ")
            ))),
        }
    }
}

/// An object of the input.
pub(super) struct Fields<'a, 'f> {
    object: &'a Map<String, Value>,
    path: String,
    faults: &'f Faults<'a>,
}

impl<'a, 'f> Fields<'a, 'f> {
    /// The fields of the whole input.
    pub(super) fn root(object: &'a Map<String, Value>, faults: &'f Faults<'a>) -> Self {
        Self {
            object,
            path: String::new(),
            faults,
        }
    }

    /// The path of this object.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The path of a field of this object, as modelers know it.
    pub(super) fn path_of(&self, name: &str) -> String {
        match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        }
    }

    /// Notes that a field cannot be used as it is: "`path` is X. Write Y."
    pub(super) fn fault(&self, name: &str, expected: &str) {
        let path = self.path_of(name);
        let fault = match self.object.get(name) {
            None | Some(Value::Null) => format!("`{path}` is missing. Write {expected}."),
            Some(value) => format!("`{path}` is {}. Write {expected}.", self.faults.describe(&path, value)),
        };
        self.faults.add(fault);
    }

    /// The field, if it is there and not null.
    pub(super) fn value(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    fn scalar(&self, name: &str) -> Option<&'a Value> {
        match self.value(name)? {
            Value::Array(list) if list.len() == 1 => list.first().filter(|value| !value.is_null()),
            other => Some(other),
        }
    }

    /// A text; numbers and booleans count as their JSON text.
    pub(super) fn text(&self, name: &str, expected: &str) -> Option<String> {
        let text = self.scalar(name).map(scalar_text)?;
        if text.is_none() {
            self.fault(name, expected);
        }
        text
    }

    /// A text that must be there and not be empty.
    pub(super) fn required(&self, name: &str, expected: &str) -> Option<String> {
        match self.scalar(name).map(scalar_text) {
            Some(Some(text)) if !text.is_empty() => Some(text),
            _ => {
                self.fault(name, expected);
                None
            }
        }
    }

    /// A number of whole seconds. An empty text is none at all.
    pub(super) fn seconds(&self, name: &str) -> Option<u32> {
        let value = self.scalar(name)?;
        let seconds = match value {
            Value::Number(number) => number.as_u64().or_else(|| {
                number
                    .as_f64()
                    .filter(|n| n.fract() == 0.0 && *n >= 0.0)
                    .map(|n| n as u64)
            }),
            Value::String(text) if text.trim().is_empty() => return None,
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        let seconds = seconds.and_then(|seconds| u32::try_from(seconds).ok());
        if seconds.is_none() {
            self.fault(name, "a whole number of seconds, e.g. 20 (0 = no bound)");
        }
        seconds
    }

    /// A boolean, false where there is none.
    pub(super) fn flag(&self, name: &str) -> bool {
        match self.scalar(name) {
            None => false,
            Some(Value::Bool(flag)) => *flag,
            Some(Value::String(text)) if text.trim().is_empty() || text.eq_ignore_ascii_case("false") => false,
            Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => true,
            Some(_) => {
                self.fault(name, "true or false");
                false
            }
        }
    }

    /// An object; none where there is none.
    pub(super) fn object(&self, name: &str, expected: &str) -> Option<Fields<'a, 'f>> {
        match self.value(name)? {
            Value::Object(object) => Some(Fields {
                object,
                path: self.path_of(name),
                faults: self.faults,
            }),
            _ => {
                self.fault(name, expected);
                None
            }
        }
    }

    /// An object of texts, in its order; a null stays a null.
    pub(super) fn texts(&self, name: &str, expected: &str) -> Vec<(String, Option<String>)> {
        let Some(object) = self.object(name, expected) else {
            return Vec::new();
        };
        let mut texts = Vec::with_capacity(object.object.len());
        for name in object.object.keys() {
            let text = object.text(name, "a text, a number or a boolean");
            texts.push((name.clone(), text));
        }
        texts
    }
}

fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::secrets::Used;

    fn bound(value: Value) -> Bound {
        match value {
            Value::Object(variables) => Bound::plain(variables),
            _ => panic!("an object"),
        }
    }

    #[test]
    fn scalars_are_read_leniently() {
        let bound = bound(json!({
            "text": 5, "list": ["one"], "s1": "20", "s2": 20.0, "s3": [" 7 "], "s4": "", "f1": "TRUE", "f2": "",
            "t": {"a": 1, "b": null, "c": true}
        }));
        let faults = Faults::new(&bound);
        let fields = Fields::root(&bound.variables, &faults);
        assert_eq!(fields.text("text", "").as_deref(), Some("5"));
        assert_eq!(fields.text("list", "").as_deref(), Some("one"));
        assert_eq!(fields.text("absent", ""), None);
        assert_eq!(
            ["s1", "s2", "s3", "s4"].map(|name| fields.seconds(name)),
            [Some(20), Some(20), Some(7), None]
        );
        assert_eq!(
            ["f1", "f2", "absent"].map(|name| fields.flag(name)),
            [true, false, false]
        );
        let texts = fields.texts("t", "");
        assert_eq!(
            texts,
            [
                ("a".into(), Some("1".into())),
                ("b".into(), None),
                ("c".into(), Some("true".into()))
            ]
        );
        faults.finish(Some(())).unwrap();
    }

    #[test]
    fn every_fault_names_its_field_and_what_was_found_but_no_secret() {
        let mut bound = bound(json!({
            "method": "0xFF", "b": -1, "c": 0.5, "choice": "hunter2", "token": "hunter2",
            "url": "http://me:hunter2@h/", "e": {"x": {}}, "followRedirects": "maybe", "g": 1
        }));
        bound.used.push(Used {
            name: "WORD".into(),
            path: "choice".into(),
            value: "hunter2".into(),
        });
        let faults = Faults::new(&bound);
        let fields = Fields::root(&bound.variables, &faults);
        for name in ["method", "b", "c", "choice", "token", "url"] {
            assert_eq!(fields.seconds(name), None);
        }
        fields.texts("e", "an object");
        fields.flag("followRedirects");
        assert!(fields.object("g", "an object").is_none());
        assert!(fields.required("h", "a text").is_none());
        let message = faults.finish::<()>(None).unwrap_err().message;
        for says in [
            "`method` is \"0xFF\". Write a whole number",
            "`b` is a number",
            "`c` is a number",
            "`choice` is a string",
            "`token` is a string",
            "`url` is a string",
            "`e.x` is an object. Write a text",
            "`followRedirects` is \"maybe\". Write true or false",
            "`g` is a number. Write an object",
            "`h` is missing. Write a text",
        ] {
            assert!(message.contains(says), "{says}: {message}");
        }
        assert!(!message.contains("hunter2"));
    }
}
