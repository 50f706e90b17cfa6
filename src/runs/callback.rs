//! Where Dataverse says that a run has ended: an HTTP receiver whose word is only a hint.
//!
//! In comes a POST at a URL whose last part is the token of a start; what follows is an early look at the run, by the
//! same queries as always. Nothing in the request is believed: who does not know the token moves nothing, who knows it
//! moves a look. Callbacks that come twice, too early, or never are harmless for the same reason: a run is looked at when
//! its wait begins, and again at the watcher's own pace.
//!
//! A callback for a run that nobody here waits for may be another replica's: it is passed to the peers that operations
//! name, once and never further. Without peers, or when they are away, the run is looked at a little later.
//!
//! Everybody gets the same answer, so that nobody learns which runs there are. Only when there are too many requests the
//! answer is 503: Dataverse then comes back, three times, a second apart.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::routing::post;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Semaphore;
use url::Url;

use super::budget::Budget;
use super::hints::Hints;
use super::message::{Found, Mark};
use super::token::{Token, Tokens};
use super::watcher::{Hint, Watcher};
use crate::http::header::HeaderValue;
use crate::http::{Client, Method, Request};
use crate::microsoft::dataverse::Guid;

/// Callbacks a second, on average, and at once.
const PER_SECOND: f64 = 200.0;
const BURST: f64 = 1000.0;
/// A callback has some 200 bytes.
const LARGEST: usize = 16 * 1024;

/// Marks a callback that another replica passed on.
const PASSED: &str = "x-deskhand-passed";
/// Callbacks that are passed on at once; further ones are not: the replica that waits looks by itself.
const PASSED_AT_ONCE: usize = 32;
/// How long a peer may take to hear of one.
const PEER_PATIENCE: Duration = Duration::from_secs(5);

/// The receiver of callbacks.
pub struct Receiver {
    watcher: Watcher,
    peers: Option<Peers>,
    published: Option<Published>,
    budget: Mutex<Budget>,
    heard: AtomicU64,
    strange: AtomicU64,
    limited: AtomicU64,
    passed: AtomicU64,
}

/// Runs whose ends are published, whoever started them.
pub struct Published {
    /// Only what carries a token and a mark of ours is followed.
    pub tokens: Tokens,
    /// Where to.
    pub hints: Hints,
}

/// Other replicas, one of which may wait for a run that nobody here waits for.
pub struct Peers {
    urls: Vec<Url>,
    client: Client,
    /// Only what carries a token of ours is passed on.
    tokens: Tokens,
    places: Arc<Semaphore>,
}

/// What came in so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Callbacks for runs that were waited for.
    pub heard: u64,
    /// Forged, for runs that nobody here waits for (any more), or no callbacks at all.
    pub strange: u64,
    /// Turned away because there were too many.
    pub limited: u64,
    /// Passed on to peers, each counted once.
    pub passed: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    flowsessionid: Option<String>,
}

impl Receiver {
    /// A receiver that hurries this watcher.
    pub fn new(watcher: Watcher) -> Arc<Self> {
        Self::with_peers(watcher, None, None)
    }

    /// The same, which passes callbacks for runs that it does not know to peers, and hurries what publishes ends of runs.
    pub fn with_peers(watcher: Watcher, peers: Option<Peers>, published: Option<Published>) -> Arc<Self> {
        Arc::new(Self {
            watcher,
            peers,
            published,
            budget: Mutex::new(Budget::new(PER_SECOND, BURST)),
            heard: AtomicU64::new(0),
            strange: AtomicU64::new(0),
            limited: AtomicU64::new(0),
            passed: AtomicU64::new(0),
        })
    }

    /// Listens until the process ends; gives the address that was taken.
    ///
    /// # Errors
    /// When the address cannot be listened at.
    pub async fn listen(self: Arc<Self>, address: SocketAddr) -> std::io::Result<SocketAddr> {
        let listener = tokio::net::TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let routes = Router::new()
            // Proxies may keep or cut what stands before the token.
            .fallback(post(received))
            .layer(DefaultBodyLimit::max(LARGEST))
            .with_state(self);
        tracing::info!(%address, "receiver of callbacks");
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(address)
    }

    /// What came in so far.
    pub fn figures(&self) -> Figures {
        Figures {
            heard: self.heard.load(Ordering::Relaxed),
            strange: self.strange.load(Ordering::Relaxed),
            limited: self.limited.load(Ordering::Relaxed),
            passed: self.passed.load(Ordering::Relaxed),
        }
    }

