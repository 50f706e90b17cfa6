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
use super::held::{Activation, HeldJobs, Taken};
use super::hold::{EngineHold, Lost};
use super::lease::{Grip, Lease};
use super::permits::Permit;
use super::{Leases, Pipeline, STREAMS_CLOSE, named, pipeline};
use crate::connector::News;
use crate::connector::Place;
use crate::engine::{Commands, Held, Told};
use crate::http::trace::{TraceId, traced};
use crate::job::Job;
use crate::mapping;
use crate::metrics::metrics;
use crate::outcome::{JobError, Outcome};
use crate::progress::{Progress, Step};
use crate::runs::journal;

/// How long a connector may take to end after its job was lost: as long as the longest call that must not be cut off, the
/// start of a desktop flow.
const LET_GO: Duration = Duration::from_secs(130);
/// Handing a job back is a courtesy: it is not worth a long wait.
const HAND_BACK: Duration = Duration::from_secs(5);

/// What running jobs share.
pub(super) struct Running {
    pub(super) commands: Commands,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) progress: Progress,
    pub(super) tasks: TaskTracker,
    /// No more jobs are begun.
    pub(super) stop: CancellationToken,
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
                tokio::time::sleep(STREAMS_CLOSE).await;
                running.hand_back(&job, lease).await;
            });
            return;
        }
        if job.lease_token.is_none() && self.leases != Leases::Off && !self.goes_on_without_token(&job, lease) {
            return;
        }
        let key = job.key;
        let activation = Activation { job, permit, lease };
        let grip = |new: &Activation| Grip::new(self.clock.clone(), new.lease, new.job.lease_token.clone());
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
        self.tasks.spawn(traced(trace, working.boxed()).instrument(span));
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

    /// Gives an untouched job back, with the retries it has, so that another replica gets it at once. Once much of the
    /// lease is used nothing is said: it may be over when the engine hears us, and then we would take the job from its
    /// next holder (seen on 8.6.0: two replicas had it at the same moment, and each started its flow).
    pub(super) async fn hand_back(&self, job: &Job, lease: Lease) {
        self.give_back(job, lease, None, "Handed back: this worker cannot take it now.")
            .await;
    }

    pub(super) async fn give_back(&self, job: &Job, lease: Lease, backoff: Option<Duration>, why: &str) {
        let grip = Grip::new(self.clock.clone(), lease, job.lease_token.clone());
        let Some(until) = grip.frees_until() else { return };
        let until = until.min(Instant::now() + HAND_BACK);
        let outcome = Outcome::Fail {
            retries: job.retries.max(1),
            backoff,
            message: why.into(),
            variables: Map::new(),
        };
        let told = self.commands.tell(job, &outcome, &grip, until).await;
        metrics().job_lost(&job.job_type, "handed-back");
        self.handed_back(job, outcome, &told);
    }

    /// Says that a job was handed back, if it was.
    pub(super) fn handed_back(&self, job: &Job, outcome: Outcome, told: &Told) {
        tracing::debug!(job = job.key, ?told, "handed back");
        if let (Told::Acknowledged, Outcome::Fail { message, .. }) = (told, &outcome) {
            let (outcome, message) = (outcome.label(), Some(message.clone()));
            self.progress.report(job, Step::Answered { outcome, message });
        }
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
        if let Some((sleep, place)) = hold.asleep() {
            match ended {
                Ok(_) if self.stop.is_cancelled() => {
                    tokio::time::sleep(STREAMS_CLOSE).await;
                    self.hand_back(job, grip.lease()).await;
                }
                Ok(_) => {
                    self.parked.take_in(job, sleep, place, grip, began);
                    return After::Asleep;
                }
                // It was lost while it fell asleep.
                Err(_) if hold.is_gone() => sleep.sleeper.gone(job),
                Err(_) => {}
            }
            self.held.ending(job.key);
            return After::Free;
        }
        self.held.ending(job.key);
        match ended {
            Ok(Outcome::Abandon { reason }) => {
                self.left.fetch_add(1, Ordering::Relaxed);
                metrics().job_lost(&job.job_type, "left");
                tracing::warn!(job = job.key, reason, "job left to its lease");
                After::Told
            }
            Ok(outcome) => {
                self.tell(job, &outcome, &grip, began).await;
                match outcome {
                    Outcome::Fail { .. } => After::Free,
                    _ => After::Told,
                }
            }
            Err(reason) => {
                metrics().job_lost(&job.job_type, "lease-lost");
                tracing::info!(job = job.key, reason, "job let go");
                After::Free
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
            told = self.commands.tell(job, &instead, grip, until).await;
            said = instead;
        }
        let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let message = match &said {
            Outcome::Fail { message, .. } => Some(message.clone()),
            Outcome::BpmnError { message, .. } => message.clone(),
            Outcome::Complete { .. } | Outcome::Abandon { .. } => None,
        };
        match &told {
            Told::Acknowledged => metrics().job_answered(&job.job_type, said.label(), began.elapsed()),
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
