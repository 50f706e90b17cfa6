//! Tokens that are kept: a [`TokenRequest`] goes in, a token comes out, from memory where one still lives.
//!
//! All who want the same token at the same time share one fetch. A token is kept only when its endpoint said for how
//! long it lives.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::{BoxFuture, FutureExt, Shared};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::time::Instant;

use super::super::fingerprint::Fingerprint;
use super::super::{Answer, Client, Error};
use super::challenge::claims;
use super::request::Shown;
use super::{Grant, TokenError, TokenFault, TokenRequest};
use crate::metrics::metrics;
use crate::secrets::Known;
use crate::secrets::redaction::Label;

/// Tokens that are kept at most. When there are more, those that were unused for longest go.
const KEPT: usize = 1000;
/// A token is never handed out in the last moments of its life: it must still live when it arrives. Of a short life these
/// are a quarter.
const LAST_MOMENTS: Duration = Duration::from_secs(10);
/// After a failed refresh of a token that still lives, its endpoint is left alone for this long.
const REFRESH_PAUSE: Duration = Duration::from_secs(15);
/// How long a credential rests after its endpoint said that it is asked in a loop (AADSTS50196).
const LOOP_PAUSE: Duration = Duration::from_secs(600);
/// No endpoint makes a credential rest for longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// A token that was asked for.
#[derive(Clone)]
pub struct Fetched {
    /// The token.
    pub token: SecretString,
    /// Was it there already, or on its way for somebody else?
    pub from_cache: bool,
    /// How long it lives, counted from when it was fetched.
    pub lifetime: Option<Duration>,
}

/// Fetches tokens and keeps them. Share one for the whole process.
pub struct Tokens {
    client: Client,
    known: Known,
    slots: Arc<Mutex<HashMap<Fingerprint, Slot>>>,
}

#[derive(Default)]
struct Slot {
    kept: Option<Kept>,
    /// The refresh token that replaced the request's own.
    refreshed: Option<SecretString>,
    flight: Option<Flight>,
    /// What an API wants the next token to be asked for with.
    claims: Option<String>,
    /// The endpoint wants to be left alone until then, and what it said.
    paused: Option<(Instant, TokenError)>,
    last_used: Option<Instant>,
}

#[derive(Clone)]
struct Kept {
    token: SecretString,
    lifetime: Duration,
    refresh_at: Instant,
    ends_at: Instant,
}

type Flight = Shared<BoxFuture<'static, Result<Fetched, TokenError>>>;

