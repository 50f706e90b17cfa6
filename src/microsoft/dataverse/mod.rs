//! The Dataverse Web API of one organisation, as far as desktop flows need it.
//!
//! In go typed requests ([`workflows`], [`sessions`]); out come typed rows, or an [`Error`] that says whose turn it is
//! and whether the request can have been executed. Every request goes through `exchange`, which adds what all
//! have in common, and which alone repeats anything: once, after a 401, with a fresh token.

mod codes;
pub mod ended;
mod error;
pub mod files;
mod gate;
pub mod live;
mod odata;
mod organization;
pub mod pages;
mod privilege;
pub mod rows;
pub mod search;
pub mod sessions;
pub mod status;
pub mod workflows;

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use url::Url;

pub use error::{Error, Refusal};
pub use gate::{Gates, Passage};
pub use odata::{Guid, is_closed_filter, quoted};
pub use organization::{Organization, OrganizationError, is_safe_transport};
pub use status::{End, Status};

use crate::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, IF_NONE_MATCH};
use crate::http::token::{Fetched, TokenRequest, Tokens};
use crate::http::{self, Answer, Client, Fingerprint, LastLook, Method, Request};
use gate::{Gate, Heard};

/// How Dataverse is told who calls.
#[derive(Clone)]
pub enum Credential {
    /// A token that somebody else fetched; it cannot be renewed.
    Bearer(SecretString),
    /// Tokens fetched with this request, from the cache while they live.
    Fetched {
        /// The cache.
        tokens: Arc<Tokens>,
        /// What to ask for.
        request: Box<TokenRequest>,
    },
}

/// Bounds on single calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// On connecting, TLS included.
    pub connect: Duration,
    /// On a whole call that reads or cancels.
    pub call: Duration,
    /// On the whole call that starts a run. Dataverse gives an action two minutes; whoever gives up earlier does not
    /// know whether the run was started.
    pub start: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            call: Duration::from_secs(60),
            start: Duration::from_secs(125),
        }
    }
}

/// A client of one organisation with one credential. Cheap to clone.
#[derive(Clone)]
pub struct Dataverse {
    inner: Arc<Inner>,
}

struct Inner {
    http: Client,
    organization: Organization,
    credential: Credential,
    timeouts: Timeouts,
    identity: Identity,
    gate: Arc<Gate>,
}

/// An organisation and a credential: who shares them shares what the server allows.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity(Fingerprint);

/// What differs between the calls.
struct Exchange {
    method: Method,
    url: Url,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Option<Vec<u8>>,
    timeout: Duration,
    max_answer_bytes: usize,
    last_look: Option<LastLook>,
}

impl Exchange {
    fn get(url: Url, timeout: Duration, max_answer_bytes: usize) -> Self {
        Self {
            method: Method::GET,
            url,
            headers: Vec::new(),
            body: None,
            timeout,
            max_answer_bytes,
            last_look: None,
        }
    }

    fn post(url: Url, body: Vec<u8>, timeout: Duration) -> Self {
        Self {
            method: Method::POST,
            url,
            headers: Vec::new(),
            body: Some(body),
            timeout,
            max_answer_bytes: SMALL_ANSWER,
            last_look: None,
        }
    }

    fn with_header(mut self, name: &'static str, value: HeaderValue) -> Self {
        self.headers.push((HeaderName::from_static(name), value));
        self
    }
}

/// Enough for a row with all its error texts (the longest column has 100,000 characters), bytes.
const SMALL_ANSWER: usize = 1024 * 1024;

impl Dataverse {
    /// A client with a gate of its own; nothing is sent yet.
    pub fn new(http: Client, organization: Organization, credential: Credential, timeouts: Timeouts) -> Self {
        Self::behind(&Gates::default(), http, organization, credential, timeouts)
    }

    /// A client behind the gate that all of these gates' clients with its organisation and credential share.
    pub fn behind(
        gates: &Gates,
        http: Client,
        organization: Organization,
        credential: Credential,
        timeouts: Timeouts,
    ) -> Self {
        let identity = Identity(match &credential {
            Credential::Bearer(token) => Fingerprint::of([Some(organization.as_str()), Some(token.expose_secret())]),
            Credential::Fetched { request, .. } => request.fingerprint().with(organization.as_str()),
        });
        let gate = gates.of(identity, organization.url().host_str().unwrap_or_default());
        Self {
            inner: Arc::new(Inner {
                http,
                organization,
                credential,
                timeouts,
                identity,
                gate,
            }),
        }
    }

    /// What it shares with all other clients of its organisation and credential.
    pub fn identity(&self) -> Identity {
        self.inner.identity
    }

    /// How long calls are held back: the server asked for a pause, or is away.
    pub fn paused_for(&self) -> Option<Duration> {
        self.inner.gate.closed_for()
    }

