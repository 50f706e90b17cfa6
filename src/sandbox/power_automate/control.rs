//! The control API under `/__sim`: how a test in any language drives the simulator.
//!
//! | request | does |
//! |---|---|
//! | `GET /__sim` | what the simulator counts: requests, runs, tokens, callbacks; its clock and addresses |
//! | `POST /__sim/reset` | forgets everything that happened and returns to the initial world |
//! | `POST /__sim/clock/advance` `{"by":"6h"}` | pushes the clock forward |
//! | `POST /__sim/seed` `{"workflows":[…],"connections":[…],"machineGroups":[…]}` | adds or replaces rows |
//! | `POST /__sim/fault` one fault or a list | queues faults; `DELETE` forgets the pending ones |
//! | `POST /__sim/expect` `{"route":"run","count":1}` | does the journal agree? 200, or 409 with what does not ([`super::expect`]) |
//! | `GET /__sim/requests?after=N&limit=N&route=run` | the journal, oldest first, credentials redacted |
//! | `GET /__sim/sessions?after=N&limit=N` | the runs, oldest first |
//! | `GET /__sim/callbacks` | the attempts to deliver callbacks |
//! | `POST /__sim/token` | an access token for the first application |

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::header::HOST;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::core::{Core, LOGIN, ORGANIZATION};
use super::expect::{self, Expectation};
use super::faults::{Fault, RouteName};
use super::world::{Seed, Span};

/// Records of one answer.
const MOST_RECORDS: usize = 10_000;

/// The control API's routes.
pub(super) fn routes() -> Router<Arc<Core>> {
    Router::new()
        .route("/__sim", get(overview))
        .route("/__sim/reset", post(reset))
        .route("/__sim/clock/advance", post(advance))
        .route("/__sim/seed", post(seed))
        .route("/__sim/fault", post(fault).delete(forget_faults))
        .route("/__sim/expect", post(expect))
        .route("/__sim/requests", get(requests))
        .route("/__sim/sessions", get(sessions))
        .route("/__sim/callbacks", get(callbacks))
        .route("/__sim/token", post(token))
}

/// The request's body is not what the route takes.
struct Unreadable(String);

impl IntoResponse for Unreadable {
    fn into_response(self) -> Response {
        (StatusCode::BAD_REQUEST, Json(json!({"error": self.0}))).into_response()
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Unreadable> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| Unreadable(format!("at `{}`: {}", error.path(), error.inner())))
}

async fn overview(State(core): State<Arc<Core>>, headers: HeaderMap) -> Json<serde_json::Value> {
    let host = host(&headers);
    let requests = core.journal().count();
    let state = core.state();
    Json(json!({
        "now": core.clock.now().to_string(),
        "organization": format!("http://{host}{ORGANIZATION}"),
        "tokenEndpoint": format!("http://{host}{LOGIN}{}/oauth2/v2.0/token", state.world.directory.tenant),
        "requests": requests,
        "runsStarted": state.runs.len(),
        "tokensIssued": state.tokens.issued,
        "callbackAttempts": state.delivered,
    }))
}

async fn reset(State(core): State<Arc<Core>>) -> StatusCode {
    core.reset();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    by: Span,
}

async fn advance(State(core): State<Arc<Core>>, body: Bytes) -> Result<Json<serde_json::Value>, Unreadable> {
    let Advance { by } = read(&body)?;
    let now = core.clock.advance(by.get());
    core.wake.notify_one();
    Ok(Json(json!({"now": now.to_string()})))
}

async fn seed(State(core): State<Arc<Core>>, body: Bytes) -> Result<StatusCode, Unreadable> {
    let seed: Seed = read(&body)?;
    core.state()
        .seed(seed, core.clock.now())
        .map_err(|error| Unreadable(error.to_string()))?;
    core.wake.notify_one();
    Ok(StatusCode::NO_CONTENT)
}

async fn fault(State(core): State<Arc<Core>>, body: Bytes) -> Result<StatusCode, Unreadable> {
    let list = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let faults: Vec<Fault> = if list { read(&body)? } else { vec![read(&body)?] };
    for fault in &faults {
        fault.validate().map_err(Unreadable)?;
    }
    let mut state = core.state();
    for fault in faults {
        if !state.faults.add(fault) {
            return Err(Unreadable("too many faults are pending".to_owned()));
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn forget_faults(State(core): State<Arc<Core>>) -> StatusCode {
    core.state().faults.clear();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Window {
    after: u64,
    limit: usize,
    route: Option<RouteName>,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            after: 0,
            limit: MOST_RECORDS,
            route: None,
        }
    }
}

async fn expect(State(core): State<Arc<Core>>, body: Bytes) -> Result<Response, Unreadable> {
    let expected: Expectation = read(&body)?;
    let journal = core.journal();
    let requests = journal.after(expected.after, usize::MAX, expected.route);
    let oldest = journal.after(0, 1, None).first().map_or(0, |record| record.sequence);
    let forgotten = oldest > expected.after + 1;
    Ok(match expect::judged(&expected, &requests, forgotten) {
        Ok(met) => Json(met).into_response(),
        Err(problems) => (StatusCode::CONFLICT, Json(problems)).into_response(),
    })
}

async fn requests(State(core): State<Arc<Core>>, Query(window): Query<Window>) -> Json<serde_json::Value> {
    let journal = core.journal();
    let records = journal.after(window.after, window.limit.min(MOST_RECORDS), window.route);
    Json(json!({"count": journal.count(), "requests": records}))
}

async fn sessions(State(core): State<Arc<Core>>, Query(window): Query<Window>) -> Json<serde_json::Value> {
    let state = core.state();
    let skipped = usize::try_from(window.after).unwrap_or(usize::MAX);
    let runs = state
        .runs
        .all()
        .iter()
        .skip(skipped)
        .take(window.limit.min(MOST_RECORDS));
    let records: Vec<_> = runs.map(|run| run.record()).collect();
    Json(json!({"count": state.runs.len(), "sessions": records}))
}

async fn callbacks(State(core): State<Arc<Core>>) -> Json<serde_json::Value> {
    let state = core.state();
    Json(json!({"count": state.delivered, "callbacks": state.deliveries}))
}

async fn token(State(core): State<Arc<Core>>, headers: HeaderMap) -> Result<Json<serde_json::Value>, Unreadable> {
    let token = core
        .minted(&host(&headers))
        .ok_or_else(|| Unreadable("the world has no application".to_owned()))?;
    Ok(Json(json!({"token_type": "Bearer", "access_token": token})))
}

fn host(headers: &HeaderMap) -> String {
    headers
        .get(HOST)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("localhost")
        .to_owned()
}
