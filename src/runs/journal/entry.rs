//! The run of an entry into a task, as the journal keeps it.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{RUN, VERSION, attempt, optional_text};
use crate::microsoft::dataverse::Guid;

/// What the journal says about a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Key of the entry into the task that the run belongs to.
    pub element_instance: i64,
    /// Which start of this entry it was, from 1; the next one needs that this run was settled.
    pub attempt: u32,
    /// The run.
    pub run: Guid,
    /// When it was noted, by this worker's clock: for people, nothing is decided by it.
    pub started_at: Timestamp,
    /// The token that it carries ([`crate::runs::token`]), where it carries one.
    pub token: Option<String>,
    /// Digest of the inputs that it was given.
    pub inputs: Option<String>,
    /// Whether it is over, as far as the journal knows.
    pub fate: Fate,
}

/// How far a run has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Not known to be over.
    Open,
    /// Over without success, and the task has failed with it: the next activation starts another one. The label of its
    /// last status.
    Settled(String),
    /// Over with success: whatever becomes of the job, it is never started again.
    Succeeded,
}

impl Entry {
    /// The same run, with another fate.
    #[must_use]
    pub fn with_fate(&self, fate: Fate) -> Self {
        Self { fate, ..self.clone() }
    }

    /// The variables to write.
    pub fn variables(&self) -> Map<String, Value> {
        let mut entry = json!({
            "version": VERSION,
            // A text: keys are larger than the integers that a JavaScript user interface keeps exact.
            "elementInstance": self.element_instance.to_string(),
            "attempt": self.attempt,
            "flowSessionId": self.run,
            "startedAt": self.started_at.to_string(),
        });
        if let Some(token) = &self.token {
            entry["token"] = token.as_str().into();
        }
        if let Some(inputs) = &self.inputs {
            entry["inputs"] = inputs.as_str().into();
        }
        match &self.fate {
            Fate::Open => {}
            Fate::Settled(status) => entry["settled"] = status.as_str().into(),
            Fate::Succeeded => entry["succeeded"] = true.into(),
        }
        Map::from_iter([(RUN.to_owned(), entry)])
    }

    pub(super) fn read(entry: &Map<String, Value>, element_instance: i64) -> Result<Self, &'static str> {
        let run = entry.get("flowSessionId").and_then(Value::as_str).and_then(Guid::parse);
        let fate = match (optional_text(entry, "settled")?, entry.get("succeeded")) {
            (Some(status), _) => Fate::Settled(status),
            (None, Some(Value::Bool(true))) => Fate::Succeeded,
            (None, None | Some(Value::Null | Value::Bool(false))) => Fate::Open,
            (None, Some(_)) => return Err("succeeded"),
        };
        let started_at = entry.get("startedAt").and_then(Value::as_str);
        Ok(Self {
            element_instance,
            attempt: attempt(entry)?,
            run: run.ok_or("flowSessionId")?,
            // Nothing hangs on it, so a time that cannot be read damages nothing.
            started_at: started_at
                .and_then(|text| text.parse().ok())
                .unwrap_or(Timestamp::UNIX_EPOCH),
            token: optional_text(entry, "token")?,
            inputs: optional_text(entry, "inputs")?,
            fate,
        })
    }
}