    /// The organisation that is called.
    pub fn organization(&self) -> &Organization {
        &self.inner.organization
    }

    /// Makes sure that there is a token, and gives it if it had to be fetched just now.
    ///
    /// Every call does this by itself. Asking first tells a refused sign-in from a refused call.
    ///
    /// # Errors
    /// [`Error::Token`], or [`Error::HeldBack`] while calls are held back.
    pub async fn sign_in(&self) -> Result<Option<Fetched>, Error> {
        match &self.inner.credential {
            Credential::Bearer(_) => Ok(None),
            Credential::Fetched { tokens, request } => {
                // While the endpoint is away, nobody asks it: not even by a sign-in alone.
                if let Some(left) = self.paused_for() {
                    return Err(Error::HeldBack(left));
                }
                let fetched = tokens.get(request).await.map_err(|error| {
                    let error = Error::Token(error);
                    self.inner.gate.heard(error.heard());
                    error
                })?;
                Ok(Some(fetched).filter(|fetched| !fetched.from_cache))
            }
        }
    }

    /// Sends a request; after a 401 once more, with a fresh token. A 401 is given before anything is executed, so this
    /// is safe for every request.
    async fn exchange(&self, exchange: Exchange) -> Result<Answer, Error> {
        if let Passage::Closed(left) = self.inner.gate.pass() {
            return Err(Error::HeldBack(left));
        }
        let result = self.exchange_now(exchange).await;
        self.inner.gate.heard(match &result {
            Ok(_) => Heard::Works,
            Err(error) => error.heard(),
        });
        result
    }

    async fn exchange_now(&self, exchange: Exchange) -> Result<Answer, Error> {
        let token = self.token().await?;
        let answer = self.send(&exchange, &token).await?;
        let answer = match &self.inner.credential {
            Credential::Fetched { tokens, request } if answer.status == 401 => {
                tracing::info!("Dataverse does not accept the token: fetching a fresh one");
                tokens.refused(request, &token, &answer);
                self.send(&exchange, &self.token().await?).await?
            }
            _ => answer,
        };
        if (200..300).contains(&answer.status) {
            Ok(answer)
        } else {
            Err(Error::Refused(Box::new(
                Refusal::read(&answer).of_call(exchange.method.as_str(), &exchange.url),
            )))
        }
    }

    async fn token(&self) -> Result<SecretString, Error> {
        Ok(match &self.inner.credential {
            Credential::Bearer(token) => token.clone(),
            Credential::Fetched { tokens, request } => tokens.get(request).await.map_err(Error::Token)?.token,
        })
    }

    async fn send(&self, exchange: &Exchange, token: &SecretString) -> Result<Answer, Error> {
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose_secret())).map_err(|_| {
            Error::Exchange(http::Error::Invalid(
                "The access token holds characters that cannot stand in a header.".into(),
            ))
        })?;
        bearer.set_sensitive(true);

        let mut request = Request::new(exchange.method.clone(), exchange.url.clone());
        request.connect_timeout = Some(self.inner.timeouts.connect);
        request.read_timeout = None;
        request.total_timeout = Some(exchange.timeout);
        request.max_answer_bytes = exchange.max_answer_bytes;
        request.body.clone_from(&exchange.body);
        request.last_look.clone_from(&exchange.last_look);
        let headers = &mut request.headers;
        headers.insert(AUTHORIZATION, bearer);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert("odata-maxversion", HeaderValue::from_static("4.0"));
        headers.insert("odata-version", HeaderValue::from_static("4.0"));
        headers.insert(IF_NONE_MATCH, HeaderValue::from_static("null"));
        if exchange.body.as_ref().is_some_and(|body| !body.is_empty()) {
            headers.insert(
                CONTENT_TYPE,
                HeaderValue::from_static("application/json; charset=utf-8"),
            );
        }
        for (name, value) in &exchange.headers {
            headers.insert(name, value.clone());
        }
        self.inner.http.send(request).await.map_err(Error::Exchange)
    }

    fn resource(&self, path: &str, query: &odata::Query) -> Url {
        self.inner.organization.resource(path, query.as_str())
    }
}

impl std::fmt::Debug for Dataverse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dataverse").finish_non_exhaustive()
    }
}

/// Reads a JSON answer. The parser's words may quote the answer, so only the place is told.
fn read_json<T: DeserializeOwned>(answer: &Answer, what: &str) -> Result<T, Error> {
    serde_json::from_slice(&answer.body).map_err(|error| {
        let problem = if error.is_data() {
            "has another shape than expected"
        } else {
            "is not JSON, or ends too early"
        };
        Error::Answer(format!(
            "{what} {problem} (HTTP {}, line {}, column {})",
            answer.status,
            error.line(),
            error.column()
        ))
    })
}
