//! The demo's words: a line a step for people, an object a step for machines.

use std::time::Instant;

use anstyle::{AnsiColor, Style};
use serde_json::{Map, Value, json};

use super::super::output::line;
use crate::job::Job;
use crate::progress::{StartPoint, Step};
use crate::sandbox::power_automate::Scenario;

const FAINT: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const NOTE: Style = AnsiColor::Yellow.on_default();

macro_rules! say {
    ($($text:tt)*) => { line(format_args!($($text)*)) };
}

/// A step of a job, as the watcher saw it.
pub(super) struct Seen {
    element: String,
    job_type: String,
    retries: i32,
    pub(super) step: Step,
}

impl Seen {
    pub(super) fn new(job: &Job, step: &Step) -> Self {
        Self {
            element: job.element_id.clone(),
            job_type: job.job_type.clone(),
            retries: job.retries,
            step: step.clone(),
        }
    }
}

/// Tells what happens, with the time since the beginning.
pub(super) struct Story {
    json: bool,
    began: Instant,
}

impl Story {
    pub(super) fn new(json: bool) -> Self {
        Self {
            json,
            began: Instant::now(),
        }
    }

    pub(super) fn stage(&self, engine: &str, embedded: bool, organization: &str) {
        if self.json {
            return self.object(
                "stage",
                json!({ "engine": engine, "embedded": embedded, "organization": organization }),
            );
        }
        let kind = if embedded {
            "embedded process engine"
        } else {
            "real engine"
        };
        say!("{BOLD}deskhand demo{BOLD:#}");
        say!("  engine     {engine}  {FAINT}({kind}){FAINT:#}");
        say!("  Dataverse  {organization}  {FAINT}(simulator){FAINT:#}");
    }

    pub(super) fn started(&self, process: &str, variables: &Value) {
        if self.json {
            return self.object("process-started", json!({ "process": process, "variables": variables }));
        }
        let (id, amount) = (&variables["invoiceId"], &variables["amount"]);
        say!("  process    {process}.bpmn, started with invoiceId {id} and amount {amount}\n");
    }

    pub(super) fn step(&self, seen: &Seen) {
        if self.json {
            let (name, mut fields) = fields(seen);
            fields.insert("element".into(), seen.element.clone().into());
            return self.object(name, Value::Object(fields));
        }
        let (style, sentence) = sentence(seen);
        let seconds = self.began.elapsed().as_secs_f64();
        say!(
            "  {FAINT}{seconds:6.2} s{FAINT:#}  {:<14} {style}{sentence}{style:#}",
            seen.element
        );
    }

    pub(super) fn ended(&self, outcome: &str, variables: &Value, runs_started: usize) {
        if self.json {
            let last = json!({ "outcome": outcome, "variables": variables, "runsStarted": runs_started });
            line(format_args!("{last}"));
            return;
        }
        let seconds = self.began.elapsed().as_secs_f64();
        let runs = if runs_started == 1 {
            "1 desktop flow run".to_owned()
        } else {
            format!("{runs_started} desktop flow runs")
        };
        let (style, sentence) = match outcome {
            "completed" => (GOOD, "The process has completed"),
            "error-event" => (NOTE, "The process has ended at its error boundary event"),
            _ => (BAD, "The process stands at an incident"),
        };
        say!("\n{style}{sentence}{style:#} after {seconds:.1} s; {runs} started.\n");
        if let Value::Object(variables) = variables {
            let width = variables.keys().map(String::len).max().unwrap_or(0);
            for (name, value) in variables {
                say!("  {name:<width$}  {value}");
            }
        }
    }

    pub(super) fn kept(&self, engine: &str, organization: &str, token_endpoint: &str) {
        if self.json {
            return;
        }
        say!("\n{BOLD}Still up{BOLD:#}, worker included, until Ctrl-C:");
        say!("  gateway         {engine}");
        say!("  organizationUri {organization}");
        say!("  tokenEndpoint   {token_endpoint}\n");
    }

    pub(super) fn next(&self, told: Scenario, embedded: bool) {
        if self.json {
            return;
        }
        say!("\n{BOLD}Next{BOLD:#}");
        for (scenario, name, what) in [
            (Scenario::Success, "success", "one task runs a flow and waits for it"),
            (Scenario::Fails, "fails", "the flow fails; a boundary event catches it"),
            (Scenario::Throttled, "throttled", "Dataverse answers 429 first"),
            (
                Scenario::Classic,
                "classic",
                "three HTTP tasks and a timer loop, as with Camunda's template",
            ),
        ] {
            if scenario != told {
                say!("  deskhand demo --scenario {name:<15} {FAINT}{what}{FAINT:#}");
            }
        }
        if embedded {
            say!("  deskhand demo --engine localhost:26500  {FAINT}the same on a real Zeebe{FAINT:#}");
        }
        say!("  deskhand run --help                     {FAINT}the worker itself{FAINT:#}");
    }

