//! `deskhand feel` as a user types it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

fn feel(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deskhand"));
    command
        .arg("feel")
        .args(arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = feel(arguments).spawn().expect("deskhand starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    // deskhand may end before it has read everything, so a failed write says nothing.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("an output");
    writer.join().expect("the writer ends");
    output
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn told(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn answers(input: &[u8]) -> Vec<Value> {
    let output = run(&["--jsonl"], input);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    out(&output)
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[test]
fn a_result_alone_goes_to_a_pipe_and_warnings_beside_it() {
    let output = run(&["nobody"], b"");
    assert_eq!((output.status.code(), out(&output).as_str()), (Some(0), "null\n"));
    assert!(err(&output).contains("warning: ") && err(&output).contains("nobody"));
}

#[test]
fn no_expression_and_no_terminal_is_a_mistake_of_usage() {
    let output = run(&[], b"");
    assert_eq!(output.status.code(), Some(64));
    assert!(err(&output).contains("an expression is missing"), "{}", err(&output));
}

#[test]
fn json_tells_the_type_of_a_result() {
    for (expression, kind) in [
        ("1", "number"),
        ("\"P1D\"", "string"),
        ("duration(\"P1D\")", "days-time-duration"),
        ("duration(\"P1M\")", "years-months-duration"),
        ("date(\"2024-01-02\")", "date"),
        ("time(\"10:00:00\")", "time"),
        ("date and time(\"2024-01-02T10:00:00\")", "date-time"),
        ("{a: 1}", "context"),
        ("null", "null"),
    ] {
        assert_eq!(told(&run(&[expression, "--json"], b""))["type"], kind, "{expression}");
    }
    let mistake = run(&["1 +", "--json"], b"");
    assert_eq!(mistake.status.code(), Some(1));
    assert_eq!(told(&mistake)["kind"], "parse");
    assert_eq!(told(&mistake)["position"], json!({"line": 1, "column": 4}));
}

#[test]
fn explain_shows_the_value_of_every_part() {
    let text = out(&run(&["1 + 2 * 3", "--explain"], b""));
    assert!(text.starts_with("7\ntype: number\n"), "{text}");
    assert!(
        text.contains("1 + 2 * 3  →  7") && text.contains("\n  1  →  1\n"),
        "{text}"
    );
    let text = out(&run(
        &["if 1 + 2 * -3 < 0 and true then \"yes\" else null", "--explain"],
        b"",
    ));
    for part in [
        "1 + 2 * -3 < 0 and true  →  true",
        "1 + 2 * -3 < 0  →  true",
        "1 + 2 * -3  →  -5",
        "2 * -3  →  -6",
        "-3  →  -3",
    ] {
        assert!(text.contains(&format!(" {part}\n")), "{part} in {text}");
    }
    let parts = &told(&run(&["1 + 2", "--explain", "--json"], b""))["parts"];
    assert_eq!(parts[0], json!({"text": "1 + 2", "depth": 0, "value": "3"}));
}

#[test]
fn an_error_expression_says_what_becomes_of_the_job() {
    for (expression, context, kind, part) in [
        (
            "if error.code = \"404\" then bpmnError(\"GONE\", \"lost\") else null",
            r#"{"error":{"code":"404"}}"#,
            "bpmnError",
            "GONE (lost)",
        ),
        (
            "jobError(\"again\", {}, job.retries - 1, duration(\"PT5S\"))",
            "{}",
            "jobError",
            "2 retries left, the next try after 5 s",
        ),
        (
            "ignoreError({a: response.status})",
            r#"{"response":{"status":500}}"#,
            "ignoreError",
            r#"{"a":500}"#,
        ),
        (
            "if status = 500 then bpmnError(\"E\", \"\") else null",
            r#"{"response":{"status":500}}"#,
            "bpmnError",
            "the error E",
        ),
        ("null", "{}", "none", "stands"),
        ("1", "{}", "invalid", "must return"),
    ] {
        let output = run(
            &[expression, "--error-expression", "--json", "--context", "-"],
            context.as_bytes(),
        );
        let outcome = &told(&output)["outcome"];
        assert_eq!(outcome["kind"], kind, "{expression}: {outcome}");
        assert!(
            outcome["text"].as_str().is_some_and(|text| text.contains(part)),
            "{outcome}"
        );
    }
}

#[test]
fn the_reference_has_every_function_and_the_nearest_names() {
    let all = told(&run(&["--functions", "--json"], b""));
    assert!(all.as_array().is_some_and(|all| all.len() > 80));
    let one = out(&run(&["--functions", "string", "length"], b""));
    assert!(
        one.contains("string length(string)") && one.contains("example: "),
        "{one}"
    );
    let unknown = run(&["--functions", "substrng"], b"");
    assert_eq!(unknown.status.code(), Some(64));
    assert!(err(&unknown).contains("`substring`"), "{}", err(&unknown));
}

#[test]
fn each_line_has_an_answer_of_its_kind_in_order() {
    let lines = b"{\"expr\":\"a + 1\",\"context\":{\"a\":1},\"id\":[7]}\n{\"expr\":\"1 +\"}\nnonsense\n\xff\n\n\
        {\"expr\":1}\n{\"context\":{}}\n{\"expr\":\"1\",\"context\":[1],\"id\":\"x\"}\n\
        {\"expr\":\"for i in 1..1000000000 return i\"}\n{\"expr\":\"assert(a, a > 3)\",\"context\":{\"a\":1}}\n\
        {\"expr\":\"\\\"a\\\\nb\\\"\"}";
    let answers = answers(lines);
    let kinds: Vec<_> = answers
        .iter()
        .map(|answer| answer["kind"].as_str().unwrap_or("ok"))
        .collect();
    assert_eq!(
        kinds,
        [
            "ok", "parse", "input", "input", "input", "input", "input", "input", "limit", "eval", "ok"
        ]
    );
    assert_eq!(answers[0], json!({"ok": true, "value": 2, "id": [7]}));
    assert_eq!(answers[7]["id"], "x");
}

#[test]
fn a_caller_can_talk_line_by_line() {
    let mut child = feel(&["--jsonl"]).spawn().expect("deskhand starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    for number in 0..3 {
        writeln!(stdin, "{{\"expr\":\"{number}\"}}").expect("written");
        let mut line = String::new();
        stdout.read_line(&mut line).expect("an answer");
        assert_eq!(line, format!("{{\"ok\":true,\"value\":{number}}}\n"));
    }
    drop(stdin);
    assert!(child.wait().expect("an end").success());
}

#[test]
fn more_expressions_than_are_kept_still_have_their_own_answers() {
    let lines: String = (0..3_000).map(|n| format!("{{\"expr\":\"{n} + 0\"}}\n")).collect();
    let values: Vec<_> = answers(lines.as_bytes())
        .iter()
        .map(|answer| answer["value"].as_i64())
        .collect();
    assert_eq!(values, (0..3_000).map(Some).collect::<Vec<_>>());
}

#[test]
fn a_reader_of_lines_that_has_gone_away_is_no_fault() {
    let mut child = feel(&["--jsonl"]).spawn().expect("deskhand starts");
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().expect("a pipe");
    let _ = stdin.write_all(b"{\"expr\":\"1\"}\n");
    drop(stdin);
    let output = child.wait_with_output().expect("an output");
    assert_eq!((output.status.code(), err(&output).as_str()), (Some(0), ""));
}
