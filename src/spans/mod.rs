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

/// Variables that ask for an export, the stronger first.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

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

/// The first variable that asks for an export, unless another one forbids it.
fn asked_for(variable: impl Fn(&str) -> Option<String>) -> Option<&'static str> {
    let disabled = variable("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true"));
    let nowhere = variable("OTEL_TRACES_EXPORTER").is_some_and(|text| text.trim() == "none");
    let set = |name: &&str| variable(name).is_some_and(|text| !text.trim().is_empty());
    ENDPOINTS.into_iter().find(set).filter(|_| !disabled && !nowhere)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_asks_for_the_export_unless_it_is_forbidden() {
        let asked = |set: &[(&str, &str)]| {
            let set: Vec<_> = set.to_vec();
            asked_for(move |name| {
                let found = set.iter().find(|(known, _)| *known == name);
                found.map(|(_, text)| (*text).to_owned())
            })
        };
        let [traces, all] = ENDPOINTS;
        assert_eq!(asked(&[]), None);
        assert_eq!(asked(&[(all, "")]), None);
        assert_eq!(asked(&[(all, "http://collector:4317")]), Some(all));
        assert_eq!(asked(&[(all, "http://a:1"), (traces, "http://b:1")]), Some(traces));
        assert_eq!(asked(&[(all, "http://a:1"), ("OTEL_SDK_DISABLED", "TRUE")]), None);
        assert_eq!(asked(&[(all, "http://a:1"), ("OTEL_TRACES_EXPORTER", "none")]), None);
    }
}
