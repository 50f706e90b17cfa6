//! Whose turn it is to start a run: a start goes in, its turn comes out, at once or when there is room for it.
//!
//! Dataverse takes 70 starts a minute of one connection, machines take so many runs at once, and operations may pause
//! flows. Who must wait stands in a line: first come, first served among those that may start at all. Nothing here knows
//! of jobs; whoever waits is called. What bounds starts is in [`rules`].

pub mod rules;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};

pub use self::rules::{Limit, Pattern, Paused, Settings};
use super::watcher::{Listener, Run, Waiting};
use super::{Ended, WaitError, Watcher};
use crate::metrics::metrics;
use crate::microsoft::dataverse::Guid;
use crate::microsoft::dataverse::sessions::FlowSession;

/// Starts of one connection are counted over this time.
const MINUTE: Duration = Duration::from_secs(60);
/// Connections whose starts are remembered although none was in the last minute.
const MANY: usize = 1000;
/// With nothing to wait for but a pause that somebody must end, the line is looked at so often.
const QUIET: Duration = Duration::from_secs(3600);

/// A connection of an organisation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Connection {
    /// The organisation's address.
    pub organization: Arc<str>,
    /// The connection's name, or a connection reference's.
    pub name: Arc<str>,
}

/// What a run is counted by while it goes on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// By which connection.
    pub connection: Connection,
    /// The process instance and the element whose runs must not overlap, where the task asks for that.
    pub exclusive: Option<(i64, Arc<str>)>,
}

/// A start that wants its turn.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Asked {
    /// Where.
    pub place: Place,
    /// Of which flow.
    pub flow: Guid,
    /// The flow's name, where the task says it.
    pub flow_name: Option<Arc<str>>,
}

/// Why a start has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// Operations paused the flow or the connection.
    Paused,
    /// As many runs go on as may.
    Running,
    /// An earlier run of an exclusive task goes on.
    Exclusive,
    /// The connection has had its starts of this minute; there is room again at this moment.
    Pace(Instant),
    /// Others have waited for longer.
    InLine,
}

impl Blocked {
    /// The name in logs and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Blocked::Paused => "paused",
            Blocked::Running => "running",
            Blocked::Exclusive => "exclusive",
            Blocked::Pace(_) | Blocked::InLine => "pace",
        }
    }
}

/// All turns of a process. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Turns {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    state: Mutex<State>,
    /// Something made room.
    stirred: Notify,
}

#[derive(Default)]
struct State {
    /// The starts of the last minute.
    paces: HashMap<Connection, VecDeque<Instant>>,
    running: HashMap<Counted, usize>,
    /// Runs that are counted, and who tells us when they are over.
    counted: HashMap<Guid, Option<Waiting>>,
    lanes: HashMap<Asked, BTreeMap<u64, Called>>,
    /// Patterns that operations paused while we run; those of the settings are not among them.
    paused: Vec<Pattern>,
    last_number: u64,
    /// How many wait for each reason, as the metric was last told.
    told: [usize; REASONS.len()],
    /// A task looks at the line when time makes room.
    served: bool,
}

/// What a start may wait for.
const REASONS: [&str; 4] = ["paused", "running", "exclusive", "pace"];

type Called = Box<dyn FnOnce(Turn) + Send>;

/// What runs are counted by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Counted {
    /// The limit that all connections have.
    Connection(Connection),
    /// The limit with this number, which several connections may share.
    Limit(usize),
    /// The element of a process instance, whose runs must not overlap.
    Exclusive(i64, Arc<str>),
}

/// The right to start one run now. Dropped, it makes room for another one, though not within the same minute.
#[must_use = "dropping a turn gives it back"]
pub struct Turn {
    inner: Arc<Inner>,
    counted: Vec<Counted>,
}

/// A place in the line, left when this is dropped.
#[must_use = "the place in the line is left when this is dropped"]
pub struct InLine {
    inner: Arc<Inner>,
    asked: Asked,
    number: u64,
}

