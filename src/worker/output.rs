//! The last look at a result: does what the process would get hold a secret?
//!
//! FEEL can cut a value in pieces that no search finds, so the response is looked at before it is mapped. Where it holds
//! a secret, it is mapped twice, as it is and with the value masked: if both give the same, the secret plays no part in
//! the result. What completes a job is looked at once more by itself.

use std::sync::Arc;

use crate::connector::Response;
use crate::outcome::{JobError, Outcome};
use crate::secrets::Used;
use crate::secrets::output::{OnSecret, Settings, masking, names};
use crate::secrets::redaction::{Redactor, Secret};

/// What is known about a job's secrets when its result is mapped.
#[derive(Clone, Copy)]
pub(super) struct Guard<'a> {
    pub(super) settings: &'a Settings,
    /// The secrets of this job.
    pub(super) used: &'a [Used],
    /// Everything that is known.
    pub(super) known: &'a Redactor,
}

impl Guard<'_> {
    /// Maps a result so that no secret comes through.
    pub(super) fn outcome(
        &self,
        result: &Result<Response, JobError>,
        map: impl Fn(&Result<Response, JobError>) -> Outcome,
    ) -> Outcome {
        let response = match result {
            Ok(response) => response,
            Err(_) => return map(result),
        };
        let held = self.settings.forbidden(self.used, self.known, |known, found| {
            response.find_secrets(known, found)
        });
        if held.is_empty() {
            return self.completed(map(result), map);
        }
        let masked = Response::from(masking(&held).value(response.value().into_owned()));
        let masked = map(&Ok(masked));
        let plain = map(result);
        match (&plain, self.settings.on_secret) {
            _ if plain == masked => plain,
            (Outcome::Complete { .. }, OnSecret::Incident) => {
                map(&Err(incident(&changed(&plain, &masked), &names(&held))))
            }
            // Failures and thrown errors are not worth an incident: they are said without the secret.
            _ => masked,
        }
    }

    /// Looks at the variables of a completed job.
    fn completed(&self, outcome: Outcome, map: impl Fn(&Result<Response, JobError>) -> Outcome) -> Outcome {
        let Outcome::Complete { variables } = outcome else {
            return outcome;
        };
        let held: Vec<Arc<Secret>> = self.settings.forbidden(self.used, self.known, |known, found| {
            known.find_in_object(&variables, found)
        });
        if held.is_empty() {
            return Outcome::Complete { variables };
        }
        let masking = masking(&held);
        let masked = masking.value(variables.clone().into());
        let shown = Outcome::Complete {
            variables: masked.as_object().cloned().unwrap_or_default(),
        };
        match self.settings.on_secret {
            OnSecret::Mask => shown,
            OnSecret::Incident => {
                let plain = Outcome::Complete { variables };
                map(&Err(incident(&changed(&plain, &shown), &names(&held))))
            }
        }
    }
}

/// Names of the variables that differ, for a message.
fn changed(one: &Outcome, other: &Outcome) -> String {
    let (Outcome::Complete { variables: one }, Outcome::Complete { variables: other }) = (one, other) else {
        return "The result of this task".into();
    };
    let differ: Vec<String> = one
        .iter()
        .filter(|(name, value)| other.get(name.as_str()) != Some(value))
        .map(|(name, _)| format!("`{name}`"))
        .collect();
    match differ.as_slice() {
        [] => "The result of this task".into(),
        [name] => format!("The variable {name}"),
        names => format!("The variables {}", names.join(", ")),
    }
}

fn incident(what: &str, secrets: &str) -> JobError {
    let mut error = JobError::input(format!(
        "{what} would hold the value of {secrets}, which came back in the response, and a process's variables can be read \
         by everybody who sees the process. The call was made. Map other fields in `resultExpression`; or operations \
         allow it in deskhand.toml: [secrets] allow_in_output (names of secrets), or on_secret_in_output = \"mask\"."
    ));
    error.code = Some("SECRET_IN_OUTPUT".into());
    error
}
