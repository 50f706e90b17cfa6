//! `deskhand demo`, as a user types it: every story ends as it should, says each step, and starts one run.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn demo(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_deskhand"))
        .arg("demo")
        .args(arguments)
        .env_remove("ZEEBE_ADDRESS")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// The objects that `--json` prints; the last one is the ending.
fn told(scenario: &str) -> (Vec<Value>, Value) {
    let output = demo(&["--json", "--scenario", scenario]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut steps: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = steps.pop().unwrap();
    (steps, last)
}

fn names(steps: &[Value]) -> Vec<&str> {
    steps.iter().map(|step| step["step"].as_str().unwrap()).collect()
}

#[test]
fn success_tells_each_step_from_the_job_to_the_mapped_variables() {
    let (steps, last) = told("success");
    let told = names(&steps);
    for expected in [
        "process-started",
        "job-received",
        "secret-resolved",
        "token-fetched",
        "run-started",
        "run-status",
        "mapped",
    ] {
        assert!(told.contains(&expected), "{expected} is not in {told:?}");
    }
    let statuses: Vec<_> = steps
        .iter()
        .filter_map(|step| step.get("status").and_then(Value::as_str))
        .collect();
    assert_eq!(statuses.last(), Some(&"Succeeded"));
    assert_eq!(last["outcome"], "completed");
    assert_eq!(last["runsStarted"], 1);
    assert_eq!(last["variables"]["bookingNumber"], "B-2026-0815");
    assert!(
        !last["variables"].as_object().unwrap().contains_key("deskhandRun"),
        "the journal stays at its task"
    );
}

#[test]
fn fails_ends_at_the_error_boundary_event() {
    let (steps, last) = told("fails");
    assert_eq!(last["outcome"], "error-event");
    assert_eq!(last["runsStarted"], 1);
    assert!(steps.iter().any(|step| step["outcome"] == "bpmn-error"), "{steps:?}");
}

#[test]
fn slow_waits_for_the_run_and_throttled_for_dataverse() {
    let stories = ["slow", "throttled"].map(|scenario| std::thread::spawn(move || told(scenario)));
    let [slow, throttled] = stories.map(|story| story.join().unwrap());
    for (_, last) in [&slow, &throttled] {
        assert_eq!(last["outcome"], "completed");
        assert_eq!(last["runsStarted"], 1);
    }
    assert!(names(&throttled.0).contains(&"throttled") && !names(&slow.0).contains(&"throttled"));
}

#[test]
fn classic_does_the_same_with_three_http_tasks() {
    let (steps, last) = told("classic");
    assert_eq!(last["outcome"], "completed");
    assert_eq!(last["runsStarted"], 1);
    assert_eq!(last["variables"]["bookingNumber"], "B-2026-0815");
    assert!(names(&steps).iter().filter(|name| **name == "job-received").count() >= 3);
}

#[test]
fn in_a_pipe_the_story_is_plain_and_names_no_secret() {
    let output = demo(&["--scenario", "success"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert!(!text.contains('\u{1b}'), "no colours in a pipe");
    assert!(text.contains("secret PA_CLIENT_SECRET resolved"), "{text}");
    assert!(!text.contains("demo-client-secret"));
    assert!(text.contains("Next"), "{text}");
}

#[test]
fn an_engine_that_is_not_there_is_said_with_the_next_step() {
    let output = demo(&["--engine", "127.0.0.1:1"]);
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("deskhand check"), "{text}");
}
