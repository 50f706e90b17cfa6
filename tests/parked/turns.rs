//! Starts that wait for their turn.

use std::collections::BTreeSet;
use std::time::Duration;

use deskhand::engine::gateway::ActivatedJob;
use deskhand::metrics::metrics;
use deskhand::runs::turns::{Limit, Pattern};
use deskhand::sandbox::power_automate::{BOOK_INVOICE, CONNECTION, RouteName, World};
use deskhand::worker::Ended;
use serde_json::json;

use crate::setting::{Setting, flows, settings, work};
use crate::support::gateway::{Command, FakeGateway};

fn world() -> World {
    let mut world = World::default();
    world.clock.speed = 0.001;
    world.limits.starts_per_connection = 100_000;
    world
}

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap()
}

/// The outcomes of so many jobs; each succeeds.
async fn completed(setting: &Setting, jobs: usize) -> BTreeSet<i64> {
    let mut done = BTreeSet::new();
    while done.len() < jobs {
        let outcome = setting.gateway.outcome().await;
        let Command::Complete { key, .. } = outcome else {
            panic!("every run succeeds: {outcome:?}");
        };
        done.insert(key);
    }
    done
}

/// What the metric says; the tests beside this one count in it too.
fn waiting_for_the_pace() -> usize {
    let text = metrics().text();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("deskhand_starts_waiting{reason=\"pace\"} "));
    line.map_or(0, |number| number.parse().unwrap())
}

#[tokio::test]
async fn starts_over_the_pace_wait_parked_and_keep_their_tries_and_their_order() {
    let mut flows = flows();
    flows.turns.starts_per_minute = 5;
    let setting = Setting::of(world(), settings(), flows, false).await;
    for key in 0..9 {
        setting.push(key..key + 1).await;
        let begun = usize::try_from(key + 1).unwrap();
        setting
            .until("it starts or stands in line", |setting| {
                setting.simulator.runs_started() + setting.turns.waiting() == begun
            })
            .await;
    }
    assert_eq!(
        setting.simulator.runs_started(),
        5,
        "of two permits, none is taken by those that wait"
    );
    setting
        .until("the metric says that they wait", |_| waiting_for_the_pace() >= 4)
        .await;
    setting.simulator.advance(Duration::from_secs(60));
    assert_eq!(completed(&setting, 5).await, BTreeSet::from_iter(0..5));
    let waiting = setting.gateway.pending().await;
    assert!(
        !waiting.iter().any(|command| matches!(command, Command::Fail { .. })),
        "{waiting:?}"
    );

    // Who stops meanwhile hands them back as they came, and nothing of them was sent.
    setting.stop.cancel();
    let mut back = BTreeSet::new();
    while back.len() < 4 {
        let Command::Fail {
            key,
            retries: 3,
            backoff_ms: 0,
            ..
        } = setting.gateway.outcome().await
        else {
            panic!("they are handed back");
        };
        back.insert(key);
    }
    assert_eq!(back, BTreeSet::from_iter(5..9));
    assert_eq!(setting.requests(&[RouteName::Run]), 5);
    assert_eq!(setting.stopped().await, Ended::Drained);
}

#[tokio::test]
async fn as_many_runs_of_a_machine_group_go_on_as_its_limit_allows() {
    let mut flows = flows();
    flows.turns.limits = vec![Limit {
        connections: vec![pattern(CONNECTION)],
        max_running: 3,
    }];
    let setting = Setting::of(world(), settings(), flows, false).await;
    setting.push(0..10).await;
    let mut done = BTreeSet::new();
    for round in 1..=4 {
        let started = (round * 3).min(10);
        setting
            .until("as many runs as may", |setting| {
                setting.simulator.runs_started() == started && setting.turns.waiting() == 10 - started
            })
            .await;
        setting.simulator.advance(Duration::from_secs(60));
        done.extend(completed(&setting, started - done.len()).await);
    }
    assert_eq!(done.len(), 10);
    assert_eq!(setting.stopped().await, Ended::Drained);
}

#[tokio::test]
async fn runs_that_were_adopted_and_runs_that_nobody_waits_for_count_as_well() {
    let mut flows = flows();
    flows.turns.max_running = Some(1);
    let setting = Setting::of(world(), settings(), flows, false).await;
    let trigger = |key| setting.job(key, json!({"operationType": "triggerFlowRun"}));
    setting.gateway.push(trigger(1)).await;
    let Command::Complete { key: 1, .. } = setting.gateway.outcome().await else {
        panic!("it was started");
    };
    // The next activation of a job whose first holder is gone.
    let run = setting.simulator.sessions()[0].id.to_string();
    let entry = json!({"version": 1, "elementInstance": "1000002", "attempt": 1, "flowSessionId": run});
    setting
        .gateway
        .push(setting.job(2, json!({"deskhandRun": entry})))
        .await;
    setting.gateway.push(trigger(3)).await;
    setting.until("it waits", |setting| setting.turns.waiting() == 1).await;
    assert_eq!(setting.simulator.runs_started(), 1);
    setting.simulator.advance(Duration::from_secs(60));
    assert_eq!(completed(&setting, 2).await, BTreeSet::from([2, 3]));
    assert_eq!(setting.simulator.runs_started(), 2);
}

#[tokio::test]
async fn a_pause_stops_new_starts_while_waits_go_on() {
    let setting = Setting::of(world(), settings(), flows(), false).await;
    setting.push(0..3).await;
    setting.asleep(3).await;
    setting.turns.pause(pattern(&BOOK_INVOICE.to_string()));
    setting.push(3..6).await;
    setting.until("they wait", |setting| setting.turns.waiting() == 3).await;
    setting.simulator.advance(Duration::from_secs(60));
    assert_eq!(completed(&setting, 3).await, BTreeSet::from_iter(0..3));
    assert_eq!(setting.simulator.runs_started(), 3);
    setting.turns.resume(None);
    setting
        .until("they start", |setting| setting.simulator.runs_started() == 6)
        .await;
    setting.simulator.advance(Duration::from_secs(60));
    assert_eq!(completed(&setting, 3).await, BTreeSet::from_iter(3..6));
}

