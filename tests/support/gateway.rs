//! A fake gateway: real gRPC on a free loopback port. Jobs are pushed or lie in the backlog as the test says, every
//! command is recorded in order, and the next answers can be made to fail.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use deskhand::engine::gateway::gateway_server::{Gateway, GatewayServer};
use deskhand::engine::gateway::{
    ActivateJobsRequest, ActivateJobsResponse, ActivatedJob, CompleteJobRequest, CompleteJobResponse, FailJobRequest,
    FailJobResponse, PublishMessageRequest, PublishMessageResponse, SetVariablesRequest, SetVariablesResponse,
    StreamActivatedJobsRequest, ThrowErrorRequest, ThrowErrorResponse, TopologyRequest, TopologyResponse,
    UpdateJobTimeoutRequest, UpdateJobTimeoutResponse,
};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_rustls::rustls::ServerConfig;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::BoxStream;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status};

use super::connections::connections;
use super::messages::{Messages, Offer};

/// No test waits longer than this for anything.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What a worker told the gateway.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Complete {
        key: i64,
        variables: serde_json::Value,
    },
    Fail {
        key: i64,
        retries: i32,
        backoff_ms: i64,
        message: String,
    },
    Throw {
        key: i64,
        code: String,
    },
    Extend {
        key: i64,
        timeout_ms: i64,
    },
    SetVariables {
        scope: i64,
        local: bool,
    },
}

/// A running fake gateway.
pub struct FakeGateway {
    pub address: SocketAddr,
    state: Arc<State>,
    commands: tokio::sync::Mutex<mpsc::Receiver<Command>>,
    runtime: Mutex<Option<Runtime>>,
}

struct State {
    streams: Mutex<Vec<OpenStream>>,
    streams_opened: AtomicUsize,
    /// Streams that are opened now are never given a job, and nothing shows it.
    streams_are_dead: AtomicBool,
    /// Jobs that went into a stream's connection.
    pushed: Arc<AtomicUsize>,
    backlog: Mutex<VecDeque<ActivatedJob>>,
    largest_poll: Mutex<i32>,
    /// Polls give one batch and never end.
    polls_hang: AtomicBool,
    refusals: Mutex<VecDeque<(Rpc, Status)>>,
    /// How many heartbeats the broker takes at once, and how long each takes.
    heartbeats: Mutex<Option<(Arc<Semaphore>, Duration)>>,
    delays: Mutex<Vec<(Rpc, Duration)>>,
    /// When the leases of polled jobs lapse, and how many were completed after that.
    lapses: Mutex<HashMap<i64, Instant>>,
    late: AtomicUsize,
    guard: Option<Guard>,
    commands: mpsc::Sender<Command>,
    messages: Messages,
    transcript: Mutex<String>,
    go_away: Arc<Notify>,
}

struct OpenStream {
    job_type: String,
    jobs: mpsc::Sender<Result<ActivatedJob, Status>>,
}

/// Lets a call in, or says why not.
pub type Guard = Arc<dyn Fn(&MetadataMap) -> Result<(), Status> + Send + Sync>;

/// How a gateway is started.
#[derive(Default)]
pub struct Start {
    /// A fixed address, for a gateway that comes back.
    pub address: Option<SocketAddr>,
    /// TLS with this configuration.
    pub tls: Option<ServerConfig>,
    /// Who may call.
    pub guard: Option<Guard>,
}

/// The calls that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rpc {
    Complete,
    Fail,
    Extend,
}

impl FakeGateway {
    pub async fn start() -> Self {
        Self::start_as(Start::default()).await
    }

    /// At a fixed address, for a gateway that comes back.
    pub async fn start_at(address: SocketAddr) -> Self {
        Self::start_as(Start {
            address: Some(address),
            ..Start::default()
        })
        .await
    }

