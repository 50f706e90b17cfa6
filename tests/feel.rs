//! Expressions with the results of Camunda's engine. A case without a result must fail.

use deskhand::feel::{Program, Scope, Settings};
use serde_json::Value;

/// The variables of generated expressions, which many of the recorded ones share.
const VARIABLES: &str = include_str!("feel/variables.json");

/// Numbers compare as numbers, everything else exactly.
fn agrees(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Number(left), Value::Number(right)) => {
            let (left, right) = (left.as_f64().unwrap_or(f64::NAN), right.as_f64().unwrap_or(f64::NAN));
            left == right || (left - right).abs() <= 1e-12 * left.abs().max(right.abs())
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| agrees(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(key, value)| right.get(key).is_some_and(|other| agrees(value, other)))
        }
        _ => ours == theirs,
    }
}

fn evaluate(expression: &str, context: &Value) -> Result<Value, String> {
    let program = Program::parse(expression).map_err(|error| error.summary())?;
    let scope = context
        .as_object()
        .map_or_else(Scope::new, |variables| Scope::new().layer(variables));
    let evaluation = program
        .evaluate(&scope, &Settings::default())
        .map_err(|error| error.to_string())?;
    Ok(evaluation.value)
}

/// Checks every line and says which ones differ.
fn check(cases: &str, at_least: usize) {
    let shared: Value = serde_json::from_str(VARIABLES).expect("the shared variables are JSON");
    let mut differing = Vec::new();
    let mut count = 0;
    for line in cases.lines().filter(|line| !line.trim().is_empty()) {
        let case: Value = serde_json::from_str(line).expect("a case is a line of JSON");
        let expression = case["expression"].as_str().expect("a case has an expression");
        let context = if case["context"] == "shared" {
            &shared
        } else {
            &case["context"]
        };
        count += 1;
        let ours = evaluate(expression, context);
        let same = match (case.get("expected"), &ours) {
            (Some(expected), Ok(value)) => agrees(value, expected),
            (None, Err(_)) => true,
            _ => false,
        };
        if !same {
            let expected = case
                .get("expected")
                .map_or_else(|| "a failure".to_owned(), Value::to_string);
            differing.push(format!("{expression}\n    theirs: {expected}\n    ours:   {ours:?}"));
        }
    }
    assert!(count >= at_least, "only {count} cases were read");
    assert!(
        differing.is_empty(),
        "{} of {count} cases differ:\n{}",
        differing.len(),
        differing.join("\n")
    );
}

#[test]
fn every_judged_case_gives_what_the_real_engine_gives() {
    check(include_str!("feel/cases.jsonl"), 333);
}

#[test]
fn every_recorded_answer_of_the_real_engine_is_ours_too() {
    check(include_str!("feel/answers.jsonl"), 1_000);
}
