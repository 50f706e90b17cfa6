//! `runAndWait`: from the start of a run to what the process gets.

use std::time::Duration;

use deskhand::outcome::Remedy;
use deskhand::progress::Step;
use deskhand::sandbox::power_automate::{
    BOOK_INVOICE, CONNECTION, Connection, Effect, Fault, MachineGroup, ProtectionLimit, RouteName, RunError, Script,
    Seed, Span, Status, Throttle, Workflow,
};
use serde_json::json;

use crate::setting::{Setting, Task, impatient, settings, standing_still, world};

/// Lets runs of the flow go like this, one script after the other.
pub fn scripted(setting: &Setting, scripts: Vec<Script>) {
    let flow = Workflow {
        id: BOOK_INVOICE,
        name: "Book invoice".into(),
        scripts,
        ..Workflow::default()
    };
    setting
        .simulator
        .seed(Seed {
            workflows: vec![flow],
            ..Seed::default()
        })
        .unwrap();
}

fn ending(ends: Status, error: Option<(&str, &str)>) -> Script {
    Script {
        ends,
        error: error.map(|(code, message)| RunError {
            code: code.into(),
            message: message.into(),
            details: None,
        }),
        ..Script::default()
    }
}

pub fn wait(setting: &Setting) -> Task {
    setting.start_task("runAndWait", json!({}))
}

#[tokio::test]
async fn a_run_is_started_waited_for_and_its_outputs_are_the_response() {
    let setting = Setting::new().await;
    let done = setting.call(&wait(&setting)).await;

    let run = setting.simulator.sessions()[0].id.to_string();
    let statuses: Vec<&str> = done
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::RunStatus { status, .. } => Some(*status),
            _ => None,
        })
        .collect();
    assert_eq!(statuses.last(), Some(&"Succeeded"));
    assert!(
        statuses.windows(2).all(|two| two[0] != two[1]),
        "only changes: {statuses:?}"
    );

    let response = done.response();
    assert_eq!(response["flowSessionId"], json!(run));
    assert_eq!(response["statusCode"], 4);
    assert_eq!(response["status"], "Succeeded");
    assert_eq!(response["outputs"]["InvoiceId"], "42");
    assert!(response["startedOn"].is_string() && response["completedOn"].is_string());
    assert_eq!(response["licenseCheck"]["code"], "ValidLicenseCoverage");
    assert_eq!(setting.simulator.runs_started(), 1);
    assert_eq!(setting.simulator.tokens_issued(), 1);
}

#[tokio::test]
async fn every_end_without_success_is_an_error_that_the_process_can_catch() {
    let setting = Setting::new().await;
    for (ends, code) in [
        (Status::Skipped, "DESKTOP_FLOW_FAILED"),
        (Status::Cancelled, "DESKTOP_FLOW_CANCELLED"),
        (Status::Failed, "DESKTOP_FLOW_FAILED"),
        (Status::Faulted, "DESKTOP_FLOW_FAILED"),
        (Status::TimedOut, "DESKTOP_FLOW_TIMED_OUT"),
        (Status::Aborted, "DESKTOP_FLOW_FAILED"),
        (Status::Ignored, "DESKTOP_FLOW_FAILED"),
        (Status::Deleted, "DESKTOP_FLOW_FAILED"),
        (Status::Terminated, "DESKTOP_FLOW_FAILED"),
    ] {
        scripted(&setting, vec![ending(ends, Some(("ScriptError", "No such button")))]);
        let error = setting.call(&wait(&setting)).await.error();
        assert_eq!(error.bpmn_error.as_deref(), Some(code), "{ends:?}");
        let variables = error.variables.unwrap();
        assert_eq!(variables["errorCode"], "ScriptError", "{ends:?}");
        assert_eq!(variables["errorMessage"], "No such button");
        assert_eq!(variables["statusCode"], ends.code());
        assert_eq!(
            variables["flowSessionId"],
            setting.simulator.sessions().last().unwrap().id.to_string()
        );
    }
}

