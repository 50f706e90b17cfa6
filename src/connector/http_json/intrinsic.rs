//! What Camunda's runtime computes in an input before it is used: intrinsic functions and document references.
//!
//! A FEEL input can produce `{"camunda.function.type": "base64", "params": [...]}`, which stands for the function's
//! result. deskhand knows `base64`; the other functions and document references need a document store, which it has
//! not, and are refused with that reason.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::job::describe;
use crate::outcome::JobError;

const FUNCTION: &str = "camunda.function.type";
const DOCUMENT: &str = "camunda.document.type";

/// The variables with every intrinsic function replaced by its result.
///
/// # Errors
/// An incident for a function that is unknown or not possible here, and for documents.
pub(super) fn resolve(variables: &Map<String, Value>) -> Result<Cow<'_, Map<String, Value>>, JobError> {
    if !variables.values().any(needs_work) {
        return Ok(Cow::Borrowed(variables));
    }
    let resolved: Result<Map<String, Value>, JobError> = variables
        .iter()
        .map(|(name, value)| Ok((name.clone(), resolved(value.clone(), name)?)))
        .collect();
    Ok(Cow::Owned(resolved?))
}

// The depth of a value is bounded by the JSON parser's.
fn needs_work(value: &Value) -> bool {
    match value {
        Value::Object(fields) => {
            fields.contains_key(FUNCTION) || fields.contains_key(DOCUMENT) || fields.values().any(needs_work)
        }
        Value::Array(list) => list.iter().any(needs_work),
        _ => false,
    }
}

fn resolved(value: Value, path: &str) -> Result<Value, JobError> {
    match value {
        Value::Object(fields) if fields.contains_key(FUNCTION) => called(&fields, path),
        Value::Object(fields) if fields.contains_key(DOCUMENT) => Err(JobError::input(format!(
            "`{path}` is a document. deskhand has no document store; give the content itself."
        ))),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| {
                let value = resolved(value, &format!("{path}.{name}"))?;
                Ok((name, value))
            })
            .collect(),
        Value::Array(list) => list.into_iter().map(|value| resolved(value, path)).collect(),
        other => Ok(other),
    }
}

fn called(fields: &Map<String, Value>, path: &str) -> Result<Value, JobError> {
    let name = fields.get(FUNCTION).and_then(Value::as_str).unwrap_or_default();
    if name != "base64" {
        return Err(JobError::input(format!(
            "`{path}` calls the function {name:?}. deskhand knows `base64` alone; `getText`, `getJson` and `createLink` \
             need a document store, which it has not."
        )));
    }
    let parameter = match fields.get("params") {
        Some(Value::Array(list)) if list.len() == 1 => &list[0],
        Some(one @ Value::String(_)) => one,
        _ => {
            return Err(JobError::input(format!(
                "`{path}` calls `base64` without exactly one parameter. Write `params: [\"the text\"]`."
            )));
        }
    };
    // A parameter may be another call.
    match resolved(parameter.clone(), path)? {
        Value::String(text) => Ok(STANDARD.encode(text).into()),
        other => Err(JobError::input(format!(
            "`{path}` calls `base64` with {}. Write a text.",
            describe(&other)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resolve_object(value: Value) -> Result<Value, String> {
        let Value::Object(variables) = value else {
            panic!("an object")
        };
        match resolve(&variables) {
            Ok(resolved) => Ok(Value::Object(resolved.into_owned())),
            Err(error) => Err(error.message),
        }
    }

    #[test]
    fn base64_is_replaced_by_its_result_at_any_depth() {
        let call = json!({"camunda.function.type": "base64", "params": ["Hello World"]});
        let twice = json!({"camunda.function.type": "base64", "params": [call]});
        assert_eq!(
            resolve_object(json!({"a": {"b": [call]}, "c": twice, "d": 1})),
            Ok(json!({"a": {"b": ["SGVsbG8gV29ybGQ="]}, "c": "U0dWc2JHOGdWMjl5YkdRPQ==", "d": 1}))
        );
    }

    #[test]
    fn what_needs_a_document_store_is_refused() {
        for (value, says) in [
            (json!({"camunda.function.type": "getText", "params": []}), "\"getText\""),
            (json!({"camunda.function.type": "base64", "params": []}), "exactly one"),
            (
                json!({"camunda.function.type": "base64", "params": [{"a": 1}]}),
                "an object",
            ),
            (
                json!({"camunda.document.type": "camunda", "documentId": "1"}),
                "document store",
            ),
        ] {
            let message = resolve_object(json!({"body": {"x": value}})).unwrap_err();
            assert!(message.contains("`body.x`") && message.contains(says), "{message}");
        }
    }
}
