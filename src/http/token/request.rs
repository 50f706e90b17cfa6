//! What is asked of a token endpoint, and how it is written as a form (RFC 6749).

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use url::Url;
use zeroize::Zeroizing;

use super::super::fingerprint::Fingerprint;
use super::super::{ClientTls, Error, Method, Request};
use super::assertion::Assertion;
use super::managed::ManagedIdentity;

/// A question to a token endpoint. All of it is the key under which the answer is kept.
#[derive(Clone)]
pub struct TokenRequest {
    /// The token endpoint; http or https.
    pub endpoint: Url,
    /// The client's id.
    pub client_id: SecretString,
    /// The client's secret; public clients have none.
    pub client_secret: Option<SecretString>,
    /// How id and secret are shown.
    pub client_authentication: ClientAuthentication,
    /// What is shown beside them.
    pub grant: Grant,
    /// Scopes, separated by blanks.
    pub scope: Option<String>,
    /// For whom the token shall be.
    pub audience: Audience,
    /// Further form fields, e.g. `resource`.
    pub extra: Vec<(String, String)>,
    /// The client's own certificate and trust for this endpoint.
    pub tls: Option<ClientTls>,
    /// What is shown instead of a secret, made anew for each question.
    pub assertion: Option<Arc<dyn Assertion>>,
    /// Where refresh tokens that replace this one are kept.
    pub rotated_to: Option<RefreshTokenFile>,
}

/// A file that holds the refresh token to use next: read before each question, written when the endpoint gave a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshTokenFile(pub PathBuf);

impl RefreshTokenFile {
    /// The token in it; `None` while there is no such file.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn read(&self) -> std::io::Result<Option<SecretString>> {
        match std::fs::read_to_string(&self.0) {
            Ok(text) => Ok(Some(text.trim().into()).filter(|token: &SecretString| !token.expose_secret().is_empty())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// When the token in it was put there.
    pub fn written(&self) -> Option<Timestamp> {
        let modified = std::fs::metadata(&self.0).ok()?.modified().ok()?;
        Timestamp::try_from(modified).ok()
    }

    /// Puts a token in, so that there is the old one or the new one at any moment, and nobody else can read it.
    ///
    /// # Errors
    /// When the directory cannot be written to.
    pub fn write(&self, token: &SecretString) -> std::io::Result<()> {
        use std::io::Write;

        let beside = self.0.with_extension("new");
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&beside)?;
        file.write_all(token.expose_secret().as_bytes())?;
        file.sync_all()?;
        std::fs::rename(beside, &self.0)
    }
}

/// What a client shows to get a token.
#[derive(Clone)]
pub enum Grant {
    /// Itself.
    ClientCredentials,
    /// A refresh token that it was given before.
    RefreshToken(SecretString),
    /// Nothing: the machine's own service gives the token. The scope names the resource.
    Managed(ManagedIdentity),
    /// A user's name and password (ROPC).
    Password {
        /// The user's sign-in name.
        username: SecretString,
        /// The user's password.
        password: SecretString,
    },
}

/// What one question shows beside the request's own fields.
#[derive(Default)]
pub(super) struct Shown {
    /// An assertion, made for it.
    pub(super) assertion: Option<SecretString>,
    /// The refresh token that replaced the request's own.
    pub(super) refresh_token: Option<SecretString>,
    /// What an API wants of the token, JSON.
    pub(super) claims: Option<String>,
}

/// How a client shows its id and secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// `Authorization: Basic`, of `id:secret` as they are (Camunda's runtime does not form-encode them first).
    BasicHeader,
    /// Form fields.
    Body,
}

/// The form field `audience`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Not sent.
    Absent,
    /// Sent without a value, as Camunda's runtime does when a task names none.
    Bare,
    /// Sent with this value.
    Value(String),
}

impl TokenRequest {
    /// A client-credentials request with the credentials in the body, without scope and audience.
    pub fn client_credentials(endpoint: Url, client_id: SecretString, client_secret: SecretString) -> Self {
        Self {
            endpoint,
            client_id,
            client_secret: Some(client_secret),
            client_authentication: ClientAuthentication::Body,
            grant: Grant::ClientCredentials,
            scope: None,
            audience: Audience::Absent,
            extra: Vec::new(),
            tls: None,
            assertion: None,
            rotated_to: None,
        }
    }

