//! The request journal: every request goes in as it arrives, records with redacted credentials come out.

use std::collections::VecDeque;

use axum::http::{HeaderMap, Method, header};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use super::encoding::{encoded, pairs};
use super::faults::RouteName;
use super::ids::Guid;

/// Bytes of a body, and of a header, that a record keeps.
const KEPT_BODY: usize = 4096;
const KEPT_HEADER: usize = 1024;

const REDACTED: &str = "(redacted)";

/// Form fields and query parameters whose values are credentials.
const CREDENTIALS: [&str; 10] = [
    "client_secret",
    "client_assertion",
    "password",
    "refresh_token",
    "access_token",
    "assertion",
    "code",
    "code_verifier",
    "sig",
    "subscription-key",
];

/// One request, as the simulator saw it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestRecord {
    /// 1 for the first request after a start or reset.
    pub sequence: u64,
    /// The virtual time of its arrival, RFC 3339.
    #[serde(serialize_with = "as_text")]
    pub at: Timestamp,
    /// What it was about.
    pub route: RouteName,
    /// The method.
    pub method: String,
    /// The path as sent, without the query.
    pub path: String,
    /// The query as sent, credentials redacted; empty when there was none.
    pub query: String,
    /// The headers, names in lower case, credentials redacted.
    pub headers: Map<String, Value>,
    /// The first 4 KiB of the body as text, credentials of forms redacted.
    pub body: String,
    /// The bytes of the body.
    pub body_bytes: usize,
    /// The object id of the caller, when it was signed in.
    pub caller: Option<Guid>,
    /// The fault that was applied.
    pub fault: Option<&'static str>,
    /// Whether the request was executed, answered or not.
    pub processed: bool,
    /// The status of the answer; absent while it is not answered, and when the connection was cut instead.
    pub status: Option<u16>,
    /// The run that it started.
    pub session: Option<Guid>,
}

fn as_text<S: serde::Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

/// What becomes of a request, told to the journal when it is known.
#[derive(Debug, Default)]
pub(super) struct Fate {
    pub(super) caller: Option<Guid>,
    pub(super) fault: Option<&'static str>,
    pub(super) processed: bool,
    pub(super) status: Option<u16>,
    pub(super) session: Option<Guid>,
}

/// The last requests, oldest first.
#[derive(Debug)]
pub(super) struct Journal {
    records: VecDeque<RequestRecord>,
    capacity: usize,
    arrived: u64,
}

impl Journal {
    pub(super) fn keeping(capacity: usize) -> Self {
        Self {
            records: VecDeque::new(),
            capacity: capacity.max(1),
            arrived: 0,
        }
    }

    /// Records an arrival and tells its sequence number.
    pub(super) fn arrived(&mut self, mut record: RequestRecord) -> u64 {
        self.arrived += 1;
        record.sequence = self.arrived;
        if self.records.len() >= self.capacity {
            self.records.pop_front();
        }
        self.records.push_back(record);
        self.arrived
    }

    /// Completes the record of a request, if the journal still has it.
    pub(super) fn settled(&mut self, sequence: u64, fate: Fate) {
        let Some(first) = self.records.front().map(|record| record.sequence) else {
            return;
        };
        let index = sequence
            .checked_sub(first)
            .and_then(|offset| usize::try_from(offset).ok());
        if let Some(record) = index.and_then(|index| self.records.get_mut(index)) {
            record.caller = fate.caller;
            record.fault = fate.fault;
            record.processed = fate.processed;
            record.status = fate.status;
            record.session = fate.session;
        }
    }

    /// The records after `sequence`, oldest first, at most `most`.
    pub(super) fn after(&self, sequence: u64, most: usize, route: Option<RouteName>) -> Vec<RequestRecord> {
        self.records
            .iter()
            .filter(|record| record.sequence > sequence && route.is_none_or(|route| route == record.route))
            .take(most)
            .cloned()
            .collect()
    }

    /// How many requests arrived since the start or the last reset, forgotten ones included.
    pub(super) fn count(&self) -> u64 {
        self.arrived
    }
}

