//! Starting a run once for each entry into a task, whatever is killed, paused, cut or throttled.
//!
//! In goes what to start; out comes the run of this entry: adopted if there is one, else started. The order of steps is
//! the whole point, and `docs/never-twice.md` argues for it:
//!
//! ```text
//! journal ─▶ run noted? adopt ─▶ intent noted? wait, look, adopt ─▶ write intent ─▶ is the job ours? ─▶ POST ─▶ write run ─▶ look
//! ```
//!
//! | file       | what happens there                                                                  |
//! |------------|--------------------------------------------------------------------------------------|
//! | here       | what the journal and a person's decision mean for this activation                     |
//! | `clear_up` | a start of which nobody knows what became: wait until it is over, look for its run     |
//! | `turn`     | whose turn it is: pace, limits and pauses that operations set                          |
//! | `exclusive` | earlier runs of an exclusive task                                                    |
//! | `send`     | one start: intent, last look at the lease, POST, and what its answer means             |
//! | `carrier`  | where the token travels                                                                |
//! | `look`     | runs that carry a token, the one that counts first                                     |
//! | `late`     | looking after a start; late runs are cancelled                                         |
//! | `texts`    | what a person reads                                                                    |

mod carrier;
mod clear_up;
mod exclusive;
mod late;
mod look;
mod send;
mod settings;
mod texts;
mod turn;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Map;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

pub use settings::{Guards, LookFirst, Settings};

use self::late::Aftercare;
use self::look::{Search, Seen};
use super::refusals;
use crate::audit::{Audit, Event, Task};
use crate::connector::{Call, abandoned};
use crate::http::Answer;
use crate::microsoft::dataverse::search::Candidate;
use crate::microsoft::dataverse::sessions::{Columns, FlowSession};
use crate::microsoft::dataverse::workflows::{LicenseCheck, RunRequest};
use crate::microsoft::dataverse::{Dataverse, Guid};
use crate::outcome::JobError;
use crate::progress::{StartPoint, Step};
use crate::runs::Watcher;
use crate::runs::journal::{self, Carrier, Decision, Entry, Fate, Found, Intent};
use crate::runs::message::Mark;
use crate::runs::token::{Stable, Subject, Token};
use crate::runs::turns::{Turn, Turns};

/// How often a journal entry is offered to the engine.
const JOURNAL_TRIES: u32 = 3;
/// A moment of Dataverse's clock that is older than this is asked for again: the search begins there.
const CLOCK_LIVES: Duration = Duration::from_secs(300);
/// Organisations whose clock is remembered.
const MOST_CLOCKS: usize = 1000;

/// What all starts of a process share.
pub struct Once {
    settings: Settings,
    /// The newest moment of each organisation's clock that was seen, and when. The moment is in the past by then, which
    /// makes a search begin too early and never too late.
    clocks: Mutex<HashMap<String, (Timestamp, Instant)>>,
    /// Looking after starts beside which another worker may have started.
    disputed: TaskTracker,
    turns: Turns,
    audit: Audit,
    /// Tells when runs that are counted are over.
    watcher: Watcher,
}

/// What to start.
pub struct Wanted {
    /// The flow.
    pub flow: Guid,
    /// Its name, where the task says it.
    pub flow_name: Option<String>,
    /// How, without any token.
    pub request: RunRequest,
    /// The flow's input that shall carry the token.
    pub token_input: Option<String>,
    /// Wait until earlier runs of this process instance and element are over?
    pub exclusive: bool,
    /// The message that shall tell of the run's end. It travels in the callback URL, beside the token.
    pub message: Option<Mark>,
}

/// A run of this entry into the task.
pub struct Started {
    /// What the journal says about it.
    pub entry: Entry,
    /// What the licence check said; not known of a run that was adopted.
    pub license_check: Option<LicenseCheck>,
    /// What Dataverse answered; not known of a run that was adopted.
    pub answer: Option<Answer>,
}

/// What is known before anything is sent.
pub enum Before {
    /// There is a run.
    Adopted(Box<Started>),
    /// There is none, for sure: this start may be sent.
    ToStart(Ticket),
}

