//! The worker alone: jobs that do nothing, from a gateway emulator in a process of its own, so that this process's CPU is
//! the worker's.
//!
//! First, before there was any load, `rss_idle_mib` with two job types and nothing to do, `switches_per_second_idle`, the
//! context switches of all threads, and `kib_per_job_in_flight`: what each of many jobs that run at once adds to the
//! resident memory. With `ZEEBE_ADDRESS`, a real engine: `lapsed_pickup_p50_seconds` and `lapsed_pickup_max_seconds` from the
//! end of a lease that another worker let lapse to the job's begin at a worker that has nothing else to do.
//!
//! For the ways jobs come (`stream`, `poll`, `both`) it prints `figure NAME_WAY VALUE UNIT`: `jobs_per_second` and
//! `cpu_us_per_job` with an engine that never runs out of jobs; `latency_p50_ms` and `latency_p99_ms` from push to
//! acknowledgement at 1,000 jobs a second (`both`: every other job comes by a poll alone); `rss_mib` after that;
//! `hoarded_jobs`, the most that a worker with 8 permits and jobs of 100 ms was given beyond its permits; `recovery_seconds`
//! from the engine's return after an outage of 8 s to the first acknowledged job.

mod emulator;
mod process;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use deskhand::connector::{Call, Connector, Response};
use deskhand::engine::credentials::Authority;
use deskhand::engine::gateway::gateway_client::GatewayClient;
use deskhand::engine::gateway::{ActivateJobsRequest, CreateProcessInstanceRequest, DeployResourceRequest, Resource};
use deskhand::engine::{self, Engine};
use deskhand::mapping::Mapper;
use deskhand::outcome::JobError;
use deskhand::progress::{Progress, Step};
use deskhand::secrets::Secrets;
use deskhand::worker::{self, Ended, Pipeline};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::emulator::{ADDRESS, Emulator, emulate};
use self::process::{own_cpu, own_switches, rss_mib};

const JOB_TYPE: &str = "bench:nothing:1";
const OTHER_JOB_TYPE: &str = "bench:nothing-else:1";
/// As many as the peers in `docs/performance.md` were measured with.
const PERMITS: usize = 256;
const PACED: u64 = 1_000;
/// A worker that is full: what lies in buffers beyond its permits is hoarded.
const FULL_PERMITS: usize = 8;
const FULL_WORK: Duration = Duration::from_millis(100);
/// Jobs that run at once, for their memory.
const IN_FLIGHT: usize = 5_000;
const LONG_WORK: Duration = Duration::from_secs(3600);
const NO_JOBS: u64 = 1;
const OUTAGE: Duration = Duration::from_secs(8);
const PATIENCE: Duration = Duration::from_secs(60);
/// How long nothing happens while context switches are counted.
const REST: Duration = Duration::from_secs(30);
/// Leases that lapse, and the time between two of them: not in step with anybody's polls.
const LAPSED: u32 = 30;
const LAPSES_EVERY: Duration = Duration::from_millis(1300);

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let runtime = tokio::runtime::Runtime::new()?;
    if let Ok(address) = std::env::var(ADDRESS) {
        return runtime.block_on(emulate(address.parse()?));
    }
    runtime.block_on(async {
        measure_memory().await?;
        match std::env::var("ZEEBE_ADDRESS") {
            Ok(engine) => measure_lapsed(&engine).await?,
            Err(_) => {
                println!("not measured without ZEEBE_ADDRESS: lapsed_pickup_p50_seconds, lapsed_pickup_max_seconds")
            }
        }
        for way in ["stream", "poll", "both"] {
            measure(way).await?;
            measure_hoarding(way).await?;
        }
        Ok(())
    })
}

/// Completes every job after some time.
struct Nothing {
    job_type: &'static str,
    takes: Duration,
}

impl Connector for Nothing {
    fn job_type(&self) -> &'static str {
        self.job_type
    }

    fn fetch_variables(&self) -> &'static [&'static str] {
        &["invoice"]
    }

    fn call<'a>(&'a self, _: Call<'a>) -> BoxFuture<'a, Result<Response, JobError>> {
        async {
            if !self.takes.is_zero() {
                tokio::time::sleep(self.takes).await;
            }
            Ok(json!({}).into())
        }
        .boxed()
    }
}

