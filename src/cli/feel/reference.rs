//! `deskhand feel --functions`: the reference of the built-in functions, from the engine's own table.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::cli::USAGE;
use crate::cli::output::{complain, line};
use crate::feel::{BuiltIn, built_ins, find_built_in};

/// Prints the function of this name, or all of them for an empty name.
pub(super) fn run(name: &str, as_json: bool) -> ExitCode {
    let name = name.trim().trim_end_matches("()");
    if name.is_empty() {
        all(as_json);
        return ExitCode::SUCCESS;
    }
    match find_built_in(name) {
        Some(function) if as_json => line(format_args!("{}", told(group_of(function), function))),
        Some(function) => one(function),
        None => {
            complain(format_args!("{}", unknown(name)));
            return ExitCode::from(USAGE);
        }
    }
    ExitCode::SUCCESS
}

fn all(as_json: bool) {
    if as_json {
        let functions: Vec<Value> = built_ins()
            .into_iter()
            .flat_map(|(group, functions)| functions.iter().map(move |function| told(group, function)))
            .collect();
        line(format_args!("{:#}", Value::Array(functions)));
        return;
    }
    let width = functions().map(|function| function.name.len()).max().unwrap_or(0);
    let mut table = String::new();
    for (group, functions) in built_ins() {
        table.push_str(&format!("{group}\n"));
        for function in functions {
            table.push_str(&format!("  {:width$}  {}\n", function.name, function.doc));
        }
        table.push('\n');
    }
    line(format_args!(
        "{table}One of them with its parameters and an example: --functions NAME"
    ));
}

fn one(function: &BuiltIn) {
    for signature in function.signatures() {
        line(format_args!("{signature}"));
    }
    line(format_args!("  {}", function.doc));
    if function.is_for_connectors() {
        line(format_args!("  Only in result and error expressions of connectors."));
    }
    let (example, result) = function.example;
    match result {
        "" => line(format_args!("  example: {example}  →  differs each time")),
        result => line(format_args!("  example: {example}  →  {result}")),
    }
}

fn told(group: &str, function: &BuiltIn) -> Value {
    let (example, result) = function.example;
    json!({
        "name": function.name,
        "group": group,
        "signatures": function.signatures(),
        "doc": function.doc,
        "example": example,
        "result": serde_json::from_str::<Value>(result).ok(),
        "connectors_only": function.is_for_connectors(),
    })
}

fn group_of(function: &BuiltIn) -> &'static str {
    built_ins()
        .into_iter()
        .find(|(_, functions)| functions.iter().any(|other| other.name == function.name))
        .map_or("", |(group, _)| group)
}

fn functions() -> impl Iterator<Item = &'static BuiltIn> {
    built_ins().into_iter().flat_map(|(_, functions)| functions)
}

fn unknown(name: &str) -> String {
    let wanted = name.to_lowercase();
    let mut near: Vec<(f64, &str)> = functions()
        .map(|function| {
            (
                strsim::jaro_winkler(&wanted, &function.name.to_lowercase()),
                function.name,
            )
        })
        .filter(|(likeness, _)| *likeness > 0.75)
        .collect();
    near.sort_by(|left, right| right.0.total_cmp(&left.0));
    let near: Vec<_> = near.into_iter().take(3).map(|(_, name)| format!("`{name}`")).collect();
    match near.as_slice() {
        [] => format!("there is no built-in function `{name}`; --functions lists them all"),
        near => format!("there is no built-in function `{name}`; near are {}", near.join(", ")),
    }
}
