//! The command line: one file a subcommand. Arguments go in, an exit code comes out.

mod call;
mod check;
mod demo;
mod feel;
mod harden;
mod healthcheck;
mod identity;
mod lint;
mod operations;
mod output;
mod pause;
mod policy;
mod run;
mod runs;
mod sandbox;
mod settings;
mod shown;
mod signals;
mod simulate;
mod target;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Something failed that the message names.
pub(crate) const FAILURE: u8 = 1;
/// The command line or the configuration cannot work (EX_USAGE).
pub(crate) const USAGE: u8 = 64;
/// The engine or another server cannot be reached (EX_UNAVAILABLE).
pub(crate) const UNAVAILABLE: u8 = 69;
/// deskhand itself cannot work here (EX_SOFTWARE).
pub(crate) const INTERNAL: u8 = 70;

/// A job worker for Camunda 8 that runs Power Automate desktop flows and the REST calls around them.
#[derive(Debug, Parser)]
#[command(
    name = "deskhand",
    version,
    arg_required_else_help = true,
    after_help = "\
Begin with `deskhand demo`: it needs nothing but this binary. Against an engine of yours: `deskhand check`, then `deskhand run`. Expressions are tried out with `deskhand feel`.

Exit codes: 0 done, 1 failed (the message says why), 2 and 3 what became of a run (`call`), 64 the command line or the configuration cannot work, 69 the engine cannot be reached, 70 deskhand cannot work on this machine, 130 and 143 cut off by a second signal."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Demo(demo::Args),
    Call(call::Args),
    Runs(runs::Args),
    Check(check::Args),
    Lint(lint::Args),
    Feel(feel::Args),
    Sandbox(sandbox::Args),
    Simulate(simulate::Args),
    Healthcheck(healthcheck::Args),
    Pause(pause::PauseArgs),
    Resume(pause::ResumeArgs),
}

/// Does what the command line asks for.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // A closed pipe is no reason to fail: the reader has what it wanted.
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    if let Err(reason) = harden::keep_memory_private() {
        output::complain(format_args!("{reason}; going on without"));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // Expressions may be nested as deeply as the settings allow.
        .thread_stack_size(crate::feel::Limits::STACK)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            output::complain(format_args!("the runtime cannot be started: {error}"));
            return ExitCode::from(INTERNAL);
        }
    };
    let code = runtime.block_on(async {
        match arguments.command {
            Command::Run(args) => run::run(args).await,
            Command::Demo(args) => demo::run(args).await,
            Command::Call(args) => call::run(args).await,
            Command::Runs(args) => runs::run(args).await,
            Command::Check(args) => check::run(args).await,
            Command::Lint(args) => lint::run(args).await,
            Command::Feel(args) => feel::run(&args),
            Command::Sandbox(args) => sandbox::run(args).await,
            Command::Simulate(args) => simulate::run(args).await,
            Command::Healthcheck(args) => healthcheck::run(args).await,
            Command::Pause(args) => pause::pause(args).await,
            Command::Resume(args) => pause::resume(args).await,
        }
    });
    // What is left (a task that would not let go, a blocked read) must not hold up the end.
    runtime.shutdown_background();
    code
}
