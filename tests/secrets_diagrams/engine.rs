//! The diagrams of the engine itself, against a server that speaks its documented REST API: none with secondary storage was
//! to be had.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use deskhand::http::Client;
use deskhand::secrets::allow_list::definitions::Definitions;
use url::Url;

use super::*;

/// What the server has, and what it was asked.
#[derive(Default)]
struct Engine {
    down: AtomicBool,
    asked: Mutex<Vec<String>>,
}

const PROCESS: i64 = 2_251_799_813_685_249;
const WITHOUT_XML: i64 = 2_251_799_813_685_250;
const NO_DIAGRAM: i64 = 2_251_799_813_685_251;
const OTHER_PROCESS: i64 = 2_251_799_813_685_252;

fn problem(status: StatusCode, title: &str) -> Response {
    let body =
        json!({"type": "about:blank", "title": title, "status": status.as_u16(), "detail": "...", "instance": "/v2"});
    (status, [("content-type", "application/problem+json")], body.to_string()).into_response()
}

/// `GET /v2/process-definitions/{processDefinitionKey}/xml` as documented: 200 with XML, 204, 400, 401, 404, 500.
async fn xml(State(engine): State<Arc<Engine>>, Path(key): Path<String>, headers: HeaderMap) -> Response {
    engine.asked.lock().unwrap().push(key.clone());
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    if engine.down.load(Ordering::SeqCst) {
        return problem(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_SERVER_ERROR");
    }
    if headers
        .get("authorization")
        .is_none_or(|value| value != "Bearer engine-token")
    {
        return problem(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
    }
    let inputs = r#"<zeebe:input source="{{secrets.A}}" target="authentication.token" />"#;
    let diagram = |process| ([("content-type", "text/xml")], diagram(process, inputs)).into_response();
    match key.parse() {
        Ok(PROCESS) => diagram("p"),
        Ok(OTHER_PROCESS) => diagram("q"),
        Ok(WITHOUT_XML) => StatusCode::NO_CONTENT.into_response(),
        Ok(NO_DIAGRAM) => ([("content-type", "text/xml")], "<html>Sign in").into_response(),
        Ok(_) => problem(StatusCode::NOT_FOUND, "NOT_FOUND"),
        Err(_) => problem(StatusCode::BAD_REQUEST, "Bad Request"),
    }
}

async fn engine() -> (Url, Arc<Engine>) {
    let engine = Arc::new(Engine::default());
    let routes = Router::new()
        .route("/v2/process-definitions/{key}/xml", get(xml))
        .with_state(engine.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (address, engine)
}

fn asking(address: Url, mode: Mode, token: &'static str) -> Secrets {
    let settings = Settings {
        engine: Some(address.clone()),
        mode,
        ..Settings::default()
    };
    let credentials =
        move || -> futures_util::future::BoxFuture<'static, Result<Option<secrecy::SecretString>, String>> {
            Box::pin(std::future::ready(Ok(Some(format!("Bearer {token}").into()))))
        };
    let definitions = Definitions::new(Client::new().unwrap(), address, None, credentials);
    secrets(Settings::default()).asking(settings, definitions)
}

fn good() -> Value {
    json!({"authentication": {"token": "{{secrets.A}}"}})
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_is_asked_once_for_a_version_and_says_what_it_declares() {
    let (address, engine) = engine().await;
    let secrets = asking(address, Mode::Strict, "engine-token");
    let jobs = (0..50).map(|_| {
        let secrets = secrets.clone();
        tokio::spawn(async move { bind_as(&secrets, PROCESS, "p", "call", good()).await.unwrap() })
    });
    for job in jobs.collect::<Vec<_>>() {
        assert_eq!(job.await.unwrap()["authentication"]["token"], "value-a");
    }
    let refused = bind_as(&secrets, PROCESS, "p", "call", json!({"body": "{{secrets.A}}"}))
        .await
        .unwrap_err();
    assert_eq!(refused.code.as_deref(), Some("SECRET_NOT_DECLARED"));
    assert_eq!(*engine.asked.lock().unwrap(), [PROCESS.to_string()]);
    // What was read is kept through an outage: a definition never changes.
    engine.down.store(true, Ordering::SeqCst);
    bind_as(&secrets, PROCESS, "p", "call", good()).await.unwrap();
    // The version of another process is no leave.
    engine.down.store(false, Ordering::SeqCst);
    let refused = bind_as(&secrets, OTHER_PROCESS, "p", "call", good()).await.unwrap_err();
    assert_eq!(refused.code.as_deref(), Some("SECRET_NOT_DECLARED"));
}

#[tokio::test]
async fn what_the_engine_cannot_say_delays_the_job_and_allows_nothing() {
    let (address, engine) = engine().await;
    let secrets = asking(address.clone(), Mode::Strict, "engine-token");
    for (key, part) in [
        (WITHOUT_XML, "204"),
        (NO_DIAGRAM, "no diagram"),
        (7, "404; it does not have the definition, or not yet"),
    ] {
        let error = bind_as(&secrets, key, "p", "call", good()).await.unwrap_err();
        assert!(matches!(error.remedy, Remedy::Postpone(_)), "{error}");
        assert!(
            error.message.contains(part) && error.message.contains("the job waits"),
            "{error}"
        );
    }
    let stranger = asking(address.clone(), Mode::Strict, "another-token");
    let error = bind_as(&stranger, PROCESS, "p", "call", good()).await.unwrap_err();
    assert!(
        matches!(error.remedy, Remedy::Postpone(_)) && error.message.contains("401"),
        "{error}"
    );
    assert!(!error.message.contains("another-token"), "{error}");

    engine.down.store(true, Ordering::SeqCst);
    let error = bind_as(&secrets, PROCESS, "p", "call", good()).await.unwrap_err();
    assert!(
        matches!(error.remedy, Remedy::Postpone(_)) && error.message.contains("500"),
        "{error}"
    );
    // A failure counts for two seconds: a queue of jobs does not become a storm.
    let asked = engine.asked.lock().unwrap().len();
    for _ in 0..20 {
        bind_as(&secrets, PROCESS, "p", "call", good()).await.unwrap_err();
    }
    assert!(engine.asked.lock().unwrap().len() <= asked + 1);
    let lax = asking(address, Mode::Lax, "engine-token");
    bind_as(&lax, PROCESS, "p", "call", good()).await.unwrap();
}

#[tokio::test]
async fn an_engine_that_is_not_there_delays_and_nobody_to_ask_allows_nothing() {
    let address = Url::parse("http://127.0.0.1:1").unwrap();
    let error = bind_as(
        &asking(address.clone(), Mode::Strict, "t"),
        PROCESS,
        "p",
        "call",
        good(),
    )
    .await
    .unwrap_err();
    assert!(matches!(error.remedy, Remedy::Postpone(_)), "{error}");
    let unasked = secrets(Settings {
        engine: Some(address),
        ..Settings::default()
    });
    let error = bind_as(&unasked, PROCESS, "p", "call", good()).await.unwrap_err();
    assert!(matches!(error.remedy, Remedy::Postpone(_)), "{error}");
}
