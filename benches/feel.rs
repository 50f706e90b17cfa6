//! Microseconds per evaluation on one thread: five expressions over responses of about 1 KB, 100 KB and 1 MB, once from
//! JSON text to result text and once on a document that is already parsed; and what `deskhand feel --jsonl` does a second.
//!
//! `cargo bench --bench feel`. The figures of a run are only comparable with those of the same run. With `FEEL_ORACLE`,
//! the name of a program that measures the real engine (`PROGRAM --bench FILE --json`: one line a case with
//! `text_to_text_us` and `context_read_us`), its figures stand beside ours, on the same expressions and documents.

use deskhand::feel::{Program, Scope, Settings};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::hint::black_box;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const EXPRESSIONS: [(&str, &str); 5] = [
    ("e1", "{flowSessionId: response.body.flowsessionId}"),
    ("e2", "if response.status = 404 then {code: \"NOT_FOUND\"} else null"),
    (
        "e3",
        "{n: count(response.body.value), names: response.body.value.name, first: response.body.value[1], \
         late: response.body.value[completedon > \"2022\"]}",
    ),
    ("e4", "sum(for v in response.body.value return v.amount * v.qty)"),
    ("e5", "response"),
];

const SIZES: [(&str, usize); 3] = [("1kb", 3), ("100kb", 385), ("1mb", 3_950)];

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

/// Microseconds a call: the best of five rounds after a warm-up, as the real engine is measured.
fn measure(mut call: impl FnMut()) -> f64 {
    let warm = Instant::now();
    let mut calls = 0u32;
    while warm.elapsed() < Duration::from_millis(100) {
        call();
        calls += 1;
    }
    let round = calls.max(2);
    let mut best = f64::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        for _ in 0..round {
            call();
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e6 / f64::from(round));
    }
    best
}

/// The document as the connector runtime shows it: the fields of the response, and `response` itself.
fn scope(document: &Value) -> Scope<'_> {
    document
        .as_object()
        .map_or_else(Scope::new, |fields| Scope::new().layer(fields))
        .variable("response", document)
}

/// What the real engine takes for each case, from text and on what was read; nothing without `FEEL_ORACLE`.
fn jvm() -> HashMap<String, (f64, f64)> {
    let Ok(oracle) = std::env::var("FEEL_ORACLE") else {
        return HashMap::new();
    };
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    for (size, objects) in SIZES {
        let context = json!({ "response": response(objects) });
        for (name, expression) in EXPRESSIONS {
            let case = json!({"name": name, "size": size, "expr": expression, "context": context});
            writeln!(&file, "{case}").expect("the temporary file can be written");
        }
    }
    let output = Command::new(&oracle)
        .arg("--bench")
        .arg(file.path())
        .arg("--json")
        .stderr(Stdio::inherit())
        .output()
        .unwrap_or_else(|error| panic!("FEEL_ORACLE names {oracle}, which does not start: {error}"));
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let read = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("a line of JSON for each case");
        let case = format!("{}_{}", line["name"].as_str()?, line["size"].as_str()?);
        Some((
            case,
            (line["text_to_text_us"].as_f64()?, line["context_read_us"].as_f64()?),
        ))
    };
    told.lines().filter_map(read).collect()
}

fn main() {
    let settings = Settings::default();
    let jvm = jvm();
    for (size, objects) in SIZES {
        let document = response(objects);
        let text = document.to_string();
        for (name, expression) in EXPRESSIONS {
            let program = Program::parse(expression).expect("the expressions of the benchmark are valid");
            let projection = program.projection().spread_as("response");
            let run = |document: &Value| {
                program
                    .result_text(&scope(document), &settings)
                    .expect("the expressions of the benchmark have a result")
            };
            let from_text = measure(|| {
                let document = projection.read(&text).expect("the document is JSON");
                black_box(run(&document));
            });
            let on_value = measure(|| {
                black_box(run(&document));
            });
            println!("figure feel_{name}_{size}_text_us {from_text:.2} us");
            println!("figure feel_{name}_{size}_value_us {on_value:.2} us");
            if let Some((jvm_text, jvm_value)) = jvm.get(&format!("{name}_{size}")) {
                println!("figure feel_{name}_{size}_text_jvm_us {jvm_text:.2} us");
                println!("figure feel_{name}_{size}_value_jvm_us {jvm_value:.2} us");
                println!("figure feel_{name}_{size}_text_gain {:.1} x", jvm_text / from_text);
                println!("figure feel_{name}_{size}_value_gain {:.1} x", jvm_value / on_value);
            }
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
    lines("known", |_| "if status = 200 then {ok: true} else null".to_owned());
    lines("new", |index| {
        format!("if status = {index} then {{ok: true}} else null")
    });
}

/// Lines a second of `deskhand feel --jsonl`, with expressions that it knows already or that are all new.
fn lines(what: &str, expression: impl Fn(usize) -> String) {
    const LINES: usize = 200_000;
    let lines: String = (0..LINES)
        .map(|index| {
            json!({"expr": expression(index), "context": {"status": 200, "body": {"id": index}}}).to_string() + "\n"
        })
        .collect();
    let start = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_deskhand"))
        .args(["feel", "--jsonl"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("deskhand starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(lines.as_bytes()).expect("deskhand reads");
    drop(stdin);
    assert!(child.wait().expect("deskhand ends").success());
    let rate = LINES as f64 / start.elapsed().as_secs_f64();
    println!("figure feel_jsonl_{what}_per_second {rate:.0} 1/s");
}
