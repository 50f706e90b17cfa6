//! Commands out: what became of a job, said until the engine has heard it.

use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::Instant;
use tonic::{Code, Status};

use super::Engine;
use super::channel::CALL_TIMEOUT;
use super::gateway::{CompleteJobRequest, FailJobRequest, ThrowErrorRequest};
use super::intake::Reason;
use crate::job::Job;
use crate::metrics::metrics;
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
    /// Not said, because our lease is over and saying it would free the job while somebody else works on it.
    Lapsed,
}

impl Told {
    /// Its name in metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Told::Acknowledged => "acknowledged",
            Told::Gone(_) => "gone",
            Told::TooLarge => "too-large",
            Told::Refused(_) => "refused",
            Told::Unheard(_) => "unheard",
            Told::Lapsed => "lapsed",
        }
    }
}

fn command(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Complete { .. } => "complete",
        Outcome::Fail { .. } => "fail",
        Outcome::BpmnError { .. } => "throw-error",
        Outcome::Asleep | Outcome::Abandon { .. } => "none",
    }
}

/// Our hold on a job, as far as we know it ourselves.
pub trait Held: Send + Sync {
    /// Is the lease surely still ours?
    fn holds(&self) -> bool;

    /// The lease's token, where the engine gave one.
    fn token(&self) -> Option<String>;
}

/// What stands for an answer when nothing was sent.
pub(super) fn lapsed() -> Status {
    Status::failed_precondition("nothing was sent: our own lease has lapsed")
}

/// Sends commands about jobs. Cheap to clone.
#[derive(Clone)]
pub struct Commands {
    pub(super) engine: Engine,
}

impl Commands {
    pub(super) fn new(engine: Engine) -> Self {
        Self { engine }
    }

    /// Tells the engine a job's outcome, again and again until it answered or `until` has passed. A late completion is
    /// accepted as long as nobody else finished the job, so `until` may lie beyond the lease; a failure is not said after
    /// it.
    pub async fn tell(&self, job: &Job, outcome: &Outcome, held: &dyn Held, until: Instant) -> Told {
        let began = Instant::now();
        let told = self.tell_until(job, outcome, held, until).await;
        metrics().command(command(outcome), told.label(), began.elapsed());
        told
    }

    async fn tell_until(&self, job: &Job, outcome: &Outcome, held: &dyn Held, until: Instant) -> Told {
        let mut unsure = false;
        let mut pause = FIRST_PAUSE;
        loop {
            let status = match tokio::time::timeout(CALL_TIMEOUT, self.send(job, outcome, held)).await {
                Ok(Ok(())) => return Told::Acknowledged,
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("no answer to the command"),
            };
            if frees_the_job(outcome) && !held.holds() {
                return Told::Lapsed;
            }
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

    /// What is rare is boxed: each job that runs carries the largest of these calls.
    async fn send(&self, job: &Job, outcome: &Outcome, held: &dyn Held) -> Result<(), Status> {
        let mut client = self.engine.unary.clone();
        let authority = &self.engine.authority;
        match outcome {
            Outcome::Complete { variables } => {
                let message = CompleteJobRequest {
                    job_key: job.key,
                    variables: json(variables),
                    lease_token: held.token(),
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
                    lease_token: held.token(),
                };
                let request = authority.authorize(message).await?;
                // The last look at the clock comes right before the bytes leave.
                if !held.holds() {
                    return Err(lapsed());
                }
                Box::pin(client.fail_job(request)).await?;
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
                    lease_token: held.token(),
                };
                let request = authority.authorize(message).await?;
                Box::pin(client.throw_error(request)).await?;
            }
            Outcome::Asleep | Outcome::Abandon { .. } => {}
        }
        Ok(())
    }
}

pub(super) fn json(variables: &Map<String, Value>) -> String {
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

/// A proxy's answer in HTML reaches us as INTERNAL in one of two shapes (both seen with nginx).
fn is_the_gateways(status: &Status) -> bool {
    let message = status.message();
    std::error::Error::source(status).is_none()
        && !message.contains("mapped from HTTP status code")
        && !message.contains("while receiving response with status")
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

    #[test]
    fn what_a_proxy_says_is_no_refusal_of_the_engine() {
        let html = "protocol error: received message with invalid compression flag: 60 (valid flags are 0 and 1) while \
                    receiving response with status: 400 Bad Request";
        assert_eq!(told(Code::Internal, html, false), None);
        assert!(matches!(
            told(
                Code::Internal,
                "Unexpected error occurred between gateway and broker",
                false
            ),
            Some(Told::Refused(_))
        ));
    }
}
