//! A collector of traces that speaks OTLP over gRPC: as much of its messages as these tests read, by their public numbers.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tonic::body::Body;
use tonic::codegen::http;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

#[derive(Clone, PartialEq, prost::Message)]
struct ExportRequest {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ExportResponse {}

#[derive(Clone, PartialEq, prost::Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ScopeSpans {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<RawSpan>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RawSpan {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    status: Option<RawStatus>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RawStatus {
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AnyValue {
    #[prost(string, optional, tag = "1")]
    text: Option<String>,
    #[prost(int64, optional, tag = "3")]
    number: Option<i64>,
}

/// A span as it was exported; ids in hexadecimal, the parent's empty where there is none.
#[derive(Clone, Debug)]
pub struct Span {
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub name: String,
    pub attributes: BTreeMap<String, String>,
    pub service: String,
    pub is_error: bool,
}

/// What the collector does with what it is given.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Takes,
    Hangs,
    Refuses,
}

struct State {
    mood: Mutex<Mood>,
    spans: Mutex<Vec<Span>>,
    authorizations: Mutex<Vec<String>>,
    asked: Mutex<usize>,
    /// Everything that came, for what must not be in it.
    raw: Mutex<String>,
}

pub struct Collector {
    pub address: SocketAddr,
    state: Arc<State>,
}

impl Collector {
    pub async fn start(mood: Mood) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            mood: Mutex::new(mood),
            spans: Mutex::default(),
            authorizations: Mutex::default(),
            asked: Mutex::default(),
            raw: Mutex::default(),
        });
        let service = Service(state.clone());
        let serving = tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpIncoming::from(listener));
        tokio::spawn(serving);
        Self { address, state }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn becomes(&self, mood: Mood) {
        *self.state.mood.lock().unwrap() = mood;
    }

    pub fn asked(&self) -> usize {
        *self.state.asked.lock().unwrap()
    }

    pub fn authorizations(&self) -> Vec<String> {
        self.state.authorizations.lock().unwrap().clone()
    }

    pub fn raw(&self) -> String {
        self.state.raw.lock().unwrap().clone()
    }

    /// The spans, once there are so many.
    pub async fn spans(&self, least: usize) -> Vec<Span> {
        let give_up = Instant::now() + Duration::from_secs(10);
        loop {
            let spans = self.state.spans.lock().unwrap().clone();
            if spans.len() >= least {
                return spans;
            }
            assert!(Instant::now() < give_up, "only {spans:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[derive(Clone)]
struct Service(Arc<State>);

impl NamedService for Service {
    const NAME: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
}

impl tower::Service<http::Request<Body>> for Service {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let export = Export(self.0.clone());
        Box::pin(async move {
            let mut server = Grpc::new(ProstCodec::<ExportResponse, ExportRequest>::default());
            Ok(server.unary(export, request).await)
        })
    }
}

struct Export(Arc<State>);

impl UnaryService<ExportRequest> for Export {
    type Response = ExportResponse;
    type Future = BoxFuture<'static, Result<Response<ExportResponse>, Status>>;

    fn call(&mut self, request: Request<ExportRequest>) -> Self::Future {
        let state = self.0.clone();
        Box::pin(async move {
            *state.asked.lock().unwrap() += 1;
            let mood = *state.mood.lock().unwrap();
            match mood {
                Mood::Takes => {}
                Mood::Hangs => std::future::pending().await,
                Mood::Refuses => return Err(Status::permission_denied("not you")),
            }
            let authorization = request.metadata().get("authorization");
            let authorization = authorization.map(|value| value.to_str().unwrap().to_owned());
            state.authorizations.lock().unwrap().extend(authorization);
            let request = request.into_inner();
            state.raw.lock().unwrap().push_str(&format!("{request:?}"));
            for of_resource in request.resource_spans {
                let resource = attributes(of_resource.resource.unwrap_or_default().attributes);
                let service = resource.get("service.name").cloned().unwrap_or_default();
                let spans = of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
                state.spans.lock().unwrap().extend(spans.map(|span| Span {
                    trace: hex(&span.trace_id),
                    id: hex(&span.span_id),
                    parent: hex(&span.parent_span_id),
                    name: span.name,
                    attributes: attributes(span.attributes),
                    service: service.clone(),
                    is_error: span.status.is_some_and(|status| status.code == 2),
                }));
            }
            Ok(Response::new(ExportResponse {}))
        })
    }
}

fn attributes(all: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: AnyValue| value.text.or(value.number.map(|number| number.to_string()));
    let all = all.into_iter();
    all.map(|one| (one.key, one.value.and_then(text).unwrap_or_default()))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