    /// The token that a managed identity has for a resource, e.g. `https://contoso.crm4.dynamics.com`.
    pub fn managed(identity: ManagedIdentity, resource: &str) -> Self {
        let endpoint = identity.url().clone();
        let mut request = Self::client_credentials(endpoint, SecretString::default(), SecretString::default());
        request.client_secret = None;
        request.grant = Grant::Managed(identity);
        request.scope = Some(resource.to_owned());
        request
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let (grant, first, second) = match &self.grant {
            Grant::ClientCredentials => ("client_credentials", None, None),
            Grant::RefreshToken(token) => ("refresh_token", Some(token), None),
            Grant::Password { username, password } => ("password", Some(username), Some(password)),
            Grant::Managed(_) => ("managed", None, None),
        };
        let managed = match &self.grant {
            Grant::Managed(identity) => Some(identity.source()),
            _ => None,
        };
        let assertion = self.assertion.as_ref().map(|assertion| assertion.source());
        let (audience_kind, audience) = match &self.audience {
            Audience::Absent => ("absent", None),
            Audience::Bare => ("bare", None),
            Audience::Value(value) => ("value", Some(value.as_str())),
        };
        let tls = self.tls.as_ref();
        let secrets = [
            Some(&self.client_id),
            self.client_secret.as_ref(),
            first,
            second,
            tls.and_then(|tls| tls.certificate.as_ref()),
            tls.and_then(|tls| tls.private_key.as_ref()),
            tls.and_then(|tls| tls.trusted.as_ref()),
        ];
        let texts = [
            Some(self.endpoint.as_str()),
            Some(grant),
            Some(match self.client_authentication {
                ClientAuthentication::BasicHeader => "header",
                ClientAuthentication::Body => "body",
            }),
            self.scope.as_deref(),
            Some(audience_kind),
            audience,
            managed.as_deref(),
            assertion.as_deref(),
        ];
        let extra = self.extra.iter().flat_map(|(name, value)| [name, value]);
        Fingerprint::of(
            texts
                .into_iter()
                .chain(
                    secrets
                        .into_iter()
                        .map(|secret| secret.map(|text| text.expose_secret())),
                )
                .chain(extra.map(|text| Some(text.as_str()))),
        )
    }

    /// The HTTP request that asks this.
    #[cfg(test)]
    fn to_http(&self) -> Result<Request, Error> {
        self.to_http_showing(&Shown::default())
    }

    /// The HTTP request that asks this now.
    pub(super) fn to_http_showing(&self, shown: &Shown) -> Result<Request, Error> {
        let mut request = Request::new(Method::POST, self.endpoint.clone());
        request.total_timeout = Some(std::time::Duration::from_secs(60));
        request.max_answer_bytes = 1024 * 1024;
        request.tls.clone_from(&self.tls);
        let headers = &mut request.headers;
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if self.client_authentication == ClientAuthentication::BasicHeader && shown.assertion.is_none() {
            headers.insert(AUTHORIZATION, self.basic_header()?);
        }
        request.body = Some(self.form(shown).into_bytes());
        Ok(request)
    }

    fn basic_header(&self) -> Result<HeaderValue, Error> {
        let secret = self.client_secret.as_ref().map_or("", |secret| secret.expose_secret());
        let pair = Zeroizing::new(format!("{}:{secret}", self.client_id.expose_secret()));
        let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair.as_bytes())))
            .map_err(|_| Error::Invalid("The client's id and secret do not fit into a header.".into()))?;
        value.set_sensitive(true);
        Ok(value)
    }

    fn form(&self, shown: &Shown) -> String {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        match &self.audience {
            Audience::Absent => {}
            Audience::Bare => {
                form.append_key_only("audience");
            }
            Audience::Value(value) => {
                form.append_pair("audience", value);
            }
        }
        match &self.grant {
            Grant::ClientCredentials | Grant::Managed(_) => {
                form.append_pair("grant_type", "client_credentials");
            }
            Grant::RefreshToken(token) => {
                form.append_pair("grant_type", "refresh_token");
                let token = shown.refresh_token.as_ref().unwrap_or(token);
                form.append_pair("refresh_token", token.expose_secret());
            }
            Grant::Password { username, password } => {
                form.append_pair("grant_type", "password");
                form.append_pair("username", username.expose_secret());
                form.append_pair("password", password.expose_secret());
            }
        }
        if let Some(scope) = self.scope.as_deref().filter(|scope| !scope.trim().is_empty()) {
            form.append_pair("scope", scope);
        }
        if let Some(claims) = &shown.claims {
            form.append_pair("claims", claims);
        }
        if let Some(assertion) = &shown.assertion {
            form.append_pair("client_id", self.client_id.expose_secret());
            form.append_pair(
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            );
            form.append_pair("client_assertion", assertion.expose_secret());
        } else if self.client_authentication == ClientAuthentication::Body {
            form.append_pair("client_id", self.client_id.expose_secret());
            if let Some(secret) = &self.client_secret {
                form.append_pair("client_secret", secret.expose_secret());
            }
        }
        form.extend_pairs(&self.extra);
        form.finish()
    }
}

