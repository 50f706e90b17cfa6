//! `io.camunda:http-json:1`: a task's variables go in; what the server saw and what the task gets back come out.

#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]

#[path = "http_json/faults.rs"]
mod faults;
#[path = "http_json/hostile.rs"]
mod hostile;
#[path = "http_json/oauth.rs"]
mod oauth;
#[path = "http_json/secrets.rs"]
mod secrets;
#[path = "http_json/signing_in.rs"]
mod signing_in;
#[path = "http_json/target.rs"]
mod target;
#[path = "http_json/tls.rs"]
mod tls;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use deskhand::connector::http_json::{HttpJson, Settings};
use deskhand::connector::{Anywhere, Call, Connector, Journal};
use deskhand::http::Client;
use deskhand::http::token::Tokens;
use deskhand::job::Job;
use deskhand::outcome::{JobError, Remedy};
use deskhand::progress::{Progress, Step};
use deskhand::secrets::{Bound, Policy};
use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};
use target::{Reply, Seen, Target};
use tokio_util::sync::CancellationToken;

/// This connector starts nothing that would have to be known later.
struct NoJournal;

impl Journal for NoJournal {
    fn write(&self, _: Map<String, Value>) -> BoxFuture<'_, Result<(), JobError>> {
        panic!("nothing is journalled")
    }
}

/// The connector, and the steps that it reported.
struct Rig {
    connector: HttpJson,
    steps: Arc<Mutex<Vec<Step>>>,
    abandoned: CancellationToken,
}

impl Rig {
    fn new() -> Self {
        Self::with(Settings::default())
    }

    fn with(settings: Settings) -> Self {
        Self::made_of(settings, Policy::default())
    }

    fn with_policy(policy: Policy) -> Self {
        Self::made_of(Settings::default(), policy)
    }

    fn made_of(settings: Settings, policy: Policy) -> Self {
        Self::through(Client::new().unwrap(), settings, policy)
    }

    fn through(client: Client, settings: Settings, policy: Policy) -> Self {
        let tokens = Arc::new(Tokens::new(client.clone()));
        Self {
            connector: HttpJson::new(client, tokens, Arc::new(policy), settings),
            steps: Arc::default(),
            abandoned: CancellationToken::new(),
        }
    }

    async fn run(&self, variables: Value) -> Result<Value, JobError> {
        self.run_bound(&Bound::plain(object(variables))).await
    }

    async fn run_bound(&self, bound: &Bound) -> Result<Value, JobError> {
        let job = job();
        let steps = Arc::clone(&self.steps);
        let progress = Progress::watched_by(move |_, step| steps.lock().unwrap().push(step.clone()));
        let call = Call {
            job: &job,
            input: bound,
            abandoned: &self.abandoned,
            progress: &progress,
            journal: &NoJournal,
            place: &Anywhere,
        };
        self.connector
            .call(call)
            .await
            .map(|response| response.value().into_owned())
    }
}

fn object(variables: Value) -> Map<String, Value> {
    match variables {
        Value::Object(variables) => variables,
        other => panic!("variables are an object, not {other}"),
    }
}

fn job() -> Job {
    Job {
        key: 1,
        job_type: "io.camunda:http-json:1".into(),
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
        custom_headers: "{}".into(),
        variables: "{}".into(),
    }
}

/// Runs one task against a server that answers `{}`, and gives what the server saw.
async fn seen_of(variables: impl Fn(&Target) -> Value) -> Seen {
    let target = Target::new(|_| Reply::json("{}")).await;
    Rig::new().run(variables(&target)).await.unwrap();
    let mut seen = target.seen();
    assert_eq!(seen.len(), 1);
    seen.remove(0)
}

async fn failure_of(variables: Value) -> JobError {
    Rig::new().run(variables).await.unwrap_err()
}

