//! The gate: an HTTP request goes in; it is read, recorded and sent on its way, and the answer comes out.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Response, StatusCode};

use super::answer::{Answer, empty, error};
use super::connection::Cut;
use super::core::Core;
use super::exchange::{Admission, Exchange, Harm};
use super::faults::Effect;

/// How long a client may take to send a body.
const BODY_PATIENCE: Duration = Duration::from_secs(60);

/// Serves one request of the simulated services.
pub(super) async fn serve(
    State(core): State<Arc<Core>>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    request: Request,
) -> Response<Body> {
    let answer = tokio::select! {
        answer = received(&core, &cut, request) => answer,
        () = core.stop_asked() => {
            cut.reset();
            empty(StatusCode::SERVICE_UNAVAILABLE)
        }
    };
    answer.map(Body::from)
}

async fn received(core: &Arc<Core>, cut: &Cut, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let most = core.state().world.limits.body_bytes;
    let read = match tokio::time::timeout(BODY_PATIENCE, to_bytes(body, most)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => {
            let message = "The request body is too large or was cut short.";
            Err(error(StatusCode::PAYLOAD_TOO_LARGE, "", message))
        }
        Err(_) => Err(empty(StatusCode::REQUEST_TIMEOUT)),
    };
    match read {
        Ok(body) => {
            let exchange = Exchange::of(core, cut, parts, body);
            let (admission, harm) = exchange.admitted();
            sent_on(core, cut, exchange, admission, harm).await
        }
        Err(answer) => Exchange::of(core, cut, parts, Bytes::new()).refused(answer).await,
    }
}

async fn sent_on(core: &Arc<Core>, cut: &Cut, exchange: Exchange, admission: Admission, harm: Harm) -> Answer {
    if let Effect::DropThenProcess { after } = harm.effect {
        let Ok(place) = Arc::clone(&core.late).try_acquire_owned() else {
            let message = "The simulator has too many late requests.";
            return exchange
                .refused(error(StatusCode::SERVICE_UNAVAILABLE, "", message))
                .await;
        };
        cut.reset();
        tokio::spawn(async move {
            let delay = harm.delay + after.get();
            exchange.finished(admission, Harm { delay, ..harm }).await;
            drop(place);
        });
        return empty(StatusCode::OK);
    }
    // What takes time goes on when the client leaves, as on a real server: in a task of its own.
    if !harm.takes_time {
        return exchange.finished(admission, harm).await;
    }
    let running = tokio::spawn(async move { exchange.finished(admission, harm).await });
    running.await.unwrap_or_else(|_| {
        cut.reset();
        empty(StatusCode::INTERNAL_SERVER_ERROR)
    })
}
