//! Deploying and starting processes, and the elements that a worker's outcomes steer.

use std::time::{Duration, Instant};

use deskhand::engine::gateway::*;
use serde_json::json;
use tonic::Code;

use crate::activation::one_task;
use crate::process::*;
use crate::subject::*;

pub async fn the_same_file_makes_no_new_version(subject: Subject) {
    let (process, job_type) = (unique("process"), unique("work"));
    let bpmn = file(&process, &chain("", &[task("work", &job_type, "")]), "");
    let first = subject.deploy(&bpmn).await;
    assert_eq!((first.version, first.bpmn_process_id.as_str()), (1, process.as_str()));
    assert_eq!(subject.deploy(&bpmn).await, first);
    let changed = file(&process, &chain("", &[task("changed", &job_type, "")]), "");
    let second = subject.deploy(&changed).await;
    assert_eq!(second.version, 2);
    assert!(second.process_definition_key > first.process_definition_key);
    subject.start(&process, json!({})).await;
    assert_eq!(subject.job(&job_type).await.process_definition_version, 2);
    let request = CreateProcessInstanceRequest {
        process_definition_key: first.process_definition_key,
        ..Default::default()
    };
    subject.gateway().create_process_instance(request).await.unwrap();
    assert_eq!(subject.job(&job_type).await.process_definition_version, 1);
}

