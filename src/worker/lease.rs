//! A job's lease: how long the job is surely ours.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::clock::{Clock, Moment};
use crate::engine::Held;
use crate::engine::channel::CALL_TIMEOUT;

/// A command that frees a job is not sent in the last part of its lease: a third, or so long as a command can be on its
/// way.
const FREES_BEFORE: u32 = 3;
const ON_ITS_WAY: Duration = CALL_TIMEOUT;

/// A stretch of time in which the engine gives the job to nobody else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lease {
    began: Moment,
    length: Duration,
}

impl Lease {
    /// A lease counted from the last moment at which the engine cannot yet have begun to count.
    pub(super) fn new(began: Moment, length: Duration) -> Self {
        Self { began, length }
    }

    pub(super) fn length(&self) -> Duration {
        self.length
    }

    /// What is left of it; zero when it has lapsed.
    pub(super) fn left(&self, now: &Moment) -> Duration {
        self.length.saturating_sub(now.since(&self.began))
    }

    /// How long until a third of it is used.
    pub(super) fn until_heartbeat(&self, now: &Moment) -> Duration {
        (self.length / 3).saturating_sub(now.since(&self.began))
    }
}

/// A job's lease as all who work on the job see it. The engine may give the job to us again while we have it: then the
/// newer lease counts.
#[derive(Debug)]
pub(super) struct Grip {
    clock: Clock,
    terms: Mutex<Terms>,
    token: Mutex<Option<String>>,
    renewed: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
struct Terms {
    lease: Lease,
    /// How long the job's leases are meant to be; among many that wait they are longer.
    own: Duration,
}

impl From<Lease> for Terms {
    fn from(lease: Lease) -> Self {
        let own = lease.length;
        Self { lease, own }
    }
}

impl Grip {
    pub(super) fn new(clock: Clock, lease: Lease, token: Option<String>) -> Self {
        Self {
            clock,
            terms: Mutex::new(lease.into()),
            token: Mutex::new(token),
            renewed: AtomicBool::new(false),
        }
    }

    pub(super) fn now(&self) -> Moment {
        self.clock.now()
    }

    pub(super) fn lease(&self) -> Lease {
        self.lock().lease
    }

    /// The length that the job's leases are meant to have: that of its activation, or the task's own.
    pub(super) fn own_length(&self) -> Duration {
        self.lock().own
    }

    /// The engine confirmed this lease.
    pub(super) fn set(&self, lease: Lease) {
        self.lock().lease = lease;
    }

    /// The task asks for leases of this length.
    pub(super) fn set_own_length(&self, own: Duration) {
        self.lock().own = own;
    }

    /// The engine gave us the job again: its newest lease and token are the ones that count.
    pub(super) fn renew(&self, lease: Lease, token: Option<String>) {
        *self.lock() = lease.into();
        self.renewed.store(true, Ordering::SeqCst);
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = token;
    }

    /// Goes on with the shorter of two lengths.
    pub(super) fn shorten(&self, length: Duration) {
        let mut terms = self.lock();
        terms.lease.length = terms.lease.length.min(length);
        terms.own = terms.own.min(length);
    }

    /// Has the engine given us the job again?
    pub(super) fn was_renewed(&self) -> bool {
        self.renewed.load(Ordering::SeqCst)
    }

    pub(super) fn left(&self) -> Duration {
        self.lease().left(&self.now())
    }

    pub(super) fn until_heartbeat(&self) -> Duration {
        self.lease().until_heartbeat(&self.now())
    }

    /// When the lease lapses if the clocks do not jump.
    pub(super) fn lapses(&self) -> Instant {
        Instant::now() + self.left()
    }

    /// Until when the engine may be told something that frees the job, if it may at all: a command can be on its way for
    /// a while, and must not arrive when the job has its next holder. So a part of the lease has to be left.
    pub(super) fn frees_until(&self) -> Option<Instant> {
        let Terms { lease, own } = *self.lock();
        let on_its_way = (own / FREES_BEFORE).min(ON_ITS_WAY);
        let left = lease.left(&self.now()).checked_sub(on_its_way)?;
        (!left.is_zero()).then(|| Instant::now() + left)
    }

    fn lock(&self) -> MutexGuard<'_, Terms> {
        self.terms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held for Grip {
    fn holds(&self) -> bool {
        !self.left().is_zero()
    }

    fn token(&self) -> Option<String> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_lapsed_during_a_suspension_does_not_hold() {
        let clock = Clock::chosen();
        let grip = Grip::new(clock.clone(), Lease::new(clock.now(), LENGTH), None);
        assert!(grip.holds());
        assert!(grip.until_heartbeat() > Duration::from_secs(19));
        clock.suspend(Duration::from_secs(59));
        assert!(grip.holds());
        assert!(grip.until_heartbeat().is_zero());
        clock.suspend(Duration::from_secs(2));
        assert!(!grip.holds());
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_is_not_freed_so_late_that_it_may_have_its_next_holder() {
        let clock = Clock::chosen();
        let grip = |used: u64, length: u64| {
            let began = clock.now().before(Duration::from_secs(used));
            let lease = Lease::new(began, Duration::from_secs(length));
            let until = Grip::new(clock.clone(), lease, None).frees_until();
            until.map(|until| (until - Instant::now()).as_secs_f64().round())
        };
        assert_eq!(grip(0, 6), Some(4.0));
        assert_eq!(grip(3, 6), Some(1.0));
        assert_eq!(grip(5, 6), None, "it may be heard after the lease");
        assert_eq!(grip(7, 6), None);
        assert_eq!(grip(270, 300), Some(10.0), "no command is on its way for longer");
        assert_eq!(grip(290, 300), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_newest_lease_and_token_count() {
        let clock = Clock::chosen();
        let grip = Grip::new(clock.clone(), Lease::new(clock.now(), LENGTH), Some("a".into()));
        clock.set_wall_forward(LENGTH);
        assert!(!grip.holds());
        grip.renew(Lease::new(clock.now(), LENGTH), Some("b".into()));
        assert!(grip.holds());
        assert_eq!(grip.token().as_deref(), Some("b"));
    }
}