impl std::fmt::Debug for TokenRequest {
    // Everything but the endpoint's host may hold a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenRequest")
            .field("host", &self.endpoint.host_str())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> TokenRequest {
        TokenRequest::client_credentials(
            Url::parse("https://login.example/token").unwrap(),
            "the client".into(),
            "s&cret".into(),
        )
    }

    fn body(request: &TokenRequest) -> String {
        String::from_utf8(request.to_http().unwrap().body.unwrap()).unwrap()
    }

    #[test]
    fn credentials_in_the_body_are_form_encoded() {
        let mut request = request();
        request.scope = Some("one two".into());
        request.audience = Audience::Value("aud".into());
        assert_eq!(
            body(&request),
            "audience=aud&grant_type=client_credentials&scope=one+two&client_id=the+client&client_secret=s%26cret"
        );
        assert!(!request.to_http().unwrap().headers.contains_key(AUTHORIZATION));
    }

    #[test]
    fn credentials_in_the_header_leave_the_body_and_a_bare_audience_has_no_equals_sign() {
        let mut request = request();
        request.client_authentication = ClientAuthentication::BasicHeader;
        request.audience = Audience::Bare;
        request.scope = Some("  ".into());
        assert_eq!(body(&request), "audience&grant_type=client_credentials");
        let header = &request.to_http().unwrap().headers[AUTHORIZATION];
        assert_eq!(header, "Basic dGhlIGNsaWVudDpzJmNyZXQ=");
        assert!(header.is_sensitive());
    }

    #[test]
    fn refresh_tokens_and_passwords_are_grants() {
        let mut request = request();
        request.grant = Grant::RefreshToken("old/token".into());
        request.client_secret = None;
        assert_eq!(
            body(&request),
            "grant_type=refresh_token&refresh_token=old%2Ftoken&client_id=the+client"
        );
        request.grant = Grant::Password {
            username: "me@example".into(),
            password: "p w".into(),
        };
        request.extra = vec![("resource".into(), "r".into())];
        assert_eq!(
            body(&request),
            "grant_type=password&username=me%40example&password=p+w&client_id=the+client&resource=r"
        );
    }

    #[test]
    fn every_field_counts_for_the_fingerprint() {
        type Change = fn(&mut TokenRequest);
        let changes: [Change; 10] = [
            |r| r.endpoint.set_path("/other"),
            |r| r.client_id = "x".into(),
            |r| r.client_secret = None,
            |r| r.client_authentication = ClientAuthentication::BasicHeader,
            |r| r.grant = Grant::RefreshToken("x".into()),
            |r| r.scope = Some("x".into()),
            |r| r.audience = Audience::Bare,
            |r| r.audience = Audience::Value("x".into()),
            |r| r.extra.push(("a".into(), "b".into())),
            |r| {
                r.tls = Some(ClientTls {
                    certificate: None,
                    private_key: None,
                    trusted: Some("x".into()),
                });
            },
        ];
        let mut seen = vec![request().fingerprint()];
        for change in changes {
            let mut changed = request();
            change(&mut changed);
            let fingerprint = changed.fingerprint();
            assert!(!seen.contains(&fingerprint));
            seen.push(fingerprint);
        }
        assert!(request().fingerprint() == seen[0]);
    }
}
