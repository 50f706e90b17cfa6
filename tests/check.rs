//! `deskhand check` where ends of runs are published: is each organisation of the outbox looked at, and what is said when
//! it cannot be?

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::process::Stdio;

use deskhand::sandbox::engine::{Engine, Settings};
use deskhand::sandbox::power_automate::{CLIENT_ID, Effect, Fault, RouteName, Simulator, World};
use serde_json::Value;

const SECRET: &str = "demo-client-secret";

struct Said {
    code: Option<i32>,
    text: String,
}

impl Said {
    fn step(&self, name: &str) -> &str {
        let mut lines = self.text.lines();
        let step = lines.find(|line| line.split_whitespace().nth(1) == Some(name));
        step.unwrap_or_else(|| panic!("no step {name}: {}", self.text))
    }
}

/// Checks a configuration with an outbox, against a sandbox and a simulator with this world.
async fn check(world: World, secret: &str, arguments: &[&str]) -> Said {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into(), world).await.unwrap();
    let engine = Engine::start(([127, 0, 0, 1], 0).into(), Settings::default())
        .await
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let settings = format!(
        "[engine]\naddress = \"http://{}\"\n[messages]\noutbox = [\"robot@{}\"]\n[identities.robot]\n\
         token_endpoint = \"{}\"\nclient_id = \"{CLIENT_ID}\"\nclient_secret = \"{{{{secrets.ROBOT}}}}\"\nhosts = [\"{}\"]\n",
        engine.address(),
        simulator.organization(),
        simulator.token_endpoint(),
        simulator.address(),
    );
    std::fs::write(directory.path().join("deskhand.toml"), settings).unwrap();
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_deskhand"))
        .arg("check")
        .args(arguments)
        .env_clear()
        .env("SECRET_ROBOT", secret)
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains(SECRET), "{text}");
    Said {
        code: output.status.code(),
        text,
    }
}

fn with(route: RouteName, effect: Effect) -> World {
    let fault = Fault {
        route,
        times: None,
        effect,
        ..Fault::default()
    };
    World {
        faults: vec![fault],
        ..World::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outbox_that_can_be_looked_at_is_a_step_that_went_well() {
    let said = check(World::default(), SECRET, &[]).await;
    let step = said.step("outbox");
    assert!(
        step.starts_with("ok ") && step.contains("'robot' looks at") && step.contains("0 ends of runs"),
        "{}",
        said.text
    );
    assert_eq!(said.code, Some(0), "{}", said.text);

    let said = check(World::default(), SECRET, &["--json"]).await;
    let told: Value = serde_json::from_str(&said.text).unwrap();
    let last = told["steps"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["step"], &last["ok"]), (&"outbox".into(), &true.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outbox_that_cannot_be_looked_at_says_why_and_where_to_go_on() {
    let privilege = Effect::Status {
        status: 403,
        code: "0x80040220".into(),
        message: "Principal user (Id=7) is missing prvReadflowsession privilege on OTC=4725 for entity 'flowsession'"
            .into(),
        retry_after: None,
        process: false,
    };
    for (world, secret, why) in [
        (World::default(), "another-secret", "AADSTS7000215"),
        (with(RouteName::Sessions, privilege), SECRET, "prvReadflowsession"),
        (with(RouteName::Dataverse, Effect::Unauthorized), SECRET, "401"),
        (
            with(RouteName::Dataverse, Effect::DropBeforeProcess),
            SECRET,
            "Connection reset",
        ),
    ] {
        let said = check(world, secret, &[]).await;
        let step = said.step("outbox");
        assert!(step.starts_with("FAILED") && step.contains(why), "{why}: {}", said.text);
        assert!(
            step.contains("no process is told that its run has ended") && step.contains("check --identity robot"),
            "{step}"
        );
        assert!(!said.text.contains("another-secret"), "{}", said.text);
        assert_eq!(said.code, Some(69), "{}", said.text);
    }
}
