//! Starting runs: once, or by a person's decision.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deskhand::connector::desktop_flow::Settings;
use deskhand::outcome::Remedy;
use deskhand::progress::Step;
use deskhand::sandbox::power_automate::{
    CONNECTION, Effect, Fault, ProtectionLimit, RouteName, Seed, Span, Throttle, Workflow,
};
use serde_json::{Value, json};

use crate::setting::{INSTANCE, Notes, Setting, settings, with_token_url, world};

#[tokio::test]
async fn a_start_gives_the_run_and_the_licence_check() {
    let setting = Setting::new().await;
    let task = setting.start_task("triggerFlowRun", json!({}));
    let done = setting.call(&task).await;

    let run = setting.simulator.sessions()[0].id.to_string();
    assert!(matches!(&done.steps[0], Step::TokenFetched { host, .. } if host == "127.0.0.1"));
    assert_eq!(done.steps[1], Step::RunStarted { run: run.clone() });
    let response = done.response();
    assert_eq!(response["flowSessionId"], json!(run));
    assert_eq!(response["licenseCheck"]["code"], "ValidLicenseCoverage");
}

#[tokio::test]
async fn dataverse_gets_integers_texts_and_nothing_that_was_not_given() {
    let setting = Setting::new().await;
    for (given, sent) in [
        (json!("1"), json!(1)),
        (json!(2), json!(2)),
        (json!("connection"), json!(1)),
        (json!("ConnectionReference"), json!(2)),
        (Value::Null, Value::Null),
    ] {
        let task = setting.start_task(
            "triggerFlowRun",
            json!({"connectionType": given, "runTimeout": "600", "runMode": "Unattended", "runPriority": ""}),
        );
        let _ = setting.call(&task).await;
        let requests = setting.requests(RouteName::Run);
        let body: Value = serde_json::from_str(&requests.last().unwrap().body).unwrap();
        let mut expected = json!({
            "runMode": "unattended",
            "connectionName": CONNECTION,
            "timeout": 600,
            "inputs": "{\"InvoiceId\":\"42\",\"Amount\":12.5}",
        });
        if !sent.is_null() {
            expected["connectionType"] = sent;
        }
        assert_eq!(body, expected);
    }
}

#[tokio::test]
async fn every_request_says_which_odata_it_speaks() {
    let setting = Setting::new().await;
    let task = setting.start_task("runAndWait", json!({}));
    setting.call(&task).await.response();
    for request in setting.simulator.requests() {
        if request.route == RouteName::Token {
            continue;
        }
        for (name, value) in [
            ("accept", "application/json"),
            ("odata-version", "4.0"),
            ("odata-maxversion", "4.0"),
            ("if-none-match", "null"),
        ] {
            assert_eq!(request.headers[name], value, "{} {}", request.method, request.path);
        }
    }
}

#[tokio::test]
async fn inputs_may_be_a_context_or_the_templates_json_text() {
    let setting = Setting::new().await;
    setting
        .started(json!({"inputs": null, "runInputs": " {\"InvoiceId\": \"1\"} "}))
        .await;
    setting
        .started(json!({"inputs": null, "runInputs": {"InvoiceId": "2"}}))
        .await;
    setting.started(json!({"inputs": null})).await;
    let inputs: Vec<Option<String>> = setting.simulator.sessions().into_iter().map(|run| run.inputs).collect();
    assert_eq!(
        inputs,
        [
            Some("{\"InvoiceId\": \"1\"}".to_owned()),
            Some("{\"InvoiceId\":\"2\"}".to_owned()),
            None
        ]
    );
}

#[tokio::test]
async fn the_journal_names_the_run_before_the_job_ends() {
    let setting = Setting::new().await;
    let task = setting.start_task("triggerFlowRun", json!({}));
    let response = setting.call(&task).await.response();
    let entry = task.journal.last().unwrap();
    let entry = &entry["deskhandRun"];
    assert_eq!(entry["version"], 2);
    assert_eq!(entry["elementInstance"], INSTANCE.to_string());
    assert_eq!(entry["attempt"], 1);
    assert_eq!(entry["flowSessionId"], response["flowSessionId"]);
}

#[tokio::test]
async fn a_job_that_comes_again_adopts_its_run() {
    let setting = Setting::new().await;
    for operation in ["triggerFlowRun", "runAndWait"] {
        let before = setting.simulator.runs_started();
        let mut task = setting.start_task(operation, json!({}));
        let first = setting.call(&task).await.response();
        task.variables.extend(task.journal.last().unwrap());

        let again = setting.call(&task).await;
        let run = first["flowSessionId"].as_str().unwrap().to_owned();
        assert_eq!(setting.simulator.runs_started(), before + 1, "{operation}");
        assert!(again.steps.contains(&Step::RunAdopted { run }), "{operation}");
        assert_eq!(again.response()["flowSessionId"], first["flowSessionId"]);
    }
}

