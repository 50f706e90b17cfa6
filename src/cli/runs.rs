//! `deskhand runs`: the runs that our starts began and that still go on, those whose task is gone, and their end.
//!
//! Each start's token stands in its run's callback URL and says to which process instance and which entry into a task it
//! belongs. Dataverse is asked for the runs, the engine for the tasks.

use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use futures_util::StreamExt;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::output::{complain, line};
use super::settings::Settings;
use super::target::Target;
use super::{FAILURE, INTERNAL, UNAVAILABLE, USAGE, shown};
use crate::config::Config;
use crate::engine::credentials::Authority;
use crate::engine::{Engine, Reason};
use crate::http::Client;
use crate::http::token::Tokens;
use crate::microsoft::dataverse::live::LiveRun;
use crate::microsoft::dataverse::sessions::MOST_IN_A_QUERY;
use crate::microsoft::dataverse::{self, Credential, Dataverse, Guid, Organization};
use crate::runs::token::{Subject, Token};

/// Questions to the engine at once.
const ASKED_AT_ONCE: usize = 8;

/// List the desktop flow runs that tasks of this engine started and that still go on.
///
/// They are found by the token in their callback URL (the task's own, the receiver's, or desktop_flow.token_url): runs whose
/// token travelled in an input (tokenInput) are not found. With --orphans the engine is asked for each: is the entry into the
/// task that started the run still there?
#[derive(Debug, clap::Args)]
#[command(after_help = "\
An orphan is not always a mistake: a run that triggerFlowRun started is meant to outlive its task. The column `process` tells whether the whole process instance is gone, too. Asking changes nothing in the engine.

Exit codes: 0 done (also when there is none), 1 refused or not all could be cancelled, 64 the command line or the configuration cannot work, 69 Dataverse, the sign-in or the engine cannot be reached.

Examples:
  deskhand runs
  deskhand runs --orphans --json | jq -r '.runs[].flowSessionId'
  deskhand runs --orphans --cancel                                               asks first
  deskhand runs --orphans --cancel d9687093-d0c0-ec11-983e-0022480b428a --yes    only this one")]
pub(super) struct Args {
    /// Only these runs.
    #[arg(value_name = "RUN")]
    runs: Vec<String>,
    /// Only runs whose task is gone.
    #[arg(long)]
    orphans: bool,
    /// Cancel the orphans, after a question.
    #[arg(long, requires = "orphans")]
    cancel: bool,
    /// Do not ask.
    #[arg(long, requires = "cancel")]
    yes: bool,
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    settings: Settings,
}

/// Why there is no list.
struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    fn usage(message: impl Into<String>) -> Self {
        Self {
            code: USAGE,
            message: message.into(),
        }
    }

    fn of(doing: &str, error: &dataverse::Error) -> Self {
        use crate::microsoft::Class;
        let hint = error
            .hint()
            .map(|hint| format!("\nWhat to do: {hint}"))
            .unwrap_or_default();
        Self {
            code: match error.class() {
                Class::SomeoneMustFixIt => FAILURE,
                Class::TryAgain | Class::Ambiguous => UNAVAILABLE,
            },
            message: format!("{doing} failed: {error}{hint}"),
        }
    }
}

/// A run, and what the engine says about its task.
struct Found {
    run: LiveRun,
    subject: Subject,
    /// Is the entry into the task there? `None`: nobody asked.
    task: Option<bool>,
    /// Is the process instance there?
    process: Option<bool>,
}

pub(super) async fn run(args: Args) -> ExitCode {
    let config = match args.settings.load() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let result = listed(&args, &config).await;
    let redactor = config.known.redactor();
    match result {
        Ok(code) => code,
        Err(failure) => {
            complain(format_args!("{}", shown::harmless(&redactor.text(&failure.message))));
            ExitCode::from(failure.code)
        }
    }
}

