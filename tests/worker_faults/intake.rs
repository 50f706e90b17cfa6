//! How much is taken, from where, and what gives it free again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use deskhand::engine::gateway::ActivatedJob;
use tonic::Status;

use super::subject::{Kind, Setup, Subject};
use super::{SOON, Verdict, completed, slow_job, until};
use crate::support::gateway::{Command, FakeGateway, Rpc};
use crate::support::worker::job;

super::against_a_naive_worker! {
    polls_ask_for_no_more_than_pushed_jobs_have_left_free
    a_rejected_command_gives_its_permit_back
    a_panic_gives_its_permit_back
    the_last_job_of_a_batch_is_begun_with_the_first
    the_backlog_is_served_while_pushes_keep_coming
    full_workers_leave_the_jobs_with_the_engine
    jobs_of_a_poll_that_never_ends_are_worked_on
    a_busy_broker_costs_no_lease
    a_broker_whose_clock_is_minutes_away_loses_no_job
}

async fn polls_ask_for_no_more_than_pushed_jobs_have_left_free(kind: Kind) -> Verdict {
    let gateway = FakeGateway::start().await;
    let worker = Subject::start(kind, Setup::new(gateway.address)).await;
    for key in 0..8 {
        gateway.push(job(key, "wait")).await;
    }
    until("8 jobs run", SOON, || worker.running() == 8).await?;
    for key in 100..120 {
        gateway.put_in_backlog(job(key, "work"));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    match gateway.backlog() {
        20 => Ok(()),
        left => Err(format!("{} jobs were taken by a full worker", 20 - left)),
    }
}

async fn a_rejected_command_gives_its_permit_back(kind: Kind) -> Verdict {
    let gateway = FakeGateway::start().await;
    let setup = Setup {
        max_jobs: 2,
        ..Setup::new(gateway.address)
    };
    let _worker = Subject::start(kind, setup).await;
    for key in 0..10 {
        gateway.refuse_next(Rpc::Complete, Status::not_found("no such job was found"));
        let pushed = tokio::time::timeout(SOON, gateway.push(job(key, "work")));
        pushed.await.map_err(|_| format!("job {key} was not read"))?;
        completed(&gateway, key, SOON).await?;
    }
    gateway.push(job(100, "work")).await;
    completed(&gateway, 100, SOON).await
}

async fn a_panic_gives_its_permit_back(kind: Kind) -> Verdict {
    let gateway = FakeGateway::start().await;
    let setup = Setup {
        max_jobs: 2,
        ..Setup::new(gateway.address)
    };
    let _worker = Subject::start(kind, setup).await;
    for key in 0..10 {
        let pushed = tokio::time::timeout(SOON, gateway.push(job(key, "panic")));
        pushed.await.map_err(|_| format!("job {key} was not read"))?;
    }
    gateway.push(job(100, "work")).await;
    completed(&gateway, 100, SOON).await
}

async fn the_last_job_of_a_batch_is_begun_with_the_first(kind: Kind) -> Verdict {
    let gateway = FakeGateway::start().await;
    for key in 0..32 {
        gateway.put_in_backlog(slow_job(key, 100));
    }
    let setup = Setup {
        lease: Duration::from_millis(400),
        ..Setup::new(gateway.address)
    };
    let _worker = Subject::start(kind, setup).await;
    for _ in 0..32 {
        if !matches!(gateway.outcome().await, Command::Complete { .. }) {
            return Err("a job was not completed".into());
        }
    }
    match gateway.late() {
        0 => Ok(()),
        late => Err(format!("{late} jobs were completed after their lease had lapsed")),
    }
}

async fn the_backlog_is_served_while_pushes_keep_coming(kind: Kind) -> Verdict {
    let gateway = Arc::new(FakeGateway::start().await);
    let setup = Setup {
        max_jobs: 2,
        ..Setup::new(gateway.address)
    };
    let _worker = Subject::start(kind, setup).await;
    let pushing = tokio::spawn({
        let gateway = gateway.clone();
        async move {
            for key in 1_000_000.. {
                gateway.push(slow_job(key, 2)).await;
            }
        }
    });
    until("pushed jobs are read", SOON, || {
        gateway.pushed().load(Ordering::SeqCst) > 10
    })
    .await?;
    for key in 0..50 {
        gateway.put_in_backlog(slow_job(key, 2));
    }
    let (mut of_backlog, mut of_pushes) = (0, 0);
    // Both ways have more than enough, so each must come to at least a tenth.
    while of_backlog < 50 && of_backlog + of_pushes < 500 {
        match gateway.outcome().await {
            Command::Complete { key, .. } if key < 1_000 => of_backlog += 1,
            _ => of_pushes += 1,
        }
    }
    pushing.abort();
    match (of_backlog, of_pushes) {
        (50, 6..) => Ok(()),
        seen => Err(format!("{seen:?} jobs of backlog and pushes")),
    }
}

/// What is counted is what the engine has given out and the worker has not begun.
async fn full_workers_leave_the_jobs_with_the_engine(kind: Kind) -> Verdict {
    let gateway = Arc::new(FakeGateway::start().await);
    let worker = Subject::start(kind, Setup::new(gateway.address)).await;
    let pushing = tokio::spawn({
        let gateway = gateway.clone();
        async move {
            for key in 0..5_000 {
                gateway.push(slow_job(key, 100)).await;
            }
        }
    });
    let (begun, pushed) = (worker.begun(), gateway.pushed());
    until("jobs run", SOON, || begun.count() >= 8).await?;
    let mut most = 0;
    while begun.count() < 160 {
        most = most.max(pushed.load(Ordering::SeqCst).saturating_sub(begun.count()));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    pushing.abort();
    println!("unseen jobs of a {kind:?} worker: {most}");
    match most {
        0..=300 => Ok(()),
        _ => Err(format!("{most} jobs lay in buffers while their leases ran")),
    }
}

async fn jobs_of_a_poll_that_never_ends_are_worked_on(kind: Kind) -> Verdict {
    let gateway = FakeGateway::start().await;
    gateway.polls_hang();
    gateway.put_in_backlog(job(1, "work"));
    let _worker = Subject::start(kind, Setup::new(gateway.address)).await;
    completed(&gateway, 1, SOON).await
}

async fn a_busy_broker_costs_no_lease(kind: Kind) -> Verdict {
    let gateway = FakeGateway::start().await;
    let setup = Setup {
        max_jobs: 400,
        lease: Duration::from_secs(3),
        ..Setup::new(gateway.address)
    };
    for key in 0..400 {
        gateway.put_in_backlog(slow_job(key, 4_500));
    }
    // Fewer at once than a careful worker sends: some of its heartbeats are refused too.
    gateway.limit_heartbeats(20, Duration::from_millis(5));
    let _worker = Subject::start(kind, setup).await;
    for _ in 0..400 {
        if !matches!(gateway.outcome().await, Command::Complete { .. }) {
            return Err("a job was not completed".into());
        }
        if gateway.late() > 0 {
            return Err(format!("{} leases were lost", gateway.late()));
        }
    }
    Ok(())
}

async fn a_broker_whose_clock_is_minutes_away_loses_no_job(kind: Kind) -> Verdict {
    for skew in [-600_000, 600_000] {
        let gateway = FakeGateway::start().await;
        let _worker = Subject::start(kind, Setup::new(gateway.address)).await;
        for key in 0..5 {
            let now = std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap();
            let pushed = ActivatedJob {
                deadline: i64::try_from(now.as_millis()).unwrap() + 60_000 + skew,
                ..job(key, "work")
            };
            gateway.push(pushed).await;
            completed(&gateway, key, SOON).await?;
        }
    }
    Ok(())
}
