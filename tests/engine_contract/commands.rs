//! What a worker may tell the engine about a job, and when.

use std::time::{Duration, Instant};

use deskhand::engine::gateway::{ActivateJobsRequest, ActivatedJob};
use serde_json::json;
use tonic::Code;

use crate::activation::{one_task, open_stream};
use crate::subject::*;
use crate::variables::two_tasks;

/// A job whose time is over; nobody has taken it again.
async fn lapsed(subject: &Subject, job_type: &str) -> ActivatedJob {
    let job = subject.job_for(job_type, 300).await;
    wait_for_lapse(subject, &job).await;
    job
}

async fn wait_for_lapse(subject: &Subject, job: &ActivatedJob) {
    let started = Instant::now();
    // A refused extension changes nothing; while the job is held, an extension of 1 ms lets it lapse at the next look.
    while subject.update_timeout(job, 1).await.is_ok() {
        assert!(started.elapsed() < PATIENCE, "the job does not lapse");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A job lapses once only in each test: engines up to spring 2025 now and then keep one for ever whose lease lapses for
/// the second time (camunda/camunda issue 29735; seen here with six jobs of one moment in 320).
pub async fn a_lapsed_job_is_pushed_again_by_old_engines_and_left_to_polls_by_new_ones(subject: Subject) {
    let (process, job_type) = one_task(&subject).await;
    let mut pushed = open_stream(&subject, &process, &job_type, 300).await;
    subject.start(&process, json!({})).await;
    let first = pushed.next().await;
    let again = pushed.within(subject.a_lapse()).await;
    let again = if subject.pushes_lapsed_jobs() {
        again.expect("a lapsed job should be pushed again")
    } else {
        assert!(again.is_none(), "a lapsed job was pushed again");
        subject.job(&job_type).await
    };
    assert_eq!((again.key, again.retries), (first.key, first.retries));
}

pub async fn a_lapsed_job_is_polled_again(subject: Subject) {
    let (process, job_type) = one_task(&subject).await;
    subject.start(&process, json!({})).await;
    let first = lapsed(&subject, &job_type).await;
    let again = subject.job(&job_type).await;
    assert_eq!((again.key, again.retries), (first.key, first.retries));
}

pub async fn a_parked_poll_gets_a_lapsed_job(subject: Subject) {
    let (process, job_type) = one_task(&subject).await;
    subject.start(&process, json!({})).await;
    let first = subject.job_for(&job_type, 500).await;
    let request = ActivateJobsRequest {
        request_timeout: 20_000,
        ..poll_request(&job_type, 60_000)
    };
    let started = Instant::now();
    let jobs = collect(subject.gateway(), request).await.unwrap();
    assert_eq!(jobs[0].key, first.key);
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "it took {:?}",
        started.elapsed()
    );
}

pub async fn a_lapsed_job_cannot_be_extended_but_can_still_be_completed(subject: Subject) {
    let (process, job_type) = one_task(&subject).await;
    let run = subject.run(&process, json!({}));
    let job = lapsed(&subject, &job_type).await;
    let extension = subject.update_timeout(&job, 10_000).await;
    refused(extension, Code::FailedPrecondition, "but it is not active");
    subject.complete(&job, json!({"late": true})).await.unwrap();
    assert_eq!(ended(run).await, json!({"late": true}));
}

pub async fn a_lapsed_job_can_still_be_failed(subject: Subject) {
    let (process, job_type) = one_task(&subject).await;
    subject.start(&process, json!({})).await;
    let job = lapsed(&subject, &job_type).await;
    subject.fail(&job, 2, 0).await.unwrap();
    let again = subject.job(&job_type).await;
    assert_eq!((again.key, again.retries), (job.key, 2));
}

pub async fn a_stale_worker_is_not_fenced_off(subject: Subject) {
    let (process, job_type) = one_task(&subject).await;
    let run = subject.run(&process, json!({}));
    let stale = lapsed(&subject, &job_type).await;
    let holder = subject.job(&job_type).await;
    assert_eq!(holder.key, stale.key);
    subject.update_timeout(&stale, 10_000).await.unwrap();
    subject
        .complete(&stale, json!({"by": "the stale worker"}))
        .await
        .unwrap();
    let late = subject.complete(&holder, json!({"by": "the holder"})).await;
    refused(late, Code::NotFound, "no such job was found");
    assert_eq!(ended(run).await, json!({"by": "the stale worker"}));
}

pub async fn a_longer_timeout_keeps_the_job_and_a_shorter_one_frees_it(subject: Subject) {
    let (process, job_type) = one_task(&subject).await;
    subject.start(&process, json!({})).await;
    let job = subject.job_for(&job_type, 400).await;
    subject.update_timeout(&job, 60_000).await.unwrap();
    tokio::time::sleep(subject.a_lapse()).await;
    assert!(
        subject.poll(&job_type, 1_000, 1).await.is_empty(),
        "the job lapsed although it was extended"
    );
    subject.update_timeout(&job, 1).await.unwrap();
    assert_eq!(subject.job(&job_type).await.key, job.key);
}

pub async fn a_failed_job_with_retries_is_pushed_again_at_once(subject: Subject) {
    let (process, job_type) = one_task(&subject).await;
    let mut pushed = open_stream(&subject, &process, &job_type, 60_000).await;
    subject.start(&process, json!({})).await;
    let job = pushed.next().await;
    subject.fail(&job, 2, 0).await.unwrap();
    let again = pushed
        .within(Duration::from_secs(5))
        .await
        .expect("the job was not pushed again");
    assert_eq!((again.key, again.retries), (job.key, 2));
    // The number is the worker's alone: the engine takes it as it is.
    subject.fail(&again, 7, 0).await.unwrap();
    assert_eq!(pushed.next().await.retries, 7);
}

pub async fn a_failed_job_with_a_backoff_is_pushed_after_it(subject: Subject) {
    let (process, job_type) = one_task(&subject).await;
    let mut pushed = open_stream(&subject, &process, &job_type, 60_000).await;
    subject.start(&process, json!({})).await;
    let job = pushed.next().await;
    let started = Instant::now();
    subject.fail(&job, 2, 500).await.unwrap();
    let again = pushed.next().await;
    let took = started.elapsed();
    assert_eq!((again.key, again.retries), (job.key, 2));
    assert!(
        (Duration::from_millis(490)..Duration::from_secs(5)).contains(&took),
        "pushed after {took:?}"
    );
}

pub async fn a_job_in_its_backoff_accepts_no_outcome(subject: Subject) {
    let (process, job_type) = one_task(&subject).await;
    subject.start(&process, json!({})).await;
    let job = subject.job(&job_type).await;
    subject.fail(&job, 2, 60_000).await.unwrap();
    refused(
        subject.complete(&job, json!({})).await,
        Code::FailedPrecondition,
        "'FAILED'",
    );
    refused(subject.fail(&job, 1, 0).await, Code::FailedPrecondition, "'FAILED'");
    refused(
        subject.throw(&job, "X", json!({})).await,
        Code::FailedPrecondition,
        "'FAILED'",
    );
    refused(
        subject.update_timeout(&job, 1_000).await,
        Code::FailedPrecondition,
        "not active",
    );
    assert!(subject.poll(&job_type, 1_000, 1).await.is_empty());
}

pub async fn an_unknown_job_is_not_found(subject: Subject) {
    let nobody = ActivatedJob {
        key: NO_KEY,
        ..Default::default()
    };
    let command = format!(
        "Command 'COMPLETE' rejected with code 'NOT_FOUND': Expected to complete job with key '{NO_KEY}', but no such job was found"
    );
    refused(subject.complete(&nobody, json!({})).await, Code::NotFound, &command);
    let command = format!(
        "Command 'FAIL' rejected with code 'NOT_FOUND': Expected to fail job with key '{NO_KEY}', but no such job was found"
    );
    refused(subject.fail(&nobody, 1, 0).await, Code::NotFound, &command);
    let command = format!(
        "Command 'THROW_ERROR' rejected with code 'NOT_FOUND': Expected to throw an error for job with key '{NO_KEY}', but no such job was found"
    );
    refused(subject.throw(&nobody, "X", json!({})).await, Code::NotFound, &command);
    let command = "Command 'UPDATE_TIMEOUT' rejected with code 'NOT_FOUND':";
    refused(subject.update_timeout(&nobody, 1_000).await, Code::NotFound, command);
    let command = format!(
        "Command 'UPDATE_RETRIES' rejected with code 'NOT_FOUND': Expected to update job with key '{NO_KEY}', but no such job was found"
    );
    refused(subject.update_retries(&nobody, 1).await, Code::NotFound, &command);
    let command = format!(
        "Command 'UPDATE' rejected with code 'NOT_FOUND': Expected to update variables for element with key '{NO_KEY}', but no such element was found"
    );
    refused(
        subject.set_variables(NO_KEY, json!({}), true).await,
        Code::NotFound,
        &command,
    );
}

pub async fn a_completed_job_is_not_found(subject: Subject) {
    let (process, job_type) = one_task(&subject).await;
    subject.start(&process, json!({})).await;
    let job = subject.job(&job_type).await;
    subject.complete(&job, json!({})).await.unwrap();
    refused(subject.complete(&job, json!({})).await, Code::NotFound, "no such job");
    refused(subject.fail(&job, 1, 0).await, Code::NotFound, "no such job");
    refused(subject.throw(&job, "X", json!({})).await, Code::NotFound, "no such job");
    refused(subject.update_timeout(&job, 1_000).await, Code::NotFound, "no such job");
}

pub async fn a_cancelled_instance_leaves_nothing_behind(subject: Subject) {
    let (process, job_type) = one_task(&subject).await;
    let instance = subject.start(&process, json!({})).await;
    let job = subject.job(&job_type).await;
    subject.cancel(instance).await.unwrap();
    refused(subject.update_timeout(&job, 1_000).await, Code::NotFound, "no such job");
    let variables = subject
        .set_variables(job.element_instance_key, json!({"a": 1}), true)
        .await;
    refused(variables, Code::NotFound, "no such element");
    refused(subject.complete(&job, json!({})).await, Code::NotFound, "no such job");
    refused(subject.cancel(instance).await, Code::NotFound, "no such process");
}

pub async fn setting_no_variable_tells_whether_an_element_is_there_and_changes_nothing(subject: Subject) {
    let (process, one, two) = two_tasks(&subject, "").await;
    let instance = subject.start(&process, json!({"a": 1})).await;
    let job = subject.job_for(&one, 2_000).await;
    let element = job.element_instance_key;
    subject
        .set_variables(element, json!({"journal": {"run": "r-1"}}), true)
        .await
        .unwrap();
    for key in [element, instance] {
        for _ in 0..3 {
            subject.set_variables(key, json!({}), true).await.unwrap();
        }
    }
    // Retries and variables are what they would have been.
    wait_for_lapse(&subject, &job).await;
    let again = subject.job(&one).await;
    assert_eq!((again.key, again.retries), (job.key, job.retries));
    assert_eq!(variables(&again), json!({"a": 1, "journal": {"run": "r-1"}}));
    subject.complete(&again, json!({})).await.unwrap();

    // The task is gone, the process is not.
    let next = subject.job(&two).await;
    assert_eq!(variables(&next), json!({"a": 1}));
    let gone = subject.set_variables(element, json!({}), true).await;
    refused(gone, Code::NotFound, "no such element");
    subject.set_variables(instance, json!({}), true).await.unwrap();
    subject.cancel(instance).await.unwrap();
    let gone = subject.set_variables(instance, json!({}), true).await;
    refused(gone, Code::NotFound, "no such element");
}

pub async fn retries_must_be_positive(subject: Subject) {
    let (process, job_type) = one_task(&subject).await;
    subject.start(&process, json!({})).await;
    let job = subject.job_for(&job_type, 300).await;
    let none = subject.update_retries(&job, 0).await;
    refused(
        none,
        Code::InvalidArgument,
        "with a positive amount of retries, but the amount given was '0'",
    );
    subject.update_retries(&job, 9).await.unwrap();
    wait_for_lapse(&subject, &job).await;
    assert_eq!(subject.job(&job_type).await.retries, 9);
}
