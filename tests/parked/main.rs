//! Jobs that sleep while their runs go on, or until it is their turn to start one.

#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]

mod peers;
mod setting;
#[path = "../support/mod.rs"]
mod support;
mod turns;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use deskhand::engine::gateway::ActivatedJob;
use deskhand::http::Client;
use deskhand::sandbox::power_automate::{CallbackMode, Effect, Fault, RouteName, Status, World};
use deskhand::worker::{self, Ended};
use serde_json::json;
use setting::{Setting, flows, settings};
use support::gateway::{Command, Rpc};
use tonic::Code;

#[tokio::test]
async fn jobs_that_wait_take_no_place_from_others_and_each_gets_its_own_outputs() {
    let setting = Setting::new(settings()).await;
    setting.push(0..30).await;
    setting.asleep(30).await;
    setting.simulator.advance(Duration::from_secs(60));
    let mut answered = BTreeSet::new();
    while answered.len() < 30 {
        let Command::Complete { key, variables } = setting.gateway.outcome().await else {
            panic!("every run succeeds");
        };
        assert_eq!(variables, json!({"invoice": key.to_string()}));
        assert!(answered.insert(key), "{key} twice");
    }
    assert_eq!(setting.simulator.runs_started(), 30);
    assert_eq!(setting.stopped().await, Ended::Drained);
}

#[tokio::test]
async fn with_the_car_park_full_jobs_wait_in_their_running_places() {
    let setting = Setting::new(worker::Settings {
        max_parked: 1,
        ..settings()
    })
    .await;
    setting.push(0..3).await;
    setting.asleep(3).await;
    setting.gateway.put_in_backlog(setting.job(3, json!({})));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(setting.simulator.runs_started(), 3, "there is no place for a fourth");
    setting.simulator.advance(Duration::from_secs(60));
    setting
        .until("the fourth starts", |setting| setting.simulator.runs_started() == 4)
        .await;
    setting.simulator.advance(Duration::from_secs(60));
    for _ in 0..4 {
        assert!(matches!(setting.gateway.outcome().await, Command::Complete { .. }));
    }
}

/// A setting in which the first heartbeat comes soon.
async fn with_a_short_lease() -> Setting {
    let mut world = World::default();
    world.clock.speed = 0.001;
    let mut flows = flows();
    // A start must fit into the lease.
    flows.timeouts.start = Duration::from_secs(1);
    let settings = worker::Settings {
        job_timeout: Duration::from_secs(3),
        ..settings()
    };
    Setting::of(world, settings, flows, false).await
}

#[tokio::test]
async fn a_parked_job_among_few_keeps_a_lease_of_its_own_length() {
    let setting = with_a_short_lease().await;
    setting.push(7..8).await;
    // Should this process die, another takes over as fast as for a job that is worked on.
    for _ in 0..3 {
        let Command::Extend { key: 7, timeout_ms } = next_extend(&setting).await else {
            panic!("a heartbeat of the job");
        };
        assert_eq!(timeout_ms, 3_000);
    }
}

async fn next_extend(setting: &Setting) -> Command {
    loop {
        let command = setting.gateway.command().await;
        if matches!(command, Command::Extend { .. }) {
            return command;
        }
    }
}

#[tokio::test]
async fn the_run_of_a_task_that_is_gone_is_cancelled() {
    let setting = with_a_short_lease().await;
    setting
        .gateway
        .refuse_next(Rpc::Extend, tonic::Status::new(Code::NotFound, "no such job"));
    setting.push(7..8).await;
    setting
        .until("the run is cancelled", |setting| {
            setting.requests(&[RouteName::Cancel]) == 1
        })
        .await;
    setting.simulator.advance(Duration::from_secs(5));
    assert_eq!(setting.simulator.sessions()[0].status, Status::Cancelled);
    assert_eq!(setting.stopped().await, Ended::Drained);
}

#[tokio::test]
async fn a_run_goes_on_without_its_task_if_the_task_wants_it_so() {
    let setting = with_a_short_lease().await;
    setting
        .gateway
        .refuse_next(Rpc::Extend, tonic::Status::new(Code::NotFound, "no such job"));
    setting
        .gateway
        .push(setting.job(7, json!({"cancelOnAbort": false})))
        .await;
    next_extend(&setting).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(setting.requests(&[RouteName::Cancel]), 0);
    assert_eq!(setting.stopped().await, Ended::Drained);
}

#[tokio::test]
async fn a_run_that_was_over_is_not_cancelled() {
    let setting = with_a_short_lease().await;
    setting
        .gateway
        .refuse_next(Rpc::Extend, tonic::Status::new(Code::NotFound, "no such job"));
    // Nobody sees that the run is over before the heartbeat tells that the task is gone.
    let unseen = Fault {
        times: None,
        ..Fault::on(
            RouteName::Session,
            Effect::Status {
                status: 500,
                code: String::new(),
                message: String::new(),
                retry_after: None,
                process: false,
            },
        )
    };
    setting.simulator.add_fault(unseen).unwrap();
    setting.push(7..8).await;
    setting.asleep(1).await;
    setting.simulator.advance(Duration::from_secs(60));
    next_extend(&setting).await;
    setting.simulator.clear_faults();
    let before = setting.looks();
    setting
        .until("it is looked at", |setting| setting.looks() > before)
        .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(setting.requests(&[RouteName::Cancel]), 0);
}

