//! Facts in, verdict out. The facts are what the engine said (which tasks were entered, which runs came out of them) and
//! what the simulator noted (which runs were started, for whom, when, and how they ended). Nothing of deskhand is used.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// What the engine said about one process instance.
#[derive(Clone, Debug)]
pub struct Instance {
    /// What its runs were given as `InvoiceId`: no other instance has it.
    pub invoice: String,
    /// Entries into tasks that run a flow.
    pub wants: u32,
    /// It was cancelled on purpose: any number of its entries may have been made.
    pub cancelled: bool,
    /// When an entry was ended on purpose and made anew, milliseconds of the simulator's clock: it may have started a run
    /// of its own before, or not.
    pub begun_anew: Vec<i64>,
    /// The runs that its tasks handed on.
    pub handed_on: Vec<String>,
    /// It goes on when a message has told of the end of its run.
    pub waits_for_message: bool,
    /// What the messages told that it went on by.
    pub told: Vec<Told>,
}

/// What a message told an instance.
#[derive(Clone, Debug)]
pub struct Told {
    /// The run that has ended.
    pub run: String,
    /// When the instance was seen to have gone on, milliseconds of the simulator's clock.
    pub at: i64,
}

/// What the simulator noted about one run.
#[derive(Clone, Debug)]
pub struct Run {
    pub id: String,
    pub invoice: String,
    /// When it was started, milliseconds of the simulator's clock.
    pub created: i64,
    /// When its row could be read, milliseconds of the simulator's clock.
    pub readable: i64,
    /// When it was over, if it is.
    pub ended: Option<i64>,
    pub cancelled: bool,
}

/// The circumstances.
#[derive(Clone, Debug, Default)]
pub struct Circumstances {
    /// Instances, and how many of their starts were frozen exactly between the last look and the write: there a late
    /// start can happen, and must be cancelled.
    pub frozen_while_writing: HashMap<String, u64>,
    /// How soon after both rows can be read the late run must be cancelled.
    pub cancelled_within: Duration,
}

/// What came out of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Entries into tasks, as the engine tells them.
    pub wanted: u64,
    /// Runs, as the simulator tells them.
    pub started: u64,
    /// Runs beyond one for an entry that lived beside it, or that nothing excuses.
    pub started_twice: u64,
    /// Entries without a run of their own.
    pub lost: u64,
    /// Late runs of frozen starts that were cancelled in time.
    pub late_starts_cancelled: u64,
    /// Instances that went on because of a message.
    pub by_message: u64,
}

impl Verdict {
    pub fn is_clean(&self) -> bool {
        self.started_twice == 0 && self.lost == 0
    }

    pub fn add(&mut self, other: Verdict) {
        self.wanted += other.wanted;
        self.started += other.started;
        self.started_twice += other.started_twice;
        self.lost += other.lost;
        self.late_starts_cancelled += other.late_starts_cancelled;
        self.by_message += other.by_message;
    }
}