/// The record of a request that just arrived.
pub(super) fn record(
    at: Timestamp,
    route: RouteName,
    method: &Method,
    uri: &axum::http::Uri,
    headers: &HeaderMap,
    body: &[u8],
) -> RequestRecord {
    RequestRecord {
        sequence: 0,
        at,
        route,
        method: method.as_str().to_owned(),
        path: uri.path().to_owned(),
        query: uri.query().map(redacted_pairs).unwrap_or_default(),
        headers: redacted_headers(headers),
        body: shown_body(headers, body),
        body_bytes: body.len(),
        caller: None,
        fault: None,
        processed: false,
        status: None,
        session: None,
    }
}

fn redacted_headers(headers: &HeaderMap) -> Map<String, Value> {
    let shown = |name: &header::HeaderName, value: &header::HeaderValue| {
        let text = String::from_utf8_lossy(value.as_bytes());
        match *name {
            // The scheme is worth asserting; what follows it is not to be kept.
            header::AUTHORIZATION | header::PROXY_AUTHORIZATION => {
                let scheme = text.split_once(' ').map_or("", |(scheme, _)| scheme);
                format!("{scheme} {REDACTED}").trim_start().to_owned()
            }
            header::COOKIE => REDACTED.to_owned(),
            _ => text.chars().take(KEPT_HEADER).collect(),
        }
    };
    headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), Value::String(shown(name, value))))
        .collect()
}

fn shown_body(headers: &HeaderMap, body: &[u8]) -> String {
    let form = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    let text = String::from_utf8_lossy(&body[..body.len().min(KEPT_BODY)]);
    if form { redacted_pairs(&text) } else { text.into_owned() }
}

/// A query or form with the values of credentials replaced. What holds none is returned as it was.
fn redacted_pairs(text: &str) -> String {
    let Ok(read) = pairs(text) else {
        return "(not readable as a form)".to_owned();
    };
    let secret = |name: &str| CREDENTIALS.iter().any(|known| known.eq_ignore_ascii_case(name));
    if !read.iter().any(|(name, _)| secret(name)) {
        return text.to_owned();
    }
    let shown = |(name, value): &(String, String)| {
        let value = if secret(name) {
            REDACTED.to_owned()
        } else {
            encoded(value)
        };
        format!("{}={value}", encoded(name))
    };
    read.iter().map(shown).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(path: &str) -> RequestRecord {
        let uri = path.parse().unwrap();
        record(
            Timestamp::UNIX_EPOCH,
            RouteName::Any,
            &Method::GET,
            &uri,
            &HeaderMap::new(),
            b"",
        )
    }

    #[test]
    fn only_the_last_requests_are_kept_and_late_ends_find_their_record() {
        let mut journal = Journal::keeping(2);
        let numbers: Vec<u64> = (0..3)
            .map(|index| journal.arrived(arrival(&format!("/{index}"))))
            .collect();
        journal.settled(
            numbers[0],
            Fate {
                status: Some(500),
                ..Fate::default()
            },
        );
        journal.settled(
            numbers[2],
            Fate {
                status: Some(204),
                ..Fate::default()
            },
        );
        let kept = journal.after(0, 10, None);
        assert_eq!(
            kept.iter().map(|one| one.path.as_str()).collect::<Vec<_>>(),
            ["/1", "/2"]
        );
        assert_eq!(kept.iter().map(|one| one.status).collect::<Vec<_>>(), [None, Some(204)]);
        assert_eq!(journal.count(), 3);
    }

    #[test]
    fn credentials_are_redacted_in_headers_forms_and_queries() {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "Bearer s3cret".parse().unwrap());
        headers.insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
        let uri = "/x?sig=s3cret&a=1".parse().unwrap();
        let body = b"grant_type=password&username=u&password=s3cret&client_secret=s3cret";
        let record = record(
            Timestamp::UNIX_EPOCH,
            RouteName::Any,
            &Method::POST,
            &uri,
            &headers,
            body,
        );
        let text = serde_json::to_string(&record).unwrap();
        assert!(!text.contains("s3cret"), "{text}");
        assert_eq!(record.headers["authorization"], "Bearer (redacted)");
        assert!(record.query.contains("a=1") && record.body.contains("username=u"));
    }
}
