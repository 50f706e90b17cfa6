//! What goes wrong on purpose: a queue of faults goes in, at most one fault for a request comes out.

use serde::{Deserialize, Serialize};

use super::ids::Guid;
use super::world::{CallbackMode, Span};

/// Something that goes wrong with some requests. Serialised as
/// `{"route":"run","times":2,"skip":0,"delay":"0s","effect":{"throttle":{"retryAfter":"2s"}}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// Which requests are meant.
    pub route: RouteName,
    /// Only runs of this workflow; for the route `run`.
    pub workflow: Option<Guid>,
    /// How many requests it happens to; `null` is every one from now on.
    pub times: Option<u32>,
    /// How many matching requests go by unharmed first.
    pub skip: u32,
    /// How long the server waits before it does anything (real time). The request is then processed even when the
    /// client has gone.
    pub delay: Span,
    /// What happens.
    pub effect: Effect,
}

impl Default for Fault {
    fn default() -> Self {
        Self {
            route: RouteName::Any,
            workflow: None,
            times: Some(1),
            skip: 0,
            delay: Span::ZERO,
            effect: Effect::Nothing,
        }
    }
}

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RouteName {
    /// The token endpoint.
    Token,
    /// The list of flows, or one flow's row.
    Workflows,
    /// A flow's input or output schema.
    Schema,
    /// RunDesktopFlow.
    Run,
    /// CancelDesktopFlowRun.
    Cancel,
    /// One run's row.
    Session,
    /// The list of runs.
    Sessions,
    /// A run's `outputs` file.
    Outputs,
    /// A run's `inputs` file.
    Inputs,
    /// Any other Dataverse request.
    Other,
    /// In a fault: every Dataverse request.
    Dataverse,
    /// In a fault: every request. In the journal: a path that is not served.
    Any,
}

impl RouteName {
    fn covers(self, route: RouteName) -> bool {
        match self {
            RouteName::Any => true,
            RouteName::Dataverse => !matches!(route, RouteName::Token | RouteName::Any),
            exact => exact == route,
        }
    }
}

/// What a fault does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Effect {
    /// Nothing but the fault's delay.
    #[default]
    Nothing,
    /// The connection is reset; the request is not executed.
    DropBeforeProcess,
    /// The request is executed, then the connection is reset without an answer.
    ProcessThenDrop,
    /// The connection is reset, and the request is executed later all the same.
    DropThenProcess {
        /// How much later (real time).
        after: Span,
    },
    /// Service protection: 429, not executed.
    Throttle(Throttle),
    /// An answer with this status.
    Status {
        /// The HTTP status, 400 to 599.
        status: u16,
        /// The error's code; may be empty, as a gateway's is.
        #[serde(default)]
        code: String,
        /// The error's message.
        #[serde(default)]
        message: String,
        /// A `Retry-After` in seconds.
        #[serde(default)]
        retry_after: Option<Span>,
        /// Whether the request is executed before it is answered so.
        #[serde(default)]
        process: bool,
    },
    /// 401 with an empty body, as for a token that was revoked.
    Unauthorized,
    /// Executed; the answer is JSON cut in two and closed wrongly.
    MalformedJson,
    /// Executed; the connection closes in the middle of the answer's body.
    TruncatedBody,
    /// The token endpoint answers with this AADSTS number.
    Entra(u32),
    /// RunDesktopFlow reports this licence code.
    LicenseCheck(String),
    /// The run that is started gets this kind of callback.
    Callback(CallbackMode),
    /// The run that is started cannot be read for so long (virtual time).
    Hidden(Span),
}

/// A service protection answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Throttle {
    /// Which limit is said to be exceeded.
    pub limit: ProtectionLimit,
    /// The value of `Retry-After`, rounded up to seconds.
    pub retry_after: Span,
    /// Write `Retry-After` as an HTTP date instead of seconds.
    pub as_date: bool,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            limit: ProtectionLimit::Requests,
            retry_after: Span::seconds(1),
            as_date: false,
        }
    }
}

/// The three service protection limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProtectionLimit {
    /// `0x80072322`
    Requests,
    /// `0x80072321`
    ExecutionTime,
    /// `0x80072326`
    Concurrent,
}

impl Fault {
    /// A fault that happens once, to the next request on `route`.
    pub fn on(route: RouteName, effect: Effect) -> Self {
        Self {
            route,
            effect,
            ..Self::default()
        }
    }

    /// The same fault for `times` requests.
    pub fn times(self, times: u32) -> Self {
        Self {
            times: Some(times),
            ..self
        }
    }