#[tokio::test]
async fn a_journal_of_another_entry_into_the_task_does_not_count() {
    let setting = Setting::new().await;
    let mut task = setting.start_task("triggerFlowRun", json!({}));
    setting.call(&task).await.response();
    let mut entry = task.journal.last().unwrap();
    entry["deskhandRun"]["elementInstance"] = json!((INSTANCE + 1).to_string());
    task.variables.extend(entry);
    setting.call(&task).await.response();
    assert_eq!(setting.simulator.runs_started(), 2);
}

#[tokio::test]
async fn nothing_is_started_over_a_journal_that_cannot_be_understood() {
    let setting = Setting::new().await;
    for (entry, remedy) in [
        (
            json!({"version": 99, "elementInstance": INSTANCE.to_string()}),
            Remedy::Postpone(Duration::from_secs(30)),
        ),
        (
            json!({"version": 1, "elementInstance": INSTANCE.to_string(), "flowSessionId": "?"}),
            Remedy::Incident,
        ),
    ] {
        let task = setting.start_task("runAndWait", json!({"deskhandRun": entry}));
        let error = setting.call(&task).await.error();
        assert_eq!(error.remedy, remedy);
        assert!(error.message.contains("Nothing was started"), "{}", error.message);
        assert_eq!(task.journal.last(), None, "and it is not overwritten");
    }
    assert!(setting.requests(RouteName::Run).is_empty());
}

#[tokio::test]
async fn an_intent_that_the_engine_does_not_take_starts_nothing() {
    let setting = Setting::new().await;
    let mut task = setting.start_task("runAndWait", json!({}));
    task.journal = Arc::new(Notes {
        refuses: &["deskhandIntent"],
        ..Notes::default()
    });
    setting.call(&task).await.error();
    assert!(setting.requests(RouteName::Run).is_empty());
}

#[tokio::test]
async fn a_run_that_the_engine_does_not_note_goes_on_and_is_found_by_its_token() {
    let setting = Setting::of(world(), with_token_url()).await;
    let mut task = setting.start_task("runAndWait", json!({}));
    task.journal = Arc::new(Notes {
        refuses: &["deskhandRun"],
        ..Notes::default()
    });
    assert_eq!(setting.call(&task).await.response()["status"], "Succeeded");
    // The process died before the job was completed.
    task.comes_again();
    assert_eq!(setting.call(&task).await.response()["status"], "Succeeded");
    assert_eq!(setting.simulator.runs_started(), 1);
}

/// An answer that does not say whether the request was executed.
pub fn unavailable(status: u16, process: bool) -> Effect {
    Effect::Status {
        status,
        code: String::new(),
        message: "gateway".into(),
        retry_after: Some(Span::seconds(1)),
        process,
    }
}

#[tokio::test]
async fn a_start_that_never_left_may_be_tried_again() {
    let setting = Setting::new().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let task = setting.start_task(
        "triggerFlowRun",
        json!({
            "organizationUri": format!("http://{closed}"),
            "authentication": {"type": "bearer", "token": "t"},
        }),
    );
    let error = setting.call(&task).await.error();
    assert!(matches!(error.remedy, Remedy::Postpone(_)), "{}", error.message);
    assert_eq!(error.code.as_deref(), Some("CONNECTION"));
}

#[tokio::test]
async fn a_refused_token_is_renewed_once() {
    let setting = Setting::new().await;
    setting.goes_wrong(RouteName::Run, Effect::Unauthorized);
    setting.started(json!({})).await;
    assert_eq!(setting.requests(RouteName::Run).len(), 2);
    assert_eq!(setting.simulator.runs_started(), 1);
    assert_eq!(setting.simulator.tokens_issued(), 2);

    setting.fault(Fault::on(RouteName::Run, Effect::Unauthorized).times(2));
    let task = setting.start_task("triggerFlowRun", json!({}));
    let error = setting.call(&task).await.error();
    assert_eq!((error.code.as_deref(), error.remedy), (Some("401"), Remedy::Incident));
    assert_eq!(setting.simulator.runs_started(), 1);
}

