//! Runs that ended since a moment and carry a text in their callback URL: page by page, oldest change first.

use jiff::Timestamp;
use serde::Deserialize;
use url::Url;

use super::error::server_time;
use super::odata::{Query, quoted};
use super::status::Status;
use super::{Dataverse, Error, Exchange, Guid, read_json};
use crate::http::header::HeaderValue;

const COLUMNS: &str = "flowsessionid,statuscode,startedon,completedon,modifiedon,callbackurl,_regardingobjectid_value";
const PAGE: &str = "odata.maxpagesize=500";
/// A row has at most some 2,500 characters.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// A run that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedRun {
    /// Its id.
    pub id: Guid,
    /// How it ended.
    pub status: Status,
    /// When its script began, as Dataverse writes it; `None` where it never did.
    pub started_on: Option<String>,
    /// When it ended, as Dataverse writes it.
    pub completed_on: Option<String>,
    /// When its row was changed last, by Dataverse's clock, in whole seconds.
    pub modified_on: Timestamp,
    /// The id of its flow.
    pub flow: Option<Guid>,
    /// Its callback URL.
    pub callback_url: String,
}

/// Some of them.
#[derive(Clone, Debug)]
pub struct EndedPage {
    /// The runs.
    pub runs: Vec<EndedRun>,
    /// Dataverse's clock when it answered; `None` where it did not say.
    pub server_time: Option<Timestamp>,
    /// Where the next page is, if there is one.
    pub next: Option<Url>,
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
    statuscode: i64,
    startedon: Option<String>,
    completedon: Option<String>,
    modifiedon: String,
    callbackurl: Option<String>,
    #[serde(rename = "_regardingobjectid_value")]
    flow: Option<String>,
}

impl Dataverse {
    /// The first page of the runs whose rows changed since a moment and before another one, that are over, and in whose callback URL all these
    /// texts stand.
    ///
    /// # Errors
    /// [`Error`]; a link to the next page that leads out of the organisation is one.
    pub async fn ended_called_back(
        &self,
        (since, until): (Timestamp, Option<Timestamp>),
        texts: &[&str],
    ) -> Result<EndedPage, Error> {
        // 6 is Suspended, which ends nothing. Whole seconds are what the column has.
        let mut filter = format!(
            "modifiedon ge {} and statuscode ge 4 and statuscode ne 6",
            whole_seconds(since)
        );
        if let Some(until) = until {
            filter.push_str(&format!(" and modifiedon lt {}", whole_seconds(until)));
        }
        for text in texts {
            filter.push_str(&format!(" and contains(callbackurl,{})", quoted(text)));
        }
        let query = Query::default()
            .with("$select", COLUMNS)
            .with("$filter", &filter)
            .with("$orderby", "modifiedon asc");
        let page = self.ended_page(self.resource("flowsessions", &query)).await?;
        // What the server calls a match is not believed.
        let ours = |run: &EndedRun| texts.iter().all(|text| run.callback_url.contains(text));
        Ok(EndedPage {
            runs: page.runs.into_iter().filter(ours).collect(),
            ..page
        })
    }

    /// A further page: [`EndedPage::next`].
    ///
    /// # Errors
    /// Those of the first page.
    pub async fn ended_page(&self, url: Url) -> Result<EndedPage, Error> {
        let exchange = Exchange::get(url, self.inner.timeouts.call, PAGE_BYTES)
            .with_header("prefer", HeaderValue::from_static(PAGE))
            // Not from a copy that lags behind.
            .with_header("consistency", HeaderValue::from_static("Strong"));
        let answer = self.exchange(exchange).await?;
        let page: Page = read_json(&answer, "the list of ended runs")?;
        let runs: Option<Vec<EndedRun>> = page.value.into_iter().map(Row::into_run).collect();
        let mut runs =
            runs.ok_or_else(|| Error::Answer("a row of the list of ended runs has no id or no date".into()))?;
        runs.retain(|run| run.status.end().is_some());
        Ok(EndedPage {
            runs,
            server_time: server_time(&answer.headers),
            next: page.next.map(|link| self.next_page(&link)).transpose()?,
        })
    }
}

/// As OData writes a moment.
fn whole_seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

impl Row {
    fn into_run(self) -> Option<EndedRun> {
        Some(EndedRun {
            id: Guid::parse(&self.flowsessionid)?,
            status: Status::from_code(self.statuscode),
            started_on: self.startedon,
            completed_on: self.completedon,
            modified_on: self.modifiedon.parse().ok()?,
            flow: self.flow.as_deref().and_then(Guid::parse),
            callback_url: self.callbackurl.unwrap_or_default(),
        })
    }
}
