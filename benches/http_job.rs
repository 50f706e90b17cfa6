//! The worker's CPU for one `io.camunda:http-json:1` POST with a secret and a result expression.
//!
//! Engine, HTTP target and the client that starts processes are processes of their own, so that this process's CPU is the
//! worker's alone. Prints `figure cpu_us_per_http_job …`, `figure http_jobs_per_second …` and the peer beside them.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Json;
use axum::routing::post;
use deskhand::connector::http_json::{self, HttpJson};
use deskhand::engine::credentials::Authority;
use deskhand::engine::{self, Credentials, Engine};
use deskhand::http;
use deskhand::mapping::Mapper;
use deskhand::progress::{Progress, Step};
use deskhand::secrets::policy::Rule;
use deskhand::secrets::{self, Policy, Secrets};
use deskhand::worker::{self, Pipeline};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const WARM_UP: u64 = 2_000;
const MEASURED: u64 = 20_000;
const AT_ONCE: usize = 64;
const PATIENCE: Duration = Duration::from_secs(120);
const ROLE: &str = "DESKHAND_BENCH_ROLE";

const PROCESS: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0" targetNamespace="bench">
  <process id="bench" isExecutable="true">
    <startEvent id="start"><outgoing>a</outgoing></startEvent>
    <sequenceFlow id="a" sourceRef="start" targetRef="post" />
    <serviceTask id="post">
      <extensionElements>
        <zeebe:taskDefinition type="io.camunda:http-json:1" retries="1" />
        <zeebe:ioMapping>
          <zeebe:input source="POST" target="method" />
          <zeebe:input source="=target" target="url" />
          <zeebe:input source="bearer" target="authentication.type" />
          <zeebe:input source="{{secrets.API_TOKEN}}" target="authentication.token" />
          <zeebe:input source="={invoiceId: invoiceId, amount: 129.9}" target="body" />
        </zeebe:ioMapping>
        <zeebe:taskHeaders>
          <zeebe:header key="resultExpression" value="={bookingNumber: response.body.bookingNumber}" />
        </zeebe:taskHeaders>
      </extensionElements>
      <incoming>a</incoming><outgoing>b</outgoing>
    </serviceTask>
    <sequenceFlow id="b" sourceRef="post" targetRef="end" />
    <endEvent id="end"><incoming>b</incoming></endEvent>
  </process>
</definitions>
"#;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let runtime = tokio::runtime::Runtime::new()?;
    match std::env::var(ROLE).as_deref() {
        Ok("target") => runtime.block_on(target()),
        Ok(address) => runtime.block_on(drive(address)),
        Err(_) => runtime.block_on(measure()),
    }
}