impl Turns {
    /// Turns by these rules; nobody waits yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            inner: Arc::new(Inner {
                settings,
                state: Mutex::default(),
                stirred: Notify::new(),
            }),
        }
    }

    /// A turn, if there is room and nobody has waited for it.
    ///
    /// # Errors
    /// Why not.
    pub fn now(&self, asked: &Asked) -> Result<Turn, Blocked> {
        let now = Instant::now();
        let mut state = self.inner.lock();
        if let Some(blocked) = self.inner.blocked(&mut state, asked, now) {
            return Err(blocked);
        }
        let lanes: Vec<Asked> = state.lanes.keys().cloned().collect();
        let before_us = lanes
            .iter()
            .any(|lane| self.inner.share(lane, asked) && self.inner.blocked(&mut state, lane, now).is_none());
        if before_us {
            return Err(Blocked::InLine);
        }
        Ok(self.inner.grant(&mut state, &asked.place, now))
    }

    /// Stands in line; `called` gets the turn, and must not block. Must be called inside a tokio runtime.
    pub fn join(&self, asked: &Asked, called: impl FnOnce(Turn) + Send + 'static) -> InLine {
        let number = {
            let mut state = self.inner.lock();
            state.last_number += 1;
            let number = state.last_number;
            let lane = state.lanes.entry(asked.clone()).or_default();
            lane.insert(number, Box::new(called));
            if !std::mem::replace(&mut state.served, true) {
                tokio::spawn(self.inner.clone().serve());
            }
            number
        };
        self.inner.stirred.notify_one();
        InLine {
            inner: self.inner.clone(),
            asked: asked.clone(),
            number,
        }
    }

    /// Waits in line. Dropping the future leaves it.
    pub async fn wait(&self, asked: &Asked) -> Turn {
        loop {
            let (sender, receiver) = oneshot::channel();
            let _in_line = self.join(asked, move |turn| drop(sender.send(turn)));
            if let Ok(turn) = receiver.await {
                return turn;
            }
        }
    }

    /// Counts a run that goes on until it is over, where a limit counts it. `turn` is its turn; a run that was found has
    /// none, and is counted even if there are more than the limit allows.
    pub fn count(&self, place: &Place, run: &Run, turn: Option<Turn>, watcher: &Watcher) {
        let counted = self.inner.counted_by(place);
        if counted.is_empty() {
            return;
        }
        {
            let mut state = self.inner.lock();
            if state.counted.contains_key(&run.id) {
                return;
            }
            state.counted.insert(run.id, None);
        }
        let turn = turn.unwrap_or_else(|| {
            let mut state = self.inner.lock();
            for counted in &counted {
                *state.running.entry(counted.clone()).or_default() += 1;
            }
            Turn {
                inner: self.inner.clone(),
                counted,
            }
        });
        let over = Over { run: run.id, turn };
        let waiting = watcher.watch(run, Box::new(over));
        // It may be over already.
        let mut state = self.inner.lock();
        match state.counted.get_mut(&run.id) {
            Some(place) => *place = Some(waiting),
            None => {
                drop(state);
                drop(waiting);
            }
        }
    }

    /// Stops new starts of flows and connections that fit the pattern. False if it stopped them already.
    pub fn pause(&self, pattern: Pattern) -> bool {
        let mut state = self.inner.lock();
        let new = !state.paused.contains(&pattern) && !self.inner.settings.pause.contains(&pattern);
        if new {
            tracing::warn!(%pattern, "starts of desktop flows are paused");
            state.paused.push(pattern);
        }
        new
    }

    /// Ends a pause that [`Turns::pause`] began; all of them for `None`. Gives those that ended.
    pub fn resume(&self, pattern: Option<&Pattern>) -> Vec<Pattern> {
        let ended = {
            let mut state = self.inner.lock();
            let all = std::mem::take(&mut state.paused);
            let (ended, left) = all
                .into_iter()
                .partition(|one| pattern.is_none_or(|wanted| wanted == one));
            state.paused = left;
            ended
        };
        for pattern in &ended {
            tracing::info!(%pattern, "starts of desktop flows go on");
        }
        self.inner.stirred.notify_one();
        ended
    }

    /// What is paused, the settings' own pauses first.
    pub fn paused(&self) -> Vec<Paused> {
        let by_setting = self.inner.settings.pause.iter().map(|pattern| (pattern, true));
        let state = self.inner.lock();
        let while_running = state.paused.iter().map(|pattern| (pattern, false));
        let all = by_setting.chain(while_running);
        all.map(|(pattern, by_setting)| Paused {
            pattern: pattern.clone(),
            by_setting,
        })
        .collect()
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.inner.lock().lanes.values().map(BTreeMap::len).sum()
    }
}

impl Inner {
    fn counted_by(&self, place: &Place) -> Vec<Counted> {
        let limit = match self.settings.limit_of(&place.connection.name) {
            Some((number, _)) => Some(Counted::Limit(number)),
            None => self
                .settings
                .max_running
                .map(|_| Counted::Connection(place.connection.clone())),
        };
        let exclusive = place.exclusive.clone();
        let exclusive = exclusive.map(|(instance, element)| Counted::Exclusive(instance, element));
        limit.into_iter().chain(exclusive).collect()
    }

    /// Why no other run may be counted so now.
    fn full(&self, state: &State, counted: &Counted) -> Option<Blocked> {
        let (most, why) = match counted {
            Counted::Limit(number) => (self.settings.limits.get(*number)?.max_running, Blocked::Running),
            Counted::Connection(_) => (self.settings.max_running?, Blocked::Running),
            Counted::Exclusive(..) => (1, Blocked::Exclusive),
        };
        let running = state.running.get(counted).copied().unwrap_or_default();
        (running >= most).then_some(why)
    }

