//! What a request carries so that it can be found on both sides: W3C Trace Context, and an id of its own. Servers that log
//! `traceparent` or `X-Request-ID` can be searched for the ids in our log.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::spans::RequestSpan;

const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Marks a request, unless the task set the headers itself. A fresh request id each time: a repetition is another request.
pub(super) fn mark(headers: &mut HeaderMap, span: &RequestSpan) {
    let (trace, id, flags) = (span.trace(), span.id(), u8::from(span.is_sampled()));
    let value = |text: String| HeaderValue::from_str(&text).ok();
    if !headers.contains_key(&TRACE_PARENT)
        && let Some(value) = value(format!("00-{trace}-{id:016x}-{flags:02x}"))
    {
        headers.insert(TRACE_PARENT, value);
    }
    if !headers.contains_key(&REQUEST_ID)
        && let Some(value) = value(format!("{id:016x}"))
    {
        headers.insert(REQUEST_ID, value);
    }
    tracing::debug!(%trace, request = %format_args!("{id:016x}"), "sending a request");
}

#[cfg(test)]
mod tests {
    use reqwest::Method;

    use super::*;
    use crate::job::Job;
    use crate::spans::{self, JobSpan, TraceId};

    #[tokio::test]
    async fn requests_of_one_job_share_a_trace_and_nothing_more() {
        let id = TraceId::random();
        let headers = || async {
            let mut headers = HeaderMap::new();
            mark(&mut headers, &spans::request(&Method::GET, "localhost", None));
            headers
        };
        let span = JobSpan::begin(id, &Job::default());
        let (one, two) = spans::within(span, async { (headers().await, headers().await) }).await;
        for headers in [&one, &two] {
            let text = headers[TRACE_PARENT].to_str().unwrap();
            assert!(text.starts_with(&format!("00-{id}-")) && text.len() == 55, "{text}");
        }
        assert_ne!(one[REQUEST_ID], two[REQUEST_ID]);
        let mut own = HeaderMap::new();
        own.insert(TRACE_PARENT, HeaderValue::from_static("mine"));
        mark(&mut own, &spans::request(&Method::GET, "localhost", None));
        assert_eq!(own[TRACE_PARENT], "mine");
    }
}