/// Leave to start.
pub struct Ticket {
    attempt: u32,
    /// Something hints at an earlier start of the same attempt.
    doubtful: bool,
    /// A person's decision that is acted on, to be wiped out.
    decided: bool,
    /// The start has waited for its turn.
    turn: Option<Turn>,
}

/// One job's way to its run.
pub struct Starter<'a> {
    /// What all starts share.
    pub once: &'a Once,
    /// The job.
    pub call: Call<'a>,
    /// What the audit says about its runs.
    pub task: &'a Task,
    /// Where runs live.
    pub dataverse: &'a Dataverse,
    /// Bound on a whole POST that starts a run.
    pub may_take: Duration,
    /// Pauses up to this long in all, asked for by a throttled start, are waited for here; longer ones in the engine.
    pub longest_pause: Duration,
    /// Since when this process has the job.
    pub began: Instant,
    /// How a start that was refused, and surely not executed, is told.
    pub refused: &'a (dyn Fn(&crate::microsoft::dataverse::Error) -> JobError + Send + Sync),
}

impl Ticket {
    fn new(attempt: u32, doubtful: bool, decided: bool) -> Self {
        Self {
            attempt,
            doubtful,
            decided,
            turn: None,
        }
    }
}

impl Once {
    /// Nothing is known yet.
    pub fn new(settings: Settings, turns: Turns, watcher: Watcher, audit: Audit) -> Self {
        Self {
            settings,
            audit,
            turns,
            watcher,
            clocks: Mutex::default(),
            disputed: TaskTracker::new(),
        }
    }

    /// Waits until no start is looked after any more beside which another worker may have started.
    pub async fn undisputed(&self) {
        if !self.disputed.is_empty() {
            let starts = self.disputed.len();
            tracing::info!(starts, "looking whether starts whose jobs were lost happened only once");
        }
        self.disputed.close();
        self.disputed.wait().await;
    }

    fn saw_clock(&self, organization: &str, time: Option<Timestamp>) {
        let Some(time) = time else { return };
        let mut clocks = self.clocks.lock().unwrap_or_else(PoisonError::into_inner);
        if clocks.len() >= MOST_CLOCKS {
            clocks.retain(|_, (_, seen)| seen.elapsed() < CLOCK_LIVES);
        }
        clocks.insert(organization.to_owned(), (time, Instant::now()));
    }

    fn clock(&self, organization: &str) -> Option<Timestamp> {
        let clocks = self.clocks.lock().unwrap_or_else(PoisonError::into_inner);
        let (time, seen) = clocks.get(organization)?;
        (seen.elapsed() < CLOCK_LIVES).then_some(*time)
    }
}

