//! Access tokens: who asks for what goes in, a token comes out, fetched once for all who want the same.
//!
//! [`Tokens`] is the cache; [`TokenRequest`] says what is asked of which endpoint; [`TokenError`] says what the
//! endpoint answered, and whether asking again can help. A token is fetched again before it ends, and an old one that
//! still lives is used while its endpoint has a bad moment. [`assertion`] and [`managed`] are ways to sign in without a
//! secret.

pub mod assertion;
mod cache;
pub mod certificate;
mod challenge;
mod error;
pub mod federated;
pub mod managed;
mod request;
#[cfg(test)]
mod tests;

pub use assertion::Assertion;
pub use cache::{Fetched, Tokens};
pub use certificate::{Algorithm, Certificate};
pub use error::{TokenError, TokenFault};
pub use request::{Audience, ClientAuthentication, Grant, RefreshTokenFile, TokenRequest};
