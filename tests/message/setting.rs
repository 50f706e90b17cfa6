//! The world of these tests: a simulator and a fake gateway that outlive the replicas of deskhand between them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deskhand::connector::Connector;
use deskhand::connector::desktop_flow::outbox::{self, Target};
use deskhand::connector::desktop_flow::{self, DesktopFlow, JOB_TYPE};
use deskhand::connector::identity::{self, Identities, SignIn};
use deskhand::engine::gateway::ActivatedJob;
use deskhand::engine::{self, Engine};
use deskhand::http::Client;
use deskhand::http::token::{ClientAuthentication, Tokens};
use deskhand::mapping::Mapper;
use deskhand::microsoft::dataverse::Organization;
use deskhand::progress::Progress;
use deskhand::runs::callback::{Published, Receiver};
use deskhand::runs::{Pace, token};
use deskhand::sandbox::power_automate::{
    BOOK_INVOICE, CLIENT_ID, CONNECTION, CallbackMode, RequestRecord, RouteName, Simulator, World,
};
use deskhand::secrets::{Policy, Secrets};
use deskhand::worker::{self, Pipeline};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::support::gateway::{Command, FakeGateway, PATIENCE};
use crate::support::messages::Offer;

pub const NAMESPACE: &str = "the engine of these tests";
/// Never in a test.
pub const NEVER: Duration = Duration::from_secs(3600);

pub struct Setting {
    pub simulator: Simulator,
    pub gateway: FakeGateway,
}

impl Setting {
    /// Runs end when the clock is pushed.
    pub async fn new(change: impl FnOnce(&mut World)) -> Self {
        let mut world = World::default();
        world.clock.speed = 0.001;
        world.limits.starts_per_connection = 100_000;
        world.callbacks.mode = CallbackMode::Never;
        world.callbacks.allow_insecure = true;
        change(&mut world);
        Self {
            simulator: Simulator::start(([127, 0, 0, 1], 0).into(), world).await.unwrap(),
            gateway: FakeGateway::start().await,
        }
    }

    /// A task that starts a run and wants a message; `fields` override.
    pub fn job(&self, key: i64, fields: Value) -> ActivatedJob {
        let mut variables = json!({
            "operationType": "triggerFlowRun",
            "organizationUri": self.simulator.organization(),
            "identity": "robot",
            "workflowId": BOOK_INVOICE.to_string(),
            "connectionName": CONNECTION,
            "runMode": "unattended",
            "waitFor": "message",
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
            tenant_id: "accounting".into(),
            custom_headers: json!({"resultExpression": "={run: response.flowSessionId}"}).to_string(),
            variables: variables.to_string(),
            ..ActivatedJob::default()
        }
    }

    /// Has a run started, and gives its id as the process learns it.
    pub async fn started(&self, key: i64, fields: Value) -> String {
        self.gateway.push(self.job(key, fields)).await;
        match self.gateway.outcome().await {
            Command::Complete { key: done, variables } if done == key => variables["run"].as_str().unwrap().to_owned(),
            other => panic!("{other:?}"),
        }
    }

    /// What the incident says that a task becomes.
    pub async fn refused(&self, key: i64, fields: Value) -> String {
        let runs = self.simulator.runs_started();
        self.gateway.push(self.job(key, fields)).await;
        match self.gateway.outcome().await {
            Command::Fail {
                retries: 0, message, ..
            } => {
                assert_eq!(self.simulator.runs_started(), runs, "a run was started: {message}");
                message
            }
            other => panic!("{other:?}"),
        }
    }

    /// Every run that was started ends.
    pub fn runs_end(&self) {
        self.simulator.advance(Duration::from_secs(60));
    }

    pub async fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let give_up = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < give_up, "{what}: {:#?}", self.gateway.offers());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the engine has so many messages; there may be no more.
    pub async fn messages(&self, count: usize) -> Vec<Offer> {
        self.until("messages", |setting| setting.gateway.messages().len() >= count)
            .await;
        let messages = self.gateway.messages();
        assert_eq!(messages.len(), count, "{messages:#?}");
        messages
    }

    /// How often runs that ended lately were asked for; what ended long ago is asked for once more, apart.
    pub fn passes(&self) -> usize {
        let all = self.simulator.requests();
        let asks = |request: &&RequestRecord| {
            let query = &request.query;
            request.route == RouteName::Sessions
                && query.contains("deskhandMessage")
                && !query.contains("modifiedon%20lt")
        };
        all.iter().filter(asks).count()
    }

