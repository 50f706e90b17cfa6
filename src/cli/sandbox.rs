//! `deskhand sandbox`: the embedded process engine alone, for other people's clients and workers.

use std::net::SocketAddr;
use std::process::ExitCode;

use super::output::line;
use super::settings::not_started;
use super::signals::Signals;
use crate::sandbox::engine::{Engine, Settings};

/// Run the embedded process engine alone: the Zeebe gateway protocol over a BPMN subset, in memory.
///
/// The first line on stdout is the address that was taken. Runs until SIGTERM or Ctrl-C; nothing is kept.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  deskhand sandbox                             where Camunda's clients look for an engine
  deskhand sandbox --listen 127.0.0.1:0        any free port; read it from the first line")]
pub(super) struct Args {
    /// Where to listen; port 0 takes any free one.
    #[arg(long, default_value = "127.0.0.1:26500", value_name = "ADDRESS")]
    listen: SocketAddr,
}

pub(super) async fn run(args: Args) -> ExitCode {
    let mut signals = match Signals::catch() {
        Ok(signals) => signals,
        Err(error) => return not_started("the sandbox engine", args.listen, &error),
    };
    let engine = match Engine::start(args.listen, Settings::default()).await {
        Ok(engine) => engine,
        Err(error) => return not_started("the sandbox engine", args.listen, &error),
    };
    line(format_args!("{}", engine.address()));
    signals.next().await;
    engine.stop().await;
    ExitCode::SUCCESS
}