impl Tokens {
    /// An empty cache.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            known: Known::default(),
            slots: Arc::default(),
        }
    }

    /// The same, with every token remembered there, so that no text shows it.
    #[must_use]
    pub fn remembering(mut self, known: Known) -> Self {
        self.known = known;
        self
    }

    /// The token that this request stands for: kept, shared or fetched.
    ///
    /// # Errors
    /// [`TokenError`] when the endpoint gave none and no kept one lives. Everybody who waited for the same fetch gets
    /// the same error.
    pub async fn get(&self, request: &TokenRequest) -> Result<Fetched, TokenError> {
        let key = request.fingerprint();
        let now = Instant::now();
        let (flight, joined, fallback) = {
            let mut slots = lock(&self.slots);
            if slots.len() >= KEPT && !slots.contains_key(&key) {
                make_room(&mut slots, now);
            }
            let slot = slots.entry(key).or_default();
            slot.last_used = Some(now);
            let fallback = slot.kept.clone().filter(|kept| now < kept.ends_at);
            if let Some(kept) = &fallback
                && now < kept.refresh_at
            {
                return Ok(kept.hand_out());
            }
            if let Some((until, error)) = slot.paused.as_ref().filter(|(until, _)| now < *until) {
                return match fallback {
                    Some(kept) => Ok(kept.hand_out()),
                    None => Err(error.clone().after(*until - now)),
                };
            }
            let joined = slot.flight.is_some();
            let claims = slot.claims.take_if(|_| !joined);
            let flight = slot
                .flight
                .get_or_insert_with(|| self.take_off(key, request.clone(), claims))
                .clone();
            (flight, joined, fallback)
        };
        match (flight.await, fallback) {
            (Ok(fetched), _) => Ok(Fetched {
                from_cache: joined,
                ..fetched
            }),
            (Err(error), Some(kept)) if error.is_retryable() && Instant::now() < kept.ends_at => Ok(kept.hand_out()),
            (Err(error), _) => Err(error),
        }
    }

    /// Drops the token of this request: the next one is fetched.
    pub fn forget(&self, request: &TokenRequest) {
        if let Some(slot) = lock(&self.slots).get_mut(&request.fingerprint()) {
            slot.kept = None;
        }
    }

    /// Drops the token of this request if it is still the one that an API refused; another job may have had a new one
    /// fetched meanwhile. Where the API's answer is a claims challenge (continuous access evaluation), the next token is
    /// asked for with those claims, and this is true: the same request may work with it.
    pub fn refused(&self, request: &TokenRequest, token: &SecretString, answer: &Answer) -> bool {
        let claims = claims(answer);
        let challenged = claims.is_some();
        if let Some(slot) = lock(&self.slots).get_mut(&request.fingerprint()) {
            let same = |kept: &mut Kept| kept.token.expose_secret() == token.expose_secret();
            if slot.kept.take_if(same).is_some() || slot.kept.is_none() {
                slot.claims = claims;
            }
        }
        challenged
    }

    /// Starts a fetch that goes on even when nobody waits for it any more: its result is kept for the next.
    fn take_off(&self, key: Fingerprint, request: TokenRequest, claims: Option<String>) -> Flight {
        let client = self.client.clone();
        let slots = Arc::clone(&self.slots);
        let host = request.endpoint.host_str().unwrap_or_default().to_owned();
        let known = self.known.clone();
        let fetching = tokio::spawn(async move {
            let refreshed = lock(&slots).get(&key).and_then(|slot| slot.refreshed.clone());
            let (fetched, refreshed) = match fetch(&client, &known, &request, refreshed, claims).await {
                Ok((fetched, refreshed)) => (Ok(fetched), refreshed),
                Err(error) => (Err(error), None),
            };
            let result = if fetched.is_ok() { "fetched" } else { "failed" };
            metrics().token_fetched(request.endpoint.host_str().unwrap_or_default(), result);
            if let Some(token) = &refreshed {
                known.remember(
                    &Label::Token(request.endpoint.host_str().unwrap_or_default().into()),
                    token,
                );
            }
            if let Ok(fetched) = &fetched {
                let host = request.endpoint.host_str().unwrap_or_default();
                known.remember(&Label::Token(host.into()), &fetched.token);
            }
            let now = Instant::now();
            let mut slots = lock(&slots);
            if let Some(slot) = slots.get_mut(&key) {
                slot.flight = None;
                slot.refreshed = refreshed.or(slot.refreshed.take());
                slot.paused = fetched.as_ref().err().and_then(|error| pause(error, now));
                match &fetched {
                    Ok(fetched) => slot.kept = Kept::new(fetched, now),
                    Err(error) if error.is_retryable() => {
                        if let Some(kept) = &mut slot.kept {
                            kept.refresh_at = now + REFRESH_PAUSE;
                        }
                    }
                    Err(_) => {
                        slot.kept = None;
                        slot.refreshed = None;
                    }
                }
            }
            fetched
        });
        let slots = Arc::clone(&self.slots);
        async move {
            fetching.await.unwrap_or_else(|_| {
                // It panicked before it could leave the slot.
                if let Some(slot) = lock(&slots).get_mut(&key) {
                    slot.flight = None;
                }
                Err(TokenError::new(&host, TokenFault::Died))
            })
        }
        .boxed()
        .shared()
    }
}

impl Kept {
    /// What is kept of a token; nothing if its life is unknown.
    fn new(fetched: &Fetched, now: Instant) -> Option<Self> {
        let lifetime = fetched.lifetime?;
        let last_moments = LAST_MOMENTS.min(lifetime / 4);
        let early = (lifetime / 10).min(Duration::from_secs(300)).max(last_moments);
        Some(Self {
            token: fetched.token.clone(),
            lifetime,
            refresh_at: now + (lifetime - early),
            ends_at: now + (lifetime - last_moments),
        })
    }

    fn hand_out(&self) -> Fetched {
        Fetched {
            token: self.token.clone(),
            from_cache: true,
            lifetime: Some(self.lifetime),
        }
    }
}

fn lock(slots: &Mutex<HashMap<Fingerprint, Slot>>) -> MutexGuard<'_, HashMap<Fingerprint, Slot>> {
    // Every change under the lock is whole before the next can panic.
    slots.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Until when a credential rests after this error: as long as the endpoint asked for, and for long after a loop, so that a
/// queue of jobs does not become a storm of questions.
fn pause(error: &TokenError, now: Instant) -> Option<(Instant, TokenError)> {
    let asked = error.retry_after().filter(|_| error.is_retryable());
    let wait = match error.is_loop() {
        true => {
            tracing::error!(
                host = error.host,
                "the sign-in service says that this credential asks in a loop (AADSTS50196): it rests for {} s",
                LOOP_PAUSE.as_secs()
            );
            LOOP_PAUSE.max(asked.unwrap_or_default())
        }
        false => asked?,
    };
    Some((now + wait.min(LONGEST_PAUSE), error.clone()))
}

