//! The steps of a job as values. Whoever watches (the demo today, metrics and the audit line later) gets each step as it
//! happens; nothing is queued, and without a watcher a step costs a null check. Messages about ended runs belong to no job;
//! they have two points of their own.

use std::sync::Arc;
use std::time::Duration;

use crate::job::Job;
use crate::message::Message;

/// One step of a job's way. No step carries a value of a secret or of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// The engine handed the job to us.
    Received,
    /// A secret reference was resolved; its name only.
    SecretResolved {
        /// The reference's name.
        name: String,
        /// Where it was found, e.g. `environment`.
        provider: String,
    },
    /// An access token was fetched (not one from the cache).
    TokenFetched {
        /// Host of the token endpoint.
        host: String,
        /// How long the token lives.
        lifetime: Option<Duration>,
    },
    /// A request is on its way.
    RequestSent {
        /// HTTP method.
        method: String,
        /// Host and port, nothing more of the URL.
        host: String,
    },
    /// An answer came.
    AnswerReceived {
        /// HTTP status.
        status: u16,
    },
    /// The other side asked for a pause, and gets it.
    Throttled {
        /// How long.
        pause: Duration,
    },
    /// A start waits for its turn.
    StartWaits {
        /// `pace`, `running` (as many runs as may) or `paused`.
        reason: &'static str,
    },
    /// A start has come to one of its points.
    Start(StartPoint),
    /// It was found out what became of a start.
    StartClearedUp {
        /// Id of the run (`flowsessionid`); `None`: there is none.
        run: Option<String>,
    },
    /// A run that was started late beside another one was cancelled.
    LateStartCancelled {
        /// Id of the run (`flowsessionid`).
        run: String,
        /// Id of the run that goes on.
        kept: String,
    },
    /// A desktop flow was started.
    RunStarted {
        /// Id of the run (`flowsessionid`).
        run: String,
    },
    /// A run that was started before was found again.
    RunAdopted {
        /// Id of the run (`flowsessionid`).
        run: String,
    },
    /// A run's status changed.
    RunStatus {
        /// Id of the run (`flowsessionid`).
        run: String,
        /// Label of the status, e.g. `Running`.
        status: &'static str,
    },
    /// The response was mapped.
    Mapped {
        /// Names of the variables that the process gets.
        variables: Vec<String>,
    },
    /// The engine was told the outcome and acknowledged it.
    Answered {
        /// [`crate::outcome::Outcome::label`].
        outcome: &'static str,
        /// The message of a failure, redacted.
        message: Option<String>,
    },
}

/// The points of a start between which a process can die or stand still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StartPoint {
    /// Dataverse was asked whether there is a run.
    Looked,
    /// The intent is about to be written.
    WritingIntent,
    /// The engine has acknowledged the intent.
    IntentWritten,
    /// The POST is about to be made: token, connection.
    Posting,
    /// The last look was taken: the bytes leave.
    BytesLeave,
    /// An answer came, or none.
    Answered,
    /// It is not known what became of the POST.
    Unclear,
    /// The run's id is about to be written.
    WritingRun,
    /// The engine has acknowledged the run's id.
    RunWritten,
    /// Dataverse was asked whether the flow was started only once.
    LookedAfter,
}

impl StartPoint {
    /// All of them, in the order of a start.
    pub const ALL: [StartPoint; 10] = [
        StartPoint::Looked,
        StartPoint::WritingIntent,
        StartPoint::IntentWritten,
        StartPoint::Posting,
        StartPoint::BytesLeave,
        StartPoint::Answered,
        StartPoint::Unclear,
        StartPoint::WritingRun,
        StartPoint::RunWritten,
        StartPoint::LookedAfter,
    ];
}

/// The points of publishing a message between which a process can die or stand still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PublishPoint {
    /// The message is about to go to the engine.
    Publishing,
    /// The engine has answered, or has not in time.
    Published,
}

impl PublishPoint {
    /// Both of them, in their order.
    pub const ALL: [PublishPoint; 2] = [PublishPoint::Publishing, PublishPoint::Published];
}

type Watcher = dyn Fn(&Job, &Step) + Send + Sync;
type MessageWatcher = dyn Fn(&Message, PublishPoint) + Send + Sync;

/// Passes steps to a watcher, if there is one. Cheap to clone.
#[derive(Clone, Default)]
pub struct Progress {
    watcher: Option<Arc<Watcher>>,
    messages: Option<Arc<MessageWatcher>>,
}

impl Progress {
    /// Progress that nobody watches.
    pub fn none() -> Self {
        Self::default()
    }

    /// Calls `watcher` at each step, on the task that made the step: it must not block.
    pub fn watched_by(watcher: impl Fn(&Job, &Step) + Send + Sync + 'static) -> Self {
        Self {
            watcher: Some(Arc::new(watcher)),
            messages: None,
        }
    }

    /// Calls `watcher` at each point of a message, too, on the task that publishes: it must not block.
    #[must_use]
    pub fn and_messages(self, watcher: impl Fn(&Message, PublishPoint) + Send + Sync + 'static) -> Self {
        Self {
            messages: Some(Arc::new(watcher)),
            ..self
        }
    }

    /// Does somebody watch?
    pub fn is_watched(&self) -> bool {
        self.watcher.is_some()
    }

    /// Reports a step of a job.
    pub fn report(&self, job: &Job, step: Step) {
        tracing::debug!(job = job.key, ?step, "step");
        if let Some(watcher) = &self.watcher {
            watcher(job, &step);
        }
    }

    /// Reports that a message has come to a point.
    pub fn report_message(&self, message: &Message, point: PublishPoint) {
        if let Some(watcher) = &self.messages {
            watcher(message, point);
        }
    }
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Progress")
            .field("watched", &self.watcher.is_some())
            .finish()
    }
}
