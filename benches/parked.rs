//! What 100,000 waiting jobs cost: memory and CPU of the worker at rest.
//!
//! `DESKHAND_BENCH_PARKED=N` parks another number, `DESKHAND_BENCH_REST=S` measures for S seconds. Prints
//! `figure rss_mib …`, `figure cpu_percent …`, `figure runs_per_query …`, `figure heartbeats_per_second …`.

mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use deskhand::connector::desktop_flow;
use deskhand::progress::Progress;
use deskhand::worker;
use serde_json::json;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};
use world::{Outcome, ROLE, World, own_cpu, rss_mib, start_processes, wait_until};

/// Counts what the car park says at level TRACE: its heartbeats.
struct Heartbeats(Arc<AtomicU64>);

impl Layer<Registry> for Heartbeats {
    fn on_event(&self, _: &tracing::Event<'_>, _: Context<'_, Registry>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

fn main() -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    match std::env::var(ROLE).as_deref() {
        Ok(_) => runtime.block_on(start_processes()),
        Err(_) => runtime.block_on(measure()),
    }
}

async fn measure() -> Outcome {
    let parked = number("DESKHAND_BENCH_PARKED", 100_000);
    let rest = Duration::from_secs(number("DESKHAND_BENCH_REST", 120) as u64);
    let heartbeats = Arc::new(AtomicU64::new(0));
    Registry::default()
        .with(
            Heartbeats(heartbeats.clone())
                .with_filter(Targets::new().with_target("deskhand::worker::car_park", Level::TRACE)),
        )
        .init();
    let world = World::start(json!([{"waiting": "0s", "running": "2h"}]))?;
    let settings = worker::Settings {
        max_jobs: 64,
        max_parked: parked,
        ..worker::Settings::default()
    };
    let (flows, stop, working) = world.work(settings, desktop_flow::Settings::default(), Progress::none())?;
    let began = Instant::now();
    let _driver = world.drive("driver", parked)?;
    let mut told = 0;
    wait_until("all jobs are parked", Duration::from_secs(1500), || {
        let waiting = flows.figures().waiting;
        if waiting / 10_000 > told {
            told = waiting / 10_000;
            eprintln!("# {waiting} parked after {:.0} s", began.elapsed().as_secs_f64());
        }
        waiting >= parked
    })
    .await?;
    // What was started last is looked at often at first, and leases of the beginning are short.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let (cpu, before, beats, began) = (
        own_cpu()?,
        flows.figures(),
        heartbeats.load(Ordering::Relaxed),
        Instant::now(),
    );
    tokio::time::sleep(rest).await;
    let seconds = began.elapsed().as_secs_f64();
    let after = flows.figures();
    let cpu = (own_cpu()? - cpu).as_secs_f64();
    let queries = (after.queries - before.queries) as f64;
    println!("figure parked {} jobs", after.waiting);
    println!("figure rss_mib {:.0} MiB", rss_mib()?);
    println!("figure cpu_percent {:.2} %", 100.0 * cpu / seconds);
    println!(
        "figure runs_per_query {:.1} runs",
        (after.asked_for - before.asked_for) as f64 / queries.max(1.0)
    );
    println!("figure queries_per_second {:.2} 1/s", queries / seconds);
    println!(
        "figure heartbeats_per_second {:.1} 1/s",
        (heartbeats.load(Ordering::Relaxed) - beats) as f64 / seconds
    );
    println!("# aims with 100,000 parked: 300 MiB, 5 % of one core");
    stop.cancel();
    working.abort();
    Ok(())
}
