//! How much of its lease a pushed job may have used before it was read: jobs age unseen in buffers, the more so when this
//! process stood still.
//!
//! The engine stamps each job with a deadline by the broker's clock, which may be minutes away from ours. A job that is read
//! now came after the stream was last seen empty, so each job tells how far, to within that time; the others are measured
//! against the one that tells it best. Two ages come out: how old the job is at least, and at most. A lease counts from the
//! latter, because one that is believed too long takes the job from its new holder.

use std::time::Duration;

use tokio::time::Instant;

use super::clock::Moment;

/// How long a comparison of the clocks is believed in: clocks are set, and drift.
const LATELY: Duration = Duration::from_secs(300);
/// Nothing there: that is believed of a moment only after this time in which we looked again. When this process goes on
/// after it stood still, we may look before the connection has read what came meanwhile.
const SETTLES: Duration = Duration::from_secs(1);

/// How old a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Age {
    pub(super) least: Duration,
    pub(super) most: Duration,
}

/// How far our clock is ahead of the broker's: at least `ahead`, and `blur` more at most, milliseconds.
#[derive(Clone, Copy)]
struct Ahead {
    ahead: i64,
    blur: i64,
}

/// When the stream was empty, and how far the broker's clock is from ours.
pub(super) struct Ages {
    /// The stream had been read empty.
    empty: Moment,
    /// Nothing was there, as far as could be seen.
    none: Moment,
    /// What is believed, and what this stretch of time says for the next.
    known: Option<Ahead>,
    next: Option<Ahead>,
    turned: Instant,
}

impl Ages {
    /// Nothing can have been pushed before this moment.
    pub(super) fn new(now: Moment) -> Self {
        Self {
            empty: now,
            none: now,
            known: None,
            next: None,
            turned: Instant::now(),
        }
    }

    /// The stream was looked at, and nothing was there.
    pub(super) fn saw_none(&mut self, now: Moment) {
        if now.since(&self.none) >= SETTLES {
            self.empty = std::mem::replace(&mut self.none, now);
        }
    }

    /// The age of a job that was read now.
    pub(super) fn of(&mut self, now: &Moment, deadline: i64, lease: Duration) -> Age {
        self.at(now.unix_millis(), now.since(&self.empty), deadline, lease)
    }

    fn at(&mut self, now: i64, since_empty: Duration, deadline: i64, lease: Duration) -> Age {
        if self.turned.elapsed() > LATELY {
            self.known = self.next.take();
            self.turned = Instant::now();
        }
        let alone = Age {
            least: Duration::ZERO,
            most: since_empty,
        };
        // An engine that sends no deadline cannot be asked.
        if deadline <= 0 {
            return alone;
        }
        let raw = now.saturating_sub(deadline.saturating_sub(millis(lease)));
        let said = Ahead {
            ahead: raw.saturating_sub(millis(since_empty)),
            blur: millis(since_empty),
        };
        self.next = Some(self.next.filter(|best| best.ahead >= said.ahead).unwrap_or(said));
        let known = match self.known {
            // More than what is known allows: the job was held up on its way, or a clock was set. That is believed only
            // when a whole stretch of time has said so.
            Some(known) if said.ahead <= known.ahead || said.ahead > known.ahead.saturating_add(known.blur) => known,
            _ => said,
        };
        self.known = Some(known);
        match u64::try_from(raw.saturating_sub(known.ahead)) {
            Ok(most) => Age {
                least: Duration::from_millis(most.saturating_sub(known.blur.unsigned_abs())),
                most: Duration::from_millis(most),
            },
            // Younger than nothing: one of the clocks was set back.
            Err(_) => {
                (self.known, self.next) = (Some(said), Some(said));
                alone
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
            self.ages.at(DAY + read, since_empty, deadline, LEASE).most.as_millis()
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
        let age = |ages: &mut Ages| ages.of(&clock.now(), 0, LEASE).most.as_millis();
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
    async fn a_job_that_was_held_up_on_its_way_is_old_although_the_stream_was_empty_just_before() {
        let mut watch = Watch::new(600_000);
        assert_eq!(watch.age(1_000, 990, 900), 100);
        assert_eq!(watch.age(40_000, 10_000, 39_000), 30_090);
        assert_eq!(watch.age(41_000, 40_990, 40_900), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_known_of_an_age_makes_no_job_old() {
        let mut ages = Ages::new(Clock::system().now());
        let second = Duration::from_secs(1);
        let of = |ages: &mut Ages, age: i64| {
            let age = ages.at(DAY, second, DAY - age + 60_000, LEASE);
            (age.least.as_millis(), age.most.as_millis())
        };
        assert_eq!(of(&mut ages, 20), (0, 1_000));
        assert_eq!(of(&mut ages, 30_020), (30_000, 31_000));
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
        assert_eq!(watch.age(9_000, 9_000, 8_990), 200_500);
        for _ in 0..2 {
            tokio::time::advance(LATELY + Duration::from_secs(1)).await;
            watch.age(9_000, 9_000, 8_990);
        }
        assert_eq!(watch.age(39_000, 38_000, 9_000), 1_010);
    }
}
