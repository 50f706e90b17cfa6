//! The way of a request: HTTP goes in; it is recorded, admitted, harmed as the faults say, executed and answered.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Method, Response, StatusCode, header, request::Parts};
use jiff::Timestamp;
use tokio::time::Instant;

use super::answer::{Answer, empty, error, header_value, json_body, set, throttled, with_retry_after};
use super::callback::{Delivery, deliver};
use super::clock::http_date;
use super::connection::Cut;
use super::core::{Core, LOGIN, ORGANIZATION, State as World};
use super::dataverse::{self, Call, Caller, SERVED, Target};
use super::entra::TokenService;
use super::faults::{Effect, RouteName};
use super::ids::Guid;
use super::journal::{Fate, record};
use super::protection::Remaining;
use super::world::{CallbackMode, Span};

/// How long a client may take to send a body.
const BODY_PATIENCE: Duration = Duration::from_secs(60);

/// Serves one request of the simulated services.
pub(super) async fn serve(
    State(core): State<Arc<Core>>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    request: Request,
) -> Response<Body> {
    let answer = tokio::select! {
        answer = received(&core, &cut, request) => answer,
        () = core.stop_asked() => {
            cut.reset();
            empty(StatusCode::SERVICE_UNAVAILABLE)
        }
    };
    answer.map(Body::from)
}

async fn received(core: &Arc<Core>, cut: &Cut, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let most = core.state().world.limits.body_bytes;
    let body = match tokio::time::timeout(BODY_PATIENCE, to_bytes(body, most)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => {
            return error(
                StatusCode::PAYLOAD_TOO_LARGE,
                "",
                "The request body is too large or was cut short.",
            );
        }
        Err(_) => return empty(StatusCode::REQUEST_TIMEOUT),
    };
    let exchange = Exchange::of(core, cut, parts, body);
    let (admission, harm) = exchange.admitted();
    let late = match &harm.effect {
        Effect::DropThenProcess { after } => Some(after.get()),
        _ => None,
    };
    if let Some(after) = late {
        let Ok(place) = Arc::clone(&core.late).try_acquire_owned() else {
            return error(
                StatusCode::SERVICE_UNAVAILABLE,
                "",
                "The simulator has too many late requests.",
            );
        };
        cut.reset();
        tokio::spawn(async move {
            exchange.finished(admission, harm.delay + after, harm.effect).await;
            drop(place);
        });
        return empty(StatusCode::OK);
    }
    // What takes time goes on when the client leaves, as on a real server: in a task of its own.
    if harm.delay.is_zero() && exchange.route != RouteName::Run {
        exchange.finished(admission, harm.delay, harm.effect).await
    } else {
        let cut = cut.clone();
        tokio::spawn(exchange.finished(admission, harm.delay, harm.effect))
            .await
            .unwrap_or_else(|_| {
                cut.reset();
                empty(StatusCode::INTERNAL_SERVER_ERROR)
            })
    }
}

/// Which service a path belongs to.
enum Service {
    Token { tenant: String },
    Dataverse { base: String, target: Target },
    Nowhere,
}

/// One request on its way.
struct Exchange {
    core: Arc<Core>,
    cut: Cut,
    service: Service,
    route: RouteName,
    parts: Parts,
    body: Bytes,
    /// By which the client reached the simulator.
    host: String,
    sequence: u64,
    arrived: Instant,
}

/// The result of admission.
enum Admission {
    /// To be executed, by this caller where the service asks for one.
    Granted(Option<(Caller, Remaining)>),
    Refused {
        answer: Answer,
        caller: Option<Guid>,
    },
}

/// What happens to a request on purpose.
struct Harm {
    delay: Duration,
    effect: Effect,
}

impl Exchange {
    fn of(core: &Arc<Core>, cut: &Cut, parts: Parts, body: Bytes) -> Self {
        let host = parts
            .headers
            .get(header::HOST)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("localhost");
        let host = host.to_owned();
        let service = service(parts.uri.path(), &host);
        let route = match &service {
            Service::Token { .. } => RouteName::Token,
            Service::Dataverse { target, .. } => target.route(),
            Service::Nowhere => RouteName::Any,
        };
        let now = core.clock.now();
        let arrival = record(now, route, &parts.method, &parts.uri, &parts.headers, &body);
        let sequence = core.journal().arrived(arrival);
        let (core, cut) = (Arc::clone(core), cut.clone());
        Self {
            core,
            cut,
            service,
            route,
            parts,
            body,
            host,
            sequence,
            arrived: Instant::now(),
        }
    }