impl Starter<'_> {
    /// The run of this entry into the task: adopted if there is one, else started.
    ///
    /// # Errors
    /// Those of [`Starter::before`] and [`Starter::start`].
    pub async fn once(&self, wanted: &Wanted) -> Result<Started, JobError> {
        if let Some(Ok(ticket)) = self.call.place.news().map(Ticket::of) {
            return self.start(ticket, wanted).await;
        }
        match self.before(wanted.request.inputs.as_deref()).await? {
            Before::Adopted(started) => {
                self.count_adopted(&wanted.request.connection_name, wanted.exclusive, &started);
                Ok(*started)
            }
            Before::ToStart(ticket) => self.start(ticket, wanted).await,
        }
    }

    /// What the journal, a person's decision and, where a start is open, Dataverse say. `inputs` are those that a start
    /// would be given now.
    ///
    /// # Errors
    /// Where nothing may be started: a journal of a newer version, a damaged one, a start that only a person can clear up.
    pub async fn before(&self, inputs: Option<&str>) -> Result<Before, JobError> {
        let job = self.call.job;
        let variables = &self.call.input.variables;
        let found = match journal::read(variables, job.element_instance_key) {
            Found::Newer { variable, version } => return Err(texts::newer_journal(variable, version)),
            Found::Damaged { variable, member } => return Err(texts::damaged_journal(variable, member)),
            found => found,
        };
        let decision = match Decision::read(variables, job.element_instance_key) {
            Ok(decision) => decision,
            Err(problem) => return Err(texts::damaged_decision(job, &problem)),
        };
        match found {
            Found::Run(entry) => self.before_run(entry, decision, inputs).await,
            Found::Intent(intent) => self.before_intent(&intent, decision, inputs).await,
            _ => Ok(Before::ToStart(Ticket::new(
                1,
                self.once.settings.look_first == LookFirst::Always,
                false,
            ))),
        }
    }

    async fn before_run(
        &self,
        entry: Entry,
        decision: Option<(Decision, bool)>,
        inputs: Option<&str>,
    ) -> Result<Before, JobError> {
        // A decision that names no task may be meant for another one.
        let decision = decision.and_then(|(decision, named)| named.then_some(decision));
        let next = entry.attempt.saturating_add(1);
        match (&entry.fate, decision) {
            (Fate::Succeeded, _) | (Fate::Open, None) => Ok(self.adopted(entry, inputs)),
            (Fate::Open, Some(Decision::Adopt(id))) if id == entry.run => Ok(self.adopted(entry, inputs)),
            (_, Some(Decision::Adopt(id))) => self.adopt_by_decision(id, next).await,
            (_, Some(Decision::StartAgain)) => Ok(Before::ToStart(Ticket::new(next, true, true))),
            (Fate::Settled(_), None) => Ok(Before::ToStart(Ticket::new(next, true, false))),
        }
    }

    async fn before_intent(
        &self,
        intent: &Intent,
        decision: Option<(Decision, bool)>,
        inputs: Option<&str>,
    ) -> Result<Before, JobError> {
        match decision.filter(|(_, named)| *named || intent.asked) {
            Some((Decision::Adopt(id), _)) => self.adopt_by_decision(id, intent.attempt).await,
            Some((Decision::StartAgain, _)) => Ok(Before::ToStart(Ticket::new(
                intent.attempt.saturating_add(1),
                true,
                true,
            ))),
            None => match self.clear_up(intent, self.began).await? {
                Some(run) => {
                    let entry = self.entry(&run, intent.attempt, intent.inputs.clone());
                    self.write_run(&entry, Map::new()).await;
                    Ok(self.adopted(entry, inputs))
                }
                None => Ok(Before::ToStart(Ticket::new(intent.attempt, true, false))),
            },
        }
    }

    fn say_adopted(&self, run: &Guid) {
        let run = run.to_string();
        self.once.audit.record(Event::Adoption, self.call.job, &run, self.task);
        self.report(Step::RunAdopted { run });
    }

    fn adopted(&self, entry: Entry, inputs: Option<&str>) -> Before {
        self.say_adopted(&entry.run);
        let now = inputs.map(|inputs| self.digest(inputs));
        if entry.inputs.is_some() && entry.inputs != now {
            tracing::warn!(job = self.call.job.key, run = %entry.run, "the inputs of the task have changed since its run was started; the run keeps those that it was given");
        }
        Before::Adopted(Box::new(Started {
            entry,
            license_check: None,
            answer: None,
        }))
    }

    /// A person said which run it is. That is believed once it is there and the engine has noted it.
    async fn adopt_by_decision(&self, run: Guid, attempt: u32) -> Result<Before, JobError> {
        let session = self.dataverse.flow_session(&run, Columns::Progress);
        let session = self.unless_abandoned(async { Ok(session.await) }).await?;
        if let Err(error) = session {
            let error = refusals::job_error("Reading it", &error);
            return Err(JobError {
                message: format!(
                    "Variable `{}` says to adopt run {run}, but it cannot be read. {}",
                    journal::DECISION,
                    error.message
                ),
                ..error
            });
        }
        let entry = Entry {
            element_instance: self.call.job.element_instance_key,
            attempt,
            run,
            started_at: Timestamp::now(),
            token: None,
            inputs: None,
            fate: Fate::Open,
        };
        let mut variables = entry.variables();
        variables.extend(Decision::consumed());
        self.call.journal.write(variables).await?;
        Ok(self.adopted(entry, None))
    }

    /// The run that counts, should several carry this entry's token; `None` where that cannot be told or it is this one.
    /// For a run that was cancelled although nobody here asked for it.
    pub async fn outranked(&self, entry: &Entry, cancelled: &FlowSession) -> Option<Entry> {
        let token = Token::parse(entry.token.as_deref()?)?;
        let created: Timestamp = cancelled.created_on.as_deref()?.parse().ok()?;
        let search = Search {
            stable: token.stable().clone(),
            carrier: Carrier::CallbackUrl,
            flow: None,
            since: Some(created.saturating_sub(jiff::SignedDuration::from_hours(24)).ok()?),
        };
        let counts = self.look(&search).await.ok()?.runs.into_iter().next()?;
        if counts.id == entry.run {
            return None;
        }
        let entry = self.entry(&counts, entry.attempt, entry.inputs.clone());
        self.write_run(&entry, Map::new()).await;
        self.say_adopted(&entry.run);
        Some(entry)
    }

    fn entry(&self, run: &Candidate, attempt: u32, inputs: Option<String>) -> Entry {
        Entry {
            element_instance: self.call.job.element_instance_key,
            attempt,
            run: run.id,
            started_at: Timestamp::now(),
            token: run
                .callback_url
                .as_deref()
                .and_then(Token::find)
                .map(|token| token.to_string()),
            inputs,
            fate: Fate::Open,
        }
    }

    fn subject(&self, attempt: u32) -> Subject {
        Subject {
            process_instance: self.call.job.process_instance_key,
            element_instance: self.call.job.element_instance_key,
            attempt,
        }
    }

    fn search(&self, stable: Stable, carrier: Carrier, flow: Guid, since: Option<Timestamp>) -> Search {
        Search {
            stable,
            carrier,
            flow: Some(flow),
            since,
        }
    }

    /// Looks once, and remembers Dataverse's clock.
    async fn look(&self, search: &Search) -> Result<Seen, crate::microsoft::dataverse::Error> {
        if !self.once.settings.guards.look {
            return Ok(Seen::default());
        }
        let seen = search.look(self.dataverse).await?;
        self.once
            .saw_clock(self.dataverse.organization().as_str(), seen.server_time);
        self.report(Step::Start(StartPoint::Looked));
        Ok(seen)
    }

    fn aftercare(&self, search: Search) -> Aftercare {
        Aftercare {
            dataverse: self.dataverse.clone(),
            search,
            progress: self.call.progress.clone(),
            job: self.call.job.without_texts(),
            audit: self.once.audit.clone(),
            task: self.task.clone(),
            visibility: self.once.settings.visibility,
        }
    }

    /// Writes what is known about a run. A journal that cannot be written ends nothing: the run goes on, and this process
    /// still knows it.
    async fn write_run(&self, entry: &Entry, also: Map<String, serde_json::Value>) {
        self.report(Step::Start(StartPoint::WritingRun));
        for attempt in 1..=JOURNAL_TRIES {
            let mut variables = entry.variables();
            variables.extend(also.clone());
            let Err(error) = self.call.journal.write(variables).await else {
                self.report(Step::Start(StartPoint::RunWritten));
                return;
            };
            tracing::warn!(
                job = self.call.job.key,
                run = %entry.run,
                attempt,
                code = error.code,
                "the engine did not take the journal entry of a started run"
            );
            if attempt < JOURNAL_TRIES {
                tokio::time::sleep(Duration::from_millis(200) * attempt).await;
            }
        }
    }

    fn report(&self, step: Step) {
        self.call.progress.report(self.call.job, step);
    }

    fn still_ours(&self) -> Result<(), JobError> {
        if self.call.abandoned.is_cancelled() {
            return Err(abandoned());
        }
        Ok(())
    }

    /// Waits, unless the job is lost meanwhile.
    async fn pause(&self, until: Instant) -> Result<(), JobError> {
        tokio::select! {
            biased;
            () = self.call.abandoned.cancelled() => Err(abandoned()),
            () = tokio::time::sleep_until(until) => Ok(()),
        }
    }

    /// Does something that may be dropped at any point: not a start.
    async fn unless_abandoned<T>(&self, work: impl Future<Output = Result<T, JobError>>) -> Result<T, JobError> {
        self.call.unless_abandoned(work).await
    }
}
