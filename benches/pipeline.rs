//! One job's way without the network: secrets → bind → connector → mapping → command, for a job of 2 KB.
//!
//! Prints `figure pipeline_us_per_job …` (median of 15 rounds, one thread) and the aim beside it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deskhand::connector::{Call, Connector, Journal, Response};
use deskhand::engine::gateway::CompleteJobRequest;
use deskhand::job::Job;
use deskhand::mapping::Mapper;
use deskhand::outcome::{JobError, Outcome};
use deskhand::progress::Progress;
use deskhand::secrets::{self, Secrets};
use deskhand::worker::{Hold, Pipeline};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use prost::Message;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

const JOBS: u32 = 5_000;
const ROUNDS: usize = 15;

/// A connector that has its answer already.
struct Canned(Value);

impl Connector for Canned {
    fn job_type(&self) -> &'static str {
        "bench:canned:1"
    }

    fn fetch_variables(&self) -> &'static [&'static str] {
        &[]
    }

    fn call<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Result<Response, JobError>> {
        assert!(!call.input.used.is_empty(), "the secret was put in");
        std::future::ready(Ok(self.0.clone().into())).boxed()
    }
}

struct NoHold;

impl Journal for NoHold {
    fn write(&self, _: Map<String, Value>) -> BoxFuture<'_, Result<(), JobError>> {
        std::future::ready(Ok(())).boxed()
    }
}

impl Hold for NoHold {
    fn extend(&self, _: Duration) -> BoxFuture<'_, Result<(), JobError>> {
        std::future::ready(Ok(())).boxed()
    }
}

fn job() -> Job {
    let filler: Vec<Value> = (0..24)
        .map(|n| json!({"line": n, "text": "a position of the invoice", "amount": 12.5}))
        .collect();
    let variables = json!({
        "url": "https://api.example.com/invoices",
        "method": "POST",
        "authentication": {"type": "bearer", "token": "{{secrets.API_TOKEN}}"},
        "headers": {"X-Request": "4711"},
        "body": {"invoice": "4711", "lines": filler},
    })
    .to_string();
    assert!((1_800..2_400).contains(&variables.len()), "{} bytes", variables.len());
    let headers = json!({
        "resultExpression": "={bookingNumber: response.body.bookingNumber, lines: count(response.body.lines)}",
        "errorExpression": "=if error.code = \"404\" then bpmnError(\"NOT_FOUND\", error.message) else null",
        "retryBackoff": "PT30S",
    });
    Job {
        key: 1,
        job_type: "bench:canned:1".into(),
        process_instance_key: 2,
        bpmn_process_id: "bench".into(),
        process_definition_version: 1,
        process_definition_key: 3,
        element_id: "task".into(),
        element_instance_key: 4,
        retries: 3,
        deadline: 0,
        tenant_id: "<default>".into(),
        lease_token: None,
        custom_headers: headers.to_string(),
        variables,
    }
}

fn main() {
    let response = json!({
        "status": 200,
        "headers": {"Content-Type": "application/json"},
        "body": {"bookingNumber": "B-1", "lines": [1, 2, 3]},
        "reason": "OK",
        "document": null,
    });
    let known = |name: &str| (name == "SECRET_API_TOKEN").then(|| "a-token-of-some-length".to_owned());
    let secrets = Secrets::from_settings(&secrets::Settings::default(), known);
    let pipeline = Pipeline::new(
        vec![Arc::new(Canned(response))],
        secrets,
        Mapper::default(),
        Progress::none(),
    );
    let job = job();
    let abandoned = CancellationToken::new();
    let one = || {
        // Nothing in this pipeline waits, so the future is ready at its first poll.
        let outcome = pipeline.run(&job, &NoHold, &abandoned).now_or_never();
        let Some(Outcome::Complete { variables }) = outcome else {
            panic!("the job did not complete: {outcome:?}")
        };
        let variables = serde_json::to_string(&variables).unwrap_or_default();
        CompleteJobRequest {
            job_key: job.key,
            variables,
            lease_token: None,
        }
        .encode_to_vec()
    };
    let expected = one();
    let mut microseconds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            for _ in 0..JOBS {
                assert_eq!(std::hint::black_box(one()).len(), expected.len());
            }
            began.elapsed().as_secs_f64() * 1e6 / f64::from(JOBS)
        })
        .collect();
    microseconds.sort_by(f64::total_cmp);
    println!("figure pipeline_us_per_job {:.2} us", microseconds[ROUNDS / 2]);
    println!("# 2 KB of variables, one secret, result and error expression; aim: 15 us");
}
