//! Microseconds per evaluation on one thread: five expressions over responses of about 1 KB, 100 KB and 1 MB, once from
//! JSON text to result text and once on a document that is already parsed.
//!
//! `cargo bench --bench feel`. The figures of a run are only comparable with those of the same run.

use deskhand::feel::{Program, Scope, Settings};
use serde_json::{Value, json};
use std::hint::black_box;
use std::time::{Duration, Instant};

const EXPRESSIONS: [(&str, &str); 5] = [
    ("E1", "{flowSessionId: response.body.flowsessionId}"),
    ("E2", "if response.status = 404 then {code: \"NOT_FOUND\"} else null"),
    (
        "E3",
        "{n: count(response.body.value), names: response.body.value.name, first: response.body.value[1], \
         late: response.body.value[completedon > \"2022\"]}",
    ),
    ("E4", "sum(for v in response.body.value return v.amount * v.qty)"),
    ("E5", "response"),
];

/// A response whose list has so many objects of about 270 bytes.
fn response(objects: usize) -> Value {
    let item = |index: usize| {
        json!({
            "name": format!("Flow run {index}"),
            "completedon": format!("20{:02}-0{}-1{}T08:30:00Z", 15 + index % 10, 1 + index % 9, index % 10),
            "amount": 10.5 + index as f64 / 4.0,
            "qty": index % 7,
            "tags": ["automation", "desktop"],
            "owner": {"id": format!("0af1-{index:08}"), "mail": format!("user{index}@example.org")},
            "note": "A line of text that nobody reads, as responses have it.",
        })
    };
    json!({
        "status": 200,
        "headers": {"content-type": "application/json", "x-request-id": "5f0c7d1e"},
        "body": {"flowsessionId": "0af1-77", "statuscode": 4, "value": (0..objects).map(item).collect::<Vec<_>>()},
    })
}

/// The mean of as many calls as fit into a third of a second, after a warm-up.
fn measure(mut call: impl FnMut()) -> f64 {
    let warm = Instant::now();
    while warm.elapsed() < Duration::from_millis(50) {
        call();
    }
    let start = Instant::now();
    let mut calls = 0u32;
    while start.elapsed() < Duration::from_millis(300) {
        call();
        calls += 1;
    }
    start.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
}

/// The document as the connector runtime shows it: the fields of the response, and `response` itself.
fn scope<'a>(document: &'a Value) -> Scope<'a> {
    document
        .as_object()
        .map_or_else(Scope::new, |fields| Scope::new().layer(fields))
        .variable("response", document)
}

fn main() {
    let settings = Settings::default();
    for (size, objects) in [("1 KB", 3), ("100 KB", 385), ("1 MB", 3_950)] {
        let document = response(objects);
        let text = document.to_string();
        for (name, expression) in EXPRESSIONS {
            let program = Program::parse(expression).expect("the expressions of the benchmark are valid");
            let projection = program.projection().spread_as("response");
            let run = |document: &Value| {
                program
                    .result(&scope(document), &settings)
                    .expect("the expressions of the benchmark have a result")
            };
            let from_text = measure(|| {
                let document = projection.read(&text).expect("the document is JSON");
                black_box(run(&document).to_string());
            });
            let on_value = measure(|| {
                black_box(run(&document));
            });
            let (slug, name) = (size.to_lowercase().replace(' ', ""), name.to_lowercase());
            println!("figure feel_{name}_{slug}_text_us {from_text:.2} us");
            println!("figure feel_{name}_{slug}_value_us {on_value:.2} us");
        }
    }
    for (what, expression) in [
        ("feel_for_100000_ms", "count(for i in 1..100000 return i * 2)"),
        ("feel_filter_100000_ms", "count(list[amount > 20])"),
    ] {
        let document = json!({"list": (0..100_000).map(|index| json!({"amount": index % 50})).collect::<Vec<_>>()});
        let program = Program::parse(expression).expect("the expressions of the benchmark are valid");
        let took = measure(|| {
            black_box(program.evaluate(&scope(&document), &settings).ok());
        });
        println!("figure {what} {:.2} ms", took / 1e3);
    }
    let parse = measure(|| {
        black_box(Program::parse(EXPRESSIONS[2].1).ok());
    });
    println!("figure feel_parse_e3_us {parse:.2} us");
}
