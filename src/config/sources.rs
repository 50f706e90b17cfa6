//! Flags > environment > file > default, for one setting at a time; faults are collected, not raised.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use secrecy::SecretString;

use super::Fault;
use super::file::File;
use super::identities::IdentityText;
use super::settings::Setting;
use super::turns::LimitText;
use super::values::{self, Kind};
use crate::connector::JOB_TYPES;
use crate::http::guard::Allowed;
use crate::secrets::Known;
use crate::secrets::hosts::{HostPattern, PatternError};
use crate::secrets::policy::{Cloud, Rule};
use crate::secrets::redaction::Label;
use crate::spelling::nearest;

/// Environment variables; the process's, or a map in tests.
pub trait Environment {
    /// The variable's value, if it is set and not empty.
    fn get(&self, name: &str) -> Option<String>;
}

/// The environment of this process.
pub struct Process;

impl Environment for Process {
    fn get(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }
}

impl Environment for HashMap<&str, &str> {
    fn get(&self, name: &str) -> Option<String> {
        HashMap::get(self, name)
            .map(|value| (*value).to_owned())
            .filter(|value| !value.is_empty())
    }
}

/// What was typed as flags: the setting's key and its text.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// Key → text.
    pub values: HashMap<&'static str, String>,
    /// `--config`.
    pub config: Option<std::path::PathBuf>,
}

/// Where a setting's value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A flag.
    Flag(&'static str),
    /// An environment variable.
    Variable(String),
    /// The file.
    File(String),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Flag(flag) => write!(f, "--{flag}"),
            Source::Variable(name) => f.write_str(name),
            Source::File(place) => f.write_str(place),
        }
    }
}

/// A setting that was not left at its default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// The setting's key.
    pub key: &'static str,
    /// Where its value came from.
    pub source: Source,
    /// The value, `***` for a secret.
    pub shown: String,
}

/// All sources together.
pub struct Sources<'a> {
    flags: &'a Flags,
    environment: &'a dyn Environment,
    file: File,
    pub(super) faults: Vec<Fault>,
    pub(super) used: Vec<Used>,
    /// Credentials of the worker itself are no more to be seen than those of tasks.
    pub(super) known: Known,
}

impl<'a> Sources<'a> {
    pub(super) fn new(flags: &'a Flags, environment: &'a dyn Environment, file: File) -> Self {
        Self {
            flags,
            environment,
            file,
            faults: Vec::new(),
            used: Vec::new(),
            known: Known::default(),
        }
    }

    fn find(&mut self, key: &str) -> Option<(&'static Setting, String, Option<Source>)> {
        let setting = Setting::find(key)?;
        let found = self.look_up(setting);
        if let Some((text, source)) = found {
            let shown = if setting.kind == Kind::Secret {
                "***".to_owned()
            } else {
                text.clone()
            };
            self.used.push(Used {
                key: setting.key,
                source: source.clone(),
                shown,
            });
            return Some((setting, text, Some(source)));
        }
        Some((setting, setting.default.to_owned(), None))
    }

    fn look_up(&self, setting: &'static Setting) -> Option<(String, Source)> {
        if let (Some(text), Some(flag)) = (self.flags.values.get(setting.key), setting.flag) {
            return Some((text.clone(), Source::Flag(flag)));
        }
        let own = setting.variable();
        let names = std::iter::once(own.as_str()).chain(setting.variables.iter().copied());
        for name in names {
            if let Some(text) = self.environment.get(name) {
                return Some((text, Source::Variable(name.to_owned())));
            }
        }
        let text = self.file.values.get(setting.key)?;
        Some((
            text.clone(),
            Source::File(format!("{}, {}", self.file.name, setting.key)),
        ))
    }

    pub(super) fn fault(&mut self, place: impl Into<String>, message: impl Into<String>) {
        self.faults.push(Fault {
            place: place.into(),
            message: message.into(),
        });
    }

    /// A value that must parse; a fault leaves the default's value behind, so that the other faults are found too.
    fn parsed<T>(&mut self, key: &str, expected: &str, parse: impl Fn(&str) -> Option<T>, otherwise: T) -> T {
        let Some((setting, text, source)) = self.find(key) else {
            return otherwise;
        };
        if let Some(value) = parse(&text) {
            return value;
        }
        if let Some(source) = source {
            let found = if setting.kind == Kind::Secret { "***" } else { &text };
            self.fault(source.to_string(), format!("`{found}` is not {expected}"));
        }
        parse(setting.default).unwrap_or(otherwise)
    }

