use super::*;

use crate::microsoft::dataverse::Guid;

fn asked(connection: &str, flow: u8) -> Asked {
    let id = format!("00000000-0000-4000-8000-0000000000{flow:02x}");
    Asked {
        place: Place {
            connection: Connection {
                organization: "https://o".into(),
                name: connection.into(),
            },
            exclusive: None,
        },
        flow: Guid::parse(&id).unwrap(),
        flow_name: Some(format!("Flow {flow}").into()),
    }
}

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap()
}

fn turns(change: impl FnOnce(&mut Settings)) -> Turns {
    let mut settings = Settings::default();
    change(&mut settings);
    Turns::new(settings)
}

/// Lets everybody who was called do what they do.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn no_minute_sees_more_starts_of_a_connection_than_its_pace_allows() {
    let turns = turns(|_| {});
    let began = Instant::now();
    let (sender, mut started) = tokio::sync::mpsc::unbounded_channel();
    for number in 0..300 {
        let (turns, sender) = (turns.clone(), sender.clone());
        tokio::spawn(async move {
            let _turn = turns.wait(&asked("a", 1)).await;
            let _ = sender.send((number, began.elapsed()));
        });
    }
    let mut times = Vec::new();
    for expected in 0..300 {
        let (number, at) = started.recv().await.unwrap();
        assert_eq!(number, expected, "first come, first served");
        times.push(at);
    }
    for window in times.windows(71) {
        assert!(window[70] - window[0] >= MINUTE, "{window:?}");
    }
    assert!(
        times[299] <= MINUTE * 4 + Duration::from_secs(1),
        "nobody waits longer than needed: {:?}",
        times[299]
    );
    assert!(turns.now(&asked("b", 1)).is_ok(), "another connection has its own pace");
}

#[tokio::test(start_paused = true)]
async fn a_limit_counts_the_runs_of_its_connections_together_and_serves_who_waited_longest() {
    let turns = turns(|settings| {
        settings.limits.push(Limit {
            connections: vec![pattern("a"), pattern("b*")],
            max_running: 2,
        });
    });
    let first = turns.now(&asked("a", 1)).unwrap();
    let second = turns.now(&asked("b7", 1)).unwrap();
    assert_eq!(turns.now(&asked("a", 1)).unwrap_err(), Blocked::Running);
    assert!(turns.now(&asked("c", 1)).is_ok(), "no limit names it");
    let (sender, mut called) = tokio::sync::mpsc::unbounded_channel();
    let line: Vec<_> = [("b1", 1), ("a", 2), ("b1", 3)]
        .into_iter()
        .enumerate()
        .map(|(number, (connection, flow))| {
            let sender = sender.clone();
            turns.join(&asked(connection, flow), move |turn| drop(sender.send((number, turn))))
        })
        .collect();
    settle().await;
    assert!(called.try_recv().is_err());
    drop(second);
    let (number, turn) = called.recv().await.unwrap();
    assert_eq!(number, 0);
    assert_eq!(
        turns.now(&asked("a", 1)).unwrap_err(),
        Blocked::Running,
        "nobody barges in"
    );
    drop((turn, first));
    assert_eq!(called.recv().await.unwrap().0, 1);
    assert_eq!(called.recv().await.unwrap().0, 2);
    assert_eq!(turns.waiting(), 0);
    drop(line);
}

#[tokio::test(start_paused = true)]
async fn runs_of_an_exclusive_task_do_not_overlap_and_others_do_not_wait_for_them() {
    let turns = turns(|_| {});
    let exclusive = |instance: i64| {
        let mut asked = asked("a", 1);
        asked.place.exclusive = Some((instance, "task".into()));
        asked
    };
    let first = turns.now(&exclusive(7)).unwrap();
    assert_eq!(turns.now(&exclusive(7)).unwrap_err(), Blocked::Exclusive);
    assert!(turns.now(&exclusive(8)).is_ok(), "another process instance");
    assert!(turns.now(&asked("a", 1)).is_ok(), "another task");
    let wanted = exclusive(7);
    let next = turns.wait(&wanted);
    tokio::pin!(next);
    assert!(futures_util::poll!(&mut next).is_pending());
    drop(first);
    let _second = next.await;
    assert_eq!(turns.now(&exclusive(7)).unwrap_err(), Blocked::Exclusive);
}

#[tokio::test(start_paused = true)]
async fn what_is_paused_waits_and_holds_up_nobody_else() {
    let turns = turns(|settings| settings.pause.push(pattern("Flow 9")));
    assert!(turns.pause(pattern("flow 1*")));
    assert!(!turns.pause(pattern("FLOW 1*")), "it is paused already");
    for flow in [1, 9, 10] {
        assert_eq!(turns.now(&asked("a", flow)).unwrap_err(), Blocked::Paused, "{flow}");
    }
    let (sender, mut called) = tokio::sync::mpsc::unbounded_channel();
    let _line = turns.join(&asked("a", 1), move |turn| drop(sender.send(turn)));
    assert!(turns.now(&asked("a", 2)).is_ok(), "of the same connection");
    settle().await;
    assert!(called.try_recv().is_err());
    assert_eq!(turns.paused().len(), 2);
    assert_eq!(turns.resume(Some(&pattern("flow 9"))), [], "that one is a setting");
    assert_eq!(turns.resume(None), [pattern("flow 1*")]);
    drop(called.recv().await.unwrap());
    assert_eq!(turns.now(&asked("a", 9)).unwrap_err(), Blocked::Paused);
    turns.pause(pattern(&asked("a", 3).flow.to_string()));
    assert_eq!(turns.now(&asked("a", 3)).unwrap_err(), Blocked::Paused, "by its id");
    turns.pause(pattern("a"));
    assert_eq!(
        turns.now(&asked("a", 2)).unwrap_err(),
        Blocked::Paused,
        "by its connection"
    );
}

#[tokio::test(start_paused = true)]
async fn whoever_leaves_the_line_holds_up_nobody_and_is_not_called() {
    let turns = turns(|settings| settings.max_running = Some(1));
    let running = turns.now(&asked("a", 1)).unwrap();
    let (sender, mut called) = tokio::sync::mpsc::unbounded_channel();
    let join = |number| {
        let sender = sender.clone();
        turns.join(&asked("a", 1), move |turn| drop(sender.send((number, turn))))
    };
    let (gone, _stays) = (join(1), join(2));
    drop(gone);
    drop(running);
    let (number, turn) = called.recv().await.unwrap();
    assert_eq!(number, 2);
    // Called, but not there any more: the turn goes on to the next.
    let (gone, _stays) = (join(3), join(4));
    drop(turn);
    settle().await;
    drop(gone);
    let (number, turn) = called.recv().await.unwrap();
    assert_eq!(number, 3);
    drop(turn);
    assert_eq!(called.recv().await.unwrap().0, 4);
}
