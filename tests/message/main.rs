//! `waitFor: message`: the end of a run is published to the engine, once, whoever is killed meanwhile.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod setting;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use deskhand::audit::Audit;
use deskhand::metrics::metrics;
use deskhand::microsoft::dataverse::Guid;
use deskhand::runs::journal::Intent;
use deskhand::runs::{Pace, token};
use deskhand::sandbox::power_automate::{
    BOOK_INVOICE, CallbackMode, Effect, Fault, RouteName, RunError, Script, Seed, Status as RunStatus, Workflow,
};
use serde_json::{Value, json};
use setting::{NEVER, Replica, Setting, free_address};
use support::gateway::FakeGateway;
use tonic::{Code, Status};

#[tokio::test]
async fn a_callback_has_the_end_of_a_run_published_once_with_all_that_the_process_needs() {
    let setting = Setting::new(|world| world.callbacks.mode = CallbackMode::Duplicate).await;
    let directory = tempfile::tempdir().unwrap();
    let audit = directory.path().join("audit.jsonl");
    let _replica = Replica::of(&setting, Some(free_address()), |flows| {
        flows.outbox.every = NEVER;
        flows.audit = Audit::new(Some(audit.clone()));
    });
    let run = setting.started(7, json!({})).await;
    setting.runs_end();
    let message = setting.messages(1).await.remove(0);
    assert_eq!(message.name, "desktopFlowEnded");
    assert_eq!((&message.correlation_key, &message.id), (&run, &run));
    assert_eq!(message.time_to_live, Duration::from_secs(48 * 3600));
    assert_eq!(message.tenant, "accounting");
    let told = &message.variables["desktopFlowRun"];
    assert_eq!(message.variables.as_object().unwrap().len(), 1);
    let link = told["link"].as_str().unwrap();
    assert!(link.contains(&run), "{link}");
    assert!(told["completedOn"].is_string(), "{told}");
    assert_eq!(
        *told,
        json!({
            "flowSessionId": run, "statusCode": 4, "status": "Succeeded", "succeeded": true,
            "startedOn": told["startedOn"], "completedOn": told["completedOn"],
            "errorCode": null, "errorMessage": null, "errorDetails": null, "link": link,
        })
    );

    // Both are noted when the engine has answered.
    let noted = || {
        let lines = std::fs::read_to_string(&audit).unwrap();
        lines
            .lines()
            .last()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
    };
    setting
        .until("a line of the audit", |_| {
            noted().is_some_and(|line| line["event"] == "message")
        })
        .await;
    let line = noted().unwrap();
    assert_eq!(
        (&line["run"], &line["message"]),
        (&json!(run), &json!("desktopFlowEnded"))
    );
    assert_eq!(
        (&line["processInstance"], &line["tenant"]),
        (&json!("1007"), &json!("accounting"))
    );
    let counted =
        |line: &str| line.starts_with("deskhand_messages_published_total{result=\"new\"}") && !line.ends_with(" 0");
    assert!(metrics().text().lines().any(counted), "{}", metrics().text());
}

#[tokio::test]
async fn a_callback_for_a_run_of_a_replica_that_is_gone_has_it_published_at_once() {
    let setting = Setting::new(|world| world.callbacks.mode = CallbackMode::Once).await;
    let hooks = free_address();
    let first = Replica::of(&setting, Some(hooks), |flows| flows.outbox.every = NEVER);
    let run = setting.started(7, json!({})).await;
    setting.until("a look", |setting| setting.passes() == 1).await;
    first.kill();
    let _second = Replica::of(&setting, Some(hooks), |flows| flows.outbox.every = NEVER);
    setting.until("a look at start", |setting| setting.passes() == 2).await;
    setting.runs_end();
    assert_eq!(setting.messages(1).await[0].id, run);
}

