//! What one run of a desktop flow costs the worker from start to completed job, how many it starts in a second, and how
//! long after a run's end its job is completed, or the engine has the message about it.
//!
//! Prints `figure cpu_us_per_run …`, `figure starts_per_second …`, `figure end_to_completed_ms_polling …`,
//! `figure end_to_completed_ms_callback …`, `figure end_to_message_ms_polling …` and `figure end_to_message_ms_callback …`.
//! `DESKHAND_BENCH_RUNS=N` measures another number of runs.

mod world;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use deskhand::connector::desktop_flow::outbox::Target;
use deskhand::connector::{Connector, desktop_flow};
use deskhand::microsoft::dataverse::Organization;
use deskhand::progress::{Progress, PublishPoint, Step};
use deskhand::runs::callback::{Published, Receiver};
use deskhand::worker;
use serde_json::{Value, json};
use world::{IDENTITY, MESSAGES, Outcome, ROLE, World, own_cpu, start_processes, wait_until};

const CALLBACK: &str = "callback";
const WARM_UP: u64 = 500;
/// Runs whose end is timed, and the stretch of time over which they end.
const TIMED: u32 = 40;
const FIRST_END: Duration = Duration::from_secs(10);
/// Longer than the least pause between two looks for ended runs, half a second.
const BETWEEN_ENDS: Duration = Duration::from_millis(600);

fn main() -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    match std::env::var(ROLE).as_deref() {
        Ok(_) => runtime.block_on(start_processes()),
        Err(_) => runtime.block_on(async {
            throughput().await?;
            for told in [Told::Completed, Told::Message] {
                latency(told, "polling").await?;
                latency(told, CALLBACK).await?;
            }
            Ok(())
        }),
    }
}

fn settings() -> worker::Settings {
    worker::Settings {
        max_jobs: 64,
        ..worker::Settings::default()
    }
}

async fn throughput() -> Outcome {
    let runs = std::env::var("DESKHAND_BENCH_RUNS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(10_000_u64);
    let outputs = json!({"json": {"BookingNumber": "B-1"}});
    let world = World::start(json!([{"waiting": "0s", "running": "1s", "outputs": outputs}]))?;
    let (started, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (starts, ends) = (started.clone(), done.clone());
    let progress = Progress::watched_by(move |_, step| match step {
        Step::RunStarted { .. } => drop(starts.fetch_add(1, Ordering::Relaxed)),
        Step::Answered { outcome, message } => {
            assert_eq!(*outcome, "completed", "{message:?}");
            ends.fetch_add(1, Ordering::Relaxed);
        }
        _ => {}
    });
    let (_, stop, working) = world.work(settings(), desktop_flow::Settings::default(), progress)?;
    let _driver = world.drive("driver", usize::try_from(WARM_UP + runs)?)?;
    let patience = Duration::from_secs(600);
    wait_until("warm", patience, || done.load(Ordering::Relaxed) >= WARM_UP).await?;
    let (cpu, began) = (own_cpu()?, Instant::now());
    let (first_start, first) = (started.load(Ordering::Relaxed), done.load(Ordering::Relaxed));
    wait_until("all started", patience, || {
        started.load(Ordering::Relaxed) >= WARM_UP + runs
    })
    .await?;
    let starts = (started.load(Ordering::Relaxed) - first_start) as f64 / began.elapsed().as_secs_f64();
    wait_until("all done", patience, || done.load(Ordering::Relaxed) >= WARM_UP + runs).await?;
    let cpu = (own_cpu()? - cpu).as_secs_f64();
    let jobs = (done.load(Ordering::Relaxed) - first) as f64;
    println!("figure cpu_us_per_run {:.0} us", cpu * 1e6 / jobs);
    println!("figure starts_per_second {starts:.0} 1/s");
    println!("# aim: 400 us from start to completed job; engine, simulator and client share the cores");
    stop.cancel();
    working.await?;
    Ok(())
}

/// How the engine hears of a run's end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    /// The job that waited for the run is completed.
    Completed,
    /// The engine has acknowledged the message about the run.
    Message,
}

/// When runs end, by their ids, and how late the engine heard of it. The simulator's scripts follow the order of starts.
#[derive(Default)]
struct Timed {
    ends: HashMap<String, Instant>,
    /// Jobs that wait for their run.
    waiting: HashMap<i64, String>,
    late: Vec<Duration>,
}

impl Timed {
    fn told(&mut self, run: &str) {
        self.late.extend(self.ends.remove(run).map(|end| end.elapsed()));
    }
}

/// With a receiver of callbacks, or without.
async fn latency(told: Told, way: &str) -> Outcome {
    let running = |index: u32| FIRST_END + BETWEEN_ENDS * index;
    let scripts: Vec<Value> = (0..TIMED)
        .map(|index| json!({"waiting": "0s", "running": format!("{}ms", running(index).as_millis())}))
        .collect();
    let world = World::start(json!(scripts))?;
    let timed = Arc::new(Mutex::new(Timed::default()));
    let noted = timed.clone();
    let published = timed.clone();
    let progress = Progress::watched_by(move |job, step| {
        let mut timed = noted.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match step {
            Step::RunStarted { run } => {
                let index = u32::try_from(timed.waiting.len()).unwrap_or(u32::MAX);
                timed.ends.insert(run.clone(), Instant::now() + running(index));
                timed.waiting.insert(job.key, run.clone());
            }
            Step::Answered { .. } if told == Told::Completed => {
                if let Some(run) = timed.waiting.get(&job.key).cloned() {
                    timed.told(&run);
                }
            }
            _ => {}
        }
    })
    .and_messages(move |message, point| {
        if point == PublishPoint::Published {
            let mut timed = published.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            timed.told(&message.id);
        }
    });
    // One after the other, so that the order of starts is the order of scripts.
    let one = worker::Settings {
        max_jobs: 1,
        ..worker::Settings::default()
    };
    let mut flows = desktop_flow::Settings::default();
    let listen = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    if way == CALLBACK {
        flows.once.callback_url = Some(format!("http://{listen}"));
    }
    if told == Told::Message {
        flows.outbox.targets = vec![Target {
            identity: IDENTITY.into(),
            organization: Organization::parse(&world.organization, &[])?,
        }];
        // Carries what to publish where nothing listens.
        flows.once.token_url = Some("https://hooks.example.com/nothing".into());
    }
    let tokens = flows.once.tokens.clone();
    let (connector, stop, working) = world.work(one, flows, progress)?;
    if let (CALLBACK, Some(watcher)) = (way, connector.watcher()) {
        let published = connector.outbox().map(|outbox| Published {
            tokens,
            hints: outbox.hints().clone(),
        });
        Receiver::with_peers(watcher, None, published).listen(listen).await?;
    }
    let role = if told == Told::Message { MESSAGES } else { "driver" };
    let _driver = world.drive(role, usize::try_from(TIMED)?)?;
    let count = || {
        timed
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .late
            .len()
    };
    wait_until("all ended", Duration::from_secs(300), || count() >= TIMED as usize).await?;
    let mut late = std::mem::take(&mut timed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).late);
    late.sort();
    let told = match told {
        Told::Completed => "completed",
        Told::Message => "message",
    };
    println!(
        "figure end_to_{told}_ms_{way} {:.0} ms",
        late[late.len() / 2].as_secs_f64() * 1000.0
    );
    println!(
        "figure end_to_{told}_ms_{way}_worst {:.0} ms",
        late[late.len() - 1].as_secs_f64() * 1000.0
    );
    stop.cancel();
    working.await?;
    Ok(())
}
