//! The simulator's clock: it follows the machine's time, may run faster, and can be pushed forward.
//!
//! Runs, token lifetimes, throttling windows and the `Date` header go by this clock. What concerns the client's own
//! waiting (injected latency, pauses between callback attempts) goes by real time.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp, Unit};
use tokio::time::Instant;

/// A virtual clock. Reading it is cheap; advancing it is instant.
#[derive(Debug)]
pub struct Clock {
    reading: Mutex<Reading>,
}

#[derive(Debug, Clone, Copy)]
struct Reading {
    /// What the clock showed at `taken`.
    shown: Timestamp,
    taken: Instant,
    speed: f64,
}

impl Reading {
    fn at(self, instant: Instant) -> Timestamp {
        let elapsed = instant.saturating_duration_since(self.taken).mul_f64(self.speed);
        later(self.shown, elapsed)
    }
}

impl Clock {
    /// A clock that shows `start` now and runs `speed` times as fast as the machine's.
    pub fn starting(start: Timestamp, speed: f64) -> Self {
        Self {
            reading: Mutex::new(Reading {
                shown: start,
                taken: Instant::now(),
                speed,
            }),
        }
    }

    /// What the clock shows.
    pub fn now(&self) -> Timestamp {
        self.locked().at(Instant::now())
    }

    /// Pushes the clock forward and tells what it shows then.
    pub fn advance(&self, by: Duration) -> Timestamp {
        let mut reading = self.locked();
        let taken = Instant::now();
        let shown = later(reading.at(taken), by);
        *reading = Reading {
            shown,
            taken,
            speed: reading.speed,
        };
        shown
    }

    /// Makes the clock show `start` now, earlier or later than it did.
    pub fn restart(&self, start: Timestamp) {
        let mut reading = self.locked();
        *reading = Reading {
            shown: start,
            taken: Instant::now(),
            speed: reading.speed,
        };
    }

    /// The real instant at which the clock will show `time`, unless somebody advances it before.
    pub fn instant_of(&self, time: Timestamp) -> Instant {
        let reading = *self.locked();
        let ahead = Duration::try_from(time.duration_since(reading.shown)).unwrap_or(Duration::ZERO);
        // A day is long enough for a sleeper that looks again afterwards, and keeps the division in range.
        let real = ahead.as_secs_f64() / reading.speed;
        reading.taken + Duration::from_secs_f64(real.min(86_400.0))
    }

    fn locked(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `time` plus `duration`, or the last representable time.
pub fn later(time: Timestamp, duration: Duration) -> Timestamp {
    SignedDuration::try_from(duration)
        .ok()
        .and_then(|duration| time.checked_add(duration).ok())
        .unwrap_or(Timestamp::MAX)
}

/// How long it is from `now` to `time`, in whole seconds rounded up, at least one.
pub fn whole_seconds_until(now: Timestamp, time: Timestamp) -> u64 {
    let left = Duration::try_from(time.duration_since(now)).unwrap_or(Duration::ZERO);
    (left.as_secs() + u64::from(left.subsec_nanos() > 0)).max(1)
}

/// `time` as Dataverse prints a date: whole seconds, `Z`.
pub fn printed(time: Timestamp) -> String {
    floor(time).to_string()
}

/// `time` without its fraction of a second: the precision of Dataverse's date columns.
pub fn floor(time: Timestamp) -> Timestamp {
    time.round(
        jiff::TimestampRound::new()
            .smallest(Unit::Second)
            .mode(jiff::RoundMode::Floor),
    )
    .unwrap_or(time)
}

/// `time` as HTTP prints a date, e.g. `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn http_date(time: Timestamp) -> String {
    jiff::fmt::rfc2822::DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&floor(time))
        .unwrap_or_else(|_| "Thu, 01 Jan 1970 00:00:00 GMT".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Timestamp {
        "2026-03-01T08:00:00.7Z".parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_follows_real_time_times_its_speed() {
        let clock = Clock::starting(start(), 10.0);
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(clock.now(), "2026-03-01T08:01:00.7Z".parse().unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn advancing_shows_at_once_and_sets_the_real_instant_of_an_event() {
        let clock = Clock::starting(start(), 2.0);
        let event: Timestamp = "2026-03-01T09:00:10.7Z".parse().unwrap();
        assert_eq!(
            clock.advance(Duration::from_secs(3600)),
            "2026-03-01T09:00:00.7Z".parse().unwrap()
        );
        assert_eq!(clock.instant_of(event), Instant::now() + Duration::from_secs(5));
    }

    #[test]
    fn dates_are_printed_with_whole_seconds() {
        assert_eq!(printed(start()), "2026-03-01T08:00:00Z");
        assert_eq!(http_date(start()), "Sun, 01 Mar 2026 08:00:00 GMT");
    }
}
