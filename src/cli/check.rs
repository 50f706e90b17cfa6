//! `deskhand check`: what would be used, from where, do the engine and the organisations of the outbox answer?

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::json;

use super::output::{complain, line};
use super::settings::Settings;
use super::{UNAVAILABLE, USAGE};
use crate::config::Config;
use crate::engine::credentials::Authority;
use crate::engine::{Credentials, Engine, Reason};
use crate::http;
use crate::http::token::Tokens;

const PATIENCE: Duration = Duration::from_secs(10);
/// Signing in and two calls.
const OUTBOX_PATIENCE: Duration = Duration::from_secs(60);

/// Check the configuration and whether the engine answers, without taking a job.
///
/// Prints every setting that is not left at its default and where it came from, then each step: address, TLS, credentials,
/// topology, tenants, a job stream that is open for a second; and for each organisation of messages.outbox whether its
/// identity signs in and may look at runs that ended. A step that hangs on one that failed is left out. Exit code 0 when all
/// is well, 64 when the configuration cannot work, 69 when the engine or an organisation cannot be reached or refuses us.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  deskhand check
  deskhand check --policy
  deskhand check --identity rpa-prod --environment https://contoso.crm4.dynamics.com
  ZEEBE_ADDRESS=https://zeebe.example.com:443 deskhand check --json")]
pub(super) struct Args {
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
    /// Print who may send which secret where, and nothing else: no server is asked.
    #[arg(long)]
    policy: bool,
    /// Sign in as this identity and look around in --environment: token, who am I, flows, machines, connections.
    #[arg(long, value_name = "NAME", requires = "environment")]
    identity: Option<String>,
    /// The organisation that --identity looks at, e.g. https://contoso.crm4.dynamics.com.
    #[arg(long, value_name = "URL", requires = "identity")]
    environment: Option<String>,
    #[command(flatten)]
    settings: Settings,
}

/// One thing that was tried.
struct Step {
    name: &'static str,
    result: Result<String, String>,
}

pub(super) async fn run(args: Args) -> ExitCode {
    let config = match args.settings.load() {
        Ok(config) => config,
        Err(code) => return code,
    };
    if args.policy {
        return super::policy::print(&config, args.json);
    }
    if let (Some(identity), Some(environment)) = (&args.identity, &args.environment) {
        return super::identity::check(&config, identity, environment, args.json).await;
    }
    let engine = match engine(&config) {
        Ok(engine) => engine,
        Err(message) => {
            complain(format_args!("{message}"));
            return ExitCode::from(USAGE);
        }
    };
    let mut steps = steps(&config, &engine).await;
    steps.extend(outbox(&config).await);
    let well = steps.iter().all(|step| step.result.is_ok());
    if args.json {
        print_json(&config, &steps, well);
    } else {
        print_text(&config, &steps);
    }
    if well {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(UNAVAILABLE)
    }
}

/// Each step in turn, up to the first that fails.
async fn steps(config: &Config, engine: &Engine) -> Vec<Step> {
    let used = config.used.len();
    let mut steps = vec![Step {
        name: "configuration",
        result: Ok(format!("settings that are not left at their default: {used}")),
    }];
    let ways: [(&'static str, BoxFuture<'_, Result<String, String>>); 6] = [
        ("address", address(config, engine).boxed()),
        ("tls", tls(engine).boxed()),
        ("credentials", credentials(&config.engine.credentials, engine).boxed()),
        ("topology", topology(engine).boxed()),
        ("tenants", tenants(config, engine).boxed()),
        ("job stream", job_stream(engine).boxed()),
    ];
    for (name, trying) in ways {
        let result = trying.await;
        let failed = result.is_err();
        steps.push(Step { name, result });
        if failed {
            break;
        }
    }
    steps
}

/// Each organisation whose ends of runs are published is looked at as it is while the worker runs.
async fn outbox(config: &Config) -> Vec<Step> {
    let step = |result| Step { name: "outbox", result };
    let connectors = match config.connectors() {
        Ok(connectors) => connectors,
        Err(error) => return vec![step(Err(format!("HTTP cannot be set up: {error}")))],
    };
    let Some(outbox) = connectors.iter().find_map(|connector| connector.outbox()) else {
        return Vec::new();
    };
    let looks = outbox.targets().iter().map(|target| async {
        let (identity, organization) = (&target.identity, target.organization.as_str());
        let seen = match tokio::time::timeout(OUTBOX_PATIENCE, outbox.try_look(target)).await {
            Ok(seen) => seen,
            Err(_) => Err(format!("no answer within {} s", OUTBOX_PATIENCE.as_secs())),
        };
        match seen {
            Ok(runs) => Ok(format!(
                "'{identity}' looks at {organization}: {runs} ends of runs to publish within the last ten minutes"
            )),
            Err(problem) => Err(format!(
                "'{identity}' cannot look at {organization}, so no process is told that its run has ended: {}. Step by step: \
                 deskhand check --identity {identity} --environment {organization}",
                problem.trim_end_matches('.')
            )),
        }
    });
    let looks = futures_util::future::join_all(looks).await;
    // What a server says may repeat what it was shown.
    let redactor = config.known.redactor();
    let shown = |text: String| redactor.text(&text).into_owned();
    looks
        .into_iter()
        .map(|look| step(look.map(shown).map_err(shown)))
        .collect()
}

