//! The engine under test, and the few moves that every behaviour is made of.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use deskhand::engine::gateway::gateway_client::GatewayClient;
use deskhand::engine::gateway::*;
use deskhand::sandbox::engine::{Engine, Settings};
use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, mpsc};
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

/// A key of the first partition that nothing has.
pub const NO_KEY: i64 = (1 << 51) + (1 << 50);

/// Longer than any engine needs for anything that these tests wait for, a job whose activation was lost included.
pub const PATIENCE: Duration = Duration::from_secs(45);

/// The longest lease that a poll asks for, ms. A broker's answer can be lost on its way to the gateway (seen on 8.6.0, where
/// a call that times out closes the connection between the two): the job is then nobody's until its lease ends.
const POLLED_FOR: i64 = 10_000;

/// An engine's key of an incident can only be found by trying, so tests with incidents run one at a time.
static INCIDENTS: Mutex<()> = Mutex::const_new(());

/// A test that disturbs its neighbours on a shared engine waits until it is alone.
static ENGINE: RwLock<()> = RwLock::const_new(());

/// An engine and a client of it.
pub struct Subject {
    pub gateway: GatewayClient<Channel>,
    /// Major and minor version.
    pub release: (u32, u32),
    pub address: String,
    sandbox: Option<Engine>,
    neighbour: Option<RwLockReadGuard<'static, ()>>,
}

impl Subject {
    /// A sandbox engine of its own.
    pub async fn sandbox() -> Self {
        let loopback = "127.0.0.1:0".parse().unwrap();
        // It looks for lapsed jobs ten times as often as it would, so that nobody waits for seconds.
        let settings = Settings {
            timeout_check: Duration::from_millis(100),
            ..Settings::default()
        };
        let engine = Engine::start(loopback, settings).await.unwrap();
        let address = format!("http://{}", engine.address());
        Self::connect(address, Some(engine)).await
    }

    /// The engine that the environment names.
    pub async fn real() -> Self {
        let address = std::env::var("ZEEBE_ADDRESS")
            .expect("ZEEBE_ADDRESS must name a running Zeebe gateway, e.g. http://127.0.0.1:26500");
        let address = if address.contains("://") {
            address
        } else {
            format!("http://{address}")
        };
        let neighbour = ENGINE.read().await;
        let mut subject = Self::connect(address, None).await;
        subject.neighbour = Some(neighbour);
        subject
    }

    async fn connect(address: String, sandbox: Option<Engine>) -> Self {
        let mut gateway = client(&address).await;
        let topology = gateway.topology(TopologyRequest {}).await.unwrap().into_inner();
        let mut numbers = topology
            .gateway_version
            .split(['.', '-'])
            .map(|part| part.parse().unwrap_or(0));
        let release = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        Self {
            gateway,
            release,
            address,
            sandbox,
            neighbour: None,
        }
    }

    pub fn gateway(&self) -> GatewayClient<Channel> {
        self.gateway.clone()
    }

    /// Longer than a job's way to a worker takes; for what must *not* happen.
    pub fn a_while(&self) -> Duration {
        Duration::from_millis(if self.sandbox.is_some() { 200 } else { 1_500 })
    }

    /// Longer than a job of 300 ms takes to lapse and to be pushed again.
    pub fn a_lapse(&self) -> Duration {
        Duration::from_millis(if self.sandbox.is_some() { 700 } else { 3_000 })
    }

    /// From 8.8 on a job whose time is over is not pushed again.
    pub fn pushes_lapsed_jobs(&self) -> bool {
        self.release < (8, 8)
    }

