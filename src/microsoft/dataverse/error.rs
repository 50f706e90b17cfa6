//! Why a call of Dataverse failed: what was refused and what it means, whether it can have been executed, and when to
//! come back.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use url::Url;

use super::gate::Heard;
use super::privilege::Needed;
use super::{codes, privilege};
use crate::http::header::{DATE, HeaderMap, RETRY_AFTER};
use crate::http::token::TokenError;
use crate::http::{self, Answer, Sent};
use crate::microsoft::{Class, Meaning, entra};

/// A failed call. Its text holds what the server said, so it is redacted before it leaves the process.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No token to call with: Dataverse was not asked.
    #[error("{0}")]
    Token(#[source] TokenError),
    /// The exchange itself failed.
    #[error("{0}")]
    Exchange(#[source] http::Error),
    /// Not sent: the server asked everybody who shares this credential for a pause, or is away.
    #[error("Dataverse is left alone for another {} s: it asked for a pause, or did not answer several times in a row", .0.as_secs().max(1))]
    HeldBack(Duration),
    /// Dataverse answered with a refusal.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// Dataverse accepted, but what it answered is not understood.
    #[error("the answer of Dataverse is not understood: {0}")]
    Answer(String),
}

/// What Dataverse said when it refused.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Platform code, e.g. `0x80040220`; often empty.
    pub code: String,
    /// What the server says; empty for 401.
    pub message: String,
    /// What Microsoft's support asks for.
    pub request_id: Option<String>,
    /// How long the server asks to wait.
    pub retry_after: Option<Duration>,
    /// The answer's own clock.
    pub server_time: Option<Timestamp>,
    /// The answer itself.
    pub answer: Answer,
    /// The privilege that the call needs, where that is known.
    pub(super) needed: Option<Needed>,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HTTP {}", self.status)?;
        if !self.code.is_empty() {
            write!(f, ", {}", self.code)?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        if let Some(id) = &self.request_id {
            write!(f, " (request id {id})")?;
        }
        Ok(())
    }
}

impl Error {
    /// Whose turn it is.
    pub fn class(&self) -> Class {
        match self {
            Error::Token(error) => entra::class(error),
            Error::HeldBack(_) => Class::TryAgain,
            Error::Exchange(http::Error::Invalid(_) | http::Error::Blocked(_) | http::Error::TooLarge { .. }) => {
                Class::SomeoneMustFixIt
            }
            Error::Exchange(error) => match error.sent() {
                Sent::No => Class::TryAgain,
                Sent::Maybe => Class::Ambiguous,
            },
            Error::Refused(refusal) => refusal.meaning().class,
            Error::Answer(_) => Class::Ambiguous,
        }
    }

    /// Can Dataverse have executed the request?
    pub fn sent(&self) -> Sent {
        match self {
            Error::Token(_) | Error::HeldBack(_) => Sent::No,
            Error::Exchange(error) => error.sent(),
            Error::Refused(refusal) if refusal.meaning().class == Class::Ambiguous => Sent::Maybe,
            Error::Refused(_) => Sent::No,
            Error::Answer(_) => Sent::Maybe,
        }
    }

    /// What to do next, where more is known than the message says.
    pub fn hint(&self) -> Option<Cow<'static, str>> {
        match self {
            Error::Token(error) => entra::hint(error).map(Cow::Borrowed),
            Error::Exchange(_) | Error::Answer(_) | Error::HeldBack(_) => None,
            Error::Refused(refusal) => Some(refusal.hint()).filter(|hint| !hint.is_empty()),
        }
    }

    /// How long the server asks to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::Refused(refusal) => refusal.retry_after,
            Error::Token(error) => error.retry_after(),
            Error::HeldBack(left) => Some(*left),
            _ => None,
        }
    }

    /// What the gate learns from this error.
    pub(super) fn heard(&self) -> Heard {
        match self {
            // The organisation was not asked, or it answered, whatever it said.
            Error::Exchange(http::Error::Invalid(_) | http::Error::TooLarge { .. }) | Error::Answer(_) => Heard::Works,
            Error::Token(error) => match (entra::class(error), error.retry_after()) {
                (Class::SomeoneMustFixIt, _) => Heard::Works,
                (_, Some(asked)) => Heard::Pause(asked),
                (_, None) => Heard::Fails,
            },
            Error::HeldBack(_) | Error::Exchange(_) => Heard::Fails,
            Error::Refused(refusal) => match (refusal.meaning().class, refusal.retry_after) {
                (Class::SomeoneMustFixIt, _) => Heard::Works,
                // A gateway's 502 or 504 speaks of one request, not of the organisation.
                (_, Some(asked)) if matches!(refusal.status, 429 | 503) => Heard::Pause(asked),
                // Throttled without a figure: the caller waits, the others may try.
                (Class::TryAgain, _) => Heard::Works,
                (Class::Ambiguous, _) => Heard::Fails,
            },
        }
    }

    /// The HTTP status of a refusal.
    pub fn status(&self) -> Option<u16> {
        match self {
            Error::Refused(refusal) => Some(refusal.status),
            _ => None,
        }
    }

    /// Dataverse's clock, where it answered.
    pub fn server_time(&self) -> Option<Timestamp> {
        match self {
            Error::Refused(refusal) => refusal.server_time,
            _ => None,
        }
    }

    /// Was the request held back at the last look, or given up before it left?
    pub fn was_withheld(&self) -> bool {
        matches!(self, Error::Exchange(http::Error::Withheld(_)))
    }

    /// Is this Dataverse saying that there is no such row (or none that the caller may see)?
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }
}

