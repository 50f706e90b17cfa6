//! The life of runs: starts, cancellations and the clock go in, rows and ended runs come out.
//!
//! Nothing runs in the background. Every start plans its next event; [`Runs::settle`] applies what is due, in the
//! order of time, whenever somebody looks. Advancing the clock by hours is therefore instant, and a hundred thousand
//! waiting runs cost nothing but their rows.

mod group;
mod run;

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::clock::{floor, later};
use super::ids::Guid;
use super::status::Status;
use super::world::{MachineGroup, RunError, Script, Span};
use group::{Groups, Place};
pub use run::SessionRecord;
pub(super) use run::{Mode, Run};

/// What is known of a run before it starts.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) run: Run,
    pub(super) group: Option<String>,
    pub(super) high_priority: bool,
    /// How long it shows `NotSpecified`.
    pub(super) not_specified: Duration,
    /// The longest time in the queue.
    pub(super) queue_wait: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// Shows `Waiting` instead of `NotSpecified`.
    Accepted,
    /// Takes its place in the machine group's queue.
    Queued,
    /// Waited too long.
    QueueExpired,
    /// The script ends, or its time is up.
    Ended,
    /// The cancellation takes effect.
    Cancelled,
}

/// All runs of the environment.
#[derive(Debug, Default)]
pub(super) struct Runs {
    rows: Vec<Run>,
    by_id: HashMap<Guid, usize>,
    /// Second of the last change, and the row.
    changed: BTreeSet<(i64, usize)>,
    events: BinaryHeap<Reverse<(Timestamp, u64, usize, Event)>>,
    planned: u64,
    groups: Groups,
    /// When each connection's runs of the last minute were started.
    starts: HashMap<String, VecDeque<Timestamp>>,
    /// Runs of each flow.
    counts: HashMap<Guid, usize>,
    /// The script of each flow's last run.
    scripts: HashMap<Guid, Arc<Script>>,
    /// Runs that are not over and have a callback URL.
    awaited: usize,
    /// Runs that ended and have a callback to be sent.
    ended: VecDeque<usize>,
    versions: u64,
}

const MINUTE: Duration = Duration::from_secs(60);

impl Runs {
    pub(super) fn with_groups(groups: &[MachineGroup]) -> Self {
        let mut runs = Self::default();
        groups.iter().for_each(|group| runs.groups.set(group));
        runs
    }

