//! Expressions that take long, and what else the reactor has to do in the meantime: a heartbeat, for one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::sync::Arc;
use std::time::Duration;

use deskhand::connector::{Call, Connector, Journal, Place, Response};
use deskhand::job::Job;
use deskhand::mapping::Mapper;
use deskhand::outcome::{JobError, Outcome};
use deskhand::progress::Progress;
use deskhand::secrets::Secrets;
use deskhand::worker::{Hold, Pipeline};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

/// Answers with a text as its body.
struct Echo(String);

impl Connector for Echo {
    fn job_type(&self) -> &'static str {
        "echo"
    }

    fn fetch_variables(&self) -> &'static [&'static str] {
        &[]
    }

    fn call<'a>(&'a self, _: Call<'a>) -> BoxFuture<'a, Result<Response, JobError>> {
        let response = Response::with_body(Map::new(), self.0.clone());
        async move { Ok(response) }.boxed()
    }
}

struct Held;

impl Journal for Held {
    fn write(&self, _: Map<String, Value>) -> BoxFuture<'_, Result<(), JobError>> {
        async { Ok(()) }.boxed()
    }
}

impl Place for Held {}

impl Hold for Held {
    fn extend(&self, _: Duration) -> BoxFuture<'_, Result<(), JobError>> {
        async { Ok(()) }.boxed()
    }
}

/// The outcome of a job with these headers, and how often the one thread of the test could have done something else.
async fn run(body: String, headers: Value) -> (Outcome, u32) {
    let job = Job {
        key: 1,
        job_type: "echo".into(),
        process_instance_key: 2,
        bpmn_process_id: "process".into(),
        process_definition_version: 1,
        process_definition_key: 3,
        element_id: "task".into(),
        element_instance_key: 4,
        retries: 3,
        deadline: 0,
        tenant_id: "<default>".into(),
        lease_token: None,
        custom_headers: headers.to_string(),
        variables: "{}".into(),
    };
    let pipeline = Pipeline::new(
        vec![Arc::new(Echo(body))],
        Secrets::none(),
        Mapper::default(),
        Progress::none(),
    );
    let abandoned = CancellationToken::new();
    let work = pipeline.run(&job, &Held, &abandoned);
    tokio::pin!(work);
    let mut turns = 0;
    loop {
        tokio::select! {
            biased;
            outcome = &mut work => return (outcome, turns),
            () = tokio::task::yield_now() => turns += 1,
        }
    }
}

#[tokio::test]
async fn a_hostile_expression_delays_no_heartbeat() {
    let endless = "count(for i in 1..1000000000 return 1)";
    for headers in [
        json!({ "resultExpression": format!("= {{n: {endless}}}") }),
        json!({ "errorExpression": format!("= if {endless} = 1 then null else null") }),
    ] {
        let (outcome, turns) = run("{}".into(), headers).await;
        // Evaluated on this thread, it would have had no turn at all.
        assert!(turns > 50, "only {turns} turns");
        match outcome {
            Outcome::Fail { message, retries, .. } => {
                assert!(
                    message.contains("(limit `") && message.contains("`; the setting `feel."),
                    "{message}"
                );
                assert_eq!(retries, 0);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_large_response_and_a_long_expression_delay_no_heartbeat() {
    let rest: Vec<Value> = (0..20_000).map(|id| json!({"id": id, "text": "0123456789"})).collect();
    let body = json!({"id": 7, "rest": rest}).to_string();
    let expression = format!(
        "= {{id: body.id, last: body.rest[-1].id, pad: \"{}\"}}",
        "x".repeat(50_000)
    );
    let (outcome, turns) = run(body, json!({ "resultExpression": expression })).await;
    assert!(turns > 10, "only {turns} turns");
    match outcome {
        Outcome::Complete { variables } => {
            assert_eq!((&variables["id"], &variables["last"]), (&json!(7), &json!(19_999)));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_ordinary_expression_is_evaluated_at_once() {
    let (outcome, turns) = run(
        json!({"id": 7}).to_string(),
        json!({"resultExpression": "= {id: body.id}"}),
    )
    .await;
    assert_eq!(turns, 0);
    assert!(matches!(outcome, Outcome::Complete { .. }), "{outcome:?}");
}