    /// Checks that the effect exists on the route.
    ///
    /// # Errors
    /// Says what does not fit.
    pub fn validate(&self) -> Result<(), String> {
        let needs = match &self.effect {
            Effect::Entra(_) => Some(RouteName::Token),
            Effect::LicenseCheck(_) | Effect::Callback(_) | Effect::Hidden(_) => Some(RouteName::Run),
            _ => None,
        };
        if let Some(needed) = needs
            && needed != self.route
        {
            return Err(format!(
                "faults: the effect of {self:?} exists only on the route {needed:?}"
            ));
        }
        if self.workflow.is_some() && self.route != RouteName::Run {
            return Err("faults: `workflow` goes with the route `run` only".to_owned());
        }
        if let Effect::Status { status, .. } = self.effect
            && !(400..600).contains(&status)
        {
            return Err(format!(
                "faults: status {status} is not an error; write one from 400 to 599"
            ));
        }
        Ok(())
    }
}

impl Effect {
    /// The name of the effect in the journal.
    pub fn name(&self) -> &'static str {
        match self {
            Effect::Nothing => "delay",
            Effect::DropBeforeProcess => "dropBeforeProcess",
            Effect::ProcessThenDrop => "processThenDrop",
            Effect::DropThenProcess { .. } => "dropThenProcess",
            Effect::Throttle(_) => "throttle",
            Effect::Status { .. } => "status",
            Effect::Unauthorized => "unauthorized",
            Effect::MalformedJson => "malformedJson",
            Effect::TruncatedBody => "truncatedBody",
            Effect::Entra(_) => "entra",
            Effect::LicenseCheck(_) => "licenseCheck",
            Effect::Callback(_) => "callback",
            Effect::Hidden(_) => "hidden",
        }
    }
}

/// The faults that have not been used up, in the order in which they were given.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pending: Vec<Fault>,
}

/// Faults that may be pending at the same time.
pub(super) const MOST_FAULTS: usize = 1000;

impl Faults {
    pub(super) fn starting(with: &[Fault]) -> Self {
        Self {
            pending: with.iter().filter(|fault| fault.times != Some(0)).cloned().collect(),
        }
    }

    /// Queues a fault; `false` when too many are pending.
    pub(super) fn add(&mut self, fault: Fault) -> bool {
        if self.pending.len() >= MOST_FAULTS {
            return false;
        }
        if fault.times != Some(0) {
            self.pending.push(fault);
        }
        true
    }

    pub(super) fn clear(&mut self) {
        self.pending.clear();
    }

    /// What happens to this request: the first pending fault that covers it, once less from now on.
    pub(super) fn take(&mut self, route: RouteName, workflow: Option<Guid>) -> Option<(Span, Effect)> {
        let mut found = None;
        for (index, fault) in self.pending.iter_mut().enumerate() {
            if !fault.route.covers(route) || (fault.workflow.is_some() && fault.workflow != workflow) {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            fault.times = fault.times.map(|times| times - 1);
            found = Some(index);
            break;
        }
        let index = found?;
        let used_up = self.pending[index].times == Some(0);
        let Fault { delay, effect, .. } = if used_up {
            self.pending.remove(index)
        } else {
            self.pending[index].clone()
        };
        Some((delay, effect))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_lets_some_go_by_happens_so_often_and_is_gone() {
        let mut faults = Faults::default();
        faults.add(Fault {
            skip: 1,
            ..Fault::on(RouteName::Run, Effect::Unauthorized).times(2)
        });
        let mut seen = Vec::new();
        for route in [
            RouteName::Run,
            RouteName::Session,
            RouteName::Run,
            RouteName::Run,
            RouteName::Run,
        ] {
            seen.push(faults.take(route, None).is_some());
        }
        assert_eq!(seen, [false, false, true, true, false]);
    }

    #[test]
    fn a_dataverse_fault_spares_the_token_endpoint_and_may_last() {
        let mut faults = Faults::default();
        faults.add(Fault {
            times: None,
            ..Fault::on(RouteName::Dataverse, Effect::Unauthorized)
        });
        assert!(faults.take(RouteName::Token, None).is_none());
        assert!((0..50).all(|_| faults.take(RouteName::Outputs, None).is_some()));
    }

    #[test]
    fn an_effect_on_the_wrong_route_is_refused() {
        assert!(Fault::on(RouteName::Session, Effect::Entra(50_126)).validate().is_err());
        assert!(
            Fault::on(RouteName::Run, Effect::Hidden(Span::seconds(5)))
                .validate()
                .is_ok()
        );
    }
}