    /// Adds a machine group or changes one; what can start now starts.
    pub(super) fn set_group(&mut self, group: &MachineGroup, now: Timestamp) {
        self.settle(now);
        self.groups.set(group);
        self.dispatch(&group.name, now);
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// How many runs of a flow were started.
    pub(super) fn count_of(&self, workflow: Guid) -> usize {
        self.counts.get(&workflow).copied().unwrap_or(0)
    }

    /// The script, shared with the flow's run before when it is the same: many runs have one script.
    pub(super) fn shared(&mut self, workflow: Guid, script: Script) -> Arc<Script> {
        match self.scripts.get(&workflow) {
            Some(known) if **known == script => Arc::clone(known),
            _ => {
                let new = Arc::new(script);
                self.scripts.insert(workflow, Arc::clone(&new));
                new
            }
        }
    }

    pub(super) fn get(&self, id: Guid) -> Option<&Run> {
        self.by_id.get(&id).map(|index| &self.rows[*index])
    }

    pub(super) fn all(&self) -> &[Run] {
        &self.rows
    }

    /// The runs that changed in these seconds, in no order of use.
    pub(super) fn changed_in(&self, seconds: RangeInclusive<i64>) -> impl Iterator<Item = &Run> {
        let range = (*seconds.start(), 0)..=(*seconds.end(), usize::MAX);
        self.changed.range(range).map(|(_, index)| &self.rows[*index])
    }

    /// The runs created at or after `time`, in the order of creation.
    pub(super) fn created_since(&self, time: Timestamp) -> &[Run] {
        &self.rows[self.rows.partition_point(|run| floor(run.created) < time)..]
    }

    /// Takes one of the connection's starts of this minute.
    ///
    /// # Errors
    /// When none is left: the moment at which one will be.
    pub(super) fn take_start(&mut self, connection: &str, limit: u32, now: Timestamp) -> Result<(), Timestamp> {
        let starts = self.starts.entry(connection.to_owned()).or_default();
        while starts.front().is_some_and(|at| later(*at, MINUTE) <= now) {
            starts.pop_front();
        }
        if starts.len() >= limit as usize {
            return Err(starts.front().map_or(now, |at| later(*at, MINUTE)));
        }
        starts.push_back(now);
        Ok(())
    }

    /// Adds a run and plans its life.
    pub(super) fn start(&mut self, start: Start, now: Timestamp) {
        self.settle(now);
        let Start {
            mut run,
            group,
            high_priority,
            not_specified,
            queue_wait,
        } = start;
        let index = self.rows.len();
        run.place = index as u64 + 1;
        run.group = group.and_then(|name| self.groups.join(&name, high_priority));
        run.status = if not_specified.is_zero() {
            Status::Waiting
        } else {
            Status::NotSpecified
        };
        let id = run.id;
        *self.counts.entry(run.workflow).or_default() += 1;
        self.awaited += usize::from(run.callback_url.is_some());
        let queued = run.script.waiting.get().max(not_specified);
        self.rows.push(run);
        self.by_id.insert(id, index);
        self.touch(index, now);
        if !not_specified.is_zero() {
            self.plan(later(now, not_specified), index, Event::Accepted);
        }
        self.plan(later(now, queued), index, Event::Queued);
        self.plan(later(now, queue_wait), index, Event::QueueExpired);
        self.settle(now);
    }

    /// Asks for the run's end. `None` when there is no such run, `false` when it is over already.
    pub(super) fn cancel(&mut self, id: Guid, takes: Span, now: Timestamp) -> Option<bool> {
        self.settle(now);
        let index = *self.by_id.get(&id)?;
        if self.rows[index].status.is_final() {
            return Some(false);
        }
        self.plan(later(now, takes.get()), index, Event::Cancelled);
        self.settle(now);
        Some(true)
    }

    /// Ends a run at once with its script's result.
    pub(super) fn finish_now(&mut self, id: Guid, now: Timestamp) {
        self.settle(now);
        if let Some(&index) = self.by_id.get(&id)
            && !self.rows[index].status.is_final()
        {
            self.begin(index, now);
            self.end_script(index, now);
        }
    }

    /// Applies everything that is due, in the order of time.
    pub(super) fn settle(&mut self, now: Timestamp) {
        while let Some(Reverse((at, _, index, event))) = self.events.peek().copied() {
            if at > now {
                break;
            }
            self.events.pop();
            self.apply(at, index, event);
        }
    }

    /// When something happens next that a callback may depend on. Otherwise nobody needs to be there when it happens.
    pub(super) fn next_event(&self) -> Option<Timestamp> {
        let Reverse((at, ..)) = self.events.peek().filter(|_| self.awaited > 0)?;
        Some(*at)
    }

    /// Whether a callback will follow from any run.
    pub(super) fn has_callbacks(&self) -> bool {
        self.awaited > 0 || !self.ended.is_empty()
    }

    /// The next ended run that has a callback URL, once.
    pub(super) fn next_ended(&mut self) -> Option<&Run> {
        self.ended.pop_front().map(|index| &self.rows[index])
    }

    fn apply(&mut self, at: Timestamp, index: usize, event: Event) {
        let status = self.rows[index].status;
        let in_queue = matches!(status, Status::NotSpecified | Status::Waiting);
        match event {
            Event::Accepted if status == Status::NotSpecified => {
                self.rows[index].status = Status::Waiting;
                self.touch(index, at);
            }
            Event::Queued if in_queue => match self.rows[index].group.clone() {
                None => self.begin(index, at),
                Some(seat) => {
                    self.groups.enqueue(
                        &seat,
                        Place {
                            low: !seat.high,
                            at,
                            index,
                        },
                    );
                    self.dispatch(&seat.name, at);
                }
            },
            Event::QueueExpired if in_queue => self.end(index, at, Status::Failed, Some(queue_error())),
            Event::Ended if status == Status::Running => self.end_script(index, at),
            Event::Cancelled if !status.is_final() => self.end(index, at, Status::Cancelled, None),
            _ => {}
        }
    }

    /// Starts waiting runs while the group has room.
    fn dispatch(&mut self, group: &str, at: Timestamp) {
        while let Some(index) = self.groups.next(group, |index| {
            matches!(self.rows[index].status, Status::NotSpecified | Status::Waiting)
        }) {
            self.begin(index, at);
        }
    }

    fn begin(&mut self, index: usize, at: Timestamp) {
        let run = &mut self.rows[index];
        if run.status == Status::Running {
            return;
        }
        run.status = Status::Running;
        run.started = Some(at);
        let lasts = run.script.running.get().min(run.timeout);
        self.touch(index, at);
        self.plan(later(at, lasts), index, Event::Ended);
    }

    fn end_script(&mut self, index: usize, at: Timestamp) {
        let run = &self.rows[index];
        if run.script.running.get() > run.timeout {
            self.end(index, at, Status::TimedOut, Some(timeout_error(run.timeout)));
        } else {
            let error = run.script.error.clone().map(Arc::new);
            self.end(index, at, run.script.ends, error);
        }
    }

    fn end(&mut self, index: usize, at: Timestamp, status: Status, error: Option<Arc<RunError>>) {
        let run = &mut self.rows[index];
        let ran = run.status == Status::Running;
        run.status = status;
        run.completed = Some(at);
        run.error = error;
        if run.callback_url.is_some() {
            self.awaited -= 1;
            self.ended.push_back(index);
        }
        let seat = run.group.clone();
        self.touch(index, at);
        if let Some(seat) = seat
            && ran
        {
            self.groups.release(&seat.name, index);
            self.dispatch(&seat.name, at);
        }
    }

    fn plan(&mut self, at: Timestamp, index: usize, event: Event) {
        self.planned += 1;
        self.events.push(Reverse((at, self.planned, index, event)));
    }

    fn touch(&mut self, index: usize, at: Timestamp) {
        self.versions += 1;
        let run = &mut self.rows[index];
        self.changed.remove(&(run.modified.as_second(), index));
        run.modified = floor(at);
        run.version = 1_000_000 + self.versions;
        self.changed.insert((run.modified.as_second(), index));
    }
}

fn queue_error() -> Arc<RunError> {
    Arc::new(RunError {
        code: "NoCandidateMachine".to_owned(),
        message: "No machine able to run the desktop flow has been found before the queue wait time was exceeded."
            .to_owned(),
        details: None,
    })
}

fn timeout_error(timeout: Duration) -> Arc<RunError> {
    Arc::new(RunError {
        code: "DesktopFlowsActionTimeout".to_owned(),
        message: format!(
            "The desktop flow did not end within its timeout of {} seconds.",
            timeout.as_secs()
        ),
        details: None,
    })
}

#[cfg(test)]
mod tests;