    fn take(&self, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> StatusCode {
        let full = self
            .budget
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .is_some();
        if full {
            self.limited.fetch_add(1, Ordering::Relaxed);
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        let read = read(uri.path(), headers, body);
        let hint = read
            .as_ref()
            .map(|(run, token)| self.watcher.hint(*run, &token.nonce()));
        if let (Some((run, token)), Some(Hint::Unknown), Some(peers)) = (&read, hint, &self.peers)
            && !headers.contains_key(PASSED)
            && peers.pass_on(*run, token)
        {
            self.passed.fetch_add(1, Ordering::Relaxed);
        }
        let wanted = |token: &Token| self.published.as_ref().is_some_and(|one| one.follows(uri, token));
        let followed = matches!((&read, hint), (Some((_, token)), Some(Hint::Unknown)) if wanted(token));
        match hint {
            _ if followed => self.heard.fetch_add(1, Ordering::Relaxed),
            Some(Hint::Followed) => self.heard.fetch_add(1, Ordering::Relaxed),
            Some(Hint::Unproven) => {
                tracing::info!("a callback names a run that is waited for, but not its token: it is ignored");
                self.strange.fetch_add(1, Ordering::Relaxed)
            }
            Some(Hint::Unknown) | None => self.strange.fetch_add(1, Ordering::Relaxed),
        };
        StatusCode::ACCEPTED
    }
}

impl Published {
    /// Is the end of this run to be published? Then it is looked for soon.
    fn follows(&self, uri: &Uri, token: &Token) -> bool {
        let wanted = matches!(Mark::find(&uri.to_string(), &self.tokens, token), Found::Wanted(_));
        if wanted {
            self.hints.give();
        }
        wanted
    }
}

impl Peers {
    /// Replicas that listen there; those that pass on must make the same tokens. The own address may be among them.
    pub fn new(urls: Vec<Url>, client: Client, tokens: Tokens) -> Option<Self> {
        let places = Arc::new(Semaphore::new(PASSED_AT_ONCE));
        (!urls.is_empty()).then_some(Self {
            urls,
            client,
            tokens,
            places,
        })
    }

    /// Tells all peers in the background. False where it is no token of ours, or too many are under way.
    fn pass_on(&self, run: Guid, token: &Token) -> bool {
        if !self.tokens.made(token) {
            return false;
        }
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            return false;
        };
        let body = json!({ "flowsessionid": run }).to_string();
        let calls: Vec<Request> = self
            .urls
            .iter()
            .filter_map(|peer| {
                let url = format!("{}/{token}", peer.as_str().trim_end_matches('/'))
                    .parse()
                    .ok()?;
                let mut request = Request::new(Method::POST, url);
                request.total_timeout = Some(PEER_PATIENCE);
                request.headers.insert(PASSED, HeaderValue::from_static("1"));
                request.body = Some(body.clone().into_bytes());
                Some(request)
            })
            .collect();
        let client = self.client.clone();
        tokio::spawn(async move {
            let told = calls.into_iter().map(|call| client.send(call));
            for answer in futures_util::future::join_all(told).await {
                if let Err(error) = answer {
                    tracing::debug!(%run, %error, "a peer does not hear of a callback; it looks by itself");
                }
            }
            drop(place);
        });
        true
    }
}

/// The run and the token that a callback names; `None` for what is no callback or contradicts itself.
fn read(path: &str, headers: &HeaderMap, body: &[u8]) -> Option<(Guid, Token)> {
    let token = Token::parse(path.rsplit('/').find(|part| !part.is_empty())?)?;
    let in_header = headers.get("x-ms-run-id").and_then(|id| Guid::parse(id.to_str().ok()?));
    let body: Body = serde_json::from_slice(body).unwrap_or_default();
    let in_body = body.flowsessionid.and_then(|id| Guid::parse(&id));
    match (in_header, in_body) {
        (Some(one), Some(other)) if one != other => None,
        (Some(run), _) | (None, Some(run)) => Some((run, token)),
        (None, None) => None,
    }
}

async fn received(State(receiver): State<Arc<Receiver>>, uri: Uri, headers: HeaderMap, body: Bytes) -> StatusCode {
    receiver.take(&uri, &headers, &body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::token::{Subject, Tokens};

    const RUN: &str = "d9687093-d0c0-ec11-983e-0022480b428a";

    fn token() -> String {
        let subject = Subject {
            process_instance: 1,
            element_instance: 2,
            attempt: 1,
        };
        Tokens::new("n", None).fresh(subject).unwrap().to_string()
    }

    fn headers(run: Option<&'static str>) -> HeaderMap {
        run.map(|run| ("x-ms-run-id".parse().unwrap(), run.parse().unwrap()))
            .into_iter()
            .collect()
    }

    #[test]
    fn a_callback_names_its_run_in_header_and_body_and_its_token_in_the_path() {
        let body = json!({"statuscode": 4, "flowsessionid": RUN}).to_string();
        for (path, header, body) in [
            (format!("/{}", token()), Some(RUN), body.as_str()),
            (format!("/hooks/pad/{}/", token()), None, body.as_str()),
            (format!("/{}", token()), Some(RUN), "no JSON"),
        ] {
            let (run, found) = read(&path, &headers(header), body.as_bytes()).unwrap();
            assert_eq!(run.to_string(), RUN);
            assert!(path.contains(&found.to_string()));
        }
    }

    #[test]
    fn what_contradicts_itself_or_lacks_a_part_is_no_callback() {
        let body = json!({"flowsessionid": RUN}).to_string();
        let other = "00000000-0000-4000-8000-000000000001";
        for (path, header, body) in [
            (format!("/{}", token()), Some(other), body.as_str()),
            (format!("/{}", token()), None, "{}"),
            ("/".to_owned(), Some(RUN), body.as_str()),
            (format!("/{}x", token()), Some(RUN), body.as_str()),
        ] {
            assert!(read(&path, &headers(header), body.as_bytes()).is_none(), "{path}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_turned_away() {
        let receiver = Receiver::new(Watcher::new(crate::runs::watcher::Settings::default()));
        let answers: Vec<StatusCode> = (0..1500)
            .map(|_| receiver.take(&Uri::from_static("/x"), &HeaderMap::new(), b""))
            .collect();
        assert_eq!(answers[0], StatusCode::ACCEPTED);
        assert_eq!(answers[1400], StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(receiver.figures().limited, 500);
    }
}
