//! Secrets in Azure Key Vault (REST API 7.4).
//!
//! `{{secrets.MY_NAME}}` is the secret `MY-NAME` (Key Vault's names have hyphens and no underscores),
//! `{{secrets.MY_NAME/VERSION}}` one of its versions.

use std::time::Duration;

use futures_util::future::BoxFuture;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;
use zeroize::Zeroizing;

use super::provider::{Provider, ProviderError, SecretScope};
use crate::http::{Answer, Client, Method, Request};

const PATIENCE: Duration = Duration::from_secs(10);
const LARGEST_ANSWER: usize = 1024 * 1024;

/// Where it is, and who reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Address, e.g. `https://my-vault.vault.azure.net`.
    pub url: Url,
    /// Name of the identity.
    pub identity: String,
}

type Sign = dyn Fn(Url, String) -> BoxFuture<'static, Result<SecretString, String>> + Send + Sync;

/// Key Vault as a store of secrets.
pub struct KeyVault {
    client: Client,
    settings: Settings,
    sign: Box<Sign>,
}

impl KeyVault {
    /// A store; `sign` gives a token of an identity (its name) for an address.
    pub fn new(
        client: Client,
        settings: Settings,
        sign: impl Fn(Url, String) -> BoxFuture<'static, Result<SecretString, String>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            client,
            settings,
            sign: Box::new(sign),
        }
    }

    /// Name and version in the store; `None` where no secret can have the name.
    fn place(name: &str) -> Option<(String, &str)> {
        let (name, version) = name.split_once('/').unwrap_or((name, ""));
        let name = name.replace('_', "-");
        let plain =
            |text: &str| text.len() <= 127 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        (!name.is_empty() && plain(&name) && plain(version)).then_some((name, version))
    }

    async fn fetch(&self, name: &str) -> Result<Option<SecretString>, ProviderError> {
        let Some((name, version)) = Self::place(name) else {
            return Ok(None);
        };
        let mut url = self.settings.url.clone();
        url.path_segments_mut()
            .map_err(|()| failed("its address is no URL with a path"))?
            .pop_if_empty()
            .extend(["secrets", &name])
            .extend(Some(version).filter(|version| !version.is_empty()));
        url.set_query(Some("api-version=7.4"));
        let token = (self.sign)(self.audience(), self.settings.identity.clone())
            .await
            .map_err(failed)?;
        let mut bearer = HeaderValue::try_from(Zeroizing::new(format!("Bearer {}", token.expose_secret())).as_str())
            .map_err(|_| failed("its token cannot stand in a header"))?;
        bearer.set_sensitive(true);
        let mut request = Request::new(Method::GET, url);
        request.total_timeout = Some(PATIENCE);
        request.max_answer_bytes = LARGEST_ANSWER;
        request.headers.insert(AUTHORIZATION, bearer);
        let answer = self.client.send(request).await.map_err(failed)?;
        read(&answer)
    }

    /// Tokens are for the service, not for one vault: `my-vault.vault.azure.net` → `vault.azure.net`.
    fn audience(&self) -> Url {
        let host = self.settings.url.host_str().unwrap_or_default();
        let service = [".vault.azure.net", ".vault.azure.cn", ".vault.usgovcloudapi.net"]
            .iter()
            .find(|service| host.ends_with(**service))
            .map(|service| format!("https://{}/", &service[1..]));
        service
            .and_then(|text| Url::parse(&text).ok())
            .unwrap_or_else(|| self.settings.url.clone())
    }
}

fn read(answer: &Answer) -> Result<Option<SecretString>, ProviderError> {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let code = body["error"]["code"].as_str().unwrap_or_default();
    match answer.status {
        200 => match body["value"].as_str() {
            Some(value) => Ok(Some(value.into())),
            None => Err(failed("it answered without a value")),
        },
        404 if code == "SecretNotFound" => Ok(None),
        // A disabled or expired secret is refused, too; the inner code says so.
        status => {
            let inner = body["error"]["innererror"]["code"].as_str().unwrap_or_default();
            let hint = match (status, inner) {
                (_, "SecretDisabled") => "; the secret is disabled",
                (401, _) => "; is the identity one of the vault's tenant?",
                (403, _) => "; give the identity the role Key Vault Secrets User, and let this machine's address in",
                _ => "",
            };
            Err(failed(format!("it refused with {status} {code}{hint}")))
        }
    }
}

fn failed(what: impl std::fmt::Display) -> ProviderError {
    ProviderError(format!("Key Vault cannot be used: {what}"))
}

impl Provider for KeyVault {
    fn kind(&self) -> &'static str {
        "azure-key-vault"
    }

    fn wanted(&self, name: &str, _scope: &SecretScope<'_>) -> String {
        match Self::place(name) {
            Some((name, _)) => format!(
                "the secret {name} of {}",
                self.settings.url.host_str().unwrap_or_default()
            ),
            None => "nothing in Key Vault, where no secret can have this name".into(),
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
