//! What becomes of requests that are under way when the worker has no more time: handed back at once where surely nothing
//! was executed or may be executed again, and left to the lease where nobody knows.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use deskhand::connector::http_json::{HttpJson, JOB_TYPE, Settings};
use deskhand::engine;
use deskhand::engine::gateway::ActivatedJob;
use deskhand::http::Client;
use deskhand::http::token::Tokens;
use deskhand::secrets::Policy;
use deskhand::worker::{self, Ended};
use serde_json::{Value, json};
use support::gateway::{Command, FakeGateway, PATIENCE};
use support::worker::{run, settings};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// A server that reads and never answers. It says each time that bytes have come.
struct Silent {
    port: u16,
    heard: mpsc::Receiver<()>,
}

impl Silent {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (hear, heard) = mpsc::channel(64);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let hear = hear.clone();
                tokio::spawn(async move {
                    let mut bytes = [0; 4096];
                    while let Ok(1..) = stream.read(&mut bytes).await {
                        let _ = hear.send(()).await;
                    }
                });
            }
        });
        Self { port, heard }
    }

    fn url(&self, scheme: &str) -> String {
        format!("{scheme}://127.0.0.1:{}/invoices", self.port)
    }
}

fn job(variables: &Value) -> ActivatedJob {
    ActivatedJob {
        key: 1,
        r#type: JOB_TYPE.into(),
        retries: 3,
        variables: variables.to_string(),
        ..ActivatedJob::default()
    }
}

/// Begins the request, waits until the server has bytes of it, and stops the worker: what the engine was told, and how the
/// worker ended.
async fn stopped_in(mut server: Silent, variables: Value) -> (Vec<Command>, Ended) {
    let gateway = FakeGateway::start().await;
    let client = Client::new().unwrap();
    let tokens = Arc::new(Tokens::new(client.clone()));
    let connector = HttpJson::new(client, tokens, Arc::new(Policy::of_rules(vec![])), Settings::default());
    let engine = engine::Settings {
        address: gateway.url(),
        ..engine::Settings::default()
    };
    let settings = worker::Settings {
        drain_grace: Duration::from_secs(1),
        ..settings()
    };
    let (stop, ended) = run(engine, vec![Arc::new(connector)], settings);
    gateway.push(job(&variables)).await;
    tokio::time::timeout(PATIENCE, server.heard.recv())
        .await
        .expect("nothing came to the server");
    stop.cancel();
    let ended = tokio::time::timeout(PATIENCE, ended).await.expect("it does not end");
    (gateway.pending().await, ended.unwrap())
}

fn assert_handed_back((commands, ended): (Vec<Command>, Ended)) {
    assert_eq!(ended, Ended::Drained);
    match &commands[..] {
        [
            Command::Fail {
                key: 1,
                retries: 3,
                backoff_ms: 0,
                message,
            },
        ] => assert!(message.contains("Handed back"), "{message}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_request_that_waits_for_its_token_is_handed_back() {
    let server = Silent::start().await;
    let variables = json!({
        "url": "https://api.example.com/invoices", "method": "POST", "body": {"amount": 1},
        "authentication": {
            "type": "oauth-client-credentials-flow", "oauthTokenEndpoint": server.url("http"),
            "clientId": "the-client", "clientSecret": "s3cr3t", "clientAuthentication": "credentialsBody",
        },
    });
    assert_handed_back(stopped_in(server, variables).await);
}

#[tokio::test]
async fn a_request_whose_connection_is_being_made_is_handed_back() {
    let server = Silent::start().await;
    // What the server hears is the beginning of the TLS handshake.
    let variables = json!({ "url": server.url("https"), "method": "POST", "body": {"amount": 1} });
    assert_handed_back(stopped_in(server, variables).await);
}

#[tokio::test]
async fn a_request_that_is_safe_to_repeat_is_handed_back_though_it_has_left() {
    let server = Silent::start().await;
    let variables = json!({ "url": server.url("http"), "method": "GET" });
    assert_handed_back(stopped_in(server, variables).await);
}

#[tokio::test]
async fn a_request_that_may_have_been_executed_is_left_to_its_lease() {
    for variables in [
        json!({ "method": "POST", "body": {"amount": 1} }),
        json!({ "method": "DELETE" }),
    ] {
        let server = Silent::start().await;
        let mut variables = variables;
        variables["url"] = server.url("http").into();
        let (commands, ended) = stopped_in(server, variables).await;
        assert_eq!((commands, ended), (vec![], Ended::Left(1)));
    }
}
