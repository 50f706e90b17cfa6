//! What is written is read again, what is foreign, newer or damaged is told apart, and the formats stay as they are.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::*;
use crate::microsoft::dataverse::Guid;

const INSTANCE: i64 = 2_251_799_813_685_268;
const ID: &str = "d9687093-d0c0-ec11-983e-0022480b428a";

fn entry(attempt: u32, fate: Fate) -> Entry {
    Entry {
        element_instance: INSTANCE,
        attempt,
        run: Guid::parse(ID).unwrap(),
        started_at: "2026-11-21T08:00:00Z".parse().unwrap(),
        token: Some("dh1.token".into()),
        inputs: Some("d1935".into()),
        fate,
    }
}

fn intent(attempt: u32, carrier: Option<Carrier>) -> Intent {
    Intent {
        element_instance: INSTANCE,
        attempt,
        token: "dh1.token".into(),
        carrier,
        flow: Guid::parse(ID).unwrap(),
        connection: "c1".into(),
        inputs: None,
        since: "2026-11-21T08:00:00Z".parse().unwrap(),
        may_take: Duration::from_millis(125_000),
        asked: false,
    }
}

fn both(entry: &Entry, intent: &Intent) -> Map<String, Value> {
    let mut variables = entry.variables();
    variables.extend(intent.variables());
    variables
}

#[test]
fn what_was_written_is_read_again() {
    for fate in [Fate::Open, Fate::Settled("Failed".into()), Fate::Succeeded] {
        let entry = entry(2, fate);
        assert_eq!(read(&entry.variables(), INSTANCE), Found::Run(entry));
    }
    for carrier in [None, Some(Carrier::CallbackUrl), Some(Carrier::Input("Token".into()))] {
        let intent = Intent {
            asked: carrier.is_none(),
            ..intent(2, carrier)
        };
        assert_eq!(read(&intent.variables(), INSTANCE), Found::Intent(intent));
    }
}

#[test]
fn the_formats_are_fixed() {
    assert_eq!(
        Value::Object(both(&entry(2, Fate::Open), &intent(2, Some(Carrier::CallbackUrl)))),
        json!({
            "deskhandRun": {
                "version": 2, "elementInstance": "2251799813685268", "attempt": 2, "flowSessionId": ID,
                "startedAt": "2026-11-21T08:00:00Z", "token": "dh1.token", "inputs": "d1935",
            },
            "deskhandIntent": {
                "version": 2, "elementInstance": "2251799813685268", "attempt": 2, "token": "dh1.token",
                "workflowId": ID, "connectionName": "c1", "since": "2026-11-21T08:00:00Z",
                "mayTakeMilliseconds": 125_000, "carrier": "callbackUrl",
            },
        })
    );
}

#[test]
fn version_one_is_still_read() {
    let variables = |settled: Value| {
        let entry = json!({
            "version": 1, "elementInstance": "2251799813685268", "attempt": 2, "flowSessionId": ID,
            "startedAt": "2026-11-21T08:00:00Z", "settled": settled,
        });
        Map::from_iter([(RUN.to_owned(), entry)])
    };
    for (settled, fate) in [
        (Value::Null, Fate::Open),
        (json!("Failed"), Fate::Settled("Failed".into())),
    ] {
        let old = Entry {
            token: None,
            inputs: None,
            ..entry(2, fate)
        };
        assert_eq!(read(&variables(settled), INSTANCE), Found::Run(old));
    }
}

#[test]
fn the_run_of_an_attempt_outweighs_its_intent_and_a_newer_intent_an_older_run() {
    let run = entry(2, Fate::Settled("Failed".into()));
    for stale in [1, 2] {
        let variables = both(&run, &intent(stale, None));
        assert_eq!(read(&variables, INSTANCE), Found::Run(run.clone()));
    }
    let newer = intent(3, None);
    assert_eq!(read(&both(&run, &newer), INSTANCE), Found::Intent(newer));
}

