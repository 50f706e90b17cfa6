//! `waitFor`: what a task says about the message that shall tell of its run's end.

use std::time::Duration;

use super::super::Settings;
use super::super::fields::Fields;
use super::Start;
use crate::microsoft::dataverse::Organization;

/// The message about a run's end, where the task names none.
const DEFAULT_MESSAGE: &str = "desktopFlowEnded";
/// Longest name of a message, characters.
const LONGEST_MESSAGE_NAME: usize = 200;
/// Shorter lives leave no time for another replica to publish what one that was killed did not.
const SHORTEST_TIME_TO_LIVE: Duration = Duration::from_secs(600);

/// A message about the end of a run.
pub struct WantedMessage {
    /// Its name.
    pub name: String,
    /// How long the engine keeps it, whole seconds.
    pub time_to_live: Duration,
}

fn waits_for_message(fields: &mut Fields<'_>) -> bool {
    fields.choice("waitFor", &[("message", true), ("nothing", false)]) == Some(true)
}

pub(super) fn waits_itself(fields: &mut Fields<'_>) {
    if waits_for_message(fields) {
        fields.fault(
            "waitFor",
            "is for `triggerFlowRun`, whose task does not wait for the run: leave it empty, `runAndWait` waits itself",
        );
    }
}

/// The message that a task wants, if everything is there to publish it after whatever may happen to this process.
pub(super) fn wanted(
    fields: &mut Fields<'_>,
    start: Option<&Start>,
    organization: Option<&Organization>,
    settings: &Settings,
) -> Option<WantedMessage> {
    if !waits_for_message(fields) {
        return None;
    }
    let identity = fields.text("identity");
    match (&identity, organization) {
        (None, _) => fields.fault(
            "waitFor",
            "needs an `identity` of the worker's: the end of the run is looked for when no task is at hand, so credentials \
             of the task's own cannot be used",
        ),
        (Some(identity), Some(organization)) if !settings.outbox.covers(identity, organization) => {
            let name = fields.shown("identity", identity);
            let problem = format!(
                "needs the ends of this organisation's runs to be looked for as the identity {name}, and they are not: \
                 operations add it to the setting messages.outbox, e.g. \
                 [\"rpa-prod@contoso.crm4.dynamics.com\"]"
            );
            fields.fault("waitFor", problem);
        }
        _ => {}
    }
    if start.is_some_and(|start| settings.once.carrier_of(&start.request).is_none()) {
        fields.fault(
            "waitFor",
            "needs a callback URL for the run to carry what shall be published: `callbackUrl`, the worker's own receiver \
             (callback.public_url), or desktop_flow.token_url",
        );
    }
    let name = fields.text("messageName").unwrap_or_else(|| DEFAULT_MESSAGE.into());
    if name.chars().count() > LONGEST_MESSAGE_NAME {
        fields.fault(
            "messageName",
            format!("is longer than {LONGEST_MESSAGE_NAME} characters: it travels in the callback URL"),
        );
    }
    let time_to_live = fields.duration("messageTimeToLive", SHORTEST_TIME_TO_LIVE);
    let time_to_live = time_to_live.unwrap_or(settings.outbox.time_to_live);
    Some(WantedMessage { name, time_to_live })
}
