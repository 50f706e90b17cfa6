//! One round: a simulator of its own, replicas that die, instances that want runs. When enough have died the weather
//! clears, everything ends, and the facts are judged.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use deskhand::sandbox::engine;
use deskhand::sandbox::power_automate::{BOOK_INVOICE, CLIENT_ID, CONNECTION, Simulator};
use serde_json::json;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::arguments::Arguments;
use crate::chaos::{Chaos, LEASE};
use crate::checker::{self, Circumstances, Run, Verdict};
use crate::clerk::{Clerk, Counts};
use crate::processes::Process;
use crate::{processes, weather};

/// Longer than leases, backoffs, settle time and a run together: what has not moved then does not move by itself.
const STANDS_STILL: Duration = Duration::from_secs(90);
/// How soon a late run must be cancelled.
const CANCELLED_WITHIN: Duration = Duration::from_secs(10);

/// What came of a round.
pub struct Outcome {
    pub verdict: Verdict,
    pub findings: Vec<String>,
    pub kills: u32,
    pub freezes: u32,
    pub adopted: u32,
    pub reconciled: u32,
    pub broker_crashes: u32,
    pub instances: Counts,
}

pub async fn play(arguments: &Arguments, kills: u32, broker_crashes: u32, seed: u64) -> Outcome {
    let mut random = fastrand::Rng::with_seed(seed);
    let simulator = Arc::new(
        Simulator::start(([127, 0, 0, 1], 0).into(), weather::world())
            .await
            .unwrap(),
    );
    let sandbox = match &arguments.engine {
        Some(_) => None,
        None => {
            let settings = engine::Settings {
                push_lapsed_jobs: true,
                ..engine::Settings::default()
            };
            Some(
                engine::Engine::start(([127, 0, 0, 1], 0).into(), settings)
                    .await
                    .unwrap(),
            )
        }
    };
    let address = match (&arguments.engine, &sandbox) {
        (Some(address), _) => address.clone(),
        (None, Some(engine)) => format!("http://{}", engine.address()),
        (None, None) => unreachable!("one of the two is there"),
    };
    let clerk = Clerk::new(
        &address,
        json!({
            "organization": simulator.organization(),
            "tokenEndpoint": simulator.token_endpoint(),
            "workflow": BOOK_INVOICE.to_string(),
            "connection": CONNECTION,
        }),
    )
    .await;
    let all = processes::of(arguments.engine.is_some());
    clerk.deploy(&[all.as_slice(), &processes::MOVED].concat()).await;
    let taking = tokio::spawn(clerk.clone().take());

    // Secrets go to the simulator and nowhere else.
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("deskhand.toml");
    std::fs::write(&config, settings(&simulator)).unwrap();
    let mut environment = environment(&address);
    environment.push(("DESKHAND_CONFIG".into(), config.display().to_string()));
    let round = format!("{seed:x}");
    let chaos = Arc::new(Chaos {
        round: round.clone(),
        environment,
        replicas: arguments.replicas,
        without: arguments.without.clone(),
        log: arguments.log.clone(),
        clerk: clerk.clone(),
        simulator: simulator.clone(),
        left: kills.into(),
        owed: Default::default(),
        frozen_while_writing: Default::default(),
        counts: Default::default(),
        frozen: Default::default(),
        broker_down: Default::default(),
        replace: Default::default(),
        end: CancellationToken::new(),
    });
    let slots: Vec<_> = (0..arguments.replicas)
        .map(|slot| tokio::spawn(chaos.clone().slot(slot, fastrand::Rng::with_seed(random.u64(..)))))
        .collect();

    let crashes = tokio::spawn(crash(
        arguments.broker_crash.clone(),
        broker_crashes,
        chaos.clone(),
        kills,
    ));
    let mut number = 0_u64;
    while !chaos.is_done(kills) {
        simulator.clear_faults();
        weather::bad(&simulator, &mut random, arguments.without.as_deref());
        for _ in clerk.open()..arguments.instances {
            number += 1;
            let process = all[random.usize(0..all.len())];
            let key = clerk.start(process, &format!("{round}-{number}")).await;
            if let Some(key) = key {
                change_some(&clerk, process, key, &mut random);
            }
        }
        sleep(Duration::from_millis(300)).await;
    }
    let broker_crashes = crashes.await.unwrap();
    simulator.clear_faults();
    let hung = end(&clerk, &chaos).await;
    // What was started last must have been looked after.
    sleep(weather::VISIBILITY + weather::SETTLE).await;
    chaos.end.cancel();
    for slot in slots {
        let _ = slot.await;
    }
    taking.abort();

    let circumstances = Circumstances {
        frozen_while_writing: chaos.frozen_while_writing.lock().unwrap().clone(),
        cancelled_within: CANCELLED_WITHIN,
    };
    let (mut verdict, mut findings) = checker::judge(&clerk.facts(), &runs(&simulator), &circumstances);
    if hung > 0 {
        verdict.lost += hung;
        findings.push(format!("{hung} instances stood still until the replicas were killed"));
    }
    let counts = &chaos.counts;
    let outcome = Outcome {
        verdict,
        findings,
        kills: counts.kills.load(Ordering::SeqCst),
        freezes: counts.freezes.load(Ordering::SeqCst),
        adopted: counts.adopted.load(Ordering::SeqCst),
        reconciled: counts.reconciled.load(Ordering::SeqCst),
        broker_crashes,
        instances: clerk.counts(),
    };
    if let Some(engine) = sandbox {
        engine.stop().await;
    }
    outcome
}

