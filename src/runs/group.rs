//! Runs of one organisation and credential, looked at together.
//!
//! Waits go in; queries go out, as few as will do: one for up to a hundred runs that are due, filled up with those that
//! would be due soonest. Where there are many runs, one query for what ended since the last one tells almost everything,
//! and the look at each run by its id behind it becomes slow: it is there for what the quick one missed.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use super::budget::Budget;
use super::watcher::{Hint, Inner, Listener, Nonce, Run, Settings};
use super::watches::{Key, Watch, Watches};
use super::{Ended, WaitError};
use crate::microsoft::Class;
use crate::microsoft::dataverse::sessions::{Columns, FlowSession, MOST_IN_A_QUERY};
use crate::microsoft::dataverse::{Dataverse, Error, Guid};

/// Queries of one group that are under way at once. Dataverse counts execution time too: four at once all the time are
/// what it allows one user.
const AT_ONCE: usize = 2;
/// Queries sent at once after a quiet time.
const BURST: f64 = 20.0;
/// Queries of one round at most: the next round comes soon, and those out of turn want their say.
const MOST_QUERIES: usize = 50;
/// With more runs than this, what changed is asked for, too.
const MANY: usize = 100;
/// The share of the budget that looks at runs by their ids may use where there are many.
const SWEEP_SHARE: f64 = 0.5;
/// How often what changed is asked for, in shortest pauses of the pace.
const CHANGES_EVERY: u32 = 2;
/// What changed is asked for this far back, because rows become readable later than they are dated.
const OVERLAP: SignedDuration = SignedDuration::from_secs(10);
/// Ceilings are kept while the server wants to be left alone, to this accuracy.
const CEILINGS_EVERY: Duration = Duration::from_secs(1);

type Watched = Watch<Box<dyn Listener>>;
/// A wait that is over, and how. Told when no lock is held.
type Over = (Box<dyn Listener>, Result<Ended, WaitError>);

pub(super) struct Group {
    pub(super) dataverse: Dataverse,
    settings: Settings,
    watches: Mutex<Watches<Box<dyn Listener>>>,
    budget: Mutex<Budget>,
    /// Somebody is due earlier than was known.
    stirred: Notify,
}

impl Group {
    pub(super) fn new(dataverse: Dataverse, settings: Settings) -> Self {
        Self {
            dataverse,
            settings,
            watches: Mutex::new(Watches::new()),
            budget: Mutex::new(Budget::new(settings.queries_per_second, BURST)),
            stirred: Notify::new(),
        }
    }

    pub(super) fn add(&self, key: Key, run: &Run, listener: Box<dyn Listener>) {
        let pace = match run.bounds.longest_pause {
            Some(longest) => self.settings.pace.with_longest(longest),
            None => self.settings.pace,
        };
        let (ceiling, queue) = (run.bounds.ceiling, run.bounds.max_queue_wait);
        let mut watch = Watch::new(Instant::now(), ceiling, queue, pace.pauses(), listener);
        watch.nonce = run.nonce;
        self.lock().add(key, watch);
        self.stirred.notify_one();
    }

    pub(super) fn forget(&self, key: &Key) {
        let forgotten = self.lock().remove(key);
        if forgotten.is_some() {
            self.stirred.notify_one();
        }
    }

