//! `deskhand feel`: evaluates one expression, as a result expression would be.

use std::io::Read;
use std::process::ExitCode;

use serde_json::Value;

use super::output::{complain, line};
use super::{FAILURE, USAGE};
use crate::feel::{Program, Scope, Settings};
use crate::job::describe;

/// Evaluate a FEEL expression over a context, e.g. to try a result expression.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  deskhand feel '1 + 1'
  deskhand feel '{id: response.body.id}' --context response.json
  echo '{\"body\": {\"items\": [1, 2, 3]}}' | deskhand feel 'sum(body.items)' --context -")]
pub(super) struct Args {
    /// The expression; a leading = is allowed.
    expression: String,
    /// A JSON object whose fields are the variables; - reads standard input.
    #[arg(long, value_name = "FILE")]
    context: Option<String>,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let context = match context(args.context.as_deref()) {
        Ok(context) => context,
        Err(message) => {
            complain(format_args!("{message}"));
            return ExitCode::from(USAGE);
        }
    };
    let program = match Program::parse(&args.expression) {
        Ok(program) => program,
        Err(error) => {
            complain(format_args!("{error}"));
            return ExitCode::from(FAILURE);
        }
    };
    match program.evaluate(&Scope::new().layer(&context), &Settings::default()) {
        Ok(evaluation) => {
            line(format_args!("{:#}", evaluation.value));
            for warning in &evaluation.warnings {
                complain(format_args!("warning: {}", warning.message));
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(format_args!("{error}"));
            ExitCode::from(FAILURE)
        }
    }
}

fn context(source: Option<&str>) -> Result<serde_json::Map<String, Value>, String> {
    let text = match source {
        None => return Ok(serde_json::Map::new()),
        Some("-") => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .map_err(|error| format!("standard input: {error}"))?;
            text
        }
        Some(path) => std::fs::read_to_string(path).map_err(|error| format!("{path} cannot be read: {error}"))?,
    };
    let name = source.unwrap_or_default();
    match serde_json::from_str(&text) {
        Ok(Value::Object(context)) => Ok(context),
        Ok(other) => Err(format!(
            "{name}: the context must be a JSON object, but is {}; write e.g. {{\"response\": {{}}}}",
            describe(&other)
        )),
        Err(error) => Err(format!("{name} is not JSON: {error}")),
    }
}
