//! What is due when: one ordered index for the whole machine, so that its driver sleeps until the first entry.

use std::collections::BTreeMap;

/// Milliseconds since 1970, by the engine's clock.
pub type Millis = i64;

/// Names an entry, so that it can be cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerId(Millis, u64);

/// Entries by the time at which they are due, then in the order in which they were made.
#[derive(Debug)]
pub struct Timers<T> {
    entries: BTreeMap<TimerId, T>,
    made: u64,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            made: 0,
        }
    }
}

impl<T> Timers<T> {
    /// Adds an entry.
    pub fn add(&mut self, due: Millis, entry: T) -> TimerId {
        self.made += 1;
        let id = TimerId(due, self.made);
        self.entries.insert(id, entry);
        id
    }

    /// Removes an entry that is not due any more; one that already was is not there, which is fine.
    pub fn cancel(&mut self, id: TimerId) {
        self.entries.remove(&id);
    }

    /// When the first entry is due.
    pub fn next(&self) -> Option<Millis> {
        self.entries.first_key_value().map(|(id, _)| id.0)
    }

    /// Takes the first entry if it is due.
    pub fn pop_due(&mut self, now: Millis) -> Option<T> {
        let first = self.entries.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }
}

#[cfg(test)]
mod tests {
    use super::Timers;

    #[test]
    fn entries_come_out_by_time_and_then_in_the_order_they_were_made() {
        let mut timers = Timers::default();
        timers.add(20, "late");
        timers.add(10, "first");
        timers.add(10, "second");
        assert_eq!(timers.next(), Some(10));
        assert_eq!(timers.pop_due(9), None);
        assert_eq!(timers.pop_due(10), Some("first"));
        assert_eq!(timers.pop_due(10), Some("second"));
        assert_eq!(timers.pop_due(10), None);
    }

    #[test]
    fn a_cancelled_entry_never_comes_out() {
        let mut timers = Timers::default();
        let entry = timers.add(10, "cancelled");
        timers.cancel(entry);
        assert_eq!(timers.next(), None);
        assert_eq!(timers.pop_due(100), None);
    }
}
