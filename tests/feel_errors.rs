//! What modelers read when something is wrong: parse errors with a hint, warnings with the nearest name.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use deskhand::feel::{EvalError, Program, Scope, Settings, Warning, WarningKind, built_ins};
use serde_json::{Value, json};

fn refused(text: &str) -> deskhand::feel::ParseError {
    Program::parse(text).map(|_| ()).expect_err(text)
}

fn warnings(text: &str, context: &Value) -> Vec<Warning> {
    let program = Program::parse(text).unwrap();
    let scope = Scope::new().layer(context.as_object().unwrap());
    program.evaluate(&scope, &Settings::default()).unwrap().warnings
}

#[test]
fn a_parse_error_points_at_the_place_in_its_line() {
    let error = refused("= {a: 1,\n    b: 2 +\n    c: 3}");
    assert_eq!((error.line, error.column), (3, 6));
    assert_eq!(error.found, "`:`");
    let shown = error.to_string();
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[1], "      c: 3}");
    assert_eq!(lines[2].find('^'), lines[1].find(':'));
}

#[test]
fn common_slips_get_a_hint() {
    for (text, hint) in [
        ("if a == 1 then 2 else 3", "one `=`"),
        ("a && b", "`and`"),
        ("a || b", "`or`"),
        ("!a", "`not("),
        ("a <> b", "`!=`"),
        ("a % 2", "modulo"),
        ("'text'", "double quotes"),
        ("\u{201c}text\u{201d}", "typographic"),
        ("{a: =1}", "leave it out"),
        ("f(= 1)", "leave it out"),
        ("== 1", "one `=`"),
        ("if a > 1 \"x\" else \"y\"", "`then"),
        ("if a then b", "`else"),
        ("response.headers.content-type: 1", ""),
        ("a ? b : c", "if condition then"),
        ("{a: (1 + 2}", ""),
        ("[1, 2", "closing `]`"),
        ("\"never closed", "closing"),
        ("", "empty"),
        ("1; 2", "no `;`"),
        ("[1,]", "comma"),
        ("(function(x) x)(1)", "only a name can be called"),
        ("1..5", "range"),
        ("x => x + 1", "function(x)"),
        ("a ?? b", "get or else"),
    ] {
        let error = refused(text);
        match hint {
            "" => {}
            hint => assert!(error.hint.as_deref().unwrap_or("").contains(hint), "{text}: {error}"),
        }
    }
}

#[test]
fn what_silently_became_null_is_told_with_the_nearest_name() {
    let context = json!({"response": {"status": 200, "body": {"flowSessionId": "x"}}});
    for (text, kind, part) in [
        ("respone.status", WarningKind::NoVariable, "did you mean `response`"),
        (
            "response.body.flowsessionId",
            WarningKind::NoField,
            "did you mean `flowSessionId`",
        ),
        ("response.body.id.more", WarningKind::NoField, "`id`"),
        ("uper case(\"x\")", WarningKind::NoFunction, "did you mean `upper case`"),
        (
            "substring(\"x\")",
            WarningKind::NoFunction,
            "substring(string, start position)",
        ),
        ("response.status + \"x\"", WarningKind::WrongKind, "cannot add"),
        ("response.status < \"x\"", WarningKind::NotComparable, "cannot compare"),
        (
            "if response.status then 1 else 2",
            WarningKind::WrongKind,
            "expected a boolean",
        ),
        ("upper case(1)", WarningKind::FunctionFailed, "`upper case` gives null"),
        ("date(\"2024-02-30\" + \"\")", WarningKind::FunctionFailed, "is no date"),
        ("1 / 0", WarningKind::WrongKind, "by zero"),
        (
            "date(\"2024-02-03\").hour",
            WarningKind::NoProperty,
            "no property `hour`",
        ),
        ("response.body.content-type", WarningKind::NoVariable, "type"),
    ] {
        let warnings = warnings(text, &context);
        let found = warnings
            .iter()
            .any(|warning| warning.kind == kind && warning.message.contains(part));
        assert!(found, "{text}: {warnings:?}");
    }
}

