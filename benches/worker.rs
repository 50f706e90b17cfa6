//! The worker alone: jobs that do nothing, from a gateway emulator in a process of its own, so that this process's CPU is
//! the worker's.
//!
//! First, before there was any load, `rss_idle_mib` with two job types and nothing to do, `switches_per_second_idle`, the
//! context switches of all threads, and `kib_per_job_in_flight`: what each of many jobs that run at once adds to the
//! resident memory. With `ZEEBE_ADDRESS`, a real engine: `lapsed_pickup_p50_seconds` and `lapsed_pickup_max_seconds` from the
//! end of a lease that another worker let lapse to the job's begin at a worker that has nothing else to do. For the ways jobs come (`stream`, `poll`, `both`) it prints `figure NAME_WAY VALUE UNIT`: `jobs_per_second` and
//! `cpu_us_per_job` with an engine that never runs out of jobs; `latency_p50_ms` and `latency_p99_ms` from push to
//! acknowledgement at 1,000 jobs a second; `rss_mib` after that; `hoarded_jobs`, the most that a worker with 8 permits and
//! jobs of 100 ms was given beyond its permits; `recovery_seconds` from the engine's return after an outage of 8 s to the first acknowledged job.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use deskhand::connector::{Call, Connector, Response};
use deskhand::engine::credentials::Authority;
use deskhand::engine::gateway::gateway_client::GatewayClient;
use deskhand::engine::gateway::gateway_server::{Gateway, GatewayServer};
use deskhand::engine::gateway::{
    ActivateJobsRequest, ActivateJobsResponse, ActivatedJob, CompleteJobRequest, CompleteJobResponse,
    CreateProcessInstanceRequest, DeployResourceRequest, FailJobRequest, FailJobResponse, Resource,
    StreamActivatedJobsRequest,
};
use deskhand::engine::{self, Engine};
use deskhand::mapping::Mapper;
use deskhand::outcome::JobError;
use deskhand::progress::{Progress, Step};
use deskhand::secrets::Secrets;
use deskhand::worker::{self, Ended, Pipeline};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::task::AtomicWaker;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::codegen::BoxStream;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response as Answer, Status};

const JOB_TYPE: &str = "bench:nothing:1";
const OTHER_JOB_TYPE: &str = "bench:nothing-else:1";
/// As many as the peers in `docs/performance.md` were measured with.
const PERMITS: usize = 256;
const ADDRESS: &str = "DESKHAND_BENCH_ADDRESS";
const WAY: &str = "DESKHAND_BENCH_WAY";
/// Jobs a second; 0: as fast as they are taken; below 1,000: none.
const RATE: &str = "DESKHAND_BENCH_RATE";
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