#[test]
fn what_belongs_to_another_entry_into_the_task_does_not_count() {
    let all = both(&entry(2, Fate::Open), &intent(2, None));
    assert_eq!(read(&all, INSTANCE + 1), Found::Nothing);
    assert_eq!(read(&Map::new(), INSTANCE), Found::Nothing);
    for other in [json!(null), json!("text"), json!([1]), json!({}), json!({"version": 1})] {
        for name in [RUN, INTENT] {
            let variables = Map::from_iter([(name.to_owned(), other.clone())]);
            assert_eq!(read(&variables, INSTANCE), Found::Nothing);
        }
    }
}

#[test]
fn a_newer_format_is_recognised_whatever_else_it_holds() {
    for name in [RUN, INTENT] {
        // Beside a variable of our own format, too: the other one was written later.
        let mut variables = both(&entry(1, Fate::Open), &intent(1, None));
        variables[name] = json!({"version": 7, "elementInstance": INSTANCE, "soul": {}});
        assert_eq!(
            read(&variables, INSTANCE),
            Found::Newer {
                variable: name,
                version: 7
            }
        );
    }
}

#[test]
fn a_damaged_entry_is_not_taken_for_none() {
    for (variable, member, value) in [
        (RUN, "version", json!(null)),
        (RUN, "version", json!("1")),
        (RUN, "flowSessionId", json!("not an id")),
        (RUN, "flowSessionId", json!(null)),
        (RUN, "attempt", json!(-1)),
        (RUN, "attempt", json!(0)),
        (RUN, "settled", json!(8)),
        (RUN, "succeeded", json!("yes")),
        (INTENT, "attempt", json!(null)),
        (INTENT, "token", json!(5)),
        (INTENT, "workflowId", json!("?")),
        (INTENT, "since", json!("yesterday")),
        (INTENT, "mayTakeMilliseconds", json!(-5)),
        (INTENT, "carrier", json!("pigeon")),
        (INTENT, "carrier", json!({})),
    ] {
        let mut variables = both(&entry(2, Fate::Open), &intent(2, None));
        variables[variable][member] = value;
        assert_eq!(read(&variables, INSTANCE), Found::Damaged { variable, member });
    }
}

#[test]
fn an_unreadable_time_damages_nothing_when_nothing_hangs_on_it() {
    let mut variables = entry(1, Fate::Open).variables();
    variables[RUN]["startedAt"] = json!("yesterday");
    assert!(matches!(read(&variables, INSTANCE), Found::Run(_)));
}

#[test]
fn a_decision_is_what_the_incident_shows_and_counts_for_its_own_task() {
    let decided = |decision: Value| {
        let variables = Map::from_iter([(DECISION.to_owned(), decision)]);
        Decision::read(&variables, INSTANCE)
    };
    let pasted = |text: &str| serde_json::from_str(text).unwrap();
    let adopt = Decision::Adopt(Guid::parse(ID).unwrap());
    assert_eq!(
        decided(pasted(&Decision::adopt_text(INSTANCE, ID))),
        Ok(Some((adopt, true)))
    );
    let again = Decision::start_again_text(INSTANCE);
    let start_again = Ok(Some((Decision::StartAgain, true)));
    assert_eq!(decided(pasted(&again)), start_again);
    assert_eq!(decided(json!(again)), start_again, "typed as a text");
    assert_eq!(decided(json!({"adopt": ID})), Ok(Some((adopt, false))));
    assert_eq!(decided(pasted(&Decision::start_again_text(INSTANCE + 1))), Ok(None));
    assert_eq!(decided(Value::Null), Ok(None));
    for wrong in [
        json!(true),
        json!("start again"),
        json!({}),
        json!({"adopt": "<id>"}),
        json!({"startAgain": "yes"}),
        json!({"adopt": ID, "startAgain": true}),
    ] {
        assert!(decided(wrong.clone()).is_err(), "{wrong}");
    }
}
