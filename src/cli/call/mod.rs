//! `deskhand call OPERATION NAME=TEXT...`: one operation of `deskhand:desktop-flow:1` from the shell.
//!
//! What was typed becomes a job that no engine knows; it takes the way of all jobs: secrets, policy, connector. So nothing
//! can be done here that a task could not do.

mod dry_run;
mod fields;
mod progress;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use self::progress::{Follower, Reached};
use super::output::{complain, line};
use super::settings::Settings;
use super::shown;
use super::signals::Signals;
use super::target::Target;
use super::{FAILURE, INTERNAL, UNAVAILABLE, USAGE};
use crate::config::{Config, Log};
use crate::connector::desktop_flow::JOB_TYPE;
use crate::connector::{Anywhere, Call, Journal};
use crate::job::Job;
use crate::outcome::{ErrorType, JobError};
use crate::runs::journal;
use crate::secrets::Redactor;

/// The run ended without success.
const RUN_FAILED: u8 = 2;
/// It is not known whether a run was started.
const UNCLEAR: u8 = 3;

/// Do one operation of a desktop-flow task from the shell.
///
/// OPERATION is what a task writes into operationType: runAndWait, triggerFlowRun, getStatusOfFlowRun, getFlowOutputs,
/// cancelFlowRun, listFlows, findFlow, getFlowSchema, listRuns, checkConnection. Fields are those of a task: NAME=TEXT,
/// NAME:=JSON for numbers, lists and objects, NAME=@FILE for the text of a file; a dot leads into an object
/// (inputs.InvoiceId=42). Identity and organisation come from deskhand.toml where it has only one of each.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Secrets are written {{secrets.NAME}}, as in a diagram, and go only where deskhand.toml lets those of tasks go. A start carries a token of its own; where its answer is lost, its run is looked for, and nothing is sent a second time.

Ctrl-C ends the waiting, not the run: what goes on is said, and how to look at it or cancel it. A second Ctrl-C cuts.

Exit codes: 0 done, 1 refused (the message says why), 2 the run ended without success, 3 it is not known whether a run was started: look before you call again (deskhand runs), 64 the command line, a field or the policy stands in the way: nothing was sent, 69 Dataverse or the sign-in cannot be reached or asks for a pause: try again later, 130 and 143 interrupted.

Examples:
  deskhand call listFlows
  deskhand call getFlowSchema workflowName='Book invoice'
  deskhand call runAndWait workflowName='Book invoice' connectionName=4f3c... runMode=unattended inputs.InvoiceId=42 inputs.Amount:=12.5
  deskhand call runAndWait workflowName='Book invoice' connectionName=4f3c... runMode=unattended inputs=@invoice.json --dry-run
  deskhand call getStatusOfFlowRun flowSessionId=d9687093-d0c0-ec11-983e-0022480b428a --json | jq -r .status
  deskhand call checkConnection --identity rpa-prod --environment https://contoso.crm4.dynamics.com
  deskhand call listFlows authentication.type=bearer authentication.token='{{secrets.TOKEN}}'")]
pub(super) struct Args {
    /// What to do.
    #[arg(value_name = "OPERATION")]
    operation: String,
    /// Fields of the task.
    #[arg(value_name = "NAME=TEXT")]
    fields: Vec<String>,
    #[command(flatten)]
    target: Target,
    /// Show the requests that would be sent, secrets masked, and send nothing.
    #[arg(long)]
    dry_run: bool,
    /// The response (or {"error": ...}) as JSON.
    #[arg(long)]
    json: bool,
    /// Do not tell the steps.
    #[arg(long, short)]
    quiet: bool,
    /// Act as a task of this process (BPMN id), where rules name processes.
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    as_process: String,
    /// Act as a task of this tenant, where rules name tenants.
    #[arg(long, value_name = "ID", default_value = "<default>", hide_default_value = true)]
    as_tenant: String,
    #[command(flatten)]
    settings: Settings,
}

