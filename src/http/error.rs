//! Why an exchange failed, and whether the request can have been executed.

/// Can the server have executed the request?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Surely not: it never left.
    No,
    /// It may have been.
    Maybe,
}

/// A failed exchange. Its text names neither URL nor header.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request cannot be sent as it is written.
    #[error("{0}")]
    Invalid(String),
    /// No connection: refused, unknown host, no route, or too slow to connect.
    #[error("{0}")]
    Connect(String),
    /// The TLS handshake failed.
    #[error("TLS handshake failed: {0}")]
    Tls(String),
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

impl Error {
    /// Can the server have executed the request?
    pub fn sent(&self) -> Sent {
        match self {
            Error::Invalid(_) | Error::Connect(_) | Error::Tls(_) => Sent::No,
            Error::Timeout(_) | Error::Broken(_) | Error::Protocol(_) | Error::TooLarge { .. } => Sent::Maybe,
        }
    }
}
