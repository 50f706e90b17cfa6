//! What a collector of traces is told about jobs and their requests, and what its troubles cost: nothing but spans.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod collector;
#[path = "../support/mod.rs"]
mod support;

use std::net::SocketAddr;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use collector::{Collector, Mood};
use deskhand::engine::gateway::ActivatedJob;
use serde_json::json;
use support::gateway::{Command as Said, FakeGateway, PATIENCE};
use support::process::Deskhand;

const TOKEN: &str = "t0ken-of-the-collector";

/// `deskhand run` that may ask this machine.
fn start(engine: &str, environment: &[(&str, &str)]) -> Deskhand {
    let ours = [
        ("ZEEBE_ADDRESS", engine),
        ("DESKHAND_NETWORK_ALLOW", "127.0.0.1"),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ];
    Deskhand::start(&["run"], &[ours.as_slice(), environment].concat())
}

/// Stops it; how it ended, and the rest of its log.
fn stopped(deskhand: Deskhand) -> (ExitStatus, String) {
    deskhand.signal("TERM");
    deskhand.ended()
}

/// An HTTP server that keeps the `traceparent` of each request.
async fn target() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keep = seen.clone();
    let answer = move |headers: HeaderMap| async move {
        keep.lock()
            .unwrap()
            .push(headers["traceparent"].to_str().unwrap().to_owned());
        "canary-in-the-answer"
    };
    let routes = axum::Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (address, seen)
}

fn rest_job(key: i64, target: SocketAddr) -> ActivatedJob {
    ActivatedJob {
        key,
        r#type: "io.camunda:http-json:1".into(),
        process_instance_key: 4711,
        bpmn_process_id: "invoices".into(),
        element_id: "ask".into(),
        element_instance_key: 4712,
        tenant_id: "finance".into(),
        retries: 3,
        custom_headers: json!({ "resultExpression": "={status: response.status}" }).to_string(),
        variables: json!({
            "url": format!("http://{target}/canary-in-the-path?customer=canary-in-the-query"),
            "method": "POST",
            "body": {"customer": "canary-in-the-body"},
            "headers": {"x-customer": "canary-in-a-header"},
            "authentication": { "type": "noAuth" },
        })
        .to_string(),
        ..ActivatedJob::default()
    }
}

