//! How often Dataverse may be asked: a bucket that fills at a steady rate, and is emptied by one token a query.

use std::time::Duration;

use tokio::time::Instant;

/// A share of what a server lets one user ask.
#[derive(Debug)]
pub struct Budget {
    per_second: f64,
    burst: f64,
    left: f64,
    counted: Instant,
}

impl Budget {
    /// A full bucket: `per_second` queries a second on average, `burst` at once at most.
    pub fn new(per_second: f64, burst: f64) -> Self {
        Self {
            per_second: per_second.max(0.001),
            burst: burst.max(1.0),
            left: burst.max(1.0),
            counted: Instant::now(),
        }
    }

    /// Takes a token. `None`: taken. Else how long until there will be one.
    pub fn take(&mut self) -> Option<Duration> {
        let now = Instant::now();
        let grown = now.duration_since(self.counted).as_secs_f64() * self.per_second;
        self.left = (self.left + grown).min(self.burst);
        self.counted = now;
        if self.left >= 1.0 {
            self.left -= 1.0;
            return None;
        }
        Some(Duration::from_secs_f64((1.0 - self.left) / self.per_second).max(Duration::from_millis(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_followed_by_the_steady_rate() {
        let mut budget = Budget::new(10.0, 5.0);
        let began = Instant::now();
        let mut taken = 0;
        while began.elapsed() < Duration::from_secs(30) {
            match budget.take() {
                None => taken += 1,
                Some(pause) => tokio::time::sleep(pause).await,
            }
        }
        assert!((300..=306).contains(&taken), "{taken}");
    }
}
