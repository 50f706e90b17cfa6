//! What a result may hold: settings, and the question whether a value holds a secret that may not be there.

use std::sync::Arc;

use secrecy::SecretString;

use super::bind::Used;
use super::environment::shell_name;
use super::policy::{glob, shell_pattern};
use super::redaction::{Label, Redactor, Secret};

/// What happens to a result that holds the value of a secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnSecret {
    /// An incident that names the variable and the secret.
    #[default]
    Incident,
    /// `***` stands in the value's place before the result is mapped.
    Mask,
}

/// What operations say about secrets in results.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// What happens.
    pub on_secret: OnSecret,
    /// Names of secrets (`*` stands for any characters) that results may hold.
    pub allow: Vec<String>,
}

impl Settings {
    /// The secrets of this job, and tokens, that `look` finds and that may not be there.
    ///
    /// Another job's secret is no secret here: one that happens to be a word of a response would stop every job.
    pub fn forbidden(
        &self,
        used: &[Used],
        known: &Redactor,
        look: impl Fn(&Redactor, &mut Vec<Arc<Secret>>),
    ) -> Vec<Arc<Secret>> {
        let mut found = Vec::new();
        look(known, &mut found);
        found.retain(|secret| match &secret.label {
            Label::Secret(name) => used.iter().any(|used| used.name == *name) && !self.allows(name),
            Label::Token(_) | Label::Setting(_) => true,
        });
        found.sort_by(|one, other| one.label.cmp(&other.label));
        found
    }

    fn allows(&self, name: &str) -> bool {
        let name = shell_name(name);
        self.allow.iter().any(|pattern| glob(&shell_pattern(pattern), &name))
    }
}

/// Their values, to take them out.
pub fn masking(secrets: &[Arc<Secret>]) -> Redactor {
    let values: Vec<SecretString> = secrets.iter().map(|secret| secret.value.clone()).collect();
    Redactor::of(&values)
}

/// Their names, for a message.
pub fn names(secrets: &[Arc<Secret>]) -> String {
    let mut names: Vec<String> = secrets.iter().map(|secret| secret.label.to_string()).collect();
    names.dedup();
    names.join(" and ")
}
