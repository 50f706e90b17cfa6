//! The body of a request: a JSON value and the content type go in, bytes come out.

use serde_json::Value;

/// A body as it is sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    /// The content type to send instead of the one that was given, or where none was given.
    pub(super) content_type: Option<String>,
}

/// Writes the body. `content_type` is the task's own header.
pub(super) fn write(value: &Value, content_type: Option<&str>, ignore_nulls: bool) -> Option<Body> {
    let kind = content_type
        .map(|text| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
        .unwrap_or_default();
    let default = || content_type.is_none().then(|| "application/json".to_owned());
    let (bytes, content_type) = match (value, kind.as_str()) {
        (Value::Null, _) => return None,
        (Value::String(text), _) if text.is_empty() => return None,
        (Value::String(text), _) => (text.clone().into_bytes(), default()),
        (Value::Object(fields), "application/x-www-form-urlencoded") => (form(fields, ignore_nulls), None),
        (Value::Object(fields), "multipart/form-data") => multipart(fields, content_type.unwrap_or_default()),
        _ if ignore_nulls => (without_nulls(value.clone()).to_string().into_bytes(), default()),
        _ => (value.to_string().into_bytes(), default()),
    };
    Some(Body { bytes, content_type })
}

fn form(fields: &serde_json::Map<String, Value>, ignore_nulls: bool) -> Vec<u8> {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields {
        match value {
            Value::Null if ignore_nulls => {}
            Value::Null => {
                form.append_key_only(name);
            }
            value => {
                form.append_pair(name, &java_text(value));
            }
        }
    }
    form.finish().into_bytes()
}

fn multipart(fields: &serde_json::Map<String, Value>, content_type: &str) -> (Vec<u8>, Option<String>) {
    let given = boundary_of(content_type);
    let boundary = given.clone().unwrap_or_else(|| {
        // Random enough that no value holds it.
        format!("deskhand-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..))
    });
    let mut bytes = Vec::new();
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        let name = name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A");
        bytes.extend_from_slice(
            format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\
                 Content-Type: text/plain; charset=UTF-8\r\n\r\n{}\r\n",
                java_text(value)
            )
            .as_bytes(),
        );
    }
    bytes.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    let with_boundary = given.is_none().then(|| format!("{content_type}; boundary={boundary}"));
    (bytes, with_boundary)
}

fn boundary_of(content_type: &str) -> Option<String> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches('"');
        (name.trim().eq_ignore_ascii_case("boundary") && !value.is_empty()).then(|| value.to_owned())
    })
}

/// A value as text in a form. Objects and lists look as Java prints them, because that is what servers behind
/// Camunda's runtime got: `{f=1}`, `[1, 2]`.
fn java_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => {
            let elements: Vec<String> = list.iter().map(java_text).collect();
            format!("[{}]", elements.join(", "))
        }
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("{name}={}", java_text(value)))
                .collect();
            format!("{{{}}}", fields.join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// Nulls of objects are taken out at every depth; those of lists hold a place and stay.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name, without_nulls(value)))
            .collect(),
        Value::Array(list) => list.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(value: Value, content_type: Option<&str>, ignore_nulls: bool) -> (String, Option<String>) {
        let body = write(&value, content_type, ignore_nulls).unwrap();
        (String::from_utf8(body.bytes).unwrap(), body.content_type)
    }

    #[test]
    fn values_are_json_unless_they_are_texts_and_json_is_the_default_type() {
        let json = || Some("application/json".to_owned());
        assert_eq!(
            written(json!({"b": null, "a": [1, "x"]}), None, false),
            (r#"{"b":null,"a":[1,"x"]}"#.into(), json())
        );
        assert_eq!(written(json!("plain text"), None, false), ("plain text".into(), json()));
        assert_eq!(written(json!(123), Some("text/plain"), false), ("123".into(), None));
        assert_eq!(written(json!(true), Some("text/plain"), false), ("true".into(), None));
        assert_eq!(written(json!([1]), Some("x"), false), ("[1]".into(), None));
        assert_eq!(write(&json!(null), None, false), None);
        assert_eq!(write(&json!(""), None, false), None);
    }

    #[test]
    fn nulls_are_left_out_on_request_but_never_shift_a_list() {
        let value = json!({"a": null, "b": {"c": null}, "d": [null, {"e": null}]});
        assert_eq!(written(value, None, true).0, r#"{"b":{},"d":[null,{}]}"#);
    }

    #[test]
    fn forms_are_encoded_and_a_null_is_a_bare_key() {
        let value = json!({"e": {"f": 1, "g": [true]}, "a": "x y&z", "b": 2, "c": null, "d": [1, 2]});
        let form = Some("application/x-www-form-urlencoded; charset=UTF-8");
        assert_eq!(
            written(value.clone(), form, false),
            (
                "e=%7Bf%3D1%2C+g%3D%5Btrue%5D%7D&a=x+y%26z&b=2&c&d=%5B1%2C+2%5D".into(),
                None
            )
        );
        assert!(written(value, form, true).0.contains("b=2&d="));
        assert_eq!(written(json!("a=1&b=2"), form, false), ("a=1&b=2".into(), None));
    }

    #[test]
    fn multipart_keeps_the_callers_boundary_or_brings_its_own() {
        let value = json!({"a\"b": "x\r\ny", "n": null, "c": 1});
        let (text, content_type) = written(value.clone(), Some("multipart/form-data; boundary=\"XX\""), false);
        assert_eq!(content_type, None);
        assert_eq!(
            text,
            "--XX\r\nContent-Disposition: form-data; name=\"a%22b\"\r\nContent-Type: text/plain; charset=UTF-8\r\n\r\n\
             x\r\ny\r\n--XX\r\nContent-Disposition: form-data; name=\"c\"\r\n\
             Content-Type: text/plain; charset=UTF-8\r\n\r\n1\r\n--XX--\r\n"
        );
        let (text, content_type) = written(value, Some("Multipart/Form-Data"), false);
        let boundary = content_type.unwrap().split_once("; boundary=").unwrap().1.to_owned();
        assert!(boundary.len() > 30);
        assert!(text.starts_with(&format!("--{boundary}\r\n")) && text.ends_with(&format!("--{boundary}--\r\n")));
    }
}
