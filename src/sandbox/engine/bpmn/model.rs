//! A process as the engine executes it: elements and sequence flows by index, every expression already parsed.

use crate::sandbox::engine::expressions::Expression;

/// Position of an element in [`Process::elements`]; 0 is the process itself.
pub type ElementIndex = usize;
/// Position of a sequence flow in [`Process::flows`].
pub type FlowIndex = usize;

/// The process as a whole, which is the outermost scope.
pub const ROOT: ElementIndex = 0;

/// One executable process of a BPMN file.
#[derive(Debug)]
pub struct Process {
    /// Id of the process in its BPMN.
    pub id: String,
    /// The process itself ([`ROOT`]) and everything in it, nested scopes included.
    pub elements: Vec<Element>,
    /// Every sequence flow.
    pub flows: Vec<Flow>,
}

impl Process {
    /// What stands at this position.
    pub fn element(&self, index: ElementIndex) -> &Element {
        &self.elements[index]
    }
}

/// A flow node, or a scope that holds flow nodes.
#[derive(Debug)]
pub struct Element {
    /// Id in the BPMN.
    pub id: String,
    /// What the engine does with it.
    pub kind: Kind,
    /// `zeebe:input`: evaluated on entry, they become variables of the element's own scope.
    pub inputs: Vec<Mapping>,
    /// `zeebe:output`: evaluated on completion, they are merged into the enclosing scope.
    pub outputs: Vec<Mapping>,
    /// Flows that leave.
    pub outgoing: Vec<FlowIndex>,
    /// Flows that arrive.
    pub incoming: Vec<FlowIndex>,
    /// Boundary events that are attached.
    pub boundaries: Vec<ElementIndex>,
}

/// What the engine does with an element.
#[derive(Debug)]
pub enum Kind {
    /// The process or an embedded subprocess, with its start event.
    Scope {
        /// Where a token begins.
        start: ElementIndex,
    },
    /// Passes the token on at once: none start events, none throw events, undefined and manual tasks.
    PassThrough,
    /// Takes the token away.
    End,
    /// Takes every token of its scope away.
    TerminateEnd,
    /// Throws a BPMN error.
    ErrorEnd {
        /// The code that a catching event names.
        code: Expression,
    },
    /// A task that a job worker does.
    Job(Box<JobDefinition>),
    /// Takes the first flow whose condition is true.
    ExclusiveGateway {
        /// Taken when no condition is true.
        default: Option<FlowIndex>,
    },
    /// Waits for all arriving flows, then takes all that leave.
    ParallelGateway,
    /// Waits for something to happen: an intermediate catch event or a receive task.
    Catch(Trigger),
    /// Waits for something to happen while an activity runs.
    Boundary {
        /// Whether the activity is terminated.
        interrupting: bool,
        /// What it waits for.
        trigger: Trigger,
    },
}

/// What a task tells the job worker.
#[derive(Debug)]
pub struct JobDefinition {
    /// The job type; must give a string.
    pub job_type: Expression,
    /// How many tries there are; must give a whole number.
    pub retries: Expression,
    /// The task headers as a JSON object of strings.
    pub headers: String,
}

/// What an event waits for.
#[derive(Debug)]
pub enum Trigger {
    /// A span of time, as an ISO 8601 duration.
    Duration(Expression),
    /// A point in time, as an ISO 8601 date and time with an offset.
    Date(Expression),
    /// A message with this name and correlation key.
    Message {
        /// The message's name.
        name: Expression,
        /// Compared with the correlation key that the message was published with.
        correlation_key: Expression,
    },
    /// A BPMN error; none stands for every code.
    Error {
        /// The code that is caught.
        code: Option<String>,
    },
}

/// One `zeebe:input` or `zeebe:output`.
#[derive(Debug)]
pub struct Mapping {
    /// The value.
    pub source: Expression,
    /// The variable's name, then the names of nested entries.
    pub target: Vec<String>,
}

/// A sequence flow.
#[derive(Debug)]
pub struct Flow {
    /// Where it leads.
    pub target: ElementIndex,
    /// When an exclusive gateway takes it.
    pub condition: Option<Expression>,
}
