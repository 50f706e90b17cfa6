//! Waiting for the end of runs: one watcher for the whole process.
//!
//! In goes a [`Run`]; out comes how it [`Ended`], or why waiting is over without an end. Between the two, nothing that
//! may pass fails the wait: throttling, outages and lost answers only make the next look later. A run goes on whether
//! or not somebody can look at it, and giving up on it is what leads to a second one.
//!
//! Runs of one organisation and credential are looked at together (`group`): one query for up to a hundred.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use super::group::Group;
use super::pace::Pace;
use super::watches::Key;
use crate::microsoft::Class;
use crate::microsoft::dataverse::sessions::{Columns, FlowSession};
use crate::microsoft::dataverse::{self, Dataverse, End, Guid, Identity, Status};

/// How runs are watched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Pauses between two looks at one run, and the shortest time between two rounds of queries.
    pub pace: Pace,
    /// How long a run may be unreadable before it is looked up alone, and taken for lost if that does not find it.
    pub missing_grace: Duration,
    /// How long looking at a run that was seen before may be refused (a role taken away by mistake) before somebody is
    /// told.
    pub refused_grace: Duration,
    /// Queries a second, on average, for one organisation and credential. Dataverse allows 20.
    pub queries_per_second: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pace: Pace::default(),
            missing_grace: Duration::from_secs(30),
            refused_grace: Duration::from_secs(300),
            queries_per_second: 10.0,
        }
    }
}

/// Waits for runs. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Watcher {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) settings: Settings,
    groups: Mutex<HashMap<Identity, Arc<Group>>>,
    numbers: AtomicU64,
    /// Queries that were sent, and the runs they asked for.
    pub(super) queries: AtomicU64,
    pub(super) asked_for: AtomicU64,
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
    /// The random part of the token that its callback brings: who does not bring it cannot hurry the wait.
    pub nonce: Option<Nonce>,
}

/// The random part of a start's token.
pub type Nonce = [u8; 16];

/// What became of a hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// The run is looked at out of turn.
    Followed,
    /// The run is waited for, but this is not the nonce of its start.
    Unproven,
    /// Nobody waits for it.
    Unknown,
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
    /// Its row. The reasons of a failure are read separately: [`explained`].
    pub session: FlowSession,
}

/// Waiting is over, and the run is not known to be.
#[derive(Clone, Debug, thiserror::Error)]
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
    Refused(#[source] Arc<dataverse::Error>),
}

fn shown(status: Option<Status>) -> String {
    match status {
        Some(status) => format!("{} ({})", status.code(), status.label()),
        None => "unknown".into(),
    }
}

/// Who is told about a run.
pub trait Listener: Send {
    /// The status is another one than at the last look, or was seen for the first time. Called while other waits are
    /// held up: it must not block, nor begin or end a wait.
    fn changed(&mut self, session: &FlowSession);
    /// The wait is over; nothing comes after this. It must not block.
    fn over(self: Box<Self>, result: Result<Ended, WaitError>);
}

/// A wait that goes on while this is kept.
#[must_use = "the wait ends when this is dropped"]
pub struct Waiting {
    group: Arc<Group>,
    key: Key,
}

impl Waiting {
    /// The client that looks at the run.
    pub fn dataverse(&self) -> &Dataverse {
        &self.group.dataverse
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.group.forget(&self.key);
    }
}

/// Figures of a watcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Runs that are waited for.
    pub waiting: usize,
    /// Queries that were sent.
    pub queries: u64,
    /// Runs that those queries asked for by their ids; a query for what changed asks for none.
    pub asked_for: u64,
}

