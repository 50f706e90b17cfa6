//! One gate before each organisation and credential: while the server asks for a pause, or is away, nobody calls.
//!
//! Service protection counts by user, so a `Retry-After` is meant for everyone who shares the credential, and hammering
//! makes it longer. An outage is met the same way: after a few failures in a row the gate closes for a while, then lets
//! one call through to look (a circuit breaker). Answers go in; what comes out is how long to wait, if at all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Identity;
use crate::metrics::{Breaker, metrics};

/// Failures in a row after which the gate closes, if they took at least so long: many calls can break at one moment.
const FAILURES: u32 = 5;
const STREAK: Duration = Duration::from_secs(5);
/// How long it is closed at first; each further failure doubles it.
const FIRST_COOL_DOWN: Duration = Duration::from_secs(2);
const LONGEST_COOL_DOWN: Duration = Duration::from_secs(60);
/// How long the call that was let through to look may take before another one is.
const PROBE: Duration = Duration::from_secs(130);
/// No pause that a server asks for is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(86_400);
/// Gates that nobody went through for so long are forgotten when there are many.
const IDLE: Duration = Duration::from_secs(3600);
const MANY: usize = 1000;

/// All gates of the process. Cheap to clone.
#[derive(Clone, Default)]
pub struct Gates {
    all: Arc<Mutex<HashMap<Identity, Arc<Gate>>>>,
}

/// Whether calls go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// They do.
    Open,
    /// Not for this long.
    Closed(Duration),
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// An answer that shows that the server works.
    Works,
    /// The server asked for a pause.
    Pause(Duration),
    /// It is away, or fails.
    Fails,
}

/// One gate.
pub(super) struct Gate {
    host: String,
    state: Mutex<State>,
}

struct State {
    paused_until: Option<Instant>,
    failures: u32,
    failing_since: Instant,
    /// The gate was closed because of failures, and no answer has come since.
    open_circuit: bool,
    cool_down: Duration,
    probing_since: Option<Instant>,
    used: Instant,
}

impl Gates {
    pub(super) fn of(&self, identity: Identity, host: &str) -> Arc<Gate> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MANY && !all.contains_key(&identity) {
            all.retain(|_, gate| gate.lock().used.elapsed() < IDLE);
        }
        all.entry(identity).or_insert_with(|| Arc::new(Gate::new(host))).clone()
    }
}

