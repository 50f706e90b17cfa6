//! Runs that go on and carry a text in their callback URL, whosever they are: for people who look after them.

use jiff::Timestamp;
use serde::Deserialize;

use super::odata::{Query, quoted};
use super::status::Status;
use super::{Dataverse, Error, Guid};

const COLUMNS: &str = "flowsessionid,name,statuscode,createdon,callbackurl,_regardingobjectid_value";
/// What does not count as ended: everything before 4 (Succeeded), and 6 (Suspended).
const LIVE: &str = "(statuscode lt 4 or statuscode eq 6)";
/// Pages of one answer: 10,000 runs.
const MOST_PAGES: usize = 20;

/// A run that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveRun {
    /// Its id.
    pub id: Guid,
    /// The name of its flow, as the row has it.
    pub name: String,
    /// The id of its flow.
    pub flow: Option<Guid>,
    /// Its status.
    pub status: Status,
    /// When Dataverse accepted it.
    pub created_on: Timestamp,
    /// Its callback URL.
    pub callback_url: String,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct LiveRuns {
    /// The runs, oldest first.
    pub runs: Vec<LiveRun>,
    /// Were there no more?
    pub complete: bool,
}

#[derive(Deserialize)]
struct Row {
    flowsessionid: String,
    name: Option<String>,
    statuscode: i64,
    createdon: String,
    callbackurl: Option<String>,
    #[serde(rename = "_regardingobjectid_value")]
    flow: Option<String>,
}

impl Dataverse {
    /// The runs that go on and in whose callback URL this text stands, some thousand at most.
    ///
    /// # Errors
    /// [`Error`]; a link to the next page that leads out of the organisation is one.
    pub async fn live_runs(&self, text: &str) -> Result<LiveRuns, Error> {
        let filter = format!("contains(callbackurl,{}) and {LIVE}", quoted(text));
        let query = Query::default()
            .with("$select", COLUMNS)
            .with("$filter", &filter)
            .with("$orderby", "createdon asc");
        let mut next = Some(self.resource("flowsessions", &query));
        let mut runs = Vec::new();
        for _ in 0..MOST_PAGES {
            let Some(url) = next.take() else { break };
            let page = self.page_of_runs(url, Row::into_run).await?;
            next = page.next;
            // What the server calls a match is not believed.
            let ours = |run: &LiveRun| run.callback_url.contains(text) && run.status.end().is_none();
            runs.extend(page.runs.into_iter().filter(ours));
        }
        Ok(LiveRuns {
            runs,
            complete: next.is_none(),
        })
    }
}

impl Row {
    fn into_run(self) -> Option<LiveRun> {
        Some(LiveRun {
            id: Guid::parse(&self.flowsessionid)?,
            name: self.name.unwrap_or_default(),
            flow: self.flow.as_deref().and_then(Guid::parse),
            status: Status::from_code(self.statuscode),
            created_on: self.createdon.parse().ok()?,
            callback_url: self.callbackurl.unwrap_or_default(),
        })
    }
}
