//! The engine's address and our credentials, as Camunda's own clients would understand the same variables.

use std::path::PathBuf;
use std::time::Duration;

use super::sources::Sources;
use crate::engine::{Credentials, Resolver, Settings};
use crate::http::token::Algorithm;

const SAAS_TOKEN_URL: &str = "https://login.cloud.camunda.io/oauth/token";
const SAAS_AUDIENCE: &str = "zeebe.camunda.io";
/// A gateway's default `minKeepAliveInterval`.
const MOST_FREQUENT_PINGS: Duration = Duration::from_secs(30);

const CREDENTIALS_IN_URL: &str =
    "a URL with a user name or a query ends up in logs: write credentials in engine.client_id or engine.username";

fn has_credentials(url: &url::Url) -> bool {
    !url.username().is_empty() || url.password().is_some() || url.query().is_some()
}

pub(super) fn settings(s: &mut Sources<'_>) -> Settings {
    let credentials = credentials(s);
    let tenant_ids = s.list("engine.tenant_ids");
    let assigned_tenants = s.choice("engine.tenant_filter") == "assigned";
    if assigned_tenants && !tenant_ids.is_empty() {
        let place = s.place("engine.tenant_ids");
        s.fault(
            place,
            "with engine.tenant_filter = \"assigned\" the engine chooses the tenants: leave the list out",
        );
    }
    for wrong in tenant_ids.iter().filter(|id| !is_tenant_id(id)) {
        let place = s.place("engine.tenant_ids");
        s.fault(
            place,
            format!("`{wrong}` is no tenant id: 1 to 31 letters, digits, `_`, `-` or `.`, or <default>"),
        );
    }
    let with_tokens = matches!(credentials, Credentials::OAuth { .. } | Credentials::OAuthKey { .. });
    Settings {
        address: address(s, with_tokens),
        credentials,
        ca_certificate: pem_file(s, "engine.ca_certificate", "CERTIFICATE-----"),
        identity: identity(s),
        override_authority: s.optional("engine.override_authority"),
        tenant_ids,
        assigned_tenants,
        worker_name: s.text("engine.worker_name"),
        keep_alive: keep_alive(s),
        resolver: Resolver::default(),
    }
}

fn keep_alive(s: &mut Sources<'_>) -> Duration {
    let keep_alive = s.duration("engine.keep_alive");
    if keep_alive < MOST_FREQUENT_PINGS {
        let place = s.place("engine.keep_alive");
        s.fault(
            place,
            "gateways end connections that are asked more often than each 30 s: write 30s or more, 45s suits most",
        );
    }
    keep_alive
}

/// As the engine checks it.
fn is_tenant_id(id: &str) -> bool {
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    id == "<default>" || (id.len() <= 31 && id.chars().all(named))
}

fn address(s: &mut Sources<'_>, with_tokens: bool) -> String {
    let cluster = (s.optional("engine.cluster_id"), s.optional("engine.region"));
    let insecure = s.optional_switch("engine.insecure");
    let written = s.text("engine.address");
    let given = s.used.iter().any(|used| used.key == "engine.address");
    match cluster {
        (Some(id), Some(region)) if !given => return format!("https://{id}.{region}.zeebe.camunda.io:443"),
        (Some(_), None) | (None, Some(_)) => {
            let place = s.place("engine.cluster_id");
            s.fault(
                place,
                "cluster_id and region go together: set both, or the address alone",
            );
        }
        _ => {}
    }
    let text = written.trim().trim_end_matches('/');
    let (scheme, rest) = match text.split_once("://") {
        Some(("http" | "grpc", rest)) => ("http", rest),
        Some(("https" | "grpcs", rest)) => ("https", rest),
        Some((other, rest)) => {
            let place = s.place("engine.address");
            s.fault(
                place,
                format!("`{other}://` is not a scheme of the gateway: write http://, https://, grpc:// or grpcs://"),
            );
            ("http", rest)
        }
        None => {
            let tls = insecure.map_or(text.ends_with(":443") || with_tokens, |insecure| !insecure);
            (if tls { "https" } else { "http" }, text)
        }
    };
    let authority = if rest
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
    {
        rest.to_owned()
    } else if scheme == "https" {
        format!("{rest}:443")
    } else {
        format!("{rest}:26500")
    };
    let address = format!("{scheme}://{authority}");
    match url::Url::parse(&address) {
        Ok(url) if has_credentials(&url) => {
            s.hide("engine.address");
            let place = s.place("engine.address");
            s.fault(place, CREDENTIALS_IN_URL);
        }
        Ok(url) if url.host().is_some() && matches!(url.path(), "" | "/") && url.query().is_none() => {}
        _ => {
            let place = s.place("engine.address");
            s.fault(
                place,
                format!("`{written}` is not an address like http://localhost:26500 or localhost:26500"),
            );
        }
    }
    address
}

