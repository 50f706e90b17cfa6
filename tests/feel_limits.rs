//! Hostile expressions and documents: each ends with a result or an error, soon, on a small stack.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "feel/hostile.rs"]
mod hostile;

use deskhand::feel::{EvalError, LimitKind, Limits, Program, Scope, Settings};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What a thread of an asynchronous runtime has.
const STACK: usize = 2 * 1024 * 1024;

/// Runs on a thread with a small stack; a stack overflow would end the whole test process.
fn on_small_stack<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::Builder::new()
        .stack_size(STACK)
        .spawn(run)
        .unwrap()
        .join()
        .unwrap()
}

/// `Err` with the reason, whether the text was refused or the evaluation failed. A short deadline keeps the suite short.
fn evaluate(expression: &str, context: &Value) -> Result<Value, String> {
    let limits = Limits {
        deadline: Duration::from_millis(50),
        ..Limits::default()
    };
    let program = Program::parse(expression).map_err(|error| error.summary())?;
    let scope = context
        .as_object()
        .map_or_else(Scope::new, |variables| Scope::new().layer(variables));
    let settings = Settings {
        limits,
        ..Settings::default()
    };
    program
        .evaluate(&scope, &settings)
        .map(|evaluation| evaluation.value)
        .map_err(|error| error.to_string())
}

fn limit_of(expression: &str, limits: Limits) -> LimitKind {
    let program = Program::parse(expression).unwrap();
    match program.evaluate(
        &Scope::new(),
        &Settings {
            limits,
            ..Settings::default()
        },
    ) {
        Err(EvalError::Limit(kind)) => kind,
        other => panic!("{expression} should reach a limit but gives {other:?}"),
    }
}

fn generous() -> Limits {
    Limits {
        fuel: u64::MAX,
        deadline: Duration::from_secs(3_600),
        cells: usize::MAX,
        ..Limits::default()
    }
}

#[test]
fn every_limit_stops_an_evaluation_and_names_the_setting_that_raises_it() {
    let endless = "for i in 1..1000000000 return i";
    assert_eq!(
        limit_of(
            endless,
            Limits {
                fuel: 1_000,
                ..generous()
            }
        ),
        LimitKind::Fuel
    );
    assert_eq!(
        limit_of(
            endless,
            Limits {
                deadline: Duration::ZERO,
                cells: usize::MAX,
                ..Limits::default()
            }
        ),
        LimitKind::Deadline
    );
    assert_eq!(
        limit_of(
            endless,
            Limits {
                cells: 1_000,
                ..generous()
            }
        ),
        LimitKind::Cells
    );
    assert_eq!(
        limit_of(
            "[[[[1]]]]",
            Limits {
                value_nesting: 3,
                ..Limits::default()
            }
        ),
        LimitKind::ValueNesting
    );
    let calls = "{f: function(n) n, g: function(n) f(n), h: function(n) g(n), r: h(1)}.r";
    assert_eq!(
        limit_of(
            calls,
            Limits {
                call_depth: 2,
                ..Limits::default()
            }
        ),
        LimitKind::CallDepth
    );
    let catastrophic = format!("matches(\"{}!\", \"^((a+)\\\\2?)+b\")", "a".repeat(40));
    assert_eq!(limit_of(&catastrophic, Limits::default()), LimitKind::RegexSteps);
    assert_eq!(
        limit_of(
            "[\"text\", \"text\"]",
            Limits {
                output_bytes: 10,
                ..Limits::default()
            }
        ),
        LimitKind::OutputBytes
    );
    assert_eq!(
        limit_of("matches(\"a\", \"(((a{99}){99}){99}){99}\")", Limits::default()),
        LimitKind::RegexSize
    );
    assert_eq!(
        limit_of("number(string join(for i in 1..2000 return \"9\"))", Limits::default()),
        LimitKind::NumberDigits
    );
    for kind in [
        LimitKind::Fuel,
        LimitKind::Deadline,
        LimitKind::Cells,
        LimitKind::CallDepth,
        LimitKind::RegexSteps,
        LimitKind::OutputBytes,
    ] {
        assert!(kind.to_string().contains(kind.setting().unwrap()), "{kind}");
    }
}

