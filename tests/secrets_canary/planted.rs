//! Five leaks, planted in a worker without the defences: the search must find each in what comes out. Two of them again
//! with the log's masking: they must be gone.
//!
//! The worker is this test binary once more, as a process of its own, so that all of its streams can be read.

use std::process::{Command, Stdio};
use std::sync::Arc;

use deskhand::connector::{Call, Connector, Response};
use deskhand::engine::credentials::Authority;
use deskhand::engine::gateway::ActivatedJob;
use deskhand::engine::{self, Credentials, Engine};
use deskhand::http::{Client, Method, Request};
use deskhand::mapping::Mapper;
use deskhand::outcome::JobError;
use deskhand::progress::Progress;
use deskhand::secrets::masked_output::MaskedOutput;
use deskhand::secrets::{Known, Secrets};
use deskhand::worker::{self, Pipeline};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::scan::{Canary, Scan};
use super::support::gateway::FakeGateway;
use super::target::{Reply, Target};

const VALUE: &str = "planted canary \"9Zq\" +/";
const JOB_TYPE: &str = "test:leak:1";
const LEAK: &str = "DESKHAND_TEST_LEAK";

/// Leaks in the way that the environment names.
struct Leaking {
    way: String,
    foreign: String,
}

#[derive(Debug)]
#[allow(dead_code, reason = "its Debug is the leak")]
struct Shown {
    secret: String,
}

#[derive(Debug, thiserror::Error)]
#[error("the call failed")]
struct Outer(#[source] Inner);

#[derive(Debug, thiserror::Error)]
#[error("refused with the password {0}")]
struct Inner(String);

impl Connector for Leaking {
    fn job_type(&self) -> &'static str {
        JOB_TYPE
    }

    fn fetch_variables(&self) -> &'static [&'static str] {
        &["secret"]
    }

    fn call<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Result<Response, JobError>> {
        let secret = call.input.variables["secret"].as_str().unwrap().to_owned();
        async move {
            match self.way.as_str() {
                "debug" => eprintln!("{:?}", Shown { secret }),
                "field" => tracing::info!(value = secret, "a field"),
                "panic" => panic!("it cannot be that the secret is {secret}"),
                "source" => {
                    let error = Outer(Inner(secret));
                    tracing::error!(error = &error as &dyn std::error::Error, "failed");
                }
                "url" => {
                    let mut url: url::Url = self.foreign.parse().unwrap();
                    url.query_pairs_mut().append_pair("key", &secret);
                    Client::new()
                        .unwrap()
                        .send(Request::new(Method::GET, url))
                        .await
                        .unwrap();
                }
                other => panic!("no such leak: {other}"),
            }
            Ok(Value::from(1).into())
        }
        .boxed()
    }
}

/// The process: it works until it is ended.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the worker of the tests below, started by them as a process"]
async fn a_worker_that_leaks() {
    let way = std::env::var(LEAK).expect("this is no test by itself");
    let known = Known::default();
    if std::env::var_os("DESKHAND_TEST_MASKED").is_some() {
        tracing_subscriber::fmt()
            .with_writer(MaskedOutput::new(known.clone(), std::io::stderr))
            .init();
    } else {
        tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    }
    let settings = engine::Settings {
        address: std::env::var("DESKHAND_TEST_GATEWAY").unwrap(),
        credentials: Credentials::None,
        worker_name: "leaks".into(),
        ..engine::Settings::default()
    };
    let connector = Arc::new(Leaking {
        way,
        foreign: std::env::var("DESKHAND_TEST_FOREIGN").unwrap(),
    });
    let secrets = Secrets::fixed([("PLANTED", VALUE)]).remembering(known);
    let pipeline = Pipeline::new(vec![connector], secrets, Mapper::default(), Progress::none());
    worker::run(
        Engine::new(settings, Authority::none()).unwrap(),
        Arc::new(pipeline),
        worker::Settings::default(),
        Progress::none(),
        CancellationToken::new(),
    )
    .await;
}

/// What comes out of a worker that leaks so: places and what was found there.
async fn found(way: &str, masked: bool) -> Vec<String> {
    let gateway = FakeGateway::start().await;
    let foreign = Target::new(|_| Reply::json("{}")).await;
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["planted::a_worker_that_leaks", "--exact", "--ignored", "--nocapture"])
        .env(LEAK, way)
        .env("DESKHAND_TEST_GATEWAY", gateway.url())
        .env("DESKHAND_TEST_FOREIGN", foreign.url("/x"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if masked {
        command.env("DESKHAND_TEST_MASKED", "1");
    }
    let mut child = command.spawn().unwrap();
    gateway
        .push(ActivatedJob {
            key: 1,
            r#type: JOB_TYPE.into(),
            retries: 1,
            variables: json!({"secret": "{{secrets.PLANTED}}"}).to_string(),
            ..ActivatedJob::default()
        })
        .await;
    gateway.outcome().await;
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    let scan = Scan::for_all(&[Canary {
        name: "PLANTED".into(),
        value: VALUE.into(),
    }]);
    let mut hits = scan.hits("stdout", &output.stdout);
    hits.extend(scan.hits("stderr", &output.stderr));
    hits.extend(scan.hits("the commands", gateway.transcript().as_bytes()));
    for seen in foreign.seen() {
        hits.extend(scan.hits("a foreign host", seen.uri.as_bytes()));
    }
    hits
}

#[tokio::test(flavor = "multi_thread")]
async fn each_planted_leak_is_found() {
    for (way, place) in [
        ("debug", "stderr"),
        ("field", "stderr"),
        ("panic", "stderr"),
        ("source", "stderr"),
        ("url", "a foreign host"),
    ] {
        let hits = found(way, false).await;
        assert!(
            hits.iter().any(|hit| hit.contains(place)),
            "the leak `{way}` was not found: {hits:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_masks_what_slips_into_it() {
    for way in ["field", "source"] {
        let hits = found(way, true).await;
        assert!(hits.is_empty(), "{way}: {hits:?}");
    }
}
