//! `deskhand run` as a process: what it says, when it ends, and with which code.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use deskhand::engine::gateway::ActivatedJob;
use serde_json::json;
use support::gateway::{Command as Said, FakeGateway, PATIENCE};
use support::process::Deskhand;

/// A job of the REST connector that calls `url`.
fn rest_job(key: i64, url: &str) -> ActivatedJob {
    ActivatedJob {
        key,
        r#type: "io.camunda:http-json:1".into(),
        retries: 3,
        custom_headers: json!({ "resultExpression": "={status: response.status}" }).to_string(),
        variables: json!({
            "url": url,
            "method": "GET",
            "authentication": { "type": "bearer", "token": "{{secrets.API_TOKEN}}" },
        })
        .to_string(),
        ..ActivatedJob::default()
    }
}

/// An HTTP server that answers every request after a while.
async fn slow_target(pause: Duration) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = move || async move {
        tokio::time::sleep(pause).await;
        "ok"
    };
    let routes = axum::Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

#[test]
fn a_wrong_configuration_ends_with_64_and_names_every_fault() {
    let (status, said) = Deskhand::start(
        &["run", "--max-jobs", "none", "--log-format", "xml"],
        &[("ZEEBE_ADDRESS", "ftp://x")],
    )
    .ended();
    assert_eq!(status.code(), Some(64));
    for expected in ["--max-jobs", "--log-format", "ZEEBE_ADDRESS"] {
        assert!(said.contains(expected), "{expected} is not in:\n{said}");
    }
    let (status, said) = Deskhand::start(&["rum"], &[]).ended();
    assert_eq!(status.code(), Some(64));
    assert!(said.contains("run"), "{said}");
}

#[cfg(not(feature = "otlp"))]
#[test]
fn a_build_that_cannot_export_spans_says_so_where_it_shall_and_works_on() {
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
    ];
    let mut deskhand = Deskhand::start(&["run"], &environment);
    let said = deskhand.until("OTEL_EXPORTER_OTLP_ENDPOINT");
    assert!(said.contains("built without the feature `otlp`"), "{said}");
    deskhand.until("taking jobs");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_running_jobs_finish_and_ends_with_0() {
    let gateway = FakeGateway::start().await;
    let target = slow_target(Duration::from_millis(500)).await;
    let rules = TestRules::new(&target.to_string());
    let url = gateway.url();
    let environment = [
        ("ZEEBE_ADDRESS", url.as_str()),
        ("SECRET_API_TOKEN", "very-s3cret-token"),
    ];
    let mut deskhand = Deskhand::start(&["run", "--config", rules.path(), "--log", "debug"], &environment);
    gateway.push(rest_job(1, &format!("http://{target}/slow"))).await;
    let mut log = deskhand.until("job received");
    deskhand.signal("TERM");
    assert_eq!(
        gateway.outcome().await,
        Said::Complete {
            key: 1,
            variables: json!({ "status": 200 })
        }
    );
    let (status, rest) = deskhand.ended();
    log.push_str(&rest);
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("nothing was left behind"), "{log}");
    assert!(!log.contains("very-s3cret-token"), "{log}");
}

