//! How jobs reach workers: pushed and polled.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use deskhand::engine::gateway::*;
use serde_json::json;
use tonic::Code;
use tonic::transport::Endpoint;

use crate::process::{chain, file, task};
use crate::subject::*;

/// A process with one task; returns the process's id and the job type.
pub async fn one_task(subject: &Subject) -> (String, String) {
    let (process, job_type) = (unique("process"), unique("work"));
    let bpmn = file(&process, &chain("", &[task("work", &job_type, "")]), "");
    subject.deploy(&bpmn).await;
    (process, job_type)
}

/// A stream that is known to be open: it has been given a job, which is completed.
pub async fn open_stream(subject: &Subject, process: &str, job_type: &str, timeout_ms: i64) -> Pushed {
    let mut pushed = subject.stream_for(job_type, timeout_ms);
    // A new stream is known to every broker only after a moment; jobs made before that wait for a poll.
    for _ in 0..50 {
        subject.start(process, json!({})).await;
        if let Some(job) = pushed.within(Duration::from_millis(400)).await {
            subject.complete(&job, json!({})).await.unwrap();
            for job in subject.poll(job_type, 60_000, 100).await {
                subject.complete(&job, json!({})).await.unwrap();
            }
            return pushed;
        }
    }
    panic!("the stream gets no jobs");
}

