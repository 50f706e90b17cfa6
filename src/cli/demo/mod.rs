//! `deskhand demo`: a process engine, a Power Automate simulator and a worker in one process, and one story told live.

mod story;

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::output::complain;
use super::signals::Signals;
use crate::connector;
use crate::engine::credentials::Authority;
use crate::engine::processes::Finished;
use crate::engine::{self, Credentials, Engine};
use crate::http;
use crate::http::token::Tokens;
use crate::mapping::Mapper;
use crate::progress::{Progress, StartPoint, Step};
use crate::sandbox;
use crate::sandbox::power_automate::{CLIENT_ID, Scenario, Simulator, World};
use crate::secrets::policy::Rule;
use crate::secrets::{self, Policy, Secrets};
use crate::worker::{self, Pipeline};
use story::{Seen, Story};

/// One process instance, start to end, in this time at most: the longest scenario needs a quarter of it.
const PATIENCE: Duration = Duration::from_secs(60);
/// Steps that may wait for the terminal.
const STEPS: usize = 1_024;

/// The secret of the simulator's application.
const CLIENT_SECRET: &str = "demo-client-secret";

const EXAMPLES: [(&str, &str); 2] = [
    ("book-invoice.bpmn", include_str!("../../../examples/book-invoice.bpmn")),
    ("classic.bpmn", include_str!("../../../examples/classic.bpmn")),
];

/// Watch a process run a (simulated) desktop flow through deskhand, on this machine alone.
///
/// Starts the embedded process engine and the Power Automate simulator on free loopback ports, deploys the processes
/// of `examples/`, starts one instance and shows its way, step by step.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  deskhand demo                                      one task runs a flow and waits for it
  deskhand demo --scenario fails                     the flow fails; a boundary event catches it
  deskhand demo --engine http://localhost:26500      the same on a real Zeebe
  deskhand demo --json | jq .                        for machines")]
pub(super) struct Args {
    /// The story: success, fails (ends at a BPMN error boundary event), slow (the run waits for a machine), throttled
    /// (Dataverse answers 429 first), classic (three HTTP tasks and a timer loop).
    #[arg(long, default_value = "success", value_name = "NAME")]
    scenario: Scenario,
    /// Stay up afterwards, engine and simulator and worker, until Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// One JSON object a step, and last one with `outcome`, `variables` and `runsStarted`.
    #[arg(long)]
    json: bool,
    /// Run on this engine instead of the embedded one, e.g. http://localhost:26500.
    #[arg(long, value_name = "ADDRESS")]
    engine: Option<String>,
}