    pub(super) fn text(&mut self, key: &str) -> String {
        self.find(key).map(|(_, text, _)| text).unwrap_or_default()
    }

    /// A text that may be absent; blank is absent.
    pub(super) fn optional(&mut self, key: &str) -> Option<String> {
        Some(self.text(key)).filter(|text| !text.trim().is_empty())
    }

    pub(super) fn secret(&mut self, key: &str) -> Option<SecretString> {
        let secret = self.optional(key).map(SecretString::from);
        if let Some(secret) = &secret {
            self.known.remember(&Label::Setting(key.to_owned()), secret);
        }
        secret
    }

    /// A value that turned out to hold a credential is not shown any more.
    pub(super) fn hide(&mut self, key: &str) {
        for used in self.used.iter_mut().filter(|used| used.key == key) {
            used.shown = "***".into();
        }
    }

    /// Where a setting's value comes from, for a fault that needs two settings to be seen.
    pub(super) fn place(&self, key: &str) -> String {
        match Setting::find(key).and_then(|setting| self.look_up(setting)) {
            Some((_, source)) => source.to_string(),
            None => Setting::find(key).map(Setting::variable).unwrap_or_default(),
        }
    }

    pub(super) fn count(&mut self, key: &str, range: RangeInclusive<usize>) -> usize {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let parse = |text: &str| {
            text.trim()
                .replace('_', "")
                .parse()
                .ok()
                .filter(|count| range.contains(count))
        };
        self.parsed(key, &expected, parse, *range.start())
    }

    pub(super) fn duration(&mut self, key: &str) -> Duration {
        let parse = |text: &str| values::duration(text).filter(|time| !time.is_zero());
        self.parsed(key, "a time like 500ms, 30s, 5m or PT30S", parse, Duration::ZERO)
    }

    /// A time that may be absent; blank is absent.
    pub(super) fn optional_duration(&mut self, key: &str) -> Option<Duration> {
        let parse = |text: &str| {
            if text.trim().is_empty() {
                Some(None)
            } else {
                values::duration(text).filter(|time| !time.is_zero()).map(Some)
            }
        };
        self.parsed(key, "a time like 500ms, 30s, 5m or PT30S", parse, None)
    }

    pub(super) fn switch(&mut self, key: &str) -> bool {
        self.parsed(key, "true or false", values::switch, false)
    }

    pub(super) fn optional_switch(&mut self, key: &str) -> Option<bool> {
        let parse = |text: &str| {
            if text.is_empty() {
                Some(None)
            } else {
                values::switch(text).map(Some)
            }
        };
        self.parsed(key, "true or false", parse, None)
    }

    pub(super) fn list(&mut self, key: &str) -> Vec<String> {
        let text = self.text(key);
        text.split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect()
    }

