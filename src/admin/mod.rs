//! The port for operations: `/live` (the process serves), `/ready` (the engine was seen once, and we are not stopping),
//! `/metrics` (OpenMetrics), `/log-level` (read and change what is logged), `/pauses` (flows that start nothing: GET shows
//! them, POST and DELETE with a pattern begin and end a pause).
//!
//! None asks the engine: a broker's outage must not make an orchestrator restart every worker.

mod log_level;
pub mod pauses;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio_util::sync::CancellationToken;

use crate::metrics::metrics;
use crate::runs::turns::Turns;
use crate::secrets::Known;
pub use log_level::LogLevel;

/// What `/metrics` is: OpenMetrics 1.0 text.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// A filter for the log is a line.
const LONGEST_BODY: usize = 4096;

/// Whether this worker counts as ready: from when the engine was first seen until it is told to stop. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    engine_seen: Arc<AtomicBool>,
    stopping: Arc<AtomicBool>,
}

impl Readiness {
    /// The engine has answered.
    pub fn engine_seen(&self) {
        self.engine_seen.store(true, Ordering::Relaxed);
    }

    /// Not ready any more from when this fires.
    pub fn until_stopped(self, stop: CancellationToken) {
        tokio::spawn(async move {
            stop.cancelled().await;
            self.stopping.store(true, Ordering::Relaxed);
        });
    }

    fn answer(&self) -> (StatusCode, &'static str) {
        if self.stopping.load(Ordering::Relaxed) {
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "not ready: told to stop; running jobs may finish\n",
            )
        } else if self.engine_seen.load(Ordering::Relaxed) {
            (
                StatusCode::OK,
                "ready: the engine has answered (an outage since then does not count)\n",
            )
        } else {
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "not ready: the engine has not answered yet\n",
            )
        }
    }
}

#[derive(Clone)]
struct Operations {
    readiness: Readiness,
    log_level: LogLevel,
    known: Known,
    turns: Option<Turns>,
}

/// Serves the port until the process ends; gives the address that was taken. No text leaves with a secret of `known`.
///
/// # Errors
/// When the address cannot be listened at.
pub async fn start(
    listen: SocketAddr,
    readiness: Readiness,
    log_level: LogLevel,
    known: Known,
    turns: Option<Turns>,
) -> std::io::Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let operations = Operations {
        readiness,
        log_level,
        known,
        turns,
    };
    let routes = Router::new()
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(ready))
        .route("/metrics", get(numbers))
        .route("/log-level", get(what_is_logged).put(log_this))
        .route("/pauses", get(pauses::shown).post(pauses::pause).delete(pauses::resume))
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .with_state(operations);
    tracing::info!(%address, "port for operations: /live, /ready, /metrics, /log-level, /pauses");
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(address)
}

async fn ready(State(operations): State<Operations>) -> impl IntoResponse {
    operations.readiness.answer()
}

async fn numbers(State(operations): State<Operations>) -> impl IntoResponse {
    let text = metrics().text();
    // A task can make a host of anything.
    let text = operations.known.redactor().text(&text).into_owned();
    ([(header::CONTENT_TYPE, OPEN_METRICS)], text)
}

async fn what_is_logged(State(operations): State<Operations>) -> String {
    format!("{}\n", operations.log_level.get())
}

async fn log_this(State(operations): State<Operations>, filter: String) -> (StatusCode, String) {
    match operations.log_level.set(filter.trim()) {
        Ok(()) => (StatusCode::OK, format!("{}\n", operations.log_level.get())),
        Err(error) => (
            StatusCode::BAD_REQUEST,
            format!("this is not a filter like info,deskhand::engine=debug ({error})\n"),
        ),
    }
}
