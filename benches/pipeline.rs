//! One job's way without the network: secrets → bind → connector → mapping → command, for a job of 2 KB.
//!
//! Prints `figure pipeline_us_per_job …` (median of 15 rounds, one thread) for an invoice of ten positions, and
//! `figure pipeline_us_per_job_many_objects …` for the same bytes as 32 small objects, where reading JSON weighs more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deskhand::connector::{Call, Connector, Journal, Place, Response};
use deskhand::engine::gateway::CompleteJobRequest;
use deskhand::job::Job;
use deskhand::mapping::Mapper;
use deskhand::outcome::{JobError, Outcome};
use deskhand::progress::Progress;
use deskhand::secrets::Secrets;
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

impl Place for NoHold {}

impl Hold for NoHold {
    fn extend(&self, _: Duration) -> BoxFuture<'_, Result<(), JobError>> {
        std::future::ready(Ok(())).boxed()
    }
}

/// Ten positions with a text each.
fn invoice() -> Vec<Value> {
    let text =
        "Maintenance of the packaging line in hall 3, second quarter, travel included, as agreed by phone in May";
    (0..10)
        .map(|n| json!({"position": n, "text": text, "amount": 1290.5, "currency": "EUR"}))
        .collect()
}

/// The same size as many small objects.
fn many_objects() -> Vec<Value> {
    (0..32)
        .map(|n| json!({"line": n, "text": "a position of the invoice", "amount": 12.5}))
        .collect()
}

fn job(lines: Vec<Value>) -> Job {
    let variables = json!({
        "url": "https://api.example.com/invoices",
        "method": "POST",
        "authentication": {"type": "bearer", "token": "{{secrets.API_TOKEN}}"},
        "headers": {"X-Request": "4711"},
        "body": {"invoice": "4711", "lines": lines},
    })
    .to_string();
    assert!((1_800..2_300).contains(&variables.len()), "{} bytes", variables.len());
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
    println!("figure pipeline_us_per_job {:.2} us", measure(&job(invoice())));
    println!(
        "figure pipeline_us_per_job_many_objects {:.2} us",
        measure(&job(many_objects()))
    );
    println!("# 2 KB of variables, one secret, result and error expression; aim: 15 us");
}

/// Microseconds a job.
fn measure(job: &Job) -> f64 {
    let response = json!({
        "status": 200,
        "headers": {"Content-Type": "application/json"},
        "body": {"bookingNumber": "B-1", "lines": [1, 2, 3]},
        "reason": "OK",
        "document": null,
    });
    let secrets = Secrets::fixed([("API_TOKEN", "a-token-of-some-length")]);
    let pipeline = Pipeline::new(
        vec![Arc::new(Canned(response))],
        secrets,
        Mapper::default(),
        Progress::none(),
    );
    let abandoned = CancellationToken::new();
    let one = || {
        // Nothing in this pipeline waits, so the future is ready at its first poll.
        let outcome = pipeline.run(job, &NoHold, &abandoned).now_or_never();
        let Some(Outcome::Complete { variables }) = outcome else {
            panic!("the job did not complete: {outcome:?}")
        };
        let variables = serde_json::to_string(&variables).unwrap_or_default();
        let command = CompleteJobRequest {
            job_key: job.key,
            variables,
            lease_token: None,
        };
        command.encode_to_vec()
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
    microseconds[ROUNDS / 2]
}
