//! 2,000 jobs while a real broker is killed twice and stands still once, and while replicas of the worker are killed and
//! drained. Every instance must end; work done more than once is counted and explained.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Json;
use deskhand::engine::credentials::Authority;
use deskhand::engine::{self, Engine};
use deskhand::worker::{self, Ended};
use serde_json::{Value, json};
use support::broker::{Broker, Starter};
use support::ledger::{self, Ledger, process};
use tokio_util::sync::CancellationToken;

const JOBS: u64 = 2_000;
const PATIENCE: Duration = Duration::from_secs(150);

fn connect(url: &str) -> Engine {
    let settings = engine::Settings {
        address: url.to_owned(),
        worker_name: "killer".into(),
        ..engine::Settings::default()
    };
    Engine::new(settings, Authority::none()).unwrap()
}

/// Starts all instances, a few at a time, in the background.
fn start_instances(url: &str) {
    let starter = Starter::new(url);
    for lane in 0..8 {
        let starter = starter.clone();
        tokio::spawn(async move {
            for n in (0..JOBS).filter(|n| n % 8 == lane) {
                starter.create("two-tasks", &json!({ "n": n })).await;
            }
        });
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < give_up, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "starts and kills brokers of its own: set ENGINE_TOOLS"]
async fn every_instance_ends_while_the_broker_is_killed_twice_and_stands_still_once() {
    let broker = Broker::start("killed", 3, &[]);
    let engine = connect(&broker.url());
    let task = |name: &str| format!(r#"<zeebe:taskDefinition type="{name}" />"#);
    let bpmn = process(&task("killer:work"), &task("killer:done"));
    engine.deploy(&[("two-tasks.bpmn", &bpmn)]).await.unwrap();

    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let pipeline = ledger::pipeline(&ledger, Duration::from_millis(50));
    let progress = ledger::progress(&ledger);
    let stop = CancellationToken::new();
    let settings = worker::Settings {
        max_jobs: 32,
        job_timeout: Duration::from_secs(30),
        poll_interval: Duration::from_millis(500),
        ..worker::Settings::default()
    };
    let working = tokio::spawn(worker::run(
        engine.clone(),
        Arc::new(pipeline),
        settings,
        progress,
        stop.clone(),
    ));
    let began = Instant::now();
    start_instances(&broker.url());

    let done = || ledger.lock().unwrap().done.len();
    let broker = Arc::new(broker);
    let hurt = |what: fn(&Broker)| {
        let broker = broker.clone();
        tokio::task::spawn_blocking(move || what(&broker))
    };
    for threshold in [400, 900] {
        until("jobs are done", || done() >= threshold).await;
        println!("{:?}: {threshold} done, the broker is killed", began.elapsed());
        hurt(Broker::kill).await.unwrap();
        hurt(Broker::start_again).await.unwrap();
        let (back, before) = (Instant::now(), done());
        until("work goes on", || done() > before).await;
        println!("back to work {:?} after the broker is ready", back.elapsed());
    }
    until("jobs are done", || done() >= 1_300).await;
    println!("{:?}: 1300 done, the broker stands still for 20 s", began.elapsed());
    hurt(|broker| broker.stand_still(Duration::from_secs(20)))
        .await
        .unwrap();

    until("all instances came to their second task", || done() as u64 == JOBS).await;
    // What was finished is heard too; only an instance that was started twice has more.
    until("all outcomes are acknowledged", || {
        let ledger = ledger.lock().unwrap();
        ledger
            .acknowledged
            .get("done")
            .is_some_and(|keys| keys.len() as u64 >= JOBS)
    })
    .await;
    stop.cancel();
    assert_eq!(working.await.unwrap(), Ended::Drained);
    let ledger = ledger.lock().unwrap();
    println!(
        "{:?}: {} instances ended; {} jobs of the first task were executed {} times beyond once each: a job whose \
         activation or completion the killed broker had not yet kept is given out again",
        began.elapsed(),
        ledger.done.len(),
        ledger.work.len(),
        ledger.repeated()
    );
}

/// A replica of `deskhand run`; killed with its guard.
struct Replica(Child);

impl Replica {
    fn start(url: &str, directory: &std::path::Path) -> Self {
        Command::new(env!("CARGO_BIN_EXE_deskhand"))
            .args(["run", "--job-timeout", "5s", "--max-jobs", "16", "--log", "warn"])
            .current_dir(directory)
            .env_clear()
            .env("ZEEBE_ADDRESS", url)
            .env("DESKHAND_NETWORK_ALLOW", "127.0.0.1")
            .stderr(Stdio::inherit())
            .spawn()
            .map(Self)
            .unwrap()
    }

    fn terminate(mut self) -> Option<i32> {
        let sent = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        assert!(sent.unwrap().success());
        self.0.wait().unwrap().code()
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[derive(Default)]
struct Calls {
    work: HashMap<u64, usize>,
    done: HashSet<u64>,
}

/// An HTTP target that counts; each call takes a moment.
async fn target(calls: Arc<Mutex<Calls>>) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (work, done) = (calls.clone(), calls);
    let routes = axum::Router::new()
        .route(
            "/work",
            axum::routing::post(move |Json(body): Json<Value>| async move {
                *work
                    .lock()
                    .unwrap()
                    .work
                    .entry(body["n"].as_u64().unwrap())
                    .or_default() += 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
                "{}"
            }),
        )
        .route(
            "/done",
            axum::routing::post(move |Json(body): Json<Value>| async move {
                done.lock().unwrap().done.insert(body["n"].as_u64().unwrap());
                "{}"
            }),
        );
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "starts a broker of its own: set ENGINE_TOOLS"]
async fn every_instance_ends_while_one_replica_is_killed_and_another_drained() {
    let broker = Broker::start("replicas", 3, &[]);
    let calls = Arc::new(Mutex::new(Calls::default()));
    let address = target(calls.clone()).await;
    let task = |path: &str| {
        format!(
            r#"<zeebe:taskDefinition type="io.camunda:http-json:1" /><zeebe:ioMapping><zeebe:input source="=&quot;http://{address}/{path}&quot;" target="url" /><zeebe:input source="post" target="method" /><zeebe:input source="={{n: n}}" target="body" /></zeebe:ioMapping>"#
        )
    };
    let engine = connect(&broker.url());
    let bpmn = process(&task("work"), &task("done"));
    engine.deploy(&[("two-tasks.bpmn", &bpmn)]).await.unwrap();

    let directory = tempfile::tempdir().unwrap();
    let url = broker.url();
    let replica = || Replica::start(&url, directory.path());
    let (killed, drained, third) = (replica(), replica(), replica());
    start_instances(&url);
    let done = || calls.lock().unwrap().done.len();

    until("jobs are done", || done() >= 400).await;
    drop(killed);
    let at_kill = calls.lock().unwrap().work.values().sum::<usize>();
    println!("400 done after {at_kill} executions: one replica was killed; at most 16 jobs were in its hands");
    until("jobs are done", || done() >= 1_000).await;
    let code = drained.terminate();
    println!("1000 done: another replica was drained, exit code {code:?}");
    assert_eq!(code, Some(0), "nothing is left behind by a drained replica");
    until("all instances came to their second task", || done() as u64 == JOBS).await;
    assert_eq!(third.terminate(), Some(0), "its last outcomes are acknowledged");

    let calls = calls.lock().unwrap();
    let repeated: usize = calls.work.values().map(|count| count - 1).sum();
    println!("{JOBS} instances ended; {repeated} executions beyond one each: jobs that the killed replica held");
    assert!(repeated <= 16, "more than a killed replica can have held: {repeated}");
}
