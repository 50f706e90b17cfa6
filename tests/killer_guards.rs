//! Each guard that keeps a flow from being started twice is needed: the campaign finds a second run as soon as one of them
//! is down, and none while all are up.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::path::PathBuf;
use std::process::Command;

/// The campaign, built beside this test.
fn campaign() -> PathBuf {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--example", "never_twice"])
        .status();
    assert!(built.unwrap().success(), "the campaign cannot be built");
    let target = std::env::current_exe().unwrap();
    let target = target.parent().unwrap().parent().unwrap();
    target.join("examples").join("never_twice")
}

/// Runs a small campaign on the sandbox's engine. True if the promise was kept.
fn kept(campaign: &PathBuf, without: Option<&str>, kills: u32, seed: u32) -> bool {
    let mut command = Command::new(campaign);
    command
        .args(["--kills", &kills.to_string(), "--seed", &seed.to_string()])
        .args(["--instances", "20", "--replicas", "3"]);
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
    let figure = |name: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("figure {name} ")));
        let number = line.and_then(|rest| rest.split(' ').next()?.parse::<u64>().ok());
        number.unwrap()
    };
    assert!(figure("wanted") > 0 && figure("kills") >= u64::from(kills));
    let twice = figure("started_twice");
    assert!(
        twice == 0 || !output.status.success(),
        "a second run must end the campaign badly"
    );
    match without {
        // Of what a guard is for, not of anything else.
        Some(_) => twice == 0,
        None => output.status.success(),
    }
}

#[test]
#[ignore = "kills and freezes processes for minutes"]
fn the_campaign_is_green_with_every_guard_and_red_without_any_of_them() {
    let campaign = campaign();
    // They wait most of the time, so they do it side by side; the one that must be green has the machine to itself.
    std::thread::scope(|scope| {
        let red = ["intent", "settle", "look", "lease"].map(|guard| {
            let campaign = &campaign;
            // What a guard is for is a matter of chance, so there are five tries.
            let missed = move || (7..12).any(|seed| !kept(campaign, Some(guard), 5, seed));
            (guard, scope.spawn(missed))
        });
        for (guard, missed) in red {
            assert!(missed.join().unwrap(), "nobody missed the guard `{guard}`");
        }
    });
    assert!(kept(&campaign, None, 8, 7), "all guards are up");
}
