//! A build without OTLP: ids, and nothing that is recorded.

use reqwest::Method;

use super::TraceId;
use crate::config::Otlp;
use crate::job::Job;
use crate::secrets::Known;

/// Nothing is exported.
pub struct Export;

impl Export {
    /// Starts nothing, and says so where there is an endpoint.
    ///
    /// # Errors
    /// Never.
    pub fn start(settings: Option<&Otlp>, _: &Known) -> Result<Self, String> {
        if settings.is_some() {
            tracing::warn!(
                "otlp.endpoint is set (OTEL_EXPORTER_OTLP_ENDPOINT), but this deskhand was built without the feature `otlp`: \
                 no spans are exported"
            );
        }
        Ok(Self)
    }

    /// Nothing is left to be sent.
    pub async fn finish(self) {}
}

/// The id of a job's trace.
pub struct JobSpan {
    trace: TraceId,
}

impl JobSpan {
    /// Begins; the job is not looked at.
    pub fn begin(trace: TraceId, _: &Job) -> Self {
        Self { trace }
    }

    pub(super) fn answered(&self, _: &'static str) {}
}

/// The ids of a request.
pub struct RequestSpan {
    trace: TraceId,
    id: u64,
}

impl RequestSpan {
    pub(super) fn begin(job: Option<&JobSpan>, _: &Method, _: &str, _: Option<u16>) -> Self {
        Self {
            trace: job.map_or_else(TraceId::random, |job| job.trace),
            id: fastrand::u64(1..),
        }
    }

    /// The trace it belongs to.
    pub fn trace(&self) -> TraceId {
        self.trace
    }

    /// Its own id, not zero.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Is it recorded? Then whoever is asked shall record his part, too.
    pub fn is_sampled(&self) -> bool {
        false
    }

    /// The answer has come.
    pub fn answered(self, _: u16) {}
}
