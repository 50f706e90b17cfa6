//! `cancelFlowRun`: asks that a run be cancelled.

use serde_json::json;

use super::{Session, refusals};
use crate::connector::Response;
use crate::microsoft::Class;
use crate::microsoft::dataverse::Guid;
use crate::microsoft::dataverse::sessions::Columns;
use crate::outcome::JobError;

impl Session<'_> {
    /// Gives `{flowSessionId, accepted, alreadyFinished, statusCode, status}`. Cancelling takes a while: `statusCode` is
    /// the one right after the request. A run that was over before is no error.
    pub(super) async fn cancel(&self, run: &Guid) -> Result<Response, JobError> {
        let doing = format!("Cancelling run {run}");
        let refused = match self.dataverse.cancel_run(run).await {
            Ok(()) => None,
            // Dataverse does not document what it says about a run that is over, so the run itself is asked.
            Err(error) if error.class() == Class::SomeoneMustFixIt => Some(error),
            Err(error) => return Err(refusals::job_error(&doing, &error)),
        };
        let session = self.dataverse.flow_session(run, Columns::Progress).await;
        let ended = session.as_ref().is_ok_and(|session| session.status.end().is_some());
        if let Some(refused) = &refused
            && !ended
        {
            return Err(refusals::job_error(&doing, refused));
        }
        let status = session.ok().map(|session| session.status);
        Ok(json!({
            "flowSessionId": run,
            "accepted": refused.is_none(),
            "alreadyFinished": refused.is_some(),
            "statusCode": status.map(|status| status.code()),
            "status": status.map(|status| status.label()),
        })
        .into())
    }
}
