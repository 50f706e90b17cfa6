//! A job's lease: how long the job is surely ours, and the heartbeat that prolongs it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value};
use tokio::time::Instant;
use tonic::Code;

use super::permits::{Parked, Permit};
use crate::connector::{Journal, Place};
use crate::engine::Commands;
use crate::job::Job;
use crate::outcome::{JobError, Remedy};

/// A stretch of time in which the engine gives the job to nobody else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lease {
    began: Instant,
    length: Duration,
}

impl Lease {
    /// A lease counted from the last moment at which the engine cannot yet have begun to count.
    pub(super) fn new(began: Instant, length: Duration) -> Self {
        Self { began, length }
    }

    pub(super) fn lapses(&self) -> Instant {
        self.began + self.length
    }

    pub(super) fn length(&self) -> Duration {
        self.length
    }

    fn next_heartbeat(&self) -> Instant {
        self.began + self.length / 3
    }
}

/// Why a job is not ours any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The engine said so: cancelled, finished, or failed by somebody.
    Rejected,
    /// Our own time ran out before the engine confirmed more.
    Lapsed,
}

/// What a running job may ask of the engine before its outcome.
pub trait Hold: Journal + Place {
    /// Sets a lease of this length, counted from now.
    fn extend(&self, length: Duration) -> BoxFuture<'_, Result<(), JobError>>;
}

/// The hold on a job that the engine gave us.
pub(super) struct EngineHold<'a> {
    commands: &'a Commands,
    job: &'a Job,
    lease: Mutex<Lease>,
    right: Mutex<Right>,
}

/// The right to hold the job, as a running one or as a parked one.
enum Right {
    Running(Permit),
    Parked(Parked),
    /// While it changes.
    Changing,
}

impl<'a> EngineHold<'a> {
    pub(super) fn new(commands: &'a Commands, job: &'a Job, permit: Permit, lease: Lease) -> Self {
        Self {
            commands,
            job,
            lease: Mutex::new(lease),
            right: Mutex::new(Right::Running(permit)),
        }
    }

    pub(super) fn lease(&self) -> Lease {
        *self.lock()
    }

    /// Prolongs the lease each time a third of it is used. Returns only when the job is lost.
    pub(super) async fn keep_alive(&self) -> Lost {
        loop {
            tokio::time::sleep_until(self.lease().next_heartbeat()).await;
            let lease = self.lease();
            if Instant::now() < lease.next_heartbeat() {
                continue;
            }
            if Instant::now() >= lease.lapses() {
                return Lost::Lapsed;
            }
            let Ok(renewed) = tokio::time::timeout_at(lease.lapses(), self.renew(lease.length())).await else {
                return Lost::Lapsed;
            };
            match renewed {
                Ok(()) => {}
                Err(status) if status.code() == Code::NotFound => return Lost::Rejected,
                // The engine has stopped waiting, but nobody else has the job yet: a finished outcome is still taken.
                Err(status) if status.code() == Code::FailedPrecondition => return Lost::Lapsed,
                Err(status) => {
                    tracing::debug!(job = self.job.key, code = ?status.code(), "the heartbeat was not heard; trying again");
                    let pause = (lease.length() / 20).clamp(Duration::from_millis(50), Duration::from_secs(5));
                    tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
                }
            }
        }
    }

    async fn renew(&self, length: Duration) -> Result<(), tonic::Status> {
        let began = Instant::now();
        self.commands.extend(self.job, length).await?;
        *self.lock() = Lease::new(began, length);
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Lease> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn right(&self) -> std::sync::MutexGuard<'_, Right> {
        self.right.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lapsed(&self) -> Option<JobError> {
        (Instant::now() >= self.lease().lapses()).then(|| {
            JobError::connector(
                "LEASE_LAPSED",
                "The engine's patience with this job ended before it could be worked on.",
            )
        })
    }
}

impl Hold for EngineHold<'_> {
    fn extend(&self, length: Duration) -> BoxFuture<'_, Result<(), JobError>> {
        async move {
            match self.renew(length).await {
                Ok(()) => match self.lapsed() {
                    None => Ok(()),
                    Some(error) => Err(error),
                },
                // The engine is busy or away: go on with what is left of the shorter lease, as Camunda's runtime does.
                Err(status) if transient(status.code()) => {
                    tracing::warn!(job = self.job.key, code = ?status.code(), "the task's jobTimeout could not be set");
                    let mut lease = self.lock();
                    let shorter = lease.length.min(length);
                    lease.length = shorter;
                    Ok(())
                }
                Err(status) => Err(JobError::connector(
                    "JOB_TIMEOUT_REJECTED",
                    format!("The engine refused the task's jobTimeout: {}", status.message()),
                )),
            }
        }
        .boxed()
    }
}

impl Place for EngineHold<'_> {
    fn park(&self) -> bool {
        let mut right = self.right();
        let (parked, now) = match std::mem::replace(&mut *right, Right::Changing) {
            Right::Running(permit) => match permit.park() {
                Ok(parked) => (true, Right::Parked(parked)),
                Err(permit) => (false, Right::Running(permit)),
            },
            Right::Parked(parked) => (true, Right::Parked(parked)),
            Right::Changing => (false, Right::Changing),
        };
        *right = now;
        parked
    }

    fn resume(&self) -> BoxFuture<'_, ()> {
        async move {
            let parked = {
                let mut right = self.right();
                match std::mem::replace(&mut *right, Right::Changing) {
                    Right::Parked(parked) => parked,
                    other => {
                        *right = other;
                        return;
                    }
                }
            };
            let permit = parked.resume().await;
            *self.right() = Right::Running(permit);
        }
        .boxed()
    }
}

impl Journal for EngineHold<'_> {
    fn write(&self, variables: Map<String, Value>) -> BoxFuture<'_, Result<(), JobError>> {
        async move {
            // Before 8.10 the engine accepts the write of a worker whose lease has lapsed: we must not send it.
            if let Some(error) = self.lapsed() {
                return Err(error);
            }
            self.commands
                .set_local_variables(self.job, &variables)
                .await
                .map_err(|status| {
                    let remedy = if transient(status.code()) {
                        Remedy::Postpone(Duration::from_secs(5))
                    } else {
                        Remedy::Retry
                    };
                    JobError::connector(
                        "JOURNAL_REFUSED",
                        format!(
                            "The engine did not take the note about this task's run: {}",
                            status.message()
                        ),
                    )
                    .with_remedy(remedy)
                })
        }
        .boxed()
    }
}

fn transient(code: Code) -> bool {
    matches!(
        code,
        Code::Cancelled
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Unavailable
            | Code::DataLoss
            | Code::Unauthenticated
            | Code::Unknown
    )
}
