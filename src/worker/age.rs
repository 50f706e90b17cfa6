//! How much of its lease a pushed job has used before it was read: jobs age unseen in buffers.
//!
//! The engine stamps each job with a deadline by the broker's clock, which may be minutes away from ours. The age by the
//! two clocks is too large or too small by that difference, always the same; so the smallest age seen lately counts as
//! none.

use std::time::Duration;

use tokio::time::Instant;

use super::clock::Moment;

/// How long a smallest age is believed in: clocks are set, and drift.
const LATELY: Duration = Duration::from_secs(300);

/// The smallest ages of this stretch of time and the one before.
pub(super) struct Ages {
    least: i64,
    before: i64,
    turned: Instant,
}

impl Ages {
    pub(super) fn new() -> Self {
        Self {
            least: i64::MAX,
            before: i64::MAX,
            turned: Instant::now(),
        }
    }

    /// The age of a job that was read now.
    pub(super) fn of(&mut self, now: &Moment, deadline: i64, lease: Duration) -> Duration {
        self.at(now.unix_millis(), deadline, lease)
    }

    fn at(&mut self, now: i64, deadline: i64, lease: Duration) -> Duration {
        if self.turned.elapsed() > LATELY {
            self.before = std::mem::replace(&mut self.least, i64::MAX);
            self.turned = Instant::now();
        }
        // An engine that sends no deadline cannot be asked; its jobs count as fresh.
        if deadline <= 0 {
            return Duration::ZERO;
        }
        let raw = now.saturating_sub(deadline.saturating_sub(millis(lease)));
        self.least = self.least.min(raw);
        let age = raw.saturating_sub(self.least.min(self.before));
        Duration::from_millis(u64::try_from(age).unwrap_or(0))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_minutes_away_makes_no_job_old() {
        for skew in [-600_000, 0, 600_000] {
            let mut ages = Ages::new();
            let day = 1_800_000_000_000;
            let mut age = |read: i64, pushed: i64| ages.at(day + read, day + pushed + skew + 60_000, LEASE).as_millis();
            assert_eq!(age(1_005, 1_000), 0);
            assert_eq!(age(2_005, 2_000), 0);
            assert_eq!(age(32_005, 3_000), 29_000, "it lay in a buffer for 29 s");
            assert_eq!(age(33_005, 33_000), 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_was_set_is_believed_after_a_while() {
        let mut ages = Ages::new();
        assert_eq!(ages.at(0, 60_000, LEASE).as_millis(), 0);
        assert_eq!(ages.at(100_000, 60_000, LEASE).as_millis(), 100_000);
        for _ in 0..2 {
            tokio::time::advance(LATELY + Duration::from_secs(1)).await;
            ages.at(100_000, 60_000, LEASE);
        }
        assert_eq!(ages.at(100_000, 60_000, LEASE).as_millis(), 0);
    }
}
