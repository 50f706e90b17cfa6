//! The worker: takes jobs with a permit each, runs them, keeps their leases alive, and drains when asked to stop.
//!
//! In goes a shutdown token; out comes, when everything is done, how it ended ([`Ended`]). [`pipeline`] is one job's way
//! on one page.

mod age;
mod beats;
mod car_park;
pub mod clock;
mod hand_back;
mod held;
mod hold;
mod intake;
mod judge;
mod lease;
mod messages;
mod output;
mod parked;
pub mod permits;
pub mod pipeline;
mod running;
mod unleased;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::engine::{Engine, Subscription};
use crate::job::Job;
use crate::metrics::metrics;
use crate::progress::Progress;
use beats::Beats;
use car_park::CarPark;
pub use clock::Clock;
use hand_back::StreamsClosed;
use held::HeldJobs;
pub use hold::Hold;
use intake::Intake;
pub use permits::Permits;
pub use pipeline::Pipeline;
use running::Running;

/// How much is taken, for how long, and how it ends.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Jobs that are worked on at once, over all job types that have no pool of their own.
    pub max_jobs: usize,
    /// Job types with a pool of their own, and how many of their jobs are worked on at once.
    pub own_max_jobs: BTreeMap<String, usize>,
    /// Jobs that may wait for something outside without counting as worked on.
    pub max_parked: usize,
    /// Heartbeats a second, over all jobs that wait without counting as worked on. Fewer make leases longer, and it takes
    /// longer to see that a task was cancelled.
    pub heartbeats_per_second: usize,
    /// How long the engine waits for an outcome; kept up by heartbeats while a job runs.
    pub job_timeout: Duration,
    /// How often the backlog is asked for while nothing is found there.
    pub poll_interval: Duration,
    /// Take pushed jobs (the job stream)? Without it all jobs come by polls.
    pub stream_enabled: bool,
    /// How long running jobs may go on after the signal to stop.
    pub drain_grace: Duration,
    /// Does the engine fence our jobs with tokens?
    pub leases: Leases,
    /// What tells how long leases last.
    pub clock: Clock,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_jobs: 32,
            own_max_jobs: BTreeMap::new(),
            max_parked: 100_000,
            heartbeats_per_second: 200,
            job_timeout: Duration::from_secs(300),
            poll_interval: Duration::from_secs(2),
            stream_enabled: true,
            drain_grace: Duration::from_secs(30),
            leases: Leases::Off,
            clock: Clock::system(),
        }
    }
}

/// Whether jobs are taken with a lease token (8.10 and later): the engine then refuses every command of a worker that
/// lost its job. A leased job is invisible to workers that do not lease, so all workers of a job type switch together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leases {
    /// No tokens.
    #[default]
    Off,
    /// Tokens where the engine gives them.
    Preferred,
    /// No job is begun without a token.
    Required,
}

/// How a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every job that was running has got its outcome, or was handed back.
    Drained,
    /// These many jobs were left to their lease: the engine gives them out again when it has lapsed.
    Left(usize),
}

/// After the grace, waiting jobs are told to let go; this is the longest they may take to hand themselves back.
const LET_GO: Duration = Duration::from_secs(5);

