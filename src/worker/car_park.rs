//! The car park: jobs that only wait for something outside, kept without a task of their own and almost no memory.
//!
//! In goes a job whose connector fell asleep ([`Sleep`]); out it comes when its sleeper is woken: worked on again from
//! the beginning, with the news. Meanwhile one task prolongs all leases within a budget of heartbeats, and sees which
//! tasks are gone. What is kept, and in which order, is in `parked`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::hold::prolong;
use super::lease::Grip;
use super::parked::Table;
use super::permits::Parked;
use super::running::{From, Running};
use crate::connector::{Sleep, Wake};
use crate::engine::{Commands, Held};
use crate::job::Job;
use crate::runs::Budget;

/// Heartbeats that are under way at once: a broker takes a few dozen commands, more would only be refused.
const AT_ONCE: usize = 32;
/// Heartbeats that are due within such a time are sent together.
const GATHER: Duration = Duration::from_millis(50);
/// Woken jobs that wait for a running place at once; the others wait in their lane.
const RETURNING: usize = 16;
/// How long all parked jobs may take to be handed back when we stop; the rest lapse.
const HAND_BACK: Duration = Duration::from_millis(9_500);

pub(super) struct CarPark {
    commands: Commands,
    heartbeats_per_second: f64,
    table: Mutex<Table>,
    /// Somebody's lease ends earlier than was known.
    stirred: Notify,
    woken: Notify,
}

/// What a heartbeat told.
enum Beat {
    Prolonged,
    /// The task is gone, and was ours until then.
    Gone,
    /// The job may be somebody else's.
    Lapsed,
    Unheard,
}

impl CarPark {
    pub(super) fn new(commands: Commands, heartbeats_per_second: usize) -> Arc<Self> {
        Arc::new(Self {
            commands,
            heartbeats_per_second: heartbeats_per_second as f64,
            table: Mutex::default(),
            stirred: Notify::new(),
            woken: Notify::new(),
        })
    }

    /// Takes a job in that fell asleep. The caller has marked it as held.
    pub(super) fn take_in(
        self: &Arc<Self>,
        job: &Job,
        sleep: Sleep,
        place: Parked,
        grip: Arc<Grip>,
        received: Instant,
    ) {
        let Sleep {
            mut sleeper,
            shared,
            own,
        } = sleep;
        {
            let mut table = self.lock();
            table.add(job, &shared, &own, place, grip, received);
            table.schedule(job.key, self.heartbeats_per_second);
        }
        self.stirred.notify_one();
        let (park, key) = (Arc::clone(self), job.key);
        // It may be woken before this returns, so it is in the table already.
        sleeper.fall_asleep(Wake::new(move |news| {
            if park.lock().wake(key, news) {
                park.woken.notify_one();
            }
        }));
        if let Some(sleeping) = self.lock().get_mut(job.key) {
            sleeping.sleeper = Some(sleeper);
        }
    }

    /// Prolongs leases until `stop`.
    pub(super) async fn keep_alive(&self, running: &Arc<Running>, stop: &CancellationToken) {
        let mut budget = Budget::new(
            self.heartbeats_per_second,
            (self.heartbeats_per_second / 10.0).max(10.0),
        );
        let mut under_way = FuturesUnordered::new();
        let mut not_before = Instant::now();
        loop {
            let due = self.lock().next_due().map(|due| due.max(not_before));
            tokio::select! {
                () = stop.cancelled() => break,
                Some((key, beat)) = under_way.next(), if !under_way.is_empty() => self.heard(running, key, beat),
                () = sleep_until(due.unwrap_or(not_before)), if due.is_some() && under_way.len() < AT_ONCE => {
                    let now = Instant::now();
                    not_before = now + GATHER;
                    while under_way.len() < AT_ONCE && self.lock().next_due().is_some_and(|due| due <= now + GATHER) {
                        if let Some(pause) = budget.take() {
                            not_before = now + pause.max(GATHER);
                            break;
                        }
                        let Some(key) = self.lock().pop_due(now + GATHER) else { break };
                        under_way.push(self.beat(key));
                    }
                }
                () = self.stirred.notified() => {}
            }
        }
    }

