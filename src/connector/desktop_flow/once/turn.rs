//! A start waits for its turn, asleep where there is a place for that: no permit, no retry, and nothing sent meanwhile.
//!
//! In goes leave to start ([`Ticket`]), out comes a [`Turn`]. A job that sleeps is called again from the beginning when it
//! is its turn, and finds its ticket among the news: what was found out before is not asked again.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::{Started, Starter, Ticket, Wanted};
use crate::connector::abandoned;
use crate::connector::desktop_flow::parked::asleep;
use crate::connector::{News, Sleep, Sleeper, Wake};
use crate::job::Job;
use crate::microsoft::dataverse::Guid;
use crate::microsoft::dataverse::sessions::FlowSession;
use crate::outcome::JobError;
use crate::progress::Step;
use crate::runs::journal::{Fate, is_ours};
use crate::runs::turns::{Asked, Connection, InLine, Place, Turn, Turns};
use crate::runs::watcher::{Listener, Nonce, Waiting};
use crate::runs::{Bounds, Ended, Run, WaitError, Watcher};

/// Longer than any run goes on: six hours in the queue, a day of script.
const LONGEST_RUN: Duration = Duration::from_secs(31 * 3600);
/// Variables that each job of a task has for itself.
const OWN: [&str; 4] = ["inputs", "runInputs", "callbackUrl", "body"];

/// What woke a job that waited before its start.
struct Called {
    ticket: Ticket,
    /// `None`: it has to ask for its turn again.
    turn: Option<Turn>,
}

impl Ticket {
    /// The ticket of a job that was woken because it may go on with its start.
    ///
    /// # Errors
    /// The news themselves, if they are others.
    pub fn of(news: News) -> Result<Self, News> {
        let called = news.downcast::<Called>()?;
        Ok(Self {
            turn: called.turn,
            ..called.ticket
        })
    }
}

impl Starter<'_> {
    /// Waits for the start's turn.
    pub(super) async fn turn(&self, ticket: &mut Ticket, wanted: &Wanted) -> Result<Turn, JobError> {
        if let Some(turn) = ticket.turn.take() {
            return Ok(turn);
        }
        let turns = &self.once.turns;
        let asked = Asked {
            place: self.place(&wanted.request.connection_name, wanted.exclusive),
            flow: wanted.flow,
            flow_name: wanted.flow_name.as_deref().map(Arc::from),
        };
        let blocked = match turns.now(&asked) {
            Ok(turn) => return Ok(turn),
            Err(blocked) => blocked,
        };
        let reason = blocked.label();
        tracing::info!(
            job = self.call.job.key,
            flow = %wanted.flow,
            connection = wanted.request.connection_name,
            reason,
            "the start waits for its turn"
        );
        self.report(Step::StartWaits { reason });
        let until = Until::Turn(turns.clone(), asked.clone());
        if let Some(asleep) = self.falls_asleep(until, ticket) {
            return Err(asleep);
        }
        tokio::select! {
            biased;
            () = self.call.abandoned.cancelled() => Err(abandoned()),
            turn = turns.wait(&asked) => Ok(turn),
        }
    }

    /// Has the job sleep until then, if there is a place for it; gives the connector's answer.
    pub(super) fn falls_asleep(&self, until: Until, ticket: &Ticket) -> Option<JobError> {
        let variables = self.call.job.variables().ok()?;
        if !self.call.place.park() {
            return None;
        }
        let ticket = Ticket::new(ticket.attempt, ticket.doubtful, ticket.decided);
        let (own, shared) = split(variables);
        self.call.place.sleep(Sleep {
            sleeper: Box::new(Waits::Awake(Box::new((until, ticket)))),
            shared,
            own,
        });
        Some(asleep())
    }

    /// Counts a run that goes on; `turn` is what it was started with.
    pub(super) fn count(&self, place: &Place, run: Guid, turn: Option<Turn>) {
        let run = self.watched(run, None);
        self.once.turns.count(place, &run, turn, &self.once.watcher);
    }

    /// The same for a run that was found.
    pub fn count_adopted(&self, connection: &str, exclusive: bool, adopted: &Started) {
        if adopted.entry.fate == Fate::Open {
            self.count(&self.place(connection, exclusive), adopted.entry.run, None);
        }
    }

    /// A run to wait for as long as any goes on; `nonce` is what its callback brings.
    pub fn watched(&self, run: Guid, nonce: Option<Nonce>) -> Run {
        Run {
            dataverse: self.dataverse.clone(),
            id: run,
            bounds: Bounds {
                ceiling: LONGEST_RUN,
                max_queue_wait: None,
                longest_pause: None,
            },
            nonce,
        }
    }

    pub(super) fn place(&self, connection: &str, exclusive: bool) -> Place {
        let job = self.call.job;
        Place {
            connection: Connection {
                organization: self.dataverse.organization().as_str().into(),
                name: connection.into(),
            },
            exclusive: exclusive.then(|| (job.process_instance_key, job.element_id.as_str().into())),
        }
    }
}

/// What a job that waits keeps: first what is its own, then what other jobs of its task have alike.
fn split(variables: Map<String, Value>) -> (Map<String, Value>, Map<String, Value>) {
    let own = |name: &str| OWN.contains(&name) || is_ours(name);
    variables.into_iter().partition(|(name, _)| own(name))
}

/// What a start waits for.
pub(super) enum Until {
    /// Its turn.
    Turn(Turns, Asked),
    /// The end of a run, after which it asks for its turn again.
    Over(Watcher, Box<Run>),
}

/// A job that sleeps before its start.
enum Waits {
    Awake(Box<(Until, Ticket)>),
    InLine(#[expect(dead_code, reason = "the place in the line is left when it is dropped")] InLine),
    ForRun(#[expect(dead_code, reason = "the wait ends when it is dropped")] Waiting),
    /// While it changes.
    Changing,
}

impl Sleeper for Waits {
    fn fall_asleep(&mut self, wake: Wake) {
        if let Waits::Awake(awake) = std::mem::replace(self, Waits::Changing) {
            let (until, ticket) = *awake;
            *self = match until {
                Until::Turn(turns, asked) => {
                    let called = move |turn| {
                        wake.up(Box::new(Called {
                            ticket,
                            turn: Some(turn),
                        }))
                    };
                    Waits::InLine(turns.join(&asked, called))
                }
                Until::Over(watcher, run) => Waits::ForRun(watcher.watch(&run, Box::new(AtTheEnd { wake, ticket }))),
            };
        }
    }

    /// Nothing was started.
    fn gone(self: Box<Self>, _job: &Job) {}
}

/// Wakes the job when the run before it is over, or cannot be waited for: it looks again.
struct AtTheEnd {
    wake: Wake,
    ticket: Ticket,
}

impl Listener for AtTheEnd {
    fn changed(&mut self, _session: &FlowSession) {}

    fn over(self: Box<Self>, _result: Result<Ended, WaitError>) {
        let (ticket, turn) = (self.ticket, None);
        self.wake.up(Box::new(Called { ticket, turn }));
    }
}