/// CPU seconds that the threads of this process have used, by the scheduler's own account.
fn own_cpu() -> Result<Duration, Box<dyn std::error::Error>> {
    let mut nanoseconds = 0;
    for thread in std::fs::read_dir("/proc/self/task")? {
        let account = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        nanoseconds += account.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// Context switches of the threads of this process, waited for or not.
fn own_switches() -> Result<u64, Box<dyn std::error::Error>> {
    let mut switches = 0;
    for thread in std::fs::read_dir("/proc/self/task")? {
        let status = std::fs::read_to_string(thread?.path().join("status"))?;
        for line in status.lines().filter(|line| line.contains("ctxt_switches:")) {
            switches += line.split_whitespace().nth(1).ok_or("no number")?.parse::<u64>()?;
        }
    }
    Ok(switches)
}

fn rss_mib() -> Result<f64, Box<dyn std::error::Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .ok_or("no VmRSS")?;
    let kilobytes: f64 = line.split_whitespace().nth(1).ok_or("no number")?.parse()?;
    Ok(kilobytes / 1024.0)
}

/// The emulator's process; killed with its guard.
struct Emulator {
    child: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Emulator {
    /// Gives back when it listens.
    fn start(address: SocketAddr, way: &str, rate: u64) -> Result<Self, Box<dyn std::error::Error>> {
        let mut child = Command::new(std::env::current_exe()?)
            .env(ADDRESS, address.to_string())
            .env(WAY, way)
            .env(RATE, rate.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let asks = child.stdin.take().ok_or("no stdin")?;
        let answers = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        let mut emulator = Self { child, asks, answers };
        emulator.line()?;
        Ok(emulator)
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line)
    }

    /// What it saw since the last report.
    fn report(&mut self) -> Result<Value, Box<dyn std::error::Error>> {
        writeln!(self.asks, "report")?;
        Ok(serde_json::from_str(&self.line()?)?)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the emulator knows.
#[derive(Default)]
struct Shared {
    saturated: bool,
    keys: AtomicI64,
    /// Jobs that were given out and are not completed: when each was made.
    out: Mutex<HashMap<i64, Instant>>,
    most_out: AtomicU64,
    latencies: Mutex<Vec<Duration>>,
    /// With a rate: jobs for the stream and for polls.
    pushes: Mutex<VecDeque<ActivatedJob>>,
    backlog: Mutex<VecDeque<ActivatedJob>>,
    pushed: AtomicWaker,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn job(&self) -> ActivatedJob {
        let key = self.keys.fetch_add(1, Ordering::Relaxed);
        let mut out = lock(&self.out);
        out.insert(key, Instant::now());
        self.most_out.fetch_max(out.len() as u64, Ordering::Relaxed);
        ActivatedJob {
            key,
            r#type: JOB_TYPE.into(),
            process_instance_key: key + 1,
            bpmn_process_id: "bench".into(),
            process_definition_version: 1,
            process_definition_key: 7,
            element_id: "task".into(),
            element_instance_key: key + 2,
            custom_headers: "{}".into(),
            worker: "bench".into(),
            retries: 3,
            variables: r#"{"invoice":{"id":"4711","customer":"Contoso","lines":[1,2,3,4,5,6,7,8],"amount":129.9}}"#
                .into(),
            tenant_id: "<default>".into(),
            ..ActivatedJob::default()
        }
    }

    fn completed(&self, key: i64) {
        let began = lock(&self.out).remove(&key);
        if let (false, Some(began)) = (self.saturated, began) {
            lock(&self.latencies).push(began.elapsed());
        }
    }

    fn report(&self) -> Result<Value, Box<dyn std::error::Error>> {
        let mut latencies = std::mem::take(&mut *lock(&self.latencies));
        latencies.sort_unstable();
        let at = |part: f64| {
            let index = (latencies.len() as f64 * part) as usize;
            latencies.get(index).map(|latency| latency.as_secs_f64() * 1e3)
        };
        Ok(json!({
            "cpu": own_cpu()?.as_secs_f64(),
            "most_out": self.most_out.load(Ordering::Relaxed),
            "p50": at(0.5),
            "p99": at(0.99),
        }))
    }
}

async fn emulate(address: SocketAddr) -> Outcome {
    let way = std::env::var(WAY)?;
    let rate: u64 = std::env::var(RATE)?.parse()?;
    let shared = Arc::new(Shared {
        saturated: rate == 0,
        ..Shared::default()
    });
    if rate > 0 {
        tokio::spawn(produce(shared.clone(), rate, way.clone()));
    }
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening");
    let asked = shared.clone();
    std::thread::spawn(move || {
        for _ in std::io::stdin().lines() {
            match asked.report() {
                Ok(report) => println!("{report}"),
                Err(error) => eprintln!("{error}"),
            }
        }
    });
    let service = GatewayServer::new(Emulated { shared, way });
    tonic::transport::Server::builder()
        .add_service(service)
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
        .await?;
    Ok(())
}

/// Makes jobs at a rate; `both` gives every other one to polls.
async fn produce(shared: Arc<Shared>, rate: u64, way: String) {
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    let per_tick = rate / 1_000;
    loop {
        ticks.tick().await;
        for _ in 0..per_tick {
            let job = shared.job();
            let to_polls = way == "poll" || (way == "both" && job.key % 2 == 0);
            // Without a worker jobs do not pile up for ever.
            let queue = if to_polls { &shared.backlog } else { &shared.pushes };
            let mut queue = lock(queue);
            if queue.len() < 10_000 {
                queue.push_back(job);
            }
        }
        shared.pushed.wake();
    }
}

struct Emulated {
    shared: Arc<Shared>,
    way: String,
}

/// Pushed jobs, as fast as the connection takes them or as they are made.
struct Pushing {
    shared: Arc<Shared>,
    given: u32,
}

impl futures_util::Stream for Pushing {
    type Item = Result<ActivatedJob, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.shared.saturated {
            // A few at a time, as a gateway does: what lies in our own server's buffers is not the worker's.
            self.given = (self.given + 1) % 16;
            if self.given == 0 {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            return Poll::Ready(Some(Ok(self.shared.job())));
        }
        self.shared.pushed.register(context.waker());
        match lock(&self.shared.pushes).pop_front() {
            Some(job) => Poll::Ready(Some(Ok(job))),
            None => Poll::Pending,
        }
    }
}

#[tonic::async_trait]
impl Gateway for Emulated {
    async fn stream_activated_jobs(
        &self,
        request: Request<StreamActivatedJobsRequest>,
    ) -> Result<Answer<BoxStream<ActivatedJob>>, Status> {
        if request.into_inner().r#type == OTHER_JOB_TYPE {
            return Ok(Answer::new(Box::pin(tokio_stream::pending())));
        }
        Ok(Answer::new(Box::pin(Pushing {
            shared: self.shared.clone(),
            given: 0,
        })))
    }

    async fn activate_jobs(
        &self,
        request: Request<ActivateJobsRequest>,
    ) -> Result<Answer<BoxStream<ActivateJobsResponse>>, Status> {
        let request = request.into_inner();
        let most = usize::try_from(request.max_jobs_to_activate).unwrap_or(0);
        let jobs: Vec<_> = match self.shared.saturated {
            _ if request.r#type == OTHER_JOB_TYPE => vec![],
            true if self.way == "stream" => vec![],
            true => (0..most).map(|_| self.shared.job()).collect(),
            false => {
                let mut backlog = lock(&self.shared.backlog);
                let most = most.min(backlog.len());
                backlog.drain(..most).collect()
            }
        };
        let batches: Vec<Result<ActivateJobsResponse, Status>> = match jobs.is_empty() {
            true => vec![],
            false => vec![Ok(ActivateJobsResponse { jobs })],
        };
        Ok(Answer::new(Box::pin(tokio_stream::iter(batches))))
    }

    async fn complete_job(&self, request: Request<CompleteJobRequest>) -> Result<Answer<CompleteJobResponse>, Status> {
        self.shared.completed(request.into_inner().job_key);
        Ok(Answer::new(CompleteJobResponse::default()))
    }

    async fn fail_job(&self, request: Request<FailJobRequest>) -> Result<Answer<FailJobResponse>, Status> {
        self.shared.completed(request.into_inner().job_key);
        Ok(Answer::new(FailJobResponse::default()))
    }
}
