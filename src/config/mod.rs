//! From what was typed to what it means: flags > environment > `deskhand.toml` go in, a [`Config`] comes out, or every
//! fault at once ([`Faults`]).
//!
//! [`settings`] is the one table of all settings; flags, the reference file and the README's table are made from it.

mod callback;
mod engine;
mod file;
mod identities;
mod messages;
mod otlp;
pub mod reference;
pub mod rehearsal;
pub mod settings;
mod sources;
mod starts;
mod stores;
mod turns;
mod values;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::audit::Audit;
use crate::connector::identity;
use crate::engine::credentials::Authority;
use crate::http::token::{Tokens, managed};
use crate::secrets::allow_list::{self, definitions::Definitions};
use crate::secrets::cached::{Ages, Cached};
use crate::secrets::output::OnSecret;
use crate::secrets::policy::{self, Cloud};
use crate::secrets::provider::Provider;
use crate::secrets::{self, environment};
use crate::secrets::{key_vault, vault};
use crate::{connector, engine as engine_room, feel, http, worker};
pub use callback::Callback;
pub use file::RuleText;
pub use otlp::Otlp;
pub use sources::{Environment, Flags, Process, Source, Sources, Used};
pub use values::Kind;

/// What deskhand was told to do. Every value is valid by itself and with the others.
#[derive(Clone, Debug)]
pub struct Config {
    /// The process engine.
    pub engine: engine_room::Settings,
    /// Intake and drain.
    pub worker: worker::Settings,
    /// Where secrets come from.
    pub secrets: secrets::Settings,
    /// HashiCorp Vault as a store of secrets.
    pub vault: Option<vault::Settings>,
    /// Azure Key Vault as a store of secrets.
    pub key_vault: Option<key_vault::Settings>,
    /// As whom tasks may call by name.
    pub identities: Vec<identity::Settings>,
    /// Who gives this machine's own tokens.
    pub machine: managed::Service,
    /// How long values of remote stores count.
    pub ages: Ages,
    /// Where they may go.
    pub policy: policy::Settings,
    /// What tasks may reach beside the public Internet.
    pub network: Vec<http::guard::Allowed>,
    /// The connectors.
    pub connectors: connector::Settings,
    /// What one evaluation of an expression may cost.
    pub feel: feel::Limits,
    /// Job types that are worked on; empty: all that deskhand knows.
    pub job_types: Vec<String>,
    /// Logs.
    pub log: Log,
    /// Export of spans; `None`: none.
    pub otlp: Option<Otlp>,
    /// Address where callbacks of runs are received; `None`: nowhere.
    pub callback: Option<Callback>,
    /// Address of the port for operations; `None`: no such port.
    pub admin: Option<SocketAddr>,
    /// Each setting that was not left at its default, and where it came from.
    pub used: Vec<Used>,
    /// Every secret value of this process; what is made of this configuration shares it.
    pub known: secrets::Known,
}

/// How logs look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// A filter like `info,deskhand::engine=debug`.
    pub filter: String,
    /// JSON lines instead of text.
    pub json: bool,
}

/// Something in the configuration that cannot work: where it was written, what was found, what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The flag, variable or file and key.
    pub place: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// All faults of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    fn text(&self) -> String {
        let lines: Vec<String> = self
            .0
            .iter()
            .map(|fault| format!("{}: {}", fault.place, fault.message))
            .collect();
        lines.join("\n")
    }
}

impl Config {
    /// Reads every source and checks everything.
    ///
    /// # Errors
    /// Every fault that there is, not only the first.
    pub fn load(flags: &Flags, environment: &dyn Environment) -> Result<Self, Faults> {
        let (file, mut faults) = file::read(flags, environment);
        let mut sources = Sources::new(flags, environment, file);
        let config = Self::from_sources(&mut sources);
        faults.append(&mut sources.faults);
        if faults.is_empty() {
            Ok(config)
        } else {
            Err(Faults(faults))
        }
    }

