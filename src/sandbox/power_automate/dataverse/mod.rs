//! Dataverse's Web API for desktop flows: an authenticated request goes in, an answer and its effects come out.

mod access;
mod action;
mod file;
mod list;
mod run_request;
mod table;
mod target;

use axum::http::{HeaderMap, Method, StatusCode, header};
use jiff::Timestamp;
use serde_json::json;

use super::answer::{Answer, empty, error, json_body, no_such_row};
use super::core::State;
use super::encoding::pairs;
use super::faults::Effect;
use super::ids::Guid;
use super::odata::{Query, QueryError, Row, preferences};
use super::runs::Run;
use super::world::Workflow;
pub(super) use access::{Caller, authenticated, challenge, is_own};
pub(super) use target::{SERVED, Target};

/// A request as the API sees it.
pub(super) struct Call<'r> {
    pub(super) method: &'r Method,
    pub(super) target: &'r Target,
    /// The query as sent.
    pub(super) query: &'r str,
    pub(super) headers: &'r HeaderMap,
    pub(super) body: &'r [u8],
    /// `http://host/org/api/data/v9.2`, as the client named it.
    pub(super) base: &'r str,
    pub(super) caller: Caller,
    pub(super) effect: &'r Effect,
    pub(super) now: Timestamp,
}

/// What a request led to.
pub(super) struct Outcome {
    pub(super) answer: Answer,
    /// The run that it started.
    pub(super) started: Option<Guid>,
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Self {
        Self { answer, started: None }
    }
}

impl From<QueryError> for Answer {
    fn from(refused: QueryError) -> Self {
        error(StatusCode::BAD_REQUEST, refused.code, refused.message)
    }
}

/// Executes a request. Refusals are answers too.
pub(super) fn executed(state: &mut State, call: &Call<'_>) -> Outcome {
    let allowed = match call.target {
        Target::Run(_) | Target::Cancel(_) => Method::POST,
        _ => Method::GET,
    };
    if *call.method != allowed && !matches!(call.target, Target::Unknown(_)) {
        let message = format!("The requested resource does not support http method '{}'.", call.method);
        let mut answer = error(StatusCode::METHOD_NOT_ALLOWED, "", message);
        super::answer::set(&mut answer, "allow", allowed.as_str());
        return answer.into();
    }
    match call.target {
        Target::Run(workflow) => action::run(state, call, *workflow).unwrap_or_else(Outcome::from),
        Target::Cancel(session) => action::cancel(state, call, *session)
            .unwrap_or_else(|answer| answer)
            .into(),
        _ => read(state, call).unwrap_or_else(|answer| answer).into(),
    }
}

fn read(state: &State, call: &Call<'_>) -> Result<Answer, Answer> {
    match call.target {
        Target::WhoAmI => Ok(json_body(
            StatusCode::OK,
            &json!({
                "@odata.context": format!("{}/$metadata#Microsoft.Dynamics.CRM.WhoAmIResponse", call.base),
                "BusinessUnitId": state.world.environment.organization_id,
                "UserId": call.caller.object_id,
                "OrganizationId": state.world.environment.organization_id,
            }),
        )),
        Target::List(table) => list::answered(state, call, table),
        Target::Row(table, id) => {
            let found = match table.entity {
                "flowsession" => {
                    access::may_see_runs(call)?;
                    one_row(call, table, visible_run(state, *id, call.now))?
                }
                "workflow" => one_row(call, table, table::workflow(state, *id))?,
                "connectionreference" => one_row(call, table, table::reference(state, *id))?,
                "flowmachinegroup" => one_row(call, table, table::machine_group(state, *id))?,
                _ => one_row(call, table, table::machine(state, *id, call.now))?,
            };
            found.ok_or_else(|| no_such_row(table.entity, id))
        }
        Target::WorkflowFile(id, column) => {
            let workflow = known_workflow(state, *id)?;
            file::workflow_column(workflow, column)
        }
        Target::SessionFile(id, column) => {
            access::may_see_runs(call)?;
            let run = visible_run(state, *id, call.now).ok_or_else(|| no_such_row("flowsession", id))?;
            file::session_column(state, call, run, column)
        }
        Target::Unknown(segment) => Err(error(
            StatusCode::NOT_FOUND,
            "0x8006088a",
            format!("Resource not found for the segment '{segment}'."),
        )),
        Target::Run(_) | Target::Cancel(_) => Err(empty(StatusCode::METHOD_NOT_ALLOWED)),
    }
}

fn one_row<R: Row>(call: &Call<'_>, table: &super::odata::Table, row: Option<R>) -> Result<Option<Answer>, Answer> {
    let options = options(call)?;
    if let Some((name, _)) = options.iter().find(|(name, _)| name != "$select") {
        let message = format!("The query parameter {name} is not supported on a single row.");
        return Err(error(StatusCode::BAD_REQUEST, "0x80060888", message));
    }
    let query = Query::read(table, &options)?;
    let Some(row) = row else { return Ok(None) };
    let etag = list::etag(&row);
    let known = call
        .headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|value| value.as_bytes() == etag.as_bytes());
    if known {
        return Ok(Some(empty(StatusCode::NOT_MODIFIED)));
    }
    let (_, annotations) = prefer(call.headers);
    let mut body = serde_json::Map::new();
    body.insert(
        "@odata.context".to_owned(),
        format!("{}/$entity", list::context(call, table, &query)).into(),
    );
    list::fill(&mut body, table, &query, &row, annotations);
    Ok(Some(json_body(StatusCode::OK, &body.into())))
}

fn options(call: &Call<'_>) -> Result<Vec<(String, String)>, Answer> {
    pairs(call.query).map_err(|bad| error(StatusCode::BAD_REQUEST, "0x80060888", bad.to_string()))
}

fn prefer(headers: &HeaderMap) -> (Option<usize>, bool) {
    preferences(headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok()))
}

fn known_workflow(state: &State, id: Guid) -> Result<&Workflow, Answer> {
    // A published copy and a draft may share the id; the published one is meant.
    let workflows = &state.world.environment.workflows;
    let published = workflows
        .iter()
        .find(|workflow| workflow.id == id && workflow.published);
    published
        .or_else(|| workflows.iter().find(|workflow| workflow.id == id))
        .ok_or_else(|| no_such_row("workflow", id))
}

fn visible_run(state: &State, id: Guid, now: Timestamp) -> Option<&Run> {
    state.runs.get(id).filter(|run| run.visible <= now)
}
