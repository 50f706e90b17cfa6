//! Rows of the tables around desktop flows, as Dataverse gives them: for lists that people look at.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::server_time;
use super::odata::Query;
use super::{Dataverse, Error, Exchange, Guid, read_json};

/// Bytes of one answer.
const LARGEST: usize = 10 * 1024 * 1024;

/// Which rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowsQuery {
    /// The entity set, e.g. `flowmachines`.
    pub set: &'static str,
    /// Columns, with commas between them.
    pub select: &'static str,
    /// An OData condition.
    pub filter: Option<String>,
    /// OData order.
    pub order_by: Option<&'static str>,
    /// At most so many rows.
    pub limit: usize,
}

/// Rows that were found.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundRows {
    /// As Dataverse gave them, without its own annotations.
    pub rows: Vec<Map<String, Value>>,
    /// Were there no more?
    pub complete: bool,
    /// Dataverse's clock when it answered.
    pub server_time: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Page {
    value: Vec<Map<String, Value>>,
}

impl Dataverse {
    /// The first rows of a table that fit.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn rows(&self, wanted: &RowsQuery) -> Result<FoundRows, Error> {
        let mut query = Query::default().with("$select", wanted.select);
        if let Some(filter) = &wanted.filter {
            query = query.with("$filter", filter);
        }
        if let Some(order) = wanted.order_by {
            query = query.with("$orderby", order);
        }
        // One more than wanted tells whether there are more.
        let query = query.with("$top", &wanted.limit.saturating_add(1).to_string());
        let url = self.resource(wanted.set, &query);
        let answer = self
            .exchange(Exchange::get(url, self.inner.timeouts.call, LARGEST))
            .await?;
        let page: Page = read_json(&answer, "the list of rows")?;
        let mut rows = page.value;
        let complete = rows.len() <= wanted.limit;
        rows.truncate(wanted.limit);
        for row in &mut rows {
            row.retain(|name, _| !name.starts_with("@odata."));
        }
        Ok(FoundRows {
            rows,
            complete,
            server_time: server_time(&answer.headers),
        })
    }

    /// The row of a desktop flow.
    ///
    /// # Errors
    /// [`Error`]; [`Error::is_not_found`] also for one that the caller may not see.
    pub async fn workflow(&self, id: &Guid) -> Result<Map<String, Value>, Error> {
        let query = Query::default().with("$select", "name,statecode,category,componentstate");
        let url = self.resource(&format!("workflows({id})"), &query);
        let answer = self
            .exchange(Exchange::get(url, self.inner.timeouts.call, LARGEST))
            .await?;
        read_json(&answer, "the row of the flow")
    }
}
