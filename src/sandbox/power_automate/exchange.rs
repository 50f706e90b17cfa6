//! One request on its way: admitted, harmed as the faults say, executed, answered, recorded.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Method, Response, StatusCode, header, request::Parts};
use jiff::Timestamp;
use tokio::time::Instant;

use super::answer::{Answer, empty, error, header_value, json_body, set, throttled, with_retry_after};
use super::callback::{Delivery, deliver};
use super::clock::http_date;
use super::connection::Cut;
use super::core::{Core, LOGIN, ORGANIZATION, State};
use super::dataverse::{self, Call, Caller, SERVED, Target};
use super::entra::TokenService;
use super::faults::{Effect, RouteName};
use super::ids::Guid;
use super::journal::{Fate, record};
use super::protection::Remaining;
use super::world::CallbackMode;

/// Which service a path belongs to.
enum Service {
    Token { tenant: String },
    Dataverse { base: String, target: Target },
    Nowhere,
}

/// A request that was read and recorded.
pub(super) struct Exchange {
    core: Arc<Core>,
    cut: Cut,
    service: Service,
    route: RouteName,
    parts: Parts,
    body: Bytes,
    /// By which the client reached the simulator.
    host: String,
    sequence: u64,
    epoch: u64,
    arrived: Instant,
}

/// The result of admission.
pub(super) enum Admission {
    /// To be executed, by this caller where the service asks for one.
    Granted(Option<(Caller, Remaining)>),
    Refused {
        answer: Answer,
        caller: Option<Guid>,
    },
}

/// What happens to a request on purpose.
pub(super) struct Harm {
    pub(super) delay: Duration,
    pub(super) effect: Effect,
    /// The fault's name in the journal.
    pub(super) named: Option<&'static str>,
    /// Whether the answer waits for a time, or for a callback.
    pub(super) takes_time: bool,
}

impl Harm {
    fn only(delay: Duration) -> Self {
        Self {
            delay,
            effect: Effect::Nothing,
            named: None,
            takes_time: !delay.is_zero(),
        }
    }
}