async fn measure(way: &'static str) -> Outcome {
    let address = free_address()?;
    let done = Arc::new(AtomicU64::new(0));
    let (working, stop) = work(address, way, PERMITS, Duration::ZERO, &done)?;

    let mut emulator = Emulator::start(address, way, 0)?;
    wait_for(&done, 5_000).await?;
    let (cpu, began, first) = (own_cpu()?, Instant::now(), done.load(Ordering::Relaxed));
    let theirs = emulator.report()?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let jobs = (done.load(Ordering::Relaxed) - first) as f64;
    let (cpu, elapsed) = ((own_cpu()? - cpu).as_secs_f64(), began.elapsed().as_secs_f64());
    let report = emulator.report()?;
    let their_cpu = report["cpu"].as_f64().unwrap_or(0.0) - theirs["cpu"].as_f64().unwrap_or(0.0);
    println!("figure jobs_per_second_{way} {:.0} 1/s", jobs / elapsed);
    println!("figure cpu_us_per_job_{way} {:.1} us", cpu * 1e6 / jobs);
    println!("figure emulator_cpu_us_per_job_{way} {:.1} us", their_cpu * 1e6 / jobs);
    drop(emulator);

    tokio::time::sleep(OUTAGE).await;
    let before = done.load(Ordering::Relaxed);
    let mut emulator = Emulator::start(address, way, PACED)?;
    let back = Instant::now();
    wait_for(&done, before + 1).await?;
    println!("figure recovery_seconds_{way} {:.2} s", back.elapsed().as_secs_f64());
    // What piled up at the return is not the rule.
    tokio::time::sleep(Duration::from_secs(2)).await;
    emulator.report()?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let report = emulator.report()?;
    println!(
        "figure latency_p50_ms_{way} {:.2} ms",
        report["p50"].as_f64().unwrap_or(f64::NAN)
    );
    println!(
        "figure latency_p99_ms_{way} {:.2} ms",
        report["p99"].as_f64().unwrap_or(f64::NAN)
    );
    println!("figure rss_mib_{way} {:.1} MiB", rss_mib()?);
    stop.cancel();
    drop(emulator);
    working.await?;
    Ok(())
}