#[tokio::test]
async fn without_a_callback_the_run_is_watched() {
    let setting = Setting::new(|_| {}).await;
    let _replica = Replica::with(&setting, |flows| {
        flows.outbox.every = NEVER;
        flows.pace = Pace {
            first: Duration::from_millis(20),
            factor: 1.5,
            longest: Duration::from_millis(200),
            jitter: 0.2,
        };
    });
    let fields = json!({"messageName": "Invoice booked", "messageTimeToLive": "PT3H"});
    let run = setting.started(7, fields).await;
    setting.runs_end();
    let message = setting.messages(1).await.remove(0);
    assert_eq!((message.name.as_str(), &message.id), ("Invoice booked", &run));
    assert_eq!(message.time_to_live, Duration::from_secs(3 * 3600));
}

#[tokio::test]
async fn a_run_that_nobody_watches_is_found_by_the_next_look_and_offered_once() {
    let setting = Setting::new(|_| {}).await;
    let _replica = Replica::start(&setting);
    let run = setting.started(7, json!({})).await;
    setting.looked_again().await;
    assert!(setting.gateway.offers().is_empty(), "it goes on");
    setting.runs_end();
    assert_eq!(setting.messages(1).await[0].id, run);
    setting.looked_again().await;
    assert_eq!(setting.gateway.offers().len(), 1, "what was seen is remembered");
}

#[tokio::test]
async fn what_ended_while_nobody_was_there_is_published_at_start() {
    let setting = Setting::new(|_| {}).await;
    let first = Replica::start(&setting);
    let run = setting.started(7, json!({})).await;
    first.kill();
    setting.runs_end();
    setting.simulator.advance(Duration::from_secs(20 * 3600));
    let _second = Replica::with(&setting, |flows| flows.outbox.every = NEVER);
    assert_eq!(setting.messages(1).await[0].id, run);
}

#[tokio::test]
async fn a_kill_between_the_end_and_its_message_loses_none() {
    let setting = Setting::new(|_| {}).await;
    setting
        .gateway
        .takes_no_messages(Some(Status::unavailable("no leader")));
    let first = Replica::start(&setting);
    let mut runs = Vec::new();
    for key in 0..3 {
        runs.push(setting.started(key, json!({})).await);
    }
    setting.runs_end();
    setting
        .until("it was tried", |setting| !setting.gateway.offers().is_empty())
        .await;
    first.kill();
    setting.simulator.advance(Duration::from_secs(3600));
    setting.gateway.takes_no_messages(None);
    let _second = Replica::with(&setting, |flows| flows.outbox.every = NEVER);
    let mut published: Vec<String> = setting
        .messages(3)
        .await
        .into_iter()
        .map(|message| message.id)
        .collect();
    published.sort_unstable();
    runs.sort_unstable();
    assert_eq!(published, runs);
}

#[tokio::test]
async fn replicas_offer_the_same_message_and_the_engine_keeps_one() {
    let setting = Setting::new(|_| {}).await;
    let one = Replica::start(&setting);
    setting.started(7, json!({})).await;
    let _other = Replica::start(&setting);
    setting.runs_end();
    setting
        .until("both offered it", |setting| setting.gateway.offers().len() == 2)
        .await;
    let offers = setting.gateway.offers();
    assert_eq!(offers[0].id, offers[1].id);
    assert_eq!((offers[0].answer, offers[1].answer), (Code::Ok, Code::AlreadyExists));
    setting.looked_again().await;
    assert_eq!(
        setting.gateway.offers().len(),
        2,
        "a message that is there is done with"
    );
    // So does the same replica after a restart.
    one.kill();
    let _again = Replica::start(&setting);
    setting
        .until("it offered it", |setting| setting.gateway.offers().len() == 3)
        .await;
    setting.messages(1).await;
}

#[tokio::test]
async fn an_engine_that_is_away_for_a_while_gets_the_message_when_it_is_back() {
    let mut setting = Setting::new(|_| {}).await;
    let _replica = Replica::start(&setting);
    let run = setting.started(7, json!({})).await;
    let address = setting.gateway.address;
    setting.gateway.die();
    setting.runs_end();
    let passes = setting.passes();
    setting.until("a look", |setting| setting.passes() > passes).await;
    setting.gateway = FakeGateway::start_at(address).await;
    assert_eq!(setting.messages(1).await[0].id, run);
}

