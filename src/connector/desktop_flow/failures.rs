//! Runs that did not succeed: what their error codes mean, as data, and what the engine shall be told.
//!
//! In goes the row of an ended run; out comes a [`JobError`]: a BPMN error where the process can do something about it,
//! an incident with a hint where a person must, a failed try where time alone helps.

use std::time::Duration;

use serde_json::json;

use crate::microsoft::dataverse::End;
use crate::outcome::{JobError, Remedy};
use crate::runs::Ended;

/// The code of the BPMN error for a run that failed.
pub const FAILED: &str = "DESKTOP_FLOW_FAILED";
/// The code of the BPMN error for a run that was cancelled.
pub const CANCELLED: &str = "DESKTOP_FLOW_CANCELLED";
/// The code of the BPMN error for a run that ran into a time limit.
pub const TIMED_OUT: &str = "DESKTOP_FLOW_TIMED_OUT";

/// Whose turn it is after a failed run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The script never ran, and may be started again after at least this many seconds.
    TryAgain(u64),
    /// The script may have run in part: only the process can know what that means.
    Ambiguous,
    /// It will go on failing until somebody changes something.
    SomeoneMustFixIt,
    /// What the script itself raised.
    Business,
}

/// Codes that mean the same, whose turn it is, and a hint.
type Row = (&'static [&'static str], Class, &'static str);

const BUSY: Class = Class::TryAgain(60);
const OFFLINE: Class = Class::TryAgain(60);

/// Error codes of desktop flow runs, from Microsoft's troubleshooting articles.
const TABLE: [Row; 20] = [
    (
        &["NoCandidateMachine"],
        Class::TryAgain(300),
        "No machine of the group took the run in time: look at the machine's queue in Power Automate, whether its \
         machines are online, and whether other runs block it.",
    ),
    (
        &[
            "UIFlowAlreadyRunning",
            "LocalPlaybackOrRecordingOngoing",
            "DesktopFlowsActionThrottled",
        ],
        BUSY,
        "The machine or the connection is busy with other runs.",
    ),
    (
        &[
            "NoListenerConnected",
            "ConnectionNotEstablished",
            "DnsError",
            "UIFlowAgentNotAvailable",
            "UIFlowAgentLauncherServiceIsNotRunning",
            "UnableToCallCrlEndpoint",
            "OnPremiseDataGatewayNotAvailable",
            "DataverseTimeout",
        ],
        OFFLINE,
        "The machine is offline or cannot reach Power Automate: is it running, and is the Power Automate service on it \
         running?",
    ),
    (
        &["AuthTokenNotYetValid"],
        OFFLINE,
        "The clock of the machine is wrong: let it synchronise.",
    ),
    (
        &[
            "TooManyActiveSessions",
            "Win10AlreadyHasActiveSession",
            "SessionExistsForTheUserWhenUnattended",
            "UnattendedUserSessionDisconnected",
            "UnattendedUserSessionLocked",
        ],
        BUSY,
        "Somebody is signed in on the machine (a locked or disconnected session counts): an unattended run needs it for \
         itself. Sign the user out.",
    ),
    (
        &[
            "AttendedUserSessionNotActive",
            "AttendedUserNotLoggedIn",
            "NoUnlockedActiveSessionForAttended",
            "NoSessionFoundForPasswordless",
        ],
        Class::SomeoneMustFixIt,
        "An attended run needs its user signed in on the machine, with the screen unlocked.",
    ),
    (
        &[
            "ConnectionTimeout",
            "SessionNotFound",
            "SessionHasLoggedOff",
            "SessionHasLoggedOffWithMaxIdleTime",
            "MaxRDSessionDurationReached",
            "WcfServerCrash",
            "DesktopFlowMalformedMachineResponse",
            "TotalChunksMismatch",
            "EndpointDoNotExist",
            "MachineNotFound",
        ],
        Class::Ambiguous,
        "The connection to the machine was lost: the script may have run in part. Look at what it did before starting it \
         again.",
    ),
    (
        &["DesktopFlowsActionTimeout"],
        Class::Ambiguous,
        "The script took longer than `runTimeout` allows and was stopped: it ran in part.",
    ),
    (
        &[
            "MSEntraMachineAlwaysPromptingForPassword",
            "AADMachineAlwaysPromptingForPassword",
        ],
        Class::SomeoneMustFixIt,
        "The machine asks for a password at each remote sign-in: turn that off in its policies.",
    ),
    (
        &[
            "MSEntraLogonFailure",
            "WindowsIdentityIncorrect",
            "SessionCreationInvalidCredentials",
        ],
        Class::SomeoneMustFixIt,
        "User name or password of the connection is not accepted by the machine: renew them in the connection.",
    ),
    (
        &["AccountLockedOut"],
        Class::SomeoneMustFixIt,
        "The Windows account of the connection is locked: unlock it, then look for what locks it.",
    ),
    (
        &[
            "LogonTypeNotGranted",
            "RdpPermissionNotGranted",
            "UIFlowServiceNoRdpPermissions",
            "RDPIsNotEnabled",
        ],
        Class::SomeoneMustFixIt,
        "The account of the connection may not sign in remotely: enable Remote Desktop on the machine and allow it for \
         the account.",
    ),
    (
        &[
            "SessionCreationError",
            "SessionCreationErrorWithThirdPartyCredentialProvider",
            "SessionCreationUserPromptedForCredentialsAfterConnection",
            "SessionCreationWinLogonFailure",
            "SessionNotFoundAfterCreation",
        ],
        Class::TryAgain(60),
        "Windows did not open a session for the run. If it goes on: sign in by Remote Desktop with the connection's \
         account, and see what Windows asks.",
    ),
    (
        &["GroupIsEmpty"],
        Class::SomeoneMustFixIt,
        "The machine group of the connection has no machine.",
    ),
    (
        &["XrmMachineGroupNotFound"],
        Class::SomeoneMustFixIt,
        "The machine group of the connection was deleted, or is not shared with the connection's owner.",
    ),
    (
        &["UnattendedUnsupportedWithOldConnection"],
        Class::SomeoneMustFixIt,
        "The connection is too old for unattended runs: make a new one.",
    ),
    (
        &["UnallowedTenantForConnectWithSignIn"],
        Class::SomeoneMustFixIt,
        "The connection signs in with an account of another tenant, which the machine does not allow.",
    ),
    (
        &["InvalidUIFlowsCertificates"],
        Class::SomeoneMustFixIt,
        "The certificates of the machine's registration are broken: register the machine again.",
    ),
    (
        &["UnsupportedRpaScriptSchemaVersion"],
        Class::SomeoneMustFixIt,
        "Power Automate on the machine is older than the flow: update it.",
    ),
    (
        &["ExistingRecordingSession"],
        Class::SomeoneMustFixIt,
        "Somebody is recording a flow on the machine: let them end it.",
    ),
];

