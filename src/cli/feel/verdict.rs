//! What would become of a job: the value of an error expression goes in, the words for its outcome come out. The
//! judgement is the worker's own ([`Mapper`]).

use serde_json::{Map, Value, json};

use crate::job::{Headers, Job};
use crate::mapping::Mapper;
use crate::outcome::Outcome;
use crate::secrets::Redactor;

/// An outcome in words.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// `none`, `bpmnError`, `jobError`, `ignoreError` or `invalid`.
    pub(super) kind: &'static str,
    pub(super) text: String,
}

/// What an error expression sees of a context: as in the worker the fields of a successful response are variables of
/// their own, and `response` and `job` always exist.
pub(super) fn variables(context: &Map<String, Value>) -> Map<String, Value> {
    let mut variables = match context.get("response") {
        Some(Value::Object(response)) if !context.contains_key("error") => response.clone(),
        _ => Map::new(),
    };
    variables.extend(context.clone());
    if !context.contains_key("response") {
        let mut seen = context.clone();
        seen.remove("job");
        variables.insert("response".into(), Value::Object(seen));
    }
    variables.entry("job").or_insert_with(|| json!({"retries": 3}));
    variables
}

/// What the worker makes of the value of an error expression.
pub(super) fn of(value: &Value) -> Verdict {
    let said = |kind, text: String| Verdict { kind, text };
    match judged(value) {
        Ok(Outcome::BpmnError {
            code,
            message,
            variables,
        }) => said(
            "bpmnError",
            format!(
                "bpmnError: the process gets the error {code}{}{}",
                message.map(|message| format!(" ({message})")).unwrap_or_default(),
                with(&variables)
            ),
        ),
        // A message of the error expression's own is a text; where the worker refused it, `error` is an object.
        Ok(Outcome::Fail {
            retries,
            backoff,
            message,
            variables,
        }) if !variables.get("error").is_some_and(Value::is_object) => said(
            "jobError",
            format!(
                "jobError: the job fails with {retries} retries left{}{}, and says: {message}",
                if retries == 0 { " (an incident)" } else { "" },
                backoff
                    .filter(|pause| !pause.is_zero())
                    .map(|pause| format!(", the next try after {} s", pause.as_secs_f64()))
                    .unwrap_or_default(),
            ),
        ),
        Ok(Outcome::Fail { message, .. }) => said(
            "invalid",
            format!("an incident, as the error expression is wrong: {message}"),
        ),
        Ok(Outcome::Complete { variables })
            if value.get("errorType").and_then(Value::as_str) == Some("ignoreError") =>
        {
            said(
                "ignoreError",
                format!("ignoreError: the job completes{}", with(&variables)),
            )
        }
        Ok(Outcome::Complete { .. } | Outcome::Asleep | Outcome::Abandon { .. }) => {
            said("none", "none: the result of the call stands".into())
        }
        Err(message) => said("invalid", message),
    }
}

fn with(variables: &Map<String, Value>) -> String {
    if variables.is_empty() {
        String::new()
    } else {
        format!(", with the variables {}", Value::Object(variables.clone()))
    }
}

/// Lets the worker judge: the value is handed over as a response of which the error expression takes it all.
fn judged(value: &Value) -> Result<Outcome, String> {
    let mapper = Mapper::default();
    let headers = Headers {
        error_expression: Some("= verdict".into()),
        ..Headers::default()
    };
    let plan = mapper.plan(&headers).map_err(|error| error.message)?;
    let response = json!({ "verdict": value });
    Ok(mapper.outcome(&plan, &job(), &Ok(response.into()), &Redactor::of([])))
}

fn job() -> Job {
    Job {
        key: 0,
        job_type: String::new(),
        process_instance_key: 0,
        bpmn_process_id: String::new(),
        process_definition_version: 0,
        process_definition_key: 0,
        element_id: String::new(),
        element_instance_key: 0,
        retries: 3,
        deadline: 0,
        tenant_id: String::new(),
        lease_token: None,
        custom_headers: String::new(),
        variables: String::new(),
    }
}
