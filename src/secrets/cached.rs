//! A store that is far away, asked seldom: values are kept for a while, all who want the same one at the same time share one
//! question, and a store that is down for a moment does not stop the work.
//!
//! An old value is given out only while the store cannot answer, and only for so long; a store that says "no such secret"
//! is believed at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use secrecy::SecretString;
use tokio::time::Instant;

use super::provider::{Provider, ProviderError, SecretScope};

/// Names that are kept at most.
const MOST: usize = 10_000;
/// How long "no such secret" counts: somebody may be about to create it.
const MISSING: Duration = Duration::from_secs(15);
/// How long a failure counts before the store is asked again.
const PAUSE: Duration = Duration::from_secs(2);

/// How long values count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ages {
    /// A value this old is asked for again.
    pub fresh: Duration,
    /// While the store cannot answer, a value up to this old is used.
    pub stale: Duration,
}

impl Default for Ages {
    fn default() -> Self {
        Self {
            fresh: Duration::from_secs(300),
            stale: Duration::from_secs(3600),
        }
    }
}

/// A store with a memory.
pub struct Cached<P> {
    store: P,
    ages: Ages,
    slots: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Slot>>>>,
}

#[derive(Default)]
struct Slot {
    kept: Option<(Option<SecretString>, Instant)>,
    failed: Option<(String, Instant)>,
}

impl<P: Provider> Cached<P> {
    /// Keeps what this store says. The store's answers must not depend on who asks.
    pub fn new(store: P, ages: Ages) -> Self {
        Self {
            store,
            ages,
            slots: Mutex::default(),
        }
    }

    fn slot(&self, name: &str) -> Arc<tokio::sync::Mutex<Slot>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= MOST && !slots.contains_key(name) {
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        slots.entry(name.to_owned()).or_default().clone()
    }

    async fn ask(&self, name: &str, scope: &SecretScope<'_>) -> Result<Option<SecretString>, ProviderError> {
        let slot = self.slot(name);
        let mut slot = slot.lock().await;
        let now = Instant::now();
        let kept = slot.kept.clone();
        if let Some((value, since)) = &kept {
            let fresh = if value.is_some() {
                self.ages.fresh
            } else {
                MISSING.min(self.ages.fresh)
            };
            if now - *since < fresh {
                return Ok(value.clone());
            }
        }
        let stale = kept.filter(|(value, since)| value.is_some() && now - *since < self.ages.stale);
        let paused = slot.failed.as_ref().filter(|(_, since)| now - *since < PAUSE);
        let error = match paused {
            Some((message, _)) => message.clone(),
            None => match self.store.get(name, scope).await {
                Ok(value) => {
                    slot.kept = Some((value.clone(), Instant::now()));
                    slot.failed = None;
                    return Ok(value);
                }
                Err(ProviderError(message)) => {
                    slot.failed = Some((message.clone(), Instant::now()));
                    message
                }
            },
        };
        match stale {
            Some((value, since)) => {
                tracing::warn!(store = self.store.kind(), error, age = ?(now - since), "the store of secrets does not answer: an older value is used");
                Ok(value)
            }
            None => Err(ProviderError(error)),
        }
    }
}

impl<P: Provider> Provider for Cached<P> {
    fn kind(&self) -> &'static str {
        self.store.kind()
    }

    fn wanted(&self, name: &str, scope: &SecretScope<'_>) -> String {
        self.store.wanted(name, scope)
    }

    fn get<'a>(
        &'a self,
        name: &'a str,
        scope: &'a SecretScope<'a>,
    ) -> BoxFuture<'a, Result<Option<SecretString>, ProviderError>> {
        Box::pin(self.ask(name, scope))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use secrecy::ExposeSecret;

    use super::*;

    /// Answers after a second with how often it was asked; may be down, or know nothing.
    #[derive(Default)]
    struct Store {
        asked: AtomicUsize,
        down: Mutex<bool>,
        empty: Mutex<bool>,
    }

    impl Provider for Arc<Store> {
        fn kind(&self) -> &'static str {
            "store"
        }

        fn wanted(&self, name: &str, _scope: &SecretScope<'_>) -> String {
            name.to_owned()
        }

        fn get<'a>(
            &'a self,
            _name: &'a str,
            _scope: &'a SecretScope<'a>,
        ) -> BoxFuture<'a, Result<Option<SecretString>, ProviderError>> {
            Box::pin(async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let asked = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
                match (*self.down.lock().unwrap(), *self.empty.lock().unwrap()) {
                    (true, _) => Err(ProviderError("down".into())),
                    (_, true) => Ok(None),
                    _ => Ok(Some(format!("value {asked}").into())),
                }
            })
        }
    }

    const SCOPE: SecretScope<'static> = SecretScope {
        tenant_id: "t",
        bpmn_process_id: "p",
        process_definition_key: 0,
        element_id: "e",
    };

    fn cached() -> (Cached<Arc<Store>>, Arc<Store>) {
        let store = Arc::new(Store::default());
        (Cached::new(store.clone(), Ages::default()), store)
    }

    async fn value(cached: &Cached<Arc<Store>>) -> Option<String> {
        let value = cached.get("A", &SCOPE).await.unwrap();
        value.map(|value| value.expose_secret().to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_who_ask_at_once_are_one_question_and_a_value_is_kept_for_its_time() {
        let (cached, store) = cached();
        let all = futures_util::future::join_all((0..100).map(|_| value(&cached))).await;
        assert!(all.iter().all(|one| one.as_deref() == Some("value 1")));
        tokio::time::advance(Duration::from_secs(298)).await;
        assert_eq!(value(&cached).await.as_deref(), Some("value 1"));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(value(&cached).await.as_deref(), Some("value 2"));
        assert_eq!(store.asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_bridged_for_its_time_and_not_longer() {
        let (cached, store) = cached();
        assert_eq!(value(&cached).await.as_deref(), Some("value 1"));
        *store.down.lock().unwrap() = true;
        tokio::time::advance(Duration::from_secs(400)).await;
        assert_eq!(value(&cached).await.as_deref(), Some("value 1"));
        assert_eq!(value(&cached).await.as_deref(), Some("value 1"));
        assert_eq!(
            store.asked.load(Ordering::SeqCst),
            2,
            "a store that is down is left alone for a moment"
        );
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert!(cached.get("A", &SCOPE).await.is_err());
        *store.down.lock().unwrap() = false;
        tokio::time::advance(PAUSE).await;
        assert_eq!(value(&cached).await.as_deref(), Some("value 4"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_secret_that_was_deleted_is_gone_and_a_new_one_is_soon_there() {
        let (cached, store) = cached();
        value(&cached).await;
        *store.empty.lock().unwrap() = true;
        tokio::time::advance(Duration::from_secs(301)).await;
        assert_eq!(value(&cached).await, None);
        *store.empty.lock().unwrap() = false;
        tokio::time::advance(MISSING).await;
        assert!(value(&cached).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_without_a_value_is_said_to_all_who_wait_after_one_question() {
        let (cached, store) = cached();
        *store.down.lock().unwrap() = true;
        let all = futures_util::future::join_all((0..50).map(|_| cached.get("A", &SCOPE))).await;
        assert!(all.iter().all(Result::is_err));
        assert_eq!(store.asked.load(Ordering::SeqCst), 1);
    }
}