#[tokio::test]
async fn what_a_person_must_mend_is_an_incident_and_the_next_try_starts_a_new_run() {
    let setting = Setting::new().await;
    scripted(
        &setting,
        vec![
            ending(
                Status::Failed,
                Some(("AttendedUserNotLoggedIn", "Nobody is signed in.")),
            ),
            Script::default(),
        ],
    );
    let mut task = wait(&setting);
    let error = setting.call(&task).await.error();
    assert_eq!((error.remedy, &error.bpmn_error), (Remedy::Incident, &None));
    assert!(error.message.contains("What to do: "), "{}", error.message);

    task.comes_again_after(&error);
    let response = setting.call(&task).await.response();
    assert_eq!(response["status"], "Succeeded");
    assert_eq!(setting.simulator.runs_started(), 2);
    assert_eq!(task.journal.last().unwrap()["deskhandRun"]["attempt"], 2);
}

#[tokio::test]
async fn a_run_that_never_began_is_tried_again_with_the_tasks_backoff() {
    let setting = Setting::new().await;
    scripted(
        &setting,
        vec![ending(
            Status::Failed,
            Some(("NoListenerConnected", "The machine is offline.")),
        )],
    );
    let mut task = wait(&setting);
    let error = setting.call(&task).await.error();
    assert_eq!(error.remedy, Remedy::RetryAfter(Duration::from_secs(60)));
    task.headers = json!({"retryBackoff": "PT5S"}).to_string();
    assert_eq!(setting.call(&task).await.error().remedy, Remedy::Retry);
}

#[tokio::test]
async fn nothing_that_passes_ends_the_wait_for_a_run() {
    let setting = Setting::new().await;
    let broken = |status| Effect::Status {
        status,
        code: String::new(),
        message: String::new(),
        retry_after: None,
        process: false,
    };
    for (effect, times) in [
        (broken(500), 3),
        (broken(503), 3),
        (broken(408), 3),
        (
            Effect::Throttle(Throttle {
                limit: ProtectionLimit::Concurrent,
                retry_after: Span::ZERO,
                as_date: false,
            }),
            3,
        ),
        (Effect::DropBeforeProcess, 3),
        (Effect::MalformedJson, 3),
        (Effect::TruncatedBody, 3),
        // A second refusal of a token in a row is somebody's turn.
        (Effect::Unauthorized, 1),
    ] {
        let name = format!("{effect:?}");
        setting.fault(Fault::on(RouteName::Session, effect.clone()).times(times));
        setting.fault(Fault::on(RouteName::Outputs, effect).times(times));
        let done = setting.call(&wait(&setting)).await;
        let response = done.result.expect(&name);
        assert_eq!(response["status"], "Succeeded", "{name}");
        assert_eq!(response["outputs"]["InvoiceId"], "42", "{name}");
    }
    assert_eq!(setting.simulator.runs_started(), 8);
}

#[tokio::test]
async fn a_pause_that_dataverse_asks_for_is_kept_while_waiting() {
    let setting = Setting::new().await;
    setting.goes_wrong(
        RouteName::Session,
        Effect::Throttle(Throttle {
            limit: ProtectionLimit::Requests,
            retry_after: Span::seconds(1),
            as_date: false,
        }),
    );
    let began = std::time::Instant::now();
    setting.call(&wait(&setting)).await.response();
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(
        setting.requests(RouteName::Session).len(),
        2,
        "one look before the pause, one after"
    );
}

#[tokio::test]
async fn a_fresh_run_may_be_unreadable_for_a_moment() {
    let setting = Setting::new().await;
    setting.goes_wrong(RouteName::Run, Effect::Hidden(Span::seconds(5)));
    assert_eq!(setting.call(&wait(&setting)).await.response()["status"], "Succeeded");
}

#[tokio::test]
async fn a_run_that_stays_unreadable_is_an_incident_and_is_not_started_again() {
    let setting = Setting::of(world(), impatient()).await;
    setting.goes_wrong(RouteName::Run, Effect::Hidden(Span::seconds(100_000)));
    let mut task = wait(&setting);
    let error = setting.call(&task).await.error();
    assert_eq!(error.code.as_deref(), Some("RUN_LOST"));
    assert_eq!(error.remedy, Remedy::Incident);
    task.variables.extend(task.journal.last().unwrap());
    setting.call(&task).await.error();
    assert_eq!(setting.simulator.runs_started(), 1);
}