async fn address(config: &Config, engine: &Engine) -> Result<String, String> {
    let address = &engine.settings().address;
    let source = config.used.iter().find(|used| used.key == "engine.address");
    let source = source.map_or("the default".to_owned(), |used| used.source.to_string());
    match engine.reach().await {
        Ok(peer) => Ok(format!("{address} (from {source}): connected to {peer}")),
        Err(error) => Err(format!(
            "{address} (from {source}) cannot be reached: {error}; is the engine running there?"
        )),
    }
}

async fn tls(engine: &Engine) -> Result<String, String> {
    match engine.shake_hands().await {
        Ok(Some(seen)) => Ok(seen),
        Ok(None) => Ok("none: the address says plain text".into()),
        Err(error) => Err(format!(
            "the TLS handshake failed: {error}; engine.ca_certificate names the authority, engine.override_authority the \
             name in the certificate, engine.client_certificate what we show; http:// speaks plain text"
        )),
    }
}

fn engine(config: &Config) -> Result<Engine, String> {
    let client = http::Client::new().map_err(|error| error.to_string())?;
    let authority =
        Authority::new(&config.engine.credentials, Arc::new(Tokens::new(client))).map_err(|error| error.to_string())?;
    Engine::new(config.engine.clone(), authority).map_err(|error| error.to_string())
}

async fn credentials(credentials: &Credentials, engine: &Engine) -> Result<String, String> {
    match credentials {
        Credentials::None => Ok("none: calls go without".into()),
        Credentials::Basic { username, .. } => Ok(format!("Basic, as {username}")),
        Credentials::OAuth {
            token_url, client_id, ..
        }
        | Credentials::OAuthKey {
            token_url, client_id, ..
        } => engine
            .sign_in()
            .await
            .map(|()| format!("a token for {client_id} was fetched from {token_url}"))
            .map_err(|status| format!("{}; is token_url {token_url} right?", status.message())),
    }
}

async fn topology(engine: &Engine) -> Result<String, String> {
    let address = &engine.settings().address;
    match tokio::time::timeout(PATIENCE, engine.topology()).await {
        Ok(Ok(seen)) => Ok(format!(
            "{address} answers: gateway {}, brokers: {}, partitions: {}",
            seen.gateway_version, seen.brokers, seen.partitions
        )),
        Ok(Err(status)) => Err(format!("{address}: {}{}", Reason(&status), hint(&status))),
        Err(_) => Err(format!("{address} did not answer within {} s", PATIENCE.as_secs())),
    }
}

async fn tenants(config: &Config, engine: &Engine) -> Result<String, String> {
    let settings = &config.engine;
    let used = match settings.tenant_ids.as_slice() {
        [] if settings.assigned_tenants => "every tenant that the engine has assigned to us".to_owned(),
        [] => "none: the engine is used without tenants".to_owned(),
        ids => ids.join(", "),
    };
    match tokio::time::timeout(PATIENCE, engine.try_poll()).await {
        Ok(Ok(())) => Ok(used),
        Ok(Err(status)) => Err(format!("{used}: {}{}", Reason(&status), tenant_hint(&status))),
        Err(_) => Err(format!(
            "{used}: a poll was not answered within {} s",
            PATIENCE.as_secs()
        )),
    }
}

async fn job_stream(engine: &Engine) -> Result<String, String> {
    match engine.try_stream().await {
        Ok(()) => Ok("stayed open for a second".into()),
        Err(status) => Err(format!("{}{}", Reason(&status), tenant_hint(&status))),
    }
}

fn tenant_hint(status: &tonic::Status) -> &'static str {
    match status.code() {
        tonic::Code::InvalidArgument => "; are engine.tenant_ids right, and does this engine use tenants at all?",
        tonic::Code::PermissionDenied => "; we are not assigned to these tenants, or may not work on their jobs",
        _ => hint(status),
    }
}

fn hint(status: &tonic::Status) -> &'static str {
    match status.code() {
        tonic::Code::Unavailable => "; is the engine running there, and is http:// or https:// right?",
        tonic::Code::Unauthenticated => "; the engine wants other credentials (engine.client_id or engine.username)",
        tonic::Code::PermissionDenied => "; the credentials are known but may not do this",
        tonic::Code::Unimplemented => "; something answers there, but it is not a Zeebe gateway",
        _ => "",
    }
}

fn print_text(config: &Config, steps: &[Step]) {
    let width = config.used.iter().map(|used| used.key.len()).max().unwrap_or(0);
    for used in &config.used {
        line(format_args!(
            "  {:width$}  {}  (from {})",
            used.key, used.shown, used.source
        ));
    }
    for step in steps {
        match &step.result {
            Ok(detail) => line(format_args!("ok      {:14} {detail}", step.name)),
            Err(detail) => line(format_args!("FAILED  {:14} {detail}", step.name)),
        }
    }
}

fn print_json(config: &Config, steps: &[Step], well: bool) {
    let used: Vec<_> = config
        .used
        .iter()
        .map(|used| json!({ "setting": used.key, "value": used.shown, "source": used.source.to_string() }))
        .collect();
    let steps: Vec<_> = steps
        .iter()
        .map(|step| match &step.result {
            Ok(detail) => json!({ "step": step.name, "ok": true, "detail": detail }),
            Err(detail) => json!({ "step": step.name, "ok": false, "detail": detail }),
        })
        .collect();
    line(format_args!(
        "{}",
        json!({ "ok": well, "settings": used, "steps": steps })
    ));
}
