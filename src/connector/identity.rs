//! As whom a task calls, where operations say so: the name in the task's field `identity` goes in, a token or the way to
//! one comes out, after it was asked whether this task may use the identity, and for this host.
//!
//! No secret stands in the diagram then. The identity, not the task, says where its tokens may go and what for.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use secrecy::SecretString;
use url::Url;

use crate::http::token::federated::{FederatedFile, FederatedUrl};
use crate::http::token::managed::{ManagedIdentity, Service};
use crate::http::token::{Audience, Certificate, ClientAuthentication, Grant, RefreshTokenFile, TokenRequest, Tokens};
use crate::metrics::metrics;
use crate::microsoft::entra;
use crate::outcome::JobError;
use crate::secrets::hosts::HostPattern;
use crate::secrets::policy::matches_any;
use crate::secrets::{Known, SecretScope, Secrets};
use crate::spelling::nearest;

/// An identity as operations describe it. Texts of credentials may hold references like `{{secrets.NAME}}`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What tasks call it.
    pub name: String,
    /// How it signs in.
    pub sign_in: SignIn,
    /// The token endpoint.
    pub endpoint: Url,
    /// The app's client id.
    pub client_id: String,
    /// Where its tokens may go.
    pub hosts: Vec<HostPattern>,
    /// The scope of its tokens; without one it is made of the host that is called.
    pub scope: Option<String>,
    /// Host → audience, where it is neither known nor the host's own address.
    pub audiences: BTreeMap<String, String>,
    /// Job types, processes and tenants that may use it; an empty list is everybody.
    pub connectors: Vec<String>,
    /// Processes (BPMN ids).
    pub processes: Vec<String>,
    /// Tenants.
    pub tenants: Vec<String>,
    /// When the client secret or the refresh token ends, where operations know it.
    pub expires: Option<Timestamp>,
}

/// How an identity signs in.
#[derive(Clone)]
pub enum SignIn {
    /// As an app, with a secret.
    Secret {
        /// The secret.
        secret: String,
        /// How it is shown.
        way: ClientAuthentication,
    },
    /// As an app, with what a certificate's key signed.
    Certificate {
        /// The certificate and its key.
        certificate: Certificate,
        /// What opens the file that they are in.
        password: Option<String>,
    },
    /// As an app, with another provider's token from a file.
    FederatedFile(PathBuf),
    /// As an app, with another provider's token from a URL.
    FederatedUrl {
        /// The URL.
        url: Url,
        /// What is shown there.
        bearer: Option<String>,
    },
    /// As a user, with name and password (ROPC).
    Password {
        /// The user's sign-in name.
        username: String,
        /// The password.
        password: String,
        /// The app's secret; public clients have none.
        secret: Option<String>,
    },
    /// As the user who once signed in and left a refresh token.
    RefreshToken {
        /// The token.
        token: String,
        /// Where its successors are kept.
        file: Option<RefreshTokenFile>,
        /// The app's secret; public clients have none.
        secret: Option<String>,
    },
    /// As the machine.
    Managed(ManagedIdentity),
    /// With a token that somebody else fetched.
    Bearer(String),
}

impl SignIn {
    /// Is the token that of an app, without a user?
    pub fn is_app_only(&self) -> bool {
        match self {
            SignIn::Secret { .. }
            | SignIn::Certificate { .. }
            | SignIn::FederatedFile(_)
            | SignIn::FederatedUrl { .. }
            | SignIn::Managed(_) => true,
            SignIn::Password { .. } | SignIn::RefreshToken { .. } | SignIn::Bearer(_) => false,
        }
    }

    /// What it is called.
    pub fn label(&self) -> &'static str {
        match self {
            SignIn::Secret { .. } => "client credentials with a secret",
            SignIn::Certificate { .. } => "client credentials with a certificate",
            SignIn::FederatedFile(_) | SignIn::FederatedUrl { .. } => "client credentials with a federated token",
            SignIn::Password { .. } => "a user's name and password",
            SignIn::RefreshToken { .. } => "a refresh token",
            SignIn::Managed(_) => "the machine's managed identity",
            SignIn::Bearer(_) => "a given token",
        }
    }
}

impl std::fmt::Debug for SignIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.label())
    }
}

/// What a call carries.
pub enum Signed {
    /// This token.
    Bearer(SecretString),
    /// The token that this request stands for.
    Request(Box<TokenRequest>),
}

/// What rules call the machine's identity where a task signs in with it: without a rule its tokens go to the organisations
/// that operations listed, and nowhere else, as those of a secret.
pub const MANAGED_IDENTITY: &str = "managed-identity";

