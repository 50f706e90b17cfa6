//! Runs of desktop flows: the rows of table `flowsession`, what they were given and what they gave.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

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

    /// The outputs of a run as bytes, `None` if it has none (yet).
    ///
    /// # Errors
    /// [`Error`]; an answer of more than `max_bytes` is one.
    pub async fn run_outputs(&self, id: &Guid, max_bytes: usize) -> Result<Option<Vec<u8>>, Error> {
        self.file_column(&format!("flowsessions({id})/outputs/$value"), max_bytes)
            .await
    }

    /// What a run was given, as bytes, `None` if it was given nothing.
    ///
    /// # Errors
    /// [`Error`]; an answer of more than `max_bytes` is one.
    pub async fn run_inputs(&self, id: &Guid, max_bytes: usize) -> Result<Option<Vec<u8>>, Error> {
        self.file_column(&format!("flowsessions({id})/inputs/$value"), max_bytes)
            .await
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

    /// A column that is read alone. A row that exists without a value answers 204, or 404 like a row that does not
    /// exist: callers who must tell them apart read the row.
    pub(super) async fn file_column(&self, path: &str, max_bytes: usize) -> Result<Option<Vec<u8>>, Error> {
        let url = self.resource(path, &Query::default());
        match self
            .exchange(Exchange::get(url, self.inner.timeouts.call, max_bytes))
            .await
        {
            Ok(answer) if answer.status == 204 || answer.body.is_empty() => Ok(None),
            Ok(answer) => whole(answer).map(Some),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The file, if nothing of it is missing: outputs need not be JSON, so nothing else would tell.
fn whole(answer: Answer) -> Result<Vec<u8>, Error> {
    let told = answer.headers.get("x-ms-file-size").and_then(|size| size.to_str().ok());
    let told: Option<usize> = told.and_then(|size| size.trim().parse().ok());
    match told {
        Some(size) if size != answer.body.len() => Err(Error::Answer(format!(
            "{} bytes came of a file of {size}",
            answer.body.len()
        ))),
        _ => Ok(answer.body),
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
        };
        let age = self.createdon.as_deref().and_then(|on| age(on, answer));
        Ok(FlowSession {
            id,
            status: Status::from_code(status),
            created_on: self.createdon,
            started_on: self.startedon,
            completed_on: self.completedon,
            error: Some(error).filter(|error| *error != RunError::default()),
            age,
        })
    }
}

fn age(created_on: &str, answer: &Answer) -> Option<Duration> {
    let now = error::server_time(&answer.headers)?;
    let created: Timestamp = created_on.parse().ok()?;
    Duration::try_from(now.duration_since(created)).ok()
}

/// What the bytes of a file column say: JSON as it is, other text as a string, anything else as
/// `{"base64": …}`. A byte order mark is dropped; no bytes are null.
pub fn decoded(bytes: &[u8]) -> Value {
    use base64::Engine as _;
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match std::str::from_utf8(text) {
        Ok(text) if text.trim().is_empty() => Value::Null,
        Ok(text) => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())),
        Err(_) => {
            let encoded = base64::engine::general_purpose::STANDARD.encode(bytes);
            serde_json::json!({ "base64": encoded })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::header::HeaderMap;
    use serde_json::json;

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

    #[test]
    fn outputs_are_json_or_text_or_bytes() {
        assert_eq!(decoded(br#"{"Output1":"x"}"#), json!({"Output1": "x"}));
        assert_eq!(decoded(b"\xef\xbb\xbf{\"a\":1}"), json!({"a": 1}));
        assert_eq!(decoded(b"plain words"), json!("plain words"));
        assert_eq!(decoded(b"\xff\x00"), json!({"base64": "/wA="}));
        assert_eq!(decoded(b" "), Value::Null);
    }
}
