//! What bounds starts: how many a minute, how many runs at once, and what is paused.

use std::fmt;

use super::Asked;
use crate::secrets::policy::glob;

/// The rules of all starts of a process; each replica keeps them for itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Starts of one connection a minute. Dataverse allows 70.
    pub starts_per_minute: usize,
    /// Runs of one connection that may go on at once, where no [`Limit`] names it. `None`: any number.
    pub max_running: Option<usize>,
    /// Limits on runs that go on at once; the first that names a connection counts for it.
    pub limits: Vec<Limit>,
    /// Flows and connections that start nothing.
    pub pause: Vec<Pattern>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            starts_per_minute: 70,
            max_running: None,
            limits: Vec::new(),
            pause: Vec::new(),
        }
    }
}

/// A limit on runs that go on at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Connections whose runs are counted together: those that lead to one machine group.
    pub connections: Vec<Pattern>,
    /// So many.
    pub max_running: usize,
}

impl Settings {
    pub(super) fn limit_of(&self, connection: &str) -> Option<(usize, &Limit)> {
        let names = |limit: &Limit| limit.connections.iter().any(|pattern| pattern.is(connection));
        self.limits.iter().enumerate().find(|(_, limit)| names(limit))
    }
}

/// A name in which `*` stands for any characters; upper and lower case are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// The pattern that a text is.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        if text.is_empty() {
            return Err("is empty: name a flow (its id or name) or a connection; * stands for any characters");
        }
        if text.len() > 500 || text.chars().any(char::is_control) {
            return Err("is no name of a flow or connection");
        }
        Ok(Self(text.to_lowercase()))
    }

    pub(super) fn is(&self, name: &str) -> bool {
        glob(&self.0, &name.to_lowercase())
    }

    pub(super) fn fits(&self, asked: &Asked) -> bool {
        let name = asked.flow_name.as_deref();
        self.is(&asked.place.connection.name)
            || self.is(&asked.flow.to_string())
            || name.is_some_and(|name| self.is(name))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Something that is paused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paused {
    /// What.
    pub pattern: Pattern,
    /// By the settings: it cannot be resumed while we run.
    pub by_setting: bool,
}
