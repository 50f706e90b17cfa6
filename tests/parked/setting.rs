//! The world of these tests: a worker of this process between a fake gateway and the simulator.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deskhand::connector::Connector;
use deskhand::connector::desktop_flow::{self, DesktopFlow, JOB_TYPE};
use deskhand::connector::http_json::{self, HttpJson};
use deskhand::engine::gateway::ActivatedJob;
use deskhand::engine::{self, Credentials, Engine};
use deskhand::http::Client;
use deskhand::http::token::Tokens;
use deskhand::mapping::Mapper;
use deskhand::progress::Progress;
use deskhand::runs::Pace;
use deskhand::runs::callback::Receiver;
use deskhand::runs::turns::{self, Turns};
use deskhand::sandbox::power_automate::{
    BOOK_INVOICE, CLIENT_ID, CONNECTION, CallbackMode, RouteName, Simulator, World,
};
use deskhand::secrets::{Policy, Secrets};
use deskhand::worker::{self, Ended, Pipeline};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::gateway::{FakeGateway, PATIENCE};

pub struct Setting {
    pub receiver: Option<Arc<Receiver>>,
    pub turns: Turns,
    pub gateway: FakeGateway,
    pub simulator: Simulator,
    pub stop: CancellationToken,
    pub working: JoinHandle<Ended>,
}

pub fn settings() -> worker::Settings {
    worker::Settings {
        max_jobs: 2,
        job_timeout: Duration::from_secs(60),
        poll_interval: Duration::from_millis(50),
        drain_grace: Duration::from_secs(5),
        ..worker::Settings::default()
    }
}

impl Setting {
    /// Runs end when the clock is pushed.
    pub async fn new(settings: worker::Settings) -> Self {
        let mut world = World::default();
        world.clock.speed = 0.001;
        world.limits.starts_per_connection = 100_000;
        Self::of(world, settings, flows(), false).await
    }

    /// Runs that nobody looks at but at the beginning, and a receiver of callbacks.
    pub async fn with_callbacks(mode: CallbackMode) -> Self {
        let mut world = World::default();
        world.clock.speed = 0.001;
        world.callbacks.mode = mode;
        world.callbacks.allow_insecure = true;
        let mut flows = flows();
        flows.pace.factor = 1e6;
        flows.pace.longest = Duration::from_secs(3600);
        Self::of(world, settings(), flows, true).await
    }

    pub async fn of(
        world: World,
        settings: worker::Settings,
        mut flows: desktop_flow::Settings,
        receives: bool,
    ) -> Self {
        let simulator = Simulator::start(([127, 0, 0, 1], 0).into(), world).await.unwrap();
        let gateway = FakeGateway::start().await;
        let address = free_address();
        flows.once.callback_url = receives.then(|| format!("http://{address}/hooks"));
        let (connector, stop, working) = work(&gateway, settings, flows);
        let receiver = receives.then(|| Receiver::new(connector.watcher().unwrap()));
        if let Some(receiver) = &receiver {
            receiver.clone().listen(address).await.unwrap();
        }
        Self {
            receiver,
            turns: connector.turns().unwrap(),
            gateway,
            simulator,
            stop,
            working,
        }
    }

    pub fn job(&self, key: i64, fields: Value) -> ActivatedJob {
        let mut variables = json!({
            "operationType": "runAndWait",
            "organizationUri": self.simulator.organization(),
            "authentication": {
                "type": "oauth-client-credentials-flow",
                "oauthTokenEndpoint": self.simulator.token_endpoint(),
                "clientId": CLIENT_ID.to_string(),
                "clientSecret": "demo-client-secret",
            },
            "workflowId": BOOK_INVOICE.to_string(),
            "connectionName": CONNECTION,
            "runMode": "unattended",
            "inputs": {"InvoiceId": key.to_string()},
        });
        variables
            .as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        ActivatedJob {
            key,
            r#type: JOB_TYPE.into(),
            retries: 3,
            process_instance_key: key + 1_000,
            element_instance_key: key + 1_000_000,
            element_id: "book".into(),
            bpmn_process_id: "invoices".into(),
            custom_headers: json!({"resultExpression": "={invoice: response.outputs.InvoiceId}"}).to_string(),
            variables: variables.to_string(),
            ..ActivatedJob::default()
        }
    }

    pub async fn push(&self, keys: std::ops::Range<i64>) {
        for key in keys {
            self.gateway.push(self.job(key, json!({}))).await;
        }
    }

    /// Waits until so many runs were started and nothing is worked on any more.
    pub async fn asleep(&self, runs: usize) {
        let give_up = Instant::now() + PATIENCE;
        while self.simulator.runs_started() < runs || self.looks() < runs.min(1) {
            assert!(Instant::now() < give_up, "{} runs", self.simulator.runs_started());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn looks(&self) -> usize {
        self.requests(&[RouteName::Session, RouteName::Sessions])
    }

    pub fn requests(&self, routes: &[RouteName]) -> usize {
        let all = self.simulator.requests();
        all.iter().filter(|request| routes.contains(&request.route)).count()
    }

    pub async fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let give_up = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < give_up, "{what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub async fn stopped(self) -> Ended {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE * 2, self.working).await.unwrap().unwrap()
    }
}

/// An address that is free for a moment.
pub fn free_address() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// Settings with which no test waits long.
pub fn flows() -> desktop_flow::Settings {
    desktop_flow::Settings {
        pace: Pace {
            first: Duration::from_millis(20),
            factor: 1.5,
            longest: Duration::from_millis(200),
            jitter: 0.2,
        },
        queries_per_second: 1000.0,
        turns: turns::Settings {
            starts_per_minute: 100_000,
            ..turns::Settings::default()
        },
        ..desktop_flow::Settings::default()
    }
}

pub fn work(
    gateway: &FakeGateway,
    settings: worker::Settings,
    flows: desktop_flow::Settings,
) -> (Arc<DesktopFlow>, CancellationToken, JoinHandle<Ended>) {
    let engine = Engine::new(
        engine::Settings {
            address: gateway.url(),
            credentials: Credentials::None,
            worker_name: "test".into(),
            ..engine::Settings::default()
        },
        engine::credentials::Authority::none(),
    )
    .unwrap();
    let client = Client::new().unwrap();
    let tokens = Arc::new(Tokens::new(client.clone()));
    let connector = Arc::new(DesktopFlow::new(
        client.clone(),
        tokens,
        Arc::new(Policy::default()),
        flows,
    ));
    let tokens = Arc::new(Tokens::new(client.clone()));
    let rest = HttpJson::new(
        client,
        tokens,
        Arc::new(Policy::default()),
        http_json::Settings::default(),
    );
    let rest: Arc<dyn Connector> = Arc::new(rest.starting_once(connector.starts()));
    let pipeline = Pipeline::new(
        vec![connector.clone(), rest],
        Secrets::none(),
        Mapper::default(),
        Progress::none(),
    );
    let stop = CancellationToken::new();
    let working = worker::run(engine, Arc::new(pipeline), settings, Progress::none(), stop.clone());
    (connector, stop, tokio::spawn(working))
}
