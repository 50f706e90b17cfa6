//! When job types without jobs ask for them: all of one worker together, so that a worker at rest wakes once for all of
//! them; workers that started together drift apart.

use std::time::Duration;

use tokio::time::Instant;

/// The part of the interval by which a beat may be early or late.
const JITTER: f64 = 0.05;

/// The beats of one worker.
#[derive(Clone, Copy)]
pub(super) struct Beats {
    origin: Instant,
    seed: u64,
}

impl Beats {
    pub(super) fn new() -> Self {
        Self {
            origin: Instant::now(),
            seed: fastrand::u64(..),
        }
    }

    /// The first beat that is half an interval away or more.
    pub(super) fn next(&self, now: Instant, interval: Duration) -> Instant {
        let interval = interval.max(Duration::from_millis(1));
        let from = now + interval / 2;
        let passed = from.saturating_duration_since(self.origin).as_nanos() / interval.as_nanos();
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        let beats = (0..3).map(|more| self.beat(passed.saturating_add(more), interval));
        beats.into_iter().find(|beat| *beat >= from).unwrap_or(from)
    }

    /// The beat with this number; each has its own jitter, the same for whoever asks.
    fn beat(&self, number: u32, interval: Duration) -> Instant {
        let jitter = fastrand::Rng::with_seed(self.seed ^ u64::from(number)).f64() * 2.0 * JITTER;
        self.origin + interval.saturating_mul(number) + interval.mul_f64(jitter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(2);

    #[tokio::test(start_paused = true)]
    async fn who_asks_at_about_the_same_time_gets_the_same_beat() {
        let beats = Beats::new();
        let mut at = Instant::now();
        for _ in 0..1_000 {
            let next = beats.next(at, INTERVAL);
            let step = next.duration_since(at).as_secs_f64();
            assert!((1.0..=3.2).contains(&step), "{step}");
            // Answers come a few milliseconds after the question, not at once.
            assert_eq!(
                beats.next(next + Duration::from_millis(3), INTERVAL),
                beats.next(next, INTERVAL)
            );
            at = next;
        }
        let passed = at.duration_since(beats.origin).as_secs_f64();
        assert!((1_999.0..2_003.0).contains(&passed), "none is left out: {passed}");
    }

    #[tokio::test(start_paused = true)]
    async fn two_workers_that_start_together_do_not_ask_together() {
        let (one, other) = (Beats::new(), Beats::new());
        let mut at = Instant::now();
        let mut together = 0;
        for _ in 0..100 {
            let (first, second) = (one.next(at, INTERVAL), other.next(at, INTERVAL));
            let apart = first.max(second).duration_since(first.min(second));
            together += u32::from(apart < Duration::from_millis(5));
            at = first;
        }
        assert!(together < 20, "{together} of 100");
    }
}