#[tokio::test]
async fn what_the_engine_will_never_take_holds_up_no_other_and_what_it_denies_is_tried_again() {
    let setting = Setting::new(|_| {}).await;
    let _replica = Replica::start(&setting);
    setting
        .gateway
        .takes_no_messages(Some(Status::invalid_argument("no such tenant")));
    setting.started(1, json!({})).await;
    setting.runs_end();
    setting
        .until("it was refused", |setting| setting.gateway.offers().len() == 1)
        .await;
    setting
        .gateway
        .takes_no_messages(Some(Status::permission_denied("not yours")));
    let second = setting.started(2, json!({})).await;
    setting.runs_end();
    let denied = |setting: &Setting| {
        setting
            .gateway
            .offers()
            .iter()
            .filter(|offer| offer.id == second)
            .count()
    };
    setting.until("it was denied", |setting| denied(setting) >= 2).await;
    setting.gateway.takes_no_messages(None);
    assert_eq!(setting.messages(1).await[0].id, second);
    let first: Vec<_> = setting
        .gateway
        .offers()
        .into_iter()
        .filter(|offer| offer.id != second)
        .collect();
    assert_eq!(first.len(), 1, "{first:#?}");
}

#[tokio::test]
async fn runs_of_other_tasks_and_of_other_engines_are_not_published() {
    let setting = Setting::new(|_| {}).await;
    let _ours = Replica::start(&setting);
    let another = FakeGateway::start().await;
    let _theirs = Replica::at(&setting.simulator, another.url(), None, |flows| {
        flows.once.tokens = token::Tokens::new("another engine", None);
    });
    setting.started(1, json!({"waitFor": null})).await;
    setting.started(2, json!({"waitFor": "nothing"})).await;
    let wanted = setting.started(3, json!({})).await;
    setting.runs_end();
    assert_eq!(setting.messages(1).await[0].id, wanted);
    setting.looked_again().await;
    setting.looked_again().await;
    assert_eq!(setting.gateway.offers().len(), 1);
    assert!(another.offers().is_empty(), "{:?}", another.offers());
}

#[tokio::test]
async fn a_run_that_failed_is_published_with_its_reasons_short_enough_for_the_engine() {
    let setting = Setting::new(|_| {}).await;
    let flow = Workflow {
        id: BOOK_INVOICE,
        name: "Book invoice".into(),
        scripts: vec![Script {
            ends: RunStatus::Failed,
            error: Some(RunError {
                code: "InvoiceAlreadyBooked".into(),
                message: "It was booked; the secret is demo-client-secret".into(),
                details: Some("x".repeat(50_000)),
            }),
            ..Script::default()
        }],
        ..Workflow::default()
    };
    let workflows = vec![flow];
    setting
        .simulator
        .seed(Seed {
            workflows,
            ..Seed::default()
        })
        .unwrap();
    let _replica = Replica::start(&setting);
    setting.started(7, json!({})).await;
    // The reasons are asked for again when that fails.
    let fault = Fault::on(RouteName::Session, Effect::DropBeforeProcess);
    setting.simulator.add_fault(fault.times(2)).unwrap();
    setting.runs_end();
    let told = setting.messages(1).await.remove(0).variables["desktopFlowRun"].take();
    assert_eq!(
        (told["succeeded"].clone(), told["status"].clone()),
        (json!(false), json!("Failed"))
    );
    assert_eq!(told["errorCode"], "InvoiceAlreadyBooked");
    assert_eq!(told["errorMessage"], "It was booked; the secret is ***");
    assert_eq!(told["errorDetails"].as_str().unwrap().len(), 10_000);
}

#[tokio::test]
async fn many_ended_runs_come_page_by_page() {
    let setting = Setting::new(|world| world.limits.page_size = 3).await;
    let first = Replica::start(&setting);
    for key in 0..10 {
        setting.started(key, json!({})).await;
    }
    first.kill();
    setting.runs_end();
    let _second = Replica::with(&setting, |flows| flows.outbox.every = NEVER);
    let mut ids: Vec<String> = setting
        .messages(10)
        .await
        .into_iter()
        .map(|message| message.id)
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 10);
}

