//! Runs that ended since a moment and carry a text in their callback URL: page by page, oldest change first.

use jiff::Timestamp;
use serde::Deserialize;
use url::Url;

use super::odata::{Query, quoted, whole_seconds};
use super::pages::Page;
use super::status::Status;
use super::{Dataverse, Error, Guid};

const COLUMNS: &str = "flowsessionid,statuscode,startedon,completedon,modifiedon,callbackurl,_regardingobjectid_value";

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
pub type EndedPage = Page<EndedRun>;

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
    /// The first page of the runs whose rows changed since a moment and before another one, that are over, and in whose
    /// callback URL all these texts stand.
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
        let mut page = self.page_of_runs(url, Row::into_run).await?;
        page.runs.retain(|run| run.status.end().is_some());
        Ok(page)
    }
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