/// A child process that ends with its guard.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> std::io::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map(Running)
    }

    /// The first line it prints.
    fn line(&mut self) -> std::io::Result<String> {
        let stdout = self
            .0
            .stdout
            .take()
            .ok_or_else(|| std::io::Error::other("it has no output"))?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn measure() -> Outcome {
    let this = std::env::current_exe()?;
    let mut sandbox =
        Running::start(Command::new(env!("CARGO_BIN_EXE_deskhand")).args(["sandbox", "--listen", "127.0.0.1:0"]))?;
    let engine_address = sandbox.line()?;
    let mut target = Running::start(Command::new(&this).env(ROLE, "target"))?;
    let target_address: SocketAddr = target.line()?.parse()?;

    let engine = connect(&engine_address)?;
    let done = Arc::new(AtomicU64::new(0));
    let counter = done.clone();
    let progress = Progress::watched_by(move |_, step| {
        if let Step::Answered { outcome, message } = step {
            assert_eq!(*outcome, "completed", "{message:?}");
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    let known = |name: &str| (name == "SECRET_API_TOKEN").then(|| "a-token-of-some-length".to_owned());
    let secrets = Secrets::from_settings(&secrets::Settings::default(), known);
    let policy = Arc::new(Policy::of_rules(vec![Rule::new(
        "API_TOKEN",
        [target_address.to_string().as_str()],
    )?]));
    let client = http::Client::new()?;
    let tokens = Arc::new(http::token::Tokens::new(client.clone()));
    let connector = HttpJson::new(client, tokens, policy, http_json::Settings::default());
    let pipeline = Pipeline::new(vec![Arc::new(connector)], secrets, Mapper::default(), progress.clone());
    let stop = CancellationToken::new();
    let settings = worker::Settings {
        max_jobs: AT_ONCE,
        ..worker::Settings::default()
    };
    let working = tokio::spawn(worker::run(
        engine,
        Arc::new(pipeline),
        settings,
        progress,
        stop.clone(),
    ));

    let url = format!("http://{target_address}/invoices");
    let _driver = Running::start(
        Command::new(&this)
            .env(ROLE, &engine_address)
            .env("DESKHAND_BENCH_TARGET", url),
    )?;
    wait_for(&done, WARM_UP).await?;
    let (cpu, began) = (own_cpu()?, Instant::now());
    let first = done.load(Ordering::Relaxed);
    wait_for(&done, WARM_UP + MEASURED).await?;
    let jobs = (done.load(Ordering::Relaxed) - first) as f64;
    let cpu = (own_cpu()? - cpu).as_secs_f64();
    println!("figure cpu_us_per_http_job {:.1} us", cpu * 1e6 / jobs);
    println!(
        "figure http_jobs_per_second {:.0} 1/s",
        jobs / began.elapsed().as_secs_f64()
    );
    println!(
        "# aim: 100 us; Camunda's Java runtime 8.8.7 on such a machine: 2,400 to 4,000 us early, 800 to 1,500 us after 20,000 jobs"
    );
    stop.cancel();
    working.await?;
    Ok(())
}

async fn wait_for(done: &AtomicU64, jobs: u64) -> Outcome {
    let give_up = Instant::now() + PATIENCE;
    while done.load(Ordering::Relaxed) < jobs {
        if Instant::now() > give_up {
            return Err(format!("only {} of {jobs} jobs were done", done.load(Ordering::Relaxed)).into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// CPU that the threads of this process have used, from the scheduler's own account in nanoseconds.
fn own_cpu() -> Result<Duration, Box<dyn std::error::Error>> {
    let mut nanoseconds = 0;
    for thread in std::fs::read_dir("/proc/self/task")? {
        let account = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        nanoseconds += account.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

fn connect(address: &str) -> Result<Engine, Box<dyn std::error::Error>> {
    let settings = engine::Settings {
        address: format!("http://{address}"),
        credentials: Credentials::None,
        worker_name: "bench".into(),
        ..engine::Settings::default()
    };
    Ok(Engine::new(settings, Authority::none())?)
}

/// The HTTP target: answers each POST with a small JSON object.
async fn target() -> Outcome {
    let book =
        |Json(body): Json<Value>| async move { Json(json!({ "bookingNumber": format!("B-{}", body["invoiceId"]) })) };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    axum::serve(listener, axum::Router::new().route("/invoices", post(book))).await?;
    Ok(())
}

/// Starts processes as fast as they end, until it is killed.
async fn drive(engine_address: &str) -> Outcome {
    let engine = connect(engine_address)?;
    engine.deploy(&[("bench.bpmn", PROCESS)]).await?;
    let url = std::env::var("DESKHAND_BENCH_TARGET")?;
    let one_after_another = |lane: usize| {
        let (engine, url) = (engine.clone(), url.clone());
        async move {
            let variables = json!({ "target": url, "invoiceId": lane });
            while engine.run_process("bench", &variables, PATIENCE).await.is_ok() {}
        }
    };
    futures_util::future::join_all((0..2 * AT_ONCE).map(one_after_another)).await;
    Ok(())
}
