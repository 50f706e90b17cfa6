//! `getFlowOutputs`: what a run gave back, as JSON where it is JSON.

use serde_json::{Value, json};

use super::{Session, refusals};
use crate::connector::Response;
use crate::microsoft::dataverse::sessions::{Columns, decoded};
use crate::microsoft::dataverse::{Dataverse, Error, Guid};
use crate::outcome::JobError;

impl Session<'_> {
    /// Gives `{flowSessionId, outputs}`; `outputs` is null for a run without outputs (yet), an object as a rule, a text
    /// if they are no JSON, and `{base64}` if they are no text either.
    pub(super) async fn get_flow_outputs(&self, run: &Guid, max_bytes: usize) -> Result<Response, JobError> {
        let outputs = read(&self.dataverse, run, max_bytes).await;
        let outputs = outputs.map_err(|error| job_error(run, &error))?;
        if outputs.is_null() {
            // A run that does not exist answers like one without outputs.
            let row = self.dataverse.flow_session(run, Columns::Progress).await;
            row.map_err(|error| job_error(run, &error))?;
        }
        Ok(json!({"flowSessionId": run, "outputs": outputs}).into())
    }
}

/// The outputs of a run, decoded.
pub(super) async fn read(dataverse: &Dataverse, run: &Guid, max_bytes: usize) -> Result<Value, Error> {
    let bytes = dataverse.run_outputs(run, max_bytes).await?;
    Ok(bytes.as_deref().map_or(Value::Null, decoded))
}

/// What the engine is told when outputs cannot be had.
pub(super) fn job_error(run: &Guid, error: &Error) -> JobError {
    let mut told = refusals::job_error(&format!("Fetching the outputs of run {run}"), error);
    if let Error::Exchange(crate::http::Error::TooLarge { .. }) = error {
        told.message.push_str(
            "\nWhat to do: raise `outputsMaxBytes` (but the engine takes only some megabytes of variables), or let the \
             flow write its result to a file or a table and give back a reference.",
        );
    }
    told
}
