//! The state machine under an advanced clock.

use super::*;
use crate::sandbox::power_automate::ids::Ids;
use crate::sandbox::power_automate::world::{CallbackMode, Script};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn group(sessions: u32, online: bool) -> MachineGroup {
    MachineGroup {
        name: "office".to_owned(),
        sessions,
        online,
        ..MachineGroup::default()
    }
}

struct Office {
    runs: Runs,
    ids: Ids,
}

impl Office {
    fn with(sessions: u32) -> Self {
        Self {
            runs: Runs::with_groups(&[group(sessions, true)]),
            ids: Ids::seeded(1),
        }
    }

    /// Starts a run that waits a second and runs for ten.
    fn start(&mut self, second: i64, change: impl FnOnce(&mut Start)) -> Guid {
        let id = self.ids.guid();
        let now = at(second);
        let script = Script {
            waiting: Span::seconds(1),
            running: Span::seconds(10),
            ..Script::default()
        };
        let mut start = Start {
            run: Run {
                id,
                workflow: Guid::from_bits(1),
                name: "flow".into(),
                owner: Guid::from_bits(2),
                connection: "c".into(),
                mode: Mode::Unattended,
                timeout: Duration::from_secs(10_800),
                inputs: None,
                callback_url: None,
                callback: CallbackMode::Once,
                status: Status::NotSpecified,
                created: now,
                started: None,
                completed: None,
                modified: now,
                visible: now,
                error: None,
                script: Arc::new(script),
                group: None,
                group_id: None,
                place: 0,
                version: 0,
            },
            group: Some("office".to_owned()),
            high_priority: false,
            not_specified: Duration::ZERO,
            queue_wait: Duration::from_secs(6 * 3600),
        };
        change(&mut start);
        self.runs.start(start, now);
        id
    }

    fn status(&mut self, id: Guid, second: i64) -> Status {
        self.runs.settle(at(second));
        self.runs.get(id).unwrap().status
    }
}

#[test]
fn a_run_waits_runs_and_ends_at_its_script_s_times() {
    let mut office = Office::with(1);
    let id = office.start(0, |_| ());
    assert_eq!(office.status(id, 0), Status::Waiting);
    assert_eq!(office.status(id, 1), Status::Running);
    assert_eq!(office.status(id, 10), Status::Running);
    assert_eq!(office.status(id, 500), Status::Succeeded);
    let run = office.runs.get(id).unwrap();
    assert_eq!(
        (run.started, run.completed, run.modified),
        (Some(at(1)), Some(at(11)), at(11))
    );
}

#[test]
fn a_run_may_show_not_specified_first() {
    let mut office = Office::with(1);
    let id = office.start(0, |start| start.not_specified = Duration::from_secs(3));
    assert_eq!(office.status(id, 2), Status::NotSpecified);
    assert_eq!(office.status(id, 3), Status::Running);
}

#[test]
fn a_full_group_queues_by_priority_then_by_time() {
    let mut office = Office::with(1);
    let first = office.start(0, |_| ());
    let normal = office.start(1, |_| ());
    let high = office.start(2, |start| start.high_priority = true);
    assert_eq!(office.status(first, 12), Status::Succeeded);
    assert_eq!(office.status(high, 12), Status::Running);
    assert_eq!(office.status(normal, 12), Status::Waiting);
    assert_eq!(office.status(normal, 21), Status::Running);
}

#[test]
fn a_cancelled_run_frees_its_session_and_a_cancelled_waiter_its_place() {
    let mut office = Office::with(1);
    let first = office.start(0, |_| ());
    let second = office.start(0, |_| ());
    let third = office.start(0, |_| ());
    assert_eq!(office.runs.cancel(second, Span::ZERO, at(2)), Some(true));
    assert_eq!(office.status(second, 2), Status::Cancelled);
    assert_eq!(office.runs.cancel(first, Span::seconds(1), at(3)), Some(true));
    assert_eq!(office.status(first, 3), Status::Running);
    assert_eq!(office.status(first, 4), Status::Cancelled);
    assert_eq!(office.status(third, 4), Status::Running);
    assert_eq!(office.runs.cancel(first, Span::ZERO, at(5)), Some(false));
    assert_eq!(office.runs.cancel(Guid::default(), Span::ZERO, at(5)), None);
}

#[test]
fn six_hours_in_the_queue_end_as_no_candidate_machine() {
    let mut office = Office::with(0);
    let id = office.start(0, |_| ());
    assert_eq!(office.status(id, 6 * 3600 - 1), Status::Waiting);
    assert_eq!(office.status(id, 6 * 3600), Status::Failed);
    let run = office.runs.get(id).unwrap();
    assert_eq!(run.error.as_ref().unwrap().code, "NoCandidateMachine");
    assert_eq!((run.started, run.completed), (None, Some(at(6 * 3600))));
}

#[test]
fn a_group_that_comes_online_starts_what_waited() {
    let mut office = Office::with(1);
    office.runs.set_group(&group(1, false), at(0));
    let id = office.start(0, |_| ());
    assert_eq!(office.status(id, 100), Status::Waiting);
    office.runs.set_group(&group(1, true), at(100));
    assert_eq!(office.status(id, 100), Status::Running);
    assert_eq!(office.status(id, 110), Status::Succeeded);
}

#[test]
fn the_run_s_own_timeout_ends_its_script() {
    let mut office = Office::with(1);
    let id = office.start(0, |start| start.run.timeout = Duration::from_secs(4));
    assert_eq!(office.status(id, 5), Status::TimedOut);
    assert_eq!(
        office.runs.get(id).unwrap().error.as_ref().unwrap().code,
        "DesktopFlowsActionTimeout"
    );
}

#[test]
fn rows_are_found_by_creation_and_by_last_change() {
    let mut office = Office::with(10);
    let old = office.start(0, |_| ());
    let new = office.start(100, |_| ());
    office.runs.settle(at(102));
    assert_eq!(
        office
            .runs
            .created_since(at(1))
            .iter()
            .map(|run| run.id)
            .collect::<Vec<_>>(),
        [new]
    );
    let changed = |runs: &Runs, from: i64, to: i64| {
        runs.changed_in(at(from).as_second()..=at(to).as_second())
            .map(|run| run.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(changed(&office.runs, 0, 50), [old]);
    assert_eq!(changed(&office.runs, 12, 200), [new]);
}

#[test]
fn a_connection_starts_so_many_runs_a_minute_and_no_more() {
    let mut runs = Runs::default();
    assert!((0..70).all(|second| runs.take_start("c", 70, at(second / 2)).is_ok()));
    assert_eq!(runs.take_start("c", 70, at(40)), Err(at(60)));
    assert!(runs.take_start("other", 70, at(40)).is_ok());
    assert!(runs.take_start("c", 70, at(60)).is_ok());
}

#[test]
fn only_runs_with_a_callback_url_are_announced_when_they_end() {
    let mut office = Office::with(10);
    office.start(0, |_| ());
    let told = office.start(0, |start| start.run.callback_url = Some("http://here/".into()));
    office.runs.settle(at(60));
    assert_eq!(office.runs.next_ended().map(|run| run.id), Some(told));
    assert!(office.runs.next_ended().is_none());
}
