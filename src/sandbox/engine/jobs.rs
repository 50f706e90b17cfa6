//! Jobs: their states, the commands that move them from one to another, and the indices that find them by state.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::bpmn::JobDefinition;
use super::catch::uncaught;
use super::events::IncidentKind;
use super::machine::{Due, Key, Machine};
use super::rejection::{Rejection, RejectionKind};
use super::timers::{Millis, TimerId};

/// Longer error messages are cut, as Zeebe does.
const MAX_ERROR_MESSAGE: usize = 10_000;

/// A job of a task that has not been completed.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) job_type: Arc<str>,
    /// The task's element instance.
    pub(super) element: Key,
    pub(super) retries: i32,
    pub(super) state: State,
    /// The fencing token of its last leasing activation; stays until the next one.
    pub(super) lease: Option<String>,
    backoff: Option<TimerId>,
}

/// What may happen to a job next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// A poll may take it.
    Activatable,
    /// A worker has it until the deadline.
    Activated { deadline: Millis },
    /// It failed: it waits for its backoff to end or for a person.
    Failed,
    /// It threw an error that nothing catches: it waits for a person.
    ErrorThrown,
}

/// Every job, found by key, by type while activatable, and by deadline while activated.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    by_key: HashMap<Key, Job>,
    queues: HashMap<Arc<str>, Queue>,
    deadlines: BTreeSet<(Millis, Key)>,
}

/// The activatable jobs of one type. A job that was ever leased is only for those who ask for a lease.
#[derive(Debug, Default)]
struct Queue {
    free: BTreeSet<Key>,
    leased: BTreeSet<Key>,
}

impl Jobs {
    pub(super) fn get(&self, key: Key) -> Option<&Job> {
        self.by_key.get(&key)
    }

    pub(super) fn first_deadline(&self) -> Option<Millis> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// The oldest job that a poll may take.
    pub(super) fn oldest(&self, job_type: &str, with_lease: bool) -> Option<Key> {
        let queue = self.queues.get(job_type)?;
        let free = queue.free.first().copied();
        let leased = queue.leased.first().copied().filter(|_| with_lease);
        match (free, leased) {
            (Some(free), Some(leased)) => Some(free.min(leased)),
            (free, leased) => free.or(leased),
        }
    }

    /// How many jobs of a type polls may take, and how many workers hold.
    pub(super) fn count(&self, job_type: &str) -> (usize, usize) {
        let activatable = self
            .queues
            .get(job_type)
            .map_or(0, |queue| queue.free.len() + queue.leased.len());
        let held = |job: &&Job| &*job.job_type == job_type && matches!(job.state, State::Activated { .. });
        (activatable, self.by_key.values().filter(held).count())
    }

    fn insert(&mut self, key: Key, job: Job) {
        self.by_key.insert(key, job);
        self.index(key);
    }

    fn remove(&mut self, key: Key) -> Option<Job> {
        self.unindex(key);
        self.by_key.remove(&key)
    }

    pub(super) fn set_state(&mut self, key: Key, state: State) {
        self.unindex(key);
        if let Some(job) = self.by_key.get_mut(&key) {
            job.state = state;
        }
        self.index(key);
    }

    /// Marks a job as held, under a new lease if there is one.
    pub(super) fn hold(&mut self, key: Key, deadline: Millis, lease: Option<String>) {
        self.set_state(key, State::Activated { deadline });
        if let (Some(job), Some(lease)) = (self.by_key.get_mut(&key), lease) {
            job.lease = Some(lease);
        }
    }

    fn index(&mut self, key: Key) {
        let Some(job) = self.by_key.get(&key) else { return };
        match job.state {
            State::Activatable => {
                let queue = self.queues.entry(Arc::clone(&job.job_type)).or_default();
                if job.lease.is_some() {
                    &mut queue.leased
                } else {
                    &mut queue.free
                }
                .insert(key);
            }
            State::Activated { deadline } => {
                self.deadlines.insert((deadline, key));
            }
            State::Failed | State::ErrorThrown => {}
        }
    }

    fn unindex(&mut self, key: Key) {
        let Some(job) = self.by_key.get(&key) else { return };
        match job.state {
            State::Activatable => {
                if let Some(queue) = self.queues.get_mut(&job.job_type) {
                    queue.free.remove(&key);
                    queue.leased.remove(&key);
                    if queue.free.is_empty() && queue.leased.is_empty() {
                        self.queues.remove(&job.job_type);
                    }
                }
            }
            State::Activated { deadline } => {
                self.deadlines.remove(&(deadline, key));
            }
            State::Failed | State::ErrorThrown => {}
        }
    }
}

