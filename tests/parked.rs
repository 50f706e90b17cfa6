//! Jobs that sleep while their runs go on: a worker of this process between a fake gateway and the simulator.

#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deskhand::connector::Connector;
use deskhand::connector::desktop_flow::{self, DesktopFlow, JOB_TYPE};
use deskhand::engine::gateway::ActivatedJob;
use deskhand::engine::{self, Credentials, Engine};
use deskhand::http::Client;
use deskhand::http::token::Tokens;
use deskhand::mapping::Mapper;
use deskhand::progress::Progress;
use deskhand::runs::Pace;
use deskhand::runs::callback::Receiver;
use deskhand::sandbox::power_automate::{
    BOOK_INVOICE, CLIENT_ID, CONNECTION, CallbackMode, Effect, Fault, RouteName, Simulator, Status, World,
};
use deskhand::secrets::{Policy, Secrets};
use deskhand::worker::{self, Ended, Pipeline};
use serde_json::{Value, json};
use support::gateway::{Command, FakeGateway, PATIENCE, Rpc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Code;

struct Setting {
    receiver: Option<Arc<Receiver>>,
    gateway: FakeGateway,
    simulator: Simulator,
    stop: CancellationToken,
    working: JoinHandle<Ended>,
}

fn settings() -> worker::Settings {
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
    async fn new(settings: worker::Settings) -> Self {
        let mut world = World::default();
        world.clock.speed = 0.001;
        world.limits.starts_per_connection = 100_000;
        Self::of(world, settings, flows(), false).await
    }

    /// Runs that nobody looks at but at the beginning, and a receiver of callbacks.
    async fn with_callbacks(mode: CallbackMode) -> Self {
        let mut world = World::default();
        world.clock.speed = 0.001;
        world.callbacks.mode = mode;
        world.callbacks.allow_insecure = true;
        let mut flows = flows();
        flows.pace.factor = 1e6;
        flows.pace.longest = Duration::from_secs(3600);
        Self::of(world, settings(), flows, true).await
    }

    async fn of(world: World, settings: worker::Settings, mut flows: desktop_flow::Settings, receives: bool) -> Self {
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
            gateway,
            simulator,
            stop,
            working,
        }
    }

    fn job(&self, key: i64, fields: Value) -> ActivatedJob {
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

    async fn push(&self, keys: std::ops::Range<i64>) {
        for key in keys {
            self.gateway.push(self.job(key, json!({}))).await;
        }
    }

    /// Waits until so many runs were started and nothing is worked on any more.
    async fn asleep(&self, runs: usize) {
        let give_up = Instant::now() + PATIENCE;
        while self.simulator.runs_started() < runs || self.looks() < runs.min(1) {
            assert!(Instant::now() < give_up, "{} runs", self.simulator.runs_started());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn looks(&self) -> usize {
        self.requests(&[RouteName::Session, RouteName::Sessions])
    }

    fn requests(&self, routes: &[RouteName]) -> usize {
        let all = self.simulator.requests();
        all.iter().filter(|request| routes.contains(&request.route)).count()
    }

    async fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let give_up = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < give_up, "{what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn stopped(self) -> Ended {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE * 2, self.working).await.unwrap().unwrap()
    }
}

/// An address that is free for a moment.
fn free_address() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// Settings with which no test waits long.
fn flows() -> desktop_flow::Settings {
    desktop_flow::Settings {
        pace: Pace {
            first: Duration::from_millis(20),
            factor: 1.5,
            longest: Duration::from_millis(200),
            jitter: 0.2,
        },
        queries_per_second: 1000.0,
        ..desktop_flow::Settings::default()
    }
}

fn work(
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
    let connector = Arc::new(DesktopFlow::new(client, tokens, Arc::new(Policy::default()), flows));
    let pipeline = Pipeline::new(
        vec![connector.clone()],
        Secrets::none(),
        Mapper::default(),
        Progress::none(),
    );
    let stop = CancellationToken::new();
    let working = worker::run(engine, Arc::new(pipeline), settings, Progress::none(), stop.clone());
    (connector, stop, tokio::spawn(working))
}

#[tokio::test]
async fn jobs_that_wait_take_no_place_from_others_and_each_gets_its_own_outputs() {
    let setting = Setting::new(settings()).await;
    setting.push(0..30).await;
    setting.asleep(30).await;
    setting.simulator.advance(Duration::from_secs(60));
    let mut answered = BTreeSet::new();
    while answered.len() < 30 {
        let Command::Complete { key, variables } = setting.gateway.outcome().await else {
            panic!("every run succeeds");
        };
        assert_eq!(variables, json!({"invoice": key.to_string()}));
        assert!(answered.insert(key), "{key} twice");
    }
    assert_eq!(setting.simulator.runs_started(), 30);
    assert_eq!(setting.stopped().await, Ended::Drained);
}

#[tokio::test]
async fn with_the_car_park_full_jobs_wait_in_their_running_places() {
    let setting = Setting::new(worker::Settings {
        max_parked: 1,
        ..settings()
    })
    .await;
    setting.push(0..3).await;
    setting.asleep(3).await;
    setting.gateway.put_in_backlog(setting.job(3, json!({})));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(setting.simulator.runs_started(), 3, "there is no place for a fourth");
    setting.simulator.advance(Duration::from_secs(60));
    setting
        .until("the fourth starts", |setting| setting.simulator.runs_started() == 4)
        .await;
    setting.simulator.advance(Duration::from_secs(60));
    for _ in 0..4 {
        assert!(matches!(setting.gateway.outcome().await, Command::Complete { .. }));
    }
}

/// A setting in which the first heartbeat comes soon.
async fn with_a_short_lease() -> Setting {
    let mut world = World::default();
    world.clock.speed = 0.001;
    let mut flows = flows();
    // A start must fit into the lease.
    flows.timeouts.start = Duration::from_secs(1);
    let settings = worker::Settings {
        job_timeout: Duration::from_secs(3),
        ..settings()
    };
    Setting::of(world, settings, flows, false).await
}

#[tokio::test]
async fn a_parked_job_keeps_its_lease_with_few_heartbeats() {
    let setting = with_a_short_lease().await;
    setting.push(7..8).await;
    let Command::Extend { key: 7, timeout_ms } = next_extend(&setting).await else {
        panic!("a heartbeat of the job");
    };
    assert_eq!(timeout_ms, 45_000, "three times the shortest interval");
    tokio::time::sleep(Duration::from_secs(4)).await;
    let more = setting.gateway.pending().await;
    assert!(
        !more.iter().any(|command| matches!(command, Command::Extend { .. })),
        "the next one is due in 15 s: {more:?}"
    );
}

async fn next_extend(setting: &Setting) -> Command {
    loop {
        let command = setting.gateway.command().await;
        if matches!(command, Command::Extend { .. }) {
            return command;
        }
    }
}

#[tokio::test]
async fn the_run_of_a_task_that_is_gone_is_cancelled() {
    let setting = with_a_short_lease().await;
    setting
        .gateway
        .refuse_next(Rpc::Extend, tonic::Status::new(Code::NotFound, "no such job"));
    setting.push(7..8).await;
    setting
        .until("the run is cancelled", |setting| {
            setting.requests(&[RouteName::Cancel]) == 1
        })
        .await;
    setting.simulator.advance(Duration::from_secs(5));
    assert_eq!(setting.simulator.sessions()[0].status, Status::Cancelled);
    assert_eq!(setting.stopped().await, Ended::Drained);
}

#[tokio::test]
async fn a_run_goes_on_without_its_task_if_the_task_wants_it_so() {
    let setting = with_a_short_lease().await;
    setting
        .gateway
        .refuse_next(Rpc::Extend, tonic::Status::new(Code::NotFound, "no such job"));
    setting
        .gateway
        .push(setting.job(7, json!({"cancelOnAbort": false})))
        .await;
    next_extend(&setting).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(setting.requests(&[RouteName::Cancel]), 0);
    assert_eq!(setting.stopped().await, Ended::Drained);
}

#[tokio::test]
async fn a_run_that_was_over_is_not_cancelled() {
    let setting = with_a_short_lease().await;
    setting
        .gateway
        .refuse_next(Rpc::Extend, tonic::Status::new(Code::NotFound, "no such job"));
    // Nobody sees that the run is over before the heartbeat tells that the task is gone.
    let unseen = Fault {
        times: None,
        ..Fault::on(
            RouteName::Session,
            Effect::Status {
                status: 500,
                code: String::new(),
                message: String::new(),
                retry_after: None,
                process: false,
            },
        )
    };
    setting.simulator.add_fault(unseen).unwrap();
    setting.push(7..8).await;
    setting.asleep(1).await;
    setting.simulator.advance(Duration::from_secs(60));
    next_extend(&setting).await;
    setting.simulator.clear_faults();
    let before = setting.looks();
    setting
        .until("it is looked at", |setting| setting.looks() > before)
        .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(setting.requests(&[RouteName::Cancel]), 0);
}

#[tokio::test]
async fn a_job_that_may_be_anothers_is_let_go_and_its_run_left_alone() {
    let setting = with_a_short_lease().await;
    let status = tonic::Status::new(Code::FailedPrecondition, "but it is not active");
    setting.gateway.refuse_next(Rpc::Extend, status);
    setting.push(7..8).await;
    next_extend(&setting).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(setting.requests(&[RouteName::Cancel]), 0);

    // When it comes back it is taken again; the engine brings its journal along, and the run is adopted.
    let run = setting.simulator.sessions()[0].id.to_string();
    let entry = json!({"version": 1, "elementInstance": "1000007", "attempt": 1, "flowSessionId": run});
    setting
        .gateway
        .push(setting.job(7, json!({"deskhandRun": entry})))
        .await;
    setting.simulator.advance(Duration::from_secs(60));
    let outcome = setting.gateway.outcome().await;
    assert!(matches!(outcome, Command::Complete { key: 7, .. }), "{outcome:?}");
    assert_eq!(setting.simulator.runs_started(), 1);
}

#[tokio::test]
async fn a_parked_job_that_the_engine_gives_to_us_again_is_merged() {
    let setting = Setting::new(settings()).await;
    setting.push(7..8).await;
    setting.asleep(1).await;
    for _ in 0..3 {
        setting.push(7..8).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    setting.simulator.advance(Duration::from_secs(60));
    assert!(matches!(
        setting.gateway.outcome().await,
        Command::Complete { key: 7, .. }
    ));
    assert_eq!(setting.simulator.runs_started(), 1);
    assert_eq!(setting.stopped().await, Ended::Drained);
}

#[tokio::test]
async fn a_worker_that_stops_hands_all_parked_jobs_back_at_once_and_unharmed() {
    let setting = Setting::new(settings()).await;
    setting.push(0..40).await;
    setting.asleep(40).await;
    setting.gateway.pending().await;
    let began = Instant::now();
    setting.stop.cancel();
    let mut back = BTreeSet::new();
    while back.len() < 40 {
        let Command::Fail {
            key,
            retries,
            backoff_ms,
            ..
        } = setting.gateway.outcome().await
        else {
            panic!("nothing has ended");
        };
        assert_eq!((retries, backoff_ms), (3, 0));
        back.insert(key);
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(setting.requests(&[RouteName::Cancel]), 0);
    assert_eq!(setting.stopped().await, Ended::Drained);
}

#[tokio::test]
async fn a_failed_run_is_told_with_its_reasons_after_the_sleep() {
    let setting = Setting::new(settings()).await;
    let job = ActivatedJob {
        custom_headers: "{}".into(),
        ..setting.job(7, json!({"maxWait": "PT1S"}))
    };
    setting.gateway.push(job).await;
    let Command::Fail {
        key: 7,
        retries: 0,
        message,
        ..
    } = setting.gateway.outcome().await
    else {
        panic!("the wait has a ceiling");
    };
    assert!(message.contains("maxWait"), "{message}");
}

#[tokio::test]
async fn a_callback_completes_the_job_at_once_however_often_it_comes() {
    for mode in [CallbackMode::Once, CallbackMode::Duplicate] {
        let setting = Setting::with_callbacks(mode).await;
        setting.push(0..3).await;
        setting.asleep(3).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        setting.simulator.advance(Duration::from_secs(60));
        let began = Instant::now();
        let mut done = BTreeSet::new();
        for _ in 0..3 {
            let Command::Complete { key, variables } = setting.gateway.outcome().await else {
                panic!("every run succeeds");
            };
            assert_eq!(variables, json!({"invoice": key.to_string()}));
            done.insert(key);
        }
        assert_eq!(done.len(), 3);
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        assert!(setting.receiver.as_ref().unwrap().figures().heard >= 3);
        assert_eq!(setting.stopped().await, Ended::Drained);
    }
}

#[tokio::test]
async fn a_callback_that_lies_or_is_forged_completes_nothing() {
    for mode in [CallbackMode::Lie, CallbackMode::Early, CallbackMode::Forged] {
        let setting = Setting::with_callbacks(mode).await;
        setting.push(7..8).await;
        setting.asleep(1).await;
        setting
            .until("the callback has come", |setting| {
                !setting.simulator.callbacks().is_empty() || {
                    setting.simulator.advance(Duration::from_secs(20));
                    false
                }
            })
            .await;
        let all = setting.simulator.sessions();
        if all[0].completed.is_none() {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let outcomes = setting.gateway.pending().await;
            let outcomes = outcomes
                .iter()
                .filter(|command| matches!(command, Command::Complete { .. }));
            assert_eq!(outcomes.count(), 0, "{mode:?}");
        }
        assert_eq!(setting.simulator.runs_started(), 1);
    }
}

#[tokio::test]
async fn who_does_not_know_the_token_moves_nothing() {
    let setting = Setting::with_callbacks(CallbackMode::Never).await;
    setting.push(7..8).await;
    setting.asleep(1).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let session = setting.simulator.sessions().remove(0);
    let url = session.callback_url.unwrap();
    assert!(url.contains("/hooks/dh1."), "{url}");
    let (run, looks) = (session.id.to_string(), setting.looks());
    let call = |url: String| {
        let run = run.clone();
        async move {
            let body = json!({"flowsessionid": run, "statuscode": 4}).to_string();
            let mut request = deskhand::http::Request::new(deskhand::http::Method::POST, url.parse().unwrap());
            request.body = Some(body.into_bytes());
            Client::new().unwrap().send(request).await.unwrap().status
        }
    };
    // The same task, another random part; and no token at all.
    let forged = format!("{}{}", &url[..url.len() - 4], "0000");
    assert_eq!(call(forged).await, 202);
    assert_eq!(call(url.rsplit_once('/').unwrap().0.to_owned()).await, 202);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(setting.looks(), looks);
    assert_eq!(setting.receiver.as_ref().unwrap().figures().strange, 2);
    assert_eq!(call(url).await, 202);
    setting
        .until("it is looked at", |setting| setting.looks() > looks)
        .await;
}
