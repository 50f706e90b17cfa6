//! Answers: what a service says goes in, an HTTP response comes out.

use axum::body::Bytes;
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use axum::http::{Response, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::clock::http_date;
use super::faults::{ProtectionLimit, Throttle};
use super::world::Span;

/// A response whose body is in memory.
pub(super) type Answer = Response<Bytes>;

const ODATA_JSON: HeaderValue = HeaderValue::from_static("application/json; odata.metadata=minimal");

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = status;
    answer
}

/// An answer with a JSON body.
pub(super) fn json_body(status: StatusCode, body: &Value) -> Answer {
    let mut answer = Response::new(Bytes::from(body.to_string()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, ODATA_JSON);
    answer
}

/// An answer in Dataverse's error shape.
pub(super) fn error(status: StatusCode, code: &str, message: impl Into<String>) -> Answer {
    json_body(status, &json!({"error": {"code": code, "message": message.into()}}))
}

/// 400 with a platform code.
pub(super) fn bad_request(code: &str, message: impl Into<String>) -> Answer {
    error(StatusCode::BAD_REQUEST, code, message)
}

/// 404 for a row that does not exist, or that the caller cannot see.
pub(super) fn no_such_row(entity: &str, id: impl std::fmt::Display) -> Answer {
    error(
        StatusCode::NOT_FOUND,
        "0x80040217",
        format!("Entity '{entity}' With Id = {id} Does Not Exist"),
    )
}

/// A service protection answer, with the code and text of the limit.
pub(super) fn throttled(throttle: &Throttle, now: Timestamp) -> Answer {
    let (code, message) = match throttle.limit {
        ProtectionLimit::Requests => (
            "0x80072322",
            "Number of requests exceeded the limit of 6000 over time window of 300 seconds.",
        ),
        ProtectionLimit::ExecutionTime => (
            "0x80072321",
            "Combined execution time of incoming requests exceeded limit of 1,200,000 milliseconds over time window \
             of 300 seconds. Decrease number of concurrent requests or reduce the duration of requests and try again \
             later.",
        ),
        ProtectionLimit::Concurrent => ("0x80072326", "Number of concurrent requests exceeded the limit of 52."),
    };
    let answer = error(StatusCode::TOO_MANY_REQUESTS, code, message);
    with_retry_after(answer, throttle.retry_after, throttle.as_date, now)
}

/// Adds `Retry-After`, as seconds or as a date.
pub(super) fn with_retry_after(mut answer: Answer, after: Span, as_date: bool, now: Timestamp) -> Answer {
    let seconds = after.get().as_secs() + u64::from(after.get().subsec_nanos() > 0);
    let value = if as_date {
        // The date has whole seconds: one more, so that the client never comes too early.
        header_value(&http_date(super::clock::later(
            now,
            after.get() + std::time::Duration::from_millis(999),
        )))
    } else {
        HeaderValue::from(seconds)
    };
    answer.headers_mut().insert(RETRY_AFTER, value);
    answer
}

/// A header of the given name, lower case.
pub(super) fn set(answer: &mut Answer, name: &'static str, value: &str) {
    answer
        .headers_mut()
        .insert(HeaderName::from_static(name), header_value(value));
}

/// A header value; what cannot travel in one is left out.
pub(super) fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
