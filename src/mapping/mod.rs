//! From a response (or an error) to an outcome: `resultVariable`, `resultExpression`, `errorExpression`, `retryBackoff`.
//!
//! In go the task's headers ([`Mapper::plan`], before anything is sent, so that an expression that does not parse costs
//! nothing) and what the connector gave; out comes the one thing the engine is told. The rules are those of Camunda's
//! connector runtime; where it hurts people, `docs/differences.md` says what is done instead.

mod error_expression;
mod patience;
mod programs;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::connector::Response;
use crate::feel::{EvalError, Program, Scope, Settings};
use crate::iso_duration;
use crate::job::{Headers, Job, describe};
use crate::outcome::{JobError, Outcome, Remedy};
use crate::secrets::Redactor;
pub use patience::Patience;
use programs::{Expression, Programs};

/// Texts for the engine are cut to this many UTF-16 code units; the engine itself cuts at 10,000 characters.
const LONGEST_MESSAGE: usize = 6_000;
/// Camunda's runtime refuses larger outputs; the broker itself gives up at about 4 MiB.
const LARGEST_OUTPUT: usize = 1_572_864;
/// A job that is worked on for longer than a year is a mistake; the broker's sums would overflow not far from there.
const LONGEST_LEASE: Duration = Duration::from_secs(365 * 24 * 3600);
/// Objects with this key are instructions to Camunda's runtime, which a response must not be able to smuggle in.
const FORBIDDEN_KEY: &str = "camunda.function.type";

/// Compiles the expressions of tasks, once a text, and maps what came back. Cheap to clone.
#[derive(Clone, Default)]
pub struct Mapper {
    programs: Arc<Programs>,
    settings: Settings,
}

/// What a task's headers ask for, parsed.
#[derive(Clone, Default)]
pub struct Plan {
    result_variable: Option<String>,
    result_expression: Option<Arc<Expression>>,
    error_expression: Option<Arc<Expression>>,
    /// How long the engine waits before another try.
    pub retry_backoff: Option<Duration>,
    /// How long the engine shall wait for this job, if the task says so.
    pub job_timeout: Option<Duration>,
}

impl Mapper {
    /// A mapper with these limits for expressions.
    pub fn new(settings: Settings) -> Self {
        Self {
            programs: Arc::default(),
            settings,
        }
    }

    /// Parses what the headers ask for.
    ///
    /// # Errors
    /// An incident that names the header, and for an expression the place and what was expected.
    pub fn plan(&self, headers: &Headers) -> Result<Plan, JobError> {
        Ok(Plan {
            result_variable: headers.result_variable.clone(),
            result_expression: self.program("resultExpression", headers.result_expression.as_deref())?,
            error_expression: self.program("errorExpression", headers.error_expression.as_deref())?,
            retry_backoff: headers.retry_backoff.as_deref().map(retry_backoff).transpose()?,
            job_timeout: headers.job_timeout.as_deref().map(job_timeout).transpose()?,
        })
    }

    fn program(&self, header: &str, text: Option<&str>) -> Result<Option<Arc<Expression>>, JobError> {
        let Some(text) = text else { return Ok(None) };
        self.programs
            .get(text, &self.settings.limits)
            .map(Some)
            .map_err(|error| {
                JobError::input(format!(
                    "The expression in the header `{header}` does not parse. {error}"
                ))
            })
    }

    /// The outcome of a job: what became of the call, seen through the task's expressions.
    ///
    /// Texts and variables of failures pass the `redactor`; an error expression sees the redacted error.
    pub fn outcome(&self, plan: &Plan, job: &Job, result: &Result<Response, JobError>, redactor: &Redactor) -> Outcome {
        self.outcome_within(plan, job, result, redactor, &Patience::full())
    }

    /// As [`Mapper::outcome`]; when the patience has run out, what it gives means nothing.
    pub fn outcome_within(
        &self,
        plan: &Plan,
        job: &Job,
        result: &Result<Response, JobError>,
        redactor: &Redactor,
        patience: &Patience,
    ) -> Outcome {
        let settings = patience.settings(&self.settings);
        let asked = Asked {
            settings: &settings,
            patience,
            redactor,
        };
        let mapped = match result {
            Ok(response) => match self.variables(plan, response, asked) {
                Ok(variables) => Ok((response, variables)),
                Err(error) => Err(redacted(error.with_note(response.note().clone()), redactor)),
            },
            Err(error) => Err(redacted(error.clone(), redactor)),
        };
        let verdict = match &plan.error_expression {
            None => Ok(None),
            Some(program) => self.error_expression(program, job, &mapped, asked),
        };
        match (verdict, mapped) {
            (Ok(Some(outcome)), mapped) => masked(outcome, redactor).noting(match mapped {
                Ok((response, _)) => response.note().clone(),
                Err(error) => error.noted(),
            }),
            (Ok(None), Ok((_, variables))) => Outcome::Complete { variables },
            (Ok(None), Err(error)) => failure(job, &error, plan.retry_backoff),
            // The task's own error handling is broken: only a person can say what shall be done with this result.
            // What was to be noted of a failed call is not: it would let the next try do the work again.
            (Err(error), mapped) => failure(job, &redacted(error, redactor), None)
                .noting(mapped.map_or_else(|_| Map::new(), |(response, _)| response.note().clone())),
        }
    }

