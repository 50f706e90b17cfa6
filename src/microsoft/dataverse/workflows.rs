//! Desktop flows: the rows of table `workflow` with category 6, their schema, and the action that starts a run.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;

use super::error::server_time;
use super::odata::{Query, quoted};
use super::{Dataverse, Error, Exchange, Guid, read_json};
use crate::http::header::HeaderValue;
use crate::http::{Answer, LastLook};

/// `category` of a desktop flow.
const DESKTOP_FLOWS: &str = "category eq 6";
/// Rows a page. Whole rows are large, and large pages time out; ours are small.
const PAGE: usize = 500;
/// Pages that are followed at most, so that a server cannot lead us on for ever.
const MOST_PAGES: usize = 50;
/// Bytes of one page.
const PAGE_BYTES: usize = 10 * 1024 * 1024;
/// Bytes of a flow's schema.
const SCHEMA_BYTES: usize = 4 * 1024 * 1024;

/// Which flows to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Columns. Never all of them: a row holds the whole flow.
    pub select: String,
    /// An OData condition beside "is a desktop flow"; [`super::is_closed_filter`] must hold.
    pub filter: Option<String>,
    /// OData order, e.g. `name asc`.
    pub order_by: Option<String>,
    /// At most so many rows.
    pub limit: usize,
    /// Drafts, too.
    pub include_drafts: bool,
}

/// Flows of an organisation.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// The rows as Dataverse gave them, without its own annotations; each id once.
    pub flows: Vec<Map<String, Value>>,
    /// Were there no more?
    pub complete: bool,
}

/// A flow that was found by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// `workflowid`.
    pub id: Guid,
    /// Its name as written in Dataverse.
    pub name: String,
}

/// The parameters of `RunDesktopFlow`; those that are `None` are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunRequest {
    /// `attended` or `unattended`.
    pub run_mode: String,
    /// `normal`, `high` or a name of the organisation's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_priority: Option<String>,
    /// Name of the connection, or logical name of the connection reference.
    pub connection_name: String,
    /// 1 connection, 2 connection reference: `Edm.Int32`, a text is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_type: Option<u8>,
    /// Bound on the script, seconds, 1 to 86,400; 10,800 if left out. Waiting for a machine does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
    /// JSON text of an object, at most 2 MB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inputs: Option<String>,
    /// Where Dataverse tells the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callback_url: Option<String>,
    /// Parameters that are not known here.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// How a start is sent.
#[derive(Clone, Debug)]
pub struct Sending {
    /// Bound on the whole exchange.
    pub within: Duration,
    /// Asked when the request is about to be written.
    pub last_look: Option<LastLook>,
}

/// Dataverse accepted a start.
#[derive(Clone, Debug)]
pub struct Started {
    /// Id of the run.
    pub id: Guid,
    /// What the licence check said, if it said anything. A bad code does not stop the run, but predicts trouble.
    pub license_check: Option<LicenseCheck>,
    /// Dataverse's clock.
    pub server_time: Option<Timestamp>,
    /// The answer itself.
    pub answer: Answer,
}

/// The licence check of a start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LicenseCheck {
    /// `ValidLicenseCoverage`, `LicensingCheckFailed`, `AttendedNoLicense` or `UnattendedNoAddon`.
    #[serde(default)]
    pub code: String,
    /// In words.
    #[serde(default)]
    pub message: String,
}

#[derive(Deserialize)]
struct Page {
    value: Vec<Map<String, Value>>,
    #[serde(rename = "@odata.nextLink")]
    next: Option<String>,
}

/// Flows of one name that are told apart: more need their ids.
const MOST_NAMED_ALIKE: usize = 20;

impl Dataverse {
    /// Lists desktop flows, page after page, until the limit.
    ///
    /// # Errors
    /// [`Error`]; a link to the next page that leads out of the organisation is not followed and is one.
    pub async fn list_workflows(&self, listing: &Listing) -> Result<Listed, Error> {
        let mut query = Query::default().with("$select", &listing.select);
        query = match &listing.filter {
            Some(filter) => query.with("$filter", &format!("{DESKTOP_FLOWS} and ({filter})")),
            None => query.with("$filter", DESKTOP_FLOWS),
        };
        if let Some(order) = &listing.order_by {
            query = query.with("$orderby", order);
        }
        let prefer = HeaderValue::from_str(&format!("odata.maxpagesize={}", listing.limit.clamp(1, PAGE)))
            .unwrap_or(HeaderValue::from_static("odata.maxpagesize=500"));

        let mut next = Some(self.resource("workflows", &query));
        let mut flows = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..MOST_PAGES {
            let Some(url) = next.take() else { break };
            let mut exchange = Exchange::get(url, self.inner.timeouts.call, PAGE_BYTES)
                // Every page wants the same preferences.
                .with_header("prefer", prefer.clone());
            if listing.include_drafts {
                exchange = exchange.with_header("mscrm.includeunpublished", HeaderValue::from_static("true"));
            }
            let page: Page = read_json(&self.exchange(exchange).await?, "the list of flows")?;
            next = page.next.map(|link| self.next_page(&link)).transpose()?;
            for mut flow in page.value {
                flow.retain(|name, _| !name.starts_with("@odata."));
                // Draft and published copy of a flow share their id.
                let id = flow.get("workflowid").and_then(Value::as_str).map(str::to_owned);
                if id.is_none_or(|id| seen.insert(id)) {
                    flows.push(flow);
                }
            }
            if flows.len() >= listing.limit {
                break;
            }
        }
        let complete = next.is_none() && flows.len() <= listing.limit;
        flows.truncate(listing.limit);
        Ok(Listed { flows, complete })
    }

