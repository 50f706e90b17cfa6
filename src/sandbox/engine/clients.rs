//! The clients of streams and polls: jobs go out to them, and the machine hears when they are gone.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use tonic::Status;

use super::driver::{Handle, Stopped};
use super::job_stream::StreamReceiver;
use super::machine::{Key, Machine};
use crate::engine::gateway::ActivatedJob;

/// Tells the machine that a client is gone, when it is dropped.
pub(super) struct Departure {
    pub(super) machine: Handle,
    pub(super) job_type: String,
    /// What names the client to the machine; none while there is nothing to close.
    pub(super) key: Option<Key>,
    pub(super) close: fn(&mut Machine, &str, Key),
}

impl Drop for Departure {
    fn drop(&mut self) {
        let Some(key) = self.key else { return };
        let (job_type, close) = (std::mem::take(&mut self.job_type), self.close);
        // When the queue is full the machine finds out by itself: it looks whether a client is there before it sends.
        self.machine.tell(move |machine| close(machine, &job_type, key));
    }
}

/// Pushed jobs: the one that opened the response, then those that follow.
pub(super) struct PushedJobs {
    first: Option<ActivatedJob>,
    rest: StreamReceiver,
    ended: bool,
    _departure: Departure,
}

impl PushedJobs {
    pub(super) fn new(first: ActivatedJob, rest: StreamReceiver, departure: Departure) -> Self {
        Self {
            first: Some(first),
            rest,
            ended: false,
            _departure: departure,
        }
    }
}

impl Stream for PushedJobs {
    type Item = Result<ActivatedJob, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        self.rest.poll_next(context).map(|job| match job {
            Some(job) => Some(Ok(job)),
            None => {
                self.ended = true;
                Some(Err(Stopped.into()))
            }
        })
    }
}
