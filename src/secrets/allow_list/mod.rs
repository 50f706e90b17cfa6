//! Which secrets a task may use, and in which fields: what the task's diagram declares. The places of a job's references go
//! in, nothing or a refusal comes out.
//!
//! A process's variables come from anywhere: whoever can write `{{secrets.X}}` into one would make the worker send the
//! secret. A reference therefore counts only where the diagram itself wrote it: in an input mapping of this element, at
//! this field or one above it ([`diagrams`] reads them from a directory, [`definitions`] asks the engine for them). Without diagrams, references count in fields that carry
//! credentials, and in no others.

pub mod declared;
pub mod definitions;
pub mod diagrams;

use std::path::PathBuf;
use std::sync::Arc;

use url::Url;

use super::provider::{ProviderError, SecretScope};
use super::reference::Form;
use crate::metrics::metrics;
use crate::outcome::JobError;
use declared::Declared;
use definitions::Definitions;
use diagrams::Diagrams;

/// How strictly diagrams are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// What no diagram declares is refused; while diagrams cannot be read, jobs wait.
    #[default]
    Strict,
    /// A process without a diagram may use every secret, with a warning; so may all while diagrams cannot be read.
    Lax,
    /// Diagrams are not asked.
    Off,
}

/// Where references count when no diagram is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fields {
    /// In fields that carry credentials or say where a call goes.
    #[default]
    Credentials,
    /// In all.
    All,
}

/// What operations say about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// A directory with the diagrams that are deployed.
    pub diagrams: Option<PathBuf>,
    /// In their place: the engine's REST API, which has them.
    pub engine: Option<Url>,
    /// How strictly they are asked.
    pub mode: Mode,
    /// Where references count without them.
    pub fields: Fields,
}

/// Variables (of any connector) below which a reference counts without a diagram: they carry credentials, or are where a
/// call goes, which rules bind. A URL's query is none of them.
const CREDENTIAL_FIELDS: &[&str] = &[
    "authentication",
    "authenticationConfiguration",
    "headers",
    "clientTls",
    "url",
    "organizationUri",
];

/// A reference at a field of a job's variables.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The secret's name.
    pub name: String,
    /// How it is written.
    pub form: Form,
    /// Names joined by dots; list elements share their list's path. `url?` is the query of `url`.
    pub path: String,
}

/// Decides.
pub struct AllowList {
    settings: Settings,
    source: Option<Source>,
}

/// Where diagrams come from.
enum Source {
    Directory(Diagrams),
    Engine(Definitions),
    /// An engine that was configured and that nobody can ask: what it would say is not known.
    Nobody,
}

impl Source {
    async fn declared(&self, scope: &SecretScope<'_>) -> Result<Arc<Declared>, ProviderError> {
        match self {
            Source::Directory(diagrams) => diagrams.current().await,
            Source::Engine(definitions) => definitions.of(scope.process_definition_key).await,
            Source::Nobody => Err(ProviderError("the engine is not asked here".into())),
        }
    }

    fn shown(&self) -> String {
        match self {
            Source::Directory(diagrams) => format!("No diagram in {}", diagrams.directory().display()),
            Source::Engine(_) | Source::Nobody => "No diagram of the engine's".into(),
        }
    }
}

impl AllowList {
    /// Decides by these settings.
    pub fn new(settings: Settings) -> Self {
        let source = match (&settings.engine, &settings.diagrams) {
            _ if settings.mode == Mode::Off => None,
            (Some(_), _) => Some(Source::Nobody),
            (None, Some(directory)) => Some(Source::Directory(Diagrams::new(directory.clone()))),
            (None, None) => None,
        };
        Self { source, settings }
    }

    /// The same, with the engine asked in this way, if it is to be asked.
    #[must_use]
    pub fn asking(mut self, definitions: Definitions) -> Self {
        if let Some(Source::Nobody) = self.source {
            self.source = Some(Source::Engine(definitions));
        }
        self
    }

    /// Allows every reference everywhere.
    pub fn open() -> Self {
        Self::new(Settings {
            fields: Fields::All,
            ..Settings::default()
        })
    }

