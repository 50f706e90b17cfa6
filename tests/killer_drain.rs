//! A thousand parked jobs on a real broker: a replica that stops hands all of them back, the next one adopts their runs,
//! and when their tasks are cancelled the runs are cancelled soon.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use deskhand::connector::desktop_flow::{self, DesktopFlow};
use deskhand::engine::credentials::Authority;
use deskhand::engine::gateway::gateway_client::GatewayClient;
use deskhand::engine::gateway::{CancelProcessInstanceRequest, CreateProcessInstanceRequest};
use deskhand::engine::{self, Engine};
use deskhand::http::Client;
use deskhand::http::token::Tokens;
use deskhand::mapping::Mapper;
use deskhand::progress::{Progress, StartPoint, Step};
use deskhand::sandbox::power_automate::{BOOK_INVOICE, CLIENT_ID, CONNECTION, RouteName, Simulator, World};
use deskhand::secrets::{Policy, Secrets};
use deskhand::worker::{self, Ended, Pipeline};
use futures_util::StreamExt;
use serde_json::{Value, json};
use support::broker::Broker;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

const JOBS: usize = 1_000;
const PATIENCE: Duration = Duration::from_secs(300);

const PROCESS: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<bpmn:definitions xmlns:bpmn="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0" targetNamespace="t">
  <bpmn:process id="drain" isExecutable="true">
    <bpmn:startEvent id="start"/>
    <bpmn:sequenceFlow id="a" sourceRef="start" targetRef="task"/>
    <bpmn:serviceTask id="task">
      <bpmn:extensionElements><zeebe:taskDefinition type="deskhand:desktop-flow:1" retries="3"/></bpmn:extensionElements>
    </bpmn:serviceTask>
    <bpmn:sequenceFlow id="b" sourceRef="task" targetRef="end"/>
    <bpmn:endEvent id="end"/>
  </bpmn:process>
</bpmn:definitions>"#;

fn connect(url: &str) -> Engine {
    let settings = engine::Settings {
        address: url.to_owned(),
        worker_name: "drain".into(),
        ..engine::Settings::default()
    };
    Engine::new(settings, Authority::none()).unwrap()
}

struct Replica {
    stop: CancellationToken,
    working: JoinHandle<Ended>,
    adopted: Arc<AtomicUsize>,
    /// Looks for a second start; each start has two, the later one half a minute after it.
    looks: Arc<AtomicUsize>,
}

