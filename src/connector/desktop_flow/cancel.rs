//! `cancelFlowRun`: asks that a run be cancelled.

use serde_json::json;

use super::{Session, refusals};
use crate::audit::Event;
use crate::connector::Response;
use crate::microsoft::Class;
use crate::microsoft::dataverse::sessions::Columns;
use crate::microsoft::dataverse::{Error, Guid, Status};
use crate::outcome::JobError;

/// What became of a request to cancel a run.
pub(super) struct Cancelled {
    /// Was it accepted? If not, the run was over before.
    pub(super) accepted: bool,
    /// The run's status right after the request, where it could be read.
    pub(super) status: Option<Status>,
}

impl Session<'_> {
    /// Gives `{flowSessionId, accepted, alreadyFinished, statusCode, status}`. Cancelling takes a while: `statusCode` is
    /// the one right after the request. A run that was over before is no error.
    pub(super) async fn cancel(&self, run: &Guid) -> Result<Response, JobError> {
        let cancelled = self.request_cancel(run).await;
        let Cancelled { accepted, status } =
            cancelled.map_err(|error| refusals::job_error(&format!("Cancelling run {run}"), &error))?;
        if accepted {
            self.note_in_audit(Event::Cancel { reason: "asked-for" }, run);
        }
        Ok(json!({
            "flowSessionId": run,
            "accepted": accepted,
            "alreadyFinished": !accepted,
            "statusCode": status.map(Status::code),
            "status": status.map(Status::label),
        })
        .into())
    }

    /// Asks once. Dataverse does not document what it says about a run that is over, so the run itself is asked when the
    /// request is refused.
    pub(super) async fn request_cancel(&self, run: &Guid) -> Result<Cancelled, Error> {
        let refused = match self.dataverse.cancel_run(run).await {
            Ok(()) => None,
            Err(error) if error.class() == Class::SomeoneMustFixIt => Some(error),
            Err(error) => return Err(error),
        };
        let session = self.dataverse.flow_session(run, Columns::Progress).await;
        let status = session.ok().map(|session| session.status);
        match refused {
            Some(error) if status.and_then(Status::end).is_none() => Err(error),
            refused => Ok(Cancelled {
                accepted: refused.is_none(),
                status,
            }),
        }
    }
}
