//! Jobs in: the pushed stream that is opened again for ever, and the poll for the backlog.
//!
//! Neither decides how much is taken: the worker holds a permit for every job before it asks here.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll as Ready};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, Stream};
use tokio::time::{Instant, Sleep};
use tonic::{Code, Status, Streaming};

use super::Engine;
use super::channel::CALL_TIMEOUT;
use super::gateway::{ActivateJobsRequest, ActivatedJob, StreamActivatedJobsRequest, TenantFilter};
use crate::job::Job;
use crate::metrics::metrics;

/// A stream that lived this long counts as healthy: the next failure starts with the shortest pause again.
const HEALTHY_AFTER: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Recovery within two seconds of the engine's return needs pauses below that.
const LONGEST_PAUSE: Duration = Duration::from_millis(1500);

/// What is asked of the engine for one job type.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// The job type.
    pub job_type: String,
    /// How long the engine waits for an outcome before it gives the job to another.
    pub lease: Duration,
    /// The variables to send; empty = all.
    pub fetch_variables: Vec<String>,
    /// Ask for a token with each job that every command about it must show (8.10 and later; ignored before).
    pub with_lease: bool,
}

/// The pushed jobs of one type, as a stream that never ends: it is opened again after an error and after a clean end.
pub struct Push {
    engine: Engine,
    subscription: Subscription,
    state: State,
    pause: Duration,
    opened: Instant,
    heard: Instant,
}

pub(super) type Opening = BoxFuture<'static, Result<Streaming<ActivatedJob>, Status>>;

enum State {
    // The gateway sends no response headers before the first job, so a stream may stay in this state for hours.
    Opening(Opening),
    Open(Box<Streaming<ActivatedJob>>),
    Pausing(Pin<Box<Sleep>>),
}

impl Push {
    /// A stream for the subscription; opened when first polled.
    pub fn new(engine: Engine, subscription: Subscription) -> Self {
        let state = State::Opening(Push::open(engine.clone(), subscription.clone()));
        Self {
            engine,
            subscription,
            state,
            pause: FIRST_PAUSE,
            opened: Instant::now(),
            heard: Instant::now(),
        }
    }

    /// The next pushed job. Safe to drop half-way: no job is lost.
    pub async fn next(&mut self) -> Job {
        poll_fn(|cx| self.poll_job(cx)).await
    }

    /// Is there, as far as we know, a stream?
    pub fn is_up(&self) -> bool {
        !matches!(self.state, State::Pausing(_))
    }

    /// How long nothing has come, from the opening on.
    pub fn silent_for(&self) -> Duration {
        self.heard.elapsed()
    }

    /// How long the stream has been open.
    pub fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    /// Opens a new stream in place of one that may be dead without showing it, or that is old. What has arrived must be
    /// taken out before.
    pub fn reopen(&mut self) {
        self.opened = Instant::now();
        self.heard = self.opened;
        self.state = State::Opening(Push::open(self.engine.clone(), self.subscription.clone()));
    }

    fn poll_job(&mut self, cx: &mut Context<'_>) -> Ready<Job> {
        loop {
            match &mut self.state {
                State::Opening(opening) => match opening.poll_unpin(cx) {
                    Ready::Pending => return Ready::Pending,
                    Ready::Ready(Ok(stream)) => self.state = State::Open(Box::new(stream)),
                    Ready::Ready(Err(status)) => self.reopen_later(Some(&status)),
                },
                State::Open(stream) => match Pin::new(stream.as_mut()).poll_next(cx) {
                    Ready::Pending => return Ready::Pending,
                    Ready::Ready(Some(Ok(job))) => {
                        self.heard = Instant::now();
                        return Ready::Ready(job.into());
                    }
                    Ready::Ready(Some(Err(status))) => self.reopen_later(Some(&status)),
                    Ready::Ready(None) => self.reopen_later(None),
                },
                State::Pausing(sleep) => {
                    if sleep.as_mut().poll(cx).is_pending() {
                        return Ready::Pending;
                    }
                    self.opened = Instant::now();
                    self.heard = self.opened;
                    self.state = State::Opening(Push::open(self.engine.clone(), self.subscription.clone()));
                }
            }
        }
    }

