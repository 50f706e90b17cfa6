//! The sandbox engine as the demo and other tests use it: started on a free port, watched, moved on in time, stopped.
//! What it does to a worker is in the engine contract.

#![allow(clippy::unwrap_used)] // in helpers, too, a failed call fails the test

use std::net::SocketAddr;
use std::time::Duration;

use deskhand::engine::gateway::gateway_client::GatewayClient;
use deskhand::engine::gateway::*;
use deskhand::sandbox::engine::{Engine, Event, IncidentKind, JobTypeStatus, Settings, StartError};
use serde_json::json;
use tokio::sync::broadcast;
use tonic::Code;
use tonic::transport::Channel;

const PATIENCE: Duration = Duration::from_secs(10);

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

async fn engine() -> (Engine, GatewayClient<Channel>) {
    let engine = Engine::start(any_port(), Settings::default()).await.unwrap();
    let gateway = client(engine.address()).await;
    (engine, gateway)
}

async fn client(address: SocketAddr) -> GatewayClient<Channel> {
    GatewayClient::connect(format!("http://{address}")).await.unwrap()
}

async fn deploy(gateway: &mut GatewayClient<Channel>, name: &str, content: &str) -> Result<(), tonic::Status> {
    let request = DeployResourceRequest {
        resources: vec![Resource {
            name: name.into(),
            content: content.into(),
        }],
        ..Default::default()
    };
    gateway.deploy_resource(request).await.map(|_| ())
}

/// Start event, task of type `work` with a boundary error event and an hour's timer, end event.
async fn deploy_work(gateway: &mut GatewayClient<Channel>) {
    let bpmn = r#"<bpmn:definitions xmlns:bpmn="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0">
      <bpmn:process id="p" isExecutable="true">
        <bpmn:startEvent id="start"/><bpmn:endEvent id="end"/>
        <bpmn:serviceTask id="task"><bpmn:extensionElements><zeebe:taskDefinition type="work"/></bpmn:extensionElements></bpmn:serviceTask>
        <bpmn:boundaryEvent id="caught" attachedToRef="task"><bpmn:errorEventDefinition errorRef="e"/></bpmn:boundaryEvent>
        <bpmn:boundaryEvent id="late" attachedToRef="task"><bpmn:timerEventDefinition><bpmn:timeDuration>PT1H</bpmn:timeDuration></bpmn:timerEventDefinition></bpmn:boundaryEvent>
        <bpmn:sequenceFlow id="a" sourceRef="start" targetRef="task"/><bpmn:sequenceFlow id="b" sourceRef="task" targetRef="end"/>
        <bpmn:sequenceFlow id="c" sourceRef="caught" targetRef="end"/><bpmn:sequenceFlow id="d" sourceRef="late" targetRef="end"/>
      </bpmn:process>
      <bpmn:error id="e" errorCode="E"/>
    </bpmn:definitions>"#;
    deploy(gateway, "p.bpmn", bpmn).await.unwrap();
}

async fn start(gateway: &mut GatewayClient<Channel>) -> i64 {
    let request = CreateProcessInstanceRequest {
        bpmn_process_id: "p".into(),
        version: -1,
        variables: json!({"a": 1}).to_string(),
        ..Default::default()
    };
    gateway
        .create_process_instance(request)
        .await
        .unwrap()
        .into_inner()
        .process_instance_key
}

fn poll(wait: i64) -> ActivateJobsRequest {
    ActivateJobsRequest {
        r#type: "work".into(),
        worker: "test".into(),
        timeout: 60_000,
        max_jobs_to_activate: 1,
        request_timeout: wait,
        ..Default::default()
    }
}

async fn job(gateway: &mut GatewayClient<Channel>) -> ActivatedJob {
    let mut batches = gateway.activate_jobs(poll(10_000)).await.unwrap().into_inner();
    batches.message().await.unwrap().unwrap().jobs.remove(0)
}

fn stream() -> StreamActivatedJobsRequest {
    StreamActivatedJobsRequest {
        r#type: "work".into(),
        worker: "test".into(),
        timeout: 60_000,
        ..Default::default()
    }
}

async fn next(events: &mut broadcast::Receiver<Event>) -> Event {
    tokio::time::timeout(PATIENCE, events.recv())
        .await
        .expect("nothing happened")
        .unwrap()
}