impl Refusal {
    /// What the refusal means.
    pub fn meaning(&self) -> Meaning {
        codes::meaning(self.status, &self.code)
    }

    /// What to do next. For want of a privilege it is named: the one that Dataverse names, or the one that the call needs.
    pub fn hint(&self) -> Cow<'static, str> {
        privilege::hint(self).map_or(Cow::Borrowed(self.meaning().hint), Cow::Owned)
    }

    /// The same, as the refusal of this call.
    #[must_use]
    pub fn of_call(mut self, method: &str, url: &Url) -> Self {
        self.needed = privilege::needed(method, url);
        self
    }

    /// Does its code say more than its status?
    pub(super) fn has_known_code(&self) -> bool {
        codes::meaning(self.status, "") != self.meaning()
    }

    /// What an answer with another status than 2xx says.
    pub fn read(answer: &Answer) -> Self {
        let body: Body = serde_json::from_slice(&answer.body).unwrap_or_default();
        Self {
            status: answer.status,
            code: shortened(&body.error.code, LONGEST_ID),
            message: shortened(body.error.message.trim(), LONGEST_MESSAGE),
            request_id: request_id(&answer.headers),
            retry_after: retry_after(answer),
            server_time: server_time(&answer.headers),
            answer: answer.clone(),
            needed: None,
        }
    }
}

/// Dataverse's name for a request, by which its support finds it.
pub(super) fn request_id(headers: &HeaderMap) -> Option<String> {
    let id = ["x-ms-service-request-id", "req_id", "x-ms-request-id"]
        .iter()
        .find_map(|name| headers.get(*name))?;
    Some(shortened(id.to_str().ok()?, LONGEST_ID))
}

const LONGEST_ID: usize = 100;
const LONGEST_MESSAGE: usize = 2000;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    error: BodyError,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct BodyError {
    code: String,
    message: String,
}

fn shortened(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// `Retry-After` in seconds or as a date. A date is compared with the answer's own `Date`, so that a worker whose clock
/// is wrong waits right.
fn retry_after(answer: &Answer) -> Option<Duration> {
    let text = answer.headers.get(RETRY_AFTER)?.to_str().ok()?;
    match (http_date(text), server_time(&answer.headers)) {
        // A date in the past means now.
        (Some(until), Some(now)) => Some(Duration::try_from(until.duration_since(now)).unwrap_or_default()),
        _ => answer.retry_after(),
    }
}

/// The `Date` header of an answer: Dataverse's clock.
pub(super) fn server_time(headers: &HeaderMap) -> Option<Timestamp> {
    http_date(headers.get(DATE)?.to_str().ok()?)
}

fn http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::header::HeaderValue;

    fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Answer {
        Answer {
            status,
            reason: String::new(),
            headers: headers
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
                .collect(),
            body: body.as_bytes().to_vec(),
        }
    }

    #[test]
    fn a_refusal_tells_status_code_message_and_request_id() {
        let refusal = Refusal::read(&answer(
            403,
            &[("x-ms-service-request-id", "abc")],
            r#"{"error":{"code":"0x80072560","message":"The user is not a member of the organization."}}"#,
        ));
        assert_eq!(
            refusal.to_string(),
            "HTTP 403, 0x80072560: The user is not a member of the organization. (request id abc)"
        );
        let error = Error::Refused(Box::new(refusal));
        assert_eq!(error.class(), Class::SomeoneMustFixIt);
        assert_eq!(error.sent(), Sent::No);
        assert!(error.hint().unwrap().contains("application user"));
    }

    #[test]
    fn a_refusal_without_a_body_is_still_one() {
        let refusal = Refusal::read(&answer(401, &[], ""));
        assert_eq!(refusal.to_string(), "HTTP 401");
        assert_eq!(Refusal::read(&answer(502, &[], "<html>")).to_string(), "HTTP 502");
    }

    #[test]
    fn an_endless_message_is_cut_at_a_character() {
        let body = serde_json::json!({"error": {"code": "x", "message": "ä".repeat(5000)}}).to_string();
        let refusal = Refusal::read(&answer(400, &[], &body));
        assert_eq!(refusal.message.chars().count(), LONGEST_MESSAGE + 1);
    }

    #[test]
    fn the_pause_is_read_in_seconds_and_as_a_date_by_the_servers_clock() {
        let pause = |headers: &[(&'static str, &'static str)]| Refusal::read(&answer(429, headers, "")).retry_after;
        assert_eq!(pause(&[("retry-after", "17")]), Some(Duration::from_secs(17)));
        assert_eq!(
            pause(&[
                ("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT"),
                ("date", "Sun, 06 Nov 1994 08:49:37 GMT")
            ]),
            Some(Duration::from_secs(30))
        );
        assert_eq!(
            pause(&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")]),
            Some(Duration::ZERO),
            "a date in the past"
        );
        assert_eq!(pause(&[("retry-after", "soon")]), None);
        assert_eq!(pause(&[]), None);
    }

    #[test]
    fn a_lost_answer_may_have_been_executed_and_a_lost_connection_not() {
        let lost = Error::Exchange(http::Error::Broken("reset".into()));
        assert_eq!((lost.class(), lost.sent()), (Class::Ambiguous, Sent::Maybe));
        let never = Error::Exchange(http::Error::Connect("refused".into()));
        assert_eq!((never.class(), never.sent()), (Class::TryAgain, Sent::No));
    }
}