#[tokio::test]
async fn a_job_that_may_be_anothers_is_let_go_and_its_run_left_alone() {
    let setting = with_a_short_lease().await;
    let status = tonic::Status::new(Code::FailedPrecondition, "but it is not active");
    setting.gateway.refuse_next(Rpc::Extend, status);
    setting.push(7..8).await;
    next_extend(&setting).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(setting.requests(&[RouteName::Cancel]), 0);

    // When it comes back it is taken again; the engine brings its journal along, and the run is adopted.
    let run = setting.simulator.sessions()[0].id.to_string();
    let entry = json!({"version": 1, "elementInstance": "1000007", "attempt": 1, "flowSessionId": run});
    setting
        .gateway
        .push(setting.job(7, json!({"deskhandRun": entry})))
        .await;
    setting.simulator.advance(Duration::from_secs(60));
    let outcome = setting.gateway.outcome().await;
    assert!(matches!(outcome, Command::Complete { key: 7, .. }), "{outcome:?}");
    assert_eq!(setting.simulator.runs_started(), 1);
}

#[tokio::test]
async fn a_parked_job_that_the_engine_gives_to_us_again_is_merged() {
    let setting = Setting::new(settings()).await;
    setting.push(7..8).await;
    setting.asleep(1).await;
    for _ in 0..3 {
        setting.push(7..8).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    setting.simulator.advance(Duration::from_secs(60));
    assert!(matches!(
        setting.gateway.outcome().await,
        Command::Complete { key: 7, .. }
    ));
    assert_eq!(setting.simulator.runs_started(), 1);
    assert_eq!(setting.stopped().await, Ended::Drained);
}

#[tokio::test]
async fn a_worker_that_stops_hands_all_parked_jobs_back_at_once_and_unharmed() {
    let setting = Setting::new(settings()).await;
    setting.push(0..40).await;
    setting.asleep(40).await;
    setting.gateway.pending().await;
    let began = Instant::now();
    setting.stop.cancel();
    let mut back = BTreeSet::new();
    while back.len() < 40 {
        let Command::Fail {
            key,
            retries,
            backoff_ms,
            ..
        } = setting.gateway.outcome().await
        else {
            panic!("nothing has ended");
        };
        assert_eq!((retries, backoff_ms), (3, 0));
        back.insert(key);
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(setting.requests(&[RouteName::Cancel]), 0);
    assert_eq!(setting.stopped().await, Ended::Drained);
}

#[tokio::test]
async fn a_failed_run_is_told_with_its_reasons_after_the_sleep() {
    let setting = Setting::new(settings()).await;
    let job = ActivatedJob {
        custom_headers: "{}".into(),
        ..setting.job(7, json!({"maxWait": "PT1S"}))
    };
    setting.gateway.push(job).await;
    let Command::Fail {
        key: 7,
        retries: 0,
        message,
        ..
    } = setting.gateway.outcome().await
    else {
        panic!("the wait has a ceiling");
    };
    assert!(message.contains("maxWait"), "{message}");
}

#[tokio::test]
async fn a_callback_completes_the_job_at_once_however_often_it_comes() {
    for mode in [CallbackMode::Once, CallbackMode::Duplicate] {
        let setting = Setting::with_callbacks(mode).await;
        setting.push(0..3).await;
        setting.asleep(3).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        setting.simulator.advance(Duration::from_secs(60));
        let began = Instant::now();
        let mut done = BTreeSet::new();
        for _ in 0..3 {
            let Command::Complete { key, variables } = setting.gateway.outcome().await else {
                panic!("every run succeeds");
            };
            assert_eq!(variables, json!({"invoice": key.to_string()}));
            done.insert(key);
        }
        assert_eq!(done.len(), 3);
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        assert!(setting.receiver.as_ref().unwrap().figures().heard >= 3);
        assert_eq!(setting.stopped().await, Ended::Drained);
    }
}

#[tokio::test]
async fn a_callback_that_lies_or_is_forged_completes_nothing() {
    for mode in [CallbackMode::Lie, CallbackMode::Early, CallbackMode::Forged] {
        let setting = Setting::with_callbacks(mode).await;
        setting.push(7..8).await;
        setting.asleep(1).await;
        setting
            .until("the callback has come", |setting| {
                !setting.simulator.callbacks().is_empty() || {
                    setting.simulator.advance(Duration::from_secs(20));
                    false
                }
            })
            .await;
        let all = setting.simulator.sessions();
        if all[0].completed.is_none() {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let outcomes = setting.gateway.pending().await;
            let outcomes = outcomes
                .iter()
                .filter(|command| matches!(command, Command::Complete { .. }));
            assert_eq!(outcomes.count(), 0, "{mode:?}");
        }
        assert_eq!(setting.simulator.runs_started(), 1);
    }
}

#[tokio::test]
async fn who_does_not_know_the_token_moves_nothing() {
    let setting = Setting::with_callbacks(CallbackMode::Never).await;
    setting.push(7..8).await;
    setting.asleep(1).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let session = setting.simulator.sessions().remove(0);
    let url = session.callback_url.unwrap();
    assert!(url.contains("/hooks/dh1."), "{url}");
    let (run, looks) = (session.id.to_string(), setting.looks());
    let call = |url: String| {
        let run = run.clone();
        async move {
            let body = json!({"flowsessionid": run, "statuscode": 4}).to_string();
            let mut request = deskhand::http::Request::new(deskhand::http::Method::POST, url.parse().unwrap());
            request.body = Some(body.into_bytes());
            Client::new().unwrap().send(request).await.unwrap().status
        }
    };
    // The same task, another random part; and no token at all.
    let forged = format!("{}{}", &url[..url.len() - 4], "0000");
    assert_eq!(call(forged).await, 202);
    assert_eq!(call(url.rsplit_once('/').unwrap().0.to_owned()).await, 202);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(setting.looks(), looks);
    assert_eq!(setting.receiver.as_ref().unwrap().figures().strange, 2);
    assert_eq!(call(url).await, 202);
    setting
        .until("it is looked at", |setting| setting.looks() > looks)
        .await;
}
