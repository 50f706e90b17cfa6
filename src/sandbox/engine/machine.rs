//! The engine's state machine: commands enter as method calls, with the time set before; answers leave as return
//! values, jobs and results through the channels that were handed in. It does no I/O, knows no task and reads no clock.
//!
//! A command only notes the steps that follow from it; [`Machine::settle`] takes them, a bounded number at a time, so
//! that a process that runs in a circle keeps no other from its turn.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::sync::{broadcast, oneshot};

use super::JobTypeStatus;
use super::bpmn::{ElementIndex, ROOT};
use super::definitions::{Definition, Definitions, Selector};
use super::delivery::Delivery;
use super::elements::{Elements, Step};
use super::events::{Event, Incident};
use super::jobs::Jobs;
use super::messages::Messages;
use super::rejection::{Rejection, RejectionKind};
use super::settings::Settings;
use super::timers::{Millis, TimerId, Timers};

/// Identifies everything that the engine makes; positive and growing.
pub type Key = i64;

/// What a timer stands for.
#[derive(Debug)]
pub(super) enum Due {
    /// A timer event: of a waiting element, or of a boundary attached to it.
    Element { instance: Key, event: ElementIndex },
    /// A failed job may be tried again.
    Backoff { job: Key },
    /// A parked poll has waited long enough.
    Poll { job_type: Arc<str>, poll: Key },
    /// A message is forgotten.
    Message { message: Key },
    /// Whoever waits for an instance's result has waited long enough.
    Result { instance: Key },
    /// Activated jobs are looked through for those whose time is over.
    Lapse,
}

/// An instance's result, once it has completed; none when that takes too long.
pub(super) type ResultSender = oneshot::Sender<Option<Map<String, Value>>>;

/// The whole state of the engine.
pub struct Machine {
    pub(super) settings: Settings,
    pub(super) now: Millis,
    started: Millis,
    next_key: Key,
    pub(super) definitions: Definitions,
    pub(super) elements: Elements,
    pub(super) jobs: Jobs,
    pub(super) delivery: Delivery,
    pub(super) messages: Messages,
    pub(super) incidents: HashMap<Key, Incident>,
    pub(super) timers: Timers<Due>,
    pub(super) steps: VecDeque<Step>,
    results: HashMap<Key, (ResultSender, TimerId)>,
    instances: usize,
    lapse: Option<(Millis, TimerId)>,
    events: broadcast::Sender<Event>,
}

/// The part of a key that says which partition made it, as Zeebe's first partition does.
const FIRST_KEY: Key = 1 << 51;

impl Machine {
    /// An empty engine. `events` are sent to whoever subscribed.
    pub fn new(settings: Settings, now: Millis, events: broadcast::Sender<Event>) -> Self {
        Self {
            settings,
            now,
            started: now,
            next_key: FIRST_KEY,
            definitions: Definitions::default(),
            elements: Elements::default(),
            jobs: Jobs::default(),
            delivery: Delivery::default(),
            messages: Messages::default(),
            incidents: HashMap::new(),
            timers: Timers::default(),
            steps: VecDeque::new(),
            results: HashMap::new(),
            instances: 0,
            lapse: None,
            events,
        }
    }

    pub(super) fn new_key(&mut self) -> Key {
        self.next_key += 1;
        self.next_key
    }

    /// Builds and sends an event, if anybody watches.
    pub(super) fn emit(&self, event: impl FnOnce() -> Event) {
        if self.events.receiver_count() > 0 {
            // Fails only when the last watcher has just gone.
            let _ = self.events.send(event());
        }
    }

    /// When [`Machine::advance`] has something to do next.
    pub fn next_due(&self) -> Option<Millis> {
        self.timers.next()
    }

    /// Whether [`Machine::settle`] left steps over.
    pub fn is_unsettled(&self) -> bool {
        !self.steps.is_empty()
    }

    /// Sets the time and does what became due.
    pub fn advance(&mut self, now: Millis) {
        // The clock may be set by a person; the engine's time never goes back.
        self.now = self.now.max(now);
        while let Some(due) = self.timers.pop_due(self.now) {
            match due {
                Due::Element { instance, event } => self.timer_fired(instance, event),
                Due::Backoff { job } => self.backoff_over(job),
                Due::Poll { job_type, poll } => self.delivery.expire_poll(&job_type, poll),
                Due::Message { message } => self.forget_message(message),
                Due::Result { instance } => {
                    if let Some((waiting, _)) = self.results.remove(&instance) {
                        let _ = waiting.send(None); // whoever asked may be gone
                    }
                }
                Due::Lapse => {
                    self.lapse = None;
                    self.lapse_jobs();
                }
            }
        }
        self.schedule_lapse();
    }

