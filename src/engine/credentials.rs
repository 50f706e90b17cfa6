//! Who we are to the engine: every call gets its `authorization` header here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Request, Status};

/// How calls to the engine are authorised.
#[derive(Clone, Debug, Default)]
pub enum Credentials {
    /// An engine without authentication.
    #[default]
    None,
    /// HTTP Basic.
    Basic {
        /// User name.
        username: String,
        /// Password.
        password: SecretString,
    },
    /// OAuth client credentials: Camunda SaaS, Keycloak, Entra.
    OAuth {
        /// Token endpoint.
        token_url: String,
        /// Client id.
        client_id: String,
        /// Client secret.
        client_secret: SecretString,
        /// Audience, e.g. `zeebe.camunda.io` (SaaS) or `zeebe-api`.
        audience: Option<String>,
        /// Scope, where the provider wants one.
        scope: Option<String>,
    },
}

/// Puts the credentials on calls.
#[derive(Clone)]
pub struct Authority {
    header: Option<MetadataValue<Ascii>>,
}

impl Authority {
    /// Calls without credentials.
    pub fn none() -> Self {
        Self { header: None }
    }

    /// A request that carries our credentials.
    ///
    /// # Errors
    /// UNAUTHENTICATED when no token could be had.
    pub async fn authorize<T>(&self, message: T) -> Result<Request<T>, Status> {
        let mut request = Request::new(message);
        if let Some(header) = &self.header {
            request.metadata_mut().insert("authorization", header.clone());
        }
        Ok(request)
    }
}

/// `Basic` credentials as a header's value.
fn basic(username: &str, password: &SecretString) -> Option<MetadataValue<Ascii>> {
    let pair = STANDARD.encode(format!("{username}:{}", password.expose_secret()));
    let mut value: MetadataValue<Ascii> = format!("Basic {pair}").parse().ok()?;
    value.set_sensitive(true);
    Some(value)
}