#[tokio::test]
async fn a_wait_has_a_ceiling_after_which_the_run_can_be_waited_for_again() {
    let setting = Setting::of(standing_still(), settings()).await;
    let mut task = setting.start_task("runAndWait", json!({"maxWait": "PT1S"}));
    let error = setting.call(&task).await.error();
    assert_eq!(error.code.as_deref(), Some("WAIT_CEILING"));
    assert!(error.message.contains("Waiting"), "{}", error.message);
    assert_eq!(error.remedy, Remedy::Incident);

    setting.simulator.advance(Duration::from_secs(60));
    task.variables.extend(task.journal.last().unwrap());
    assert_eq!(setting.call(&task).await.response()["status"], "Succeeded");
    assert_eq!(setting.simulator.runs_started(), 1);
}

#[tokio::test]
async fn a_run_that_no_machine_takes_is_cancelled_after_the_queue_wait() {
    let setting = Setting::new().await;
    setting
        .simulator
        .seed(Seed {
            connections: vec![Connection {
                name: CONNECTION.into(),
                machine_group: Some("asleep".into()),
                ..Connection::default()
            }],
            machine_groups: vec![MachineGroup {
                name: "asleep".into(),
                online: false,
                ..MachineGroup::default()
            }],
            ..Seed::default()
        })
        .unwrap();
    let task = setting.start_task("runAndWait", json!({"maxQueueWait": "PT10S"}));
    let error = setting.call(&task).await.error();
    assert_eq!(error.bpmn_error.as_deref(), Some("DESKTOP_FLOW_TIMED_OUT"));
    assert_eq!(error.code.as_deref(), Some("MAX_QUEUE_WAIT"));
    assert_eq!(setting.simulator.sessions()[0].status, Status::Cancelled);
    assert_eq!(error.noted()["deskhandRun"]["settled"], "Cancelled");
}

#[tokio::test]
async fn a_lost_job_ends_at_once_and_leaves_its_run_alone() {
    let setting = Setting::of(standing_still(), settings()).await;
    let task = wait(&setting);
    let lost = async {
        while setting.simulator.runs_started() == 0 || task.journal.last().is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        task.abandoned.cancel();
    };
    let (done, ()) = tokio::join!(setting.call(&task), lost);
    assert_eq!(done.error().code.as_deref(), Some("ABANDONED"));
    assert!(setting.requests(RouteName::Cancel).is_empty());
}

#[tokio::test]
async fn who_may_start_a_run_but_not_see_it_is_told_so() {
    let mut world = world();
    world.directory.applications[0].owns_runs = false;
    let setting = Setting::of(world, settings()).await;
    let error = setting.call(&wait(&setting)).await.error();
    assert_eq!(error.remedy, Remedy::Incident);
    assert!(error.message.contains("Owner"), "{}", error.message);
}

#[tokio::test]
async fn a_run_is_settled_by_the_failure_itself_and_by_nothing_else() {
    let setting = Setting::new().await;
    scripted(
        &setting,
        vec![
            ending(
                Status::Failed,
                Some(("AttendedUserNotLoggedIn", "Nobody is signed in.")),
            ),
            Script::default(),
        ],
    );
    let mut task = wait(&setting);
    let error = setting.call(&task).await.error();
    let run = setting.simulator.sessions()[0].id.to_string();
    assert_eq!(error.noted()["deskhandRun"]["settled"], "Failed");
    assert!(task.journal.last().unwrap()["deskhandRun"].get("settled").is_none());

    // The engine did not hear the failure (a crash before it): the same run is looked at again.
    task.comes_again();
    let again = setting.call(&task).await;
    assert!(again.steps.contains(&Step::RunAdopted { run }));
    assert_eq!(again.error().noted(), error.noted());
    assert_eq!(setting.simulator.runs_started(), 1);
}
