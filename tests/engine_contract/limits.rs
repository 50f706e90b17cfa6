//! What is too much, or no document at all.

use deskhand::engine::gateway::*;
use serde_json::json;
use tonic::Code;

use crate::activation::one_task;
use crate::subject::*;

pub async fn a_completion_that_is_too_large_leaves_the_job_usable(subject: Subject) {
    let (process, job_type) = one_task(&subject).await;
    let run = subject.run(&process, json!({}));
    let job = subject.job(&job_type).await;
    let large = subject.complete(&job, json!({"text": "x".repeat(5_000_000)})).await;
    refused(
        large,
        Code::ResourceExhausted,
        "gRPC message exceeds maximum size 4194304",
    );
    let large = subject.complete(&job, json!({"text": "x".repeat(3_900_000)})).await;
    refused(large, Code::Unknown, "rejected with code 'EXCEEDED_BATCH_RECORD_SIZE'");
    subject.complete(&job, json!({"text": "small"})).await.unwrap();
    assert_eq!(ended(run).await, json!({"text": "small"}));
}

pub async fn variables_that_are_no_object_are_refused(subject: Subject) {
    let (process, job_type) = one_task(&subject).await;
    let instance = subject.start(&process, json!({})).await;
    let job = subject.job(&job_type).await;
    for text in ["[1]", "1", "\"text\"", "{\"a\":", "nonsense"] {
        let complete = CompleteJobRequest {
            job_key: job.key,
            variables: text.into(),
            lease_token: None,
        };
        refused(
            subject.gateway().complete_job(complete).await,
            Code::InvalidArgument,
            "",
        );
        let fail = FailJobRequest {
            job_key: job.key,
            retries: 1,
            variables: text.into(),
            ..Default::default()
        };
        refused(subject.gateway().fail_job(fail).await, Code::InvalidArgument, "");
        let throw = ThrowErrorRequest {
            job_key: job.key,
            error_code: "X".into(),
            variables: text.into(),
            ..Default::default()
        };
        refused(subject.gateway().throw_error(throw).await, Code::InvalidArgument, "");
        let set = SetVariablesRequest {
            element_instance_key: instance,
            variables: text.into(),
            ..Default::default()
        };
        refused(subject.gateway().set_variables(set).await, Code::InvalidArgument, "");
        let create = CreateProcessInstanceRequest {
            bpmn_process_id: process.clone(),
            version: -1,
            variables: text.into(),
            ..Default::default()
        };
        refused(
            subject.gateway().create_process_instance(create).await,
            Code::InvalidArgument,
            "",
        );
    }
    let complete = CompleteJobRequest {
        job_key: job.key,
        variables: String::new(),
        lease_token: None,
    };
    subject.gateway().complete_job(complete).await.unwrap();
}

pub async fn a_long_error_message_is_accepted(subject: Subject) {
    let (process, job_type) = one_task(&subject).await;
    subject.start(&process, json!({})).await;
    let job = subject.job(&job_type).await;
    let fail = FailJobRequest {
        job_key: job.key,
        retries: 1,
        error_message: "é".repeat(50_000),
        ..Default::default()
    };
    subject.gateway().fail_job(fail).await.unwrap();
    assert_eq!(subject.job(&job_type).await.key, job.key);
}
