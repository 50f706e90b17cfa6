//! The world of the desktop flow benchmarks: engine, simulator and the client that starts processes as processes of their
//! own, so that the measured process is the worker alone.

#![allow(dead_code, reason = "each benchmark uses its part")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use deskhand::connector::desktop_flow::{self, DesktopFlow};
use deskhand::connector::identity::{self, Identities, SignIn};
use deskhand::engine::credentials::Authority;
use deskhand::engine::gateway::CreateProcessInstanceRequest;
use deskhand::engine::gateway::gateway_client::GatewayClient;
use deskhand::engine::{self, Credentials, Engine};
use deskhand::http::token::{ClientAuthentication, Tokens};
use deskhand::http::{Client, Method, Request};
use deskhand::mapping::Mapper;
use deskhand::progress::Progress;
use deskhand::sandbox::power_automate::{CLIENT_ID, CONNECTION};
use deskhand::secrets::policy::Rule;
use deskhand::secrets::{self, Policy, Secrets};
use deskhand::worker::{self, Pipeline};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

pub const ROLE: &str = "DESKHAND_BENCH_ROLE";
/// The role of a client whose runs are told of by messages.
pub const MESSAGES: &str = "messages";
/// The identity that publishes them.
pub const IDENTITY: &str = "robot";
const FLOW: &str = "5a1b0000-0000-4000-8000-0000000000f1";

const PROCESS: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0" targetNamespace="bench">
  <process id="bench" isExecutable="true">
    <startEvent id="start"><outgoing>a</outgoing></startEvent>
    <sequenceFlow id="a" sourceRef="start" targetRef="flow" />
    <serviceTask id="flow">
      <extensionElements>
        <zeebe:taskDefinition type="deskhand:desktop-flow:1" retries="3" />
        <zeebe:ioMapping>
          <zeebe:input source="runAndWait" target="operationType" />
          <zeebe:input source="=organizationUri" target="organizationUri" />
          <zeebe:input source="oauth-client-credentials-flow" target="authentication.type" />
          <zeebe:input source="=tokenEndpoint" target="authentication.oauthTokenEndpoint" />
          <zeebe:input source="{{secrets.PA_CLIENT_ID}}" target="authentication.clientId" />
          <zeebe:input source="{{secrets.PA_CLIENT_SECRET}}" target="authentication.clientSecret" />
          <zeebe:input source="5a1b0000-0000-4000-8000-0000000000f1" target="workflowId" />
          <zeebe:input source="a8a85e2f1dec44ce8814a37c34234317" target="connectionName" />
          <zeebe:input source="unattended" target="runMode" />
          <zeebe:input source="={InvoiceId: invoiceId, Amount: 129.9}" target="inputs" />
        </zeebe:ioMapping>
        <zeebe:taskHeaders>
          <zeebe:header key="resultExpression" value="={bookingNumber: response.outputs.BookingNumber}" />
        </zeebe:taskHeaders>
      </extensionElements>
      <incoming>a</incoming><outgoing>b</outgoing>
    </serviceTask>
    <sequenceFlow id="b" sourceRef="flow" targetRef="end" />
    <endEvent id="end"><incoming>b</incoming></endEvent>
  </process>
</definitions>
"#;

