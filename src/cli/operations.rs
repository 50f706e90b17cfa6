//! Asking the port for operations of a running worker.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::http::{Client, Method, Request};

/// Status and text of its answer.
pub(super) async fn ask(
    listen: SocketAddr,
    method: Method,
    path: &str,
    body: Option<&str>,
) -> Result<(u16, String), String> {
    let url = format!("http://{}{path}", reachable(listen))
        .parse()
        .map_err(|error| format!("{error}"))?;
    let request = Request {
        total_timeout: Some(Duration::from_secs(2)),
        body: body.map(|body| body.as_bytes().to_vec()),
        ..Request::new(method, url)
    };
    let client = Client::new().map_err(|error| error.to_string())?;
    let answer = client.send(request).await.map_err(|error| error.to_string())?;
    Ok((answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
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