    /// The published desktop flows with this name, some at most, since one is wanted.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn workflows_named(&self, name: &str) -> Result<Vec<Flow>, Error> {
        let listing = Listing {
            select: "name,workflowid".into(),
            filter: Some(format!("name eq {}", quoted(name))),
            order_by: None,
            limit: MOST_NAMED_ALIKE,
            include_drafts: false,
        };
        let listed = self.list_workflows(&listing).await?;
        let mut found: Vec<Flow> = listed
            .flows
            .iter()
            .map(|flow| {
                let text = |column: &str| flow.get(column).and_then(Value::as_str);
                Some(Flow {
                    id: Guid::parse(text("workflowid")?)?,
                    name: text("name").unwrap_or(name).to_owned(),
                })
            })
            .collect::<Option<_>>()
            .ok_or_else(|| Error::Answer("a row of the list of flows has no id".into()))?;
        // Dataverse compares without regard to case; who writes a name exactly means that one.
        if found.iter().any(|flow| flow.name == name) {
            found.retain(|flow| flow.name == name);
        }
        Ok(found)
    }

    /// The schema of a flow's inputs, `None` for a flow without inputs.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn workflow_inputs_schema(&self, id: &Guid) -> Result<Option<Value>, Error> {
        self.schema(&format!("workflows({id})/inputs/$value")).await
    }

    /// The schema of a flow's outputs, `None` for a flow without outputs.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn workflow_outputs_schema(&self, id: &Guid) -> Result<Option<Value>, Error> {
        self.schema(&format!("workflows({id})/outputs/$value")).await
    }

    /// Starts a run. There is no idempotency key: nothing may repeat this but who knows that it was not executed.
    ///
    /// # Errors
    /// [`Error`]; [`Error::sent`] tells whether a run may have been started nevertheless.
    pub async fn start_run(&self, workflow: &Guid, run: &RunRequest, sending: &Sending) -> Result<Started, Error> {
        let path = format!("workflows({workflow})/Microsoft.Dynamics.CRM.RunDesktopFlow");
        let url = self.resource(&path, &Query::default());
        let body = serde_json::to_vec(run).map_err(|error| {
            Error::Exchange(crate::http::Error::Invalid(format!("The request is not JSON: {error}")))
        })?;
        let mut exchange = Exchange::post(url, body, sending.within);
        exchange.last_look.clone_from(&sending.last_look);
        let answer = self.exchange(exchange).await?;
        let said: Map<String, Value> = read_json(&answer, "what the start of the run gave")?;
        let (id, license_check) = started(&said)?;
        Ok(Started {
            id,
            license_check,
            server_time: server_time(&answer.headers),
            answer,
        })
    }

    pub(super) fn next_page(&self, link: &str) -> Result<Url, Error> {
        Url::parse(link)
            .ok()
            .filter(|url| self.inner.organization.owns(url))
            .ok_or_else(|| Error::Answer("its link to the next page leads out of the organisation".into()))
    }

    async fn schema(&self, path: &str) -> Result<Option<Value>, Error> {
        let Some(bytes) = self.text_column(path, SCHEMA_BYTES).await? else {
            return Ok(None);
        };
        let whole: Value =
            serde_json::from_slice(&bytes).map_err(|_| Error::Answer("the schema of the flow is not JSON".into()))?;
        Ok(match whole {
            Value::Object(mut whole) => whole.remove("schema").or(Some(Value::Object(whole))),
            _ => None,
        })
    }
}

/// The name of the id differs in case between here and the rest of the API, so its case is not believed.
fn started(answer: &Map<String, Value>) -> Result<(Guid, Option<LicenseCheck>), Error> {
    let id = answer
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("flowsessionid"))
        .and_then(|(_, id)| Guid::parse(id.as_str()?))
        .ok_or_else(|| Error::Answer("it accepted the start, but its answer has no `flowsessionId`".into()))?;
    let license_check = answer
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("licensecheck"))
        .and_then(|(_, check)| LicenseCheck::deserialize(check).ok());
    Ok((id, license_check))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_given_is_not_sent_and_the_connection_type_is_a_number() {
        let run = RunRequest {
            run_mode: "unattended".into(),
            run_priority: None,
            connection_name: "c".into(),
            connection_type: Some(1),
            timeout: None,
            inputs: None,
            callback_url: None,
            others: Map::new(),
        };
        assert_eq!(
            serde_json::to_string(&run).unwrap(),
            r#"{"runMode":"unattended","connectionName":"c","connectionType":1}"#
        );
    }

    #[test]
    fn the_id_of_a_started_run_is_found_in_either_spelling() {
        for name in ["flowsessionId", "flowsessionid", "flowSessionId"] {
            let answer = json!({name: "D9687093-D0C0-EC11-983E-0022480B428A",
                "licenseCheck": {"code": "ValidLicenseCoverage", "message": "Valid"}});
            let (id, license_check) = started(answer.as_object().unwrap()).unwrap();
            assert_eq!(id.to_string(), "d9687093-d0c0-ec11-983e-0022480b428a");
            assert_eq!(license_check.unwrap().code, "ValidLicenseCoverage");
        }
    }

    #[test]
    fn an_accepted_start_without_an_id_is_not_silently_lost() {
        let error = started(json!({"value": 1}).as_object().unwrap()).unwrap_err();
        assert_eq!(error.sent(), crate::http::Sent::Maybe);
    }
}
