//! A worker as it is written on the first day: it works, until something happens. Each test of this binary shows that it
//! fails here, so that no test passes for want of a fault.
//!
//! One connection with default windows for everything, to an address looked up once, with pings each second that may stay unanswered for long; polls that ask for what they like beside a
//! stream that takes permits whenever it can; batches worked off one by one; polls that are read to their end; permits
//! that come back when all went well; leases believed by the wall clock; credentials read once; a stream that is opened
//! again after one kind of error only.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use deskhand::engine::gateway::gateway_client::GatewayClient;
use deskhand::engine::gateway::{ActivateJobsRequest, ActivatedJob, CompleteJobRequest, StreamActivatedJobsRequest};
use serde_json::Value;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};

use super::subject::Setup;

#[derive(Clone)]
pub struct Naive {
    client: GatewayClient<Channel>,
    setup: Arc<Setup>,
    token: Option<String>,
    permits: Arc<Semaphore>,
    pub begun: Arc<AtomicUsize>,
    pub running: Arc<AtomicUsize>,
    pub go_on: Arc<Notify>,
}

impl Naive {
    pub async fn start(setup: Setup) -> (Self, JoinSet<()>) {
        let endpoint = Endpoint::from_shared(format!("http://{}", setup.address))
            .unwrap()
            .http2_keep_alive_interval(Duration::from_secs(1))
            .keep_alive_while_idle(true);
        let channel = match &setup.tls {
            Some(files) => endpoint.connect_with_connector_lazy(super::tls::static_connector(setup.address, files)),
            None => endpoint.connect_lazy(),
        };
        let token = match &setup.token_url {
            Some(url) => fetch_token(url).await,
            None => None,
        };
        let worker = Self {
            client: GatewayClient::new(channel),
            token,
            permits: Arc::new(Semaphore::new(setup.max_jobs)),
            begun: Arc::default(),
            running: Arc::default(),
            go_on: Arc::default(),
            setup: Arc::new(setup),
        };
        let mut tasks = JoinSet::new();
        if worker.setup.token_url.is_none() || worker.token.is_some() {
            for job_type in worker.setup.job_types {
                tasks.spawn(worker.clone().stream(job_type));
                tasks.spawn(worker.clone().poll(job_type));
            }
        }
        (worker, tasks)
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            let value = format!("Bearer {token}").parse().unwrap();
            request.metadata_mut().insert("authorization", value);
        }
        request
    }

    async fn stream(mut self, job_type: &'static str) {
        loop {
            let message = StreamActivatedJobsRequest {
                r#type: job_type.into(),
                worker: "naive".into(),
                timeout: self.setup.lease.as_millis().try_into().unwrap(),
                ..StreamActivatedJobsRequest::default()
            };
            let opened = self.client.stream_activated_jobs(self.request(message)).await;
            let ended = match opened {
                Ok(stream) => self.read(stream.into_inner()).await,
                Err(status) => status.code(),
            };
            // A clean end and every other error: nobody opens it again.
            if ended != Code::Unavailable {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn read(&self, mut stream: tonic::Streaming<ActivatedJob>) -> Code {
        loop {
            match stream.message().await {
                Ok(Some(job)) => {
                    // Takes the permit in front of everybody who waits for it.
                    let permit = loop {
                        match self.permits.clone().try_acquire_owned() {
                            Ok(permit) => break permit,
                            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                        }
                    };
                    permit.forget();
                    tokio::spawn(self.clone().work(job));
                }
                Ok(None) => return Code::Ok,
                Err(status) => return status.code(),
            }
        }
    }

    async fn poll(mut self, job_type: &'static str) {
        loop {
            tokio::time::sleep(self.setup.poll_interval).await;
            let message = ActivateJobsRequest {
                r#type: job_type.into(),
                worker: "naive".into(),
                timeout: self.setup.lease.as_millis().try_into().unwrap(),
                max_jobs_to_activate: self.setup.max_jobs.try_into().unwrap(),
                request_timeout: -1,
                ..ActivateJobsRequest::default()
            };
            let request = self.request(message);
            let whole = async {
                let mut jobs = Vec::new();
                let mut batches = self.client.activate_jobs(request).await?.into_inner();
                while let Some(batch) = batches.message().await? {
                    jobs.extend(batch.jobs);
                }
                Ok::<_, tonic::Status>(jobs)
            };
            let Ok(Ok(jobs)) = tokio::time::timeout(Duration::from_millis(500), whole).await else {
                continue;
            };
            for job in jobs {
                while self.permits.available_permits() == 0 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                self.permits.clone().acquire_owned().await.unwrap().forget();
                let _ = tokio::spawn(self.clone().work(job)).await;
            }
        }
    }

    async fn work(mut self, job: ActivatedJob) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        if job.deadline > 0 && i128::from(job.deadline) < i128::try_from(now).unwrap() {
            self.permits.add_permits(1);
            return;
        }
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.running.fetch_add(1, Ordering::SeqCst);
        let variables: Value = serde_json::from_str(&job.variables).unwrap();
        match variables["do"].as_str() {
            Some("panic") => panic!("on purpose"),
            Some("wait") => self.go_on.notified().await,
            Some("sleep") => tokio::time::sleep(Duration::from_millis(variables["ms"].as_u64().unwrap_or(30))).await,
            _ => {}
        }
        let message = CompleteJobRequest {
            job_key: job.key,
            variables: r#"{"answer":42}"#.into(),
            lease_token: None,
        };
        if self.client.complete_job(self.request(message)).await.is_ok() {
            self.running.fetch_sub(1, Ordering::SeqCst);
            self.permits.add_permits(1);
        }
    }
}

async fn fetch_token(url: &str) -> Option<String> {
    let answer = reqwest::Client::new().post(url).send().await.ok()?;
    let answer = answer.error_for_status().ok()?.json::<Value>().await.ok()?;
    Some(answer["access_token"].as_str()?.to_owned())
}
