//! The guide for modelers is right: every recipe gives what stands below it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use deskhand::feel::{Limits, Program, Scope, Settings};
use serde_json::{Value, json};

const GUIDE: &str = include_str!("../docs/feel.md");

fn block<'t>(text: &'t str, mark: &str) -> Option<(&'t str, &'t str)> {
    let (_, rest) = text.split_once(&format!("```{mark}\n"))?;
    rest.split_once("\n```")
}

#[test]
fn every_recipe_gives_what_the_guide_says() {
    let response: Value = serde_json::from_str(block(GUIDE, "json response").unwrap().0).unwrap();
    let scope = Scope::new()
        .layer(response.as_object().unwrap())
        .variable("response", &response);
    let mut rest = GUIDE;
    let mut recipes = 0;
    while let Some((expression, after)) = block(rest, "feel") {
        let (result, after) = after.split_once("gives `").unwrap().1.split_once("`\n").unwrap();
        let expected: Value = serde_json::from_str(result).unwrap_or_else(|error| panic!("{result}: {error}"));
        let program = Program::parse(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
        let evaluation = program
            .evaluate(&scope, &Settings::default())
            .unwrap_or_else(|error| panic!("{expression}: {error}"));
        assert_eq!(evaluation.value, expected, "{expression}");
        recipes += 1;
        rest = after;
    }
    assert_eq!(recipes, 20);
}

#[test]
fn the_defaults_in_the_guide_are_the_defaults() {
    let limits = Limits::default();
    for (setting, default) in [
        ("fuel", "5,000,000".to_owned()),
        ("deadline", format!("{} s", limits.deadline.as_secs())),
        ("cells", "1,000,000".to_owned()),
        ("nesting", limits.nesting.to_string()),
        ("value_nesting", limits.value_nesting.to_string()),
        ("chain", "1,024".to_owned()),
        ("call_depth", limits.call_depth.to_string()),
        ("regex_steps", "1,000,000".to_owned()),
        ("output_bytes", format!("{} MiB", limits.output_bytes / 1024 / 1024)),
    ] {
        assert!(
            GUIDE.contains(&format!("| `{setting}` | {default} |")),
            "{setting} {default}"
        );
    }
    assert_eq!(
        (limits.fuel, limits.cells, limits.chain, limits.regex_steps),
        (5_000_000, 1_000_000, 1_024, 1_000_000)
    );
}

#[test]
fn the_differences_in_the_guide_are_as_described() {
    for (expression, ours) in [
        ("[\"_\", \"a\", \"_\"][item != \"a\"]", json!(["_", "_"])),
        ("substring(\"😀\", 1, 1)", json!("\u{fffd}")),
        (
            "{e: 1, d: 2, c: 3, b: 4, a: 5}",
            json!({"e": 1, "d": 2, "c": 3, "b": 4, "a": 5}),
        ),
    ] {
        let evaluation = Program::parse(expression)
            .unwrap()
            .evaluate(&Scope::new(), &Settings::default())
            .unwrap();
        assert_eq!(evaluation.value, ours, "{expression}");
    }
    assert!(
        Program::parse("createDocument(1)")
            .unwrap()
            .evaluate(&Scope::new(), &Settings::default())
            .is_err()
    );
}
