//! The campaign of never twice: replicas of deskhand are killed, frozen and lied to, and a checker that shares no code with
//! the worker counts the runs that were started.
//!
//! ```text
//! cargo run --release --example never_twice -- --kills 40
//! cargo run --release --example never_twice -- --kills 1000 --engine http://127.0.0.1:26500 --state campaign.json
//! ```
//!
//! | file        | what happens there                                                                       |
//! |-------------|-------------------------------------------------------------------------------------------|
//! | `arguments` | what was typed                                                                             |
//! | `campaign`  | rounds of kills until there are enough; totals, kept in a file so that it can go on        |
//! | `round`     | one round: engine, simulator, replicas, instances; all of it ends before it is judged      |
//! | `processes` | the processes, and how many runs each entry into them wants                                |
//! | `clerk`     | starts instances, takes what the processes hand on, so that it is known what the engine says |
//! | `surgery`   | changes to instances while their tasks wait                                              |
//! | `weather`   | what goes wrong in Dataverse                                                               |
//! | `chaos`     | kills and freezes                                                                          |
//! | `replica`   | a worker in a process of its own, which stands still at a point of the start when told to  |
//! | `checker`   | facts in, verdict out; nothing of deskhand is used there                                   |

#![allow(clippy::unwrap_used, reason = "a campaign that cannot go on should say where")]

mod arguments;
mod campaign;
mod chaos;
mod checker;
mod clerk;
mod processes;
mod replica;
mod round;
mod surgery;
mod weather;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap();
    if arguments.first().map(String::as_str) == Some("replica") {
        return runtime.block_on(replica::run(&arguments[1..]));
    }
    match arguments::parse(&arguments) {
        Ok(arguments) => runtime.block_on(campaign::run(arguments)),
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}
