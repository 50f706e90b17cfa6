//! Jobs given back unfinished, with the retries they have, so that another replica gets them at once.

use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Map;
use tokio::time::{Instant, sleep_until};

use super::lease::Grip;
use super::running::Running;
use crate::engine::Told;
use crate::job::Job;
use crate::metrics::metrics;
use crate::outcome::Outcome;
use crate::progress::Step;

/// How long the engine may take to see that our streams are closed. A job that is handed back earlier may be pushed into a
/// stream that nobody reads any more, and is locked there until its lease ends.
const STREAMS_CLOSE: Duration = Duration::from_millis(500);
/// Handing a job back is a courtesy: it is not worth a long wait.
pub(super) const COURTESY: Duration = Duration::from_secs(5);

/// When our streams were closed, once they are.
#[derive(Default)]
pub(super) struct StreamsClosed(OnceLock<Instant>);

impl StreamsClosed {
    /// They are closed; what counts is when this was said first.
    pub(super) fn now(&self) -> Instant {
        *self.0.get_or_init(Instant::now)
    }
}

impl Running {
    /// Gives back a job that this worker cannot take now.
    pub(super) async fn hand_back(&self, job: &Job, grip: &Grip) {
        let why = "Handed back: this worker cannot take it now.";
        self.give_back(job, grip, None, why, Instant::now() + COURTESY).await;
    }

    /// Gives a job back with these words, to be given out after `backoff`. When we are stopping, it waits until the engine
    /// has seen that. Once much of the lease is used nothing is said: it may be over when the engine hears us, and then we
    /// would take the job from its next holder (seen on 8.6.0: two replicas had it at the same moment, and each started its
    /// flow). True if the engine has heard it, or knows better.
    pub(super) async fn give_back(
        &self,
        job: &Job,
        grip: &Grip,
        backoff: Option<Duration>,
        why: &str,
        until: Instant,
    ) -> bool {
        self.until_streams_are_seen_closed().await;
        let Some(until) = grip.frees_until().map(|lapses| until.min(lapses)) else {
            return false;
        };
        if Instant::now() >= until {
            return false;
        }
        let outcome = Outcome::Fail {
            retries: job.retries.max(1),
            backoff,
            message: why.into(),
            variables: Map::new(),
        };
        let told = self.commands.tell(job, &outcome, grip, until).await;
        metrics().job_lost(&job.job_type, "handed-back");
        tracing::debug!(job = job.key, ?told, "handed back");
        if told == Told::Acknowledged {
            let (outcome, message) = (outcome.label(), Some(why.to_owned()));
            self.progress.report(job, Step::Answered { outcome, message });
        }
        matches!(told, Told::Acknowledged | Told::Gone(_))
    }

    /// When we are stopping: until the engine has had the time to see that no stream of ours takes jobs.
    pub(super) async fn until_streams_are_seen_closed(&self) {
        if self.stop.is_cancelled() {
            sleep_until(self.streams_closed.now() + STREAMS_CLOSE).await;
        }
    }
}
