//! A build with OTLP: spans are recorded and sent to a collector in batches, by a thread of its own with a bounded queue.
//! A collector that is slow or gone costs spans and nothing else.
//!
//! What OpenTelemetry's SDK reads from the environment holds: endpoint, headers and timeout of the exporter
//! (`OTEL_EXPORTER_OTLP_…`), sampler (`OTEL_TRACES_SAMPLER`), resource (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`) and
//! batches (`OTEL_BSP_…`).

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::WithTonicConfig as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{IdGenerator, SdkTracer, SdkTracerProvider, Span, SpanData, SpanExporter};
use reqwest::Method;

use super::TraceId;
use crate::job::Job;
use crate::metrics::metrics;

/// How long a worker that stops waits for the collector.
const LAST_WORDS: Duration = Duration::from_secs(2);
const SERVICE: &str = "deskhand";

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// The export of spans, if one was asked for.
pub struct Export(Option<SdkTracerProvider>);

impl Export {
    /// Starts the export where the environment names an endpoint. To be called in a Tokio runtime, once in a process.
    ///
    /// # Errors
    /// What is wrong with the variables, without the headers' values.
    pub fn start() -> Result<Self, String> {
        let Some(variable) = super::asked_for(|name| std::env::var(name).ok()) else {
            return Ok(Self(None));
        };
        let protocol = std::env::var("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
            .or_else(|_| std::env::var("OTEL_EXPORTER_OTLP_PROTOCOL"));
        if let Ok(protocol) = protocol
            && protocol != "grpc"
        {
            return Err(format!(
                "OTEL_EXPORTER_OTLP_PROTOCOL is `{protocol}`, but deskhand exports by `grpc` only (a collector's port 4317)"
            ));
        }
        let mut exporter = opentelemetry_otlp::SpanExporter::builder().with_tonic();
        if std::env::var(variable).is_ok_and(|endpoint| endpoint.trim().starts_with("https:")) {
            let tls = tonic::transport::ClientTlsConfig::new().with_native_roots();
            exporter = exporter.with_tls_config(tls);
        }
        let exporter = exporter
            .build()
            .map_err(|error| format!("{variable}: spans cannot be exported: {error}"))?;
        let mut resource = Resource::builder();
        if !names_the_service() {
            resource = resource.with_service_name(SERVICE);
        }
        let resource = resource
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(Told {
                exporter,
                silent: AtomicBool::new(false),
            })
            .with_id_generator(Ids)
            .with_resource(resource)
            .build();
        if TRACER.set(provider.tracer(SERVICE)).is_err() {
            return Err("spans are exported already".into());
        }
        tracing::info!(from = variable, "spans are exported by OTLP");
        Ok(Self(Some(provider)))
    }

    /// Sends what has not been sent, for two seconds at most.
    pub async fn finish(self) {
        if let Some(provider) = self.0 {
            let last = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST_WORDS));
            let _ = tokio::time::timeout(LAST_WORDS, last).await;
        }
    }
}

