//! A message for the engine: what a process that waits for one gets.

use std::time::Duration;

use serde_json::{Map, Value};

/// What is published.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The name that catch events have.
    pub name: String,
    /// Which instance it is for.
    pub correlation_key: String,
    /// While a message with this id lives, the engine takes no second one of the same name and correlation key.
    pub id: String,
    /// How long the engine keeps it for a subscription that is not there yet.
    pub time_to_live: Duration,
    /// What the catch event gets.
    pub variables: Map<String, Value>,
    /// The tenant of the process.
    pub tenant_id: String,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// The engine has it.
    New,
    /// The engine has had it before.
    Already,
    /// The engine will never take it.
    Refused(String),
    /// We may not publish it now; others perhaps.
    Denied(String),
    /// The engine did not say in time.
    Unheard(String),
}

impl Published {
    /// Its name in metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Published::New => "new",
            Published::Already => "already",
            Published::Refused(_) => "refused",
            Published::Denied(_) => "denied",
            Published::Unheard(_) => "unheard",
        }
    }
}
