//! The example processes on the sandbox engine: the same that `engine_worker` proves on a real one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use deskhand::sandbox::engine::{Engine, Settings};
use deskhand::sandbox::power_automate::Scenario;
use support::stage::{BOOK_INVOICE, CLASSIC, PATIENCE, Stage};

async fn sandbox() -> (Engine, String) {
    let engine = Engine::start(([127, 0, 0, 1], 0).into(), Settings::default())
        .await
        .unwrap();
    let url = format!("http://{}", engine.address());
    (engine, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_task_starts_a_run_waits_and_maps_its_outputs() {
    let (_engine, url) = sandbox().await;
    let stage = Stage::new(&url, Scenario::Success).await;
    let variables = stage.run("book-invoice", BOOK_INVOICE).await;
    assert_eq!(variables["bookingNumber"], "B-2026-0815");
    assert_eq!(variables["flowSessionId"], stage.simulator.sessions()[0].id.to_string());
    assert!(
        variables.get("deskhandRun").is_none(),
        "the journal stays at its task: {variables}"
    );
    assert_eq!(stage.simulator.runs_started(), 1);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_run_is_a_bpmn_error_that_the_process_catches() {
    let (_engine, url) = sandbox().await;
    let stage = Stage::new(&url, Scenario::Fails).await;
    let variables = stage.run("book-invoice", BOOK_INVOICE).await;
    assert_eq!(variables["failure"]["errorCode"], "InvoiceAlreadyBooked", "{variables}");
    assert!(variables.get("bookingNumber").is_none());
    assert_eq!(stage.simulator.runs_started(), 1);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_classic_way_runs_unchanged() {
    let (_engine, url) = sandbox().await;
    let stage = Stage::new(&url, Scenario::Classic).await;
    let variables = stage.run("classic", CLASSIC).await;
    assert_eq!(variables["bookingNumber"], "B-2026-0815");
    assert_eq!(variables["flowOutputs"]["InvoiceId"], "4711");
    assert_eq!(stage.simulator.runs_started(), 1);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stops_hands_its_waits_back_and_the_next_one_goes_on_with_the_same_run() {
    let (_engine, url) = sandbox().await;
    let mut stage = Stage::new(&url, Scenario::Slow).await;
    stage
        .engine
        .deploy(&[("book-invoice.bpmn", BOOK_INVOICE)])
        .await
        .unwrap();
    let (engine, variables) = (stage.engine.clone(), stage.variables());
    let instance = tokio::spawn(async move { engine.run_process("book-invoice", &variables, PATIENCE).await });
    while stage.simulator.runs_started() == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    stage.replace_worker().await;
    let variables = instance.await.unwrap().unwrap().variables;
    assert_eq!(variables["bookingNumber"], "B-2026-0815");
    assert_eq!(stage.simulator.runs_started(), 1);
    // The process may end before the worker has heard that its outcome was taken.
    let answers = stage.answers.clone();
    stage.end().await;
    let answers = answers.lock().unwrap();
    assert_eq!(answers.len(), 2, "{answers:?}");
    assert!(
        answers[0].contains("Handed back") && answers[1].starts_with("completed"),
        "{answers:?}"
    );
}
