//! `deskhand run`: the worker.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, reload};

use super::output::complain;
use super::settings::{Settings, not_started};
use super::signals::Signals;
use super::{FAILURE, INTERNAL, USAGE};
use crate::admin::{self, LogLevel, Readiness};
use crate::config::{Config, Log};
use crate::connector::expiry;
use crate::engine::Engine;
use crate::engine::credentials::Authority;
use crate::feel;
use crate::http;
use crate::http::token::Tokens;
use crate::mapping::Mapper;
use crate::progress::Progress;
use crate::runs::callback::{Peers, Published, Receiver};
use crate::runs::turns::Turns;
use crate::secrets::Known;
use crate::secrets::allow_list::AllowList;
use crate::secrets::masked_output::MaskedOutput;
use crate::spans::Export;
use crate::worker::{self, Ended, Pipeline};

/// How often an engine that was never seen is asked for; the job streams look for it by themselves.
const LOOK_FOR_ENGINE: Duration = Duration::from_millis(500);

/// Take jobs from the engine and work on them until SIGTERM or Ctrl-C.
///
/// The engine need not be there yet; when it goes away, deskhand waits for it. After the first signal no job is taken
/// any more and running ones may finish; a second signal cuts.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Secrets come from the environment: {{secrets.TOKEN}} in a task is SECRET_TOKEN here. Where each may be sent is a rule in deskhand.toml.

Examples:
  deskhand run                                          the engine at localhost:26500
  ZEEBE_ADDRESS=http://zeebe:26500 deskhand run         the names of Camunda's own clients work
  deskhand run --max-jobs 100 --log-format json")]
pub(super) struct Args {
    #[command(flatten)]
    settings: Settings,
}

pub(super) async fn run(args: Args) -> ExitCode {
    let config = match args.settings.load() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let log_level = match start_logging(&config.log, &config.known) {
        Ok(log_level) => log_level,
        Err(error) => {
            complain(format_args!("{error}"));
            return ExitCode::from(USAGE);
        }
    };
    quiet_panics();
    let export = match Export::start(config.otlp.as_ref(), &config.known) {
        Ok(export) => export,
        Err(error) => {
            complain(format_args!("{error}"));
            return ExitCode::from(USAGE);
        }
    };
    let parts = match Parts::new(&config) {
        Ok(parts) => parts,
        Err((code, message)) => {
            complain(format_args!("{message}"));
            return ExitCode::from(code);
        }
    };
    let stop = CancellationToken::new();
    match Signals::catch() {
        Ok(signals) => signals.stop_then_cut(stop.clone()),
        Err(error) => {
            complain(format_args!("signals cannot be caught: {error}"));
            return ExitCode::from(INTERNAL);
        }
    }
    let readiness = Readiness::default();
    let turns = parts.pipeline.connectors().find_map(|connector| connector.turns());
    if let Some(listen) = config.admin
        && let Err(error) = admin::start(
            listen,
            readiness.clone(),
            log_level,
            config.known.clone(),
            turns.clone(),
        )
        .await
    {
        return not_started("the port for operations", listen, &error);
    }
    if let Some(callback) = &config.callback {
        let watchers = parts.pipeline.connectors().find_map(|connector| connector.watcher());
        if let Some(watcher) = watchers {
            let peers = match http::Client::new() {
                Ok(client) => {
                    let tokens = config.connectors.desktop_flow.once.tokens.clone();
                    Peers::new(callback.peers.clone(), client, tokens)
                }
                Err(_) => None,
            };
            let hints = parts.pipeline.connectors().find_map(|connector| connector.outbox());
            let published = hints.map(|outbox| Published {
                tokens: config.connectors.desktop_flow.once.tokens.clone(),
                hints: outbox.hints().clone(),
            });
            let receiver = Receiver::with_peers(watcher, peers, published);
            if let Err(error) = receiver.listen(callback.listen).await {
                return not_started("the receiver of callbacks", callback.listen, &error);
            }
        }
    }
    for used in &config.used {
        tracing::debug!(setting = used.key, value = used.shown, from = %used.source, "setting");
    }
    tracing::info!("{}", AllowList::new(config.secrets.allow_list.clone()).describe());
    if config
        .secrets
        .environment
        .as_ref()
        .is_some_and(|environment| environment.prefix.is_empty())
    {
        tracing::warn!("secrets.prefix is empty: a task can name any environment variable of this process as a secret");
    }
    readiness.clone().until_stopped(stop.clone());
    let expiry = match config.identities() {
        Ok(identities) => tokio::spawn(expiry::watch(identities, config.engine.credentials.certificate())),
        Err(error) => {
            complain(format_args!("HTTP cannot be set up: {error}"));
            return ExitCode::from(INTERNAL);
        }
    };
    let seen = tokio::spawn(look_for_engine(parts.engine.clone(), readiness.clone()));
    let ended = worker::run(
        parts.engine,
        parts.pipeline,
        config.worker,
        Progress::none(),
        stop.clone(),
    )
    .await;
    seen.abort();
    forget_pauses(turns.as_ref());
    expiry.abort();
    export.finish().await;
    match ended {
        Ended::Drained => {
            tracing::info!("stopped; nothing was left behind");
            ExitCode::SUCCESS
        }
        Ended::Left(jobs) => {
            tracing::warn!(
                jobs,
                "stopped; these jobs were left to their lease: the engine gives them out again when it has lapsed"
            );
            ExitCode::from(FAILURE)
        }
    }
}