impl Gate {
    fn new(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            state: Mutex::new(State {
                paused_until: None,
                failures: 0,
                failing_since: Instant::now(),
                open_circuit: false,
                cool_down: FIRST_COOL_DOWN,
                probing_since: None,
                used: Instant::now(),
            }),
        }
    }

    /// May a call go through now? Where the pause is over, the first who asks does, and tells the others.
    pub(super) fn pass(&self) -> Passage {
        let mut state = self.lock();
        let now = Instant::now();
        state.used = now;
        match state.paused_until {
            Some(until) if now < until => Passage::Closed(until - now),
            // A server that asked for a pause and nothing else is simply asked again by all.
            Some(_) if state.open_circuit => match state.probing_since {
                Some(since) if since + PROBE > now => Passage::Closed(Duration::from_secs(1)),
                _ => {
                    state.probing_since = Some(now);
                    tracing::info!(
                        host = self.host,
                        event = "CircuitBreakerHalfOpen",
                        "one call looks whether Dataverse is back"
                    );
                    metrics().breaker(&self.host, Breaker::HalfOpen);
                    Passage::Open
                }
            },
            _ => Passage::Open,
        }
    }

    /// How long calls will not go through, without being one.
    pub(super) fn closed_for(&self) -> Option<Duration> {
        let until = self.lock().paused_until?;
        let left = until.saturating_duration_since(Instant::now());
        Some(left).filter(|left| !left.is_zero())
    }

    pub(super) fn heard(&self, heard: Heard) {
        let mut state = self.lock();
        let now = Instant::now();
        match heard {
            Heard::Works => {
                self.close(&mut state);
                state.failures = 0;
                state.cool_down = FIRST_COOL_DOWN;
                state.probing_since = None;
                if state.paused_until.is_some_and(|until| until <= now) {
                    state.paused_until = None;
                }
            }
            Heard::Pause(asked) => {
                let until = now + asked.min(LONGEST_PAUSE);
                // The server works: it only wants to be left alone.
                self.close(&mut state);
                state.failures = 0;
                state.probing_since = None;
                if state.paused_until.is_none_or(|before| before < until) {
                    tracing::info!(
                        host = self.host,
                        seconds = asked.as_secs_f64(),
                        "Dataverse asks for a pause"
                    );
                    state.paused_until = Some(until);
                }
            }
            Heard::Fails => {
                if state.failures == 0 {
                    state.failing_since = now;
                }
                state.failures = state.failures.saturating_add(1);
                // What was under way when the gate closed tells nothing new.
                if state.open_circuit && state.paused_until.is_some_and(|until| now < until) {
                    return;
                }
                state.probing_since = None;
                if state.failures < FAILURES || now.duration_since(state.failing_since) < STREAK {
                    return;
                }
                let varied = state.cool_down.mul_f64(0.8 + 0.4 * fastrand::f64());
                if !std::mem::replace(&mut state.open_circuit, true) {
                    tracing::warn!(
                        host = self.host,
                        event = "CircuitBreakerOpened",
                        seconds = varied.as_secs_f64(),
                        "Dataverse is away: nobody asks it for a while"
                    );
                    metrics().breaker(&self.host, Breaker::Opened);
                }
                let until = now + varied;
                if state.paused_until.is_none_or(|before| before < until) {
                    state.paused_until = Some(until);
                    state.cool_down = (state.cool_down * 2).min(LONGEST_COOL_DOWN);
                }
            }
        }
    }

    fn close(&self, state: &mut State) {
        if std::mem::replace(&mut state.open_circuit, false) {
            tracing::info!(
                host = self.host,
                event = "CircuitBreakerClosed",
                "Dataverse answers again"
            );
            metrics().breaker(&self.host, Breaker::Closed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A gate that is forgotten is not open any more.
impl Drop for Gate {
    fn drop(&mut self) {
        let open = self.lock().open_circuit;
        if open {
            metrics().breaker(&self.host, Breaker::Closed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    fn closed(gate: &Gate) -> u64 {
        match gate.pass() {
            Passage::Open => 0,
            Passage::Closed(left) => left.as_secs().max(1),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_kept_to_the_second_by_everybody() {
        let gate = Gate::new("h");
        gate.heard(Heard::Pause(Duration::from_secs(17)));
        gate.heard(Heard::Pause(Duration::from_secs(3)));
        assert_eq!(closed(&gate), 17, "a shorter pause does not end a longer one");
        advance(Duration::from_millis(16_999)).await;
        assert_eq!(closed(&gate), 1);
        advance(Duration::from_millis(1)).await;
        assert_eq!((closed(&gate), closed(&gate)), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_was_under_way_does_not_end_a_pause() {
        let gate = Gate::new("h");
        gate.heard(Heard::Pause(Duration::from_secs(17)));
        gate.heard(Heard::Works);
        assert_eq!(closed(&gate), 17);
    }

    #[tokio::test(start_paused = true)]
    async fn after_some_failures_in_a_row_one_alone_looks() {
        let gate = Gate::new("h");
        for _ in 0..100 {
            gate.heard(Heard::Fails);
        }
        assert_eq!(closed(&gate), 0, "that was one moment");
        advance(STREAK).await;
        gate.heard(Heard::Fails);
        assert!(closed(&gate) > 0);
        advance(Duration::from_secs(3)).await;
        assert_eq!(closed(&gate), 0, "one looks");
        assert!(closed(&gate) > 0, "the others wait for what it sees");
        gate.heard(Heard::Fails);
        advance(Duration::from_secs(3)).await;
        assert!(closed(&gate) > 0, "the pause has grown");
        advance(Duration::from_secs(2)).await;
        assert_eq!(closed(&gate), 0);
        gate.heard(Heard::Works);
        assert_eq!((closed(&gate), closed(&gate)), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_were_under_way_when_the_gate_closed_make_no_pause_longer() {
        let gate = Gate::new("breaker.example");
        let gauge = |value| {
            let line = format!("deskhand_breakers_open{{host=\"breaker.example\"}} {value}");
            assert!(metrics().text().contains(&line), "{line}");
        };
        gate.heard(Heard::Fails);
        advance(STREAK).await;
        for _ in 0..100 {
            gate.heard(Heard::Fails);
        }
        gauge(1);
        advance(Duration::from_secs(3)).await;
        assert_eq!(closed(&gate), 0, "as if one had failed");
        gate.heard(Heard::Works);
        gauge(0);
        for state in ["opened", "half-open", "closed"] {
            let line = format!("deskhand_breaker_changes_total{{host=\"breaker.example\",to=\"{state}\"}} 1");
            assert!(metrics().text().contains(&line), "{line}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_looks_and_is_never_heard_of_again_is_replaced() {
        let gate = Gate::new("h");
        for _ in 0..FAILURES {
            gate.heard(Heard::Fails);
            advance(STREAK).await;
        }
        advance(Duration::from_secs(3)).await;
        assert_eq!(closed(&gate), 0);
        advance(PROBE).await;
        assert_eq!(closed(&gate), 0);
    }
}
