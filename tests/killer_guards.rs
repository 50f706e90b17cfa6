//! Each guard that keeps a flow from being started twice is needed: the campaign finds a second run as soon as one of them
//! is down, and none while all are up.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::process::Command;

/// Runs a small campaign on the sandbox's engine. True if the promise was kept.
fn campaign(without: Option<&str>, kills: u32) -> bool {
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["run", "--quiet", "--example", "never_twice", "--"])
        .args(["--kills", &kills.to_string(), "--instances", "20", "--seed", "7"]);
    if let Some(guard) = without {
        command.args(["--without", guard]);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    println!("without {without:?}:\n{text}");
    // It came to its end, whatever it found.
    assert!(
        text.contains("figure started_twice"),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let twice = text.lines().find_map(|line| line.strip_prefix("figure started_twice "));
    let none = twice.is_some_and(|rest| rest.starts_with("0 "));
    assert!(
        none || !output.status.success(),
        "a second run must end the campaign badly"
    );
    output.status.success()
}

#[test]
#[ignore = "kills and freezes processes for minutes"]
fn the_campaign_is_green_with_every_guard_and_red_without_any_of_them() {
    assert!(campaign(None, 8), "all guards are up");
    for guard in ["intent", "settle", "look", "lease"] {
        assert!(!campaign(Some(guard), 8), "nobody missed the guard `{guard}`");
    }
}
