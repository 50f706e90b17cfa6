//! What a task asks for: a job's variables go in, a typed operation comes out, or one message with every fault.
//!
//! Nothing is sent before this has succeeded. Names are those of Camunda's Power Automate template where it has one.

mod lists;
mod message;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

pub use self::lists::RunListing;
pub use self::message::WantedMessage;
use super::Settings;
use super::authentication::{self, Authentication};
use super::failures::Actions;
use super::fields::Fields;
use super::save::SavePath;
use crate::job::describe;
use crate::microsoft::dataverse::workflows::{Listing, RunRequest};
use crate::microsoft::dataverse::{Guid, Organization};
use crate::outcome::JobError;
use crate::runs::{Bounds, journal};
use crate::secrets::Bound;

/// A task, understood.
pub struct Input {
    /// Whose flows.
    pub organization: Organization,
    /// As whom.
    pub authentication: Authentication,
    /// What to do.
    pub operation: Operation,
}

/// What the task's `operationType` chooses.
pub enum Operation {
    /// Start a run, wait for its end, fetch its outputs.
    RunAndWait(Start, Wait),
    /// Start a run.
    TriggerFlowRun(Start),
    /// Read a run's status.
    GetStatusOfFlowRun(Guid),
    /// Read a run's outputs.
    GetFlowOutputs(Guid, WantedOutputs),
    /// Cancel a run.
    CancelFlowRun(Guid),
    /// List the desktop flows.
    ListFlows(Listing),
    /// Find the one flow with a name.
    FindFlow(String),
    /// Read what a flow takes and gives.
    GetFlowSchema(FlowChoice),
    /// List runs.
    ListRuns(RunListing),
    /// Walk what must be in place.
    CheckConnection(ConnectionCheck),
}

/// What to check.
pub struct ConnectionCheck {
    /// This flow.
    pub flow: Option<FlowChoice>,
    /// This connection or connection reference.
    pub connection_name: Option<String>,
    /// Is it a reference?
    pub is_reference: bool,
}

/// A run to start.
pub struct Start {
    /// Of which flow.
    pub flow: FlowChoice,
    /// How.
    pub request: RunRequest,
    /// Check the inputs against the flow's schema first?
    pub check_inputs: bool,
    /// The input of the flow that shall carry the start's token.
    pub token_input: Option<String>,
    /// Wait until earlier runs of this process instance and element are over?
    pub exclusive: bool,
    /// What the message about its end is called, and how long it lives; `None`: no message.
    pub message: Option<WantedMessage>,
}

/// Which flow.
pub enum FlowChoice {
    /// The one with this id.
    Id(Guid),
    /// The only one with this name.
    Name(String),
}

/// How to wait.
pub struct Wait {
    /// How long.
    pub bounds: Bounds,
    /// What to do with its outputs.
    pub outputs: WantedOutputs,
    /// Cancel the run when the task is gone?
    pub cancel_on_abort: bool,
    /// What shall become of some error codes.
    pub actions: Actions,
}

/// Which outputs, and where to.
pub struct WantedOutputs {
    /// The largest, bytes.
    pub max_bytes: usize,
    /// A file instead of a value: the directory that operations configured, and where below it.
    pub save_to: Option<(PathBuf, SavePath)>,
}

/// Variables that the engine shall send: everything that any operation reads, and the journal.
pub const VARIABLES: &[&str] = &[
    "operationType",
    "organizationUri",
    "authentication",
    "identity",
    "workflowId",
    "workflowName",
    "connectionName",
    "connectionType",
    "runMode",
    "runPriority",
    "runTimeout",
    "runInputs",
    "inputs",
    "callbackUrl",
    "tokenInput",
    "checkInputs",
    "exclusive",
    "waitFor",
    "messageName",
    "messageTimeToLive",
    "flowSessionId",
    "maxQueueWait",
    "maxWait",
    "pollInterval",
    "outputsMaxBytes",
    "saveTo",
    "cancelOnAbort",
    "errorActions",
    "select",
    "filter",
    "orderBy",
    "top",
    "includeDrafts",
    journal::RUN,
    journal::INTENT,
    journal::DECISION,
];