    /// Who sends it, whether the limits allow it, and what fault it meets. Whoever is not signed in meets none.
    fn admitted(&self) -> (Admission, Harm) {
        let mut state = self.core.state();
        let state = &mut *state;
        let now = self.core.clock.now();
        let unharmed = Harm {
            delay: Duration::ZERO,
            effect: Effect::Nothing,
        };
        let (granted, workflow, latency) = match &self.service {
            Service::Nowhere => {
                let answer = error(StatusCode::NOT_FOUND, "", "The simulator serves nothing at this path.");
                return (Admission::Refused { answer, caller: None }, unharmed);
            }
            Service::Token { .. } => (None, None, state.world.directory.latency.get()),
            Service::Dataverse { target, .. } => {
                let caller = match dataverse::authenticated(state, &self.parts.headers, &self.host, now) {
                    Ok(caller) => caller,
                    Err(answer) => return (Admission::Refused { answer, caller: None }, unharmed),
                };
                let who = caller.object_id;
                match state.protection.enter(who, &state.world.limits, now) {
                    Ok(remaining) => (Some((caller, remaining)), target.workflow(), Duration::ZERO),
                    Err(throttle) => {
                        let answer = throttled(&throttle, now);
                        return (
                            Admission::Refused {
                                answer,
                                caller: Some(who),
                            },
                            unharmed,
                        );
                    }
                }
            }
        };
        let harm = match state.faults.take(self.route, workflow) {
            None => Harm {
                delay: latency,
                ..unharmed
            },
            Some((delay, effect)) => Harm {
                delay: latency + delay.get(),
                effect,
            },
        };
        (Admission::Granted(granted), harm)
    }

    /// Waits, executes, harms, records. The answer is of no use when the connection was cut.
    async fn finished(self, admission: Admission, delay: Duration, effect: Effect) -> Answer {
        let named = (effect != Effect::Nothing || !delay.is_zero()).then(|| effect.name());
        let (caller, remaining) = match admission {
            Admission::Refused { answer, caller } => {
                let fate = Fate {
                    caller,
                    status: Some(answer.status().as_u16()),
                    ..Fate::default()
                };
                self.core.journal().settled(self.sequence, fate);
                return self.dressed(answer, None);
            }
            Admission::Granted(granted) => granted.unzip(),
        };
        let mut fate = Fate {
            caller: caller.map(|caller| caller.object_id),
            fault: named,
            ..Fate::default()
        };
        let stopped = tokio::select! {
            () = sleep(delay) => false,
            () = self.core.stop_asked() => true,
        };
        let answer = if stopped {
            self.cut.reset();
            empty(StatusCode::SERVICE_UNAVAILABLE)
        } else {
            self.answered(&effect, caller, &mut fate).await
        };
        if let Some(caller) = caller {
            self.core
                .state()
                .protection
                .leave(caller.object_id, self.arrived.elapsed());
        }
        let answer = self.dressed(answer, remaining);
        let answer = if stopped {
            answer
        } else {
            self.broken(&effect, answer, &mut fate)
        };
        self.core.journal().settled(self.sequence, fate);
        answer
    }

    /// Executes the request unless the fault stands in the way.
    async fn answered(&self, effect: &Effect, caller: Option<Caller>, fate: &mut Fate) -> Answer {
        let now = self.core.clock.now();
        match effect {
            Effect::DropBeforeProcess => return empty(StatusCode::OK),
            Effect::Throttle(throttle) => return throttled(throttle, now),
            Effect::Unauthorized => return dataverse::challenge(&self.core.state(), &self.host),
            Effect::Status { process: false, .. } => return status(effect, now),
            _ => {}
        }
        fate.processed = true;
        let (answer, early) = {
            let mut state = self.core.state();
            self.executed(&mut state, effect, caller, now, fate)
        };
        if self.route == RouteName::Run || self.route == RouteName::Cancel {
            self.core.wake.notify_one();
        }
        if let Some(delivery) = early {
            deliver(&self.core, &delivery).await;
        }
        if matches!(effect, Effect::Status { .. }) {
            status(effect, now)
        } else {
            answer
        }
    }

