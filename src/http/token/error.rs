//! Why there is no token: what the endpoint answered goes in, a class comes out.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::super::{Answer, Error};

/// Codes of Microsoft Entra that mean a passing trouble on its side (or on the way to an on-premises directory).
const PASSING_CODES: [u32; 14] = [
    40010, 50033, 50087, 70012, 80002, 80005, 80014, 90006, 90012, 90024, 90033, 90055, 90090, LOOP,
];

/// Microsoft Entra has seen the same request too often in a short time.
const LOOP: u32 = 50196;

/// Why there is no token. Its texts come from the endpoint and are shown to modelers; they name no credential of ours.
#[derive(Clone, Debug)]
pub struct TokenError {
    /// What happened.
    pub fault: TokenFault,
    /// Host of the endpoint.
    pub host: String,
    /// How long the endpoint is left alone: it was not asked again.
    wait: Option<Duration>,
}

/// What happened instead of a token.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TokenFault {
    /// The endpoint was not reached, or its answer was not.
    Unreached(Error),
    /// The endpoint refused.
    Refused {
        /// Its whole answer.
        answer: Arc<Answer>,
        /// The field `error`, e.g. `invalid_client`.
        error: Option<String>,
        /// The field `error_description`.
        description: Option<String>,
        /// The code of Microsoft Entra, e.g. 7000215 of `AADSTS7000215`.
        aadsts: Option<u32>,
    },
    /// It answered without an `access_token`.
    NoToken {
        /// HTTP status.
        status: u16,
    },
    /// The fetching task died; deskhand's own fault.
    Died,
}

impl TokenError {
    pub(super) fn new(host: &str, fault: TokenFault) -> Self {
        Self {
            fault,
            host: host.to_owned(),
            wait: None,
        }
    }

    /// The same, said to somebody who comes while the endpoint is left alone for so long.
    pub(super) fn after(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }

    /// Does the endpoint say that it is asked in a loop?
    pub(super) fn is_loop(&self) -> bool {
        matches!(self.fault, TokenFault::Refused { aadsts: Some(LOOP), .. })
    }

    /// The error of an answer that carries no token.
    pub(super) fn from_answer(host: &str, answer: Answer) -> Self {
        if answer.status < 400 {
            return Self::new(host, TokenFault::NoToken { status: answer.status });
        }
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
        let description = text("error_description");
        let listed = body
            .get("error_codes")
            .and_then(|codes| codes.get(0))
            .and_then(Value::as_u64);
        let aadsts = listed
            .and_then(|code| u32::try_from(code).ok())
            .or_else(|| description.as_deref().and_then(aadsts_of));
        let fault = TokenFault::Refused {
            error: text("error"),
            description,
            aadsts,
            answer: Arc::new(answer),
        };
        Self::new(host, fault)
    }

    /// The error of a refusal with this body.
    #[cfg(test)]
    pub(crate) fn of_refusal(host: &str, status: u16, body: &str) -> Self {
        let answer = Answer {
            status,
            reason: String::new(),
            headers: reqwest::header::HeaderMap::new(),
            body: body.as_bytes().to_vec(),
        };
        Self::from_answer(host, answer)
    }

    /// HTTP status of the endpoint's answer, where there was one.
    pub fn status(&self) -> Option<u16> {
        match &self.fault {
            TokenFault::Refused { answer, .. } => Some(answer.status),
            TokenFault::NoToken { status } => Some(*status),
            TokenFault::Unreached(_) | TokenFault::Died => None,
        }
    }

    /// Can asking the same again help, without anybody changing anything?
    pub fn is_retryable(&self) -> bool {
        match &self.fault {
            TokenFault::Unreached(error) => !matches!(error, Error::Invalid(_) | Error::Blocked(_)),
            TokenFault::Refused {
                answer, error, aadsts, ..
            } => {
                answer.status == 429
                    || answer.status >= 500
                    || error.as_deref() == Some("temporarily_unavailable")
                    || aadsts.is_some_and(|code| PASSING_CODES.contains(&code))
            }
            TokenFault::NoToken { .. } => false,
            TokenFault::Died => true,
        }
    }

    /// Why the endpoint could not be reached, where that was so.
    pub fn unreached(&self) -> Option<&Error> {
        match &self.fault {
            TokenFault::Unreached(error) => Some(error),
            _ => None,
        }
    }

    /// How long the endpoint asked to wait before the next question.
    pub fn retry_after(&self) -> Option<Duration> {
        if self.wait.is_some() {
            return self.wait;
        }
        match &self.fault {
            TokenFault::Refused { answer, .. } => answer.retry_after(),
            _ => None,
        }
    }
}

impl std::error::Error for TokenError {}

impl std::fmt::Display for TokenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let host = &self.host;
        match &self.fault {
            TokenFault::Unreached(error) => write!(f, "No access token from {host}: {error}"),
            TokenFault::Refused {
                answer,
                error,
                description,
                ..
            } => {
                write!(f, "The token endpoint {host} refused with {}", answer.status)?;
                if !answer.reason.is_empty() {
                    write!(f, " {}", answer.reason)?;
                }
                if let Some(error) = error {
                    write!(f, ": {error}")?;
                }
                // Entra appends trace and time lines; the first line says what is wrong.
                if let Some(line) = description.as_deref().and_then(|text| text.lines().next()) {
                    write!(f, ": {line}")?;
                }
                match self.wait {
                    Some(wait) => write!(f, " (it is left alone for another {} s)", wait.as_secs().max(1)),
                    None => Ok(()),
                }
            }
            TokenFault::NoToken { status } => write!(
                f,
                "The token endpoint {host} answered {status} without an `access_token`. Is its URL the token endpoint \
                 of this identity provider?"
            ),
            TokenFault::Died => write!(f, "Fetching a token from {host} ended unexpectedly."),
        }
    }
}

/// The number in `AADSTS7000215: ...`.
fn aadsts_of(description: &str) -> Option<u32> {
    let digits = description.split_once("AADSTS")?.1;
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, body: &str) -> TokenError {
        TokenError::of_refusal("login.example", status, body)
    }

    #[test]
    fn what_entra_says_is_shown_without_its_trace_lines() {
        let error = refused(
            401,
            r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret.\r\nTrace ID: 1"}"#,
        );
        let TokenFault::Refused { aadsts, .. } = &error.fault else {
            panic!("refused")
        };
        assert_eq!(*aadsts, Some(7_000_215));
        assert_eq!(
            error.to_string(),
            "The token endpoint login.example refused with 401: invalid_client: \
             AADSTS7000215: Invalid client secret."
        );
        assert!(!error.is_retryable());
    }

    #[test]
    fn passing_trouble_is_told_from_lasting_trouble() {
        assert!(refused(503, "busy").is_retryable());
        assert!(refused(429, "").is_retryable());
        assert!(refused(400, r#"{"error":"temporarily_unavailable"}"#).is_retryable());
        assert!(refused(400, r#"{"error_codes":[90033]}"#).is_retryable());
        assert!(!refused(400, r#"{"error_codes":[700016]}"#).is_retryable());
        assert!(!refused(200, "{}").is_retryable());
    }
}
