//! One run for each entry into a task: unclear starts, other workers, a person's decision, the lease.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use deskhand::connector::Connector as _;
use deskhand::connector::Place;
use deskhand::connector::desktop_flow::{Settings, once};
use deskhand::microsoft::dataverse::Guid;
use deskhand::microsoft::dataverse::workflows::{RunRequest, Sending};
use deskhand::outcome::Remedy;
use deskhand::progress::Step;
use deskhand::sandbox::power_automate::{
    BOOK_INVOICE, CONNECTION, Effect, Fault, RouteName, SessionRecord, Span, Status, Throttle, ValueType, Workflow,
};
use serde_json::{Value, json};

use crate::dataverse::client;
use crate::setting::{INSTANCE, Setting, Task, connector, settings, standing_still, with_token_url, world};
use crate::starting::unavailable;

/// What leaves it open whether the start was executed.
pub fn unclear_effects() -> Vec<Effect> {
    vec![
        Effect::DropBeforeProcess,
        Effect::ProcessThenDrop,
        Effect::DropThenProcess {
            after: Span::milliseconds(150),
        },
        Effect::MalformedJson,
        Effect::TruncatedBody,
        unavailable(500, true),
        unavailable(500, false),
        unavailable(502, true),
        unavailable(502, false),
        unavailable(503, true),
        unavailable(503, false),
        unavailable(504, true),
        unavailable(504, false),
    ]
}

fn alive(setting: &Setting) -> Vec<SessionRecord> {
    let all = setting.simulator.sessions();
    all.into_iter().filter(|run| run.status != Status::Cancelled).collect()
}

/// Waits until the simulator says so, within bounds.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(10), "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn whatever_becomes_of_a_start_one_run_comes_of_it() {
    for effect in unclear_effects() {
        let setting = Setting::of(world(), with_token_url()).await;
        setting.goes_wrong(RouteName::Run, effect.clone());
        let task = setting.start_task("runAndWait", json!({}));
        let response = setting.call(&task).await.response();
        assert_eq!(response["status"], "Succeeded", "{effect:?}");
        assert_eq!(setting.simulator.runs_started(), 1, "{effect:?}");
        assert_eq!(
            response["flowSessionId"],
            setting.simulator.sessions()[0].id.to_string(),
            "{effect:?}"
        );
    }
}

#[tokio::test]
async fn whatever_carries_the_token_a_lost_start_is_found() {
    let forwarded = |mut settings: Settings| {
        settings.once.callback_url = Some("https://deskhand.example.com/callback".into());
        settings
    };
    for (name, settings, fields) in [
        ("receiver", forwarded(settings()), json!({})),
        (
            "own",
            settings(),
            json!({"callbackUrl": "https://hooks.example.com/x?sig=a%2Fb"}),
        ),
        (
            "input",
            settings(),
            json!({"tokenInput": "Token", "checkInputs": false}),
        ),
    ] {
        let setting = Setting::of(world(), settings).await;
        setting.goes_wrong(RouteName::Run, Effect::ProcessThenDrop);
        let task = setting.start_task("triggerFlowRun", fields);
        setting.call(&task).await.response();
        assert_eq!(setting.simulator.runs_started(), 1, "{name}");
        let run = &setting.simulator.sessions()[0];
        match name {
            "receiver" => assert!(
                run.callback_url
                    .as_deref()
                    .unwrap()
                    .starts_with("https://deskhand.example.com/callback/dh1.")
            ),
            "own" => assert!(
                run.callback_url
                    .as_deref()
                    .unwrap()
                    .starts_with("https://hooks.example.com/x?sig=a%2Fb&deskhandToken=dh1.")
            ),
            _ => {
                let inputs: Value = serde_json::from_str(run.inputs.as_deref().unwrap()).unwrap();
                assert_eq!(inputs["InvoiceId"], "42");
                assert!(inputs["Token"].as_str().unwrap().starts_with("dh1."));
            }
        }
    }
}

