//! Starting a run: what the task asks for goes in, the run of this entry into the task comes out ([`super::once`]).

use super::Session;
use super::input::{FlowChoice, Start};
use super::once::{Before, Started, Starter, Ticket, Wanted};
use super::{refusals, schema};
use serde_json::Value;

use crate::microsoft::dataverse::Guid;
use crate::outcome::JobError;
use crate::runs::journal;
use crate::runs::message::Mark;
use crate::runs::token::Token;

impl Session<'_> {
    /// The run of this entry into the task: adopted if there is one, else started. `called` is leave to start that was
    /// given before the job waited for its turn.
    pub(super) async fn start_or_adopt(&self, start: &Start, called: Option<Ticket>) -> Result<Started, JobError> {
        let starter = self.starter();
        let before = match called {
            Some(ticket) => Before::ToStart(ticket),
            None => starter.before(start.request.inputs.as_deref()).await?,
        };
        match before {
            Before::Adopted(started) => {
                starter.count_adopted(&start.request.connection_name, start.exclusive, &started);
                Ok(*started)
            }
            Before::ToStart(ticket) => {
                let flow = self.unless_abandoned(self.flow(&start.flow)).await?;
                self.unless_abandoned(self.check_inputs(&flow, start)).await?;
                let wanted = Wanted {
                    flow,
                    flow_name: match &start.flow {
                        FlowChoice::Name(name) => Some(name.clone()),
                        FlowChoice::Id(_) => None,
                    },
                    request: start.request.clone(),
                    token_input: start.token_input.clone(),
                    exclusive: start.exclusive,
                    message: start.message.as_ref().map(|message| Mark {
                        name: message.name.clone(),
                        time_to_live: message.time_to_live,
                        tenant_id: self.call.job.tenant_id.clone(),
                    }),
                };
                starter.start(ticket, &wanted).await
            }
        }
    }

    /// The run says itself what is to be published of it; it is watched so that this happens soon.
    ///
    /// # Errors
    /// When it is a run that a person named, which nobody started with a message in mind.
    pub(super) fn has_its_end_published(&self, started: &Started) -> Result<(), JobError> {
        let entry = &started.entry;
        let Some(token) = entry.token.as_deref().and_then(Token::parse) else {
            return Err(JobError::input(format!(
                "`waitFor` is `message`, but run {} was adopted because the variable `{}` says so, and carries nothing by \
                 which its end could be published: the message would never come. Wait for this run with \
                 `getStatusOfFlowRun`, or have the flow started again.",
                entry.run,
                journal::DECISION
            )));
        };
        self.hints
            .watch(self.watcher, &self.starter().watched(entry.run, Some(token.nonce())));
        Ok(())
    }

    /// The inputs against the flow's schema: a run that must fail is not started. Where the schema cannot be read, Dataverse
    /// has the last word.
    async fn check_inputs(&self, flow: &Guid, start: &Start) -> Result<(), JobError> {
        if !start.check_inputs {
            return Ok(());
        }
        let mut inputs = match start.request.inputs.as_deref().map(serde_json::from_str) {
            Some(Ok(Value::Object(inputs))) => inputs,
            _ => return Ok(()),
        };
        // The token comes to it later.
        if let Some(name) = &start.token_input {
            inputs.insert(name.clone(), Value::Null);
        }
        let schema = match self.schemas.inputs_of(&self.dataverse, flow).await {
            Ok(schema) => schema,
            Err(error) => {
                tracing::debug!(%flow, %error, "the schema of the flow's inputs cannot be read: they are not checked");
                return Ok(());
            }
        };
        let faults = schema::faults(&inputs, schema.as_ref().as_ref());
        if faults.is_empty() {
            return Ok(());
        }
        Err(JobError::input(format!(
            "No run was started: {}. Correct `inputs`, or set `checkInputs` to false.",
            faults.join("; ")
        )))
    }

    pub(super) fn starter(&self) -> Starter<'_> {
        Starter {
            once: self.once,
            call: self.call,
            task: &self.task,
            dataverse: &self.dataverse,
            may_take: self.settings.timeouts.start,
            longest_pause: self.settings.longest_pause,
            began: self.began,
            refused: &refusals::refused_start,
        }
    }

    pub(super) async fn flow(&self, choice: &FlowChoice) -> Result<Guid, JobError> {
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
}
