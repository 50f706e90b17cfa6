//! The process engine over gRPC: channels and credentials, jobs in, commands out.
//!
//! Nothing outside this room and the sandbox knows the wire's types: jobs leave it as [`crate::job::Job`], and an
//! [`crate::outcome::Outcome`] goes in and is acknowledged.

pub mod channel;
mod codec;
pub mod commands;
mod connect;
pub mod credentials;
pub mod gateway;
pub mod intake;
mod presence;
mod probe;
pub mod processes;
mod publish;
mod upkeep;

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use crate::http::ClientTls;

pub use channel::{Engine, SetUpError};
pub use commands::{Commands, Held, Told};
pub use connect::{Resolver, TlsFault};
pub use credentials::Credentials;
pub use intake::{Poll, Push, Subscription};
pub(crate) use intake::{Reason, refuses_for_good};

/// Where the engine is and who we are to it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `http://host:port` or `https://host:port`.
    pub address: String,
    /// How calls are authorised.
    pub credentials: Credentials,
    /// A certificate authority of the engine's own, PEM file; `None`: the system's.
    pub ca_certificate: Option<PathBuf>,
    /// Our certificate and its key, PEM files, where the engine asks for one.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that requests carry and the engine's certificate is checked against, where it is not the address's.
    pub override_authority: Option<String>,
    /// Tenants whose jobs are taken; empty: the engine is used without tenants.
    pub tenant_ids: Vec<String>,
    /// Take the jobs of every tenant that the engine has assigned to us, whichever those are.
    pub assigned_tenants: bool,
    /// One name per deployment, not per replica: replicas with one name share their streams' load best.
    pub worker_name: String,
    /// How long a connection with open calls may be silent before it is asked whether it lives. A gateway ends one that
    /// is asked more often than each 30 s; 45 s is what Camunda's clients use.
    pub keep_alive: Duration,
    /// Who says where the address's host is, for each connection anew.
    pub resolver: Resolver,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            address: String::new(),
            credentials: Credentials::None,
            ca_certificate: None,
            identity: None,
            override_authority: None,
            tenant_ids: Vec::new(),
            assigned_tenants: false,
            worker_name: String::new(),
            keep_alive: Duration::from_secs(45),
            resolver: Resolver::default(),
        }
    }
}

impl Settings {
    /// The engine's authority and our certificate, for its REST API; `None`: neither is configured.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn client_tls(&self) -> Result<Option<ClientTls>, String> {
        let read = |path: &PathBuf| match std::fs::read_to_string(path) {
            Ok(text) => Ok(SecretString::from(text)),
            Err(error) => Err(format!("{} cannot be read: {}.", path.display(), error.kind())),
        };
        let trusted = self.ca_certificate.as_ref().map(read).transpose()?;
        let (certificate, private_key) = match &self.identity {
            Some((certificate, key)) => (Some(read(certificate)?), Some(read(key)?)),
            None => (None, None),
        };
        let any = trusted.is_some() || certificate.is_some();
        Ok(any.then_some(ClientTls {
            certificate,
            private_key,
            trusted,
        }))
    }
}
