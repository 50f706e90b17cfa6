//! What Camunda's released runtime told a real engine in 83 situations, told again by deskhand.
//!
//! Each probe is one task: the variables and headers it was given, the commands that the engine got, the requests that
//! the called server saw. deskhand must say and send the same (texts of failures aside), or the probe must stand in the
//! table of `docs/differences.md`; one that stands there and agrees is as wrong.

#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]

#[path = "runtime_probes/listed.rs"]
mod listed;
#[path = "runtime_probes/target.rs"]
mod probed;
#[path = "http_json/target.rs"]
mod target;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use deskhand::connector::http_json::{HttpJson, JOB_TYPE, Settings};
use deskhand::connector::{Journal, Place};
use deskhand::http::Client;
use deskhand::http::token::Tokens;
use deskhand::job::Job;
use deskhand::mapping::Mapper;
use deskhand::outcome::{JobError, Outcome};
use deskhand::progress::Progress;
use deskhand::secrets::{self, Policy, Rule, Secrets};
use deskhand::worker::{Hold, Pipeline};
use futures_util::future::{BoxFuture, FutureExt};
use serde_json::{Map, Value, json};
use target::{Seen, Target};
use tokio_util::sync::CancellationToken;

const PROBES: &str = include_str!("runtime-probes.jsonl");
/// Where the probed server listened.
const PROBED: &str = "127.0.0.1:26680";
/// A task that is tried more often than this goes round in circles.
const MOST_TRIES: usize = 10;

/// Commands and requests of a probe, in a form that compares.
#[derive(Debug, PartialEq)]
struct Observed {
    told: Vec<Value>,
    saw: Vec<Value>,
}

#[tokio::test(start_paused = true)]
async fn every_situation_ends_as_in_camundas_runtime_or_is_a_listed_difference() {
    let target = probed::start().await;
    let mut listed = listed::names();
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in PROBES.lines() {
        let probe: Value = serde_json::from_str(line).unwrap();
        let name = probe["probe"].as_str().unwrap();
        let expected = expected(&probe);
        let observed = observed(&target, &probe, &expected).await;
        match (listed.remove(name), observed == expected) {
            (false, false) => wrong.push(format!(
                "{name} differs and is not listed:\n  Camunda  {expected:?}\n  deskhand {observed:?}"
            )),
            (true, true) => wrong.push(format!("{name} is listed but agrees")),
            (true, false) | (false, true) => {}
        }
        count += 1;
    }
    wrong.extend(
        listed
            .into_iter()
            .map(|name| format!("{name} is listed but is no probe")),
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(count, 83);
}

fn expected(probe: &Value) -> Observed {
    let list = |name: &str| probe[name].as_array().unwrap().iter();
    Observed {
        told: list("engine_told").map(|command| comparable(command.clone())).collect(),
        saw: list("target_saw")
            .map(|request| {
                let headers = request["headers"].as_object().unwrap().iter();
                let headers = headers
                    .map(|(name, values)| (name.to_lowercase(), values.clone()))
                    .collect();
                comparable_request(
                    &request["method"],
                    &request["uri"],
                    headers,
                    request["body"].as_str().unwrap(),
                )
            })
            .collect(),
    }
}

async fn observed(target: &Target, probe: &Value, expected: &Observed) -> Observed {
    let pipeline = pipeline(target);
    let variables = probe["fetched"].to_string().replace(PROBED, &target.authority);
    let retries = i32::try_from(probe["input"]["retries"].as_i64().unwrap()).unwrap();
    let tasks = expected.told.iter().filter(|command| is_last(command)).count();
    let mut told = Vec::new();
    for _ in 0..tasks {
        let mut job = job(variables.clone(), probe["headers_seen"].to_string(), retries);
        for _ in 0..MOST_TRIES {
            let outcome = pipeline.run(&job, &Held, &CancellationToken::new()).await;
            let command = command(&outcome);
            if let Some(left) = command["retries"].as_i64() {
                job.retries = i32::try_from(left).unwrap();
            }
            let last = is_last(&command);
            told.push(comparable(command));
            if last {
                break;
            }
        }
    }
    let saw = target
        .seen()
        .iter()
        .filter(|seen| probed::is_recorded(&seen.uri))
        .map(request)
        .collect();
    Observed { told, saw }
}

/// Does the engine ask for no further try after this command?
fn is_last(command: &Value) -> bool {
    command["retries"].as_i64().is_none_or(|left| left == 0)
}

fn pipeline(target: &Target) -> Pipeline {
    let client = Client::new().unwrap();
    let tokens = Arc::new(Tokens::new(client.clone()));
    let policy = Policy::of_rules(vec![Rule::new("*", ["127.0.0.1:*"]).unwrap()]);
    let connector = HttpJson::new(client, tokens, Arc::new(policy), Settings::default());
    let organization = target.url("");
    // The probed runtime had no filter for secrets.
    let settings = secrets::Settings {
        allow_list: secrets::allow_list::Settings {
            fields: secrets::allow_list::Fields::All,
            ..Default::default()
        },
        ..secrets::Settings::default()
    };
    let secrets = Secrets::from_settings(&settings, move |name| match name {
        "SECRET_TOKEN" => Some("s3cr3t-value".into()),
        "SECRET_OUTER" => Some("x {{secrets.TOKEN}} y".into()),
        "SECRET_ORG" => Some(organization.clone()),
        _ => None,
    });
    Pipeline::new(vec![Arc::new(connector)], secrets, Mapper::default(), Progress::none())
}

/// A job that nobody takes away; nothing is journalled.
struct Held;

impl Journal for Held {
    fn write(&self, _: Map<String, Value>) -> BoxFuture<'_, Result<(), JobError>> {
        panic!("a REST task journals nothing")
    }
}

