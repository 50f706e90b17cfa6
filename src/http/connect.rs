//! Watches a connection being made: the time bound of one request goes in, what happened comes out.
//!
//! The HTTP library bounds connecting for a whole client, not for a request, and does not say whether a failed request
//! had a connection. A layer around its connector does both: the request's task carries a [`Connecting`], the layer
//! picks it up when a new connection is needed.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::watch;
use tower::{Layer, Service};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

tokio::task_local! {
    static CONNECTING: Connecting;
}

/// How far the connection of a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing was done yet, or a kept connection is used.
    Unknown,
    /// A connection is being made.
    Connecting,
    /// The connection stands, TLS included, or making it failed.
    Over,
}

/// What a request wants of a connection that is made for it.
#[derive(Clone)]
pub(super) struct Connecting {
    bound: Option<Duration>,
    phase: watch::Sender<Phase>,
}

impl Connecting {
    /// Bounds connecting; the receiver sees each phase.
    pub(super) fn within(bound: Option<Duration>) -> (Self, watch::Receiver<Phase>) {
        let (phase, watcher) = watch::channel(Phase::Unknown);
        (Self { bound, phase }, watcher)
    }

    /// Runs a request so that the layer finds this.
    pub(super) async fn around<F: Future>(self, request: F) -> F::Output {
        CONNECTING.scope(self, request).await
    }
}

/// Connecting took longer than the request allows.
#[derive(Debug, thiserror::Error)]
#[error("no connection within {} s", .0.as_secs_f64())]
pub(super) struct TooSlow(Duration);

/// The layer around the HTTP library's connector.
#[derive(Clone)]
pub(super) struct Watched;

/// A connector that is watched.
#[derive(Clone)]
pub(super) struct WatchedConnector<S> {
    inner: S,
}

impl<S> Layer<S> for Watched {
    type Service = WatchedConnector<S>;

    fn layer(&self, inner: S) -> Self::Service {
        WatchedConnector { inner }
    }
}

impl<S, Target> Service<Target> for WatchedConnector<S>
where
    S: Service<Target, Error = BoxError>,
    S::Future: Send + 'static,
    S::Response: Send,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, target: Target) -> Self::Future {
        let connecting = CONNECTING.try_with(Connecting::clone).ok();
        if let Some(connecting) = &connecting {
            connecting.phase.send_replace(Phase::Connecting);
        }
        let attempt = self.inner.call(target);
        Box::pin(async move {
            let Some(connecting) = connecting else {
                return attempt.await;
            };
            let result = match connecting.bound {
                None => attempt.await,
                Some(bound) => match tokio::time::timeout(bound, attempt).await {
                    Ok(result) => result,
                    Err(_) => Err(TooSlow(bound).into()),
                },
            };
            connecting.phase.send_replace(Phase::Over);
            result
        })
    }
}
