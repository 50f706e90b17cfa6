//! One client's open job stream: the machine puts jobs in, the connection takes them out. What waits in between is
//! bounded in bytes: a client that does not read becomes blocked, as with Zeebe's gateway.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use prost::Message as _;
use tokio::sync::mpsc;

use crate::engine::gateway::ActivatedJob;

/// However small the jobs are, no more than this many wait.
const MAX_WAITING: usize = 4096;

/// Makes both ends; `limit` is in bytes.
pub fn job_stream(limit: usize) -> (StreamSender, StreamReceiver) {
    let (sender, receiver) = mpsc::channel(MAX_WAITING);
    let waiting = Arc::new(AtomicUsize::new(0));
    (
        StreamSender {
            jobs: sender,
            waiting: Arc::clone(&waiting),
            limit,
        },
        StreamReceiver {
            jobs: receiver,
            waiting,
        },
    )
}

/// The machine's end.
#[derive(Debug)]
pub struct StreamSender {
    jobs: mpsc::Sender<ActivatedJob>,
    waiting: Arc<AtomicUsize>,
    limit: usize,
}

impl StreamSender {
    /// Whether the client is there and takes jobs.
    pub fn is_ready(&self) -> bool {
        !self.jobs.is_closed() && self.waiting.load(Ordering::Relaxed) < self.limit
    }

    /// Puts a job in; false when the client is blocked or gone.
    pub fn send(&self, job: ActivatedJob) -> bool {
        let size = job.encoded_len();
        self.waiting.fetch_add(size, Ordering::Relaxed);
        let sent = self.jobs.try_send(job).is_ok();
        if !sent {
            self.waiting.fetch_sub(size, Ordering::Relaxed);
        }
        sent
    }
}

/// The connection's end.
#[derive(Debug)]
pub struct StreamReceiver {
    jobs: mpsc::Receiver<ActivatedJob>,
    waiting: Arc<AtomicUsize>,
}

impl StreamReceiver {
    /// The next job; none when the engine has stopped.
    pub async fn next(&mut self) -> Option<ActivatedJob> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`StreamReceiver::next`], for hand-written streams.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<ActivatedJob>> {
        let job = std::task::ready!(Pin::new(&mut self.jobs).poll_recv(context));
        if let Some(job) = &job {
            self.waiting.fetch_sub(job.encoded_len(), Ordering::Relaxed);
        }
        Poll::Ready(job)
    }
}
