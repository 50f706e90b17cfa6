//! Callbacks: runs that ended go in, POST requests go out, records of the attempts remain.
//!
//! The real sender's header names and their case are part of what receivers see, so the request is written byte by
//! byte. It is plain HTTP; see [`CallbackSettings::connect_to`] for URLs with `https`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::clock::printed;
use super::core::{Core, State};
use super::ids::Guid;
use super::runs::Run;
use super::status::Status;
use super::world::{CallbackMode, CallbackSettings};

/// Attempts after the first one.
const RETRIES: u32 = 3;
/// Deliveries at the same time.
const AT_ONCE: usize = 64;
/// The length that Dataverse keeps of a callback URL.
pub(super) const LONGEST_URL: usize = 2000;

/// One callback that is to be sent.
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    url: Arc<str>,
    workflow: Guid,
    /// The run that the callback speaks of.
    session: Guid,
    /// Whether it is true.
    honest: bool,
    body: String,
}

/// One attempt at a delivery.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryRecord {
    /// The run that the callback speaks of.
    pub session: Guid,
    /// Whether it tells the truth.
    pub honest: bool,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// The receiver's answer.
    pub status: Option<u16>,
    /// Why there was none.
    pub failure: Option<String>,
}

impl Delivery {
    /// The true callback of a run that ended.
    pub(super) fn of(run: &Run) -> Option<Delivery> {
        Self::claiming(run, run.id, run.status, run.completed, true)
    }

    /// A callback that claims success for a run that is not over.
    pub(super) fn lie(run: &Run, now: Timestamp) -> Option<Delivery> {
        Self::claiming(run, run.id, Status::Succeeded, Some(now), false)
    }

    fn forged(run: &Run, id: Guid) -> Option<Delivery> {
        Self::claiming(run, id, Status::Succeeded, run.completed, false)
    }

    fn claiming(
        run: &Run,
        session: Guid,
        status: Status,
        completed: Option<Timestamp>,
        honest: bool,
    ) -> Option<Delivery> {
        let body = json!({
            "statuscode": status.code(),
            "statecode": status.state(),
            "startedon": run.started.or(completed).map(printed),
            "completedon": completed.map(printed),
            "flowsessionid": session,
        });
        let url = run.callback_url.clone()?;
        Some(Delivery {
            url,
            workflow: run.workflow,
            session,
            honest,
            body: body.to_string(),
        })
    }
}

impl State {
    /// Moves what ended into the outbox, as each run's callback mode says.
    fn announce(&mut self) {
        while let Some(run) = self.runs.next_ended() {
            let deliveries = match run.callback {
                CallbackMode::Once | CallbackMode::Lie => [Delivery::of(run), None],
                CallbackMode::Duplicate => [Delivery::of(run), Delivery::of(run)],
                CallbackMode::Forged => [Delivery::forged(run, self.ids.guid()), None],
                // An early callback was sent before the run was answered.
                CallbackMode::Never | CallbackMode::Early => [None, None],
            };
            self.outbox.extend(deliveries.into_iter().flatten());
        }
    }
}

