//! A job's variables with references go in, [`Bound`] comes out: each name is asked for once, in the providers' order.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Map, Value};

use super::allow_list::definitions::Definitions;
use super::allow_list::{self, AllowList, Refusal};
use super::bind::Bound;
use super::directory::Directory;
use super::dotenv::Dotenv;
use super::environment::{self, Environment};
use super::known::Known;
use super::output;
use super::provider::{Provider, SecretScope};
use super::redaction::Label;
use super::reference::Form;
use super::tree::{Grammar, Needed, fill, needed};
use crate::outcome::{JobError, Remedy};

/// How long a job waits when a store of secrets cannot answer; it costs no retry.
const STORE_DOWN: Duration = Duration::from_secs(10);
/// Missing names that one message lists.
const NAMES_SHOWN: usize = 10;

/// Where secrets come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Environment variables; `None` turns this store off.
    pub environment: Option<environment::Settings>,
    /// A directory of files, asked after the environment.
    pub directory: Option<std::path::PathBuf>,
    /// A dotenv file.
    pub dotenv: Option<std::path::PathBuf>,
    /// Kinds of providers in the order in which they are asked; those that are not named come last.
    pub order: Vec<String>,
    /// Is `secrets.NAME` without braces a reference?
    pub bare_references: bool,
    /// What results may hold.
    pub output: output::Settings,
    /// Where references are resolved.
    pub allow_list: allow_list::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            environment: Some(environment::Settings::default()),
            directory: None,
            dotenv: None,
            order: Vec::new(),
            bare_references: true,
            output: output::Settings::default(),
            allow_list: allow_list::Settings::default(),
        }
    }
}

/// Resolves references. Cheap to clone.
#[derive(Clone)]
pub struct Secrets {
    providers: Arc<[Box<dyn Provider>]>,
    grammar: Grammar,
    known: Known,
    output: Arc<output::Settings>,
    allow_list: Arc<AllowList>,
}

impl Secrets {
    /// Asks these providers, in this order. `bare_references`: is `secrets.NAME` without braces a reference?
    pub fn new(providers: Vec<Box<dyn Provider>>, bare_references: bool) -> Self {
        Self {
            providers: providers.into(),
            grammar: Grammar { bare: bare_references },
            known: Known::default(),
            output: Arc::default(),
            allow_list: Arc::new(AllowList::open()),
        }
    }

    /// The same, with references resolved only where this list allows them.
    #[must_use]
    pub fn allowing(mut self, settings: allow_list::Settings) -> Self {
        self.allow_list = Arc::new(AllowList::new(settings));
        self
    }

    /// The same, with the engine asked for what its diagrams declare.
    #[must_use]
    pub fn asking(mut self, settings: allow_list::Settings, definitions: Definitions) -> Self {
        self.allow_list = Arc::new(AllowList::new(settings).asking(definitions));
        self
    }

    /// The same, with references resolved everywhere.
    #[must_use]
    pub fn allowing_all(mut self) -> Self {
        self.allow_list = Arc::new(AllowList::open());
        self
    }

    /// A text of operations' own with its references resolved.
    ///
    /// # Errors
    /// As [`Secrets::bind`].
    pub async fn text(&self, text: &str, scope: &SecretScope<'_>) -> Result<SecretString, JobError> {
        if !text.contains("{{") {
            return Ok(text.into());
        }
        let braced = Self {
            grammar: Grammar { bare: false },
            ..self.clone()
        };
        let mut bound = braced
            .bind(Map::from_iter([("value".into(), text.into())]), scope)
            .await?;
        match bound.variables.remove("value") {
            Some(Value::String(value)) => Ok(value.into()),
            _ => Ok(SecretString::default()),
        }
    }

    /// Where references are resolved.
    pub fn allow_list(&self) -> &AllowList {
        &self.allow_list
    }

    /// The same, with every value that is resolved remembered there.
    #[must_use]
    pub fn remembering(mut self, known: Known) -> Self {
        self.known = known;
        self
    }

    /// The same, with this said about results.
    #[must_use]
    pub fn with_output(mut self, settings: output::Settings) -> Self {
        self.output = Arc::new(settings);
        self
    }

    /// Every value that was resolved in the last day.
    pub fn known(&self) -> &Known {
        &self.known
    }

    /// What results may hold.
    pub fn output(&self) -> &output::Settings {
        &self.output
    }

    /// Knows no secret: every reference is a missing one.
    pub fn none() -> Self {
        Self::new(Vec::new(), true)
    }