    /// Waits for two more looks: all that ended before is seen by then.
    pub async fn looked_again(&self) {
        let passes = self.passes();
        self.until("looks", |setting| setting.passes() >= passes + 2).await;
    }
}

/// A replica of deskhand with a runtime of its own, so that it can be killed.
pub struct Replica {
    runtime: Option<Runtime>,
}

impl Replica {
    /// Nobody calls back, runs are looked at by nobody, and the outbox looks five times a second.
    pub fn start(setting: &Setting) -> Self {
        Self::of(setting, None, |_| {})
    }

    pub fn with(setting: &Setting, change: impl FnOnce(&mut desktop_flow::Settings)) -> Self {
        Self::of(setting, None, change)
    }

    /// With a receiver of callbacks there.
    pub fn of(
        setting: &Setting,
        receives: Option<SocketAddr>,
        change: impl FnOnce(&mut desktop_flow::Settings),
    ) -> Self {
        Self::at(&setting.simulator, setting.gateway.url(), receives, change)
    }

    /// At this engine.
    pub fn at(
        simulator: &Simulator,
        engine: String,
        receives: Option<SocketAddr>,
        change: impl FnOnce(&mut desktop_flow::Settings),
    ) -> Self {
        let mut flows = flows(simulator);
        flows.once.callback_url = receives.map(|address| format!("http://{address}/hooks"));
        change(&mut flows);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.spawn(work(engine, identities(simulator), flows, receives));
        Self { runtime: Some(runtime) }
    }

    /// Nothing of it goes on.
    pub fn kill(mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn flows(simulator: &Simulator) -> desktop_flow::Settings {
    let mut flows = desktop_flow::Settings {
        pace: Pace {
            first: NEVER,
            factor: 1.0,
            longest: NEVER,
            jitter: 0.0,
        },
        outbox: outbox::Settings {
            targets: vec![Target {
                identity: "robot".into(),
                organization: Organization::parse(&simulator.organization(), &[]).unwrap(),
            }],
            every: Duration::from_millis(200),
            ..outbox::Settings::default()
        },
        ..desktop_flow::Settings::default()
    };
    flows.turns.starts_per_minute = 100_000;
    flows.once.tokens = token::Tokens::new(NAMESPACE, None);
    flows.once.token_url = Some("https://hooks.example.com/nothing".into());
    flows
}

fn identities(simulator: &Simulator) -> Arc<Identities> {
    let of = |name: &str| identity::Settings {
        name: name.into(),
        sign_in: SignIn::Secret {
            secret: "{{secrets.APP}}".into(),
            way: ClientAuthentication::BasicHeader,
        },
        endpoint: Url::parse(&simulator.token_endpoint()).unwrap(),
        client_id: CLIENT_ID.to_string(),
        hosts: vec![simulator.address().to_string().parse().unwrap()],
        scope: Some(simulator.scope()),
        audiences: BTreeMap::new(),
        connectors: vec![],
        processes: vec![],
        tenants: vec![],
        expires: None,
    };
    let tokens = Arc::new(Tokens::new(Client::new().unwrap()));
    let secrets = Secrets::fixed([("APP", "demo-client-secret")]);
    Arc::new(Identities::new([of("robot"), of("other")], secrets, tokens))
}

async fn work(
    url: String,
    identities: Arc<Identities>,
    flows: desktop_flow::Settings,
    receives: Option<SocketAddr>,
) -> worker::Ended {
    let settings = engine::Settings {
        address: url,
        worker_name: "test".into(),
        ..engine::Settings::default()
    };
    let engine = Engine::new(settings, engine::credentials::Authority::none()).unwrap();
    let client = Client::new().unwrap();
    let tokens = Arc::new(Tokens::new(client.clone()));
    let known = flows.once.tokens.clone();
    let connector = DesktopFlow::new(client, tokens, Arc::new(Policy::default()), flows);
    let connector = Arc::new(connector.with_identities(Some(identities)));
    if let Some(address) = receives {
        let hints = connector.outbox().unwrap().hints().clone();
        let published = Published { tokens: known, hints };
        let receiver = Receiver::with_peers(connector.watcher().unwrap(), None, Some(published));
        receiver.listen(address).await.unwrap();
    }
    let pipeline = Pipeline::new(vec![connector], Secrets::none(), Mapper::default(), Progress::none());
    let settings = worker::Settings {
        max_jobs: 8,
        poll_interval: Duration::from_millis(50),
        ..worker::Settings::default()
    };
    worker::run(
        engine,
        Arc::new(pipeline),
        settings,
        Progress::none(),
        CancellationToken::new(),
    )
    .await
}

/// An address that is free for a moment.
pub fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}
