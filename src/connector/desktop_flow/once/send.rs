//! One start: the intent is noted, the lease looked at last, the POST sent, and its answer understood.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Map;
use tokio::time::{Instant, sleep};

use super::late::Aftercare;
use super::{Carrier, Decision, Entry, Fate, Started, Starter, Ticket, Wanted, carrier, refusals};
use crate::audit::Event;
use crate::connector::abandoned;
use crate::http::{LastLook, Sent};
use crate::microsoft::Class;
use crate::microsoft::dataverse::Error;
use crate::microsoft::dataverse::workflows::{RunRequest, Sending};
use crate::outcome::{JobError, Remedy};
use crate::progress::{StartPoint, Step};
use crate::runs::journal::Intent;
use crate::runs::token::Token;

/// Starts of one activation, all of them surely not executed but the last.
const MOST_STARTS: u32 = 3;
/// The lease outlasts the POST by at least so much, or by a tenth of the POST's time.
const LEAST_MARGIN: Duration = Duration::from_millis(200);
/// A POST that may take less than this is not worth sending: the heartbeat is waited for.
const SHORTEST: Duration = Duration::from_secs(10);
/// How long a job whose lease is too short waits for its heartbeat.
const HEARTBEAT_PATIENCE: Duration = Duration::from_secs(60);

/// A start on its way.
struct Start {
    request: RunRequest,
    intent: Intent,
    token: Token,
}

/// What became of a POST.
enum Posted {
    Started(Box<Started>),
    /// It may have been executed; the moment after which nobody waits for it.
    Unclear(Box<Error>, Instant),
}

