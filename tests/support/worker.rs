//! A worker of this process on a fake gateway, with a connector that does what a job tells it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use deskhand::connector::{Call, Connector, Response};
use deskhand::engine::credentials::Authority;
use deskhand::engine::gateway::ActivatedJob;
use deskhand::engine::{self, Engine};
use deskhand::http::Client;
use deskhand::http::token::Tokens;
use deskhand::mapping::Mapper;
use deskhand::outcome::{JobError, Remedy};
use deskhand::progress::Progress;
use deskhand::secrets::Secrets;
use deskhand::worker::{self, Ended, Pipeline};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::gateway::{Command, PATIENCE};

pub const JOB_TYPE: &str = "test:task:1";

/// A connector that does what the job's variable `do` says.
pub struct Obedient {
    pub job_type: &'static str,
    pub begun: AtomicUsize,
    pub running: AtomicUsize,
    pub most_at_once: AtomicUsize,
    pub parked: AtomicUsize,
    pub go_on: Notify,
}

impl Default for Obedient {
    fn default() -> Self {
        Self {
            job_type: JOB_TYPE,
            begun: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
            parked: AtomicUsize::new(0),
            go_on: Notify::new(),
        }
    }
}

impl Connector for Obedient {
    fn job_type(&self) -> &'static str {
        self.job_type
    }

    fn fetch_variables(&self) -> &'static [&'static str] {
        &["do", "ms"]
    }

    fn call<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Result<Response, JobError>> {
        async move {
            self.begun.fetch_add(1, Ordering::SeqCst);
            let now = self.running.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_at_once.fetch_max(now, Ordering::SeqCst);
            let result = self.obey(&call).await;
            self.running.fetch_sub(1, Ordering::SeqCst);
            result
        }
        .boxed()
    }
}

impl Obedient {
    async fn obey(&self, call: &Call<'_>) -> Result<Response, JobError> {
        match call.input.variables.get("do").and_then(Value::as_str) {
            Some("panic") => {
                self.running.fetch_sub(1, Ordering::SeqCst);
                panic!("on purpose")
            }
            Some("wait") => self.go_on.notified().await,
            Some("wait for a run") => {
                call.abandoned.cancelled().await;
                return Err(JobError::connector("HANDED_BACK", "later").with_remedy(Remedy::Postpone(Duration::ZERO)));
            }
            Some("park") => {
                assert!(call.place.park());
                self.parked.fetch_add(1, Ordering::SeqCst);
                self.go_on.notified().await;
                call.place.resume().await;
            }
            Some("note") => {
                self.parked.fetch_add(1, Ordering::SeqCst);
                self.go_on.notified().await;
                call.journal.write(Map::from_iter([("note".into(), 1.into())])).await?;
            }
            Some("sleep") => {
                tokio::time::sleep(Duration::from_millis(
                    call.input.variables.get("ms").and_then(Value::as_u64).unwrap_or(30),
                ))
                .await
            }
            _ => {}
        }
        Ok(json!({ "answer": 42 }).into())
    }
}

pub struct Worker {
    pub connector: Arc<Obedient>,
    pub stop: CancellationToken,
    pub ended: JoinHandle<Ended>,
}

pub fn settings() -> worker::Settings {
    worker::Settings {
        max_jobs: 8,
        job_timeout: Duration::from_secs(60),
        poll_interval: Duration::from_millis(50),
        drain_grace: Duration::from_secs(5),
        ..worker::Settings::default()
    }
}

pub fn start(url: String, settings: worker::Settings) -> Worker {
    let engine = engine::Settings {
        address: url,
        ..engine::Settings::default()
    };
    start_on(engine, &[JOB_TYPE], settings)
}

/// A worker with these settings of the engine, for these job types; the first one's connector can be looked at.
pub fn start_on(engine: engine::Settings, job_types: &[&'static str], settings: worker::Settings) -> Worker {
    let connectors: Vec<Arc<Obedient>> = job_types
        .iter()
        .map(|job_type| {
            Arc::new(Obedient {
                job_type,
                ..Obedient::default()
            })
        })
        .collect();
    let connector = connectors[0].clone();
    let connectors = connectors.into_iter().map(|one| one as Arc<dyn Connector>).collect();
    let (stop, ended) = run(engine, connectors, settings);
    Worker { connector, stop, ended }
}

/// A worker with these connectors: what stops it, and how it ended.
pub fn run(
    engine: engine::Settings,
    connectors: Vec<Arc<dyn Connector>>,
    settings: worker::Settings,
) -> (CancellationToken, JoinHandle<Ended>) {
    let tokens = Arc::new(Tokens::new(Client::new().unwrap()));
    let authority = Authority::new(&engine.credentials, tokens).unwrap();
    let engine = Engine::new(engine, authority).unwrap();
    let pipeline = Pipeline::new(connectors, Secrets::none(), Mapper::default(), Progress::none());
    let stop = CancellationToken::new();
    let work = worker::run(engine, Arc::new(pipeline), settings, Progress::none(), stop.clone());
    (stop, tokio::spawn(work))
}

impl Worker {
    pub async fn stopped(self) -> Ended {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.ended)
            .await
            .expect("the worker did not end")
            .unwrap()
    }
}

pub fn job(key: i64, task: &str) -> ActivatedJob {
    ActivatedJob {
        key,
        r#type: JOB_TYPE.into(),
        retries: 3,
        element_instance_key: key + 1_000_000,
        custom_headers: json!({ "resultExpression": "={answer: response.answer}" }).to_string(),
        variables: json!({ "do": task }).to_string(),
        ..ActivatedJob::default()
    }
}

pub fn completed(key: i64) -> Command {
    Command::Complete {
        key,
        variables: json!({ "answer": 42 }),
    }
}
