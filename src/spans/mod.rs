//! A span for each stretch of work on a job, and one for each of its requests: names, keys and outcomes, no values.
//!
//! One id holds them together: that of the trace, which is made here, stands in the log, and goes out with every request
//! (W3C Trace Context). Builds with the feature `otlp` export the spans by OpenTelemetry's protocol over gRPC, if an
//! endpoint is set; all others only make the ids.

#[cfg_attr(feature = "otlp", path = "otlp.rs")]
#[cfg_attr(not(feature = "otlp"), path = "ids.rs")]
mod recorded;

use reqwest::Method;

pub use recorded::{Export, JobSpan, RequestSpan};

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
    static JOB: JobSpan;
}

/// Does a stretch of work on a job. Its requests belong to the span, which ends with it.
pub async fn within<F: Future>(span: JobSpan, work: F) -> F::Output {
    JOB.scope(span, work).await
}

/// The engine took this outcome of the job whose work this is.
pub fn answered(outcome: &'static str) {
    let _ = JOB.try_with(|job| job.answered(outcome));
}

/// Begins a request of the job whose work this is, or one of our own.
pub fn request(method: &Method, host: &str, port: Option<u16>) -> RequestSpan {
    let begin = |job: Option<&JobSpan>| RequestSpan::begin(job, method, host, port);
    JOB.try_with(|job| begin(Some(job))).unwrap_or_else(|_| begin(None))
}
