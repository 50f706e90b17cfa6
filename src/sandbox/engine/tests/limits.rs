//! What is too much is refused, or becomes an incident; nothing grows without a bound.

use serde_json::json;

use super::*;
use crate::sandbox::engine::events::IncidentKind;
use crate::sandbox::engine::jobs::Failure;
use crate::sandbox::engine::messages::Publication;
use crate::sandbox::engine::rejection::RejectionKind;

#[test]
fn more_instances_than_allowed_are_refused_until_one_ends() {
    let mut bench = Bench::with(Settings {
        max_instances: 1,
        ..Settings::default()
    });
    bench.deploy_task();
    let instance = bench.start(json!({}));
    let which = Selector::Id("p".into(), None);
    let refused = bench.machine.create_instance(&which, no_variables()).unwrap_err();
    assert_eq!(refused.kind, RejectionKind::ResourceExhausted);
    bench.machine.cancel_instance(instance).unwrap();
    bench.machine.create_instance(&which, no_variables()).unwrap();
}

#[test]
fn more_messages_than_allowed_are_refused() {
    let mut bench = Bench::with(Settings {
        max_messages: 1,
        ..Settings::default()
    });
    let message = Publication {
        time_to_live: 60_000,
        ..Publication::default()
    };
    bench.machine.publish_message(message.clone()).unwrap();
    let refused = bench.machine.publish_message(message).unwrap_err();
    assert_eq!(refused.kind, RejectionKind::ResourceExhausted);
}

#[test]
fn a_batch_ends_where_the_message_is_full() {
    let mut bench = Bench::with(Settings {
        max_message_size: 10_000,
        ..Settings::default()
    });
    bench.deploy_task();
    for _ in 0..3 {
        bench.start(json!({"text": "x".repeat(4_000)}));
    }
    assert_eq!(bench.poll("work", 3).len(), 2);
    assert_eq!(bench.poll("work", 3).len(), 1);
}

#[test]
fn a_job_that_fits_no_message_is_an_incident_until_it_is_small_enough() {
    let mut bench = Bench::with(Settings {
        max_message_size: 10_000,
        ..Settings::default()
    });
    bench.deploy_task();
    let instance = bench.start(json!({"text": "x".repeat(20_000)}));
    assert!(bench.poll("work", 1).is_empty());
    let incident = bench.machine.open_incidents().remove(0);
    assert_eq!(incident.kind, IncidentKind::MessageSizeExceeded);
    let small = json!({"text": "small"}).as_object().unwrap().clone();
    bench.machine.set_variables(instance, small, true).unwrap();
    bench.machine.resolve_incident(incident.key).unwrap();
    assert_eq!(variables(&bench.poll("work", 1)[0]), json!({"text": "small"}));
}

#[test]
fn a_long_error_message_is_cut_at_a_character() {
    let mut bench = Bench::new();
    bench.deploy_task();
    bench.start(json!({}));
    let job = bench.poll("work", 1).remove(0);
    let failure = Failure {
        message: "é".repeat(20_000),
        ..Failure::default()
    };
    bench.machine.fail_job(job.key, failure, None).unwrap();
    assert_eq!(bench.machine.open_incidents()[0].message, "é".repeat(10_000));
}
