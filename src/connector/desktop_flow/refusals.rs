//! Calls that failed: an error of Dataverse (or of the sign-in before it) goes in, a [`JobError`] comes out that says
//! what was tried, what was answered, and whose turn it is.

use std::time::Duration;

use serde_json::json;

use crate::http;
use crate::microsoft::Class;
use crate::microsoft::dataverse::Error;
use crate::outcome::{JobError, Remedy};

/// What the engine is told after a failed call that may safely be made again. `doing` is what failed, e.g. `Reading the
/// status of run X`.
pub fn job_error(doing: &str, error: &Error) -> JobError {
    let remedy = match (error.class(), error.retry_after()) {
        (Class::SomeoneMustFixIt, _) => Remedy::Incident,
        // Not even asked: all who share the credential wait.
        (_, Some(left)) if matches!(error, Error::HeldBack(_)) => {
            Remedy::Postpone(left + Duration::from_millis(fastrand::u64(0..1000)))
        }
        // A name that nobody knows is more often a slip of the pen than an outage: it ends as an incident.
        _ if is_unknown_host(error) => Remedy::Retry,
        // Throttled, or away: neither is the task's fault, so it costs no retry, however long it lasts.
        (Class::TryAgain | Class::Ambiguous, Some(asked)) => Remedy::Postpone(asked),
        (Class::TryAgain | Class::Ambiguous, None) => Remedy::Postpone(random_pause()),
    };
    described(doing, error).with_remedy(remedy)
}

fn is_unknown_host(error: &Error) -> bool {
    let unknown =
        |error: &http::Error| matches!(error, http::Error::Connect(text) if text.contains(http::UNKNOWN_HOST));
    match error {
        Error::Exchange(error) => unknown(error),
        Error::Token(error) => error.unreached().is_some_and(unknown),
        _ => false,
    }
}

/// A start that Dataverse refused; it was surely not executed.
pub fn refused_start(error: &Error) -> JobError {
    job_error("Starting the desktop flow", error)
}

/// The error without a remedy of its own.
pub fn described(doing: &str, error: &Error) -> JobError {
    let mut message = format!("{doing} failed: {error}");
    if !message.ends_with(['.', ')', '!', '?']) {
        message.push('.');
    }
    if let Some(hint) = error.hint() {
        message.push_str("\nWhat to do: ");
        message.push_str(&hint);
    }
    let job_error = JobError::connector(code(error), message);
    match error {
        Error::Refused(refusal) => job_error.with_variables(json!({
            "status": refusal.status,
            "code": refusal.code,
            "message": refusal.message,
            "requestId": refusal.request_id,
        })),
        _ => job_error,
    }
}

/// `error.code`: the HTTP status where there is one, else a word.
fn code(error: &Error) -> String {
    match error {
        Error::Token(_) => "TOKEN".into(),
        Error::HeldBack(_) => "HELD_BACK".into(),
        Error::Exchange(http::Error::Timeout(_)) => "TIMEOUT".into(),
        Error::Exchange(http::Error::TooLarge { .. }) => "ANSWER_TOO_LARGE".into(),
        Error::Exchange(_) => "CONNECTION".into(),
        Error::Refused(refusal) => refusal.status.to_string(),
        _ => "ANSWER".into(),
    }
}

/// A pause for a server that asks to wait without saying how long, 10 to 20 s.
pub fn random_pause() -> Duration {
    Duration::from_millis(fastrand::u64(10_000..20_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::microsoft::dataverse::Refusal;

    fn refused(status: u16, code: &str, retry_after: Option<u64>) -> Error {
        let message = "The user is not a member of the organization.";
        let mut refusal = Refusal::read(&http::Answer {
            status,
            reason: String::new(),
            headers: Default::default(),
            body: json!({"error": {"code": code, "message": message}})
                .to_string()
                .into_bytes(),
        });
        refusal.request_id = Some("r1".into());
        refusal.retry_after = retry_after.map(Duration::from_secs);
        Error::Refused(Box::new(refusal))
    }

    #[test]
    fn a_person_reads_what_failed_what_was_said_and_what_to_do() {
        let error = job_error("Listing the flows", &refused(403, "0x80072560", None));
        assert_eq!(error.remedy, Remedy::Incident);
        assert_eq!(error.code.as_deref(), Some("403"));
        let lines: Vec<&str> = error.message.lines().collect();
        assert_eq!(
            lines[0],
            "Listing the flows failed: HTTP 403, 0x80072560: The user is not a member of the organization. (request id r1)"
        );
        assert!(lines[1].starts_with("What to do: ") && lines[1].contains("application user"));
    }

    #[test]
    fn throttling_costs_no_retry_and_is_obeyed_to_the_second() {
        let error = job_error("x", &refused(429, "0x80072322", Some(17)));
        assert_eq!(error.remedy, Remedy::Postpone(Duration::from_secs(17)));
        let Remedy::Postpone(pause) = job_error("x", &refused(429, "", None)).remedy else {
            panic!("a throttled call is postponed");
        };
        assert!((10..=20).contains(&pause.as_secs()));
    }

    #[test]
    fn an_outage_costs_no_retry_and_an_unknown_host_does() {
        for error in [
            refused(502, "", None),
            refused(500, "", None),
            Error::Exchange(http::Error::Broken("reset".into())),
            Error::Exchange(http::Error::Connect("No connection: refused.".into())),
            Error::Exchange(http::Error::Timeout("x".into())),
        ] {
            let Remedy::Postpone(pause) = job_error("x", &error).remedy else {
                panic!("an outage is nobody's fault: {error}");
            };
            assert!((10..=20).contains(&pause.as_secs()));
        }
        assert_eq!(
            job_error("x", &refused(503, "", Some(9))).remedy,
            Remedy::Postpone(Duration::from_secs(9))
        );
        let slip = Error::Exchange(http::Error::Connect(format!(
            "No connection: {} (x).",
            http::UNKNOWN_HOST
        )));
        assert_eq!(job_error("x", &slip).remedy, Remedy::Retry);
    }

    #[test]
    fn an_answer_over_the_cap_will_not_shrink_by_itself() {
        let error = job_error(
            "x",
            &Error::Exchange(http::Error::TooLarge {
                limit: 5,
                hint: "Raise it.",
            }),
        );
        assert_eq!(error.remedy, Remedy::Incident);
        assert!(error.message.contains("5 bytes"));
    }
}
