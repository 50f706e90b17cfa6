//! The inputs of a run against the schema of its flow, before a run is burnt: both go in, everything that is wrong comes
//! out, each with the input's name and what to write instead.
//!
//! Power Automate Desktop knows texts, numbers, booleans, and objects or lists; a number or boolean may be written as a
//! text, as the flow itself reads it. What the schema does not say is not checked.

use serde_json::{Map, Value};

use crate::job::describe;
use crate::spelling::nearest;

/// Inputs of a flow that a message names.
const MOST_NAMED: usize = 20;

/// What is wrong with these inputs; nothing for a flow without a schema that can be read.
pub fn faults(inputs: &Map<String, Value>, schema: Option<&Value>) -> Vec<String> {
    let Some(Value::Object(properties)) = schema.and_then(|schema| schema.get("properties")) else {
        return Vec::new();
    };
    let mut faults = Vec::new();
    for (name, value) in inputs {
        match properties.get(name) {
            None => faults.push(unknown(name, properties)),
            Some(property) => faults.extend(wrong_type(name, value, property)),
        }
    }
    faults
}

fn unknown(name: &str, properties: &Map<String, Value>) -> String {
    let names: Vec<&str> = properties.keys().map(String::as_str).collect();
    match nearest(name, names.iter().copied()) {
        Some(meant) => format!("the flow has no input `{name}` (did you mean `{meant}`?)"),
        None if names.is_empty() => format!("the flow has no input `{name}`: it takes none"),
        None => {
            let more = match names.len().saturating_sub(MOST_NAMED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let some: Vec<&str> = names.into_iter().take(MOST_NAMED).collect();
            format!("the flow has no input `{name}`; it has `{}`{more}", some.join("`, `"))
        }
    }
}

fn wrong_type(name: &str, value: &Value, property: &Value) -> Option<String> {
    let wanted = property.get("type").and_then(Value::as_str)?;
    let fits = match (wanted, value) {
        (_, Value::Null) => true,
        ("string", Value::String(_) | Value::Number(_) | Value::Bool(_)) => true,
        ("number" | "integer", Value::Number(_)) => true,
        ("number" | "integer", Value::String(text)) => text.trim().is_empty() || text.trim().parse::<f64>().is_ok(),
        ("boolean", Value::Bool(_)) => true,
        ("boolean", Value::String(text)) => {
            text.trim().eq_ignore_ascii_case("true") || text.trim().eq_ignore_ascii_case("false")
        }
        ("object", Value::Object(_)) | ("array", Value::Array(_)) => true,
        // The flow reads JSON text where it wants an object or a list.
        ("object" | "array", Value::String(_)) => true,
        ("string" | "number" | "integer" | "boolean" | "object" | "array", _) => false,
        _ => true,
    };
    (!fits).then(|| {
        let wanted = match wanted {
            "string" => "a text",
            "number" | "integer" => "a number",
            "boolean" => "true or false",
            "object" => "an object",
            _ => "a list",
        };
        format!("input `{name}` must be {wanted}, but is {}", describe(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn checked(inputs: Value) -> Vec<String> {
        let schema = json!({"type": "object", "properties": {
            "InvoiceId": {"type": "string"}, "Amount": {"type": "number"}, "Paid": {"type": "boolean"},
            "Lines": {"type": "array"}, "Address": {"type": "object"}, "Count": {"type": "integer"}, "Strange": {"type": "custom"}, "Untyped": {}}});
        faults(inputs.as_object().unwrap(), Some(&schema))
    }

    #[test]
    fn inputs_that_the_flow_can_read_are_right() {
        for inputs in [
            json!({}),
            json!({"InvoiceId": "42", "Amount": 1.5, "Paid": true, "Lines": [1], "Strange": {}, "Untyped": 1}),
            json!({"InvoiceId": 42, "Amount": " 1.5 ", "Paid": "True", "Lines": "[1]"}),
            json!({"InvoiceId": null, "Amount": ""}),
        ] {
            assert_eq!(checked(inputs.clone()), Vec::<String>::new(), "{inputs}");
        }
    }

    #[test]
    fn a_mistyped_name_is_answered_with_the_one_that_was_meant() {
        assert_eq!(
            checked(json!({"InvoiceID": "1", "Nonsense": 2})),
            [
                "the flow has no input `InvoiceID` (did you mean `InvoiceId`?)",
                "the flow has no input `Nonsense`; it has `InvoiceId`, `Amount`, `Paid`, `Lines`, `Address`, `Count`, `Strange`, `Untyped`"
            ]
        );
    }

    #[test]
    fn a_wrong_type_is_named_without_its_value() {
        assert_eq!(
            checked(json!({"Amount": "secret", "Paid": 1, "Lines": {}, "InvoiceId": [], "Address": 5, "Count": "x"})),
            [
                "input `Amount` must be a number, but is a string",
                "input `Paid` must be true or false, but is a number",
                "input `Lines` must be a list, but is an object",
                "input `InvoiceId` must be a text, but is a list (array)",
                "input `Address` must be an object, but is a number",
                "input `Count` must be a number, but is a string"
            ]
        );
    }

    #[test]
    fn a_flow_without_inputs_and_one_with_many_are_told_in_a_few_words() {
        let inputs = json!({"Zzzzzz": 1});
        let told = |properties: Value| faults(inputs.as_object().unwrap(), Some(&json!({"properties": properties})));
        assert_eq!(told(json!({})), ["the flow has no input `Zzzzzz`: it takes none"]);
        let many: Map<String, Value> = (0..500).map(|number| (format!("Input{number}"), json!({}))).collect();
        let [message] = told(many.into()).try_into().unwrap();
        assert!(message.ends_with("`Input19` and 480 more"), "{message}");
    }

    #[test]
    fn what_the_schema_does_not_say_is_not_checked() {
        let inputs = json!({"A": 1});
        for schema in [None, Some(json!({"properties": "?"})), Some(json!({}))] {
            assert!(faults(inputs.as_object().unwrap(), schema.as_ref()).is_empty());
        }
    }
}
