//! What a client shows instead of a secret (RFC 7523): a token endpoint goes in, a signed text comes out, fresh for each
//! question. Made of a certificate's key ([`super::Certificate`]), or by another identity provider
//! ([`super::federated`]).

use std::fs;
use std::path::Path;

use futures_util::future::BoxFuture;
use secrecy::SecretString;
use url::Url;
use zeroize::Zeroizing;

use super::super::Error;

/// A file of a certificate or a token is not larger, bytes.
pub(super) const LARGEST: u64 = 256 * 1024;

/// Makes assertions for one client.
pub trait Assertion: Send + Sync {
    /// An assertion for this endpoint and client.
    ///
    /// # Errors
    /// [`Error::Invalid`] says what is wrong and what to do; any other error may pass. None shows anything of a key.
    fn make<'a>(&'a self, endpoint: &'a Url, client_id: &'a str) -> BoxFuture<'a, Result<SecretString, Error>>;

    /// What tells it from others in the key of a cache.
    fn source(&self) -> String;
}

/// The bytes of a file of operations'.
pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let fault = |what: String| format!("{} cannot be read: {what}.", path.display());
    let about = fs::metadata(path).map_err(|error| fault(error.kind().to_string()))?;
    // A pipe would never end.
    if !about.is_file() {
        return Err(fault("it is no file".into()));
    }
    if about.len() > LARGEST {
        return Err(fault(format!("larger than {LARGEST} bytes")));
    }
    fs::read(path)
        .map(Zeroizing::new)
        .map_err(|error| fault(error.kind().to_string()))
}
