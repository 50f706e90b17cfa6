//! The gateway emulator, a process of its own: gives out jobs as fast as they are taken, or at a rate, and reports what it
//! saw when it is asked on its standard input.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use deskhand::engine::gateway::gateway_server::{Gateway, GatewayServer};
use deskhand::engine::gateway::{
    ActivateJobsRequest, ActivateJobsResponse, ActivatedJob, CompleteJobRequest, CompleteJobResponse, FailJobRequest,
    FailJobResponse, StreamActivatedJobsRequest,
};
use futures_util::task::AtomicWaker;
use serde_json::{Value, json};
use tonic::codegen::BoxStream;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response as Answer, Status};

use crate::process::own_cpu;
use crate::{JOB_TYPE, OTHER_JOB_TYPE, Outcome};

/// Where a process that was started as emulator listens.
pub const ADDRESS: &str = "DESKHAND_BENCH_ADDRESS";
const WAY: &str = "DESKHAND_BENCH_WAY";
/// Jobs a second; 0: as fast as they are taken; below 1,000: none.
const RATE: &str = "DESKHAND_BENCH_RATE";

/// The emulator's process; killed with its guard.
pub struct Emulator {
    child: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Emulator {
    /// Gives back when it listens.
    pub fn start(address: SocketAddr, way: &str, rate: u64) -> Result<Self, Box<dyn std::error::Error>> {
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
    pub fn report(&mut self) -> Result<Value, Box<dyn std::error::Error>> {
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

pub async fn emulate(address: SocketAddr) -> Outcome {
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
