//! One job's way: headers → secrets → connector → response → mapping → outcome.
//!
//! In goes an activated job, out comes what the engine shall be told. Nothing here fails: every error is an outcome.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

use super::Hold;
use super::judge::Judge;
use super::output::Guard;
use crate::connector::{Call, Connector, Response};
use crate::job::Job;
use crate::mapping::{Mapper, Plan, failure};
use crate::outcome::{JobError, Outcome, Remedy};
use crate::progress::{Progress, Step};
use crate::secrets::{Bound, Redactor, Secrets};

/// What a panic becomes: its payload may hold anything, so it is not shown.
pub(super) const DEFECT: &str = "deskhand has a defect that broke off this job; its log names the place.";

/// The way of a job through the rooms.
pub struct Pipeline {
    connectors: HashMap<&'static str, Arc<dyn Connector>>,
    secrets: Secrets,
    mapper: Mapper,
    progress: Progress,
}

impl Pipeline {
    /// A pipeline for these connectors; one job type has one connector, the last one named wins.
    pub fn new(connectors: Vec<Arc<dyn Connector>>, secrets: Secrets, mapper: Mapper, progress: Progress) -> Self {
        Self {
            connectors: connectors.into_iter().map(|one| (one.job_type(), one)).collect(),
            secrets,
            mapper,
            progress,
        }
    }

    /// The connectors, in no order.
    pub fn connectors(&self) -> impl Iterator<Item = &Arc<dyn Connector>> {
        self.connectors.values()
    }

    /// Works on a job. Ends soon after `abandoned` has fired.
    pub async fn run(&self, job: &Job, hold: &dyn Hold, abandoned: &CancellationToken) -> Outcome {
        let plan = match job.headers() {
            Ok(headers) => self.mapper.plan_patiently(&headers).await,
            Err(error) => Err(error),
        };
        let plan = match plan {
            Ok(plan) => plan,
            Err(error) => return failure(job, &error, None),
        };
        let input = match self.prepare(job, &plan, hold).await {
            Ok(input) => input,
            Err(error) => {
                let redactor = self.secrets.known().redactor();
                return self.mapper.outcome(&plan, job, &Err(error), &redactor);
            }
        };
        let result = self.attempt(job, &input, hold, abandoned).await;
        if hold.is_asleep() {
            return Outcome::Asleep;
        }
        // A job that was parked needs a running place for what is left to do, unless it only hands itself back.
        tokio::select! {
            biased;
            () = abandoned.cancelled() => {}
            () = hold.resume() => {}
        }
        // Asked now: the tokens that were fetched meanwhile are known too.
        let known = self.secrets.known().redactor();
        let redactor = known.and(&Redactor::new(&input.used));
        // What a connector says after its job was lost is no result: the task's expressions have no say in it.
        if let Err(error) = &result
            && abandoned.is_cancelled()
        {
            return match error.remedy {
                Remedy::Postpone(_) => failure(job, error, None),
                _ => Outcome::Abandon {
                    reason: error.message.clone(),
                },
            };
        }
        let guard = Guard {
            settings: self.secrets.output(),
            used: &input.used,
            known: &known,
        };
        let judge = Judge {
            mapper: &self.mapper,
            plan: &plan,
            job,
            redactor: &redactor,
            guard,
        };
        let outcome = judge.outcome(result).await;
        if let Outcome::Complete { variables } = &outcome {
            let variables = variables.keys().cloned().collect();
            self.progress.report(job, Step::Mapped { variables });
        }
        outcome
    }

    /// The lease that the task asks for, and its variables with the secrets put in.
    async fn prepare(&self, job: &Job, plan: &Plan, hold: &dyn Hold) -> Result<Bound, JobError> {
        if let Some(timeout) = plan.job_timeout {
            hold.extend(timeout).await?;
        }
        let bound = self.secrets.bind(job.variables()?, &job.secret_scope()).await?;
        for (name, provider) in bound.resolved() {
            self.progress.report(job, Step::SecretResolved { name, provider });
        }
        Ok(bound)
    }

    async fn attempt(
        &self,
        job: &Job,
        input: &Bound,
        hold: &dyn Hold,
        abandoned: &CancellationToken,
    ) -> Result<Response, JobError> {
        let connector = self.connectors.get(job.job_type.as_str()).ok_or_else(|| {
            JobError::input(format!(
                "deskhand has no connector for the job type `{}`.",
                job.job_type
            ))
        })?;
        let call = Call {
            job,
            input,
            abandoned,
            progress: &self.progress,
            journal: hold,
            place: hold,
        };
        // A defect in one job must not take its neighbours with it; the payload may hold anything, so it is not shown.
        AssertUnwindSafe(connector.call(call))
            .catch_unwind()
            .await
            .unwrap_or_else(|_payload| {
                tracing::error!(job = job.key, job_type = job.job_type, "a connector panicked");
                Err(JobError::internal(DEFECT))
            })
    }
}
