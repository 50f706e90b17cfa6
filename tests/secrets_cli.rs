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

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_is_walked_from_its_token_to_its_connections() {
    use deskhand::sandbox::power_automate::{CLIENT_ID, Scenario, Simulator, World};

    let simulator = Simulator::start(([127, 0, 0, 1], 0).into(), World::demo(Scenario::Success))
        .await
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("deskhand.toml");
    let identity = |name: &str, hosts: &str| {
        format!(
            "[identities.{name}]\ntoken_endpoint = \"{}\"\nclient_id = \"{CLIENT_ID}\"\nclient_secret = \"{{{{secrets.APP}}}}\"\n\
             scope = \"{}\"\nhosts = [\"{hosts}\"]\n",
            simulator.token_endpoint(),
            simulator.scope()
        )
    };
    let text = format!(
        "{}{}",
        identity("robot", "127.0.0.1:*"),
        identity("elsewhere", "contoso.crm4.dynamics.com")
    );
    std::fs::write(&file, text).unwrap();
    let organization = simulator.organization();
    let check = async |name: &'static str, secret: &'static str| {
        let (file, organization) = (file.clone(), organization.clone());
        let run = move || {
            Command::new(env!("CARGO_BIN_EXE_deskhand"))
                .args([
                    "check",
                    "--json",
                    "--identity",
                    name,
                    "--environment",
                    &organization,
                    "--config",
                ])
                .arg(&file)
                .env_clear()
                .env("SECRET_APP", secret)
                .output()
                .unwrap()
        };
        let output = tokio::task::spawn_blocking(run).await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
        let steps: Vec<(String, bool, String)> = value["steps"]
            .as_array()
            .unwrap()
            .iter()
            .map(|step| {
                let text = |name: &str| step[name].as_str().unwrap().to_owned();
                (text("step"), step["ok"] == true, text("detail"))
            })
            .collect();
        (output.status.code(), steps)
    };
    let (code, steps) = check("robot", "demo-client-secret").await;
    assert_eq!(code, Some(0), "{steps:?}");
    let names: Vec<&str> = steps.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(
        names,
        ["identity", "token", "who am I", "flows", "machines", "connections"]
    );
    assert!(steps[1].2.contains("of an app"), "{steps:?}");
    assert!(steps[3].2.starts_with("2 desktop flows"), "{steps:?}");

    let (code, steps) = check("robot", "a-wrong-secret").await;
    assert_eq!(code, Some(69));
    let (name, ok, detail) = steps.last().unwrap();
    assert!(
        name == "token" && !ok && detail.contains("AADSTS7000215") && detail.contains("not its id"),
        "{detail}"
    );
    assert!(!detail.contains("a-wrong-secret"));

    let (_, steps) = check("elsewhere", "demo-client-secret").await;
    assert!(steps.len() == 1 && steps[0].2.contains("hosts"), "{steps:?}");
    let (_, steps) = check("robbot", "demo-client-secret").await;
    assert!(steps[0].2.contains("did you mean 'robot'"), "{steps:?}");
    simulator.stop().await;
}
