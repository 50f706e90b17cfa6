//! The error expression: asked after every call, for success and failure alike; may turn the result into a BPMN error, a
//! failed job or a completed one.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::{Map, Value};

use super::programs::Expression;
use super::{Asked, Mapper, check_output, job_context, not_negative, shorten, spread, with_variables};
use crate::connector::Response;
use crate::iso_duration;
use crate::job::{Job, describe};
use crate::outcome::{JobError, Outcome};

impl Mapper {
    /// What the task's error expression makes of the result; `None`: nothing.
    ///
    /// It sees on success the mapped variables (where there are none, the response), on failure `error`; always
    /// `response` and `job.retries`.
    pub(super) fn error_expression(
        &self,
        expression: &Expression,
        job: &Job,
        mapped: &Result<(&Response, Map<String, Value>), JobError>,
        asked: Asked<'_>,
    ) -> Result<Option<Outcome>, JobError> {
        let program = &expression.program;
        let seen = match mapped {
            Ok((response, variables)) if variables.is_empty() => response.read(&expression.seen),
            Ok((_, variables)) => Cow::Owned(Value::Object(variables.clone())),
            Err(error) => Cow::Owned(Value::Object(Map::from_iter([("error".to_owned(), error.as_value())]))),
        };
        let context = job_context(job);
        let seen: &Value = &seen;
        let scope = spread(seen).variable("response", seen).variable("job", &context);
        match asked.result("error", program, &scope)? {
            Value::Null => Ok(None),
            Value::Object(verdict) if verdict.is_empty() => Ok(None),
            Value::Object(verdict) => outcome(verdict),
            other => {
                // The nearest names are those of the whole response.
                let whole = match mapped {
                    Ok((response, variables)) if variables.is_empty() => response.value(),
                    _ => Cow::Borrowed(seen),
                };
                let scope = spread(&whole).variable("response", &whole).variable("job", &context);
                Err(JobError::input(format!(
                    "Error expression must return a JSON object (from bpmnError, jobError or ignoreError) or null, but got {}.{}",
                    describe(&other),
                    asked.hints(program, &scope)
                )))
            }
        }
    }
}

fn outcome(mut verdict: Map<String, Value>) -> Result<Option<Outcome>, JobError> {
    let kind = verdict.remove("errorType");
    match kind.as_ref().and_then(Value::as_str) {
        Some("bpmnError") => bpmn_error(verdict),
        Some("jobError") => job_error(verdict).map(Some),
        Some("ignoreError") => {
            let variables = variables(&mut verdict)?;
            check_output(&variables)?;
            Ok(Some(Outcome::Complete { variables }))
        }
        _ => Err(JobError::input(format!(
            "Error expression must return null or the result of bpmnError(...), jobError(...) or ignoreError(...), but \
             `errorType` is {}.",
            kind.as_ref()
                .map_or("missing".to_owned(), |kind| shorten(&kind.to_string(), 100))
        ))),
    }
}

fn bpmn_error(mut verdict: Map<String, Value>) -> Result<Option<Outcome>, JobError> {
    let code = match verdict.remove("errorCode") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(code)) => code,
        Some(other) => return Err(wrong("errorCode", "bpmnError", "a String", &other)),
    };
    let variables = variables(&mut verdict)?;
    check_output(&variables)?;
    Ok(Some(Outcome::BpmnError {
        code,
        message: text(&mut verdict, "errorMessage", "bpmnError")?,
        variables,
    }))
}

fn job_error(mut verdict: Map<String, Value>) -> Result<Outcome, JobError> {
    let message = text(&mut verdict, "errorMessage", "jobError")?.unwrap_or_default();
    let retries = match verdict.remove("retries") {
        None | Some(Value::Null) => 0,
        Some(value) => value
            .as_f64()
            .map(|retries| retries.clamp(0.0, f64::from(i32::MAX)) as i32)
            .ok_or_else(|| wrong("retries", "jobError", "a number", &value))?,
    };
    let backoff = match verdict.remove("retryBackoff") {
        None | Some(Value::Null) => Duration::ZERO,
        Some(Value::String(text)) => iso_duration::parse(&text).and_then(not_negative).ok_or_else(|| {
            wrong(
                "retryBackoff",
                "jobError",
                "a days-time-duration like duration(\"PT30S\")",
                &Value::String(text),
            )
        })?,
        Some(other) => return Err(wrong("retryBackoff", "jobError", "a days-time-duration", &other)),
    };
    let own = variables(&mut verdict)?;
    let shown = (!own.is_empty()).then(|| Value::Object(own.clone()));
    let full = with_variables(&message, shown.as_ref());
    let mut variables = own;
    variables.insert("error".into(), message.into());
    check_output(&variables)?;
    Ok(Outcome::Fail {
        retries,
        backoff: Some(backoff),
        message: full,
        variables,
    })
}

fn variables(verdict: &mut Map<String, Value>) -> Result<Map<String, Value>, JobError> {
    match verdict.remove("variables") {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(variables)) => Ok(variables),
        Some(other) => Err(wrong("variables", "an error result", "a context", &other)),
    }
}

fn text(verdict: &mut Map<String, Value>, field: &str, function: &str) -> Result<Option<String>, JobError> {
    match verdict.remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(wrong(field, function, "a String", &other)),
    }
}

fn wrong(field: &str, function: &str, expected: &str, found: &Value) -> JobError {
    JobError::input(format!(
        "parameter `{field}` of `{function}` must be {expected}, but is {}.",
        describe(found)
    ))
}
