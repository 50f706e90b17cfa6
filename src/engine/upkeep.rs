//! What a running job needs of the engine before its outcome: heartbeats and notes. They are paced, because a broker
//! takes a few dozen commands at once and refuses the rest: a thousand heartbeats at once would cost leases.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tonic::{Code, Status};

use super::channel::CALL_TIMEOUT;
use super::commands::{Commands, Held, json, lapsed};
use super::gateway::{SetVariablesRequest, UpdateJobTimeoutRequest};
use super::intake::millis;
use crate::job::Job;
use crate::metrics::metrics;

/// In flight at once, of heartbeats and of notes each. (Seen on 8.6.0: of 1,000 heartbeats at once about 120 were taken.)
const AT_ONCE: usize = 24;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long a note is offered at most.
const NOTE_PATIENCE: Duration = Duration::from_secs(60);

/// Places for calls in flight; one for a whole process. A refused call keeps its place during its pause, so a busy engine
/// hears from us less often. Places are given in the order in which they were asked for.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    heartbeats: Arc<Semaphore>,
    notes: Arc<Semaphore>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            heartbeats: Arc::new(Semaphore::new(AT_ONCE)),
            notes: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

impl Commands {
    /// Sets a new lease for a job, counted from `began` (when the last try was sent): a heartbeat, or the task's own
    /// timeout. Tried until the engine answered or the lease that we have has lapsed.
    ///
    /// # Errors
    /// The gRPC status. NOT_FOUND means that the job is over, FAILED_PRECONDITION that it is not ours any more, or that
    /// nothing was sent because our own lease had lapsed.
    pub async fn extend(&self, job: &Job, lease: Duration, held: &dyn Held) -> Result<(), Status> {
        let _place = self.engine.pace.heartbeats.acquire().await;
        let call = || async {
            let request = UpdateJobTimeoutRequest {
                job_key: job.key,
                timeout: millis(lease),
                operation_reference: None,
                lease_token: held.token(),
            };
            let request = self.engine.authority.authorize(request).await?;
            // The engine (before 8.10) takes the heartbeat of one whose lease is over, and with it the job from its new
            // holder; so the last look at the clock comes right before the bytes leave.
            if !held.holds() {
                return Err(lapsed());
            }
            self.engine.unary.clone().update_job_timeout(request).await.map(drop)
        };
        // However short the lease, there is time for many tries in it.
        self.patiently(call, held, Duration::MAX, LONGEST_PAUSE.min(lease / 20))
            .await
    }

    /// Sets variables in the task's own scope: they come back with the job's next activation and go no further. Writing
    /// the same twice does no harm, so it is tried until the engine answered, the lease has lapsed or a minute has passed.
    ///
    /// # Errors
    /// The gRPC status; after an ambiguous one nothing may be believed about what was written.
    pub async fn set_local_variables(
        &self,
        job: &Job,
        variables: &Map<String, Value>,
        held: &dyn Held,
    ) -> Result<(), Status> {
        let _place = self.engine.pace.notes.acquire().await;
        let variables = json(variables);
        let call = || async {
            let request = SetVariablesRequest {
                element_instance_key: job.element_instance_key,
                variables: variables.clone(),
                local: true,
                operation_reference: None,
            };
            let request = self.engine.authority.authorize(request).await?;
            if !held.holds() {
                return Err(lapsed());
            }
            self.engine.unary.clone().set_variables(request).await.map(drop)
        };
        let began = Instant::now();
        let answer = self.patiently(call, held, NOTE_PATIENCE, LONGEST_PAUSE).await;
        let result = if answer.is_ok() { "acknowledged" } else { "refused" };
        metrics().command("set-variables", result, began.elapsed());
        answer
    }

    /// Tries a call that may be repeated, with growing pauses.
    async fn patiently<F>(
        &self,
        call: impl Fn() -> F,
        held: &dyn Held,
        patience: Duration,
        longest_pause: Duration,
    ) -> Result<(), Status>
    where
        F: Future<Output = Result<(), Status>>,
    {
        let began = Instant::now();
        let mut pause = FIRST_PAUSE.min(longest_pause);
        loop {
            let answer = tokio::time::timeout(CALL_TIMEOUT, call())
                .await
                .unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer to the call")));
            let status = match answer {
                Ok(()) => return Ok(()),
                Err(status) => status,
            };
            self.engine.authority.heard(&status);
            let jittered = pause.mul_f64(0.5 + fastrand::f64());
            if !may_pass(&status) || !held.holds() || began.elapsed() + jittered >= patience {
                return Err(status);
            }
            tokio::time::sleep(jittered).await;
            pause = (pause * 2).min(longest_pause);
        }
    }
}

/// Is the same call worth another try?
fn may_pass(status: &Status) -> bool {
    match status.code() {
        Code::ResourceExhausted => !status.message().contains("message exceeds maximum size"),
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => true,
        Code::Unknown => !status.message().contains("EXCEEDED_BATCH_RECORD_SIZE"),
        // A connection that broke, not the gateway's word.
        Code::Internal => std::error::Error::source(status).is_some(),
        _ => false,
    }
}
