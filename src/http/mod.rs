//! The one way out: every HTTP request of deskhand goes through [`Client::send`].
//!
//! In goes a [`Request`] with its deadlines and caps; out comes an [`Answer`] that was read whole, or an [`Error`] that
//! says whether the request can have been executed. No URL and no secret ever stands in an error. Nothing is re-sent
//! here: the caller alone knows what is safe to repeat.
//!
//! [`token`] fetches and keeps the access tokens that requests carry.

mod connect;
pub mod error;
mod exchange;
mod fingerprint;
pub mod guard;
mod last_look;
mod pool;
mod redirect;
pub mod rehearsal;
mod retry_after;
#[cfg(test)]
mod tests;
pub mod token;
mod trace;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::header::HeaderMap;
use url::Url;

pub use error::{Error, Sent, UNKNOWN_HOST};
pub(crate) use fingerprint::Fingerprint;
pub use last_look::LastLook;
pub use reqwest::{Method, StatusCode, header};

/// A request, with every bound it must keep.
#[derive(Clone)]
pub struct Request {
    /// HTTP method.
    pub method: Method,
    /// Where to; http or https.
    pub url: Url,
    /// Headers as they are sent; several values under one name are sent as several lines.
    pub headers: HeaderMap,
    /// The body, whole. `None` sends none and no `Content-Length`, but for methods that expect one (POST, PUT, PATCH:
    /// `Content-Length: 0`).
    pub body: Option<Vec<u8>>,
    /// Bound on connecting, TLS included. `None` leaves it to the operating system.
    pub connect_timeout: Option<Duration>,
    /// Bound on each wait for bytes of the answer, the first included.
    pub read_timeout: Option<Duration>,
    /// Bound on the whole exchange, redirects included.
    pub total_timeout: Option<Duration>,
    /// Follow redirects (at most 50, and never to another origin with credentials)?
    pub follow_redirects: bool,
    /// The largest answer that is read, in bytes, after decompression.
    pub max_answer_bytes: usize,
    /// The client's own certificate and trust, where the task brings them.
    pub tls: Option<ClientTls>,
    /// Asked when the connection is about to write the body. A body that is never written cannot have been executed.
    pub last_look: Option<LastLook>,
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
            last_look: None,
        }
    }
}

/// A client certificate and trust of a task's own, PEM.
#[derive(Clone)]
pub struct ClientTls {
    /// Certificate chain, leaf first. Needs the key.
    pub certificate: Option<secrecy::SecretString>,
    /// Private key (PKCS#8, PKCS#1 or SEC1), not encrypted. Needs the certificate.
    pub private_key: Option<secrecy::SecretString>,
    /// Certificate authorities that are trusted instead of the system's.
    pub trusted: Option<secrecy::SecretString>,
}

/// An answer, read whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The reason phrase of the status line; empty if there was none.
    pub reason: String,
    /// Headers; names are lower-case. `Content-Encoding` and `Content-Length` are gone where the body was decompressed.
    pub headers: HeaderMap,
    /// The body, decompressed.
    pub body: Vec<u8>,
}

impl Answer {
    /// How long the server asks to wait: `Retry-After` as seconds or as an HTTP date, a day at most.
    pub fn retry_after(&self) -> Option<Duration> {
        retry_after::parse(self.headers.get(header::RETRY_AFTER)?.to_str().ok()?, SystemTime::now())
    }
}

/// What a failure means where the body waited for a last look.
fn judged(error: Error, last_look: Option<&LastLook>) -> Error {
    match last_look {
        Some(look) if look.withdraw() && error.sent() == Sent::Maybe => Error::Withheld(if look.was_refused() {
            "The request was held back at the last moment.".into()
        } else {
            format!("Given up before the request was written. {error}")
        }),
        _ => error,
    }
}

/// Sends requests over shared connections. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    pool: pool::Pool,
    guard: Option<guard::Guard>,
    rehearsal: Option<Arc<rehearsal::Rehearsal>>,
}

impl Client {
    /// A client that uses the system's trust and proxies (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`).
    ///
    /// # Errors
    /// When the TLS library cannot be set up.
    pub fn new() -> Result<Self, Error> {
        Ok(Self {
            pool: pool::Pool::new(None)?,
            guard: None,
            rehearsal: None,
        })
    }

    /// A client that goes through no proxy.
    ///
    /// # Errors
    /// When the TLS library cannot be set up.
    pub fn direct() -> Result<Self, Error> {
        Ok(Self {
            pool: pool::Pool::direct()?,
            guard: None,
            rehearsal: None,
        })
    }

    /// A client for URLs that come from tasks: it asks the guard about every hop and every address.
    ///
    /// # Errors
    /// When the TLS library cannot be set up.
    pub fn guarded(guard: guard::Guard) -> Result<Self, Error> {
        Ok(Self {
            pool: pool::Pool::new(Some(&guard))?,
            guard: Some(guard),
            rehearsal: None,
        })
    }

    /// The same, but nothing is sent: requests end in this rehearsal.
    #[must_use]
    pub fn rehearsing(mut self, rehearsal: Arc<rehearsal::Rehearsal>) -> Self {
        self.rehearsal = Some(rehearsal);
        self
    }

    /// Sends the request once and reads the answer whole.
    ///
    /// # Errors
    /// [`Error`]; [`Error::sent`] tells whether the request can have been executed. A status of 400 and above is an
    /// answer, not an error.
    pub async fn send(&self, request: Request) -> Result<Answer, Error> {
        self.send_where(request, |_| Ok(())).await
    }

    /// Like [`Client::send`], but asks before each hop, the first included, whether its URL may be called.
    ///
    /// # Errors
    /// What `may_call` refused with, or [`Error`].
    pub async fn send_where<E: From<Error>>(
        &self,
        request: Request,
        may_call: impl Fn(&Url) -> Result<(), E>,
    ) -> Result<Answer, E> {
        let total = request.total_timeout;
        let last_look = request.last_look.clone();
        let whole = async {
            let mut request = request;
            for _ in 0..=redirect::MAX_HOPS {
                may_call(&request.url)?;
                let reach = match &self.guard {
                    Some(guard) => guard.judge(&request.url)?,
                    None => guard::Reach::Anywhere,
                };
                if let Some(rehearsal) = &self.rehearsal {
                    return Ok(rehearsal.take(request)?);
                }
                let client = self.pool.client_for(request.tls.as_ref(), reach)?;
                let next = request.follow_redirects.then(|| request.clone());
                let last_look = request.last_look.clone();
                let answer = exchange::once(&client, request).await;
                let answer = answer.map_err(|error| judged(error, last_look.as_ref()))?;
                match next.and_then(|before| redirect::next(before, &answer)) {
                    Some(hop) => request = hop,
                    None => return Ok(answer),
                }
            }
            Err(Error::Protocol(format!("more than {} redirects", redirect::MAX_HOPS)).into())
        };
        let Some(total) = total else {
            return whole.await;
        };
        tokio::time::timeout(total, whole).await.unwrap_or_else(|_| {
            let error = Error::Timeout(format!("The whole exchange took more than {} s.", total.as_secs_f64()));
            Err(judged(error, last_look.as_ref()).into())
        })
    }
}