    fn executed(
        &self,
        state: &mut World,
        effect: &Effect,
        caller: Option<Caller>,
        now: Timestamp,
        fate: &mut Fate,
    ) -> (Answer, Option<Delivery>) {
        match (&self.service, caller) {
            (Service::Token { tenant }, _) => (self.token(state, tenant, effect, now), None),
            (Service::Dataverse { base, target }, Some(caller)) => {
                let call = Call {
                    method: &self.parts.method,
                    target,
                    query: self.parts.uri.query().unwrap_or_default(),
                    headers: &self.parts.headers,
                    body: &self.body,
                    base: base.clone(),
                    caller,
                    effect: Some(effect),
                    now,
                };
                let outcome = dataverse::executed(state, &call);
                fate.session = outcome.started;
                let run = outcome.started.and_then(|id| state.runs.get(id));
                let early = run
                    .filter(|run| run.callback == CallbackMode::Early)
                    .and_then(Delivery::of);
                (outcome.answer, early)
            }
            _ => (empty(StatusCode::NOT_FOUND), None),
        }
    }

    fn token(&self, state: &mut World, tenant: &str, effect: &Effect, now: Timestamp) -> Answer {
        if self.parts.method != Method::POST {
            return empty(StatusCode::METHOD_NOT_ALLOWED);
        }
        let (tokens, mut desk) = state.desk(&self.host, now);
        match effect {
            Effect::Entra(number) => TokenService::refused(&mut desk, *number),
            _ => tokens.answer(&mut desk, tenant, &self.parts.headers, &self.body),
        }
    }

    /// Adds the headers that every answer has.
    fn dressed(&self, mut answer: Answer, remaining: Option<Remaining>) -> Answer {
        let request_id = self.core.state().ids.guid().to_string();
        let date = http_date(self.core.clock.now());
        answer.headers_mut().insert(header::DATE, header_value(&date));
        match self.service {
            Service::Dataverse { .. } => {
                set(&mut answer, "x-ms-service-request-id", &request_id);
                set(&mut answer, "req_id", &request_id);
                set(&mut answer, "odata-version", "4.0");
            }
            _ => set(&mut answer, "x-ms-request-id", &request_id),
        }
        if let Some(remaining) = remaining {
            set(
                &mut answer,
                "x-ms-ratelimit-burst-remaining-xrm-requests",
                &remaining.requests.to_string(),
            );
            let seconds = format!("{:.2}", remaining.time.as_secs_f64());
            set(&mut answer, "x-ms-ratelimit-time-remaining-xrm-requests", &seconds);
        }
        answer
    }

    /// Breaks the answer or the connection as the fault says, and tells the record what the client sees.
    fn broken(&self, effect: &Effect, mut answer: Answer, fate: &mut Fate) -> Answer {
        let length = answer.body().len();
        match effect {
            Effect::DropBeforeProcess | Effect::ProcessThenDrop | Effect::DropThenProcess { .. } => self.cut.reset(),
            Effect::TruncatedBody if length < 2 => self.cut.reset(),
            Effect::TruncatedBody => self.cut.after_body_bytes(length / 2),
            Effect::MalformedJson => {
                let mut body = answer.body()[..length / 2].to_vec();
                body.extend_from_slice(b"]]\"");
                fate.status = Some(200);
                let headers = std::mem::take(answer.headers_mut());
                answer = Response::new(Bytes::from(body));
                *answer.headers_mut() = headers;
                set(&mut answer, "content-type", "application/json; odata.metadata=minimal");
                return answer;
            }
            _ => fate.status = Some(answer.status().as_u16()),
        }
        answer
    }
}

async fn sleep(delay: Duration) {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}

fn status(effect: &Effect, now: Timestamp) -> Answer {
    let Effect::Status {
        status,
        code,
        message,
        retry_after,
        ..
    } = effect
    else {
        return empty(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::json!({"error": {"code": code, "message": message}});
    let answer = if code.is_empty() && message.is_empty() {
        empty(status)
    } else {
        json_body(status, &body)
    };
    match retry_after {
        Some(after) => with_retry_after(answer, Span::from(after.get()), false, now),
        None => answer,
    }
}

fn service(path: &str, host: &str) -> Service {
    if let Some(rest) = path.strip_prefix(LOGIN)
        && let Some(tenant) = rest.strip_suffix("/oauth2/v2.0/token")
        && !tenant.is_empty()
        && !tenant.contains('/')
    {
        return Service::Token {
            tenant: tenant.to_owned(),
        };
    }
    if let Some(rest) = path
        .strip_prefix(ORGANIZATION)
        .and_then(|rest| rest.strip_prefix(SERVED))
        && let Some((minor, rest)) = rest.split_once('/')
        && matches!(minor, "0" | "1" | "2")
    {
        return Service::Dataverse {
            base: format!("http://{host}{ORGANIZATION}{SERVED}{minor}"),
            target: Target::of(rest),
        };
    }
    Service::Nowhere
}