/// What a worker says about a job that it could not do.
#[derive(Clone, Debug, Default)]
pub struct Failure {
    /// The new number of retries; none left makes an incident.
    pub retries: i32,
    /// What a person reads.
    pub message: String,
    /// Milliseconds until the next try.
    pub backoff: Millis,
    /// Variables for the task's own scope.
    pub variables: Map<String, Value>,
}

/// A BPMN error that a worker throws.
#[derive(Clone, Debug, Default)]
pub struct ThrownError {
    /// The code that a boundary event names.
    pub code: String,
    /// What a person reads where nothing catches it.
    pub message: String,
    /// Variables for the scope that catches it.
    pub variables: Map<String, Value>,
}

impl Machine {
    pub(super) fn create_job(&mut self, element: Key, definition: &JobDefinition) -> Result<(), String> {
        let layers = self.layers(element);
        let job_type = definition.job_type.string(&layers)?;
        let retries = definition.retries.integer(&layers)?;
        let key = self.new_key();
        if let Some(instance) = self.elements.get_mut(element) {
            instance.job = Some(key);
        }
        let job = Job {
            job_type: job_type.into(),
            element,
            retries,
            state: State::Failed, // until it is offered below
            lease: None,
            backoff: None,
        };
        self.jobs.insert(key, job);
        self.offer(key);
        Ok(())
    }

    /// Removes a job whose element is gone.
    pub(super) fn forget_job(&mut self, key: Key) {
        if let Some(timer) = self.jobs.remove(key).and_then(|job| job.backoff) {
            self.timers.cancel(timer);
        }
    }

    /// The task is done.
    ///
    /// # Errors
    /// There is no such job, it waits for a person or its backoff, or its lease is another's.
    pub fn complete_job(
        &mut self,
        key: Key,
        variables: Map<String, Value>,
        lease: Option<&str>,
    ) -> Result<(), Rejection> {
        let element = self.check("COMPLETE", "complete", key, lease)?.element;
        self.end_job(element, key);
        self.finish(element, variables);
        Ok(())
    }

    fn end_job(&mut self, element: Key, key: Key) {
        self.forget_job(key);
        if let Some(instance) = self.elements.get_mut(element) {
            instance.job = None;
        }
    }

    /// The task did not work.
    ///
    /// # Errors
    /// As [`Machine::complete_job`].
    pub fn fail_job(&mut self, key: Key, failure: Failure, lease: Option<&str>) -> Result<(), Rejection> {
        let element = self.check("FAIL", "fail", key, lease)?.element;
        self.set_local(element, failure.variables);
        self.jobs.set_state(key, State::Failed);
        let backs_off = failure.retries > 0 && failure.backoff > 0;
        let timer = backs_off.then(|| {
            let due = self.now.saturating_add(failure.backoff);
            self.timers.add(due, Due::Backoff { job: key })
        });
        if let Some(job) = self.jobs.by_key.get_mut(&key) {
            job.retries = failure.retries;
            job.backoff = timer;
        }
        if failure.retries <= 0 {
            let message = match cut(failure.message) {
                message if message.is_empty() => "No more retries left.".to_owned(),
                message => message,
            };
            self.raise(element, Some(key), IncidentKind::JobNoRetries, message);
        } else if !backs_off {
            self.offer(key);
        }
        Ok(())
    }

    pub(super) fn backoff_over(&mut self, key: Key) {
        if let Some(job) = self.jobs.by_key.get_mut(&key) {
            job.backoff = None;
            self.offer(key);
        }
    }

    /// The task ends with a business error. The call succeeds whether or not something catches it.
    ///
    /// # Errors
    /// As [`Machine::complete_job`].
    pub fn throw_error(&mut self, key: Key, error: ThrownError, lease: Option<&str>) -> Result<(), Rejection> {
        let element = self.check("THROW_ERROR", "throw an error for", key, lease)?.element;
        let message = cut(error.message);
        match self.find_catcher(element, &error.code) {
            Some((host, boundary)) => {
                self.end_job(element, key);
                self.catch_error(host, boundary, &error.code, &message, error.variables);
            }
            None => {
                self.jobs.set_state(key, State::ErrorThrown);
                let message = uncaught(&error.code, Some(&message));
                self.raise(element, Some(key), IncidentKind::UnhandledErrorEvent, message);
            }
        }
        Ok(())
    }

