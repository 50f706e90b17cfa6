//! Our hold on one job while we work on it: the heartbeat that prolongs its lease, notes in the engine, and its place
//! among the running or the parked jobs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value};
use tokio::sync::Notify;
use tonic::Code;

use super::clock::Moment;
use super::lease::{Grip, Lease};
use super::permits::{Parked, Permit};
use crate::connector::{Journal, News, Place, Sleep};
use crate::engine::{Commands, Held};
use crate::job::Job;
use crate::outcome::{JobError, Remedy};

/// Why a job is not ours any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// The engine said so: cancelled, finished, or failed by somebody.
    Rejected,
    /// Our own time ran out before the engine confirmed more.
    Lapsed,
}

/// What a running job may ask of the engine before its outcome.
pub trait Hold: Journal + Place {
    /// Has the job fallen asleep?
    fn is_asleep(&self) -> bool {
        false
    }

    /// Sets a lease of this length, counted from now.
    fn extend(&self, length: Duration) -> BoxFuture<'_, Result<(), JobError>>;
}

/// The hold on a job that the engine gave us.
pub(super) struct EngineHold<'a> {
    commands: &'a Commands,
    job: &'a Job,
    grip: Arc<Grip>,
    jumps: &'a Notify,
    right: Mutex<Right>,
    sleep: Mutex<Option<Sleep>>,
    news: Mutex<Option<News>>,
    gone: AtomicBool,
}

/// The right to hold the job, as a running one or as a parked one.
enum Right {
    Running(Permit),
    Parked(Parked),
    /// While it changes.
    Changing,
}

impl<'a> EngineHold<'a> {
    pub(super) fn new(
        commands: &'a Commands,
        job: &'a Job,
        permit: Permit,
        grip: Arc<Grip>,
        jumps: &'a Notify,
        news: Option<News>,
    ) -> Self {
        Self {
            commands,
            job,
            grip,
            jumps,
            right: Mutex::new(Right::Running(permit)),
            sleep: Mutex::new(None),
            news: Mutex::new(news),
            gone: AtomicBool::new(false),
        }
    }

    /// What the job left when it fell asleep, and its place among the parked.
    pub(super) fn asleep(&self) -> Option<(Sleep, Parked)> {
        let sleep = self.sleep.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        match std::mem::replace(&mut *self.right(), Right::Changing) {
            Right::Parked(parked) => Some((sleep, parked)),
            Right::Running(_) | Right::Changing => None,
        }
    }

    /// Prolongs the lease each time a third of it is used. Returns only when the job is lost.
    pub(super) async fn keep_alive(&self) -> Lost {
        loop {
            // Timers stand still during a suspension: when the clocks ran away from them, everything is looked at anew.
            let jumped = self.jumps.notified();
            let left = self.grip.left();
            if left.is_zero() {
                return Lost::Lapsed;
            }
            let wait = self.grip.until_heartbeat();
            if !wait.is_zero() {
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = jumped => {}
                }
                continue;
            }
            let renewed = tokio::select! {
                renewed = tokio::time::timeout(left, Box::pin(self.renew(self.grip.own_length()))) => renewed,
                () = jumped => continue,
            };
            match renewed {
                // Perhaps the engine gave us the job again meanwhile; the loop looks.
                Err(_) | Ok(Ok(())) => {}
                Ok(Err(status)) if status.code() == Code::NotFound => {
                    // After the lease, it may be gone because somebody else has finished it.
                    self.gone.store(self.grip.holds(), Ordering::SeqCst);
                    return Lost::Rejected;
                }
                // The engine has stopped waiting, but nobody else has the job yet: a finished outcome is still taken.
                Ok(Err(status)) if status.code() == Code::FailedPrecondition => return Lost::Lapsed,
                Ok(Err(status)) => {
                    tracing::debug!(job = self.job.key, code = ?status.code(), "the heartbeat was not heard; trying again");
                    let pause =
                        (self.grip.lease().length() / 20).clamp(Duration::from_millis(50), Duration::from_secs(5));
                    tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
                }
            }
        }
    }

    async fn renew(&self, length: Duration) -> Result<(), tonic::Status> {
        prolong(self.commands, self.job, &self.grip, length).await
    }

    fn right(&self) -> MutexGuard<'_, Right> {
        self.right.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lapsed(&self) -> Option<JobError> {
        (!self.grip.holds()).then(|| {
            JobError::connector(
                "LEASE_LAPSED",
                "The engine's patience with this job ended before it could be worked on.",
            )
        })
    }
}

/// Sets a lease of this length, and has the grip know it.
pub(super) async fn prolong(
    commands: &Commands,
    job: &Job,
    grip: &Grip,
    length: Duration,
) -> Result<(), tonic::Status> {
    let asking = Asking {
        grip,
        sent: Mutex::new(grip.now()),
    };
    commands.extend(job, length, &asking).await?;
    grip.set(Lease::new(*asking.sent(), length));
    Ok(())
}

/// Notes when each try is sent: a new lease counts from before that.
struct Asking<'a> {
    grip: &'a Grip,
    sent: Mutex<Moment>,
}

impl Asking<'_> {
    fn sent(&self) -> MutexGuard<'_, Moment> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held for Asking<'_> {
    fn holds(&self) -> bool {
        let now = self.grip.now();
        *self.sent() = now;
        !self.grip.lease().left(&now).is_zero()
    }

    fn token(&self) -> Option<String> {
        self.grip.token()
    }
}

impl Hold for EngineHold<'_> {
    fn is_asleep(&self) -> bool {
        self.sleep.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn extend(&self, length: Duration) -> BoxFuture<'_, Result<(), JobError>> {
        async move {
            let patience = self.grip.left() / 2;
            let answer = tokio::time::timeout(patience, self.renew(length))
                .await
                .unwrap_or_else(|_| Err(tonic::Status::deadline_exceeded("no answer in time")));
            match answer {
                Ok(()) => {
                    self.grip.set_own_length(length);
                    self.lapsed().map_or(Ok(()), Err)
                }
                // The engine is busy or away: go on with what is left of the shorter lease, as Camunda's runtime does.
                Err(status) if transient(status.code()) => {
                    tracing::warn!(job = self.job.key, code = ?status.code(), "the task's jobTimeout could not be set");
                    self.grip.shorten(length);
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

    fn lease(&self) -> Arc<dyn Fn() -> Duration + Send + Sync> {
        let grip = self.grip.clone();
        Arc::new(move || grip.left())
    }

    fn was_given_again(&self) -> bool {
        self.grip.was_renewed()
    }

    fn sleep(&self, sleep: Sleep) {
        *self.sleep.lock().unwrap_or_else(PoisonError::into_inner) = Some(sleep);
    }

    fn news(&self) -> Option<News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }
}

impl Journal for EngineHold<'_> {
    fn write(&self, variables: Map<String, Value>) -> BoxFuture<'_, Result<(), JobError>> {
        async move {
            // Before 8.10 the engine accepts the write of a worker whose lease has lapsed: we must not send it.
            if let Some(error) = self.lapsed() {
                return Err(error);
            }
            let written = self
                .commands
                .set_local_variables(self.job, &variables, self.grip.as_ref())
                .await;
            written.map_err(|status| {
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
