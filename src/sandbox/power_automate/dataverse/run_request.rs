//! The body of RunDesktopFlow: bytes go in, typed parameters or the service's refusal come out.

use axum::http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value};

use crate::sandbox::power_automate::answer::{Answer, bad_request, error};
use crate::sandbox::power_automate::runs::Mode;

/// Code of a payload whose JSON has the wrong shape.
const PAYLOAD: &str = "0x80048d19";
/// Code of a value that the action itself refuses.
pub(super) const REFUSED: &str = "0x80040265";

/// The default and the greatest time limit of a script, in seconds.
const DEFAULT_TIMEOUT: u64 = 10_800;
const GREATEST_TIMEOUT: i64 = 86_400;

/// The parameters of a start, typed and in range.
#[derive(Debug)]
pub(super) struct RunRequest {
    pub(super) mode: Mode,
    pub(super) connection: String,
    /// `connectionType` 2: the connection is named by a reference.
    pub(super) by_reference: bool,
    pub(super) high_priority: bool,
    pub(super) timeout: u64,
    pub(super) inputs: Option<(String, Map<String, Value>)>,
    pub(super) callback_url: Option<String>,
}

impl RunRequest {
    pub(super) fn read(headers: &HeaderMap, body: &[u8], input_bytes: usize) -> Result<Self, Answer> {
        let kind = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if !kind.to_ascii_lowercase().starts_with("application/json") {
            let message = format!("The content type '{kind}' is not supported; send application/json.");
            return Err(error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "", message));
        }
        let fields = match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => fields,
            Ok(_) => return Err(payload("the body is not a JSON object")),
            Err(reason) => return Err(payload(&reason.to_string())),
        };
        if let Some(unknown) = fields.keys().find(|name| !PARAMETERS.contains(&name.as_str())) {
            return Err(payload(&format!(
                "The parameter '{unknown}' in the request payload is not a valid parameter for the operation \
                 'RunDesktopFlow'."
            )));
        }
        let mode = required(&fields, "runMode")?;
        let connection = required(&fields, "connectionName")?;
        let connection_type = number(&fields, "connectionType")?;
        let priority = text(&fields, "runPriority")?;
        let timeout = number(&fields, "timeout")?;
        let inputs = text(&fields, "inputs")?;
        let callback_url = text(&fields, "callbackUrl")?.map(str::to_owned);

        let mode = match mode.to_ascii_lowercase().as_str() {
            "attended" => Mode::Attended,
            "unattended" => Mode::Unattended,
            _ => {
                return Err(refused(format!(
                    "The run mode '{mode}' is not valid: use attended or unattended."
                )));
            }
        };
        let by_reference = match connection_type {
            None | Some(1) => false,
            Some(2) => true,
            Some(other) => {
                return Err(refused(format!(
                    "The connection type {other} is not valid: use 1 or 2."
                )));
            }
        };
        let timeout = match timeout {
            None => DEFAULT_TIMEOUT,
            Some(seconds @ 1..=GREATEST_TIMEOUT) => seconds.unsigned_abs(),
            Some(other) => {
                return Err(refused(format!(
                    "The timeout {other} is not valid: use 1 to {GREATEST_TIMEOUT} seconds."
                )));
            }
        };
        Ok(Self {
            mode,
            connection: connection.to_owned(),
            by_reference,
            high_priority: priority.is_some_and(|priority| priority.eq_ignore_ascii_case("high")),
            timeout,
            inputs: inputs.map(|text| parsed_inputs(text, input_bytes)).transpose()?,
            callback_url,
        })
    }
}

const PARAMETERS: [&str; 7] = [
    "runMode",
    "connectionName",
    "connectionType",
    "runPriority",
    "timeout",
    "inputs",
    "callbackUrl",
];

fn parsed_inputs(text: &str, most: usize) -> Result<(String, Map<String, Value>), Answer> {
    if text.len() > most {
        let size = text.len();
        return Err(refused(format!(
            "The inputs of the desktop flow have {size} bytes; at most {most} are allowed."
        )));
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok((text.to_owned(), object)),
        _ => Err(refused(
            "The inputs of the desktop flow are not a serialized JSON object.",
        )),
    }
}

fn required<'f>(fields: &'f Map<String, Value>, name: &str) -> Result<&'f str, Answer> {
    match text(fields, name)? {
        Some(text) if !text.is_empty() => Ok(text),
        _ => Err(refused(format!("The required parameter '{name}' is missing."))),
    }
}

fn text<'f>(fields: &'f Map<String, Value>, name: &str) -> Result<Option<&'f str>, Answer> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(mistyped(other, "Edm.String")),
    }
}

fn number(fields: &Map<String, Value>, name: &str) -> Result<Option<i64>, Answer> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_i64().filter(|number| i32::try_from(*number).is_ok()) {
            Some(number) => Ok(Some(number)),
            None => Err(mistyped(value, "Edm.Int32")),
        },
    }
}

fn mistyped(value: &Value, expected: &str) -> Answer {
    let literal = match value {
        Value::String(text) => text.chars().take(100).collect(),
        Value::Array(_) | Value::Object(_) => "{…}".to_owned(),
        scalar => scalar.to_string(),
    };
    payload(&format!(
        "Cannot convert the literal '{literal}' to the expected type '{expected}'."
    ))
}

fn payload(reason: &str) -> Answer {
    bad_request(
        PAYLOAD,
        format!("Error identified in Payload provided by the user for Entity :'', InnerException : {reason}"),
    )
}

pub(super) fn refused(message: impl Into<String>) -> Answer {
    bad_request(REFUSED, message)
}
