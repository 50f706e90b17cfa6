//! `getStatusOfFlowRun`: how far a run is.

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{Session, refusals};
use crate::connector::Response;
use crate::microsoft::dataverse::Guid;
use crate::microsoft::dataverse::sessions::Columns;
use crate::outcome::JobError;

impl Session<'_> {
    /// Gives `{flowSessionId, statusCode, status, finished, succeeded, startedOn, completedOn, errorCode, errorMessage,
    /// errorDetails}`. A run that failed is an answer here, not an error.
    pub(super) async fn get_status(&self, run: &Guid) -> Result<Response, JobError> {
        let began = Instant::now();
        let mut pauses = self.settings.pace.pauses();
        let session = loop {
            match self.dataverse.flow_session(run, Columns::WithError).await {
                Ok(session) => break session,
                // A run that was started a moment ago may not be readable yet.
                Err(error) if error.is_not_found() && began.elapsed() < self.settings.missing_grace => {
                    sleep(pauses.next(None)).await;
                }
                Err(error) => {
                    return Err(refusals::job_error(&format!("Reading the status of run {run}"), &error));
                }
            }
        };
        let error = session.error.unwrap_or_default();
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        Ok(json!({
            "flowSessionId": session.id,
            "statusCode": session.status.code(),
            "status": session.status.label(),
            "finished": session.status.end().is_some(),
            "succeeded": session.status.end() == Some(crate::microsoft::dataverse::End::Succeeded),
            "startedOn": session.started_on,
            "completedOn": session.completed_on,
            "errorCode": given(error.code),
            "errorMessage": given(error.message),
            "errorDetails": given(error.details),
        })
        .into())
    }
}
