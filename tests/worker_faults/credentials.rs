//! Credentials that end while the worker runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Json;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::json;
use tonic::Status;

use super::subject::{Kind, Setup, Subject, TlsFiles};
use super::{SOON, Verdict, completed, tls, until};
use crate::support::gateway::{FakeGateway, Guard, Start};
use crate::support::worker::job;

super::against_a_naive_worker! {
    a_token_that_expires_is_replaced_and_the_work_goes_on
    an_identity_provider_that_is_away_for_a_while_stops_nobody
    a_rotated_client_certificate_is_shown_on_the_next_connection
}

const LIFETIME: Duration = Duration::from_millis(1000);

/// An identity provider, and what it knows of the tokens that it gave.
#[derive(Clone)]
struct Provider {
    url: String,
    away: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Provider {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider = Self {
            url: format!("http://{}/token", listener.local_addr().unwrap()),
            away: Arc::default(),
            asked: Arc::default(),
        };
        let answering = provider.clone();
        let routes = axum::Router::new().fallback(move || {
            let provider = answering.clone();
            async move { provider.answer() }
        });
        tokio::spawn(async move { axum::serve(listener, routes).await });
        provider
    }

    fn answer(&self) -> axum::response::Response {
        let number = self.asked.fetch_add(1, Ordering::SeqCst);
        if self.away.load(Ordering::SeqCst) {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        Json(json!({
            "access_token": format!("token-{number}-{}", millis(Instant::now())),
            "expires_in": LIFETIME.as_secs(),
            "token_type": "Bearer",
        }))
        .into_response()
    }

    /// Lets in who shows a token that has not ended.
    fn guard() -> Guard {
        Arc::new(|metadata| {
            let shown = metadata.get("authorization").and_then(|value| value.to_str().ok());
            let given = shown
                .and_then(|text| text.strip_prefix("Bearer token-"))
                .and_then(|rest| rest.split_once('-')?.1.parse::<u128>().ok());
            match given {
                Some(given) if millis(Instant::now()) < given + LIFETIME.as_millis() => Ok(()),
                Some(_) => Err(Status::unauthenticated(
                    "Failed to parse bearer token, see cause for details",
                )),
                None => Err(Status::unauthenticated("Expected bearer token, but found nothing")),
            }
        })
    }
}

fn millis(now: Instant) -> u128 {
    static BEGAN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    now.saturating_duration_since(*BEGAN).as_millis()
}

async fn signed_in(kind: Kind) -> (Provider, FakeGateway, Subject) {
    let provider = Provider::start().await;
    let start = Start {
        guard: Some(Provider::guard()),
        ..Start::default()
    };
    let gateway = FakeGateway::start_as(start).await;
    let setup = Setup {
        token_url: Some(provider.url.clone()),
        ..Setup::new(gateway.address)
    };
    let worker = Subject::start(kind, setup).await;
    (provider, gateway, worker)
}

async fn a_token_that_expires_is_replaced_and_the_work_goes_on(kind: Kind) -> Verdict {
    let (provider, gateway, _worker) = signed_in(kind).await;
    let until = Instant::now() + 3 * LIFETIME;
    let mut key = 0;
    while Instant::now() < until {
        key += 1;
        gateway.push(job(key, "work")).await;
        completed(&gateway, key, SOON).await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    match provider.asked.load(Ordering::SeqCst) {
        3..=200 => Ok(()),
        asked => Err(format!("{asked} tokens for {key} jobs")),
    }
}

async fn an_identity_provider_that_is_away_for_a_while_stops_nobody(kind: Kind) -> Verdict {
    let (provider, gateway, worker) = signed_in(kind).await;
    gateway.push(job(1, "work")).await;
    completed(&gateway, 1, SOON).await?;
    gateway.push(job(2, "wait")).await;
    until("a job runs", SOON, || worker.running() == 1).await?;
    provider.away.store(true, Ordering::SeqCst);
    gateway.end_streams();
    // Longer than the last token lives: nothing can be said to the engine, and nothing may be lost.
    tokio::time::sleep(3 * LIFETIME).await;
    worker.go_on();
    let asked = provider.asked.load(Ordering::SeqCst);
    if asked > 300 {
        return Err(format!("{asked} requests to a provider that is away"));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    provider.away.store(false, Ordering::SeqCst);
    completed(&gateway, 2, SOON).await?;
    gateway.push(job(3, "work")).await;
    completed(&gateway, 3, SOON).await
}

async fn a_rotated_client_certificate_is_shown_on_the_next_connection(kind: Kind) -> Verdict {
    let directory = tempfile::tempdir().unwrap();
    let files = TlsFiles {
        authority: directory.path().join("authority.pem"),
        certificate: directory.path().join("client.pem"),
        key: directory.path().join("client.key.pem"),
    };
    let write = |certificate: &str, key: &str| {
        std::fs::write(&files.certificate, certificate).unwrap();
        std::fs::write(&files.key, key).unwrap();
    };
    std::fs::write(&files.authority, tls::AUTHORITY).unwrap();
    write(tls::CLIENT, tls::CLIENT_KEY);
    let gateway = start_tls(None, tls::AUTHORITY).await;
    let address = gateway.address;
    let setup = Setup {
        tls: Some(files.clone()),
        ..Setup::new(address)
    };
    let _worker = Subject::start(kind, setup).await;
    gateway.push(job(1, "work")).await;
    completed(&gateway, 1, SOON).await?;

    gateway.die();
    write(tls::NEXT_CLIENT, tls::NEXT_CLIENT_KEY);
    let next = start_tls(Some(address), tls::NEXT_AUTHORITY).await;
    until("a stream is opened", SOON, || next.streams_opened() > 0).await?;
    next.push(job(2, "work")).await;
    completed(&next, 2, SOON).await
}

async fn start_tls(address: Option<SocketAddr>, clients: &str) -> FakeGateway {
    FakeGateway::start_as(Start {
        address,
        tls: Some(tls::server(clients)),
        ..Start::default()
    })
    .await
}
