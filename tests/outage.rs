//! An hour without Dataverse, and an hour without its sign-in service: every task is done in the end, no try is lost,
//! and nobody is called to help.
//!
//! Engine, worker and simulator share one runtime whose clock stands still but for what these tests move on. A blocking
//! task keeps the clock from running ahead by itself while bytes are on their way.

#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::time::Duration;

use deskhand::connector::desktop_flow::{self, DesktopFlow};
use deskhand::engine::credentials::Authority;
use deskhand::engine::{self, Engine};
use deskhand::http::Client;
use deskhand::http::token::Tokens;
use deskhand::mapping::Mapper;
use deskhand::progress::{Progress, Step};
use deskhand::sandbox::engine as sandbox;
use deskhand::sandbox::power_automate::{
    BOOK_INVOICE, CLIENT_ID, CONNECTION, Effect, Fault, ProtectionLimit, RouteName, Simulator, Span, Throttle, World,
};
use deskhand::secrets::{Policy, Secrets};
use deskhand::worker::{self, Pipeline};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// A step of the clock, and how much real time all get for what it set in motion.
const STEP: Duration = Duration::from_secs(2);
const REAL: Duration = Duration::from_millis(2);
const HOUR: Duration = Duration::from_secs(3600);

const PROCESS: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<bpmn:definitions xmlns:bpmn="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0" targetNamespace="t">
  <bpmn:process id="outage" isExecutable="true">
    <bpmn:startEvent id="start"/>
    <bpmn:sequenceFlow id="a" sourceRef="start" targetRef="task"/>
    <bpmn:serviceTask id="task">
      <bpmn:extensionElements>
        <zeebe:taskDefinition type="deskhand:desktop-flow:1" retries="3"/>
        <zeebe:taskHeaders><zeebe:header key="resultExpression" value="={status: response.status}"/></zeebe:taskHeaders>
      </bpmn:extensionElements>
    </bpmn:serviceTask>
    <bpmn:sequenceFlow id="b" sourceRef="task" targetRef="end"/>
    <bpmn:endEvent id="end"/>
  </bpmn:process>
</bpmn:definitions>"#;

struct Setting {
    engine: sandbox::Engine,
    client: Engine,
    simulator: Option<Simulator>,
    stop: CancellationToken,
    /// The fewest tries that any job had left when it was received.
    fewest: Arc<AtomicI32>,
    incidents: Arc<AtomicUsize>,
    /// Keeps the clock from running ahead.
    _still: std::sync::mpsc::Sender<()>,
}

/// A world whose clock these tests move, and whose tokens live for five minutes.
fn world() -> World {
    let mut world = World::default();
    world.clock.speed = 0.001;
    world.directory.token_lifetime = Span::seconds(300);
    world
}

impl Setting {
    fn simulator(&self) -> &Simulator {
        self.simulator.as_ref().unwrap()
    }

