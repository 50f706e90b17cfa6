//! Jobs that sleep while their runs go on, and what becomes of a run whose task is gone.
//!
//! A job falls asleep with the id of its run and what is needed to go on; the watcher wakes it when the run is over.
//! Asked again, the job finds its run in the journal and the news beside it, as any replica would find the run alone.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use super::Session;
use super::input::Wait;
use super::once::{Started, Ticket};
use crate::audit::{Audit, Event, Task};
use crate::connector::{Sleep, Sleeper, Wake};
use crate::job::Job;
use crate::microsoft::Class;
use crate::microsoft::dataverse::sessions::{Columns, FlowSession};
use crate::microsoft::dataverse::workflows::LicenseCheck;
use crate::microsoft::dataverse::{Dataverse, Guid};
use crate::outcome::{JobError, Remedy};
use crate::progress::{Progress, Step};
use crate::runs::journal::{self, Fate, Found};
use crate::runs::token::Token;
use crate::runs::watcher::{Listener, Waiting};
use crate::runs::{Ended, Pace, Run, WaitError, Watcher};

/// Fields that only a start needs: they may be large, and are each job's own.
const FOR_THE_START: [&str; 3] = ["inputs", "runInputs", "callbackUrl"];
/// Runs of gone tasks that are cancelled at once; Dataverse allows 52 calls at once.
const CANCELS_AT_ONCE: usize = 16;
/// How long cancelling the run of a gone task is tried.
const CANCEL_PATIENCE: Duration = Duration::from_secs(600);

/// What woke a job: its run is over, or waiting is.
pub(super) struct Woken {
    result: Result<Ended, WaitError>,
    license_check: Option<LicenseCheck>,
}

/// Why a job was woken.
pub(super) enum Woke {
    /// It was not.
    Not,
    /// It is its turn to start a run.
    ToStart(Ticket),
    /// Its run is over, or waiting is.
    RunOver(Box<Started>, Result<Ended, WaitError>),
}

impl Session<'_> {
    /// What this job slept for, if it is a job that was woken.
    pub(super) fn news(&self) -> Woke {
        let Some(news) = self.call.place.news() else {
            return Woke::Not;
        };
        match Ticket::of(news) {
            Ok(ticket) => Woke::ToStart(ticket),
            Err(news) => match news.downcast::<Woken>().ok().and_then(|woken| self.run_over(*woken)) {
                Some((started, result)) => Woke::RunOver(Box::new(started), result),
                None => Woke::Not,
            },
        }
    }

    fn run_over(&self, woken: Woken) -> Option<(Started, Result<Ended, WaitError>)> {
        let job = self.call.job;
        match journal::read(&self.call.input.variables, job.element_instance_key) {
            Found::Run(entry) if !matches!(entry.fate, Fate::Settled(_)) => Some((
                Started {
                    entry,
                    license_check: woken.license_check,
                    answer: None,
                },
                woken.result,
            )),
            _ => None,
        }
    }

    /// Has the job sleep until the run is over. False if there is no place for it: it waits where it is.
    pub(super) fn falls_asleep(&self, started: &Started, wait: &Wait) -> bool {
        let Ok(variables) = self.call.job.variables() else {
            return false;
        };
        if !self.call.place.park() {
            return false;
        }
        // The outputs may hold a secret of the inputs: whoever looks for it there must know which ones there were.
        let used = &self.call.input.used;
        let holds_secret = |name: &str| used.iter().any(|used| used.path.split('.').next() == Some(name));
        let (own, shared) = split(variables, started.entry.variables(), holds_secret);
        let watched = self.call.progress.is_watched();
        let sleeper = FlowSleeper {
            watcher: self.watcher.clone(),
            canceller: wait.cancel_on_abort.then(|| self.canceller.clone()),
            run: started.entry.run,
            state: State::Awake(Box::new(Awake {
                run: Run {
                    dataverse: self.dataverse.clone(),
                    id: started.entry.run,
                    bounds: wait.bounds,
                    nonce: started
                        .entry
                        .token
                        .as_deref()
                        .and_then(Token::parse)
                        .map(|token| token.nonce()),
                },
                license_check: started.license_check.clone(),
                seen_by: watched.then(|| (self.call.job.clone(), self.call.progress.clone())),
            })),
        };
        self.call.place.sleep(Sleep {
            sleeper: Box::new(sleeper),
            shared,
            own,
        });
        true
    }
}

/// The connector's answer for a job that sleeps; nobody looks at it.
pub(super) fn asleep() -> JobError {
    JobError::connector("ASLEEP", "The job waits for its run.").with_remedy(Remedy::Postpone(Duration::ZERO))
}

/// What a sleeping job keeps: first what is its own, then what other jobs of its task have alike.
fn split(
    variables: Map<String, Value>,
    mut own: Map<String, Value>,
    holds_secret: impl Fn(&str) -> bool,
) -> (Map<String, Value>, Map<String, Value>) {
    let mut shared = Map::new();
    for (name, value) in variables {
        if journal::is_ours(&name) {
            continue;
        }
        if !FOR_THE_START.contains(&name.as_str()) {
            shared.insert(name, value);
        } else if holds_secret(&name) {
            own.insert(name, value);
        }
    }
    (own, shared)
}

