//! What the worker does with jobs, and what the engine is told: on a fake gateway that speaks the real protocol.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use deskhand::engine::gateway::ActivatedJob;
use deskhand::worker::{self, Ended};
use serde_json::json;
use support::gateway::{Command, FakeGateway, Rpc};
use support::worker::{completed, job, settings, start};
use tonic::{Code, Status};

#[tokio::test]
async fn pushed_jobs_and_jobs_of_the_backlog_are_completed() {
    let gateway = FakeGateway::start().await;
    let worker = start(gateway.url(), settings());
    gateway.put_in_backlog(job(1, "work"));
    assert_eq!(gateway.command().await, completed(1));
    gateway.push(job(2, "work")).await;
    assert_eq!(gateway.command().await, completed(2));
    assert_eq!(worker.stopped().await, Ended::Drained);
}

#[tokio::test]
async fn with_one_permit_both_ways_work() {
    let gateway = FakeGateway::start().await;
    let worker = start(
        gateway.url(),
        worker::Settings {
            max_jobs: 1,
            ..settings()
        },
    );
    for key in 0..10 {
        gateway.push(job(2 * key, "work")).await;
        gateway.put_in_backlog(job(2 * key + 1, "work"));
    }
    let mut keys = Vec::new();
    for _ in 0..20 {
        match gateway.command().await {
            Command::Complete { key, .. } => keys.push(key),
            other => panic!("{other:?}"),
        }
    }
    keys.sort_unstable();
    assert_eq!(keys, (0..20).collect::<Vec<_>>());
    assert_eq!(worker.connector.most_at_once.load(Ordering::SeqCst), 1);
    assert_eq!(gateway.largest_poll(), 1);
}

#[tokio::test]
async fn never_more_jobs_than_permits_whichever_way_they_come() {
    let gateway = FakeGateway::start().await;
    let worker = start(gateway.url(), settings());
    for key in 0..200 {
        gateway.put_in_backlog(job(key, "sleep"));
    }
    for key in 200..260 {
        gateway.push(job(key, "sleep")).await;
    }
    for _ in 0..260 {
        assert!(matches!(gateway.command().await, Command::Complete { .. }));
    }
    let most = worker.connector.most_at_once.load(Ordering::SeqCst);
    assert!((4..=8).contains(&most), "{most} at once");
}