    pub async fn start_as(start: Start) -> Self {
        let address = start.address.unwrap_or_else(|| "127.0.0.1:0".parse().unwrap());
        // A runtime of its own: shutting it down cuts every connection at once, as a killed process does.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.spawn(bind(address)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, commands) = mpsc::channel(10_000);
        let go_away = Arc::new(Notify::new());
        let state = Arc::new(State {
            streams: Mutex::default(),
            streams_opened: AtomicUsize::new(0),
            streams_are_dead: AtomicBool::new(false),
            pushed: Arc::default(),
            backlog: Mutex::default(),
            largest_poll: Mutex::default(),
            polls_hang: AtomicBool::new(false),
            refusals: Mutex::default(),
            heartbeats: Mutex::default(),
            delays: Mutex::default(),
            lapses: Mutex::default(),
            late: AtomicUsize::new(0),
            guard: start.guard,
            commands: sender,
            messages: Messages::default(),
            transcript: Mutex::default(),
            go_away: go_away.clone(),
        });
        let service = GatewayServer::new(Fake(state.clone())).max_decoding_message_size(16 * 1024 * 1024);
        let server = tonic::transport::Server::builder().add_service(service);
        let connections = {
            let _inside = runtime.enter();
            connections(listener, start.tls)
        };
        runtime.spawn(server.serve_with_incoming_shutdown(connections, async move { go_away.notified().await }));
        Self {
            address,
            state,
            commands: tokio::sync::Mutex::new(commands),
            runtime: Mutex::new(Some(runtime)),
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Pushes a job to the newest stream; waits until there is one.
    pub async fn push(&self, job: ActivatedJob) {
        let give_up = tokio::time::Instant::now() + PATIENCE;
        let mut job = Some(job);
        while let Some(waiting) = job.take() {
            assert!(tokio::time::Instant::now() < give_up, "no stream took the job");
            match self.stream_for(&waiting.r#type) {
                Some(stream) => match stream.send(Ok(waiting)).await {
                    Ok(()) => return,
                    Err(returned) => {
                        self.state.streams.lock().unwrap().retain(|one| !one.jobs.is_closed());
                        job = Some(returned.0.unwrap());
                    }
                },
                None => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    job = Some(waiting);
                }
            }
        }
    }

    fn stream_for(&self, job_type: &str) -> Option<mpsc::Sender<Result<ActivatedJob, Status>>> {
        let streams = self.state.streams.lock().unwrap();
        let newest = streams.iter().rev().find(|one| one.job_type == job_type)?;
        Some(newest.jobs.clone())
    }

    /// Number of jobs that went into a stream's connection.
    pub fn pushed(&self) -> Arc<AtomicUsize> {
        self.state.pushed.clone()
    }

    /// Streams that are opened from now on are dead, and nothing shows it.
    pub fn streams_are_dead(&self, dead: bool) {
        self.state.streams_are_dead.store(dead, Ordering::SeqCst);
    }

    /// From now on a poll gives one batch and never ends.
    pub fn polls_hang(&self) {
        self.state.polls_hang.store(true, Ordering::SeqCst);
    }

    /// Says GOAWAY on every connection and takes no new ones; what is open goes on.
    pub fn go_away(&self) {
        self.state.go_away.notify_one();
    }

    /// Number of polled jobs that were completed after their lease had lapsed.
    pub fn late(&self) -> usize {
        self.state.late.load(Ordering::SeqCst)
    }

    /// Number of jobs that only polls find.
    pub fn backlog(&self) -> usize {
        self.state.backlog.lock().unwrap().len()
    }

    /// Ends all streams cleanly, as a proxy does.
    pub fn end_streams(&self) {
        self.state.streams.lock().unwrap().clear();
    }

    pub fn streams_opened(&self) -> usize {
        self.state.streams_opened.load(Ordering::SeqCst)
    }

    /// Puts a job where only polls find it.
    pub fn put_in_backlog(&self, job: ActivatedJob) {
        self.state.backlog.lock().unwrap().push_back(job);
    }

    /// The largest `maxJobsToActivate` seen.
    pub fn largest_poll(&self) -> i32 {
        *self.state.largest_poll.lock().unwrap()
    }

    /// The next call of this kind is answered with this status; it is recorded all the same.
    pub fn refuse_next(&self, rpc: Rpc, status: Status) {
        self.state.refusals.lock().unwrap().push_back((rpc, status));
    }

    /// The broker takes so many heartbeats at once, each for so long, and refuses the others.
    pub fn limit_heartbeats(&self, at_once: usize, each: Duration) {
        *self.state.heartbeats.lock().unwrap() = Some((Arc::new(Semaphore::new(at_once)), each));
    }

    /// Calls of this kind are recorded at once and answered after a while.
    pub fn delay(&self, rpc: Rpc, pause: Duration) {
        self.state.delays.lock().unwrap().push((rpc, pause));
    }

    /// The next command.
    pub async fn command(&self) -> Command {
        let mut commands = self.commands.lock().await;
        tokio::time::timeout(PATIENCE, commands.recv())
            .await
            .expect("no command came")
            .expect("the gateway is gone")
    }

    /// The next command that is an outcome.
    pub async fn outcome(&self) -> Command {
        loop {
            let command = self.command().await;
            if !matches!(command, Command::Extend { .. } | Command::SetVariables { .. }) {
                return command;
            }
        }
    }

    /// The next command that is an outcome, for work that takes longer than a test usually has patience.
    pub async fn outcome_within(&self, patience: Duration) -> Command {
        let mut commands = self.commands.lock().await;
        let next = async {
            loop {
                let command = commands.recv().await.expect("the gateway is gone");
                if !matches!(command, Command::Extend { .. } | Command::SetVariables { .. }) {
                    return command;
                }
            }
        };
        tokio::time::timeout(patience, next).await.expect("no outcome came")
    }

    /// Every message that was offered, in order, taken or not.
    pub fn offers(&self) -> Vec<Offer> {
        self.state.messages.offers()
    }

    /// The messages that the engine has.
    pub fn messages(&self) -> Vec<Offer> {
        let taken = |offer: &Offer| offer.answer == Code::Ok;
        self.offers().into_iter().filter(taken).collect()
    }

    /// From now on messages are answered with this; `None`: they are taken.
    pub fn takes_no_messages(&self, status: Option<Status>) {
        self.state.messages.refuse(status);
    }

    /// Every text that came with a command, in order, a line each.
    pub fn transcript(&self) -> String {
        self.state.transcript.lock().unwrap().clone()
    }

    /// Commands that came and were not taken yet.
    pub async fn pending(&self) -> Vec<Command> {
        let mut commands = self.commands.lock().await;
        std::iter::from_fn(|| commands.try_recv().ok()).collect()
    }

    /// Cuts every connection and listens no more.
    pub fn die(&self) {
        if let Some(runtime) = self.runtime.lock().unwrap().take() {
            runtime.shutdown_background();
        }
        self.end_streams();
    }
}

impl Drop for FakeGateway {
    fn drop(&mut self) {
        self.die();
    }
}

/// The port of a gateway that just died may be taken for a moment.
async fn bind(address: SocketAddr) -> TcpListener {
    let give_up = tokio::time::Instant::now() + PATIENCE;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) if tokio::time::Instant::now() > give_up => panic!("{address}: {error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

struct Fake(Arc<State>);

impl Fake {
    fn note(&self, texts: &[&str]) {
        let mut transcript = self.0.transcript.lock().unwrap();
        for text in texts {
            transcript.push_str(text);
            transcript.push('\n');
        }
    }

    fn admit<T>(&self, request: &Request<T>) -> Result<(), Status> {
        match &self.0.guard {
            Some(guard) => guard(request.metadata()),
            None => Ok(()),
        }
    }

    async fn record(&self, rpc: Option<Rpc>, command: Command) -> Result<(), Status> {
        self.0
            .commands
            .try_send(command)
            .expect("more commands than a test can have");
        let delay = self
            .0
            .delays
            .lock()
            .unwrap()
            .iter()
            .find(|(slow, _)| Some(*slow) == rpc)
            .map(|(_, pause)| *pause);
        if let Some(pause) = delay {
            tokio::time::sleep(pause).await;
        }
        let limit = self
            .0
            .heartbeats
            .lock()
            .unwrap()
            .clone()
            .filter(|_| rpc == Some(Rpc::Extend));
        if let Some((places, each)) = limit {
            let Ok(_place) = places.try_acquire() else {
                return Err(Status::resource_exhausted(
                    "Expected to handle gRPC request, but the broker is busy",
                ));
            };
            tokio::time::sleep(each).await;
        }
        let mut refusals = self.0.refusals.lock().unwrap();
        match refusals.iter().position(|(refused, _)| Some(*refused) == rpc) {
            Some(at) => Err(refusals.remove(at).expect("it was just found").1),
            None => Ok(()),
        }
    }
}

#[tonic::async_trait]
impl Gateway for Fake {
    async fn stream_activated_jobs(
        &self,
        request: Request<StreamActivatedJobsRequest>,
    ) -> Result<Response<BoxStream<ActivatedJob>>, Status> {
        self.admit(&request)?;
        let (sender, mut receiver) = mpsc::channel(1);
        self.0.streams_opened.fetch_add(1, Ordering::SeqCst);
        if self.0.streams_are_dead.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.0.streams.lock().unwrap().push(OpenStream {
            job_type: request.into_inner().r#type,
            jobs: sender,
        });
        let pushed = self.0.pushed.clone();
        let count =
            move |job: &Result<ActivatedJob, Status>| _ = job.is_ok().then(|| pushed.fetch_add(1, Ordering::SeqCst));
        // As the real gateway: no response headers before the first job.
        let Some(first) = receiver.recv().await else {
            return Ok(Response::new(Box::pin(tokio_stream::empty())));
        };
        let jobs = tokio_stream::once(first).chain(ReceiverStream::new(receiver));
        Ok(Response::new(Box::pin(jobs.map(move |job| {
            count(&job);
            job
        }))))
    }

    async fn activate_jobs(
        &self,
        request: Request<ActivateJobsRequest>,
    ) -> Result<Response<BoxStream<ActivateJobsResponse>>, Status> {
        self.admit(&request)?;
        let ActivateJobsRequest {
            r#type: job_type,
            max_jobs_to_activate: most,
            timeout,
            ..
        } = request.into_inner();
        {
            let mut largest = self.0.largest_poll.lock().unwrap();
            *largest = (*largest).max(most);
        }
        let mut backlog = self.0.backlog.lock().unwrap();
        let mut jobs = Vec::new();
        backlog.retain(|job| {
            let taken = job.r#type == job_type && jobs.len() < usize::try_from(most).unwrap();
            if taken {
                jobs.push(job.clone());
            }
            !taken
        });
        let lapses = Instant::now() + Duration::from_millis(timeout.unsigned_abs());
        for job in &jobs {
            self.0.lapses.lock().unwrap().insert(job.key, lapses);
        }
        let batches = if jobs.is_empty() {
            vec![]
        } else {
            vec![Ok(ActivateJobsResponse { jobs })]
        };
        let batches = tokio_stream::iter(batches);
        match self.0.polls_hang.load(Ordering::SeqCst) {
            true => Ok(Response::new(Box::pin(batches.chain(tokio_stream::pending())))),
            false => Ok(Response::new(Box::pin(batches))),
        }
    }

    async fn complete_job(
        &self,
        request: Request<CompleteJobRequest>,
    ) -> Result<Response<CompleteJobResponse>, Status> {
        self.admit(&request)?;
        let request = request.into_inner();
        self.note(&[&request.variables]);
        let lapses = self.0.lapses.lock().unwrap().remove(&request.job_key);
        if lapses.is_some_and(|lapses| Instant::now() > lapses) {
            self.0.late.fetch_add(1, Ordering::SeqCst);
        }
        let variables = serde_json::from_str(&request.variables).expect("variables are JSON");
        let command = Command::Complete {
            key: request.job_key,
            variables,
        };
        self.record(Some(Rpc::Complete), command).await?;
        Ok(Response::new(Default::default()))
    }

    async fn fail_job(&self, request: Request<FailJobRequest>) -> Result<Response<FailJobResponse>, Status> {
        let request = request.into_inner();
        self.note(&[&request.error_message, &request.variables]);
        let command = Command::Fail {
            key: request.job_key,
            retries: request.retries,
            backoff_ms: request.retry_back_off,
            message: request.error_message,
        };
        self.record(Some(Rpc::Fail), command).await?;
        Ok(Response::new(Default::default()))
    }

    async fn throw_error(&self, request: Request<ThrowErrorRequest>) -> Result<Response<ThrowErrorResponse>, Status> {
        let request = request.into_inner();
        self.note(&[&request.error_code, &request.error_message, &request.variables]);
        self.record(
            None,
            Command::Throw {
                key: request.job_key,
                code: request.error_code,
            },
        )
        .await?;
        Ok(Response::new(Default::default()))
    }

    async fn update_job_timeout(
        &self,
        request: Request<UpdateJobTimeoutRequest>,
    ) -> Result<Response<UpdateJobTimeoutResponse>, Status> {
        self.admit(&request)?;
        let request = request.into_inner();
        let lapses = Instant::now() + Duration::from_millis(request.timeout.unsigned_abs());
        let command = Command::Extend {
            key: request.job_key,
            timeout_ms: request.timeout,
        };
        self.record(Some(Rpc::Extend), command).await?;
        if let Some(known) = self.0.lapses.lock().unwrap().get_mut(&request.job_key) {
            *known = lapses;
        }
        Ok(Response::new(Default::default()))
    }

    async fn set_variables(
        &self,
        request: Request<SetVariablesRequest>,
    ) -> Result<Response<SetVariablesResponse>, Status> {
        let request = request.into_inner();
        self.note(&[&request.variables]);
        let command = Command::SetVariables {
            scope: request.element_instance_key,
            local: request.local,
        };
        self.record(None, command).await?;
        Ok(Response::new(Default::default()))
    }

    async fn publish_message(
        &self,
        request: Request<PublishMessageRequest>,
    ) -> Result<Response<PublishMessageResponse>, Status> {
        self.admit(&request)?;
        let request = request.into_inner();
        self.note(&[&request.variables]);
        self.0.messages.take(request)?;
        Ok(Response::new(Default::default()))
    }

    async fn topology(&self, _: Request<TopologyRequest>) -> Result<Response<TopologyResponse>, Status> {
        Ok(Response::new(TopologyResponse {
            gateway_version: "8.9.0".into(),
            ..TopologyResponse::default()
        }))
    }
}
