//! What a person decided about a start: adopt that run, or start again. Read once, and wiped out in the same write that
//! acts on it.

use serde_json::{Map, Value, json};

use super::{DECISION, integer};
use crate::microsoft::dataverse::Guid;

/// A person's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The task goes on with this run.
    Adopt(Guid),
    /// There is no run, or it does not count: start another one.
    StartAgain,
}

impl Decision {
    /// Reads the decision, and whether it names this element instance; one that names another does not count. One that
    /// names none may stand in a parent's scope and be meant for another task.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(variables: &Map<String, Value>, element_instance: i64) -> Result<Option<(Self, bool)>, String> {
        let decision = match variables.get(DECISION) {
            None | Some(Value::Null) => return Ok(None),
            // Some user interfaces keep what was typed as a text.
            Some(Value::String(text)) => match serde_json::from_str(text) {
                Ok(Value::Object(decision)) => decision,
                _ => return Err("is a text that holds no JSON object".into()),
            },
            Some(Value::Object(decision)) => decision.clone(),
            Some(_) => return Err("is no object".into()),
        };
        let named = decision.get("elementInstance");
        if named.is_some() && integer(named) != Some(element_instance) {
            return Ok(None);
        }
        let named = named.is_some();
        match (decision.get("adopt"), decision.get("startAgain")) {
            (Some(id), None) => match id.as_str().and_then(Guid::parse) {
                Some(id) => Ok(Some((Decision::Adopt(id), named))),
                None => Err("has an `adopt` that is no id of a run".into()),
            },
            (None, Some(Value::Bool(true))) => Ok(Some((Decision::StartAgain, named))),
            (None, Some(_)) => Err("has a `startAgain` that is not true".into()),
            (Some(_), Some(_)) => Err("has both `adopt` and `startAgain`".into()),
            (None, None) => Err("has neither `adopt` nor `startAgain`".into()),
        }
    }

    /// The variable that wipes it out.
    pub fn consumed() -> Map<String, Value> {
        Map::from_iter([(DECISION.to_owned(), Value::Null)])
    }

    /// What a person pastes to adopt a run; `id` may be a placeholder.
    pub fn adopt_text(element_instance: i64, id: &str) -> String {
        json!({"elementInstance": element_instance.to_string(), "adopt": id}).to_string()
    }

    /// What a person pastes to start again.
    pub fn start_again_text(element_instance: i64) -> String {
        json!({"elementInstance": element_instance.to_string(), "startAgain": true}).to_string()
    }
}
