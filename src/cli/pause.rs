//! `deskhand pause` and `deskhand resume`: a running worker starts no more runs of a flow or connection, and does again.

use std::net::SocketAddr;
use std::process::ExitCode;

use serde_json::Value;

use super::operations;
use super::output::{complain, line};
use super::settings::Settings;
use super::{FAILURE, UNAVAILABLE, USAGE};
use crate::admin::pauses::ALL;
use crate::http::Method;

/// Have a running worker start no more runs of flows and connections; without a pattern: show what is paused.
///
/// Runs that go on are waited for, and their tasks complete. Starts wait, parked, without losing a try. A pause lasts until
/// `deskhand resume` or until the worker ends; it says so when it stops. What shall outlast that belongs into the setting
/// desktop_flow.pause. Each replica is asked for itself.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  deskhand pause \"Book invoice\"            the flow with this name, where tasks name it so, else its id
  deskhand pause \"accounting_*\" --json     all connections that begin so
  deskhand pause --at 10.1.2.3:9600        what is paused at another replica")]
pub(super) struct PauseArgs {
    /// Ids or names of flows, names of connections; * stands for any characters.
    #[arg(value_name = "PATTERN")]
    patterns: Vec<String>,
    #[command(flatten)]
    at: At,
}

/// Have a running worker start runs again that `deskhand pause` stopped.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  deskhand resume \"Book invoice\"
  deskhand resume --all")]
pub(super) struct ResumeArgs {
    /// What was given to `deskhand pause`.
    #[arg(value_name = "PATTERN", required_unless_present = "all")]
    patterns: Vec<String>,
    /// Everything that `deskhand pause` stopped.
    #[arg(long, conflicts_with = "patterns")]
    all: bool,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, clap::Args)]
struct At {
    /// The worker's port for operations. Default: admin.listen.
    #[arg(long, value_name = "ADDRESS")]
    at: Option<SocketAddr>,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Settings,
}

pub(super) async fn pause(args: PauseArgs) -> ExitCode {
    let method = if args.patterns.is_empty() {
        Method::GET
    } else {
        Method::POST
    };
    args.at.ask(&method, args.patterns).await
}

pub(super) async fn resume(args: ResumeArgs) -> ExitCode {
    let patterns = if args.all { vec![ALL.to_owned()] } else { args.patterns };
    args.at.ask(&Method::DELETE, patterns).await
}

impl At {
    async fn ask(self, method: &Method, patterns: Vec<String>) -> ExitCode {
        let listen = match self.at {
            Some(at) => at,
            None => match self.settings.load() {
                Ok(config) => match config.admin {
                    Some(listen) => listen,
                    None => {
                        complain(format_args!(
                            "there is no port to ask: set admin.listen (DESKHAND_ADMIN_LISTEN) for the worker and here, or say --at"
                        ));
                        return ExitCode::from(USAGE);
                    }
                },
                Err(code) => return code,
            },
        };
        let bodies: Vec<Option<String>> = match patterns.is_empty() {
            true => vec![None],
            false => patterns.into_iter().map(Some).collect(),
        };
        let mut last = String::new();
        for body in bodies {
            match operations::ask(listen, method.clone(), "/pauses", body.as_deref()).await {
                Ok((200, text)) => last = text,
                Ok((status, text)) => {
                    let answer: Value = serde_json::from_str(&text).unwrap_or_default();
                    let problem = answer["error"].as_str().unwrap_or("this worker does not know pauses");
                    complain(format_args!(
                        "{status}: {} {problem}",
                        body.as_deref().unwrap_or_default()
                    ));
                    return ExitCode::from(FAILURE);
                }
                Err(message) => {
                    complain(format_args!("{listen}: {message}"));
                    return ExitCode::from(UNAVAILABLE);
                }
            }
        }
        if self.json {
            line(format_args!("{}", last.trim()));
        } else {
            show(&last);
        }
        ExitCode::SUCCESS
    }
}

fn show(answer: &str) {
    let answer: Value = serde_json::from_str(answer).unwrap_or_default();
    let paused = answer["paused"].as_array().map(Vec::as_slice).unwrap_or_default();
    if paused.is_empty() {
        line(format_args!("nothing is paused"));
    }
    for one in paused {
        let text = |name: &str| one[name].as_str().unwrap_or_default();
        line(format_args!("{} is paused until {}", text("pattern"), text("until")));
    }
    if let Some(waiting @ 1..) = answer["waiting"].as_u64() {
        line(format_args!("{waiting} starts wait for their turn"));
    }
}
