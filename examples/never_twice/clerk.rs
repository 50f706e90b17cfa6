//! Starts instances, cancels some, and takes what the processes hand on: this is how it is known what the engine says.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use deskhand::engine::gateway::gateway_client::GatewayClient;
use deskhand::engine::gateway::{
    ActivateJobsRequest, CancelProcessInstanceRequest, CompleteJobRequest, CreateProcessInstanceRequest,
    DeployResourceRequest, FailJobRequest, Resource,
};
use serde_json::Value;
use tonic::Code;
use tonic::transport::Channel;

use crate::checker::Instance;
use crate::processes::{AFTER, Process, bpmn};

/// Asks the engine and writes down what it says.
#[derive(Clone)]
pub struct Clerk {
    gateway: GatewayClient<Channel>,
    book: Arc<Mutex<Book>>,
    variables: Value,
}

#[derive(Default)]
struct Book {
    entries: HashMap<String, Entry>,
    /// Process instance to invoice.
    keys: HashMap<i64, String>,
    /// Jobs behind flows that were counted.
    jobs: HashSet<i64>,
    /// Jobs that replicas were given, by process instance.
    given: HashMap<i64, HashSet<i64>>,
}

struct Entry {
    wants: u32,
    cancelled: bool,
    /// The engine's word that it exists.
    certain: bool,
    handed_on: Vec<String>,
}

