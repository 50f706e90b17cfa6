//! Exclusive tasks: a start waits until earlier runs of its process instance and element are over.
//!
//! Runs that this process knows of are told apart by the element ([`crate::runs::turns`]). Those of other replicas, and
//! those whose task is gone, are found in Dataverse: by the part of the token that says the process instance, among the
//! unfinished runs of the flow.

use tokio::time::sleep;

use super::turn::Until;
use super::{Carrier, Starter, Ticket, Wanted, refusals};
use crate::connector::abandoned;
use crate::microsoft::dataverse::search::Candidate;
use crate::outcome::JobError;
use crate::progress::Step;
use crate::runs::WaitError;
use crate::runs::token::Token;
use crate::runs::turns::{Blocked, Turn};

impl Starter<'_> {
    /// Gives the turn back; where the task is exclusive, not before no earlier run goes on.
    pub(super) async fn alone(&self, mut turn: Turn, ticket: &Ticket, wanted: &Wanted) -> Result<Turn, JobError> {
        if !wanted.exclusive {
            return Ok(turn);
        }
        while let Some(earlier) = self.earlier_run(wanted).await? {
            let reason = Blocked::Exclusive.label();
            tracing::info!(job = self.call.job.key, run = %earlier.id, reason, "the start waits for its turn");
            self.report(Step::StartWaits { reason });
            // Meanwhile others may start.
            drop(turn);
            let run = self.watched(earlier.id, None);
            let until = Until::Over(self.once.watcher.clone(), Box::new(run.clone()));
            if let Some(asleep) = self.falls_asleep(until, ticket) {
                return Err(asleep);
            }
            let over = async {
                match self.once.watcher.wait(&run, |_| {}).await {
                    Ok(_) => Ok(()),
                    Err(WaitError::Refused(error)) => Err(refusals::job_error("Waiting for an earlier run", &error)),
                    // Gone, or waited for in vain: the next look tells.
                    Err(_) => {
                        sleep(refusals::random_pause()).await;
                        Ok(())
                    }
                }
            };
            tokio::select! {
                biased;
                () = self.call.abandoned.cancelled() => return Err(abandoned()),
                over = over => over?,
            }
            let mut again = Ticket::new(ticket.attempt, ticket.doubtful, ticket.decided);
            turn = self.turn(&mut again, wanted).await?;
        }
        Ok(turn)
    }

    /// The earliest unfinished run of this flow and process instance that another entry into a task started.
    async fn earlier_run(&self, wanted: &Wanted) -> Result<Option<Candidate>, JobError> {
        let job = self.call.job;
        let settings = &self.once.settings;
        if settings.carrier_of(&wanted.request) != Some(Carrier::CallbackUrl) {
            return Err(JobError::input(
                "`exclusive` needs something by which earlier runs are found: a callback URL that the token may be \
                 appended to (`callbackUrl`, deskhand's own receiver, or desktop_flow.token_url in the settings).",
            ));
        }
        let instance = settings.tokens.of_process_instance(job.process_instance_key);
        let search = self.dataverse.unfinished_runs_called_back(&instance, &wanted.flow);
        let found = self.unless_abandoned(async { Ok(search.await) }).await?;
        let found = found.map_err(|error| refusals::job_error("Looking for earlier runs of this task", &error))?;
        let another = |run: &Candidate| {
            // What the server calls a match is not believed.
            let token = run.callback_url.as_deref().and_then(Token::find);
            token.is_some_and(|token| {
                let ours = token.to_string().starts_with(&instance);
                ours && token.subject().element_instance != job.element_instance_key
            })
        };
        let mut runs = found.runs.into_iter();
        Ok(runs.find(|run| another(run) && run.status.end().is_none()))
    }
}
