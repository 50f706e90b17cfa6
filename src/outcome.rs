//! What can go wrong on a job's way, and what the engine shall be told: the one border between errors and commands.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::secrets::Redactor;

/// How the work on a job ended, and what the engine is told: exactly one of these for each job that is ours.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The task is done; the variables are merged into the process.
    Complete {
        /// Variables for the process.
        variables: Map<String, Value>,
    },
    /// The task did not work; an incident when no retries are left.
    Fail {
        /// The new number of tries that are left.
        retries: i32,
        /// How long the engine waits before the next try; `None` leaves the field unset.
        backoff: Option<Duration>,
        /// What a person reads in the incident.
        message: String,
        /// Variables for the task's own scope.
        variables: Map<String, Value>,
    },
    /// A business error for the process to catch.
    BpmnError {
        /// The code that a boundary event names.
        code: String,
        /// Shown where no event catches it.
        message: Option<String>,
        /// Variables for the scope that catches.
        variables: Map<String, Value>,
    },
    /// It waits for something outside, is kept, and is worked on again when it is woken: nothing is said yet.
    Asleep,
    /// The job is not ours any more: nothing is said.
    Abandon {
        /// Why, for the log.
        reason: String,
    },
}

impl Outcome {
    /// The same outcome; if it is a failure, this is noted in the task's own scope with it.
    #[must_use]
    pub fn noting(mut self, note: Map<String, Value>) -> Self {
        if let Outcome::Fail { variables, .. } = &mut self {
            variables.extend(note);
        }
        self
    }

    /// The name of this outcome in metrics and logs.
    pub fn label(&self) -> &'static str {
        match self {
            Outcome::Complete { .. } => "completed",
            Outcome::Fail { retries, .. } if *retries <= 0 => "incident",
            Outcome::Fail { .. } => "failed",
            Outcome::BpmnError { .. } => "bpmn-error",
            Outcome::Asleep => "asleep",
            Outcome::Abandon { .. } => "abandoned",
        }
    }
}

/// What shall happen to a job that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Another try may help: retries − 1, with the backoff of the task's header.
    Retry,
    /// The other side said when to come back: retries − 1, and a backoff of at least this long.
    RetryAfter(Duration),
    /// Nothing was tried and nothing is wrong with the job: same retries, after this pause.
    Postpone(Duration),
    /// Only a person can mend it: retries 0.
    Incident,
}

/// The class of an error as FEEL expressions see it in `error.type`. Modelers compare with these texts, so they are
/// the names of Camunda's connector runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorType {
    /// The remote side or the way to it failed.
    Connector,
    /// What the modeler wrote cannot work.
    Input,
    /// deskhand itself failed (a panic).
    Internal,
}

impl ErrorType {
    /// The text of `error.type`.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorType::Connector => "io.camunda.connector.api.error.ConnectorException",
            ErrorType::Input => "io.camunda.connector.api.error.ConnectorInputException",
            ErrorType::Internal => "java.lang.RuntimeException",
        }
    }
}

/// Why a job did not work, and what shall be done about it.
///
/// Texts may still hold a secret's value (a server may echo it): they are redacted once, where they leave for the
/// engine or a log. `Debug` therefore shows the kind alone.
#[derive(Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct JobError {
    /// `error.type` in expressions.
    pub error_type: ErrorType,
    /// `error.code` in expressions: an HTTP status or a name.
    pub code: Option<String>,
    /// What a person reads.
    pub message: String,
    /// `error.variables` in expressions.
    pub variables: Option<Value>,
    /// What happens unless an error expression says otherwise.
    pub remedy: Remedy,
    /// A business error for the process, if the connector has one to offer: thrown instead of failing.
    pub bpmn_error: Option<String>,
    /// What shall be noted at the task if the job fails because of this error: variables for the task's own scope that
    /// travel in the same command. Never in a thrown error, whose variables reach the process.
    pub note: Option<Box<Map<String, Value>>>,
}

impl JobError {
    /// What the modeler or operations wrote cannot work: an incident. The message names the field, what was found and
    /// what to write instead.
    pub fn input(message: impl Into<String>) -> Self {
        Self {
            error_type: ErrorType::Input,
            code: None,
            message: message.into(),
            variables: None,
            remedy: Remedy::Incident,
            bpmn_error: None,
            note: None,
        }
    }

    /// The remote side or the way to it failed: another try may help.
    pub fn connector(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            error_type: ErrorType::Connector,
            code: Some(code.into()),
            message: message.into(),
            variables: None,
            remedy: Remedy::Retry,
            bpmn_error: None,
            note: None,
        }
    }

    /// deskhand failed: another try may help, and the neighbours are unharmed.
    pub fn internal(message: impl Into<String>) -> Self {
        Self {
            error_type: ErrorType::Internal,
            code: None,
            message: message.into(),
            variables: None,
            remedy: Remedy::Retry,
            bpmn_error: None,
            note: None,
        }
    }

    /// The same error with another remedy.
    #[must_use]
    pub fn with_remedy(mut self, remedy: Remedy) -> Self {
        self.remedy = remedy;
        self
    }

    /// The same error with variables for expressions and the incident.
    #[must_use]
    pub fn with_variables(mut self, variables: Value) -> Self {
        self.variables = Some(variables);
        self
    }

    /// The same error, thrown as a BPMN error with this code unless an error expression says otherwise.
    #[must_use]
    pub fn with_bpmn_error(mut self, code: impl Into<String>) -> Self {
        self.bpmn_error = Some(code.into());
        self
    }

    /// The same error, with what shall be noted at the task if the job fails because of it.
    #[must_use]
    pub fn with_note(mut self, note: Map<String, Value>) -> Self {
        self.note = Some(note).filter(|note| !note.is_empty()).map(Box::new);
        self
    }

    /// What shall be noted at the task if the job fails because of this error; mostly nothing.
    pub fn noted(&self) -> Map<String, Value> {
        self.note.as_deref().cloned().unwrap_or_default()
    }

    /// The same error without the values that the redactor knows.
    #[must_use]
    pub fn redacted(mut self, redactor: &Redactor) -> Self {
        self.message = redactor.text(&self.message).into_owned();
        self.variables = self.variables.map(|variables| redactor.value(variables));
        self
    }

    /// The `error` object of expressions and of the failed job's variables: `{type, message, code?, variables?}`.
    pub fn as_value(&self) -> Value {
        let mut error = Map::new();
        error.insert("type".into(), self.error_type.as_str().into());
        error.insert("message".into(), self.message.clone().into());
        if let Some(code) = &self.code {
            error.insert("code".into(), code.clone().into());
        }
        if let Some(variables) = &self.variables {
            error.insert("variables".into(), variables.clone());
        }
        Value::Object(error)
    }
}

impl std::fmt::Debug for JobError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobError")
            .field("type", &self.error_type)
            .field("code", &self.code)
            .field("remedy", &self.remedy)
            .finish_non_exhaustive()
    }
}
