//! Many waits at once: how little Dataverse is asked, and what one look tells all.

use std::time::{Duration, Instant};

use deskhand::http::Client;
use deskhand::microsoft::dataverse::{Credential, Dataverse, End, Gates, Guid, Organization, Timeouts};
use deskhand::runs::watcher::{Hint, Settings};
use deskhand::runs::{Bounds, Pace, Run, WaitError, Watcher};
use deskhand::sandbox::power_automate::{
    BOOK_INVOICE, CONNECTION, Effect, Fault, ProtectionLimit, RouteName, Simulator, Span, Throttle, World,
};
use futures_util::future::join_all;

use crate::setting::standing_still;

const NONCE: [u8; 16] = [7; 16];
const ALL_DAY: Duration = Duration::from_secs(86_400);

struct Setting {
    simulator: Simulator,
    dataverse: Dataverse,
    watcher: Watcher,
}

fn settings() -> Settings {
    Settings {
        pace: Pace {
            first: Duration::from_millis(20),
            factor: 1.5,
            longest: Duration::from_millis(100),
            jitter: 0.2,
        },
        missing_grace: Duration::from_millis(300),
        queries_per_second: 1000.0,
        ..Settings::default()
    }
}

/// A world in which runs end when the clock is pushed, and a connection can start many.
fn crowded() -> World {
    let mut world = standing_still();
    world.limits.starts_per_connection = 100_000;
    world
}

impl Setting {
    async fn new(settings: Settings) -> Self {
        let simulator = Simulator::start(([127, 0, 0, 1], 0).into(), crowded()).await.unwrap();
        let dataverse = Dataverse::behind(
            &Gates::default(),
            Client::new().unwrap(),
            Organization::parse(&simulator.organization(), &[]).unwrap(),
            Credential::Bearer(simulator.token().unwrap().into()),
            Timeouts::default(),
        );
        Self {
            simulator,
            dataverse,
            watcher: Watcher::new(settings),
        }
    }

    /// Starts runs, and tells their ids.
    async fn started(&self, runs: usize) -> Vec<Guid> {
        let dataverse = &self.dataverse;
        let sending = deskhand::microsoft::dataverse::workflows::Sending {
            within: Duration::from_secs(10),
            last_look: None,
        };
        let request = deskhand::microsoft::dataverse::workflows::RunRequest {
            others: serde_json::Map::new(),
            run_mode: "unattended".into(),
            run_priority: None,
            connection_name: CONNECTION.into(),
            connection_type: None,
            timeout: None,
            inputs: None,
            callback_url: None,
        };
        let flow = Guid::parse(&BOOK_INVOICE.to_string()).unwrap();
        let mut ids = Vec::new();
        for _ in 0..runs {
            ids.push(dataverse.start_run(&flow, &request, &sending).await.unwrap().id);
        }
        ids
    }

    fn run(&self, id: Guid) -> Run {
        Run {
            dataverse: self.dataverse.clone(),
            id,
            bounds: Bounds {
                ceiling: ALL_DAY,
                max_queue_wait: None,
                longest_pause: None,
            },
            nonce: Some(NONCE),
        }
    }

    fn looks(&self) -> usize {
        let looks = |request: &deskhand::sandbox::power_automate::RequestRecord| {
            matches!(request.route, RouteName::Session | RouteName::Sessions)
        };
        self.simulator
            .requests()
            .iter()
            .filter(|request| looks(request))
            .count()
    }
}

#[tokio::test]
async fn one_query_asks_for_a_hundred_runs_and_all_learn_their_end() {
    let setting = Setting::new(settings()).await;
    let ids = setting.started(80).await;
    let waits = ids.iter().map(|id| {
        let run = setting.run(*id);
        let watcher = setting.watcher.clone();
        tokio::spawn(async move { watcher.wait(&run, |_| {}).await })
    });
    let waits: Vec<_> = waits.collect();
    while setting.watcher.figures().asked_for < 400 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let figures = setting.watcher.figures();
    assert_eq!(figures.waiting, 80);
    assert!(
        figures.asked_for >= 60 * figures.queries,
        "queries are nearly full: {figures:?}"
    );
    setting.simulator.advance(Duration::from_secs(60));
    for wait in join_all(waits).await {
        assert_eq!(wait.unwrap().unwrap().end, End::Succeeded);
    }
    assert_eq!(setting.watcher.figures().waiting, 0);
    let looks = setting.looks();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(setting.looks(), looks, "nobody waits, nobody asks");
}

