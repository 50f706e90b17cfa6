//! What time it is, for leases: time that this machine slept through counts, because the engine's clock went on.
//!
//! Timers stand still while a machine or container is suspended, so a process that wakes up may believe that its lease
//! still holds. The boot-time clock counts suspension, and so does the wall clock, which may also be set. A stretch of
//! time is the longest that any of them says: a lease that is given up too early costs a repetition, one that is held
//! too long takes the job from its new holder.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// A moment by every clock there is.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    timer: Instant,
    boot: Duration,
    wall: Duration,
}

impl Moment {
    /// How long after `earlier` this is, by the strictest clock.
    pub fn since(&self, earlier: &Moment) -> Duration {
        self.timer
            .saturating_duration_since(earlier.timer)
            .max(self.boot.saturating_sub(earlier.boot))
            .max(self.wall.saturating_sub(earlier.wall))
    }

    /// The moment this long before.
    #[must_use]
    pub fn before(&self, age: Duration) -> Moment {
        Moment {
            timer: self.timer.checked_sub(age).unwrap_or(self.timer),
            boot: self.boot.saturating_sub(age),
            wall: self.wall.saturating_sub(age),
        }
    }

    /// Milliseconds since 1970 by the wall clock.
    pub fn unix_millis(&self) -> i64 {
        i64::try_from(self.wall.as_millis()).unwrap_or(i64::MAX)
    }
}

/// Tells the time. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    shifted: Option<Arc<Shift>>,
}

/// What a chosen clock adds to the real ones, milliseconds.
#[derive(Debug, Default)]
struct Shift {
    boot: AtomicU64,
    wall: AtomicU64,
}

impl Clock {
    /// The clocks of this machine.
    pub fn system() -> Self {
        Self::default()
    }

    /// Clocks that can be moved on, for tests.
    pub fn chosen() -> Self {
        Self {
            shifted: Some(Arc::default()),
        }
    }

    /// As if the machine had been suspended for this long: a chosen clock only.
    pub fn suspend(&self, length: Duration) {
        self.shift(|shift| &shift.boot, length);
        self.shift(|shift| &shift.wall, length);
    }

    /// As if somebody had set the wall clock forward: a chosen clock only.
    pub fn set_wall_forward(&self, length: Duration) {
        self.shift(|shift| &shift.wall, length);
    }

    fn shift(&self, which: impl Fn(&Shift) -> &AtomicU64, length: Duration) {
        if let Some(shift) = &self.shifted {
            let milliseconds = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
            which(shift).fetch_add(milliseconds, Ordering::SeqCst);
        }
    }

    /// The time now.
    pub fn now(&self) -> Moment {
        let timer = Instant::now();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut now = Moment {
            timer,
            boot: boot_time().unwrap_or(wall),
            wall,
        };
        if let Some(shift) = &self.shifted {
            now.boot += Duration::from_millis(shift.boot.load(Ordering::SeqCst));
            now.wall += Duration::from_millis(shift.wall.load(Ordering::SeqCst));
        }
        now
    }

    /// Returns when the clocks have run away from the timers: after a suspension, or when the wall clock was set. Looks
    /// again each time after such a pause.
    pub async fn jumped(&self, pause: impl Fn() -> Duration) {
        const MUCH: Duration = Duration::from_millis(500);
        let mut before = self.now();
        loop {
            tokio::time::sleep(pause()).await;
            let now = self.now();
            let by_timer = now.timer.saturating_duration_since(before.timer);
            if now.since(&before).saturating_sub(by_timer) > MUCH {
                return;
            }
            before = now;
        }
    }
}

/// Time since the machine was started, suspension included; `None` where the system has no such clock.
fn boot_time() -> Option<Duration> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).ok()?;
        Some(Duration::new(seconds, u32::try_from(time.tv_nsec).ok()?))
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn suspension_counts_although_the_timers_stood_still() {
        let clock = Clock::chosen();
        let began = clock.now();
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(clock.now().since(&began).as_secs(), 10);
        clock.suspend(Duration::from_secs(60));
        assert_eq!(clock.now().since(&began).as_secs(), 60, "the longest of the three");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wall_clock_that_was_set_forward_is_believed_too() {
        let clock = Clock::chosen();
        let began = clock.now();
        clock.set_wall_forward(Duration::from_secs(60));
        assert_eq!(clock.now().since(&began).as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn a_jump_is_noticed_and_ordinary_time_is_not() {
        let clock = Clock::chosen();
        let quiet = tokio::time::timeout(Duration::from_secs(30), clock.jumped(|| Duration::from_secs(1))).await;
        assert!(quiet.is_err());
        let waiting = clock.clone();
        let noticed = tokio::spawn(async move { waiting.jumped(|| Duration::from_secs(1)).await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        clock.suspend(Duration::from_secs(5));
        tokio::time::timeout(Duration::from_secs(2), noticed)
            .await
            .unwrap()
            .unwrap();
    }

    #[test]
    fn the_boot_time_clock_is_there_and_goes_on() {
        if cfg!(target_os = "linux") {
            let first = boot_time().unwrap();
            std::thread::sleep(Duration::from_millis(5));
            assert!(boot_time().unwrap() > first);
        }
    }
}
