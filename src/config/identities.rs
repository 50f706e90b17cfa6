//! `[identities.NAME]` in `deskhand.toml`: from what was written to an identity, or every fault at once.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;
use url::Url;

use super::sources::Sources;
use crate::connector::identity::{Settings, SignIn};
use crate::http::token::managed::{ManagedIdentity, Service};
use crate::http::token::{Algorithm, Certificate, ClientAuthentication, RefreshTokenFile};
use crate::microsoft::entra;
use crate::secrets::policy::Cloud;

/// An identity, as written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IdentityText {
    tenant: Option<String>,
    authority: Option<String>,
    token_endpoint: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    client_authentication: Option<String>,
    certificate: Option<PathBuf>,
    certificate_password: Option<String>,
    private_key: Option<PathBuf>,
    algorithm: Option<String>,
    send_chain: bool,
    federated_token_file: Option<PathBuf>,
    federated_token_url: Option<String>,
    federated_token_bearer: Option<String>,
    username: Option<String>,
    password: Option<String>,
    refresh_token: Option<String>,
    refresh_token_file: Option<PathBuf>,
    managed: Option<String>,
    imds: Option<String>,
    token: Option<String>,
    scope: Option<String>,
    hosts: Vec<String>,
    audiences: BTreeMap<String, String>,
    connectors: Vec<String>,
    processes: Vec<String>,
    tenants: Vec<String>,
    expires: Option<String>,
}

/// The keys, for a message.
pub(super) const KEYS: &str = "tenant, authority, token_endpoint, client_id, client_secret, client_authentication, certificate, \
    certificate_password, private_key, algorithm, send_chain, federated_token_file, federated_token_url, \
    federated_token_bearer, username, password, refresh_token, refresh_token_file, managed, \
    token, scope, hosts, audiences, connectors, processes, tenants, expires";

/// All identities of the file.
pub(super) fn identities(s: &mut Sources<'_>, cloud: Cloud) -> Vec<Settings> {
    let texts = s.identity_texts();
    texts
        .into_iter()
        .filter_map(|(place, name, text)| match identity(&name, text, cloud, s) {
            Ok(identity) => Some(identity),
            Err(message) => {
                s.fault(place, message);
                None
            }
        })
        .collect()
}

fn identity(name: &str, text: IdentityText, cloud: Cloud, s: &Sources<'_>) -> Result<Settings, String> {
    let hosts = text
        .hosts
        .iter()
        .map(|host| {
            host.parse()
                .map_err(|error: crate::secrets::hosts::PatternError| error.to_string())
        })
        .collect::<Result<Vec<_>, _>>()?;
    if hosts.is_empty() {
        return Err("`hosts` is empty: name the hosts that its tokens may go to".into());
    }
    let sign_in = sign_in(&text, s)?;
    let needs_endpoint = !matches!(sign_in, SignIn::Managed(_) | SignIn::Bearer(_));
    let endpoint = match (&text.token_endpoint, &text.tenant) {
        (Some(endpoint), _) => Url::parse(endpoint)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .ok_or("`token_endpoint` is not a URL")?,
        (None, Some(tenant)) => {
            let authority = text.authority.clone().unwrap_or_else(|| cloud.authority());
            entra::token_endpoint(&authority, tenant)
                .ok_or("`tenant` is no tenant's id or domain, or `authority` no URL")?
        }
        (None, None) if needs_endpoint => return Err("`tenant` (or `token_endpoint`) is missing".into()),
        (None, None) => Url::parse(entra::PUBLIC_AUTHORITY).map_err(|error| error.to_string())?,
    };
    let expires = text.expires.as_deref().map(moment).transpose()?;
    if needs_endpoint && text.client_id.is_none() {
        return Err("`client_id` is missing".into());
    }
    Ok(Settings {
        name: name.to_owned(),
        sign_in,
        endpoint,
        client_id: text.client_id.unwrap_or_default(),
        hosts,
        scope: text.scope,
        audiences: text.audiences,
        connectors: text.connectors,
        processes: text.processes,
        tenants: text.tenants,
        expires,
    })
}