    /// Knows these secrets by name: for demo, tests and benches, where the values are no secrets of anybody's.
    pub fn fixed<'a>(secrets: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let values: HashMap<String, String> = secrets
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let settings = environment::Settings {
            prefix: String::new(),
            ..environment::Settings::default()
        };
        let lookup = move |name: &str| values.get(name).cloned();
        Self::new(vec![Box::new(Environment::new(settings, lookup))], true)
    }

    /// The configured providers; environment variables are read through `lookup`.
    pub fn from_settings(settings: &Settings, lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self::from_settings_and(settings, lookup, Vec::new())
    }

    /// The configured providers and those that need more than settings.
    pub fn from_settings_and(
        settings: &Settings,
        lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
        far: Vec<Box<dyn Provider>>,
    ) -> Self {
        let mut providers: Vec<Box<dyn Provider>> = Vec::new();
        if let Some(environment) = &settings.environment {
            providers.push(Box::new(Environment::new(environment.clone(), lookup)));
        }
        if let Some(directory) = &settings.directory {
            providers.push(Box::new(Directory::new(directory)));
        }
        if let Some(dotenv) = &settings.dotenv {
            providers.push(Box::new(Dotenv::new(dotenv)));
        }
        providers.extend(far);
        let place = |kind: &str| settings.order.iter().position(|one| one == kind).unwrap_or(usize::MAX);
        providers.sort_by_key(|provider| place(provider.kind()));
        Self::new(providers, settings.bare_references)
            .with_output(settings.output.clone())
            .allowing(settings.allow_list.clone())
    }

    /// Puts the secrets into the variables.
    ///
    /// # Errors
    /// An incident when a secret is missing or the variables exceed a bound; a postponed job when a provider cannot
    /// answer.
    pub async fn bind(&self, mut variables: Map<String, Value>, scope: &SecretScope<'_>) -> Result<Bound, JobError> {
        let found = needed(&variables, self.grammar)?;
        if found.needed.is_empty() {
            return Ok(Bound::plain(variables));
        }
        match self.allow_list.check(&found.places, scope).await {
            Ok(()) => {}
            Err(Refusal::Refused(error)) => return Err(*error),
            Err(Refusal::Unknown(error)) => {
                let error = format!(
                    "It cannot be said whether this task may use its secrets: {error}. Nothing was tried; the job waits."
                );
                return Err(JobError::connector("SECRETS_UNAVAILABLE", error).with_remedy(Remedy::Postpone(STORE_DOWN)));
            }
        }
        let mut values = HashMap::with_capacity(found.needed.len());
        let mut resolved = Vec::with_capacity(found.needed.len());
        let mut missing = Vec::new();
        for one in &found.needed {
            match self.value(&one.name, scope).await? {
                Some((value, provider)) => {
                    self.known.remember(&Label::Secret(one.name.clone()), &value);
                    values.insert(one.name.clone(), value);
                    resolved.push((one.name.clone(), provider));
                }
                None => missing.push(one),
            }
        }
        if let Some((first, others)) = missing.split_first() {
            return Err(self.not_available(first, others, scope));
        }
        let used = fill(&mut variables, &values, &found, self.grammar)?;
        Ok(Bound {
            variables,
            used,
            resolved,
        })
    }

    async fn value(
        &self,
        name: &str,
        scope: &SecretScope<'_>,
    ) -> Result<Option<(SecretString, &'static str)>, JobError> {
        for provider in &*self.providers {
            match provider.get(name, scope).await {
                Ok(Some(value)) => return Ok(Some((value, provider.kind()))),
                Ok(None) => {}
                Err(error) => {
                    let error = format!(
                        "The secret '{}' could not be looked up: {error}. Nothing was tried; the job waits.",
                        shortened(name)
                    );
                    return Err(
                        JobError::connector("SECRETS_UNAVAILABLE", error).with_remedy(Remedy::Postpone(STORE_DOWN))
                    );
                }
            }
        }
        Ok(None)
    }

    fn not_available(&self, first: &Needed, others: &[&Needed], scope: &SecretScope<'_>) -> JobError {
        let name = shortened(&first.name);
        // Modelers and monitoring know this sentence from Camunda's runtime.
        let mut message = format!("Secret with name '{name}' is not available");
        message.push_str(&format!(" (field `{}`). ", shortened(&first.path)));
        let asked: Vec<String> = self.providers.iter().map(|one| one.wanted(&name, scope)).collect();
        if asked.is_empty() {
            message.push_str("This worker has no store of secrets configured.");
        } else {
            message.push_str(&format!("This worker looked for {}.", asked.join(" and for ")));
        }
        if first.form == Form::Bare {
            message.push_str(&bare_hint(&first.name));
        }
        if !others.is_empty() {
            let names: Vec<String> = others
                .iter()
                .take(NAMES_SHOWN)
                .map(|one| format!("'{}'", shortened(&one.name)))
                .collect();
            let more = if others.len() > NAMES_SHOWN { ", …" } else { "" };
            message.push_str(&format!(" Missing as well: {}{more}.", names.join(", ")));
        }
        JobError::input(message)
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kinds: Vec<&str> = self.providers.iter().map(|one| one.kind()).collect();
        f.debug_struct("Secrets")
            .field("providers", &kinds)
            .finish_non_exhaustive()
    }
}

/// What is most likely meant where a form without braces finds nothing.
fn bare_hint(name: &str) -> String {
    match name.find(['/', '.']) {
        // `organizationUri = secrets.ORG` becomes `secrets.ORG/api/data/…` in the Power Automate template.
        Some(end) => format!(
            " Without braces a name goes on over `/` and `.`: if the secret's name is '{short}', write \
             {{{{secrets.{short}}}}} instead of secrets.{short}.",
            short = shortened(&name[..end])
        ),
        None => format!(
            " If a secret is meant, {{{{secrets.{0}}}}} is the better form; if the text only happens to say \
             `secrets.{0}`, operations can set `bare_references = false` in the worker's `[secrets]`.",
            shortened(name)
        ),
    }
}

/// A name for a message, which has no room for names of any length.
fn shortened(name: &str) -> String {
    const LONGEST: usize = 120;
    match name.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}