#[tokio::test]
async fn a_start_costs_the_engine_two_commands_and_the_intent_comes_before_the_post() {
    let setting = Setting::of(world(), with_token_url()).await;
    let task = setting.start_task("triggerFlowRun", json!({}));
    let response = setting.call(&task).await.response();
    let written = task.journal.written.lock().unwrap().clone();
    assert_eq!(written.len(), 2);
    let (intent, run) = (&written[0]["deskhandIntent"], &written[1]["deskhandRun"]);
    for entry in [intent, run] {
        assert_eq!(entry["version"], 2);
        assert_eq!(entry["elementInstance"], INSTANCE.to_string());
        assert_eq!(entry["attempt"], 1);
    }
    assert_eq!(run["flowSessionId"], response["flowSessionId"]);
    assert_eq!(run["token"], intent["token"]);
    let sent = setting.simulator.sessions()[0].callback_url.clone().unwrap();
    assert!(sent.contains(intent["token"].as_str().unwrap()));
    let text = Value::Array(written.iter().cloned().map(Value::Object).collect()).to_string();
    assert!(
        !text.contains("InvoiceId") && !text.contains("12.5"),
        "no values: {text}"
    );
}

/// A task whose worker died after the intent was noted: what the next one gets.
async fn orphaned(setting: &Setting, effect: Option<Effect>) -> Task {
    let mut task = setting.start_task("triggerFlowRun", json!({}));
    if let Some(effect) = effect {
        setting.goes_wrong(RouteName::Run, effect);
        let _ = setting.call(&task).await;
        let intent = task.journal.written.lock().unwrap()[0].clone();
        task.variables.extend(intent);
    } else {
        // It died between intent and POST.
        task.abandoned.cancel();
        let witness = setting.start_task("triggerFlowRun", json!({}));
        let _ = setting.call(&witness).await;
        let mut intent = witness.journal.written.lock().unwrap()[0].clone();
        // Of a token that no run carries.
        let other = deskhand::runs::token::Tokens::new("", None).fresh(deskhand::runs::token::Subject {
            process_instance: 5,
            element_instance: INSTANCE,
            attempt: 7,
        });
        intent["deskhandIntent"]["token"] = json!(other.unwrap().to_string());
        intent["deskhandIntent"]["attempt"] = json!(7);
        task.variables.extend(intent);
        task.abandoned = Default::default();
    }
    task
}

#[tokio::test]
async fn whoever_finds_an_intent_adopts_the_run_of_it() {
    let setting = Setting::of(world(), with_token_url()).await;
    let task = orphaned(&setting, Some(Effect::ProcessThenDrop)).await;
    assert_eq!(setting.simulator.runs_started(), 1);
    let replica = connector(with_token_url());
    let done = setting.call_by(&replica, &task).await;
    let run = setting.simulator.sessions()[0].id.to_string();
    assert!(done.steps.contains(&Step::RunAdopted { run: run.clone() }));
    assert_eq!(done.response()["flowSessionId"], json!(run));
    assert_eq!(setting.simulator.runs_started(), 1);
}

#[tokio::test]
async fn whoever_finds_an_intent_without_a_run_waits_until_it_is_settled_and_looks_twice() {
    let mut patient = with_token_url();
    patient.once.settle_time = Some(Duration::from_millis(700));
    patient.once.visibility = Duration::from_millis(400);
    let setting = Setting::of(world(), patient.clone()).await;
    let task = orphaned(&setting, None).await;
    let before = setting.simulator.runs_started();
    let began = Instant::now();
    setting.call_by(&connector(patient), &task).await.response();
    // The POST is followed by another look after the visibility bound.
    assert!(began.elapsed() >= Duration::from_millis(1500), "{:?}", began.elapsed());
    assert_eq!(setting.simulator.runs_started(), before + 1);
    let written = task.journal.written.lock().unwrap().clone();
    assert_eq!(written[0]["deskhandIntent"]["attempt"], 7, "the same attempt goes on");
}

