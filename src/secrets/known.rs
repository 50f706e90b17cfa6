//! Every secret value that this process has in hand, so that no text that leaves it shows one: values go in as they are
//! resolved or fetched, [`Redactor`]s come out.
//!
//! A value stays known for a day after it was last used: what was rotated may still stand in texts under way. Memory is
//! bounded. New values are cheap: they go into a small search, which grows into larger ones now and then.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use super::redaction::{Label, Layer, Redactor, SHORT, Secret};

/// How long a value is remembered after its last use.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);
/// Values remembered at most; those unused for longest go.
const MOST: usize = 10_000;
/// Bytes of values remembered at most.
const MOST_BYTES: usize = 32 * 1024 * 1024;
/// How often what was not used for long is forgotten.
const SWEPT: Duration = Duration::from_secs(3600);
/// Values in the smallest search.
const FEW: usize = 16;
/// Values of fewer characters are not masked in the texts of other jobs than their own: nothing would be left.
const TINY: usize = 4;

/// The memory. Cheap to clone; clones share it.
#[derive(Clone, Default)]
pub struct Known {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    hasher: RandomState,
    /// Hash of a value → what is remembered of it.
    entries: HashMap<u64, Vec<Entry>>,
    count: usize,
    bytes: usize,
    swept: Instant,
    /// Few values, more, and all others: only the first is made anew for each new value.
    layers: [Arc<Layer>; 3],
    redactor: Redactor,
}

struct Entry {
    secret: Arc<Secret>,
    last_used: Instant,
}

impl Known {
    /// Remembers a value from now on. Empty ones are none.
    pub fn remember(&self, label: &Label, value: &SecretString) {
        let text = value.expose_secret();
        if text.is_empty() {
            return;
        }
        let now = Instant::now();
        let mut inner = self.lock();
        let hash = inner.hasher.hash_one(text);
        let known = inner.entries.entry(hash).or_default();
        let same = |entry: &&mut Entry| entry.secret.label == *label && entry.secret.value.expose_secret() == text;
        if let Some(entry) = known.iter_mut().find(same) {
            entry.last_used = now;
            return;
        }
        let secret = Arc::new(Secret {
            value: value.clone(),
            label: label.clone(),
        });
        known.push(Entry {
            secret: secret.clone(),
            last_used: now,
        });
        let length = text.chars().count();
        if length < SHORT {
            tracing::warn!(
                secret = %label,
                "this value has fewer than {SHORT} characters: it is masked only where it stands alone, and not looked for in results"
            );
        }
        inner.count += 1;
        inner.bytes += text.len();
        if inner.count > MOST || inner.bytes > MOST_BYTES || now - inner.swept > SWEPT {
            inner.sweep(now);
        } else if length >= TINY {
            inner.add(secret);
        }
    }

    /// A redactor of everything that is known now.
    pub fn redactor(&self) -> Redactor {
        self.lock().redactor.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change under the lock is whole before the next can panic.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            entries: HashMap::new(),
            count: 0,
            bytes: 0,
            swept: Instant::now(),
            layers: std::array::from_fn(|_| Layer::new(Vec::new())),
            redactor: Redactor::default(),
        }
    }
}

impl Inner {
    fn add(&mut self, secret: Arc<Secret>) {
        let [few, more, all] = &mut self.layers;
        let mut new = few.secrets.clone();
        new.push(secret);
        if new.len() > FEW {
            let mut larger = more.secrets.clone();
            larger.append(&mut new);
            if larger.len() > (all.secrets.len() / 4).max(FEW) {
                *all = Layer::new(all.secrets.iter().cloned().chain(larger.drain(..)).collect());
            }
            *more = Layer::new(larger);
        }
        *few = Layer::new(new);
        self.show();
    }

    fn show(&mut self) {
        let filled = self.layers.iter().filter(|layer| !layer.secrets.is_empty());
        self.redactor = Redactor::of_layers(filled.cloned());
    }

    /// Forgets what was not used for long, and what is too much.
    fn sweep(&mut self, now: Instant) {
        self.swept = now;
        let mut kept: Vec<Entry> = self.entries.drain().flat_map(|(_, entries)| entries).collect();
        kept.retain(|entry| now - entry.last_used < REMEMBERED);
        kept.sort_by_key(|entry| std::cmp::Reverse(entry.last_used));
        let too_much = self.count > MOST || self.bytes > MOST_BYTES;
        let (most, most_bytes) = match too_much {
            // Some room, so that the next value does not sweep again.
            true => (MOST / 10 * 9, MOST_BYTES / 10 * 9),
            false => (MOST, MOST_BYTES),
        };
        (self.count, self.bytes) = (0, 0);
        let mut searched = Vec::new();
        for entry in kept.into_iter().take(most) {
            let text = entry.secret.value.expose_secret();
            if self.bytes + text.len() > most_bytes {
                break;
            }
            self.count += 1;
            self.bytes += text.len();
            if text.chars().count() >= TINY {
                searched.push(entry.secret.clone());
            }
            self.entries.entry(self.hasher.hash_one(text)).or_default().push(entry);
        }
        self.layers = [Layer::new(Vec::new()), Layer::new(Vec::new()), Layer::new(searched)];
        self.show();
    }
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known").field("values", &self.lock().count).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(name: &str) -> Label {
        Label::Secret(name.into())
    }

    #[tokio::test(start_paused = true)]
    async fn a_rotated_value_is_masked_for_a_day_after_its_last_use() {
        let known = Known::default();
        known.remember(&secret("A"), &"the-old-value".into());
        tokio::time::advance(Duration::from_secs(20 * 3600)).await;
        known.remember(&secret("A"), &"the-new-value".into());
        assert_eq!(known.redactor().text("the-old-value the-new-value"), "*** ***");
        tokio::time::advance(Duration::from_secs(5 * 3600)).await;
        known.remember(&secret("B"), &"another-value".into());
        assert_eq!(
            known.redactor().text("the-old-value the-new-value another-value"),
            "the-old-value *** ***"
        );
    }

    #[test]
    fn each_of_many_values_is_known_at_once_and_memory_is_bounded() {
        let known = Known::default();
        for number in 0..1_000 {
            let value = format!("value-number-{number}-");
            known.remember(&secret("A"), &value.clone().into());
            assert_eq!(known.redactor().text(&value), "***");
        }
        assert_eq!(known.redactor().text("value-number-0- value-number-500-"), "*** ***");
        let large = "x".repeat(1024 * 1024);
        for number in 0..40 {
            known.remember(&secret("B"), &format!("{number}{large}").into());
        }
        assert!(known.lock().bytes <= MOST_BYTES);
    }

    #[test]
    fn the_same_value_is_remembered_once_for_each_name() {
        let known = Known::default();
        for _ in 0..3 {
            known.remember(&secret("A"), &"a-value-here".into());
            known.remember(&secret("B"), &"a-value-here".into());
        }
        known.remember(&secret("C"), &"".into());
        assert_eq!(known.lock().count, 2);
        assert!(!format!("{known:?} {:?}", known.redactor()).contains("a-value"));
    }
}