    /// Takes at most `budget` steps, then hands jobs to parked polls.
    pub fn settle(&mut self, budget: usize) {
        for _ in 0..budget {
            let Some(step) = self.steps.pop_front() else { break };
            self.take(step);
        }
        self.serve_polls();
        self.schedule_lapse();
    }

    /// Activated jobs are looked through at fixed times, as Zeebe does: the first such time after the first deadline.
    fn schedule_lapse(&mut self) {
        let Some(deadline) = self.jobs.first_deadline() else {
            return;
        };
        let interval = i64::try_from(self.settings.timeout_check.as_millis())
            .unwrap_or(i64::MAX)
            .max(1);
        let passed = deadline.saturating_sub(self.started).max(0);
        let due = self
            .started
            .saturating_add((passed / interval + 1).saturating_mul(interval));
        match self.lapse {
            Some((planned, _)) if planned <= due => {}
            planned => {
                if let Some((_, timer)) = planned {
                    self.timers.cancel(timer);
                }
                self.lapse = Some((due, self.timers.add(due, Due::Lapse)));
            }
        }
    }

    /// Starts an instance; returns its key and what it is an instance of.
    ///
    /// # Errors
    /// The process is not deployed, or the engine holds as many instances as it may.
    pub fn create_instance(
        &mut self,
        which: &Selector,
        variables: Map<String, Value>,
    ) -> Result<(Key, Arc<Definition>), Rejection> {
        let definition = self.definitions.find(which)?;
        if self.instances >= self.settings.max_instances {
            return Err(Rejection::new(
                "CREATE",
                RejectionKind::ResourceExhausted,
                format!("{} process instances are running, and no more may", self.instances),
            ));
        }
        self.instances += 1;
        let instance = self.new_key();
        self.emit(|| Event::InstanceCreated {
            instance,
            process_id: definition.process.id.clone(),
        });
        self.add_instance(instance, Arc::clone(&definition), variables);
        self.steps.push_back(Step::Activate(instance));
        Ok((instance, definition))
    }

    /// Starts an instance and registers for its result, which is given up after `wait` milliseconds.
    ///
    /// # Errors
    /// As [`Machine::create_instance`].
    pub(super) fn create_instance_with_result(
        &mut self,
        which: &Selector,
        variables: Map<String, Value>,
        wait: Millis,
        result: ResultSender,
    ) -> Result<(Key, Arc<Definition>), Rejection> {
        let created = self.create_instance(which, variables)?;
        let timer = self
            .timers
            .add(self.now.saturating_add(wait), Due::Result { instance: created.0 });
        self.results.insert(created.0, (result, timer));
        Ok(created)
    }

    /// The root scope is gone: its variables are the result.
    pub(super) fn instance_completed(&mut self, instance: Key, process_id: &str, variables: Map<String, Value>) {
        self.instances -= 1;
        self.emit(|| Event::InstanceCompleted {
            instance,
            process_id: process_id.to_owned(),
            variables: variables.clone(),
        });
        if let Some((waiting, timer)) = self.results.remove(&instance) {
            self.timers.cancel(timer);
            let _ = waiting.send(Some(variables)); // whoever asked may be gone
        }
    }

    /// Who takes jobs of this type, and what there is to take. It looks at every job: not for a busy loop.
    pub fn job_type_status(&self, job_type: &str) -> JobTypeStatus {
        let (activatable, activated) = self.jobs.count(job_type);
        let (streams, polls) = self.delivery.count(job_type);
        JobTypeStatus {
            activatable,
            activated,
            streams,
            polls,
        }
    }

    /// Ends an instance, whatever it is doing.
    ///
    /// # Errors
    /// There is no such instance, or it has ended.
    pub fn cancel_instance(&mut self, instance: Key) -> Result<(), Rejection> {
        let root = self.elements.get(instance).filter(|element| element.index == ROOT);
        let Some(root) = root else {
            return Err(Rejection::not_found(
                "CANCEL",
                format!("Expected to cancel a process instance with key '{instance}', but no such process was found"),
            ));
        };
        let process_id = root.definition.process.id.clone();
        let variables = self.terminate(instance);
        self.instances -= 1;
        // Whoever waits for the result keeps waiting, as with Zeebe: only a completed instance has one.
        self.emit(|| Event::InstanceTerminated {
            instance,
            process_id,
            variables,
        });
        Ok(())
    }
}
