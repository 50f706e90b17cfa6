//! Jobs in, permits first: one ticket is offered to the job stream and to the poll of the backlog alike, and whoever has
//! a job first gets it. While all permits are out, nothing is read, so that the engine sees that we are full.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Settings;
use super::age::Ages;
use super::beats::Beats;
use super::clock::Clock;
use super::lease::Lease;
use super::permits::{Permit, Pool};
use super::running::Running;
use crate::engine::{Engine, Poll, Push, Subscription, refuses_for_good};
use crate::job::Job;
use crate::metrics::{Way, metrics};

/// The most that one poll asks for.
const LARGEST_BATCH: usize = 128;
/// With the stream down, the backlog is the only way: it is asked at least this often.
const POLL_WITHOUT_STREAM: Duration = Duration::from_millis(500);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The pause after a poll that found jobs, where no stream brings what has come meanwhile.
const POLLS_ALONE_PAUSE: Duration = Duration::from_millis(10);
/// How long an intake without a job sits on the last permit while another waits for it.
const SHARE_TICKET: Duration = Duration::from_millis(100);
/// How often it is noted that nothing was pushed: with short leases and with long ones. The first job after a silence may
/// be taken for older than it is by twice that.
const LOOK_AGAIN: [Duration; 2] = [Duration::from_millis(500), Duration::from_millis(2500)];
/// As a part of the lease.
const LOOK_AGAIN_PART: u32 = 40;
const HAND_BACK_AT_ONCE: usize = 16;
/// Pushed jobs that still lie in our buffers when we stop; a stream window holds a few hundred.
const MOST_UNREAD: usize = 1_000;

/// So many polls that found jobs while the stream was silent make it look dead.
const DOUBTFUL_HITS: usize = 2;
/// A stream is opened anew after this time, when it is quiet: gateways behind a load balancer come and go.
const OLD: Duration = Duration::from_secs(3600);
const QUIET: Duration = Duration::from_secs(2);

/// When a stream that is open, but on which nothing comes, is believed to be dead. The gateway may think that it is
/// registered at all brokers while it is not; nothing on the connection shows that.
struct Doubt {
    from_hits: usize,
    after: Duration,
}

impl Doubt {
    /// None yet, after so many polls that found jobs.
    fn from(hits: usize, poll_interval: Duration) -> Self {
        Self {
            from_hits: hits + DOUBTFUL_HITS,
            after: 4 * poll_interval,
        }
    }
}

pub(super) struct Intake {
    engine: Engine,
    subscription: Subscription,
    pool: Arc<Pool>,
    running: Arc<Running>,
    poll_interval: Duration,
    beats: Beats,
    stream_enabled: bool,
}

impl Intake {
    pub(super) fn new(
        engine: Engine,
        subscription: Subscription,
        pool: Arc<Pool>,
        running: Arc<Running>,
        settings: &Settings,
        beats: Beats,
    ) -> Self {
        Self {
            engine,
            subscription,
            pool,
            running,
            poll_interval: settings.poll_interval,
            beats,
            stream_enabled: settings.stream_enabled,
        }
    }

    pub(super) fn job_type(&self) -> &str {
        &self.subscription.job_type
    }

    pub(super) async fn run(&self, stop: CancellationToken) {
        let clock = self.running.clock.clone();
        let mut ages = Ages::new(clock.now());
        let mut push = self
            .stream_enabled
            .then(|| Push::new(self.engine.clone(), self.subscription.clone()));
        // Replicas that start together must not ask together for ever.
        let first = self.poll_interval.min(FIRST_PAUSE).mul_f64(fastrand::f64());
        let after_some = if self.stream_enabled {
            FIRST_PAUSE
        } else {
            POLLS_ALONE_PAUSE
        };
        let mut backlog = Backlog::due_in(first, after_some, self.beats);
        let [shortest, longest] = LOOK_AGAIN;
        let look_again = (self.subscription.lease / LOOK_AGAIN_PART).clamp(shortest, longest);
        let mut doubt = Doubt::from(0, self.poll_interval);
        loop {
            let permit = tokio::select! {
                () = stop.cancelled() => break,
                permit = self.pool.acquire() => permit,
            };
            let idle = self.idle_pause(push.as_ref());
            tokio::select! {
                () = stop.cancelled() => break,
                job = pushed(&mut push, &mut ages, &clock, look_again) => {
                    doubt = Doubt::from(backlog.hits, self.poll_interval);
                    self.begin_pushed(job, permit, &mut ages);
                }
                () = self.others_want_the_ticket() => {
                    drop(permit);
                    // Whoever got it is still in line until it runs; on one thread it could not while we go round.
                    tokio::task::yield_now().await;
                }
                () = backlog.due(idle) => match self.renew(push.as_mut(), &mut doubt, backlog.hits) {
                    Some(job) => self.begin_pushed(job, permit, &mut ages),
                    None => backlog.ask(self.poll_with(permit)),
                },
            }
        }
        if let Some(push) = push {
            self.hand_back_unread(push, ages).await;
        }
    }

