//! What secrets cost: putting them into variables, finding that there are none, taking known values out of a text, and a
//! token from the cache. Prints `figure NAME VALUE UNIT`; the median of many rounds.

use std::hint::black_box;
use std::time::{Duration, Instant};

use deskhand::http::Client;
use deskhand::http::token::{TokenRequest, Tokens};
use deskhand::secrets::redaction::Label;
use deskhand::secrets::{Known, SecretScope, Secrets};
use serde_json::{Map, Value, json};
use url::Url;

const SCOPE: SecretScope<'static> = SecretScope {
    tenant_id: "<default>",
    bpmn_process_id: "process",
    process_definition_key: 0,
    element_id: "task",
};

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => unreachable!("not an object: {other}"),
    }
}

/// Median time of one call; what `prepare` does is not counted.
fn median<T, R>(rounds: usize, mut prepare: impl FnMut() -> T, mut call: impl FnMut(T) -> R) -> Duration {
    let mut times: Vec<Duration> = (0..rounds)
        .map(|_| {
            let input = prepare();
            let started = Instant::now();
            let output = black_box(call(black_box(input)));
            let took = started.elapsed();
            drop(output);
            took
        })
        .collect();
    times.sort_unstable();
    times[rounds / 2]
}

fn figure(name: &str, value: f64, unit: &str) {
    println!("figure {name} {value:.2} {unit}");
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let secrets = Secrets::fixed([("A", "value-of-a"), ("B", "value-of-b"), ("C", "value-of-c")]);

    let fields: Map<String, Value> = (0..20)
        .map(|n| {
            (
                format!("field{n}"),
                format!(
                    "some text of a usual length, as bodies have it {n:03} {}",
                    "x".repeat(40)
                )
                .into(),
            )
        })
        .collect();
    let mut small = object(json!({
        "url": "https://api.example.com/v1/things", "method": "POST",
        "authentication": {"type": "basic", "username": "{{secrets.A}}", "password": "{{secrets.B}}"},
        "headers": {"X-Key": "{{secrets.C}}"},
    }));
    small.insert("body".into(), fields.into());
    let bytes = serde_json::to_string(&small).expect("JSON").len();
    assert!((1_900..2_700).contains(&bytes), "{bytes} bytes");
    let took = median(
        20_000,
        || small.clone(),
        |variables| runtime.block_on(secrets.bind(variables, &SCOPE)),
    );
    figure("bind_2kb_three_references", took.as_secs_f64() * 1e6, "us");

    let text = "a line of text without any reference in it, as long as it is; ".repeat(16_913);
    let large = object(json!({ "body": text }));
    let took = median(
        200,
        || large.clone(),
        |variables| runtime.block_on(secrets.bind(variables, &SCOPE)),
    );
    figure("scan_1mb_without_reference", took.as_secs_f64() * 1e3, "ms");

    let known = Known::default();
    for n in 0..1_000 {
        let value = format!("s3cr3t-{n:04}-{:016x}+/=", fastrand::u64(..));
        known.remember(&Label::Secret(format!("S{n}")), &value.into());
    }
    let text =
        "The request failed with 503 Service Unavailable after 20 s; the server said: try again later. ".repeat(44);
    let text = &text[..4_096];
    let redactor = known.redactor();
    assert_eq!(redactor.text(text), text);
    let took = median(5_000, || (), |()| redactor.text(text).len());
    figure("redact_4kb_1000_values", took.as_secs_f64() * 1e6, "us");

    let took = median(5, Known::default, |known| {
        for n in 0..1_000 {
            known.remember(
                &Label::Secret(format!("S{n}")),
                &format!("s3cr3t-{n:04}-of-some-length").into(),
            );
        }
        known.redactor().text("x").len()
    });
    figure("learn_1000_values", took.as_secs_f64() * 1e3, "ms");

    let took = runtime.block_on(async {
        let routes =
            axum::Router::new().fallback(|| async { r#"{"access_token":"a-token-of-the-bench","expires_in":3600}"# });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}/token", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let tokens = Tokens::new(Client::new().expect("HTTP"));
        let endpoint = Url::parse(&endpoint).expect("a URL");
        let request = TokenRequest::client_credentials(endpoint, "client".into(), "secret".into());
        tokens.get(&request).await.expect("a token");
        let mut times = Vec::new();
        for _ in 0..20_000 {
            let started = Instant::now();
            let fetched = black_box(tokens.get(&request).await.expect("a token"));
            times.push(started.elapsed());
            assert!(fetched.from_cache);
        }
        times.sort_unstable();
        times[times.len() / 2]
    });
    figure("token_cache_hit", took.as_secs_f64() * 1e6, "us");
}