    /// Opens a stream, once.
    pub(super) fn open(engine: Engine, subscription: Subscription) -> Opening {
        let message = StreamActivatedJobsRequest {
            r#type: subscription.job_type,
            worker: engine.settings().worker_name.clone(),
            timeout: millis(subscription.lease),
            fetch_variable: subscription.fetch_variables,
            tenant_ids: engine.settings().tenant_ids.clone(),
            tenant_filter: tenant_filter(&engine),
            with_lease: subscription.with_lease,
        };
        metrics().stream_opened(&message.r#type);
        async move {
            let request = engine.authority.authorize(message).await?;
            Ok(engine
                .streams
                .clone()
                .stream_activated_jobs(request)
                .await?
                .into_inner())
        }
        .boxed()
    }

    fn reopen_later(&mut self, status: Option<&Status>) {
        metrics().stream_ended(&self.subscription.job_type);
        if self.opened.elapsed() >= HEALTHY_AFTER {
            self.pause = FIRST_PAUSE;
        }
        if let Some(status) = status {
            self.engine.authority.heard(status);
        }
        let jittered = self.pause.mul_f64(0.5 + fastrand::f64());
        let job_type = &self.subscription.job_type;
        match status {
            Some(status) if refuses_for_good(status) => {
                tracing::error!(job_type, reason = %Reason(status), "the engine refuses the job stream; trying again");
            }
            Some(status) => {
                tracing::info!(job_type, reason = %Reason(status), "the job stream broke; opening it again")
            }
            None => tracing::debug!(job_type, "the job stream ended; opening it again"),
        }
        self.state = State::Pausing(Box::pin(tokio::time::sleep(jittered)));
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}

fn tenant_filter(engine: &Engine) -> i32 {
    match engine.settings().assigned_tenants {
        true => TenantFilter::Assigned.into(),
        false => TenantFilter::Provided.into(),
    }
}

/// One poll of the backlog: at most `max_jobs`, handed out batch by batch as the partitions answer.
pub struct Poll {
    answers: Streaming<super::gateway::ActivateJobsResponse>,
    until: Instant,
}

impl Poll {
    /// Asks for jobs that wait in the backlog; the gateway answers at once, it does not park the call.
    ///
    /// # Errors
    /// The gRPC status; RESOURCE_EXHAUSTED means that the engine is busy.
    pub async fn start(engine: &Engine, subscription: &Subscription, max_jobs: usize) -> Result<Self, Status> {
        let until = Instant::now() + CALL_TIMEOUT;
        let message = ActivateJobsRequest {
            r#type: subscription.job_type.clone(),
            worker: engine.settings().worker_name.clone(),
            timeout: millis(subscription.lease),
            max_jobs_to_activate: i32::try_from(max_jobs).unwrap_or(i32::MAX),
            fetch_variable: subscription.fetch_variables.clone(),
            request_timeout: -1,
            tenant_ids: engine.settings().tenant_ids.clone(),
            tenant_filter: tenant_filter(engine),
            with_lease: subscription.with_lease,
        };
        let mut client = engine.unary.clone();
        let call = async {
            let request = engine.authority.authorize(message).await?;
            client.activate_jobs(request).await
        };
        let answers = tokio::time::timeout_at(until, call)
            .await
            .unwrap_or_else(|_| Err(Status::deadline_exceeded("the poll was not answered")))
            .inspect_err(|status| engine.authority.heard(status))?
            .into_inner();
        Ok(Self { answers, until })
    }

    /// The next batch; `None` when the poll is over.
    ///
    /// # Errors
    /// The gRPC status. Batches that came before it stay ours.
    pub async fn batch(&mut self) -> Result<Option<Vec<Job>>, Status> {
        let answer = tokio::time::timeout_at(self.until, self.answers.message())
            .await
            .map_err(|_| Status::deadline_exceeded("the poll did not end"))??;
        Ok(answer.map(|batch| batch.jobs.into_iter().map(Job::from).collect()))
    }
}

impl From<ActivatedJob> for Job {
    fn from(job: ActivatedJob) -> Self {
        Self {
            key: job.key,
            job_type: job.r#type,
            process_instance_key: job.process_instance_key,
            bpmn_process_id: job.bpmn_process_id,
            process_definition_version: job.process_definition_version,
            process_definition_key: job.process_definition_key,
            element_id: job.element_id,
            element_instance_key: job.element_instance_key,
            retries: job.retries,
            deadline: job.deadline,
            tenant_id: job.tenant_id,
            lease_token: job.lease_token,
            custom_headers: job.custom_headers,
            variables: job.variables,
        }
    }
}

/// Milliseconds as the protocol wants them: at least 1, and small enough that the broker's sums do not overflow.
pub(super) fn millis(duration: Duration) -> i64 {
    const A_YEAR: i64 = 365 * 24 * 3600 * 1000;
    i64::try_from(duration.as_millis()).unwrap_or(A_YEAR).clamp(1, A_YEAR)
}

/// Is this refused until somebody changes something?
pub(crate) fn refuses_for_good(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::InvalidArgument | Code::PermissionDenied | Code::Unauthenticated | Code::Unimplemented
    )
}

/// A status for a log line: its code and message, and the cause where the transport failed.
pub(crate) struct Reason<'a>(pub(crate) &'a Status);

impl std::fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}: {}", self.0.code(), self.0.message())?;
        // The transport's own text says only that it failed; the cause says why.
        let mut cause = std::error::Error::source(self.0);
        while let Some(next) = cause.and_then(std::error::Error::source) {
            cause = Some(next);
        }
        match cause.map(ToString::to_string) {
            Some(cause) if !self.0.message().contains(&cause) => write!(f, " ({cause})"),
            _ => Ok(()),
        }
    }
}