#[derive(Clone, Copy)]
enum Kind {
    RunAndWait,
    Trigger,
    Status,
    Outputs,
    Cancel,
    List,
    Find,
    Schema,
    Runs,
    Check,
}

const OPERATIONS: &[(&str, Kind)] = &[
    ("runAndWait", Kind::RunAndWait),
    ("triggerFlowRun", Kind::Trigger),
    ("getStatusOfFlowRun", Kind::Status),
    ("getFlowOutputs", Kind::Outputs),
    ("cancelFlowRun", Kind::Cancel),
    ("listFlows", Kind::List),
    ("findFlow", Kind::Find),
    ("getFlowSchema", Kind::Schema),
    ("listRuns", Kind::Runs),
    ("checkConnection", Kind::Check),
];

/// Largest inputs of a run, bytes of JSON.
const MOST_INPUTS: usize = 2 * 1024 * 1024;
/// Largest file column of Dataverse, bytes.
const MOST_OUTPUTS: usize = 32 * 1024 * 1024;
/// Longest callback URL that Dataverse stores, characters.
const LONGEST_CALLBACK: usize = 2000;
/// Longest time limit of a script, seconds.
const LONGEST_SCRIPT: u64 = 86_400;
/// The time limit of a script that names none.
const DEFAULT_SCRIPT: Duration = Duration::from_secs(10_800);
/// How long Dataverse keeps a run queued for a machine, at most.
const LONGEST_QUEUE: Duration = Duration::from_secs(6 * 3600);
/// Time for what happens around queue and script.
const SLACK: Duration = Duration::from_secs(600);
/// Connection or connection reference.
const CONNECTION_TYPES: &[(&str, u8)] = &[("1", 1), ("2", 2), ("connection", 1), ("connectionReference", 2)];

impl Input {
    /// Reads a task.
    ///
    /// # Errors
    /// An incident that lists everything that is wrong with it.
    pub fn read(input: &Bound, settings: &Settings) -> Result<Self, JobError> {
        let mut fields = Fields::of(input);
        // Everything is read before anything is given up, so that all faults are told at once.
        let kind = fields.required_choice("operationType", OPERATIONS);
        let organization = organization(&mut fields, settings);
        let authentication = authentication::read(&mut fields, organization.as_ref(), settings);
        let operation = kind.and_then(|kind| operation(&mut fields, kind, organization.as_ref(), settings));
        let read = (|| {
            Some(Self {
                organization: organization?,
                authentication: authentication?,
                operation: operation?,
            })
        })();
        fields.finish(read)
    }
}

fn organization(fields: &mut Fields<'_>, settings: &Settings) -> Option<Organization> {
    let text = fields.required_text("organizationUri", "`https://<organisation>.crm<n>.dynamics.com`")?;
    Organization::parse(&text, &settings.plain_http_hosts)
        .map_err(|error| fields.fault("organizationUri", error))
        .ok()
}

fn operation(
    fields: &mut Fields<'_>,
    kind: Kind,
    organization: Option<&Organization>,
    settings: &Settings,
) -> Option<Operation> {
    match kind {
        Kind::RunAndWait => {
            message::waits_itself(fields);
            let start = start(fields, organization);
            let script = start.as_ref().and_then(|start| start.request.timeout);
            let wait = wait(
                fields,
                script.map(|seconds| Duration::from_secs(seconds.into())),
                settings,
            );
            Some(Operation::RunAndWait(start?, wait))
        }
        Kind::Trigger => {
            let start = start(fields, organization);
            let message = message::wanted(fields, start.as_ref(), organization, settings);
            Some(Operation::TriggerFlowRun(Start { message, ..start? }))
        }
        Kind::Status => run(fields).map(Operation::GetStatusOfFlowRun),
        Kind::Outputs => {
            let wanted = outputs(fields, settings);
            run(fields).map(|run| Operation::GetFlowOutputs(run, wanted))
        }
        Kind::Cancel => run(fields).map(Operation::CancelFlowRun),
        Kind::List => lists::flows(fields).map(Operation::ListFlows),
        Kind::Find => fields
            .required_text(
                "workflowName",
                "the name of the desktop flow, exactly as Power Automate shows it",
            )
            .map(Operation::FindFlow),
        Kind::Schema => flow_choice(fields).map(Operation::GetFlowSchema),
        Kind::Runs => Some(Operation::ListRuns(lists::runs(fields))),
        Kind::Check => Some(Operation::CheckConnection(ConnectionCheck {
            flow: optional_flow(fields),
            connection_name: fields.text("connectionName"),
            is_reference: fields.choice("connectionType", CONNECTION_TYPES) == Some(2),
        })),
    }
}

