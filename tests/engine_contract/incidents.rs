//! What stops an instance until a person helps.

use std::time::Duration;

use serde_json::json;
use tonic::Code;

use crate::activation::{one_task, open_stream};
use crate::process::{chain, file, mapping, task};
use crate::subject::*;

pub async fn a_job_without_retries_waits_for_its_incident_to_be_resolved(subject: Subject) {
    let _turn = subject.incidents().await;
    let (process, job_type) = one_task(&subject).await;
    let mut pushed = open_stream(&subject, &process, &job_type, 60_000).await;
    subject.start(&process, json!({})).await;
    let job = pushed.next().await;
    let before = subject.newest_key().await;
    subject.fail(&job, 0, 0).await.unwrap();
    refused(
        subject.complete(&job, json!({})).await,
        Code::FailedPrecondition,
        "it is in state 'FAILED'",
    );
    refused(
        subject.update_timeout(&job, 1_000).await,
        Code::FailedPrecondition,
        "it is not active",
    );
    subject.update_retries(&job, 1).await.unwrap();
    let early = pushed.within(subject.a_while()).await;
    assert!(early.is_none(), "new retries alone freed the job");
    subject.resolve_incident(before).await;
    let again = pushed
        .within(Duration::from_secs(5))
        .await
        .expect("the job was not pushed again");
    assert_eq!((again.key, again.retries), (job.key, 1));
    subject.complete(&again, json!({})).await.unwrap();
}

pub async fn an_uncaught_error_stops_the_job(subject: Subject) {
    let _turn = subject.incidents().await;
    let (process, job_type) = one_task(&subject).await;
    subject.start(&process, json!({})).await;
    let job = subject.job(&job_type).await;
    let before = subject.newest_key().await;
    subject
        .throw(&job, "NOBODY-CATCHES-THIS", json!({"a": 1}))
        .await
        .unwrap();
    refused(
        subject.complete(&job, json!({})).await,
        Code::FailedPrecondition,
        "it is in state 'ERROR_THROWN'",
    );
    refused(
        subject.fail(&job, 1, 0).await,
        Code::FailedPrecondition,
        "it is in state 'ERROR_THROWN'",
    );
    refused(
        subject.update_timeout(&job, 1_000).await,
        Code::FailedPrecondition,
        "it is not active",
    );
    assert!(subject.poll(&job_type, 60_000, 1).await.is_empty());
    subject.resolve_incident(before).await;
    // The error's variables are not kept.
    let again = subject.job(&job_type).await;
    assert_eq!((again.key, again.retries), (job.key, 3));
    assert_eq!(variables(&again), json!({}));
    subject.complete(&again, json!({})).await.unwrap();
}

pub async fn a_gateway_without_a_way_out_waits_for_a_person(subject: Subject) {
    let _turn = subject.incidents().await;
    let process = unique("process");
    let content = r#"<bpmn:startEvent id="start"/><bpmn:sequenceFlow id="in" sourceRef="start" targetRef="gateway"/>
        <bpmn:exclusiveGateway id="gateway"><bpmn:outgoing>one</bpmn:outgoing><bpmn:outgoing>two</bpmn:outgoing></bpmn:exclusiveGateway>
        <bpmn:sequenceFlow id="one" sourceRef="gateway" targetRef="end"><bpmn:conditionExpression xsi:type="bpmn:tFormalExpression">=a = 1</bpmn:conditionExpression></bpmn:sequenceFlow>
        <bpmn:sequenceFlow id="two" sourceRef="gateway" targetRef="end"><bpmn:conditionExpression xsi:type="bpmn:tFormalExpression">=a = 2</bpmn:conditionExpression></bpmn:sequenceFlow>
        <bpmn:endEvent id="end"/>"#;
    subject.deploy(&file(&process, content, "")).await;
    let before = subject.newest_key().await;
    let instance = subject.start(&process, json!({"a": 3})).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    subject.set_variables(instance, json!({"a": 2}), true).await.unwrap();
    subject.resolve_incident(before).await;
    wait_until_gone(&subject, instance).await;
}

pub async fn a_mapping_that_fails_is_tried_again(subject: Subject) {
    let _turn = subject.incidents().await;
    let (process, job_type) = (unique("process"), unique("work"));
    let input = mapping(r#"<zeebe:input source="=assert(needed, needed != null)" target="got"/>"#);
    subject
        .deploy(&file(&process, &chain("", &[task("work", &job_type, &input)]), ""))
        .await;
    let before = subject.newest_key().await;
    let instance = subject.start(&process, json!({})).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(subject.poll(&job_type, 60_000, 1).await.is_empty());
    subject
        .set_variables(instance, json!({"needed": 5}), true)
        .await
        .unwrap();
    subject.resolve_incident(before).await;
    assert_eq!(variables(&subject.job(&job_type).await), json!({"needed": 5, "got": 5}));
}

pub async fn an_unknown_incident_is_not_found(subject: Subject) {
    let text = format!(
        "Command 'RESOLVE' rejected with code 'NOT_FOUND': Expected to resolve incident with key '{NO_KEY}', but no such incident was found"
    );
    refused(subject.try_resolve(NO_KEY).await, Code::NotFound, &text);
}

async fn wait_until_gone(subject: &Subject, instance: i64) {
    for _ in 0..100 {
        if subject.set_variables(instance, json!({}), true).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the instance did not end");
}

pub async fn an_incident_is_not_resolved_while_its_job_has_no_retries(subject: Subject) {
    let _turn = subject.incidents().await;
    let (process, job_type) = one_task(&subject).await;
    subject.start(&process, json!({})).await;
    let job = subject.job(&job_type).await;
    let before = subject.newest_key().await;
    subject.fail(&job, 0, 0).await.unwrap();
    let incident = subject.incident_without_retries(before).await;
    subject.update_retries(&job, 1).await.unwrap();
    subject.try_resolve(incident).await.unwrap();
    let again = subject.job(&job_type).await;
    assert_eq!((again.key, again.retries), (job.key, 1));
}
