//! The port for operations: `/live` (the process serves), `/ready` (the engine was seen once).
//!
//! Neither asks the engine: a broker's outage must not make an orchestrator restart every worker.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;

/// Whether this worker counts as ready: a latch that is released once and stays so. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    engine_seen: Arc<AtomicBool>,
}

impl Readiness {
    /// The engine has answered.
    pub fn engine_seen(&self) {
        self.engine_seen.store(true, Ordering::Relaxed);
    }

    fn answer(&self) -> (StatusCode, &'static str) {
        if self.engine_seen.load(Ordering::Relaxed) {
            (StatusCode::OK, "ready\n")
        } else {
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "not ready: the engine has not answered yet\n",
            )
        }
    }
}

/// Serves the port until the process ends; gives the address that was taken.
///
/// # Errors
/// When the address cannot be listened at.
pub async fn start(listen: SocketAddr, readiness: Readiness) -> std::io::Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let routes = Router::new()
        .route("/live", get(|| async { "live\n" }))
        .route(
            "/ready",
            get(|State(readiness): State<Readiness>| async move { readiness.answer() }),
        )
        .with_state(readiness);
    tracing::info!(%address, "port for operations: /live, /ready");
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(address)
}