    fn variables(&self, plan: &Plan, response: &Response, asked: Asked<'_>) -> Result<Map<String, Value>, JobError> {
        let mut variables = Map::new();
        if let Some(name) = &plan.result_variable {
            variables.insert(name.clone(), response.value().into_owned());
        }
        if let Some(Expression { program, seen }) = plan.result_expression.as_deref() {
            let seen = response.read(seen);
            let scope = spread(&seen).variable("response", &seen);
            let result = asked.result("result", program, &scope)?;
            match result {
                Value::Null => {}
                Value::Object(entries) => variables.extend(entries),
                other => {
                    return Err(JobError::input(format!(
                        "Result expression must return a JSON object, but got {}: write `{{name: {}}}` to put it into a variable.{}",
                        describe(&other),
                        shorten(program.text().trim_start_matches('=').trim(), 200),
                        {
                            // The nearest names are those of the whole response.
                            let whole = response.value();
                            asked.hints(program, &spread(&whole).variable("response", &whole))
                        }
                    )));
                }
            }
        }
        check_output(&variables)?;
        Ok(variables)
    }
}

/// How an expression is to be evaluated.
#[derive(Clone, Copy)]
struct Asked<'s> {
    settings: &'s Settings,
    patience: &'s Patience,
    redactor: &'s Redactor,
}

impl Asked<'_> {
    /// Why the result may not be what was meant. Only asked when it is none, as the answer takes another evaluation.
    fn hints(self, program: &Program, scope: &Scope<'_>) -> String {
        let warnings = program
            .evaluate(scope, self.settings)
            .map_or_else(|_| Vec::new(), |evaluation| evaluation.warnings);
        warnings
            .iter()
            .take(3)
            .map(|warning| format!(" {}", warning.message))
            .collect()
    }

    /// The value of the task's `kind` expression.
    fn result(self, kind: &str, program: &Program, scope: &Scope<'_>) -> Result<Value, JobError> {
        let result = if tracing::enabled!(tracing::Level::DEBUG) {
            self.told(kind, program, scope)
        } else {
            program.result(scope, self.settings)
        };
        result.map_err(|error| {
            if matches!(error, EvalError::Limit(_)) {
                self.patience.limit_reached();
            }
            JobError::input(format!(
                "The {kind} expression `{}` failed: {error}",
                shorten(program.text(), 300)
            ))
        })
    }
}

impl Asked<'_> {
    /// As [`Program::result`], with the warnings in the log. They may show values of the response.
    fn told(self, kind: &str, program: &Program, scope: &Scope<'_>) -> Result<Value, EvalError> {
        let evaluation = program.evaluate(scope, self.settings)?;
        for warning in &evaluation.warnings {
            let warning = self.redactor.text(&warning.message);
            let expression = shorten(program.text(), 300);
            tracing::debug!(kind, expression, %warning, "a part of an expression gives null");
        }
        Ok(evaluation.value)
    }
}

/// The output as the engine would get it: not too large, and no smuggled instruction in it.
fn check_output(variables: &Map<String, Value>) -> Result<(), JobError> {
    if variables.is_empty() {
        return Ok(());
    }
    let mut size = Measured::default();
    serde_json::to_writer(&mut size, variables)
        .map_err(|error| JobError::input(format!("The output cannot be written as JSON ({error}).")))?;
    if size.bytes > LARGEST_OUTPUT {
        return Err(JobError::input(format!(
            "The output of this task is {} bytes of JSON, over the limit of 1.5 MB. Map only what the process needs in \
             `resultExpression` (Camunda's \"Create document\" is not available here: deskhand has no document store).",
            size.bytes
        )));
    }
    if variables
        .iter()
        .any(|(key, value)| key == FORBIDDEN_KEY || holds_forbidden_key(value))
    {
        return Err(JobError::input(format!(
            "The output of this task holds the forbidden literal `{FORBIDDEN_KEY}`: Camunda would run it as a function. \
             Map the fields you need by name in `resultExpression`."
        )));
    }
    Ok(())
}

// serde_json reads at most 128 levels and FEEL bounds its results, so this recursion is bounded.
fn holds_forbidden_key(value: &Value) -> bool {
    match value {
        Value::Object(map) => map
            .iter()
            .any(|(key, value)| key == FORBIDDEN_KEY || holds_forbidden_key(value)),
        Value::Array(list) => list.iter().any(holds_forbidden_key),
        _ => false,
    }
}

/// Counts bytes instead of keeping them.
#[derive(Default)]
struct Measured {
    bytes: usize,
}

impl std::io::Write for Measured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The fields of an object as variables of their own.
fn spread(value: &Value) -> Scope<'_> {
    match value {
        Value::Object(fields) => Scope::new().layer(fields),
        _ => Scope::new(),
    }
}