/// Judges; each finding is a line for people.
pub fn judge(instances: &[Instance], runs: &[Run], circumstances: &Circumstances) -> (Verdict, Vec<String>) {
    let mut verdict = Verdict::default();
    let mut findings = Vec::new();
    let mut of_invoice: HashMap<&str, Vec<&Run>> = HashMap::new();
    for run in runs {
        of_invoice.entry(&run.invoice).or_default().push(run);
    }
    let mut handed_on: HashMap<&str, &str> = HashMap::new();
    for instance in instances {
        let runs = of_invoice.remove(instance.invoice.as_str()).unwrap_or_default();
        let (wants, count) = (u64::from(instance.wants), runs.len() as u64);
        let abandoned = instance.begun_anew.len() as u64;
        verdict.started += count;
        let (alive, cancelled): (Vec<&Run>, Vec<&Run>) = runs.into_iter().partition(|run| !run.cancelled);
        if instance.cancelled {
            // No more than its entries; a run of a task that is gone may have been cancelled, too.
            verdict.wanted += (wants + abandoned).min(count);
            let too_many = count.saturating_sub(wants + abandoned);
            if too_many > 0 {
                verdict.started_twice += too_many;
                findings.push(format!(
                    "{}: {count} runs for {wants} entries of a cancelled instance",
                    instance.invoice
                ));
            }
        } else {
            verdict.wanted += wants + abandoned.min(count.saturating_sub(wants));
            let too_many = (alive.len() as u64).saturating_sub(wants + abandoned);
            if too_many > 0 {
                verdict.started_twice += too_many;
                findings.push(format!(
                    "{}: {} runs live for {wants} entries and {abandoned} that were abandoned",
                    instance.invoice,
                    alive.len()
                ));
            }
            let left_behind = abandoned.saturating_sub((alive.len() as u64).saturating_sub(wants));
            let mut excuses = circumstances
                .frozen_while_writing
                .get(&instance.invoice)
                .copied()
                .unwrap_or(0);
            for late in cancelled
                .iter()
                .skip(usize::try_from(left_behind).unwrap_or(usize::MAX))
            {
                match excuse(late, &alive, &mut excuses, circumstances.cancelled_within) {
                    Ok(()) => verdict.late_starts_cancelled += 1,
                    Err(why) => {
                        verdict.started_twice += 1;
                        findings.push(format!(
                            "{}: run {} was started beside another, {why}",
                            instance.invoice, late.id
                        ));
                    }
                }
            }
        }
        let mut own = HashSet::new();
        for run in &instance.handed_on {
            let anew = instance.begun_anew.iter().max().copied().unwrap_or(i64::MIN);
            let known = alive.iter().any(|one| one.id == *run && one.created >= anew);
            let fresh = own.insert(run.as_str());
            let foreign = handed_on
                .insert(run, &instance.invoice)
                .is_some_and(|other| other != instance.invoice);
            if !known || !fresh || foreign {
                verdict.lost += 1;
                findings.push(format!(
                    "{}: a task went on with run {run}, which is not its own",
                    instance.invoice
                ));
            }
        }
        verdict.by_message += u64::from(!instance.told.is_empty());
        if let Some(why) = mistold(instance, &alive) {
            verdict.lost += 1;
            findings.push(format!("{}: {why}", instance.invoice));
        }
        if !instance.cancelled && (instance.handed_on.len() as u64) < wants {
            verdict.lost += wants - instance.handed_on.len() as u64;
            let waits = match instance.waits_for_message {
                true => ": no message, or no run",
                false => "",
            };
            findings.push(format!(
                "{}: {} of {wants} tasks are through{waits}",
                instance.invoice,
                instance.handed_on.len()
            ));
        }
    }
    for (invoice, runs) in of_invoice {
        verdict.started += runs.len() as u64;
        verdict.started_twice += runs.len() as u64;
        findings.push(format!("{invoice}: {} runs that nobody asked for", runs.len()));
    }
    (verdict, findings)
}

/// An instance that waits for a message goes on by one alone, which tells of the run that it was given, when that has ended.
fn mistold(instance: &Instance, alive: &[&Run]) -> Option<String> {
    let through = !instance.handed_on.is_empty();
    let [told] = instance.told.as_slice() else {
        let count = instance.told.len();
        let expected = usize::from(instance.waits_for_message && through);
        return (count != expected).then(|| format!("it went on with {count} messages about its run"));
    };
    if !instance.waits_for_message || !instance.handed_on.contains(&told.run) {
        return Some(format!("a message told of run {}, which is not its own", told.run));
    }
    let ended = alive.iter().find(|run| run.id == told.run).and_then(|run| run.ended);
    match ended {
        Some(ended) if ended <= told.at => None,
        _ => Some(format!("a message told of run {} before it had ended", told.run)),
    }
}

