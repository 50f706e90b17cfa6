//! The one way out: every HTTP request of deskhand goes through [`Client::send`].
//!
//! In goes a [`Request`] with its deadlines and caps; out comes an [`Answer`] that was read whole, or an [`Error`] that
//! says whether the request can have been executed. No URL and no secret ever stands in an error. Nothing is re-sent
//! here: the caller alone knows what is safe to repeat.

pub mod error;

use std::time::Duration;

use reqwest::header::HeaderMap;
use url::Url;

pub use error::{Error, Sent};
pub use reqwest::{Method, header};

/// A request, with every bound it must keep.
#[derive(Clone)]
pub struct Request {
    /// HTTP method.
    pub method: Method,
    /// Where to; http or https.
    pub url: Url,
    /// Headers as they are sent; several values under one name are sent as several lines.
    pub headers: HeaderMap,
    /// The body, whole. `None` sends none and no `Content-Length`.
    pub body: Option<Vec<u8>>,
    /// Bound on connecting, TLS included.
    pub connect_timeout: Option<Duration>,
    /// Bound on each wait for bytes of the answer.
    pub read_timeout: Option<Duration>,
    /// Bound on the whole exchange.
    pub total_timeout: Option<Duration>,
    /// Follow redirects (at most 50, credentials stay at their origin)?
    pub follow_redirects: bool,
    /// The largest answer that is read, in bytes, after decompression.
    pub max_answer_bytes: usize,
    /// The client's own certificate and trust, where the task brings them.
    pub tls: Option<ClientTls>,
}

impl Request {
    /// A request with the defaults: 20 s to connect, 20 s between bytes, no total bound, 10 MiB, no redirects.
    pub fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: None,
            connect_timeout: Some(Duration::from_secs(20)),
            read_timeout: Some(Duration::from_secs(20)),
            total_timeout: None,
            follow_redirects: false,
            max_answer_bytes: 10 * 1024 * 1024,
            tls: None,
        }
    }
}

/// A client certificate and trust of a task's own, PEM.
#[derive(Clone)]
pub struct ClientTls {
    /// Certificate chain.
    pub certificate: Option<secrecy::SecretString>,
    /// Private key.
    pub private_key: Option<secrecy::SecretString>,
    /// Certificate authorities that are trusted beside the system's.
    pub trusted: Option<secrecy::SecretString>,
}

/// An answer, read whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The reason phrase of the status line; empty if there was none.
    pub reason: String,
    /// Headers; names are lower-case.
    pub headers: HeaderMap,
    /// The body, decompressed.
    pub body: Vec<u8>,
}

/// Sends requests over shared connections. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    plain: reqwest::Client,
}

impl Client {
    /// A client that uses the system's trust and proxies.
    ///
    /// # Errors
    /// When the TLS library cannot be set up.
    pub fn new() -> Result<Self, Error> {
        let plain = reqwest::Client::builder()
            .build()
            .map_err(|error| Error::Invalid(error.without_url().to_string()))?;
        Ok(Self { plain })
    }

    /// Sends the request once and reads the answer whole.
    ///
    /// # Errors
    /// [`Error`]; [`Error::sent`] tells whether the request can have been executed. A status of 400 and above is an
    /// answer, not an error.
    pub async fn send(&self, request: Request) -> Result<Answer, Error> {
        let built = self
            .plain
            .request(request.method, request.url)
            .headers(request.headers)
            .body(request.body.unwrap_or_default());
        let answer = built
            .send()
            .await
            .map_err(|error| Error::Broken(error.without_url().to_string()))?;
        Ok(Answer {
            status: answer.status().as_u16(),
            reason: answer.status().canonical_reason().unwrap_or_default().into(),
            headers: answer.headers().clone(),
            body: answer
                .bytes()
                .await
                .map_err(|error| Error::Broken(error.without_url().to_string()))?
                .to_vec(),
        })
    }
}
