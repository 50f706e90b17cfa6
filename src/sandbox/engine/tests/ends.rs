//! Whatever ends leaves nothing behind.

use serde_json::json;

use super::*;
use crate::sandbox::engine::events::IncidentKind;
use crate::sandbox::engine::jobs::{Failure, ThrownError};
use crate::sandbox::engine::messages::Publication;

const TIMER: &str =
    "<bpmn:timerEventDefinition><bpmn:timeDuration>PT1H</bpmn:timeDuration></bpmn:timerEventDefinition>";

/// A subprocess with two tasks at once, under an hour's timer; beside it an element that waits for a message.
fn busy(bench: &mut Bench) -> Key {
    let content = [
        r#"<bpmn:startEvent id="start"/><bpmn:parallelGateway id="fork"/><bpmn:subProcess id="sub"><bpmn:startEvent id="in"/>"#.to_owned(),
        flow("in", "work") + &flow("in", "other") + &task("work") + &task("other"),
        format!(r#"</bpmn:subProcess><bpmn:boundaryEvent id="late" attachedToRef="sub">{TIMER}</bpmn:boundaryEvent>"#),
        r#"<bpmn:boundaryEvent id="caught" attachedToRef="sub"><bpmn:errorEventDefinition errorRef="e"/></bpmn:boundaryEvent>"#.to_owned(),
        r#"<bpmn:intermediateCatchEvent id="wait"><bpmn:messageEventDefinition messageRef="m"/></bpmn:intermediateCatchEvent>"#.to_owned(),
        r#"<bpmn:parallelGateway id="join"/><bpmn:endEvent id="end"/><bpmn:endEvent id="error-end"/>"#.to_owned(),
        flow("start", "fork") + &flow("fork", "sub") + &flow("fork", "wait") + &flow("sub", "join"),
        flow("wait", "join") + &flow("join", "end") + &flow("late", "end") + &flow("caught", "error-end"),
    ]
    .concat();
    let definitions = r#"<bpmn:error id="e" errorCode="E"/><bpmn:message id="m" name="go"><bpmn:extensionElements><zeebe:subscription correlationKey="=id"/></bpmn:extensionElements></bpmn:message>"#;
    bench.deploy(&content, definitions);
    bench.start(json!({"id": "7"}))
}

fn assert_nothing_is_left(bench: &Bench) {
    let machine = &bench.machine;
    assert!(machine.elements.is_empty());
    assert_eq!(machine.job_type_status("work"), Default::default());
    assert_eq!(machine.job_type_status("other"), Default::default());
    assert!(machine.incidents.is_empty());
    assert!(machine.messages.is_empty());
    assert_eq!(machine.next_due(), None);
    assert!(!machine.is_unsettled());
}

#[test]
fn a_cancelled_instance_leaves_nothing_behind() {
    let mut bench = Bench::new();
    let instance = busy(&mut bench);
    let held = bench.poll("work", 1).remove(0);
    let failure = Failure::default();
    let failed = bench.poll("other", 1).remove(0);
    bench.machine.fail_job(failed.key, failure, None).unwrap();
    assert_eq!(bench.machine.open_incidents()[0].kind, IncidentKind::JobNoRetries);
    bench.machine.cancel_instance(instance).unwrap();
    assert!(bench.machine.complete_job(held.key, no_variables(), None).is_err());
    bench.after(11_000); // the look for lapsed jobs that had been planned
    assert_nothing_is_left(&bench);
    let ended = bench.events().into_iter().last();
    assert!(matches!(ended, Some(Event::InstanceTerminated { .. })), "{ended:?}");
}

#[test]
fn a_completed_instance_leaves_nothing_behind() {
    let mut bench = Bench::new();
    busy(&mut bench);
    for job_type in ["work", "other"] {
        let job = bench.poll(job_type, 1).remove(0);
        bench.machine.complete_job(job.key, no_variables(), None).unwrap();
        bench.settle();
    }
    let message = Publication {
        name: "go".into(),
        correlation_key: "7".into(),
        ..Publication::default()
    };
    bench.machine.publish_message(message).unwrap();
    bench.settle();
    bench.after(11_000);
    assert_nothing_is_left(&bench);
    let ended = bench.events().into_iter().last();
    let Some(Event::InstanceCompleted { variables, .. }) = ended else {
        panic!("{ended:?}")
    };
    assert_eq!(json!(variables), json!({"id": "7"}));
}

#[test]
fn an_error_ends_everything_in_the_subprocess_that_catches_it() {
    let mut bench = Bench::new();
    let instance = busy(&mut bench);
    let job = bench.poll("work", 1).remove(0);
    let error = ThrownError {
        code: "E".into(),
        message: "why".into(),
        ..ThrownError::default()
    };
    bench.machine.throw_error(job.key, error, None).unwrap();
    bench.settle();
    assert!(bench.poll("other", 1).is_empty());
    let caught = bench
        .events()
        .into_iter()
        .find(|event| matches!(event, Event::ErrorCaught { .. }));
    let expected = Event::ErrorCaught {
        instance,
        code: "E".into(),
        message: "why".into(),
        element_id: "caught".into(),
    };
    assert_eq!(caught, Some(expected));
    bench.machine.cancel_instance(instance).unwrap();
    bench.after(11_000);
    assert_nothing_is_left(&bench);
}

#[test]
fn an_uncaught_error_is_an_incident_with_its_code_and_message() {
    let mut bench = Bench::new();
    bench.deploy_task();
    bench.start(json!({}));
    let job = bench.poll("work", 1).remove(0);
    let error = ThrownError {
        code: "LATE".into(),
        message: "too late".into(),
        ..ThrownError::default()
    };
    bench.machine.throw_error(job.key, error, None).unwrap();
    let incident = bench.machine.open_incidents().remove(0);
    assert_eq!(incident.kind, IncidentKind::UnhandledErrorEvent);
    assert_eq!((incident.job, incident.element_id.as_str()), (Some(job.key), "work"));
    assert!(
        incident.message.contains("'LATE'") && incident.message.contains("'too late'"),
        "{}",
        incident.message
    );
}

#[test]
fn a_message_is_forgotten_exactly_when_its_time_is_over() {
    let mut bench = Bench::new();
    let message = Publication {
        name: "go".into(),
        correlation_key: "7".into(),
        id: "once".into(),
        time_to_live: 1_000,
        ..Publication::default()
    };
    bench.machine.publish_message(message.clone()).unwrap();
    bench.after(999);
    assert!(bench.machine.publish_message(message.clone()).is_err());
    bench.after(1);
    bench.machine.publish_message(message).unwrap();
    bench.after(1_000);
    assert_nothing_is_left(&bench);
}
