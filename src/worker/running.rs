//! A job while it runs: the pipeline beside the heartbeat, then the outcome, said until the engine has heard it; only
//! then is the permit dropped.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::Map;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::car_park::CarPark;
use super::clock::Clock;
use super::hand_back::StreamsClosed;
use super::held::{Activation, HeldJobs, Taken};
use super::hold::{EngineHold, Lost};
use super::lease::{Grip, Lease};
use super::permits::Permit;
use super::{Leases, Pipeline, named, pipeline};
use crate::connector::News;
use crate::connector::Place;
use crate::engine::{Commands, Held, Told};
use crate::job::Job;
use crate::mapping;
use crate::metrics::metrics;
use crate::outcome::{JobError, Outcome};
use crate::progress::{Progress, Step};
use crate::runs::journal;
use crate::spans::{self, JobSpan, TraceId};

/// How long a connector may take to end after its job was lost: as long as the longest call that must not be cut off, the
/// start of a desktop flow.
const LET_GO: Duration = Duration::from_secs(130);

/// What running jobs share.
pub(super) struct Running {
    pub(super) commands: Commands,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) progress: Progress,
    pub(super) tasks: TaskTracker,
    /// No more jobs are begun.
    pub(super) stop: CancellationToken,
    pub(super) streams_closed: StreamsClosed,
    /// Running jobs shall end now.
    pub(super) let_go: CancellationToken,
    pub(super) held: HeldJobs,
    /// Jobs that sleep; each is among the held ones.
    pub(super) parked: Arc<CarPark>,
    /// Jobs that ended without an outcome although they were ours.
    pub(super) left: AtomicUsize,
    pub(super) clock: Clock,
    pub(super) leases: Leases,
    pub(super) said_unleased: AtomicBool,
    /// Fires when the clocks ran away from the timers.
    pub(super) jumps: Notify,
}

/// Where a piece of work begins.
pub(super) enum From {
    /// The engine gave us the job.
    Intake,
    /// It was woken in the car park.
    CarPark {
        /// When the engine gave us the job.
        received: Instant,
        /// What woke it.
        news: Option<News>,
    },
}

/// Where a piece of work ended.
enum After {
    /// The engine was told what became of the job, or knows better.
    Told,
    /// The same, and it is free for another try, which the engine may already have given to us.
    Free,
    /// It sleeps, and is held.
    Asleep,
}

impl Running {
    /// Begins a job, or hands it back when we are stopping.
    pub(super) fn begin(self: &Arc<Self>, job: Job, permit: Permit, lease: Lease) {
        if self.stop.is_cancelled() {
            let running = self.clone();
            self.tasks.spawn(async move {
                let grip = running.grip(&job, lease);
                running.hand_back(&job, &grip).await;
            });
            return;
        }
        if job.lease_token.is_none() && self.leases != Leases::Off && !self.goes_on_without_token(&job, lease) {
            return;
        }
        let key = job.key;
        let activation = Activation { job, permit, lease };
        let grip = |new: &Activation| self.grip(&new.job, new.lease);
        match self.held.take(activation, grip) {
            Taken::New(activation, grip) => {
                let Activation { job, permit, .. } = *activation;
                self.go_on(job, permit, grip, From::Intake);
            }
            Taken::Merged => tracing::info!(
                job = key,
                "given to us again while we work on it: the work goes on with the new lease"
            ),
            Taken::Next => tracing::debug!(job = key, "given to us again while the engine is told of the last try"),
        }
    }

    /// Works on a job that is among the held ones.
    pub(super) fn go_on(self: &Arc<Self>, job: Job, permit: Permit, grip: Arc<Grip>, from: From) {
        let running = self.clone();
        let trace = TraceId::random();
        let span = tracing::info_span!(
            "job",
            key = job.key,
            job_type = job.job_type,
            process = job.bpmn_process_id,
            instance = job.process_instance_key,
            element = job.element_id,
            %trace,
        );
        let recorded = JobSpan::begin(trace, &job);
        let working = async move {
            let guard = Guard {
                running: &running,
                key: job.key,
            };
            let after = running.work(job, permit, grip, from).await;
            match (after, guard) {
                (After::Asleep, guard) => std::mem::forget(guard),
                (After::Told, guard) => drop(guard),
                (After::Free, guard) => running.begin_next(guard.let_go()),
            }
        };
        // Boxed: what wraps and spawns it would copy its several KiB each time.
        self.tasks
            .spawn(spans::within(recorded, working.boxed()).instrument(span));
    }