    /// Held while a test disturbs its neighbours.
    pub async fn alone(&mut self) -> Option<RwLockWriteGuard<'static, ()>> {
        drop(self.neighbour.take()?);
        Some(ENGINE.write().await)
    }

    /// Held while a test raises incidents.
    pub async fn incidents(&self) -> MutexGuard<'static, ()> {
        INCIDENTS.lock().await
    }

    pub async fn deploy(&self, bpmn: &str) -> ProcessMetadata {
        self.try_deploy(bpmn)
            .await
            .unwrap_or_else(|status| panic!("not deployed: {status}\n{bpmn}"))
    }

    pub async fn try_deploy(&self, bpmn: &str) -> Result<ProcessMetadata, Status> {
        let request = DeployResourceRequest {
            resources: vec![Resource {
                name: "contract.bpmn".into(),
                content: bpmn.as_bytes().to_vec(),
            }],
            ..Default::default()
        };
        let deployed = self.gateway().deploy_resource(request).await?.into_inner();
        match deployed
            .deployments
            .into_iter()
            .next()
            .and_then(|deployment| deployment.metadata)
        {
            Some(deployment::Metadata::Process(process)) => Ok(process),
            None => panic!("a deployment without a process"),
        }
    }

    /// Starts an instance of the newest version.
    pub async fn start(&self, process: &str, variables: Value) -> i64 {
        let request = CreateProcessInstanceRequest {
            bpmn_process_id: process.into(),
            version: -1,
            variables: variables.to_string(),
            ..Default::default()
        };
        let created = self.gateway().create_process_instance(request).await;
        created.unwrap().into_inner().process_instance_key
    }

    /// Starts an instance in the background; ends with its variables.
    pub fn run(&self, process: &str, variables: Value) -> JoinHandle<Value> {
        let mut gateway = self.gateway();
        let request = CreateProcessInstanceWithResultRequest {
            request: Some(CreateProcessInstanceRequest {
                bpmn_process_id: process.into(),
                version: -1,
                variables: variables.to_string(),
                ..Default::default()
            }),
            request_timeout: 30_000,
            fetch_variables: vec![],
        };
        tokio::spawn(async move {
            let result = gateway.create_process_instance_with_result(request).await;
            serde_json::from_str(&result.unwrap().into_inner().variables).unwrap()
        })
    }

    /// One poll that is not parked.
    pub async fn poll(&self, job_type: &str, timeout_ms: i64, max: i32) -> Vec<ActivatedJob> {
        let request = ActivateJobsRequest {
            max_jobs_to_activate: max,
            request_timeout: -1,
            ..poll_request(job_type, timeout_ms)
        };
        collect(self.gateway(), request).await.unwrap()
    }

    /// The next job of this type, held for this long; polls until there is one.
    pub async fn job_for(&self, job_type: &str, timeout_ms: i64) -> ActivatedJob {
        let started = Instant::now();
        loop {
            if let Some(job) = self.poll(job_type, timeout_ms.min(POLLED_FOR), 1).await.pop() {
                if timeout_ms > POLLED_FOR {
                    self.update_timeout(&job, timeout_ms).await.unwrap();
                }
                return job;
            }
            assert!(started.elapsed() < PATIENCE, "no job of type {job_type}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The next job of this type, held for a minute.
    pub async fn job(&self, job_type: &str) -> ActivatedJob {
        self.job_for(job_type, 60_000).await
    }

    pub fn stream(&self, job_type: &str) -> Pushed {
        self.stream_for(job_type, 60_000)
    }

    pub fn stream_for(&self, job_type: &str, timeout_ms: i64) -> Pushed {
        self.open(StreamActivatedJobsRequest {
            r#type: job_type.into(),
            worker: "contract".into(),
            timeout: timeout_ms,
            ..Default::default()
        })
    }

    /// Opens a stream and reads it in the background.
    pub fn open(&self, request: StreamActivatedJobsRequest) -> Pushed {
        let mut gateway = self.gateway();
        let (sender, jobs) = mpsc::channel(1000);
        let task = tokio::spawn(async move {
            let mut stream = gateway.stream_activated_jobs(request).await?.into_inner();
            while let Some(job) = stream.message().await? {
                if sender.send(job).await.is_err() {
                    break;
                }
            }
            Ok(())
        });
        Pushed { jobs, task }
    }

    pub async fn complete(&self, job: &ActivatedJob, variables: Value) -> Result<(), Status> {
        let request = CompleteJobRequest {
            job_key: job.key,
            variables: variables.to_string(),
            lease_token: job.lease_token.clone(),
        };
        self.gateway().complete_job(request).await.map(|_| ())
    }

    pub async fn fail(&self, job: &ActivatedJob, retries: i32, backoff_ms: i64) -> Result<(), Status> {
        self.fail_with(job, retries, backoff_ms, Value::Null).await
    }

    pub async fn fail_with(
        &self,
        job: &ActivatedJob,
        retries: i32,
        backoff_ms: i64,
        variables: Value,
    ) -> Result<(), Status> {
        let request = FailJobRequest {
            job_key: job.key,
            retries,
            error_message: "the contract says so".into(),
            retry_back_off: backoff_ms,
            variables: if variables.is_null() {
                String::new()
            } else {
                variables.to_string()
            },
            lease_token: job.lease_token.clone(),
        };
        self.gateway().fail_job(request).await.map(|_| ())
    }

    pub async fn throw(&self, job: &ActivatedJob, code: &str, variables: Value) -> Result<(), Status> {
        let request = ThrowErrorRequest {
            job_key: job.key,
            error_code: code.into(),
            error_message: "thrown by the contract".into(),
            variables: variables.to_string(),
            lease_token: job.lease_token.clone(),
        };
        self.gateway().throw_error(request).await.map(|_| ())
    }

    pub async fn update_timeout(&self, job: &ActivatedJob, timeout_ms: i64) -> Result<(), Status> {
        let request = UpdateJobTimeoutRequest {
            job_key: job.key,
            timeout: timeout_ms,
            ..Default::default()
        };
        self.gateway().update_job_timeout(request).await.map(|_| ())
    }

    pub async fn update_retries(&self, job: &ActivatedJob, retries: i32) -> Result<(), Status> {
        let request = UpdateJobRetriesRequest {
            job_key: job.key,
            retries,
            ..Default::default()
        };
        self.gateway().update_job_retries(request).await.map(|_| ())
    }

    pub async fn set_variables(&self, scope: i64, variables: Value, local: bool) -> Result<(), Status> {
        let request = SetVariablesRequest {
            element_instance_key: scope,
            variables: variables.to_string(),
            local,
            ..Default::default()
        };
        self.gateway().set_variables(request).await.map(|_| ())
    }

    pub async fn cancel(&self, instance: i64) -> Result<(), Status> {
        let request = CancelProcessInstanceRequest {
            process_instance_key: instance,
            ..Default::default()
        };
        self.gateway().cancel_process_instance(request).await.map(|_| ())
    }

    pub async fn publish(&self, name: &str, key: &str, ttl_ms: i64, id: &str, variables: Value) -> Result<i64, Status> {
        let request = PublishMessageRequest {
            name: name.into(),
            correlation_key: key.into(),
            time_to_live: ttl_ms,
            message_id: id.into(),
            variables: variables.to_string(),
            ..Default::default()
        };
        self.gateway()
            .publish_message(request)
            .await
            .map(|answer| answer.into_inner().key)
    }

    /// A key that is larger than every key the engine made before.
    pub async fn newest_key(&self) -> i64 {
        self.publish(&unique("marker"), "", 0, "", Value::Object(Default::default()))
            .await
            .unwrap()
    }

    /// Resolves the incident that was raised after `before` was the newest key.
    pub async fn resolve_incident(&self, before: i64) {
        let (_, result) = self.find_incident(before).await;
        result.unwrap_or_else(|status| panic!("the incident is not resolved: {status}"));
    }

    /// Finds the incident of a job without retries, which cannot be resolved yet.
    pub async fn incident_without_retries(&self, before: i64) -> i64 {
        let (incident, result) = self.find_incident(before).await;
        let code = if self.release < (8, 8) {
            Code::NotFound
        } else {
            Code::FailedPrecondition
        };
        refused(result, code, "has no retries left. Please update the job retries");
        incident
    }

    /// The gateway protocol tells nobody an incident's key, so every key made since is tried until one is an incident's.
    async fn find_incident(&self, before: i64) -> (i64, Result<(), Status>) {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            let newest = self.newest_key().await;
            for key in before..=newest {
                match self.try_resolve(key).await {
                    Err(status) if status.message().contains("no such incident was found") => {}
                    result => return (key, result),
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no incident was raised");
    }

    pub async fn try_resolve(&self, incident_key: i64) -> Result<(), Status> {
        let request = ResolveIncidentRequest {
            incident_key,
            ..Default::default()
        };
        self.gateway().resolve_incident(request).await.map(|_| ())
    }
}

/// A connection of its own.
pub async fn client(address: &str) -> GatewayClient<Channel> {
    let endpoint = Endpoint::from_shared(address.to_owned()).unwrap();
    let channel = endpoint
        .connect()
        .await
        .unwrap_or_else(|error| panic!("no engine at {address}: {error}"));
    GatewayClient::new(channel).max_decoding_message_size(16 << 20)
}

pub fn poll_request(job_type: &str, timeout_ms: i64) -> ActivateJobsRequest {
    ActivateJobsRequest {
        r#type: job_type.into(),
        worker: "contract".into(),
        timeout: timeout_ms,
        max_jobs_to_activate: 1,
        ..Default::default()
    }
}

/// Every job of a poll's answer.
pub async fn collect(
    mut gateway: GatewayClient<Channel>,
    request: ActivateJobsRequest,
) -> Result<Vec<ActivatedJob>, Status> {
    let mut batches = gateway.activate_jobs(request).await?.into_inner();
    let mut jobs = Vec::new();
    while let Some(batch) = batches.message().await? {
        jobs.extend(batch.jobs);
    }
    Ok(jobs)
}

/// What a stream pushed.
pub struct Pushed {
    jobs: mpsc::Receiver<ActivatedJob>,
    task: JoinHandle<Result<(), Status>>,
}

impl Pushed {
    pub async fn next(&mut self) -> ActivatedJob {
        self.within(PATIENCE).await.expect("no job was pushed")
    }

    pub async fn within(&mut self, time: Duration) -> Option<ActivatedJob> {
        tokio::time::timeout(time, self.jobs.recv()).await.ok().flatten()
    }

    /// How the stream ended.
    pub async fn end(mut self) -> Result<(), Status> {
        tokio::time::timeout(PATIENCE, &mut self.task)
            .await
            .expect("the stream did not end")
            .unwrap()
    }
}

impl Drop for Pushed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A name that no other test and no earlier run has used.
pub fn unique(name: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    format!("{name}-{since}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

pub fn variables(job: &ActivatedJob) -> Value {
    serde_json::from_str(&job.variables).unwrap()
}

/// The call was refused with this code, and the reason says this.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(result: Result<T, Status>, code: Code, says: &str) {
    let status = result.expect_err("the call should have been refused");
    println!("refused with {:?}: {}", status.code(), status.message());
    assert_eq!(status.code(), code, "{}", status.message());
    assert!(
        status.message().contains(says),
        "{:?} does not say {says:?}",
        status.message()
    );
}

/// The process ends, with these variables.
pub async fn ended(run: JoinHandle<Value>) -> Value {
    tokio::time::timeout(PATIENCE, run)
        .await
        .expect("the process did not end")
        .unwrap()
}