/// What shall become of a task whose run failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A failed try: retries − 1, and the next one starts another run. After at least so many seconds, unless the task's
    /// own backoff says otherwise.
    Retry(u64),
    /// A BPMN error.
    BpmnError,
    /// Retries 0: a person looks.
    Incident,
}

impl Class {
    /// What becomes of such a failure unless the task says otherwise.
    pub fn action(self) -> Action {
        match self {
            Class::TryAgain(seconds) => Action::Retry(seconds),
            // The process alone can know what a script that ran in part has done.
            Class::Ambiguous | Class::Business => Action::BpmnError,
            Class::SomeoneMustFixIt => Action::Incident,
        }
    }
}

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

/// What an error code means.
pub fn meaning(code: &str) -> (Class, &'static str) {
    TABLE
        .iter()
        .find(|(codes, ..)| codes.iter().any(|known| known.eq_ignore_ascii_case(code.trim())))
        .map_or((Class::Business, ""), |&(_, class, hint)| (class, hint))
}

/// What the engine is told about a run that ended without success.
///
/// `has_backoff` says whether the task names a backoff of its own (header `retryBackoff`): it then knows better than
/// the table how long to wait. `link` leads to the run.
pub fn job_error(ended: &Ended, has_backoff: bool, actions: &Actions, link: &str) -> JobError {
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
    match actions.of(code).unwrap_or_else(|| class.action()) {
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
            let error = job_error(&ended(status, "", ""), true, &Actions::default(), LINK);
            assert_eq!(error.bpmn_error.as_deref(), Some(expected), "{status}");
            assert_eq!(error.code.as_deref(), Some(Status::from_code(status).label()));
        }
    }

    #[test]
    fn what_a_person_must_mend_is_an_incident_with_a_hint() {
        let error = job_error(
            &ended(8, "AttendedUserNotLoggedIn", "No session"),
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
        let error = job_error(&ended, false, &Actions::default(), LINK);
        assert_eq!(error.remedy, Remedy::RetryAfter(Duration::from_secs(60)));
        assert_eq!(error.bpmn_error, None);
        assert_eq!(
            job_error(&ended, true, &Actions::default(), LINK).remedy,
            Remedy::Retry,
            "the task's own backoff wins"
        );
    }

    #[test]
    fn a_script_that_may_have_run_in_part_is_never_started_again_by_itself() {
        for (codes, class, _) in TABLE {
            for code in codes.iter().filter(|_| class == Class::Ambiguous) {
                let error = job_error(&ended(8, code, ""), true, &Actions::default(), LINK);
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
        let told = |code: &str| job_error(&ended(8, code, ""), false, &actions, LINK);
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
        let error = job_error(&ended(8, "X", "y"), false, &Actions::default(), LINK);
        assert!(
            error.message.ends_with(&format!("The run: {LINK} (request id r-1)")),
            "{}",
            error.message
        );
    }

    #[test]
    fn no_code_stands_twice_and_every_known_one_has_a_hint() {
        let mut codes: Vec<String> = Vec::new();
        for (row, _, hint) in TABLE {
            assert!(!hint.is_empty());
            codes.extend(row.iter().map(|code| code.to_ascii_lowercase()));
        }
        let all = codes.len();
        codes.sort();
        codes.dedup();
        assert_eq!(codes.len(), all);
    }
}
