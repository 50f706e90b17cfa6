//! Memory and time of hostile expressions, under a counting allocator and within the default limits: what an evaluation
//! holds at any moment is bounded, and so is how long it lasts.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "feel/hostile.rs"]
mod hostile;

use deskhand::feel::{Limits, Program, Projection, Scope, Settings};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What a single evaluation may hold at any moment.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// How long it may last: more than the deadline, as the clock is only looked at now and then.
const MOST_TIME: Duration = Duration::from_secs(2);

struct Cost {
    name: String,
    bytes: u64,
    time: Duration,
}

/// Parses and evaluates on a thread with the stack of the worker's threads; a panic or an abort ends the test.
fn costs(cases: Vec<(String, String)>, context: Value, limits: Limits) -> Vec<Cost> {
    let run = move || {
        let settings = Settings {
            limits,
            ..Settings::default()
        };
        let variables = context.as_object().unwrap();
        let cost = |(name, expression): (String, String)| {
            let start = Instant::now();
            let counted = allocation_counter::measure(|| {
                if let Ok(program) = Program::parse(&expression) {
                    drop(program.evaluate(&Scope::new().layer(variables), &settings));
                }
            });
            Cost {
                name,
                bytes: counted.bytes_max,
                time: start.elapsed(),
            }
        };
        cases.into_iter().map(cost).collect()
    };
    let thread = std::thread::Builder::new().stack_size(Limits::STACK).spawn(run);
    thread.unwrap().join().unwrap()
}

fn check(costs: &[Cost]) {
    let most = costs.iter().max_by_key(|cost| cost.bytes).unwrap();
    let slowest = costs.iter().max_by_key(|cost| cost.time).unwrap();
    println!(
        "{} cases; most memory: {:.1} MiB ({}); longest: {:?} ({})",
        costs.len(),
        most.bytes as f64 / 1_048_576.0,
        most.name,
        slowest.time,
        slowest.name
    );
    let large: Vec<String> = costs
        .iter()
        .filter(|cost| cost.bytes > MOST_BYTES)
        .map(|cost| format!("{}: {} bytes", cost.name, cost.bytes))
        .collect();
    assert!(large.is_empty(), "{}", large.join("\n"));
    // A build for debugging is many times slower between two looks at the clock.
    let allowed = MOST_TIME * if cfg!(debug_assertions) { 5 } else { 1 };
    let slow: Vec<String> = costs
        .iter()
        .filter(|cost| cost.time > allowed)
        .map(|cost| format!("{}: {:?}", cost.name, cost.time))
        .collect();
    assert!(slow.is_empty(), "{}", slow.join("\n"));
}

/// Waiting for each deadline would take minutes: a part of the second shows the same, as memory grows from the start.
fn limits() -> Limits {
    match std::env::var_os("FEEL_FULL_DEADLINE") {
        Some(_) => Limits::default(),
        None => Limits {
            deadline: Duration::from_millis(300),
            ..Limits::default()
        },
    }
}

#[test]
fn hostile_expressions_hold_little_memory() {
    let cases = hostile::hostile();
    assert!(cases.len() >= 200, "only {} hostile expressions", cases.len());
    check(&costs(
        cases,
        json!({"a": {"a": 1}, "x": [[1, 2], [3]], "f": 1}),
        limits(),
    ));
}

#[test]
fn hostile_documents_hold_little_more_than_themselves() {
    let mut deep = json!(1);
    for _ in 0..120 {
        deep = json!([deep, {"a": 1}]);
    }
    let wide: Vec<Value> = (0..50_000)
        .map(|index| json!({"k": index, "t": "0123456789"}))
        .collect();
    let context = json!({"deep": deep, "wide": wide, "text": "aé😀".repeat(100_000), "odd": "\u{fffd}\u{0}\u{feff}"});
    let expressions = [
        "deep",
        "string(deep)",
        "to json(deep)",
        "deep = deep",
        "flatten(deep)",
        "deep.a",
        "deep.a.a.a",
        "distinct values([deep, deep])",
        "[deep, deep, deep, deep]",
        "wide",
        "[wide, wide, wide, wide, wide, wide]",
        "string(wide)",
        "to json(wide)",
        "wide = wide",
        "distinct values(wide)",
        "wide.k",
        "wide[k > 10]",
        "reverse(wide)",
        "sort(wide, function(a, b) a.k > b.k)",
        "union(wide, wide)",
        "for w in wide return wide",
        "for w in wide return for v in wide return v.k",
        "for w in wide return context put(w, \"x\", wide)",
        "context merge(wide)",
        "partition(wide, 1)",
        "index of(wide, wide[1])",
        "list contains(wide, wide[50000])",
        "string join(for w in wide return w.t)",
        "text + text + text + text",
        "for i in 1..1000 return text + string(i)",
        "upper case(text)",
        "replace(text, \"\", text)",
        "replace(text, \".\", \"$0$0$0\")",
        "split(text, \"\")",
        "extract(text, \".\")",
        "matches(text, \"(.*)(.*)(.*)x\")",
        "substring(text, 150000)",
        "string length(text)",
        "to base64(text)",
        "from json(text)",
        "contains(text, text)",
        "odd",
        "string length(odd)",
        "number(odd)",
        "for i in 1..100000 return substring(text, i)",
        "get entries(wide[1])",
        "wide[wide[1].k = k].t",
        "for w in wide return get entries(w)",
        "mode(wide.k)",
        "stddev(wide.k)",
        "median(wide.k)",
        "duplicate values(wide.t)",
    ];
    let cases = expressions.map(|expression| (expression.to_owned(), expression.to_owned()));
    check(&costs(cases.into(), context, limits()));
}

#[test]
fn a_megabyte_is_read_with_less_than_64_kilobytes() {
    let items: Vec<Value> = (0..3_950)
        .map(|index| json!({"name": format!("run {index}"), "note": "x".repeat(200), "amount": index}))
        .collect();
    let text = json!({"status": 200, "body": {"flowsessionId": "0af1-77", "value": items}}).to_string();
    assert!(text.len() > 950_000, "{}", text.len());
    let program = Program::parse("{flowSessionId: response.body.flowsessionId}").unwrap();
    let projection = program.projection().spread_as("response");
    let settings = Settings::default();
    let run = |projection: &Projection| {
        let document = projection.read(&text).unwrap();
        let scope = Scope::new().variable("response", &document);
        assert_eq!(
            program.result_text(&scope, &settings).unwrap(),
            r#"{"flowSessionId":"0af1-77"}"#
        );
    };
    run(&projection);
    let counted = allocation_counter::measure(|| run(&projection));
    println!("{} bytes at most", counted.bytes_max);
    assert!(counted.bytes_max <= 64 * 1024, "{} bytes", counted.bytes_max);
    let whole = allocation_counter::measure(|| run(&Projection::whole()));
    assert!(whole.bytes_max > 1_000_000, "the allocator does not count");
}
