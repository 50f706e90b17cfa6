//! What is kept of a job that sleeps, and in which order sleeping jobs are looked after.
//!
//! Pure: the moment goes in, who is due comes out. A hundred thousand of them are the normal case: what tasks have in
//! common is kept once, and nothing here looks at all of them but [`Table::drain`].

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::Instant;

use super::lease::Grip;
use super::permits::Parked;
use crate::connector::{News, Sleeper};
use crate::job::Job;

/// No parked job has a longer lease: so long does another replica wait when this one dies.
pub(super) const LONGEST_LEASE: Duration = Duration::from_secs(900);
/// With few parked jobs, each is asked for so often: so fast is it seen that a task was cancelled.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(15);

/// What the jobs of one task have in common.
#[derive(PartialEq, Eq, Hash)]
struct Shape {
    job_type: String,
    bpmn_process_id: String,
    process_definition_version: i32,
    process_definition_key: i64,
    element_id: String,
    tenant_id: String,
    custom_headers: String,
    variables: String,
}

/// A job that sleeps.
pub(super) struct Sleeping {
    shape: Arc<Shape>,
    /// JSON text of the variables that are this job's alone.
    own: Box<str>,
    process_instance_key: i64,
    element_instance_key: i64,
    retries: i32,
    pub(super) grip: Arc<Grip>,
    /// When the job was received.
    pub(super) received: Instant,
    /// Its place; gone while it waits for a running one.
    pub(super) place: Option<Parked>,
    pub(super) sleeper: Option<Box<dyn Sleeper>>,
    /// What woke it.
    pub(super) news: Option<News>,
    due: Instant,
}

/// All of them.
#[derive(Default)]
pub(super) struct Table {
    jobs: HashMap<i64, Sleeping>,
    due: BTreeSet<(Instant, i64)>,
    lane: VecDeque<i64>,
    shapes: HashSet<Arc<Shape>>,
}

impl Table {
    /// Takes a job in. `shared` and `own` are all the variables that it will see when it is woken.
    pub(super) fn add(
        &mut self,
        job: &Job,
        shared: &Map<String, Value>,
        own: &Map<String, Value>,
        place: Parked,
        grip: Arc<Grip>,
        received: Instant,
    ) {
        let shape = Shape {
            job_type: job.job_type.clone(),
            bpmn_process_id: job.bpmn_process_id.clone(),
            process_definition_version: job.process_definition_version,
            process_definition_key: job.process_definition_key,
            element_id: job.element_id.clone(),
            tenant_id: job.tenant_id.clone(),
            custom_headers: job.custom_headers.clone(),
            variables: text(shared),
        };
        let shape = match self.shapes.get(&shape) {
            Some(known) => known.clone(),
            None => {
                let new = Arc::new(shape);
                self.shapes.insert(new.clone());
                new
            }
        };
        let sleeping = Sleeping {
            shape,
            own: text(own).into_boxed_str(),
            process_instance_key: job.process_instance_key,
            element_instance_key: job.element_instance_key,
            retries: job.retries,
            grip,
            received,
            place: Some(place),
            sleeper: None,
            news: None,
            due: received,
        };
        self.due.insert((sleeping.due, job.key));
        self.jobs.insert(job.key, sleeping);
    }

    pub(super) fn get_mut(&mut self, key: i64) -> Option<&mut Sleeping> {
        self.jobs.get_mut(&key)
    }

    pub(super) fn remove(&mut self, key: i64) -> Option<Sleeping> {
        let sleeping = self.jobs.remove(&key)?;
        self.due.remove(&(sleeping.due, key));
        // The table and this job: nobody else has its shape.
        if Arc::strong_count(&sleeping.shape) == 2 {
            self.shapes.remove(&sleeping.shape);
        }
        Some(sleeping)
    }

    /// Somebody has news for it: it shall come back. False if it is not here, or was woken before.
    pub(super) fn wake(&mut self, key: i64, news: News) -> bool {
        match self.jobs.get_mut(&key) {
            Some(sleeping) if sleeping.news.is_none() => {
                sleeping.news = Some(news);
                self.lane.push_back(key);
                true
            }
            _ => false,
        }
    }

    /// The next woken job in line, and its place.
    pub(super) fn next_woken(&mut self) -> Option<(i64, Parked)> {
        while let Some(key) = self.lane.pop_front() {
            if let Some(place) = self.jobs.get_mut(&key).and_then(|sleeping| sleeping.place.take()) {
                return Some((key, place));
            }
        }
        None
    }