/// Works until `stop` fires, then drains: no intake, running jobs finish within the grace, the rest is handed back.
///
/// The engine need not be there at the start, and may go and come back.
pub async fn run(
    engine: Engine,
    pipeline: Arc<Pipeline>,
    settings: Settings,
    progress: Progress,
    stop: CancellationToken,
) -> Ended {
    let permits = Permits::new(settings.max_jobs, settings.own_max_jobs.clone(), settings.max_parked);
    metrics().before_reading({
        let permits = permits.clone();
        move |metrics| {
            for (name, pool) in permits.pools() {
                metrics.permits(name, pool.size(), pool.free());
            }
            metrics.parked(permits.parked());
        }
    });
    let tasks = TaskTracker::new();
    let let_go = CancellationToken::new();
    let running = Arc::new(Running {
        commands: engine.commands(),
        pipeline: pipeline.clone(),
        progress: progress.clone(),
        tasks: tasks.clone(),
        stop: stop.clone(),
        streams_closed: StreamsClosed::default(),
        let_go: let_go.clone(),
        held: HeldJobs::default(),
        parked: CarPark::new(engine.commands(), settings.heartbeats_per_second),
        left: AtomicUsize::new(0),
        clock: settings.clock.clone(),
        leases: settings.leases,
        said_unleased: AtomicBool::new(false),
        jumps: Notify::new(),
    });
    let watch = tokio::spawn(watch_clock(running.clone()));
    let over = CancellationToken::new();
    let parking = [
        tokio::spawn({
            let (running, over) = (running.clone(), over.clone());
            async move { running.parked.clone().keep_alive(&running, &over).await }
        }),
        tokio::spawn({
            let (running, over) = (running.clone(), over.clone());
            async move { running.parked.clone().bring_back(&running, &over).await }
        }),
    ];
    let published = tokio::spawn(messages::publish(engine.commands(), pipeline.clone(), progress));
    let intakes = TaskTracker::new();
    let beats = Beats::new();
    for connector in pipeline.connectors() {
        let subscription = Subscription {
            job_type: connector.job_type().to_owned(),
            lease: settings.job_timeout,
            fetch_variables: connector.fetch_variables().iter().map(ToString::to_string).collect(),
            with_lease: settings.leases != Leases::Off,
        };
        tracing::info!(job_type = subscription.job_type, "taking jobs");
        let pool = permits.pool(&subscription.job_type).clone();
        let intake = Intake::new(engine.clone(), subscription, pool, running.clone(), &settings, beats);
        intakes.spawn(supervised(intake, stop.clone()));
    }
    intakes.close();
    intakes.wait().await;
    // What is not published yet is found by whoever comes after us.
    published.abort();
    running.streams_closed.now();
    let lapsing = running.parked.hand_back(&running).await;
    running.left.fetch_add(lapsing, Ordering::Relaxed);
    tasks.close();

    let waiting = running.held.count();
    if waiting > 0 {
        tracing::info!(jobs = waiting, grace = ?settings.drain_grace, "stopping: running jobs may finish");
    }
    let grace_ends = tokio::time::Instant::now() + settings.drain_grace;
    if tokio::time::timeout_at(grace_ends, tasks.wait()).await.is_err() {
        let_go.cancel();
        // What is handed back waits for this too; its own time begins then.
        running.until_streams_are_seen_closed().await;
        // What has not ended by then is counted as left.
        let _ = tokio::time::timeout(LET_GO.min(settings.drain_grace), tasks.wait()).await;
    }
    over.cancel();
    for one in parking {
        let _ = one.await;
    }
    watch.abort();
    let after_jobs = pipeline.connectors().map(|connector| connector.after_jobs());
    let _ = tokio::time::timeout_at(grace_ends, join_all(after_jobs)).await;
    match running.held.count() + running.left.load(Ordering::Relaxed) {
        0 => Ended::Drained,
        left => Ended::Left(left),
    }
}

/// An intake never ends while it is wanted: should it panic, it is begun again, and the defect is said.
async fn supervised(intake: Intake, stop: CancellationToken) {
    const PAUSE: Duration = Duration::from_secs(1);
    let intake = Arc::new(intake);
    while !stop.is_cancelled() {
        let one = intake.clone();
        let token = stop.clone();
        let ended = tokio::spawn(async move { one.run(token).await }).await;
        if let Err(defect) = ended {
            tracing::error!(
                job_type = intake.job_type(),
                panic = defect.is_panic(),
                "the intake of jobs broke; beginning again"
            );
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Wakes whoever counts on timers when the clocks have run away from them: after a suspension.
async fn watch_clock(running: Arc<Running>) {
    const WITH_JOBS: Duration = Duration::from_secs(1);
    const WITHOUT: Duration = Duration::from_secs(10);
    loop {
        let pause = || match running.held.count() {
            0 => WITHOUT,
            _ => WITH_JOBS,
        };
        running.clock.jumped(pause).await;
        tracing::warn!(
            "the clock jumped (this machine was suspended, or its clock was set): leases are looked at anew"
        );
        running.jumps.notify_waiters();
    }
}

/// What a job is called in a log line.
fn named(job: &Job) -> String {
    format!(
        "{} in {} ({})",
        job.element_id, job.bpmn_process_id, job.process_instance_key
    )
}
