//! What starts no desktop flows at the moment, as operations see and change it while the process runs.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Operations;
use crate::runs::turns::{Pattern, Turns};

/// In place of a pattern: every pause that was begun here.
pub const ALL: &str = "all";

/// `{paused: [{pattern, until}], waiting}`
fn state(turns: &Turns) -> Value {
    let paused: Vec<Value> = turns
        .paused()
        .into_iter()
        .map(|paused| {
            let until = match paused.by_setting {
                true => "the setting desktop_flow.pause is changed",
                false => "it is resumed or this worker ends",
            };
            json!({ "pattern": paused.pattern.to_string(), "until": until })
        })
        .collect();
    json!({ "paused": paused, "waiting": turns.waiting() })
}

pub(super) async fn shown(State(operations): State<Operations>) -> Response {
    with_turns(&operations, |_| Ok(()))
}

pub(super) async fn pause(State(operations): State<Operations>, pattern: String) -> Response {
    with_turns(&operations, |turns| {
        let pattern = Pattern::parse(&pattern)?;
        turns.pause(pattern);
        Ok(())
    })
}

pub(super) async fn resume(State(operations): State<Operations>, pattern: String) -> Response {
    with_turns(&operations, |turns| {
        if pattern.trim() == ALL {
            turns.resume(None);
            return Ok(());
        }
        let pattern = Pattern::parse(&pattern)?;
        let by_setting = |turns: &Turns| turns.paused().iter().any(|one| one.pattern == pattern);
        match turns.resume(Some(&pattern)).is_empty() {
            false => Ok(()),
            true if by_setting(turns) => {
                Err("is paused by the setting desktop_flow.pause: change it and start this worker anew")
            }
            true => Err("is not paused; GET /pauses (deskhand pause) shows what is"),
        }
    })
}

/// The state after something was done to it.
fn with_turns(operations: &Operations, act: impl FnOnce(&Turns) -> Result<(), &'static str>) -> Response {
    let Some(turns) = &operations.turns else {
        let why = "this worker takes no jobs that start desktop flows (worker.job_types)";
        return (StatusCode::NOT_FOUND, Json(json!({ "error": why }))).into_response();
    };
    match act(turns) {
        Ok(()) => Json(state(turns)).into_response(),
        Err(problem) => (StatusCode::BAD_REQUEST, Json(json!({ "error": problem }))).into_response(),
    }
}