pub(super) async fn run(args: Args) -> ExitCode {
    let config = match args.settings.load() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let log = Log {
        filter: "warn".into(),
        json: false,
    };
    if let Err(error) = super::run::start_logging(&log, &config.known) {
        complain(format_args!("{error}"));
        return ExitCode::from(INTERNAL);
    }
    let variables = match variables(&args, &config) {
        Ok(variables) => variables,
        Err(message) => {
            complain(format_args!("{message}"));
            return ExitCode::from(USAGE);
        }
    };
    let job = job(&args);
    if args.dry_run {
        return match dry_run::requests(&config, &job, variables).await {
            Ok(requests) => show(&requests, args.json),
            Err(error) => failed(&error, &Redactor::default(), args.json),
        };
    }
    done(&args, &config, &job, variables).await
}

/// What a task with these fields would have.
fn variables(args: &Args, config: &Config) -> Result<Map<String, Value>, String> {
    let mut variables = fields::variables(&args.fields)?;
    let signs_in_itself = variables.contains_key("authentication") || variables.contains_key("identity");
    let identity = match signs_in_itself {
        true => variables.get("identity").and_then(Value::as_str).map(str::to_owned),
        false => args.target.identity(config)?,
    };
    if !variables.contains_key("organizationUri") {
        let environment = args.target.environment(config, identity.as_deref())?;
        variables.insert("organizationUri".into(), environment.into());
    }
    if let (Some(identity), false) = (identity, signs_in_itself) {
        variables.insert("identity".into(), identity.into());
    }
    variables.insert("operationType".into(), args.operation.clone().into());
    Ok(variables)
}

/// A job that no engine knows. Its element instance is made up: the token of a start belongs to this call alone.
fn job(args: &Args) -> Job {
    Job {
        key: 0,
        job_type: JOB_TYPE.into(),
        process_instance_key: 0,
        bpmn_process_id: args.as_process.clone(),
        process_definition_version: 0,
        process_definition_key: 0,
        element_id: String::new(),
        element_instance_key: fastrand::i64(1..),
        retries: 1,
        deadline: 0,
        tenant_id: args.as_tenant.clone(),
        lease_token: None,
        custom_headers: String::new(),
        variables: "{}".into(),
    }
}

/// Does it, and says what came of it.
async fn done(args: &Args, config: &Config, job: &Job, variables: Map<String, Value>) -> ExitCode {
    let parts = config
        .secrets()
        .and_then(|secrets| Ok((secrets, config.all_connectors()?)));
    let (secrets, connectors) = match parts {
        Ok(parts) => parts,
        Err(error) => {
            complain(format_args!("HTTP cannot be set up: {error}"));
            return ExitCode::from(INTERNAL);
        }
    };
    let Some(connector) = connectors.iter().find(|one| one.job_type() == JOB_TYPE) else {
        complain(format_args!("there is no connector for {JOB_TYPE}"));
        return ExitCode::from(INTERNAL);
    };
    let mut signals = match Signals::catch() {
        Ok(signals) => signals,
        Err(error) => {
            complain(format_args!("signals cannot be caught: {error}"));
            return ExitCode::from(INTERNAL);
        }
    };
    let input = match secrets.bind(variables, &job.secret_scope()).await {
        Ok(input) => input,
        Err(error) => return failed(&error, &secrets.known().redactor(), args.json),
    };
    let follower = Follower::default();
    let (stop, journal, steps) = (
        CancellationToken::new(),
        OneStart::default(),
        follower.progress(args.quiet),
    );
    let mut calling = connector.call(Call {
        job,
        input: &input,
        abandoned: &stop,
        progress: &steps,
        journal: &journal,
        place: &Anywhere,
    });
    let mut interrupted = None;
    let result = loop {
        tokio::select! {
            biased;
            result = &mut calling => break result,
            number = signals.next() => {
                if interrupted.is_some() {
                    return left_behind(&follower.reached(), number);
                }
                interrupted = Some(number);
                stop.cancel();
                if follower.reached() == Reached::Unclear {
                    complain(format_args!("waiting until it is known whether the flow was started; a second signal cuts"));
                }
            }
        }
    };
    // Asked now: the tokens that were fetched meanwhile are known too.
    let redactor = secrets.known().redactor().and(&Redactor::new(&input.used));
    match (result, interrupted) {
        (Ok(response), _) => {
            let value = redactor.value(response.value().into_owned());
            match args.json {
                true => line(format_args!("{value}")),
                false => line(format_args!("{}", shown::object(&value))),
            }
            ExitCode::SUCCESS
        }
        (Err(_), Some(number)) => left_behind(&follower.reached(), number),
        (Err(error), None) => failed(&error, &redactor, args.json),
    }
}

