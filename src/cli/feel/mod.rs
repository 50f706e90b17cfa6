//! `deskhand feel`: the playground. Expressions go in as an argument, at a prompt or line by line; results come out as
//! the worker would get them.

mod input;
mod lines;
mod prompt;
mod reference;
mod report;
mod verdict;

use std::io::{IsTerminal, Read};
use std::process::ExitCode;
use std::sync::OnceLock;

use serde_json::{Map, Value};

use super::output::complain;
use super::{FAILURE, USAGE};
use crate::config::{Config, Flags, Process};
use crate::feel::Settings;
use crate::job::describe;

/// Evaluate FEEL expressions over a context, e.g. to try a result expression; without one, at a prompt.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The result goes to the standard output as JSON, warnings to the standard error; on a terminal its type is said, too.

Examples:
  deskhand feel '1 + 1'
  deskhand feel '{id: response.body.id}' --context response.json
  echo '{\"body\": {\"items\": [1, 2, 3]}}' | deskhand feel 'sum(body.items)' --context -
  deskhand feel 'sum(items) > 10' --context order.json --explain
  deskhand feel 'if error.code = \"404\" then bpmnError(\"GONE\", \"no such order\") else null' \\
    --context error.json --error-expression
  deskhand feel --functions substring
  echo '{\"id\": 7, \"expr\": \"a + 1\", \"context\": {\"a\": 1}}' | deskhand feel --jsonl
  deskhand feel                        a prompt; :help says what it can do

An error expression sees `error` or the fields of `response`, and `job.retries` (3, the engine's default, where the context does not say otherwise).
With --jsonl each line {\"expr\", \"context\", \"id\"} gives one line: {\"ok\":true,\"value\":…} or {\"ok\":false,\"error\":…,\"kind\":\"parse|eval|limit|input\"}.")]
pub(super) struct Args {
    /// The expression; a leading = is allowed.
    expression: Option<String>,
    /// A JSON object whose fields are the variables; - reads standard input.
    #[arg(long, value_name = "FILE")]
    context: Option<String>,
    /// Evaluate as an error expression, and say what would become of the job.
    #[arg(long, requires = "expression")]
    error_expression: bool,
    /// Show the value of every part of the expression.
    #[arg(long, requires = "expression")]
    explain: bool,
    /// Say everything as one JSON object.
    #[arg(long)]
    json: bool,
    /// The reference of the built-in functions, or of the one with this name.
    #[arg(long, value_name = "NAME", num_args = 0.., conflicts_with_all = ["expression", "context", "jsonl"])]
    functions: Option<Vec<String>>,
    /// Evaluate each line of the standard input: {"expr": …, "context": …}.
    #[arg(long, conflicts_with_all = ["expression", "context", "json"])]
    jsonl: bool,
}

pub(super) fn run(args: &Args) -> ExitCode {
    if let Some(name) = &args.functions {
        return reference::run(&name.join(" "), args.json);
    }
    if args.jsonl {
        return lines::run();
    }
    let interactive = args.expression.is_none();
    if interactive && !(std::io::stdin().is_terminal() && std::io::stdout().is_terminal()) {
        return refuse(
            "an expression is missing, and there is no terminal for a prompt: write deskhand feel 'EXPRESSION', or \
             deskhand feel --jsonl to evaluate lines of the standard input",
        );
    }
    if interactive && args.context.as_deref() == Some("-") {
        return refuse("--context - needs an expression: the prompt reads the standard input itself");
    }
    let context = match args.context.as_deref().map_or_else(|| Ok(Map::new()), context) {
        Ok(context) => context,
        Err(message) => return refuse(&message),
    };
    match &args.expression {
        None => prompt::run(context),
        Some(expression) => {
            let asked = report::Asked {
                explain: args.explain,
                error_expression: args.error_expression,
                json: args.json,
                type_line: std::io::stdout().is_terminal(),
            };
            if report::print(expression, &context, asked) {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(FAILURE)
            }
        }
    }
}

/// How the worker would evaluate: the limits are those of the configuration.
fn settings() -> &'static Settings {
    static SETTINGS: OnceLock<Settings> = OnceLock::new();
    SETTINGS.get_or_init(|| match Config::load(&Flags::default(), &Process) {
        Ok(config) => Settings {
            limits: config.feel,
            ..Settings::default()
        },
        Err(_) => {
            complain(format_args!(
                "the configuration has faults (`deskhand check` names them): the default limits hold here"
            ));
            Settings::default()
        }
    })
}

fn refuse(message: &str) -> ExitCode {
    complain(format_args!("{message}"));
    ExitCode::from(USAGE)
}

/// The variables in a file, or on the standard input.
fn context(source: &str) -> Result<Map<String, Value>, String> {
    let text = if source == "-" {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(|error| format!("standard input: {error}"))?;
        text
    } else {
        std::fs::read_to_string(source).map_err(|error| format!("{source} cannot be read: {error}"))?
    };
    match serde_json::from_str(&text) {
        Ok(Value::Object(context)) => Ok(context),
        Ok(other) => Err(format!(
            "{source}: the context must be a JSON object, but is {}; write e.g. {{\"response\": {{}}}}",
            describe(&other)
        )),
        Err(error) => Err(format!("{source} is not JSON: {error}")),
    }
}
