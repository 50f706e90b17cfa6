//! A start that is about to be sent: what whoever comes after needs to find out what became of it.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{INTENT, VERSION, attempt, integer, optional_text};
use crate::microsoft::dataverse::Guid;

/// A start that may have been sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Key of the entry into the task.
    pub element_instance: i64,
    /// Which start of this entry, from 1.
    pub attempt: u32,
    /// The whole token of this start ([`crate::runs::token`]).
    pub token: String,
    /// What carries it; `None`: nothing does, and a run can only be guessed at.
    pub carrier: Option<Carrier>,
    /// The flow.
    pub flow: Guid,
    /// The connection, as it was named.
    pub connection: String,
    /// Digest of the inputs.
    pub inputs: Option<String>,
    /// Dataverse's own clock at some moment before the POST: no run of this start is older.
    pub since: Timestamp,
    /// The total timeout of the POST: later, its sender has given it up.
    pub may_take: Duration,
    /// A person was asked what became of it: the incident of this start was raised.
    pub asked: bool,
}

/// What carries the token of a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// The run's callback URL.
    CallbackUrl,
    /// The flow's input with this name.
    Input(String),
}

impl Intent {
    /// The variables to write.
    pub fn variables(&self) -> Map<String, Value> {
        let mut intent = json!({
            "version": VERSION,
            "elementInstance": self.element_instance.to_string(),
            "attempt": self.attempt,
            "token": self.token,
            "workflowId": self.flow,
            "connectionName": self.connection,
            "since": self.since.to_string(),
            "mayTakeMilliseconds": u64::try_from(self.may_take.as_millis()).unwrap_or(u64::MAX),
        });
        match &self.carrier {
            Some(Carrier::CallbackUrl) => intent["carrier"] = "callbackUrl".into(),
            Some(Carrier::Input(name)) => intent["carrier"] = json!({"input": name}),
            None => {}
        }
        if let Some(inputs) = &self.inputs {
            intent["inputs"] = inputs.as_str().into();
        }
        if self.asked {
            intent["asked"] = true.into();
        }
        Map::from_iter([(INTENT.to_owned(), intent)])
    }

    pub(super) fn read(intent: &Map<String, Value>, element_instance: i64) -> Result<Self, &'static str> {
        let text = |member| intent.get(member).and_then(Value::as_str);
        let carrier = match intent.get("carrier") {
            None | Some(Value::Null) => None,
            Some(Value::String(kind)) if kind == "callbackUrl" => Some(Carrier::CallbackUrl),
            Some(Value::Object(kind)) => {
                let name = kind.get("input").and_then(Value::as_str).ok_or("carrier")?;
                Some(Carrier::Input(name.to_owned()))
            }
            Some(_) => return Err("carrier"),
        };
        let milliseconds = integer(intent.get("mayTakeMilliseconds")).and_then(|time| u64::try_from(time).ok());
        Ok(Self {
            element_instance,
            attempt: attempt(intent)?,
            token: text("token").ok_or("token")?.to_owned(),
            carrier,
            flow: text("workflowId").and_then(Guid::parse).ok_or("workflowId")?,
            connection: text("connectionName").ok_or("connectionName")?.to_owned(),
            inputs: optional_text(intent, "inputs")?,
            since: text("since").and_then(|text| text.parse().ok()).ok_or("since")?,
            may_take: Duration::from_millis(milliseconds.ok_or("mayTakeMilliseconds")?),
            asked: intent.get("asked") == Some(&Value::Bool(true)),
        })
    }
}