fn retry_backoff(text: &str) -> Result<Duration, JobError> {
    let fault = || {
        JobError::input(format!(
            "Failed to parse retry backoff header: `retryBackoff` is `{}`; write an ISO 8601 duration of days to \
             seconds such as PT30S or P1DT12H.",
            shorten(text, 100)
        ))
    };
    iso_duration::parse(text).and_then(not_negative).ok_or_else(fault)
}

/// A pause; a negative one is none, as the engine reads it. `None`: too long to be said.
fn not_negative(duration: iso_duration::Signed) -> Option<Duration> {
    if duration.is_positive() {
        duration.to_std()
    } else {
        Some(Duration::ZERO)
    }
}

fn job_timeout(text: &str) -> Result<Duration, JobError> {
    let fault = |why: &str| {
        JobError::input(format!(
            "Failed to parse job timeout header: `jobTimeout` is `{}`, but {why}; write an ISO 8601 duration such as PT10M.",
            shorten(text, 100)
        ))
    };
    let duration = iso_duration::parse(text).ok_or_else(|| fault("that is not a duration"))?;
    let whole = match duration.to_std() {
        Some(duration) if duration > LONGEST_LEASE => return Err(fault("it is too large to represent")),
        Some(duration) => duration,
        None if duration.is_positive() => return Err(fault("it is too large to represent")),
        None => return Err(fault("it must be a positive duration")),
    };
    if whole < Duration::from_millis(1) {
        return Err(fault("it must be a positive duration of at least a millisecond"));
    }
    Ok(whole)
}

/// The error as it may be seen outside: no secret's value in its texts.
fn redacted(mut error: JobError, redactor: &Redactor) -> JobError {
    error.message = shorten(&redactor.text(&error.message), LONGEST_MESSAGE);
    error.variables = error.variables.map(|variables| redactor.value(variables));
    error
}

/// An outcome of the task's own making, without any known secret; cut to size only then, so that no half of one is left.
fn masked(outcome: Outcome, redactor: &Redactor) -> Outcome {
    let mask = |variables: Map<String, Value>| match redactor.value(Value::Object(variables)) {
        Value::Object(variables) => variables,
        _ => Map::new(),
    };
    match outcome {
        Outcome::Fail {
            retries,
            backoff,
            message,
            variables,
        } => Outcome::Fail {
            retries,
            backoff,
            message: shorten(&redactor.text(&message), LONGEST_MESSAGE),
            variables: mask(variables),
        },
        Outcome::BpmnError {
            code,
            message,
            variables,
        } => Outcome::BpmnError {
            code: redactor.text(&code).into_owned(),
            message: message.map(|message| shorten(&redactor.text(&message), LONGEST_MESSAGE)),
            variables: mask(variables),
        },
        other => other,
    }
}

/// What the engine is told of an error that no error expression took care of.
pub fn failure(job: &Job, error: &JobError, retry_backoff: Option<Duration>) -> Outcome {
    let as_value = error.as_value();
    if let Some(code) = &error.bpmn_error {
        let mut variables = match &error.variables {
            Some(Value::Object(variables)) => variables.clone(),
            _ => Map::new(),
        };
        variables.entry("error").or_insert(as_value);
        return Outcome::BpmnError {
            code: code.clone(),
            message: Some(shorten(&error.message, LONGEST_MESSAGE)),
            variables,
        };
    }
    let left = job.retries.saturating_sub(1).max(0);
    let (retries, backoff) = match error.remedy {
        Remedy::Retry => (left, retry_backoff),
        Remedy::RetryAfter(pause) => (left, Some(retry_backoff.map_or(pause, |own| own.max(pause)))),
        Remedy::Postpone(pause) => (job.retries.max(1), Some(pause)),
        Remedy::Incident => (0, retry_backoff),
    };
    let mut variables = Map::new();
    variables.insert("error".into(), as_value);
    variables.extend(error.noted());
    Outcome::Fail {
        retries,
        backoff,
        message: shorten(
            &with_variables(&error.message, error.variables.as_ref()),
            LONGEST_MESSAGE,
        ),
        variables,
    }
}

/// A message with the error's variables behind it, so that an incident shows what the server answered.
fn with_variables(message: &str, variables: Option<&Value>) -> String {
    match variables {
        Some(variables) => format!("{message} | Error variables: {variables}"),
        None => message.to_owned(),
    }
}

/// The text, cut to so many UTF-16 code units.
fn shorten(text: &str, longest: usize) -> String {
    if text.len() <= longest {
        return text.to_owned();
    }
    let mut units = 0;
    let end = text
        .char_indices()
        .find(|(_, c)| {
            units += c.len_utf16();
            units > longest
        })
        .map_or(text.len(), |(at, _)| at);
    text[..end].to_owned()
}

/// The job as expressions see it.
fn job_context(job: &Job) -> Value {
    json!({ "retries": job.retries })
}
