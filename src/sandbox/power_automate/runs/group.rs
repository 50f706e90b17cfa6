//! Machine groups: runs queue by priority, then by time, and take the group's sessions.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::sandbox::power_automate::world::MachineGroup;

/// A run's relation to its group.
#[derive(Debug, Clone)]
pub(in crate::sandbox::power_automate) struct Seat {
    pub(in crate::sandbox::power_automate) name: Arc<str>,
    pub(in crate::sandbox::power_automate) high: bool,
}

/// A run's place in a queue: the least goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) low: bool,
    pub(super) at: Timestamp,
    pub(super) index: usize,
}

#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: HashMap<Arc<str>, Group>,
}

#[derive(Debug, Default)]
struct Group {
    online: bool,
    sessions: usize,
    running: HashSet<usize>,
    queue: BTreeSet<Place>,
}

impl Groups {
    pub(super) fn set(&mut self, group: &MachineGroup) {
        let known = self.groups.entry(Arc::from(group.name.as_str())).or_default();
        known.online = group.online;
        known.sessions = group.sessions as usize;
    }

    /// The seat of a run in the named group, if there is such a group.
    pub(super) fn join(&self, name: &str, high: bool) -> Option<Seat> {
        self.groups.get_key_value(name).map(|(name, _)| Seat {
            name: Arc::clone(name),
            high,
        })
    }

    pub(super) fn enqueue(&mut self, seat: &Seat, place: Place) {
        if let Some(group) = self.groups.get_mut(&seat.name) {
            group.queue.insert(place);
        }
    }

    /// Takes the next run that still waits, and a session for it; `None` when there is no room or nobody waits.
    pub(super) fn next(&mut self, name: &str, still_waits: impl Fn(usize) -> bool) -> Option<usize> {
        let group = self.groups.get_mut(name)?;
        if !group.online || group.running.len() >= group.sessions {
            return None;
        }
        while let Some(place) = group.queue.pop_first() {
            if still_waits(place.index) {
                group.running.insert(place.index);
                return Some(place.index);
            }
        }
        None
    }

    pub(super) fn release(&mut self, name: &str, index: usize) {
        if let Some(group) = self.groups.get_mut(name) {
            group.running.remove(&index);
        }
    }
}
