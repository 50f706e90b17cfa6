//! Which jobs we have: one hand a job, whatever the engine believes.
//!
//! The engine gives a job out again when it believes it lost, or when our own failure freed it. Two hands would do the
//! same work, and neither could know what the other has noted in the engine since.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::lease::{Grip, Lease};
use super::permits::Permit;
use crate::job::Job;

/// A job as it was given to us, with the right to hold it.
pub(super) struct Activation {
    pub(super) job: Job,
    pub(super) permit: Permit,
    pub(super) lease: Lease,
}

/// The jobs that we have.
#[derive(Default)]
pub(super) struct HeldJobs(Mutex<HashMap<i64, Entry>>);

struct Entry {
    grip: Arc<Grip>,
    /// The work is over and the engine is being told: what is given to us now is another try.
    ending: bool,
    next: Option<Box<Activation>>,
}

/// What becomes of an activation.
pub(super) enum Taken {
    /// It is the first: work on it.
    New(Box<Activation>, Arc<Grip>),
    /// We work on this job already, and go on with the new lease.
    Merged,
    /// It is begun when the engine has been told of the try before.
    Next,
}

impl HeldJobs {
    pub(super) fn take(&self, activation: Activation, grip: impl FnOnce(&Activation) -> Grip) -> Taken {
        let mut jobs = self.lock();
        match jobs.get_mut(&activation.job.key) {
            None => {
                let grip = Arc::new(grip(&activation));
                let entry = Entry {
                    grip: grip.clone(),
                    ending: false,
                    next: None,
                };
                jobs.insert(activation.job.key, entry);
                Taken::New(Box::new(activation), grip)
            }
            Some(entry) if entry.ending => {
                entry.next = Some(Box::new(activation));
                Taken::Next
            }
            Some(entry) => {
                entry.grip.renew(activation.lease, activation.job.lease_token);
                Taken::Merged
            }
        }
    }

    /// The work on this job is over; only the engine must be told.
    pub(super) fn ending(&self, key: i64) {
        if let Some(entry) = self.lock().get_mut(&key) {
            entry.ending = true;
        }
    }

    /// We do not have this job any more; gives the next try of it, if the engine gave it to us meanwhile.
    pub(super) fn let_go(&self, key: i64) -> Option<Box<Activation>> {
        self.lock().remove(&key)?.next
    }

    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i64, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
