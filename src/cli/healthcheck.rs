//! `deskhand healthcheck`: asks the port for operations whether the worker beside us is ready; for container images.

use std::process::ExitCode;

use super::operations::ask;
use super::output::{complain, line};
use super::settings::Settings;
use super::{FAILURE, USAGE};
use crate::http::Method;

/// Ask the worker on this machine whether it is ready (GET /ready at admin.listen); exit code 0 or 1.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  HEALTHCHECK CMD [\"deskhand\", \"healthcheck\"]      in a Dockerfile, with DESKHAND_ADMIN_LISTEN set")]
pub(super) struct Args {
    #[command(flatten)]
    settings: Settings,
}

pub(super) async fn run(args: Args) -> ExitCode {
    let config = match args.settings.load() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let Some(listen) = config.admin else {
        complain(format_args!(
            "there is no port to ask: set admin.listen (DESKHAND_ADMIN_LISTEN) for the worker and here"
        ));
        return ExitCode::from(USAGE);
    };
    match ask(listen, Method::GET, "/ready", None).await {
        Ok((200, text)) => {
            line(format_args!("{}", text.trim()));
            ExitCode::SUCCESS
        }
        Ok((status, text)) => {
            complain(format_args!("{status}: {}", text.trim()));
            ExitCode::from(FAILURE)
        }
        Err(message) => {
            complain(format_args!("{listen}: {message}"));
            ExitCode::from(FAILURE)
        }
    }
}