    /// Opens the stream again when it may be dead without showing it, or is old; what has arrived on it is given first.
    fn renew(&self, push: Option<&mut Push>, doubt: &mut Doubt, hits: usize) -> Option<Job> {
        let push = push.filter(|push| push.is_up())?;
        let silent = push.silent_for();
        let dead = hits >= doubt.from_hits && silent > doubt.after;
        let old = push.age() > OLD && silent > QUIET;
        if !dead && !old {
            return None;
        }
        if let Some(job) = push.next().now_or_never() {
            return Some(job);
        }
        if dead {
            tracing::warn!(
                job_type = self.job_type(),
                ?silent,
                "jobs wait in the backlog, but none is pushed; opening the job stream again"
            );
            doubt.from_hits = hits + DOUBTFUL_HITS;
            doubt.after = (doubt.after * 2).min(OLD);
        }
        push.reopen();
        None
    }

    /// We sit idle on a permit that another job type waits for; a parked job that comes back need not wait at all.
    async fn others_want_the_ticket(&self) {
        let share = async {
            self.pool.contended().await;
            tokio::time::sleep(SHARE_TICKET).await;
            self.pool.contended().await;
        };
        tokio::select! {
            () = share => {}
            () = self.pool.wanted_back() => {}
        }
    }

    fn idle_pause(&self, push: Option<&Push>) -> Duration {
        match push {
            Some(push) if push.is_up() => self.poll_interval,
            _ => self.poll_interval.min(POLL_WITHOUT_STREAM),
        }
    }

    /// A poll with this permit and half of those that are free: the stream keeps the rest, if there is one.
    fn poll_with(&self, permit: Permit) -> JoinHandle<Found> {
        let mut permits = vec![permit];
        let free = self.pool.free();
        let more = if self.stream_enabled { free / 2 } else { free }.min(LARGEST_BATCH - 1);
        while permits.len() <= more {
            match self.pool.try_acquire() {
                Some(permit) => permits.push(permit),
                None => break,
            }
        }
        let (engine, subscription, running) = (self.engine.clone(), self.subscription.clone(), self.running.clone());
        // Tracked as work: what a poll brings after the signal to stop is handed back before we end.
        let tasks = running.tasks.clone();
        tasks.spawn(async move { poll(&engine, &subscription, &running, permits).await })
    }

    /// A pushed job may have lain in buffers while its lease ran: one that has used a third of it is given back.
    fn begin_pushed(&self, job: Job, permit: Permit, ages: &mut Ages) {
        let length = self.subscription.lease;
        let read = self.running.clock.now();
        let age = ages.of(&read, job.deadline, length);
        let lease = Lease::new(read.before(age.most), length);
        metrics().job_buffered(self.job_type(), age.least);
        if age.least <= length / 3 && age.most < length {
            metrics().job_received(self.job_type(), Way::Push);
            return self.running.begin(job, permit, lease);
        }
        tracing::info!(job = job.key, ?age, "lay too long in a buffer; not begun");
        let running = self.running.clone();
        self.running
            .tasks
            .spawn(async move { running.hand_back(&job, &running.grip(&job, lease)).await });
    }

    /// What the gateway pushed and nobody read: given back at once, so that another replica need not wait for the lease.
    async fn hand_back_unread(&self, mut push: Push, mut ages: Ages) {
        let length = self.subscription.lease;
        let unread = std::iter::from_fn(|| push.next().now_or_never()).take(MOST_UNREAD);
        let unread: Vec<(Job, Lease)> = unread
            .map(|job| {
                let read = self.running.clock.now();
                let age = ages.of(&read, job.deadline, length);
                (job, Lease::new(read.before(age.most), length))
            })
            .collect();
        drop(push);
        if unread.is_empty() {
            return;
        }
        self.running.streams_closed.now();
        // A broker takes a few dozen commands at once; more would only be refused.
        futures_util::stream::iter(unread)
            .for_each_concurrent(HAND_BACK_AT_ONCE, |(job, lease)| async move {
                self.running.hand_back(&job, &self.running.grip(&job, lease)).await;
            })
            .await;
    }
}

/// The next pushed job; notes each time that there is none.
async fn pushed(push: &mut Option<Push>, ages: &mut Ages, clock: &Clock, look_again: Duration) -> Job {
    let Some(push) = push else {
        return std::future::pending().await;
    };
    let mut next = pin!(push.next());
    loop {
        let looking = poll_fn(|context| {
            // Before the stream is looked at: a process can stand still between the two.
            let now = clock.now();
            let job = next.as_mut().poll(context);
            if job.is_pending() {
                ages.saw_none(now);
            }
            job
        });
        if let Ok(job) = tokio::time::timeout(look_again, looking).await {
            return job;
        }
    }
}

