//! One id for all that happens for a job: W3C Trace Context. Servers that log `traceparent` or `X-Request-ID` can be
//! searched for the id in our log.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a trace: 16 bytes, not all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(u128);

impl TraceId {
    /// A new one.
    pub fn random() -> Self {
        Self(fastrand::u128(1..))
    }
}

impl std::fmt::Display for TraceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

tokio::task_local! {
    static TRACE: TraceId;
}

/// Runs a future; its requests carry this id.
pub async fn traced<F: Future>(id: TraceId, future: F) -> F::Output {
    TRACE.scope(id, future).await
}

/// Marks a request, unless the task set the headers itself. A fresh request id each time: a repetition is another request.
pub(super) fn mark(headers: &mut HeaderMap) {
    let trace = TRACE.try_with(|id| *id).unwrap_or_else(|_| TraceId::random());
    let span = fastrand::u64(1..);
    let value = |text: String| HeaderValue::from_str(&text).ok();
    if !headers.contains_key(&TRACE_PARENT)
        && let Some(value) = value(format!("00-{trace}-{span:016x}-00"))
    {
        headers.insert(TRACE_PARENT, value);
    }
    if !headers.contains_key(&REQUEST_ID)
        && let Some(value) = value(format!("{span:016x}"))
    {
        headers.insert(REQUEST_ID, value);
    }
    tracing::debug!(%trace, request = %format_args!("{span:016x}"), "sending a request");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn requests_of_one_job_share_a_trace_and_nothing_more() {
        let id = TraceId::random();
        let headers = || async {
            let mut headers = HeaderMap::new();
            mark(&mut headers);
            headers
        };
        let (one, two) = traced(id, async { (headers().await, headers().await) }).await;
        for headers in [&one, &two] {
            let text = headers[TRACE_PARENT].to_str().unwrap();
            assert!(text.starts_with(&format!("00-{id}-")) && text.len() == 55, "{text}");
        }
        assert_ne!(one[REQUEST_ID], two[REQUEST_ID]);
        let mut own = HeaderMap::new();
        own.insert(TRACE_PARENT, HeaderValue::from_static("mine"));
        mark(&mut own);
        assert_eq!(own[TRACE_PARENT], "mine");
    }
}