    fn from_sources(s: &mut Sources<'_>) -> Self {
        let rules = s.rules();
        let network = s.allowed_network("network.allow");
        let engine = engine::settings(s);
        let callback = callback::settings(s);
        let mut once = starts::settings(s, &engine);
        once.callback_url = callback.as_ref().map(|callback| callback.public_url.clone());
        let cloud = Cloud::named(s.choice("secrets.cloud")).unwrap_or_default();
        let organizations = s.organizations("secrets.organizations", cloud);
        let identities = identities::identities(s, cloud);
        let plain_http_hosts = s.list("desktop_flow.plain_http_hosts");
        let outbox = messages::settings(s, &identities, &plain_http_hosts);
        Self {
            network,
            key_vault: stores::key_vault(s, &identities),
            identities,
            machine: identities::machine(s),
            engine,
            vault: stores::vault(s),
            ages: Ages {
                fresh: s.duration("secrets.fresh"),
                stale: s.duration("secrets.stale"),
            },
            worker: worker::Settings {
                max_jobs: s.count("worker.max_jobs", 1..=100_000),
                own_max_jobs: s.own_max_jobs(1..=100_000),
                max_parked: s.count("worker.max_parked", 0..=1_000_000),
                heartbeats_per_second: s.count("worker.heartbeats_per_second", 1..=100_000),
                job_timeout: s.duration("worker.job_timeout"),
                poll_interval: s.duration("worker.poll_interval"),
                stream_enabled: s.switch("worker.stream_enabled"),
                drain_grace: s.duration("worker.drain_grace"),
                leases: match s.choice("worker.leases") {
                    "preferred" => worker::Leases::Preferred,
                    "required" => worker::Leases::Required,
                    _ => worker::Leases::Off,
                },
                clock: worker::Clock::system(),
            },
            secrets: secrets::Settings {
                environment: s.switch("secrets.environment").then(|| environment::Settings {
                    prefix: s.text("secrets.prefix"),
                    tenant_aware: s.switch("secrets.tenant_aware"),
                    process_aware: s.switch("secrets.process_aware"),
                }),
                directory: s.optional("secrets.directory").map(PathBuf::from),
                dotenv: s.optional("secrets.dotenv").map(PathBuf::from),
                order: s.store_kinds("secrets.order"),
                bare_references: s.switch("secrets.bare_references"),
                allow_list: allow_list::Settings {
                    diagrams: s.optional("secrets.diagrams").map(PathBuf::from),
                    engine: stores::engine_rest(s),
                    mode: match s.choice("secrets.allow_list") {
                        "lax" => allow_list::Mode::Lax,
                        "off" => allow_list::Mode::Off,
                        _ => allow_list::Mode::Strict,
                    },
                    fields: match s.choice("secrets.fields") {
                        "all" => allow_list::Fields::All,
                        _ => allow_list::Fields::Credentials,
                    },
                },
                output: secrets::output::Settings {
                    on_secret: match s.choice("secrets.on_secret_in_output") {
                        "mask" => OnSecret::Mask,
                        _ => OnSecret::Incident,
                    },
                    allow: s.list("secrets.allow_in_output"),
                },
            },
            policy: policy::Settings {
                rules,
                organizations,
                cloud,
            },
            connectors: connector::Settings {
                http_json: connector::http_json::Settings {
                    flow_starts_once: s.switch("http.flow_starts_once"),
                    max_response_bytes: s.count("http.max_response_bytes", 1_024..=1_073_741_824),
                    total_timeout: s.duration("http.total_timeout"),
                },
                desktop_flow: connector::desktop_flow::Settings {
                    outputs_max_bytes: s.count("desktop_flow.max_output_bytes", 1_024..=33_554_432),
                    save_dir: s.optional("desktop_flow.save_dir").map(PathBuf::from),
                    missing_grace: s.duration("desktop_flow.missing_grace"),
                    longest_pause: s.duration("desktop_flow.longest_pause"),
                    timeouts: crate::microsoft::dataverse::Timeouts {
                        start: s.duration("desktop_flow.start_timeout"),
                        ..Default::default()
                    },
                    once,
                    turns: turns::settings(s),
                    audit: Audit::new(s.optional("audit.file").map(PathBuf::from)),
                    authority: cloud.authority(),
                    outbox,
                    plain_http_hosts,
                    ..connector::desktop_flow::Settings::default()
                },
                identities: None,
            },
            feel: limits(s),
            job_types: s.job_types("worker.job_types"),
            log: Log {
                filter: s.text("log.filter"),
                json: s.choice("log.format") == "json",
            },
            otlp: otlp::settings(s),
            callback,
            admin: s
                .optional("admin.listen")
                .and_then(|text| s.socket_address("admin.listen", &text)),
            used: std::mem::take(&mut s.used),
            known: s.known.clone(),
        }
    }

