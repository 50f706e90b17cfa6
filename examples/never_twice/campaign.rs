//! Rounds until there were enough kills; totals after each, kept in a file so that a campaign that was broken off goes on.

use std::process::ExitCode;
use std::time::Instant;

use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::checker::Verdict;
use crate::clerk::Counts;
use crate::round;

/// Kills of one round: each ends with everything being through.
const A_ROUND: u32 = 50;

#[derive(Default)]
struct Totals {
    verdict: Verdict,
    kills: u32,
    freezes: u32,
    broker_crashes: u32,
    instances: Counts,
    adopted: u32,
    reconciled: u32,
}

pub async fn run(arguments: Arguments) -> ExitCode {
    let mut totals = arguments.state.as_deref().and_then(read).unwrap_or_default();
    println!("seed {}", arguments.seed);
    if totals.kills > 0 {
        println!("going on after {} kills", totals.kills);
    }
    let mut random = fastrand::Rng::with_seed(arguments.seed);
    while totals.kills < arguments.kills {
        let kills = A_ROUND.min(arguments.kills - totals.kills);
        let rounds = (arguments.kills - totals.kills).div_ceil(A_ROUND);
        let crashes = (arguments.broker_crashes.saturating_sub(totals.broker_crashes)).div_ceil(rounds.max(1));
        let began = Instant::now();
        let outcome = round::play(&arguments, kills, crashes, random.u64(..)).await;
        totals.verdict.add(outcome.verdict);
        totals.kills += outcome.kills;
        totals.freezes += outcome.freezes;
        totals.broker_crashes += outcome.broker_crashes;
        totals.instances.add(outcome.instances);
        totals.adopted += outcome.adopted;
        totals.reconciled += outcome.reconciled;
        println!(
            "round of {} kills in {} s: {} wanted, {} started, {} started twice, {} lost, {} late starts cancelled, {} by message",
            outcome.kills,
            began.elapsed().as_secs(),
            outcome.verdict.wanted,
            outcome.verdict.started,
            outcome.verdict.started_twice,
            outcome.verdict.lost,
            outcome.verdict.late_starts_cancelled,
            outcome.verdict.by_message,
        );
        for finding in outcome.findings {
            println!("  {finding}");
        }
        if let Some(state) = &arguments.state {
            std::fs::write(state, totals.json().to_string()).unwrap();
        }
    }
    for (name, value) in totals.json().as_object().unwrap() {
        println!("figure {name} {value} count");
    }
    if totals.verdict.is_clean() {
        ExitCode::SUCCESS
    } else {
        println!("The promise was broken.");
        ExitCode::FAILURE
    }
}

impl Totals {
    fn json(&self) -> Value {
        json!({
            "kills": self.kills,
            "freezes": self.freezes,
            "broker_crashes": self.broker_crashes,
            "wanted": self.verdict.wanted,
            "started": self.verdict.started,
            "started_twice": self.verdict.started_twice,
            "lost": self.verdict.lost,
            "adopted": self.adopted,
            "reconciled": self.reconciled,
            "by_message": self.verdict.by_message,
            "late_starts_cancelled": self.verdict.late_starts_cancelled,
            "cancelled": self.instances.cancelled,
            "modified": self.instances.modified,
            "migrated": self.instances.migrated,
            "freed_by_hand": self.instances.freed_by_hand,
            "given_up": self.instances.given_up,
        })
    }
}

fn read(state: &std::path::Path) -> Option<Totals> {
    let text = std::fs::read_to_string(state).ok()?;
    let all: Value = serde_json::from_str(&text).unwrap();
    let number = |name: &str| all[name].as_u64().unwrap();
    let small = |name: &str| u32::try_from(number(name)).unwrap();
    Some(Totals {
        verdict: Verdict {
            wanted: number("wanted"),
            started: number("started"),
            started_twice: number("started_twice"),
            lost: number("lost"),
            late_starts_cancelled: number("late_starts_cancelled"),
            // A campaign that was begun without messages.
            by_message: all["by_message"].as_u64().unwrap_or(0),
        },
        kills: small("kills"),
        freezes: small("freezes"),
        broker_crashes: small("broker_crashes"),
        instances: Counts {
            cancelled: small("cancelled"),
            modified: small("modified"),
            migrated: small("migrated"),
            freed_by_hand: small("freed_by_hand"),
            given_up: small("given_up"),
        },
        adopted: small("adopted"),
        reconciled: small("reconciled"),
    })
}
