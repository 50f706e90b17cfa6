//! One round: a simulator of its own, replicas that die, instances that want runs. When enough have died the weather
//! clears, everything ends, and the facts are judged.

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
use crate::clerk::Clerk;
use crate::{processes, weather};

/// How long a round may take to end when nothing goes wrong any more.
const CALM: Duration = Duration::from_secs(240);
/// Longer than every lease: what has not moved then does not move by itself.
const STANDS_STILL: Duration = Duration::from_secs(120);
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
    /// Jobs that the engine gave nobody although their leases had long lapsed, until they were failed by hand.
    pub freed_by_hand: u32,
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
    clerk.deploy(&all).await;
    let taking = tokio::spawn(clerk.clone().take());

    // Secrets go to the simulator and nowhere else.
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("deskhand.toml");
    let rule = format!(
        "[[secrets.rule]]\nname = \"PA_*\"\nhosts = [\"{}\"]\n",
        simulator.address()
    );
    std::fs::write(&config, rule).unwrap();
    let mut environment = environment(&address);
    environment.push(("DESKHAND_CONFIG".into(), config.display().to_string()));
    let chaos = Arc::new(Chaos {
        environment,
        without: arguments.without.clone(),
        log: arguments.log.clone(),
        clerk: clerk.clone(),
        left: kills.into(),
        frozen_while_writing: Default::default(),
        counts: Default::default(),
        frozen: Default::default(),
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
    let round = format!("{seed:x}");
    let mut number = 0_u64;
    let done = |chaos: &Chaos| chaos.counts.kills.load(Ordering::SeqCst) >= kills;
    while !done(&chaos) {
        simulator.clear_faults();
        weather::bad(&simulator, &mut random);
        for _ in clerk.open()..arguments.instances {
            number += 1;
            let process = all[random.usize(0..all.len())];
            let key = clerk.start(process, &format!("{round}-{number}")).await;
            if let Some(key) = key.filter(|_| random.u32(0..25) == 0) {
                let (clerk, after) = (clerk.clone(), Duration::from_millis(random.u64(100..6_000)));
                tokio::spawn(async move {
                    sleep(after).await;
                    clerk.cancel(key).await;
                });
            }
        }
        sleep(Duration::from_millis(300)).await;
    }
    let broker_crashes = crashes.await.unwrap();
    simulator.clear_faults();
    let began = Instant::now();
    let mut freed = 0;
    while clerk.open() > 0 && began.elapsed() < CALM {
        sleep(Duration::from_millis(200)).await;
        if freed == 0 && began.elapsed() > STANDS_STILL {
            freed = clerk.free_what_stands_still().await;
        }
    }
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
    let (verdict, findings) = checker::judge(&clerk.facts(), &runs(&simulator), &circumstances);
    let counts = &chaos.counts;
    let outcome = Outcome {
        verdict,
        findings,
        kills: counts.kills.load(Ordering::SeqCst),
        freezes: counts.freezes.load(Ordering::SeqCst),
        adopted: counts.adopted.load(Ordering::SeqCst),
        reconciled: counts.reconciled.load(Ordering::SeqCst),
        broker_crashes,
        freed_by_hand: freed,
    };
    if let Some(engine) = sandbox {
        engine.stop().await;
    }
    outcome
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
                readable: created + i64::try_from(weather::HIDDEN.as_millis()).unwrap(),
                ended: session.completed.as_deref().map(millis),
                cancelled: session.statuscode == 7,
            }
        })
        .collect()
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

/// Crashes the broker now and then, spread over the round.
async fn crash(command: Option<String>, times: u32, chaos: Arc<Chaos>, kills: u32) -> u32 {
    let Some(command) = command else { return 0 };
    let mut crashed = 0;
    for number in 1..=times {
        let due = kills * number / (times + 1);
        while chaos.counts.kills.load(Ordering::SeqCst) < due {
            sleep(Duration::from_millis(200)).await;
        }
        let status = tokio::process::Command::new("sh").args(["-c", &command]).status().await;
        assert!(status.is_ok_and(|status| status.success()), "`{command}` failed");
        crashed += 1;
    }
    crashed
}
