//! Starts instances, cancels, modifies and migrates some, and takes what the processes hand on: this is how it is known what
//! the engine says.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use deskhand::engine::gateway::gateway_client::GatewayClient;
use deskhand::engine::gateway::{
    ActivateJobsRequest, CancelProcessInstanceRequest, CompleteJobRequest, CreateProcessInstanceRequest,
    DeployResourceRequest, FailJobRequest, Resource, deployment::Metadata,
};
use serde_json::Value;
use tonic::Code;
use tonic::transport::Channel;

use crate::checker::{Instance, Told};
use crate::processes::{AFTER, FLOW, Process, bpmn};
use crate::surgery;

/// Asks the engine and writes down what it says.
#[derive(Clone)]
pub struct Clerk {
    channel: Channel,
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
    /// Jobs that replicas were given, by process instance: job to element instance.
    given: HashMap<i64, HashMap<i64, i64>>,
    /// Definitions by the ids of their processes.
    definitions: HashMap<String, i64>,
    counts: Counts,
}

/// What was done to instances.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub cancelled: u32,
    pub modified: u32,
    pub migrated: u32,
    /// Jobs that the engine gave nobody although their leases had long lapsed, until they were failed by hand.
    pub freed_by_hand: u32,
    /// Instances that were cancelled because the engine gave nobody their job, and takes no failure of it.
    pub given_up: u32,
}

impl Counts {
    pub fn add(&mut self, other: Self) {
        self.cancelled += other.cancelled;
        self.modified += other.modified;
        self.migrated += other.migrated;
        self.freed_by_hand += other.freed_by_hand;
        self.given_up += other.given_up;
    }
}

struct Entry {
    wants: u32,
    cancelled: bool,
    begun_anew: Vec<i64>,
    /// Whether it goes on by a message, and what the message told.
    waits_for_message: bool,
    told: Vec<Told>,
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
            gateway: GatewayClient::new(channel.clone()),
            channel,
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
        let answer = self.gateway.clone().deploy_resource(request).await.unwrap();
        let deployed = answer
            .into_inner()
            .deployments
            .into_iter()
            .filter_map(|one| one.metadata);
        self.book.lock().unwrap().definitions = deployed
            .map(|Metadata::Process(process)| (process.bpmn_process_id, process.process_definition_key))
            .collect();
    }

    /// Starts an instance. Its entry is made first: an answer may be lost, the instance is not.
    pub async fn start(&self, process: Process, invoice: &str) -> Option<i64> {
        self.book.lock().unwrap().entries.insert(
            invoice.to_owned(),
            Entry {
                wants: process.wants,
                cancelled: false,
                begun_anew: Vec::new(),
                waits_for_message: process.waits_for_message(),
                told: Vec::new(),
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
            self.changed(key, |entry, counts| {
                entry.cancelled = true;
                counts.cancelled += 1;
            });
        }
    }

    /// Begins the task of an instance anew, if a replica was given it: that is another entry into it.
    pub async fn modify(&self, key: i64) {
        let element = {
            let book = self.book.lock().unwrap();
            book.given.get(&key).and_then(|jobs| jobs.values().max().copied())
        };
        let Some(element) = element else { return };
        let now = jiff::Timestamp::now().as_millisecond();
        let answer = surgery::begin_anew(&self.channel, key, FLOW, element).await;
        match answer.map_err(|status| status.code()) {
            Ok(()) => self.changed(key, |entry, counts| {
                entry.begun_anew.push(now);
                counts.modified += 1;
            }),
            // The task is over, or the engine knows no modification.
            Err(Code::NotFound | Code::InvalidArgument | Code::Unimplemented | Code::ResourceExhausted) => {}
            // It may have been done, and nobody knows when.
            Err(_) => self.changed(key, |entry, _| {
                entry.begun_anew.push(i64::MIN);
                entry.cancelled = true;
            }),
        }
    }

    /// Moves an instance to another process; its entries stay what they are.
    pub async fn migrate(&self, process: Process, key: i64) {
        let Some((target, elements)) = process.moves_to() else {
            return;
        };
        let target = self.book.lock().unwrap().definitions[target.id];
        if surgery::migrate(&self.channel, key, target, elements).await.is_ok() {
            self.changed(key, |_, counts| counts.migrated += 1);
        }
    }

    fn changed(&self, key: i64, change: impl FnOnce(&mut Entry, &mut Counts)) {
        let mut book = self.book.lock().unwrap();
        let book = &mut *book;
        let entry = book.keys.get(&key).and_then(|invoice| book.entries.get_mut(invoice));
        change(entry.unwrap(), &mut book.counts);
    }

    pub fn counts(&self) -> Counts {
        self.book.lock().unwrap().counts
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
        let message = &variables["desktopFlowRun"];
        if message.is_object() {
            entry.told.push(Told {
                run: run(&message["flowSessionId"]),
                at: jiff::Timestamp::now().as_millisecond(),
            });
        }
    }

    /// The invoice of an instance, and how many runs it wants.
    pub fn invoice_of(&self, instance: i64) -> Option<(String, usize)> {
        let book = self.book.lock().unwrap();
        let invoice = book.keys.get(&instance)?;
        let entry = book.entries.get(invoice)?;
        Some((invoice.clone(), entry.wants as usize + entry.begun_anew.len()))
    }

    /// A replica was given this job.
    pub fn note_job(&self, job: i64, element: i64, instance: i64) {
        let mut book = self.book.lock().unwrap();
        book.given.entry(instance).or_default().insert(job, element);
    }

    /// Frees instances that stand still because of a defect of engines up to spring 2025 (camunda/camunda issue 29735): a
    /// job that has lapsed or failed with a backoff once, and does so again, may be kept for ever. A lapsed one takes a
    /// failure by hand; one that waits for its backoff takes none, so its instance is cancelled.
    pub async fn free_what_stands_still(&self) {
        let standing: Vec<(i64, Vec<i64>)> = {
            let book = self.book.lock().unwrap();
            let open = |instance: &&i64| {
                let entry = book.keys.get(instance).and_then(|invoice| book.entries.get(invoice));
                entry.is_some_and(Entry::is_open)
            };
            let instances = book.keys.keys().filter(open);
            let jobs = |instance| book.given.get(instance).map(|jobs| jobs.keys().copied().collect());
            instances.map(|key| (*key, jobs(key).unwrap_or_default())).collect()
        };
        for (instance, jobs) in standing {
            let (mut freed, mut backing_off) = (false, false);
            for job_key in jobs {
                let request = FailJobRequest {
                    job_key,
                    retries: 1_000,
                    error_message: "stood still".into(),
                    ..Default::default()
                };
                match self.gateway.clone().fail_job(request).await {
                    Ok(_) => freed = true,
                    Err(status) => backing_off |= status.message().contains("in state 'FAILED'"),
                }
            }
            if freed {
                self.changed(instance, |_, counts| counts.freed_by_hand += 1);
            } else if backing_off {
                self.cancel(instance).await;
                self.changed(instance, |_, counts| counts.given_up += 1);
            }
        }
    }

    /// Instances that are not through yet.
    pub fn open(&self) -> usize {
        let book = self.book.lock().unwrap();
        book.entries.values().filter(|entry| entry.is_open()).count()
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
                begun_anew: entry.begun_anew.clone(),
                waits_for_message: entry.waits_for_message,
                told: entry.told.clone(),
                handed_on: entry.handed_on.clone(),
            })
            .collect()
    }
}

impl Entry {
    /// It exists, and is neither cancelled nor through.
    fn is_open(&self) -> bool {
        self.certain && !self.cancelled && (self.handed_on.len() as u32) < self.wants
    }
}
