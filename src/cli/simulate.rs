//! `deskhand simulate`: the Power Automate simulator alone, for other people's clients.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use super::USAGE;
use super::output::{complain, line};
use super::settings::not_started;
use super::signals::Signals;
use crate::sandbox::power_automate::{Scenario, Simulator, World};

/// Run the Power Automate simulator alone: Entra's token endpoint and Dataverse's Web API for desktop flows.
///
/// The first line on stdout is the address that was taken; below it stand the organisation and the token endpoint. Runs
/// until SIGTERM or Ctrl-C. At an address that is not loopback, other machines use their own name for this one in
/// organizationUri and tokenEndpoint.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Its application: client id 5a1b0000-0000-4000-8000-0000000000a1, secret demo-client-secret. It is driven under /__sim: faults, clock, journal of requests, sessions.

Examples:
  deskhand simulate --listen 127.0.0.1:8081
  deskhand simulate --scenario throttled
  deskhand simulate --scenario my-world.json")]
pub(super) struct Args {
    /// Where to listen; port 0 takes any free one.
    #[arg(long, default_value = "127.0.0.1:8081", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// A story of the demo (success, fails, slow, throttled, classic) or a JSON file that describes a world.
    #[arg(long, default_value = "success", value_name = "NAME|FILE")]
    scenario: String,
}

pub(super) async fn run(args: Args) -> ExitCode {
    let world = match world(&args.scenario) {
        Ok(world) => world,
        Err(message) => {
            complain(format_args!("{message}"));
            return ExitCode::from(USAGE);
        }
    };
    let mut signals = match Signals::catch() {
        Ok(signals) => signals,
        Err(error) => return not_started("the simulator", args.listen, &error),
    };
    let simulator = match Simulator::start(args.listen, world).await {
        Ok(simulator) => simulator,
        Err(error) => return not_started("the simulator", args.listen, &error),
    };
    line(format_args!("{}", simulator.address()));
    line(format_args!("organizationUri {}", simulator.organization()));
    line(format_args!("tokenEndpoint   {}", simulator.token_endpoint()));
    signals.next().await;
    simulator.stop().await;
    ExitCode::SUCCESS
}

fn world(scenario: &str) -> Result<World, String> {
    let unknown = match scenario.parse::<Scenario>() {
        Ok(scenario) => return Ok(World::demo(scenario)),
        Err(unknown) => unknown,
    };
    if !Path::new(scenario).exists() {
        return Err(format!("{unknown}, or the path of a JSON file"));
    }
    let text = std::fs::read_to_string(scenario).map_err(|error| format!("{scenario} cannot be read: {error}"))?;
    World::from_json(&text).map_err(|error| format!("{scenario}: {error}"))
}
