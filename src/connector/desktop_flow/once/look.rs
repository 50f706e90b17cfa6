//! Looking for the runs that carry our token: the stable part and where it travels go in, the runs come out in the order
//! in which they count.
//!
//! Several runs of one start's subject can exist: the start of a worker that stood still may be executed late. Every
//! worker orders them alike, by creation and then by id, so that all agree on the one that counts without a word.

use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp};

use crate::microsoft::Class;
use crate::microsoft::dataverse::search::Candidate;
use crate::microsoft::dataverse::{Dataverse, Error, Guid};
use crate::runs::journal::Carrier;
use crate::runs::token::Stable;

/// Clocks of Dataverse's servers may differ by so much.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(2);
/// Runs whose inputs are read at once.
const READ_AT_ONCE: usize = 4;
/// Larger inputs of a run are not read: ours would be, and no token stands in the first place of larger ones.
const MOST_INPUTS: usize = 4 * 1024 * 1024;

/// What to look for.
#[derive(Clone, Debug)]
pub(super) struct Search {
    pub(super) stable: Stable,
    pub(super) carrier: Carrier,
    /// Runs of this flow; an input can only be searched in the runs of one flow, and a search without a beginning is
    /// kept small by it.
    pub(super) flow: Option<Guid>,
    /// Nothing that was created before this moment, by Dataverse's clock, can be ours.
    pub(super) since: Option<Timestamp>,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Runs that carry the token, the one that counts first.
    pub(super) runs: Vec<Candidate>,
    /// Dataverse's clock.
    pub(super) server_time: Option<Timestamp>,
}

impl Search {
    /// Looks once.
    ///
    /// # Errors
    /// When the answer is not known: then nothing may be concluded.
    pub(super) async fn look(&self, dataverse: &Dataverse) -> Result<Seen, Error> {
        let since = self
            .since
            .map(|since| since.saturating_sub(CLOCKS_DIFFER).unwrap_or(since));
        match &self.carrier {
            Carrier::CallbackUrl => {
                let flow = self.flow.as_ref().filter(|_| self.since.is_none());
                let found = dataverse.runs_called_back(self.stable.as_str(), flow, since).await?;
                // What the server calls a match is not believed.
                let ours = |run: &Candidate| run.callback_url.as_deref().is_some_and(|url| self.stable.is_in(url));
                let runs = found.runs.into_iter().filter(ours).collect();
                Ok(ordered(runs, found.server_time))
            }
            Carrier::Input(_) => {
                let flow = self
                    .flow
                    .as_ref()
                    .ok_or_else(|| Error::Answer("it is not known of which flow".into()))?;
                let found = dataverse.runs_of_flow(flow, since).await?;
                if !found.complete {
                    return Err(Error::Answer(format!(
                        "more than {} runs of the flow may be the one that is looked for, so it cannot be told by their \
                         inputs",
                        found.runs.len()
                    )));
                }
                let checked = futures_util::stream::iter(found.runs)
                    .map(|run| async move { (self.carries(dataverse, &run).await, run) });
                let mut checked = checked.buffered(READ_AT_ONCE);
                let mut runs = Vec::new();
                while let Some((carries, run)) = checked.next().await {
                    if carries? {
                        runs.push(run);
                    }
                }
                Ok(ordered(runs, found.server_time))
            }
        }
    }

    async fn carries(&self, dataverse: &Dataverse, run: &Candidate) -> Result<bool, Error> {
        match dataverse.run_inputs(&run.id, MOST_INPUTS).await {
            Ok(inputs) => Ok(inputs.is_some_and(|inputs| self.stable.is_in(&String::from_utf8_lossy(&inputs)))),
            // Too large to be read: not one of ours, which are bounded.
            Err(error) if matches!(error.class(), Class::SomeoneMustFixIt) && error.status().is_none() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn ordered(mut runs: Vec<Candidate>, server_time: Option<Timestamp>) -> Seen {
    runs.sort_by_key(|run| (run.created_on, run.id));
    Seen { runs, server_time }
}