#[tokio::test]
async fn a_start_that_is_executed_late_is_still_the_one_that_counts() {
    let mut patient = with_token_url();
    patient.once.settle_time = Some(Duration::from_millis(1500));
    let setting = Setting::of(world(), patient).await;
    let late = Effect::DropThenProcess {
        after: Span::milliseconds(1000),
    };
    setting.goes_wrong(RouteName::Run, late);
    let task = setting.start_task("runAndWait", json!({}));
    assert_eq!(setting.call(&task).await.response()["status"], "Succeeded");
    assert_eq!(setting.simulator.runs_started(), 1);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_for_a_while_is_waited_for() {
    let mut world = world();
    world.behaviour.hidden = Span::seconds(20);
    let mut patient = with_token_url();
    patient.once.settle_time = Some(Duration::from_millis(100));
    patient.once.visibility = Duration::from_millis(900);
    let setting = Setting::of(world, patient).await;
    setting.goes_wrong(RouteName::Run, Effect::ProcessThenDrop);
    let task = setting.start_task("runAndWait", json!({}));
    assert_eq!(setting.call(&task).await.response()["status"], "Succeeded");
    assert_eq!(setting.simulator.runs_started(), 1);
}

#[tokio::test]
async fn while_dataverse_cannot_be_asked_nothing_is_concluded() {
    let setting = Setting::of(world(), with_token_url()).await;
    setting.goes_wrong(RouteName::Run, Effect::ProcessThenDrop);
    // The look before the first start, and then every look until long after the settle time.
    setting.fault(Fault {
        skip: 1,
        ..Fault::on(RouteName::Sessions, unavailable(502, false)).times(3)
    });
    let task = setting.start_task("triggerFlowRun", json!({}));
    setting.call(&task).await.response();
    assert_eq!(setting.simulator.runs_started(), 1);
}

#[tokio::test]
async fn two_workers_that_start_the_same_leave_one_run_alive() {
    // The second one does not see the first one's run yet, and its activation is older than the first one's intent.
    let mut slow = world();
    slow.clock.speed = 1.0;
    slow.behaviour.hidden = Span::milliseconds(300);
    let mut patient = with_token_url();
    patient.once.visibility = Duration::from_millis(700);
    let setting = Setting::of(slow, patient.clone()).await;
    let first = setting.start_task("triggerFlowRun", json!({}));
    let kept = setting.call(&first).await.response()["flowSessionId"].clone();
    let second = setting.start_task("triggerFlowRun", json!({}));
    setting.call_by(&connector(patient), &second).await.response();
    assert_eq!(setting.simulator.runs_started(), 2);
    until("the later run is cancelled", || alive(&setting).len() == 1).await;
    // Created in the same second, the smaller id counts: all that matters is that everybody agrees.
    let runs = setting.simulator.sessions();
    let same_second = runs[0].created[..19] == runs[1].created[..19];
    let left = json!(alive(&setting)[0].id.to_string());
    assert!(left == kept || same_second);
    assert!(runs.iter().all(|run| run.id >= alive(&setting)[0].id) || !same_second);
}

/// Its worker stood still between the last look and the write, for longer than its lease and its successor's patience.
#[tokio::test]
async fn a_start_that_was_lost_sight_of_with_its_job_is_looked_after_all_the_same() {
    let mut sender = with_token_url();
    sender.once.settle_time = Some(Duration::from_millis(2000));
    let mut slow = world();
    slow.clock.speed = 1.0;
    let setting = Setting::of(slow, sender).await;
    let late = Effect::DropThenProcess {
        after: Span::milliseconds(1500),
    };
    setting.goes_wrong(RouteName::Run, late);
    let lost = setting.start_task("triggerFlowRun", json!({}));
    let lose = async {
        until("the start was sent", || !setting.requests(RouteName::Run).is_empty()).await;
        lost.abandoned.cancel();
    };
    let (done, ()) = tokio::join!(setting.call(&lost), lose);
    assert_eq!(done.error().code.as_deref(), Some("ABANDONED"));
    // The successor is as impatient as one is when the sender stood still for longer than it waits.
    let mut successor = with_token_url();
    successor.once.settle_time = Some(Duration::ZERO);
    successor.once.visibility = Duration::from_millis(100);
    let mut again = setting.start_task("triggerFlowRun", json!({}));
    again.variables.extend(lost.journal.last().unwrap());
    let kept = setting.call_by(&connector(successor), &again).await.response()["flowSessionId"].clone();
    until("the lost start is executed", || setting.simulator.runs_started() == 2).await;
    setting.connector.after_jobs().await;
    let alive = alive(&setting);
    assert_eq!(alive.len(), 1);
    let runs = setting.simulator.sessions();
    let same_second = runs[0].created[..19] == runs[1].created[..19];
    assert!(json!(alive[0].id.to_string()) == kept || same_second);
}

#[tokio::test]
async fn a_wait_whose_run_was_cancelled_as_the_later_one_goes_on_with_the_earlier() {
    let setting = Setting::of(standing_still(), with_token_url()).await;
    let first = setting.start_task("triggerFlowRun", json!({}));
    let kept = setting.call(&first).await.response()["flowSessionId"].clone();
    // Another run of the same start, noted by a worker that did not see the first; it is cancelled as the later one.
    let mut session = setting.simulator.sessions()[0].clone();
    let url = session.callback_url.take().unwrap();
    let request = RunRequest {
        run_mode: "unattended".into(),
        run_priority: None,
        connection_name: CONNECTION.into(),
        connection_type: None,
        timeout: None,
        inputs: None,
        callback_url: Some(url),
        others: serde_json::Map::new(),
    };
    // So that their order is not decided by their ids.
    setting.simulator.advance(Duration::from_secs(5));
    let flow = Guid::parse(&BOOK_INVOICE.to_string()).unwrap();
    let sending = Sending {
        within: Duration::from_secs(10),
        last_look: None,
    };
    let later = client(&setting).start_run(&flow, &request, &sending).await.unwrap();
    let later = later.id.to_string();
    let cancel = setting.task("cancelFlowRun", json!({"flowSessionId": &later}));
    setting.call(&cancel).await.response();
    setting.simulator.advance(Duration::from_secs(60));
    let mut waiting = setting.start_task("runAndWait", json!({}));
    let mut entry = first.journal.last().unwrap();
    entry["deskhandRun"]["flowSessionId"] = json!(later);
    waiting.variables.extend(entry);
    let response = setting.call(&waiting).await.response();
    assert_eq!(response["flowSessionId"], kept);
    assert_eq!(response["status"], "Succeeded");
    assert_eq!(waiting.journal.last().unwrap()["deskhandRun"]["flowSessionId"], kept);
}

#[tokio::test]
async fn after_a_restore_every_task_is_looked_for_first() {
    let setting = Setting::of(world(), with_token_url()).await;
    let task = setting.start_task("triggerFlowRun", json!({}));
    let first = setting.call(&task).await.response()["flowSessionId"].clone();
    // The restored engine has forgotten the journal.
    let mut careful = with_token_url();
    careful.once.look_first = once::LookFirst::Always;
    let replica = connector(careful);
    for _ in 0..2 {
        let forgotten = setting.start_task("triggerFlowRun", json!({}));
        let again = setting.call_by(&replica, &forgotten).await.response();
        assert_eq!(again["flowSessionId"], first);
    }
    assert_eq!(setting.simulator.runs_started(), 1);
}

#[tokio::test]
async fn a_refused_start_leaves_nothing_to_clear_up() {
    let mut patient = with_token_url();
    patient.once.settle_time = Some(Duration::from_secs(3600));
    let setting = Setting::of(world(), patient.clone()).await;
    setting.goes_wrong(
        RouteName::Run,
        Effect::Throttle(Throttle {
            retry_after: Span::seconds(60),
            ..Throttle::default()
        }),
    );
    let mut task = setting.start_task("triggerFlowRun", json!({}));
    let error = setting.call(&task).await.error();
    assert!(matches!(error.remedy, Remedy::Postpone(_)));
    assert_eq!(error.noted()["deskhandIntent"], Value::Null);
    task.comes_again_after(&error);
    // Nobody waits for that hour.
    let replica = connector(patient);
    setting.call_by(&replica, &task).await.response();
    assert_eq!(setting.simulator.runs_started(), 1);
}

#[tokio::test]
async fn a_server_that_never_takes_a_start_is_given_up_with_nothing_open() {
    let setting = Setting::of(world(), with_token_url()).await;
    setting.fault(Fault::on(RouteName::Run, unavailable(502, false)).times(3));
    let task = setting.start_task("triggerFlowRun", json!({}));
    let error = setting.call(&task).await.error();
    assert!(matches!(error.remedy, Remedy::Postpone(_)), "an outage costs no retry");
    assert_eq!(error.noted()["deskhandIntent"], Value::Null);
    assert_eq!(setting.simulator.runs_started(), 0);
}

/// A lease that lapses after it was asked for so often.
struct Lapsing {
    asked: Arc<AtomicUsize>,
    after: usize,
}

impl Place for Lapsing {
    fn lease(&self) -> Arc<dyn Fn() -> Duration + Send + Sync> {
        let (asked, after) = (self.asked.clone(), self.after);
        Arc::new(move || {
            if asked.fetch_add(1, Ordering::SeqCst) < after {
                Duration::from_secs(600)
            } else {
                Duration::ZERO
            }
        })
    }
}

#[tokio::test]
async fn a_lease_that_lapses_before_the_bytes_leave_starts_nothing() {
    for after in [0, 1] {
        let setting = Setting::of(world(), with_token_url()).await;
        let mut task = setting.start_task("runAndWait", json!({}));
        let asked: Arc<AtomicUsize> = Arc::default();
        task.place = Arc::new(Lapsing {
            asked: asked.clone(),
            after,
        });
        let error = setting.call(&task).await.error();
        assert_eq!(error.code.as_deref(), Some("LEASE_TOO_SHORT"), "{after}");
        assert_eq!(setting.simulator.runs_started(), 0);
        assert!(asked.load(Ordering::SeqCst) > after);
    }
    // Once the bytes have left, the run is there, and is noted and looked after.
    let setting = Setting::of(world(), with_token_url()).await;
    let mut task = setting.start_task("runAndWait", json!({}));
    task.place = Arc::new(Lapsing {
        asked: Arc::default(),
        after: 2,
    });
    setting.call(&task).await.response();
    assert_eq!(setting.simulator.runs_started(), 1);
}

#[tokio::test]
async fn the_body_of_a_start_has_its_length_and_no_chunks() {
    let setting = Setting::of(world(), with_token_url()).await;
    setting.started(json!({})).await;
    let request = &setting.requests(RouteName::Run)[0];
    assert_eq!(request.headers["content-length"], request.body_bytes.to_string());
    assert!(!request.headers.contains_key("transfer-encoding"));
}

#[tokio::test]
async fn inputs_that_were_changed_under_the_journal_do_not_start_another_run() {
    let setting = Setting::of(world(), with_token_url()).await;
    let mut task = setting.start_task("runAndWait", json!({}));
    let first = setting.call(&task).await.response()["flowSessionId"].clone();
    task.comes_again();
    task.variables["inputs"]["InvoiceId"] = json!("43");
    assert_eq!(setting.call(&task).await.response()["flowSessionId"], first);
    assert_eq!(setting.simulator.runs_started(), 1);
}

#[tokio::test]
async fn among_many_runs_an_input_finds_its_own() {
    let setting = Setting::new().await;
    setting
        .simulator
        .seed(deskhand::sandbox::power_automate::Seed {
            workflows: vec![Workflow {
                id: BOOK_INVOICE,
                name: "Book invoice".into(),
                inputs: [("InvoiceId", ValueType::String), ("Token", ValueType::String)]
                    .map(|(name, kind)| (name.to_owned(), kind))
                    .into(),
                ..Workflow::default()
            }],
            ..Default::default()
        })
        .unwrap();
    for _ in 0..20 {
        setting.started(json!({})).await;
    }
    setting.goes_wrong(RouteName::Run, Effect::ProcessThenDrop);
    let task = setting.start_task("triggerFlowRun", json!({"tokenInput": "Token", "checkInputs": false}));
    let found = setting.call(&task).await.response()["flowSessionId"].clone();
    assert_eq!(found, setting.simulator.sessions().last().unwrap().id.to_string());
    assert_eq!(setting.simulator.runs_started(), 21);
}
