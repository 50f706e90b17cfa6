//! Who we are to the engine: every call gets its `authorization` header here.

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Code, Request, Status};
use url::Url;

use crate::http::token::{Algorithm, Certificate};
use crate::http::token::{Audience, TokenRequest, Tokens};

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
    /// OAuth client credentials, proven by a signed text instead of a secret (private-key JWT, RFC 7523).
    OAuthKey {
        /// Token endpoint.
        token_url: String,
        /// Client id.
        client_id: String,
        /// Certificate of the key, PEM file; read again when it changed.
        certificate: PathBuf,
        /// The key, PEM file; `None`: in the certificate's file.
        key: Option<PathBuf>,
        /// How it signs.
        algorithm: Algorithm,
        /// As with a secret.
        audience: Option<String>,
        /// As with a secret.
        scope: Option<String>,
    },
}

impl Credentials {
    /// The certificate that signs, where one does.
    pub fn certificate(&self) -> Option<Certificate> {
        match self {
            Credentials::OAuthKey {
                certificate,
                key,
                algorithm,
                ..
            } => Some(Certificate::new(certificate.clone(), key.clone(), *algorithm, false)),
            Credentials::None | Credentials::Basic { .. } | Credentials::OAuth { .. } => None,
        }
    }
}

/// Puts the credentials on calls. Cheap to clone.
#[derive(Clone)]
pub struct Authority {
    way: Arc<Way>,
}

enum Way {
    Open,
    Header(MetadataValue<Ascii>),
    Token {
        tokens: Arc<Tokens>,
        request: Box<TokenRequest>,
    },
}

/// Credentials that cannot work whatever the engine does.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialFault {
    /// User name or password do not fit into a header.
    #[error("The engine's user name or password holds characters that HTTP Basic cannot carry")]
    Basic,
    /// Key or certificate for the identity provider cannot be used.
    #[error("The key that signs for the engine's identity provider cannot be used: {0}")]
    Key(String),
    /// The token endpoint is not a URL.
    #[error("The token endpoint `{url}` for the engine is not a URL ({source})")]
    TokenUrl {
        /// What was configured.
        url: String,
        /// What the parser says.
        source: url::ParseError,
    },
}

impl Authority {
    /// Calls without credentials.
    pub fn none() -> Self {
        Self {
            way: Arc::new(Way::Open),
        }
    }

    /// Calls with these credentials; tokens are fetched when first needed and before they expire.
    ///
    /// # Errors
    /// When the credentials cannot work whatever the engine does.
    pub fn new(credentials: &Credentials, tokens: Arc<Tokens>) -> Result<Self, CredentialFault> {
        let way = match credentials {
            Credentials::None => Way::Open,
            Credentials::Basic { username, password } => {
                Way::Header(basic(username, password).ok_or(CredentialFault::Basic)?)
            }
            Credentials::OAuth {
                token_url,
                client_id,
                client_secret,
                audience,
                scope,
            } => {
                let secret = client_secret.clone();
                let mut request = TokenRequest::client_credentials(url(token_url)?, client_id.clone().into(), secret);
                request.scope.clone_from(scope);
                request.audience = audience.clone().map_or(Audience::Absent, Audience::Value);
                Way::Token {
                    tokens,
                    request: Box::new(request),
                }
            }
            Credentials::OAuthKey {
                token_url,
                client_id,
                certificate,
                key,
                algorithm,
                audience,
                scope,
            } => {
                let signing = Certificate::new(certificate.clone(), key.clone(), *algorithm, false);
                // What is wrong with the files is said now, not in a retry loop.
                signing.ends().map_err(CredentialFault::Key)?;
                let none = SecretString::default();
                let mut request = TokenRequest::client_credentials(url(token_url)?, client_id.clone().into(), none);
                request.client_secret = None;
                request.assertion = Some(Arc::new(signing));
                request.scope.clone_from(scope);
                request.audience = audience.clone().map_or(Audience::Absent, Audience::Value);
                Way::Token {
                    tokens,
                    request: Box::new(request),
                }
            }
        };
        Ok(Self { way: Arc::new(way) })
    }

    /// A request that carries our credentials.
    ///
    /// # Errors
    /// UNAVAILABLE when no token could be had for now, UNAUTHENTICATED when the identity provider refuses us.
    pub async fn authorize<T>(&self, message: T) -> Result<Request<T>, Status> {
        let mut request = Request::new(message);
        if let Some(header) = self.value().await? {
            request.metadata_mut().insert("authorization", header);
        }
        Ok(request)
    }

    /// The value of the header that carries our credentials, for the engine's REST API.
    ///
    /// # Errors
    /// As [`Authority::authorize`].
    pub async fn header(&self) -> Result<Option<SecretString>, Status> {
        let value = self.value().await?;
        Ok(value.and_then(|value| value.to_str().ok().map(SecretString::from)))
    }

    async fn value(&self) -> Result<Option<MetadataValue<Ascii>>, Status> {
        Ok(match self.way.as_ref() {
            Way::Open => None,
            Way::Header(header) => Some(header.clone()),
            Way::Token { tokens, request } => Some(bearer(tokens, request).await?),
        })
    }

    /// What the engine said to a call: when it refused our token, the next call fetches a fresh one.
    pub fn heard(&self, status: &Status) {
        if status.code() == Code::Unauthenticated
            && let Way::Token { tokens, request } = self.way.as_ref()
        {
            tokens.forget(request);
        }
    }
}

fn url(text: &str) -> Result<Url, CredentialFault> {
    Url::parse(text).map_err(|source| CredentialFault::TokenUrl {
        url: text.to_owned(),
        source,
    })
}

async fn bearer(tokens: &Tokens, request: &TokenRequest) -> Result<MetadataValue<Ascii>, Status> {
    let fetched = tokens.get(request).await.map_err(|error| {
        let text = format!("no token for the engine: {error}");
        if error.is_retryable() {
            Status::unavailable(text)
        } else {
            Status::unauthenticated(text)
        }
    })?;
    let mut value: MetadataValue<Ascii> = format!("Bearer {}", fetched.token.expose_secret())
        .parse()
        .map_err(|_| Status::unauthenticated("the token for the engine holds characters that no header can carry"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// `Basic` credentials as a header's value.
fn basic(username: &str, password: &SecretString) -> Option<MetadataValue<Ascii>> {
    let pair = STANDARD.encode(format!("{username}:{}", password.expose_secret()));
    let mut value: MetadataValue<Ascii> = format!("Basic {pair}").parse().ok()?;
    value.set_sensitive(true);
    Some(value)
}
