//! One run: a row of the table `flowsession`.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::group::Seat;
use crate::sandbox::power_automate::ids::Guid;
use crate::sandbox::power_automate::status::Status;
use crate::sandbox::power_automate::world::{CallbackMode, RunError, Script};

/// Whether the run uses a signed-in session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub(in crate::sandbox::power_automate) enum Mode {
    Attended,
    Unattended,
}

/// A run, as Dataverse keeps it, and what the simulator plans for it.
#[derive(Debug, Clone)]
pub(in crate::sandbox::power_automate) struct Run {
    /// `flowsessionid`
    pub(in crate::sandbox::power_automate) id: Guid,
    /// The flow.
    pub(in crate::sandbox::power_automate) workflow: Guid,
    /// The flow's name, which is the run's too.
    pub(in crate::sandbox::power_automate) name: Arc<str>,
    /// Who started it.
    pub(in crate::sandbox::power_automate) owner: Guid,
    /// The connection's name.
    pub(in crate::sandbox::power_automate) connection: Arc<str>,
    /// `runmode`
    pub(in crate::sandbox::power_automate) mode: Mode,
    /// The run's own time limit for its script.
    pub(in crate::sandbox::power_automate) timeout: Duration,
    /// The inputs as they were sent: a JSON object as text.
    pub(in crate::sandbox::power_automate) inputs: Option<Arc<str>>,
    /// The callback URL as it was sent.
    pub(in crate::sandbox::power_automate) callback_url: Option<Arc<str>>,
    /// What is delivered to it.
    pub(in crate::sandbox::power_automate) callback: CallbackMode,
    /// The status at the last settled moment.
    pub(in crate::sandbox::power_automate) status: Status,
    /// When it was asked for.
    pub(in crate::sandbox::power_automate) created: Timestamp,
    /// When its script began.
    pub(in crate::sandbox::power_automate) started: Option<Timestamp>,
    /// When it ended.
    pub(in crate::sandbox::power_automate) completed: Option<Timestamp>,
    /// When its row changed last, in whole seconds.
    pub(in crate::sandbox::power_automate) modified: Timestamp,
    /// From when its row can be read.
    pub(in crate::sandbox::power_automate) visible: Timestamp,
    /// Why it did not succeed.
    pub(in crate::sandbox::power_automate) error: Option<Arc<RunError>>,
    pub(in crate::sandbox::power_automate) script: Arc<Script>,
    pub(in crate::sandbox::power_automate) group: Option<Seat>,
    pub(in crate::sandbox::power_automate) group_id: Option<Guid>,
    pub(in crate::sandbox::power_automate) place: u64,
    pub(in crate::sandbox::power_automate) version: u64,
}

/// A run, told to whoever drives the simulator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionRecord {
    /// `flowsessionid`
    pub id: Guid,
    /// The flow.
    pub workflow: Guid,
    /// The status when it was asked for.
    pub status: Status,
    /// The number of `status`.
    pub statuscode: u8,
    /// When it was asked for, RFC 3339.
    pub created: String,
    /// When its script began.
    pub started: Option<String>,
    /// When it ended.
    pub completed: Option<String>,
    /// The connection's name.
    pub connection: String,
    /// The inputs as they were sent.
    pub inputs: Option<String>,
    /// The callback URL as it was sent.
    pub callback_url: Option<String>,
    /// `errorcode`
    pub error_code: Option<String>,
}

impl Run {
    pub(in crate::sandbox::power_automate) fn record(&self) -> SessionRecord {
        SessionRecord {
            id: self.id,
            workflow: self.workflow,
            status: self.status,
            statuscode: self.status.code(),
            created: self.created.to_string(),
            started: self.started.map(|time| time.to_string()),
            completed: self.completed.map(|time| time.to_string()),
            connection: self.connection.to_string(),
            inputs: self.inputs.as_deref().map(str::to_owned),
            callback_url: self.callback_url.as_deref().map(str::to_owned),
            error_code: self.error.as_ref().map(|error| error.code.clone()),
        }
    }
}
