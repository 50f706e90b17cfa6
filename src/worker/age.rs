//! How much of its lease a pushed job may have used before it was read: jobs age unseen in buffers, the more so when this
//! process stood still.
//!
//! What comes out is never less than the true age, because a lease that is believed too long takes the job from its new
//! holder. Two bounds are known, and the smaller counts:
//!
//! - a job that is read now came after the stream was last seen empty;
//! - the engine stamps each job with a deadline by the broker's clock, which may be minutes away from ours. Jobs that came
//!   soon after the stream was empty tell how far, to within that time; others are measured against them.

use std::time::Duration;

use tokio::time::Instant;

use super::clock::Moment;

/// How long a comparison of the clocks is believed in: clocks are set, and drift.
const LATELY: Duration = Duration::from_secs(300);
/// Nothing there: that is believed of a moment only after this time in which we looked again. When this process goes on
/// after it stood still, we may look before the connection has read what came meanwhile.
const SETTLES: Duration = Duration::from_secs(1);

/// When the stream was empty, and how far the broker's clock is from ours.
pub(super) struct Ages {
    /// The stream had been read empty.
    empty: Moment,
    /// Nothing was there, as far as could be seen.
    none: Moment,
    /// Milliseconds that our clock is surely ahead of the broker's, at least; of this stretch of time and the one before.
    ahead: Option<i64>,
    before: Option<i64>,
    turned: Instant,
}

impl Ages {
    /// Nothing can have been pushed before this moment.
    pub(super) fn new(now: Moment) -> Self {
        Self {
            empty: now,
            none: now,
            ahead: None,
            before: None,
            turned: Instant::now(),
        }
    }

    /// The stream was looked at, and nothing was there.
    pub(super) fn saw_none(&mut self, now: Moment) {
        if now.since(&self.none) >= SETTLES {
            self.empty = std::mem::replace(&mut self.none, now);
        }
    }

    /// The most that a job which was read now can be old.
    pub(super) fn of(&mut self, now: &Moment, deadline: i64, lease: Duration) -> Duration {
        self.at(now.unix_millis(), now.since(&self.empty), deadline, lease)
    }

    fn at(&mut self, now: i64, since_empty: Duration, deadline: i64, lease: Duration) -> Duration {
        if self.turned.elapsed() > LATELY {
            self.before = self.ahead.take();
            self.turned = Instant::now();
        }
        // An engine that sends no deadline cannot be asked.
        if deadline <= 0 {
            return since_empty;
        }
        let raw = now.saturating_sub(deadline.saturating_sub(millis(lease)));
        let ahead = raw.saturating_sub(millis(since_empty));
        self.ahead = self.ahead.max(Some(ahead));
        let surely = self.ahead.max(self.before).unwrap_or(ahead);
        match u64::try_from(raw.saturating_sub(surely)) {
            Ok(age) => since_empty.min(Duration::from_millis(age)),
            // Younger than nothing: one of the clocks was set back.
            Err(_) => {
                (self.ahead, self.before) = (Some(ahead), None);
                since_empty
            }
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::Clock;

    const LEASE: Duration = Duration::from_secs(60);
    const DAY: i64 = 1_800_000_000_000;

    /// Ages as they are read, pushed and seen empty at these moments of our clock, with a broker whose clock is ahead.
    struct Watch {
        ages: Ages,
        skew: i64,
    }

    impl Watch {
        fn new(skew: i64) -> Self {
            let ages = Ages::new(Clock::system().now());
            Self { ages, skew }
        }

        fn age(&mut self, read: i64, pushed: i64, empty: i64) -> u128 {
            let since_empty = Duration::from_millis((read - empty).unsigned_abs());
            let deadline = DAY + pushed + self.skew + 60_000;
            self.ages.at(DAY + read, since_empty, deadline, LEASE).as_millis()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_minutes_away_makes_no_job_old() {
        for skew in [-600_000, 0, 600_000] {
            let mut watch = Watch::new(skew);
            assert_eq!(watch.age(1_005, 1_000, 900), 105, "no older than the emptiness");
            assert_eq!(watch.age(2_005, 2_000, 1_990), 15);
            // Behind it, all is known to within 10 ms.
            assert_eq!(watch.age(32_005, 3_000, 2_500), 29_015, "it lay in a buffer for 29 s");
            assert_eq!(watch.age(33_005, 33_000, 2_500), 15, "this one did not");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_job_after_a_standstill_is_not_believed_to_be_young() {
        let mut watch = Watch::new(600_000);
        // The process stood still for 18 s right after it had opened the stream; nothing was ever read before.
        assert_eq!(watch.age(18_000, 5_000, 0), 18_000);
        assert!(watch.age(18_001, 17_900, 0) >= 101);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_there_is_believed_only_when_it_was_seen_again() {
        let clock = Clock::chosen();
        let mut ages = Ages::new(clock.now());
        let age = |ages: &mut Ages| ages.of(&clock.now(), 0, LEASE).as_millis();
        tokio::time::advance(Duration::from_millis(1_500)).await;
        ages.saw_none(clock.now());
        assert_eq!(age(&mut ages), 1_500);
        tokio::time::advance(Duration::from_millis(1_500)).await;
        ages.saw_none(clock.now());
        assert_eq!(age(&mut ages), 1_500);
        // It stands still for 18 s, and looks before the connection has read.
        tokio::time::advance(Duration::from_secs(18)).await;
        ages.saw_none(clock.now());
        tokio::time::advance(Duration::from_millis(10)).await;
        ages.saw_none(clock.now());
        assert_eq!(age(&mut ages), 18_010);
    }

    #[tokio::test(start_paused = true)]
    async fn no_job_is_said_to_be_younger_than_it_is() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut watch = Watch::new(random.i64(-700_000..700_000));
            let (mut empty, mut now) = (0, 0);
            for _ in 0..50 {
                now += random.i64(1..5_000);
                if random.bool() {
                    empty = random.i64(empty..=now);
                }
                let pushed = random.i64(empty..=now);
                let age = watch.age(now, pushed, empty);
                assert!(age >= (now - pushed).unsigned_abs().into(), "seed {seed}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_was_set_is_noticed_or_believed_after_a_while() {
        let mut watch = Watch::new(0);
        assert_eq!(watch.age(1_000, 1_000, 990), 10);
        // Set back by 100 s: younger than nothing, so only the emptiness counts.
        watch.skew = 100_000;
        assert_eq!(watch.age(5_000, 4_000, 3_500), 1_500);
        // Set forward: too old for a while.
        watch.skew = -100_000;
        assert_eq!(watch.age(9_000, 9_000, 8_990), 10, "but not older than the emptiness");
        for _ in 0..2 {
            tokio::time::advance(LATELY + Duration::from_secs(1)).await;
            watch.age(9_000, 9_000, 8_990);
        }
        assert_eq!(watch.age(39_000, 38_000, 9_000), 1_010);
    }
}