#[tokio::test]
async fn a_bearer_token_is_used_as_it_is_and_cannot_be_renewed() {
    let setting = Setting::new().await;
    let token = setting.simulator.token().unwrap();
    let authentication = json!({"type": "bearer", "token": format!("Bearer {token}")});
    setting.started(json!({"authentication": authentication})).await;
    setting.goes_wrong(RouteName::Run, Effect::Unauthorized);
    let task = setting.start_task("triggerFlowRun", json!({"authentication": authentication}));
    let error = setting.call(&task).await.error();
    assert_eq!((error.code.as_deref(), error.remedy), (Some("401"), Remedy::Incident));
    assert_eq!(setting.requests(RouteName::Run).len(), 2);
    assert!(setting.requests(RouteName::Token).is_empty());
}

fn throttled(seconds: u64, as_date: bool) -> Effect {
    Effect::Throttle(Throttle {
        limit: ProtectionLimit::Requests,
        retry_after: Span::seconds(seconds),
        as_date,
    })
}

#[tokio::test]
async fn a_short_pause_is_waited_for_and_then_the_flow_is_started_once() {
    let mut world = world();
    world.clock.speed = 1.0;
    let setting = Setting::of(world, settings()).await;
    setting.goes_wrong(RouteName::Run, throttled(1, false));
    let began = Instant::now();
    setting.started(json!({})).await;
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(setting.simulator.runs_started(), 1);
}

#[tokio::test]
async fn a_long_pause_is_left_to_the_engine_and_costs_no_retry() {
    let setting = Setting::new().await;
    for effect in [
        throttled(60, false),
        throttled(60, true),
        Effect::Status {
            status: 503,
            code: "0x80072322".into(),
            message: "Number of requests exceeded the limit".into(),
            retry_after: Some(Span::seconds(60)),
            process: false,
        },
    ] {
        let name = format!("{effect:?}");
        setting.goes_wrong(RouteName::Run, effect);
        let task = setting.start_task("triggerFlowRun", json!({}));
        let Remedy::Postpone(pause) = setting.call(&task).await.error().remedy else {
            panic!("{name} is no reason to spend a retry");
        };
        assert!((59..=61).contains(&pause.as_secs()), "{name}: {pause:?}");
    }
    assert_eq!(setting.simulator.runs_started(), 0);
}

#[tokio::test]
async fn a_lost_job_starts_nothing() {
    let setting = Setting::new().await;
    let task = setting.start_task("runAndWait", json!({}));
    task.abandoned.cancel();
    assert_eq!(setting.call(&task).await.error().code.as_deref(), Some("ABANDONED"));
    assert!(setting.requests(RouteName::Run).is_empty());
}

#[tokio::test]
async fn a_flow_may_be_named_if_only_one_has_the_name() {
    let setting = Setting::new().await;
    let twin = |name: &str, id: &str| Workflow {
        id: id.parse().unwrap(),
        name: name.into(),
        ..Workflow::default()
    };
    setting
        .simulator
        .seed(Seed {
            workflows: vec![
                twin("O'Brien's & Co", "11111111-0000-4000-8000-000000000001"),
                twin("Twin", "11111111-0000-4000-8000-000000000002"),
                twin("Twin", "11111111-0000-4000-8000-000000000003"),
            ],
            ..Seed::default()
        })
        .unwrap();
    let named = |name: &str| {
        setting.start_task(
            "triggerFlowRun",
            json!({"workflowId": null, "workflowName": name, "inputs": null}),
        )
    };
    setting.call(&named("O'Brien's & Co")).await.response();
    let error = setting.call(&named("Twin")).await.error();
    assert!(error.message.contains("more than one"), "{}", error.message);
    assert!(error.message.contains("11111111-0000-4000-8000-000000000003"));
    let error = setting.call(&named("Nobody' or name ne '")).await.error();
    assert_eq!(error.remedy, Remedy::Incident);
    assert!(error.message.contains("no published desktop flow"), "{}", error.message);
    assert_eq!(setting.simulator.runs_started(), 1);
}

#[tokio::test]
async fn a_refused_start_is_somebodys_turn_and_is_not_sent_again() {
    let patient = Settings {
        longest_pause: Duration::from_secs(60),
        ..settings()
    };
    let setting = Setting::of(world(), patient).await;
    setting.goes_wrong(
        RouteName::Run,
        Effect::Status {
            status: 400,
            code: "0x80040265".into(),
            message: "The connection does not exist.".into(),
            retry_after: None,
            process: false,
        },
    );
    let task = setting.start_task("triggerFlowRun", json!({}));
    let error = setting.call(&task).await.error();
    assert_eq!((error.code.as_deref(), error.remedy), (Some("400"), Remedy::Incident));
    assert!(error.message.contains("`connectionName`"), "{}", error.message);
    assert_eq!(setting.requests(RouteName::Run).len(), 1);
}