#[tokio::test]
async fn a_desktop_flow_is_started_as_the_power_automate_template_does_it() {
    let path = "/api/data/v9.2/workflows(0001)/Microsoft.Dynamics.CRM.RunDesktopFlow";
    let target = Target::new(|_| Reply::json(r#"{"flowsessionId":"f1"}"#)).await;
    let rig = Rig::new();
    let response = rig
        .run(json!({
            "url": target.url(path),
            "method": "post",
            "authentication": {"type": "bearer", "token": "t0ken"},
            "headers": {"Content-Type": "application/json"},
            "body": {"runMode": "attended", "inputs": null, "timeout": 7200, "connectionType": "1"},
            "connectionTimeoutInSeconds": "20",
        }))
        .await
        .unwrap();
    assert_eq!(
        response,
        json!({
            "status": 200,
            "headers": {"Content-Type": "application/json", "Content-Length": "22"},
            "body": {"flowsessionId": "f1"},
            "reason": "OK",
            "document": null,
        })
    );
    let seen = target.seen();
    assert_eq!(
        seen[0].body,
        r#"{"runMode":"attended","inputs":null,"timeout":7200,"connectionType":"1"}"#
    );
    assert_eq!((seen[0].method.as_str(), seen[0].uri.as_str()), ("POST", path));
    let mut names: Vec<&str> = seen[0].headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "Accept",
            "Accept-Encoding",
            "Authorization",
            "Content-Length",
            "Content-Type",
            "Host",
            "Traceparent",
            "User-Agent",
            "X-Request-Id"
        ]
    );
    assert_eq!(seen[0].header("content-type"), ["application/json"]);
    assert_eq!(seen[0].header("authorization"), ["Bearer t0ken"]);
    assert_eq!(
        *rig.steps.lock().unwrap(),
        [
            Step::RequestSent {
                method: "POST".into(),
                host: target.authority.clone()
            },
            Step::AnswerReceived { status: 200 }
        ]
    );
}

#[tokio::test]
async fn a_get_sends_no_body_but_keeps_its_content_type() {
    let seen = seen_of(|target| {
        json!({
            "url": target.url("/x"), "method": "GET", "body": {"a": 1},
            "headers": {"Content-Type": "application/json"},
        })
    })
    .await;
    assert_eq!(seen.body, "");
    assert_eq!(seen.header("content-type"), ["application/json"]);
    assert!(seen.header("content-length").is_empty());
}

#[tokio::test]
async fn a_post_without_body_has_no_content_type() {
    let seen = seen_of(|target| json!({"url": target.url("/x"), "method": "POST"})).await;
    assert!(seen.header("content-type").is_empty());
    assert_eq!(seen.header("content-length"), ["0"]);
}

#[tokio::test]
async fn headers_of_null_are_empty_and_own_headers_stand_beside_the_credentials() {
    let seen = seen_of(|target| {
        json!({
            "url": target.url("/x"), "method": "POST", "body": {},
            "headers": {"Content-Type": null, "X-Empty": null, "X-Number": 5, "authorization": "mine"},
            "authentication": {"type": "basic", "username": "usér", "password": "p:w"},
        })
    })
    .await;
    assert_eq!(seen.header("content-type"), ["application/json"]);
    assert_eq!(seen.header("x-empty"), [""]);
    assert_eq!(seen.header("x-number"), ["5"]);
    assert_eq!(seen.header("authorization"), ["Basic dXPDqXI6cDp3", "mine"]);
}

#[tokio::test]
async fn bodies_are_written_for_their_content_type() {
    let of = |body: Value, content_type: &'static str| async move {
        seen_of(move |target| {
            json!({
                "url": target.url("/x"), "method": "PUT", "body": body,
                "headers": {"content-type": content_type},
            })
        })
        .await
    };
    let seen = of(json!({"a": "x y", "b": null}), "application/x-www-form-urlencoded").await;
    assert_eq!(seen.body, "a=x+y&b");
    assert_eq!(of(json!("verbatim"), "text/plain").await.body, "verbatim");
    let seen = of(json!({"a": 1}), "multipart/form-data").await;
    let boundary = seen.header("content-type")[0]
        .split_once("boundary=")
        .unwrap()
        .1
        .to_owned();
    assert!(seen.body.starts_with(&format!("--{boundary}\r\n")), "{}", seen.body);
}

