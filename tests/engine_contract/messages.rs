//! Messages find the instance that waits for them.

use std::time::Duration;

use serde_json::json;
use tonic::Code;

use crate::process::{boundary, chain, file, mapping, message, message_catch, task};
use crate::subject::*;

/// A process that waits for a message; returns its id and the message's name.
async fn waiting(subject: &Subject) -> (String, String) {
    let (process, name) = (unique("process"), unique("message"));
    subject
        .deploy(&file(&process, &chain("", &[message_catch("wait")]), &message(&name)))
        .await;
    (process, name)
}

pub async fn a_message_reaches_the_instance_that_waits_for_it(subject: Subject) {
    let (process, name) = waiting(&subject).await;
    let mut other = subject.run(&process, json!({"orderId": "other"}));
    let run = subject.run(&process, json!({"orderId": 42}));
    tokio::time::sleep(Duration::from_millis(500)).await;
    subject
        .publish(&name, "42", 0, "", json!({"paid": true}))
        .await
        .unwrap();
    assert_eq!(ended(run).await, json!({"orderId": 42, "paid": true}));
    let ended = tokio::time::timeout(Duration::from_millis(300), &mut other).await;
    assert!(ended.is_err(), "another correlation key was reached");
    other.abort();
}

pub async fn a_message_waits_for_its_instance_while_it_lives(subject: Subject) {
    let (process, name) = waiting(&subject).await;
    subject
        .publish(&name, "7", 60_000, "", json!({"early": true}))
        .await
        .unwrap();
    let run = subject.run(&process, json!({"orderId": "7"}));
    assert_eq!(ended(run).await, json!({"orderId": "7", "early": true}));
    // Each process is reached once.
    let mut second = subject.run(&process, json!({"orderId": "7"}));
    let ended = tokio::time::timeout(subject.a_while(), &mut second).await;
    assert!(ended.is_err(), "one message reached a process twice");
    second.abort();
}

pub async fn a_message_without_time_to_live_is_gone(subject: Subject) {
    let (process, name) = waiting(&subject).await;
    subject.publish(&name, "7", 0, "", json!({})).await.unwrap();
    let mut run = subject.run(&process, json!({"orderId": "7"}));
    let ended = tokio::time::timeout(subject.a_while(), &mut run).await;
    assert!(ended.is_err(), "a message was kept although it may not live");
    run.abort();
}

pub async fn a_message_id_is_unique_while_the_message_lives(subject: Subject) {
    let name = unique("message");
    subject.publish(&name, "7", 60_000, "the-id", json!({})).await.unwrap();
    let again = subject.publish(&name, "7", 60_000, "the-id", json!({})).await;
    refused(
        again,
        Code::AlreadyExists,
        "a message with that id was already published",
    );
    subject
        .publish(&name, "7", 60_000, "another-id", json!({}))
        .await
        .unwrap();
    subject.publish(&name, "8", 60_000, "the-id", json!({})).await.unwrap();
}

pub async fn a_message_id_is_kept_when_the_message_has_reached_its_instance(subject: Subject) {
    let (process, name) = waiting(&subject).await;
    let run = subject.run(&process, json!({"orderId": "11"}));
    subject.publish(&name, "11", 60_000, "the-id", json!({})).await.unwrap();
    ended(run).await;
    let again = subject.publish(&name, "11", 60_000, "the-id", json!({})).await;
    refused(
        again,
        Code::AlreadyExists,
        "a message with that id was already published",
    );
}

pub async fn a_message_interrupts_a_task(subject: Subject) {
    let (process, name) = (unique("process"), unique("message"));
    let (work, after) = (unique("work"), unique("after"));
    let catches = r#"<bpmn:messageEventDefinition messageRef="the-message"/>"#;
    let content = chain("", &[task("work", &work, "")]) + &boundary("work", "", catches, &task("after", &after, ""));
    subject.deploy(&file(&process, &content, &message(&name))).await;
    let run = subject.run(&process, json!({"orderId": "9"}));
    let job = subject.job(&work).await;
    subject
        .publish(&name, "9", 0, "", json!({"stop": "now"}))
        .await
        .unwrap();
    let next = subject.job(&after).await;
    assert_eq!(variables(&next), json!({"orderId": "9", "stop": "now"}));
    refused(subject.complete(&job, json!({})).await, Code::NotFound, "no such job");
    subject.complete(&next, json!({})).await.unwrap();
    ended(run).await;
}

pub async fn a_boundary_message_is_looked_up_from_around_its_task(subject: Subject) {
    let (process, name) = (unique("process"), unique("message"));
    let (work, after) = (unique("work"), unique("after"));
    let catches = r#"<bpmn:messageEventDefinition messageRef="the-message"/>"#;
    let input = mapping(r#"<zeebe:input source="inside" target="orderId"/>"#);
    let content =
        chain("", &[task("work", &work, &input)]) + &boundary("work", "", catches, &task("after", &after, ""));
    subject.deploy(&file(&process, &content, &message(&name))).await;
    subject.start(&process, json!({"orderId": "around"})).await;
    subject.job(&work).await;
    subject.publish(&name, "inside", 0, "", json!({})).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(subject.poll(&after, 60_000, 1).await.is_empty());
    subject.publish(&name, "around", 0, "", json!({})).await.unwrap();
    subject.job(&after).await;
}
