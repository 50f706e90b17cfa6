//! How a request shows who it is: the `authentication` object goes in, a header, a query parameter or a question to a
//! token endpoint comes out.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use zeroize::Zeroizing;

use super::address;
use super::fields::Fields;
use crate::connector::identity::MANAGED_IDENTITY;
use crate::http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use crate::http::token::{Algorithm, Audience, Certificate, ClientAuthentication, Grant, TokenRequest};

/// Camunda's templates write this where a password is empty on purpose.
const EMPTY_PASSWORD: &str = "SPEC_PASSWORD_EMPTY_PATTERN";
const TYPES: &str = "`noAuth`, `basic`, `bearer`, `apiKey`, `oauth-client-credentials-flow`, `oauth-refresh-token` or \
    `managed-identity`";
const OBJECT: &str = "an object with a `type`";
const A_HEADER_TEXT: &str = "a text without line breaks and other control characters";

/// What the request carries.
pub(super) enum Authentication {
    /// Nothing.
    None,
    /// A header.
    Header(HeaderName, HeaderValue),
    /// A query parameter.
    Query(String, String),
    /// A bearer token that is fetched first.
    OAuth(Box<OAuth>),
    /// What operations have under this name.
    Identity(String),
    /// The machine's own identity, or one of those that are assigned to it (a client id).
    Managed(Option<String>),
}

/// A token to fetch.
pub(super) struct OAuth {
    pub(super) request: TokenRequest,
    /// The object that the credentials stand in. Every secret of it counts as sent to the token endpoint: a property's
    /// name can itself be made of a reference, so single fields prove nothing. `None`: an identity, whose credentials are
    /// not the task's.
    pub(super) path: Option<String>,
}

/// Reads `authentication`, or what `authenticationConfiguration` puts in its place.
pub(super) fn bind(input: &Fields<'_, '_>) -> Option<Authentication> {
    if let Some(name) = input
        .text("identity", "the name of an identity")
        .filter(|name| !name.trim().is_empty())
    {
        let other = ["authentication", "authenticationConfiguration"].iter().find(|field| {
            let kind = input
                .value(field)
                .and_then(|value| value.get("type"))
                .and_then(Value::as_str);
            kind.is_some_and(|kind| kind != "noAuth")
                || (**field == "authenticationConfiguration" && input.value(field).is_some())
        });
        if other.is_some() {
            input.fault("identity", "either an identity or an `authentication`, not both");
            return None;
        }
        return Some(Authentication::Identity(name.trim().to_owned()));
    }
    let fields = match input.value("authenticationConfiguration") {
        Some(_) => input
            .object("authenticationConfiguration", "an object with `authentication`")?
            .object("authentication", OBJECT),
        None => input.object("authentication", OBJECT),
    };
    let Some(fields) = fields else {
        // Absent, or not an object, which is a fault already.
        return Some(Authentication::None);
    };
    match fields.required("type", TYPES)?.as_str() {
        "noAuth" => Some(Authentication::None),
        "basic" => basic(&fields),
        "bearer" => {
            let token = Zeroizing::new(fields.required("token", "the token, e.g. `{{secrets.NAME}}`")?);
            header(&fields, "token", AUTHORIZATION, &format!("Bearer {}", *token))
        }
        "apiKey" => api_key(&fields),
        "oauth-client-credentials-flow" => client_credentials(&fields),
        "oauth-refresh-token" => refresh_token(&fields),
        MANAGED_IDENTITY => Some(Authentication::Managed(
            fields.text("clientId", "a text").filter(|id| !id.trim().is_empty()),
        )),
        _ => {
            fields.fault("type", TYPES);
            None
        }
    }
}

fn header(fields: &Fields<'_, '_>, field: &str, name: HeaderName, text: &str) -> Option<Authentication> {
    match HeaderValue::from_bytes(text.as_bytes()) {
        Ok(mut value) => {
            value.set_sensitive(true);
            Some(Authentication::Header(name, value))
        }
        Err(_) => {
            fields.fault(field, A_HEADER_TEXT);
            None
        }
    }
}

fn basic(fields: &Fields<'_, '_>) -> Option<Authentication> {
    let password = fields
        .text("password", "a text")
        .filter(|password| password != EMPTY_PASSWORD)
        .unwrap_or_default();
    let user = fields.required("username", "the user's name")?;
    let pair = Zeroizing::new(format!("{user}:{password}"));
    header(
        fields,
        "username",
        AUTHORIZATION,
        &format!("Basic {}", STANDARD.encode(pair.as_bytes())),
    )
}

