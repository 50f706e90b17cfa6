//! A callback that reaches the wrong replica.

use std::sync::Arc;
use std::time::Duration;

use deskhand::http::{Client, Method, Request};
use deskhand::runs::callback::{Peers, Receiver};
use deskhand::runs::token::{Subject, Tokens};
use deskhand::runs::watcher::{Settings, Watcher};
use deskhand::sandbox::power_automate::CallbackMode;
use serde_json::json;

use crate::setting::{Setting, free_address};
use crate::support::gateway::PATIENCE;

fn tokens() -> Tokens {
    Tokens::new("", None)
}

/// A replica that waits for nothing, with these peers.
fn another(peers: &[String]) -> Arc<Receiver> {
    let urls = peers.iter().map(|peer| peer.parse().unwrap()).collect();
    let peers = Peers::new(urls, Client::new().unwrap(), tokens());
    Receiver::with_peers(Watcher::new(Settings::default()), peers, None)
}

async fn call(url: String, run: &str) -> u16 {
    let mut request = Request::new(Method::POST, url.parse().unwrap());
    request.body = Some(json!({"flowsessionid": run, "statuscode": 4}).to_string().into_bytes());
    Client::new().unwrap().send(request).await.unwrap().status
}

async fn until(what: &str, done: impl Fn() -> bool) {
    let give_up = std::time::Instant::now() + PATIENCE;
    while !done() {
        assert!(std::time::Instant::now() < give_up, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_callback_at_the_wrong_replica_is_passed_to_the_one_that_waits() {
    let setting = Setting::with_callbacks(CallbackMode::Never).await;
    setting.push(7..8).await;
    setting.asleep(1).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let session = setting.simulator.sessions().remove(0);
    let url = session.callback_url.unwrap();
    let (hooks, token) = url.rsplit_once('/').unwrap();
    // One peer is away, which holds nobody up.
    let wrong = another(&[format!("http://{}", free_address()), hooks.to_owned()]);
    let address = wrong.clone().listen(free_address()).await.unwrap();
    let (run, looks) = (session.id.to_string(), setting.looks());
    assert_eq!(call(format!("http://{address}/{token}"), &run).await, 202);
    setting
        .until("it is looked at", |setting| setting.looks() > looks)
        .await;
    assert_eq!(wrong.figures().passed, 1);
    assert_eq!(setting.receiver.as_ref().unwrap().figures().heard, 1);
}

#[tokio::test]
async fn a_callback_is_passed_once_and_never_further_and_only_if_it_is_ours() {
    let (one, other) = (free_address(), free_address());
    let peers = [format!("http://{one}"), format!("http://{other}")];
    let (first, second) = (another(&peers), another(&peers));
    first.clone().listen(one).await.unwrap();
    second.clone().listen(other).await.unwrap();
    let subject = Subject {
        process_instance: 1,
        element_instance: 2,
        attempt: 1,
    };
    let run = "d9687093-d0c0-ec11-983e-0022480b428a";
    let token = tokens().fresh(subject).unwrap();
    call(format!("http://{one}/{token}"), run).await;
    until("both have heard of it", || {
        second.figures().strange == 1 && first.figures().strange == 2
    })
    .await;
    let forged = Tokens::new("another engine", None).fresh(subject).unwrap();
    call(format!("http://{one}/{forged}"), run).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!((first.figures().passed, second.figures().passed), (1, 0));
    assert_eq!((first.figures().strange, second.figures().strange), (3, 1));
}