/// Why the demo could not be shown.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("a server on loopback could not be started: {0}")]
    Server(#[from] std::io::Error),
    #[error("the embedded engine could not be started: {0}")]
    Sandbox(#[from] sandbox::engine::StartError),
    #[error(transparent)]
    Engine(#[from] engine::channel::SetUpError),
    #[error("HTTP could not be set up: {0}")]
    Http(#[from] http::Error),
    #[error("{what} failed: {} ({:?}){hint}", status.message(), status.code())]
    Call {
        what: &'static str,
        status: Box<tonic::Status>,
        hint: &'static str,
    },
}

/// How the instance ended.
enum Ending {
    Finished(Finished),
    Incident,
}

/// Tells the story; the exit code is 0 when it ended as it should.
pub(super) async fn run(args: Args) -> ExitCode {
    let story = Story::new(args.json);
    match tell(&args, &story).await {
        Ok(code) => code,
        Err(trouble) => {
            complain(format_args!("demo: {trouble}"));
            ExitCode::from(crate::cli::UNAVAILABLE)
        }
    }
}

async fn tell(args: &Args, story: &Story) -> Result<ExitCode, Trouble> {
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let simulator = Simulator::start(loopback, World::demo(args.scenario)).await?;
    let embedded = match args.engine {
        Some(_) => None,
        None => Some(sandbox::engine::Engine::start(loopback, sandbox::engine::Settings::default()).await?),
    };
    let address = match (&args.engine, &embedded) {
        (Some(address), _) if address.contains("://") => address.clone(),
        (Some(address), _) => format!("http://{address}"),
        (None, Some(embedded)) => format!("http://{}", embedded.address()),
        (None, None) => unreachable!("without --engine the embedded one was started"),
    };
    story.stage(&address, embedded.is_some(), &simulator.organization());

    let engine = connect(address.clone())?;
    let (steps, mut seen) = mpsc::channel(STEPS);
    let stop = CancellationToken::new();
    let working = tokio::spawn(worker::run(
        engine.clone(),
        Arc::new(pipeline(&simulator, watcher(steps.clone()))?),
        worker::Settings {
            max_jobs: 8,
            drain_grace: Duration::from_secs(2),
            ..worker::Settings::default()
        },
        watcher(steps),
        stop.clone(),
    ));

    let unreachable = "\nIs the engine running there? Try `deskhand check`, or leave --engine out.";
    engine
        .deploy(&EXAMPLES)
        .await
        .map_err(call("deploying the examples", unreachable))?;
    let (process, variables) = instance(args.scenario, &simulator);
    story.started(process, &variables);
    let mut ending = Box::pin(engine.run_process(process, &variables, PATIENCE));
    let mut told = Told::default();
    let ending = loop {
        tokio::select! {
            // Steps first: what happened before the end is told before it.
            biased;
            Some(step) = seen.recv() => {
                told.step(&step, story);
                if told.incident {
                    break Ending::Incident;
                }
            }
            finished = &mut ending => {
                break Ending::Finished(finished.map_err(call("running the process", ""))?);
            }
        }
    };
    told.the_rest(&mut seen, story).await;
    let (outcome, variables) = match &ending {
        Ending::Incident => ("incident", &Value::Null),
        Ending::Finished(finished) if told.business_error => ("error-event", &finished.variables),
        Ending::Finished(finished) => ("completed", &finished.variables),
    };
    story.ended(outcome, variables, simulator.runs_started());
    if args.keep {
        story.kept(&address, &simulator.organization(), &simulator.token_endpoint());
        keep(&mut seen, story, Signals::catch()?).await;
    } else {
        story.next(args.scenario, embedded.is_some());
    }
    stop.cancel();
    let _ = working.await;
    simulator.stop().await;
    if let Some(embedded) = embedded {
        embedded.stop().await;
    }
    let expected = if args.scenario == Scenario::Fails {
        "error-event"
    } else {
        "completed"
    };
    Ok(if outcome == expected {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn connect(address: String) -> Result<Engine, Trouble> {
    let settings = engine::Settings {
        address,
        credentials: Credentials::None,
        worker_name: "deskhand-demo".into(),
        ..engine::Settings::default()
    };
    Ok(Engine::new(settings, Authority::none())?)
}

/// The worker of the demo knows the simulator's application by two secrets, and may send them to the simulator only.
fn pipeline(simulator: &Simulator, progress: Progress) -> Result<Pipeline, Trouble> {
    let host = simulator.address().to_string();
    let rule = Rule::new("PA_*", [host.as_str()]).map_err(|error| Trouble::Server(std::io::Error::other(error)))?;
    let client = http::Client::new()?;
    let tokens = Arc::new(Tokens::new(client.clone()));
    let connectors = connector::all(
        &client,
        &tokens,
        &Policy::of_rules(vec![rule]),
        &connector::Settings::default(),
    );
    let known = |name: &str| match name {
        "SECRET_PA_CLIENT_ID" => Some(CLIENT_ID.to_string()),
        "SECRET_PA_CLIENT_SECRET" => Some(CLIENT_SECRET.to_owned()),
        _ => None,
    };
    let secrets = Secrets::from_settings(&secrets::Settings::default(), known);
    Ok(Pipeline::new(connectors, secrets, Mapper::default(), progress))
}

fn watcher(steps: mpsc::Sender<Seen>) -> Progress {
    Progress::watched_by(move |job, step| {
        // Of a start's points one is worth telling: the promise that it is not made twice.
        if matches!(step, Step::Start(point) if *point != StartPoint::IntentWritten) {
            return;
        }
        // A terminal that hangs must not hold up the work: what does not fit is not shown.
        let _ = steps.try_send(Seen::new(job, step));
    })
}

fn instance(scenario: Scenario, simulator: &Simulator) -> (&'static str, Value) {
    let mut variables = json!({
        "invoiceId": "4711",
        "amount": 129.9,
        "organizationUri": simulator.organization(),
        "tokenEndpoint": simulator.token_endpoint(),
    });
    match scenario {
        Scenario::Classic => {
            variables["pollEvery"] = "PT1S".into();
            ("classic", variables)
        }
        _ => ("book-invoice", variables),
    }
}

/// What the steps told so far come to.
#[derive(Default)]
struct Told {
    unanswered: usize,
    business_error: bool,
    incident: bool,
}

impl Told {
    fn step(&mut self, seen: &Seen, story: &Story) {
        story.step(seen);
        match &seen.step {
            Step::Received => self.unanswered += 1,
            Step::Answered { outcome, .. } => {
                self.unanswered = self.unanswered.saturating_sub(1);
                self.incident |= *outcome == "incident";
                self.business_error |= *outcome == "bpmn-error";
            }
            _ => {}
        }
    }

    /// The engine may say that the process has ended before the worker hears that its outcome was taken.
    async fn the_rest(&mut self, seen: &mut mpsc::Receiver<Seen>, story: &Story) {
        let give_up = tokio::time::Instant::now() + Duration::from_secs(2);
        while self.unanswered > 0 {
            match tokio::time::timeout_at(give_up, seen.recv()).await {
                Ok(Some(step)) => self.step(&step, story),
                Ok(None) | Err(_) => return,
            }
        }
    }
}

async fn keep(seen: &mut mpsc::Receiver<Seen>, story: &Story, mut signals: Signals) {
    loop {
        tokio::select! {
            Some(step) = seen.recv() => story.step(&step),
            _ = signals.next() => return,
        }
    }
}

fn call(what: &'static str, hint: &'static str) -> impl FnOnce(tonic::Status) -> Trouble {
    move |status| Trouble::Call {
        what,
        status: Box::new(status),
        hint,
    }
}
