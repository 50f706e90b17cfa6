//! One look at what ended: pages of runs come in, each is published, and what was seen is remembered for as long as the
//! next looks will see it again.
//!
//! How far we have come is told by Dataverse's clock alone. Rows become readable later than they are dated, so each look
//! begins a little before the one before it ended. What could not be published holds the beginning where it is.

use std::collections::HashMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, sleep};

use super::told::{Wanted, message};
use super::{Outbox, Publisher, Target};
use crate::message::Published;
use crate::microsoft::dataverse::ended::{EndedPage, EndedRun};
use crate::microsoft::dataverse::{Dataverse, Error, Guid};
use crate::runs::Budget;
use crate::runs::message::PARAMETER;

/// Rows become readable later than they are dated, and the clocks of Dataverse's servers differ.
const OVERLAP: SignedDuration = SignedDuration::from_mins(3);
/// Messages a second to the engine, and at once.
const PER_SECOND: f64 = 50.0;
const BURST: f64 = 50.0;
/// Runs that are remembered; of others the engine says itself that it has their message.
const MOST_REMEMBERED: usize = 100_000;
/// A message that would have to be published again this shortly before the first one ends is not.
const MARGIN: Duration = Duration::from_secs(60);

/// What is known from one look to the next.
pub(super) struct Round {
    /// Nothing that ended before this moment of Dataverse's clock is looked for any more.
    since: Timestamp,
    /// Nor what ended after this one.
    until: Option<Timestamp>,
    /// Runs that are done with, and when their rows were changed.
    done: HashMap<Guid, Timestamp>,
    budget: Budget,
}

/// What became of one run.
enum Verdict {
    /// Nothing is left to do.
    Done,
    /// It has to be looked at again, others can go on.
    Later(String),
}

impl Round {
    /// Runs that ended since then; those that ended after `until` are left to another round, which begins there.
    pub(super) fn new(since: Timestamp, until: Option<Timestamp>) -> Self {
        Self {
            since,
            until,
            done: HashMap::new(),
            budget: Budget::new(PER_SECOND, BURST),
        }
    }

    async fn take_turn(&mut self) {
        while let Some(pause) = self.budget.take() {
            sleep(pause).await;
        }
    }

    fn remember(&mut self, run: &EndedRun) {
        if self.done.len() < MOST_REMEMBERED || self.done.contains_key(&run.id) {
            self.done.insert(run.id, run.modified_on);
        }
    }
}

impl Outbox {
    /// The first page of the runs of our namespace that ended between these moments and are to be told of.
    pub(super) async fn ended(
        &self,
        dataverse: &Dataverse,
        between: (Timestamp, Option<Timestamp>),
    ) -> Result<EndedPage, String> {
        let namespace = self.tokens.of_namespace();
        let mark = format!("{PARAMETER}=");
        let page = dataverse.ended_called_back(between, &[&namespace, &mark]).await;
        page.map_err(unread)
    }

    /// Looks once.
    pub(super) async fn pass(
        &self,
        round: &mut Round,
        target: &Target,
        publisher: &dyn Publisher,
    ) -> Result<(), String> {
        let dataverse = self.dataverse(target).await?;
        let earlier = |time: Timestamp| time.saturating_sub(OVERLAP).unwrap_or(time);
        let (from, until) = (earlier(round.since), round.until.map(earlier));
        let mut page = self.ended(&dataverse, (from, until)).await?;
        let began = page.server_time;
        // From when on something is left to do, and why.
        let mut held: Option<(Timestamp, String)> = None;
        loop {
            let read = Instant::now();
            for run in &page.runs {
                match self.publish(round, &dataverse, run, (&page, read), publisher).await? {
                    Verdict::Done => round.remember(run),
                    Verdict::Later(why) => held = held.or(Some((run.modified_on, why))),
                }
            }
            // Should a later page fail, the next look need not begin with this one.
            if let (None, Some(last)) = (&held, page.runs.last()) {
                round.since = round.since.max(last.modified_on);
            }
            let Some(next) = page.next.take() else { break };
            page = dataverse.ended_page(next).await.map_err(unread)?;
        }
        let (from_held, why) = held.unzip();
        round.since = from_held.or(began.max(Some(round.since))).unwrap_or(round.since);
        let kept = earlier(round.since);
        round.done.retain(|_, modified| *modified >= kept);
        match why {
            None => Ok(()),
            Some(why) => Err(format!("the engine does not let us publish some of them: {why}")),
        }
    }

    /// # Errors
    /// Why the look has to end here.
    async fn publish(
        &self,
        round: &mut Round,
        dataverse: &Dataverse,
        run: &EndedRun,
        (page, read): (&EndedPage, Instant),
        publisher: &dyn Publisher,
    ) -> Result<Verdict, String> {
        if round.done.contains_key(&run.id) {
            return Ok(Verdict::Done);
        }
        let Some(wanted) = Wanted::of(run, &self.tokens) else {
            return Ok(Verdict::Done);
        };
        // Published once more after the first message has ended, it might begin something anew. A row can be changed at
        // any time after its run.
        let age = age(run, page.server_time).map(|age| age + read.elapsed());
        if age.is_some_and(|age| age + MARGIN > wanted.mark.time_to_live) {
            tracing::debug!(run = %run.id, "this run ended longer ago than its message would live");
            return Ok(Verdict::Done);
        }
        round.take_turn().await;
        let redactor = self.identities.known().redactor();
        let message = message(dataverse, run, &wanted.mark, &redactor)
            .await
            .map_err(|error| format!("why run {} failed cannot be asked for: {error}", run.id))?;
        match publisher.publish(&message).await {
            Published::New => {
                tracing::info!(run = %run.id, message = message.name, status = run.status.label(), "the end of a run was published");
                let (subject, flow) = (wanted.token.subject(), run.flow.map(|flow| flow.to_string()));
                let (process, element) = (subject.process_instance, subject.element_instance);
                self.audit.record_message(&message, process, element, flow.as_deref());
                Ok(Verdict::Done)
            }
            Published::Already => Ok(Verdict::Done),
            Published::Refused(why) => {
                tracing::error!(run = %run.id, message = message.name, tenant = message.tenant_id, why, "the engine will never take the message about the end of this run: whoever waits for it must be helped by hand");
                Ok(Verdict::Done)
            }
            Published::Denied(why) => {
                tracing::debug!(run = %run.id, message = message.name, tenant = message.tenant_id, why, "the engine does not let us publish the end of a run");
                Ok(Verdict::Later(why))
            }
            Published::Unheard(why) => Err(format!("the engine does not take messages: {why}")),
        }
    }
}

fn unread(error: Error) -> String {
    format!("ended runs cannot be asked for: {error}")
}

/// How long ago a run ended, by Dataverse's clock alone.
fn age(run: &EndedRun, now: Option<Timestamp>) -> Option<Duration> {
    let ended = run.completed_on.as_deref().and_then(|on| on.parse().ok());
    let ended: Timestamp = ended.unwrap_or(run.modified_on);
    Duration::try_from(now?.duration_since(ended)).ok()
}