    /// A parked job is not ours any more, or was handed back.
    pub(super) fn let_go_of_parked(self: &Arc<Self>, key: i64) {
        self.begin_next(self.held.let_go(key));
    }

    fn begin_next(self: &Arc<Self>, next: Option<Box<Activation>>) {
        if let Some(next) = next {
            self.begin(next.job, next.permit, next.lease);
        }
    }

    /// Our grip on a job that the engine has just given us.
    pub(super) fn grip(&self, job: &Job, lease: Lease) -> Grip {
        Grip::new(self.clock.clone(), lease, job.lease_token.clone())
    }

    /// Works on a job until the engine was told what became of it, or the job sleeps.
    async fn work(self: &Arc<Self>, job: Job, permit: Permit, grip: Arc<Grip>, from: From) -> After {
        let job = &job;
        let (began, news) = match from {
            From::CarPark { received, news } => (received, news),
            From::Intake => {
                tracing::info!(
                    job = job.key,
                    task = named(job),
                    job_type = job.job_type,
                    retries = job.retries,
                    "job received"
                );
                self.progress.report(job, Step::Received);
                (Instant::now(), None)
            }
        };
        let hold = EngineHold::new(&self.commands, job, permit, grip.clone(), &self.jumps, news);
        let abandoned = self.let_go.child_token();
        let ended = self.run_with_heartbeat(job, &hold, &abandoned).await;
        match (ended, hold.asleep()) {
            (Ok(Outcome::Asleep), Some(_)) if self.stop.is_cancelled() => Box::pin(self.hand_back(job, &grip)).await,
            (Ok(Outcome::Asleep), Some((sleep, place))) => {
                self.parked.take_in(job, sleep, place, grip, began);
                return After::Asleep;
            }
            // It was lost while it fell asleep.
            (Err(_), Some((sleep, _))) if hold.is_gone() => sleep.sleeper.gone(job),
            (Ok(outcome), _) => return self.answer(job, outcome, &grip, began).await,
            (Err(reason), _) => {
                metrics().job_lost(&job.job_type, "lease-lost");
                tracing::info!(job = job.key, reason, "job let go");
            }
        }
        self.held.ending(job.key);
        After::Free
    }

    /// Says how the work ended, and what becomes of the job then.
    async fn answer(&self, job: &Job, outcome: Outcome, grip: &Grip, began: Instant) -> After {
        self.held.ending(job.key);
        match outcome {
            Outcome::Abandon { .. } | Outcome::Asleep => {
                let reason = match &outcome {
                    Outcome::Abandon { reason } => reason,
                    _ => "it fell asleep where it has no place",
                };
                self.left.fetch_add(1, Ordering::Relaxed);
                metrics().job_lost(&job.job_type, "left");
                tracing::warn!(job = job.key, reason, "job left to its lease");
                After::Told
            }
            Outcome::Fail { .. } => {
                if self.let_go.is_cancelled() {
                    self.until_streams_are_seen_closed().await;
                }
                self.tell(job, &outcome, grip, began).await;
                After::Free
            }
            _ => {
                self.tell(job, &outcome, grip, began).await;
                After::Told
            }
        }
    }

    /// The pipeline and the heartbeat side by side, until one of them ends.
    async fn run_with_heartbeat(
        &self,
        job: &Job,
        hold: &EngineHold<'_>,
        abandoned: &CancellationToken,
    ) -> Result<Outcome, String> {
        let work = AssertUnwindSafe(self.pipeline.run(job, hold, abandoned))
            .catch_unwind()
            .map(|result| {
                // A defect outside the connector, which has a net of its own.
                result.unwrap_or_else(|_payload| {
                    tracing::error!(job = job.key, "the pipeline panicked");
                    mapping::failure(job, &JobError::internal(pipeline::DEFECT), None)
                })
            });
        tokio::pin!(work);
        // The work first: most jobs are young when they end, and need no timer.
        let lost = tokio::select! {
            biased;
            outcome = &mut work => return Ok(outcome),
            lost = hold.keep_alive() => lost,
        };
        abandoned.cancel();
        // What the engine gives us from now on is not for this work.
        self.held.ending(job.key);
        let late = tokio::time::timeout(LET_GO, &mut work).await;
        match (lost, late) {
            (Lost::Rejected, _) => Err("the engine has given the job up".into()),
            // Finished work is worth offering: it is accepted as long as nobody else finished the job.
            (Lost::Lapsed, Ok(outcome @ (Outcome::Complete { .. } | Outcome::BpmnError { .. }))) => Ok(outcome),
            (Lost::Lapsed, _) => Err("its lease lapsed while the engine could not be reached".into()),
        }
    }