async fn measure_memory() -> Outcome {
    let address = free_address()?;
    let done = Arc::new(AtomicU64::new(0));
    let (working, stop) = work(address, "both", IN_FLIGHT, LONG_WORK, &done)?;
    let emulator = Emulator::start(address, "both", NO_JOBS)?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let idle = rss_mib()?;
    println!("figure rss_idle_mib {idle:.1} MiB");
    let before = own_switches()?;
    tokio::time::sleep(REST).await;
    let switches = (own_switches()? - before) as f64;
    println!(
        "figure switches_per_second_idle {:.1} 1/s",
        switches / REST.as_secs_f64()
    );
    drop(emulator);
    let mut emulator = Emulator::start(address, "both", 0)?;
    let give_up = Instant::now() + PATIENCE;
    while emulator.report()?["most_out"].as_u64().unwrap_or(0) < IN_FLIGHT as u64 {
        if Instant::now() > give_up {
            return Err("the worker did not fill up".into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let full = rss_mib()?;
    println!(
        "figure kib_per_job_in_flight {:.1} KiB",
        (full - idle) * 1024.0 / IN_FLIGHT as f64
    );
    drop(emulator);
    stop.cancel();
    working.await?;
    Ok(())
}

/// Another worker lets leases lapse, one by one: how soon does an idle one begin the jobs?
async fn measure_lapsed(engine: &str) -> Outcome {
    let mut gateway = GatewayClient::connect(engine.to_owned()).await?;
    let diagram = format!(
        r#"<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0"
          targetNamespace="bench"><process id="lapsed" isExecutable="true"><startEvent id="start"/>
          <sequenceFlow id="to" sourceRef="start" targetRef="task"/><serviceTask id="task"><extensionElements>
          <zeebe:taskDefinition type="{JOB_TYPE}"/></extensionElements></serviceTask></process></definitions>"#
    );
    let resources = vec![Resource {
        name: "lapsed.bpmn".into(),
        content: diagram.into_bytes(),
    }];
    let deployment = DeployResourceRequest {
        resources,
        ..DeployResourceRequest::default()
    };
    gateway.deploy_resource(deployment).await?;
    let mut ends = HashMap::new();
    let mut length = Duration::from_secs(15);
    for _ in 0..LAPSED {
        let instance = CreateProcessInstanceRequest {
            bpmn_process_id: "lapsed".into(),
            version: -1,
            ..CreateProcessInstanceRequest::default()
        };
        gateway.create_process_instance(instance).await?;
        length += LAPSES_EVERY;
        let give_up = Instant::now() + PATIENCE;
        let job = loop {
            let poll = ActivateJobsRequest {
                r#type: JOB_TYPE.into(),
                worker: "lets lapse".into(),
                timeout: i64::try_from(length.as_millis())?,
                max_jobs_to_activate: 1,
                request_timeout: -1,
                ..ActivateJobsRequest::default()
            };
            let mut batches = gateway.activate_jobs(poll).await?.into_inner();
            if let Some(job) = batches.message().await?.and_then(|batch| batch.jobs.into_iter().next()) {
                break job;
            }
            if Instant::now() > give_up {
                return Err("the engine gives no job".into());
            }
        };
        ends.insert(job.key, job.deadline);
    }
    let begun = Arc::new(Mutex::new(Vec::new()));
    let done = Arc::new(AtomicU64::new(0));
    let (counter, begins) = (done.clone(), begun.clone());
    let progress = Progress::watched_by(move |job, step| match step {
        Step::Received => {
            let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis();
            let late = i64::try_from(now).unwrap_or(i64::MAX) - ends.get(&job.key).copied().unwrap_or(0);
            begins.lock().unwrap_or_else(PoisonError::into_inner).push(late);
        }
        Step::Answered { .. } => {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        _ => {}
    });
    let (working, stop) = worker_at(engine.to_owned(), "both", PERMITS, Duration::ZERO, progress)?;
    wait_for(&done, u64::from(LAPSED)).await?;
    stop.cancel();
    working.await?;
    let mut late = std::mem::take(&mut *begun.lock().unwrap_or_else(PoisonError::into_inner));
    late.sort_unstable();
    let seconds = |at: usize| late.get(at).map_or(f64::NAN, |late| *late as f64 / 1000.0);
    println!("figure lapsed_pickup_p50_seconds {:.2} s", seconds(late.len() / 2));
    println!("figure lapsed_pickup_max_seconds {:.2} s", seconds(late.len() - 1));
    Ok(())
}

async fn measure_hoarding(way: &'static str) -> Outcome {
    let address = free_address()?;
    let done = Arc::new(AtomicU64::new(0));
    let (working, stop) = work(address, way, FULL_PERMITS, FULL_WORK, &done)?;
    let mut emulator = Emulator::start(address, way, 0)?;
    wait_for(&done, 160).await?;
    let most = emulator.report()?["most_out"].as_u64().unwrap_or(u64::MAX);
    println!(
        "figure hoarded_jobs_{way} {} jobs",
        most.saturating_sub(FULL_PERMITS as u64)
    );
    // Away first: what is handed back at the end is no outcome of a job.
    drop(emulator);
    stop.cancel();
    working.await?;
    Ok(())
}

/// Begins a worker whose jobs take this long.
fn work(
    address: SocketAddr,
    way: &'static str,
    permits: usize,
    takes: Duration,
    done: &Arc<AtomicU64>,
) -> Result<(JoinHandle<Ended>, CancellationToken), Box<dyn std::error::Error>> {
    let counter = done.clone();
    let progress = Progress::watched_by(move |_, step| {
        if let Step::Answered { outcome, message } = step {
            assert_eq!(*outcome, "completed", "{message:?}");
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    worker_at(format!("http://{address}"), way, permits, takes, progress)
}

fn worker_at(
    address: String,
    way: &'static str,
    permits: usize,
    takes: Duration,
    progress: Progress,
) -> Result<(JoinHandle<Ended>, CancellationToken), Box<dyn std::error::Error>> {
    let settings = engine::Settings {
        address,
        worker_name: "bench".into(),
        ..engine::Settings::default()
    };
    let pipeline = Pipeline::new(
        [JOB_TYPE, OTHER_JOB_TYPE]
            .map(|job_type| Arc::new(Nothing { job_type, takes }) as Arc<dyn Connector>)
            .into(),
        Secrets::none(),
        Mapper::default(),
        Progress::none(),
    );
    let stop = CancellationToken::new();
    let working = tokio::spawn(worker::run(
        Engine::new(settings, Authority::none())?,
        Arc::new(pipeline),
        worker::Settings {
            max_jobs: permits,
            stream_enabled: way != "poll",
            drain_grace: Duration::from_secs(1),
            ..worker::Settings::default()
        },
        progress,
        stop.clone(),
    ));
    Ok((working, stop))
}

async fn wait_for(done: &AtomicU64, jobs: u64) -> Outcome {
    let give_up = Instant::now() + PATIENCE;
    while done.load(Ordering::Relaxed) < jobs {
        if Instant::now() > give_up {
            return Err(format!("only {} of {jobs} jobs were done", done.load(Ordering::Relaxed)).into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

fn free_address() -> std::io::Result<SocketAddr> {
    std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()
}