#[tokio::test]
async fn keys_passwords_and_queries_are_sent_where_they_belong() {
    let with = |authentication: Value| async move {
        seen_of(move |target| {
            json!({
                "url": target.url("/x?a=1"), "method": "DELETE",
                "queryParameters": {"b": "c d"}, "authentication": authentication,
            })
        })
        .await
    };
    let key =
        |location: &str| json!({"type": "apiKey", "apiKeyLocation": location, "name": "api-auth", "value": "k&y"});
    assert_eq!(with(key("query")).await.uri, "/x?a=1&b=c%20d&api-auth=k%26y");
    let seen = with(key("headers")).await;
    assert_eq!(
        (seen.uri.as_str(), seen.header("api-auth")),
        ("/x?a=1&b=c%20d", vec!["k&y"])
    );
    let empty = json!({"type": "basic", "username": "me", "password": "SPEC_PASSWORD_EMPTY_PATTERN"});
    assert_eq!(with(empty).await.header("authorization"), ["Basic bWU6"]);
    let function = json!({
        "type": "bearer",
        "token": {"camunda.function.type": "base64", "params": ["Hello World"]},
    });
    assert_eq!(
        with(function).await.header("authorization"),
        ["Bearer SGVsbG8gV29ybGQ="]
    );
    assert!(with(json!({"type": "noAuth"})).await.header("authorization").is_empty());
}

#[tokio::test]
async fn a_configured_authentication_replaces_the_tasks_own() {
    let seen = seen_of(|target| {
        json!({
            "url": target.url("/x"), "method": "GET",
            "authentication": {"type": "bearer", "token": "own"},
            "authenticationConfiguration": {"authentication": {"type": "bearer", "token": "configured"}},
        })
    })
    .await;
    assert_eq!(seen.header("authorization"), ["Bearer configured"]);
}

#[tokio::test]
async fn an_error_status_is_an_error_with_the_response_in_it() {
    let target = Target::new(|_| {
        Reply::new(
            "404 Nothing Here",
            &["Content-Type: application/json"],
            r#"{"message":"custom"}"#,
        )
    })
    .await;
    let error = failure_of(json!({"url": target.url("/x"), "method": "GET"})).await;
    assert_eq!(
        error.as_value(),
        json!({
            "type": "io.camunda.connector.api.error.ConnectorException",
            "message": "Nothing Here",
            "code": "404",
            "variables": {"response": {
                "headers": {"Content-Type": "application/json", "Content-Length": "20"},
                "body": {"message": "custom"},
            }},
        })
    );
    assert_eq!(error.remedy, Remedy::Retry);
}