    async fn tell(&self, job: &Job, outcome: &Outcome, grip: &Grip, began: Instant) {
        // Repeating the work is worse than a late answer, so it is offered for up to three leases. But a late failure would
        // free the job while somebody else works on it.
        let until = match outcome {
            Outcome::Fail { .. } => grip.frees_until(),
            _ => Some(grip.lapses() + 2 * grip.lease().length()),
        };
        let mut told = match until {
            Some(until) => self.commands.tell(job, outcome, grip, until).await,
            None => Told::Lapsed,
        };
        let mut said = outcome.clone();
        if let (Some(instead), Some(until)) = (instead_of(outcome, &told), until) {
            told = Box::pin(self.commands.tell(job, &instead, grip, until)).await;
            said = instead;
        }
        let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let message = match &said {
            Outcome::Fail { message, .. } => Some(message.clone()),
            Outcome::BpmnError { message, .. } => message.clone(),
            Outcome::Complete { .. } | Outcome::Asleep | Outcome::Abandon { .. } => None,
        };
        match &told {
            Told::Acknowledged => {
                metrics().job_answered(&job.job_type, said.label(), began.elapsed());
                spans::answered(said.label());
            }
            other => metrics().job_lost(&job.job_type, other.label()),
        }
        match told {
            Told::Acknowledged => {
                let reason = message.as_deref();
                tracing::info!(
                    job = job.key,
                    outcome = said.label(),
                    milliseconds,
                    reason,
                    "job answered"
                );
                let outcome = said.label();
                self.progress.report(job, Step::Answered { outcome, message });
            }
            // A lease that was lost is no error: somebody else has the job.
            Told::Gone(reason) if grip.token().is_some() => {
                tracing::debug!(job = job.key, reason, "the lease is lost; the outcome was dropped")
            }
            Told::Gone(reason) => tracing::info!(job = job.key, reason, "the job is gone; its outcome was dropped"),
            Told::Lapsed => tracing::warn!(
                job = job.key,
                outcome = said.label(),
                "the lease is over: the job is left to the engine"
            ),
            Told::TooLarge => tracing::error!(job = job.key, "not even the incident was small enough for the engine"),
            Told::Refused(reason) | Told::Unheard(reason) => {
                tracing::error!(
                    job = job.key,
                    outcome = said.label(),
                    reason,
                    "the engine did not take the job's outcome"
                );
            }
        }
    }
}

/// A job that we have; it is let go when this is dropped, panics included.
struct Guard<'a> {
    running: &'a Running,
    key: i64,
}

impl Guard<'_> {
    fn let_go(self) -> Option<Box<Activation>> {
        let next = self.running.held.let_go(self.key);
        std::mem::forget(self);
        next
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let _ = self.running.held.let_go(self.key);
    }
}

/// What is said when the engine will never take the outcome itself.
fn instead_of(outcome: &Outcome, told: &Told) -> Option<Outcome> {
    let (retries, backoff, why) = match (told, outcome) {
        // The outcome itself fits, what hangs on it does not.
        (
            Told::TooLarge,
            Outcome::Fail {
                retries,
                backoff,
                message,
                ..
            },
        ) => (*retries, *backoff, message.clone()),
        (Told::TooLarge, Outcome::BpmnError { code, message, .. }) => {
            return Some(Outcome::BpmnError {
                code: code.clone(),
                message: message.clone(),
                variables: Map::new(),
            });
        }
        (Told::TooLarge, _) => {
            let why = "The variables of this task's result are too large for the engine. Map only what the process needs \
                       in `resultExpression`; the work itself was done.";
            (0, None, why.to_owned())
        }
        (Told::Refused(reason), _) => (
            0,
            None,
            format!(
                "The engine refused the outcome of this task, {}: {reason}",
                outcome.label()
            ),
        ),
        _ => return None,
    };
    // What is noted about a run is small, and lost it would make the next try wrong.
    let noted = match outcome {
        Outcome::Fail { variables, .. } => variables.clone(),
        _ => Map::new(),
    };
    Some(Outcome::Fail {
        retries,
        backoff,
        message: why,
        variables: noted.into_iter().filter(|(name, _)| journal::is_ours(name)).collect(),
    })
}