pub async fn broken_files_are_refused(subject: Subject) {
    refused(
        subject.try_deploy("this is not XML").await,
        Code::InvalidArgument,
        "contract.bpmn",
    );
    let expression = mapping(r#"<zeebe:input source="=1 +" target="a"/>"#);
    let content = chain("", &[task("work", "type", &expression)]);
    let fault = subject.try_deploy(&file("broken", &content, "")).await;
    refused(fault, Code::InvalidArgument, "contract.bpmn");
    let fault = subject.try_deploy(&file("broken", "", "")).await;
    refused(fault, Code::InvalidArgument, "contract.bpmn");
    let nothing = subject
        .gateway()
        .deploy_resource(DeployResourceRequest::default())
        .await;
    refused(nothing, Code::InvalidArgument, "");
}

pub async fn an_unknown_process_is_not_found(subject: Subject) {
    let create = |request: CreateProcessInstanceRequest| {
        let mut gateway = subject.gateway();
        async move { gateway.create_process_instance(request).await }
    };
    let by_id = CreateProcessInstanceRequest {
        bpmn_process_id: "nobody-knows-this".into(),
        version: -1,
        ..Default::default()
    };
    let text = "Command 'CREATE' rejected with code 'NOT_FOUND': Expected to find process definition with process ID 'nobody-knows-this', but none found";
    refused(create(by_id.clone()).await, Code::NotFound, text);
    let by_version = CreateProcessInstanceRequest { version: 7, ..by_id };
    refused(
        create(by_version).await,
        Code::NotFound,
        "'nobody-knows-this' and version '7', but none found",
    );
    let by_key = CreateProcessInstanceRequest {
        process_definition_key: NO_KEY,
        ..Default::default()
    };
    refused(
        create(by_key).await,
        Code::NotFound,
        &format!("Expected to find process definition with key '{NO_KEY}', but none found"),
    );
}

pub async fn an_unknown_instance_cannot_be_cancelled(subject: Subject) {
    let text = format!(
        "Command 'CANCEL' rejected with code 'NOT_FOUND': Expected to cancel a process instance with key '{NO_KEY}', but no such process was found"
    );
    refused(subject.cancel(NO_KEY).await, Code::NotFound, &text);
    // An element instance is no process instance.
    let (process, job_type) = one_task(&subject).await;
    subject.start(&process, json!({})).await;
    let job = subject.job(&job_type).await;
    refused(subject.cancel(job.element_instance_key).await, Code::NotFound, "");
}

pub async fn a_result_that_takes_too_long_ends_the_wait(mut subject: Subject) {
    // With 8.6.0 this closes the connection between gateway and broker: every other call under way is ABORTED.
    let _alone = subject.alone().await;
    let (process, job_type) = one_task(&subject).await;
    let request = CreateProcessInstanceWithResultRequest {
        request: Some(CreateProcessInstanceRequest {
            bpmn_process_id: process,
            version: -1,
            ..Default::default()
        }),
        request_timeout: 700,
        fetch_variables: vec![],
    };
    let result = subject.gateway().create_process_instance_with_result(request).await;
    refused(result, Code::DeadlineExceeded, "");
    let job = subject.job(&job_type).await; // the instance goes on
    subject.complete(&job, json!({})).await.unwrap();
}

pub async fn a_result_holds_the_fetched_variables_only(subject: Subject) {
    let process = unique("process");
    subject
        .deploy(&file(&process, &chain("", &[timer("wait", "PT0.1S")]), ""))
        .await;
    let request = CreateProcessInstanceWithResultRequest {
        request: Some(CreateProcessInstanceRequest {
            bpmn_process_id: process.clone(),
            version: -1,
            variables: json!({"a": 1, "b": [2, null, 1.5]}).to_string(),
            ..Default::default()
        }),
        request_timeout: 20_000,
        fetch_variables: vec!["b".into(), "missing".into()],
    };
    let result = subject.gateway().create_process_instance_with_result(request).await;
    let result = result.unwrap().into_inner();
    assert_eq!(result.bpmn_process_id, process);
    assert_eq!(result.variables, r#"{"b":[2,null,1.5]}"#);
}

pub async fn a_caught_error_takes_the_boundary_event(subject: Subject) {
    let (process, work, after) = (unique("process"), unique("work"), unique("after"));
    let content =
        chain("", &[task("work", &work, "")]) + &boundary("work", "", CATCHES_ERROR, &task("after", &after, ""));
    subject.deploy(&file(&process, &content, &error("E1"))).await;
    let run = subject.run(&process, json!({"a": 1}));
    let job = subject.job(&work).await;
    subject
        .set_variables(job.element_instance_key, json!({"local": true}), true)
        .await
        .unwrap();
    subject
        .throw(&job, "E1", json!({"reason": "why", "a": 2}))
        .await
        .unwrap();
    let next = subject.job(&after).await;
    // What the error brought is the boundary event's own.
    assert_eq!(variables(&next), json!({"a": 1}));
    refused(subject.complete(&job, json!({})).await, Code::NotFound, "no such job");
    subject.complete(&next, json!({})).await.unwrap();
    assert_eq!(ended(run).await, json!({"a": 1}));
}

pub async fn variables_of_an_error_leave_by_output_mappings(subject: Subject) {
    let (process, work, after) = (unique("process"), unique("work"), unique("after"));
    let output = mapping(r#"<zeebe:output source="=reason" target="why"/>"#);
    let output = format!("<bpmn:extensionElements>{output}</bpmn:extensionElements>");
    let boundary = boundary("work", "", CATCHES_ERROR, &task("after", &after, ""));
    let boundary = boundary.replacen("<bpmn:outgoing>", &format!("{output}<bpmn:outgoing>"), 1);
    let content = chain("", &[task("work", &work, "")]) + &boundary;
    subject.deploy(&file(&process, &content, &error("E1"))).await;
    subject.start(&process, json!({"a": 1})).await;
    let job = subject.job(&work).await;
    subject.throw(&job, "E1", json!({"reason": "x", "a": 2})).await.unwrap();
    assert_eq!(variables(&subject.job(&after).await), json!({"a": 1, "why": "x"}));
}

pub async fn an_error_leaves_its_subprocess(subject: Subject) {
    let (process, work, side, after) = (unique("process"), unique("work"), unique("side"), unique("after"));
    let inner = Node::new(
        "inner",
        format!(
            r#"<bpmn:subProcess id="inner"><bpmn:startEvent id="inner-start"/>{}{}{}{}</bpmn:subProcess>"#,
            flow("inner-start", "work"),
            flow("inner-start", "side"),
            task("work", &work, "").xml(),
            task("side", &side, "").xml(),
        ),
    );
    let content = chain("", &[inner]) + &boundary("inner", "", CATCHES_ERROR, &task("after", &after, ""));
    subject.deploy(&file(&process, &content, &error("E1"))).await;
    subject.start(&process, json!({})).await;
    let (job, neighbour) = (subject.job(&work).await, subject.job(&side).await);
    subject.throw(&job, "E1", json!({})).await.unwrap();
    subject.job(&after).await;
    refused(
        subject.complete(&neighbour, json!({})).await,
        Code::NotFound,
        "no such job",
    );
}

pub async fn an_exact_error_code_comes_before_catching_all(subject: Subject) {
    let (process, work) = (unique("process"), unique("work"));
    let (exact, any) = (unique("exact"), unique("any"));
    let catches_all = format!(
        r#"<bpmn:boundaryEvent id="all" attachedToRef="work"><bpmn:outgoing>all-any</bpmn:outgoing><bpmn:errorEventDefinition/></bpmn:boundaryEvent>{}{}"#,
        flow("all", "any"),
        task("any", &any, "").xml()
    );
    let content = chain("", &[task("work", &work, "")])
        + &catches_all
        + &boundary("work", "", CATCHES_ERROR, &task("exact", &exact, ""));
    subject.deploy(&file(&process, &content, &error("E1"))).await;
    subject.start(&process, json!({})).await;
    subject.throw(&subject.job(&work).await, "E1", json!({})).await.unwrap();
    subject.job(&exact).await;
    subject.start(&process, json!({})).await;
    subject.throw(&subject.job(&work).await, "E2", json!({})).await.unwrap();
    subject.job(&any).await;
}

pub async fn a_gateway_takes_the_last_true_condition_of_the_file_or_the_default(subject: Subject) {
    let process = unique("process");
    let (small, medium, other) = (unique("small"), unique("medium"), unique("other"));
    let condition = |to: &str, text: &str| {
        format!(
            r#"<bpmn:sequenceFlow id="to-{to}" sourceRef="gateway" targetRef="{to}"><bpmn:conditionExpression xsi:type="bpmn:tFormalExpression">{text}</bpmn:conditionExpression></bpmn:sequenceFlow>"#
        )
    };
    let content = format!(
        r#"<bpmn:startEvent id="start"/>{}<bpmn:exclusiveGateway id="gateway" default="gateway-other"><bpmn:outgoing>gateway-other</bpmn:outgoing><bpmn:outgoing>to-small</bpmn:outgoing><bpmn:outgoing>to-medium</bpmn:outgoing></bpmn:exclusiveGateway>{}{}{}{}{}{}"#,
        flow("start", "gateway"),
        flow("gateway", "other"),
        condition("medium", "=n &lt; 100 and ok"),
        condition("small", "=n &lt; 10"),
        task("small", &small, "").xml(),
        task("medium", &medium, "").xml(),
        task("other", &other, "").xml(),
    );
    subject.deploy(&file(&process, &content, "")).await;
    for (n, job_type) in [(5, &small), (50, &medium), (500, &other)] {
        let instance = subject.start(&process, json!({"n": n, "ok": true})).await;
        assert_eq!(subject.job(job_type).await.process_instance_key, instance);
    }
}

pub async fn parallel_ways_are_joined(subject: Subject) {
    let process = unique("process");
    let (left, right) = (unique("left"), unique("right"));
    let content = format!(
        r#"<bpmn:startEvent id="start"/><bpmn:parallelGateway id="fork"/><bpmn:parallelGateway id="join"/><bpmn:endEvent id="end"/>{}{}{}{}{}{}{}{}"#,
        flow("start", "fork"),
        flow("fork", "left"),
        flow("fork", "right"),
        flow("left", "join"),
        flow("right", "join"),
        flow("join", "end"),
        task("left", &left, "").xml(),
        task("right", &right, "").xml(),
    );
    subject.deploy(&file(&process, &content, "")).await;
    let mut run = subject.run(&process, json!({}));
    let (one, two) = (subject.job(&left).await, subject.job(&right).await);
    subject.complete(&one, json!({"left": 1})).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(500), &mut run).await;
    assert!(early.is_err(), "the join did not wait");
    subject.complete(&two, json!({"right": 2})).await.unwrap();
    assert_eq!(ended(run).await, json!({"left": 1, "right": 2}));
}

pub async fn a_timer_delays_the_process(subject: Subject) {
    let process = unique("process");
    let content = chain("", &[timer("static", "PT0.5S"), timer("feel", "=delay")]);
    subject.deploy(&file(&process, &content, "")).await;
    let started = Instant::now();
    ended(subject.run(&process, json!({"delay": "PT0.3S"}))).await;
    assert!(
        started.elapsed() >= Duration::from_millis(800),
        "it took {:?}",
        started.elapsed()
    );
}

pub async fn a_timer_interrupts_a_task(subject: Subject) {
    let (process, work, after) = (unique("process"), unique("work"), unique("after"));
    let timer =
        r#"<bpmn:timerEventDefinition><bpmn:timeDuration>PT0.5S</bpmn:timeDuration></bpmn:timerEventDefinition>"#;
    let content = chain("", &[task("work", &work, "")]) + &boundary("work", "", timer, &task("after", &after, ""));
    subject.deploy(&file(&process, &content, "")).await;
    subject.start(&process, json!({})).await;
    let job = subject.job(&work).await;
    subject.job(&after).await;
    refused(subject.complete(&job, json!({})).await, Code::NotFound, "no such job");
    // A task that is done in time leaves its timer behind.
    let run = subject.run(&process, json!({}));
    subject.complete(&subject.job(&work).await, json!({})).await.unwrap();
    ended(run).await;
    assert!(subject.poll(&after, 1_000, 1).await.is_empty());
}

pub async fn a_timer_starts_a_second_way(subject: Subject) {
    let (process, work, after) = (unique("process"), unique("work"), unique("after"));
    let timer =
        r#"<bpmn:timerEventDefinition><bpmn:timeDuration>PT0.3S</bpmn:timeDuration></bpmn:timerEventDefinition>"#;
    let content = chain("", &[task("work", &work, "")])
        + &boundary("work", r#"cancelActivity="false""#, timer, &task("after", &after, ""));
    subject.deploy(&file(&process, &content, "")).await;
    let run = subject.run(&process, json!({}));
    let job = subject.job(&work).await;
    let reminder = subject.job(&after).await;
    subject.complete(&job, json!({})).await.unwrap();
    subject.complete(&reminder, json!({})).await.unwrap();
    ended(run).await;
}

pub async fn a_terminate_end_takes_every_token(subject: Subject) {
    let (process, work, side) = (unique("process"), unique("work"), unique("side"));
    let content = format!(
        r#"<bpmn:startEvent id="start"/><bpmn:endEvent id="stop"><bpmn:terminateEventDefinition/></bpmn:endEvent>{}{}{}{}{}"#,
        flow("start", "work"),
        flow("start", "side"),
        flow("work", "stop"),
        task("work", &work, "").xml(),
        task("side", &side, "").xml(),
    );
    subject.deploy(&file(&process, &content, "")).await;
    let run = subject.run(&process, json!({}));
    let (job, neighbour) = (subject.job(&work).await, subject.job(&side).await);
    subject.complete(&job, json!({})).await.unwrap();
    ended(run).await;
    refused(
        subject.complete(&neighbour, json!({})).await,
        Code::NotFound,
        "no such job",
    );
}

pub async fn an_error_end_is_caught_around_its_subprocess(subject: Subject) {
    let (process, after) = (unique("process"), unique("after"));
    let inner = Node::new(
        "inner",
        format!(
            r#"<bpmn:subProcess id="inner"><bpmn:startEvent id="inner-start"/>{}<bpmn:endEvent id="throw">{CATCHES_ERROR}</bpmn:endEvent></bpmn:subProcess>"#,
            flow("inner-start", "throw"),
        ),
    );
    let content = chain("", &[inner]) + &boundary("inner", "", CATCHES_ERROR, &task("after", &after, ""));
    subject.deploy(&file(&process, &content, &error("E1"))).await;
    subject.start(&process, json!({})).await;
    subject.job(&after).await;
}

pub async fn a_boundary_timer_sees_the_inputs_of_its_task(subject: Subject) {
    let (process, work, after) = (unique("process"), unique("work"), unique("after"));
    let timer =
        r#"<bpmn:timerEventDefinition><bpmn:timeDuration>=limit</bpmn:timeDuration></bpmn:timerEventDefinition>"#;
    let input = mapping(r#"<zeebe:input source="PT0.3S" target="limit"/>"#);
    let content = chain("", &[task("work", &work, &input)]) + &boundary("work", "", timer, &task("after", &after, ""));
    subject.deploy(&file(&process, &content, "")).await;
    subject.start(&process, json!({})).await;
    subject.job(&after).await;
}
