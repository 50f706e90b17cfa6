//! A job while it runs: the pipeline beside the heartbeat, then the outcome, said until the engine has heard it; only
//! then is the permit dropped.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Map;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::lease::{EngineHold, Lease, Lost};
use super::{Pipeline, named};
use crate::engine::{Commands, Told};
use crate::job::Job;
use crate::outcome::Outcome;
use crate::progress::{Progress, Step};

/// How long a connector may take to end after its job was lost.
const LET_GO: Duration = Duration::from_secs(5);
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
}

impl Running {
    /// Begins a job, or hands it back when we are stopping.
    pub(super) fn begin(self: &Arc<Self>, job: Job, permit: OwnedSemaphorePermit, lease: Lease) {
        if self.stop.is_cancelled() {
            return self.hand_back(job);
        }
        let running = self.clone();
        self.tasks.spawn(async move {
            running.work(&job, lease).await;
            drop(permit);
        });
    }

    /// Gives an untouched job back, with the retries it has, so that another replica gets it at once.
    pub(super) fn hand_back(self: &Arc<Self>, job: Job) {
        let running = self.clone();
        self.tasks.spawn(async move {
            let outcome = Outcome::Fail {
                retries: job.retries.max(1),
                backoff: None,
                message: "Handed back: this worker is stopping.".into(),
                variables: Map::new(),
            };
            let told = running.commands.tell(&job, &outcome, Instant::now() + HAND_BACK).await;
            tracing::debug!(job = job.key, ?told, "handed back");
        });
    }

    async fn work(&self, job: &Job, lease: Lease) {
        tracing::info!(
            job = job.key,
            task = named(job),
            job_type = job.job_type,
            retries = job.retries,
            "job received"
        );
        self.progress.report(job, Step::Received);
        let began = Instant::now();
        let hold = EngineHold::new(&self.commands, job, lease);
        let abandoned = self.let_go.child_token();
        let outcome = match self.run_with_heartbeat(job, &hold, &abandoned).await {
            Ok(outcome) => outcome,
            Err(reason) => Outcome::Abandon { reason },
        };
        if let Outcome::Abandon { reason } = &outcome {
            tracing::info!(job = job.key, reason, "job let go");
            return;
        }
        self.tell(job, &outcome, hold.lease(), began).await;
    }

    /// The pipeline and the heartbeat side by side, until one of them ends.
    async fn run_with_heartbeat(
        &self,
        job: &Job,
        hold: &EngineHold<'_>,
        abandoned: &CancellationToken,
    ) -> Result<Outcome, String> {
        let work = self.pipeline.run(job, hold, abandoned);
        tokio::pin!(work);
        let lost = tokio::select! {
            outcome = &mut work => return Ok(outcome),
            lost = hold.keep_alive() => lost,
        };
        abandoned.cancel();
        let late = tokio::time::timeout(LET_GO, &mut work).await;
        match (lost, late) {
            (Lost::Rejected, _) => Err("the engine has given the job up".into()),
            // Finished work is worth offering: it is accepted as long as nobody else finished the job.
            (Lost::Lapsed, Ok(outcome @ (Outcome::Complete { .. } | Outcome::BpmnError { .. }))) => Ok(outcome),
            (Lost::Lapsed, _) => Err("its lease lapsed while the engine could not be reached".into()),
        }
    }

    async fn tell(&self, job: &Job, outcome: &Outcome, lease: Lease, began: Instant) {
        // Repeating the work is worse than a late answer, so it is offered for up to three leases.
        let until = lease.lapses().max(Instant::now()) + 2 * lease.length();
        let mut told = self.commands.tell(job, outcome, until).await;
        let mut said = outcome.clone();
        if let Some(instead) = instead_of(outcome, &told) {
            told = self.commands.tell(job, &instead, until).await;
            said = instead;
        }
        let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let message = match &said {
            Outcome::Fail { message, .. } => Some(message.clone()),
            Outcome::BpmnError { message, .. } => message.clone(),
            Outcome::Complete { .. } | Outcome::Abandon { .. } => None,
        };
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
            Told::Gone(reason) => tracing::info!(job = job.key, reason, "the job is gone; its outcome was dropped"),
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

/// What is said when the engine will never take the outcome itself: an incident that tells why.
fn instead_of(outcome: &Outcome, told: &Told) -> Option<Outcome> {
    let why = match told {
        Told::TooLarge => {
            "The variables of this task's outcome are too large for the engine. Map only what the process \
                           needs in `resultExpression`; the work itself was done."
                .to_owned()
        }
        Told::Refused(reason) => format!(
            "The engine refused the outcome of this task, {}: {reason}",
            outcome.label()
        ),
        _ => return None,
    };
    Some(Outcome::Fail {
        retries: 0,
        backoff: None,
        message: why,
        variables: Map::new(),
    })
}
