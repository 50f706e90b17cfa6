//! From the result of a call to the outcome of its job, without keeping the reactor: what a task's expressions make of
//! the result, behind the guard that keeps secrets out of it.

use super::output::Guard;
use super::pipeline::DEFECT;
use crate::connector::Response;
use crate::job::Job;
use crate::mapping::{Mapper, Patience, Plan, failure};
use crate::outcome::{JobError, Outcome};
use crate::secrets::Redactor;

/// All that is needed to judge a result.
pub(super) struct Judge<'a> {
    pub(super) mapper: &'a Mapper,
    pub(super) plan: &'a Plan,
    pub(super) job: &'a Job,
    pub(super) redactor: &'a Redactor,
    pub(super) guard: Guard<'a>,
}

impl Judge<'_> {
    fn within(&self, result: &Result<Response, JobError>, patience: &Patience) -> Outcome {
        self.guard.outcome(result, |result| {
            self.mapper
                .outcome_within(self.plan, self.job, result, self.redactor, patience)
        })
    }

    /// The outcome: at once where that takes no more than a few milliseconds, else from a thread that may block.
    pub(super) async fn outcome(&self, result: Result<Response, JobError>) -> Outcome {
        if let Some(patience) = Patience::short(&result) {
            let outcome = self.within(&result, &patience);
            if !patience.has_run_out() {
                return outcome;
            }
        }
        let (mapper, plan, job) = (self.mapper.clone(), self.plan.clone(), self.job.clone());
        let (redactor, known) = (self.redactor.clone(), self.guard.known.clone());
        let (settings, used) = (self.guard.settings.clone(), self.guard.used.to_vec());
        let judged = tokio::task::spawn_blocking(move || {
            let guard = Guard {
                settings: &settings,
                used: &used,
                known: &known,
            };
            let judge = Judge {
                mapper: &mapper,
                plan: &plan,
                job: &job,
                redactor: &redactor,
                guard,
            };
            judge.within(&result, &Patience::full())
        });
        judged
            .await
            .unwrap_or_else(|_panic| failure(self.job, &JobError::internal(DEFECT), None))
    }
}
