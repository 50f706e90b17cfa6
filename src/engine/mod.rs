//! The process engine over gRPC: channels and credentials, jobs in, commands out.
//!
//! Nothing outside this room and the sandbox knows the wire's types: jobs leave it as [`crate::job::Job`], and an
//! [`crate::outcome::Outcome`] goes in and is acknowledged.

pub mod channel;
pub mod commands;
pub mod credentials;
pub mod gateway;
pub mod intake;
pub mod processes;
mod upkeep;

use std::path::PathBuf;

pub use channel::Engine;
pub use commands::{Commands, Held, Told};
pub use credentials::Credentials;
pub(crate) use intake::refuses_for_good;
pub use intake::{Poll, Push, Subscription};

/// Where the engine is and who we are to it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `http://host:port` or `https://host:port`.
    pub address: String,
    /// How calls are authorised.
    pub credentials: Credentials,
    /// A certificate authority of the engine's own, PEM file; `None`: the system's.
    pub ca_certificate: Option<PathBuf>,
    /// The name that the engine's certificate is checked against, where it is not the address's.
    pub override_authority: Option<String>,
    /// Tenants whose jobs are taken; empty: the engine is used without tenants.
    pub tenant_ids: Vec<String>,
    /// One name per deployment, not per replica: replicas with one name share their streams' load best.
    pub worker_name: String,
}
