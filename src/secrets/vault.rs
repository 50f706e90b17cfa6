//! Secrets in HashiCorp Vault's KV store, version 2 (its HTTP API as of Vault 1.20).
//!
//! `{{secrets.NAME}}` is the field `NAME` of the entry at the configured path; `{{secrets.team/NAME}}` the field `NAME` of
//! the entry `team` below it. deskhand signs in with a token, an AppRole or its Kubernetes service account, renews what it
//! got after two thirds of its life, and signs in again when that does not work any more.

use std::time::Duration;

use futures_util::future::BoxFuture;
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;
use zeroize::Zeroizing;

use super::known::Known;
use super::provider::{Provider, ProviderError, SecretScope};
use super::redaction::Label;
use crate::http::{Answer, Client, Method, Request};

const PATIENCE: Duration = Duration::from_secs(10);
const LARGEST_ANSWER: usize = 4 * 1024 * 1024;
/// A token without an end is looked at again after this long.
const LONGEST_SESSION: Duration = Duration::from_secs(24 * 3600);

/// Where the store is, and how to sign in.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address, e.g. `https://vault.example.com:8200`.
    pub address: Url,
    /// Namespace (Enterprise, HCP).
    pub namespace: Option<String>,
    /// Mount of the KV engine, e.g. `secret`.
    pub mount: String,
    /// Path of the entry, or of the entries, below the mount.
    pub path: String,
    /// How to sign in.
    pub auth: Auth,
}

/// How to sign in.
#[derive(Clone, Debug)]
pub enum Auth {
    /// With a token that somebody else made.
    Token(SecretString),
    /// As an AppRole.
    AppRole {
        /// Mount of the auth method, usually `approle`.
        mount: String,
        /// The role's id.
        role_id: String,
        /// The role's secret id.
        secret_id: SecretString,
    },
    /// As a Kubernetes service account.
    Kubernetes {
        /// Mount of the auth method, usually `kubernetes`.
        mount: String,
        /// The role.
        role: String,
        /// File with the service account's token; read at each sign-in, since it rotates.
        token_file: std::path::PathBuf,
    },
}

/// Vault as a store of secrets.
pub struct Vault {
    client: Client,
    settings: Settings,
    known: Known,
    session: Mutex<Option<Session>>,
}

#[derive(Clone)]
struct Session {
    token: SecretString,
    renewable: bool,
    renew_at: Instant,
    ends_at: Instant,
}

impl Vault {
    /// A store; nothing is asked yet. Its tokens are remembered in `known`.
    pub fn new(client: Client, settings: Settings, known: Known) -> Self {
        Self {
            client,
            settings,
            known,
            session: Mutex::default(),
        }
    }