#[test]
fn limits_of_the_text_are_parse_errors_that_name_the_setting() {
    let nested = format!("{}1{}", "(".repeat(5_000), ")".repeat(5_000));
    assert!(Program::parse(&nested).unwrap_err().to_string().contains("`nesting`"));
    let chained = vec!["1"; 5_000].join(" + ");
    assert!(Program::parse(&chained).unwrap_err().to_string().contains("`chain`"));
    let limits = Limits {
        chain: 10_000,
        ..Limits::default()
    };
    assert!(Program::parse_within(&chained, &limits).is_ok());
}

#[test]
fn hostile_expressions_end_soon_on_a_small_stack() {
    let cases = hostile::hostile();
    assert!(cases.len() >= 200, "only {} hostile expressions", cases.len());
    let slow: Vec<String> = on_small_stack(move || {
        let context = json!({"a": {"a": 1}, "x": [[1, 2], [3]], "f": 1});
        let mut slow = Vec::new();
        for (name, expression) in cases {
            if std::env::var_os("FEEL_VERBOSE").is_some() {
                eprintln!("{name}");
            }
            let start = Instant::now();
            let outcome = evaluate(&expression, &context);
            let took = start.elapsed();
            if std::env::var_os("FEEL_VERBOSE").is_some() {
                eprintln!("    {took:?}");
            }
            // What lies between two looks at the clock is slower in a debug build.
            if took > Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 1 }) {
                let outcome = outcome.map(|_| "a result").unwrap_or("an error");
                slow.push(format!("{name}: {took:?} for {outcome}"));
            }
        }
        slow
    });
    assert!(slow.is_empty(), "{}", slow.join("\n"));
}

#[test]
fn a_deep_document_can_be_shown_compared_and_returned() {
    let outcome = on_small_stack(|| {
        let mut deep = json!(1);
        for _ in 0..120 {
            deep = json!({"a": [deep]});
        }
        let context = json!({"deep": deep});
        for expression in [
            "deep",
            "deep = deep",
            "string(deep)",
            "to json(deep)",
            "deep.a.a.a",
            "list contains([deep], deep)",
            "flatten([deep])",
        ] {
            evaluate(expression, &context).unwrap_or_else(|error| panic!("{expression}: {error}"));
        }
        // Documents that were not read from text are dropped one level at a time, as serde_json itself would recurse.
        let mut deep = json!(1);
        for _ in 0..100_000 {
            deep = Value::Array(vec![deep]);
        }
        let context = json!({"deep": null});
        let mut context = context;
        context["deep"] = deep;
        let outcomes: Vec<bool> = [
            "deep",
            "string(deep)",
            "deep = deep",
            "to json(deep)",
            "deep.a",
            "flatten(deep)",
            "count(deep)",
        ]
        .iter()
        .map(|expression| evaluate(expression, &context).is_ok())
        .collect();
        let mut rest = context["deep"].take();
        while let Value::Array(mut items) = rest {
            rest = items.pop().unwrap_or_default();
        }
        outcomes
    });
    assert_eq!(outcome, [false, false, false, false, false, false, true]);
}

#[test]
fn the_deepest_nesting_that_can_be_set_fits_on_the_stack() {
    let run = || {
        let limits = Limits {
            nesting: 256,
            value_nesting: 300,
            call_depth: 1_000,
            deadline: Duration::from_millis(200),
            ..Limits::default()
        };
        let settings = Settings {
            limits: limits.clone(),
            ..Settings::default()
        };
        let wrappers = [
            ("(", ")"),
            ("[", "]"),
            ("{a:", "}"),
            ("not(", ")"),
            ("-(", ")"),
            ("function() ", ""),
            ("[1][", "]"),
            ("if true then ", " else 1"),
            ("for i in [1] return ", ""),
            ("some i in [1] satisfies ", ""),
            ("1 in (", ")"),
            ("string(", ")"),
            ("{f: function(x) ", ", r: f(1)}.r"),
            ("sort([2, 1], function(a, b) ", ")"),
        ];
        for (open, close) in wrappers {
            for depth in [100, 200, 255, 300] {
                let text = format!("{}1{}", open.repeat(depth), close.repeat(depth));
                if let Ok(program) = Program::parse_within(&text, &limits) {
                    drop(program.evaluate(&Scope::new(), &settings));
                }
            }
        }
        for (name, expression) in hostile::hostile() {
            if let (true, Ok(program)) = (
                name.contains(" calls within "),
                Program::parse_within(&expression, &limits),
            ) {
                drop(program.evaluate(&Scope::new(), &settings));
            }
        }
    };
    let thread = std::thread::Builder::new().stack_size(Limits::STACK).spawn(run);
    thread.unwrap().join().unwrap();
}
