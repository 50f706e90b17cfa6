//! What `ops/` names is what deskhand counts.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::collections::BTreeSet;

use deskhand::metrics::metrics;
use regex::Regex;

const ALERTS: &str = include_str!("../ops/alerts.yml");
const DASHBOARD: &str = include_str!("../ops/dashboard.json");

fn named(text: &str) -> BTreeSet<String> {
    let name = Regex::new(r"\bdeskhand_[a-z_]+").unwrap();
    name.find_iter(text).map(|found| found.as_str().to_owned()).collect()
}

#[test]
fn alerts_and_dashboard_name_series_that_exist() {
    let known: BTreeSet<_> = metrics().series().iter().cloned().collect();
    for (file, text) in [("alerts.yml", ALERTS), ("dashboard.json", DASHBOARD)] {
        let unknown: Vec<_> = named(text).difference(&known).cloned().collect();
        assert!(unknown.is_empty(), "ops/{file} names {unknown:?}; there are {known:?}");
    }
}

#[test]
fn the_dashboard_shows_everything_that_is_counted() {
    let shown = named(DASHBOARD);
    let missing: Vec<_> = metrics()
        .series()
        .iter()
        // The sum and the number of a histogram are in its buckets.
        .filter(|series| !series.ends_with("_sum") && !series.ends_with("_count"))
        .filter(|series| !shown.contains(*series))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_alert_says_how_bad_it_is_and_what_to_look_at() {
    let count = |what: &str| ALERTS.lines().filter(|line| line.contains(what)).count();
    let alerts = count("- alert: Deskhand");
    assert!(alerts >= 8);
    for part in ["severity:", "summary:", "description:"] {
        assert_eq!(count(part), alerts, "{part}");
    }
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() >= 12);
}