    async fn new() -> Self {
        let (still, ended) = std::sync::mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || ended.recv());
        let anywhere = ([127, 0, 0, 1], 0).into();
        let simulator = Simulator::start(anywhere, world()).await.unwrap();
        let engine = sandbox::Engine::start(anywhere, sandbox::Settings::default())
            .await
            .unwrap();
        let connection = engine::Settings {
            address: format!("http://{}", engine.address()),
            ..engine::Settings::default()
        };
        let connect = || Engine::new(connection.clone(), Authority::none()).unwrap();
        let client = connect();
        client.deploy(&[("outage.bpmn", PROCESS)]).await.unwrap();
        let http = Client::new().unwrap();
        let tokens = Arc::new(Tokens::new(http.clone()));
        // An unclear start without anything to find it by is a person's turn.
        let mut settings = desktop_flow::Settings::default();
        settings.once.token_url = Some("https://tokens.example.com/".into());
        let flows = DesktopFlow::new(http, tokens, Arc::new(Policy::default()), settings);
        let fewest = Arc::new(AtomicI32::new(i32::MAX));
        let incidents = Arc::new(AtomicUsize::new(0));
        let progress = Progress::watched_by({
            let (fewest, incidents) = (fewest.clone(), incidents.clone());
            move |job, step| match step {
                Step::Received => _ = fewest.fetch_min(job.retries, Ordering::SeqCst),
                Step::Answered {
                    outcome: "incident",
                    message,
                } => {
                    eprintln!("{message:?}");
                    incidents.fetch_add(1, Ordering::SeqCst);
                }
                _ => {}
            }
        });
        let pipeline = Pipeline::new(
            vec![Arc::new(flows)],
            Secrets::none(),
            Mapper::default(),
            progress.clone(),
        );
        let stop = CancellationToken::new();
        let work = worker::run(
            connect(),
            Arc::new(pipeline),
            worker::Settings::default(),
            progress,
            stop.clone(),
        );
        tokio::spawn(work);
        tokio::time::pause();
        Self {
            engine,
            client,
            simulator: Some(simulator),
            stop,
            fewest,
            incidents,
            _still: still,
        }
    }

    /// Processes whose task waits for a run.
    fn begin(&self, number: usize) -> Vec<tokio::task::JoinHandle<Value>> {
        let variables = json!({
            "operationType": "runAndWait",
            "organizationUri": self.simulator().organization(),
            "authentication": {
                "type": "oauth-client-credentials-flow",
                "oauthTokenEndpoint": self.simulator().token_endpoint(),
                "clientId": CLIENT_ID.to_string(),
                "clientSecret": "demo-client-secret",
            },
            "workflowId": BOOK_INVOICE.to_string(),
            "connectionName": CONNECTION,
            "runMode": "unattended",
            "inputs": {"InvoiceId": "42"},
        });
        (0..number)
            .map(|_| {
                let (client, variables) = (self.client.clone(), variables.clone());
                tokio::spawn(async move {
                    let finished = client.run_process("outage", &variables, HOUR * 24).await;
                    finished.unwrap().variables
                })
            })
            .collect()
    }

    /// Lets this much time pass for all.
    async fn pass(&self, time: Duration) {
        let until = tokio::time::Instant::now() + time;
        while tokio::time::Instant::now() < until {
            tokio::time::advance(STEP).await;
            if let Some(simulator) = &self.simulator {
                simulator.advance(STEP);
            }
            self.settle().await;
        }
    }

    /// Real time in which what was set in motion goes on.
    async fn settle(&self) {
        let until = std::time::Instant::now() + REAL;
        while std::time::Instant::now() < until {
            tokio::task::yield_now().await;
        }
    }

    async fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        for _ in 0..3600 {
            if done(self) {
                return;
            }
            self.pass(STEP).await;
        }
        panic!("{what}");
    }

    /// Everybody is done, with all tries and without an incident.
    async fn all_done(self, tasks: Vec<tokio::task::JoinHandle<Value>>) {
        let all = tasks.len();
        self.until("everybody is done", |_| {
            tasks.iter().all(tokio::task::JoinHandle::is_finished)
        })
        .await;
        for task in tasks {
            assert_eq!(task.await.unwrap()["status"], "Succeeded");
        }
        assert_eq!(self.simulator().runs_started(), all, "each once");
        assert_eq!(self.fewest.load(Ordering::SeqCst), 3, "no try was lost");
        assert_eq!(self.incidents.load(Ordering::SeqCst), 0);
        self.stop.cancel();
        self.engine.stop().await;
    }
}

fn unavailable() -> Effect {
    Effect::Status {
        status: 503,
        code: String::new(),
        message: "The service is unavailable.".into(),
        retry_after: None,
        process: false,
    }
}

/// An hour in which this goes wrong on a route, beginning before some starts and in the middle of some waits.
async fn an_hour_of(route: RouteName, effect: Effect, most_requests: u64) {
    let setting = Setting::new().await;
    // Runs that go on when it begins.
    let mut tasks = setting.begin(3);
    setting
        .until("they are started", |setting| setting.simulator().runs_started() == 3)
        .await;
    let fault = Fault {
        times: None,
        ..Fault::on(route, effect)
    };
    setting.simulator().add_fault(fault).unwrap();
    let before = setting.simulator().requests_received();
    // Tasks that find nobody to ask.
    tasks.extend(setting.begin(5));
    setting.pass(HOUR).await;
    let asked = setting.simulator().requests_received() - before;
    assert!(
        asked < most_requests,
        "who is away is left alone, mostly: {asked} requests"
    );
    setting.simulator().clear_faults();
    setting.all_done(tasks).await;
}

#[tokio::test]
async fn an_hour_of_503s_costs_no_try() {
    an_hour_of(RouteName::Dataverse, unavailable(), 600).await;
}

#[tokio::test]
async fn an_hour_of_broken_connections_costs_no_try() {
    an_hour_of(RouteName::Dataverse, Effect::DropBeforeProcess, 600).await;
}

#[tokio::test]
async fn an_hour_of_throttling_costs_no_try() {
    let effect = Effect::Throttle(Throttle {
        limit: ProtectionLimit::Requests,
        retry_after: Span::seconds(300),
        as_date: false,
    });
    an_hour_of(RouteName::Dataverse, effect, 100).await;
}

#[tokio::test]
async fn an_hour_without_the_sign_in_service_costs_no_try() {
    an_hour_of(RouteName::Token, unavailable(), 2000).await;
}

#[tokio::test]
async fn an_hour_with_nobody_listening_costs_no_try() {
    let mut setting = Setting::new().await;
    let address = setting.simulator().address();
    let tasks = setting.begin(5);
    setting.simulator.take().unwrap().stop().await;
    setting.pass(HOUR).await;
    setting.simulator = Some(Simulator::start(address, world()).await.unwrap());
    setting.all_done(tasks).await;
}
