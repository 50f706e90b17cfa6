//! Waiting for the end of a run.
//!
//! In goes a [`Run`]; out comes how it [`Ended`], or why waiting is over without an end. Between the two, nothing that
//! may pass fails the wait: throttling, outages and lost answers only make the next look later. A run goes on whether
//! or not somebody can look at it, and giving up on it is what leads to a second one.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::pace::Pace;
use crate::microsoft::Class;
use crate::microsoft::dataverse::sessions::{Columns, FlowSession};
use crate::microsoft::dataverse::{self, Dataverse, End, Guid, Status};

/// Waits for runs. One for the whole process, so that waits can share their queries.
#[derive(Clone, Debug)]
pub struct Watcher {
    pace: Pace,
    missing_grace: Duration,
}

/// A run to wait for.
#[derive(Clone, Debug)]
pub struct Run {
    /// Where it runs, and as whom we look.
    pub dataverse: Dataverse,
    /// Its id.
    pub id: Guid,
    /// How long to wait at most.
    pub bounds: Bounds,
}

/// Bounds on a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// On the whole wait, from its beginning in this process.
    pub ceiling: Duration,
    /// On the time that the run may be queued for a machine, from its acceptance by Dataverse.
    pub max_queue_wait: Option<Duration>,
    /// Replaces the longest pause between two looks.
    pub longest_pause: Option<Duration>,
}

/// A run that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub end: End,
    /// Its row; with the reasons of the failure unless it succeeded.
    pub session: FlowSession,
}

/// Waiting is over, and the run is not known to be.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// No such row for longer than a fresh one needs to appear.
    #[error("Dataverse has not found the run for {} s", .missing_for.as_secs())]
    Lost {
        /// How long.
        missing_for: Duration,
    },
    /// The run goes on for longer than we wait.
    #[error("the run has not ended within {} s; its last known status is {}", .waited.as_secs(), shown(*.last))]
    Ceiling {
        /// How long we waited.
        waited: Duration,
        /// The last status that was seen.
        last: Option<Status>,
    },
    /// No machine took the run in time.
    #[error("the run has been queued for {} s without a machine taking it", .queued.as_secs())]
    QueuedTooLong {
        /// How long it has been queued.
        queued: Duration,
    },
    /// We may not look, or cannot: somebody must fix it.
    #[error("{0}")]
    Refused(#[source] dataverse::Error),
}

fn shown(status: Option<Status>) -> String {
    match status {
        Some(status) => format!("{} ({})", status.code(), status.label()),
        None => "unknown".into(),
    }
}

impl Watcher {
    /// A watcher that looks at this pace, and takes a missing row for lost after `missing_grace`.
    pub fn new(pace: Pace, missing_grace: Duration) -> Self {
        Self { pace, missing_grace }
    }

    /// Waits until the run is over. Calls `on_change` with each row whose status differs from the one before, the first
    /// included. Dropping the future ends the wait and nothing else.
    ///
    /// # Errors
    /// [`WaitError`].
    pub async fn wait(&self, run: &Run, mut on_change: impl FnMut(&FlowSession) + Send) -> Result<Ended, WaitError> {
        let began = Instant::now();
        let mut pauses = match run.bounds.longest_pause {
            Some(longest) => self.pace.with_longest(longest),
            None => self.pace,
        }
        .pauses();
        let mut columns = Columns::Progress;
        let mut last: Option<Status> = None;
        let mut missing_since: Option<Instant> = None;
        loop {
            let mut asked = None;
            match run.dataverse.flow_session(&run.id, columns).await {
                Ok(session) => {
                    missing_since = None;
                    if last != Some(session.status) {
                        last = Some(session.status);
                        pauses.restart();
                        on_change(&session);
                    }
                    match session.status.end() {
                        Some(end) if end == End::Succeeded || columns == Columns::WithError => {
                            return Ok(Ended { end, session });
                        }
                        Some(_) => {
                            // Long texts are fetched once, when there is something to tell.
                            columns = Columns::WithError;
                            continue;
                        }
                        None => queued_too_long(&session, run.bounds.max_queue_wait, began)?,
                    }
                }
                Err(error) if error.is_not_found() => {
                    let missing_for = missing_since.get_or_insert_with(Instant::now).elapsed();
                    if missing_for >= self.missing_grace {
                        return Err(WaitError::Lost { missing_for });
                    }
                }
                Err(error) if error.class() == Class::SomeoneMustFixIt => return Err(WaitError::Refused(error)),
                Err(error) => {
                    tracing::debug!(run = %run.id, %error, "cannot look at the run at the moment");
                    asked = error.retry_after();
                }
            }
            let Some(left) = run
                .bounds
                .ceiling
                .checked_sub(began.elapsed())
                .filter(|left| !left.is_zero())
            else {
                return Err(WaitError::Ceiling {
                    waited: began.elapsed(),
                    last,
                });
            };
            sleep(pauses.next(asked).min(left)).await;
        }
    }
}

/// Dataverse's own clock tells how long a run was queued; ours, from the beginning of the wait, is the stand-in.
fn queued_too_long(session: &FlowSession, bound: Option<Duration>, began: Instant) -> Result<(), WaitError> {
    let queued = session.age.unwrap_or_else(|| began.elapsed());
    match bound {
        Some(bound) if session.status.is_queued() && queued >= bound => Err(WaitError::QueuedTooLong { queued }),
        _ => Ok(()),
    }
}
