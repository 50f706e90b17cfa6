//! Runs of desktop flows: the rows of table `flowsession`.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use super::odata::Query;
use super::status::Status;
use super::{Dataverse, Error, Exchange, Guid, SMALL_ANSWER, error, read_json};
use crate::http::Answer;
use crate::http::header::HeaderValue;

/// Small columns, cheap to ask for each few seconds.
const PROGRESS: &str = "statuscode,createdon,startedon,completedon";
/// The same and the reasons of a failure, which may be long.
const WITH_ERROR: &str = "statuscode,createdon,startedon,completedon,errorcode,errormessage,errordetails";

/// Columns of a query for what changed.
const CHANGED: &str = "statuscode,createdon,startedon,completedon,modifiedon";
/// Rows a page of such a query.
const CHANGED_PAGE: &str = "odata.maxpagesize=500";
/// Pages of one such query; the next one goes on where it ended.
const CHANGED_PAGES: usize = 4;
/// Bytes of one page.
const CHANGED_BYTES: usize = 2 * 1024 * 1024;

/// How many runs one query may ask for: keeps its URL below 8 KiB.
pub const MOST_IN_A_QUERY: usize = 100;

/// What is asked about a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    /// Status and times.
    Progress,
    /// Status, times and the reasons of a failure.
    WithError,
}

/// A row of table `flowsession`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowSession {
    /// The run's id.
    pub id: Guid,
    /// Its status.
    pub status: Status,
    /// When it was accepted, as Dataverse writes it.
    pub created_on: Option<String>,
    /// When its script began; `None` while it waits.
    pub started_on: Option<String>,
    /// When it ended; `None` until then.
    pub completed_on: Option<String>,
    /// Why it failed, where that was asked for and is known.
    pub error: Option<RunError>,
    /// How long ago it was accepted, by Dataverse's clock alone; `None` where the answer did not say.
    pub age: Option<Duration>,
}

/// Runs that ended since a moment.
#[derive(Clone, Debug)]
pub struct Changed {
    /// Their rows.
    pub sessions: Vec<FlowSession>,
    /// From when the next query must look to miss nothing, by Dataverse's clock; `None` where the answer did not say.
    pub seen_to: Option<Timestamp>,
}

/// The reasons of a failure as the row has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunError {
    /// E.g. `NoCandidateMachine`; empty for many errors that a script raises.
    pub code: String,
    /// What happened.
    pub message: String,
    /// More of it.
    pub details: String,
    /// Dataverse's name for the request that told this.
    pub request_id: Option<String>,
}

#[derive(Deserialize)]
struct Row {
    flowsessionid: Option<String>,
    statuscode: Option<i64>,
    createdon: Option<String>,
    startedon: Option<String>,
    completedon: Option<String>,
    modifiedon: Option<String>,
    errorcode: Option<String>,
    errormessage: Option<String>,
    errordetails: Option<String>,
}

#[derive(Deserialize)]
struct Rows {
    value: Vec<Row>,
    #[serde(rename = "@odata.nextLink")]
    next: Option<String>,
}

impl Dataverse {
    /// The row of a run.
    ///
    /// # Errors
    /// [`Error`]; [`Error::is_not_found`] also for some seconds after the start.
    pub async fn flow_session(&self, id: &Guid, columns: Columns) -> Result<FlowSession, Error> {
        let query = Query::default().with("$select", select(columns));
        let url = self.resource(&format!("flowsessions({id})"), &query);
        let answer = self
            .exchange(Exchange::get(url, self.inner.timeouts.call, SMALL_ANSWER))
            .await?;
        let row: Row = read_json(&answer, "the row of the run")?;
        row.into_session(Some(id), &answer)
    }

