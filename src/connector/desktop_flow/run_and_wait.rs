//! `runAndWait`: start a desktop flow (or adopt the run that an earlier activation started), wait for its end, fetch its
//! outputs. One task instead of three and a timer.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use super::input::{Start, Wait, WantedOutputs};
use super::once::Started;
use super::outputs::{self, Outputs};
use super::parked::{Woke, asleep};
use super::{Session, failures, refusals};
use crate::audit::Event;
use crate::connector::Response;
use crate::microsoft::Class;
use crate::microsoft::dataverse::{End, Guid};
use crate::outcome::{JobError, Remedy};
use crate::progress::Step;
use crate::runs::journal::{Entry, Fate};
use crate::runs::{Bounds, Ended, Run, WaitError, explained};

/// How long the outputs of an ended run are asked for before the job goes back to the engine.
const OUTPUTS_PATIENCE: Duration = Duration::from_secs(300);
/// How long the reasons of a failure are asked for before it is told without them.
const EXPLAIN_PATIENCE: Duration = Duration::from_secs(300);
/// How long a run may take to stop after it was cancelled.
const CANCEL_PATIENCE: Duration = Duration::from_secs(120);

impl Session<'_> {
    /// Gives `{flowSessionId, statusCode, status, outputs, outputsFile?, startedOn, completedOn, licenseCheck?}`.
    pub(super) async fn run_and_wait(&self, start: Start, wait: Wait) -> Result<Response, JobError> {
        let (started, woken) = match self.news() {
            Woke::RunOver(started, result) => (*started, Some(result)),
            Woke::ToStart(ticket) => (self.start_or_adopt(&start, Some(ticket)).await?, None),
            Woke::Not => (self.start_or_adopt(&start, None).await?, None),
        };
        // A parked job shall cost little: what was only needed for the start goes.
        drop(start);
        if woken.is_none() && self.falls_asleep(&started, &wait) {
            return Err(asleep());
        }
        let (run, cancel_on_abort) = (started.entry.run, wait.cancel_on_abort);
        let response = self.see_through(started, wait, woken).await;
        // A run whose job another worker holds must not be cancelled, so a lease that lapsed is no reason.
        if cancel_on_abort && self.call.abandoned.is_cancelled() && self.call.place.is_gone() {
            self.canceller
                .cancel(self.dataverse.clone(), run, self.call.job, self.task.clone());
        }
        response
    }

    /// From a started run to the response. `woken` is how the wait ended that the job slept through.
    async fn see_through(
        &self,
        started: Started,
        wait: Wait,
        woken: Option<Result<Ended, WaitError>>,
    ) -> Result<Response, JobError> {
        let Started {
            mut entry,
            license_check,
            answer: _,
        } = started;
        let mut ended = match woken {
            Some(result) => self.unless_abandoned(self.told(&entry.run, result)).await,
            None => self.unless_abandoned(self.wait(&entry.run, wait.bounds)).await,
        };
        // Cancelled by a worker that knows of an earlier run of this very start: that one counts.
        while let Ok(over) = &ended
            && over.end == End::Cancelled
            && let Some(earlier) = self.starter().outranked(&entry, &over.session).await
        {
            entry = earlier;
            ended = self.unless_abandoned(self.wait(&entry.run, wait.bounds)).await;
        }
        let ended = match ended {
            Ok(ended) => ended,
            Err(Unended::Queued(queued)) => {
                let (ended, error) = self.unless_abandoned(self.give_up_queue(&entry.run, queued)).await?;
                // A machine may have been quicker than the cancelling: then the work is done.
                if ended.end != End::Succeeded {
                    self.note_end(&entry, &ended);
                    return Err(error.with_note(settled(&entry, &ended)));
                }
                ended
            }
            Err(Unended::Error(error)) => return Err(error),
        };
        self.note_end(&entry, &ended);
        if ended.end != End::Succeeded {
            let headers = self.call.job.headers();
            let has_backoff = headers.is_ok_and(|headers| headers.retry_backoff.is_some());
            let link = self.dataverse.organization().run_link(&entry.run);
            let error = failures::job_error(&ended, entry.attempt, has_backoff, &wait.actions, &link);
            return Err(error.with_note(settled(&entry, &ended)));
        }
        // From here on it is noted that the run succeeded: whatever becomes of its outputs, it is not started again.
        let note = entry.with_fate(Fate::Succeeded).variables();
        let outputs = self
            .unless_abandoned(self.patient_outputs(&entry.run, &wait.outputs))
            .await
            .map_err(|error| error.with_note(note.clone()))?;
        let session = ended.session;
        let mut response = json!({
            "flowSessionId": session.id,
            "statusCode": session.status.code(),
            "status": session.status.label(),
            "outputs": null,
            "startedOn": session.started_on,
            "completedOn": session.completed_on,
        });
        outputs.add_to(&mut response, &wait.outputs);
        if let Some(check) = license_check {
            response["licenseCheck"] = json!(check);
        }
        Ok(Response::from(response).with_note(note))
    }

    fn note_end(&self, entry: &Entry, ended: &Ended) {
        let status = ended.session.status.label();
        self.note_in_audit(Event::End { status }, &entry.run);
    }

    async fn wait(&self, run: &Guid, bounds: Bounds) -> Result<Ended, Unended> {
        let watched = Run {
            dataverse: self.dataverse.clone(),
            id: *run,
            bounds,
            nonce: None,
        };
        let result = self
            .watcher
            .wait(&watched, |session| {
                self.report(Step::RunStatus {
                    run: session.id.to_string(),
                    status: session.status.label(),
                });
            })
            .await;
        self.told(run, result).await
    }

    /// How a wait ended, with the reasons of a failure, in words.
    async fn told(&self, run: &Guid, result: Result<Ended, WaitError>) -> Result<Ended, Unended> {
        let result = match result {
            Ok(ended) => Ok(explained(&self.dataverse, ended, self.settings.pace, EXPLAIN_PATIENCE).await),
            Err(error) => Err(error),
        };
        result.map_err(|error| match error {
            WaitError::QueuedTooLong { queued } => Unended::Queued(queued),
            WaitError::Refused(error) => Unended::Error(refusals::job_error(&format!("Waiting for run {run}"), &error)),
            WaitError::Lost { .. } => Unended::Error(
                JobError::connector(
                    "RUN_LOST",
                    format!(
                        "Run {run} was started, but {error}. It was deleted, or the signed-in user may not see it \
                         (reading a run needs the privilege Owner on the flow). It is not started again; resolving the \
                         incident looks for it once more."
                    ),
                )
                .with_remedy(Remedy::Incident),
            ),
            WaitError::Ceiling { .. } => Unended::Error(
                JobError::connector(
                    "WAIT_CEILING",
                    format!(
                        "Waiting for run {run} ended before the run: {error}. The run was not cancelled. Resolving the \
                         incident waits for it again; `maxWait` says how long."
                    ),
                )
                .with_remedy(Remedy::Incident),
            ),
        })
    }

    /// Cancels a run that no machine took in time, and waits until it is over: only then may another be started.
    async fn give_up_queue(&self, run: &Guid, queued: Duration) -> Result<(Ended, JobError), JobError> {
        let message = format!(
            "Run {run} was queued for {} s without a machine taking it, longer than `maxQueueWait` allows, and was \
             cancelled.",
            queued.as_secs()
        );
        self.cancel_patiently(run).await?;
        let reason = "queued-too-long";
        self.note_in_audit(Event::Cancel { reason }, run);
        let bounds = Bounds {
            ceiling: CANCEL_PATIENCE,
            max_queue_wait: None,
            longest_pause: Some(Duration::from_secs(5)),
        };
        match self.wait(run, bounds).await {
            Ok(ended) => {
                let status = ended.session.status;
                let error = JobError::connector("MAX_QUEUE_WAIT", message.clone())
                    .with_remedy(Remedy::Incident)
                    .with_bpmn_error(failures::TIMED_OUT)
                    .with_variables(json!({
                        "errorCode": "MaxQueueWait",
                        "errorMessage": message,
                        "errorDetails": "",
                        "flowSessionId": run,
                        "statusCode": status.code(),
                        "status": status.label(),
                    }));
                Ok((ended, error))
            }
            Err(Unended::Queued(_)) => Err(JobError::internal("A wait without a queue limit ended at one.")),
            Err(Unended::Error(error)) => Err(JobError {
                message: format!(
                    "Run {run} was queued longer than `maxQueueWait` allows, but it could not be cancelled. {}",
                    error.message
                ),
                ..error
            }),
        }
    }

    /// Asks for the cancelling until the request is accepted, needless, or refused for good.
    async fn cancel_patiently(&self, run: &Guid) -> Result<(), JobError> {
        let began = Instant::now();
        let mut pauses = self.settings.pace.pauses();
        loop {
            let Err(error) = self.request_cancel(run).await else {
                return Ok(());
            };
            let pause = pauses.next(error.retry_after());
            if error.class() == Class::SomeoneMustFixIt || began.elapsed() + pause > CANCEL_PATIENCE {
                let doing = format!("Run {run} was queued longer than `maxQueueWait` allows. Cancelling it");
                return Err(refusals::job_error(&doing, &error));
            }
            sleep(pause).await;
        }
    }

    /// The outputs of a run that succeeded. The work is done, so what may pass is waited for.
    async fn patient_outputs(&self, run: &Guid, wanted: &WantedOutputs) -> Result<Outputs, JobError> {
        let began = Instant::now();
        let mut pauses = self.settings.pace.pauses();
        loop {
            let error = match outputs::read(&self.dataverse, run, wanted).await {
                Ok(outputs) => return Ok(outputs),
                Err(error) => error,
            };
            let pause = error.pause().map(|asked| pauses.next(asked));
            match pause.filter(|pause| began.elapsed() + *pause <= OUTPUTS_PATIENCE) {
                Some(pause) => sleep(pause).await,
                None => return Err(error.told(run)),
            }
        }
    }
}

/// The note that the run is over without success: it travels in the failure itself, so that the retry that the failure
/// asks for starts another run, and nothing else does.
fn settled(entry: &Entry, ended: &Ended) -> Map<String, Value> {
    let status = ended.session.status.label().to_owned();
    entry.with_fate(Fate::Settled(status)).variables()
}

/// Waiting ended, the run did not.
enum Unended {
    /// It was queued for so long.
    Queued(Duration),
    /// Anything else.
    Error(JobError),
}

impl From<JobError> for Unended {
    fn from(error: JobError) -> Self {
        Unended::Error(error)
    }
}
