//! The Dataverse environment of a world: flows with their scripts, connections, machine groups.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::demo;
use super::span::Span;
use crate::sandbox::power_automate::ids::Guid;
use crate::sandbox::power_automate::status::Status;

/// The rows of the environment.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Environment {
    /// The organisation's id.
    pub organization_id: Guid,
    /// URLs by which clients may name the organisation when they ask for a token, beside the simulator's own.
    pub aliases: Vec<String>,
    /// Desktop flows, and cloud flows to be filtered away.
    pub workflows: Vec<Workflow>,
    /// Desktop-flow connections.
    pub connections: Vec<Connection>,
    /// Connection references, which `connectionType` 2 names.
    pub connection_references: Vec<ConnectionReference>,
    /// Machine groups, where runs queue.
    pub machine_groups: Vec<MachineGroup>,
}

impl Default for Environment {
    fn default() -> Self {
        demo::environment()
    }
}

impl Environment {
    /// An environment without rows.
    pub fn empty() -> Self {
        Self {
            organization_id: Guid::from_bits(0x5a1b_0000_0000_4000_8000_0000_0000_00d0),
            aliases: Vec::new(),
            workflows: Vec::new(),
            connections: Vec::new(),
            connection_references: Vec::new(),
            machine_groups: Vec::new(),
        }
    }
}

/// Rows that are added to a running environment, or replace those with the same key (`POST /__sim/seed`).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Seed {
    pub aliases: Vec<String>,
    pub workflows: Vec<Workflow>,
    pub connections: Vec<Connection>,
    pub connection_references: Vec<ConnectionReference>,
    pub machine_groups: Vec<MachineGroup>,
}

/// A row of the table `workflow`, and how its runs go.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Workflow {
    /// The key.
    #[serde(rename = "workflowid")]
    pub id: Guid,
    /// The name people see.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// 5 is a cloud flow, 6 a desktop flow.
    pub category: u8,
    /// Switched on (`statecode` 1).
    pub activated: bool,
    /// Published; a draft is listed only with `MSCRM.IncludeUnpublished` and cannot be run.
    pub published: bool,
    /// The inputs that the flow declares.
    pub inputs: BTreeMap<String, ValueType>,
    /// The outputs that the flow declares.
    pub outputs: BTreeMap<String, ValueType>,
    /// How its runs go: the first run by the first script, and so on; the last script serves all later runs.
    pub scripts: Vec<Script>,
    /// The licence code that RunDesktopFlow reports.
    pub license_check: String,
}

impl Default for Workflow {
    fn default() -> Self {
        Self {
            id: Guid::default(),
            name: "Unnamed flow".to_owned(),
            description: String::new(),
            category: 6,
            activated: true,
            published: true,
            inputs: BTreeMap::new(),
            outputs: BTreeMap::new(),
            scripts: vec![Script::default()],
            license_check: "ValidLicenseCoverage".to_owned(),
        }
    }
}

/// The type of a declared input or output, as the schema names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum ValueType {
    String,
    Number,
    Boolean,
    Object,
    Array,
}

/// How one run goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Script {
    /// The least time in the queue (virtual).
    pub waiting: Span,
    /// How long the script runs (virtual); a shorter `timeout` of the run wins.
    pub running: Span,
    /// The final status.
    pub ends: Status,
    /// Why it did not succeed.
    pub error: Option<RunError>,
    /// What is in the file column `outputs` after a success.
    pub outputs: Outputs,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            waiting: Span::milliseconds(500),
            running: Span::seconds(2),
            ends: Status::Succeeded,
            error: None,
            outputs: Outputs::None,
        }
    }
}

/// The error columns of a run that failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct RunError {
    /// `errorcode`
    pub code: String,
    /// `errormessage`
    pub message: String,
    /// `errordetails`
    pub details: Option<String>,
}

/// The content of the file column `outputs`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outputs {
    /// No file.
    #[default]
    None,
    /// A JSON object.
    Json(Map<String, Value>),
    /// A JSON object: the run's inputs, and these over them.
    Echo(Map<String, Value>),
    /// Text that need not be JSON.
    Text(String),
    /// Bytes that need not be text, in base64.
    Base64(String),
    /// A JSON object of this many bytes: `{"Filler":"xxx…"}`.
    Bytes(usize),
}

/// A desktop-flow connection.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Connection {
    /// The name that RunDesktopFlow takes: a GUID or 32 hexadecimal digits.
    pub name: String,
    /// The object id of who may use it; absent: everybody.
    pub owner: Option<Guid>,
    /// Whether it works.
    pub status: ConnectionStatus,
    /// The machine group that it leads to; absent: one with room for every run.
    pub machine_group: Option<String>,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            name: String::new(),
            owner: None,
            status: ConnectionStatus::Connected,
            machine_group: None,
        }
    }
}

/// Whether a connection works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum ConnectionStatus {
    Connected,
    Error,
}

/// A row of the table `connectionreference`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectionReference {
    /// The logical name that RunDesktopFlow takes with `connectionType` 2.
    pub logical_name: String,
    /// The name of the connection behind it; absent: none is set.
    #[serde(default)]
    pub connection: Option<String>,
}

/// A machine group: a queue with room for some runs at the same time.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct MachineGroup {
    /// The row's key.
    pub id: Guid,
    /// The name that connections refer to.
    pub name: String,
    /// Runs at the same time.
    pub sessions: u32,
    /// Whether any machine of it is up.
    pub online: bool,
}

impl Default for MachineGroup {
    fn default() -> Self {
        Self {
            id: Guid::default(),
            name: String::new(),
            sessions: 1,
            online: true,
        }
    }
}