/// Changes one of ten instances while it waits.
fn change_some(clerk: &Clerk, process: Process, key: i64, random: &mut fastrand::Rng) {
    let (what, after) = (random.u32(0..30), Duration::from_millis(random.u64(100..6_000)));
    let clerk = clerk.clone();
    tokio::spawn(async move {
        sleep(after).await;
        match what {
            0 => clerk.cancel(key).await,
            1..=4 if process.moves_to().is_some() => clerk.modify(key).await,
            5..=8 => clerk.migrate(process, key).await,
            _ => {}
        }
    });
}

/// Waits until all instances are through. What stands still is given to other replicas first; gives how many instances
/// that helped: their replica had hung. What then still stands is the engine's, and is freed.
async fn end(clerk: &Clerk, chaos: &Chaos) -> u64 {
    let (mut open, mut moved) = (clerk.open(), Instant::now());
    let (mut remedies, mut hung) = (0, 0);
    while open > 0 && remedies < 5 {
        sleep(Duration::from_millis(200)).await;
        let now = clerk.open();
        if now < open {
            hung += if remedies == 1 { (open - now) as u64 } else { 0 };
            (open, moved) = (now, Instant::now());
        } else if moved.elapsed() > STANDS_STILL {
            match remedies {
                0 => chaos.replace.notify_waiters(),
                // Who was freed may be kept again.
                _ => clerk.free_what_stands_still().await,
            }
            remedies += 1;
            moved = Instant::now();
        }
    }
    hung
}

/// Runs that were started for an invoice.
pub fn runs_of(simulator: &Simulator, invoice: &str) -> usize {
    let named = format!("\"{invoice}\"");
    let all = simulator.sessions();
    let its = all
        .iter()
        .filter(|session| session.inputs.as_deref().is_some_and(|inputs| inputs.contains(&named)));
    its.count()
}

/// What the simulator noted.
fn runs(simulator: &Simulator) -> Vec<Run> {
    let millis = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_millisecond();
    simulator
        .sessions()
        .into_iter()
        .map(|session| {
            let inputs: serde_json::Value =
                serde_json::from_str(session.inputs.as_deref().unwrap_or("{}")).unwrap_or_default();
            let created = millis(&session.created);
            Run {
                id: session.id.to_string(),
                invoice: inputs["InvoiceId"].as_str().unwrap_or("none").to_owned(),
                created,
                readable: created + i64::try_from(weather::HIDDEN.as_millis()).unwrap(),
                ended: session.completed.as_deref().map(millis),
                cancelled: session.statuscode == 7,
            }
        })
        .collect()
}

/// Secrets for the simulator, and where ends of runs are published from.
fn settings(simulator: &Simulator) -> String {
    let (name, host) = (processes::IDENTITY, simulator.address());
    format!(
        r#"
        [[secrets.rule]]
        name = "PA_*"
        hosts = ["{host}"]

        [identities.{name}]
        token_endpoint = "{}"
        client_id = "{CLIENT_ID}"
        client_secret = "{{{{secrets.PA_CLIENT_SECRET}}}}"
        scope = "{}"
        hosts = ["{host}"]

        [messages]
        outbox = ["{name}@{}"]
        "#,
        simulator.token_endpoint(),
        simulator.scope(),
        simulator.organization(),
    )
}

fn environment(address: &str) -> Vec<(String, String)> {
    let millis = |time: Duration| format!("{}ms", time.as_millis());
    let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    vec![
        text("ZEEBE_ADDRESS", address),
        text("SECRET_PA_CLIENT_ID", &CLIENT_ID.to_string()),
        text("SECRET_PA_CLIENT_SECRET", "demo-client-secret"),
        text("DESKHAND_WORKER_JOB_TIMEOUT", &millis(LEASE)),
        text("DESKHAND_WORKER_POLL_INTERVAL", "400ms"),
        text("DESKHAND_WORKER_MAX_JOBS", "64"),
        text("DESKHAND_DESKTOP_FLOW_NAMESPACE", "campaign"),
        text("DESKHAND_DESKTOP_FLOW_STARTS_PER_MINUTE", "1000000"),
        text("DESKHAND_DESKTOP_FLOW_TOKEN_URL", "https://tokens.example.com/"),
        text("DESKHAND_DESKTOP_FLOW_START_TIMEOUT", &millis(weather::START_TIMEOUT)),
        text("DESKHAND_DESKTOP_FLOW_SETTLE_TIME", &millis(weather::SETTLE)),
        text("DESKHAND_DESKTOP_FLOW_VISIBILITY", &millis(weather::VISIBILITY)),
        text("DESKHAND_LOG_FILTER", "info,deskhand=debug"),
        text("PATH", &std::env::var("PATH").unwrap_or_default()),
    ]
}

/// Crashes the broker now and then, spread over the round, for the last time when enough replicas were killed.
async fn crash(command: Option<String>, times: u32, chaos: Arc<Chaos>, kills: u32) -> u32 {
    let Some(command) = command else { return 0 };
    let mut crashed = 0;
    for number in 1..=times {
        let due = kills * number / times;
        while chaos.counts.kills.load(Ordering::SeqCst) < due {
            sleep(Duration::from_millis(200)).await;
        }
        chaos.broker_down.store(true, Ordering::SeqCst);
        let mut shell = tokio::process::Command::new("sh");
        let status = shell.args(["-c", &command]).stdout(Stdio::null()).status().await;
        chaos.broker_down.store(false, Ordering::SeqCst);
        assert!(status.is_ok_and(|status| status.success()), "`{command}` failed");
        crashed += 1;
    }
    crashed
}