    /// Sets when the job's lease is looked at next: as seldom as the number of jobs asks for, but early enough.
    pub(super) fn schedule(&mut self, key: i64, per_second: f64) {
        let interval = interval(self.jobs.len(), per_second).mul_f64(0.9 + 0.1 * fastrand::f64());
        if let Some(sleeping) = self.jobs.get(&key) {
            let (left, length) = (sleeping.grip.left(), sleeping.grip.lease().length());
            self.schedule_at(key, Instant::now() + interval.min(left.saturating_sub(length / 3)));
        }
    }

    pub(super) fn schedule_at(&mut self, key: i64, at: Instant) {
        if let Some(sleeping) = self.jobs.get_mut(&key) {
            self.due.remove(&(sleeping.due, key));
            sleeping.due = at;
            self.due.insert((at, key));
        }
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// A job that is due by `now`. It is not due again before it is scheduled.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<i64> {
        let (at, key) = *self.due.first()?;
        if at > now {
            return None;
        }
        self.schedule_at(key, now + LONGEST_LEASE);
        Some(key)
    }

    /// The lease that a heartbeat asks for: the job's own where the budget allows three heartbeats in it, else as long as
    /// three take.
    pub(super) fn lease_of(&self, key: i64, per_second: f64) -> Option<Duration> {
        let own = self.jobs.get(&key)?.grip.own_length();
        let three = (spread(self.jobs.len(), per_second) * 3).min(LONGEST_LEASE);
        Some(three.max(own))
    }

    /// Everybody who still sleeps, longest lease first.
    pub(super) fn drain(&mut self) -> Vec<(i64, Sleeping)> {
        let asleep = self.jobs.iter().filter(|(_, sleeping)| sleeping.news.is_none());
        let keys: Vec<i64> = asleep.map(|(key, _)| *key).collect();
        let mut all: Vec<_> = keys
            .into_iter()
            .filter_map(|key| Some((key, self.remove(key)?)))
            .collect();
        all.sort_by_cached_key(|(_, sleeping)| std::cmp::Reverse(sleeping.grip.left()));
        all
    }
}

/// The time between two heartbeats of one job: as the budget allows with so many, but not longer than two thirds of the
/// longest lease.
pub(super) fn interval(jobs: usize, per_second: f64) -> Duration {
    spread(jobs, per_second).clamp(SHORTEST_INTERVAL, LONGEST_LEASE * 2 / 3)
}

/// The time in which each of so many jobs can have a heartbeat.
fn spread(jobs: usize, per_second: f64) -> Duration {
    Duration::from_secs_f64(jobs as f64 / per_second.max(0.1))
}

impl Sleeping {
    /// The job, as it shall be worked on again.
    pub(super) fn job(&self, key: i64) -> Job {
        Job {
            job_type: self.shape.job_type.clone(),
            bpmn_process_id: self.shape.bpmn_process_id.clone(),
            process_definition_version: self.shape.process_definition_version,
            process_definition_key: self.shape.process_definition_key,
            element_id: self.shape.element_id.clone(),
            tenant_id: self.shape.tenant_id.clone(),
            custom_headers: self.shape.custom_headers.clone(),
            variables: joined(&self.shape.variables, &self.own),
            ..self.bare(key)
        }
    }

    /// What commands need of the job.
    pub(super) fn bare(&self, key: i64) -> Job {
        Job {
            key,
            job_type: String::new(),
            process_instance_key: self.process_instance_key,
            bpmn_process_id: String::new(),
            process_definition_version: 0,
            process_definition_key: 0,
            element_id: String::new(),
            element_instance_key: self.element_instance_key,
            retries: self.retries,
            deadline: 0,
            tenant_id: String::new(),
            lease_token: None,
            custom_headers: String::new(),
            variables: String::new(),
        }
    }
}

fn text(variables: &Map<String, Value>) -> String {
    serde_json::to_string(variables).unwrap_or_else(|_| "{}".into())
}