    /// The rows of several runs, at most [`MOST_IN_A_QUERY`]; runs that Dataverse does not find are left out.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn flow_sessions(&self, ids: &[Guid]) -> Result<Vec<FlowSession>, Error> {
        let asked = &ids[..ids.len().min(MOST_IN_A_QUERY)];
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let any: Vec<String> = asked.iter().map(|id| format!("flowsessionid eq {id}")).collect();
        let query = Query::default()
            .with("$select", PROGRESS)
            .with("$filter", &any.join(" or "));
        let url = self.resource("flowsessions", &query);
        let answer = self
            .exchange(Exchange::get(url, self.inner.timeouts.call, SMALL_ANSWER))
            .await?;
        let rows: Rows = read_json(&answer, "the list of runs")?;
        rows.value
            .into_iter()
            .map(|row| row.into_session(None, &answer))
            .collect()
    }

    /// Dataverse's clock, from an answer that costs it little.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn server_clock(&self) -> Result<Option<Timestamp>, Error> {
        let query = Query::default().with("$select", "statuscode").with("$top", "1");
        let url = self.resource("flowsessions", &query);
        let answer = self
            .exchange(Exchange::get(url, self.inner.timeouts.call, SMALL_ANSWER))
            .await?;
        Ok(error::server_time(&answer.headers))
    }

    /// The runs of everybody that ended since `since`, oldest change first, some thousand at most.
    ///
    /// # Errors
    /// [`Error`]; a link to the next page that leads out of the organisation is not followed and is one.
    pub async fn ended_since(&self, since: Timestamp) -> Result<Changed, Error> {
        // Whole seconds are what the column has. 6 is Suspended, which ends nothing.
        let filter = format!(
            "modifiedon ge {} and statuscode ge 4 and statuscode ne 6",
            since.strftime("%Y-%m-%dT%H:%M:%SZ")
        );
        let query = Query::default()
            .with("$select", CHANGED)
            .with("$filter", &filter)
            .with("$orderby", "modifiedon asc");
        let mut next = Some(self.resource("flowsessions", &query));
        let mut changed = Changed {
            sessions: Vec::new(),
            seen_to: None,
        };
        let mut last = None;
        for page in 0..CHANGED_PAGES {
            let Some(url) = next.take() else { break };
            let exchange = Exchange::get(url, self.inner.timeouts.call, CHANGED_BYTES)
                .with_header("prefer", HeaderValue::from_static(CHANGED_PAGE));
            let answer = self.exchange(exchange).await?;
            if page == 0 {
                changed.seen_to = error::server_time(&answer.headers);
            }
            let rows: Rows = read_json(&answer, "the list of ended runs")?;
            next = rows.next.map(|link| self.next_page(&link)).transpose()?;
            for row in rows.value {
                last = row.modifiedon.as_deref().and_then(|on| on.parse().ok()).or(last);
                changed.sessions.push(row.into_session(None, &answer)?);
            }
        }
        if next.is_some() {
            changed.seen_to = last;
        }
        Ok(changed)
    }

    /// Asks that a run be cancelled. It may go on for a while; it is over when its status says so.
    ///
    /// # Errors
    /// [`Error`], also for a run that has ended: read its status then.
    pub async fn cancel_run(&self, id: &Guid) -> Result<(), Error> {
        let path = format!("flowsessions({id})/Microsoft.Dynamics.CRM.CancelDesktopFlowRun");
        let url = self.resource(&path, &Query::default());
        let exchange = Exchange::post(url, Vec::new(), self.inner.timeouts.call);
        self.exchange(exchange).await.map(|_| ())
    }
}

fn select(columns: Columns) -> &'static str {
    match columns {
        Columns::Progress => PROGRESS,
        Columns::WithError => WITH_ERROR,
    }
}

impl Row {
    fn into_session(self, asked: Option<&Guid>, answer: &Answer) -> Result<FlowSession, Error> {
        let id = self.flowsessionid.as_deref().and_then(Guid::parse);
        let id = asked.copied().or(id);
        let (Some(id), Some(status)) = (id, self.statuscode) else {
            return Err(Error::Answer("the row of the run has no `statuscode` or no id".into()));
        };
        let error = RunError {
            code: self.errorcode.unwrap_or_default(),
            message: self.errormessage.unwrap_or_default(),
            details: self.errordetails.unwrap_or_default(),
            request_id: None,
        };
        let error = Some(error).filter(|error| *error != RunError::default());
        let age = self.createdon.as_deref().and_then(|on| age(on, answer));
        Ok(FlowSession {
            id,
            status: Status::from_code(status),
            created_on: self.createdon,
            started_on: self.startedon,
            completed_on: self.completedon,
            error: error.map(|error| RunError {
                request_id: error::request_id(&answer.headers),
                ..error
            }),
            age,
        })
    }
}

fn age(created_on: &str, answer: &Answer) -> Option<Duration> {
    let now = error::server_time(&answer.headers)?;
    let created: Timestamp = created_on.parse().ok()?;
    Duration::try_from(now.duration_since(created)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::header::HeaderMap;
    use serde_json::{Value, json};

    fn answer(date: Option<&'static str>) -> Answer {
        let mut headers = HeaderMap::new();
        if let Some(date) = date {
            headers.insert("date", HeaderValue::from_static(date));
        }
        Answer {
            status: 200,
            reason: String::new(),
            headers,
            body: Vec::new(),
        }
    }

    fn row(value: Value) -> Row {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_age_of_a_run_is_told_by_dataverses_clock_alone() {
        let session = |date| {
            row(
                json!({"flowsessionid": "d9687093-d0c0-ec11-983e-0022480b428a", "statuscode": 3,
                       "createdon": "2022-06-16T12:54:40Z"}),
            )
            .into_session(None, &answer(date))
            .unwrap()
        };
        assert_eq!(
            session(Some("Thu, 16 Jun 2022 12:55:10 GMT")).age,
            Some(Duration::from_secs(30))
        );
        assert_eq!(session(None).age, None);
        assert_eq!(
            session(Some("Thu, 16 Jun 2022 12:54:00 GMT")).age,
            None,
            "created in the future is no age"
        );
    }

    #[test]
    fn a_row_without_a_status_is_not_believed() {
        let id = Guid::parse("d9687093-d0c0-ec11-983e-0022480b428a").unwrap();
        let error = row(json!({"statecode": 1})).into_session(Some(&id), &answer(None));
        assert!(matches!(error, Err(Error::Answer(_))));
    }
}
