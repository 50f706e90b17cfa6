//! The worker on a real engine: the example processes, and what must hold while the engine does its own things.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use deskhand::sandbox::power_automate::Scenario;
use support::stage::{BOOK_INVOICE, CLASSIC, Stage};

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

// One test, one story after the other: the worker of one story would take the jobs of another.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real engine: set ZEEBE_ADDRESS"]
async fn the_example_processes_run_on_a_real_engine() {
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
        tokio::spawn(async move {
            engine
                .run_process("book-invoice", &variables, support::stage::PATIENCE)
                .await
        })
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