/// `deskhand run` as the first process of a PID namespace, as in a container: the process outside, and the one inside.
///
/// Where the kernel lets nobody make such a namespace, this fails and says so; `DESKHAND_NO_PID_NAMESPACES` lets it pass
/// there, and the container image is then where it must be tried.
#[cfg(target_os = "linux")]
fn first_process(environment: &[(&str, &str)]) -> Option<(Deskhand, u32)> {
    let ways: [&[&str]; 2] = [&[], &["--user", "--map-root-user"]];
    let allowed = ways.into_iter().find(|way| {
        let tried = Command::new("unshare")
            .args(*way)
            .args(["--pid", "--fork", "true"])
            .output();
        tried.is_ok_and(|output| output.status.success())
    });
    let Some(way) = allowed else {
        assert!(
            std::env::var_os("DESKHAND_NO_PID_NAMESPACES").is_some(),
            "no PID namespace can be made here (`unshare --pid --fork true`): deskhand as PID 1 is not proven. Run this \
             where it is allowed, or set DESKHAND_NO_PID_NAMESPACES and stop a container of the image with `docker stop`."
        );
        return None;
    };
    let child = Command::new("unshare")
        .args(way)
        .args(["--pid", "--fork", "--kill-child", env!("CARGO_BIN_EXE_deskhand"), "run"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .envs(environment.iter().copied())
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let outside = child.id();
    let mut deskhand = Deskhand::of(child);
    deskhand.until("taking jobs");
    let children = format!("/proc/{outside}/task/{outside}/children");
    let inside = std::fs::read_to_string(children).unwrap().trim().parse().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{inside}/status")).unwrap();
    let pids = status.lines().find(|line| line.starts_with("NSpid:")).unwrap();
    assert_eq!(pids.split_whitespace().next_back(), Some("1"), "{pids}");
    Some((deskhand, inside))
}

#[cfg(target_os = "linux")]
fn send(signal: &str, process: u32) {
    let sent = Command::new("kill").args(["-s", signal, &process.to_string()]).status();
    assert!(sent.unwrap().success());
}

/// The kernel drops signals to the first process that it does not handle itself; and it has no children to reap.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn as_the_first_process_of_a_container_it_drains_and_is_cut_like_any_other() {
    let gateway = FakeGateway::start().await;
    let target = slow_target(Duration::from_millis(500)).await;
    let rules = TestRules::new(&target.to_string());
    let url = gateway.url();
    let environment = [
        ("ZEEBE_ADDRESS", url.as_str()),
        ("DESKHAND_CONFIG", rules.path()),
        ("SECRET_API_TOKEN", "very-s3cret-token"),
    ];
    let Some((mut deskhand, inside)) = first_process(&environment) else {
        return;
    };
    gateway.push(rest_job(1, &format!("http://{target}/slow"))).await;
    deskhand.until("job received");
    send("TERM", inside);
    assert!(matches!(gateway.outcome().await, Said::Complete { key: 1, .. }));
    let (status, rest) = deskhand.ended();
    assert_eq!(status.code(), Some(0), "{rest}");
    assert!(rest.contains("nothing was left behind"), "{rest}");

    let hanging = slow_target(Duration::from_secs(30)).await;
    let rules = TestRules::new(&hanging.to_string());
    let environment = [
        ("ZEEBE_ADDRESS", url.as_str()),
        ("DESKHAND_CONFIG", rules.path()),
        ("SECRET_API_TOKEN", "very-s3cret-token"),
    ];
    let (mut deskhand, inside) = first_process(&environment).unwrap();
    gateway.push(rest_job(2, &format!("http://{hanging}/slow"))).await;
    deskhand.until("job received");
    send("INT", inside);
    deskhand.until("asked to stop");
    send("INT", inside);
    assert_eq!(deskhand.ended().0.code(), Some(130));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_cuts() {
    let gateway = FakeGateway::start().await;
    let target = slow_target(Duration::from_secs(30)).await;
    let rules = TestRules::new(&target.to_string());
    let url = gateway.url();
    let environment = [
        ("ZEEBE_ADDRESS", url.as_str()),
        ("SECRET_API_TOKEN", "very-s3cret-token"),
    ];
    let mut deskhand = Deskhand::start(&["run", "--config", rules.path()], &environment);
    gateway.push(rest_job(1, &format!("http://{target}/slow"))).await;
    deskhand.until("job received");
    deskhand.signal("TERM");
    deskhand.until("asked to stop");
    deskhand.signal("TERM");
    assert_eq!(deskhand.ended().0.code(), Some(143));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_not_sent_where_no_rule_lets_it_go() {
    let gateway = FakeGateway::start().await;
    let target = slow_target(Duration::ZERO).await;
    let rules = TestRules::new("api.example.com");
    let url = gateway.url();
    let environment = [
        ("ZEEBE_ADDRESS", url.as_str()),
        ("SECRET_API_TOKEN", "very-s3cret-token"),
    ];
    let _deskhand = Deskhand::start(&["run", "--config", rules.path()], &environment);
    gateway.push(rest_job(1, &format!("http://{target}/"))).await;
    match gateway.outcome().await {
        Said::Fail {
            key: 1,
            retries: 0,
            message,
            ..
        } => {
            for expected in ["API_TOKEN", &target.to_string(), "rule"] {
                assert!(message.contains(expected), "{message}");
            }
            assert!(!message.contains("very-s3cret-token"));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_ready_once_the_engine_was_seen_and_the_healthcheck_says_so() {
    let gateway = FakeGateway::start().await;
    let address = gateway.address;
    gateway.die();
    let admin = free_address().await;
    let url = format!("http://{address}");
    let environment = [
        ("ZEEBE_ADDRESS", url.as_str()),
        ("DESKHAND_ADMIN_LISTEN", admin.as_str()),
    ];
    let mut deskhand = Deskhand::start(&["run"], &environment);
    deskhand.until("waiting for the engine");
    let (status, said) = Deskhand::start(&["healthcheck"], &environment).ended();
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("not ready"), "{said}");
    let gateway = FakeGateway::start_at(address).await;
    deskhand.until("the engine is there");
    assert_eq!(
        Deskhand::start(&["healthcheck"], &environment).ended().0.code(),
        Some(0)
    );
    gateway.die();
    assert_eq!(
        Deskhand::start(&["healthcheck"], &environment).ended().0.code(),
        Some(0),
        "an outage is no reason to restart"
    );
    deskhand.signal("INT");
    assert_eq!(deskhand.ended().0.code(), Some(0));
}

/// An answer of the admin port: status and body.
async fn ask(method: reqwest::Method, admin: &str, path: &str, body: &str) -> (u16, String) {
    let url = format!("http://{admin}{path}");
    let request = reqwest::Client::new().request(method, url).body(body.to_owned());
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_port_counts_changes_the_log_and_says_why_it_is_not_ready() {
    use reqwest::Method;
    let gateway = FakeGateway::start().await;
    let target = slow_target(Duration::from_millis(1500)).await;
    let rules = TestRules::new(&target.to_string());
    let url = gateway.url();
    let admin = free_address().await;
    let environment = [
        ("ZEEBE_ADDRESS", url.as_str()),
        ("SECRET_API_TOKEN", "very-s3cret-token"),
        ("DESKHAND_ADMIN_LISTEN", admin.as_str()),
    ];
    let mut deskhand = Deskhand::start(&["run", "--config", rules.path()], &environment);
    deskhand.until("the engine is there");

    assert_eq!(ask(Method::GET, &admin, "/log-level", "").await, (200, "info\n".into()));
    let changed = ask(Method::PUT, &admin, "/log-level", "info,deskhand::worker=debug").await;
    assert_eq!(changed, (200, "info,deskhand::worker=debug\n".into()));
    let wrong = ask(Method::PUT, &admin, "/log-level", "deskhand=loud").await;
    assert!(wrong.0 == 400 && wrong.1.contains("not a filter"), "{wrong:?}");

    gateway.push(rest_job(1, &format!("http://{target}/slow"))).await;
    assert!(matches!(gateway.outcome().await, Said::Complete { key: 1, .. }));
    let counted = |text: &str| {
        [
            "deskhand_jobs_total{job_type=\"io.camunda:http-json:1\",outcome=\"completed\"} 1",
            "deskhand_jobs_received_total{job_type=\"io.camunda:http-json:1\",way=\"push\"} 1",
            "deskhand_commands_total{command=\"complete\",result=\"acknowledged\"} 1",
            "deskhand_http_requests_total{host=\"127.0.0.1\",status=\"200\"} 1",
            "deskhand_permits{pool=\"shared\"} 32",
        ]
        .into_iter()
        .find(|line| !text.contains(line))
    };
    let give_up = Instant::now() + PATIENCE;
    loop {
        let (status, text) = ask(Method::GET, &admin, "/metrics", "").await;
        assert_eq!(status, 200);
        assert!(!text.contains("very-s3cret-token"));
        match counted(&text) {
            None => break,
            Some(missing) => assert!(Instant::now() < give_up, "{missing} is not in\n{text}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    gateway.push(rest_job(2, &format!("http://{target}/slow"))).await;
    deskhand.until("job received");
    deskhand.signal("TERM");
    deskhand.until("asked to stop");
    let (mut status, mut why) = ask(Method::GET, &admin, "/ready", "").await;
    while status == 200 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        (status, why) = ask(Method::GET, &admin, "/ready", "").await;
    }
    assert!(status == 503 && why.contains("told to stop"), "{status} {why}");
    assert_eq!(ask(Method::GET, &admin, "/live", "").await.0, 200);
    assert!(matches!(gateway.outcome().await, Said::Complete { key: 2, .. }));
    assert_eq!(deskhand.ended().0.code(), Some(0));
}

/// One of our commands, as text: exit code, stdout, stderr.
async fn command(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_deskhand"))
        .args(arguments)
        .env_clear()
        .current_dir(std::env::temp_dir())
        .output()
        .await
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_worker_is_paused_and_resumed_and_says_what_is_forgotten() {
    let gateway = FakeGateway::start().await;
    let (url, admin) = (gateway.url(), free_address().await);
    let environment = [
        ("ZEEBE_ADDRESS", url.as_str()),
        ("DESKHAND_ADMIN_LISTEN", admin.as_str()),
        ("DESKHAND_DESKTOP_FLOW_PAUSE", "always"),
    ];
    let mut deskhand = Deskhand::start(&["run"], &environment);
    deskhand.until("the engine is there");

    let (code, said, _) = command(&["pause", "--at", &admin, "Book invoice", "accounting_*"]).await;
    assert_eq!(code, Some(0));
    for line in [
        "always is paused until the setting desktop_flow.pause is changed",
        "book invoice is paused until it is resumed or this worker ends",
        "accounting_* is paused until it is resumed or this worker ends",
    ] {
        assert!(said.lines().any(|one| one == line), "{said}");
    }
    let (code, said, _) = command(&["resume", "--at", &admin, "--json", "Book invoice"]).await;
    assert_eq!(code, Some(0));
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["waiting"], 0);
    assert_eq!(said["paused"].as_array().unwrap().len(), 2);
    for (pattern, why) in [("always", "desktop_flow.pause"), ("Book invoice", "is not paused")] {
        let (code, _, said) = command(&["resume", "--at", &admin, pattern]).await;
        assert!(code == Some(1) && said.contains(why), "{said}");
    }
    let (code, said, _) = command(&["pause", "--at", &admin]).await;
    assert!(code == Some(0) && said.contains("accounting_*"), "{said}");
    deskhand.signal("TERM");
    let line = deskhand.until("ends with this worker");
    assert!(line.contains("accounting_*"), "{line}");
    assert_eq!(deskhand.ended().0.code(), Some(0));
    let (code, ..) = command(&["pause", "--at", &admin]).await;
    assert_eq!(code, Some(69));
}

async fn free_address() -> String {
    tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string()
}

/// A configuration file with one rule, gone with the test.
struct TestRules(std::path::PathBuf);

impl TestRules {
    fn new(host: &str) -> Self {
        let name = format!(
            "deskhand-run-{}-{}.toml",
            std::process::id(),
            host.replace(['.', ':', '*'], "-")
        );
        let path = std::env::temp_dir().join(name);
        std::fs::write(
            &path,
            format!("[[secrets.rule]]\nname = \"API_*\"\nhosts = [\"{host}\"]\n"),
        )
        .unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TestRules {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
