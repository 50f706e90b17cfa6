//! Variables with the secrets put in: what a connector reads, and what must never be seen.

use secrecy::SecretString;
use serde_json::{Map, Value};

/// A job's variables after every secret reference was replaced.
#[derive(Clone)]
pub struct Bound {
    /// The variables. They hold secrets' values: never log or print them.
    pub variables: Map<String, Value>,
    /// Each secret that was put in, once for each field.
    pub used: Vec<Used>,
    /// Name of each secret that was resolved, and the kind of provider that had it.
    pub(super) resolved: Vec<(String, &'static str)>,
}

/// A secret at a place of the variables.
#[derive(Clone)]
pub struct Used {
    /// The reference's name.
    pub name: String,
    /// The field that holds it: names joined by dots, list elements share their list's path.
    pub path: String,
    /// The value, for redaction.
    pub value: SecretString,
}

impl Bound {
    /// Variables without any secret.
    pub fn plain(variables: Map<String, Value>) -> Self {
        Self::new(variables, Vec::new())
    }

    /// Variables that hold these secrets.
    pub fn new(variables: Map<String, Value>, used: Vec<Used>) -> Self {
        Self {
            variables,
            used,
            resolved: Vec::new(),
        }
    }

    /// Each secret that was resolved and the kind of provider that had it, once, in the order of first use.
    pub fn resolved(&self) -> impl Iterator<Item = (String, String)> + '_ {
        self.resolved
            .iter()
            .map(|(name, provider)| (name.clone(), provider.to_string()))
    }

    /// Names of the secrets in fields at or below any of `paths` (`[""]` = everywhere).
    pub fn names_at(&self, paths: &[&str]) -> Vec<&str> {
        let inside = |path: &str, root: &str| {
            root.is_empty() || path == root || path.strip_prefix(root).is_some_and(|rest| rest.starts_with('.'))
        };
        let mut names: Vec<&str> = self
            .used
            .iter()
            .filter(|used| paths.iter().any(|root| inside(&used.path, root)))
            .map(|used| used.name.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl std::fmt::Debug for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.used.iter().map(|used| used.name.as_str()).collect();
        f.debug_struct("Bound").field("secrets", &names).finish_non_exhaustive()
    }
}
