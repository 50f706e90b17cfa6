//! What an expression gives for the part of a document that it can see is what it gives for the document.

use deskhand::feel::{Program, Projection, Scope, Settings};
use serde_json::{Value, json};

#[path = "feel/generator.rs"]
#[allow(dead_code)]
mod generator;
const VARIABLES: &str = include_str!("feel/variables.json");

fn result(program: &Program, document: &Value) -> Result<Value, String> {
    let settings = Settings {
        now: deskhand::feel::Clock::fixed("2026-01-02T03:04:05+01:00[Europe/Berlin]".parse().expect("a time")),
        ..Settings::default()
    };
    let scope = document
        .as_object()
        .map_or_else(Scope::new, |variables| Scope::new().layer(variables));
    let evaluation = program.evaluate(&scope, &settings).map_err(|error| error.to_string())?;
    Ok(evaluation.value)
}

/// Whether the document could be projected at all.
fn compare(expression: &str, text: &str, document: &Value) -> bool {
    let Ok(program) = Program::parse(expression) else {
        return false;
    };
    if ["random", "uuid"].iter().any(|changing| expression.contains(changing)) {
        return false;
    }
    let projection = program.projection();
    let seen = projection.read(text).expect("the document is JSON");
    assert_eq!(
        result(&program, &seen),
        result(&program, document),
        "{expression}\nseen: {seen}"
    );
    !projection.is_whole()
}

#[test]
fn the_corpus_gives_the_same_for_what_is_seen() {
    let shared: Value = serde_json::from_str(VARIABLES).expect("the shared variables are JSON");
    let mut projected = 0;
    for cases in [include_str!("feel/cases.jsonl"), include_str!("feel/answers.jsonl")] {
        for line in cases.lines().filter(|line| !line.trim().is_empty()) {
            let case: Value = serde_json::from_str(line).expect("a case is a line of JSON");
            let expression = case["expression"].as_str().expect("a case has an expression");
            let context = if case["context"] == "shared" {
                &shared
            } else {
                &case["context"]
            };
            projected += usize::from(compare(expression, &context.to_string(), context));
        }
    }
    assert!(projected >= 500, "only {projected} documents were projected");
}

#[test]
fn random_expressions_give_the_same_for_what_is_seen() {
    let shared: Value = serde_json::from_str(VARIABLES).expect("the shared variables are JSON");
    let text = shared.to_string();
    let mut random = generator::Generator::new(20_261_121);
    let projected = (0..5_000)
        .filter(|_| compare(&random.next().expression, &text, &shared))
        .count();
    assert!(projected >= 500, "only {projected} documents were projected");
}

#[test]
fn paths_through_lists_loops_and_filters_see_what_they_name() {
    let text = r#"{"n": 1, "a": {"v": [{"x": 1, "y": {"z": 2, "w": 3}}, {"x": 4}, 5], "rest": {"deep": [1]}}}"#;
    let document: Value = serde_json::from_str(text).expect("the document is JSON");
    for (expression, seen) in [
        ("a.v.x", json!({"a": {"v": [{"x": 1}, {"x": 4}, 5]}})),
        ("count(a.v)", json!({"a": {"v": [{}, {}, 5]}})),
        (
            "a.v[x > 1].y.z",
            json!({"a": {"v": [{"x": 1, "y": {"z": 2}}, {"x": 4}, 5]}}),
        ),
        (
            "for i in a.v return i.x + n",
            json!({"n": 1, "a": {"v": [{"x": 1}, {"x": 4}, 5]}}),
        ),
        (
            "some i in a.v satisfies i.y.w = 3",
            json!({"a": {"v": [{"y": {"w": 3}}, {}, 5]}}),
        ),
        (
            "if n > 0 then a.rest else null",
            json!({"n": 1, "a": {"rest": {"deep": [1]}}}),
        ),
        ("1 + 1", json!({})),
        ("a", json!({"a": document["a"]})),
    ] {
        assert!(compare(expression, text, &document), "{expression}");
        let projection = Program::parse(expression).expect("it parses").projection();
        assert_eq!(projection.read(text).expect("it is JSON"), seen, "{expression}");
    }
}

#[test]
fn what_is_skipped_is_checked_like_what_is_read() {
    let sees_one = Program::parse("a").expect("it parses").projection();
    let deep = |levels: usize| format!("{{\"b\": {}{}}}", "[".repeat(levels), "]".repeat(levels));
    let texts = [
        "{\"b\": 1e999}",
        "{\"b\": \"\\ud800\"}",
        "{\"b\": [1,]}",
        "{\"b\": 1} x",
        "{\"b\": \"\n\"}",
        "{\"a\": 1, \"a\": 2}",
        "{\"b\": {\"a\" 1}}",
        "[{\"a\": 1, \"b\": 01}]",
        "\"text\"",
        "1.50",
        "-0",
        "",
        "{\"b\": {\"$serde_json::private::RawValue\": \"[\"}}",
    ];
    for text in texts
        .iter()
        .map(|text| (*text).to_owned())
        .chain([deep(126), deep(127), deep(100_000)])
    {
        let whole = Projection::whole().read(&text);
        let seen = sees_one.read(&text);
        assert_eq!(
            seen.map(|_| ()).map_err(|error| error.to_string()),
            whole.map(|_| ()).map_err(|error| error.to_string()),
            "{}",
            &text[..text.len().min(80)]
        );
    }
}
