//! One expression and what it gives: for people the result, its type and its parts; for machines one JSON object.

use serde_json::{Map, Value, json};

use super::verdict;
use crate::cli::output::{complain, line};
use crate::feel::{EvalError, Evaluation, Part, Program, Scope};

/// What shall be said besides the result.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asked {
    pub(super) explain: bool,
    pub(super) error_expression: bool,
    pub(super) json: bool,
    /// A person reads the standard output, so the type may stand there.
    pub(super) type_line: bool,
}

/// Evaluates and prints; whether there was a result.
pub(super) fn print(expression: &str, context: &Map<String, Value>, asked: Asked) -> bool {
    let program = match Program::parse_within(expression, &super::settings().limits) {
        Ok(program) => program,
        Err(error) => {
            if asked.json {
                let place = json!({"line": error.line, "column": error.column});
                let told = json!({
                    "ok": false, "kind": "parse", "error": error.summary(), "position": place, "hint": error.hint,
                });
                line(format_args!("{told}"));
            } else {
                complain(format_args!("{error}"));
            }
            return false;
        }
    };
    let variables = if asked.error_expression {
        verdict::variables(context)
    } else {
        context.clone()
    };
    let scope = Scope::new().layer(&variables);
    let settings = super::settings();
    let (result, parts) = if asked.explain {
        program.explain(&scope, settings)
    } else {
        (program.evaluate(&scope, settings), Vec::new())
    };
    let good = result.is_ok();
    if asked.json {
        machine(&result, &parts, asked, |value| kind(&program, &scope, value));
    } else {
        person(&result, &parts, asked, |value| kind(&program, &scope, value));
    }
    good
}

fn person(result: &Result<Evaluation, EvalError>, parts: &[Part], asked: Asked, kind: impl Fn(&Value) -> &'static str) {
    match result {
        Ok(evaluation) => {
            line(format_args!("{:#}", evaluation.value));
            if asked.type_line || asked.explain {
                line(format_args!("type: {}", kind(&evaluation.value)));
            }
            if asked.error_expression {
                line(format_args!("outcome: {}", verdict::of(&evaluation.value).text));
            }
            tree(parts);
            for warning in &evaluation.warnings {
                complain(format_args!("warning: {}", warning.message));
            }
        }
        Err(error) => {
            // The parts that have a value show how far it came.
            tree(parts);
            complain(format_args!("{error}"));
        }
    }
}

fn tree(parts: &[Part]) {
    for part in parts {
        let text = part.text.split_whitespace().collect::<Vec<_>>().join(" ");
        let value = part.value.as_deref().unwrap_or("(the evaluation ended here)");
        line(format_args!(
            "{:indent$}{text}  →  {value}",
            "",
            indent = 2 * part.depth
        ));
    }
}

fn machine(
    result: &Result<Evaluation, EvalError>,
    parts: &[Part],
    asked: Asked,
    kind: impl Fn(&Value) -> &'static str,
) {
    let mut told = match result {
        Ok(evaluation) => {
            let warnings: Vec<_> = evaluation.warnings.iter().map(|warning| &warning.message).collect();
            json!({
                "ok": true, "value": evaluation.value, "type": kind(&evaluation.value), "warnings": warnings,
            })
        }
        Err(error) => json!({"ok": false, "kind": error_kind(error), "error": error.to_string()}),
    };
    if let (true, Ok(evaluation)) = (asked.error_expression, result) {
        let verdict = verdict::of(&evaluation.value);
        told["outcome"] = json!({"kind": verdict.kind, "text": verdict.text});
    }
    if asked.explain {
        told["parts"] = parts
            .iter()
            .map(|part| json!({"text": part.text, "depth": part.depth, "value": part.value}))
            .collect();
    }
    line(format_args!("{told}"));
}

/// What machines call the sort of an error.
pub(super) fn error_kind(error: &EvalError) -> &'static str {
    match error {
        EvalError::Failed { .. } => "eval",
        EvalError::Limit(_) => "limit",
    }
}

/// The FEEL type of a result. JSON says it but for texts, which may have been dates or durations: there the trace knows.
fn kind(program: &Program, scope: &Scope<'_>, value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::Array(_) => "list",
        Value::Object(_) => "context",
        Value::String(_) => {
            let (_, parts) = program.explain(scope, super::settings());
            let shown = parts.first().and_then(|part| part.value.as_deref());
            shown.map_or("string", kind_of_shown)
        }
    }
}

/// The type of a value that JSON writes as a text, from how FEEL shows it: strings alone have quotes.
fn kind_of_shown(shown: &str) -> &'static str {
    match shown.trim_start_matches('-').chars().next() {
        Some('P') if shown.contains(['D', 'T']) => "days-time-duration",
        Some('P') => "years-months-duration",
        Some('[' | '(') => "range",
        Some(first) if first.is_ascii_digit() && shown.contains('T') => "date-time",
        Some(first) if first.is_ascii_digit() && shown.contains(':') => "time",
        Some(first) if first.is_ascii_digit() => "date",
        _ => "string",
    }
}