#[tokio::test]
async fn a_panic_fails_its_own_job_and_gives_the_permit_back() {
    let gateway = FakeGateway::start().await;
    let _worker = start(
        gateway.url(),
        worker::Settings {
            max_jobs: 1,
            ..settings()
        },
    );
    for key in 0..5 {
        gateway.push(job(key, "panic")).await;
        match gateway.outcome().await {
            Command::Fail { retries, message, .. } => {
                assert_eq!(retries, 2);
                assert!(
                    message.contains("defect") && !message.contains("on purpose"),
                    "{message}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
    gateway.push(job(9, "work")).await;
    assert_eq!(gateway.outcome().await, completed(9));
}

#[tokio::test]
async fn broken_variables_headers_and_expressions_are_incidents_that_name_the_field() {
    let gateway = FakeGateway::start().await;
    let _worker = start(gateway.url(), settings());
    let broken_variables = ActivatedJob {
        variables: "{".into(),
        ..job(1, "work")
    };
    let list = ActivatedJob {
        variables: "[1]".into(),
        ..job(2, "work")
    };
    let headers = ActivatedJob {
        custom_headers: r#"{"resultVariable": 7}"#.into(),
        ..job(3, "work")
    };
    let expression = ActivatedJob {
        custom_headers: json!({ "resultExpression": "={a: " }).to_string(),
        ..job(4, "work")
    };
    let backoff = ActivatedJob {
        custom_headers: json!({ "retryBackoff": "P1D1S" }).to_string(),
        ..job(5, "work")
    };
    let scalar = ActivatedJob {
        custom_headers: json!({ "resultExpression": "=response.answer" }).to_string(),
        ..job(6, "work")
    };
    for (job, names) in [
        (broken_variables, "variables"),
        (list, "not a JSON object"),
        (headers, "resultVariable"),
        (expression, "resultExpression"),
        (backoff, "retryBackoff"),
        (scalar, "Result expression must return a JSON object"),
    ] {
        let sent = job.key;
        gateway.push(job).await;
        match gateway.outcome().await {
            Command::Fail {
                key, retries, message, ..
            } => {
                assert_eq!((key, retries), (sent, 0), "{message}");
                assert!(message.contains(names), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn the_engine_may_come_later_than_the_worker_and_may_go_and_come_back() {
    let first = FakeGateway::start().await;
    let address = first.address;
    first.die();
    drop(first);
    let worker = start(format!("http://{address}"), settings());
    tokio::time::sleep(Duration::from_millis(300)).await;
    for key in 1..=2 {
        let gateway = FakeGateway::start_at(address).await;
        gateway.push(job(key, "work")).await;
        assert_eq!(gateway.outcome().await, completed(key));
        gateway.die();
    }
    assert_eq!(worker.stopped().await, Ended::Drained);
}

#[tokio::test]
async fn a_stream_that_ends_cleanly_is_opened_again() {
    let gateway = FakeGateway::start().await;
    let _worker = start(gateway.url(), settings());
    for key in 1..=3 {
        gateway.push(job(key, "work")).await;
        assert_eq!(gateway.outcome().await, completed(key));
        gateway.end_streams();
    }
    assert!(gateway.streams_opened() >= 3);
}

#[tokio::test]
async fn a_long_job_keeps_its_lease_by_heartbeats() {
    let gateway = FakeGateway::start().await;
    let lease = Duration::from_millis(300);
    let worker = start(
        gateway.url(),
        worker::Settings {
            job_timeout: lease,
            ..settings()
        },
    );
    gateway.push(job(1, "wait")).await;
    for _ in 0..4 {
        assert_eq!(
            gateway.command().await,
            Command::Extend {
                key: 1,
                timeout_ms: 300
            }
        );
    }
    worker.connector.go_on.notify_one();
    assert_eq!(gateway.outcome().await, completed(1));
}

#[tokio::test]
async fn a_rejected_heartbeat_ends_the_work_and_nothing_more_is_said() {
    let gateway = FakeGateway::start().await;
    let lease = Duration::from_millis(300);
    let worker = start(
        gateway.url(),
        worker::Settings {
            job_timeout: lease,
            ..settings()
        },
    );
    gateway.refuse_next(Rpc::Extend, Status::not_found("no such job"));
    gateway.push(job(1, "wait for a run")).await;
    assert!(matches!(gateway.command().await, Command::Extend { key: 1, .. }));
    assert_eq!(worker.stopped().await, Ended::Drained);
    assert_eq!(gateway.pending().await, vec![]);
}

#[tokio::test]
async fn commands_are_said_again_until_they_are_heard() {
    let gateway = FakeGateway::start().await;
    let _worker = start(gateway.url(), settings());
    gateway.refuse_next(Rpc::Complete, Status::unavailable("leader change"));
    gateway.refuse_next(Rpc::Complete, Status::resource_exhausted("backpressure"));
    gateway.push(job(1, "work")).await;
    for _ in 0..3 {
        assert_eq!(gateway.command().await, completed(1));
    }
    gateway.push(job(2, "work")).await;
    assert_eq!(gateway.command().await, completed(2));
}

#[tokio::test]
async fn an_outcome_too_large_for_the_engine_becomes_an_incident() {
    let gateway = FakeGateway::start().await;
    let _worker = start(gateway.url(), settings());
    let refusals = [
        (
            Code::ResourceExhausted,
            "gRPC message exceeds maximum size 4194304: 5000000",
        ),
        (
            Code::Unknown,
            "Command 'COMPLETE' rejected with code 'EXCEEDED_BATCH_RECORD_SIZE'",
        ),
    ];
    for (key, (code, text)) in (1..).zip(refusals) {
        gateway.refuse_next(Rpc::Complete, Status::new(code, text));
        gateway.push(job(key, "work")).await;
        assert_eq!(gateway.command().await, completed(key));
        match gateway.command().await {
            Command::Fail {
                retries: 0, message, ..
            } => assert!(message.contains("too large"), "{message}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn stopping_waits_for_running_jobs() {
    let gateway = FakeGateway::start().await;
    let worker = start(gateway.url(), settings());
    gateway.push(job(1, "wait")).await;
    while worker.connector.running.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    worker.stop.cancel();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!worker.ended.is_finished());
    worker.connector.go_on.notify_one();
    assert_eq!(gateway.outcome().await, completed(1));
    assert_eq!(worker.stopped().await, Ended::Drained);
}

#[tokio::test]
async fn after_the_grace_waiting_jobs_are_handed_back_with_the_retries_they_have() {
    let gateway = FakeGateway::start().await;
    let worker = start(
        gateway.url(),
        worker::Settings {
            drain_grace: Duration::from_millis(100),
            ..settings()
        },
    );
    gateway.push(job(1, "wait for a run")).await;
    while worker.connector.running.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(worker.stopped().await, Ended::Drained);
    match gateway.outcome().await {
        Command::Fail { key: 1, retries: 3, .. } => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn work_that_cannot_be_handed_back_is_left_to_its_lease_and_counted() {
    let gateway = FakeGateway::start().await;
    let worker = start(
        gateway.url(),
        worker::Settings {
            drain_grace: Duration::from_millis(50),
            ..settings()
        },
    );
    gateway.push(job(1, "wait")).await;
    while worker.connector.running.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(worker.stopped().await, Ended::Left(1));
    assert_eq!(gateway.pending().await, vec![]);
}

#[tokio::test]
async fn a_job_timeout_of_the_task_is_set_before_the_work() {
    let gateway = FakeGateway::start().await;
    let _worker = start(gateway.url(), settings());
    let headers = json!({ "jobTimeout": "PT10M", "resultExpression": "={answer: response.answer}" });
    gateway
        .push(ActivatedJob {
            custom_headers: headers.to_string(),
            ..job(1, "work")
        })
        .await;
    assert_eq!(
        gateway.command().await,
        Command::Extend {
            key: 1,
            timeout_ms: 600_000
        }
    );
    assert_eq!(gateway.command().await, completed(1));
    for text in ["not-a-duration", "PT0S", "PT-10M", "PT0.000000001S"] {
        let headers = json!({ "jobTimeout": text }).to_string();
        gateway
            .push(ActivatedJob {
                custom_headers: headers,
                ..job(2, "work")
            })
            .await;
        match gateway.command().await {
            Command::Fail {
                retries: 0, message, ..
            } => assert!(message.contains("jobTimeout"), "{message}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_job_that_is_given_to_us_again_while_we_work_on_it_is_worked_on_once() {
    let gateway = FakeGateway::start().await;
    let worker = start(gateway.url(), settings());
    gateway.push(job(1, "wait")).await;
    gateway.push(job(1, "wait")).await;
    gateway.push(job(2, "work")).await;
    assert_eq!(gateway.outcome().await, completed(2));
    assert_eq!(worker.connector.most_at_once.load(Ordering::SeqCst), 2);
    worker.connector.go_on.notify_one();
    assert_eq!(gateway.outcome().await, completed(1));
    assert_eq!(worker.stopped().await, Ended::Drained);
    assert_eq!(gateway.pending().await, vec![]);
}

#[tokio::test]
async fn a_pushed_job_that_used_a_third_of_its_lease_in_a_buffer_is_handed_back() {
    let gateway = FakeGateway::start().await;
    let _worker = start(gateway.url(), settings());
    let pushed = |key, ago: Duration| {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let deadline = i64::try_from((now - ago + Duration::from_secs(60)).as_millis()).unwrap();
        ActivatedJob {
            deadline,
            ..job(key, "work")
        }
    };
    gateway.push(pushed(1, Duration::ZERO)).await;
    assert_eq!(gateway.outcome().await, completed(1));
    gateway.push(pushed(2, Duration::from_secs(30))).await;
    assert!(matches!(
        gateway.outcome().await,
        Command::Fail { key: 2, retries: 3, .. }
    ));
    // Its lease is over: whoever has it now must not be disturbed.
    gateway.push(pushed(3, Duration::from_secs(90))).await;
    gateway.push(pushed(4, Duration::ZERO)).await;
    assert_eq!(gateway.outcome().await, completed(4));
}

#[tokio::test]
async fn a_failure_is_not_said_twice_when_the_first_time_may_have_been_heard() {
    let gateway = FakeGateway::start().await;
    let worker = start(gateway.url(), settings());
    gateway.refuse_next(Rpc::Fail, Status::aborted("the connection to the broker closed"));
    gateway.push(job(1, "panic")).await;
    assert!(matches!(gateway.outcome().await, Command::Fail { key: 1, .. }));
    assert_eq!(worker.stopped().await, Ended::Drained);
    assert_eq!(gateway.pending().await, vec![]);
}

#[tokio::test]
async fn a_job_that_only_waits_gives_its_place_to_others_and_gets_one_again() {
    let gateway = FakeGateway::start().await;
    let worker = start(
        gateway.url(),
        worker::Settings {
            max_jobs: 1,
            job_timeout: Duration::from_millis(600),
            ..settings()
        },
    );
    for key in 1..=20 {
        gateway.push(job(key, "park")).await;
    }
    while worker.connector.parked.load(Ordering::SeqCst) < 20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    gateway.push(job(100, "work")).await;
    assert_eq!(gateway.outcome().await, completed(100));
    // Parked jobs keep their leases, and those that come back go before new ones.
    assert!(matches!(gateway.command().await, Command::Extend { .. }));
    worker.connector.go_on.notify_waiters();
    for _ in 0..20 {
        assert!(matches!(gateway.outcome().await, Command::Complete { .. }));
    }
    assert_eq!(worker.stopped().await, Ended::Drained);
}

#[tokio::test]
async fn after_a_suspension_longer_than_the_lease_nothing_is_said_that_could_take_the_job_from_its_new_holder() {
    let gateway = FakeGateway::start().await;
    let clock = worker::Clock::chosen();
    let lease = Duration::from_secs(60);
    let settings = worker::Settings {
        job_timeout: lease,
        drain_grace: Duration::from_millis(100),
        clock: clock.clone(),
        ..settings()
    };
    let worker = start(gateway.url(), settings);
    gateway.push(job(1, "note")).await;
    gateway.push(job(2, "wait for a run")).await;
    while worker.connector.running.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    clock.suspend(lease);
    worker.connector.go_on.notify_waiters();
    // The jump is noticed within a second or two; neither note nor heartbeat nor hand-back is sent.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(worker.stopped().await, Ended::Drained);
    assert_eq!(gateway.pending().await, vec![]);
}

#[tokio::test]
async fn a_suspension_shorter_than_the_lease_is_followed_by_a_heartbeat_at_once() {
    let gateway = FakeGateway::start().await;
    let clock = worker::Clock::chosen();
    let settings = worker::Settings {
        job_timeout: Duration::from_secs(3600),
        clock: clock.clone(),
        ..settings()
    };
    let worker = start(gateway.url(), settings);
    gateway.push(job(1, "wait")).await;
    while worker.connector.running.load(Ordering::SeqCst) < 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    clock.suspend(Duration::from_secs(3000));
    assert!(matches!(gateway.command().await, Command::Extend { key: 1, .. }));
    worker.connector.go_on.notify_one();
    assert_eq!(gateway.outcome().await, completed(1));
}

#[tokio::test]
async fn finished_work_is_offered_although_the_lease_has_lapsed() {
    let gateway = FakeGateway::start().await;
    let clock = worker::Clock::chosen();
    let settings = worker::Settings {
        clock: clock.clone(),
        ..settings()
    };
    let worker = start(gateway.url(), settings);
    gateway.push(job(1, "wait")).await;
    while worker.connector.running.load(Ordering::SeqCst) < 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    clock.suspend(Duration::from_secs(61));
    worker.connector.go_on.notify_one();
    assert_eq!(gateway.command().await, completed(1));
}

#[tokio::test]
async fn a_job_that_its_own_failure_freed_is_taken_again_at_once() {
    let gateway = FakeGateway::start().await;
    let _worker = start(gateway.url(), settings());
    // The engine gives it out again while the worker has not yet heard that its failure was taken.
    gateway.delay(Rpc::Fail, Duration::from_millis(200));
    gateway.push(job(1, "panic")).await;
    assert!(matches!(gateway.command().await, Command::Fail { key: 1, .. }));
    gateway.push(job(1, "work")).await;
    assert_eq!(gateway.command().await, completed(1));
}
