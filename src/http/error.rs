//! Why an exchange failed, and whether the request can have been executed.

use std::error::Error as StdError;
use std::io;

use super::connect::TooSlow;
use super::guard::Blocked;

/// Can the server have executed the request?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Surely not: it never left.
    No,
    /// It may have been.
    Maybe,
}

/// A failed exchange. Its text names neither URL nor header.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request cannot be sent as it is written.
    #[error("{0}")]
    Invalid(String),
    /// The network guard does not let tasks go there.
    #[error("{0}")]
    Blocked(Box<Blocked>),
    /// No connection: refused, unknown host, no route, or too slow to connect.
    #[error("{0}")]
    Connect(String),
    /// The TLS handshake failed.
    #[error("TLS handshake failed: {0}")]
    Tls(String),
    /// The request was given up before its body was written.
    #[error("{0}")]
    Withheld(String),
    /// A deadline passed after the request may have left.
    #[error("The request timed out. {0}")]
    Timeout(String),
    /// The connection broke after the request may have left.
    #[error("An error occurred while executing the request: {0}")]
    Broken(String),
    /// What came back is not HTTP, or redirects never end.
    #[error("An error with the HTTP protocol occurred: {0}")]
    Protocol(String),
    /// The answer is larger than allowed.
    #[error("The answer is larger than {limit} bytes. {hint}")]
    TooLarge {
        /// The cap, bytes.
        limit: usize,
        /// What raises it.
        hint: &'static str,
    },
}

/// Stands in [`Error::Connect`] when the name of the host cannot be resolved.
pub const UNKNOWN_HOST: &str = "the host name is unknown";

impl Error {
    /// Can the server have executed the request?
    pub fn sent(&self) -> Sent {
        match self {
            Error::Invalid(_) | Error::Blocked(_) | Error::Connect(_) | Error::Tls(_) | Error::Withheld(_) => Sent::No,
            Error::Timeout(_) | Error::Broken(_) | Error::Protocol(_) | Error::TooLarge { .. } => Sent::Maybe,
        }
    }

    /// What the HTTP library's error means. Only its kind and its innermost cause are used: the texts between them may
    /// show the URL.
    pub(super) fn from_exchange(error: reqwest::Error) -> Self {
        if error.is_builder() {
            return Error::Invalid(format!(
                "The request cannot be sent as it is written: {}.",
                root_text(&error)
            ));
        }
        if error.is_connect() {
            return Self::from_connecting(&error);
        }
        let text = root_text(&error);
        match find::<hyper::Error>(&error) {
            Some(hyper) if hyper.is_parse() || hyper.is_parse_too_large() => Error::Protocol(text),
            _ if error.is_decode() => Error::Protocol(format!("the body cannot be decompressed ({text})")),
            _ if error.is_timeout() => Error::Timeout(text),
            _ => Error::Broken(text),
        }
    }

    fn from_connecting(error: &reqwest::Error) -> Self {
        if let Some(too_slow) = find::<TooSlow>(error) {
            return Error::Connect(format!("No connection: {too_slow}."));
        }
        if let Some(blocked) = find::<Blocked>(error) {
            return Error::Blocked(Box::new(blocked.clone()));
        }
        if error.is_dns() {
            return Error::Connect(format!("No connection: {UNKNOWN_HOST} ({}).", root_text(error)));
        }
        // A refused, reset or unreachable peer is an error of the operating system; what the TLS library says is not.
        let tls = causes(error)
            .filter_map(|cause| cause.downcast_ref::<io::Error>())
            .any(|io| {
                io.raw_os_error().is_none()
                    && matches!(
                        io.kind(),
                        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof
                    )
            });
        match tls {
            true => Error::Tls(root_text(error)),
            false => Error::Connect(format!("No connection: {}.", root_text(error))),
        }
    }
}

/// The error and its causes, outermost first.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        // `io::Error` hides the error that it wraps from `source`.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = wrapped
            .map(|inner| inner as &(dyn StdError + 'static))
            .or_else(|| error.source());
        Some(error)
    })
}

fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// The text of the innermost cause: what the operating system or the TLS library said.
pub(super) fn root_text(error: &(dyn StdError + 'static)) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}
