//! How many runs may be started and go on at once, and what is paused: the settings of `desktop_flow` that belong together.

use serde::Deserialize;

use super::sources::Sources;
use crate::runs::turns::{Limit, Pattern, Settings};

/// A `[[desktop_flow.limit]]`, as written.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct LimitText {
    /// Connections whose runs are counted together; `*` stands for any characters.
    pub connections: Vec<String>,
    /// Runs of theirs that may go on at once.
    pub max_running: usize,
}

pub(super) fn settings(s: &mut Sources<'_>) -> Settings {
    let max_running = s.count("desktop_flow.max_running", 0..=100_000);
    Settings {
        starts_per_minute: s.count("desktop_flow.starts_per_minute", 1..=1_000_000),
        max_running: Some(max_running).filter(|most| *most > 0),
        limits: limits(s),
        pause: {
            let texts = s.list("desktop_flow.pause");
            let place = s.place("desktop_flow.pause");
            patterns(s, &place, &texts)
        },
    }
}

fn limits(s: &mut Sources<'_>) -> Vec<Limit> {
    let mut limits = Vec::new();
    for (place, text) in s.limit_texts() {
        if text.connections.is_empty() {
            s.fault(
                &place,
                "`connections` is empty: name those that lead to one machine group",
            );
        }
        if text.max_running == 0 {
            s.fault(
                &place,
                "`max_running` is 0: write 1 or more; desktop_flow.pause stops starts altogether",
            );
        }
        let connections = patterns(s, &place, &text.connections);
        limits.push(Limit {
            connections,
            max_running: text.max_running,
        });
    }
    limits
}

fn patterns(s: &mut Sources<'_>, place: &str, texts: &[String]) -> Vec<Pattern> {
    let mut patterns = Vec::new();
    for text in texts {
        match Pattern::parse(text) {
            Ok(pattern) => patterns.push(pattern),
            Err(problem) => s.fault(place, format!("`{text}` {problem}")),
        }
    }
    patterns
}