#[tokio::test]
async fn a_busy_server_is_not_asked_again_by_us_and_says_when_to_come_back() {
    let target = Target::new(|_| Reply::new("503 Service Unavailable", &["Retry-After: 3"], "")).await;
    let error = failure_of(json!({"url": target.url("/x"), "method": "POST", "body": {"a": 1}})).await;
    assert_eq!(error.remedy, Remedy::RetryAfter(Duration::from_secs(3)));
    assert_eq!(target.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_too_slow_is_a_408_and_the_connection_timeout_bounds_reading_too() {
    let target = Target::new(|_| Reply::json("{}").after(Duration::from_secs(3))).await;
    for timeouts in [
        json!({"readTimeoutInSeconds": "1"}),
        json!({"connectionTimeoutInSeconds": 2}),
        json!({"connectionTimeoutInSeconds": 20, "readTimeoutInSeconds": 2}),
    ] {
        let mut variables = json!({"url": target.url("/x"), "method": "GET"});
        variables
            .as_object_mut()
            .unwrap()
            .extend(timeouts.as_object().unwrap().clone());
        let error = failure_of(variables).await;
        assert_eq!((error.code.as_deref(), error.remedy), (Some("408"), Remedy::Retry));
        assert!(error.message.starts_with("The request timed out."), "{}", error.message);
    }
    let patient = json!({"url": target.url("/x"), "method": "GET", "readTimeoutInSeconds": 0});
    assert_eq!(Rig::new().run(patient).await.unwrap()["status"], 200);
}

#[tokio::test]
async fn a_connection_that_is_refused_is_a_408_that_names_no_url() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    let error = failure_of(json!({"url": format!("http://{closed}/s3cr3t"), "method": "GET"})).await;
    assert_eq!((error.code.as_deref(), error.remedy), (Some("408"), Remedy::Retry));
    assert!(
        error
            .message
            .starts_with("An error occurred while executing the request"),
        "{}",
        error.message
    );
    assert!(!error.message.contains("s3cr3t"), "{}", error.message);
}

#[tokio::test]
async fn a_response_over_the_cap_is_an_incident_because_the_request_was_executed() {
    let target = Target::new(|_| Reply::json(&format!("\"{}\"", "x".repeat(100)))).await;
    let rig = Rig::with(Settings {
        max_response_bytes: 50,
        ..Settings::default()
    });
    let error = rig
        .run(json!({"url": target.url("/x"), "method": "POST", "body": {}}))
        .await
        .unwrap_err();
    assert_eq!(
        (error.code.as_deref(), error.remedy),
        (Some("RESPONSE_TOO_LARGE"), Remedy::Incident)
    );
    assert!(error.message.contains("50 bytes"), "{}", error.message);
}

#[tokio::test]
async fn redirects_are_answers_unless_they_shall_be_followed() {
    let target = Target::new(|seen| match seen.uri.as_str() {
        "/from" => Reply::new("302 Found", &["Location: /to"], ""),
        _ => Reply::json("{}"),
    })
    .await;
    let rig = Rig::new();
    let response = rig
        .run(json!({"url": target.url("/from"), "method": "POST", "body": {"a": 1}}))
        .await
        .unwrap();
    assert_eq!((&response["status"], &response["body"]), (&json!(302), &json!(null)));
    assert_eq!(response["headers"]["Location"], "/to");
    target.seen();

    let response = rig
        .run(json!({"url": target.url("/from"), "method": "POST", "body": {"a": 1}, "followRedirects": true}))
        .await
        .unwrap();
    assert_eq!(response["status"], 200);
    let seen = target.seen();
    assert_eq!(
        (seen[1].method.as_str(), seen[1].uri.as_str(), seen[1].body.as_str()),
        ("GET", "/to", "")
    );
}

#[tokio::test]
async fn a_request_under_way_is_not_cut_off_when_its_job_is_lost() {
    let rig = Rig::new();
    let lost = rig.abandoned.clone();
    let target = Target::new(move |_| {
        lost.cancel();
        Reply::json("{}").after(Duration::from_millis(50))
    })
    .await;
    let task = json!({"url": target.url("/x"), "method": "POST", "body": {"a": 1}});
    let response = rig.run(task).await.unwrap();
    assert_eq!(response["status"], 200);
    target.seen();
}

#[tokio::test]
async fn a_request_whose_job_was_lost_before_it_left_is_not_sent() {
    let target = Target::new(|_| Reply::json("{}")).await;
    let rig = Rig::new();
    rig.abandoned.cancel();
    let task = json!({"url": target.url("/x"), "method": "POST", "body": {"a": 1}});
    rig.run(task).await.unwrap_err();
    assert!(target.seen().is_empty());
}

#[tokio::test]
async fn a_call_that_never_ends_ends_at_the_total_timeout() {
    let target = Target::new(|_| Reply::json("{}").after(Duration::from_secs(3600))).await;
    let rig = Rig::with(Settings {
        total_timeout: Duration::from_millis(100),
        ..Settings::default()
    });
    let unbounded = json!({"url": target.url("/x"), "method": "GET", "readTimeoutInSeconds": 0});
    let error = rig.run(unbounded).await.unwrap_err();
    assert_eq!(error.code.as_deref(), Some("408"), "{}", error.message);
}

#[tokio::test]
async fn a_token_that_the_server_echoes_is_not_shown() {
    let target = Target::new(|request| match request.uri.as_str() {
        "/token" => Reply::json(r#"{"access_token": "fetched-token-value", "expires_in": 3600}"#),
        _ => Reply::new(
            "400 Bad Request",
            &["Content-Type: application/json"],
            r#"{"you sent": "Bearer fetched-token-value"}"#,
        ),
    })
    .await;
    let authentication = json!({
        "type": "oauth-client-credentials-flow",
        "oauthTokenEndpoint": target.url("/token"),
        "clientId": "id",
        "clientSecret": "secret",
        "clientAuthentication": "credentialsBody",
    });
    let task = json!({"url": target.url("/x"), "method": "GET", "authentication": authentication});
    let error = Rig::new().run(task).await.unwrap_err();
    let shown = error.variables.unwrap().to_string();
    assert!(
        shown.contains("Bearer ***") && !shown.contains("fetched-token-value"),
        "{shown}"
    );
}