    pub(super) fn choice(&mut self, key: &str) -> &'static str {
        let Some(Kind::Choice(choices)) = Setting::find(key).map(|setting| setting.kind) else {
            return "";
        };
        let expected = format!("one of {}", choices.join(", "));
        let parse = |text: &str| {
            choices
                .iter()
                .copied()
                .find(|choice| choice.eq_ignore_ascii_case(text.trim()))
        };
        self.parsed(key, &expected, parse, "")
    }

    /// Organisations are named one by one: a pattern of a whole cloud would let in an attacker's own.
    pub(super) fn organizations(&mut self, key: &str, cloud: Cloud) -> Vec<HostPattern> {
        let mut hosts = Vec::new();
        for text in self.list(key) {
            let parsed = match text.contains('*') {
                true => Err("name each organisation: a pattern would let in others' organisations too".to_owned()),
                // Tokens of one cloud's authority are nothing to another.
                false if Cloud::of_organization(&text).is_some_and(|one| one.authority() != cloud.authority()) => {
                    Err("this organisation belongs to another cloud than secrets.cloud says".to_owned())
                }
                false => text.parse().map_err(|error: PatternError| error.to_string()),
            };
            match parsed {
                Ok(host) => hosts.push(host),
                Err(error) => {
                    let place = self.place(key);
                    self.fault(place, format!("`{text}`: {error}"));
                }
            }
        }
        hosts
    }

    /// The identities of the file, each with its place and name.
    pub(super) fn identity_texts(&mut self) -> Vec<(String, String, IdentityText)> {
        let texts = std::mem::take(&mut self.file.identities);
        let place = |name: &str| format!("{}, identities.{name}", self.file.name);
        texts
            .into_iter()
            .map(|(name, text)| (place(&name), name, text))
            .collect()
    }

    /// A variable that is no setting.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        self.environment.get(name)
    }

    /// Kinds of stores of secrets.
    pub(super) fn store_kinds(&mut self, key: &str) -> Vec<String> {
        const KINDS: [&str; 5] = ["environment", "directory", "dotenv", "vault", "azure-key-vault"];
        let kinds = self.list(key);
        for unknown in kinds.iter().filter(|kind| !KINDS.contains(&kind.as_str())) {
            let place = self.place(key);
            self.fault(
                place,
                format!("`{unknown}` is no kind of store; there are {}", KINDS.join(", ")),
            );
        }
        kinds
    }

    /// Addresses and hosts that tasks may reach.
    pub(super) fn allowed_network(&mut self, key: &str) -> Vec<Allowed> {
        let mut allowed = Vec::new();
        for text in self.list(key) {
            match text.parse() {
                Ok(one) => allowed.push(one),
                Err(error) => {
                    let place = self.place(key);
                    self.fault(place, error);
                }
            }
        }
        allowed
    }

    /// Job types that deskhand has a connector for.
    pub(super) fn job_types(&mut self, key: &str) -> Vec<String> {
        let types = self.list(key);
        for unknown in types.iter().filter(|name| !JOB_TYPES.contains(&name.as_str())) {
            let place = self.place(key);
            self.fault(place, not_a_job_type(unknown));
        }
        types
    }

    pub(super) fn rules(&mut self) -> Vec<Rule> {
        let mut rules = Vec::new();
        for (at, text) in std::mem::take(&mut self.file.rules).into_iter().enumerate() {
            let place = format!("{}, secrets.rule number {}", self.file.name, at + 1);
            if text.hosts.is_empty() {
                self.fault(&place, "`hosts` is empty: name the hosts that the secret may go to");
            }
            for unknown in text
                .connectors
                .iter()
                .filter(|name| !JOB_TYPES.contains(&name.as_str()))
            {
                self.fault(&place, not_a_job_type(unknown));
            }
            match Rule::new(&text.name, text.hosts.iter().map(String::as_str)) {
                Ok(rule) => rules.push(
                    rule.for_connectors(text.connectors)
                        .for_processes(text.processes)
                        .for_tenants(text.tenants),
                ),
                Err(error) => self.fault(&place, error.to_string()),
            }
        }
        rules
    }

    /// The limits of the file, each with its place.
    pub(super) fn limit_texts(&mut self) -> Vec<(String, LimitText)> {
        let texts = std::mem::take(&mut self.file.limits);
        let place = |at: usize| format!("{}, desktop_flow.limit number {}", self.file.name, at + 1);
        texts
            .into_iter()
            .enumerate()
            .map(|(at, text)| (place(at), text))
            .collect()
    }

    /// The job types that have permits of their own, and how many.
    pub(super) fn own_max_jobs(&mut self, range: RangeInclusive<usize>) -> BTreeMap<String, usize> {
        let mut own = BTreeMap::new();
        for (job_type, text) in std::mem::take(&mut self.file.connectors) {
            let place = format!("{}, connectors.\"{job_type}\"", self.file.name);
            if !JOB_TYPES.contains(&job_type.as_str()) {
                self.fault(&place, not_a_job_type(&job_type));
            }
            match text.max_jobs {
                Some(count) if range.contains(&count) => _ = own.insert(job_type, count),
                Some(count) => self.fault(
                    format!("{place}.max_jobs"),
                    format!(
                        "`{count}` is not a whole number from {} to {}",
                        range.start(),
                        range.end()
                    ),
                ),
                None => {}
            }
        }
        own
    }

    pub(super) fn socket_address(&mut self, key: &str, text: &str) -> Option<SocketAddr> {
        let parsed = text.trim().parse().ok();
        if parsed.is_none() {
            let place = self.place(key);
            self.fault(
                place,
                format!("`{text}` is not an address like 127.0.0.1:9600 or [::1]:9600"),
            );
        }
        parsed
    }
}

fn not_a_job_type(name: &str) -> String {
    let hint = match nearest(name, JOB_TYPES.iter().copied()) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => format!("; there are {}", JOB_TYPES.join(" and ")),
    };
    format!("deskhand has no connector for the job type `{name}`{hint}")
}
