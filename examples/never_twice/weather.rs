//! What goes wrong in Dataverse: a world in which runs last some seconds and their rows can be read only after a while, and
//! a stream of faults for the requests.

use std::time::Duration;

use deskhand::sandbox::power_automate::{
    BOOK_INVOICE, CallbackMode, Effect, Fault, RouteName, Script, Simulator, Span, Throttle, Workflow, World,
};

/// How long the row of a new run cannot be read.
pub const HIDDEN: Duration = Duration::from_millis(1_000);
/// The bound that deskhand is told for it.
pub const VISIBILITY: Duration = Duration::from_millis(2_000);
/// The total timeout of a start.
pub const START_TIMEOUT: Duration = Duration::from_millis(2_000);
/// No start is executed later than this after its sender has given it up, milliseconds. Half of what deskhand is told: a
/// busy machine keeps to no moment.
const LATEST: u64 = 2_800;
/// The bound that deskhand is told for it.
pub const SETTLE: Duration = Duration::from_millis(5_600);

/// The world of a round.
pub fn world() -> World {
    let mut world = World {
        // An engine knows the messages about the runs of an earlier round.
        seed: fastrand::u64(..),
        ..World::default()
    };
    world.environment.workflows = vec![Workflow {
        id: BOOK_INVOICE,
        name: "Book invoice".into(),
        scripts: vec![Script {
            waiting: Span::milliseconds(500),
            // Longer than a late run may live.
            running: Span::seconds(12),
            ..Script::default()
        }],
        ..Workflow::default()
    }];
    world.callbacks.mode = CallbackMode::Never;
    world.behaviour.hidden = Span::milliseconds(1_000);
    world.limits.starts_per_connection = 1_000_000;
    world.limits.requests = 1_000_000;
    world.limits.concurrent = 1_000_000;
    world.limits.execution_time = Span::seconds(1_000_000);
    world.journal = 1_000;
    world
}

/// Keeps the next faults ready; with a guard down more of those that it is there for.
pub fn bad(simulator: &Simulator, random: &mut fastrand::Rng, without: Option<&str>) {
    for _ in 0..20 {
        let (delay, effect) = match without {
            Some("settle") if random.bool() => {
                let after = Span::milliseconds(random.u64(LATEST - 200..LATEST));
                (Span::ZERO, Effect::DropThenProcess { after })
            }
            // Whoever stands still shall start when it goes on.
            Some("lease") => (Span::ZERO, Effect::Nothing),
            Some("look") if random.bool() => (Span::ZERO, Effect::ProcessThenDrop),
            _ => start_fault(random),
        };
        let fault = Fault {
            delay,
            ..Fault::on(RouteName::Run, effect)
        };
        let _ = simulator.add_fault(fault);
        let looked = match random.u32(0..20) {
            0 => status(502, false),
            1 => Effect::MalformedJson,
            2 => Effect::DropBeforeProcess,
            _ => Effect::Nothing,
        };
        let _ = simulator.add_fault(Fault::on(RouteName::Sessions, looked));
    }
}

/// Two of three starts go well.
fn start_fault(random: &mut fastrand::Rng) -> (Span, Effect) {
    let late = Span::milliseconds(random.u64(200..LATEST));
    match random.u32(0..30) {
        0 => (Span::ZERO, Effect::DropBeforeProcess),
        1 => (Span::ZERO, Effect::ProcessThenDrop),
        2 | 3 => (Span::ZERO, Effect::DropThenProcess { after: late }),
        4 => (Span::ZERO, Effect::MalformedJson),
        5 => (Span::ZERO, Effect::TruncatedBody),
        6 => {
            let codes = [500, 502, 503, 504];
            (Span::ZERO, status(codes[random.usize(0..4)], random.bool()))
        }
        7 => (
            Span::ZERO,
            Effect::Throttle(Throttle {
                retry_after: Span::seconds(1),
                as_date: random.bool(),
                ..Throttle::default()
            }),
        ),
        // Slow: some are answered after their sender has given up.
        8 | 9 => (Span::milliseconds(random.u64(300..3_500)), Effect::Nothing),
        _ => (Span::ZERO, Effect::Nothing),
    }
}

fn status(status: u16, process: bool) -> Effect {
    Effect::Status {
        status,
        code: String::new(),
        message: "gateway".into(),
        retry_after: None,
        process,
    }
}
