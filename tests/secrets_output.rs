//! What a process gets of a response that holds a secret, and what it is told instead.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::sync::Arc;
use std::time::Duration;

use deskhand::connector::{Call, Connector, Journal, Place, Response};
use deskhand::job::Job;
use deskhand::mapping::Mapper;
use deskhand::outcome::{JobError, Outcome};
use deskhand::progress::Progress;
use deskhand::secrets::output::{OnSecret, Settings};
use deskhand::secrets::redaction::Label;
use deskhand::secrets::{Known, Secrets};
use deskhand::worker::{Hold, Pipeline};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

const SECRET: &str = "s3cr3t-of-the-task";
const OTHER: &str = "another-secret-that-is-not-asked-for";

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
        let mut fields = Map::new();
        fields.insert("status".into(), 200.into());
        let response = Response::with_body(fields, self.0.clone());
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

async fn outcome_with(settings: Settings, known: Known, body: &str, headers: Value) -> Outcome {
    let secrets = Secrets::fixed([("TOKEN", SECRET), ("OTHER", OTHER), ("SHORT", "401")])
        .remembering(known)
        .with_output(settings);
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
        variables: json!({"headers": {"a": "{{secrets.TOKEN}}", "b": "{{secrets.SHORT}}"}}).to_string(),
    };
    let connector = Arc::new(Echo(body.to_owned()));
    Pipeline::new(vec![connector], secrets, Mapper::default(), Progress::none())
        .run(&job, &Held, &CancellationToken::new())
        .await
}

async fn outcome(body: &str, result_expression: &str) -> Outcome {
    let headers = json!({"resultExpression": result_expression});
    outcome_with(Settings::default(), Known::default(), body, headers).await
}

/// The message of an incident.
fn incident(outcome: Outcome) -> String {
    match outcome {
        Outcome::Fail {
            retries: 0, message, ..
        } => message,
        other => panic!("not an incident: {other:?}"),
    }
}

fn completed(outcome: Outcome) -> Value {
    match outcome {
        Outcome::Complete { variables } => variables.into(),
        other => panic!("not completed: {other:?}"),
    }
}

#[tokio::test]
async fn a_secret_that_came_back_is_an_incident_that_names_variable_and_secret_but_no_value() {
    let body = json!({"id": 7, "echo": format!("Bearer {SECRET}")}).to_string();
    let message = incident(outcome(&body, "= {id: response.body.id, said: response.body.echo}").await);
    for part in ["`said`", "'TOKEN'", "allow_in_output", "on_secret_in_output"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(!message.contains(SECRET) && !message.contains("`id`"), "{message}");
}

#[tokio::test]
async fn what_does_not_use_the_secret_is_mapped_as_ever() {
    let body = json!({"id": 7, "echo": SECRET}).to_string();
    assert_eq!(
        completed(outcome(&body, "= {id: response.body.id}").await),
        json!({"id": 7})
    );
}

#[tokio::test]
async fn cutting_encoding_and_escaping_do_not_get_it_past_the_check() {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("user:{SECRET}"));
    let escaped: String = SECRET.chars().map(|c| format!("\\u{:04x}", c as u32)).collect();
    let echo = format!(r#"{{"echo": "{SECRET}"}}"#);
    for (body, expression) in [
        (echo.clone(), "= {a: substring(response.body.echo, 2)}"),
        (
            echo.clone(),
            "= {a: substring(response.body.echo, 1, 4), b: substring(response.body.echo, 5)}",
        ),
        (echo.clone(), "= {a: string length(response.body.echo)}"),
        (echo, "= {a: if contains(response.body.echo, \"s3\") then 1 else 2}"),
        (
            format!(r#"{{"echo": "{encoded}"}}"#),
            "= {a: substring(response.body.echo, 9)}",
        ),
        (
            format!(r#"{{"echo": "{escaped}"}}"#),
            "= {a: substring(response.body.echo, 2)}",
        ),
        (
            format!(r#"{{"{SECRET}": 1}}"#),
            "= {a: substring(get entries(response.body)[1].key, 2)}",
        ),
        (format!("plain {SECRET} text"), "= {a: substring(response.body, 9)}"),
    ] {
        let message = incident(outcome(&body, expression).await);
        assert!(message.contains("'TOKEN'"), "{expression}: {message}");
    }
}

#[tokio::test]
async fn failures_and_thrown_errors_say_it_without_the_secret() {
    let body = json!({"echo": SECRET}).to_string();
    let headers = json!({"errorExpression": "= bpmnError(\"CODE\", substring(response.body.echo, 4))"});
    let thrown = outcome_with(Settings::default(), Known::default(), &body, headers).await;
    let Outcome::BpmnError { message, .. } = thrown else {
        panic!("not thrown: {thrown:?}");
    };
    assert_eq!(message.unwrap(), "", "the fourth letter of *** and what follows");
}

#[tokio::test]
async fn operations_may_have_it_masked_or_allowed() {
    let body = json!({"echo": format!("<{SECRET}>"), "n": 1}).to_string();
    let headers = json!({"resultExpression": "= {a: response.body.echo, n: response.body.n}"});
    let mask = Settings {
        on_secret: OnSecret::Mask,
        ..Settings::default()
    };
    let masked = outcome_with(mask, Known::default(), &body, headers.clone()).await;
    assert_eq!(completed(masked), json!({"a": "<***>", "n": 1}));
    let allow = Settings {
        allow: vec!["TOK*".into()],
        ..Settings::default()
    };
    let allowed = outcome_with(allow, Known::default(), &body, headers).await;
    assert_eq!(completed(allowed)["a"], format!("<{SECRET}>"));
}

#[tokio::test]
async fn others_secrets_and_short_ones_are_no_secrets_of_this_job_but_tokens_always_are() {
    let known = Known::default();
    known.remember(&Label::Secret("OTHER".into()), &OTHER.into());
    let body = json!({"echo": OTHER, "code": "401"}).to_string();
    let headers = json!({"resultVariable": "all"});
    let passed = outcome_with(Settings::default(), known.clone(), &body, headers.clone()).await;
    assert_eq!(completed(passed)["all"]["body"]["echo"], OTHER);

    known.remember(
        &Label::Token("login.example".into()),
        &"a-token-that-was-fetched".into(),
    );
    let body = json!({"echo": "Bearer a-token-that-was-fetched"}).to_string();
    let message = incident(outcome_with(Settings::default(), known, &body, headers).await);
    assert!(message.contains("an access token of login.example"), "{message}");
}