fn credentials(s: &mut Sources<'_>) -> Credentials {
    let client_id = s.optional("engine.client_id");
    let client_secret = s.secret("engine.client_secret");
    let username = s.optional("engine.username");
    let password = s.secret("engine.password");
    let token_url = s.optional("engine.token_url");
    let audience = s.optional("engine.audience");
    let scope = s.optional("engine.scope");
    if client_id.is_some() && username.is_some() {
        let place = s.place("engine.username");
        s.fault(
            place,
            "both a client id (OAuth) and a user name (Basic) are set: the engine takes one of them",
        );
    }
    let signing = pem_file(s, "engine.client_assertion_certificate", "CERTIFICATE-----");
    let signing_key = pem_file(s, "engine.client_assertion_key", "PRIVATE KEY-----");
    let algorithm = match s.choice("engine.client_assertion_algorithm") {
        "RS256" => Algorithm::Rs256,
        _ => Algorithm::Ps256,
    };
    if signing.is_some() && client_secret.is_some() {
        let place = s.place("engine.client_assertion_certificate");
        s.fault(
            place,
            "both a client secret and a certificate are set: the client shows one of them",
        );
    }
    if let (Some(certificate), Some(client_id)) = (&signing, &client_id) {
        let (token_url, audience) = token_endpoint(s, token_url, audience);
        return Credentials::OAuthKey {
            token_url,
            client_id: client_id.clone(),
            certificate: certificate.clone(),
            key: signing_key,
            algorithm,
            audience,
            scope,
        };
    }
    if signing.is_some() || signing_key.is_some() {
        let place = s.place("engine.client_assertion_certificate");
        s.fault(
            place,
            "private-key JWT needs engine.client_id, engine.client_assertion_certificate and its key",
        );
    }
    match (client_id, client_secret) {
        (Some(client_id), Some(client_secret)) => {
            let (token_url, audience) = token_endpoint(s, token_url, audience);
            return Credentials::OAuth {
                token_url,
                client_id,
                client_secret,
                audience,
                scope,
            };
        }
        (Some(_), None) => {
            let place = s.place("engine.client_id");
            s.fault(
                place,
                "a client id needs a secret: set CAMUNDA_CLIENT_SECRET or ZEEBE_CLIENT_SECRET",
            );
        }
        (None, Some(_)) => {
            let place = s.place("engine.client_secret");
            s.fault(
                place,
                "a client secret needs an id: set CAMUNDA_CLIENT_ID or ZEEBE_CLIENT_ID",
            );
        }
        (None, None) => {}
    }
    match (username, password) {
        (Some(username), Some(password)) => Credentials::Basic { username, password },
        (None, None) => Credentials::None,
        _ => {
            let place = s.place("engine.username");
            s.fault(
                place,
                "Basic needs both: set CAMUNDA_BASIC_AUTH_USERNAME and CAMUNDA_BASIC_AUTH_PASSWORD",
            );
            Credentials::None
        }
    }
}

/// The token endpoint, checked, and the audience; what is missing is Camunda SaaS's.
fn token_endpoint(
    s: &mut Sources<'_>,
    token_url: Option<String>,
    audience: Option<String>,
) -> (String, Option<String>) {
    let saas = token_url.as_deref().is_none_or(|url| url == SAAS_TOKEN_URL);
    let token_url = token_url.unwrap_or_else(|| SAAS_TOKEN_URL.to_owned());
    match url::Url::parse(&token_url) {
        Ok(url) if has_credentials(&url) => {
            s.hide("engine.token_url");
            let place = s.place("engine.token_url");
            s.fault(place, CREDENTIALS_IN_URL);
        }
        Ok(_) => {}
        Err(error) => {
            let place = s.place("engine.token_url");
            s.fault(place, format!("this is not a URL ({error})"));
        }
    }
    let audience = audience.or_else(|| saas.then(|| SAAS_AUDIENCE.to_owned()));
    (token_url, audience)
}

/// Our own certificate and key for mutual TLS.
fn identity(s: &mut Sources<'_>) -> Option<(PathBuf, PathBuf)> {
    let certificate = pem_file(s, "engine.client_certificate", "CERTIFICATE-----");
    let key = pem_file(s, "engine.client_key", "PRIVATE KEY-----");
    match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => {
            let place = s.place("engine.client_certificate");
            s.fault(place, "a client certificate needs its key: set engine.client_key");
            None
        }
        (None, Some(_)) => {
            let place = s.place("engine.client_key");
            s.fault(
                place,
                "a client key needs its certificate: set engine.client_certificate",
            );
            None
        }
    }
}

fn pem_file(s: &mut Sources<'_>, key: &str, kind: &str) -> Option<PathBuf> {
    let path = PathBuf::from(s.optional(key)?);
    let fault = match std::fs::read_to_string(&path) {
        Ok(pem) if pem.contains(kind) => None,
        Ok(_) if kind.starts_with("CERT") => {
            Some("holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)".to_owned())
        }
        Ok(_) => Some("holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)".to_owned()),
        Err(error) => Some(format!("cannot be read: {error}")),
    };
    if let Some(fault) = fault {
        let place = s.place(key);
        s.fault(place, format!("{} {fault}", path.display()));
    }
    Some(path)
}
