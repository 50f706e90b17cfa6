//! An activated job, typed: what the engine hands out, before anything is believed about its texts.

use serde_json::{Map, Value};

use crate::outcome::JobError;
use crate::secrets::SecretScope;

/// A job as the engine activated it. Texts are kept as they came; [`Job::headers`] and [`Job::variables`] parse them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Job {
    /// The engine's key of this job; every command names it.
    pub key: i64,
    /// The task definition's type, e.g. `io.camunda:http-json:1`.
    pub job_type: String,
    /// Key of the process instance that the task belongs to.
    pub process_instance_key: i64,
    /// Id of the process in its BPMN.
    pub bpmn_process_id: String,
    /// Version of the deployed process.
    pub process_definition_version: i32,
    /// Key of the deployed process.
    pub process_definition_key: i64,
    /// Id of the task in its BPMN.
    pub element_id: String,
    /// Key of this entry into the task; a new one each time a token enters.
    pub element_instance_key: i64,
    /// Tries that are left, this one included.
    pub retries: i32,
    /// The broker's wall clock at which it stops waiting, in milliseconds since 1970.
    pub deadline: i64,
    /// Tenant that owns the process, `<default>` where tenants are not in use.
    pub tenant_id: String,
    /// Fencing token of the activation (Camunda 8.10), where one was asked for and given.
    pub lease_token: Option<String>,
    /// The task's custom headers: JSON text of an object of strings.
    pub custom_headers: String,
    /// The variables that were asked for: JSON text of an object.
    pub variables: String,
}

/// The custom headers that mean something to every connector (`connector-runtime` contract).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// Name of the variable that takes the whole response.
    pub result_variable: Option<String>,
    /// FEEL over the response; its entries become variables.
    pub result_expression: Option<String>,
    /// FEEL over the response or the error; may turn it into another outcome.
    pub error_expression: Option<String>,
    /// ISO 8601 duration between two tries.
    pub retry_backoff: Option<String>,
    /// ISO 8601 duration that the engine shall wait for this job.
    pub job_timeout: Option<String>,
}

impl Job {
    /// The job without its headers and variables, which may be large.
    #[must_use]
    pub fn without_texts(&self) -> Self {
        Self {
            job_type: self.job_type.clone(),
            bpmn_process_id: self.bpmn_process_id.clone(),
            element_id: self.element_id.clone(),
            tenant_id: self.tenant_id.clone(),
            lease_token: None,
            custom_headers: String::new(),
            variables: String::new(),
            ..*self
        }
    }

    /// Whose secrets this job may ask for.
    pub fn secret_scope(&self) -> SecretScope<'_> {
        SecretScope {
            tenant_id: &self.tenant_id,
            bpmn_process_id: &self.bpmn_process_id,
            process_definition_key: self.process_definition_key,
            element_id: &self.element_id,
        }
    }

    /// The headers that steer the worker. Blank ones count as absent, except `retryBackoff`, where a blank text is a
    /// mistake that must be shown.
    ///
    /// # Errors
    /// An incident when the headers are not a JSON object of strings.
    pub fn headers(&self) -> Result<Headers, JobError> {
        if self.custom_headers.trim().is_empty() {
            return Ok(Headers::default());
        }
        let mut all: Map<String, Value> = serde_json::from_str(&self.custom_headers).map_err(|error| {
            JobError::input(format!(
                "The custom headers of this task are not a JSON object ({error})."
            ))
        })?;
        let mut take = |name: &str| match all.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(JobError::input(format!(
                "The header `{name}` must be a text, but is {}.",
                describe(&other)
            ))),
        };
        let not_blank = |text: &String| !text.trim().is_empty();
        Ok(Headers {
            result_variable: take("resultVariable")?.filter(not_blank),
            result_expression: take("resultExpression")?.filter(not_blank),
            error_expression: take("errorExpression")?.filter(not_blank),
            retry_backoff: take("retryBackoff")?,
            job_timeout: take("jobTimeout")?.filter(not_blank),
        })
    }

    /// The variables as a JSON object.
    ///
    /// # Errors
    /// An incident when the text is not JSON, or not an object. Its values are not shown.
    pub fn variables(&self) -> Result<Map<String, Value>, JobError> {
        match serde_json::from_str::<Value>(&self.variables) {
            Ok(Value::Object(variables)) => Ok(variables),
            Ok(other) => Err(JobError::input(format!(
                "The variables of this job are not a JSON object, but {}.",
                describe(&other)
            ))),
            Err(error) => Err(JobError::input(format!(
                "The variables of this job are not JSON (line {}, column {}).",
                error.line(),
                error.column()
            ))),
        }
    }
}

/// What a value is, for a message to a modeler; never the value itself.
pub fn describe(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list (array)",
        Value::Object(_) => "an object",
    }
}

impl std::fmt::Debug for Job {
    // Variables and headers may hold secrets' values or business data: the keys are enough to find the job.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("key", &self.key)
            .field("type", &self.job_type)
            .field("process_instance", &self.process_instance_key)
            .field("element", &self.element_id)
            .field("retries", &self.retries)
            .finish_non_exhaustive()
    }
}