/// Sends what is in the outbox and what comes into it, until the simulator stops.
pub(super) async fn drive(core: Arc<Core>) {
    let at_once = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let (delivery, next) = {
            let mut state = core.state();
            state.announce();
            (state.outbox.pop_front(), state.runs.next_event())
        };
        if let Some(delivery) = delivery {
            // A permit first: what cannot be sent yet stays in the outbox.
            let permit = tokio::select! {
                permit = Arc::clone(&at_once).acquire_owned() => permit,
                () = core.stop_asked() => return,
            };
            let core = Arc::clone(&core);
            tokio::spawn(async move {
                tokio::select! {
                    () = deliver(&core, &delivery) => {}
                    () = core.stop_asked() => {}
                }
                drop(permit);
            });
            continue;
        }
        let event = async {
            match next {
                Some(time) => tokio::time::sleep_until(core.clock.instant_of(time)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = event => {}
            () = core.wake.notified() => {}
            () = core.stop_asked() => return,
        }
    }
}

/// Sends one callback: again up to three times, a second apart, on 408 and on 500 and above.
///
/// What the real sender does when there is no answer at all is not documented; it is taken as a 5xx here.
pub(super) async fn deliver(core: &Core, delivery: &Delivery) {
    let settings = core.state().world.callbacks.clone();
    for attempt in 1..=1 + RETRIES {
        if attempt > 1 {
            tokio::time::sleep(settings.retry_pause.get()).await;
        }
        let answered = attempted(&settings, delivery).await;
        let again = !matches!(answered, Ok(status) if status < 500 && status != 408);
        let (status, failure) = match answered {
            Ok(status) => (Some(status), None),
            Err(failure) => (None, Some(failure)),
        };
        core.state().delivered(DeliveryRecord {
            session: delivery.session,
            honest: delivery.honest,
            attempt,
            status,
            failure,
        });
        if !again {
            return;
        }
    }
}

async fn attempted(settings: &CallbackSettings, delivery: &Delivery) -> Result<u16, String> {
    let target = Target::of(&delivery.url)?;
    if target.secure && settings.connect_to.is_none() {
        return Err("the simulator speaks no TLS; set callbacks.connectTo".to_owned());
    }
    let exchange = async {
        let mut stream = match settings.connect_to {
            Some(address) => TcpStream::connect(address).await,
            None => TcpStream::connect((target.host.trim_matches(['[', ']']), target.port)).await,
        }?;
        let Delivery {
            workflow,
            session,
            body,
            ..
        } = delivery;
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: EnterpriseConnectors/1.0\r\nContent-type: application/json; \
             charset=utf-8\r\nx-ms-workflow-id: {workflow}\r\nx-ms-run-id: {session}\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            target.path,
            target.authority,
            body.len(),
        );
        stream.write_all(head.as_bytes()).await?;
        let mut line = Vec::with_capacity(64);
        // The status line is short; whatever follows it is of no interest.
        let mut answer = stream.take(256);
        while !line.contains(&b'\n') && answer.read_buf(&mut line).await? > 0 {}
        Ok::<_, std::io::Error>(line)
    };
    let line = tokio::time::timeout(settings.timeout.get().max(Duration::from_millis(1)), exchange)
        .await
        .map_err(|_| "no answer in time".to_owned())?
        .map_err(|error| error.to_string())?;
    let line = String::from_utf8_lossy(&line);
    let status = line
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.get(2..5))
        .and_then(|code| code.parse().ok());
    status.ok_or_else(|| "the answer is not HTTP".to_owned())
}

/// The parts of a callback URL.
#[derive(Debug, PartialEq, Eq)]
struct Target<'u> {
    secure: bool,
    authority: &'u str,
    host: &'u str,
    port: u16,
    path: String,
}

impl<'u> Target<'u> {
    fn of(url: &'u str) -> Result<Self, String> {
        if url.len() > LONGEST_URL {
            return Err(format!("it is longer than {LONGEST_URL} characters"));
        }
        if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("it contains characters that must be percent-encoded".to_owned());
        }
        let (scheme, rest) = url.split_once("://").ok_or("it is not an absolute URL")?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err("its scheme is not https".to_owned()),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err("it contains user information".to_owned());
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| "its port is no number")?),
            _ => (authority, if secure { 443 } else { 80 }),
        };
        if host.is_empty() {
            return Err("it names no host".to_owned());
        }
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        };
        Ok(Self {
            secure,
            authority,
            host,
            port,
            path,
        })
    }
}

/// Checks a callback URL as RunDesktopFlow does.
///
/// # Errors
/// Says why the service refuses it.
pub(super) fn acceptable(url: &str, allow_insecure: bool) -> Result<(), String> {
    let target = Target::of(url)?;
    if allow_insecure {
        return Ok(());
    }
    let host = target.host.to_ascii_lowercase();
    if !target.secure {
        Err("its scheme is not https".to_owned())
    } else if host.starts_with('[') || host.parse::<IpAddr>().is_ok() {
        Err("its host is an IP address and not a DNS name".to_owned())
    } else if host == "localhost" || host.ends_with(".localhost") {
        Err("its host is a loopback name".to_owned())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_urls_with_a_dns_name_are_acceptable() {
        assert!(acceptable("https://hooks.example.com/a?b=c", false).is_ok());
        for url in [
            "http://hooks.example.com/",
            "https://10.0.0.1/",
            "https://[::1]:8443/",
            "https://LOCALHOST/x",
            "https://user@hooks.example.com/",
            "hooks.example.com",
            "ftp://hooks.example.com/",
            "https:///x",
            "https://hooks.example.com/a b",
        ] {
            assert!(acceptable(url, false).is_err(), "{url}");
        }
        assert!(acceptable(&format!("https://a.example/{}", "x".repeat(2000)), false).is_err());
        assert!(acceptable("http://127.0.0.1:8080/hook", true).is_ok());
    }

    #[test]
    fn a_url_is_taken_apart() {
        let target = Target::of("http://[::1]:8080?x=1#top").unwrap();
        assert_eq!(
            (target.host, target.port, target.path.as_str()),
            ("[::1]", 8080, "/?x=1")
        );
        assert_eq!(Target::of("https://a.example").unwrap().port, 443);
    }
}