    /// The entry's path and the field of a name; `None` where no entry can have the name.
    fn place<'n>(&self, name: &'n str) -> Option<(String, &'n str)> {
        let (below, field) = name.rsplit_once('/').unwrap_or(("", name));
        let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(['\\', '\0']);
        if field.is_empty() || !(below.is_empty() || below.split('/').all(plain)) {
            return None;
        }
        let base = self.settings.path.trim_matches('/');
        let path = [base, below]
            .iter()
            .filter(|part| !part.is_empty())
            .copied()
            .collect::<Vec<_>>()
            .join("/");
        Some((path, field)).filter(|(path, _)| !path.is_empty())
    }

    fn url(&self, parts: &[&str]) -> Result<Url, ProviderError> {
        let mut url = self.settings.address.clone();
        url.path_segments_mut()
            .map_err(|()| failed("its address is no URL with a path"))?
            .pop_if_empty()
            .push("v1")
            .extend(parts.iter().flat_map(|part| part.trim_matches('/').split('/')));
        Ok(url)
    }

    async fn send(
        &self,
        method: Method,
        parts: &[&str],
        token: Option<&SecretString>,
        body: Option<Zeroizing<String>>,
    ) -> Result<Answer, ProviderError> {
        let mut request = Request::new(method, self.url(parts)?);
        request.total_timeout = Some(PATIENCE);
        request.max_answer_bytes = LARGEST_ANSWER;
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(token.expose_secret())
                .map_err(|_| failed("its token holds characters that cannot stand in a header"))?;
            value.set_sensitive(true);
            request.headers.insert(HeaderName::from_static("x-vault-token"), value);
        }
        if let Some(namespace) = &self.settings.namespace {
            let value = HeaderValue::from_str(namespace).map_err(|_| failed("its namespace is no header text"))?;
            request
                .headers
                .insert(HeaderName::from_static("x-vault-namespace"), value);
        }
        request
            .headers
            .insert("x-vault-request", HeaderValue::from_static("true"));
        if let Some(body) = body {
            request
                .headers
                .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            request.body = Some(body.as_bytes().to_vec());
        }
        self.client
            .send(request)
            .await
            .map_err(|error| failed(error.to_string()))
    }

    /// A token that works, as far as is known.
    async fn token(&self) -> Result<SecretString, ProviderError> {
        let mut session = self.session.lock().await;
        let now = Instant::now();
        if let Some(current) = session.clone().filter(|one| now < one.ends_at) {
            if now < current.renew_at {
                return Ok(current.token);
            }
            if current.renewable
                && let Ok(renewed) = self.renew(&current).await
            {
                return Ok(session.insert(renewed).token.clone());
            }
        }
        let fresh = self.sign_in().await?;
        self.known.remember(&Label::Setting("vault token".into()), &fresh.token);
        Ok(session.insert(fresh).token.clone())
    }

    async fn renew(&self, current: &Session) -> Result<Session, ProviderError> {
        let parts = ["auth", "token", "renew-self"];
        let answer = self
            .send(
                Method::POST,
                &parts,
                Some(&current.token),
                Some(Zeroizing::new("{}".into())),
            )
            .await?;
        let body = read(&answer, "renewing its token")?;
        session(&body["auth"]).ok_or_else(|| failed("renewing its token gave none"))
    }

    async fn sign_in(&self) -> Result<Session, ProviderError> {
        let (mount, body) = match &self.settings.auth {
            Auth::Token(token) => return self.look_up(token).await,
            Auth::AppRole {
                mount,
                role_id,
                secret_id,
            } => (
                mount,
                json!({"role_id": role_id, "secret_id": secret_id.expose_secret()}),
            ),
            Auth::Kubernetes {
                mount,
                role,
                token_file,
            } => {
                let jwt = tokio::fs::read_to_string(token_file)
                    .await
                    .map_err(|error| failed(format!("{} cannot be read ({})", token_file.display(), error.kind())))?;
                (mount, json!({"role": role, "jwt": jwt.trim()}))
            }
        };
        let body = Zeroizing::new(body.to_string());
        let answer = self
            .send(Method::POST, &["auth", mount, "login"], None, Some(body))
            .await?;
        let body = read(&answer, "signing in")?;
        session(&body["auth"]).ok_or_else(|| failed("signing in gave no token"))
    }

    /// A given token says itself how long it lives.
    async fn look_up(&self, token: &SecretString) -> Result<Session, ProviderError> {
        let answer = self
            .send(Method::GET, &["auth", "token", "lookup-self"], Some(token), None)
            .await?;
        let body = read(&answer, "looking at its token")?;
        let data = &body["data"];
        Ok(Session::new(
            token.clone(),
            data["ttl"].as_u64().unwrap_or(0),
            data["renewable"].as_bool().unwrap_or(false),
        ))
    }

    async fn fetch(&self, name: &str) -> Result<Option<SecretString>, ProviderError> {
        let Some((path, field)) = self.place(name) else {
            return Ok(None);
        };
        let parts = [self.settings.mount.as_str(), "data", path.as_str()];
        let token = self.token().await?;
        let mut answer = self.send(Method::GET, &parts, Some(&token), None).await?;
        if answer.status == 403 {
            // The token may have been revoked; a fresh one that may not read either is an answer.
            *self.session.lock().await = None;
            let token = self.token().await?;
            answer = self.send(Method::GET, &parts, Some(&token), None).await?;
        }
        if answer.status == 404 {
            return Ok(None);
        }
        let body = read(&answer, "reading")?;
        let data = body
            .get("data")
            .and_then(|data| data.get("data"))
            .ok_or_else(|| failed("its answer is not that of a KV store of version 2: is the mount right?"))?;
        match data.get(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str().into())),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(Some(value.to_string().into())),
            Some(_) => Err(failed(format!("the field {field} is no text"))),
        }
    }
}

impl Session {
    fn new(token: SecretString, seconds: u64, renewable: bool) -> Self {
        let life = match seconds {
            0 => LONGEST_SESSION,
            seconds => Duration::from_secs(seconds).min(LONGEST_SESSION),
        };
        let now = Instant::now();
        Self {
            token,
            renewable,
            renew_at: now + life * 2 / 3,
            ends_at: now + life,
        }
    }
}

fn session(auth: &Value) -> Option<Session> {
    let token = auth.get("client_token")?.as_str().filter(|token| !token.is_empty())?;
    Some(Session::new(
        token.into(),
        auth["lease_duration"].as_u64().unwrap_or(0),
        auth["renewable"].as_bool().unwrap_or(false),
    ))
}

/// The body of an answer that is none of a refusal.
fn read(answer: &Answer, doing: &str) -> Result<Value, ProviderError> {
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    if (200..300).contains(&answer.status) {
        return body.ok_or_else(|| failed(format!("{doing} was answered with no JSON")));
    }
    let said = body
        .as_ref()
        .and_then(|body| body["errors"][0].as_str())
        .map(|text| format!(": {}", text.chars().take(200).collect::<String>()))
        .unwrap_or_default();
    let hint = match answer.status {
        403 => "; does a policy of this token allow it?",
        503 => "; Vault is sealed or in standby",
        _ => "",
    };
    Err(failed(format!(
        "{doing} was refused with {}{said}{hint}",
        answer.status
    )))
}

fn failed(what: impl std::fmt::Display) -> ProviderError {
    ProviderError(format!("Vault cannot be used: {what}"))
}

impl Provider for Vault {
    fn kind(&self) -> &'static str {
        "vault"
    }

    fn wanted(&self, name: &str, _scope: &SecretScope<'_>) -> String {
        match self.place(name) {
            Some((path, field)) => format!("the field {field} of Vault's entry {}/{path}", self.settings.mount),
            None => "nothing in Vault, where no entry can have this name".into(),
        }
    }

    fn get<'a>(
        &'a self,
        name: &'a str,
        _scope: &'a SecretScope<'a>,
    ) -> BoxFuture<'a, Result<Option<SecretString>, ProviderError>> {
        Box::pin(self.fetch(name))
    }
}
