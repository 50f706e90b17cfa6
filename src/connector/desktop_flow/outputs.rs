//! What a run gave back: as a value, JSON where it is JSON; or, with `saveTo`, as a file.

use serde_json::{Value, json};

use super::input::WantedOutputs;
use super::save::{Part, SaveError, Saved};
use super::{Session, refusals};
use crate::connector::Response;
use crate::microsoft::Class;
use crate::microsoft::dataverse::files::decoded;
use crate::microsoft::dataverse::sessions::Columns;
use crate::microsoft::dataverse::{Dataverse, Error, Guid};
use crate::outcome::{JobError, Remedy};

/// What a run gave back.
pub(super) enum Outputs {
    /// Nothing (yet).
    None,
    /// A value for the process.
    Value(Value),
    /// A file; the value describes it.
    File(Value),
}

/// Why the outputs cannot be had.
pub(super) enum OutputsError {
    /// They could not be read.
    Read(Error),
    /// They could not be written.
    Save(SaveError),
}

impl Session<'_> {
    /// Gives `{flowSessionId, outputs}`; `outputs` is null for a run without outputs (yet), an object as a rule, a text
    /// if they are no JSON, and `{base64}` if they are no text either. With `saveTo` also `outputsFile`.
    pub(super) async fn get_flow_outputs(&self, run: &Guid, wanted: &WantedOutputs) -> Result<Response, JobError> {
        let outputs = read(&self.dataverse, run, wanted).await;
        let outputs = outputs.map_err(|error| error.told(run))?;
        if matches!(outputs, Outputs::None) {
            // A run that does not exist answers like one without outputs.
            let row = self.dataverse.flow_session(run, Columns::Progress).await;
            row.map_err(|error| OutputsError::Read(error).told(run))?;
        }
        let mut response = json!({"flowSessionId": run});
        outputs.add_to(&mut response, wanted);
        Ok(response.into())
    }
}

impl Outputs {
    /// Adds `outputs`, and `outputsFile` where a file was asked for.
    pub(super) fn add_to(self, response: &mut Value, wanted: &WantedOutputs) {
        let (value, file) = match self {
            Outputs::None => (Value::Null, Value::Null),
            Outputs::Value(value) => (value, Value::Null),
            Outputs::File(file) => (Value::Null, file),
        };
        response["outputs"] = value;
        if wanted.save_to.is_some() {
            response["outputsFile"] = file;
        }
    }
}

/// The outputs of a run, as they are wanted.
pub(super) async fn read(dataverse: &Dataverse, run: &Guid, wanted: &WantedOutputs) -> Result<Outputs, OutputsError> {
    let Some((root, path)) = &wanted.save_to else {
        let bytes = dataverse.run_outputs(run, wanted.max_bytes).await;
        let bytes = bytes.map_err(OutputsError::Read)?;
        return Ok(bytes.map_or(Outputs::None, |bytes| Outputs::Value(decoded(&bytes))));
    };
    let mut pieces = dataverse.run_outputs_in_pieces(run, wanted.max_bytes);
    let Some(first) = pieces.next().await.map_err(OutputsError::Read)? else {
        return Ok(Outputs::None);
    };
    let (root, path) = (root.clone(), path.clone());
    let mut part = on_disk(move || {
        let mut part = Part::create(&root, &path)?;
        part.write(&first)?;
        Ok(part)
    })
    .await?;
    while let Some(piece) = pieces.next().await.map_err(OutputsError::Read)? {
        part = on_disk(move || {
            part.write(&piece)?;
            Ok(part)
        })
        .await?;
    }
    let Saved { path, size, sha256 } = on_disk(move || part.keep()).await?;
    Ok(Outputs::File(json!({
        "path": path.to_string_lossy(),
        "size": size,
        "sha256": sha256,
        "contentType": pieces.content_type(),
    })))
}

/// Disks may be slow: other jobs do not wait for them.
async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SaveError> + Send + 'static,
) -> Result<T, OutputsError> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|error| OutputsError::Save(std::io::Error::other(error).into()))?;
    done.map_err(OutputsError::Save)
}

impl OutputsError {
    /// May it pass if one waits a moment, and how long?
    pub(super) fn pause(&self) -> Option<Option<std::time::Duration>> {
        match self {
            OutputsError::Read(error) if error.class() != Class::SomeoneMustFixIt => Some(error.retry_after()),
            OutputsError::Read(_) | OutputsError::Save(_) => None,
        }
    }

    /// What the engine is told.
    pub(super) fn told(&self, run: &Guid) -> JobError {
        match self {
            OutputsError::Read(error) => {
                let mut told = refusals::job_error(&format!("Fetching the outputs of run {run}"), error);
                if let Error::Exchange(crate::http::Error::TooLarge { .. }) = error {
                    told.message.push_str(
                        "\nWhat to do: raise `outputsMaxBytes` (the engine takes only some megabytes of variables); or \
                         save them as a file with `saveTo`; or let the flow write its result to a file or a table and \
                         give back a reference. The run itself succeeded: resolving the incident fetches its outputs \
                         again and does not start it again.",
                    );
                }
                told
            }
            OutputsError::Save(error) => {
                let remedy = if error.may_pass() {
                    Remedy::Retry
                } else {
                    Remedy::Incident
                };
                let message = format!("Saving the outputs of run {run} failed: {error}.");
                JobError::connector("SAVE", message).with_remedy(remedy)
            }
        }
    }
}