async fn completed(gateway: &FakeGateway, key: i64) {
    let variables = json!({ "status": 200 });
    assert_eq!(gateway.outcome().await, Said::Complete { key, variables });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_a_span_and_each_of_its_requests_one_below_it() {
    let (gateway, collector) = (FakeGateway::start().await, Collector::start(Mood::Takes).await);
    let (target, parents) = target().await;
    let (endpoint, headers) = (collector.endpoint(), format!("authorization=Bearer%20{TOKEN}"));
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", headers.as_str()),
    ];
    let deskhand = start(&gateway.url(), &environment);
    gateway.push(rest_job(1, target)).await;
    completed(&gateway, 1).await;
    let spans = collector.spans(2).await;
    let job = spans.iter().find(|span| span.parent.is_empty()).unwrap();
    let request = spans.iter().find(|span| span.parent == job.id).unwrap();

    assert_eq!(
        (job.name.as_str(), job.service.as_str()),
        ("io.camunda:http-json:1", "deskhand")
    );
    for (name, value) in [
        ("deskhand.job.key", "1"),
        ("deskhand.process.id", "invoices"),
        ("deskhand.process.instance_key", "4711"),
        ("deskhand.element.id", "ask"),
        ("deskhand.element.instance_key", "4712"),
        ("deskhand.tenant", "finance"),
        ("deskhand.outcome", "completed"),
    ] {
        assert_eq!(job.attributes[name], value, "{name}");
    }
    assert_eq!((request.name.as_str(), request.is_error), ("POST", false));
    for (name, value) in [
        ("http.request.method", "POST"),
        ("server.address", "127.0.0.1"),
        ("server.port", &target.port().to_string()),
        ("http.response.status_code", "200"),
    ] {
        assert_eq!(request.attributes[name], value, "{name}");
    }
    // The other side is told the same ids, and the log as well.
    assert_eq!(request.trace, job.trace);
    let parents = parents.lock().unwrap().clone();
    assert_eq!(parents, [format!("00-{}-{}-01", job.trace, request.id)]);
    assert_eq!(collector.authorizations()[0], format!("Bearer {TOKEN}"));

    let (status, log) = stopped(deskhand);
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains(&format!("trace={}", job.trace)), "{log}");
    assert!(!log.contains(TOKEN), "{log}");
    let told = collector.raw();
    assert!(!told.contains("canary"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_that_stops_has_not_sent_is_sent_before_it_ends() {
    let (gateway, collector) = (FakeGateway::start().await, Collector::start(Mood::Takes).await);
    let (target, _) = target().await;
    let endpoint = collector.endpoint();
    let environment = [
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "3600000"),
        ("OTEL_SERVICE_NAME", "robots"),
        ("DESKHAND_LOG_FILTER", "off"),
    ];
    let deskhand = start(&gateway.url(), &environment);
    gateway.push(rest_job(1, target)).await;
    completed(&gateway, 1).await;
    assert_eq!(collector.asked(), 0);
    let (status, log) = stopped(deskhand);
    assert_eq!(status.code(), Some(0), "{log}");
    let spans = collector.spans(2).await;
    assert!(spans.iter().all(|span| span.service == "robots"), "{spans:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_hangs_or_refuses_or_is_gone_costs_spans_alone() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (hangs, refuses) = (
        Collector::start(Mood::Hangs).await,
        Collector::start(Mood::Refuses).await,
    );
    let endpoints = [hangs.endpoint(), refuses.endpoint(), format!("http://{gone}")];
    for endpoint in endpoints {
        let gateway = FakeGateway::start().await;
        let (target, _) = target().await;
        let environment = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "500"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "8"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4"),
        ];
        let mut deskhand = start(&gateway.url(), &environment);
        for key in 1..=40 {
            gateway.push(rest_job(key, target)).await;
            completed(&gateway, key).await;
        }
        let mut log = deskhand.until("the collector does not take our spans");
        // No storm: it is said once.
        let (status, rest) = stopped(deskhand);
        log.push_str(&rest);
        assert_eq!(status.code(), Some(0), "{endpoint}: {log}");
        assert_eq!(
            log.matches("the collector does not take our spans").count(),
            1,
            "{endpoint}: {log}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stops_does_not_wait_for_a_collector_that_hangs() {
    let (gateway, collector) = (FakeGateway::start().await, Collector::start(Mood::Hangs).await);
    let (target, _) = target().await;
    let endpoint = collector.endpoint();
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        // Longer than this test has patience.
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "60000"),
    ];
    let deskhand = start(&gateway.url(), &environment);
    gateway.push(rest_job(1, target)).await;
    completed(&gateway, 1).await;
    let (status, log) = stopped(deskhand);
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("did not take the last spans within 2 s"), "{log}");
    assert!(log.contains("nothing was left behind"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_collectors_trouble_is_said_too() {
    let (gateway, collector) = (FakeGateway::start().await, Collector::start(Mood::Refuses).await);
    let (target, _) = target().await;
    let endpoint = collector.endpoint();
    let mut deskhand = start(&gateway.url(), &[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())]);
    gateway.push(rest_job(1, target)).await;
    completed(&gateway, 1).await;
    deskhand.until("the collector does not take our spans");
    collector.becomes(Mood::Takes);
    gateway.push(rest_job(2, target)).await;
    completed(&gateway, 2).await;
    deskhand.until("the collector takes our spans again");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_sampled_is_not_exported_and_the_other_side_is_told() {
    let (gateway, collector) = (FakeGateway::start().await, Collector::start(Mood::Takes).await);
    let (target, parents) = target().await;
    let endpoint = collector.endpoint();
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_TRACES_SAMPLER", "always_off"),
    ];
    let deskhand = start(&gateway.url(), &environment);
    gateway.push(rest_job(1, target)).await;
    completed(&gateway, 1).await;
    assert_eq!(stopped(deskhand).0.code(), Some(0));
    assert!(parents.lock().unwrap()[0].ends_with("-00"));
    assert_eq!(collector.asked(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_the_settings_is_said_at_the_start() {
    let gateway = FakeGateway::start().await;
    let wrong = [
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "not an address",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
        ),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", "4317"),
    ];
    for (name, value, said) in wrong {
        let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"), (name, value)];
        let (status, log) = start(&gateway.url(), &environment).ended();
        assert_eq!(status.code(), Some(64), "{log}");
        assert!(log.contains(said), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_a_host_is_in_no_span_and_the_collectors_headers_are_in_no_log() {
    let (gateway, collector) = (FakeGateway::start().await, Collector::start(Mood::Takes).await);
    let (target, _) = target().await;
    let directory = tempfile::tempdir().unwrap();
    let rules = directory.path().join("deskhand.toml");
    let rule = format!("[[secrets.rule]]\nname = \"HOST\"\nhosts = [\"{target}\"]\n");
    std::fs::write(&rules, rule).unwrap();
    let (endpoint, headers) = (collector.endpoint(), format!("authorization=Bearer%20{TOKEN}"));
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", headers.as_str()),
        ("DESKHAND_CONFIG", rules.to_str().unwrap()),
        ("DESKHAND_LOG_FILTER", "info,deskhand=debug"),
        ("SECRET_HOST", "127.0.0.1"),
    ];
    let mut deskhand = start(&gateway.url(), &environment);
    let mut job = rest_job(1, target);
    job.variables = job.variables.replace("127.0.0.1", "{{secrets.HOST}}");
    gateway.push(job).await;
    let shown = deskhand.until("otlp.headers");
    assert!(shown.contains("***") && !shown.contains(TOKEN), "{shown}");
    completed(&gateway, 1).await;
    let spans = collector.spans(2).await;
    let request = spans.iter().find(|span| span.name == "POST").unwrap();
    assert_eq!(request.attributes["server.address"], "***");
    assert!(!collector.raw().contains("127.0.0.1"));
    assert_eq!(collector.authorizations()[0], format!("Bearer {TOKEN}"));
    let (status, log) = stopped(deskhand);
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("job answered") && !log.contains(TOKEN), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_span_that_is_lost_is_counted() {
    let (gateway, collector) = (FakeGateway::start().await, Collector::start(Mood::Hangs).await);
    let (target, _) = target().await;
    let endpoint = collector.endpoint();
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let admin = free.local_addr().unwrap().to_string();
    drop(free);
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "200"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "8"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4"),
        ("DESKHAND_ADMIN_LISTEN", admin.as_str()),
    ];
    let deskhand = start(&gateway.url(), &environment);
    for key in 1..=40 {
        gateway.push(rest_job(key, target)).await;
        completed(&gateway, key).await;
    }
    let give_up = Instant::now() + PATIENCE;
    loop {
        let answer = reqwest::get(format!("http://{admin}/metrics")).await.unwrap();
        let numbers = answer.text().await.unwrap();
        // Two for each job.
        if numbers.contains("deskhand_spans_total{result=\"lost\"} 80\n") {
            break;
        }
        assert!(Instant::now() < give_up, "{numbers}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(stopped(deskhand).0.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_given_up_or_refused_is_an_error() {
    let (gateway, collector) = (FakeGateway::start().await, Collector::start(Mood::Takes).await);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    let routes = axum::Router::new()
        .route("/refuses", post(StatusCode::FORBIDDEN))
        .fallback(std::future::pending::<()>);
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let endpoint = collector.endpoint();
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("DESKHAND_HTTP_TOTAL_TIMEOUT", "200ms"),
    ];
    let _deskhand = start(&gateway.url(), &environment);
    for (key, path, status) in [(1, "hangs", None), (2, "refuses", Some("403"))] {
        let mut job = rest_job(key, target);
        job.variables = job.variables.replace("canary-in-the-path", path);
        gateway.push(job).await;
        assert!(matches!(gateway.outcome().await, Said::Fail { .. }));
        let spans = collector.spans(2 * usize::try_from(key).unwrap()).await;
        let request = spans.iter().rfind(|span| span.name == "POST").unwrap();
        assert!(request.is_error);
        assert_eq!(
            request.attributes.get("http.response.status_code").map(String::as_str),
            status
        );
        let job = spans.iter().find(|span| span.id == request.parent).unwrap();
        assert!(job.is_error);
    }
}
