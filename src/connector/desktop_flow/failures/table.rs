//! Error codes of desktop flow runs, as data: whose turn it is, a hint for the person who reads the incident, and what
//! becomes of the task by default. The codes are those of Microsoft's troubleshooting articles.

/// Whose turn it is after a failed run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The script never ran, and may be started again after at least this many seconds.
    TryAgain(u64),
    /// The same, but a second failure of this kind is somebody's turn.
    TryOnce(u64),
    /// The script may have run in part: only the process can know what that means.
    Ambiguous,
    /// It will go on failing until somebody changes something.
    SomeoneMustFixIt,
    /// What the script itself raised.
    Business,
}

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
    /// What becomes of such a failure unless the task says otherwise; `attempt` counts the runs of this entry into the
    /// task, from 1.
    pub fn action(self, attempt: u32) -> Action {
        match self {
            Class::TryAgain(seconds) => Action::Retry(seconds),
            Class::TryOnce(seconds) if attempt <= 1 => Action::Retry(seconds),
            // The process alone can know what a script that ran in part has done.
            Class::Ambiguous | Class::Business => Action::BpmnError,
            Class::SomeoneMustFixIt | Class::TryOnce(_) => Action::Incident,
        }
    }
}

/// Codes that mean the same, whose turn it is, and a hint.
pub(super) type Row = (&'static [&'static str], Class, &'static str);

const BUSY: Class = Class::TryAgain(60);
const OFFLINE: Class = Class::TryAgain(60);

/// Error codes of desktop flow runs, from Microsoft's troubleshooting articles.
pub(super) const TABLE: [Row; 20] = [
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
        Class::TryOnce(60),
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

/// What an error code means.
pub fn meaning(code: &str) -> (Class, &'static str) {
    TABLE
        .iter()
        .find(|(codes, ..)| codes.iter().any(|known| known.eq_ignore_ascii_case(code.trim())))
        .map_or((Class::Business, ""), |&(_, class, hint)| (class, hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The codes that Microsoft documents, and what each asks for: `Q` the run never began and may be started again, `1` the
    /// same but only once, `A` the script may have run in part, `C` a person must change something.
    const DOCUMENTED: [(char, &str); 9] = [
        (
            'Q',
            "NoCandidateMachine UIFlowAlreadyRunning LocalPlaybackOrRecordingOngoing DesktopFlowsActionThrottled",
        ),
        (
            'Q',
            "NoListenerConnected ConnectionNotEstablished DnsError UIFlowAgentNotAvailable \
             UIFlowAgentLauncherServiceIsNotRunning UnableToCallCrlEndpoint OnPremiseDataGatewayNotAvailable \
             DataverseTimeout AuthTokenNotYetValid",
        ),
        (
            'Q',
            "TooManyActiveSessions Win10AlreadyHasActiveSession SessionExistsForTheUserWhenUnattended \
             UnattendedUserSessionDisconnected UnattendedUserSessionLocked",
        ),
        (
            'C',
            "AttendedUserSessionNotActive AttendedUserNotLoggedIn NoUnlockedActiveSessionForAttended \
             NoSessionFoundForPasswordless",
        ),
        (
            'A',
            "ConnectionTimeout SessionNotFound SessionHasLoggedOff SessionHasLoggedOffWithMaxIdleTime \
             MaxRDSessionDurationReached DesktopFlowsActionTimeout WcfServerCrash DesktopFlowMalformedMachineResponse \
             TotalChunksMismatch EndpointDoNotExist MachineNotFound",
        ),
        (
            'C',
            "MSEntraMachineAlwaysPromptingForPassword AADMachineAlwaysPromptingForPassword MSEntraLogonFailure \
             WindowsIdentityIncorrect SessionCreationInvalidCredentials AccountLockedOut",
        ),
        (
            'C',
            "LogonTypeNotGranted RdpPermissionNotGranted UIFlowServiceNoRdpPermissions RDPIsNotEnabled",
        ),
        (
            '1',
            "SessionCreationError SessionCreationErrorWithThirdPartyCredentialProvider \
             SessionCreationUserPromptedForCredentialsAfterConnection SessionCreationWinLogonFailure \
             SessionNotFoundAfterCreation",
        ),
        (
            'C',
            "GroupIsEmpty XrmMachineGroupNotFound UnattendedUnsupportedWithOldConnection \
             UnallowedTenantForConnectWithSignIn InvalidUIFlowsCertificates UnsupportedRpaScriptSchemaVersion \
             ExistingRecordingSession",
        ),
    ];

    #[test]
    fn every_documented_code_is_in_the_table_with_its_class_its_hint_and_its_action() {
        let mut documented = 0;
        for (letter, codes) in DOCUMENTED {
            for code in codes.split_whitespace() {
                documented += 1;
                let (class, hint) = meaning(code);
                let found = match class {
                    Class::TryAgain(_) => 'Q',
                    Class::TryOnce(_) => '1',
                    Class::Ambiguous => 'A',
                    Class::SomeoneMustFixIt => 'C',
                    Class::Business => 'B',
                };
                assert_eq!(found, letter, "{code}");
                assert!(hint.len() > 20 && hint.ends_with(['.', '?']), "{code}: {hint}");
                let actions = (class.action(1), class.action(2));
                let fits = match letter {
                    'Q' => matches!(actions, (Action::Retry(60..), Action::Retry(60..))),
                    '1' => matches!(actions, (Action::Retry(60..), Action::Incident)),
                    'A' => actions == (Action::BpmnError, Action::BpmnError),
                    _ => actions == (Action::Incident, Action::Incident),
                };
                assert!(fits, "{code}: {actions:?}");
            }
        }
        let known: usize = TABLE.iter().map(|(codes, ..)| codes.len()).sum();
        assert_eq!(known, documented, "the table has codes that are not documented");
    }

    #[test]
    fn a_code_is_known_in_either_case_and_one_that_is_not_is_the_scripts_own() {
        assert_eq!(meaning(" accountlockedOUT ").0, Class::SomeoneMustFixIt);
        assert_eq!(meaning("UIElementNotFound"), (Class::Business, ""));
        assert_eq!(Class::Business.action(1), Action::BpmnError);
    }

    #[test]
    fn no_code_stands_twice() {
        let mut codes: Vec<String> = Vec::new();
        for (row, ..) in TABLE {
            codes.extend(row.iter().map(|code| code.to_ascii_lowercase()));
        }
        let all = codes.len();
        codes.sort();
        codes.dedup();
        assert_eq!(codes.len(), all);
    }
}