/// What a poll found.
enum Found {
    /// As many as it asked for: there may be more.
    Full,
    /// Some, or none.
    Some(usize),
    /// It failed.
    Nothing,
}

async fn poll(engine: &Engine, subscription: &Subscription, running: &Arc<Running>, mut permits: Vec<Permit>) -> Found {
    let asked = permits.len();
    // The engine counts the lease from somewhere between our asking and its answer: the earlier is the safe one.
    let lease = Lease::new(running.clock.now(), subscription.lease);
    let mut poll = match Poll::start(engine, subscription, asked).await {
        Ok(poll) => poll,
        Err(status) => {
            if refuses_for_good(&status) {
                tracing::warn!(job_type = subscription.job_type, code = ?status.code(), reason = status.message(), "the engine refuses the poll");
            } else {
                tracing::debug!(job_type = subscription.job_type, code = ?status.code(), reason = status.message(), "the poll failed");
            }
            metrics().poll(&subscription.job_type, "failed");
            return Found::Nothing;
        }
    };
    loop {
        match poll.batch().await {
            Ok(Some(jobs)) => {
                for job in jobs {
                    match permits.pop() {
                        Some(permit) => {
                            metrics().job_received(&subscription.job_type, Way::Poll);
                            running.begin(job, permit, lease);
                        }
                        // More than was asked for: not ours to keep.
                        None => running.hand_back(&job, &running.grip(&job, lease)).await,
                    }
                }
            }
            Ok(None) => {
                let found = asked - permits.len();
                metrics().poll(&subscription.job_type, if found > 0 { "found" } else { "empty" });
                return if permits.is_empty() {
                    Found::Full
                } else {
                    Found::Some(found)
                };
            }
            Err(status) => {
                tracing::debug!(job_type = subscription.job_type, code = ?status.code(), reason = status.message(), "the poll broke off");
                metrics().poll(&subscription.job_type, "failed");
                return Found::Nothing;
            }
        }
    }
}

/// When the backlog is asked next: one poll at a time.
///
/// Polls are not parked at the gateway, since a parked one was seen starving on a real broker; one that is not parked is
/// passed on to the brokers each time (read in the gateway's source). So a job waits in the backlog for at most our pause,
/// and one job timeout more if the answer to an activation was lost between broker and gateway.
struct Backlog {
    asking: Option<JoinHandle<Found>>,
    at: Instant,
    /// The pause while nothing is found, as it was when this was last looked at: longer while the stream is up.
    idle: Duration,
    beats: Beats,
    pause: Duration,
    /// The pause after a poll that found jobs, though not as many as it asked for.
    after_some: Duration,
    /// The pause after the next poll that finds none: doubled each time, until we are at rest.
    after_none: Duration,
    /// Polls that found jobs.
    hits: usize,
}

impl Backlog {
    fn due_in(pause: Duration, after_some: Duration, beats: Beats) -> Self {
        Self {
            asking: None,
            at: Instant::now() + pause,
            idle: Duration::ZERO,
            beats,
            pause: FIRST_PAUSE,
            after_some,
            after_none: after_some,
            hits: 0,
        }
    }

    /// Waits until the poll under way has ended and the next one is due. Safe to drop half-way.
    async fn due(&mut self, idle: Duration) {
        if let Some(asking) = &mut self.asking {
            let found = asking.await.unwrap_or(Found::Nothing);
            self.asking = None;
            self.at = self.next_after(&found, idle);
        }
        if idle < self.idle {
            self.at = self.at.min(Instant::now() + idle);
        }
        self.idle = idle;
        tokio::time::sleep_until(self.at).await;
    }

    fn next_after(&mut self, found: &Found, idle: Duration) -> Instant {
        let now = Instant::now();
        let in_about = |pause: Duration| now + pause.mul_f64(0.9 + 0.2 * fastrand::f64());
        match found {
            Found::Nothing => return in_about(doubled(&mut self.pause, idle)),
            Found::Some(0) => {
                self.pause = FIRST_PAUSE;
                return match doubled(&mut self.after_none, idle) {
                    pause if pause < idle => in_about(pause),
                    _ => self.beats.next(now, idle),
                };
            }
            Found::Full | Found::Some(_) => {}
        }
        self.hits += 1;
        (self.pause, self.after_none) = (FIRST_PAUSE, self.after_some);
        match found {
            Found::Full => now,
            _ => in_about(self.after_some),
        }
    }

    fn ask(&mut self, poll: JoinHandle<Found>) {
        self.asking = Some(poll);
    }
}

/// A pause, twice as long the next time.
fn doubled(pause: &mut Duration, longest: Duration) -> Duration {
    std::mem::replace(pause, (*pause * 2).min(longest))
}