impl Starter<'_> {
    /// Starts the run that the ticket allows; adopts one that is found instead.
    ///
    /// # Errors
    /// Why nothing was started, or is known of what was.
    pub async fn start(&self, mut ticket: Ticket, wanted: &Wanted) -> Result<Started, JobError> {
        let turn = self.turn(&mut ticket, wanted).await?;
        let turn = self.alone(turn, &ticket, wanted).await?;
        let started = self.start_now(&ticket, wanted).await?;
        let place = self.place(&wanted.request.connection_name, wanted.exclusive);
        self.count(&place, started.entry.run, Some(turn));
        Ok(started)
    }

    async fn start_now(&self, ticket: &Ticket, wanted: &Wanted) -> Result<Started, JobError> {
        // Given to us once more while it waited: in between it may have been another's.
        let mut doubtful = ticket.doubtful || self.call.place.was_given_again();
        let mut decided = ticket.decided;
        let mut starts = 0;
        loop {
            self.still_ours()?;
            let mut start = self.prepare(ticket.attempt, wanted)?;
            let known = self.once.clock(self.dataverse.organization().as_str());
            match known.filter(|_| !doubtful) {
                Some(time) => start.intent.since = time,
                None => {
                    if let Some(found) = self.look_first(&mut start).await? {
                        return Ok(found);
                    }
                }
            }
            self.note_intent(&start.intent, decided).await?;
            decided = false;
            let (error, given_up) = match self.post(&start).await? {
                Posted::Started(started) => return self.look_after(*started, &start, doubtful).await,
                Posted::Unclear(error, given_up) => (error, given_up),
            };
            tracing::warn!(job = self.call.job.key, %error, "it is not known whether the flow was started; finding out");
            self.report(Step::Start(StartPoint::Unclear));
            let cleared_up = self.clear_up(&start.intent, given_up).await;
            if cleared_up.is_err() && self.lost() {
                self.look_after_lost(&start, given_up);
            }
            if let Some(run) = cleared_up? {
                let entry = self.entry(&run, ticket.attempt, start.intent.inputs.clone());
                self.write_run(&entry, Map::new()).await;
                self.say_adopted(&entry.run);
                return Ok(Started {
                    entry,
                    license_check: None,
                    answer: None,
                });
            }
            starts += 1;
            doubtful = true;
            if starts >= MOST_STARTS {
                let outage = error.status() != Some(500);
                let error = refusals::job_error("Starting the desktop flow (it was surely not executed)", &error);
                let error = match error.remedy {
                    Remedy::Retry if outage => error.with_remedy(Remedy::Postpone(refusals::random_pause())),
                    Remedy::RetryAfter(pause) if outage => error.with_remedy(Remedy::Postpone(pause)),
                    _ => error,
                };
                return Err(error.with_note(Self::nothing_open()));
            }
        }
    }

    fn prepare(&self, attempt: u32, wanted: &Wanted) -> Result<Start, JobError> {
        let settings = &self.once.settings;
        let token = settings
            .tokens
            .fresh(self.subject(attempt))
            .map_err(|error| JobError::internal(format!("Nothing was started: {error}.")))?;
        let mark = wanted.message.as_ref();
        let mark = mark.map(|mark| mark.sealed(&settings.tokens, &token));
        let (request, carrier) = carrier::dressed(
            wanted.request.clone(),
            wanted.token_input.as_deref(),
            (&token, mark.as_deref()),
            settings,
        );
        if mark.is_some() && carrier != Some(Carrier::CallbackUrl) {
            return Err(JobError::input(
                "Nothing was started: `waitFor` is `message`, and the callback URL has no room for what says so (Dataverse \
                 takes 2000 characters). Shorten `callbackUrl` or `messageName`.",
            ));
        }
        let intent = Intent {
            element_instance: self.call.job.element_instance_key,
            attempt,
            token: token.to_string(),
            carrier,
            flow: wanted.flow,
            connection: wanted.request.connection_name.clone(),
            inputs: wanted.request.inputs.as_deref().map(|inputs| self.digest(inputs)),
            since: Timestamp::UNIX_EPOCH,
            may_take: self.may_take,
            asked: false,
        };
        Ok(Start { request, intent, token })
    }

    /// Looks for a run of this attempt, and learns Dataverse's clock by it.
    async fn look_first(&self, start: &mut Start) -> Result<Option<Started>, JobError> {
        let carrier = start.intent.carrier.clone().unwrap_or(Carrier::CallbackUrl);
        let search = self.search(start.token.stable().clone(), carrier, start.intent.flow, None);
        let looked = self.unless_abandoned(async { Ok(self.look(&search).await) }).await?;
        let time = match looked {
            Ok(seen) => {
                let time = seen.server_time;
                if !seen.runs.is_empty()
                    && let Some(run) = self.aftercare(search).cancel_late(seen).await
                {
                    let entry = self.entry(&run, start.intent.attempt, start.intent.inputs.clone());
                    self.write_run(&entry, Map::new()).await;
                    self.say_adopted(&entry.run);
                    return Ok(Some(Started {
                        entry,
                        license_check: None,
                        answer: None,
                    }));
                }
                time
            }
            // Who may start but not read can start; only an unclear start will need a person.
            Err(error) if error.class() == Class::SomeoneMustFixIt && error.server_time().is_some() => {
                tracing::warn!(job = self.call.job.key, %error, "runs cannot be looked for");
                error.server_time()
            }
            Err(error) => return Err(refusals::job_error("Looking for an earlier run of this task", &error)),
        };
        // A server without a clock of its own: begin with the first run there is.
        start.intent.since = time.unwrap_or(Timestamp::UNIX_EPOCH);
        Ok(None)
    }

    /// Nothing is sent before the engine has acknowledged this.
    async fn note_intent(&self, intent: &Intent, decided: bool) -> Result<(), JobError> {
        self.report(Step::Start(StartPoint::WritingIntent));
        if !self.once.settings.guards.intent {
            return Ok(());
        }
        let mut variables = intent.variables();
        if decided {
            variables.extend(Decision::consumed());
        }
        self.call.journal.write(variables).await?;
        self.report(Step::Start(StartPoint::IntentWritten));
        Ok(())
    }

    /// Sends the start, again only where it was surely not executed. Once its bytes have left it is not dropped when the job
    /// is lost: nobody would know what became of it, and its own timeout bounds it.
    async fn post(&self, start: &Start) -> Result<Posted, JobError> {
        let mut patience = self.longest_pause;
        loop {
            self.still_ours()?;
            let within = self.time_for_a_post().await?;
            let look = self.last_look(within);
            let sending = Sending {
                within,
                last_look: Some(look.clone()),
            };
            self.report(Step::Start(StartPoint::Posting));
            let result = tokio::select! {
                result = self.dataverse.start_run(&start.intent.flow, &start.request, &sending) => result,
                () = look.withdrawn_after(self.call.abandoned.cancelled()), if self.once.settings.guards.lease => {
                    return Err(abandoned().with_note(Self::nothing_open()));
                }
            };
            let given_up = Instant::now();
            self.report(Step::Start(StartPoint::Answered));
            let error = match result {
                Ok(started) => {
                    let organization = self.dataverse.organization().as_str();
                    self.once.saw_clock(organization, started.server_time);
                    return Ok(Posted::Started(Box::new(self.started(started, start).await)));
                }
                Err(error) => error,
            };
            if error.sent() == Sent::Maybe {
                return Ok(Posted::Unclear(Box::new(error), given_up));
            }
            if error.was_withheld() {
                return Err(lease_too_short().with_note(Self::nothing_open()));
            }
            // Throttled: short pauses are waited for here, long ones in the engine.
            let throttled = error.class() == Class::TryAgain && error.status().is_some();
            let pause = error.retry_after().unwrap_or_else(refusals::random_pause);
            match patience.checked_sub(pause) {
                Some(left) if throttled => patience = left,
                _ => {
                    return Err((self.refused)(&error).with_note(Self::nothing_open()));
                }
            }
            self.report(Step::Throttled { pause });
            self.pause(Instant::now() + pause).await?;
        }
    }

    /// How long the POST may take so that the job is ours for longer. Waits for the heartbeat where that is too short.
    async fn time_for_a_post(&self) -> Result<Duration, JobError> {
        if !self.once.settings.guards.lease {
            return Ok(self.may_take);
        }
        let began = Instant::now();
        loop {
            self.still_ours()?;
            let left = self.call.place.lease_left();
            let margin = LEAST_MARGIN.max(self.may_take / 10);
            let within = left.saturating_sub(margin).min(self.may_take);
            if within >= SHORTEST.min(self.may_take) {
                return Ok(within);
            }
            if left.is_zero() || began.elapsed() > HEARTBEAT_PATIENCE {
                return Err(lease_too_short());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Asked when the connection is about to write the request: is the job ours for longer than the POST still can take?
    fn last_look(&self, within: Duration) -> LastLook {
        let began = Instant::now();
        let lease = self.call.place.lease();
        let abandoned = self.call.abandoned.clone();
        let guarded = self.once.settings.guards.lease;
        let (progress, job) = (self.call.progress.clone(), self.call.job.without_texts());
        let may_leave = move || {
            let still = within.saturating_sub(began.elapsed());
            let ours = !abandoned.is_cancelled() && !still.is_zero() && lease() > still;
            ours || !guarded
        };
        LastLook::new(may_leave, move || {
            progress.report(&job, Step::Start(StartPoint::BytesLeave))
        })
    }

    async fn started(&self, started: crate::microsoft::dataverse::workflows::Started, start: &Start) -> Started {
        let entry = Entry {
            element_instance: self.call.job.element_instance_key,
            attempt: start.intent.attempt,
            run: started.id,
            started_at: Timestamp::now(),
            token: start.intent.carrier.as_ref().map(|_| start.token.to_string()),
            inputs: start.intent.inputs.clone(),
            fate: Fate::Open,
        };
        let run = entry.run.to_string();
        self.once.audit.record(Event::Start, self.call.job, &run, self.task);
        self.report(Step::RunStarted { run });
        if let Some(check) = &started.license_check
            && check.code != "ValidLicenseCoverage"
        {
            tracing::warn!(run = %entry.run, code = check.code, "the licence check of the run has a complaint");
        }
        self.write_run(&entry, Map::new()).await;
        Started {
            entry,
            license_check: started.license_check,
            answer: Some(started.answer),
        }
    }

    /// Looks whether the flow was started only once. In an ordinary start that goes on beside the job; where another worker
    /// may have started as well, the job waits for it, since only then it is known which run counts.
    async fn look_after(&self, started: Started, start: &Start, doubtful: bool) -> Result<Started, JobError> {
        let Some(aftercare) = self.aftercare_of(start) else {
            return Ok(started);
        };
        if !doubtful {
            // The job was lost while the POST was under way: whoever has it now may have started, too.
            if self.lost() {
                self.once.disputed.spawn(async move { aftercare.watch(true).await });
            } else {
                tokio::spawn(async move { aftercare.watch(false).await });
            }
            return Ok(started);
        }
        match aftercare.watch(true).await {
            Some(counts) if counts.id != started.entry.run => {
                let entry = self.entry(&counts, start.intent.attempt, start.intent.inputs.clone());
                self.write_run(&entry, Map::new()).await;
                self.say_adopted(&entry.run);
                Ok(Started {
                    entry,
                    license_check: None,
                    answer: None,
                })
            }
            _ => Ok(started),
        }
    }

    fn lost(&self) -> bool {
        self.call.abandoned.is_cancelled() || self.call.place.lease_left().is_zero()
    }

    /// The job is lost, and nobody knows what became of its start. Whoever has the job now may have looked for it before it
    /// was executed, when this process stood still between the last look and the write: then its run is a second one, and
    /// only we know that it may be there.
    fn look_after_lost(&self, start: &Start, given_up: Instant) {
        let Some(aftercare) = self.aftercare_of(start) else {
            return;
        };
        let settled = given_up + self.once.settings.settles_within(start.intent.may_take);
        self.once
            .disputed
            .spawn(async move { aftercare.watch_lost(settled).await });
    }

    /// `None` where nothing tells the start's run from others.
    fn aftercare_of(&self, start: &Start) -> Option<Aftercare> {
        let intent = &start.intent;
        let carrier = intent.carrier.clone().filter(|_| self.once.settings.guards.look)?;
        let search = self.search(start.token.stable().clone(), carrier, intent.flow, Some(intent.since));
        Some(self.aftercare(search))
    }
}

fn lease_too_short() -> JobError {
    JobError::connector(
        "LEASE_TOO_SHORT",
        "The desktop flow was not started: the job is not surely this worker's for as long as a start can take.",
    )
    .with_remedy(Remedy::Postpone(Duration::ZERO))
}
