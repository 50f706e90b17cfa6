//! What must be known about a started run if this process dies: the format of one process variable.
//!
//! The variable is written local to the task's element instance, so it comes back with the next activation of the job
//! and never reaches the next task. Variables of parent scopes come back as well, so an entry counts only when it names
//! the job's own element instance. Two members are the same in every version of the format, for ever: `version` and
//! `elementInstance`.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::microsoft::dataverse::Guid;

/// Name of the variable.
pub const VARIABLE: &str = "deskhandRun";
/// The format written here.
pub const VERSION: u64 = 1;

/// What the journal says about a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Key of the entry into the task that the run belongs to.
    pub element_instance: i64,
    /// Which start of this entry it was, from 1; the next one needs that this run was settled.
    pub attempt: u32,
    /// The run.
    pub run: Guid,
    /// When it was started, by this worker's clock: for people, nothing is decided by it.
    pub started_at: Timestamp,
    /// Label of the status in which the run ended without success. A settled run is not adopted again.
    pub settled: Option<String>,
}

/// What a job's variables say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing about this entry into the task.
    Nothing,
    /// A run.
    Run(Entry),
    /// An entry for this job in a format that a newer deskhand wrote. It must not be overwritten, and nothing may be
    /// started.
    Newer {
        /// Its version.
        version: u64,
    },
    /// An entry for this job that is damaged; which member is wrong.
    Damaged(&'static str),
}

impl Entry {
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
        if let Some(settled) = &self.settled {
            entry["settled"] = settled.as_str().into();
        }
        let mut variables = Map::new();
        variables.insert(VARIABLE.into(), entry);
        variables
    }
}

/// Reads the journal of an entry into a task out of the job's variables.
pub fn read(variables: &Map<String, Value>, element_instance: i64) -> Found {
    let Some(Value::Object(entry)) = variables.get(VARIABLE) else {
        return Found::Nothing;
    };
    if integer(entry.get("elementInstance")) != Some(element_instance) {
        return Found::Nothing;
    }
    match entry.get("version").and_then(Value::as_u64) {
        None | Some(0) => return Found::Damaged("version"),
        Some(version) if version > VERSION => return Found::Newer { version },
        Some(_) => {}
    }
    let Some(run) = entry.get("flowSessionId").and_then(Value::as_str).and_then(Guid::parse) else {
        return Found::Damaged("flowSessionId");
    };
    let Some(attempt) = integer(entry.get("attempt")).and_then(|attempt| u32::try_from(attempt).ok()) else {
        return Found::Damaged("attempt");
    };
    let settled = match entry.get("settled") {
        None | Some(Value::Null) => None,
        Some(Value::String(label)) => Some(label.clone()),
        Some(_) => return Found::Damaged("settled"),
    };
    let started_at = entry.get("startedAt").and_then(Value::as_str);
    Found::Run(Entry {
        element_instance,
        attempt,
        run,
        // Nothing hangs on it, so a time that cannot be read damages nothing.
        started_at: started_at
            .and_then(|text| text.parse().ok())
            .unwrap_or(Timestamp::UNIX_EPOCH),
        settled,
    })
}

fn integer(value: Option<&Value>) -> Option<i64> {
    match value? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSTANCE: i64 = 2_251_799_813_685_268;

    fn entry(settled: Option<&str>) -> Entry {
        Entry {
            element_instance: INSTANCE,
            attempt: 2,
            run: Guid::parse("d9687093-d0c0-ec11-983e-0022480b428a").unwrap(),
            started_at: "2026-11-21T08:00:00Z".parse().unwrap(),
            settled: settled.map(Into::into),
        }
    }

    fn with(member: &str, value: Value) -> Map<String, Value> {
        let mut variables = entry(None).variables();
        variables[VARIABLE][member] = value;
        variables
    }

    #[test]
    fn what_was_written_is_read_again() {
        for settled in [None, Some("Failed")] {
            let entry = entry(settled);
            assert_eq!(read(&entry.variables(), INSTANCE), Found::Run(entry));
        }
    }

    #[test]
    fn the_format_of_version_one_is_fixed() {
        assert_eq!(
            Value::Object(entry(None).variables()),
            json!({"deskhandRun": {
                "version": 1,
                "elementInstance": "2251799813685268",
                "attempt": 2,
                "flowSessionId": "d9687093-d0c0-ec11-983e-0022480b428a",
                "startedAt": "2026-11-21T08:00:00Z"
            }})
        );
    }

    #[test]
    fn what_belongs_to_another_entry_into_the_task_does_not_count() {
        assert_eq!(read(&entry(None).variables(), INSTANCE + 1), Found::Nothing);
        assert_eq!(read(&Map::new(), INSTANCE), Found::Nothing);
        for other in [json!(null), json!("text"), json!([1]), json!({}), json!({"version": 1})] {
            let variables = Map::from_iter([(VARIABLE.to_owned(), other)]);
            assert_eq!(read(&variables, INSTANCE), Found::Nothing);
        }
    }

    #[test]
    fn a_newer_format_is_recognised_whatever_else_it_holds() {
        let variables = Map::from_iter([(
            VARIABLE.to_owned(),
            json!({"version": 7, "elementInstance": INSTANCE, "soul": {}}),
        )]);
        assert_eq!(read(&variables, INSTANCE), Found::Newer { version: 7 });
    }

    #[test]
    fn a_damaged_entry_is_not_taken_for_none() {
        for (member, value) in [
            ("version", json!(null)),
            ("version", json!("1")),
            ("flowSessionId", json!("not an id")),
            ("flowSessionId", json!(null)),
            ("attempt", json!(-1)),
            ("settled", json!(8)),
        ] {
            assert_eq!(read(&with(member, value), INSTANCE), Found::Damaged(member));
        }
    }

    #[test]
    fn an_unreadable_time_damages_nothing() {
        assert!(matches!(
            read(&with("startedAt", json!("yesterday")), INSTANCE),
            Found::Run(_)
        ));
    }
}