fn show(requests: &[dry_run::Shown], as_json: bool) -> ExitCode {
    if as_json {
        let requests: Vec<Value> = requests.iter().map(dry_run::Shown::as_json).collect();
        line(format_args!("{}", json!({ "requests": requests })));
        return ExitCode::SUCCESS;
    }
    for (number, request) in requests.iter().enumerate() {
        if number > 0 {
            line(format_args!(""));
        }
        line(format_args!("{}", shown::harmless(&request.as_text()).trim_end()));
    }
    complain(format_args!("nothing was sent"));
    ExitCode::SUCCESS
}

fn failed(error: &JobError, redactor: &Redactor, as_json: bool) -> ExitCode {
    let error = error.clone().redacted(redactor);
    if as_json {
        line(format_args!("{}", json!({ "error": error.as_value() })));
    }
    complain(format_args!("{}", shown::harmless(&error.message)));
    if error.code.as_deref() == Some(START_UNCLEAR) {
        complain(format_args!(
            "this was a call from the shell: where the text above speaks of an incident, look at the runs that it lists \
             instead, and call again only if none is yours"
        ));
    }
    ExitCode::from(code(&error))
}

/// The exit code of a failure.
fn code(error: &JobError) -> u8 {
    let has_run = |variables: &Value| variables.get("flowSessionId").is_some();
    match (error.error_type, error.code.as_deref()) {
        (ErrorType::Input, _) => USAGE,
        (_, Some(START_UNCLEAR)) => UNCLEAR,
        _ if error.variables.as_ref().is_some_and(has_run) => RUN_FAILED,
        (_, Some("CONNECTION" | "TIMEOUT" | "HELD_BACK" | "429" | "500" | "502" | "503" | "504")) => UNAVAILABLE,
        // A sign-in that may be tried again was not refused.
        (_, Some("TOKEN")) if error.remedy != crate::outcome::Remedy::Incident => UNAVAILABLE,
        _ => FAILURE,
    }
}

const START_UNCLEAR: &str = "START_UNCLEAR";

/// Says what an interrupted call leaves behind.
fn left_behind(reached: &Reached, signal: i32) -> ExitCode {
    match reached {
        Reached::Nothing => complain(format_args!("interrupted; no run was started")),
        Reached::Unclear => complain(format_args!(
            "interrupted while it was not known whether the flow was started: look for its run with `deskhand runs` before \
             you call again"
        )),
        Reached::Run(run) => complain(format_args!(
            "interrupted; run {run} goes on\n  its status:  deskhand call getStatusOfFlowRun flowSessionId={run}\n  its \
             outputs: deskhand call getFlowOutputs flowSessionId={run}\n  to end it:   deskhand call cancelFlowRun \
             flowSessionId={run}"
        )),
    }
    ExitCode::from(128 + u8::try_from(signal).unwrap_or(2))
}

/// The journal of a call: there is no next activation that could read it. It lets one start happen, and no second one,
/// not even after the first was surely not executed: that is for a person to decide.
#[derive(Default)]
struct OneStart(AtomicBool);

impl Journal for OneStart {
    fn write(&self, variables: Map<String, Value>) -> BoxFuture<'_, Result<(), JobError>> {
        let starts = variables.get(journal::INTENT).is_some_and(|intent| !intent.is_null());
        let again = starts && self.0.swap(true, Ordering::Relaxed);
        Box::pin(std::future::ready(match again {
            false => Ok(()),
            true => Err(JobError::connector(
                "NOT_STARTED",
                "The flow was not started: the request got lost, and Dataverse has no run of it. A call from the shell \
                 sends nothing twice; call again.",
            )),
        }))
    }
}
