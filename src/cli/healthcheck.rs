//! `deskhand healthcheck`: asks the port for operations whether the worker beside us is ready; for container images.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use super::output::{complain, line};
use super::settings::Settings;
use super::{FAILURE, USAGE};
use crate::http::{Client, Method, Request};

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
    match ask(reachable(listen)).await {
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

/// An address that listens everywhere is asked on loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

async fn ask(address: SocketAddr) -> Result<(u16, String), String> {
    let url = format!("http://{address}/ready")
        .parse()
        .map_err(|error| format!("{error}"))?;
    let request = Request {
        total_timeout: Some(Duration::from_secs(2)),
        ..Request::new(Method::GET, url)
    };
    let client = Client::new().map_err(|error| error.to_string())?;
    let answer = client.send(request).await.map_err(|error| error.to_string())?;
    Ok((answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
}