/// The same process, whose task only starts the run and wants a message about its end.
fn with_messages() -> String {
    PROCESS
        .replace(r#"source="runAndWait""#, r#"source="triggerFlowRun""#)
        .replace(
            r#"<zeebe:input source="oauth-client-credentials-flow" target="authentication.type" />"#,
            &format!(r#"<zeebe:input source="message" target="waitFor" /><zeebe:input source="{IDENTITY}" target="identity" />"#),
        )
        .lines()
        .filter(|line| !line.contains(r#"target="authentication."#) && !line.contains("resultExpression"))
        .collect()
}

/// A child process that ends with its guard.
pub struct Running(Child);

impl Running {
    pub fn start(command: &mut Command) -> std::io::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map(Running)
    }

    /// The first lines it prints.
    fn lines(&mut self, count: usize) -> std::io::Result<Vec<String>> {
        let stdout = self.0.stdout.take();
        let stdout = stdout.ok_or_else(|| std::io::Error::other("it has no output"))?;
        BufReader::new(stdout).lines().take(count).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Engine and simulator.
pub struct World {
    pub engine: String,
    pub organization: String,
    pub token_endpoint: String,
    processes: [Running; 2],
    _scenario: tempfile::NamedTempFile,
}

impl World {
    /// Runs are as the scripts say; nothing limits them.
    pub fn start(scripts: Value) -> Outcome<Self> {
        let many = 1_000_000_000_u32;
        let scenario = json!({
            "limits": {"startsPerConnection": many, "requests": many, "executionTime": "8000h", "concurrent": 100_000},
            "environment": {
                "workflows": [{"workflowid": FLOW, "name": "Book invoice", "scripts": scripts,
                               "inputs": {"InvoiceId": "string", "Amount": "number"}}],
                "connections": [{"name": CONNECTION}],
            },
            "callbacks": {"allowInsecure": true},
            "journal": 1000,
        });
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), scenario.to_string())?;
        let deskhand = env!("CARGO_BIN_EXE_deskhand");
        let mut engine = Running::start(Command::new(deskhand).args(["sandbox", "--listen", "127.0.0.1:0"]))?;
        let mut simulator = Running::start(
            Command::new(deskhand)
                .args(["simulate", "--listen", "127.0.0.1:0", "--scenario"])
                .arg(file.path()),
        )?;
        let address = engine.lines(1)?.remove(0);
        let lines = simulator.lines(3)?;
        let value = |line: &str| line.split_whitespace().last().unwrap_or_default().to_owned();
        Ok(Self {
            engine: address,
            organization: value(&lines[1]),
            token_endpoint: value(&lines[2]),
            processes: [engine, simulator],
            _scenario: file,
        })
    }

    /// CPU that the simulator has used.
    pub fn simulator_cpu(&self) -> Outcome<Duration> {
        cpu_of(&self.processes[1].0.id().to_string())
    }

    /// An access token for the organisation.
    pub async fn token(&self) -> Outcome<String> {
        let mut control = url::Url::parse(&self.organization)?;
        control.set_path("/__sim/token");
        let answer = Client::direct()?.send(Request::new(Method::POST, control)).await?;
        let answer: Value = serde_json::from_slice(&answer.body)?;
        Ok(answer["access_token"].as_str().ok_or("no token")?.to_owned())
    }

    /// Starts the client: this benchmark's own binary in another role.
    pub fn drive(&self, role: &str, count: usize) -> Outcome<Running> {
        let variables = json!({
            "organizationUri": self.organization, "tokenEndpoint": self.token_endpoint, "invoiceId": "4711",
        });
        let driver = Running::start(
            Command::new(std::env::current_exe()?)
                .env(ROLE, role)
                .env("DESKHAND_BENCH_ENGINE", &self.engine)
                .env("DESKHAND_BENCH_VARIABLES", variables.to_string())
                .env("DESKHAND_BENCH_COUNT", count.to_string()),
        )?;
        Ok(driver)
    }

    fn identity(&self, host: &str) -> Outcome<identity::Settings> {
        Ok(identity::Settings {
            name: IDENTITY.into(),
            sign_in: SignIn::Secret {
                secret: "{{secrets.PA_CLIENT_SECRET}}".into(),
                way: ClientAuthentication::BasicHeader,
            },
            endpoint: self.token_endpoint.parse()?,
            client_id: CLIENT_ID.to_string(),
            hosts: vec![host.parse()?],
            scope: None,
            audiences: BTreeMap::new(),
            connectors: vec![],
            processes: vec![],
            tenants: vec![],
            expires: None,
        })
    }

    /// A worker in this process.
    pub fn work(
        &self,
        settings: worker::Settings,
        mut flows: desktop_flow::Settings,
        progress: Progress,
    ) -> Outcome<(
        Arc<DesktopFlow>,
        CancellationToken,
        tokio::task::JoinHandle<worker::Ended>,
    )> {
        let host = url::Url::parse(&self.organization)?;
        let host = format!(
            "{}:{}",
            host.host_str().unwrap_or_default(),
            host.port().unwrap_or_default()
        );
        // One connection for everything: the pace of Dataverse is not what is measured.
        flows.turns.starts_per_minute = usize::MAX;
        let policy = Arc::new(Policy::of_rules(vec![Rule::new("PA_*", [host.as_str()])?]));
        let client = Client::new()?;
        let tokens = Arc::new(Tokens::new(client.clone()));
        let known = |name: &str| match name {
            "SECRET_PA_CLIENT_ID" => Some(CLIENT_ID.to_string()),
            "SECRET_PA_CLIENT_SECRET" => Some("demo-client-secret".to_owned()),
            _ => None,
        };
        let secrets = Secrets::from_settings(&secrets::Settings::default(), known);
        let identities = Identities::new([self.identity(&host)?], secrets.clone(), tokens.clone());
        let connector = DesktopFlow::new(client, tokens, policy, flows).with_identities(Some(Arc::new(identities)));
        let connector = Arc::new(connector);
        let pipeline = Pipeline::new(vec![connector.clone()], secrets, Mapper::default(), progress.clone());
        let stop = CancellationToken::new();
        let engine = connect(&self.engine)?;
        let working = tokio::spawn(worker::run(
            engine,
            Arc::new(pipeline),
            settings,
            progress,
            stop.clone(),
        ));
        Ok((connector, stop, working))
    }
}

/// The client that starts so many processes, then waits to be killed.
pub async fn start_processes() -> Outcome {
    let address = std::env::var("DESKHAND_BENCH_ENGINE")?;
    let count: usize = std::env::var("DESKHAND_BENCH_COUNT")?.parse()?;
    let variables = std::env::var("DESKHAND_BENCH_VARIABLES")?;
    let process = match std::env::var(ROLE).as_deref() {
        Ok(MESSAGES) => with_messages(),
        _ => PROCESS.to_owned(),
    };
    connect(&address)?.deploy(&[("bench.bpmn", &process)]).await?;
    let client = GatewayClient::connect(format!("http://{address}")).await?;
    let lanes = (0..16).map(|lane| {
        let (mut client, variables) = (client.clone(), variables.clone());
        async move {
            for _ in (lane..count).step_by(16) {
                let request = CreateProcessInstanceRequest {
                    bpmn_process_id: "bench".into(),
                    version: -1,
                    variables: variables.clone(),
                    ..CreateProcessInstanceRequest::default()
                };
                while client.create_process_instance(request.clone()).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    });
    futures_util::future::join_all(lanes).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    Ok(())
}

pub fn connect(address: &str) -> Outcome<Engine> {
    let settings = engine::Settings {
        address: format!("http://{address}"),
        credentials: Credentials::None,
        worker_name: "bench".into(),
        ..engine::Settings::default()
    };
    Ok(Engine::new(settings, Authority::none())?)
}

pub async fn wait_until(what: &str, patience: Duration, mut done: impl FnMut() -> bool) -> Outcome {
    let give_up = Instant::now() + patience;
    while !done() {
        if Instant::now() > give_up {
            return Err(format!("not in time: {what}").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// CPU that the threads of this process have used, from the scheduler's own account in nanoseconds.
pub fn own_cpu() -> Outcome<Duration> {
    cpu_of("self")
}

fn cpu_of(process: &str) -> Outcome<Duration> {
    let mut nanoseconds = 0;
    for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let account = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        nanoseconds += account.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// Resident memory of this process, MiB.
pub fn rss_mib() -> Outcome<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(kib.ok_or("no VmRSS")?.parse::<f64>()? / 1024.0)
}
