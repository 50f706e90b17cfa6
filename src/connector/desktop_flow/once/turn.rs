//! A start waits for its turn, asleep where there is a place for that: no permit, no retry, and nothing sent meanwhile.
//!
//! In goes leave to start ([`Ticket`]), out comes the same with a [`Turn`]. A job that sleeps is called again from the
//! beginning when it is its turn, and finds its ticket among the news: what was found out before is not asked again.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::{Started, Starter, Ticket, Wanted};
use crate::connector::desktop_flow::abandoned;
use crate::connector::desktop_flow::parked::asleep;
use crate::connector::{News, Sleep, Sleeper, Wake};
use crate::microsoft::dataverse::Guid;
use crate::outcome::JobError;
use crate::progress::Step;
use crate::runs::journal::{Fate, is_ours};
use crate::runs::turns::{Asked, Connection, InLine, Turn, Turns};
use crate::runs::{Bounds, Run};

/// Longer than any run goes on: six hours in the queue, a day of script.
const LONGEST_RUN: Duration = Duration::from_secs(31 * 3600);
/// Variables that each job of a task has for itself.
const OWN: [&str; 4] = ["inputs", "runInputs", "callbackUrl", "body"];

/// What woke a job that waited for its turn.
struct Called {
    ticket: Ticket,
    turn: Turn,
}

impl Ticket {
    /// The ticket of a job that was woken because it is its turn.
    ///
    /// # Errors
    /// The news themselves, if they are others.
    pub fn of(news: News) -> Result<Self, News> {
        let called = news.downcast::<Called>()?;
        Ok(Self {
            turn: Some(called.turn),
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
            connection: self.connection(&wanted.request.connection_name),
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
            flow = %asked.flow,
            connection = %asked.connection.name,
            reason,
            "the start waits for its turn"
        );
        self.report(Step::StartWaits { reason });
        if let Ok(variables) = self.call.job.variables()
            && self.call.place.park()
        {
            let (own, shared) = split(variables);
            self.call.place.sleep(Sleep {
                sleeper: Box::new(InTurn::Awake(Box::new((
                    turns.clone(),
                    asked,
                    Ticket::new(ticket.attempt, ticket.doubtful, ticket.decided),
                )))),
                shared,
                own,
            });
            return Err(asleep());
        }
        tokio::select! {
            biased;
            () = self.call.abandoned.cancelled() => Err(abandoned()),
            turn = turns.wait(&asked) => Ok(turn),
        }
    }

    /// Counts a run that goes on among those of its connection; `turn` is what it was started with.
    pub(super) fn count(&self, connection: &str, run: Guid, turn: Option<Turn>) {
        let run = Run {
            dataverse: self.dataverse.clone(),
            id: run,
            bounds: Bounds {
                ceiling: LONGEST_RUN,
                max_queue_wait: None,
                longest_pause: None,
            },
            nonce: None,
        };
        let connection = self.connection(connection);
        self.once.turns.count(&connection, &run, turn, &self.once.watcher);
    }

    /// The same for a run that was found.
    pub fn count_adopted(&self, connection: &str, adopted: &Started) {
        if adopted.entry.fate == Fate::Open {
            self.count(connection, adopted.entry.run, None);
        }
    }

    fn connection(&self, name: &str) -> Connection {
        Connection {
            organization: self.dataverse.organization().as_str().into(),
            name: name.into(),
        }
    }
}

/// What a job that waits keeps: first what is its own, then what other jobs of its task have alike.
fn split(variables: Map<String, Value>) -> (Map<String, Value>, Map<String, Value>) {
    let own = |name: &str| OWN.contains(&name) || is_ours(name);
    variables.into_iter().partition(|(name, _)| own(name))
}

/// A job that sleeps until it is its turn.
enum InTurn {
    Awake(Box<(Turns, Asked, Ticket)>),
    Asleep(#[expect(dead_code, reason = "the place in the line is left when it is dropped")] InLine),
    /// While it changes.
    Changing,
}

impl Sleeper for InTurn {
    fn fall_asleep(&mut self, wake: Wake) {
        if let InTurn::Awake(awake) = std::mem::replace(self, InTurn::Changing) {
            let (turns, asked, ticket) = *awake;
            let called = move |turn| wake.up(Box::new(Called { ticket, turn }));
            *self = InTurn::Asleep(turns.join(&asked, called));
        }
    }

    /// Nothing was started.
    fn gone(self: Box<Self>) {}
}