fn api_key(fields: &Fields<'_, '_>) -> Option<Authentication> {
    const LOCATIONS: &str = "`headers` or `query`";
    let location = fields.required("apiKeyLocation", LOCATIONS);
    let name = fields.required("name", "the name of the header or parameter");
    let value = fields.required("value", "the key, e.g. `{{secrets.NAME}}`");
    let (location, name, value) = (location?, name?, value?);
    match location.to_ascii_lowercase().as_str() {
        "query" => Some(Authentication::Query(name, value)),
        "headers" => match HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) => header(fields, "value", name, &value),
            Err(_) => {
                fields.fault("name", "a header's name, e.g. `X-Api-Key`");
                None
            }
        },
        _ => {
            fields.fault("apiKeyLocation", LOCATIONS);
            None
        }
    }
}

fn endpoint(fields: &Fields<'_, '_>) -> Option<url::Url> {
    const NAME: &str = "oauthTokenEndpoint";
    const EXPECTED: &str =
        "the token endpoint's URL, e.g. `https://login.microsoftonline.com/TENANT/oauth2/v2.0/token`";
    let text = fields.required(NAME, EXPECTED)?;
    let is_http = text.starts_with("http://") || text.starts_with("https://");
    match address::parse(&text, false, &[]) {
        Ok(url) if is_http => Some(url),
        _ => {
            fields.fault(NAME, EXPECTED);
            None
        }
    }
}

fn client_credentials(fields: &Fields<'_, '_>) -> Option<Authentication> {
    const WAYS: &str = "`basicAuthHeader` or `credentialsBody`";
    let endpoint = endpoint(fields);
    let id = fields.required("clientId", "the client's id");
    let certificate = certificate(fields);
    let secret = match &certificate {
        Some(_) => Some(String::new()),
        None => fields.required("clientSecret", "the client's secret, e.g. `{{secrets.NAME}}`"),
    };
    let way = match fields.required("clientAuthentication", WAYS).as_deref() {
        Some("basicAuthHeader") => Some(ClientAuthentication::BasicHeader),
        Some("credentialsBody") => Some(ClientAuthentication::Body),
        Some(_) => {
            fields.fault("clientAuthentication", WAYS);
            None
        }
        None => None,
    };
    let audience = match fields.text("audience", "a text") {
        Some(audience) if !audience.is_empty() => Audience::Value(audience),
        _ => Audience::Bare,
    };
    let scope = scopes(fields);
    let mut request = TokenRequest::client_credentials(endpoint?, id?.into(), secret?.into());
    request.client_authentication = way?;
    request.audience = audience;
    request.scope = scope;
    if let Some(certificate) = certificate {
        request.client_secret = None;
        request.assertion = Some(Arc::new(certificate));
    }
    Some(oauth(fields, request))
}

/// The certificate that signs in place of a secret.
fn certificate(fields: &Fields<'_, '_>) -> Option<Certificate> {
    let text = |name: &str, expected: &str| fields.text(name, expected).filter(|text| !text.trim().is_empty());
    let certificate = text("clientCertificate", "a PEM text, or a PFX file as base64")?;
    if text("clientSecret", "a text").is_some() {
        fields.fault("clientSecret", "either a secret or a certificate, not both");
    }
    let private_key = text("clientPrivateKey", "a PEM text").map(Into::into);
    let algorithm = match text("algorithm", "a text").as_deref().map(Algorithm::named) {
        None => Algorithm::default(),
        Some(Some(algorithm)) => algorithm,
        Some(None) => {
            fields.fault("algorithm", "`PS256` or `RS256`");
            return None;
        }
    };
    let password = text("certificatePassword", "a text").unwrap_or_default();
    Some(Certificate::given(certificate.into(), private_key, algorithm).with_password(password.into()))
}

fn refresh_token(fields: &Fields<'_, '_>) -> Option<Authentication> {
    let endpoint = endpoint(fields);
    let id = fields.required("clientId", "the client's id");
    let token = fields.required("refreshToken", "the refresh token, e.g. `{{secrets.NAME}}`");
    let secret = fields
        .text("clientSecret", "a text")
        .filter(|secret| !secret.is_empty());
    let scope = scopes(fields);
    Some(oauth(
        fields,
        TokenRequest {
            endpoint: endpoint?,
            client_id: id?.into(),
            client_secret: secret.map(Into::into),
            client_authentication: ClientAuthentication::Body,
            grant: Grant::RefreshToken(token?.into()),
            scope,
            audience: Audience::Absent,
            extra: Vec::new(),
            tls: None,
            assertion: None,
            rotated_to: None,
        },
    ))
}

/// Scopes are one text; a list of texts is joined.
fn scopes(fields: &Fields<'_, '_>) -> Option<String> {
    if let Some(Value::Array(list)) = fields.value("scopes") {
        let texts: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
        if let Some(texts) = texts {
            return Some(texts.join(" "));
        }
    }
    fields
        .text("scopes", "scopes separated by blanks")
        .filter(|scopes| !scopes.trim().is_empty())
}

fn oauth(fields: &Fields<'_, '_>, request: TokenRequest) -> Authentication {
    Authentication::OAuth(Box::new(OAuth {
        request,
        path: Some(fields.path().to_owned()),
    }))
}