impl Clerk {
    pub async fn new(address: &str, variables: Value) -> Self {
        let channel = Channel::from_shared(address.to_owned())
            .unwrap()
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(20))
            .connect_lazy();
        Self {
            gateway: GatewayClient::new(channel),
            book: Arc::default(),
            variables,
        }
    }

    pub async fn deploy(&self, processes: &[Process]) {
        let resources = processes
            .iter()
            .map(|process| Resource {
                name: format!("{}.bpmn", process.id),
                content: bpmn(*process).into_bytes(),
            })
            .collect();
        let request = DeployResourceRequest {
            resources,
            tenant_id: String::new(),
        };
        self.gateway.clone().deploy_resource(request).await.unwrap();
    }

    /// Starts an instance. Its entry is made first: an answer may be lost, the instance is not.
    pub async fn start(&self, process: Process, invoice: &str) -> Option<i64> {
        self.book.lock().unwrap().entries.insert(
            invoice.to_owned(),
            Entry {
                wants: process.wants,
                cancelled: false,
                certain: false,
                handed_on: Vec::new(),
            },
        );
        let mut variables = self.variables.clone();
        variables["invoice"] = invoice.into();
        let request = CreateProcessInstanceRequest {
            bpmn_process_id: process.id.to_owned(),
            version: -1,
            variables: variables.to_string(),
            ..Default::default()
        };
        let answer = self.gateway.clone().create_process_instance(request).await;
        let mut book = self.book.lock().unwrap();
        match answer {
            Ok(answer) => {
                let key = answer.into_inner().process_instance_key;
                book.keys.insert(key, invoice.to_owned());
                book.entries.get_mut(invoice).unwrap().certain = true;
                Some(key)
            }
            Err(status) if status.code() == Code::ResourceExhausted => {
                // Refused before it was written.
                book.entries.remove(invoice);
                None
            }
            Err(_) => None,
        }
    }

    /// Cancels an instance; unless it was through, nobody knows how many of its entries were made.
    pub async fn cancel(&self, key: i64) {
        let request = CancelProcessInstanceRequest {
            process_instance_key: key,
            ..Default::default()
        };
        let answer = self.gateway.clone().cancel_process_instance(request).await;
        if !matches!(&answer, Err(status) if status.code() == Code::NotFound) {
            let mut book = self.book.lock().unwrap();
            let invoice = book.keys.get(&key).cloned().unwrap();
            book.entries.get_mut(&invoice).unwrap().cancelled = true;
        }
    }

    /// Takes what is handed on, for ever.
    pub async fn take(self) {
        loop {
            if self.take_some().await.is_err() {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        }
    }

    async fn take_some(&self) -> Result<(), tonic::Status> {
        let request = ActivateJobsRequest {
            r#type: AFTER.into(),
            worker: "clerk".into(),
            timeout: 10_000,
            max_jobs_to_activate: 50,
            // Not parked: a parked poll may starve.
            request_timeout: -1,
            ..Default::default()
        };
        let mut gateway = self.gateway.clone();
        let mut batches = gateway.activate_jobs(request).await?.into_inner();
        let mut any = false;
        while let Some(batch) = batches.message().await? {
            for job in batch.jobs {
                any = true;
                let variables: Value = serde_json::from_str(&job.variables).unwrap();
                self.note(job.key, job.process_instance_key, &variables);
                let request = CompleteJobRequest {
                    job_key: job.key,
                    variables: "{}".into(),
                    lease_token: job.lease_token.clone(),
                };
                // Said again if it was not heard: the job comes again.
                let _ = gateway.complete_job(request).await;
            }
        }
        if !any {
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        Ok(())
    }

    fn note(&self, job: i64, instance: i64, variables: &Value) {
        let mut book = self.book.lock().unwrap();
        if !book.jobs.insert(job) {
            return;
        }
        let invoice = variables["invoice"].as_str().unwrap().to_owned();
        book.keys.insert(instance, invoice.clone());
        let Some(entry) = book.entries.get_mut(&invoice) else {
            return;
        };
        entry.certain = true;
        let runs = variables["runs"].as_array().cloned().unwrap_or_default();
        let run = |run: &Value| run.as_str().unwrap_or("none").to_owned();
        entry.handed_on.extend(runs.iter().map(run));
    }

    pub fn invoice_of(&self, instance: i64) -> Option<String> {
        self.book.lock().unwrap().keys.get(&instance).cloned()
    }

    /// A replica was given this job.
    pub fn note_job(&self, job: i64, instance: i64) {
        self.book.lock().unwrap().given.entry(instance).or_default().insert(job);
    }

    /// Fails the jobs of instances that are not through: some engines keep a job for ever although its lease has lapsed.
    /// A job that is not held takes no failure. Gives the number of those that did.
    pub async fn free_what_stands_still(&self) -> u32 {
        let jobs: Vec<i64> = {
            let book = self.book.lock().unwrap();
            let stands = |instance: &i64| {
                let entry = book.keys.get(instance).and_then(|invoice| book.entries.get(invoice));
                entry.is_some_and(|entry| !entry.cancelled && (entry.handed_on.len() as u32) < entry.wants)
            };
            let of_open = book.given.iter().filter(|(instance, _)| stands(instance));
            of_open.flat_map(|(_, jobs)| jobs.iter().copied()).collect()
        };
        let mut freed = 0;
        for job_key in jobs {
            let request = FailJobRequest {
                job_key,
                retries: 1_000,
                error_message: "stood still".into(),
                ..Default::default()
            };
            freed += u32::from(self.gateway.clone().fail_job(request).await.is_ok());
        }
        freed
    }

    /// Instances that are not through yet.
    pub fn open(&self) -> usize {
        let book = self.book.lock().unwrap();
        let open = |entry: &&Entry| entry.certain && !entry.cancelled && (entry.handed_on.len() as u32) < entry.wants;
        book.entries.values().filter(open).count()
    }

    /// The facts for the checker. What the engine never confirmed may or may not exist.
    pub fn facts(&self) -> Vec<Instance> {
        let book = self.book.lock().unwrap();
        book.entries
            .iter()
            .map(|(invoice, entry)| Instance {
                invoice: invoice.clone(),
                wants: entry.wants,
                cancelled: entry.cancelled || !entry.certain,
                handed_on: entry.handed_on.clone(),
            })
            .collect()
    }
}
