//! Looking for runs whose ids are not known: by what stands in their callback URL, or all of a flow since a moment.

use jiff::Timestamp;
use serde::Deserialize;

use super::error::server_time;
use super::odata::{Query, quoted, whole_seconds};
use super::status::Status;
use super::{Dataverse, Error, Exchange, Guid, read_json};
use crate::http::header::HeaderValue;

const COLUMNS: &str = "flowsessionid,statuscode,createdon,callbackurl,connectionid,_regardingobjectid_value";
/// Runs that one search gives at most, oldest first.
pub const MOST_FOUND: usize = 100;
/// A row has at most some 2,500 characters.
const LARGEST_ANSWER: usize = 1024 * 1024;

/// A run that may be the one that is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub id: Guid,
    /// When Dataverse accepted it, by Dataverse's clock, in whole seconds.
    pub created_on: Timestamp,
    /// Its status.
    pub status: Status,
    /// Its callback URL.
    pub callback_url: Option<String>,
    /// The id of its connection.
    pub connection: Option<String>,
}

/// What a search found.
#[derive(Clone, Debug)]
pub struct FoundRuns {
    /// The runs, oldest first.
    pub runs: Vec<Candidate>,
    /// Were there no more?
    pub complete: bool,
    /// Dataverse's clock when it answered.
    pub server_time: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Rows {
    value: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    flowsessionid: String,
    statuscode: i64,
    createdon: String,
    callbackurl: Option<String>,
    connectionid: Option<String>,
}

impl Dataverse {
    /// The runs in whose callback URL this text stands; of this flow and since this moment where they are given.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn runs_called_back(
        &self,
        text: &str,
        flow: Option<&Guid>,
        since: Option<Timestamp>,
    ) -> Result<FoundRuns, Error> {
        self.search(Some(format!("contains(callbackurl,{})", quoted(text))), flow, since)
            .await
    }

    /// The runs of a flow in whose callback URL this text stands and that are not known to be over.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn unfinished_runs_called_back(&self, text: &str, flow: &Guid) -> Result<FoundRuns, Error> {
        // All but the final statuses (`status`): 0 to 3, 6, and those that nobody knows yet.
        let unfinished = "(statuscode le 3 or statuscode eq 6 or statuscode ge 15)";
        let condition = format!("contains(callbackurl,{}) and {unfinished}", quoted(text));
        self.search(Some(condition), Some(flow), None).await
    }

    /// The runs of a flow since this moment.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn runs_of_flow(&self, flow: &Guid, since: Option<Timestamp>) -> Result<FoundRuns, Error> {
        self.search(None, Some(flow), since).await
    }

    async fn search(
        &self,
        condition: Option<String>,
        flow: Option<&Guid>,
        since: Option<Timestamp>,
    ) -> Result<FoundRuns, Error> {
        let flow = flow.map(|flow| format!("_regardingobjectid_value eq {flow}"));
        let since = since.map(|since| format!("createdon ge {}", whole_seconds(since)));
        let conditions: Vec<String> = [flow, since, condition].into_iter().flatten().collect();
        let query = Query::default()
            .with("$select", COLUMNS)
            .with("$filter", &conditions.join(" and "))
            .with("$orderby", "createdon asc")
            .with("$top", &MOST_FOUND.to_string());
        let url = self.resource("flowsessions", &query);
        let exchange = Exchange::get(url, self.inner.timeouts.call, LARGEST_ANSWER)
            // Not from a copy that lags behind.
            .with_header("consistency", HeaderValue::from_static("Strong"));
        let answer = self.exchange(exchange).await?;
        let rows: Rows = read_json(&answer, "the list of runs")?;
        let complete = rows.value.len() < MOST_FOUND;
        let runs: Option<Vec<Candidate>> = rows.value.into_iter().map(Row::into_candidate).collect();
        Ok(FoundRuns {
            runs: runs.ok_or_else(|| Error::Answer("a row of the list of runs has no id or no date".into()))?,
            complete,
            server_time: server_time(&answer.headers),
        })
    }
}

impl Row {
    fn into_candidate(self) -> Option<Candidate> {
        Some(Candidate {
            id: Guid::parse(&self.flowsessionid)?,
            created_on: self.createdon.parse().ok()?,
            status: Status::from_code(self.statuscode),
            callback_url: self.callbackurl,
            connection: self.connectionid,
        })
    }
}