#[tokio::test]
async fn a_start_that_waits_leaves_the_line_with_its_task() {
    let mut flows = flows();
    flows.timeouts.start = Duration::from_secs(1);
    let settings = deskhand::worker::Settings {
        job_timeout: Duration::from_secs(3),
        ..settings()
    };
    let setting = Setting::of(world(), settings, flows, false).await;
    setting.turns.pause(pattern("*"));
    let gone = tonic::Status::new(tonic::Code::NotFound, "no such job");
    setting.gateway.refuse_next(crate::support::gateway::Rpc::Extend, gone);
    setting.push(7..8).await;
    setting.until("it waits", |setting| setting.turns.waiting() == 1).await;
    setting
        .until("it is gone", |setting| setting.turns.waiting() == 0)
        .await;
    setting.turns.resume(None);
    assert_eq!(setting.requests(&[RouteName::Run, RouteName::Cancel]), 0);
    assert_eq!(setting.stopped().await, Ended::Drained);
}

#[tokio::test]
async fn a_start_of_the_rest_template_waits_for_its_turn_as_well() {
    let setting = Setting::of(world(), settings(), flows(), false).await;
    setting.turns.pause(pattern(CONNECTION));
    let token = deskhand::sandbox::power_automate::CLIENT_ID;
    let variables = json!({
        "url": format!("{}/api/data/v9.2/workflows({BOOK_INVOICE})/Microsoft.Dynamics.CRM.RunDesktopFlow", setting.simulator.organization()),
        "method": "POST",
        "authentication": {
            "type": "oauth-client-credentials-flow",
            "oauthTokenEndpoint": setting.simulator.token_endpoint(),
            "clientId": token.to_string(),
            "clientSecret": "demo-client-secret",
            "clientAuthentication": "basicAuthHeader",
            "scopes": format!("{}/.default", setting.simulator.organization()),
        },
        "body": {"runMode": "unattended", "connectionName": CONNECTION, "inputs": {"InvoiceId": "9"}},
    });
    let job = ActivatedJob {
        key: 9,
        r#type: "io.camunda:http-json:1".into(),
        custom_headers: json!({"resultExpression": "={run: response.body.flowsessionId}"}).to_string(),
        variables: variables.to_string(),
        ..setting.job(9, json!({}))
    };
    setting.gateway.push(job).await;
    setting.until("it waits", |setting| setting.turns.waiting() == 1).await;
    setting.turns.resume(None);
    let Command::Complete { key: 9, variables } = setting.gateway.outcome().await else {
        panic!("it was started");
    };
    assert_eq!(variables["run"], setting.simulator.sessions()[0].id.to_string());
    assert_eq!(setting.requests(&[RouteName::Run]), 1);
}

/// Jobs of one process instance; each is another entry into the task.
fn of_one_instance(setting: &Setting, key: i64) -> ActivatedJob {
    ActivatedJob {
        process_instance_key: 77,
        ..setting.job(key, json!({"exclusive": true}))
    }
}

#[tokio::test]
async fn an_exclusive_task_waits_for_earlier_runs_of_its_process_instance_whoever_started_them() {
    let mut flows = flows();
    flows.once.token_url = Some("https://tokens.example.com/".into());
    let setting = Setting::of(world(), settings(), flows.clone(), false).await;
    // Another replica starts a run, and is gone.
    let gateway = FakeGateway::start().await;
    let (_, stop, working) = work(&gateway, settings(), flows);
    gateway.push(of_one_instance(&setting, 1)).await;
    setting.asleep(1).await;
    stop.cancel();
    working.await.unwrap();

    for key in 2..=3 {
        setting.gateway.push(of_one_instance(&setting, key)).await;
    }
    setting.push(4..5).await;
    setting
        .until("the job of another instance starts", |setting| {
            setting.simulator.runs_started() == 2
        })
        .await;
    setting
        .until("one is next", |setting| setting.turns.waiting() <= 1)
        .await;
    assert_eq!(setting.simulator.runs_started(), 2);
    for started in 3..=4 {
        setting.simulator.advance(Duration::from_secs(60));
        setting
            .until("the next one starts", |setting| {
                setting.simulator.runs_started() == started
            })
            .await;
    }
    setting.simulator.advance(Duration::from_secs(60));
    assert_eq!(completed(&setting, 3).await, BTreeSet::from([2, 3, 4]));
    // No two runs of the instance went on at once.
    let mut runs: Vec<_> = setting
        .simulator
        .sessions()
        .into_iter()
        .filter(|run| run.callback_url.as_deref().is_some_and(|url| url.contains(".4d.")))
        .collect();
    runs.sort_by(|one, other| one.created.cmp(&other.created));
    assert_eq!(runs.len(), 3);
    for two in runs.windows(2) {
        assert!(two[0].completed.as_ref().unwrap() <= &two[1].created, "{two:?}");
    }
}

#[tokio::test]
async fn an_exclusive_task_without_a_carrier_is_an_incident_that_says_what_it_needs() {
    let setting = Setting::of(world(), settings(), flows(), false).await;
    setting.gateway.push(of_one_instance(&setting, 1)).await;
    let Command::Fail {
        retries: 0, message, ..
    } = setting.gateway.outcome().await
    else {
        panic!("it cannot be kept");
    };
    assert!(message.contains("desktop_flow.token_url"), "{message}");
    assert_eq!(setting.simulator.runs_started(), 0);
}
