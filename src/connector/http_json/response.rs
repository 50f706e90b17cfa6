//! The answer of a server as expressions see it: `{status, headers, body, reason, document}`, or the error that it is.

use serde_json::{Map, Value, json};

use super::header_names;
use crate::connector::Response;
use crate::http::header::HeaderMap;
use crate::http::{Answer, StatusCode};
use crate::outcome::{JobError, Remedy};

/// How a body becomes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReturnFormat {
    /// What is a JSON object or list is read as such, everything else is a text, nothing is null.
    Guessed,
    /// JSON of any kind; anything else is an error.
    Json,
    /// A text.
    Text(Charset),
}

/// How the bytes of a text are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Charset {
    Utf8,
    Utf16,
    Latin1,
}

impl Charset {
    /// The character set of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name.to_ascii_uppercase().as_str() {
            "UTF-8" | "UTF8" | "US-ASCII" | "ASCII" => Some(Charset::Utf8),
            "UTF-16" | "UTF16" => Some(Charset::Utf16),
            "ISO-8859-1" | "ISO8859-1" | "LATIN1" => Some(Charset::Latin1),
            _ => None,
        }
    }

    fn read(self, bytes: &[u8]) -> String {
        match self {
            Charset::Utf8 => String::from_utf8_lossy(bytes).into_owned(),
            Charset::Latin1 => bytes.iter().map(|byte| char::from(*byte)).collect(),
            Charset::Utf16 => {
                let (little, bytes) = match bytes {
                    [0xFF, 0xFE, rest @ ..] => (true, rest),
                    [0xFE, 0xFF, rest @ ..] => (false, rest),
                    rest => (false, rest),
                };
                let units = bytes.as_chunks::<2>().0.iter().map(|pair| match little {
                    true => u16::from_le_bytes(*pair),
                    false => u16::from_be_bytes(*pair),
                });
                char::decode_utf16(units)
                    .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
                    .collect()
            }
        }
    }
}

/// The response of an answer below 400.
///
/// # Errors
/// The error that an answer of 400 and above is, and a body that is not JSON where JSON was asked for.
pub(super) fn read(answer: &Answer, format: ReturnFormat) -> Result<Response, JobError> {
    if answer.status >= 400 {
        return Err(error_of(answer));
    }
    let body = match format {
        ReturnFormat::Guessed if without_mark(&answer.body).trim_ascii().is_empty() => Value::Null,
        ReturnFormat::Guessed => match std::str::from_utf8(&answer.body) {
            // Read when it is known what of it is needed.
            Ok(body) => return Ok(Response::with_body(fields(answer, Value::Null), body.to_owned())),
            Err(_) => String::from_utf8_lossy(&answer.body).into(),
        },
        ReturnFormat::Text(charset) => charset.read(&answer.body).into(),
        ReturnFormat::Json if answer.body.trim_ascii().is_empty() => Value::Null,
        ReturnFormat::Json => serde_json::from_slice(without_mark(&answer.body)).map_err(|error| {
            JobError::connector(
                "500",
                format!(
                    "Error while executing an HTTP request: the body of the {} response is not JSON (line {}, column \
                     {}), and `documentReturnFormat` is JSON. Write TEXT, or leave it out.",
                    answer.status,
                    error.line(),
                    error.column()
                ),
            )
        })?,
    };
    Ok(Response::from(Value::Object(fields(answer, body))))
}

fn fields(answer: &Answer, body: Value) -> Map<String, Value> {
    Map::from_iter([
        ("status".to_owned(), answer.status.into()),
        ("headers".to_owned(), headers(&answer.headers).into()),
        ("body".to_owned(), body),
        ("reason".to_owned(), answer.reason.as_str().into()),
        ("document".to_owned(), Value::Null),
    ])
}

/// The error that an answer of 400 and above is.
pub(super) fn error_of(answer: &Answer) -> JobError {
    let usual = || {
        StatusCode::from_u16(answer.status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or_default()
    };
    let message = match answer.reason.as_str() {
        "" => usual(),
        reason => reason,
    };
    let error = JobError::connector(answer.status.to_string(), message).with_variables(variables_of(answer));
    match retry_after(answer) {
        Some(remedy) => error.with_remedy(remedy),
        None => error,
    }
}

/// `{response: {headers, body}}` of an answer that is an error.
pub(super) fn variables_of(answer: &Answer) -> Value {
    let body = match serde_json::from_slice::<Value>(without_mark(&answer.body)) {
        Ok(Value::Array(mut list)) if list.len() == 1 => list.remove(0),
        Ok(json @ (Value::Object(_) | Value::Array(_))) => json,
        _ => String::from_utf8_lossy(&answer.body).into(),
    };
    json!({"response": {"headers": headers(&answer.headers), "body": body}})
}

/// 429 and 503 may say when to come back.
pub(super) fn retry_after(answer: &Answer) -> Option<Remedy> {
    matches!(answer.status, 429 | 503)
        .then(|| answer.retry_after())
        .flatten()
        .map(Remedy::RetryAfter)
}

/// Some servers begin their JSON with a byte order mark.
fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body)
}