async fn until(engine: &Engine, wanted: impl Fn(JobTypeStatus) -> bool) {
    let reached = async {
        while !wanted(engine.jobs("work").await.unwrap()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let reached = tokio::time::timeout(PATIENCE, reached).await;
    assert!(reached.is_ok(), "it stays at {:?}", engine.jobs("work").await);
}

#[tokio::test]
async fn a_watcher_sees_an_instance_from_its_start_to_its_variables_at_the_end() {
    let (engine, mut gateway) = engine().await;
    let mut events = engine.events();
    deploy_work(&mut gateway).await;
    let instance = start(&mut gateway).await;
    let created = Event::InstanceCreated {
        instance,
        process_id: "p".into(),
    };
    assert_eq!(next(&mut events).await, created);
    let complete = CompleteJobRequest {
        job_key: job(&mut gateway).await.key,
        variables: json!({"b": 2}).to_string(),
        ..Default::default()
    };
    gateway.complete_job(complete).await.unwrap();
    let completed = Event::InstanceCompleted {
        instance,
        process_id: "p".into(),
        variables: json!({"a": 1, "b": 2}).as_object().unwrap().clone(),
    };
    assert_eq!(next(&mut events).await, completed);
}

#[tokio::test]
async fn a_watcher_sees_an_incident_with_its_message_and_its_end() {
    let (engine, mut gateway) = engine().await;
    let mut events = engine.events();
    deploy_work(&mut gateway).await;
    let instance = start(&mut gateway).await;
    let job = job(&mut gateway).await;
    let fail = FailJobRequest {
        job_key: job.key,
        error_message: "the robot is asleep".into(),
        ..Default::default()
    };
    gateway.fail_job(fail).await.unwrap();
    next(&mut events).await;
    let Event::IncidentRaised(incident) = next(&mut events).await else {
        panic!("no incident")
    };
    assert_eq!((incident.instance, incident.job), (instance, Some(job.key)));
    assert_eq!(
        (incident.kind, incident.message.as_str()),
        (IncidentKind::JobNoRetries, "the robot is asleep")
    );
    assert_eq!(engine.incidents().await.unwrap(), std::slice::from_ref(&incident));

    let retries = UpdateJobRetriesRequest {
        job_key: job.key,
        retries: 1,
        ..Default::default()
    };
    gateway.update_job_retries(retries).await.unwrap();
    let resolve = ResolveIncidentRequest {
        incident_key: incident.key,
        ..Default::default()
    };
    gateway.resolve_incident(resolve).await.unwrap();
    let resolved = Event::IncidentResolved {
        incident: incident.key,
        instance,
    };
    assert_eq!(next(&mut events).await, resolved);
    assert!(engine.incidents().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_watcher_sees_an_error_being_caught() {
    let (engine, mut gateway) = engine().await;
    let mut events = engine.events();
    deploy_work(&mut gateway).await;
    let instance = start(&mut gateway).await;
    let throw = ThrowErrorRequest {
        job_key: job(&mut gateway).await.key,
        error_code: "E".into(),
        error_message: "no such invoice".into(),
        ..Default::default()
    };
    gateway.throw_error(throw).await.unwrap();
    next(&mut events).await;
    let caught = Event::ErrorCaught {
        instance,
        code: "E".into(),
        message: "no such invoice".into(),
        element_id: "caught".into(),
    };
    assert_eq!(next(&mut events).await, caught);
    assert!(matches!(next(&mut events).await, Event::InstanceCompleted { .. }));
}

#[tokio::test]
async fn an_hour_passes_at_once_when_the_clock_is_moved_on() {
    let (engine, mut gateway) = engine().await;
    let mut events = engine.events();
    deploy_work(&mut gateway).await;
    start(&mut gateway).await;
    until(&engine, |jobs| jobs.activatable == 1).await;
    next(&mut events).await;
    engine.advance_clock(Duration::from_secs(3599)).await.unwrap();
    assert!(events.try_recv().is_err());
    engine.advance_clock(Duration::from_secs(1)).await.unwrap();
    assert!(matches!(next(&mut events).await, Event::InstanceCompleted { .. }));
}

#[tokio::test]
async fn a_client_that_goes_before_its_first_job_is_noticed() {
    let (engine, gateway) = engine().await;
    let (mut streaming, mut polling) = (gateway.clone(), gateway.clone());
    let stream = tokio::spawn(async move { streaming.stream_activated_jobs(stream()).await.map(|_| ()) });
    let poll = tokio::spawn(async move { polling.activate_jobs(poll(60_000)).await.map(|_| ()) });
    until(&engine, |jobs| jobs.streams == 1 && jobs.polls == 1).await;
    stream.abort();
    poll.abort();
    until(&engine, |jobs| jobs.streams == 0 && jobs.polls == 0).await;
}

#[tokio::test]
async fn a_client_whose_connection_breaks_in_the_middle_of_a_stream_is_noticed() {
    let (engine, mut gateway) = engine().await;
    deploy_work(&mut gateway).await;
    let mut other = client(engine.address()).await;
    let opened = tokio::spawn(async move { other.stream_activated_jobs(stream()).await });
    until(&engine, |jobs| jobs.streams == 1).await;
    start(&mut gateway).await;
    let jobs = opened.await.unwrap().unwrap();
    until(&engine, |jobs| jobs.activated == 1).await;
    drop(jobs);
    until(&engine, |jobs| jobs.streams == 0).await;
}

#[tokio::test]
async fn stopping_ends_streams_and_polls_with_unavailable_and_frees_the_address() {
    let (engine, mut gateway) = engine().await;
    deploy_work(&mut gateway).await;
    let (mut streaming, mut waiting, mut polling) = (gateway.clone(), gateway.clone(), gateway.clone());
    let begun = tokio::spawn(async move {
        let mut jobs = streaming.stream_activated_jobs(stream()).await?.into_inner();
        while jobs.message().await?.is_some() {}
        Ok::<(), tonic::Status>(())
    });
    until(&engine, |jobs| jobs.streams == 1).await;
    start(&mut gateway).await;
    until(&engine, |jobs| jobs.activated == 1).await;
    let pending = tokio::spawn(async move {
        let other = StreamActivatedJobsRequest {
            worker: "other".into(),
            ..stream()
        };
        waiting.stream_activated_jobs(other).await.map(|_| ())
    });
    let parked = tokio::spawn(async move { polling.activate_jobs(poll(60_000)).await.map(|_| ()) });
    until(&engine, |jobs| jobs.streams == 2 && jobs.polls == 1).await;

    let address = engine.address();
    engine.stop().await;
    for call in [begun, pending, parked] {
        let ended = tokio::time::timeout(PATIENCE, call)
            .await
            .expect("the call did not end")
            .unwrap();
        assert_eq!(ended.unwrap_err().code(), Code::Unavailable);
    }
    let again = Engine::start(address, Settings::default()).await.unwrap();
    client(again.address())
        .await
        .topology(TopologyRequest {})
        .await
        .unwrap();
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let (engine, _) = engine().await;
    let taken = engine.address();
    let StartError::Listen { address, .. } = Engine::start(taken, Settings::default()).await.unwrap_err();
    assert_eq!(address, taken);
}

#[tokio::test]
async fn the_examples_are_executable() {
    let (_engine, mut gateway) = engine().await;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let mut deployed = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "bpmn") {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            deploy(&mut gateway, &name, &std::fs::read_to_string(&path).unwrap())
                .await
                .unwrap();
            deployed += 1;
        }
    }
    assert!(deployed >= 2, "the folder holds {deployed} processes");
}

#[tokio::test]
async fn a_file_that_cannot_be_executed_is_refused_with_its_places() {
    let (_engine, mut gateway) = engine().await;
    let bpmn = "<bpmn:definitions xmlns:bpmn=\"http://www.omg.org/spec/BPMN/20100524/MODEL\">\n<bpmn:process id=\"p\" isExecutable=\"true\">\n<bpmn:startEvent id=\"s\"/>\n<bpmn:callActivity id=\"c\"/>\n</bpmn:process></bpmn:definitions>";
    let refused = deploy(&mut gateway, "call.bpmn", bpmn).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let text = refused.message();
    assert!(
        text.contains("'call.bpmn': line 4:1: `callActivity` (id \"c\") is not supported"),
        "{text}"
    );
    let refused = deploy(&mut gateway, "table.dmn", "<dmn/>").await.unwrap_err();
    assert!(
        refused.message().contains("only BPMN is supported"),
        "{}",
        refused.message()
    );
}

#[tokio::test]
async fn hundreds_of_instances_flow_through_stream_and_poll_and_none_is_lost() {
    let (engine, mut gateway) = engine().await;
    deploy_work(&mut gateway).await;
    let mut events = engine.events();
    let mut streaming = gateway.clone();
    let mut worker = gateway.clone();
    let streamed = tokio::spawn(async move {
        let mut jobs = streaming.stream_activated_jobs(stream()).await.unwrap().into_inner();
        while let Ok(Some(job)) = jobs.message().await {
            let complete = CompleteJobRequest {
                job_key: job.key,
                ..Default::default()
            };
            worker.complete_job(complete).await.unwrap();
        }
    });
    let mut worker = gateway.clone();
    let polled = tokio::spawn(async move {
        loop {
            let request = ActivateJobsRequest {
                max_jobs_to_activate: 20,
                ..poll(1_000)
            };
            let mut batches = worker.activate_jobs(request).await.unwrap().into_inner();
            while let Some(batch) = batches.message().await.unwrap() {
                for job in batch.jobs {
                    let complete = CompleteJobRequest {
                        job_key: job.key,
                        ..Default::default()
                    };
                    worker.complete_job(complete).await.unwrap();
                }
            }
        }
    });
    let count = 500;
    for _ in 0..count {
        start(&mut gateway).await;
    }
    let mut completed = 0;
    while completed < count {
        if matches!(next(&mut events).await, Event::InstanceCompleted { .. }) {
            completed += 1;
        }
    }
    streamed.abort();
    polled.abort();
}
