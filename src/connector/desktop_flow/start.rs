//! Starting a run: never blindly a second time.
//!
//! In goes what to start; out comes the run, freshly started or the one that an earlier activation of this job started.
//! The POST is repeated only where Dataverse surely did not execute it; where that is not known, a person decides.
//! (Looking for the run in Dataverse, and writing the intent before the POST, come in here.)

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;

use super::Session;
use super::input::{FlowChoice, Start};
use super::refusals;
use crate::http::Sent;
use crate::microsoft::Class;
use crate::microsoft::dataverse::workflows::{LicenseCheck, RunRequest};
use crate::microsoft::dataverse::{Error, Guid};
use crate::outcome::{JobError, Remedy};
use crate::progress::Step;
use crate::runs::journal::{self, Entry, Fate, Found};

/// A run of this entry into the task.
pub struct Started {
    /// What the journal says about it.
    pub entry: Entry,
    /// What the licence check said; not known of a run that was adopted.
    pub license_check: Option<LicenseCheck>,
}

/// How long a job waits in vain for a deskhand that understands its journal before it is offered again.
const NEWER_JOURNAL_PAUSE: Duration = Duration::from_secs(30);
/// How often a journal entry is offered to the engine.
const JOURNAL_TRIES: u32 = 3;

impl Session<'_> {
    /// The run of this entry into the task: adopted if there is one, else started.
    pub(super) async fn start_or_adopt(&self, start: &Start) -> Result<Started, JobError> {
        let job = self.call.job;
        let attempt = match journal::read(&self.call.input.variables, job.element_instance_key) {
            Found::Nothing => 1,
            Found::Run(entry) if matches!(entry.fate, Fate::Settled(_)) => entry.attempt.saturating_add(1),
            // Nobody writes intents yet.
            Found::Intent(intent) => intent.attempt,
            Found::Run(entry) => {
                self.report(Step::RunAdopted {
                    run: entry.run.to_string(),
                });
                return Ok(Started {
                    entry,
                    license_check: None,
                });
            }
            Found::Newer { variable, version } => return Err(newer_journal(variable, version)),
            Found::Damaged { variable, member } => return Err(damaged_journal(variable, member)),
        };
        let flow = self.unless_abandoned(self.flow(&start.flow)).await?;
        self.start(&flow, &start.request, attempt).await
    }

    async fn flow(&self, choice: &FlowChoice) -> Result<Guid, JobError> {
        let name = match choice {
            FlowChoice::Id(id) => return Ok(*id),
            FlowChoice::Name(name) => name,
        };
        let mut found = self
            .dataverse
            .workflows_named(name)
            .await
            .map_err(|error| refusals::job_error("Looking for the desktop flow by its name", &error))?;
        match (found.pop(), found.is_empty()) {
            (Some(flow), true) => Ok(flow.id),
            (None, _) => Err(JobError::input(
                "`workflowName`: no published desktop flow of this organisation that the signed-in user may see has this \
                 name. Check the spelling and the sharing, or write its id in `workflowId`.",
            )),
            (Some(flow), false) => {
                let ids: Vec<String> = found.iter().chain([&flow]).map(|flow| flow.id.to_string()).collect();
                Err(JobError::input(format!(
                    "`workflowName`: more than one desktop flow has this name ({}). Write the id of the right one in \
                     `workflowId`.",
                    ids.join(", ")
                )))
            }
        }
    }

    async fn start(&self, flow: &Guid, request: &RunRequest, attempt: u32) -> Result<Started, JobError> {
        let mut patience = self.settings.longest_pause;
        loop {
            self.still_ours()?;
            // A start in flight is not dropped when the job is lost: nobody would know what became of it. Its own
            // timeout bounds it.
            let error = match self.dataverse.run_desktop_flow(flow, request).await {
                Ok(started) => return Ok(self.started(started, attempt).await),
                Err(error) => error,
            };
            if error.sent() == Sent::Maybe {
                return Err(self.unclear(flow, &error, attempt));
            }
            // Throttled: short pauses are waited for here, long ones in the engine.
            let throttled = error.class() == Class::TryAgain && error.status().is_some();
            let pause = error.retry_after().unwrap_or_else(refusals::random_pause);
            match patience.checked_sub(pause) {
                Some(left) if throttled => patience = left,
                _ => return Err(refusals::job_error("Starting the desktop flow", &error)),
            }
            self.report(Step::Throttled { pause });
            self.unless_abandoned(async {
                sleep(pause).await;
                Ok::<(), JobError>(())
            })
            .await?;
        }
    }

    async fn started(&self, started: crate::microsoft::dataverse::workflows::Started, attempt: u32) -> Started {
        let entry = Entry {
            element_instance: self.call.job.element_instance_key,
            attempt,
            run: started.id,
            started_at: Timestamp::now(),
            token: None,
            inputs: None,
            fate: Fate::Open,
        };
        self.report(Step::RunStarted {
            run: entry.run.to_string(),
        });
        if let Some(check) = &started.license_check
            && check.code != "ValidLicenseCoverage"
        {
            tracing::warn!(run = %entry.run, code = check.code, "the licence check of the run has a complaint");
        }
        self.write_journal(&entry).await;
        Started {
            entry,
            license_check: started.license_check,
        }
    }

    /// Writes what is known about a run. A journal that cannot be written ends nothing: the run goes on, and this
    /// process still knows it.
    pub(super) async fn write_journal(&self, entry: &Entry) {
        for attempt in 1..=JOURNAL_TRIES {
            let Err(error) = self.call.journal.write(entry.variables()).await else {
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
                sleep(Duration::from_millis(200) * attempt).await;
            }
        }
    }

    fn unclear(&self, flow: &Guid, error: &Error, attempt: u32) -> JobError {
        let job = self.call.job;
        let now = Timestamp::now();
        let described = refusals::described("Starting the desktop flow", error);
        let decision = serde_json::json!({
            "version": journal::VERSION,
            "elementInstance": job.element_instance_key.to_string(),
            "attempt": attempt,
            "flowSessionId": "<id of that run>",
            "startedAt": now.to_string(),
        });
        let message = format!(
            "It is not known whether the desktop flow was started, so deskhand does not start it again. {}\n\
             What to look for: a run of flow {flow} that was created about {now} (Power Automate, Monitor, Desktop flow \
             runs).\n\
             If there is none, resolve the incident: the flow is started. If there is one, first set this variable on \
             the task itself (local), then resolve the incident: deskhand goes on with that run.\n\
             {} = {decision}",
            described.message,
            journal::RUN,
        );
        JobError {
            code: Some("START_UNCLEAR".into()),
            message,
            ..described
        }
        .with_remedy(Remedy::Incident)
    }
}

fn newer_journal(variable: &str, version: u64) -> JobError {
    JobError::connector(
        "JOURNAL_NEWER",
        format!(
            "A newer deskhand has written variable `{variable}` of this task (format {version}; this one knows {}). \
             Nothing was started. Run the newer version.",
            journal::VERSION
        ),
    )
    .with_remedy(Remedy::Postpone(NEWER_JOURNAL_PAUSE))
}

fn damaged_journal(variable: &str, member: &str) -> JobError {
    JobError::input(format!(
        "Variable `{variable}` of this task says that a desktop flow was or may have been started, but its `{member}` cannot \
         be read. Nothing was started. Look for the run in Power Automate, then correct the variable on the task itself, or \
         set it to null to start the flow.",
    ))
}