    /// The secrets of this configuration, environment variables read from the process.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn secrets(&self) -> Result<secrets::Secrets, http::Error> {
        let mut far = self.far_stores()?;
        if let Some(settings) = &self.key_vault {
            let identities = self.identities()?;
            let store = key_vault::KeyVault::new(http::Client::new()?, settings.clone(), move |url, name| {
                let identities = identities.clone();
                Box::pin(async move { identities.token_for_operations(&name, &url).await })
            });
            far.push(Box::new(Cached::new(store, self.ages)));
        }
        let secrets = self.secrets_of(far);
        Ok(match self.definitions()? {
            None => secrets,
            Some(definitions) => secrets.asking(self.secrets.allow_list.clone(), definitions),
        })
    }

    /// The engine's process definitions, where its REST API is to be asked.
    fn definitions(&self) -> Result<Option<Definitions>, http::Error> {
        let Some(address) = self.secrets.allow_list.engine.clone() else {
            return Ok(None);
        };
        let invalid = |error: String| http::Error::Invalid(error);
        let client = http::Client::new()?;
        let tokens = Tokens::new(client.clone()).remembering(self.known.clone());
        let authority = Authority::new(&self.engine.credentials, Arc::new(tokens));
        let authority = authority.map_err(|error| invalid(error.to_string()))?;
        let tls = self.engine.client_tls().map_err(invalid)?;
        Ok(Some(Definitions::new(client, address, tls, move || {
            let authority = authority.clone();
            Box::pin(async move { authority.header().await.map_err(|status| status.message().to_owned()) })
        })))
    }

    /// Stores that need no identity.
    fn far_stores(&self) -> Result<Vec<Box<dyn Provider>>, http::Error> {
        let mut far: Vec<Box<dyn Provider>> = Vec::new();
        if let Some(settings) = &self.vault {
            let vault = vault::Vault::new(http::Client::new()?, settings.clone(), self.known.clone());
            far.push(Box::new(Cached::new(vault, self.ages)));
        }
        Ok(far)
    }

    fn secrets_of(&self, far: Vec<Box<dyn Provider>>) -> secrets::Secrets {
        let variable = |name: &str| std::env::var(name).ok();
        secrets::Secrets::from_settings_and(&self.secrets, variable, far).remembering(self.known.clone())
    }

    /// The identities of this configuration. Their own secrets come from every store but Key Vault, which needs an
    /// identity itself. Their endpoints are operations' own: no guard stands before them.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn identities(&self) -> Result<Arc<identity::Identities>, http::Error> {
        let tokens = Tokens::new(http::Client::new()?).remembering(self.known.clone());
        let secrets = self.secrets_of(self.far_stores()?);
        let identities = identity::Identities::new(self.identities.iter().cloned(), secrets, Arc::new(tokens));
        Ok(Arc::new(identities.on_machine(self.machine.clone())))
    }

    /// The guard of URLs that come from tasks. A host that operations name elsewhere (in a rule, among the organisations)
    /// is allowed by that; a pattern that many names match is not.
    fn guard(&self) -> http::guard::Guard {
        let rules = self.policy.rules.iter().flat_map(|rule| rule.hosts());
        let identities = self.identities.iter().flat_map(|identity| &identity.hosts);
        let named = rules.chain(&self.policy.organizations).chain(identities);
        let named = named.filter(|host| host.is_exact());
        let named = named.cloned().map(http::guard::Allowed::Host);
        http::guard::Guard::new(self.network.iter().cloned().chain(named).collect())
    }

    /// The connectors of this configuration that are worked on, ready to work.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn connectors(&self) -> Result<Vec<Arc<dyn connector::Connector>>, http::Error> {
        let mut all = self.all_connectors()?;
        if !self.job_types.is_empty() {
            all.retain(|connector| self.job_types.iter().any(|name| name == connector.job_type()));
        }
        Ok(all)
    }

    /// Every connector of this configuration, whatever job types are worked on.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn all_connectors(&self) -> Result<Vec<Arc<dyn connector::Connector>>, http::Error> {
        let client = http::Client::guarded(self.guard())?;
        let tokens = Arc::new(http::token::Tokens::new(client.clone()).remembering(self.known.clone()));
        let policy = policy::Policy::new(self.policy.clone());
        let mut settings = self.connectors.clone();
        settings.identities = Some(self.identities()?);
        Ok(connector::all(&client, &tokens, &policy, &settings))
    }
}

/// Bounds are those of the stacks that evaluations run on ([`feel::Limits`]), and of what counts as a limit at all.
fn limits(s: &mut Sources<'_>) -> feel::Limits {
    feel::Limits {
        fuel: s.count("feel.fuel", 1..=1_000_000_000_000) as u64,
        deadline: s.duration("feel.deadline"),
        cells: s.count("feel.cells", 1..=1_000_000_000),
        nesting: s.count("feel.nesting", 1..=256),
        value_nesting: s.count("feel.value_nesting", 1..=300),
        chain: s.count("feel.chain", 1..=1_000_000),
        call_depth: s.count("feel.call_depth", 1..=1_000),
        regex_steps: s.count("feel.regex_steps", 1..=1_000_000_000),
        output_bytes: s.count("feel.output_bytes", 1..=1_073_741_824),
    }
}