fn run(fields: &mut Fields<'_>) -> Option<Guid> {
    fields.required_text(
        "flowSessionId",
        "the id that `triggerFlowRun` gave (`response.flowSessionId`)",
    )?;
    fields.guid("flowSessionId")
}

fn optional_flow(fields: &mut Fields<'_>) -> Option<FlowChoice> {
    let named = fields.value("workflowId").is_some() || fields.value("workflowName").is_some();
    named.then(|| flow_choice(fields)).flatten()
}

fn flow_choice(fields: &mut Fields<'_>) -> Option<FlowChoice> {
    match (
        fields.value("workflowId").is_some(),
        fields.value("workflowName").is_some(),
    ) {
        (true, false) => fields.guid("workflowId").map(FlowChoice::Id),
        (false, true) => fields.text("workflowName").map(FlowChoice::Name),
        (true, true) => {
            fields.fault("workflowName", "stands beside `workflowId`: leave one of the two empty");
            None
        }
        (false, false) => {
            fields.fault(
                "workflowId",
                "is missing: write the id of the desktop flow, or its name in `workflowName`",
            );
            None
        }
    }
}

fn start(fields: &mut Fields<'_>, organization: Option<&Organization>) -> Option<Start> {
    let flow = flow_choice(fields);
    let run_mode = fields.required_choice("runMode", &[("attended", "attended"), ("unattended", "unattended")]);
    let connection_name = fields.required_text(
        "connectionName",
        "the name of the desktop flow connection (or the logical name of a connection reference)",
    );
    let connection_type = fields.choice("connectionType", CONNECTION_TYPES);
    let run_priority = fields.text("runPriority");
    let timeout = fields
        .integer("runTimeout", 1..=LONGEST_SCRIPT, "seconds")
        .and_then(|seconds| u32::try_from(seconds).ok());
    let inputs = inputs(fields);
    let callback_url = callback_url(fields, organization);
    let token_input = fields.text("tokenInput");
    let check_inputs = fields.boolean("checkInputs").unwrap_or(true);
    let exclusive = fields.boolean("exclusive").unwrap_or(false);
    Some(Start {
        flow: flow?,
        request: RunRequest {
            run_mode: run_mode?.into(),
            run_priority,
            connection_name: connection_name?,
            connection_type,
            timeout,
            inputs,
            callback_url,
            others: Map::new(),
        },
        token_input,
        check_inputs,
        exclusive,
        message: None,
    })
}

/// The inputs as JSON text. Modelers give a FEEL context; Camunda's template gives the text itself.
fn inputs(fields: &mut Fields<'_>) -> Option<String> {
    let name = match (fields.value("inputs").is_some(), fields.value("runInputs").is_some()) {
        (true, true) => {
            fields.fault("inputs", "stands beside `runInputs`: leave one of the two empty");
            return None;
        }
        (true, false) => "inputs",
        _ => "runInputs",
    };
    const EXAMPLE: &str = "write a FEEL context such as `= {InvoiceId: \"42\"}`, or JSON text of an object";
    let text = match fields.value(name)? {
        Value::Object(object) => serde_json::to_string(object).ok()?,
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(_)) => text.trim().to_owned(),
            Ok(other) => {
                let problem = format!(
                    "must hold an object, but its JSON text is {}: {EXAMPLE}",
                    describe(&other)
                );
                fields.fault(name, problem);
                return None;
            }
            Err(error) => {
                let problem = format!(
                    "is a text, but not JSON (line {}, column {}): {EXAMPLE}",
                    error.line(),
                    error.column()
                );
                fields.fault(name, problem);
                return None;
            }
        },
        other => {
            fields.fault(
                name,
                format!("must be an object, but is {}: {EXAMPLE}", describe(other)),
            );
            return None;
        }
    };
    if text.len() > MOST_INPUTS {
        let problem = format!(
            "has {} bytes as JSON, but a run takes at most {MOST_INPUTS}: pass a reference (a file, a row) instead",
            text.len()
        );
        fields.fault(name, problem);
        return None;
    }
    Some(text)
}