fn replica(url: &str) -> Replica {
    let (adopted, looks) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (adoptions, looked) = (adopted.clone(), looks.clone());
    let progress = Progress::watched_by(move |_, step| match step {
        Step::RunAdopted { .. } => {
            adoptions.fetch_add(1, Ordering::SeqCst);
        }
        Step::Start(StartPoint::LookedAfter) => {
            looked.fetch_add(1, Ordering::SeqCst);
        }
        _ => {}
    });
    let mut flows = desktop_flow::Settings::default();
    flows.turns.starts_per_minute = usize::MAX;
    flows.once.token_url = Some("https://tokens.example.com/".into());
    let client = Client::new().unwrap();
    let tokens = Arc::new(Tokens::new(client.clone()));
    let flows = DesktopFlow::new(client, tokens, Arc::new(Policy::default()), flows);
    let pipeline = Pipeline::new(
        vec![Arc::new(flows)],
        Secrets::none(),
        Mapper::default(),
        progress.clone(),
    );
    let stop = CancellationToken::new();
    let settings = worker::Settings::default();
    let work = worker::run(connect(url), Arc::new(pipeline), settings, progress, stop.clone());
    Replica {
        stop,
        working: tokio::spawn(work),
        adopted,
        looks,
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < give_up, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn parked() -> usize {
    let text = deskhand::metrics::metrics().text();
    let line = text.lines().find_map(|line| line.strip_prefix("deskhand_jobs_parked "));
    line.and_then(|number| number.parse().ok()).unwrap_or(0)
}

async fn start_instances(client: &GatewayClient<Channel>, variables: &Value) -> Vec<i64> {
    let create = |_| {
        let (mut client, variables) = (client.clone(), variables.to_string());
        async move {
            loop {
                let request = CreateProcessInstanceRequest {
                    bpmn_process_id: "drain".into(),
                    version: -1,
                    variables: variables.clone(),
                    ..CreateProcessInstanceRequest::default()
                };
                match client.create_process_instance(request).await {
                    Ok(created) => return created.into_inner().process_instance_key,
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        }
    };
    futures_util::stream::iter(0..JOBS)
        .map(create)
        .buffer_unordered(16)
        .collect()
        .await
}

async fn cancel_instances(client: &GatewayClient<Channel>, keys: Vec<i64>) {
    let cancel = |key| {
        let mut client = client.clone();
        async move {
            let request = || CancelProcessInstanceRequest {
                process_instance_key: key,
                ..CancelProcessInstanceRequest::default()
            };
            while let Err(status) = client.cancel_process_instance(request()).await {
                if status.code() == tonic::Code::NotFound {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    };
    futures_util::stream::iter(keys)
        .map(cancel)
        .buffer_unordered(16)
        .collect::<Vec<()>>()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "starts a broker of its own: set ENGINE_TOOLS"]
async fn a_thousand_parked_jobs_are_handed_back_adopted_and_cancelled() {
    let broker = Broker::start("drain", 1, &[]);
    let url = broker.url();
    let mut world = World::default();
    world.clock.speed = 0.001;
    world.limits.starts_per_connection = 1_000_000;
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into(), world).await.unwrap();
    let variables = json!({
        "operationType": "runAndWait",
        "organizationUri": simulator.organization(),
        "authentication": {
            "type": "oauth-client-credentials-flow",
            "oauthTokenEndpoint": simulator.token_endpoint(),
            "clientId": CLIENT_ID.to_string(),
            "clientSecret": "demo-client-secret",
        },
        "workflowId": BOOK_INVOICE.to_string(),
        "connectionName": CONNECTION,
        "runMode": "unattended",
        "inputs": {"InvoiceId": "42"},
    });
    connect(&url).deploy(&[("drain.bpmn", PROCESS)]).await.unwrap();
    let client = GatewayClient::connect(url.clone()).await.unwrap();

    let first = replica(&url);
    let instances = start_instances(&client, &variables).await;
    until("all are parked", || parked() == JOBS).await;
    assert_eq!(simulator.runs_started(), JOBS);

    let began = Instant::now();
    first.stop.cancel();
    let ended = first.working.await.unwrap();
    println!("figure drain_1000_seconds {:.2} s", began.elapsed().as_secs_f64());
    println!(
        "figure drain_1000_left {} jobs",
        if let Ended::Left(jobs) = ended { jobs } else { 0 }
    );
    assert_eq!(ended, Ended::Drained, "every job was handed back");

    let began = Instant::now();
    let second = replica(&url);
    until("all are adopted", || second.adopted.load(Ordering::SeqCst) >= JOBS).await;
    println!("figure adopt_1000_seconds {:.2} s", began.elapsed().as_secs_f64());
    until("all are parked again", || parked() == JOBS).await;
    assert_eq!(simulator.runs_started(), JOBS, "none was started again");
    // As a process the first replica would be gone, and its looks with it; here they keep the simulator busy.
    until("all is quiet", || first.looks.load(Ordering::SeqCst) >= 2 * JOBS).await;

    let began = Instant::now();
    cancel_instances(&client, instances).await;
    println!(
        "figure cancel_1000_instances_seconds {:.2} s",
        began.elapsed().as_secs_f64()
    );
    let cancelled = || {
        let all = simulator.requests();
        all.iter().filter(|request| request.route == RouteName::Cancel).count()
    };
    let told = Instant::now();
    until("all runs are cancelled", || cancelled() >= JOBS).await;
    println!(
        "figure cancel_1000_runs_after_the_last_instance_seconds {:.2} s",
        told.elapsed().as_secs_f64()
    );
    println!("figure cancel_1000_runs_seconds {:.2} s", began.elapsed().as_secs_f64());
    second.stop.cancel();
    assert_eq!(second.working.await.unwrap(), Ended::Drained);
}
