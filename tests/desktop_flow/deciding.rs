//! Starts that nobody can clear up, and the person who decides about them.

use deskhand::outcome::Remedy;
use deskhand::sandbox::power_automate::{BOOK_INVOICE, Effect, RouteName};
use serde_json::{Value, json};

use crate::once::unclear_effects;
use crate::setting::{INSTANCE, Setting, with_token_url, world};

#[tokio::test]
async fn without_a_token_an_unclear_start_is_a_persons_turn() {
    for effect in unclear_effects() {
        let setting = Setting::new().await;
        setting.goes_wrong(RouteName::Run, effect.clone());
        let task = setting.start_task("runAndWait", json!({}));
        let error = setting.call(&task).await.error();
        assert_eq!(error.code.as_deref(), Some("START_UNCLEAR"), "{effect:?}");
        assert_eq!(error.remedy, Remedy::Incident, "{effect:?}");
        assert_eq!(setting.requests(RouteName::Run).len(), 1, "{effect:?}");
        for run in setting.simulator.sessions() {
            assert!(error.message.contains(&run.id.to_string()), "{}", error.message);
            assert!(error.message.contains("the same inputs"), "{}", error.message);
        }
        assert!(error.message.contains(&BOOK_INVOICE.to_string()), "{}", error.message);
    }
}

#[tokio::test]
async fn two_equal_tasks_without_tokens_do_not_adopt_each_others_run() {
    let setting = Setting::new().await;
    let other = setting.start_task("triggerFlowRun", json!({}));
    let theirs = setting.call(&other).await.response()["flowSessionId"].clone();
    setting.goes_wrong(RouteName::Run, Effect::DropBeforeProcess);
    let error = setting
        .call(&setting.start_task("triggerFlowRun", json!({})))
        .await
        .error();
    assert_eq!(error.code.as_deref(), Some("START_UNCLEAR"));
    assert!(error.message.contains(theirs.as_str().unwrap()), "it is listed");
    assert_eq!(setting.simulator.runs_started(), 1);
}

/// The lines that the incident shows, ready to paste.
fn decisions(message: &str) -> Vec<Value> {
    let pasted = message
        .lines()
        .filter_map(|line| line.split_once("deskhandDecision = "));
    pasted.map(|(_, text)| serde_json::from_str(text).unwrap()).collect()
}

#[tokio::test]
async fn a_person_decides_once_to_adopt() {
    let setting = Setting::new().await;
    setting.goes_wrong(RouteName::Run, Effect::ProcessThenDrop);
    let mut task = setting.start_task("runAndWait", json!({}));
    let error = setting.call(&task).await.error();
    let run = setting.simulator.sessions()[0].id.to_string();
    task.comes_again_after(&error);
    let mut decision = decisions(&error.message)[0].clone();
    decision["adopt"] = json!(run);
    task.variables.insert("deskhandDecision".into(), decision);
    let response = setting.call(&task).await.response();
    assert_eq!(response["flowSessionId"], json!(run));
    assert_eq!(setting.simulator.runs_started(), 1);
    let noted = task.journal.last().unwrap();
    assert_eq!(noted["deskhandRun"]["flowSessionId"], json!(run));
    assert_eq!(
        noted["deskhandDecision"],
        Value::Null,
        "it is wiped out in the same write"
    );
}

#[tokio::test]
async fn a_person_decides_once_to_start_again() {
    let setting = Setting::new().await;
    setting.goes_wrong(RouteName::Run, Effect::DropBeforeProcess);
    let mut task = setting.start_task("triggerFlowRun", json!({}));
    let error = setting.call(&task).await.error();
    task.comes_again_after(&error);
    // Resolved without a word: asked again, nothing started.
    assert_eq!(setting.call(&task).await.error().code.as_deref(), Some("START_UNCLEAR"));
    assert_eq!(setting.simulator.runs_started(), 0);

    let decision = decisions(&error.message)[1].clone();
    task.variables.insert("deskhandDecision".into(), decision);
    setting.call(&task).await.response();
    assert_eq!(setting.simulator.runs_started(), 1);
    let written = task.journal.written.lock().unwrap().clone();
    let with_intent = written.iter().rev().nth(1).unwrap();
    assert_eq!(with_intent["deskhandIntent"]["attempt"], 2);
    assert_eq!(with_intent["deskhandDecision"], Value::Null);
    // The engine gives it out again after all this: the decision is gone, the run is there.
    task.comes_again();
    setting.call(&task).await.response();
    assert_eq!(setting.simulator.runs_started(), 1);
}

#[tokio::test]
async fn a_decision_that_is_not_meant_for_this_task_or_not_understood_starts_nothing() {
    let setting = Setting::new().await;
    let mut task = setting.start_task("triggerFlowRun", json!({}));
    setting.call(&task).await.response();
    task.comes_again();
    for decision in [
        json!({"elementInstance": (INSTANCE + 1).to_string(), "startAgain": true}),
        // Of a parent's scope, perhaps: nobody was asked here.
        json!({"startAgain": true}),
    ] {
        task.variables.insert("deskhandDecision".into(), decision);
        setting.call(&task).await.response();
    }
    for decision in [json!({"startAgain": 1}), json!("later")] {
        task.variables.insert("deskhandDecision".into(), decision);
        let error = setting.call(&task).await.error();
        assert_eq!(error.remedy, Remedy::Incident);
        assert!(error.message.contains("`deskhandDecision`"), "{}", error.message);
    }
    let decision = json!({"elementInstance": INSTANCE.to_string(),
        "adopt": "99999999-0000-4000-8000-000000000009"});
    task.variables.insert("deskhandDecision".into(), decision);
    let error = setting.call(&task).await.error();
    assert!(error.message.contains("cannot be read"), "{}", error.message);
    assert_eq!(setting.simulator.runs_started(), 1);
}

#[tokio::test]
async fn a_run_that_succeeded_is_never_started_again_whatever_is_decided() {
    let setting = Setting::of(world(), with_token_url()).await;
    let mut task = setting.start_task("runAndWait", json!({}));
    setting.call(&task).await.response();
    task.comes_again();
    task.variables["deskhandRun"]["succeeded"] = json!(true);
    task.variables.insert(
        "deskhandDecision".into(),
        json!({"elementInstance": INSTANCE.to_string(), "startAgain": true}),
    );
    assert_eq!(setting.call(&task).await.response()["status"], "Succeeded");
    assert_eq!(setting.simulator.runs_started(), 1);
}
