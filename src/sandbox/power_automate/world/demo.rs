//! The default world and the stories of `deskhand demo`.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde_json::{Map, Value, json};

use super::environment::{
    Connection, ConnectionReference, Environment, MachineGroup, Outputs, RunError, Script, ValueType, Workflow,
};
use super::span::Span;
use super::{CallbackSettings, ClockSettings, Limits, World};
use crate::sandbox::power_automate::faults::{Effect, Fault, RouteName, Throttle};
use crate::sandbox::power_automate::ids::Guid;
use crate::sandbox::power_automate::status::Status;

/// The tenant of the default world.
pub const TENANT: Guid = Guid::from_bits(0x5a1b_0000_0000_4000_8000_0000_0000_00e0);
/// The client id of the default world's application. Its secret is `demo-client-secret`.
pub const CLIENT_ID: Guid = Guid::from_bits(0x5a1b_0000_0000_4000_8000_0000_0000_00a1);
/// The desktop flow that the demo runs: takes `InvoiceId` and `Amount`, gives them back with `BookingNumber`.
pub const BOOK_INVOICE: Guid = Guid::from_bits(0x5a1b_0000_0000_4000_8000_0000_0000_00f1);
/// A second desktop flow, without inputs or outputs.
pub const MONTHLY_REPORT: Guid = Guid::from_bits(0x5a1b_0000_0000_4000_8000_0000_0000_00f2);
/// The desktop-flow connection of the default world.
pub const CONNECTION: &str = "a8a85e2f1dec44ce8814a37c34234317";

/// A story of `deskhand demo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// The flow succeeds after two seconds.
    Success,
    /// The flow ends as Failed, with an error of the business: the invoice is booked already.
    Fails,
    /// The flow waits for a machine for a while, then runs a little longer.
    Slow,
    /// The first requests are answered 429 with a `Retry-After`.
    Throttled,
    /// As success; the process asks for the status by a timer.
    Classic,
}

impl FromStr for Scenario {
    type Err = UnknownScenario;

    fn from_str(text: &str) -> Result<Self, UnknownScenario> {
        Ok(match text {
            "success" => Scenario::Success,
            "fails" => Scenario::Fails,
            "slow" => Scenario::Slow,
            "throttled" => Scenario::Throttled,
            "classic" => Scenario::Classic,
            other => return Err(UnknownScenario(other.to_owned())),
        })
    }
}

/// No story has this name.
#[derive(Debug, thiserror::Error)]
#[error("no scenario is named `{0}`: choose success, fails, slow, throttled or classic")]
pub struct UnknownScenario(String);

impl Default for World {
    fn default() -> Self {
        Self {
            seed: 1,
            clock: ClockSettings::default(),
            directory: Default::default(),
            environment: environment(),
            limits: Limits::default(),
            callbacks: CallbackSettings::default(),
            behaviour: Default::default(),
            faults: Vec::new(),
            journal: 10_000,
        }
    }
}

impl World {
    /// The default world with the story `scenario` in it. Callbacks to loopback are allowed.
    pub fn demo(scenario: Scenario) -> World {
        let mut world = World::default();
        world.callbacks.allow_insecure = true;
        let script = match scenario {
            Scenario::Success => booked(500, 2_000),
            Scenario::Classic => booked(300, 1_200),
            Scenario::Slow => booked(3_000, 4_000),
            Scenario::Throttled => booked(200, 800),
            Scenario::Fails => refused(),
        };
        for workflow in world
            .environment
            .workflows
            .iter_mut()
            .filter(|workflow| workflow.id == BOOK_INVOICE)
        {
            workflow.scripts = vec![script.clone()];
        }
        if scenario == Scenario::Throttled {
            let throttle = |route, seconds| {
                let throttle = Throttle {
                    retry_after: Span::seconds(seconds),
                    ..Throttle::default()
                };
                Fault::on(route, Effect::Throttle(throttle))
            };
            world.faults = vec![throttle(RouteName::Run, 1), throttle(RouteName::Run, 2)];
        }
        world
    }
}

pub(super) fn environment() -> Environment {
    let text = |name: &str| (name.to_owned(), ValueType::String);
    let number = |name: &str| (name.to_owned(), ValueType::Number);
    Environment {
        workflows: vec![
            Workflow {
                id: BOOK_INVOICE,
                name: "Book invoice".to_owned(),
                description: "Types an invoice into the old ledger and reads the booking number".to_owned(),
                inputs: BTreeMap::from([text("InvoiceId"), number("Amount")]),
                outputs: BTreeMap::from([text("InvoiceId"), number("Amount"), text("BookingNumber")]),
                scripts: vec![booked(500, 2_000)],
                ..Workflow::default()
            },
            Workflow {
                id: MONTHLY_REPORT,
                name: "Monthly report".to_owned(),
                ..Workflow::default()
            },
            Workflow {
                id: Guid::from_bits(0x5a1b_0000_0000_4000_8000_0000_0000_00f3),
                name: "Archive mailbox".to_owned(),
                description: "Not published yet".to_owned(),
                published: false,
                ..Workflow::default()
            },
            Workflow {
                id: Guid::from_bits(0x5a1b_0000_0000_4000_8000_0000_0000_00f4),
                name: "Notify accounting".to_owned(),
                description: "A cloud flow, which desktop-flow lists leave out".to_owned(),
                category: 5,
                ..Workflow::default()
            },
        ],
        connections: vec![Connection {
            name: CONNECTION.to_owned(),
            machine_group: Some("office".to_owned()),
            ..Connection::default()
        }],
        connection_references: vec![ConnectionReference {
            logical_name: "contoso_desktopflows_1f0a2".to_owned(),
            connection: Some(CONNECTION.to_owned()),
        }],
        machine_groups: vec![MachineGroup {
            id: Guid::from_bits(0x5a1b_0000_0000_4000_8000_0000_0000_00c1),
            name: "office".to_owned(),
            sessions: 100,
            online: true,
        }],
        ..Environment::empty()
    }
}

fn booked(waiting: u64, running: u64) -> Script {
    Script {
        waiting: Span::milliseconds(waiting),
        running: Span::milliseconds(running),
        ends: Status::Succeeded,
        error: None,
        outputs: Outputs::Echo(Map::from_iter([(
            "BookingNumber".to_owned(),
            Value::from("B-2026-0815"),
        )])),
    }
}

fn refused() -> Script {
    let details = json!({"subflow": "Main", "action": "Throw error", "line": 42});
    Script {
        ends: Status::Failed,
        error: Some(RunError {
            code: "InvoiceAlreadyBooked".to_owned(),
            message: "The ledger holds this invoice already.".to_owned(),
            details: Some(details.to_string()),
        }),
        outputs: Outputs::None,
        ..booked(500, 1_500)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_story_is_a_valid_world() {
        for name in ["success", "fails", "slow", "throttled", "classic"] {
            World::demo(name.parse().unwrap()).validate().unwrap();
        }
        assert!("sideways".parse::<Scenario>().is_err());
    }
}