/// The JSON text of an object with the members of both; where both have one, the second's is read.
fn joined(first: &str, second: &str) -> String {
    match (first.strip_suffix('}'), second.strip_prefix('{')) {
        (Some("{"), _) => second.to_owned(),
        (_, Some("}")) => first.to_owned(),
        (Some(first), Some(second)) => format!("{first},{second}"),
        _ => second.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::lease::Lease;
    use crate::worker::{Clock, Permits};
    use serde_json::json;

    fn job(key: i64, headers: &str) -> Job {
        Job {
            key,
            job_type: "t".into(),
            process_instance_key: 1,
            bpmn_process_id: "p".into(),
            process_definition_version: 2,
            process_definition_key: 3,
            element_id: "e".into(),
            element_instance_key: 4,
            retries: 3,
            deadline: 5,
            tenant_id: "<default>".into(),
            lease_token: None,
            custom_headers: headers.into(),
            variables: String::new(),
        }
    }

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    async fn table(jobs: impl Iterator<Item = (i64, u64)>) -> Table {
        let permits = Permits::new(1, [], 1000);
        let mut table = Table::default();
        let now = Instant::now();
        for (key, seconds) in jobs {
            let place = permits.pool("t").acquire().await.park().unwrap();
            let clock = Clock::system();
            let lease = Lease::new(clock.now(), Duration::from_secs(seconds));
            let grip = Arc::new(Grip::new(clock, lease, None));
            let (shared, own) = (map(json!({"a": 1})), map(json!({"own": key})));
            table.add(&job(key, "h"), &shared, &own, place, grip, now);
            table.schedule(key, 200.0);
        }
        table
    }

    #[tokio::test(start_paused = true)]
    async fn a_woken_job_is_the_job_that_fell_asleep() {
        let mut table = table([(7, 300)].into_iter()).await;
        assert!(table.wake(7, Box::new("news")));
        assert!(!table.wake(7, Box::new("again")), "once");
        assert!(!table.wake(8, Box::new("nobody")));
        let (key, _place) = table.next_woken().unwrap();
        let sleeping = table.remove(key).unwrap();
        let expected = Job {
            deadline: 0,
            variables: r#"{"a":1,"own":7}"#.into(),
            ..job(7, "h")
        };
        assert!(sleeping.job(7) == expected);
        assert!(sleeping.news.unwrap().downcast::<&str>().is_ok());
        assert!(table.shapes.is_empty() && table.due.is_empty() && table.next_woken().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_tasks_have_in_common_is_kept_once() {
        let mut table = table((0..100).map(|key| (key, 300))).await;
        assert_eq!((table.jobs.len(), table.shapes.len()), (100, 1));
        for key in 0..100 {
            table.remove(key).unwrap();
        }
        assert!(table.shapes.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_lease_is_prolonged_in_time_and_a_long_one_when_it_is_its_turn() {
        let table = table([(1, 12), (2, 300)].into_iter()).await;
        let now = Instant::now();
        let of = |key| table.due.iter().find(|(_, one)| *one == key).unwrap().0 - now;
        // Leases are counted by real clocks, too.
        let early = Duration::from_secs(8);
        assert!(of(1) <= early && of(1) > early * 9 / 10, "{:?}", of(1));
        assert!(
            of(2) <= SHORTEST_INTERVAL && of(2) >= SHORTEST_INTERVAL * 8 / 10,
            "{:?}",
            of(2)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn leases_are_long_only_while_many_sleep() {
        let mut table = table((0..400).map(|key| (key, 6))).await;
        let lease_of = |table: &Table, per_second| table.lease_of(0, per_second).unwrap().as_secs();
        assert_eq!(
            lease_of(&table, 200.0),
            6,
            "the budget allows three heartbeats in its own"
        );
        assert_eq!(lease_of(&table, 4.0), 300);
        // It was given such a long one, and the others went.
        let grip = table.get_mut(0).unwrap().grip.clone();
        grip.set(Lease::new(grip.now(), Duration::from_secs(300)));
        for key in 1..400 {
            table.remove(key).unwrap();
        }
        assert_eq!(lease_of(&table, 4.0), 6);
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_lease_is_handed_back_first_and_who_was_woken_stays() {
        let mut table = table([(1, 100), (2, 300), (3, 200), (4, 400)].into_iter()).await;
        table.wake(4, Box::new(()));
        let keys: Vec<i64> = table.drain().iter().map(|(key, _)| *key).collect();
        assert_eq!(keys, [2, 3, 1]);
        assert_eq!(table.jobs.len(), 1);
    }

    #[test]
    fn many_jobs_have_few_heartbeats_each() {
        let seconds = |jobs| interval(jobs, 200.0).as_secs();
        assert_eq!(
            [1, 1_000, 3_000, 10_000, 100_000, 1_000_000].map(seconds),
            [15, 15, 15, 50, 500, 600]
        );
    }

    #[test]
    fn variables_are_joined_as_json() {
        for (first, second, both) in [
            ("{}", "{}", "{}"),
            (r#"{"a":1}"#, "{}", r#"{"a":1}"#),
            ("{}", r#"{"b":2}"#, r#"{"b":2}"#),
            (r#"{"a":1}"#, r#"{"b":2}"#, r#"{"a":1,"b":2}"#),
        ] {
            assert_eq!(joined(first, second), both);
        }
    }
}
