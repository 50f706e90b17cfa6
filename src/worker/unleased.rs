//! What becomes of a job without a lease token when we asked for one: the engine is older than 8.10.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::Leases;
use super::hand_back::COURTESY;
use super::lease::Lease;
use super::running::Running;
use crate::job::Job;

/// How long a job rests that we may not begin.
const PAUSE: Duration = Duration::from_secs(30);

impl Running {
    /// Is the job begun all the same? If not, it is handed back. Said once.
    pub(super) fn goes_on_without_token(self: &Arc<Self>, job: &Job, lease: Lease) -> bool {
        let first = !self.said_unleased.swap(true, Ordering::Relaxed);
        match self.leases {
            Leases::Required => {
                if first {
                    tracing::error!(
                        "worker.leases is `required`, but the engine gives no lease tokens (it is older than 8.10): no job is begun"
                    );
                }
                let (running, job) = (self.clone(), job.clone());
                self.tasks.spawn(async move {
                    let why = "Handed back: this worker begins no job without a lease token, and the engine gave none.";
                    let grip = running.grip(&job, lease);
                    let until = Instant::now() + COURTESY;
                    running.give_back(&job, &grip, Some(PAUSE), why, until).await;
                });
                false
            }
            Leases::Preferred | Leases::Off => {
                if first {
                    tracing::info!(
                        "the engine gives no lease tokens (it is older than 8.10): jobs are worked on without"
                    );
                }
                true
            }
        }
    }
}