/// The flow service answers an app's token with a riddle; it is solved before anything is sent. `why` says what gives one.
///
/// # Errors
/// An incident when the URL is the flow service's.
pub fn explain_app_only(url: &Url, why: &str) -> Result<(), JobError> {
    if !url.host_str().is_some_and(entra::is_flow_service) {
        return Ok(());
    }
    Err(JobError::input(format!(
        "The flow service takes no tokens of apps, and {why}: it would answer 401 ClientScopeAuthorizationFailed. Use a \
         refresh token (`oauth-refresh-token`), an identity that signs in as a user, or the Dataverse API, which takes apps. \
         Nothing was sent."
    )))
}

/// The audience of Microsoft's API at this URL; `None`: its own address.
fn audience(url: &Url) -> Option<&'static str> {
    entra::audience_of(url.host_str().unwrap_or_default())
}

/// Who asks when no job does.
const NOBODY: SecretScope<'static> = SecretScope {
    tenant_id: "<default>",
    bpmn_process_id: "",
    process_definition_key: 0,
    element_id: "",
};

/// All identities. They share tokens.
pub struct Identities {
    all: HashMap<String, Settings>,
    secrets: Secrets,
    tokens: Arc<Tokens>,
    machine: Service,
}

impl Identities {
    /// These identities; references in them are resolved by `secrets`, and their tokens kept in `tokens`.
    pub fn new(all: impl IntoIterator<Item = Settings>, secrets: Secrets, tokens: Arc<Tokens>) -> Self {
        Self {
            all: all.into_iter().map(|one| (one.name.clone(), one)).collect(),
            // What operations write needs nobody's leave.
            secrets: secrets.allowing_all(),
            tokens,
            machine: Service::default(),
        }
    }

    /// The same, with the machine's own tokens given by this service.
    #[must_use]
    pub fn on_machine(mut self, service: Service) -> Self {
        self.machine = service;
        self
    }

    /// The machine's token for a call of this URL, where a task itself asks for it; with a client id, that of one of its
    /// user-assigned identities. Whether it may go there is the policy's to say ([`MANAGED_IDENTITY`]).
    ///
    /// # Errors
    /// An incident when the API takes no tokens of machines. Nothing was sent.
    pub fn as_machine(&self, client_id: Option<String>, url: &Url) -> Result<TokenRequest, JobError> {
        explain_app_only(url, "a managed identity gives one")?;
        let identity = ManagedIdentity {
            service: self.machine.clone(),
            client_id,
        };
        let resource = audience(url).map_or_else(|| url.origin().ascii_serialization(), str::to_owned);
        Ok(TokenRequest::managed(identity, &resource))
    }

    /// Where their tokens are kept.
    pub fn tokens(&self) -> &Arc<Tokens> {
        &self.tokens
    }

    /// The identity of this name.
    ///
    /// # Errors
    /// An incident that names those that there are.
    pub fn find(&self, name: &str) -> Result<&Settings, JobError> {
        self.all.get(name).ok_or_else(|| {
            let hint = match nearest(name, self.all.keys().map(String::as_str)) {
                Some(near) => format!("; did you mean '{near}'?"),
                None if self.all.is_empty() => ": this worker has none (deskhand.toml: [identities.NAME])".into(),
                None => {
                    let mut names: Vec<&str> = self.all.keys().map(String::as_str).collect();
                    names.sort_unstable();
                    format!("; there are {}", names.join(", "))
                }
            };
            JobError::input(format!(
                "`identity` is '{name}', but there is no identity of this name{hint}."
            ))
        })
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &Settings> {
        self.all.values()
    }

    /// A text of operations' own with its references resolved, where no job asks.
    pub(super) async fn text_for_operations(&self, text: &str) -> Result<SecretString, JobError> {
        self.secrets.text(text, &NOBODY).await
    }

    /// Every secret value that was resolved for an identity or a task.
    pub(super) fn known(&self) -> &Known {
        self.secrets.known()
    }

    /// What a call that operations themselves make carries; whether the identity may go there was asked when the
    /// configuration was read.
    ///
    /// # Errors
    /// Says what went wrong, without a secret.
    pub(super) async fn sign_in_for_operations(&self, name: &str, url: &Url) -> Result<Signed, String> {
        let identity = self.find(name).map_err(|error| error.message)?;
        let signed = identity.signed(url, &self.secrets, &NOBODY).await;
        signed.map_err(|error| error.message)
    }

    /// A token for a call that operations themselves make (a store of secrets, a check).
    ///
    /// # Errors
    /// Says what went wrong, without a secret.
    pub async fn token_for_operations(&self, name: &str, url: &Url) -> Result<SecretString, String> {
        match self.sign_in_for_operations(name, url).await? {
            Signed::Bearer(token) => Ok(token),
            Signed::Request(request) => {
                let fetched = self.tokens.get(&request).await;
                fetched
                    .map(|fetched| fetched.token)
                    .map_err(|error| match entra::hint(&error) {
                        Some(hint) => format!("{error} {hint}"),
                        None => error.to_string(),
                    })
            }
        }
    }

    /// What a call of this URL carries as this identity.
    ///
    /// # Errors
    /// An incident when the identity may not be used so; what its secrets' stores say. Nothing was sent.
    pub async fn sign_in(
        &self,
        name: &str,
        url: &Url,
        scope: &SecretScope<'_>,
        connector: &str,
    ) -> Result<Signed, JobError> {
        let identity = self.find(name)?;
        identity.check(url, scope, connector)?;
        identity.signed(url, &self.secrets, scope).await
    }
}

impl Settings {
    /// May its tokens go there?
    pub fn goes_to(&self, url: &Url) -> bool {
        self.hosts.iter().any(|host| host.matches(url))
    }