/// A late run is excused by a start that was frozen while writing, if an earlier one lives and it was cancelled in time.
fn excuse(late: &Run, alive: &[&Run], excuses: &mut u64, within: Duration) -> Result<(), &'static str> {
    let Some(left) = excuses.checked_sub(1) else {
        return Err("and nothing excuses it");
    };
    *excuses = left;
    // Dataverse tells creation to the second; among runs of the same second the id decides.
    if !alive.iter().any(|run| run.created / 1_000 <= late.created / 1_000) {
        return Err("and is the earliest: another should have been cancelled");
    }
    let both = alive
        .iter()
        .map(|run| run.readable)
        .max()
        .unwrap_or(i64::MAX)
        .max(late.readable);
    let bound = i64::try_from(within.as_millis()).unwrap_or(i64::MAX);
    match late.ended {
        Some(ended) if ended.saturating_sub(both) <= bound => Ok(()),
        _ => Err("and was cancelled too late"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(id: &str, cancelled: bool) -> Run {
        Run {
            id: id.into(),
            invoice: "i".into(),
            created: 500,
            readable: 1_000,
            ended: Some(5_000),
            cancelled,
        }
    }

    fn instance(wants: u32, handed_on: &[&str]) -> Instance {
        Instance {
            invoice: "i".into(),
            wants,
            cancelled: false,
            begun_anew: Vec::new(),
            handed_on: handed_on.iter().map(|id| (*id).to_owned()).collect(),
            waits_for_message: false,
            told: Vec::new(),
        }
    }

    fn frozen(within: u64) -> Circumstances {
        Circumstances {
            frozen_while_writing: [("i".to_owned(), 1)].into(),
            cancelled_within: Duration::from_secs(within),
        }
    }

    fn counts(instance: Instance, runs: &[Run], circumstances: &Circumstances) -> (u64, u64, u64) {
        let (verdict, _) = judge(&[instance], runs, circumstances);
        (verdict.started_twice, verdict.lost, verdict.late_starts_cancelled)
    }

    #[test]
    fn one_run_for_each_entry_is_clean() {
        let calm = Circumstances::default();
        assert_eq!(counts(instance(1, &["a"]), &[run("a", false)], &calm), (0, 0, 0));
        let two = [run("a", false), run("b", false)];
        assert_eq!(counts(instance(2, &["a", "b"]), &two, &calm), (0, 0, 0));
    }

    #[test]
    fn a_second_run_is_found_whether_it_lives_or_not() {
        let calm = Circumstances::default();
        let two = [run("a", false), run("b", false)];
        assert_eq!(counts(instance(1, &["a"]), &two, &calm).0, 1);
        let late = [run("a", false), run("b", true)];
        assert_eq!(counts(instance(1, &["a"]), &late, &calm).0, 1);
        assert_eq!(counts(instance(1, &["a"]), &late, &frozen(10)), (0, 0, 1));
        assert_eq!(
            counts(instance(1, &["a"]), &late, &frozen(2)).0,
            1,
            "cancelled too late"
        );
    }

    #[test]
    fn each_late_run_needs_an_excuse_of_its_own_and_an_earlier_run_that_lives() {
        let twice = [run("a", false), run("b", true), run("c", true)];
        assert_eq!(counts(instance(1, &["a"]), &twice, &frozen(10)), (1, 0, 1));
        let mut earliest = run("b", true);
        earliest.created = -1_500;
        assert_eq!(
            counts(instance(1, &["a"]), &[run("a", false), earliest], &frozen(10)).0,
            1
        );
    }

    #[test]
    fn an_entry_that_was_abandoned_may_have_left_a_run() {
        let calm = Circumstances::default();
        let modified = || Instance {
            begun_anew: vec![500],
            ..instance(1, &["a"])
        };
        for runs in [
            vec![run("a", false)],
            vec![run("a", false), run("b", false)],
            vec![run("a", false), run("b", true)],
        ] {
            assert_eq!(counts(modified(), &runs, &calm), (0, 0, 0));
        }
        let three = [run("a", false), run("b", false), run("c", true)];
        assert_eq!(counts(modified(), &three, &calm).0, 1);
        let gone = [run("a", true), run("b", false)];
        assert_eq!(counts(modified(), &gone, &calm).1, 1, "it went on with a cancelled run");
        let mut before = run("a", false);
        before.created = 499;
        assert_eq!(
            counts(modified(), &[before], &calm).1,
            1,
            "it went on with a run of the entry before"
        );
    }

    #[test]
    fn a_task_without_a_run_of_its_own_is_lost() {
        let calm = Circumstances::default();
        assert_eq!(counts(instance(1, &[]), &[run("a", false)], &calm).1, 1);
        let two = [run("a", false), run("b", false)];
        assert_eq!(
            counts(instance(2, &["a", "a"]), &two, &calm).1,
            1,
            "two tasks with one run"
        );
        assert_eq!(counts(instance(1, &["x"]), &[run("a", false)], &calm).1, 1);
        assert_eq!(counts(instance(1, &["a"]), &[run("a", true)], &calm).1, 1);
    }

    #[test]
    fn an_instance_that_waits_for_a_message_is_lost_without_the_one_about_its_run() {
        let lost = |handed_on: &[&str], told: &[(&str, i64)]| {
            let told = told.iter().map(|(run, at)| Told {
                run: (*run).to_owned(),
                at: *at,
            });
            let waits = Instance {
                waits_for_message: true,
                told: told.collect(),
                ..instance(1, handed_on)
            };
            let runs = [run("a", false)];
            let (verdict, _) = judge(&[waits], &runs, &Circumstances::default());
            (verdict.lost, verdict.by_message)
        };
        assert_eq!(lost(&["a"], &[("a", 5_000)]), (0, 1));
        assert_eq!(
            lost(&[], &[]),
            (1, 0),
            "nothing was published, or it did not reach the instance"
        );
        assert_eq!(lost(&["a"], &[]), (1, 0), "it went on by itself");
        assert_eq!(lost(&["a"], &[("b", 5_000)]), (1, 1), "about another run");
        assert_eq!(lost(&["a"], &[("a", 4_999)]), (1, 1), "before the end");
        assert_eq!(lost(&["a"], &[("a", 5_000), ("a", 5_001)]), (1, 1), "twice");
    }

    #[test]
    fn a_run_that_nobody_asked_for_is_one_too_many() {
        let (verdict, _) = judge(&[], &[run("a", false)], &Circumstances::default());
        assert_eq!(verdict.started_twice, 1);
    }
}
