//! The runs that one group of waits looks for: whose turn it is next, and what each wait was promised.
//!
//! Pure: the moment goes in, who is due comes out. A hundred thousand of them are the normal case, so an entry is small
//! and nothing here looks at all of them but [`Watches::expired`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::pace::Pauses;
use super::watcher::Nonce;
use crate::microsoft::dataverse::{Guid, Status};

/// One wait of one run; several may wait for the same.
pub(super) type Key = (Guid, u64);

/// One wait.
pub(super) struct Watch<L> {
    /// When it began in this process.
    pub(super) began: Instant,
    /// When it ends without an end of the run.
    pub(super) ceiling: Instant,
    /// The longest time in the queue.
    pub(super) max_queue_wait: Option<Duration>,
    /// The pauses between its looks.
    pub(super) pauses: Pauses,
    /// The last status that was seen.
    pub(super) last: Option<Status>,
    /// Since when no look found the row.
    pub(super) missing_since: Option<Instant>,
    /// Since when looking is refused.
    pub(super) refused_since: Option<Instant>,
    /// What a callback must bring.
    pub(super) nonce: Option<Nonce>,
    /// Who is told.
    pub(super) listener: L,
    due: Instant,
}

impl<L> Watch<L> {
    pub(super) fn new(
        now: Instant,
        ceiling: Duration,
        max_queue_wait: Option<Duration>,
        pauses: Pauses,
        to: L,
    ) -> Self {
        // A ceiling beyond what the clock can tell is none.
        let far = now + Duration::from_secs(365 * 86_400);
        Self {
            began: now,
            ceiling: now.checked_add(ceiling).unwrap_or(far).min(far),
            max_queue_wait,
            pauses,
            last: None,
            missing_since: None,
            refused_since: None,
            nonce: None,
            listener: to,
            due: now,
        }
    }
}

/// All waits of a group.
pub(super) struct Watches<L> {
    all: BTreeMap<Key, Watch<L>>,
    due: BTreeSet<(Instant, Key)>,
    /// Runs that somebody says have ended: looked at out of turn.
    urgent: BTreeSet<Guid>,
}

impl<L> Watches<L> {
    pub(super) fn new() -> Self {
        Self {
            all: BTreeMap::new(),
            due: BTreeSet::new(),
            urgent: BTreeSet::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn add(&mut self, key: Key, watch: Watch<L>) {
        self.due.insert((watch.due, key));
        self.all.insert(key, watch);
    }

    pub(super) fn remove(&mut self, key: &Key) -> Option<Watch<L>> {
        let watch = self.all.remove(key)?;
        self.due.remove(&(watch.due, *key));
        Some(watch)
    }

    /// Looks at this run out of turn; false if nobody waits for it.
    pub(super) fn hurry(&mut self, run: Guid) -> bool {
        let waited_for = self.of(run).next().is_some();
        if waited_for {
            self.urgent.insert(run);
        }
        waited_for
    }

    pub(super) fn is_hurried(&self) -> bool {
        !self.urgent.is_empty()
    }

    /// When somebody is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The runs to ask for, at most `most`: those out of turn first, then those that are due by `now`, then, to fill a
    /// query of `batch` that is sent anyway, those that would be due soonest. Each once.
    pub(super) fn round(&mut self, now: Instant, batch: usize, most: usize) -> Vec<Guid> {
        let mut runs: Vec<Guid> = Vec::new();
        while runs.len() < most
            && let Some(run) = self.urgent.pop_first()
        {
            runs.push(run);
        }
        let urgent = runs.len();
        let mut seen = BTreeSet::from_iter(runs.iter().copied());
        for (at, (run, _)) in &self.due {
            let room = !runs.len().is_multiple_of(batch) && urgent == 0;
            if runs.len() >= most || *at > now && !room {
                break;
            }
            if seen.insert(*run) {
                runs.push(*run);
            }
        }
        runs
    }

    pub(super) fn get_mut(&mut self, key: &Key) -> Option<&mut Watch<L>> {
        self.all.get_mut(key)
    }

    /// The waits for a run.
    pub(super) fn of(&self, run: Guid) -> impl Iterator<Item = Key> + '_ {
        self.all.range((run, 0)..=(run, u64::MAX)).map(|(key, _)| *key)
    }

    /// Sets when a wait is looked at next, but not after its ceiling.
    pub(super) fn schedule(&mut self, key: &Key, at: Instant) {
        if let Some(watch) = self.all.get_mut(key) {
            let at = at.min(watch.ceiling);
            self.due.remove(&(watch.due, *key));
            watch.due = at;
            self.due.insert((at, *key));
        }
    }

    /// The waits whose ceiling has come. Looks at all of them.
    pub(super) fn expired(&self, now: Instant) -> Vec<Key> {
        let over = self.all.iter().filter(|(_, watch)| watch.ceiling <= now);
        over.map(|(key, _)| *key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::Pace;

    fn run(number: u32) -> Guid {
        Guid::parse(&format!("{number:032x}")).unwrap()
    }

    fn watch(at: Instant, ceiling: u64) -> Watch<()> {
        Watch::new(at, Duration::from_secs(ceiling), None, Pace::default().pauses(), ())
    }

    #[tokio::test(start_paused = true)]
    async fn a_query_that_is_sent_anyway_is_filled_with_those_that_are_due_soonest() {
        let now = Instant::now();
        let mut watches = Watches::new();
        for number in 0..250 {
            watches.add((run(number), 0), watch(now, 1000));
            watches.schedule(&(run(number), 0), now + Duration::from_secs(number.into()));
        }
        assert_eq!(watches.round(now, 100, 1000).len(), 100, "one is due, 99 come along");
        let later = now + Duration::from_secs(120);
        assert_eq!(watches.round(later, 100, 1000).len(), 200);
        assert_eq!(
            watches.round(later, 100, 50).len(),
            50,
            "the rest waits for the next round"
        );
        assert!(
            watches.round(now - Duration::from_secs(1), 100, 1000).is_empty(),
            "nobody is due"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_out_of_turn_is_asked_for_at_once_and_alone() {
        let now = Instant::now();
        let mut watches = Watches::new();
        for number in 0..5 {
            watches.add((run(number), 0), watch(now, 1000));
            watches.schedule(&(run(number), 0), now + Duration::from_secs(60));
        }
        assert!(watches.hurry(run(3)));
        assert!(!watches.hurry(run(77)), "nobody waits for it");
        assert_eq!(watches.round(now, 100, 1000), [run(3)]);
        assert!(watches.round(now, 100, 1000).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_beyond_the_ceiling() {
        let now = Instant::now();
        let mut watches = Watches::new();
        watches.add((run(1), 0), watch(now, 10));
        watches.schedule(&(run(1), 0), now + Duration::from_secs(60));
        assert_eq!(watches.next_due(), Some(now + Duration::from_secs(10)));
        assert_eq!(watches.expired(now + Duration::from_secs(10)), [(run(1), 0)]);
        assert!(watches.remove(&(run(1), 0)).is_some());
        assert_eq!((watches.len(), watches.next_due()), (0, None));
    }
}