#[tokio::test]
async fn a_message_is_not_published_after_the_time_that_it_would_have_lived() {
    let setting = Setting::new(|_| {}).await;
    let first = Replica::start(&setting);
    setting.started(1, json!({"messageTimeToLive": "PT10M"})).await;
    let long = setting.started(2, json!({"messageTimeToLive": "PT5H"})).await;
    first.kill();
    setting.runs_end();
    setting.simulator.advance(Duration::from_secs(3600));
    let _second = Replica::start(&setting);
    assert_eq!(setting.messages(1).await[0].id, long);
    setting.looked_again().await;
    setting.messages(1).await;
}

#[tokio::test]
async fn a_run_that_a_person_named_carries_no_message_and_that_is_said() {
    let setting = Setting::new(|_| {}).await;
    let _replica = Replica::start(&setting);
    let run = setting.started(1, json!({"waitFor": null})).await;
    let job = setting.job(2, json!({}));
    let intent = Intent {
        element_instance: job.element_instance_key,
        attempt: 1,
        token: String::new(),
        carrier: None,
        flow: Guid::parse(&run).unwrap(),
        connection: "c".into(),
        inputs: None,
        since: "2026-01-01T00:00:00Z".parse().unwrap(),
        may_take: Duration::from_secs(1),
        asked: true,
    };
    let mut fields = intent.variables();
    fields.insert("deskhandDecision".into(), json!({"adopt": run}));
    let message = setting.refused(2, Value::Object(fields)).await;
    assert!(message.contains("the message would never come"), "{message}");
}

#[tokio::test]
async fn what_cannot_be_published_later_is_not_started() {
    let setting = Setting::new(|_| {}).await;
    let replica = Replica::start(&setting);
    let own = json!({
        "type": "oauth-client-credentials-flow",
        "oauthTokenEndpoint": setting.simulator.token_endpoint(),
        "clientId": "00000000-0000-0000-0000-000000000001",
        "clientSecret": "demo-client-secret",
    });
    let cases: [(Value, &str); 7] = [
        (
            json!({"waitFor": "mesage"}),
            "`waitFor` is \"mesage\", but must be `message` or `nothing` (did you mean `message`?)",
        ),
        (
            json!({"identity": null, "authentication": own}),
            "`waitFor` needs an `identity` of the worker's",
        ),
        (
            json!({"identity": "other"}),
            "operations add it to the setting messages.outbox",
        ),
        (
            json!({"messageTimeToLive": "3 hours"}),
            "`messageTimeToLive` is \"3 hours\", but must be an ISO 8601 duration",
        ),
        (
            json!({"messageTimeToLive": "PT5M"}),
            "`messageTimeToLive` is \"PT5M\", but must be at least PT600S",
        ),
        (
            json!({"messageName": "x".repeat(201)}),
            "`messageName` is longer than 200 characters",
        ),
        (
            json!({"operationType": "runAndWait"}),
            "`waitFor` is for `triggerFlowRun`",
        ),
    ];
    for (key, (fields, problem)) in (0..).zip(cases) {
        let message = setting.refused(key, fields).await;
        assert!(message.contains(problem), "{problem}: {message}");
    }
    let long = format!("https://hooks.example.com/{}", "x".repeat(1900));
    let message = setting.refused(50, json!({"callbackUrl": long})).await;
    assert!(message.contains("the callback URL has no room"), "{message}");
    replica.kill();

    let _replica = Replica::with(&setting, |flows| {
        flows.once.token_url = None;
        flows.once.append_token = false;
    });
    for (key, fields) in [
        (60, json!({})),
        (61, json!({"callbackUrl": "https://hooks.example.com/mine"})),
        (62, json!({"tokenInput": "Token"})),
    ] {
        let message = setting.refused(key, fields).await;
        assert!(message.contains("`waitFor` needs a callback URL"), "{message}");
    }
}