impl Place for Held {}

impl Hold for Held {
    fn extend(&self, _: Duration) -> BoxFuture<'_, Result<(), JobError>> {
        async { Ok(()) }.boxed()
    }
}

fn job(variables: String, custom_headers: String, retries: i32) -> Job {
    Job {
        key: 1,
        job_type: JOB_TYPE.into(),
        process_instance_key: 2,
        bpmn_process_id: "process".into(),
        process_definition_version: 1,
        process_definition_key: 3,
        element_id: "task".into(),
        element_instance_key: 4,
        retries,
        deadline: 0,
        tenant_id: "<default>".into(),
        lease_token: None,
        custom_headers,
        variables,
    }
}

fn command(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Complete { variables } => json!({"command": "CompleteJob", "variables": variables}),
        Outcome::Fail {
            retries,
            backoff,
            variables,
            ..
        } => json!({
            "command": "FailJob",
            "retries": retries,
            "retryBackOff_ms": backoff.map_or(0, |backoff| backoff.as_millis()) as u64,
            "variables": variables,
        }),
        Outcome::BpmnError {
            code,
            message,
            variables,
        } => json!({"command": "ThrowError", "errorCode": code, "errorMessage": message, "variables": variables}),
        Outcome::Asleep => panic!("no probe waits"),
        Outcome::Abandon { reason } => panic!("no probe loses its job: {reason}"),
    }
}

/// Takes out what cannot be the same: texts of failures, dates, the answer of the engine. Long texts are shortened as
/// they are in the probes.
fn comparable(mut command: Value) -> Value {
    if command["command"] == "FailJob" {
        command.as_object_mut().unwrap().remove("errorMessage");
        if let Some(Value::Object(error)) = command.pointer_mut("/variables/error") {
            error.remove("message");
        }
    }
    for note in ["engine_answer", "errorMessage_chars", "ms_after_activation"] {
        command.as_object_mut().unwrap().remove(note);
    }
    if let Some(message) = command.get_mut("errorMessage") {
        let start: Option<String> = message.as_str().map(|text| text.chars().take(200).collect());
        *message = start.into();
    }
    normal(command)
}

fn normal(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| match name.as_str() {
                "Date" => (name, "a date".into()),
                _ => (name, normal(value)),
            })
            .collect(),
        Value::Array(list) => list.into_iter().map(normal).collect(),
        Value::String(text) if text.chars().count() > 1_000 => {
            let start: String = text.chars().take(60).collect();
            format!("{start}\u{2026} ({} chars)", text.chars().count()).into()
        }
        other => other,
    }
}

fn request(seen: &Seen) -> Value {
    let mut headers: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (name, value) in &seen.headers {
        headers.entry(name.to_lowercase()).or_default().push(value);
    }
    let headers = headers
        .into_iter()
        .map(|(name, values)| (name, values.into()))
        .collect();
    comparable_request(&json!(seen.method), &json!(seen.uri), headers, &seen.body)
}

/// Headers that belong to the HTTP library are left out; a JSON body compares as JSON, a form as its set of pairs.
fn comparable_request(method: &Value, uri: &Value, mut headers: BTreeMap<String, Value>, body: &str) -> Value {
    for name in [
        "accept",
        "accept-encoding",
        "connection",
        "host",
        "traceparent",
        "user-agent",
        "x-request-id",
    ] {
        headers.remove(name);
    }
    let is_form = headers
        .get("content-type")
        .is_some_and(|kind| kind.to_string().contains("form-urlencoded"));
    let body = match serde_json::from_str::<Value>(body) {
        Ok(json) => normal(json),
        Err(_) if is_form => {
            let mut pairs: Vec<&str> = body.split('&').collect();
            pairs.sort_unstable();
            pairs.into()
        }
        Err(_) => body.into(),
    };
    json!({"method": method, "uri": uri, "headers": headers, "body": body})
}
