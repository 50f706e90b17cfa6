//! What makes job workers die or hoard, as it was seen on others: each fault is made on a gateway that speaks the real
//! protocol. Each test runs twice: deskhand's worker must pass, and a naive worker must not, or else the test proves
//! nothing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "worker_faults/connection.rs"]
mod connection;
#[path = "worker_faults/credentials.rs"]
mod credentials;
#[path = "worker_faults/half_open.rs"]
mod half_open;
#[path = "worker_faults/intake.rs"]
mod intake;
#[path = "worker_faults/naive.rs"]
mod naive;
#[path = "worker_faults/proxy.rs"]
mod proxy;
#[path = "worker_faults/subject.rs"]
mod subject;
mod support;
#[path = "worker_faults/tls.rs"]
mod tls;

use std::time::Duration;

use deskhand::engine::gateway::ActivatedJob;
use serde_json::json;
use support::gateway::{Command, FakeGateway};
use tokio::time::Instant;

/// What a scenario saw: nothing wrong, or what.
type Verdict = Result<(), String>;

/// A test that deskhand passes and the naive worker fails.
macro_rules! against_a_naive_worker {
    ($($(#[$doc:meta])* $name:ident)*) => {
        mod tests {
            $(
                $(#[$doc])*
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    use $crate::subject::Kind;
                    super::$name(Kind::Deskhand).await.unwrap();
                    let naive = super::$name(Kind::Naive).await;
                    assert!(naive.is_err(), "the naive worker passes, so this test proves nothing");
                }
            )*
        }
    };
}
pub(crate) use against_a_naive_worker;

/// Longer than anything takes that goes well.
const SOON: Duration = Duration::from_secs(3);

/// The job's completion, and nothing else, within the time.
async fn completed(gateway: &FakeGateway, key: i64, within: Duration) -> Verdict {
    let until = Instant::now() + within;
    loop {
        match tokio::time::timeout_at(until, gateway.outcome()).await {
            Ok(Command::Complete { key: completed, .. }) if completed == key => return Ok(()),
            Ok(_) => {}
            Err(_) => return Err(format!("job {key} was not completed within {within:?}")),
        }
    }
}

/// Waits until this holds.
async fn until(what: &str, within: Duration, holds: impl Fn() -> bool) -> Verdict {
    let until = Instant::now() + within;
    while !holds() {
        if Instant::now() > until {
            return Err(format!("not within {within:?}: {what}"));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// A job that takes this long.
fn slow_job(key: i64, milliseconds: u64) -> ActivatedJob {
    ActivatedJob {
        variables: json!({ "do": "sleep", "ms": milliseconds }).to_string(),
        ..support::worker::job(key, "sleep")
    }
}