    pub(super) fn hurry(&self, run: Guid, nonce: &Nonce) -> Hint {
        let mut watches = self.lock();
        let keys: Vec<Key> = watches.of(run).collect();
        let mut proven = false;
        for key in &keys {
            let known = watches.get_mut(key).and_then(|watch| watch.nonce);
            proven |= known.is_some_and(|known| verify_slices_are_equal(&known, nonce).is_ok());
        }
        match (keys.is_empty(), proven) {
            (true, _) => Hint::Unknown,
            (false, false) => Hint::Unproven,
            (false, true) => {
                watches.hurry(run);
                drop(watches);
                self.stirred.notify_one();
                Hint::Followed
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Looks until nobody waits any more.
    pub(super) async fn look(self: Arc<Self>, inner: Arc<Inner>) {
        let tick = self.settings.pace.first;
        let mut changes = Changes::new(tick * CHANGES_EVERY);
        let mut round_at = Instant::now();
        loop {
            let (due, hurried) = {
                // In this order, like `Watcher::watch`: nobody can join between the look and the end.
                let mut groups = inner.lock();
                let watches = self.lock();
                let Some(due) = watches.next_due() else {
                    groups.remove(&self.dataverse.identity());
                    return;
                };
                (due, watches.is_hurried())
            };
            if let Some(left) = self.dataverse.paused_for() {
                self.tell(self.expired());
                sleep(left.min(CEILINGS_EVERY)).await;
                continue;
            }
            let wake = match hurried {
                true => Instant::now(),
                false => due.min(changes.due(self.len())).max(round_at),
            };
            tokio::select! {
                biased;
                () = sleep_until(wake) => {}
                () = self.stirred.notified() => continue,
            }
            changes.ask(&self, &inner).await;
            self.round(&inner).await;
            let jitter = self.settings.pace.jitter.clamp(0.0, 1.0);
            round_at = Instant::now() + tick.mul_f64(1.0 - jitter + 2.0 * jitter * fastrand::f64());
        }
    }

    /// Asks for all that are due, by their ids.
    async fn round(self: &Arc<Self>, inner: &Inner) {
        let now = Instant::now();
        let runs = self.lock().round(now, MOST_IN_A_QUERY, MOST_IN_A_QUERY * MOST_QUERIES);
        futures_util::stream::iter(runs.chunks(MOST_IN_A_QUERY))
            .for_each_concurrent(AT_ONCE, |chunk| self.query(chunk, inner))
            .await;
    }

    async fn query(&self, runs: &[Guid], inner: &Inner) {
        let over = match self.asked(runs, inner).await {
            Ok(found) => {
                let (mut over, mut alone) = (Vec::new(), Vec::new());
                {
                    let mut watches = self.lock();
                    for session in &found {
                        self.seen(&mut watches, session, &mut over);
                    }
                    let found: std::collections::HashSet<Guid> = found.iter().map(|session| session.id).collect();
                    for run in runs.iter().filter(|run| !found.contains(run)) {
                        if self.missing(&mut watches, *run) {
                            alone.push(*run);
                        }
                    }
                }
                self.tell(over);
                self.look_up_alone(&alone, inner).await
            }
            Err(error) => self.failed(runs, error),
        };
        self.tell(over);
    }

    async fn asked(&self, runs: &[Guid], inner: &Inner) -> Result<Vec<FlowSession>, Error> {
        self.take_token(inner).await;
        inner
            .asked_for
            .fetch_add(u64::try_from(runs.len()).unwrap_or(0), Ordering::Relaxed);
        match runs {
            // A single row is cheaper for the server, and its refusal says more.
            [run] => match self.dataverse.flow_session(run, Columns::Progress).await {
                Ok(session) => Ok(vec![session]),
                Err(error) if error.is_not_found() => Ok(Vec::new()),
                Err(error) => Err(error),
            },
            runs => self.dataverse.flow_sessions(runs).await,
        }
    }

    async fn take_token(&self, inner: &Inner) {
        loop {
            let pause = self.budget.lock().unwrap_or_else(PoisonError::into_inner).take();
            match pause {
                None => break,
                Some(pause) => sleep(pause).await,
            }
        }
        inner.queries.fetch_add(1, Ordering::Relaxed);
    }

    /// A row was read.
    fn seen(&self, watches: &mut Watches<Box<dyn Listener>>, session: &FlowSession, over: &mut Vec<Over>) {
        let least = self.least_pause(watches.len());
        for key in watches.of(session.id).collect::<Vec<_>>() {
            let Some(watch) = watches.get_mut(&key) else { continue };
            watch.missing_since = None;
            watch.refused_since = None;
            if watch.last != Some(session.status) {
                watch.last = Some(session.status);
                watch.pauses.restart();
                watch.listener.changed(session);
            }
            let result = match session.status.end() {
                Some(end) => Some(Ok(Ended {
                    end,
                    session: session.clone(),
                })),
                None => queued_too_long(session, watch).or_else(|| at_ceiling(watch)).map(Err),
            };
            match result {
                Some(result) => over.extend(watches.remove(&key).map(|watch| (watch.listener, result))),
                None => {
                    let pause = watch.pauses.next(None).max(least);
                    watches.schedule(&key, Instant::now() + pause);
                }
            }
        }
    }

    /// With many runs, looking at each as often as if it were alone would break the budget.
    fn least_pause(&self, runs: usize) -> Duration {
        if runs <= MANY {
            return Duration::ZERO;
        }
        let queries = runs as f64 / MOST_IN_A_QUERY as f64;
        Duration::from_secs_f64(queries / (self.settings.queries_per_second.max(0.001) * SWEEP_SHARE))
    }

    /// A row was not in the answer. True when it is time to look it up alone.
    fn missing(&self, watches: &mut Watches<Box<dyn Listener>>, run: Guid) -> bool {
        let now = Instant::now();
        let mut alone = false;
        for key in watches.of(run).collect::<Vec<_>>() {
            let Some(watch) = watches.get_mut(&key) else { continue };
            let since = *watch.missing_since.get_or_insert(now);
            alone |= now.duration_since(since) >= self.settings.missing_grace;
            let pause = watch.pauses.next(None).min(self.settings.missing_grace);
            watches.schedule(&key, now + pause);
        }
        alone
    }

    /// Before a run is believed gone, it is asked for alone: lists are filtered and paged, a row is there or not.
    async fn look_up_alone(&self, runs: &[Guid], inner: &Inner) -> Vec<Over> {
        let mut over = Vec::new();
        for run in runs {
            self.take_token(inner).await;
            match self.dataverse.flow_session(run, Columns::Progress).await {
                Ok(session) => self.seen(&mut self.lock(), &session, &mut over),
                Err(error) if error.is_not_found() => {
                    let mut watches = self.lock();
                    for key in watches.of(*run).collect::<Vec<_>>() {
                        if let Some(watch) = watches.remove(&key) {
                            let missing_for = watch.missing_since.unwrap_or(watch.began).elapsed();
                            over.push((watch.listener, Err(WaitError::Lost { missing_for })));
                        }
                    }
                }
                Err(error) => over.extend(self.failed(&[*run], error)),
            }
        }
        over
    }

    /// Looking failed. What may pass is waited for; what somebody must fix is told, but not at once to those who could
    /// look before.
    fn failed(&self, runs: &[Guid], error: Error) -> Vec<Over> {
        let now = Instant::now();
        let asked = error.retry_after();
        let for_good = error.class() == Class::SomeoneMustFixIt;
        tracing::debug!(runs = runs.len(), %error, "cannot look at runs at the moment");
        let error = Arc::new(error);
        let mut over = Vec::new();
        let mut watches = self.lock();
        for key in runs.iter().flat_map(|run| watches.of(*run)).collect::<Vec<_>>() {
            let Some(watch) = watches.get_mut(&key) else { continue };
            let refused = for_good && {
                let since = *watch.refused_since.get_or_insert(now);
                watch.last.is_none() || now.duration_since(since) >= self.settings.refused_grace
            };
            let result = match refused {
                true => Some(WaitError::Refused(Arc::clone(&error))),
                false => at_ceiling(watch),
            };
            match result {
                Some(result) => over.extend(watches.remove(&key).map(|watch| (watch.listener, Err(result)))),
                None => {
                    let pause = watch.pauses.next(asked);
                    watches.schedule(&key, now + pause);
                }
            }
        }
        over
    }

    fn expired(&self) -> Vec<Over> {
        let mut watches = self.lock();
        let keys = watches.expired(Instant::now());
        keys.iter()
            .filter_map(|key| {
                let watch = watches.remove(key)?;
                let result = at_ceiling(&watch)?;
                Some((watch.listener, Err(result)))
            })
            .collect()
    }

    fn tell(&self, over: Vec<Over>) {
        for (listener, result) in over {
            listener.over(result);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Watches<Box<dyn Listener>>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Dataverse's own clock tells how long a run was queued; ours, from the beginning of the wait, is the stand-in.
fn queued_too_long(session: &FlowSession, watch: &Watched) -> Option<WaitError> {
    let queued = session.age.unwrap_or_else(|| watch.began.elapsed());
    let bound = watch.max_queue_wait?;
    (session.status.is_queued() && queued >= bound).then_some(WaitError::QueuedTooLong { queued })
}

fn at_ceiling(watch: &Watched) -> Option<WaitError> {
    (Instant::now() >= watch.ceiling).then(|| WaitError::Ceiling {
        waited: watch.began.elapsed(),
        last: watch.last,
    })
}

/// The query for what ended since the last one.
struct Changes {
    every: Duration,
    at: Instant,
    /// By Dataverse's clock; `None` until it was read.
    since: Option<Timestamp>,
}

impl Changes {
    fn new(every: Duration) -> Self {
        Self {
            every,
            at: Instant::now(),
            since: None,
        }
    }

    /// When it is sent next, if there are enough runs for it.
    fn due(&self, runs: usize) -> Instant {
        match runs > MANY {
            true => self.at,
            false => Instant::now() + Duration::from_secs(86_400),
        }
    }

    async fn ask(&mut self, group: &Group, inner: &Inner) {
        if group.len() <= MANY {
            // Whoever joins later was not watched meanwhile; its own looks by id begin at once.
            self.since = None;
            return;
        }
        if Instant::now() < self.at {
            return;
        }
        self.at = Instant::now() + self.every;
        group.take_token(inner).await;
        let Some(since) = self.since else {
            self.since = group.dataverse.server_clock().await.ok().flatten();
            return;
        };
        match group
            .dataverse
            .ended_since(since.saturating_sub(OVERLAP).unwrap_or(since))
            .await
        {
            Ok(changed) => {
                let mut over = Vec::new();
                {
                    let mut watches = group.lock();
                    for session in &changed.sessions {
                        group.seen(&mut watches, session, &mut over);
                    }
                }
                self.since = changed.seen_to.map(|to| to.max(since)).or(self.since);
                group.tell(over);
            }
            Err(error) => tracing::debug!(%error, "cannot ask for what ended at the moment"),
        }
    }
}
