//! How long to pause before looking again: short at first, longer and longer, never in step with others, and never
//! shorter than the server asks.

use std::time::Duration;

/// How pauses grow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// The first pause, and the pause after something changed.
    pub first: Duration,
    /// Each pause is so many times the one before.
    pub factor: f64,
    /// No pause of our own is longer.
    pub longest: Duration,
    /// Pauses vary by this part of themselves in either direction, 0 to 1.
    pub jitter: f64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            factor: 1.5,
            longest: Duration::from_secs(30),
            jitter: 0.2,
        }
    }
}

impl Pace {
    /// The same pace with another longest pause.
    #[must_use]
    pub fn with_longest(mut self, longest: Duration) -> Self {
        self.longest = longest;
        self.first = self.first.min(longest);
        self
    }

    /// Pauses from the first on.
    pub fn pauses(self) -> Pauses {
        Pauses {
            pace: self,
            next: self.first,
        }
    }
}

/// The pauses of one wait.
#[derive(Clone, Debug)]
pub struct Pauses {
    pace: Pace,
    next: Duration,
}

impl Pauses {
    /// The next pause. `asked` is what the server asked for: the pause is not shorter, and varies upwards only.
    pub fn next(&mut self, asked: Option<Duration>) -> Duration {
        let own = self.next;
        let grown = own.mul_f64(self.pace.factor.max(1.0));
        self.next = grown.min(self.pace.longest.max(self.pace.first));
        let jitter = self.pace.jitter.clamp(0.0, 1.0);
        let own = own.mul_f64(1.0 - jitter + 2.0 * jitter * fastrand::f64());
        match asked {
            Some(asked) => own.max(asked.saturating_add((asked / 10).mul_f64(fastrand::f64()))),
            None => own,
        }
    }

    /// Something changed: short pauses again.
    pub fn restart(&mut self) {
        self.next = self.pace.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(jitter: f64) -> Pace {
        Pace {
            first: Duration::from_secs(1),
            factor: 2.0,
            longest: Duration::from_secs(5),
            jitter,
        }
    }

    #[test]
    fn pauses_grow_up_to_the_longest_and_start_again_after_a_change() {
        let mut pauses = pace(0.0).pauses();
        let seconds: Vec<u64> = (0..5).map(|_| pauses.next(None).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 5, 5]);
        pauses.restart();
        assert_eq!(pauses.next(None).as_secs(), 1);
    }

    #[test]
    fn the_server_is_never_asked_earlier_than_it_wants() {
        let mut pauses = pace(0.5).pauses();
        let asked = Duration::from_secs(17);
        for _ in 0..200 {
            let pause = pauses.next(Some(asked));
            assert!(pause >= asked && pause <= asked.mul_f64(1.1), "{pause:?}");
        }
    }

    #[test]
    fn pauses_are_not_in_step() {
        let all: Vec<Duration> = (0..50).map(|_| pace(0.2).pauses().next(None)).collect();
        assert!(all.iter().all(|pause| (800..=1200).contains(&pause.as_millis())));
        assert!(all.windows(2).any(|two| two[0] != two[1]));
    }

    #[test]
    fn a_shorter_longest_pause_shortens_the_first_too() {
        let mut pauses = pace(0.0).with_longest(Duration::from_millis(300)).pauses();
        assert_eq!(pauses.next(None), Duration::from_millis(300));
        assert_eq!(pauses.next(None), Duration::from_millis(300));
    }
}
