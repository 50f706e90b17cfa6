//! The diagrams that the engine itself has: the key of a job's process definition goes in, what that version declares comes
//! out, asked of the engine's REST API (8.8 and newer, with secondary storage; `GET
//! /v2/process-definitions/{processDefinitionKey}/xml`).
//!
//! A definition never changes, so it is asked for once and kept. All who want the same one wait for one question. What
//! cannot be had is not guessed: the job waits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use url::Url;

use super::declared::Declared;
use crate::http::{Answer, Client, ClientTls, Method, Request};
use crate::secrets::provider::ProviderError;

/// Definitions that are kept at most.
const MOST: usize = 1_000;
/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a failure counts before the engine is asked for the same definition again.
const PAUSE: Duration = Duration::from_secs(2);
/// Bytes of one diagram.
const LARGEST: usize = 16 * 1024 * 1024;

type Credentials = dyn Fn() -> BoxFuture<'static, Result<Option<SecretString>, String>> + Send + Sync;

/// The engine's process definitions.
pub struct Definitions {
    client: Client,
    address: Url,
    tls: Option<ClientTls>,
    credentials: Box<Credentials>,
    slots: Mutex<HashMap<i64, Arc<tokio::sync::Mutex<Slot>>>>,
}

#[derive(Default)]
struct Slot {
    kept: Option<Arc<Declared>>,
    failed: Option<(String, Instant)>,
}

impl Definitions {
    /// Those behind this address, e.g. `http://localhost:8080`; nothing is asked yet. `credentials` gives the value of the
    /// `Authorization` header, if the engine wants one.
    pub fn new(
        client: Client,
        address: Url,
        tls: Option<ClientTls>,
        credentials: impl Fn() -> BoxFuture<'static, Result<Option<SecretString>, String>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            client,
            address,
            tls,
            credentials: Box::new(credentials),
            slots: Mutex::default(),
        }
    }

    /// Host of the engine.
    pub fn host(&self) -> &str {
        self.address.host_str().unwrap_or_default()
    }

    /// What this version of a process declares.
    pub(super) async fn of(&self, key: i64) -> Result<Arc<Declared>, ProviderError> {
        let slot = self.slot(key);
        let mut slot = slot.lock().await;
        if let Some(declared) = &slot.kept {
            return Ok(declared.clone());
        }
        if let Some((error, _)) = slot.failed.as_ref().filter(|(_, since)| since.elapsed() < PAUSE) {
            return Err(self.unreadable(key, error));
        }
        match self.ask(key).await {
            Ok(declared) => Ok(slot.kept.insert(Arc::new(declared)).clone()),
            Err(error) => {
                slot.failed = Some((error.clone(), Instant::now()));
                Err(self.unreadable(key, &error))
            }
        }
    }

    fn slot(&self, key: i64) -> Arc<tokio::sync::Mutex<Slot>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= MOST && !slots.contains_key(&key) {
            // Whoever is being asked for now stays; the others are a question away.
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        slots.entry(key).or_default().clone()
    }

    async fn ask(&self, key: i64) -> Result<Declared, String> {
        let mut url = self.address.clone();
        url.path_segments_mut()
            .map_err(|()| "its address is no URL with a path")?
            .pop_if_empty()
            .extend(["v2", "process-definitions", &key.to_string(), "xml"]);
        let mut request = Request::new(Method::GET, url);
        request.total_timeout = Some(PATIENCE);
        request.max_answer_bytes = LARGEST;
        request.tls.clone_from(&self.tls);
        request
            .headers
            .insert(ACCEPT, HeaderValue::from_static("text/xml, application/problem+json"));
        if let Some(credentials) = (self.credentials)().await? {
            let mut value = HeaderValue::from_str(credentials.expose_secret())
                .map_err(|_| "our credentials cannot stand in a header")?;
            value.set_sensitive(true);
            request.headers.insert(AUTHORIZATION, value);
        }
        let answer = self.client.send(request).await.map_err(|error| error.to_string())?;
        read(&answer)
    }

    fn unreadable(&self, key: i64, what: &str) -> ProviderError {
        ProviderError(format!(
            "the process definition {key} cannot be had from the engine's REST API at {}: {what}",
            self.host()
        ))
    }
}

fn read(answer: &Answer) -> Result<Declared, String> {
    let hint = match answer.status {
        200 => {
            let text = std::str::from_utf8(&answer.body).map_err(|_| "the answer is no UTF-8")?;
            let mut declared = Declared::default();
            declared
                .add(text)
                .map_err(|error| format!("the answer is no diagram ({error})"))?;
            return match declared.processes() {
                0 => Err("the answer is a diagram without a process".into()),
                _ => Ok(declared),
            };
        }
        204 => "it has the definition without its diagram",
        401 => "it wants other credentials (those of engine.* are shown)",
        403 => "our client may not read process definitions: give it READ_PROCESS_DEFINITION",
        404 => "it does not have the definition, or not yet: its secondary storage follows the brokers",
        _ => "see its log",
    };
    Err(format!("it answered {}; {hint}", answer.status))
}