async fn listed(args: &Args, config: &Config) -> Result<ExitCode, Failure> {
    let wanted = wanted(&args.runs)?;
    let dataverse = dataverse(&args.target, config).await?;
    let tokens = &config.connectors.desktop_flow.once.tokens;
    let live = dataverse.live_runs(&tokens.of_namespace()).await;
    let live = live.map_err(|error| Failure::of("Looking for the runs", &error))?;
    let mut found: Vec<Found> = live
        .runs
        .into_iter()
        .filter(|run| wanted.is_empty() || wanted.contains(&run.id))
        .filter_map(|run| {
            let token = Token::find(&run.callback_url)?;
            let subject = token.subject();
            // Another key, or another namespace whose tag is the same by chance: not ours.
            (tokens.stable(subject) == *token.stable()).then_some(Found {
                run,
                subject,
                task: None,
                process: None,
            })
        })
        .collect();
    if args.orphans {
        found = orphans(found, &dataverse, config).await?;
    }
    print(&found, live.complete, args);
    if !args.cancel || found.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    if !args.yes && !agreed(found.len())? {
        complain(format_args!("nothing was cancelled"));
        return Ok(ExitCode::SUCCESS);
    }
    Ok(cancelled(&found, &dataverse).await)
}

fn wanted(typed: &[String]) -> Result<Vec<Guid>, Failure> {
    typed
        .iter()
        .map(|text| Guid::parse(text).ok_or_else(|| Failure::usage(format!("`{text}` is no id of a run"))))
        .collect()
}

/// Operations themselves call, as one of their identities, where its tokens may go.
async fn dataverse(target: &Target, config: &Config) -> Result<Dataverse, Failure> {
    let set_up = |error: crate::http::Error| Failure {
        code: INTERNAL,
        message: format!("HTTP cannot be set up: {error}"),
    };
    let name = target.identity(config).map_err(Failure::usage)?.ok_or_else(|| {
        Failure::usage("this command signs in as an identity, and there is none: deskhand.toml, [identities.NAME]")
    })?;
    let environment = target.environment(config, Some(&name)).map_err(Failure::usage)?;
    let settings = &config.connectors.desktop_flow;
    let organization = Organization::parse(&environment, &settings.plain_http_hosts)
        .map_err(|error| Failure::usage(format!("--environment {error}")))?;
    let identities = config.identities().map_err(set_up)?;
    let identity = identities.find(&name).map_err(|error| Failure::usage(error.message))?;
    if !identity.goes_to(organization.url()) {
        return Err(Failure::usage(format!(
            "'{name}' may not be used for {environment}: add its host to [identities.{name}] hosts"
        )));
    }
    let token = identities.token_for_operations(&name, organization.url()).await;
    let token = token.map_err(|message| Failure {
        code: UNAVAILABLE,
        message: format!("Signing in failed: {message}"),
    })?;
    let client = Client::new().map_err(set_up)?;
    Ok(Dataverse::new(
        client,
        organization,
        Credential::Bearer(token),
        settings.timeouts,
    ))
}

/// Those whose task is gone, and that went on after that was known.
async fn orphans(found: Vec<Found>, dataverse: &Dataverse, config: &Config) -> Result<Vec<Found>, Failure> {
    if found.is_empty() {
        return Ok(found);
    }
    let engine = engine(config)?;
    let engine = &engine;
    let asked = futures_util::stream::iter(found).map(|mut one| async move {
        // A call from the shell has no task.
        if one.subject.process_instance != 0 {
            one.task = Some(engine.has_element_instance(one.subject.element_instance).await?);
            one.process = Some(match one.task {
                Some(true) => true,
                _ => engine.has_element_instance(one.subject.process_instance).await?,
            });
        }
        Ok::<_, tonic::Status>(one)
    });
    let asked: Vec<Result<Found, tonic::Status>> = asked.buffered(ASKED_AT_ONCE).collect().await;
    let mut gone = Vec::new();
    for one in asked {
        let one = one.map_err(|status| Failure {
            code: UNAVAILABLE,
            message: format!(
                "The engine at {} does not say whether a task is there: {}",
                engine.settings().address,
                Reason(&status)
            ),
        })?;
        if one.task == Some(false) {
            gone.push(one);
        }
    }
    // A run may have ended, and its task with it, since Dataverse was asked.
    let ids: Vec<Guid> = gone.iter().map(|one| one.run.id).collect();
    let mut live = Vec::new();
    for some in ids.chunks(MOST_IN_A_QUERY) {
        let sessions = dataverse.flow_sessions(some).await;
        let sessions = sessions.map_err(|error| Failure::of("Looking at the runs", &error))?;
        live.extend(sessions.into_iter().filter(|session| session.status.end().is_none()));
    }
    for one in &mut gone {
        if let Some(now) = live.iter().find(|session| session.id == one.run.id) {
            one.run.status = now.status;
        }
    }
    gone.retain(|one| live.iter().any(|session| session.id == one.run.id));
    Ok(gone)
}

