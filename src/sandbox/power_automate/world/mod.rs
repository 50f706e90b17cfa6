//! The world that the simulator plays: what exists in the directory and in the environment, and how it behaves.
//!
//! A [`World`] is plain data. It is built in code, or read from a scenario file (JSON) with [`World::from_json`].

mod demo;
mod directory;
mod environment;
mod span;
mod validate;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

pub use demo::{BOOK_INVOICE, CLIENT_ID, CONNECTION, MONTHLY_REPORT, Scenario, TENANT, UnknownScenario};
pub use directory::{Application, Credential, Directory, RefreshToken, User};
pub use environment::{
    Connection, ConnectionReference, ConnectionStatus, Environment, MachineGroup, Outputs, RunError, Script, Seed,
    ValueType, Workflow,
};
pub use span::{Moment, NotASpan, Span};
pub use validate::WorldError;

use super::faults::Fault;
use super::ids::Guid;

/// Everything that the simulator knows at its start, and returns to at `POST /__sim/reset`.
///
/// This is also the scenario file of `deskhand simulate --scenario FILE`. Every field has a default and no unknown
/// field is accepted, so a file names only what differs from [`World::default`]. A list that is given replaces the
/// default list. Durations are texts such as `"1.5s"`, `"2m"` or `"PT2M"`.
///
/// ```
/// use deskhand::sandbox::power_automate::World;
///
/// let world = World::from_json(r#"{
///   "environment": {
///     "workflows": [{
///       "workflowid": "5a1b0000-0000-4000-8000-0000000000f1",
///       "name": "Book invoice",
///       "inputs": {"InvoiceId": "string"},
///       "scripts": [
///         {"waiting": "2s", "running": "PT10S", "outputs": {"json": {"Booked": true}}},
///         {"ends": "Failed", "error": {"code": "InvoiceAlreadyBooked", "message": "Booked already."}}
///       ]
///     }],
///     "connections": [{"name": "a8a85e2f1dec44ce8814a37c34234317", "machineGroup": "office"}],
///     "machineGroups": [{"name": "office", "sessions": 2}]
///   },
///   "callbacks": {"allowInsecure": true},
///   "faults": [
///     {"route": "run", "times": 2, "effect": {"throttle": {"retryAfter": "2s"}}},
///     {"route": "run", "skip": 3, "effect": "processThenDrop"},
///     {"route": "session", "times": null, "delay": "200ms"}
///   ]
/// }"#)?;
/// assert_eq!(world.environment.workflows[0].scripts.len(), 2);
/// # Ok::<(), deskhand::sandbox::power_automate::WorldError>(())
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct World {
    /// Where the sequence of ids begins: same seed, same requests, same ids.
    pub seed: u64,
    /// When the virtual clock starts and how fast it runs.
    pub clock: ClockSettings,
    /// The tenant: who can get a token.
    pub directory: Directory,
    /// The Dataverse environment: flows, connections, machines.
    pub environment: Environment,
    /// What the service refuses.
    pub limits: Limits,
    /// How the ends of runs are called back.
    pub callbacks: CallbackSettings,
    /// Where the real service's behaviour is undocumented or varies.
    pub behaviour: Behaviour,
    /// What goes wrong, and how often.
    pub faults: Vec<Fault>,
    /// How many requests the journal keeps.
    pub journal: usize,
}

/// The virtual clock at the start.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ClockSettings {
    /// What the clock shows first; absent: the machine's time.
    pub start: Option<Moment>,
    /// Virtual seconds in a real second, 0.001 to 100,000.
    pub speed: f64,
}

impl Default for ClockSettings {
    fn default() -> Self {
        Self {
            start: None,
            speed: 1.0,
        }
    }
}

/// What the service refuses. The defaults are Microsoft's documented numbers where there are any.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// Runs started with one connection in a minute.
    pub starts_per_connection: u32,
    /// Bytes of a run's `inputs`.
    pub input_bytes: usize,
    /// Bytes of any request's body.
    pub body_bytes: usize,
    /// Service protection: requests of one principal in `window`.
    pub requests: u32,
    /// Service protection: execution time of one principal's requests in `window`.
    pub execution_time: Span,
    /// Service protection: requests of one principal at the same time.
    pub concurrent: u32,
    /// The sliding window of service protection.
    pub window: Span,
    /// The longest time in a machine group's queue; then the run fails with `NoCandidateMachine`.
    pub queue_wait: Span,
    /// Rows of a page, whatever `odata.maxpagesize` asks for.
    pub page_size: usize,
    /// Runs that the simulator remembers; further starts are refused.
    pub runs: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            starts_per_connection: 70,
            input_bytes: 2 * 1024 * 1024,
            body_bytes: 8 * 1024 * 1024,
            requests: 6000,
            execution_time: Span::seconds(1200),
            concurrent: 52,
            window: Span::seconds(300),
            queue_wait: Span::seconds(6 * 3600),
            page_size: 5000,
            runs: 250_000,
        }
    }
}

/// How the ends of runs are called back.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct CallbackSettings {
    /// What is delivered when no fault says otherwise.
    pub mode: CallbackMode,
    /// Accept `http://`, IP literals and loopback names as `callbackUrl`. The real service never does; tests need it.
    pub allow_insecure: bool,
    /// Deliver every callback to this address, in plain HTTP, whatever host and scheme the URL names. The simulator
    /// speaks no TLS: without this, a callback to an `https://` URL is recorded as undeliverable.
    pub connect_to: Option<SocketAddr>,
    /// The pause before each of the three retries, in real time.
    pub retry_pause: Span,
    /// How long one attempt may take, in real time.
    pub timeout: Span,
}

impl Default for CallbackSettings {
    fn default() -> Self {
        Self {
            mode: CallbackMode::Once,
            allow_insecure: false,
            connect_to: None,
            retry_pause: Span::seconds(1),
            timeout: Span::seconds(10),
        }
    }
}

/// What happens to a run's callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CallbackMode {
    /// Delivered when the run ends, as documented.
    Once,
    /// Delivered twice when the run ends.
    Duplicate,
    /// The run ends at once, and the callback is delivered before RunDesktopFlow is answered.
    Early,
    /// Never delivered.
    Never,
    /// At the run's end a callback arrives that names a run which does not exist; the true one never comes.
    Forged,
    /// A callback claims success while the run still waits; the true one follows at its end.
    Lie,
}

/// Behaviour that is undocumented or seen in several forms.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Behaviour {
    /// How long a new run shows `NotSpecified` before it shows `Waiting`.
    pub not_specified: Span,
    /// How long a new run's row cannot be read (404, and absent from lists).
    pub hidden: Span,
    /// How long a cancelled run keeps its status before it shows `Cancelled`.
    pub cancelling: Span,
    /// CancelDesktopFlowRun on a finished run: `true` answers 204 and changes nothing, `false` answers 400.
    pub cancel_finished: bool,
    /// A file column without a file: `true` answers 204, `false` answers 404.
    pub empty_file_no_content: bool,
    /// File columns know no ranges and always come whole, as in an organisation that encrypts with keys of its own.
    pub whole_files: bool,
    /// Refuse inputs that the flow does not declare, with 400.
    pub reject_unknown_inputs: bool,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            not_specified: Span::ZERO,
            hidden: Span::ZERO,
            cancelling: Span::milliseconds(200),
            cancel_finished: false,
            empty_file_no_content: false,
            whole_files: false,
            reject_unknown_inputs: false,
        }
    }
}