#[test]
fn nothing_is_said_when_nothing_is_wrong() {
    let context = json!({"response": {"status": 200, "body": null}});
    for text in [
        "response.status + 1",
        "get or else(response.body, 1)",
        "if response.status = 200 then 1 else missing",
        "response",
    ] {
        assert_eq!(warnings(text, &context), [], "{text}");
    }
}

#[test]
fn warnings_are_bounded() {
    assert!(warnings("for i in 1..1000 return missing", &json!({})).len() <= 50);
}

#[test]
fn an_evaluation_that_the_real_engine_fails_fails_with_a_reason() {
    for (text, part) in [
        ("assert(1, 1 > 2, \"too small\")", "too small"),
        ("substring(\"abc\", 9)", "position 9"),
        ("modulo(1, 0)", "zero"),
        ("bpmnError(1)", "`errorCode` of `bpmnError` must be a string"),
        ("jobError(\"x\", 1)", "`variables` of `jobError` must be a context"),
        ("backoff(0)", "counts from 1"),
        ("createDocument(\"x\")", "document store"),
        ("function(x) x", "a function"),
        ("a.f(1)", "`a`"),
        ("?", "`in`"),
        ("(0 - 1) ** 0.5", "not a number"),
    ] {
        let error = Program::parse(text)
            .unwrap()
            .evaluate(&Scope::new(), &Settings::default())
            .expect_err(text);
        assert!(
            matches!(&error, EvalError::Failed { message } if message.contains(part)),
            "{text}: {error}"
        );
    }
}

#[test]
fn connector_functions_can_be_switched_off() {
    let program = Program::parse("bpmnError(\"A\", \"b\")").unwrap();
    let settings = Settings {
        connector_functions: false,
        ..Settings::default()
    };
    let evaluation = program.evaluate(&Scope::new(), &settings).unwrap();
    assert_eq!(evaluation.value, Value::Null);
    assert_eq!(evaluation.warnings[0].kind, WarningKind::NoFunction);
}

#[test]
fn later_layers_of_a_scope_win() {
    let (first, second) = (json!({"a": 1, "b": 1}), json!({"a": 2}));
    let third = json!(3);
    let scope = Scope::new()
        .layer(first.as_object().unwrap())
        .layer(second.as_object().unwrap())
        .variable("c", &third);
    let evaluation = Program::parse("[a, b, c]")
        .unwrap()
        .evaluate(&scope, &Settings::default())
        .unwrap();
    assert_eq!(evaluation.value, json!([2, 1, 3]));
}

#[test]
fn the_clock_is_given_and_read_once() {
    let now: deskhand::feel::Clock =
        deskhand::feel::Clock::fixed("2024-03-10T12:30:00+01:00[Europe/Berlin]".parse().unwrap());
    let settings = Settings {
        now,
        ..Settings::default()
    };
    let value = |text: &str| {
        Program::parse(text)
            .unwrap()
            .evaluate(&Scope::new(), &settings)
            .unwrap()
            .value
    };
    assert_eq!(value("now()"), json!("2024-03-10T12:30:00+01:00"));
    assert_eq!(value("today()"), json!("2024-03-10"));
    assert_eq!(value("now() + duration(\"PT30M\")"), json!("2024-03-10T13:00:00+01:00"));
    assert_eq!(value("string(now())"), json!("2024-03-10T12:30:00@Europe/Berlin"));
    assert_eq!(value("now() = now()"), json!(true));
}

/// The reference of built-in functions is only worth something when its examples are true.
#[test]
fn the_example_of_every_built_in_gives_the_result_that_stands_beside_it() {
    let mut names = std::collections::HashSet::new();
    for (_, functions) in built_ins() {
        for function in functions {
            assert!(names.insert(function.name), "{} is there twice", function.name);
            assert!(
                !function.doc.is_empty() && !function.overloads.is_empty(),
                "{}",
                function.name
            );
            let (expression, result) = function.example;
            assert!(expression.contains(function.name), "{}: {expression}", function.name);
            if result.is_empty() {
                continue;
            }
            let expected: Value = serde_json::from_str(result).unwrap();
            let program = Program::parse(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
            let value = program.evaluate(&Scope::new(), &Settings::default()).unwrap().value;
            assert_eq!(value, expected, "{expression}");
        }
    }
    assert!(names.len() >= 108, "only {} functions", names.len());
}
