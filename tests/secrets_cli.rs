//! Secrets as operations meet them on the command line: what the policy says, and what the process allows others.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::process::{Command, Output};

use serde_json::{Value, json};

const RULES: &str = r#"
[secrets]
organizations = ["contoso.crm4.dynamics.com"]
allow_in_output = ["PA_CLIENT_ID"]

[[secrets.rule]]
name = "PA_*"
hosts = ["*.example.com", "127.0.0.1:8081"]
connectors = ["deskhand:desktop-flow:1"]
processes = ["invoice-*"]
tenants = ["bank"]
"#;

fn check(arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("deskhand.toml");
    std::fs::write(&file, RULES).unwrap();
    Command::new(env!("CARGO_BIN_EXE_deskhand"))
        .args(["check", "--policy", "--config"])
        .arg(&file)
        .args(arguments)
        .env_clear()
        .env("SECRET_PA_TOKEN", "the-value-of-it")
        .env("SECRET_LOOSE", "the-value-of-it")
        .output()
        .unwrap()
}

#[test]
fn the_policy_says_who_may_send_what_where_and_no_value() {
    let output = check(&[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    for part in [
        "PA_*                      to *.example.com, 127.0.0.1:8081",
        "only connectors deskhand:desktop-flow:1",
        "only processes invoice-*",
        "only tenants bank",
        "login.microsoftonline.com",
        "contoso.crm4.dynamics.com",
        "LOOSE                     no rule",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(!text.contains("the-value"));
}

#[test]
fn the_policy_is_there_for_machines_too() {
    let output = check(&["--json"]);
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["rules"][0]["processes"], json!(["invoice-*"]));
    assert_eq!(
        value["withoutRule"]["organizations"],
        json!(["contoso.crm4.dynamics.com"])
    );
    assert_eq!(
        value["secrets"],
        json!([
            {"name": "LOOSE", "provider": "environment", "hosts": [], "hasRule": false},
            {"name": "PA_TOKEN", "provider": "environment", "hosts": ["*.example.com", "127.0.0.1:8081"], "hasRule": true},
        ])
    );
    assert_eq!(
        value["output"],
        json!({"onSecret": "incident", "allow": ["PA_CLIENT_ID"]})
    );
}

#[cfg(target_os = "linux")]
#[test]
fn the_process_leaves_no_core_dump() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    let mut child = Command::new(env!("CARGO_BIN_EXE_deskhand"))
        .args(["simulate", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut first)
        .unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id()));
    child.kill().unwrap();
    child.wait().unwrap();
    let limits = limits.unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    assert_eq!(
        core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(),
        ["0", "0"],
        "{core}"
    );
}
