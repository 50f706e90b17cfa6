//! TLS to the real gateway with an authority of our own; and mutual TLS with idle cuts through nginx in front of it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use deskhand::engine::credentials::Authority;
use deskhand::engine::{self, Engine};
use serde_json::json;
use support::broker::Broker;
use support::worker::{settings, start_on};

const JOB_TYPE: &str = support::worker::JOB_TYPE;
const BPMN: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<bpmn:definitions xmlns:bpmn="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0" targetNamespace="t">
  <bpmn:process id="one-task" isExecutable="true">
    <bpmn:startEvent id="start"><bpmn:outgoing>a</bpmn:outgoing></bpmn:startEvent>
    <bpmn:sequenceFlow id="a" sourceRef="start" targetRef="task" />
    <bpmn:serviceTask id="task"><bpmn:extensionElements><zeebe:taskDefinition type="test:task:1" /></bpmn:extensionElements><bpmn:incoming>a</bpmn:incoming><bpmn:outgoing>b</bpmn:outgoing></bpmn:serviceTask>
    <bpmn:sequenceFlow id="b" sourceRef="task" targetRef="end" />
    <bpmn:endEvent id="end"><bpmn:incoming>b</bpmn:incoming></bpmn:endEvent>
  </bpmn:process>
</bpmn:definitions>"#;

/// `tests/http_json/tls`: an authority, a server `localhost` and a client, made for tests.
fn pem(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/http_json/tls")
        .join(name)
}

fn with_tls(port: u16) -> engine::Settings {
    engine::Settings {
        address: format!("https://localhost:{port}"),
        ca_certificate: Some(pem("authority.pem")),
        worker_name: "tls".into(),
        ..engine::Settings::default()
    }
}

fn connect(settings: engine::Settings) -> Engine {
    Engine::new(settings, Authority::none()).unwrap()
}

/// One instance from start to end; how long it took.
async fn one(engine: &Engine) -> Duration {
    let began = Instant::now();
    let variables = json!({ "do": "work" });
    engine
        .run_process("one-task", &variables, Duration::from_secs(20))
        .await
        .unwrap();
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "starts a broker of its own: set ENGINE_TOOLS"]
async fn the_real_gateway_speaks_tls_with_a_private_authority() {
    let (chain, key) = (pem("server.pem"), pem("server.key.pem"));
    let broker = Broker::start(
        "tls",
        1,
        &[
            ("ZEEBE_BROKER_GATEWAY_SECURITY_ENABLED", "true"),
            (
                "ZEEBE_BROKER_GATEWAY_SECURITY_CERTIFICATECHAINPATH",
                chain.to_str().unwrap(),
            ),
            ("ZEEBE_BROKER_GATEWAY_SECURITY_PRIVATEKEYPATH", key.to_str().unwrap()),
        ],
    );
    let engine = connect(with_tls(broker.port()));
    assert!(engine.shake_hands().await.unwrap().unwrap().contains("TLSv1"));
    engine.deploy(&[("one-task.bpmn", BPMN)]).await.unwrap();
    let worker = start_on(with_tls(broker.port()), &[JOB_TYPE], settings());
    for _ in 0..20 {
        one(&engine).await;
    }
    worker.stopped().await;

    // The name of the certificate counts, not the one in the address.
    let by_address = engine::Settings {
        address: format!("https://127.0.0.1:{}", broker.port()),
        ..with_tls(broker.port())
    };
    let refused = connect(by_address.clone()).shake_hands().await;
    let overridden = engine::Settings {
        override_authority: Some("localhost".into()),
        ..by_address
    };
    assert_eq!(connect(overridden).topology().await.unwrap().brokers, 1);
    // Nobody else's authority is believed, and plain text is no answer.
    let system = engine::Settings {
        ca_certificate: None,
        ..with_tls(broker.port())
    };
    let unknown = connect(system).shake_hands().await.unwrap_err().to_string();
    assert!(unknown.contains("UnknownIssuer"), "{unknown}");
    println!("by address: {refused:?}");
    let plain = engine::Settings {
        address: broker.url(),
        ..engine::Settings::default()
    };
    connect(plain).topology().await.unwrap_err();
}

/// nginx in the foreground; ended with its guard.
struct Nginx {
    child: Child,
    port: u16,
    _directory: tempfile::TempDir,
}

impl Nginx {
    /// In front of a gateway: asks for client certificates, and cuts what is silent for 4 s.
    fn start(gateway: u16) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let at = directory.path().display();
        let [server, key, authority] = ["server.pem", "server.key.pem", "authority.pem"].map(pem);
        let config = format!(
            "daemon off; pid {at}/pid; error_log {at}/error.log; worker_processes 1;
             events {{ worker_connections 256; }}
             http {{
               access_log off;
               client_body_temp_path {at}/body; proxy_temp_path {at}/proxy; fastcgi_temp_path {at}/f;
               uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;
               server {{
                 listen 127.0.0.1:{port} ssl http2;
                 ssl_certificate {}; ssl_certificate_key {};
                 ssl_client_certificate {}; ssl_verify_client on;
                 client_body_timeout 4s;
                 location / {{ grpc_pass grpc://127.0.0.1:{gateway}; grpc_read_timeout 4s; grpc_send_timeout 4s; }}
               }}
             }}",
            server.display(),
            key.display(),
            authority.display()
        );
        let path = directory.path().join("nginx.conf");
        std::fs::write(&path, config).unwrap();
        let child = Command::new("nginx")
            .arg("-p")
            .arg(directory.path())
            .arg("-c")
            .arg(&path)
            .spawn()
            .expect("nginx is installed");
        let give_up = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < give_up, "nginx does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self {
            child,
            port,
            _directory: directory,
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "starts a broker of its own: set ENGINE_TOOLS; and needs nginx"]
async fn mutual_tls_and_idle_cuts_of_a_proxy_lose_nothing() {
    let broker = Broker::start("proxied", 1, &[]);
    let nginx = Nginx::start(broker.port());
    let with_certificate = engine::Settings {
        identity: Some((pem("client.pem"), pem("client.key.pem"))),
        ..with_tls(nginx.port)
    };
    // Without a certificate of ours nginx answers 400 itself.
    let stranger = connect(with_tls(nginx.port)).topology().await.unwrap_err();
    println!("without a certificate: {stranger:?}");

    let engine = connect(with_certificate.clone());
    engine.deploy(&[("one-task.bpmn", BPMN)]).await.unwrap();
    let worker = start_on(with_certificate, &[JOB_TYPE], settings());
    // Each pause is longer than the proxy's patience, so each time the stream was cut and is open again.
    let mut slowest = Duration::ZERO;
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_secs(6)).await;
        slowest = slowest.max(one(&engine).await);
    }
    println!("slowest of 6 instances after idle cuts: {slowest:?}");
    assert!(slowest < Duration::from_secs(10), "{slowest:?}");
    worker.stopped().await;
}
