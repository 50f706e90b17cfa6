//! Leases (8.10): on the sandbox engine, which demands the token of each leased job, and on a gateway that knows none.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::time::Duration;

use deskhand::engine::credentials::Authority;
use deskhand::engine::{self, Engine};
use deskhand::sandbox::engine as sandbox;
use deskhand::worker::{self, Ended, Leases};
use serde_json::json;
use support::gateway::{Command, FakeGateway};
use support::worker::{JOB_TYPE, completed, job, settings, start, start_on};

const BPMN: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<bpmn:definitions xmlns:bpmn="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0" targetNamespace="t">
  <bpmn:process id="one-task" isExecutable="true">
    <bpmn:startEvent id="start"><bpmn:outgoing>a</bpmn:outgoing></bpmn:startEvent>
    <bpmn:sequenceFlow id="a" sourceRef="start" targetRef="task" />
    <bpmn:serviceTask id="task"><bpmn:extensionElements><zeebe:taskDefinition type="test:task:1" /></bpmn:extensionElements><bpmn:incoming>a</bpmn:incoming><bpmn:outgoing>b</bpmn:outgoing></bpmn:serviceTask>
    <bpmn:sequenceFlow id="b" sourceRef="task" targetRef="end" />
    <bpmn:endEvent id="end"><bpmn:incoming>b</bpmn:incoming></bpmn:endEvent>
  </bpmn:process>
</bpmn:definitions>"#;

fn with(leases: Leases) -> worker::Settings {
    worker::Settings { leases, ..settings() }
}

#[tokio::test(flavor = "multi_thread")]
async fn leased_jobs_are_answered_with_their_token_heartbeats_included() {
    let engine = sandbox::Engine::start("127.0.0.1:0".parse().unwrap(), sandbox::Settings::default())
        .await
        .unwrap();
    let at = engine::Settings {
        address: format!("http://{}", engine.address()),
        worker_name: "leases".into(),
        ..engine::Settings::default()
    };
    let client = Engine::new(at.clone(), Authority::none()).unwrap();
    client.deploy(&[("one-task.bpmn", BPMN)]).await.unwrap();
    for leases in [Leases::Required, Leases::Preferred] {
        let settings = worker::Settings {
            job_timeout: Duration::from_millis(600),
            ..with(leases)
        };
        let worker = start_on(at.clone(), &[JOB_TYPE], settings);
        // Longer than the lease, so that heartbeats are needed too.
        for variables in [json!({ "do": "work" }), json!({ "do": "sleep", "ms": 1500 })] {
            let ran = client
                .run_process("one-task", &variables, Duration::from_secs(10))
                .await;
            ran.unwrap();
        }
        assert_eq!(worker.stopped().await, Ended::Drained);
    }
}

#[tokio::test]
async fn an_engine_that_knows_no_leases_gets_its_jobs_back_or_is_worked_for_without() {
    let gateway = FakeGateway::start().await;
    let required = start(gateway.url(), with(Leases::Required));
    gateway.push(job(1, "work")).await;
    match gateway.command().await {
        Command::Fail {
            key: 1,
            retries: 3,
            backoff_ms: 30_000,
            message,
        } => assert!(message.contains("lease token"), "{message}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(required.stopped().await, Ended::Drained);

    let _preferred = start(gateway.url(), with(Leases::Preferred));
    gateway.push(job(2, "work")).await;
    assert_eq!(gateway.outcome().await, completed(2));
}
