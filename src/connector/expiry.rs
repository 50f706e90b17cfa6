//! Credentials that end: the identities go in, and for each certificate, client secret and refresh token comes out when it
//! ends, as a number for operations and in time as a line in the log.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::identity::{Identities, Settings, SignIn};
use crate::http::token::Certificate;
use crate::metrics::metrics;
use crate::microsoft::entra;

/// How often is looked.
const EVERY: Duration = Duration::from_secs(3600);
/// From so many days on, an end is announced, once for each day.
const ANNOUNCED: i64 = 30;
/// What the engine's certificate is called among the identities.
const ENGINE: &str = "engine";

/// A credential and its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The identity's name.
    pub identity: String,
    /// What ends: `certificate`, `client secret`, `refresh token`.
    pub credential: &'static str,
    /// When; or why the credential cannot be used at all.
    pub ends: Result<Timestamp, String>,
}

impl Ending {
    /// Whole days that are left; none when it has ended.
    pub fn days(&self, now: Timestamp) -> Option<i64> {
        let left = self.ends.as_ref().ok()?.duration_since(now);
        (left > SignedDuration::ZERO).then(|| left.as_hours() / 24)
    }
}

/// Looks now and every hour, for ever.
pub async fn watch(identities: Arc<Identities>, engine: Option<Certificate>) {
    let mut announced = Announced::default();
    loop {
        let mut endings = identities.endings().await;
        if let Some(certificate) = &engine {
            endings.push(of_certificate(ENGINE, certificate.clone()).await);
        }
        for ending in &endings {
            if let Ok(ends) = &ending.ends {
                metrics().credential_ends(&ending.identity, ending.credential, ends.as_second());
            }
            announced.tell(ending, Timestamp::now());
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// What was said last of each credential: each is said once.
#[derive(Default)]
pub struct Announced(HashMap<(String, &'static str), String>);

impl Announced {
    /// Says to the log what is to be said; gives it, too.
    pub fn tell(&mut self, ending: &Ending, now: Timestamp) -> Option<String> {
        let Ending {
            identity,
            credential,
            ends,
        } = ending;
        let days = ending.days(now);
        let text = match (ends, days) {
            (Err(error), _) => format!("credential cannot be used: {error}"),
            (Ok(ends), None) => format!("credential has expired at {ends}"),
            (Ok(_), Some(days)) if days < ANNOUNCED => format!("credential expires in {days} days"),
            (Ok(_), Some(_)) => return None,
        };
        let before = self.0.insert((identity.clone(), credential), text.clone());
        if before.as_ref() == Some(&text) {
            return None;
        }
        match days {
            Some(days) => tracing::warn!(identity, credential, days, "{text}"),
            None => tracing::error!(identity, credential, "{text}"),
        }
        Some(text)
    }
}

impl Identities {
    /// The end of every credential of which one is known.
    pub async fn endings(&self) -> Vec<Ending> {
        let mut endings = Vec::new();
        for identity in self.all() {
            endings.extend(self.ending(identity).await);
        }
        endings
    }

    /// The end of an identity's credential, if one is known.
    pub async fn ending(&self, identity: &Settings) -> Option<Ending> {
        let name = identity.name.as_str();
        let configured = |credential| {
            identity.expires.map(|ends| Ending {
                identity: name.to_owned(),
                credential,
                ends: Ok(ends),
            })
        };
        match &identity.sign_in {
            SignIn::Certificate { certificate, password } => {
                let certificate = match password {
                    None => certificate.clone(),
                    Some(password) => match self.text_for_operations(password).await {
                        Ok(password) => certificate.clone().with_password(password),
                        // The store is away, or has no such secret: whoever signs in will hear of it.
                        Err(_) => return None,
                    },
                };
                Some(of_certificate(name, certificate).await)
            }
            SignIn::Secret { .. } => configured("client secret"),
            SignIn::RefreshToken { file, .. } => {
                let credential = "refresh token";
                let rotated = file.as_ref().and_then(|file| file.written());
                let entra = identity.endpoint.host_str().is_some_and(entra::is_authority);
                let known = rotated.filter(|_| entra).map(|written| Ending {
                    identity: name.to_owned(),
                    credential,
                    ends: Ok(written + entra::REFRESH_TOKENS_LIVE),
                });
                configured(credential).or(known)
            }
            SignIn::Password { .. }
            | SignIn::FederatedFile(_)
            | SignIn::FederatedUrl { .. }
            | SignIn::Managed(_)
            | SignIn::Bearer(_) => None,
        }
    }
}

async fn of_certificate(identity: &str, certificate: Certificate) -> Ending {
    let reading = tokio::task::spawn_blocking(move || certificate.ends());
    Ending {
        identity: identity.to_owned(),
        credential: "certificate",
        ends: reading.await.unwrap_or_else(|error| Err(error.to_string())),
    }
}
