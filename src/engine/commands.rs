//! Commands out: what became of a job, said until the engine has heard it.

use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::Instant;
use tonic::{Code, Status};

use super::Engine;
use super::channel::CALL_TIMEOUT;
use super::gateway::{
    CompleteJobRequest, FailJobRequest, SetVariablesRequest, ThrowErrorRequest, UpdateJobTimeoutRequest,
};
use super::intake::{Reason, millis};
use crate::job::Job;
use crate::outcome::Outcome;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The engine acknowledged it (or must have executed it in an earlier, unanswered try).
    Acknowledged,
    /// The job is gone: completed by another, cancelled, or in a state that takes no outcome.
    Gone(String),
    /// The outcome is too large for the engine; the job is still ours.
    TooLarge,
    /// The engine will never take this command; the job is still ours.
    Refused(String),
    /// Not heard in time; the engine will give the job out again when its lease has lapsed.
    Unheard(String),
}

/// Sends commands about jobs. Cheap to clone.
#[derive(Clone)]
pub struct Commands {
    engine: Engine,
}

impl Commands {
    pub(super) fn new(engine: Engine) -> Self {
        Self { engine }
    }

    /// Tells the engine a job's outcome, again and again until it answered or `until` has passed. A late completion is
    /// accepted as long as nobody else finished the job, so `until` may lie beyond the lease.
    pub async fn tell(&self, job: &Job, outcome: &Outcome, until: Instant) -> Told {
        let mut unsure = false;
        let mut pause = FIRST_PAUSE;
        loop {
            let status = match tokio::time::timeout(CALL_TIMEOUT, self.send(job, outcome)).await {
                Ok(Ok(())) => return Told::Acknowledged,
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("no answer to the command"),
            };
            match verdict(&status, outcome, unsure) {
                Verdict::Final(told) => return told,
                // Said twice, a failure would free the job while somebody else works on it.
                Verdict::Again { ambiguous: true } if frees_the_job(outcome) => {
                    return Told::Unheard(Reason(&status).to_string());
                }
                Verdict::Again { ambiguous } => unsure |= ambiguous,
            }
            self.engine.authority.heard(&status);
            let jittered = pause.mul_f64(0.5 + fastrand::f64());
            if Instant::now() + jittered >= until {
                return Told::Unheard(Reason(&status).to_string());
            }
            tracing::debug!(job = job.key, reason = %Reason(&status), "the engine did not take the command; trying again");
            tokio::time::sleep(jittered).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Sets a new lease for a job, counted from now: a heartbeat, or the task's own timeout.
    ///
    /// # Errors
    /// The gRPC status. NOT_FOUND and FAILED_PRECONDITION mean that the job is not ours any more.
    pub async fn extend(&self, job: &Job, lease: Duration) -> Result<(), Status> {
        let message = UpdateJobTimeoutRequest {
            job_key: job.key,
            timeout: millis(lease),
            operation_reference: None,
            lease_token: job.lease_token.clone(),
        };
        self.bounded(async {
            let request = self.engine.authority.authorize(message).await?;
            self.engine.unary.clone().update_job_timeout(request).await
        })
        .await
    }

    /// Sets variables in the task's own scope: they come back with the job's next activation and go no further.
    ///
    /// # Errors
    /// The gRPC status; after an ambiguous one nothing may be believed about what was written.
    pub async fn set_local_variables(&self, job: &Job, variables: &Map<String, Value>) -> Result<(), Status> {
        let message = SetVariablesRequest {
            element_instance_key: job.element_instance_key,
            variables: json(variables),
            local: true,
            operation_reference: None,
        };
        self.bounded(async {
            let request = self.engine.authority.authorize(message).await?;
            self.engine.unary.clone().set_variables(request).await
        })
        .await
    }

    /// One try of a call, with the token that it needs, in bounded time.
    async fn bounded<T>(&self, call: impl Future<Output = Result<T, Status>>) -> Result<(), Status> {
        let result = tokio::time::timeout(CALL_TIMEOUT, call)
            .await
            .unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer to the call")));
        result
            .map(drop)
            .inspect_err(|status| self.engine.authority.heard(status))
    }

    async fn send(&self, job: &Job, outcome: &Outcome) -> Result<(), Status> {
        let mut client = self.engine.unary.clone();
        let authority = &self.engine.authority;
        match outcome {
            Outcome::Complete { variables } => {
                let message = CompleteJobRequest {
                    job_key: job.key,
                    variables: json(variables),
                    lease_token: job.lease_token.clone(),
                };
                client.complete_job(authority.authorize(message).await?).await?;
            }
            Outcome::Fail {
                retries,
                backoff,
                message,
                variables,
            } => {
                let message = FailJobRequest {
                    job_key: job.key,
                    retries: *retries,
                    error_message: message.clone(),
                    retry_back_off: backoff.map_or(0, |pause| i64::try_from(pause.as_millis()).unwrap_or(i64::MAX)),
                    variables: json(variables),
                    lease_token: job.lease_token.clone(),
                };
                client.fail_job(authority.authorize(message).await?).await?;
            }
            Outcome::BpmnError {
                code,
                message,
                variables,
            } => {
                let message = ThrowErrorRequest {
                    job_key: job.key,
                    error_code: code.clone(),
                    error_message: message.clone().unwrap_or_default(),
                    variables: json(variables),
                    lease_token: job.lease_token.clone(),
                };
                client.throw_error(authority.authorize(message).await?).await?;
            }
            Outcome::Abandon { .. } => {}
        }
        Ok(())
    }
}

fn json(variables: &Map<String, Value>) -> String {
    if variables.is_empty() {
        return "{}".into();
    }
    serde_json::to_string(variables).unwrap_or_else(|_| "{}".into())
}

enum Verdict {
    Final(Told),
    Again { ambiguous: bool },
}

/// A failure makes the job free for others at once.
fn frees_the_job(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Fail { .. })
}

/// The status table of the gateway (`GrpcErrorMapper`), read as: said, never, or once more.
fn verdict(status: &Status, outcome: &Outcome, unsure: bool) -> Verdict {
    let text = || Reason(status).to_string();
    match status.code() {
        Code::NotFound if unsure => Verdict::Final(Told::Acknowledged),
        Code::NotFound => Verdict::Final(Told::Gone(text())),
        // A listener's job takes no BPMN error; that is no state of the job's that passes.
        Code::FailedPrecondition
            if matches!(outcome, Outcome::BpmnError { .. }) && !status.message().contains("in state") =>
        {
            Verdict::Final(Told::Refused(text()))
        }
        Code::FailedPrecondition => Verdict::Final(Told::Gone(text())),
        // Two shapes of "too large", both seen on real engines; repeating either is hopeless.
        Code::ResourceExhausted if status.message().contains("message exceeds maximum size") => {
            Verdict::Final(Told::TooLarge)
        }
        Code::Unknown if status.message().contains("EXCEEDED_BATCH_RECORD_SIZE") => Verdict::Final(Told::TooLarge),
        Code::OutOfRange => Verdict::Final(Told::TooLarge),
        Code::ResourceExhausted => Verdict::Again { ambiguous: false },
        // A token may have expired on the way; the next try brings a fresh one.
        Code::Unauthenticated => Verdict::Again { ambiguous: false },
        // No leader, no topology, no connection: the gateway says so before it hands a command to a broker.
        Code::Unavailable => Verdict::Again {
            ambiguous: !matches!(outcome, Outcome::Fail { .. }),
        },
        Code::DeadlineExceeded | Code::Aborted | Code::Cancelled | Code::Unknown | Code::DataLoss => {
            Verdict::Again { ambiguous: true }
        }
        // Not the gateway's word: a connection that broke, or a proxy in between that answered itself.
        Code::Internal | Code::Unimplemented if !is_the_gateways(status) => Verdict::Again { ambiguous: true },
        _ => Verdict::Final(Told::Refused(text())),
    }
}

fn is_the_gateways(status: &Status) -> bool {
    std::error::Error::source(status).is_none() && !status.message().contains("mapped from HTTP status code")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(code: Code, message: &str, unsure: bool) -> Option<Told> {
        let outcome = Outcome::Complete { variables: Map::new() };
        match verdict(&Status::new(code, message), &outcome, unsure) {
            Verdict::Final(told) => Some(told),
            Verdict::Again { .. } => None,
        }
    }

    #[test]
    fn a_missing_job_is_gone_unless_an_earlier_try_may_have_finished_it() {
        assert!(matches!(told(Code::NotFound, "", false), Some(Told::Gone(_))));
        assert_eq!(told(Code::NotFound, "", true), Some(Told::Acknowledged));
    }

    #[test]
    fn both_shapes_of_too_large_are_never_repeated() {
        let gateway = "gRPC message exceeds maximum size 4194304: 5000000";
        assert_eq!(told(Code::ResourceExhausted, gateway, false), Some(Told::TooLarge));
        let broker = "Command 'COMPLETE' rejected with code 'EXCEEDED_BATCH_RECORD_SIZE': ...";
        assert_eq!(told(Code::Unknown, broker, false), Some(Told::TooLarge));
    }

    #[test]
    fn a_busy_engine_is_asked_again_and_a_wrong_command_is_not() {
        assert_eq!(told(Code::ResourceExhausted, "backpressure", false), None);
        assert_eq!(told(Code::Unavailable, "", false), None);
        assert!(matches!(told(Code::InvalidArgument, "", false), Some(Told::Refused(_))));
    }
}
