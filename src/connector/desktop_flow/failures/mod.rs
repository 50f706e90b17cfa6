//! Runs that did not succeed: what the engine shall be told. What their error codes mean is data ([`table`]).
//!
//! In goes the row of an ended run; out comes a [`JobError`]: a BPMN error where the process can do something about it,
//! an incident with a hint where a person must, a failed try where time alone helps.

mod table;

use std::time::Duration;

use serde_json::json;

use crate::microsoft::dataverse::End;
use crate::outcome::{JobError, Remedy};
use crate::runs::Ended;
pub use table::{Action, Class, meaning};

/// The code of the BPMN error for a run that failed.
pub const FAILED: &str = "DESKTOP_FLOW_FAILED";
/// The code of the BPMN error for a run that was cancelled.
pub const CANCELLED: &str = "DESKTOP_FLOW_CANCELLED";
/// The code of the BPMN error for a run that ran into a time limit.
pub const TIMED_OUT: &str = "DESKTOP_FLOW_TIMED_OUT";

/// What a task wants to become of some error codes: its field `errorActions`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actions(pub Vec<(String, Action)>);

impl Actions {
    /// The words for actions in `errorActions`.
    pub const WORDS: [(&'static str, Action); 3] = [
        ("retry", Action::Retry(60)),
        ("bpmnError", Action::BpmnError),
        ("incident", Action::Incident),
    ];

    /// What the task wants for this code; `*` stands for all that it does not name.
    fn of(&self, code: &str) -> Option<Action> {
        let named = |name: &str| self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        named(code.trim()).or_else(|| named("*")).map(|(_, action)| *action)
    }
}

/// What the engine is told about a run that ended without success.
///
/// `has_backoff` says whether the task names a backoff of its own (header `retryBackoff`): it then knows better than
/// the table how long to wait. `attempt` counts the runs of this entry into the task. `link` leads to the run.
pub fn job_error(ended: &Ended, attempt: u32, has_backoff: bool, actions: &Actions, link: &str) -> JobError {
    let session = &ended.session;
    let error = session.error.clone().unwrap_or_default();
    let status = session.status;
    let code = match error.code.trim() {
        "" => status.label(),
        code => code,
    };
    let (class, hint) = match ended.end {
        End::Succeeded | End::Failed => meaning(code),
        // The status says more than any code beside it.
        End::Cancelled | End::TimedOut => (Class::Business, ""),
    };
    let mut message = format!(
        "The desktop flow run {} ended with status {} ({})",
        session.id,
        status.code(),
        status.label()
    );
    if code != status.label() {
        message.push_str(&format!(", {code}"));
    }
    if error.message.trim().is_empty() {
        message.push('.');
    } else {
        message.push_str(&format!(": {}", error.message.trim()));
    }
    if !hint.is_empty() {
        message.push_str(&format!("\nWhat to do: {hint}"));
    }
    message.push_str(&format!("\nThe run: {link}"));
    if let Some(id) = &error.request_id {
        message.push_str(&format!(" (request id {id})"));
    }
    let job_error = JobError::connector(code, message).with_variables(json!({
        "errorCode": code,
        "errorMessage": error.message,
        "errorDetails": error.details,
        "flowSessionId": session.id,
        "statusCode": status.code(),
        "status": status.label(),
        "requestId": error.request_id,
    }));
    let bpmn_error = match ended.end {
        End::Cancelled => CANCELLED,
        End::TimedOut => TIMED_OUT,
        End::Succeeded | End::Failed => FAILED,
    };
    match actions.of(code).unwrap_or_else(|| class.action(attempt)) {
        Action::BpmnError => thrown(job_error, bpmn_error),
        Action::Incident => job_error.with_remedy(Remedy::Incident),
        Action::Retry(_) if has_backoff => job_error.with_remedy(Remedy::Retry),
        Action::Retry(seconds) => job_error.with_remedy(Remedy::RetryAfter(Duration::from_secs(seconds))),
    }
}

/// A BPMN error; where an error expression makes a failure of it again, nothing is started by itself.
fn thrown(error: JobError, code: &str) -> JobError {
    error.with_remedy(Remedy::Incident).with_bpmn_error(code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::microsoft::dataverse::sessions::{FlowSession, RunError};
    use crate::microsoft::dataverse::{Guid, Status};

    const LINK: &str = "https://contoso.crm4.dynamics.com/run";

    fn ended(status: i64, code: &str, message: &str) -> Ended {
        let status = Status::from_code(status);
        Ended {
            end: status.end().unwrap(),
            session: FlowSession {
                id: Guid::parse("d9687093-d0c0-ec11-983e-0022480b428a").unwrap(),
                status,
                created_on: None,
                started_on: None,
                completed_on: None,
                error: Some(RunError {
                    code: code.into(),
                    message: message.into(),
                    details: String::new(),
                    request_id: Some("r-1".into()),
                }),
                age: None,
            },
        }
    }

    #[test]
    fn what_the_script_raised_is_an_error_for_the_process() {
        let error = job_error(
            &ended(8, "UIElementNotFound", "No such button"),
            1,
            false,
            &Actions::default(),
            LINK,
        );
        assert_eq!(error.bpmn_error.as_deref(), Some(FAILED));
        assert_eq!(
            error.variables.unwrap(),
            json!({"errorCode": "UIElementNotFound", "errorMessage": "No such button", "errorDetails": "",
                   "flowSessionId": "d9687093-d0c0-ec11-983e-0022480b428a", "statusCode": 8, "status": "Failed",
                   "requestId": "r-1"})
        );
    }

    #[test]
    fn every_end_without_success_has_its_way() {
        for (status, expected) in [
            (5, FAILED),
            (7, CANCELLED),
            (8, FAILED),
            (9, FAILED),
            (10, TIMED_OUT),
            (11, FAILED),
            (12, FAILED),
            (13, FAILED),
            (14, FAILED),
        ] {
            let error = job_error(&ended(status, "", ""), 1, true, &Actions::default(), LINK);
            assert_eq!(error.bpmn_error.as_deref(), Some(expected), "{status}");
            assert_eq!(error.code.as_deref(), Some(Status::from_code(status).label()));
        }
    }

    #[test]
    fn what_a_person_must_mend_is_an_incident_with_a_hint() {
        let error = job_error(
            &ended(8, "AttendedUserNotLoggedIn", "No session"),
            1,
            false,
            &Actions::default(),
            LINK,
        );
        assert_eq!((error.bpmn_error, error.remedy), (None, Remedy::Incident));
        assert!(error.message.contains("signed in on the machine"), "{}", error.message);
    }

    #[test]
    fn a_run_that_never_began_is_tried_again_after_a_pause() {
        let ended = ended(8, "nolistenerconnected", "offline");
        let error = job_error(&ended, 1, false, &Actions::default(), LINK);
        assert_eq!(error.remedy, Remedy::RetryAfter(Duration::from_secs(60)));
        assert_eq!(error.bpmn_error, None);
        assert_eq!(
            job_error(&ended, 1, true, &Actions::default(), LINK).remedy,
            Remedy::Retry,
            "the task's own backoff wins"
        );
    }

    #[test]
    fn a_script_that_may_have_run_in_part_is_never_started_again_by_itself() {
        for (codes, class, _) in table::TABLE {
            for code in codes.iter().filter(|_| class == Class::Ambiguous) {
                let error = job_error(&ended(8, code, ""), 1, true, &Actions::default(), LINK);
                assert_eq!(error.bpmn_error.as_deref(), Some(FAILED), "{code}");
                assert_eq!(error.remedy, Remedy::Incident, "{code}");
            }
        }
    }

    #[test]
    fn a_task_may_know_better_what_shall_become_of_a_code() {
        let actions = Actions(vec![
            ("UIElementNotFound".into(), Action::Retry(60)),
            ("nolistenerconnected".into(), Action::Incident),
            ("*".into(), Action::BpmnError),
        ]);
        let told = |code: &str| job_error(&ended(8, code, ""), 1, false, &actions, LINK);
        assert_eq!(
            told("UIElementNotFound").remedy,
            Remedy::RetryAfter(Duration::from_secs(60))
        );
        assert_eq!(told("NoListenerConnected").remedy, Remedy::Incident);
        assert_eq!(told("NoListenerConnected").bpmn_error, None);
        assert_eq!(told("AccountLockedOut").bpmn_error.as_deref(), Some(FAILED));
    }

    #[test]
    fn the_link_to_the_run_and_the_request_id_stand_in_the_incident() {
        let error = job_error(&ended(8, "X", "y"), 1, false, &Actions::default(), LINK);
        assert!(
            error.message.ends_with(&format!("The run: {LINK} (request id r-1)")),
            "{}",
            error.message
        );
    }

    #[test]
    fn a_session_that_windows_refuses_is_tried_once_more_and_then_somebodys_turn() {
        let told = |attempt| {
            let ended = ended(8, "SessionCreationError", "no");
            job_error(&ended, attempt, false, &Actions::default(), LINK).remedy
        };
        assert_eq!(told(1), Remedy::RetryAfter(Duration::from_secs(60)));
        assert_eq!((told(2), told(3)), (Remedy::Incident, Remedy::Incident));
    }
}