fn callback_url(fields: &mut Fields<'_>, organization: Option<&Organization>) -> Option<String> {
    let text = fields.text("callbackUrl")?;
    let simulated = organization.is_some_and(Organization::is_loopback);
    let problem = match url::Url::parse(&text) {
        Err(_) => "is not a URL: write one that begins with `https://`",
        Ok(_) if text.chars().count() > LONGEST_CALLBACK => "is too long: Dataverse takes at most 2000 characters",
        Ok(_) if simulated => return Some(text),
        Ok(url) if url.scheme() != "https" => "must begin with `https://`: Dataverse calls nothing else",
        Ok(url) => match url.host() {
            Some(url::Host::Domain(name)) if name != "localhost" => return Some(text),
            _ => "must name a public host: Dataverse calls neither `localhost` nor IP addresses",
        },
    };
    fields.fault("callbackUrl", problem);
    None
}

fn wait(fields: &mut Fields<'_>, script: Option<Duration>, settings: &Settings) -> Wait {
    let second = Duration::from_secs(1);
    let ceiling = fields.duration("maxWait", second);
    Wait {
        bounds: Bounds {
            ceiling: ceiling.unwrap_or(LONGEST_QUEUE + script.unwrap_or(DEFAULT_SCRIPT) + SLACK),
            max_queue_wait: fields.duration("maxQueueWait", second),
            longest_pause: fields.duration("pollInterval", second),
        },
        outputs: outputs(fields, settings),
        cancel_on_abort: fields.boolean("cancelOnAbort").unwrap_or(true),
        actions: actions(fields),
    }
}

/// `{"NoCandidateMachine": "retry", "*": "bpmnError"}`.
fn actions(fields: &mut Fields<'_>) -> Actions {
    const EXAMPLE: &str = "write a context such as `= {NoCandidateMachine: \"retry\", AccountLockedOut: \"bpmnError\"}` with \
                           `retry`, `bpmnError` or `incident`";
    let map = match fields.value("errorActions") {
        None => return Actions::default(),
        Some(Value::Object(map)) => map.clone(),
        Some(Value::String(text)) => match serde_json::from_str(text) {
            Ok(map) => map,
            Err(_) => {
                fields.fault(
                    "errorActions",
                    format!("is a text, but not JSON of an object: {EXAMPLE}"),
                );
                return Actions::default();
            }
        },
        Some(other) => {
            let problem = format!("must be an object, but is {}: {EXAMPLE}", describe(other));
            fields.fault("errorActions", problem);
            return Actions::default();
        }
    };
    let mut all = Vec::new();
    for (code, word) in map {
        let action = word.as_str().and_then(|word| {
            Actions::WORDS
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(word.trim()))
        });
        match action {
            Some((_, action)) => all.push((code, *action)),
            None => fields.fault(
                "errorActions",
                format!("wants something unknown for one of its codes: {EXAMPLE}"),
            ),
        }
    }
    Actions(all)
}

fn outputs(fields: &mut Fields<'_>, settings: &Settings) -> WantedOutputs {
    let max_bytes = fields
        .integer("outputsMaxBytes", 1..=MOST_OUTPUTS as u64, "bytes")
        .and_then(|bytes| usize::try_from(bytes).ok());
    let save_to = save_to(fields, settings);
    // What goes to a file burdens neither the engine nor our memory.
    let usual = if save_to.is_some() {
        MOST_OUTPUTS
    } else {
        settings.outputs_max_bytes
    };
    WantedOutputs {
        max_bytes: max_bytes.unwrap_or(usual),
        save_to,
    }
}

fn save_to(fields: &mut Fields<'_>, settings: &Settings) -> Option<(PathBuf, SavePath)> {
    let text = fields.text("saveTo")?;
    let path = SavePath::parse(&text).map_err(|problem| fields.fault("saveTo", problem));
    match &settings.save_dir {
        Some(root) => Some((root.clone(), path.ok()?)),
        None => {
            fields.fault(
                "saveTo",
                "needs a directory, and operations have configured none (deskhand.toml: desktop_flow.save_dir)",
            );
            None
        }
    }
}