    /// Does room for one of them make room for the other?
    fn share(&self, one: &Asked, other: &Asked) -> bool {
        let others = self.counted_by(&other.place);
        one.place.connection == other.place.connection
            || self
                .counted_by(&one.place)
                .iter()
                .any(|counted| others.contains(counted))
    }

    fn blocked(&self, state: &mut State, asked: &Asked, now: Instant) -> Option<Blocked> {
        let fits = |pattern: &Pattern| pattern.fits(asked);
        if self.settings.pause.iter().any(fits) || state.paused.iter().any(fits) {
            return Some(Blocked::Paused);
        }
        let counted = self.counted_by(&asked.place);
        if let Some(full) = counted.iter().find_map(|counted| self.full(state, counted)) {
            return Some(full);
        }
        let starts = state.paces.get_mut(&asked.place.connection)?;
        while starts.front().is_some_and(|start| *start + MINUTE <= now) {
            starts.pop_front();
        }
        let full = starts.len() >= self.settings.starts_per_minute;
        let first = starts.front().copied().filter(|_| full)?;
        Some(Blocked::Pace(first + MINUTE))
    }

    fn grant(self: &Arc<Self>, state: &mut State, place: &Place, now: Instant) -> Turn {
        if state.paces.len() >= MANY {
            state
                .paces
                .retain(|_, starts| starts.back().is_some_and(|start| *start + MINUTE > now));
        }
        let starts = state.paces.entry(place.connection.clone()).or_default();
        starts.push_back(now);
        let counted = self.counted_by(place);
        for counted in &counted {
            *state.running.entry(counted.clone()).or_default() += 1;
        }
        Turn {
            inner: self.clone(),
            counted,
        }
    }

    /// Calls whoever may start, until nobody waits any more.
    async fn serve(self: Arc<Self>) {
        loop {
            let (called, wake) = {
                let mut state = self.lock();
                let (called, wake) = self.next(&mut state);
                if called.is_none() && state.lanes.is_empty() {
                    state.served = false;
                    return;
                }
                (called, wake)
            };
            match called {
                Some((called, turn)) => called(turn),
                None => tokio::select! {
                    () = sleep_until(wake) => {}
                    () = self.stirred.notified() => {}
                },
            }
        }
    }

    /// Whoever has waited longest among those that may start; or when to look again.
    fn next(self: &Arc<Self>, state: &mut State) -> (Option<(Called, Turn)>, Instant) {
        let now = Instant::now();
        let mut wake = now + QUIET;
        let mut waiting = [0; REASONS.len()];
        let mut first: Option<(u64, Asked)> = None;
        let lanes: Vec<_> = state
            .lanes
            .iter()
            .filter_map(|(asked, lane)| Some((asked.clone(), *lane.first_key_value()?.0, lane.len())))
            .collect();
        for (asked, number, length) in lanes {
            let blocked = self.blocked(state, &asked, now);
            match blocked {
                Some(Blocked::Pace(at)) => wake = wake.min(at),
                Some(_) => {}
                None if first.as_ref().is_none_or(|(first, _)| number < *first) => first = Some((number, asked)),
                None => {}
            }
            let label = blocked.map_or("pace", Blocked::label);
            for (_, count) in REASONS.iter().zip(&mut waiting).filter(|(name, _)| **name == label) {
                *count += length;
            }
        }
        for ((reason, before), now) in REASONS.iter().zip(state.told).zip(waiting) {
            metrics().starts_waiting(reason, before, now);
        }
        state.told = waiting;
        let called = first.and_then(|(number, asked)| {
            let called = state.leave(&asked, number)?;
            Some((called, self.grant(state, &asked.place, now)))
        });
        (called, wake)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn leave(&mut self, asked: &Asked, number: u64) -> Option<Called> {
        let lane = self.lanes.get_mut(asked)?;
        let called = lane.remove(&number);
        if lane.is_empty() {
            self.lanes.remove(asked);
        }
        called
    }
}

impl Drop for InLine {
    fn drop(&mut self) {
        let left = self.inner.lock().leave(&self.asked, self.number);
        if left.is_some() {
            self.inner.stirred.notify_one();
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.counted.is_empty() {
            return;
        }
        {
            let mut state = self.inner.lock();
            for counted in self.counted.drain(..) {
                if let Some(running) = state.running.get_mut(&counted) {
                    *running = running.saturating_sub(1);
                    if *running == 0 {
                        state.running.remove(&counted);
                    }
                }
            }
        }
        self.inner.stirred.notify_one();
    }
}

/// Has the turn of a run until the run is over.
struct Over {
    run: Guid,
    turn: Turn,
}

impl Listener for Over {
    fn changed(&mut self, _session: &FlowSession) {}

    fn over(self: Box<Self>, _result: Result<Ended, WaitError>) {
        let waiting = self.turn.inner.lock().counted.remove(&self.run);
        drop(waiting);
    }
}

impl std::fmt::Debug for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turn").field("counted", &self.counted).finish()
    }
}

#[cfg(test)]
mod tests;
