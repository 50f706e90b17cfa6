//! What an exchange that failed means for the job: codes and texts are those of Camunda's runtime.

use super::response;
use crate::http;
use crate::http::token::{Grant, TokenError, TokenFault};
use crate::microsoft::entra;
use crate::outcome::{JobError, Remedy};

/// Why there is no answer.
pub(super) enum Failure {
    /// The exchange failed.
    Http(http::Error),
    /// The secrets' policy refused it.
    Refused(JobError),
}

impl From<http::Error> for Failure {
    fn from(error: http::Error) -> Self {
        Failure::Http(error)
    }
}

impl Failure {
    /// What it means for the job.
    pub(super) fn into_job_error(self) -> JobError {
        match self {
            Failure::Http(error) => of_http(&error),
            Failure::Refused(error) => error,
        }
    }
}

pub(super) fn of_http(error: &http::Error) -> JobError {
    match error {
        http::Error::Invalid(text) => JobError::input(text.clone()),
        http::Error::Blocked(_) => JobError {
            code: Some("ADDRESS_NOT_ALLOWED".into()),
            ..JobError::input(error.to_string())
        },
        http::Error::Connect(text) => {
            JobError::connector("408", format!("An error occurred while executing the request. {text}"))
        }
        http::Error::Timeout(_) => JobError::connector(
            "408",
            format!("{error} If the server needs longer, raise `readTimeoutInSeconds`."),
        ),
        http::Error::Withheld(_) | http::Error::Broken(_) => JobError::connector("408", error.to_string()),
        http::Error::Tls(_) => JobError::connector("SSL_HANDSHAKE_FAILED", error.to_string()),
        // The request was executed: another try would execute it again, and be as large.
        http::Error::TooLarge { .. } => {
            JobError::connector("RESPONSE_TOO_LARGE", error.to_string()).with_remedy(Remedy::Incident)
        }
        http::Error::Protocol(_) => JobError::connector("500", error.to_string()),
    }
}

/// The error of a task whose token could not be fetched.
pub(super) fn of_token(error: &TokenError, grant: &Grant) -> JobError {
    let refreshing = matches!(grant, Grant::RefreshToken(_));
    let job_error = match &error.fault {
        TokenFault::Unreached(cause) => {
            let of_cause = of_http(cause);
            JobError {
                message: format!("No access token from {}: {}", error.host, of_cause.message),
                ..of_cause
            }
        }
        TokenFault::Refused {
            answer, error: code, ..
        } => {
            let code = match code.as_deref() {
                Some("invalid_grant") if refreshing => "OAUTH_REFRESH_TOKEN_EXPIRED".to_owned(),
                Some("interaction_required") if refreshing => "OAUTH_INTERACTION_REQUIRED".to_owned(),
                _ => answer.status.to_string(),
            };
            let message = match entra::hint(error) {
                Some(hint) => format!("{error}\nWhat to do: {hint}"),
                None => error.to_string(),
            };
            JobError::connector(code, message).with_variables(response::variables_of(answer))
        }
        TokenFault::NoToken { .. } => JobError::connector("OAUTH_TOKEN_ERROR", error.to_string()),
        TokenFault::Died => JobError::internal(error.to_string()),
    };
    match error.retry_after() {
        Some(wait) => job_error.with_remedy(Remedy::RetryAfter(wait)),
        None => job_error,
    }
}
