//! A whole stage: the simulator, a worker of this process, and an engine that is given.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use deskhand::connector;
use deskhand::engine::credentials::Authority;
use deskhand::engine::{self, Credentials, Engine};
use deskhand::http::Client;
use deskhand::http::token::Tokens;
use deskhand::mapping::Mapper;
use deskhand::progress::{Progress, Step};
use deskhand::sandbox::power_automate::{CLIENT_ID, Scenario, Simulator, World};
use deskhand::secrets::policy::Rule;
use deskhand::secrets::{self, Policy, Secrets};
use deskhand::worker::{self, Ended, Pipeline};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const PATIENCE: Duration = Duration::from_secs(60);

pub const BOOK_INVOICE: &str = include_str!("../../examples/book-invoice.bpmn");
pub const CLASSIC: &str = include_str!("../../examples/classic.bpmn");

/// The simulator and a worker on an engine.
pub struct Stage {
    pub engine: Engine,
    pub simulator: Simulator,
    pub answers: Arc<Mutex<Vec<String>>>,
    progress: Progress,
    stop: CancellationToken,
    working: JoinHandle<Ended>,
}

impl Stage {
    pub async fn new(engine_url: &str, scenario: Scenario) -> Self {
        Self::on(connect(engine_url, Credentials::None), scenario).await
    }

    pub async fn on(engine: Engine, scenario: Scenario) -> Self {
        let simulator = Simulator::start(([127, 0, 0, 1], 0).into(), World::demo(scenario))
            .await
            .unwrap();
        let answers = Arc::new(Mutex::new(Vec::new()));
        let seen = answers.clone();
        let progress = Progress::watched_by(move |_, step| {
            if let Step::Answered { outcome, message } = step {
                seen.lock()
                    .unwrap()
                    .push(format!("{outcome} {}", message.as_deref().unwrap_or_default()));
            }
        });
        let (stop, working) = work(&engine, &simulator, &progress);
        Self {
            engine,
            simulator,
            answers,
            progress,
            stop,
            working,
        }
    }

    /// The variables that the example processes want.
    pub fn variables(&self) -> Value {
        variables(&self.simulator)
    }

    /// Deploys a process and runs it to its end.
    pub async fn run(&self, id: &str, bpmn: &str) -> Value {
        self.engine.deploy(&[(&format!("{id}.bpmn"), bpmn)]).await.unwrap();
        self.engine
            .run_process(id, &self.variables(), PATIENCE)
            .await
            .unwrap()
            .variables
    }

    /// Another worker takes the place of this one, which is told to stop and gets a moment.
    pub async fn replace_worker(&mut self) {
        self.stop.cancel();
        assert_eq!((&mut self.working).await.unwrap(), Ended::Drained);
        (self.stop, self.working) = work(&self.engine, &self.simulator, &self.progress);
    }

    /// Stops the worker; every job must have got its outcome.
    pub async fn end(self) {
        self.stop.cancel();
        assert_eq!(self.working.await.unwrap(), Ended::Drained);
        self.simulator.stop().await;
    }
}

pub fn connect(url: &str, credentials: Credentials) -> Engine {
    let tokens = Arc::new(Tokens::new(Client::new().unwrap()));
    let authority = Authority::new(&credentials, tokens).unwrap();
    let settings = engine::Settings {
        address: url.to_owned(),
        credentials,
        worker_name: "deskhand-test".into(),
        ..engine::Settings::default()
    };
    Engine::new(settings, authority).unwrap()
}

/// A worker that knows the simulator's application by two secrets.
fn work(engine: &Engine, simulator: &Simulator, progress: &Progress) -> (CancellationToken, JoinHandle<Ended>) {
    let host = simulator.address().to_string();
    let policy = Policy::of_rules(vec![Rule::new("PA_*", [host.as_str()]).unwrap()]);
    let client = Client::new().unwrap();
    let tokens = Arc::new(Tokens::new(client.clone()));
    let connectors = connector::all(&client, &tokens, &policy, &connector::Settings::default());
    let known = |name: &str| match name {
        "SECRET_PA_CLIENT_ID" => Some(CLIENT_ID.to_string()),
        "SECRET_PA_CLIENT_SECRET" => Some("demo-client-secret".to_owned()),
        _ => None,
    };
    let secrets = Secrets::from_settings(&secrets::Settings::default(), known);
    let pipeline = Pipeline::new(connectors, secrets, Mapper::default(), progress.clone());
    let stop = CancellationToken::new();
    let settings = worker::Settings {
        max_jobs: 16,
        poll_interval: Duration::from_millis(500),
        drain_grace: Duration::from_secs(2),
        ..worker::Settings::default()
    };
    let working = tokio::spawn(worker::run(
        engine.clone(),
        Arc::new(pipeline),
        settings,
        progress.clone(),
        stop.clone(),
    ));
    (stop, working)
}

/// The variables that the example processes want.
pub fn variables(simulator: &Simulator) -> Value {
    json!({
        "invoiceId": "4711",
        "amount": 129.9,
        "organizationUri": simulator.organization(),
        "tokenEndpoint": simulator.token_endpoint(),
        "pollEvery": "PT0.5S",
    })
}