fn engine(config: &Config) -> Result<Engine, Failure> {
    let client = Client::new().map_err(|error| Failure::usage(error.to_string()))?;
    let tokens = Tokens::new(client).remembering(config.known.clone());
    let authority = Authority::new(&config.engine.credentials, Arc::new(tokens));
    let authority = authority.map_err(|error| Failure::usage(error.to_string()))?;
    Engine::new(config.engine.clone(), authority).map_err(|error| Failure::usage(error.to_string()))
}

fn print(found: &[Found], complete: bool, args: &Args) {
    let rows: Vec<Value> = found.iter().map(|one| one.row(args.json)).collect();
    if args.json {
        line(format_args!(
            "{}",
            json!({"count": rows.len(), "complete": complete, "runs": rows})
        ));
        return;
    }
    match rows.is_empty() {
        true if args.orphans => line(format_args!("no run whose task is gone")),
        true => line(format_args!("no run of ours goes on")),
        false => line(format_args!("{}", shown::table(&rows).trim_end())),
    }
    if !complete {
        complain(format_args!(
            "there are more runs than can be listed: these are the oldest"
        ));
    }
}

impl Found {
    fn row(&self, for_machines: bool) -> Value {
        let LiveRun {
            id,
            name,
            flow,
            status,
            created_on,
            ..
        } = &self.run;
        let by_hand = self.subject.process_instance == 0;
        if for_machines {
            return json!({
                "flowSessionId": id,
                "status": status.label(),
                "createdOn": created_on.to_string(),
                "flow": name,
                "workflowId": flow,
                // Texts: keys are larger than the integers that JavaScript keeps exact.
                "processInstanceKey": (!by_hand).then(|| self.subject.process_instance.to_string()),
                "elementInstanceKey": (!by_hand).then(|| self.subject.element_instance.to_string()),
                "attempt": self.subject.attempt,
                "calledByHand": by_hand,
                "taskIsThere": self.task,
                "processIsThere": self.process,
            });
        }
        let there = |known: Option<bool>| match known {
            None => "not asked",
            Some(true) => "there",
            Some(false) => "gone",
        };
        let mut row = json!({
            "run": id,
            "status": status.label(),
            "for": age(*created_on),
            "process instance": self.subject.process_instance.to_string(),
            "element instance": self.subject.element_instance.to_string(),
        });
        if by_hand {
            row["process instance"] = "deskhand call".into();
            row["element instance"] = Value::Null;
        }
        if self.task.is_some() {
            row["task"] = there(self.task).into();
            row["process"] = there(self.process).into();
        }
        row["flow"] = name.as_str().into();
        row
    }
}

/// How long ago, roughly.
fn age(since: Timestamp) -> String {
    let minutes = Timestamp::now().duration_since(since).as_mins().max(0);
    match minutes {
        0..=119 => format!("{minutes} min"),
        120..=2879 => format!("{} h", minutes / 60),
        _ => format!("{} d", minutes / 1440),
    }
}

/// Asks whoever sits there.
fn agreed(runs: usize) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(
            "nobody can be asked here: say --yes to cancel these runs",
        ));
    }
    complain(format_args!(
        "runs that triggerFlowRun started are meant to outlive their task: name those that shall end if some are among them"
    ));
    let mut out = std::io::stderr().lock();
    let _ = write!(out, "deskhand: cancel these {runs} runs? Type yes: ").and_then(|()| out.flush());
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    Ok(read.is_ok() && answer.trim().eq_ignore_ascii_case("yes"))
}

async fn cancelled(found: &[Found], dataverse: &Dataverse) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for one in found {
        let run = one.run.id;
        match dataverse.cancel_run(&run).await {
            Ok(()) => complain(format_args!("run {run}: cancelled")),
            Err(error) => {
                // What was over before cannot be cancelled.
                let now = dataverse.flow_sessions(&[run]).await;
                match now
                    .ok()
                    .and_then(|now| now.first().and_then(|session| session.status.end()))
                {
                    Some(_) => complain(format_args!("run {run}: over before it could be cancelled")),
                    None => {
                        complain(format_args!("run {run}: {}", shown::harmless(&error.to_string())));
                        code = ExitCode::from(FAILURE);
                    }
                }
            }
        }
    }
    code
}