/// Drops what ended; if that was little, also the tenth that was unused for longest, so that the sorting is rare.
fn make_room(slots: &mut HashMap<Fingerprint, Slot>, now: Instant) {
    slots.retain(|_, slot| {
        let lives = slot.kept.as_ref().is_some_and(|kept| now < kept.ends_at);
        let paused = slot.paused.as_ref().is_some_and(|(until, _)| now < *until);
        lives || paused || slot.flight.is_some() || slot.refreshed.is_some()
    });
    if slots.len() <= KEPT - KEPT / 10 {
        return;
    }
    let mut used: Vec<_> = slots.values().map(|slot| slot.last_used).collect();
    let (_, threshold, _) = used.select_nth_unstable(KEPT / 10);
    let threshold = *threshold;
    slots.retain(|_, slot| slot.last_used > threshold);
}

/// The token, and the refresh token that replaces the one that was used.
async fn fetch(
    client: &Client,
    known: &Known,
    request: &TokenRequest,
    refreshed: Option<SecretString>,
    claims: Option<String>,
) -> Result<(Fetched, Option<SecretString>), TokenError> {
    let host = request.endpoint.host_str().unwrap_or_default();
    let unreached = |error| TokenError::new(host, TokenFault::Unreached(error));
    let invalid = |text: String| unreached(Error::Invalid(text));
    let answer = if let Grant::Managed(identity) = &request.grant {
        identity.ask(request.scope.as_deref().unwrap_or_default()).await
    } else {
        let assertion = match &request.assertion {
            None => None,
            Some(assertion) => {
                let made = assertion.make(&request.endpoint, request.client_id.expose_secret());
                let made = made.await.map_err(unreached)?;
                // An endpoint may repeat what it was shown.
                known.remember(&Label::Token(host.into()), &made);
                Some(made)
            }
        };
        let kept = match &request.rotated_to {
            None => None,
            Some(file) => file.read().map_err(|error| {
                invalid(format!(
                    "The file {} with the refresh token cannot be read ({error}).",
                    file.0.display()
                ))
            })?,
        };
        let http = request
            .to_http_showing(&Shown {
                assertion,
                refresh_token: kept.or(refreshed),
                claims,
            })
            .map_err(unreached)?;
        client.send(http).await
    };
    let answer = answer.map_err(unreached)?;
    let body: Option<Value> = (answer.status < 400)
        .then(|| serde_json::from_slice(&answer.body).ok())
        .flatten();
    let text = |name: &str| {
        let value = body.as_ref().and_then(|body| first(body, name))?.as_str()?;
        Some(value).filter(|text| !text.is_empty())
    };
    let Some(token) = text("access_token") else {
        return Err(TokenError::from_answer(host, answer));
    };
    let number = |name: &str| body.as_ref().and_then(|body| first(body, name)).and_then(seconds);
    let lifetime = number("expires_in").or_else(|| {
        // Managed identities of App Service say when, not for how long.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
        let at = body.as_ref().and_then(|body| first(body, "expires_on"))?;
        let at: u64 = at.as_u64().or_else(|| at.as_str()?.parse().ok())?;
        Some(at.saturating_sub(now).min(365 * 24 * 3600))
    });
    let fetched = Fetched {
        token: token.into(),
        from_cache: false,
        lifetime: lifetime.map(Duration::from_secs),
    };
    let refreshed = match &request.grant {
        Grant::RefreshToken(_) => text("refresh_token").map(SecretString::from),
        _ => None,
    };
    if let (Some(file), Some(token)) = (&request.rotated_to, &refreshed)
        && let Err(error) = file.write(token)
    {
        tracing::error!(file = %file.0.display(), %error, "the new refresh token cannot be stored: after a restart, somebody must sign in again");
    }
    Ok((fetched, refreshed))
}

/// The first field of this name anywhere in the value: an object's own before those of its children. Its depth is
/// bounded by the JSON parser's.
fn first<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Object(fields) => fields
            .get(name)
            .or_else(|| fields.values().find_map(|child| first(child, name))),
        Value::Array(elements) => elements.iter().find_map(|child| first(child, name)),
        _ => None,
    }
}

/// A number of seconds. Some endpoints (Entra v1, managed identities) write it as a text. A year is enough for anybody
/// and keeps the clock from overflowing.
fn seconds(value: &Value) -> Option<u64> {
    let seconds = match value {
        Value::Number(number) => number
            .as_u64()
            .or_else(|| number.as_f64().filter(|n| *n >= 0.0).map(|n| n as u64)),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    seconds.map(|seconds| seconds.min(365 * 24 * 3600))
}
