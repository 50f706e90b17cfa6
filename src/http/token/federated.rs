//! Tokens of another identity provider, shown in place of a secret (workload identity federation): the provider puts them
//! into a file or gives them at a URL. They rotate, so each question reads or asks anew.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::BoxFuture;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;
use zeroize::Zeroizing;

use super::super::{Answer, Client, Error, Fingerprint, Method, Request};
use super::assertion::{Assertion, LARGEST, read};

/// How long a file may take to be read: it may be on another machine.
const FILE_PATIENCE: Duration = Duration::from_secs(5);
/// How long a URL may take to answer, in all.
const URL_PATIENCE: Duration = Duration::from_secs(10);
/// Where a provider's JSON has the token: GitHub's and GitLab's runners, SPIFFE sidecars, OAuth endpoints.
const FIELDS: [&str; 5] = ["value", "token", "id_token", "svid", "access_token"];

/// A token in a file.
pub struct FederatedFile(pub PathBuf);

impl Assertion for FederatedFile {
    fn make<'a>(&'a self, _: &'a Url, _: &'a str) -> BoxFuture<'a, Result<SecretString, Error>> {
        Box::pin(async move {
            let path = self.0.clone();
            let shown = path.display().to_string();
            let reading = tokio::task::spawn_blocking(move || read(&path));
            let bytes = match tokio::time::timeout(FILE_PATIENCE, reading).await {
                Ok(Ok(read)) => read.map_err(Error::Invalid)?,
                Ok(Err(error)) => return Err(Error::Invalid(error.to_string())),
                Err(_) => {
                    let seconds = FILE_PATIENCE.as_secs();
                    return Err(Error::Connect(format!(
                        "{shown} cannot be read: no answer within {seconds} s."
                    )));
                }
            };
            let token = std::str::from_utf8(&bytes).unwrap_or_default().trim();
            if token.is_empty() {
                return Err(Error::Invalid(format!(
                    "{shown} is empty or no text: it holds no federated token."
                )));
            }
            Ok(token.into())
        })
    }

    fn source(&self) -> String {
        format!("file {}", self.0.display())
    }
}

/// A token at a URL: GitHub's `ACTIONS_ID_TOKEN_REQUEST_URL`, or a sidecar.
pub struct FederatedUrl {
    /// Asked with GET; redirects are not followed.
    pub url: Url,
    /// What is shown there, as `Authorization: Bearer`.
    pub bearer: Option<SecretString>,
}

impl FederatedUrl {
    async fn ask(&self) -> Result<SecretString, Error> {
        let mut request = Request::new(Method::GET, self.url.clone());
        request.total_timeout = Some(URL_PATIENCE);
        request.connect_timeout = Some(URL_PATIENCE / 2);
        request.max_answer_bytes = usize::try_from(LARGEST).unwrap_or(usize::MAX);
        request.headers.insert(
            ACCEPT,
            HeaderValue::from_static("application/json, application/jwt, text/plain"),
        );
        if let Some(bearer) = &self.bearer {
            let text = Zeroizing::new(format!("Bearer {}", bearer.expose_secret()));
            let mut value = HeaderValue::from_str(&text)
                .map_err(|_| Error::Invalid("`federated_token_bearer` cannot stand in a header.".into()))?;
            value.set_sensitive(true);
            request.headers.insert(AUTHORIZATION, value);
        }
        let host = self.url.host_str().unwrap_or_default();
        let answer = Client::new()?.send(request).await.map_err(|error| match error {
            Error::Invalid(_) => error,
            error => Error::Connect(format!("No federated token from {host}: {error}")),
        })?;
        match answer.status {
            200 => token(&answer).ok_or_else(|| {
                Error::Invalid(format!(
                    "{host} answered without a federated token: it must be the whole answer, or stand in one of the fields {}.",
                    FIELDS.join(", ")
                ))
            }),
            status @ (408 | 425 | 429 | 500..) => {
                Err(Error::Connect(format!("No federated token from {host}: it answered {status}.")))
            }
            status => Err(Error::Invalid(format!(
                "No federated token from {host}: it answered {status}. Are `federated_token_url` and \
                 `federated_token_bearer` right?"
            ))),
        }
    }
}

/// The token in an answer: a field of its JSON, or all of it.
fn token(answer: &Answer) -> Option<SecretString> {
    let json = serde_json::from_slice::<Value>(&answer.body);
    let token = match &json {
        Ok(Value::Object(fields)) => FIELDS.iter().find_map(|name| fields.get(*name)?.as_str()),
        Ok(Value::String(text)) => Some(text.as_str()),
        _ => std::str::from_utf8(&answer.body).ok(),
    }?;
    let token = token.trim();
    // A JWT: three parts without blanks. A page of a proxy is none, and is not sent on.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'=' | b'.');
    (token.bytes().filter(|byte| *byte == b'.').count() == 2 && token.bytes().all(plain)).then(|| token.into())
}

impl Assertion for FederatedUrl {
    fn make<'a>(&'a self, _: &'a Url, _: &'a str) -> BoxFuture<'a, Result<SecretString, Error>> {
        Box::pin(self.ask())
    }

    fn source(&self) -> String {
        let bearer = self.bearer.as_ref().map(|bearer| bearer.expose_secret());
        // The URL may hold a key of its own.
        let fingerprint = Fingerprint::of([Some(self.url.as_str()), bearer]);
        format!("url {fingerprint}")
    }
}