#[tokio::test]
async fn with_many_runs_one_query_for_what_ended_tells_all() {
    // Looks by id are made so rare that only the query for what changed can tell in time.
    let setting = Setting::new(Settings {
        queries_per_second: 0.2,
        ..settings()
    })
    .await;
    let ids = setting.started(600).await;
    let waits: Vec<_> = ids
        .iter()
        .map(|id| {
            let run = setting.run(*id);
            let watcher = setting.watcher.clone();
            tokio::spawn(async move { watcher.wait(&run, |_| {}).await })
        })
        .collect();
    // Every run was looked at once, and Dataverse's clock was read.
    while setting.watcher.figures().asked_for < 600 || setting.looks() < 9 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    setting.simulator.advance(Duration::from_secs(60));
    let (before, began) = (setting.watcher.figures(), Instant::now());
    for wait in join_all(waits).await {
        assert_eq!(wait.unwrap().unwrap().end, End::Succeeded);
    }
    let queries = setting.watcher.figures().queries - before.queries;
    assert!(queries <= 6, "{queries} queries told of 600 ends");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_pause_that_one_is_asked_for_is_kept_by_all_who_share_the_credential() {
    let setting = Setting::new(settings()).await;
    let id = setting.started(1).await[0];
    let fault = Effect::Throttle(Throttle {
        limit: ProtectionLimit::Requests,
        retry_after: Span::seconds(1),
        as_date: false,
    });
    setting
        .simulator
        .add_fault(Fault::on(RouteName::Outputs, fault))
        .unwrap();
    let dataverse = &setting.dataverse;
    dataverse.run_outputs(&id, 1000).await.unwrap_err();

    let began = Instant::now();
    let error = dataverse.run_outputs(&id, 1000).await.unwrap_err();
    assert!(error.retry_after().unwrap() > Duration::from_millis(900));
    setting.simulator.advance(Duration::from_secs(60));
    let ended = setting.watcher.wait(&setting.run(id), |_| {}).await.unwrap();
    assert_eq!(ended.end, End::Succeeded);
    assert!(began.elapsed() >= Duration::from_millis(990), "{:?}", began.elapsed());
    assert_eq!(setting.looks(), 1, "no look during the pause");
}

#[tokio::test]
async fn a_run_that_the_list_leaves_out_is_looked_up_alone_before_it_is_believed_gone() {
    let setting = Setting::new(settings()).await;
    let mut ids = setting.started(2).await;
    ids.push(Guid::parse("00000000-0000-4000-8000-00000000dead").unwrap());
    let waits: Vec<_> = ids
        .iter()
        .map(|id| {
            let run = setting.run(*id);
            let watcher = setting.watcher.clone();
            tokio::spawn(async move { watcher.wait(&run, |_| {}).await })
        })
        .collect();
    let mut waits = waits.into_iter();
    let (one, two, gone) = (waits.next().unwrap(), waits.next().unwrap(), waits.next().unwrap());
    let Err(WaitError::Lost { missing_for }) = gone.await.unwrap() else {
        panic!("it does not exist");
    };
    assert!(missing_for >= settings().missing_grace);
    let alone = |request: &deskhand::sandbox::power_automate::RequestRecord| request.route == RouteName::Session;
    assert_eq!(setting.simulator.requests().iter().filter(|one| alone(one)).count(), 1);
    setting.simulator.advance(Duration::from_secs(60));
    assert_eq!(one.await.unwrap().unwrap().end, End::Succeeded);
    assert_eq!(two.await.unwrap().unwrap().end, End::Succeeded);
}

#[tokio::test]
async fn a_hint_is_followed_at_once_and_believed_only_after_a_look() {
    let mut settings = settings();
    settings.pace.longest = Duration::from_secs(3600);
    settings.pace.factor = 1000.0;
    let setting = Setting::new(settings).await;
    let ids = setting.started(2).await;
    let run = setting.run(ids[0]);
    let watcher = setting.watcher.clone();
    let wait = tokio::spawn(async move { watcher.wait(&run, |_| {}).await });
    while setting.looks() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(setting.watcher.hint(ids[1], &NONCE), Hint::Unknown);
    assert_eq!(setting.watcher.hint(ids[0], &[8; 16]), Hint::Unproven);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(setting.looks(), 2, "a forged hint moves nothing");
    assert_eq!(
        setting.watcher.hint(ids[0], &NONCE),
        Hint::Followed,
        "although it is a lie"
    );
    while setting.looks() < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!wait.is_finished(), "the run goes on, whatever the hint said");
    setting.simulator.advance(Duration::from_secs(60));
    assert_eq!(setting.watcher.hint(ids[0], &NONCE), Hint::Followed);
    let ended = tokio::time::timeout(Duration::from_secs(1), wait).await.unwrap();
    assert_eq!(ended.unwrap().unwrap().end, End::Succeeded);
}

#[tokio::test]
async fn a_ceiling_is_kept_while_dataverse_wants_to_be_left_alone() {
    let setting = Setting::new(settings()).await;
    let id = setting.started(1).await[0];
    let fault = Effect::Throttle(Throttle {
        limit: ProtectionLimit::Requests,
        retry_after: Span::seconds(3600),
        as_date: false,
    });
    setting
        .simulator
        .add_fault(Fault::on(RouteName::Session, fault))
        .unwrap();
    let mut run = setting.run(id);
    run.bounds.ceiling = Duration::from_millis(200);
    let wait = setting.watcher.wait(&run, |_| {});
    let ended = tokio::time::timeout(Duration::from_secs(5), wait).await.unwrap();
    assert!(matches!(ended, Err(WaitError::Ceiling { .. })), "{ended:?}");
}
