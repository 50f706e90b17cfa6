//! What every part of the running simulator shares: the clock, the state, the journal.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::{Notify, Semaphore, watch};

use super::callback::{Delivery, DeliveryRecord};
use super::clock::Clock;
use super::entra::{Desk, TokenService};
use super::faults::Faults;
use super::ids::Ids;
use super::journal::Journal;
use super::protection::Protection;
use super::runs::Runs;
use super::world::{Moment, Seed, World, WorldError};

/// The path under which the organisation is served.
pub(super) const ORGANIZATION: &str = "/org";
/// The path under which the token endpoint is served, before the tenant.
pub(super) const LOGIN: &str = "/login/";
/// Requests that are executed after their connection was dropped, at the same time.
const LATE_REQUESTS: usize = 10_000;
/// Callback deliveries that the record keeps.
const KEPT_DELIVERIES: usize = 10_000;

/// The running simulator.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) clock: Clock,
    state: Mutex<State>,
    journal: Mutex<Journal>,
    /// How often the simulator was reset: a request that arrived before a reset means nothing after it.
    epoch: AtomicU64,
    /// Told when something may happen earlier than the driver thinks.
    pub(super) wake: Notify,
    pub(super) stopped: watch::Sender<bool>,
    pub(super) late: Arc<Semaphore>,
}

/// What changes while the simulator runs.
#[derive(Debug)]
pub(super) struct State {
    /// The world as it is now; seeds change it.
    pub(super) world: World,
    /// The world that a reset returns to.
    initial: Arc<World>,
    pub(super) runs: Runs,
    pub(super) faults: Faults,
    pub(super) tokens: TokenService,
    pub(super) protection: Protection,
    /// The ids of runs: a sequence of their own, so that they do not depend on how often somebody polled.
    pub(super) run_ids: Ids,
    /// All other ids.
    pub(super) ids: Ids,
    /// With what the simulator recognises its own tokens.
    pub(super) key: u64,
    /// Callbacks that are to be sent. Never more than two for each run.
    pub(super) outbox: VecDeque<Delivery>,
    pub(super) deliveries: VecDeque<DeliveryRecord>,
    pub(super) delivered: u64,
}

impl Core {
    pub(super) fn playing(world: World) -> Self {
        let start = world.clock.start.map_or_else(Timestamp::now, |Moment(start)| start);
        Self {
            clock: Clock::starting(start, world.clock.speed),
            journal: Mutex::new(Journal::keeping(world.journal)),
            state: Mutex::new(State::of(Arc::new(world))),
            epoch: AtomicU64::new(0),
            wake: Notify::new(),
            stopped: watch::Sender::new(false),
            late: Arc::new(Semaphore::new(LATE_REQUESTS)),
        }
    }

    /// The state, with everything applied that is due by now.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock: whoever comes later must not see an earlier time.
        let now = self.clock.now();
        state.runs.settle(now);
        state
    }

    pub(super) fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often the simulator was reset.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Forgets everything that happened. The clock goes back only to a start that the world fixes.
    pub(super) fn reset(&self) {
        let mut state = self.state();
        let initial = Arc::clone(&state.initial);
        self.epoch.fetch_add(1, Ordering::Release);
        *self.journal() = Journal::keeping(initial.journal);
        if let Some(Moment(start)) = initial.clock.start {
            self.clock.restart(start);
        }
        *state = State::of(initial);
        drop(state);
        self.wake.notify_one();
    }

    /// An access token for the world's first application, good for the organisation at `host`.
    pub(super) fn minted(&self, host: &str) -> Option<String> {
        let mut state = self.state();
        let application = state.world.directory.applications.first()?.clone();
        let (tokens, mut desk) = state.desk(host, self.clock.now());
        Some(tokens.minted(&mut desk, &application, &format!("http://{host}{ORGANIZATION}")))
    }

    /// Waits until the simulator is stopped.
    pub(super) async fn stop_asked(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.stopped.subscribe().wait_for(|stopped| *stopped).await;
    }
}

impl State {
    fn of(world: Arc<World>) -> Self {
        let mut run_ids = Ids::seeded(world.seed);
        let mut ids = Ids::seeded(run_ids.bits());
        Self {
            key: ids.bits(),
            run_ids,
            ids,
            runs: Runs::with_groups(&world.environment.machine_groups),
            faults: Faults::starting(&world.faults),
            tokens: TokenService::starting(&world.directory),
            protection: Protection::default(),
            outbox: VecDeque::new(),
            deliveries: VecDeque::new(),
            delivered: 0,
            world: World::clone(&world),
            initial: world,
        }
    }

    /// The token service, and what it works with for a request to `host`.
    pub(super) fn desk<'s>(&'s mut self, host: &'s str, now: Timestamp) -> (&'s mut TokenService, Desk<'s>) {
        let aliases = &self.world.environment.aliases;
        let directory = &self.world.directory;
        (
            &mut self.tokens,
            Desk {
                directory,
                aliases,
                host,
                ids: &mut self.ids,
                key: self.key,
                now,
            },
        )
    }

    /// Adds rows, or replaces those with the same key.
    ///
    /// # Errors
    /// When the environment would contradict itself; then nothing is changed.
    pub(super) fn seed(&mut self, seed: Seed, now: Timestamp) -> Result<(), WorldError> {
        let mut next = self.world.environment.clone();
        next.aliases.extend(seed.aliases);
        merge(&mut next.workflows, seed.workflows, |one| (one.id, one.published));
        merge(&mut next.connections, seed.connections, |one| one.name.to_lowercase());
        merge(&mut next.connection_references, seed.connection_references, |one| {
            one.logical_name.to_lowercase()
        });
        let groups = seed.machine_groups.clone();
        merge(&mut next.machine_groups, seed.machine_groups, |one| one.name.clone());
        let mut faults = Vec::new();
        next.check(&mut faults);
        if !faults.is_empty() {
            return Err(WorldError::Inconsistent(faults));
        }
        self.world.environment = next;
        groups.iter().for_each(|group| self.runs.set_group(group, now));
        Ok(())
    }

    /// Keeps the record of a delivery attempt.
    pub(super) fn delivered(&mut self, record: DeliveryRecord) {
        if self.deliveries.len() >= KEPT_DELIVERIES {
            self.deliveries.pop_front();
        }
        self.delivered += 1;
        self.deliveries.push_back(record);
    }
}

fn merge<T, K: PartialEq>(rows: &mut Vec<T>, seeds: Vec<T>, key: impl Fn(&T) -> K) {
    for seed in seeds {
        match rows.iter_mut().find(|row| key(row) == key(&seed)) {
            Some(row) => *row = seed,
            None => rows.push(seed),
        }
    }
}
