//! Half an hour at 50 jobs a second while the broker is killed or stands still at random: everything ends, and memory does
//! not grow. `SOAK_MINUTES` shortens it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use deskhand::engine::credentials::Authority;
use deskhand::engine::{self, Engine};
use deskhand::worker::{self, Ended};
use serde_json::json;
use support::broker::{Broker, Starter};
use support::ledger::{self, Ledger, process};
use tokio_util::sync::CancellationToken;

const PER_SECOND: u64 = 50;

/// Resident memory of this process, which is worker and test together, MiB.
fn rss() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "starts and kills a broker of its own, for half an hour: set ENGINE_TOOLS"]
async fn everything_ends_and_memory_stays_while_faults_come_at_random() {
    let minutes: u64 = std::env::var("SOAK_MINUTES").map_or(30, |text| text.parse().unwrap());
    let seed = fastrand::u64(..);
    println!("seed {seed}, {minutes} minutes");
    let broker = Arc::new(Broker::start("soak", 3, &[]));
    let settings = engine::Settings {
        address: broker.url(),
        worker_name: "soak".into(),
        ..engine::Settings::default()
    };
    let engine = Engine::new(settings, Authority::none()).unwrap();
    let task = |name: &str| format!(r#"<zeebe:taskDefinition type="{name}" />"#);
    let bpmn = process(&task("killer:work"), &task("killer:done"));
    engine.deploy(&[("two-tasks.bpmn", &bpmn)]).await.unwrap();

    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let stop = CancellationToken::new();
    let working = tokio::spawn(worker::run(
        engine,
        Arc::new(ledger::pipeline(&ledger, Duration::from_millis(50))),
        worker::Settings {
            job_timeout: Duration::from_secs(30),
            ..worker::Settings::default()
        },
        ledger::progress(&ledger),
        stop.clone(),
    ));
    let hurting = tokio::task::spawn_blocking({
        let broker = broker.clone();
        let until = Instant::now() + Duration::from_secs(60 * minutes);
        move || {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut faults = 0;
            loop {
                std::thread::sleep(Duration::from_secs(random.u64(30..90)));
                if Instant::now() > until {
                    return faults;
                }
                faults += 1;
                match random.bool() {
                    true => {
                        broker.kill();
                        broker.start_again();
                    }
                    false => broker.stand_still(Duration::from_secs(random.u64(2..20))),
                }
            }
        }
    });
    let starter = Starter::new(&broker.url());
    let jobs = 60 * minutes * PER_SECOND / 2;
    let mut ticks = tokio::time::interval(Duration::from_millis(2_000 / PER_SECOND));
    let mut early = 0.0;
    for n in 0..jobs {
        ticks.tick().await;
        // Each instance has two jobs. While the broker is away, starting waits too.
        starter.create("two-tasks", &json!({ "n": n })).await;
        if n == jobs / 10 {
            early = rss();
        }
    }
    let faults = hurting.await.unwrap();
    let give_up = Instant::now() + Duration::from_secs(180);
    while (ledger.lock().unwrap().done.len() as u64) < jobs {
        assert!(Instant::now() < give_up, "not every instance came to its second task");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let late = rss();
    stop.cancel();
    assert_eq!(working.await.unwrap(), Ended::Drained);
    let ledger = ledger.lock().unwrap();
    println!(
        "{jobs} instances ended through {faults} faults; {} executions beyond one a job; memory {early:.1} MiB after a \
         tenth, {late:.1} MiB at the end (the test's own notes of each job included)",
        ledger.repeated()
    );
}
