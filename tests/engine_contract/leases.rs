//! Lease tokens, which engines from 8.10 on give to who asks.

use deskhand::engine::gateway::{ActivateJobsRequest, ActivatedJob, UpdateJobTimeoutRequest};
use serde_json::json;
use tonic::Code;

use crate::activation::one_task;
use crate::subject::*;

async fn leased(subject: &Subject, job_type: &str) -> ActivatedJob {
    let request = ActivateJobsRequest {
        request_timeout: 20_000,
        with_lease: true,
        ..poll_request(job_type, 60_000)
    };
    collect(subject.gateway(), request).await.unwrap().remove(0)
}

pub async fn a_lease_token_means_nothing_on_a_job_without_a_lease(subject: Subject) {
    let (process, job_type) = one_task(&subject).await;
    subject.start(&process, json!({})).await;
    let mut job = subject.job(&job_type).await;
    assert_eq!(job.lease_token, None);
    job.lease_token = Some("made up".to_owned());
    subject.complete(&job, json!({})).await.unwrap();
}

pub async fn a_lease_fences_off_whoever_lacks_it(subject: Subject) {
    let (process, job_type) = one_task(&subject).await;
    subject.start(&process, json!({})).await;
    let job = leased(&subject, &job_type).await;
    if subject.release < (8, 10) {
        assert_eq!(job.lease_token, None, "engines before 8.10 know no leases");
        return subject.complete(&job, json!({})).await.unwrap();
    }
    let with = |token: Option<&str>| ActivatedJob {
        lease_token: token.map(str::to_owned),
        ..job.clone()
    };
    assert!(job.lease_token.as_deref().is_some_and(|token| !token.is_empty()));
    refused(
        subject.complete(&with(None), json!({})).await,
        Code::FailedPrecondition,
        "",
    );
    refused(
        subject.complete(&with(Some("stale")), json!({})).await,
        Code::FailedPrecondition,
        "",
    );
    refused(subject.fail(&with(None), 1, 0).await, Code::FailedPrecondition, "");
    refused(
        subject.throw(&with(Some("stale")), "X", json!({})).await,
        Code::FailedPrecondition,
        "",
    );
    // A heartbeat is checked only where it names a token.
    subject.update_timeout(&job, 60_000).await.unwrap();
    let stale = UpdateJobTimeoutRequest {
        job_key: job.key,
        timeout: 60_000,
        lease_token: Some("stale".into()),
        ..Default::default()
    };
    refused(
        subject.gateway().update_job_timeout(stale).await,
        Code::FailedPrecondition,
        "",
    );

    // The token survives a failure, and the job stays invisible to who asks for no lease.
    subject.fail(&job, 2, 0).await.unwrap();
    assert!(subject.poll(&job_type, 60_000, 1).await.is_empty());
    let again = leased(&subject, &job_type).await;
    assert_ne!(again.lease_token, job.lease_token);
    refused(subject.complete(&job, json!({})).await, Code::FailedPrecondition, "");
    subject.complete(&again, json!({})).await.unwrap();
}