    /// A worker needs more time, or less: the deadline becomes now and this many milliseconds.
    ///
    /// # Errors
    /// There is no such job, nobody holds it, or a lease was named and it is another's.
    pub fn update_job_timeout(&mut self, key: Key, timeout: Millis, lease: Option<&str>) -> Result<(), Rejection> {
        let Some(job) = self.jobs.get(key) else {
            let reason = format!("Expected to update job with key '{key}', but no such job was found");
            return Err(Rejection::not_found("UPDATE_TIMEOUT", reason));
        };
        if !matches!(job.state, State::Activated { .. }) {
            let reason = format!("Expected to update the timeout of job with key '{key}', but it is not active");
            return Err(Rejection::invalid_state("UPDATE_TIMEOUT", reason));
        }
        check_named_lease("UPDATE_TIMEOUT", key, job, lease)?;
        let deadline = self.now.saturating_add(timeout);
        self.jobs.set_state(key, State::Activated { deadline });
        Ok(())
    }

    /// A person gives a job more tries; an incident stays until it is resolved.
    ///
    /// # Errors
    /// There is no such job, the number is not positive, or a lease was named and it is another's.
    pub fn update_job_retries(&mut self, key: Key, retries: i32, lease: Option<&str>) -> Result<(), Rejection> {
        if retries < 1 {
            return Err(Rejection::invalid_argument(
                "UPDATE_RETRIES",
                format!(
                    "Expected to update retries for job with key '{key}' with a positive amount of retries, but the amount given was '{retries}'"
                ),
            ));
        }
        let Some(job) = self.jobs.by_key.get_mut(&key) else {
            let reason = format!("Expected to update job with key '{key}', but no such job was found");
            return Err(Rejection::not_found("UPDATE_RETRIES", reason));
        };
        check_named_lease("UPDATE_RETRIES", key, job, lease)?;
        job.retries = retries;
        Ok(())
    }

    /// Jobs whose time is over go back: to polls only, or pushed again as before 8.8.
    pub(super) fn lapse_jobs(&mut self) {
        while let Some(&(deadline, key)) = self.jobs.deadlines.first() {
            if deadline > self.now {
                break;
            }
            if self.settings.push_lapsed_jobs {
                self.jobs.set_state(key, State::Failed); // so that a push to the same worker is a new activation
                self.offer(key);
            } else {
                self.make_activatable(key);
            }
        }
    }

    /// The job, if a worker may end it now: whoever had it, while nobody ended it.
    fn check(&self, intent: &'static str, verb: &str, key: Key, lease: Option<&str>) -> Result<&Job, Rejection> {
        let Some(job) = self.jobs.get(key) else {
            let reason = format!("Expected to {verb} job with key '{key}', but no such job was found");
            return Err(Rejection::not_found(intent, reason));
        };
        let state = match job.state {
            State::Activatable | State::Activated { .. } => None,
            State::Failed => Some("FAILED"),
            State::ErrorThrown => Some("ERROR_THROWN"),
        };
        if let Some(state) = state {
            let reason = format!("Expected to {verb} job with key '{key}', but it is in state '{state}'");
            return Err(Rejection::invalid_state(intent, reason));
        }
        if job.lease.is_some() && lease.is_none() {
            let reason =
                format!("Expected to {verb} job with key '{key}', but it is leased and no lease token was given");
            return Err(Rejection::invalid_state(intent, reason));
        }
        check_named_lease(intent, key, job, lease)?;
        Ok(job)
    }
}

/// A job that was never leased accepts any token, as engines before 8.10 do.
fn check_named_lease(intent: &'static str, key: Key, job: &Job, lease: Option<&str>) -> Result<(), Rejection> {
    match (&job.lease, lease) {
        (Some(held), Some(named)) if held != named => Err(Rejection::new(
            intent,
            RejectionKind::InvalidState,
            format!("Expected the lease token of job with key '{key}', but the one given is of another activation"),
        )),
        _ => Ok(()),
    }
}

fn cut(mut message: String) -> String {
    if let Some((end, _)) = message.char_indices().nth(MAX_ERROR_MESSAGE) {
        message.truncate(end);
    }
    message
}
