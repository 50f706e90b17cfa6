//! Runs that go on and carry a text in their callback URL, whosever they are: for people who look after them.

use jiff::Timestamp;
use serde::Deserialize;

use super::odata::{Query, quoted};
use super::status::Status;
use super::{Dataverse, Error, Exchange, Guid, read_json};
use crate::http::header::HeaderValue;

const COLUMNS: &str = "flowsessionid,name,statuscode,createdon,callbackurl,_regardingobjectid_value";
/// What does not count as ended: everything before 4 (Succeeded), and 6 (Suspended).
const LIVE: &str = "(statuscode lt 4 or statuscode eq 6)";
const PAGE: &str = "odata.maxpagesize=500";
/// Pages of one answer: 10,000 runs.
const MOST_PAGES: usize = 20;
/// A row has at most some 2,500 characters.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

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
struct Page {
    value: Vec<Row>,
    #[serde(rename = "@odata.nextLink")]
    next: Option<String>,
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
            let exchange = Exchange::get(url, self.inner.timeouts.call, PAGE_BYTES)
                .with_header("prefer", HeaderValue::from_static(PAGE));
            let answer = self.exchange(exchange).await?;
            let page: Page = read_json(&answer, "the list of runs")?;
            next = page.next.map(|link| self.next_page(&link)).transpose()?;
            let read: Option<Vec<LiveRun>> = page.value.into_iter().map(Row::into_run).collect();
            let read = read.ok_or_else(|| Error::Answer("a row of the list of runs has no id or no date".into()))?;
            // What the server calls a match is not believed.
            runs.extend(
                read.into_iter()
                    .filter(|run| run.callback_url.contains(text) && run.status.end().is_none()),
            );
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
