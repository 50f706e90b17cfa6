//! What must be known about a start if this process dies: the format of the variables that the engine keeps for us.
//!
//! Three variables, local to the task's element instance: [`INTENT`] is written before the POST, [`RUN`] after it, and a
//! person may set [`DECISION`]. They come back with the next activation of the job and never reach the next task.
//! Variables of parent scopes come back as well, so what names another element instance does not count.
//!
//! Intent and run are variables of their own because the engine does not fence: the late intent of a worker that stood
//! still cannot wipe out the run that another one has noted since. Two members are the same in every version of the
//! format, for ever: `version` and `elementInstance`.

mod decision;
mod entry;
mod intent;

use serde_json::{Map, Value};

pub use decision::Decision;
pub use entry::{Entry, Fate};
pub use intent::{Carrier, Intent};

/// Name of the variable that says which run there is.
pub const RUN: &str = "deskhandRun";
/// Name of the variable that says that a start is about to be sent.
pub const INTENT: &str = "deskhandIntent";
/// Name of the variable with which a person decides about a start that nobody can clear up.
pub const DECISION: &str = "deskhandDecision";
/// All of them: whoever starts runs has the engine send these.
pub const VARIABLES: [&str; 3] = [RUN, INTENT, DECISION];
/// The format written here. Version 1 knew the run alone.
pub const VERSION: u64 = 2;

/// What a job's variables say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing about this entry into the task.
    Nothing,
    /// A start was about to be sent, and nothing is known of a run.
    Intent(Intent),
    /// A run.
    Run(Entry),
    /// An entry for this job in a format that a newer deskhand wrote. It must not be overwritten, and nothing may be
    /// started.
    Newer {
        /// Which variable.
        variable: &'static str,
        /// Its version.
        version: u64,
    },
    /// An entry for this job that is damaged.
    Damaged {
        /// Which variable.
        variable: &'static str,
        /// Which of its members.
        member: &'static str,
    },
}

/// An entry that this version cannot use.
enum Unusable {
    Newer(u64),
    Damaged(&'static str),
}

/// Reads the journal of an entry into a task out of the job's variables.
pub fn read(variables: &Map<String, Value>, element_instance: i64) -> Found {
    let run = match part(variables, RUN, element_instance, Entry::read) {
        Ok(run) => run,
        Err(found) => return found,
    };
    let intent = match part(variables, INTENT, element_instance, Intent::read) {
        Ok(intent) => intent,
        Err(found) => return found,
    };
    match (run, intent) {
        // The run of an earlier attempt is settled, or a person decided to start again: the newer attempt counts.
        (Some(run), Some(intent)) if intent.attempt > run.attempt => Found::Intent(intent),
        (Some(run), _) => Found::Run(run),
        (None, Some(intent)) => Found::Intent(intent),
        (None, None) => Found::Nothing,
    }
}

/// Is this a variable of the journal? It must not be lost where the variables of an outcome are given up.
pub fn is_ours(name: &str) -> bool {
    VARIABLES.contains(&name)
}

fn part<T>(
    variables: &Map<String, Value>,
    variable: &'static str,
    element_instance: i64,
    read: impl FnOnce(&Map<String, Value>, i64) -> Result<T, &'static str>,
) -> Result<Option<T>, Found> {
    let Some(Value::Object(entry)) = variables.get(variable) else {
        return Ok(None);
    };
    if integer(entry.get("elementInstance")) != Some(element_instance) {
        return Ok(None);
    }
    match version(entry).and_then(|()| read(entry, element_instance).map_err(Unusable::Damaged)) {
        Ok(part) => Ok(Some(part)),
        Err(Unusable::Newer(version)) => Err(Found::Newer { variable, version }),
        Err(Unusable::Damaged(member)) => Err(Found::Damaged { variable, member }),
    }
}

fn version(entry: &Map<String, Value>) -> Result<(), Unusable> {
    match entry.get("version").and_then(Value::as_u64) {
        None | Some(0) => Err(Unusable::Damaged("version")),
        Some(version) if version > VERSION => Err(Unusable::Newer(version)),
        Some(_) => Ok(()),
    }
}

fn integer(value: Option<&Value>) -> Option<i64> {
    match value? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn attempt(entry: &Map<String, Value>) -> Result<u32, &'static str> {
    integer(entry.get("attempt"))
        .and_then(|attempt| u32::try_from(attempt).ok())
        .filter(|attempt| *attempt > 0)
        .ok_or("attempt")
}

/// A member that may be missing; null counts as missing.
fn optional_text(entry: &Map<String, Value>, member: &'static str) -> Result<Option<String>, &'static str> {
    match entry.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(member),
    }
}

#[cfg(test)]
mod tests;
