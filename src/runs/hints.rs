//! Word that a run has ended whose end somebody wants published: it only makes the outbox look earlier.
//!
//! Hints come from the receiver of callbacks, and from the watcher for runs that this process started. Nothing is lost
//! with them: the outbox looks by itself each minute.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::watcher::{Listener, Waiting};
use super::{Ended, Run, WaitError, Watcher};
use crate::microsoft::dataverse::Guid;
use crate::microsoft::dataverse::sessions::FlowSession;

/// Runs that are watched at once; the ends of others are found a little later.
const MOST_WATCHED: usize = 100_000;

/// Where hints go. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Hints {
    inner: Arc<Inner>,
}

struct Inner {
    heard: watch::Sender<u64>,
    watched: Mutex<HashMap<Guid, Waiting>>,
    over: Mutex<Vec<Guid>>,
}

impl Default for Hints {
    fn default() -> Self {
        Self {
            inner: Arc::new(Inner {
                heard: watch::Sender::new(0),
                watched: Mutex::default(),
                over: Mutex::default(),
            }),
        }
    }
}

impl Hints {
    /// A run has ended, somebody says.
    pub fn give(&self) {
        self.inner.heard.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Changes with each hint.
    pub fn heard(&self) -> watch::Receiver<u64> {
        self.inner.heard.subscribe()
    }

    /// Gives a hint when this run has ended. Must be called inside a tokio runtime.
    pub fn watch(&self, watcher: &Watcher, run: &Run) {
        self.forget_ended();
        let mut watched = self.inner.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if watched.len() >= MOST_WATCHED || watched.contains_key(&run.id) {
            return;
        }
        let listener = AtTheEnd {
            hints: self.clone(),
            run: run.id,
        };
        watched.insert(run.id, watcher.watch(run, Box::new(listener)));
    }

    /// Listeners must not end a wait themselves.
    fn forget_ended(&self) {
        let over = std::mem::take(&mut *self.inner.over.lock().unwrap_or_else(PoisonError::into_inner));
        let mut watched = self.inner.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let ended: Vec<Option<Waiting>> = over.iter().map(|run| watched.remove(run)).collect();
        drop(watched);
        drop(ended);
    }
}

impl std::fmt::Debug for Hints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hints").finish_non_exhaustive()
    }
}

struct AtTheEnd {
    hints: Hints,
    run: Guid,
}

impl Listener for AtTheEnd {
    fn changed(&mut self, _session: &FlowSession) {}

    fn over(self: Box<Self>, _result: Result<Ended, WaitError>) {
        let over = &self.hints.inner.over;
        // Each was watched once, so there are no more than may be watched.
        over.lock().unwrap_or_else(PoisonError::into_inner).push(self.run);
        self.hints.give();
    }
}