pub async fn a_stream_gets_a_new_job_pushed_with_everything_about_it(subject: Subject) {
    let (process, job_type) = (unique("process"), unique("work"));
    let headers = r#"<zeebe:taskHeaders><zeebe:header key="resultVariable" value="out"/></zeebe:taskHeaders>"#;
    let bpmn = file(&process, &chain("", &[task("work", &job_type, headers)]), "");
    let deployed = subject.deploy(&bpmn).await;
    let mut pushed = open_stream(&subject, &process, &job_type, 60_000).await;
    let instance = subject.start(&process, json!({"a": 1})).await;
    let job = pushed.next().await;
    assert_eq!(job.r#type, job_type);
    assert_eq!(job.process_instance_key, instance);
    assert_eq!(job.bpmn_process_id, process);
    assert_eq!(job.process_definition_version, 1);
    assert_eq!(job.process_definition_key, deployed.process_definition_key);
    assert_eq!(job.element_id, "work");
    assert!(job.element_instance_key > instance);
    assert!(job.key > job.element_instance_key);
    assert_eq!(job.worker, "contract");
    assert_eq!(job.retries, 3);
    assert_eq!(job.tenant_id, "<default>");
    assert_eq!(job.kind, 0);
    assert_eq!(job.custom_headers, r#"{"resultVariable":"out"}"#);
    assert_eq!(variables(&job), json!({"a": 1}));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let left = job.deadline - now;
    assert!((50_000..=61_000).contains(&left), "the deadline is {left} ms from now");
}

pub async fn no_response_headers_are_sent_before_the_first_pushed_job(subject: Subject) {
    let (process, job_type) = one_task(&subject).await;
    let mut gateway = subject.gateway();
    let request = StreamActivatedJobsRequest {
        r#type: job_type,
        worker: "contract".into(),
        timeout: 60_000,
        ..Default::default()
    };
    let mut open = tokio::spawn(async move { gateway.stream_activated_jobs(request).await });
    let early = tokio::time::timeout(subject.a_while(), &mut open).await;
    assert!(early.is_err(), "the response began without a job");
    subject.start(&process, json!({})).await;
    let response = tokio::time::timeout(PATIENCE, open)
        .await
        .expect("no response with the first job");
    let job = response.unwrap().unwrap().into_inner().message().await.unwrap();
    assert_eq!(job.unwrap().bpmn_process_id, process);
}

pub async fn no_response_headers_are_sent_while_a_poll_is_parked(subject: Subject) {
    let (process, job_type) = one_task(&subject).await;
    let mut gateway = subject.gateway();
    let request = ActivateJobsRequest {
        request_timeout: 20_000,
        ..poll_request(&job_type, 60_000)
    };
    let mut open = tokio::spawn(async move { gateway.activate_jobs(request).await });
    let early = tokio::time::timeout(subject.a_while(), &mut open).await;
    assert!(early.is_err(), "the response began without a job");
    subject.start(&process, json!({})).await;
    let response = tokio::time::timeout(PATIENCE, open)
        .await
        .expect("no response with the first job");
    let batch = response.unwrap().unwrap().into_inner().message().await.unwrap();
    assert_eq!(batch.unwrap().jobs.len(), 1);
}

pub async fn a_job_that_waited_before_the_stream_opened_is_left_to_polls(subject: Subject) {
    let (process, job_type) = one_task(&subject).await;
    let instance = subject.start(&process, json!({})).await;
    let mut pushed = subject.stream(&job_type);
    let early = pushed.within(subject.a_while()).await;
    assert!(early.is_none(), "a job that nobody had taken was pushed");
    assert_eq!(subject.job(&job_type).await.process_instance_key, instance);
}

pub async fn jobs_of_equal_streams_reach_either_client(subject: Subject) {
    let (process, job_type) = one_task(&subject).await;
    let mut one = open_stream(&subject, &process, &job_type, 60_000).await;
    let mut other = subject.stream(&job_type);
    let mut counts = (0, 0);
    for _ in 0..200 {
        subject.start(&process, json!({})).await;
        tokio::select! {
            job = one.next() => { counts.0 += 1; subject.complete(&job, json!({})).await.unwrap(); }
            job = other.next() => { counts.1 += 1; subject.complete(&job, json!({})).await.unwrap(); }
        }
        if counts.0 > 0 && counts.1 > 0 {
            return;
        }
    }
    panic!("200 jobs went to the same client: {counts:?}");
}

pub async fn a_job_goes_to_polls_once_its_stream_is_closed(subject: Subject) {
    let (process, job_type) = one_task(&subject).await;
    let pushed = open_stream(&subject, &process, &job_type, 60_000).await;
    drop(pushed);
    // The engine hears of it after a moment; until then a job may be pushed into the void.
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        subject.start(&process, json!({})).await;
        if !subject.poll(&job_type, 60_000, 1).await.is_empty() {
            return;
        }
    }
    panic!("jobs still go to the stream that is closed");
}

pub async fn a_blocked_stream_gives_its_jobs_back_to_polls(subject: Subject) {
    let (process, job_type) = one_task(&subject).await;
    // A connection of its own, whose window the response fills because nobody reads it.
    let endpoint = Endpoint::from_shared(subject.address.clone()).unwrap();
    let channel = endpoint.initial_stream_window_size(65_535).connect().await.unwrap();
    let mut gateway = gateway_client::GatewayClient::new(channel);
    let request = StreamActivatedJobsRequest {
        r#type: job_type.clone(),
        worker: "contract".into(),
        timeout: 600_000,
        ..Default::default()
    };
    let open = tokio::spawn(async move { gateway.stream_activated_jobs(request).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let text = "x".repeat(20_000);
    for _ in 0..60 {
        subject.start(&process, json!({"text": text})).await;
    }
    let _unread = open.await.unwrap().unwrap().into_inner();
    let started = Instant::now();
    let mut polled = 0;
    while polled < 50 && started.elapsed() < PATIENCE {
        polled += subject.poll(&job_type, 600_000, 100).await.len();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    polled += subject.poll(&job_type, 600_000, 100).await.len();
    assert!((50..=58).contains(&polled), "{polled} of 60 jobs came back");
}

pub async fn a_poll_that_is_not_parked_answers_at_once(subject: Subject) {
    let started = Instant::now();
    assert_eq!(subject.poll(&unique("nothing"), 60_000, 1).await.len(), 0);
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "it took {:?}",
        started.elapsed()
    );
}

pub async fn a_parked_poll_ends_empty_when_its_time_is_over(subject: Subject) {
    let started = Instant::now();
    let request = ActivateJobsRequest {
        request_timeout: 1_000,
        ..poll_request(&unique("nothing"), 60_000)
    };
    assert_eq!(collect(subject.gateway(), request).await.unwrap().len(), 0);
    let took = started.elapsed();
    assert!(
        (Duration::from_millis(900)..Duration::from_secs(5)).contains(&took),
        "it took {took:?}"
    );
}

pub async fn a_parked_poll_gets_a_new_job(subject: Subject) {
    let (process, job_type) = one_task(&subject).await;
    let request = ActivateJobsRequest {
        request_timeout: 20_000,
        ..poll_request(&job_type, 60_000)
    };
    let poll = tokio::spawn(collect(subject.gateway(), request));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let instance = subject.start(&process, json!({})).await;
    let jobs = tokio::time::timeout(PATIENCE, poll)
        .await
        .expect("the poll stayed parked")
        .unwrap()
        .unwrap();
    assert_eq!(jobs.len(), 1);
    assert_eq!(jobs[0].process_instance_key, instance);
}

pub async fn a_poll_takes_the_oldest_jobs_and_no_more_than_it_asked_for(subject: Subject) {
    let (process, job_type) = one_task(&subject).await;
    let mut instances = Vec::new();
    for _ in 0..5 {
        instances.push(subject.start(&process, json!({})).await);
    }
    // Within one answer the order is the engine's own: 8.9 shuffles it.
    let taken = |jobs: Vec<ActivatedJob>| -> Vec<i64> {
        let mut instances: Vec<i64> = jobs.iter().map(|job| job.process_instance_key).collect();
        instances.sort_unstable();
        instances
    };
    // The last job exists only a moment after its instance does.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(taken(subject.poll(&job_type, 60_000, 3).await), instances[..3]);
    assert_eq!(taken(subject.poll(&job_type, 60_000, 3).await), instances[3..]);
    assert!(subject.poll(&job_type, 60_000, 3).await.is_empty());
}

pub async fn only_the_fetched_variables_are_sent(subject: Subject) {
    let (process, job_type) = one_task(&subject).await;
    subject.start(&process, json!({"a": 1, "b": {"c": 2}, "d": 3})).await;
    subject.job_for(&job_type, 60_000).await;
    let fetched = vec!["b".to_owned(), "d".to_owned(), "missing".to_owned()];
    subject.start(&process, json!({"a": 1, "b": {"c": 2}, "d": 3})).await;
    let request = ActivateJobsRequest {
        fetch_variable: fetched,
        request_timeout: 20_000,
        ..poll_request(&job_type, 60_000)
    };
    let jobs = collect(subject.gateway(), request).await.unwrap();
    assert_eq!(variables(&jobs[0]), json!({"b": {"c": 2}, "d": 3}));
}

pub async fn headers_without_a_value_are_dropped(subject: Subject) {
    let (process, job_type) = (unique("process"), unique("work"));
    let headers = r#"<zeebe:taskHeaders><zeebe:header key="empty" value=""/><zeebe:header key="kept" value="=1 + 1"/><zeebe:header key="absent"/></zeebe:taskHeaders>"#;
    subject
        .deploy(&file(&process, &chain("", &[task("work", &job_type, headers)]), ""))
        .await;
    subject.start(&process, json!({})).await;
    assert_eq!(subject.job(&job_type).await.custom_headers, r#"{"kept":"=1 + 1"}"#);
}

pub async fn bad_activations_are_refused_at_once(subject: Subject) {
    let good = StreamActivatedJobsRequest {
        r#type: unique("work"),
        worker: "contract".into(),
        timeout: 1000,
        ..Default::default()
    };
    let stream = |change: fn(&mut StreamActivatedJobsRequest)| {
        let mut request = good.clone();
        change(&mut request);
        subject.open(request).end()
    };
    let blank = stream(|request| request.r#type = " ".into()).await;
    refused(blank, Code::InvalidArgument, "type");
    let timeless = stream(|request| request.timeout = 0).await;
    refused(timeless, Code::InvalidArgument, "timeout");
    let foreign = stream(|request| request.tenant_ids = vec!["other".into()]).await;
    refused(foreign, Code::InvalidArgument, "multi-tenancy");

    let poll = |change: fn(&mut ActivateJobsRequest)| {
        let mut request = poll_request(&unique("work"), 1000);
        request.request_timeout = -1;
        change(&mut request);
        collect(subject.gateway(), request)
    };
    refused(
        poll(|request| request.r#type = String::new()).await,
        Code::InvalidArgument,
        "type",
    );
    refused(
        poll(|request| request.timeout = 0).await,
        Code::InvalidArgument,
        "timeout",
    );
    let none = poll(|request| request.max_jobs_to_activate = 0).await;
    match subject.release {
        (8, 6) => assert_eq!(none.unwrap().len(), 0), // its gateway does not even ask the broker
        _ => refused(none, Code::InvalidArgument, "max jobs"),
    }
    let foreign = poll(|request| request.tenant_ids = vec!["other".into()]).await;
    refused(foreign, Code::InvalidArgument, "multi-tenancy");
}

pub async fn the_topology_names_a_healthy_leader(subject: Subject) {
    let topology = subject
        .gateway()
        .topology(TopologyRequest {})
        .await
        .unwrap()
        .into_inner();
    assert!(topology.partitions_count >= 1);
    let partition = &topology.brokers[0].partitions[0];
    assert_eq!(partition.role(), partition::PartitionBrokerRole::Leader);
    assert_eq!(partition.health(), partition::PartitionBrokerHealth::Healthy);
}