impl Exchange {
    /// Recognises the request and writes it into the journal.
    pub(super) fn of(core: &Arc<Core>, cut: &Cut, parts: Parts, body: Bytes) -> Self {
        let host = parts.headers.get(header::HOST).and_then(|value| value.to_str().ok());
        let host = host.unwrap_or("localhost").to_owned();
        let service = service(parts.uri.path(), &host);
        let route = match &service {
            Service::Token { .. } => RouteName::Token,
            Service::Dataverse { target, .. } => target.route(),
            Service::Nowhere => RouteName::Any,
        };
        let (epoch, now) = (core.epoch(), core.clock.now());
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
            epoch,
            arrived: Instant::now(),
        }
    }

    /// Who sends it, whether the limits allow it, and what fault it meets. Whoever is not signed in meets none.
    pub(super) fn admitted(&self) -> (Admission, Harm) {
        let mut state = self.core.state();
        let state = &mut *state;
        let now = self.core.clock.now();
        let refused = |answer, caller| (Admission::Refused { answer, caller }, Harm::only(Duration::ZERO));
        let (granted, workflow, latency) = match &self.service {
            Service::Nowhere => {
                let message = "The simulator serves nothing at this path.";
                return refused(error(StatusCode::NOT_FOUND, "", message), None);
            }
            Service::Token { .. } => (None, None, state.world.directory.latency.get()),
            Service::Dataverse { target, .. } => {
                let caller = match dataverse::authenticated(state, &self.parts.headers, &self.host, now) {
                    Ok(caller) => caller,
                    Err(answer) => return refused(answer, None),
                };
                match state.protection.enter(caller.object_id, &state.world.limits, now) {
                    Ok(remaining) => (Some((caller, remaining)), target.workflow(), Duration::ZERO),
                    Err(throttle) => return refused(throttled(&throttle, now), Some(caller.object_id)),
                }
            }
        };
        let mut harm = Harm::only(latency);
        if let Some((delay, effect)) = state.faults.take(self.route, workflow) {
            harm = Harm {
                named: Some(effect.name()),
                effect,
                ..Harm::only(latency + delay.get())
            };
        }
        let callback = match harm.effect {
            Effect::Callback(mode) => mode,
            _ => state.world.callbacks.mode,
        };
        harm.takes_time |= self.route == RouteName::Run && callback == CallbackMode::Early;
        (Admission::Granted(granted), harm)
    }

    /// Ends the exchange with this answer.
    pub(super) async fn refused(self, answer: Answer) -> Answer {
        self.finished(Admission::Refused { answer, caller: None }, Harm::only(Duration::ZERO))
            .await
    }

    /// Waits, executes, harms, records. The answer is of no use when the connection was cut.
    pub(super) async fn finished(self, admission: Admission, harm: Harm) -> Answer {
        let Harm {
            delay, effect, named, ..
        } = harm;
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
        let stopped = !delay.is_zero()
            && tokio::select! {
                () = tokio::time::sleep(delay) => self.core.epoch() != self.epoch,
                () = self.core.stop_asked() => true,
            };
        if stopped {
            // The world that the request was sent to is gone.
            self.cut.reset();
            return empty(StatusCode::SERVICE_UNAVAILABLE);
        }
        let answer = self.answered(&effect, caller, &mut fate).await;
        if let Some(caller) = caller {
            self.core
                .state()
                .protection
                .leave(caller.object_id, self.arrived.elapsed());
        }
        let answer = self.dressed(answer, remaining);
        let answer = self.broken(&effect, answer, &mut fate);
        self.core.journal().settled(self.sequence, fate);
        answer
    }

    /// Executes the request unless the fault stands in the way.
    async fn answered(&self, effect: &Effect, caller: Option<Caller>, fate: &mut Fate) -> Answer {
        match effect {
            Effect::DropBeforeProcess => return empty(StatusCode::OK),
            Effect::Throttle(throttle) => return throttled(throttle, self.core.clock.now()),
            Effect::Unauthorized => return dataverse::challenge(&self.core.state(), &self.host),
            Effect::Status { process: false, .. } => return status(effect, self.core.clock.now()),
            _ => {}
        }
        fate.processed = true;
        let (answer, early, told) = {
            let mut state = self.core.state();
            // Read under the lock: rows are kept in the order of their creation.
            let now = self.core.clock.now();
            let (answer, early) = self.executed(&mut state, effect, caller, now, fate);
            (answer, early, state.runs.has_callbacks())
        };
        if told && matches!(self.route, RouteName::Run | RouteName::Cancel) {
            self.core.wake.notify_one();
        }
        if let Some(delivery) = early {
            tokio::select! {
                () = deliver(&self.core, &delivery) => {}
                () = self.core.stop_asked() => {}
            }
        }
        match effect {
            Effect::Status { .. } => status(effect, self.core.clock.now()),
            _ => answer,
        }
    }

    fn executed(
        &self,
        state: &mut State,
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
                    base,
                    caller,
                    effect,
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

    fn token(&self, state: &mut State, tenant: &str, effect: &Effect, now: Timestamp) -> Answer {
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
                fate.status = Some(StatusCode::OK.as_u16());
                let mut garbage = Response::new(Bytes::from(body));
                *garbage.headers_mut() = std::mem::take(answer.headers_mut());
                set(&mut garbage, "content-type", "application/json; odata.metadata=minimal");
                return garbage;
            }
            _ => fate.status = Some(answer.status().as_u16()),
        }
        answer
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
    let answer = if code.is_empty() && message.is_empty() {
        empty(status)
    } else {
        json_body(
            status,
            &serde_json::json!({"error": {"code": code, "message": message}}),
        )
    };
    match retry_after {
        Some(after) => with_retry_after(answer, *after, false, now),
        None => answer,
    }
}

fn service(path: &str, host: &str) -> Service {
    let tenant = path
        .strip_prefix(LOGIN)
        .and_then(|rest| rest.strip_suffix("/oauth2/v2.0/token"));
    if let Some(tenant) = tenant
        && !tenant.is_empty()
        && !tenant.contains('/')
    {
        return Service::Token {
            tenant: tenant.to_owned(),
        };
    }
    let versioned = path
        .strip_prefix(ORGANIZATION)
        .and_then(|rest| rest.strip_prefix(SERVED));
    if let Some((minor @ ("0" | "1" | "2"), rest)) = versioned.and_then(|rest| rest.split_once('/')) {
        let base = format!("http://{host}{ORGANIZATION}{SERVED}{minor}");
        return Service::Dataverse {
            base,
            target: Target::of(rest),
        };
    }
    Service::Nowhere
}
