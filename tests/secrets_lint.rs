//! `deskhand lint`, as a user types it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn lint(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_deskhand"))
        .arg("lint")
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap()
}

fn diagram(directory: &Path, inputs: &str, headers: &str) -> String {
    let path = directory.join("task.bpmn");
    let text = format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0">
<process id="p"><serviceTask id="call"><extensionElements>
<zeebe:taskDefinition type="io.camunda:http-json:1" />
<zeebe:ioMapping>
{inputs}
</zeebe:ioMapping>
<zeebe:taskHeaders>
{headers}
</zeebe:taskHeaders>
</extensionElements></serviceTask></process></definitions>"#
    );
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

const HEADERS: &str =
    r#"<zeebe:header key="resultVariable" value="r" /><zeebe:header key="retryBackoff" value="PT1S" />"#;

/// The findings: rule, line, message.
fn findings(output: &Output) -> Vec<(String, u64, String)> {
    let value: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
    let all = value["findings"].as_array().unwrap().iter();
    all.map(|one| (text(one, "rule"), one["line"].as_u64().unwrap(), text(one, "message")))
        .collect()
}

#[test]
fn the_examples_have_no_errors() {
    let output = lint(
        &[
            "--no-secrets",
            "examples/book-invoice.bpmn",
            "examples/classic.bpmn",
            "examples/invoice-by-message.bpmn",
        ],
        &[],
    );
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("3 files, 0 errors"), "{text}");
}

#[test]
fn every_mistake_is_found_at_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let inputs = r#"<zeebe:input source="https://api.example.com/x" target="url" />
<zeebe:input source="{{secrets.KNOWN}}" target="authentication.token" />
<zeebe:input source="{{secrets.UNKNOWN}}" target="headers.X" />
<zeebe:input source="secrets.KNOWN/path" target="headers.Y" />
<zeebe:input source="{{secrets.KNOWN}}" target="body" />
<zeebe:input source="=if x then" target="queryParameters" />"#;
    let headers = r#"<zeebe:header key="resultExpression" value="={a: response.}" />"#;
    let file = diagram(directory.path(), inputs, headers);
    let output = lint(&["--json", &file], &[("SECRET_KNOWN", "its-value-here")]);
    assert_eq!(output.status.code(), Some(1));
    let found = findings(&output);
    for (rule, line, part) in [
        ("foreign-host", 7, "'KNOWN' may not be sent to api.example.com"),
        ("unknown-secret", 8, "'UNKNOWN' is not available"),
        ("bare-reference", 9, "{{secrets.KNOWN}}"),
        ("field", 10, "`body`"),
        ("expression", 11, "`queryParameters`"),
        ("expression", 14, "`resultExpression`"),
        ("no-backoff", 3, "retryBackoff"),
    ] {
        assert!(
            found
                .iter()
                .any(|one| one.0 == rule && one.1 == line && one.2.contains(part)),
            "{rule} at {line} is not in {found:#?}"
        );
    }
    assert!(!String::from_utf8_lossy(&output.stdout).contains("its-value"));
}

#[test]
fn warnings_fail_only_when_they_are_told_to() {
    let directory = tempfile::tempdir().unwrap();
    let file = diagram(directory.path(), r#"<zeebe:input source="=target" target="url" />"#, "");
    assert_eq!(lint(&[&file], &[]).status.code(), Some(0));
    assert_eq!(lint(&["--strict", &file], &[]).status.code(), Some(1));
    let clean = diagram(
        directory.path(),
        r#"<zeebe:input source="=target" target="url" />"#,
        HEADERS,
    );
    assert_eq!(lint(&["--strict", &clean], &[]).status.code(), Some(0));
}

#[test]
fn what_is_no_diagram_is_an_error_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("broken.bpmn");
    std::fs::write(&path, "<definitions>\n  <process>\n</definitions>").unwrap();
    let output = lint(&["--json", &path.display().to_string(), "missing.bpmn"], &[]);
    assert_eq!(output.status.code(), Some(1));
    let found = findings(&output);
    assert!(found[0].1 == 3 && found[0].2.contains("no XML"), "{found:?}");
    assert!(found[1].2.contains("cannot be read"), "{found:?}");
}
