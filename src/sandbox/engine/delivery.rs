//! How jobs reach workers. A job that becomes activatable is pushed to a stream of its type; where there is none, or
//! the chosen one is blocked, it waits for a poll. Polls that find nothing are parked and served the oldest first.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::bpmn::Kind;
use super::events::IncidentKind;
use super::job_stream::StreamSender;
use super::jobs::State;
use super::machine::{Due, Key, Machine};
use super::timers::{Millis, TimerId};
use crate::engine::gateway::ActivatedJob;
use prost::Message as _;

/// The one tenant of an engine without multi-tenancy.
pub(super) const DEFAULT_TENANT: &str = "<default>";

/// How a worker wants its jobs. Streams that agree in all of it are one stream with several clients.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Activation {
    /// The job type.
    pub job_type: String,
    /// The worker's name.
    pub worker: String,
    /// Milliseconds for which the worker holds a job.
    pub timeout: Millis,
    /// Variables that are sent; empty: all that the task can see.
    pub fetch_variables: Vec<String>,
    /// Whether each activation gets a lease token.
    pub with_lease: bool,
}

/// Where a poll's jobs go; empty when the poll ends without any.
pub type BatchSender = oneshot::Sender<Vec<ActivatedJob>>;

#[derive(Debug)]
struct Stream {
    activation: Activation,
    clients: Vec<(Key, StreamSender)>,
}

#[derive(Debug)]
struct Poll {
    activation: Activation,
    max_jobs: usize,
    answer: BatchSender,
    expiry: TimerId,
}

/// Open streams and parked polls by job type.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    streams: HashMap<String, Vec<Stream>>,
    polls: HashMap<Arc<str>, BTreeMap<Key, Poll>>,
    /// Types with jobs that parked polls have not been asked about.
    news: BTreeSet<Arc<str>>,
}

impl Delivery {
    pub(super) fn expire_poll(&mut self, job_type: &str, poll: Key) {
        if let Some(poll) = self.take_poll(job_type, poll) {
            let _ = poll.answer.send(Vec::new()); // whoever asked may be gone
        }
    }

    fn take_poll(&mut self, job_type: &str, poll: Key) -> Option<Poll> {
        let parked = self.polls.get_mut(job_type)?;
        let poll = parked.remove(&poll);
        if parked.is_empty() {
            self.polls.remove(job_type);
        }
        poll
    }

    /// How many clients have a stream of this type open, and how many polls are parked.
    pub(super) fn count(&self, job_type: &str) -> (usize, usize) {
        let streams = self.streams.get(job_type).into_iter().flatten();
        let clients = streams.map(|stream| stream.clients.len()).sum();
        (clients, self.polls.get(job_type).map_or(0, BTreeMap::len))
    }
}

impl Machine {
    /// Opens a stream; jobs that already wait are left to polls. Returns what names it.
    pub fn open_stream(&mut self, activation: Activation, client: StreamSender) -> Key {
        let key = self.new_key();
        let streams = self.delivery.streams.entry(activation.job_type.clone()).or_default();
        match streams.iter_mut().find(|stream| stream.activation == activation) {
            Some(stream) => stream.clients.push((key, client)),
            None => streams.push(Stream {
                activation,
                clients: vec![(key, client)],
            }),
        }
        key
    }

    /// Closes a client's stream.
    pub fn close_stream(&mut self, job_type: &str, client: Key) {
        let Some(streams) = self.delivery.streams.get_mut(job_type) else {
            return;
        };
        for stream in streams.iter_mut() {
            stream.clients.retain(|(key, _)| *key != client);
        }
        streams.retain(|stream| !stream.clients.is_empty());
        if streams.is_empty() {
            self.delivery.streams.remove(job_type);
        }
    }

    /// Asks for jobs that wait, at most `max_jobs`. When there are none, the poll is parked for `wait` milliseconds;
    /// not at all when that is not positive. Returns what names a parked poll.
    pub fn poll(&mut self, activation: Activation, max_jobs: usize, wait: Millis, answer: BatchSender) -> Option<Key> {
        let batch = self.activate_batch(&activation, max_jobs);
        if !batch.is_empty() || wait <= 0 {
            self.answer_poll(answer, batch);
            return None;
        }
        let key = self.new_key();
        let job_type: Arc<str> = activation.job_type.as_str().into();
        let due = self.now.saturating_add(wait);
        let expiry = self.timers.add(
            due,
            Due::Poll {
                job_type: Arc::clone(&job_type),
                poll: key,
            },
        );
        let poll = Poll {
            activation,
            max_jobs,
            answer,
            expiry,
        };
        self.delivery.polls.entry(job_type).or_default().insert(key, poll);
        Some(key)
    }

    /// Forgets a parked poll whose client is gone.
    pub fn close_poll(&mut self, job_type: &str, poll: Key) {
        if let Some(poll) = self.delivery.take_poll(job_type, poll) {
            self.timers.cancel(poll.expiry);
        }
    }

    /// A job became activatable in a way that is pushed: new, tried again, or freed by a person.
    pub(super) fn offer(&mut self, key: Key) {
        if !self.push(key) {
            self.make_activatable(key);
        }
    }

    /// A job waits for a poll; parked ones are asked when the machine settles.
    pub(super) fn make_activatable(&mut self, key: Key) {
        self.jobs.set_state(key, State::Activatable);
        let Some(job) = self.jobs.get(key) else { return };
        let job_type = &job.job_type;
        if self.delivery.polls.contains_key(job_type) {
            self.delivery.news.insert(Arc::clone(job_type));
        }
    }