/// One value is a text, several are a list.
fn headers(headers: &HeaderMap) -> Map<String, Value> {
    headers
        .keys()
        .map(|name| {
            let mut values: Vec<Value> = headers
                .get_all(name)
                .iter()
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into())
                .collect();
            let value = match values.len() {
                1 => values.remove(0),
                _ => Value::Array(values),
            };
            (header_names::usual(name.as_str()), value)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn answer(status: u16, body: &[u8]) -> Answer {
        let mut headers = HeaderMap::new();
        headers.append("set-cookie", "a=1".parse().unwrap());
        headers.append("set-cookie", "b=2".parse().unwrap());
        headers.append("etag", "W/1".parse().unwrap());
        Answer {
            status,
            reason: "Fine".into(),
            headers,
            body: body.to_vec(),
        }
    }

    fn body(text: &str, format: ReturnFormat) -> Value {
        read(&answer(200, text.as_bytes()), format).unwrap().value()["body"].clone()
    }

    #[test]
    fn a_response_has_five_fields_and_repeated_headers_are_lists() {
        let response = read(&answer(201, b"{\"a\":null}"), ReturnFormat::Guessed).unwrap();
        assert_eq!(
            *response.value(),
            json!({
                "status": 201,
                "headers": {"Set-Cookie": ["a=1", "b=2"], "ETag": "W/1"},
                "body": {"a": null},
                "reason": "Fine",
                "document": null,
            })
        );
    }

    #[test]
    fn objects_and_lists_are_guessed_and_everything_else_is_a_text() {
        let guess = |text| body(text, ReturnFormat::Guessed);
        assert_eq!(guess(" [1] "), json!([1]));
        assert_eq!(guess("\u{FEFF}{}"), json!({}));
        assert_eq!(guess(" \n"), json!(null));
        for text in ["42", "\"x\"", "null", "{\"a\":", "[1] x", "<p>"] {
            assert_eq!(guess(text), json!(text));
        }
        let broken = read(&answer(200, b"{\"a\":\"\xFF\"}"), ReturnFormat::Guessed).unwrap();
        assert_eq!(broken.value()["body"], "{\"a\":\"\u{FFFD}\"}");
        assert_eq!(
            guess("{\"id\":12345678901234567890}"),
            json!({"id": 12_345_678_901_234_567_890_u64})
        );
    }

    #[test]
    fn json_and_text_are_read_when_asked_for() {
        assert_eq!(body("42", ReturnFormat::Json), json!(42));
        assert_eq!(body("", ReturnFormat::Json), json!(null));
        assert_eq!(body("{}", ReturnFormat::Text(Charset::Utf8)), json!("{}"));
        let read_as = |bytes: &[u8], charset| {
            read(&answer(200, bytes), ReturnFormat::Text(charset)).unwrap().value()["body"].clone()
        };
        assert_eq!(read_as(b"\xE4", Charset::Latin1), json!("ä"));
        assert_eq!(read_as(b"\xFF\xFEa\0", Charset::Utf16), json!("a"));
        assert_eq!(read_as(b"\0a", Charset::Utf16), json!("a"));
        let error = read(&answer(200, b"{\"a\":"), ReturnFormat::Json).unwrap_err();
        assert_eq!((error.code.as_deref(), error.remedy), (Some("500"), Remedy::Retry));
        assert!(
            error.message.contains("not JSON (line 1, column 5)"),
            "{}",
            error.message
        );
    }

    #[test]
    fn an_error_carries_status_reason_headers_and_body() {
        for (sent, seen) in [
            ("{\"a\":1}", json!({"a": 1})),
            ("[{\"a\":1}]", json!({"a": 1})),
            ("[1,2]", json!([1, 2])),
            ("sorry", json!("sorry")),
            ("", json!("")),
        ] {
            let error = read(&answer(404, sent.as_bytes()), ReturnFormat::Json).unwrap_err();
            assert_eq!((error.code.as_deref(), error.message.as_str()), (Some("404"), "Fine"));
            let variables = error.variables.unwrap();
            assert_eq!(variables["response"]["body"], seen);
            assert_eq!(variables["response"]["headers"]["ETag"], "W/1");
            assert_eq!(variables["response"].as_object().unwrap().len(), 2);
        }
    }

    #[test]
    fn a_busy_server_says_when_to_come_back_and_an_answer_without_reason_gets_the_usual_one() {
        let mut busy = answer(503, b"");
        busy.reason = String::new();
        busy.headers.insert("retry-after", "3".parse().unwrap());
        let error = error_of(&busy);
        assert_eq!(error.remedy, Remedy::RetryAfter(Duration::from_secs(3)));
        assert_eq!(error.message, "Service Unavailable");
        busy.status = 500;
        assert_eq!(error_of(&busy).remedy, Remedy::Retry);
    }
}
