//! Lists of runs, page by page: the address of a page goes in, its runs and the address of the next one come out.

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::error::server_time;
use super::{Dataverse, Error, Exchange, read_json};
use crate::http::header::HeaderValue;

const PAGE: &str = "odata.maxpagesize=500";
/// A row has at most some 2,500 characters.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// Some of the runs that were asked for.
#[derive(Clone, Debug)]
pub struct Page<R> {
    /// The runs, in the order that was asked for.
    pub runs: Vec<R>,
    /// Dataverse's clock when it answered; `None` where it did not say.
    pub server_time: Option<Timestamp>,
    /// Where the next page is, if there is one.
    pub next: Option<Url>,
}

#[derive(Deserialize)]
struct Rows<T> {
    value: Vec<T>,
    #[serde(rename = "@odata.nextLink")]
    next: Option<String>,
}

impl Dataverse {
    /// The page at this address; `run` makes a run of a row, unless the row has no id or no date.
    ///
    /// # Errors
    /// [`Error`]; a link to the next page that leads out of the organisation is one.
    pub(super) async fn page_of_runs<T: DeserializeOwned, R>(
        &self,
        url: Url,
        run: fn(T) -> Option<R>,
    ) -> Result<Page<R>, Error> {
        let exchange = Exchange::get(url, self.inner.timeouts.call, PAGE_BYTES)
            .with_header("prefer", HeaderValue::from_static(PAGE))
            // Not from a copy that lags behind.
            .with_header("consistency", HeaderValue::from_static("Strong"));
        let answer = self.exchange(exchange).await?;
        let rows: Rows<T> = read_json(&answer, "the list of runs")?;
        let runs: Option<Vec<R>> = rows.value.into_iter().map(run).collect();
        Ok(Page {
            runs: runs.ok_or_else(|| Error::Answer("a row of the list of runs has no id or no date".into()))?,
            server_time: server_time(&answer.headers),
            next: rows.next.map(|link| self.next_page(&link)).transpose()?,
        })
    }
}