impl Watcher {
    /// A watcher that asks nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            inner: Arc::new(Inner {
                settings,
                groups: Mutex::default(),
                numbers: AtomicU64::new(0),
                queries: AtomicU64::new(0),
                asked_for: AtomicU64::new(0),
            }),
        }
    }

    /// Waits until the run is over, and tells `listener`. Must be called inside a tokio runtime.
    pub fn watch(&self, run: &Run, listener: Box<dyn Listener>) -> Waiting {
        let key = (run.id, self.inner.numbers.fetch_add(1, Ordering::Relaxed));
        let mut groups = self.inner.lock();
        let group = groups.entry(run.dataverse.identity()).or_insert_with(|| {
            let group = Arc::new(Group::new(run.dataverse.clone(), self.inner.settings));
            tokio::spawn(group.clone().look(self.inner.clone()));
            group
        });
        group.add(key, run, listener);
        Waiting {
            group: group.clone(),
            key,
        }
    }

    /// Somebody says that this run has ended: it is looked at out of turn, if he knows the nonce of its start.
    pub fn hint(&self, run: Guid, nonce: &Nonce) -> Hint {
        let groups: Vec<_> = self.inner.lock().values().cloned().collect();
        // One after the other, all of them: the same run may be waited for with two credentials.
        groups
            .iter()
            .map(|group| group.hurry(run, nonce))
            .fold(Hint::Unknown, |before, hint| match (before, hint) {
                (Hint::Followed, _) | (_, Hint::Followed) => Hint::Followed,
                (Hint::Unproven, _) | (_, Hint::Unproven) => Hint::Unproven,
                _ => Hint::Unknown,
            })
    }

    /// Waits until the run is over. Calls `on_change` with each row whose status differs from the one before, the first
    /// included. Dropping the future ends the wait and nothing else.
    ///
    /// # Errors
    /// [`WaitError`].
    pub async fn wait(&self, run: &Run, mut on_change: impl FnMut(&FlowSession) + Send) -> Result<Ended, WaitError> {
        let (sender, mut news) = mpsc::unbounded_channel();
        let _waiting = self.watch(run, Box::new(Told(sender)));
        loop {
            match news.recv().await {
                Some(News::Changed(session)) => on_change(&session),
                Some(News::Over(result)) => return *result,
                // The task that looks broke off, which is a defect; the run goes on.
                None => {
                    return Err(WaitError::Ceiling {
                        waited: Duration::ZERO,
                        last: None,
                    });
                }
            }
        }
    }

    /// What it has done, and for how many.
    pub fn figures(&self) -> Figures {
        Figures {
            waiting: self.inner.lock().values().map(|group| group.len()).sum(),
            queries: self.inner.queries.load(Ordering::Relaxed),
            asked_for: self.inner.asked_for.load(Ordering::Relaxed),
        }
    }
}

impl Inner {
    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<Identity, Arc<Group>>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watcher").field("figures", &self.figures()).finish()
    }
}

enum News {
    Changed(FlowSession),
    Over(Box<Result<Ended, WaitError>>),
}

/// Statuses change a handful of times, so the channel holds a handful of rows.
struct Told(mpsc::UnboundedSender<News>);

impl Listener for Told {
    fn changed(&mut self, session: &FlowSession) {
        // Nobody listening any more means nobody waiting.
        let _ = self.0.send(News::Changed(session.clone()));
    }

    fn over(self: Box<Self>, result: Result<Ended, WaitError>) {
        let _ = self.0.send(News::Over(Box::new(result)));
    }
}

/// The row of an ended run with the reasons of its failure, which may be long and are read when there is something to
/// tell. What may pass is waited for up to `patience`; then the row is given as it is.
pub async fn explained(dataverse: &Dataverse, ended: Ended, pace: Pace, patience: Duration) -> Ended {
    if ended.end == End::Succeeded || ended.session.error.is_some() {
        return ended;
    }
    let began = tokio::time::Instant::now();
    let mut pauses = pace.pauses();
    loop {
        let asked = match dataverse.flow_session(&ended.session.id, Columns::WithError).await {
            Ok(session) => match session.status.end() {
                Some(end) => return Ended { end, session },
                None => None,
            },
            Err(error) if error.class() == Class::SomeoneMustFixIt && !error.is_not_found() => return ended,
            Err(error) => error.retry_after(),
        };
        let pause = pauses.next(asked);
        if began.elapsed() + pause > patience {
            return ended;
        }
        tokio::time::sleep(pause).await;
    }
}