    fn object(&self, step: &str, fields: Value) {
        let mut object = Map::new();
        object.insert("step".into(), step.into());
        object.insert(
            "ms".into(),
            u64::try_from(self.began.elapsed().as_millis())
                .unwrap_or(u64::MAX)
                .into(),
        );
        if let Value::Object(fields) = fields {
            object.extend(fields);
        }
        say!("{}", Value::Object(object));
    }
}

fn sentence(seen: &Seen) -> (Style, String) {
    let plain = Style::new();
    match &seen.step {
        Step::Received => (
            plain,
            format!("job received: {}, {} tries left", seen.job_type, seen.retries),
        ),
        Step::SecretResolved { name, provider } => (plain, format!("secret {name} resolved ({provider})")),
        Step::TokenFetched { host, lifetime } => {
            let lifetime = lifetime
                .map(|time| format!(", good for {} s", time.as_secs()))
                .unwrap_or_default();
            (plain, format!("access token fetched from {host}{lifetime}"))
        }
        Step::RequestSent { method, host } => (FAINT, format!("{method} to {host}")),
        Step::AnswerReceived { status } if *status >= 400 => (NOTE, format!("answered {status}")),
        Step::AnswerReceived { status } => (FAINT, format!("answered {status}")),
        Step::Throttled { pause } => (
            NOTE,
            format!("Dataverse is busy and asks for a pause of {:.1} s", pause.as_secs_f64()),
        ),
        Step::StartWaits { reason } => (NOTE, format!("the start waits for its turn ({reason})")),
        Step::Start(StartPoint::IntentWritten) => (FAINT, "the intent to start is noted in the engine".into()),
        Step::Start(point) => (FAINT, format!("start: {point:?}")),
        Step::StartClearedUp { run: Some(run) } => (NOTE, format!("the start had led to run {run}")),
        Step::StartClearedUp { run: None } => (NOTE, "the start had led to nothing".into()),
        Step::LateStartCancelled { run, kept } => (
            NOTE,
            format!("run {run} was started late beside run {kept} and is cancelled"),
        ),
        Step::RunStarted { run } => (BOLD, format!("desktop flow started, run {run}")),
        Step::RunAdopted { run } => (BOLD, format!("run {run} was started before: waiting for it")),
        Step::RunStatus { status, .. } => (plain, format!("run is {status}")),
        Step::Mapped { variables } if variables.is_empty() => (plain, "nothing mapped".into()),
        Step::Mapped { variables } => (plain, format!("outputs mapped to {}", variables.join(", "))),
        Step::Answered { outcome, message } => {
            let style = match *outcome {
                "completed" => GOOD,
                "failed" | "bpmn-error" => NOTE,
                _ => BAD,
            };
            let message = message
                .as_deref()
                .map(|message| format!(": {message}"))
                .unwrap_or_default();
            (style, format!("job {outcome}{message}"))
        }
    }
}

fn fields(seen: &Seen) -> (&'static str, Map<String, Value>) {
    let (name, fields) = match &seen.step {
        Step::Received => (
            "job-received",
            json!({ "jobType": seen.job_type, "retries": seen.retries }),
        ),
        Step::SecretResolved { name, provider } => ("secret-resolved", json!({ "name": name, "provider": provider })),
        Step::TokenFetched { host, lifetime } => (
            "token-fetched",
            json!({ "host": host, "lifetimeSeconds": lifetime.map(|time| time.as_secs()) }),
        ),
        Step::RequestSent { method, host } => ("request-sent", json!({ "method": method, "host": host })),
        Step::AnswerReceived { status } => ("answer-received", json!({ "status": status })),
        Step::Throttled { pause } => ("throttled", json!({ "pauseSeconds": pause.as_secs_f64() })),
        Step::StartWaits { reason } => ("start-waits", json!({ "reason": reason })),
        Step::Start(point) => ("start", json!({ "point": format!("{point:?}") })),
        Step::StartClearedUp { run } => ("start-cleared-up", json!({ "run": run })),
        Step::LateStartCancelled { run, kept } => ("late-start-cancelled", json!({ "run": run, "kept": kept })),
        Step::RunStarted { run } => ("run-started", json!({ "run": run })),
        Step::RunAdopted { run } => ("run-adopted", json!({ "run": run })),
        Step::RunStatus { run, status } => ("run-status", json!({ "run": run, "status": status })),
        Step::Mapped { variables } => ("mapped", json!({ "variables": variables })),
        Step::Answered { outcome, message } => ("job-answered", json!({ "outcome": outcome, "message": message })),
    };
    match fields {
        Value::Object(fields) => (name, fields),
        _ => (name, Map::new()),
    }
}
