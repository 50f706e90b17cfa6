//! Runs that were started late: all but the one that counts are cancelled, said and counted.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::look::{Search, Seen};
use crate::audit::{Audit, Event, Task};
use crate::job::Job;
use crate::metrics::metrics;
use crate::microsoft::Class;
use crate::microsoft::dataverse::search::Candidate;
use crate::microsoft::dataverse::sessions::Columns;
use crate::microsoft::dataverse::status::End;
use crate::microsoft::dataverse::{Dataverse, Guid};
use crate::progress::{Progress, StartPoint, Step};

/// How long a late run is tried to be cancelled.
const PATIENCE: Duration = Duration::from_secs(60);
/// While a start is disputed, it is looked for so often: two runs shall not live side by side for long.
const DISPUTED: Duration = Duration::from_secs(5);

/// Everything that is needed to look after a start when its job is long gone.
#[derive(Clone)]
pub(super) struct Aftercare {
    pub(super) dataverse: Dataverse,
    pub(super) search: Search,
    pub(super) progress: Progress,
    /// Without its variables.
    pub(super) job: Job,
    pub(super) audit: Audit,
    pub(super) task: Task,
    /// How long a row may be unreadable.
    pub(super) visibility: Duration,
}

impl Aftercare {
    /// Looks at once and again when every row must be readable; meanwhile more often if another worker may have started,
    /// too. Late runs are cancelled as soon as they are seen. Gives the run that counts, if any was seen.
    pub(super) async fn watch(&self, disputed: bool) -> Option<Candidate> {
        let pause = if disputed { DISPUTED } else { self.visibility };
        self.watch_until(Instant::now() + self.visibility, pause).await
    }

    /// Looks after a start that was lost sight of together with its job: until it can no longer be executed, which is after
    /// `settled`, and its row must be readable.
    pub(super) async fn watch_lost(&self, settled: Instant) {
        self.watch_until(settled + self.visibility, DISPUTED).await;
    }

    async fn watch_until(&self, until: Instant, pause: Duration) -> Option<Candidate> {
        let pause = pause.min(self.visibility);
        let mut counts = None;
        loop {
            let last = Instant::now() >= until;
            match self.search.look(&self.dataverse).await {
                Ok(seen) => {
                    self.progress.report(&self.job, Step::Start(StartPoint::LookedAfter));
                    counts = self.cancel_late(seen).await.or(counts);
                    if last {
                        return counts;
                    }
                }
                Err(error) => {
                    tracing::warn!(job = self.job.key, %error, "cannot look whether the flow was started only once");
                    if last && (error.class() == Class::SomeoneMustFixIt || Instant::now() > until + PATIENCE) {
                        return counts;
                    }
                    sleep(error.retry_after().unwrap_or(Duration::from_secs(1))).await;
                }
            }
            sleep_until(until.min(Instant::now() + pause)).await;
        }
    }

    /// Cancels all but the run that counts, which is given.
    pub(super) async fn cancel_late(&self, seen: Seen) -> Option<Candidate> {
        let mut runs = seen.runs.into_iter();
        let counts = runs.next()?;
        for late in runs.filter(|late| late.status.end().is_none()) {
            self.cancel(&late.id, &counts.id).await;
        }
        Some(counts)
    }

    async fn cancel(&self, late: &Guid, kept: &Guid) {
        let began = Instant::now();
        let mut pause = Duration::from_millis(500);
        loop {
            let error = match self.dataverse.cancel_run(late).await {
                Ok(()) => {
                    metrics().late_start("cancelled");
                    tracing::warn!(job = self.job.key, run = %late, kept = %kept, "the flow was started late a second time: this run is cancelled, the earlier one goes on");
                    let event = Event::Cancel { reason: "late-start" };
                    self.audit.record(event, &self.job, &late.to_string(), &self.task);
                    self.progress.report(
                        &self.job,
                        Step::LateStartCancelled {
                            run: late.to_string(),
                            kept: kept.to_string(),
                        },
                    );
                    return;
                }
                Err(error) => error,
            };
            // Perhaps it is over, or another worker was quicker.
            if let Ok(session) = self.dataverse.flow_session(late, Columns::Progress).await
                && let Some(end) = session.status.end()
            {
                if end != End::Cancelled {
                    metrics().late_start("ended");
                }
                tracing::warn!(job = self.job.key, run = %late, kept = %kept, status = session.status.label(), "the flow was started late a second time, and this run is over already");
                return;
            }
            if began.elapsed() > PATIENCE {
                metrics().late_start("alive");
                tracing::error!(job = self.job.key, run = %late, kept = %kept, %error, "two runs of one start are alive: this one could not be cancelled. Cancel it by hand");
                return;
            }
            sleep(error.retry_after().unwrap_or(pause)).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }
}