    fn check(&self, url: &Url, scope: &SecretScope<'_>, connector: &str) -> Result<(), JobError> {
        let name = &self.name;
        let refused = |message: String| {
            metrics().policy_refused("identity");
            tracing::warn!(
                identity = name,
                host = url.host_str().unwrap_or_default(),
                "an identity was not used: it may not be"
            );
            let mut error = JobError::input(message);
            error.code = Some("IDENTITY_NOT_ALLOWED".into());
            error
        };
        for (what, list, one) in [
            ("connectors", &self.connectors, connector),
            ("processes", &self.processes, scope.bpmn_process_id),
            ("tenants", &self.tenants, scope.tenant_id),
        ] {
            if !list.is_empty() && !matches_any(list, one) {
                return Err(refused(format!(
                    "The identity '{name}' may not be used here: its {what} do not name '{one}'. Nothing was sent. If they \
                     shall, operations add it to deskhand.toml: [identities.{name}] {what} = [\"{one}\"]"
                )));
            }
        }
        if !self.goes_to(url) {
            let host = match (url.host_str().unwrap_or_default(), url.port()) {
                (host, Some(port)) => format!("{host}:{port}"),
                (host, None) => host.to_owned(),
            };
            return Err(refused(format!(
                "The identity '{name}' may not be used for {host} ({}): its hosts do not name it. Nothing was sent. If its \
                 tokens shall go there, operations add to deskhand.toml: [identities.{name}] hosts = [\"{host}\"]",
                url.scheme()
            )));
        }
        if self.sign_in.is_app_only() {
            let why = format!("the identity '{name}' signs in as one ({})", self.sign_in.label());
            explain_app_only(url, &why).map_err(|error| refused(error.message))?;
        }
        Ok(())
    }

    /// The API that a token for this URL is for.
    fn resource(&self, url: &Url) -> String {
        let own = self.audiences.get(url.host_str().unwrap_or_default());
        let known = own.map(String::as_str).or_else(|| audience(url));
        known.map_or_else(|| url.origin().ascii_serialization(), str::to_owned)
    }

    async fn signed(&self, url: &Url, secrets: &Secrets, scope: &SecretScope<'_>) -> Result<Signed, JobError> {
        let text = async |text: &str| secrets.text(text, scope).await;
        let resource = self.resource(url);
        if let SignIn::Managed(identity) = &self.sign_in {
            let request = TokenRequest::managed(identity.clone(), &resource);
            return Ok(Signed::Request(Box::new(request)));
        }
        let mut request = TokenRequest::client_credentials(
            self.endpoint.clone(),
            text(&self.client_id).await?,
            SecretString::default(),
        );
        request.client_secret = None;
        request.audience = Audience::Absent;
        request.scope = Some(self.scope.clone().unwrap_or_else(|| entra::default_scope(&resource)));
        match &self.sign_in {
            SignIn::Bearer(token) => return Ok(Signed::Bearer(text(token).await?)),
            SignIn::Secret { secret, way } => {
                request.client_secret = Some(text(secret).await?);
                request.client_authentication = *way;
            }
            SignIn::Certificate { certificate, password } => {
                let mut certificate = certificate.clone();
                if let Some(password) = password {
                    certificate = certificate.with_password(text(password).await?);
                }
                request.assertion = Some(Arc::new(certificate));
            }
            SignIn::FederatedFile(path) => request.assertion = Some(Arc::new(FederatedFile(path.clone()))),
            SignIn::FederatedUrl { url, bearer } => {
                let bearer = match bearer {
                    Some(bearer) => Some(text(bearer).await?),
                    None => None,
                };
                let url = url.clone();
                request.assertion = Some(Arc::new(FederatedUrl { url, bearer }));
            }
            SignIn::Password {
                username,
                password,
                secret,
            } => {
                request.grant = Grant::Password {
                    username: text(username).await?,
                    password: text(password).await?,
                };
                if let Some(secret) = secret {
                    request.client_secret = Some(text(secret).await?);
                }
            }
            SignIn::RefreshToken { token, file, secret } => {
                request.grant = Grant::RefreshToken(text(token).await?);
                request.rotated_to.clone_from(file);
                if let Some(secret) = secret {
                    request.client_secret = Some(text(secret).await?);
                }
            }
            SignIn::Managed(_) => {}
        }
        Ok(Signed::Request(Box::new(request)))
    }
}

impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.all.keys()).finish()
    }
}
