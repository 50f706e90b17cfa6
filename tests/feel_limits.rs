//! Hostile expressions and documents: each ends with a result or an error, soon, on a small stack.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

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

/// Expressions that were chosen to hang, to overflow the stack or to fill the memory.
fn hostile() -> Vec<(String, String)> {
    let mut cases: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, expression: String| cases.push((name.to_owned(), expression));
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("{a:", "}"),
        ("not(", ")"),
        ("-(", ")"),
        ("f(", ")"),
        ("function() ", ""),
        ("[1][", "]"),
    ] {
        for depth in [20, 60, 120, 130, 1_000, 100_000] {
            let closed = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            add(&format!("{depth} nested {open}"), closed.clone());
            add(
                &format!("{depth} nested {open} left open"),
                closed[..open.len() * depth].to_owned(),
            );
        }
    }
    for word in [
        "if ",
        "if true then ",
        "for i in ",
        "some i in ",
        "for i in [1] return ",
        "function(x) ",
        "1 in ",
        "1 in (",
        "x.",
        "@",
        "\"",
        "`",
        "/*",
        "1 between ",
    ] {
        add(&format!("repeated {word}"), word.repeat(20_000));
        add(
            &format!("nested {word}"),
            format!("{}1{}", word.repeat(100), " else 1".repeat(100)),
        );
    }
    for operator in [
        " + ", " - ", " * ", " / ", " ** ", " and ", " or ", " = ", ".", "..", ", ", "[1]",
    ] {
        for count in [1_000, 20_000, 200_000] {
            add(&format!("{count} times {operator}"), vec!["a"; count].join(operator));
        }
    }
    let doubling = |count: usize, piece: &dyn Fn(usize) -> String, result: &str| {
        let steps: Vec<String> = (1..=count).map(piece).collect();
        format!("{{s0: 1, t0: \"x\", {}}}{result}", steps.join(", "))
    };
    add(
        "lists that double",
        doubling(60, &|i| format!("s{i}: [s{0}, s{0}]", i - 1), ""),
    );
    add(
        "lists that double, shown",
        doubling(60, &|i| format!("s{i}: [s{0}, s{0}]", i - 1), ".s60"),
    );
    add(
        "lists that double, as text",
        format!(
            "string({})",
            doubling(60, &|i| format!("s{i}: [s{0}, s{0}]", i - 1), "")
        ),
    );
    add(
        "lists that double, as JSON text",
        format!(
            "to json({})",
            doubling(60, &|i| format!("s{i}: [s{0}, s{0}]", i - 1), "")
        ),
    );
    add(
        "lists that double, compared",
        format!(
            "{0} = {0}",
            doubling(60, &|i| format!("s{i}: [s{0}, s{0}]", i - 1), ".s60")
        ),
    );
    add(
        "lists that double, flattened",
        format!(
            "flatten({})",
            doubling(60, &|i| format!("s{i}: [s{0}, s{0}]", i - 1), ".s60")
        ),
    );
    add(
        "lists that double, mapped",
        format!(
            "{}.x.y.z",
            doubling(60, &|i| format!("s{i}: [s{0}, s{0}]", i - 1), ".s60")
        ),
    );
    add(
        "texts that double",
        doubling(60, &|i| format!("t{i}: t{0} + t{0}", i - 1), ""),
    );
    add(
        "numbers that square",
        doubling(60, &|i| format!("s{i}: s{0} * s{0} + 7", i - 1), ""),
    );
    add(
        "numbers that grow exactly",
        doubling(60, &|i| format!("s{i}: decimal(s{0} * 1.123456789, 900)", i - 1), ""),
    );
    add(
        "functions that double",
        doubling(
            40,
            &|i| {
                if i == 1 {
                    "f1: function(x) x".into()
                } else {
                    format!("f{i}: function(x) f{0}(x) + f{0}(x)", i - 1)
                }
            },
            "",
        ),
    );
    add(
        "functions that double, called",
        format!(
            "{{f0: function(x) x, {}, r: f40(1)}}.r",
            (1..=40)
                .map(|i| format!("f{i}: function(x) f{0}(x) + f{0}(x)", i - 1))
                .collect::<Vec<_>>()
                .join(", ")
        ),
    );
    add(
        "a list within a list for ever",
        "count(for i in 1..1000000 return [partial[-1]])".into(),
    );
    add(
        "results that hold the results so far",
        "for i in 1..3000 return partial".into(),
    );
    add(
        "results so far, counted",
        "for i in 1..20000 return count(partial)".into(),
    );
    add("results so far, summed", "for i in 1..20000 return sum(partial)".into());
    for body in [
        "i",
        "null",
        "[i]",
        "{a: i}",
        "string(i)",
        "\"x\"",
        "i ** 100",
        "uuid()",
        "missing",
        "missing.a.b",
    ] {
        add(
            &format!("a long loop of {body}"),
            format!("for i in 1..1000000000 return {body}"),
        );
        add(
            &format!("a product of loops of {body}"),
            format!("for i in 1..100000, j in 1..100000, k in 1..100000 return {body}"),
        );
        add(
            &format!("a long search for {body}"),
            format!("some i in 1..1000000000 satisfies {body} = \"never\""),
        );
        add(
            &format!("a backward loop of {body}"),
            format!("for i in 1000000000000000000000..-5 return {body}"),
        );
    }
    add(
        "nested filters",
        "(for i in 1..3000 return i)[count((for j in 1..3000 return j)[item > 1]) > 1]".into(),
    );
    add(
        "nested loops",
        "for i in 1..1000 return for j in 1..1000 return for k in 1..1000 return 1".into(),
    );
    add(
        "a large sort",
        "sort(for i in 1..100000 return modulo(i * 7919, 100003), function(x, y) x < y)".into(),
    );
    add(
        "a sort by nonsense",
        "sort(for i in 1..5000 return i, function(x, y) true)".into(),
    );
    add(
        "many distinct values",
        "distinct values(for i in 1..100000 return i / 7)".into(),
    );
    add("many unions", "union(for i in 1..100000 return {a: i})".into());
    add(
        "many index searches",
        "for i in 1..10000 return index of(for j in 1..10000 return j, i)".into(),
    );
    add(
        "a large join",
        "string join(for i in 1..100000 return \"0123456789\", \", \")".into(),
    );
    add(
        "a large text, cut often",
        "for i in 1..10000 return substring(string join(for j in 1..1000 return \"0123456789\"), i)".into(),
    );
    add(
        "a large text, cut often, not ASCII",
        "{t: string join(for j in 1..10000 return \"é123456789\"), r: for i in 1..10000 return string length(t)}.r"
            .into(),
    );
    add(
        "a context of many entries",
        "context(for i in 1..100000 return {key: string(i), value: i})".into(),
    );
    add(
        "a context put many times",
        "{a: for i in 1..10000 return context put(if i = 1 then {} else partial[-1], string(i), i)}".into(),
    );
    add(
        "a merge of many",
        "context merge(for i in 1..100000 return {a: i})".into(),
    );
    for (text, pattern) in [
        ("a", "^(a+)+$"),
        ("a", "^(a|a)*$"),
        ("a", "(a*)*b"),
        ("a", "(?=(a+)+$)a"),
        ("a", "(a+)+\\\\1b"),
        ("a", "(.*)(.*)(.*)(.*)(.*)x"),
        ("ab", "^((ab)*)*$"),
        ("a", "(a{1,50}){1,50}b"),
        ("a", "(?>a+)+b"),
        ("a", "a++b"),
        ("a", "(?<=(a{1,20}){1,5})b"),
        ("a", "\\\\w{1000}"),
    ] {
        let text = text.repeat(2_000);
        add(
            &format!("matches {pattern}"),
            format!("matches(\"{text}!\", \"{pattern}\")"),
        );
        add(
            &format!("replace {pattern}"),
            format!("replace(\"{text}!\", \"{pattern}\", \"$0$0$0$0\")"),
        );
        add(
            &format!("split by {pattern}"),
            format!("count(split(\"{text}!\", \"{pattern}\"))"),
        );
    }
    add(
        "a replacement that grows",
        "for i in 1..60 return if i = 1 then \"x\" else replace(partial[-1], \"x\", \"xxxxxxxxxx\")".into(),
    );
    add(
        "a huge pattern",
        format!("matches(\"a\", \"{}\")", "(a|b)".repeat(3_000)),
    );
    add(
        "a deep pattern",
        format!("matches(\"a\", \"{}a{}\")", "(".repeat(5_000), ")".repeat(5_000)),
    );
    add(
        "a deep pattern with look-ahead",
        format!("matches(\"a\", \"{}a{}\")", "(?=".repeat(3_000), ")".repeat(3_000)),
    );
    add(
        "a deep class",
        format!("matches(\"a\", \"{}a{}\")", "[".repeat(5_000), "]".repeat(5_000)),
    );
    for number in [
        "9".repeat(1_000_000),
        format!("0.{}1", "0".repeat(500_000)),
        "1".repeat(999),
    ] {
        add("a long number", number.clone());
        add("a long number, squared", format!("{number} * {number}"));
        add("a long number as text", format!("number(\"{number}\")"));
        add("a long number as a position", format!("[1][{number}]"));
    }
    for exponent in [
        "999999999",
        "1000000000",
        "2147483647",
        "2147483648",
        "99999999999",
        "-999999999",
        "-2147483648",
    ] {
        for expression in [
            "number(\"1e#\")",
            "string(number(\"1e#\"))",
            "number(\"1e#\") + 1",
            "1 + number(\"1e#\")",
            "number(\"1e#\") - number(\"1e-#\")",
            "number(\"1e#\") * number(\"1e#\")",
            "number(\"1e#\") / 3",
            "modulo(number(\"1e#\"), 7)",
            "decimal(number(\"1e#\"), 2)",
            "number(\"1e#\") < 1",
            "number(\"1e#\") = number(\"1e#\")",
            "odd(number(\"1e#\"))",
            "[1][number(\"1e#\")]",
            "2 ** #",
            "1.0000001 ** #",
            "0.5 ** #",
            "floor(number(\"1e#\"))",
            "decimal(1, #)",
            "round up(1.5, #)",
            "for i in 1..number(\"1e#\") return i",
            "sqrt(number(\"1e#\"))",
            "date(#, 1, 1)",
            "time(#, 1, 1)",
            "duration(\"P1D\") * #",
            "duration(\"P#D\")",
            "duration(\"P#Y\")",
            "date(\"2020-01-01\") + duration(\"P#M\")",
            "@\"2020-01-01T00:00:00Z\" + duration(\"PT#S\")",
            "sublist([1, 2], #)",
            "substring(\"abc\", #)",
            "partition([1], #)",
            "exp(#)",
            "backoff(#)",
            "insert before([1], #, 2)",
            "remove([1], #)",
        ] {
            add(
                &format!("{expression} with {exponent}"),
                expression.replace('#', exponent),
            );
        }
    }
    add(
        "a megabyte of text",
        format!("string length(\"{}\")", "x".repeat(1_000_000)),
    );
    add(
        "a megabyte of escapes",
        format!("string length(\"{}\")", "\\\\".repeat(500_000)),
    );
    add("a megabyte of blanks", format!("1{}", " ".repeat(1_000_000)));
    add("a megabyte of comments", format!("1{}", "/**/".repeat(250_000)));
    add("a megabyte of a name", "x".repeat(1_000_000));
    add("a megabyte of items", format!("[{}1]", "1,".repeat(500_000)));
    add(
        "a megabyte of entries",
        format!("{{{}z:1}}", (0..80_000).map(|i| format!("k{i}:1,")).collect::<String>()),
    );
    add(
        "half of a pair",
        "\"\\uD800\" + substring(\"😀\", 1, 1) + substring(\"😀\", 2)".into(),
    );
    add("a zero byte", "\"\0\" + \"\u{1}\u{7f}\u{ffff}\"".into());
    add(
        "every kind of blank",
        "\u{a0}\u{1680}\u{2003}\u{2028}\u{feff}1\u{85}+\u{b}2".into(),
    );
    add(
        "json within json",
        format!("from json(\"{}1{}\")", "[".repeat(100_000), "]".repeat(100_000)),
    );
    add(
        "json of a megabyte",
        format!("count(from json(\"[{}1]\"))", "1,".repeat(400_000)),
    );
    cases
}

#[test]
fn hostile_expressions_end_soon_on_a_small_stack() {
    let cases = hostile();
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
            if took > Duration::from_secs(if cfg!(debug_assertions) { 5 } else { 1 }) {
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
