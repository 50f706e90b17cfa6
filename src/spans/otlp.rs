//! A build with OTLP: spans are recorded and sent to a collector in batches, by a thread of its own with a bounded queue.
//! A collector that is slow or gone costs spans and nothing else.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_otlp::{WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::resource::{ResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, IdGenerator, Sampler, SdkTracer, SdkTracerProvider, Span, SpanData,
    SpanExporter, SpanProcessor,
};
use reqwest::Method;

use super::TraceId;
use crate::config::Otlp;
use crate::job::Job;
use crate::metrics::metrics;
use crate::secrets::Known;
use crate::secrets::redaction::Redactor;

/// How long a worker that stops waits for the collector.
const LAST_WORDS: Duration = Duration::from_secs(2);
const SERVICE: &str = "deskhand";

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// The export of spans, if one was asked for.
pub struct Export(Option<SdkTracerProvider>);

impl Export {
    /// Starts the export where there is an endpoint. To be called in a Tokio runtime, once in a process. No secret of
    /// `known` leaves with a span.
    ///
    /// # Errors
    /// What cannot be set up.
    pub fn start(settings: Option<&Otlp>, known: &Known) -> Result<Self, String> {
        let Some(settings) = settings else {
            return Ok(Self(None));
        };
        let waiting = Arc::new(AtomicUsize::new(0));
        let exporter = Told {
            exporter: exporter(settings).map_err(|error| format!("spans cannot be exported: {error}"))?,
            known: known.clone(),
            waiting: waiting.clone(),
            silent: AtomicBool::new(false),
        };
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(settings.queue)
            .with_max_export_batch_size(settings.batch)
            .with_scheduled_delay(settings.delay);
        let batches = BatchSpanProcessor::builder(exporter).with_batch_config(batches.build());
        let resource = settings.resource.iter().cloned();
        let detected: [Box<dyn ResourceDetector>; 1] = [Box::new(TelemetryResourceDetector)];
        let resource = Resource::builder_empty()
            .with_detectors(&detected)
            .with_attributes(resource.map(|(name, value)| KeyValue::new(name, value)));
        let share = Sampler::TraceIdRatioBased(settings.share);
        let provider = SdkTracerProvider::builder()
            .with_span_processor(Bounded {
                batches: batches.build(),
                waiting,
                room: settings.queue,
            })
            .with_id_generator(Ids)
            .with_sampler(Sampler::ParentBased(Box::new(share)))
            .with_resource(resource.build())
            .build();
        if TRACER.set(provider.tracer(SERVICE)).is_err() {
            return Err("spans are exported already".into());
        }
        tracing::info!(to = settings.endpoint, "spans are exported by OTLP");
        Ok(Self(Some(provider)))
    }

    /// Sends what has not been sent, for two seconds at most.
    pub async fn finish(self) {
        let Some(provider) = self.0 else {
            return;
        };
        let last = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST_WORDS));
        let sent = tokio::time::timeout(LAST_WORDS, last).await;
        if !matches!(sent, Ok(Ok(Ok(())))) {
            let seconds = LAST_WORDS.as_secs();
            tracing::warn!("the collector did not take the last spans within {seconds} s; they are lost");
        }
    }
}

fn exporter(settings: &Otlp) -> Result<opentelemetry_otlp::SpanExporter, opentelemetry_otlp::ExporterBuildError> {
    let headers = settings.headers.clone();
    let mut exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(settings.endpoint.as_str())
        .with_timeout(settings.timeout)
        // The exporter reads the same headers from the environment; ours count, wherever they come from.
        .with_interceptor(move |mut request: tonic::Request<()>| {
            for (name, value) in &headers {
                request.metadata_mut().as_mut().insert(name, value.clone());
            }
            Ok(request)
        });
    if settings.endpoint.starts_with("https:") {
        let tls = tonic::transport::ClientTlsConfig::new().with_native_roots();
        exporter = exporter.with_tls_config(tls);
    }
    exporter.build()
}

/// Lets no more spans wait than there is room for, and counts the others.
#[derive(Debug)]
struct Bounded {
    batches: BatchSpanProcessor,
    waiting: Arc<AtomicUsize>,
    room: usize,
}

impl SpanProcessor for Bounded {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.batches.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.waiting.fetch_add(1, Ordering::Relaxed) < self.room {
            self.batches.on_end(span);
        } else {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            metrics().spans("lost", 1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}

/// The exporter; it masks secrets, and an outage of the collector is said when it begins and when it ends.
#[derive(Debug)]
struct Told {
    exporter: opentelemetry_otlp::SpanExporter,
    known: Known,
    waiting: Arc<AtomicUsize>,
    silent: AtomicBool,
}

impl SpanExporter for Told {
    async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        mask(&mut batch, &self.known.redactor());
        let result = self.exporter.export(batch).await;
        self.waiting.fetch_sub(spans, Ordering::Relaxed);
        metrics().spans(if result.is_ok() { "exported" } else { "lost" }, spans);
        match (&result, self.silent.swap(result.is_err(), Ordering::Relaxed)) {
            (Err(error), false) => {
                tracing::warn!(reason = %error, "the collector does not take our spans; they are dropped until it does")
            }
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

/// A task can make a host of anything.
fn mask(spans: &mut [SpanData], redactor: &Redactor) {
    for attribute in spans.iter_mut().flat_map(|span| &mut span.attributes) {
        if let Value::String(text) = &attribute.value {
            attribute.value = redactor.text(text.as_str()).into_owned().into();
        }
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
    answered: bool,
}

impl Drop for RequestSpan {
    fn drop(&mut self) {
        if let (Some(span), false) = (&mut self.span, self.answered) {
            span.set_status(Status::error("no answer"));
        }
    }
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
            answered: false,
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

    /// The answer has come. A request whose span ends without this was given up.
    pub fn answered(mut self, status: u16) {
        self.answered = true;
        if let Some(span) = &mut self.span {
            span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
            if status >= 400 {
                span.set_status(Status::error(""));
            }
        }
    }
}