    /// Sends a job to a ready client of one stream, both chosen at random. False when there is none, or when every
    /// client of the chosen stream is blocked; true also when the job cannot be sent at all and became an incident.
    fn push(&mut self, key: Key) -> bool {
        let Some(job) = self.jobs.get(key) else { return true };
        let Some(streams) = self.delivery.streams.get(&*job.job_type) else {
            return false;
        };
        let fits = |stream: &&Stream| job.lease.is_none() || stream.activation.with_lease;
        let fitting = streams.iter().filter(fits).count();
        if fitting == 0 {
            return false;
        }
        let Some(stream) = streams.iter().filter(fits).nth(fastrand::usize(..fitting)) else {
            return false;
        };
        let ready = |(_, client): &&(Key, StreamSender)| client.is_ready();
        let ready_clients = stream.clients.iter().filter(ready).count();
        if ready_clients == 0 {
            return false;
        }
        let Some((_, client)) = stream
            .clients
            .iter()
            .filter(ready)
            .nth(fastrand::usize(..ready_clients))
        else {
            return false;
        };
        let Some(activated) = self.describe(key, &stream.activation) else {
            return true;
        };
        if activated.encoded_len() > self.settings.max_message_size {
            self.too_large(key);
            return true;
        }
        let (deadline, lease) = (activated.deadline, activated.lease_token.clone());
        if !client.send(activated) {
            return false;
        }
        self.jobs.hold(key, deadline, lease);
        true
    }

    /// Asks the parked polls of every type that has news, the oldest first.
    pub(super) fn serve_polls(&mut self) {
        while let Some(job_type) = self.delivery.news.pop_first() {
            let mut asked = Key::MIN;
            while self.jobs.oldest(&job_type, true).is_some() {
                let parked = self.delivery.polls.get(&job_type);
                let later = (Bound::Excluded(asked), Bound::Unbounded);
                let Some((&key, poll)) = parked.and_then(|parked| parked.range(later).next()) else {
                    break;
                };
                asked = key;
                if poll.answer.is_closed() {
                    self.close_poll(&job_type, key);
                    continue;
                }
                let (activation, max_jobs) = (poll.activation.clone(), poll.max_jobs);
                let batch = self.activate_batch(&activation, max_jobs);
                if batch.is_empty() {
                    continue; // what waits is leased, and this poll asked for none
                }
                if let Some(poll) = self.delivery.take_poll(&job_type, key) {
                    self.timers.cancel(poll.expiry);
                    self.answer_poll(poll.answer, batch);
                }
            }
        }
    }

    /// Jobs whose receiver is gone are given back at once.
    fn answer_poll(&mut self, answer: BatchSender, batch: Vec<ActivatedJob>) {
        if let Err(undelivered) = answer.send(batch) {
            for job in undelivered {
                self.make_activatable(job.key);
            }
        }
    }

    /// Activates jobs that wait, the oldest first, as many as were asked for and fit one message.
    fn activate_batch(&mut self, activation: &Activation, max_jobs: usize) -> Vec<ActivatedJob> {
        let mut batch = Vec::new();
        let mut room = self.settings.max_message_size;
        while batch.len() < max_jobs {
            let Some(key) = self.jobs.oldest(&activation.job_type, activation.with_lease) else {
                break;
            };
            let Some(job) = self.describe(key, activation) else {
                break;
            };
            // Each entry of a repeated field costs its tag and length on top.
            let size = job.encoded_len() + 6;
            if size > self.settings.max_message_size {
                self.too_large(key);
                continue;
            }
            if size > room {
                break;
            }
            room -= size;
            self.jobs.hold(key, job.deadline, job.lease_token.clone());
            batch.push(job);
        }
        batch
    }

    /// The job as this activation sends it.
    fn describe(&self, key: Key, activation: &Activation) -> Option<ActivatedJob> {
        let job = self.jobs.get(key)?;
        let element = self.elements.get(job.element)?;
        let Kind::Job(task) = &element.element().kind else {
            return None;
        };
        Some(ActivatedJob {
            key,
            r#type: job.job_type.to_string(),
            process_instance_key: element.instance,
            bpmn_process_id: element.definition.process.id.clone(),
            process_definition_version: element.definition.version,
            process_definition_key: element.definition.key,
            element_id: element.element().id.clone(),
            element_instance_key: job.element,
            custom_headers: task.headers.clone(),
            worker: activation.worker.clone(),
            retries: job.retries,
            deadline: self.now.saturating_add(activation.timeout),
            variables: self.visible(job.element, &activation.fetch_variables),
            tenant_id: DEFAULT_TENANT.to_owned(),
            lease_token: activation.with_lease.then(|| format!("{:032x}", fastrand::u128(..))),
            ..ActivatedJob::default()
        })
    }

    fn too_large(&mut self, key: Key) {
        let Some(element) = self.jobs.get(key).map(|job| job.element) else {
            return;
        };
        self.jobs.set_state(key, State::Failed);
        let message = format!(
            "The job with key '{key}' can not be activated because it is larger than the configured message size. Try to reduce the size by reducing the number of fetched variables or modifying the variable values."
        );
        self.raise(element, Some(key), IncidentKind::MessageSizeExceeded, message);
    }
}
