//! What happens inside the engine, for whoever watches: the demo and the tests.

use serde_json::{Map, Value};

/// Something that happened to a process instance.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A process instance was started.
    InstanceCreated {
        /// Key of the process instance.
        instance: i64,
        /// Id of the process in its BPMN.
        process_id: String,
    },
    /// A process instance reached its end.
    InstanceCompleted {
        /// Key of the process instance.
        instance: i64,
        /// Id of the process in its BPMN.
        process_id: String,
        /// The variables of the process's own scope at the end.
        variables: Map<String, Value>,
    },
    /// A process instance was cancelled.
    InstanceTerminated {
        /// Key of the process instance.
        instance: i64,
        /// Id of the process in its BPMN.
        process_id: String,
        /// The variables of the process's own scope at the end.
        variables: Map<String, Value>,
    },
    /// A process instance waits for a person.
    IncidentRaised(Incident),
    /// An incident was resolved; its element is tried again.
    IncidentResolved {
        /// Key of the incident.
        incident: i64,
        /// Key of the process instance.
        instance: i64,
    },
    /// A BPMN error was caught.
    ErrorCaught {
        /// Key of the process instance.
        instance: i64,
        /// The code that was thrown.
        code: String,
        /// The message that it was thrown with.
        message: String,
        /// Id of the boundary event that caught it.
        element_id: String,
    },
}

/// Why a process instance waits for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// Key of the incident: what `ResolveIncident` names.
    pub key: i64,
    /// Key of the process instance.
    pub instance: i64,
    /// Id of the element in its BPMN.
    pub element_id: String,
    /// Key of the element instance.
    pub element_instance: i64,
    /// Key of the job, where the incident is about one.
    pub job: Option<i64>,
    /// What kind of trouble it is.
    pub kind: IncidentKind,
    /// What a person reads.
    pub message: String,
}

/// Zeebe's error types, as far as this engine has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IncidentKind {
    /// A job failed and has no retries left.
    JobNoRetries,
    /// A BPMN error was thrown and nothing catches it.
    UnhandledErrorEvent,
    /// An input or output mapping failed.
    IoMappingError,
    /// A gateway found no flow to take.
    ConditionError,
    /// A job type, retries, timer, condition or correlation key could not be evaluated.
    ExtractValueError,
    /// A job is too large to be sent.
    MessageSizeExceeded,
}
