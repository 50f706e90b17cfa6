//! Where a task's URL may lead: judged where names are resolved, at every redirect, before a byte is sent.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use deskhand::http::guard::{Allowed, Guard};
use deskhand::http::{Client, Error, Method, Request, Sent};
use url::Url;

/// A server on loopback that counts requests and redirects `/to` to a place.
struct Server {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Server {
    async fn start(redirect_to: &str) -> Self {
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = requests.clone();
        let to = redirect_to.to_owned();
        let redirect = move || async move { (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]) };
        let routes = Router::new()
            .route("/to", get(redirect))
            .fallback(|| async { "here" })
            .layer(axum::middleware::map_request(move |request: axum::extract::Request| {
                counted.fetch_add(1, Ordering::SeqCst);
                async move { request }
            }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { address, requests }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// A guard that allows these, and resolves each name to the next of these addresses.
fn guard(allow: &[&str], addresses: &[&[&str]]) -> (Guard, Arc<AtomicUsize>) {
    let allow: Vec<Allowed> = allow.iter().map(|text| text.parse().unwrap()).collect();
    let lookups = Arc::new(AtomicUsize::new(0));
    let counted = lookups.clone();
    let answers: Vec<Vec<IpAddr>> = addresses
        .iter()
        .map(|one| one.iter().map(|text| text.parse().unwrap()).collect())
        .collect();
    let guard = Guard::new(allow).with_lookup(move |_| {
        let at = counted.fetch_add(1, Ordering::SeqCst);
        let answer = answers[at.min(answers.len() - 1)].clone();
        Box::pin(std::future::ready(Ok(answer)))
    });
    (guard, lookups)
}

async fn call(guard: Guard, url: &str) -> Result<u16, Error> {
    let mut request = Request::new(Method::GET, Url::parse(url).unwrap());
    request.follow_redirects = true;
    Client::guarded(guard)?.send(request).await.map(|answer| answer.status)
}

fn assert_blocked(result: Result<u16, Error>, what: &str) {
    let error = result.expect_err(what);
    assert!(matches!(error, Error::Blocked(_)), "{what}: {error:?}");
    assert_eq!(error.sent(), Sent::No);
    assert!(error.to_string().contains("Nothing was sent"), "{error}");
    assert!(!error.to_string().contains("/path"), "{error}");
}

#[tokio::test]
async fn a_name_that_leads_inside_is_refused_and_nothing_is_sent() {
    let server = Server::start("/").await;
    let port = server.address.port();
    for address in ["127.0.0.1", "::1", "10.0.0.1", "169.254.169.254", "::ffff:127.0.0.1"] {
        let (guard, _) = guard(&[], &[&[address]]);
        let error = call(guard, &format!("http://evil.example:{port}/path")).await;
        assert_blocked(error, address);
    }
    let (mixed, _) = guard(&[], &[&["93.184.216.34", "127.0.0.1"]]);
    assert_blocked(call(mixed, &format!("http://evil.example:{port}/path")).await, "mixed");
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn the_address_that_was_judged_is_the_one_that_is_called() {
    let server = Server::start("/").await;
    let url = format!("http://service.example:{}/path", server.address.port());
    // A second look would lead elsewhere: there is none.
    let (guard, lookups) = guard(&["127.0.0.1"], &[&["127.0.0.1"], &["10.0.0.1"]]);
    assert_eq!(call(guard, &url).await.unwrap(), 200);
    assert_eq!((lookups.load(Ordering::SeqCst), server.requests()), (1, 1));
}

#[tokio::test]
async fn a_name_that_changes_its_mind_is_refused_at_the_next_connection() {
    let server = Server::start("/").await;
    let url = format!("http://rebind.example:{}/path", server.address.port());
    let (guard, _) = guard(&["127.0.0.1"], &[&["127.0.0.1"], &["10.0.0.1"]]);
    assert_eq!(call(guard.clone(), &url).await.unwrap(), 200);
    assert_blocked(call(guard, &url).await, "a second client has connections of its own");
}

#[tokio::test]
async fn a_name_that_operations_allow_may_lead_inside_but_never_to_metadata() {
    let server = Server::start("/").await;
    let url = format!("http://billing.internal:{}/path", server.address.port());
    let (inside, _) = guard(&["billing.internal"], &[&["127.0.0.1"]]);
    assert_eq!(call(inside, &url).await.unwrap(), 200);
    let (metadata, _) = guard(&["billing.internal"], &[&["169.254.169.254"]]);
    assert_blocked(call(metadata, &url).await, "metadata");
}

#[tokio::test]
async fn redirects_are_judged_again() {
    for target in [
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/",
        "http://0251.0376.0251.0376/",
        "http://2852039166/",
        "http://10.0.0.1/",
        "http://inside.example/",
    ] {
        let server = Server::start(target).await;
        let url = format!("http://{}/to", server.address);
        let (guard, _) = guard(&["127.0.0.1"], &[&["192.168.1.1"]]);
        assert_blocked(call(guard, &url).await, target);
        assert_eq!(server.requests(), 1, "{target}");
    }
}

#[tokio::test]
async fn other_schemes_are_not_followed() {
    for target in ["file:///etc/passwd", "gopher://127.0.0.1/", "ftp://example.com/"] {
        let server = Server::start(target).await;
        let (guard, _) = guard(&["127.0.0.1"], &[&["127.0.0.1"]]);
        let status = call(guard, &format!("http://{}/to", server.address)).await.unwrap();
        assert_eq!(status, 307, "the redirect itself is the answer: {target}");
    }
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_no_refusal() {
    let guard = Guard::new(vec![]).with_lookup(|_| {
        let error = std::io::Error::other("no such host");
        Box::pin(std::future::ready(Err(error)))
    });
    let error = call(guard, "http://nowhere.example/").await.unwrap_err();
    assert!(matches!(error, Error::Connect(_)), "{error:?}");
}
