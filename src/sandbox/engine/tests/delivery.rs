//! Who gets a job, and when.

use serde_json::json;

use super::*;
use crate::sandbox::engine::JobTypeStatus;
use crate::sandbox::engine::jobs::Failure;

fn pushed(jobs: &mut StreamReceiver) -> Vec<ActivatedJob> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    std::iter::from_fn(|| match jobs.poll_next(&mut context) {
        std::task::Poll::Ready(job) => job,
        std::task::Poll::Pending => None,
    })
    .collect()
}

#[test]
fn equal_streams_are_one_and_only_ready_clients_get_jobs() {
    let mut bench = Bench::new();
    bench.deploy_task();
    let (_, mut blocked) = bench.stream(1);
    let (_, mut ready) = bench.stream(1_000_000);
    for _ in 0..50 {
        bench.start(json!({}));
    }
    assert_eq!(pushed(&mut blocked).len(), 1, "the first job fills its buffer");
    assert_eq!(pushed(&mut ready).len(), 49);
    assert!(bench.poll("work", 100).is_empty());
}

#[test]
fn a_job_that_no_client_takes_waits_for_a_poll_even_when_a_client_is_ready_again() {
    let mut bench = Bench::new();
    bench.deploy_task();
    let (_, mut jobs) = bench.stream(1);
    bench.start(json!({}));
    let left = bench.start(json!({}));
    assert_eq!(pushed(&mut jobs).len(), 1);
    bench.after(1);
    assert!(pushed(&mut jobs).is_empty());
    assert_eq!(bench.poll("work", 10)[0].process_instance_key, left);
}

#[test]
fn a_blocked_streams_job_goes_to_a_parked_poll_at_once() {
    let mut bench = Bench::new();
    bench.deploy_task();
    let (_, _jobs) = bench.stream(1);
    let mut parked = bench.park("work", 10_000);
    bench.start(json!({}));
    assert!(parked.try_recv().is_err(), "the first job was pushed");
    bench.start(json!({}));
    assert_eq!(parked.try_recv().unwrap().len(), 1);
}

#[test]
fn a_closed_stream_gets_nothing_more() {
    let mut bench = Bench::new();
    bench.deploy_task();
    let (key, jobs) = bench.stream(1_000);
    drop(jobs); // the machine has not been told, and notices all the same
    bench.start(json!({}));
    bench.machine.close_stream("work", key);
    bench.start(json!({}));
    assert_eq!(bench.poll("work", 10).len(), 2);
    assert_eq!(bench.machine.job_type_status("work").streams, 0);
}

#[test]
fn parked_polls_are_served_the_oldest_first_and_gone_clients_are_passed_over() {
    let mut bench = Bench::new();
    bench.deploy_task();
    let gone = bench.park("work", 10_000);
    let mut first = bench.park("work", 10_000);
    let mut second = bench.park("work", 10_000);
    drop(gone);
    let one = bench.start(json!({}));
    assert_eq!(first.try_recv().unwrap()[0].process_instance_key, one);
    assert!(second.try_recv().is_err());
    let two = bench.start(json!({}));
    assert_eq!(second.try_recv().unwrap()[0].process_instance_key, two);
    assert_eq!(bench.machine.job_type_status("work").polls, 0);
}

#[test]
fn a_parked_poll_ends_exactly_when_its_time_is_over() {
    let mut bench = Bench::new();
    let mut parked = bench.park("work", 700);
    assert_eq!(bench.machine.next_due(), Some(START + 700));
    bench.after(699);
    assert!(parked.try_recv().is_err());
    bench.after(1);
    assert!(parked.try_recv().unwrap().is_empty());
    assert_eq!(bench.machine.next_due(), None);
}

#[test]
fn jobs_for_a_client_that_has_gone_are_given_back() {
    let mut bench = Bench::new();
    bench.deploy_task();
    bench.start(json!({}));
    let (answer, jobs) = oneshot::channel();
    drop(jobs);
    bench.machine.poll(activation("work"), 1, -1, answer);
    let status = bench.machine.job_type_status("work");
    assert_eq!((status.activatable, status.activated), (1, 0));
}

#[test]
fn activated_jobs_lapse_at_the_next_whole_second() {
    let mut bench = Bench::new();
    bench.deploy_task();
    bench.after(300);
    bench.start(json!({}));
    let job = bench.poll("work", 1).remove(0);
    assert_eq!(job.deadline, START + 10_300);
    assert_eq!(bench.machine.next_due(), Some(START + 11_000));
    bench.after(10_699);
    assert!(bench.poll("work", 1).is_empty());
    bench.after(1);
    let again = bench.poll("work", 1).remove(0);
    assert_eq!((again.key, again.retries), (job.key, job.retries));
}

#[test]
fn a_lapsed_job_is_pushed_only_by_an_engine_that_is_told_so() {
    for push_lapsed_jobs in [false, true] {
        let mut bench = Bench::with(Settings {
            push_lapsed_jobs,
            ..Settings::default()
        });
        bench.deploy_task();
        let (_, mut jobs) = bench.stream(1_000_000);
        bench.start(json!({}));
        assert_eq!(pushed(&mut jobs).len(), 1);
        bench.after(11_000);
        assert_eq!(pushed(&mut jobs).len(), usize::from(push_lapsed_jobs));
        let status = bench.machine.job_type_status("work");
        assert_eq!(status.activatable, usize::from(!push_lapsed_jobs));
    }
}

#[test]
fn a_backoff_ends_to_the_millisecond() {
    let mut bench = Bench::new();
    bench.deploy_task();
    let (_, mut jobs) = bench.stream(1_000_000);
    bench.start(json!({}));
    let job = pushed(&mut jobs).remove(0);
    let failure = Failure {
        retries: 2,
        backoff: 500,
        ..Failure::default()
    };
    bench.machine.fail_job(job.key, failure, None).unwrap();
    bench.after(499);
    assert!(pushed(&mut jobs).is_empty());
    bench.after(1);
    assert_eq!(pushed(&mut jobs)[0].retries, 2);
}

#[test]
fn a_leased_job_is_pushed_and_polled_only_to_those_who_ask_for_leases() {
    let mut bench = Bench::new();
    bench.deploy_task();
    bench.start(json!({}));
    let leasing = Activation {
        with_lease: true,
        ..activation("work")
    };
    let (answer, mut jobs) = oneshot::channel();
    bench.machine.poll(leasing.clone(), 1, -1, answer);
    let job = jobs.try_recv().unwrap().remove(0);
    let (_, mut plain) = bench.stream(1_000_000);
    let failure = Failure {
        retries: 1,
        ..Failure::default()
    };
    bench
        .machine
        .fail_job(job.key, failure.clone(), job.lease_token.as_deref())
        .unwrap();
    assert!(pushed(&mut plain).is_empty());
    assert!(bench.poll("work", 1).is_empty());

    let (client, mut leased) = job_stream(1_000_000);
    bench.machine.open_stream(leasing.clone(), client);
    let (answer, mut jobs) = oneshot::channel();
    bench.machine.poll(leasing, 1, -1, answer);
    let again = jobs.try_recv().unwrap().remove(0);
    assert_ne!(again.lease_token, job.lease_token);
    bench
        .machine
        .fail_job(again.key, failure, again.lease_token.as_deref())
        .unwrap();
    assert_eq!(pushed(&mut leased).len(), 1);
    assert!(pushed(&mut plain).is_empty());
}

#[test]
fn a_type_that_nobody_knows_has_nothing() {
    let bench = Bench::new();
    assert_eq!(bench.machine.job_type_status("work"), JobTypeStatus::default());
}