struct FlowSleeper {
    watcher: Watcher,
    /// `None` where the run shall go on without its task.
    canceller: Option<Canceller>,
    run: Guid,
    state: State,
}

enum State {
    Awake(Box<Awake>),
    Asleep(Waiting),
    /// While it changes.
    Changing,
}

/// What is only needed to fall asleep.
struct Awake {
    run: Run,
    license_check: Option<LicenseCheck>,
    seen_by: Option<(Job, Progress)>,
}

impl Sleeper for FlowSleeper {
    fn fall_asleep(&mut self, wake: Wake) {
        if let State::Awake(awake) = std::mem::replace(&mut self.state, State::Changing) {
            let listener = AtTheEnd {
                wake,
                license_check: awake.license_check.map(Box::new),
                seen_by: awake.seen_by.map(Box::new),
            };
            self.state = State::Asleep(self.watcher.watch(&awake.run, Box::new(listener)));
        }
    }

    fn gone(self: Box<Self>, job: &Job) {
        let (Some(canceller), State::Asleep(waiting)) = (&self.canceller, &self.state) else {
            return;
        };
        // No secret stands in there: references do.
        let task = Task::of(&job.variables().unwrap_or_default(), |_| false);
        canceller.cancel(waiting.dataverse().clone(), self.run, job, task);
    }
}

/// Wakes the job when its run is over.
struct AtTheEnd {
    wake: Wake,
    license_check: Option<Box<LicenseCheck>>,
    seen_by: Option<Box<(Job, Progress)>>,
}

impl Listener for AtTheEnd {
    fn changed(&mut self, session: &FlowSession) {
        if let Some(seen_by) = &self.seen_by {
            let (job, progress) = seen_by.as_ref();
            progress.report(
                job,
                Step::RunStatus {
                    run: session.id.to_string(),
                    status: session.status.label(),
                },
            );
        }
    }

    fn over(self: Box<Self>, result: Result<Ended, WaitError>) {
        self.wake.up(Box::new(Woken {
            result,
            license_check: self.license_check.map(|check| *check),
        }));
    }
}

/// Cancels the runs of tasks that are gone, a few at a time. Cheap to clone.
#[derive(Clone)]
pub(super) struct Canceller {
    places: Arc<Semaphore>,
    pace: Pace,
    audit: Audit,
}

impl Canceller {
    pub(super) fn new(pace: Pace, audit: Audit) -> Self {
        Self {
            places: Arc::new(Semaphore::new(CANCELS_AT_ONCE)),
            pace,
            audit,
        }
    }

    /// Cancels the run of a gone task in the background, unless it is over.
    pub(super) fn cancel(&self, dataverse: Dataverse, run: Guid, job: &Job, task: Task) {
        let (this, job) = (self.clone(), job.without_texts());
        tokio::spawn(async move {
            let _place = this.places.acquire().await;
            match this.cancel_unfinished(&dataverse, &run).await {
                Ok(true) => {
                    tracing::info!(%run, "the task of this run is gone: the run was cancelled");
                    let event = Event::Cancel { reason: "task-gone" };
                    this.audit.record(event, &job, &run.to_string(), &task);
                }
                Ok(false) => tracing::info!(%run, "the task of this run is gone; the run was over"),
                Err(error) => tracing::warn!(
                    %run,
                    %error,
                    "the task of this run is gone, but the run could not be cancelled: cancel it in Power Automate"
                ),
            }
        });
    }

    /// Looks first: what is over needs no cancelling. True if it was not.
    async fn cancel_unfinished(
        &self,
        dataverse: &Dataverse,
        run: &Guid,
    ) -> Result<bool, crate::microsoft::dataverse::Error> {
        let began = Instant::now();
        let mut pauses = self.pace.pauses();
        loop {
            let result = match dataverse.flow_session(run, Columns::Progress).await {
                Ok(session) if session.status.end().is_some() => return Ok(false),
                // A run that cannot be read yet can be cancelled all the same.
                Ok(_) => dataverse.cancel_run(run).await,
                Err(error) if error.is_not_found() => dataverse.cancel_run(run).await,
                Err(error) => Err(error),
            };
            let error = match result {
                Ok(()) => return Ok(true),
                Err(error) => error,
            };
            let pause = pauses.next(error.retry_after());
            let over = error.class() == Class::SomeoneMustFixIt && !error.is_not_found();
            if over || began.elapsed() + pause > CANCEL_PATIENCE {
                return Err(error);
            }
            sleep(pause).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_only_the_start_needed_is_forgotten_and_the_rest_is_alike_for_all_jobs_of_the_task() {
        let variables =
            json!({"operationType": "runAndWait", "inputs": {"A": 1}, "callbackUrl": "https://x", "deskhandRun": {}});
        let own = json!({"deskhandRun": {"flowSessionId": "x"}});
        let map = |value: Value| value.as_object().cloned().unwrap();
        let (own_kept, shared) = split(map(variables.clone()), map(own.clone()), |_| false);
        assert_eq!(Value::Object(shared), json!({"operationType": "runAndWait"}));
        assert_eq!(Value::Object(own_kept), own);
        let (own_kept, _) = split(map(variables), map(own), |name| name == "inputs");
        assert_eq!(own_kept["inputs"], json!({"A": 1}), "they hold a secret");
    }
}
