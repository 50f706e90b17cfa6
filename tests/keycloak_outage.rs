//! An identity provider that hangs and is killed while tokens end every few seconds: a real Keycloak, and a real gateway
//! that demands its tokens.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use deskhand::engine::credentials::Authority;
use deskhand::engine::{self, Engine};
use deskhand::http::Client;
use deskhand::http::token::Tokens;
use deskhand::metrics::metrics;
use deskhand::worker::{self, Ended};
use serde_json::json;
use support::broker::Starter;
use support::keycloak::{Process, client, gateway, setting};
use support::ledger::{self, Ledger, process};
use tokio_util::sync::CancellationToken;

/// Tokens that this process has fetched.
fn tokens_fetched() -> u64 {
    let text = metrics().text();
    text.lines()
        .filter(|line| line.starts_with("deskhand_token_fetches_total{") && line.contains("\"fetched\""))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum()
}

const AWAY: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes six minutes and kills Keycloak: set KEYCLOAK_PID, KEYCLOAK_TOKEN_ENDPOINT and ZEEBE_ADDRESS; tokens of 10 s"]
async fn every_job_is_done_once_over_dozens_of_tokens_and_while_the_provider_hangs_and_is_killed() {
    assert_eq!(setting("KEYCLOAK_LIFETIME"), "10", "dozens of tokens in minutes");
    let mut provider = Process::found();
    let credentials = client("deskhand", "deskhand-secret");
    let authority = Authority::new(&credentials, Arc::new(Tokens::new(Client::new().unwrap()))).unwrap();
    let settings = engine::Settings {
        address: gateway(),
        credentials,
        worker_name: "tokens".into(),
        ..engine::Settings::default()
    };
    let engine = Engine::new(settings, authority.clone()).unwrap();
    let task = |name: &str| format!(r#"<zeebe:taskDefinition type="{name}" />"#);
    let bpmn = process(&task("killer:work"), &task("killer:done"));
    engine.deploy(&[("two-tasks.bpmn", &bpmn)]).await.unwrap();

    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let (stop, enough) = (CancellationToken::new(), CancellationToken::new());
    let working = tokio::spawn(worker::run(
        engine,
        Arc::new(ledger::pipeline(&ledger, Duration::from_millis(300))),
        worker::Settings {
            // Longer than the provider is away: until then nobody may get a job again.
            job_timeout: Duration::from_secs(300),
            poll_interval: Duration::from_millis(500),
            ..worker::Settings::default()
        },
        ledger::progress(&ledger),
        stop.clone(),
    ));
    let starter = Starter::signed_in(&gateway(), authority);
    let starting = tokio::spawn({
        let enough = enough.clone();
        async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(250));
            let mut started = 0_u64;
            while !enough.is_cancelled() {
                ticks.tick().await;
                starter.create("two-tasks", &json!({ "n": started })).await;
                started += 1;
            }
            started
        }
    });
    let acknowledged = || {
        let ledger = ledger.lock().unwrap();
        ledger.acknowledged.values().map(|keys| keys.len()).sum::<usize>()
    };
    let until = async |what: &str, holds: &(dyn Fn() -> bool + Sync)| {
        let give_up = Instant::now() + Duration::from_secs(200);
        while !holds() {
            assert!(!working.is_finished(), "the worker died");
            assert!(Instant::now() < give_up, "not in time: {what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };

    let began = Instant::now();
    until("ten tokens", &|| tokens_fetched() >= 10).await;
    println!(
        "{:?}: {} outcomes heard; the provider stands still",
        began.elapsed(),
        acknowledged()
    );
    provider.pause();
    tokio::time::sleep(AWAY).await;
    let before = acknowledged();
    provider.go_on();
    let back = Instant::now();
    until("back to work", &|| acknowledged() > before).await;
    println!(
        "back to work {:?} after it goes on; {before} outcomes before",
        back.elapsed()
    );

    let fetched = tokens_fetched();
    until("ten more tokens", &|| tokens_fetched() >= fetched + 10).await;
    println!(
        "{:?}: {} outcomes heard; the provider is killed",
        began.elapsed(),
        acknowledged()
    );
    provider.kill();
    tokio::time::sleep(AWAY).await;
    let before = acknowledged();
    provider.start_again();
    let back = Instant::now();
    until("back to work", &|| acknowledged() > before).await;
    println!(
        "back to work {:?} after its start began; {before} outcomes before",
        back.elapsed()
    );

    let fetched = tokens_fetched();
    until("ten more tokens", &|| tokens_fetched() >= fetched + 10).await;
    enough.cancel();
    let started = starting.await.unwrap();
    until("every instance came to its end", &|| {
        let ledger = ledger.lock().unwrap();
        let heard = ledger.acknowledged.get("done").map_or(0, |keys| keys.len() as u64);
        ledger.done.len() as u64 == started && heard >= started
    })
    .await;
    stop.cancel();
    assert_eq!(working.await.unwrap(), Ended::Drained);
    let ledger = ledger.lock().unwrap();
    println!(
        "{:?}: {started} instances ended, {} jobs done, {} tokens",
        began.elapsed(),
        ledger.acknowledged.values().map(|keys| keys.len()).sum::<usize>(),
        tokens_fetched()
    );
    assert_eq!(ledger.repeated(), 0, "a job was done twice");
    assert!(started >= 100, "{started}");
}