    /// What this list does, one line for the log and for `deskhand check --policy`.
    pub fn describe(&self) -> String {
        let Settings {
            diagrams,
            engine,
            mode,
            fields,
        } = &self.settings;
        let diagrams = match (engine, diagrams) {
            (Some(engine), _) => Some(format!("of the engine ({})", engine.host_str().unwrap_or_default())),
            (None, Some(directory)) => Some(format!("in {}", directory.display())),
            (None, None) => None,
        };
        match (diagrams, mode, fields) {
            (Some(diagrams), Mode::Strict, _) => {
                format!("secrets are used only where the diagrams {diagrams} declare them")
            }
            (Some(diagrams), Mode::Lax, _) => format!(
                "secrets are used where the diagrams {diagrams} declare them; processes without a diagram may use all"
            ),
            (_, _, Fields::Credentials) => format!(
                "no diagrams (secrets.diagrams): secrets are used only in {}, not in bodies, inputs or queries",
                CREDENTIAL_FIELDS.join(", ")
            ),
            (_, _, Fields::All) => "secrets are used in every field, whoever wrote the reference there".into(),
        }
    }

    /// May these references be resolved?
    ///
    /// # Errors
    /// An incident that names secret, field and what to change. Diagrams that cannot be read are a [`Refusal::Unknown`].
    pub async fn check(&self, places: &[Place], scope: &SecretScope<'_>) -> Result<(), Refusal> {
        let Some(source) = &self.source else {
            return match self.settings.fields {
                Fields::All => Ok(()),
                Fields::Credentials => by_field(places),
            };
        };
        // Boxed: every job would carry its several KiB, those without secrets too.
        let declared = match Box::pin(source.declared(scope)).await {
            Ok(declared) => declared,
            Err(error) if self.settings.mode == Mode::Lax => {
                tracing::warn!(%error, "the diagrams cannot be read: every secret is allowed, as secrets.allow_list = \"lax\" says");
                return Ok(());
            }
            Err(error) => return Err(Refusal::Unknown(error)),
        };
        if !declared.knows_process(scope.bpmn_process_id) {
            if self.settings.mode == Mode::Lax {
                tracing::warn!(
                    process = scope.bpmn_process_id,
                    "no diagram of this process: every secret is allowed, as secrets.allow_list = \"lax\" says"
                );
                return Ok(());
            }
            return Err(refused(format!(
                "{} has the process '{}', so its tasks may use no secret. Operations put the deployed diagram there; the \
                 job can be tried again then.",
                source.shown(),
                scope.bpmn_process_id,
            )));
        }
        match places.iter().find(|place| !declared.allows(scope, place)) {
            None => Ok(()),
            Some(place) => Err(refused(not_declared(&declared, scope, place))),
        }
    }
}

/// Why a reference is not resolved.
#[derive(Debug)]
pub enum Refusal {
    /// It is not allowed.
    Refused(Box<JobError>),
    /// It cannot be said now.
    Unknown(ProviderError),
}

fn refused(message: String) -> Refusal {
    metrics().policy_refused("field");
    let mut error = JobError::input(message);
    error.code = Some("SECRET_NOT_DECLARED".into());
    Refusal::Refused(Box::new(error))
}

fn not_declared(declared: &Declared, scope: &SecretScope<'_>, place: &Place) -> String {
    let elsewhere = declared.paths_of(scope, &place.name);
    let hint = if elsewhere.is_empty() {
        "none of its input mappings holds this reference".to_owned()
    } else {
        format!("its diagram has it in {} only", elsewhere.join(", "))
    };
    format!(
        "The secret '{}' may not be used in the field `{}` of the task '{}': {hint}. A reference counts only where the \
         diagram itself has it, not where a variable brings it. Nothing was sent.{}",
        place.name,
        place.path,
        scope.element_id,
        bare(place),
    )
}

fn by_field(places: &[Place]) -> Result<(), Refusal> {
    let is_credential = |path: &str| {
        let root = path.split('.').next().unwrap_or_default();
        CREDENTIAL_FIELDS.contains(&root)
    };
    match places.iter().find(|place| !is_credential(&place.path)) {
        None => Ok(()),
        Some(place) => Err(refused(format!(
            "The secret '{}' may not be used in the field `{}`: without diagrams to compare with, secrets are used only in \
             {}. Nothing was sent. Operations either show the deployed diagrams (deskhand.toml: [secrets] diagrams = \
             \"DIRECTORY\") or allow all fields (fields = \"all\").{}",
            place.name,
            place.path,
            CREDENTIAL_FIELDS.join(", "),
            bare(place),
        ))),
    }
}

fn bare(place: &Place) -> String {
    match place.form {
        Form::Braced => String::new(),
        Form::Bare => format!(
            " If the text only happens to say `secrets.{}`, operations can set bare_references = false.",
            place.name
        ),
    }
}

impl std::fmt::Debug for AllowList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.settings.fmt(f)
    }
}
