//! `deskhand.toml`: text in, known keys with their texts out; unknown keys are faults with the nearest known one.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::{Table, Value};

use super::identities::{IdentityText, KEYS};
use super::settings::{SETTINGS, Setting};
use super::turns::LimitText;
use super::values::Kind;
use super::{Environment, Fault, Flags};
use crate::spelling::nearest;

const DEFAULT_NAME: &str = "deskhand.toml";
const NAMED_BY: &str = "DESKHAND_CONFIG";
const RULES: &str = "secrets.rule";
const LIMITS: &str = "desktop_flow.limit";
const CONNECTORS: &str = "connectors";
const IDENTITIES: &str = "identities";

/// What the file says.
#[derive(Default)]
pub struct File {
    pub(super) name: String,
    pub(super) values: HashMap<&'static str, String>,
    pub(super) rules: Vec<RuleText>,
    pub(super) limits: Vec<LimitText>,
    pub(super) connectors: BTreeMap<String, ConnectorText>,
    pub(super) identities: BTreeMap<String, IdentityText>,
}

/// A `[connectors."JOB TYPE"]`, as written.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct ConnectorText {
    /// Jobs of this type that are worked on at once; the type then has permits of its own.
    pub max_jobs: Option<usize>,
}

/// A `[[secrets.rule]]`, as written.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct RuleText {
    /// Which secrets: a name, `*` stands for any characters.
    pub name: String,
    /// Where they may go.
    pub hosts: Vec<String>,
    /// For which job types; empty: all.
    #[serde(default)]
    pub connectors: Vec<String>,
    /// For which processes (BPMN ids, `*` stands for any characters); empty: all.
    #[serde(default)]
    pub processes: Vec<String>,
    /// For which tenants; empty: all.
    #[serde(default)]
    pub tenants: Vec<String>,
}

/// Reads the file that `--config` or the environment names, else `deskhand.toml` where it exists.
pub(super) fn read(flags: &Flags, environment: &dyn Environment) -> (File, Vec<Fault>) {
    let named = flags
        .config
        .clone()
        .or_else(|| environment.get(NAMED_BY).map(PathBuf::from));
    let path = named.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_NAME));
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(&path, &text),
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => Default::default(),
        Err(error) => {
            let fault = Fault {
                place: path.display().to_string(),
                message: format!("cannot be read: {error}"),
            };
            (File::default(), vec![fault])
        }
    }
}

fn parse(path: &Path, text: &str) -> (File, Vec<Fault>) {
    let name = path.display().to_string();
    let mut file = File {
        name: name.clone(),
        ..File::default()
    };
    let mut faults = Vec::new();
    let table: Table = match text.parse() {
        Ok(table) => table,
        Err(error) => {
            // The parser's own text shows the whole line, which may hold a secret.
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let message = format!("line {line}: {}", error.message());
            faults.push(Fault { place: name, message });
            return (file, faults);
        }
    };
    for (section, value) in table {
        let Value::Table(entries) = value else {
            faults.push(unknown(&name, &section));
            continue;
        };
        if section == CONNECTORS {
            for (job_type, value) in entries {
                match value.try_into() {
                    Ok(text) => _ = file.connectors.insert(job_type, text),
                    Err(error) => faults.push(Fault {
                        place: format!("{name}, connectors.\"{job_type}\""),
                        message: format!("{}; it takes `max_jobs`, a whole number", error.message()),
                    }),
                }
            }
            continue;
        }
        if section == IDENTITIES {
            for (identity, value) in entries {
                match value.try_into() {
                    Ok(text) => _ = file.identities.insert(identity, text),
                    // The parser's text may show a value, which may be a secret.
                    Err(_) => faults.push(Fault {
                        place: format!("{name}, identities.{identity}"),
                        message: format!("holds an unknown key or a value of the wrong kind; the keys are {KEYS}"),
                    }),
                }
            }
            continue;
        }
        for (entry, value) in entries {
            let key = format!("{section}.{entry}");
            if let Err(fault) = file.take(&key, value) {
                faults.push(fault);
            }
        }
    }
    (file, faults)
}

impl File {
    fn take(&mut self, key: &str, value: Value) -> Result<(), Fault> {
        let fault = |message: String| Fault {
            place: format!("{}, {key}", self.name),
            message,
        };
        if key == RULES {
            self.rules = value.try_into().map_err(|error: toml::de::Error| {
                fault(format!(
                    "{}; a rule has `name`, `hosts` and perhaps `connectors`, `processes`, `tenants`",
                    error.message()
                ))
            })?;
            return Ok(());
        }
        if key == LIMITS {
            self.limits = value.try_into().map_err(|error: toml::de::Error| {
                fault(format!(
                    "{}; a limit has `connections`, a list of texts, and `max_running`, a whole number",
                    error.message()
                ))
            })?;
            return Ok(());
        }
        let Some(setting) = Setting::find(key) else {
            return Err(unknown(&self.name, key));
        };
        let text = match value {
            Value::String(text) => text,
            Value::Integer(number) => number.to_string(),
            Value::Boolean(switch) => switch.to_string(),
            Value::Array(items) if setting.kind == Kind::List => {
                let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
                texts.ok_or_else(|| fault("must be a list of texts".into()))?.join(",")
            }
            other => {
                return Err(fault(format!(
                    "is {}, but takes {}",
                    other.type_str(),
                    setting.kind.placeholder()
                )));
            }
        };
        self.values.insert(setting.key, text);
        Ok(())
    }
}

fn unknown(file: &str, key: &str) -> Fault {
    let hint = match nearest(key, SETTINGS.iter().map(|setting| setting.key)) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => String::new(),
    };
    Fault {
        place: format!("{file}, {key}"),
        message: format!("there is no such setting{hint}"),
    }
}
