//! Families of numbers: one for each set of labels, looked up and counted.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

/// Seconds: from one round trip on loopback to a lease.
pub(super) const BUCKETS: [f64; 15] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0, 600.0,
];

pub(super) type Texts<'a> = &'a [(&'static str, &'a str)];
pub(super) type Labels = Vec<(&'static str, String)>;
pub(super) type Counters = Family<Labels, Counter>;
pub(super) type Gauges = Family<Labels, Gauge>;
pub(super) type Times = Family<Labels, Histogram, fn() -> Histogram>;

/// Numbers that were looked up once. A family makes an owned copy of every label for each search, and some numbers are
/// counted several times a job.
pub(super) struct Found<K, V>(RwLock<HashMap<K, V>>);

impl<K: Hash + Eq, V: Clone> Found<K, V> {
    pub(super) fn get<Q>(&self, key: &Q, find: impl FnOnce() -> V) -> V
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        if let Some(found) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(key) {
            return found.clone();
        }
        let found = find();
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.entry(key.to_owned()).or_insert(found).clone()
    }
}

impl<K, V> Default for Found<K, V> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

/// Counters of which these can be read before anything was counted.
pub(super) fn begun_at_zero(label: &'static str, values: &[&str]) -> Counters {
    let counters = Counters::default();
    for value in values {
        drop(counters.get_or_create(&owned(&[(label, value)])));
    }
    counters
}

/// Labels as a family keeps them.
pub(super) fn owned(labels: Texts<'_>) -> Labels {
    labels
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect()
}

/// The one with these labels.
pub(super) fn counter(counters: &Counters, labels: Texts<'_>) -> Counter {
    counters.get_or_create(&owned(labels)).clone()
}

/// The one with these labels.
pub(super) fn histogram(times: &Times, labels: Texts<'_>) -> Histogram {
    times.get_or_create(&owned(labels)).clone()
}

/// Counts one.
pub(super) fn add(counters: &Counters, labels: Texts<'_>) {
    counter(counters, labels).inc();
}

/// Sets a gauge.
pub(super) fn set(gauges: &Gauges, labels: Texts<'_>, value: usize) {
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    gauges.get_or_create(&owned(labels)).set(value);
}

/// Notes how long something took.
pub(super) fn time(times: &Times, labels: Texts<'_>, took: Duration) {
    histogram(times, labels).observe(took.as_secs_f64());
}
