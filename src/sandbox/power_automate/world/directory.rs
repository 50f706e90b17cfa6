//! The tenant of a world: applications, users, and how tokens are given out.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::demo;
use super::span::Span;
use crate::sandbox::power_automate::ids::Guid;

/// The Entra tenant.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Directory {
    /// The tenant's id.
    pub tenant: Guid,
    /// The tenant's domain; the token endpoint takes either.
    pub domain: String,
    /// App registrations.
    pub applications: Vec<Application>,
    /// People, for the password grant.
    pub users: Vec<User>,
    /// Refresh tokens that exist from the start.
    pub refresh_tokens: Vec<RefreshToken>,
    /// Resources that tokens are issued for beside this environment. Dataverse refuses such tokens with 401.
    pub resources: Vec<String>,
    /// How long an access token is good (virtual time).
    pub token_lifetime: Span,
    /// How long the token endpoint takes to answer (real time).
    pub latency: Span,
    /// Whether using a refresh token twice revokes it and all that came from it. Entra itself tolerates re-use.
    pub detect_reuse: bool,
}

impl Default for Directory {
    fn default() -> Self {
        Self {
            tenant: demo::TENANT,
            domain: "contoso.onmicrosoft.com".to_owned(),
            applications: vec![Application::default()],
            users: vec![User::default()],
            refresh_tokens: Vec::new(),
            resources: [
                "https://service.flow.microsoft.com",
                "https://service.powerapps.com",
                "https://api.powerplatform.com",
                "https://management.azure.com",
                "https://graph.microsoft.com",
            ]
            .map(str::to_owned)
            .to_vec(),
            token_lifetime: Span::seconds(3599),
            latency: Span::ZERO,
            detect_reuse: false,
        }
    }
}

/// An app registration, and what Dataverse lets it do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Application {
    /// The application (client) id.
    pub client_id: Guid,
    /// The client secret; absent for a public client.
    pub client_secret: Option<Credential>,
    /// The secret has expired (AADSTS7000222).
    pub secret_expired: bool,
    /// The registration is disabled (AADSTS7000112).
    pub disabled: bool,
    /// The service principal's object id.
    pub object_id: Guid,
    /// An application user exists in the environment; without one Dataverse answers 403 `0x80072560`.
    pub application_user: bool,
    /// The application user has a security role; without one Dataverse answers 403 `0x80040220`.
    pub security_role: bool,
    /// The application user may read and cancel runs (Owner of the flow). Starting one needs less.
    pub owns_runs: bool,
}

impl Default for Application {
    fn default() -> Self {
        Self {
            client_id: demo::CLIENT_ID,
            client_secret: Some(Credential("demo-client-secret".to_owned())),
            secret_expired: false,
            disabled: false,
            object_id: Guid::from_bits(0x5a1b_0000_0000_4000_8000_0000_0000_00a2),
            application_user: true,
            security_role: true,
            owns_runs: true,
        }
    }
}

/// A person who signs in with a password.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct User {
    /// The user principal name.
    pub username: String,
    /// The password.
    pub password: Credential,
    /// The object id.
    pub object_id: Guid,
    /// Sign-in needs a second factor (AADSTS50076).
    pub needs_second_factor: bool,
    /// The account is locked (AADSTS50053).
    pub locked: bool,
}

impl Default for User {
    fn default() -> Self {
        Self {
            username: "robot@contoso.onmicrosoft.com".to_owned(),
            password: Credential("demo-password".to_owned()),
            object_id: Guid::from_bits(0x5a1b_0000_0000_4000_8000_0000_0000_00b1),
            needs_second_factor: false,
            locked: false,
        }
    }
}

/// A refresh token that somebody got earlier.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RefreshToken {
    /// The token.
    pub token: Credential,
    /// The client that it was issued to.
    pub client_id: Guid,
    /// The user principal name of its subject.
    pub username: String,
}

/// A secret of the simulated world. It is not shown in debug output.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Credential(pub String);

impl fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(hidden)")
    }
}
