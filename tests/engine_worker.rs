//! The worker on a real engine: the example processes, and what must hold while the engine does its own things.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::process::{Child, Command, Stdio};

use deskhand::engine::Credentials;
use deskhand::sandbox::power_automate::{CLIENT_ID, Scenario, Simulator, World};
use support::stage::{BOOK_INVOICE, CLASSIC, PATIENCE, Stage, connect, variables};

/// The engine at `ZEEBE_ADDRESS`; its absence is a failure, not a reason to skip.
fn engine_url() -> String {
    let address =
        std::env::var("ZEEBE_ADDRESS").expect("set ZEEBE_ADDRESS to a Zeebe gateway, e.g. http://127.0.0.1:26500");
    if address.contains("://") {
        address
    } else {
        format!("http://{address}")
    }
}

/// The worker of one test would take the jobs of another.
static ONE_WORKER: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real engine: set ZEEBE_ADDRESS"]
async fn the_example_processes_run_on_a_real_engine() {
    let _alone = ONE_WORKER.lock().await;
    let url = engine_url();

    let stage = Stage::new(&url, Scenario::Success).await;
    let variables = stage.run("book-invoice", BOOK_INVOICE).await;
    assert_eq!(variables["bookingNumber"], "B-2026-0815");
    assert!(
        variables.get("deskhandRun").is_none(),
        "the journal stays at its task: {variables}"
    );
    assert_eq!(stage.simulator.runs_started(), 1);
    stage.end().await;

    let stage = Stage::new(&url, Scenario::Fails).await;
    let variables = stage.run("book-invoice", BOOK_INVOICE).await;
    assert_eq!(variables["failure"]["errorCode"], "InvoiceAlreadyBooked", "{variables}");
    assert!(variables.get("bookingNumber").is_none());
    assert_eq!(stage.simulator.runs_started(), 1);
    stage.end().await;

    let stage = Stage::new(&url, Scenario::Classic).await;
    let variables = stage.run("classic", CLASSIC).await;
    assert_eq!(variables["bookingNumber"], "B-2026-0815");
    assert_eq!(stage.simulator.runs_started(), 1);
    stage.end().await;

    // Thirty at once through sixteen permits: pushed, blocked and polled jobs, all of them once.
    let stage = Stage::new(&url, Scenario::Classic).await;
    stage
        .engine
        .deploy(&[("book-invoice.bpmn", BOOK_INVOICE)])
        .await
        .unwrap();
    let variables = stage.variables();
    let instances = (0..30).map(|_| {
        let (engine, variables) = (stage.engine.clone(), variables.clone());
        tokio::spawn(async move { engine.run_process("book-invoice", &variables, PATIENCE).await })
    });
    for instance in instances.collect::<Vec<_>>() {
        assert_eq!(
            instance.await.unwrap().unwrap().variables["bookingNumber"],
            "B-2026-0815"
        );
    }
    assert_eq!(stage.simulator.runs_started(), 30);
    stage.end().await;
}

/// `deskhand run` as a process; killed with its guard.
struct Deskhand(Child);

impl Drop for Deskhand {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real engine: set ZEEBE_ADDRESS"]
async fn the_binary_completes_the_examples_on_a_real_engine() {
    let _alone = ONE_WORKER.lock().await;
    let url = engine_url();
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into(), World::demo(Scenario::Success))
        .await
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let rule = format!(
        "[[secrets.rule]]\nname = \"PA_*\"\nhosts = [\"{}\"]\n",
        simulator.address()
    );
    std::fs::write(directory.path().join("deskhand.toml"), rule).unwrap();
    let _deskhand = Command::new(env!("CARGO_BIN_EXE_deskhand"))
        .arg("run")
        .current_dir(directory.path())
        .env_clear()
        .envs([
            ("ZEEBE_ADDRESS", url.as_str()),
            ("SECRET_PA_CLIENT_SECRET", "demo-client-secret"),
        ])
        .env("SECRET_PA_CLIENT_ID", CLIENT_ID.to_string())
        .stderr(Stdio::null())
        .spawn()
        .map(Deskhand)
        .unwrap();

    let engine = connect(&url, Credentials::None);
    for (id, bpmn) in [("book-invoice", BOOK_INVOICE), ("classic", CLASSIC)] {
        engine.deploy(&[(&format!("{id}.bpmn"), bpmn)]).await.unwrap();
        let finished = engine.run_process(id, &variables(&simulator), PATIENCE).await.unwrap();
        assert_eq!(finished.variables["bookingNumber"], "B-2026-0815", "{id}");
    }
    assert_eq!(simulator.runs_started(), 2);
}