fn names_the_service() -> bool {
    let attributes = std::env::var("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let named = attributes
        .split(',')
        .any(|one| one.trim_start().starts_with("service.name="));
    named || std::env::var("OTEL_SERVICE_NAME").is_ok_and(|name| !name.is_empty())
}

/// The exporter; an outage of the collector is said when it begins and when it ends.
#[derive(Debug)]
struct Told {
    exporter: opentelemetry_otlp::SpanExporter,
    silent: AtomicBool,
}

impl SpanExporter for Told {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.exporter.export(batch).await;
        metrics().spans(if result.is_ok() { "exported" } else { "lost" }, spans);
        match (&result, self.silent.swap(result.is_err(), Ordering::Relaxed)) {
            (Err(_), false) => tracing::warn!("the collector does not take our spans; they are dropped until it does"),
            (Ok(()), true) => tracing::info!("the collector takes our spans again"),
            _ => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

thread_local! {
    /// The id of the trace whose first span is being made.
    static GIVEN: Cell<u128> = const { Cell::new(0) };
}

/// The id of a trace is the one in the log.
#[derive(Debug)]
struct Ids;

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> opentelemetry::trace::TraceId {
        GIVEN.get().into()
    }

    fn new_span_id(&self) -> SpanId {
        fastrand::u64(1..).into()
    }
}

fn first_of(trace: TraceId, make: impl FnOnce(&SdkTracer) -> Span) -> Option<Span> {
    let tracer = TRACER.get()?;
    GIVEN.set(trace.0);
    Some(make(tracer))
}

/// A stretch of work on a job.
pub struct JobSpan {
    trace: TraceId,
    /// What requests hang on.
    context: Option<SpanContext>,
    /// Ends when it is dropped.
    span: Option<Mutex<Span>>,
}

impl JobSpan {
    /// Begins, with the job's names and keys.
    pub fn begin(trace: TraceId, job: &Job) -> Self {
        let span = first_of(trace, |tracer| {
            let attributes = vec![
                KeyValue::new("deskhand.job.key", job.key),
                KeyValue::new("deskhand.job.type", job.job_type.clone()),
                KeyValue::new("deskhand.job.retries", i64::from(job.retries)),
                KeyValue::new("deskhand.process.id", job.bpmn_process_id.clone()),
                KeyValue::new("deskhand.process.instance_key", job.process_instance_key),
                KeyValue::new("deskhand.element.id", job.element_id.clone()),
                KeyValue::new("deskhand.element.instance_key", job.element_instance_key),
                KeyValue::new("deskhand.tenant", job.tenant_id.clone()),
            ];
            let builder = tracer.span_builder(job.job_type.clone());
            let builder = builder.with_kind(SpanKind::Consumer).with_attributes(attributes);
            tracer.build_with_context(builder, &Context::new())
        });
        Self {
            trace,
            context: span.as_ref().map(|span| span.span_context().clone()),
            span: span.map(Mutex::new),
        }
    }

    pub(super) fn answered(&self, outcome: &'static str) {
        if let Some(span) = &self.span {
            let mut span = span.lock().unwrap_or_else(PoisonError::into_inner);
            span.set_attribute(KeyValue::new("deskhand.outcome", outcome));
            if outcome != "completed" {
                span.set_status(Status::error(outcome));
            }
        }
    }
}

/// A request and its answer.
pub struct RequestSpan {
    trace: TraceId,
    id: u64,
    /// Ends when it is dropped.
    span: Option<Span>,
}

impl RequestSpan {
    pub(super) fn begin(job: Option<&JobSpan>, method: &Method, host: &str, port: Option<u16>) -> Self {
        let trace = job.map_or_else(TraceId::random, |job| job.trace);
        let span = first_of(trace, |tracer| {
            let mut attributes = vec![
                KeyValue::new("http.request.method", method.to_string()),
                KeyValue::new("server.address", host.to_owned()),
            ];
            attributes.extend(port.map(|port| KeyValue::new("server.port", i64::from(port))));
            let builder = tracer.span_builder(method.to_string());
            let builder = builder.with_kind(SpanKind::Client).with_attributes(attributes);
            let parent = job.and_then(|job| job.context.clone());
            let parent = parent.map_or_else(Context::new, |parent| Context::new().with_remote_span_context(parent));
            tracer.build_with_context(builder, &parent)
        });
        let id = span
            .as_ref()
            .map(|span| u64::from_be_bytes(span.span_context().span_id().to_bytes()));
        Self {
            trace,
            id: id.unwrap_or_else(|| fastrand::u64(1..)),
            span,
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
        self.span.as_ref().is_some_and(|span| span.span_context().is_sampled())
    }

    /// The answer has come.
    pub fn answered(mut self, status: u16) {
        if let Some(span) = &mut self.span {
            span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
            if status >= 400 {
                span.set_status(Status::error(""));
            }
        }
    }

    /// No answer has come.
    pub fn failed(mut self) {
        if let Some(span) = &mut self.span {
            span.set_status(Status::error("no answer"));
        }
    }
}
