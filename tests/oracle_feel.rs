//! The same random expressions through our engine and through the real one.
//!
//! `FEEL_ORACLE` names a program that answers `{"expr", "context"}` lines with `{"ok", "value"}` lines; `FEEL_SEED` repeats
//! a run and `FEEL_COUNT` sets its length.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "feel/generator.rs"]
mod generator;

use deskhand::feel::{EvalError, Program, Scope, Settings, built_ins};
use generator::{Generated, Generator};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

/// The variables of every generated expression.
const VARIABLES: &str = include_str!("feel/variables.json");

enum Answer {
    Value(Value),
    Refused(String),
    /// A limit, a timeout, half a character: nothing to compare.
    Incomparable,
}

fn ours(expression: &str, context: &Value) -> Answer {
    let program = match Program::parse(expression) {
        Ok(program) => program,
        Err(error) => return Answer::Refused(error.summary()),
    };
    let Some(variables) = context.as_object() else {
        return Answer::Incomparable;
    };
    match program.evaluate(&Scope::new().layer(variables), &Settings::default()) {
        Ok(evaluation) => Answer::Value(evaluation.value),
        Err(EvalError::Limit(_)) => Answer::Incomparable,
        Err(error) => Answer::Refused(error.to_string()),
    }
}

fn theirs(line: &str) -> Answer {
    let answer: Value = serde_json::from_str(line).unwrap_or_default();
    if answer["lossy"] == true || matches!(answer["kind"].as_str(), Some("timeout" | "overflow" | "input")) {
        return Answer::Incomparable;
    }
    match answer["ok"].as_bool() {
        Some(true) => Answer::Value(answer["value"].clone()),
        _ => Answer::Refused(answer["error"].as_str().unwrap_or_default().to_owned()),
    }
}

fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            let (left, right) = (left.as_f64().unwrap_or(f64::NAN), right.as_f64().unwrap_or(f64::NAN));
            left == right || (left - right).abs() <= 1e-12 * left.abs().max(right.abs())
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(key, value)| right.get(key).is_some_and(|other| same(value, other)))
        }
        _ => left == right,
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

#[test]
fn random_expressions_are_all_answered() {
    let seed = setting("FEEL_SEED", fastrand::u64(..));
    println!("seed {seed}");
    let context: Value = serde_json::from_str(VARIABLES).unwrap();
    let mut generator = Generator::new(seed);
    let mut values = 0;
    for _ in 0..2_000 {
        values += usize::from(matches!(ours(&generator.next().expression, &context), Answer::Value(_)));
    }
    // A third is broken on purpose; nearly all others have a value.
    assert!((1_000..1_900).contains(&values), "{values} of 2,000 have a value");
}

#[test]
#[ignore = "needs the real engine: set FEEL_ORACLE to a program that answers line by line"]
fn random_expressions_agree_with_the_real_engine() {
    let oracle = std::env::var("FEEL_ORACLE").expect("set FEEL_ORACLE to a program that answers line by line");
    let seed = setting("FEEL_SEED", fastrand::u64(..));
    let count = setting("FEEL_COUNT", 20_000);
    println!("seed {seed}, {count} expressions");
    let context: Value = serde_json::from_str(VARIABLES).unwrap();
    let mut generator = Generator::new(seed);
    let cases: Vec<Generated> = (0..count).map(|_| generator.next()).collect();
    let mut child = Command::new(oracle)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let requests: Vec<String> = cases
        .iter()
        .map(|case| json!({"expr": case.expression, "context": context}).to_string())
        .collect();
    let writer = std::thread::spawn(move || {
        for request in requests {
            writeln!(input, "{request}").unwrap();
        }
    });
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();

    let mut compared: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut shown = 0;
    for case in &cases {
        let line = answers.next().unwrap().unwrap();
        let (agree, ours, theirs) = match (ours(&case.expression, &context), theirs(&line)) {
            (Answer::Incomparable, _) | (_, Answer::Incomparable) => continue,
            (Answer::Value(ours), Answer::Value(theirs)) => {
                (same(&ours, &theirs), ours.to_string(), theirs.to_string())
            }
            (Answer::Refused(ours), Answer::Refused(theirs)) => (true, ours, theirs),
            (Answer::Value(ours), Answer::Refused(theirs)) => (false, ours.to_string(), theirs),
            (Answer::Refused(ours), Answer::Value(theirs)) => (false, ours, theirs.to_string()),
        };
        let entry = compared.entry(case.tag.clone()).or_default();
        entry.0 += 1;
        if !agree {
            entry.1 += 1;
            shown += 1;
            if shown <= 100 {
                println!(
                    "{}: {}\n    theirs: {}\n    ours:   {}",
                    case.tag,
                    case.expression,
                    shortened(&theirs),
                    shortened(&ours)
                );
            }
        }
    }
    writer.join().unwrap();
    drop(answers);
    child.wait().unwrap();

    let total: usize = compared.values().map(|(count, _)| count).sum();
    let differing: usize = compared.values().map(|(_, differing)| differing).sum();
    for (tag, (count, differing)) in &compared {
        if *differing > 0 {
            println!("{tag}: {differing} of {count} differ");
        }
    }
    let share = 1.0 - differing as f64 / total.max(1) as f64;
    println!(
        "seed {seed}: {total} compared, {differing} differ, {:.3} % agree",
        share * 100.0
    );
    for (tag, (count, differing)) in compared.iter().filter(|(_, (count, _))| *count >= 50) {
        assert!(
            *differing as f64 <= *count as f64 * 0.02,
            "{tag}: {differing} of {count} differ"
        );
    }
    assert!(share >= 0.995, "only {:.3} % agree", share * 100.0);
}

fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}

#[test]
fn every_built_in_is_generated_at_least_fifty_times_in_twenty_thousand() {
    let mut generator = Generator::new(1);
    let mut calls: BTreeMap<&str, usize> = BTreeMap::new();
    let cases: Vec<Generated> = (0..20_000).map(|_| generator.next()).collect();
    for (_, functions) in built_ins() {
        for function in functions {
            let count = cases.iter().filter(|case| case.tag.ends_with(function.name)).count();
            calls.insert(function.name, count);
        }
    }
    let left_out = [
        "now",
        "today",
        "uuid",
        "random number",
        "createDocument",
        "backoff",
        "bpmnError",
    ];
    let rare: Vec<_> = calls
        .iter()
        .filter(|(name, count)| **count < 50 && !left_out.contains(*name))
        .collect();
    assert!(rare.is_empty(), "{rare:?}");
}