fn sign_in(text: &IdentityText, s: &Sources<'_>) -> Result<SignIn, String> {
    let ways = [
        ("certificate", text.certificate.is_some()),
        ("federated_token_file", text.federated_token_file.is_some()),
        ("federated_token_url", text.federated_token_url.is_some()),
        ("username", text.username.is_some()),
        ("refresh_token", text.refresh_token.is_some()),
        ("managed", text.managed.is_some()),
        ("token", text.token.is_some()),
    ];
    let chosen: Vec<&str> = ways.iter().filter(|(_, chosen)| *chosen).map(|(way, _)| *way).collect();
    let secret = text.client_secret.clone();
    match (chosen.as_slice(), secret) {
        ([], Some(secret)) => Ok(SignIn::Secret {
            secret,
            way: match text.client_authentication.as_deref() {
                None | Some("credentialsBody") => ClientAuthentication::Body,
                Some("basicAuthHeader") => ClientAuthentication::BasicHeader,
                Some(_) => return Err("`client_authentication` is credentialsBody or basicAuthHeader".into()),
            },
        }),
        ([], None) => Err(
            "there is no way to sign in: give client_secret, certificate, federated_token_file, \
             federated_token_url, username and password, refresh_token, managed or token"
                .into(),
        ),
        (["certificate"], None) => {
            let algorithm = match text.algorithm.as_deref() {
                None => Algorithm::default(),
                Some(name) => Algorithm::named(name).ok_or("`algorithm` is PS256 or RS256")?,
            };
            let file = text.certificate.clone().unwrap_or_default();
            let certificate = Certificate::new(file, text.private_key.clone(), algorithm, text.send_chain);
            Ok(SignIn::Certificate {
                certificate,
                password: text.certificate_password.clone(),
            })
        }
        (["federated_token_file"], None) => Ok(SignIn::FederatedFile(
            text.federated_token_file.clone().unwrap_or_default(),
        )),
        (["federated_token_url"], None) => {
            let url = Url::parse(text.federated_token_url.as_deref().unwrap_or_default());
            Ok(SignIn::FederatedUrl {
                url: url
                    .ok()
                    .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
                    .ok_or("`federated_token_url` is not a URL")?,
                bearer: text.federated_token_bearer.clone(),
            })
        }
        (["username"], secret) => Ok(SignIn::Password {
            username: text.username.clone().unwrap_or_default(),
            password: text.password.clone().ok_or("`password` is missing")?,
            secret,
        }),
        (["refresh_token"], secret) => Ok(SignIn::RefreshToken {
            token: text.refresh_token.clone().unwrap_or_default(),
            file: text.refresh_token_file.clone().map(RefreshTokenFile),
            secret,
        }),
        (["managed"], None) => managed(text, s),
        (["token"], None) => Ok(SignIn::Bearer(text.token.clone().unwrap_or_default())),
        (ways, secret) => {
            let secret = if secret.is_some() { " and client_secret" } else { "" };
            Err(format!(
                "{}{secret} are different ways to sign in: choose one",
                ways.join(" and ")
            ))
        }
    }
}

/// A day (its begin, UTC) or a moment.
fn moment(text: &str) -> Result<Timestamp, String> {
    let day = || text.parse::<Date>().ok()?.at(0, 0, 0, 0).to_zoned(TimeZone::UTC).ok();
    match text
        .parse::<Timestamp>()
        .ok()
        .or_else(|| day().map(|day| day.timestamp()))
    {
        Some(moment) => Ok(moment),
        None => Err("`expires` is a day like 2027-03-01 or a moment like 2027-03-01T12:00:00Z".into()),
    }
}

fn url(text: &str) -> Result<Url, String> {
    Url::parse(text).map_err(|_| format!("`{text}` is not a URL"))
}

/// The platform's own service, where the environment names one.
fn app_service(s: &Sources<'_>) -> Result<Option<Service>, String> {
    match (s.variable("IDENTITY_ENDPOINT"), s.variable("IDENTITY_HEADER")) {
        (Some(endpoint), Some(header)) => Ok(Some(Service::AppService {
            endpoint: url(&endpoint)?,
            header: header.into(),
        })),
        _ => Ok(None),
    }
}

/// Who gives this machine's tokens.
pub(super) fn machine(s: &mut Sources<'_>) -> Service {
    app_service(s)
        .unwrap_or_else(|error| {
            s.fault("IDENTITY_ENDPOINT", error);
            None
        })
        .unwrap_or_default()
}

fn managed(text: &IdentityText, s: &Sources<'_>) -> Result<SignIn, String> {
    let imds = || match &text.imds {
        Some(address) => url(address).map(Service::Imds),
        None => Ok(Service::default()),
    };
    let service = match text.managed.as_deref() {
        Some("imds") => imds()?,
        Some("app-service") => {
            app_service(s)?.ok_or("IDENTITY_ENDPOINT and IDENTITY_HEADER are not set: this is no App Service")?
        }
        Some("auto") => match app_service(s)? {
            Some(service) => service,
            None => imds()?,
        },
        _ => return Err("`managed` is auto, imds or app-service".into()),
    };
    Ok(SignIn::Managed(ManagedIdentity {
        service,
        client_id: text.client_id.clone(),
    }))
}