/// Pauses that were begun while we ran end with us: nobody shall find out by a start that was not wanted.
fn forget_pauses(turns: Option<&Turns>) {
    let paused = turns.map(Turns::paused).unwrap_or_default();
    for paused in paused.iter().filter(|paused| !paused.by_setting) {
        tracing::warn!(
            pattern = %paused.pattern,
            "the pause that was begun by hand ends with this worker; desktop_flow.pause would outlast it"
        );
    }
}

/// What a worker is made of.
struct Parts {
    engine: Engine,
    pipeline: Arc<Pipeline>,
}

impl Parts {
    fn new(config: &Config) -> Result<Self, (u8, String)> {
        let http_fault = |error: http::Error| (INTERNAL, format!("HTTP cannot be set up: {error}"));
        let client = http::Client::new().map_err(http_fault)?;
        let connectors = config.connectors().map_err(http_fault)?;
        if connectors.is_empty() {
            let message = "worker.job_types names no job type that deskhand knows: io.camunda:http-json:1, deskhand:desktop-flow:1";
            return Err((USAGE, message.into()));
        }
        let usage = |error: &dyn std::fmt::Display| (USAGE, error.to_string());
        let audit = &config.connectors.desktop_flow.audit;
        audit
            .open()
            .map_err(|error| (USAGE, format!("audit.file cannot be appended to: {error}")))?;
        let tokens = Tokens::new(client).remembering(config.known.clone());
        let authority = Authority::new(&config.engine.credentials, Arc::new(tokens)).map_err(|error| usage(&error))?;
        let engine = Engine::new(config.engine.clone(), authority).map_err(|error| usage(&error))?;
        let mapper = Mapper::new(feel::Settings {
            limits: config.feel.clone(),
            ..feel::Settings::default()
        });
        let secrets = config.secrets().map_err(http_fault)?;
        let pipeline = Pipeline::new(connectors, secrets, mapper, Progress::none());
        Ok(Self {
            engine,
            pipeline: Arc::new(pipeline),
        })
    }
}

/// Ready once the engine was seen; whether it is there later is the streams' business, not a reason to restart us.
async fn look_for_engine(engine: Engine, readiness: Readiness) {
    loop {
        match engine.topology().await {
            Ok(topology) => {
                tracing::info!(
                    version = topology.gateway_version,
                    brokers = topology.brokers,
                    partitions = topology.partitions,
                    "the engine is there"
                );
                return readiness.engine_seen();
            }
            Err(status) => {
                tracing::info!(address = engine.settings().address, code = ?status.code(), reason = status.message(), "waiting for the engine");
                tokio::time::sleep(LOOK_FOR_ENGINE.mul_f64(0.5 + fastrand::f64())).await;
            }
        }
    }
}

pub(super) fn start_logging(log: &Log, known: &Known) -> Result<LogLevel, String> {
    let filter = EnvFilter::try_new(&log.filter).map_err(|error| {
        format!(
            "log.filter `{}` is not a filter like info,deskhand::engine=debug ({error})",
            log.filter
        )
    })?;
    let (filter, handle) = reload::Layer::new(filter);
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(MaskedOutput::new(known.clone(), std::io::stderr))
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    let started = if log.json {
        registry.with(lines.json()).try_init()
    } else {
        registry.with(lines).try_init()
    };
    let started = started.map(|()| log_level(&log.filter, handle));
    started.map_err(|error| format!("logging cannot be started: {error}"))
}

/// What is logged, as a value that the port for operations can change.
fn log_level<S: 'static>(filter: &str, handle: reload::Handle<EnvFilter, S>) -> LogLevel {
    LogLevel::new(filter, move |text| {
        let filter = EnvFilter::try_new(text).map_err(|error| error.to_string())?;
        handle.reload(filter).map_err(|error| error.to_string())
    })
}

/// A panic's message may hold anything a job brought along: the place is said, the message is not.
fn quiet_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a defect in deskhand");
    }));
}
