//! Columns read with `$value`: schemas of flows, and the inputs and outputs of runs as files.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderValue, RANGE};
use axum::http::{Response, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

use super::Call;
use crate::sandbox::power_automate::answer::{Answer, empty, error, header_value, json_body, set};
use crate::sandbox::power_automate::core::State;
use crate::sandbox::power_automate::runs::Run;
use crate::sandbox::power_automate::status::Status;
use crate::sandbox::power_automate::world::{Outputs, ValueType, Workflow};

/// A memo column of a flow: the schema of its inputs or outputs, or the whole client data.
pub(super) fn workflow_column(workflow: &Workflow, column: &str) -> Result<Answer, Answer> {
    let (inputs, outputs) = (schema(&workflow.inputs), schema(&workflow.outputs));
    let body = match column {
        "inputs" if workflow.inputs.is_empty() => return Ok(empty(StatusCode::NO_CONTENT)),
        "outputs" if workflow.outputs.is_empty() => return Ok(empty(StatusCode::NO_CONTENT)),
        "inputs" => inputs,
        "outputs" => outputs,
        _ => json!({"properties": {"inputs": inputs, "outputs": outputs}}),
    };
    Ok(json_body(StatusCode::OK, &body))
}

fn schema(declared: &std::collections::BTreeMap<String, ValueType>) -> Value {
    let property = |(name, kind): (&String, &ValueType)| {
        let empty = if *kind == ValueType::Number { "0" } else { "" };
        let described = json!({
            "default": "", "description": "", "format": null, "title": name, "type": kind, "value": empty,
        });
        (name.clone(), described)
    };
    let properties: Map<String, Value> = declared.iter().map(property).collect();
    json!({"schema": {"properties": properties, "type": "object"}})
}

/// A file column of a run, whole or in part.
pub(super) fn session_column(state: &State, call: &Call<'_>, run: &Run, column: &str) -> Result<Answer, Answer> {
    let file = match column {
        "inputs" => run.inputs.clone().map(File::of),
        _ if run.status == Status::Succeeded => outputs(run),
        _ => None,
    };
    match file {
        Some(file) => download(state, call, &file, column),
        None if state.world.behaviour.empty_file_no_content => Ok(empty(StatusCode::NO_CONTENT)),
        None => Err(error(
            StatusCode::NOT_FOUND,
            "0x80048d08",
            format!("No file attachment found for attribute: {column} EntityId: {}.", run.id),
        )),
    }
}

/// What a file holds.
enum File {
    Whole(Bytes),
    /// `{"Filler":"xxx…"}` of this many bytes: only what is asked for is made.
    Filler(usize),
}

const FRAME: [&str; 2] = [r#"{"Filler":""#, r#""}"#];

impl File {
    fn of(text: Arc<str>) -> Self {
        File::Whole(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn size(&self) -> usize {
        match self {
            File::Whole(bytes) => bytes.len(),
            File::Filler(size) => *size,
        }
    }

    fn slice(&self, from: usize, to: usize) -> Bytes {
        let size = match self {
            File::Whole(bytes) => return bytes.slice(from..to),
            File::Filler(size) => *size,
        };
        let mut part = vec![b'x'; to - from];
        let [before, behind] = FRAME;
        for (start, text) in [(0, before), (size - behind.len(), behind)] {
            for (place, byte) in (start..)
                .zip(text.bytes())
                .filter(|(place, _)| (from..to).contains(place))
            {
                part[place - from] = byte;
            }
        }
        part.into()
    }
}

fn outputs(run: &Run) -> Option<File> {
    Some(File::Whole(match &run.script.outputs {
        Outputs::None => return None,
        Outputs::Bytes(size) => return Some(File::Filler((*size).max(FRAME[0].len() + FRAME[1].len()))),
        Outputs::Json(object) => Bytes::from(Value::from(object.clone()).to_string()),
        Outputs::Echo(over) => {
            let given = run
                .inputs
                .as_deref()
                .and_then(|text| serde_json::from_str::<Map<String, Value>>(text).ok());
            let mut object = given.unwrap_or_default();
            object.extend(over.clone());
            Bytes::from(Value::from(object).to_string())
        }
        Outputs::Text(text) => Bytes::from(text.clone()),
        // A world whose base64 is broken is refused when it is read.
        Outputs::Base64(text) => Bytes::from(BASE64.decode(text).unwrap_or_default()),
    }))
}

fn download(state: &State, call: &Call<'_>, file: &File, column: &str) -> Result<Answer, Answer> {
    let size = file.size();
    let range = call.headers.get(RANGE).and_then(|value| value.to_str().ok());
    let mut answer = match range.filter(|_| !state.world.behaviour.whole_files) {
        None => Response::new(file.slice(0, size)),
        Some(range) => {
            let Some((first, last)) = byte_range(range, size) else {
                let message = format!("The range '{range}' does not lie in a file of {size} bytes.");
                return Err(error(StatusCode::RANGE_NOT_SATISFIABLE, "0x80048d08", message));
            };
            let mut part = Response::new(file.slice(first, last + 1));
            *part.status_mut() = StatusCode::PARTIAL_CONTENT;
            set(&mut part, "x-ms-chunk-size", &(last - first + 1).to_string());
            part.headers_mut()
                .insert(CONTENT_RANGE, header_value(&format!("bytes {first}-{last}/{size}")));
            part
        }
    };
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    set(&mut answer, "x-ms-file-size", &size.to_string());
    set(&mut answer, "x-ms-file-name", &format!("{column}.json"));
    set(&mut answer, "mimetype", "application/octet-stream");
    Ok(answer)
}

/// First and last byte of `bytes=a-b` or `bytes=a-`, cut to the file.
fn byte_range(text: &str, size: usize) -> Option<(usize, usize)> {
    let (first, last) = text.trim().strip_prefix("bytes=")?.split_once('-')?;
    let first: usize = first.parse().ok()?;
    let end = size.checked_sub(1)?;
    let last = if last.is_empty() {
        end
    } else {
        last.parse::<usize>().ok()?.min(end)
    };
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_the_file() {
        assert_eq!(byte_range("bytes=0-4194303", 10), Some((0, 9)));
        assert_eq!(byte_range("bytes=4-6", 10), Some((4, 6)));
        assert_eq!(byte_range("bytes=4-", 10), Some((4, 9)));
        for bad in ["bytes=10-12", "bytes=5-4", "lines=1-2", "bytes=-5", "bytes=0-"] {
            let size = if bad == "bytes=0-" { 0 } else { 10 };
            assert_eq!(byte_range(bad, size), None, "{bad}");
        }
    }

    #[test]
    fn a_part_of_a_filler_is_what_the_whole_has_there() {
        let file = File::Filler(30);
        let whole = file.slice(0, 30);
        assert_eq!(whole, format!("{{\"Filler\":\"{}\"}}", "x".repeat(17)).as_bytes());
        for (from, to) in [(0, 1), (5, 15), (11, 28), (27, 29), (29, 30)] {
            assert_eq!(file.slice(from, to), whole.slice(from..to));
        }
    }
}
