//! Streams and connections that break, hang or only look alive.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::half_open::Vanishing;
use super::proxy::PingCounter;
use super::subject::{Kind, Setup, Subject};
use super::{SOON, Verdict, completed, until};
use crate::support::gateway::FakeGateway;
use crate::support::worker::job;
use deskhand::engine::Resolver;
use deskhand::engine::gateway::ActivatedJob;

super::against_a_naive_worker! {
    streams_that_nobody_reads_do_not_hold_up_acknowledgements
    a_stream_that_is_silently_dead_is_opened_again
    a_stream_that_ends_cleanly_is_opened_again
    a_gateway_that_says_goaway_is_followed_to_its_successor
    pings_are_rarer_than_a_gateway_allows
    a_peer_that_vanishes_without_a_word_is_found_out
    a_gateway_that_moved_is_found_at_its_new_address
}

async fn streams_that_nobody_reads_do_not_hold_up_acknowledgements(kind: Kind) -> Verdict {
    let gateway = std::sync::Arc::new(FakeGateway::start().await);
    let types = &["test:task:1", "test:stuck-a", "test:stuck-b", "test:stuck-c"];
    let setup = Setup {
        max_jobs: 1,
        job_types: types,
        ..Setup::new(gateway.address)
    };
    let worker = Subject::start(kind, setup).await;
    for job_type in &types[1..] {
        let gateway = gateway.clone();
        tokio::spawn(async move {
            for key in 0..40 {
                gateway
                    .push(ActivatedJob {
                        r#type: (*job_type).into(),
                        custom_headers: format!(r#"{{"long": "{}"}}"#, "x".repeat(100_000)),
                        ..job(key, "wait")
                    })
                    .await;
            }
        });
    }
    // The windows fill up; the pushers stand still.
    let pushed = gateway.pushed();
    let mut before = usize::MAX;
    while before != pushed.load(Ordering::SeqCst) {
        before = pushed.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    for key in 1_000..1_005 {
        let pushing = tokio::time::timeout(SOON, gateway.push(job(key, "work")));
        pushing
            .await
            .map_err(|_| "a job of the free type was not read".to_owned())?;
        completed(&gateway, key, SOON).await?;
    }
    drop(worker);
    Ok(())
}

async fn a_stream_that_is_silently_dead_is_opened_again(kind: Kind) -> Verdict {
    let gateway = FakeGateway::start().await;
    gateway.streams_are_dead(true);
    let _worker = Subject::start(kind, Setup::new(gateway.address)).await;
    until("a stream is opened", SOON, || gateway.streams_opened() == 1).await?;
    gateway.streams_are_dead(false);
    // What the engine cannot push goes into the backlog.
    for key in 0..200 {
        gateway.put_in_backlog(job(key, "work"));
        completed(&gateway, key, SOON).await?;
        if gateway.streams_opened() > 1 {
            gateway.push(job(1_000, "work")).await;
            return completed(&gateway, 1_000, SOON).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err("the dead stream was kept".into())
}

async fn a_stream_that_ends_cleanly_is_opened_again(kind: Kind) -> Verdict {
    let gateway = FakeGateway::start().await;
    let _worker = Subject::start(kind, Setup::new(gateway.address)).await;
    for opened in 1..=3 {
        until("a stream is opened", SOON, || gateway.streams_opened() >= opened).await?;
        gateway.end_streams();
    }
    Ok(())
}

async fn a_gateway_that_says_goaway_is_followed_to_its_successor(kind: Kind) -> Verdict {
    let gateway = FakeGateway::start().await;
    let address = gateway.address;
    let _worker = Subject::start(kind, Setup::new(address)).await;
    gateway.push(job(1, "work")).await;
    completed(&gateway, 1, SOON).await?;
    gateway.go_away();
    tokio::time::sleep(Duration::from_millis(200)).await;
    gateway.die();
    let next = FakeGateway::start_at(address).await;
    until("a stream is opened", SOON, || next.streams_opened() > 0).await?;
    next.push(job(2, "work")).await;
    completed(&next, 2, SOON).await
}

async fn pings_are_rarer_than_a_gateway_allows(kind: Kind) -> Verdict {
    let gateway = FakeGateway::start().await;
    let proxy = PingCounter::start(gateway.address).await;
    let setup = Setup {
        poll_interval: Duration::from_secs(60),
        ..Setup::new(proxy.address)
    };
    let _worker = Subject::start(kind, setup).await;
    gateway.push(job(1, "work")).await;
    completed(&gateway, 1, SOON).await?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    // The gateway ends a connection whose pings come more often than each 30 s.
    match proxy.pings.load(Ordering::SeqCst) {
        0 => Ok(()),
        pings => Err(format!("{pings} pings in 4 s")),
    }
}

async fn a_peer_that_vanishes_without_a_word_is_found_out(kind: Kind) -> Verdict {
    let gateway = FakeGateway::start().await;
    let proxy = Vanishing::start(gateway.address).await;
    let setup = Setup {
        keep_alive: Duration::from_secs(1),
        ..Setup::new(proxy.address)
    };
    let _worker = Subject::start(kind, setup).await;
    gateway.push(job(1, "work")).await;
    completed(&gateway, 1, SOON).await?;
    let before = gateway.streams_opened();
    proxy.vanish();
    // A ping and its patience, and then some: no word of the connection's end will ever come.
    let bound = 5 * SOON;
    until("a new stream is opened", bound, || gateway.streams_opened() > before).await?;
    gateway.push(job(2, "work")).await;
    completed(&gateway, 2, bound).await
}

async fn a_gateway_that_moved_is_found_at_its_new_address(kind: Kind) -> Verdict {
    let gateway = FakeGateway::start().await;
    let address = Arc::new(Mutex::new(gateway.address));
    let answer = address.clone();
    let setup = Setup {
        resolver: Some(Resolver::new(move |host, _| {
            assert_eq!(host, "localhost");
            Ok(vec![*answer.lock().unwrap()])
        })),
        ..Setup::new(gateway.address)
    };
    let _worker = Subject::start(kind, setup).await;
    gateway.push(job(1, "work")).await;
    completed(&gateway, 1, SOON).await?;
    let next = FakeGateway::start().await;
    *address.lock().unwrap() = next.address;
    gateway.die();
    until("a stream is opened", SOON, || next.streams_opened() > 0).await?;
    next.push(job(2, "work")).await;
    completed(&next, 2, SOON).await
}