    async fn beat(&self, key: i64) -> (i64, Beat) {
        let (job, grip, length) = {
            let mut table = self.lock();
            let length = table.lease_of(key, self.heartbeats_per_second);
            let (Some(sleeping), Some(length)) = (table.get_mut(key), length) else {
                return (key, Beat::Unheard);
            };
            (sleeping.bare(key), sleeping.grip.clone(), length)
        };
        // Nothing is sent once the lease has lapsed: by a process that stood still it would be accepted, although the job
        // is another's.
        tracing::trace!(job = key, "heartbeat of a parked job");
        let beat = match prolong(&self.commands, &job, &grip, length).await {
            Ok(()) => Beat::Prolonged,
            Err(status) if status.code() == Code::NotFound && grip.holds() => Beat::Gone,
            Err(status) if matches!(status.code(), Code::NotFound | Code::FailedPrecondition) => Beat::Lapsed,
            Err(_) if !grip.holds() => Beat::Lapsed,
            Err(_) => Beat::Unheard,
        };
        (key, beat)
    }

    fn heard(&self, running: &Arc<Running>, key: i64, beat: Beat) {
        let mut table = self.lock();
        match beat {
            Beat::Prolonged => table.schedule(key, self.heartbeats_per_second),
            Beat::Unheard => {
                let soon = Duration::from_secs(2).mul_f64(0.5 + fastrand::f64());
                table.schedule_at(key, Instant::now() + soon);
            }
            Beat::Gone | Beat::Lapsed => {
                let sleeping = table.remove(key);
                drop(table);
                running.let_go_of_parked(key);
                let Some(sleeping) = sleeping else { return };
                let gone = matches!(beat, Beat::Gone);
                tracing::info!(job = key, gone, "a parked job is let go");
                let job = sleeping.job(key);
                if let (true, Some(sleeper)) = (gone, sleeping.sleeper) {
                    sleeper.gone(&job);
                }
            }
        }
    }

    /// Gives woken jobs running places, ahead of new intake, until `stop`.
    pub(super) async fn bring_back(&self, running: &Arc<Running>, stop: &CancellationToken) {
        let mut returning = FuturesUnordered::new();
        loop {
            while returning.len() < RETURNING {
                let Some((key, place)) = self.lock().next_woken() else {
                    break;
                };
                returning.push(async move { (key, place.resume().await) });
            }
            tokio::select! {
                () = stop.cancelled() => break,
                Some((key, permit)) = returning.next(), if !returning.is_empty() => {
                    // Gone meanwhile: then the permit is free again.
                    let Some(sleeping) = self.lock().remove(key) else { continue };
                    let job = sleeping.job(key);
                    let from = From::CarPark { received: sleeping.received, news: sleeping.news };
                    running.go_on(job, permit, sleeping.grip, from);
                }
                () = self.woken.notified() => {}
            }
        }
    }

    /// Hands back everybody who sleeps, so that another replica has them at once. Gives the number of those that were
    /// left to their lease.
    pub(super) async fn hand_back(&self, running: &Arc<Running>) -> usize {
        let asleep = self.lock().drain();
        if asleep.is_empty() {
            return 0;
        }
        tracing::info!(jobs = asleep.len(), "handing back the jobs that wait for a run");
        let until = Instant::now() + HAND_BACK;
        futures_util::stream::iter(asleep)
            .map(|(key, sleeping)| async move {
                let why = "Handed back: this worker is stopping. The run goes on; whoever gets this job waits for it.";
                let free = running
                    .give_back(&sleeping.job(key), &sleeping.grip, None, why, until)
                    .await;
                running.let_go_of_parked(key);
                usize::from(!free)
            })
            .buffer_unordered(AT_ONCE)
            .fold(0, |left, one| async move { left + one })
            .await
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
