//! A token request: headers and a form go in, checked parts come out.

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde_json::Value;

use super::Desk;
use super::error::Refusal;
use crate::sandbox::power_automate::dataverse::is_own;
use crate::sandbox::power_automate::encoding::{decoded, pairs};
use crate::sandbox::power_automate::ids::Guid;

/// The parameters of a request.
pub(super) struct TokenRequest {
    form: Vec<(String, String)>,
    basic: Option<(String, String)>,
}

/// With what a client proves who it is.
pub(super) enum ClientProof {
    None,
    Secret(String),
    Assertion(String),
}

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

impl TokenRequest {
    pub(super) fn read(headers: &HeaderMap, body: &[u8]) -> Result<Self, Refusal> {
        let kind = headers
            .get(header::CONTENT_TYPE)
            .map(header::HeaderValue::as_bytes)
            .unwrap_or_default();
        let malformed = || Refusal::new(9_002_313, "Invalid request. Request is malformed or invalid.");
        // Whatever is not a form is read as an empty one, so the first required parameter is missing.
        let form = if kind
            .to_ascii_lowercase()
            .starts_with(b"application/x-www-form-urlencoded")
        {
            std::str::from_utf8(body)
                .ok()
                .and_then(|text| pairs(text).ok())
                .ok_or_else(malformed)?
        } else {
            Vec::new()
        };
        let basic = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| basic(value.to_str().ok()?));
        Ok(Self { form, basic })
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.form
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    pub(super) fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name).ok_or_else(|| {
            Refusal::new(
                900_144,
                format!("The request body must contain the following parameter: '{name}'."),
            )
        })
    }

    pub(super) fn scopes(&self) -> impl Iterator<Item = &str> {
        self.get("scope").unwrap_or_default().split_whitespace()
    }

    /// The client id and its proof, from the form or from `Authorization: Basic`.
    pub(super) fn client(&self) -> Result<(&str, ClientProof), Refusal> {
        if let Some((id, secret)) = &self.basic
            && self.get("client_secret").is_none()
        {
            return Ok((id, ClientProof::Secret(secret.clone())));
        }
        let id = self.required("client_id")?;
        let proof = match (self.get("client_secret"), self.get("client_assertion")) {
            (Some(secret), _) => ClientProof::Secret(secret.to_owned()),
            (None, Some(assertion)) => {
                if self.required("client_assertion_type")? != ASSERTION_TYPE {
                    return Err(Refusal::new(
                        900_144,
                        "The value of 'client_assertion_type' is not supported.",
                    ));
                }
                ClientProof::Assertion(assertion.to_owned())
            }
            (None, None) => ClientProof::None,
        };
        Ok((id, proof))
    }
}

fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    // RFC 6749 2.3.1: both parts are form-encoded before they are joined.
    let plain = |part: &str| decoded(part, true).unwrap_or_else(|_| part.to_owned());
    Some((plain(id), plain(secret)))
}

/// The one resource that the scopes name, without `/.default`.
pub(super) fn audience(request: &TokenRequest, desk: &Desk<'_>, application: bool) -> Result<String, Refusal> {
    let scope = request.required("scope")?;
    let invalid = || {
        Refusal::new(
            70_011,
            format!("The provided value for the input parameter 'scope' is not valid. '{scope}'"),
        )
    };
    let mut resource: Option<&str> = None;
    for one in request
        .scopes()
        .filter(|one| !matches!(*one, "offline_access" | "openid" | "profile" | "email"))
    {
        let (named, permission) = one.rsplit_once('/').ok_or_else(invalid)?;
        if application && permission != ".default" {
            return Err(invalid());
        }
        match resource {
            Some(earlier) if trimmed(earlier) != trimmed(named) => {
                return Err(Refusal::of(700_022));
            }
            _ => resource = Some(named),
        }
    }
    let resource = resource.ok_or_else(invalid)?;
    let known = is_own(desk.aliases, desk.host, resource)
        || desk
            .directory
            .resources
            .iter()
            .any(|known| trimmed(known).eq_ignore_ascii_case(trimmed(resource)));
    if known {
        Ok(resource.to_owned())
    } else {
        Err(Refusal::new(
            500_011,
            format!(
                "The resource principal named {resource} was not found in the tenant named {}. This can happen if the \
                 application has not been installed by the administrator of the tenant.",
                desk.directory.domain
            ),
        ))
    }
}

fn trimmed(resource: &str) -> &str {
    resource.trim_end_matches('/')
}

/// Checks the claims of a client assertion and tells its `jti`. The signature is not checked.
pub(super) fn checked_assertion(
    assertion: &str,
    client: Guid,
    tenant: &str,
    now: Timestamp,
) -> Result<String, Refusal> {
    let refuse = |why: &str| Refusal::new(700_027, format!("Client assertion failed validation: {why}."));
    let parts: Vec<&str> = assertion.split('.').collect();
    let [_, claims, signature] = parts[..] else {
        return Err(refuse("it is not a signed JWT"));
    };
    if signature.is_empty() {
        return Err(refuse("it has no signature"));
    }
    let claims = URL_SAFE_NO_PAD
        .decode(claims)
        .map_err(|_| refuse("its claims are not base64url"))?;
    let claims: Value = serde_json::from_slice(&claims).map_err(|_| refuse("its claims are not JSON"))?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let client = client.to_string();
    if !text("iss").eq_ignore_ascii_case(&client) || !text("sub").eq_ignore_ascii_case(&client) {
        return Err(refuse("'iss' and 'sub' must be the client id"));
    }
    if !text("aud").ends_with(&format!("/{tenant}/oauth2/v2.0/token")) {
        return Err(Refusal::new(
            50_013,
            "Client assertion failed validation: 'aud' must be the token endpoint.",
        ));
    }
    // A NumericDate may have a fraction (RFC 7519, 2); Microsoft's own library for Python sends one.
    let seconds = |name: &str| claims.get(name).and_then(Value::as_f64).map(|seconds| seconds as i64);
    let now = now.as_second();
    match (seconds("nbf"), seconds("exp")) {
        (nbf, Some(exp)) if exp > now && nbf.is_none_or(|nbf| nbf <= now + 300) => {}
        _ => return Err(Refusal::new(500_133, "Assertion is not within its valid time range.")),
    }
    match text("jti") {
        id if id.is_empty() => Err(refuse("'jti' is missing")),
        id => Ok(id),
    }
}
