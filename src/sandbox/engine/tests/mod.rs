//! The state machine without network, tasks or sleeping: commands at chosen times, and what came of them.

mod delivery;
mod ends;
mod limits;

use serde_json::{Value, json};
use tokio::sync::{broadcast, oneshot};

use super::definitions::Selector;
use super::delivery::Activation;
use super::events::Event;
use super::job_stream::{StreamReceiver, job_stream};
use super::machine::{Key, Machine};
use super::settings::Settings;
use super::timers::Millis;
use crate::engine::gateway::ActivatedJob;

/// When every test begins.
const START: Millis = 1_000_000;

struct Bench {
    machine: Machine,
    now: Millis,
    events: broadcast::Receiver<Event>,
}

impl Bench {
    fn new() -> Self {
        Self::with(Settings::default())
    }

    fn with(settings: Settings) -> Self {
        let (sender, events) = broadcast::channel(1024);
        Self {
            machine: Machine::new(settings, START, sender),
            now: START,
            events,
        }
    }

    /// Deploys a process `p` with this content.
    fn deploy(&mut self, content: &str, definitions: &str) {
        let file = format!(
            r#"<bpmn:definitions xmlns:bpmn="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0"><bpmn:process id="p" isExecutable="true">{content}</bpmn:process>{definitions}</bpmn:definitions>"#
        );
        let deployed = self.machine.deploy(vec![("p.bpmn".into(), file.into_bytes())]);
        assert!(deployed.is_ok(), "{deployed:?}");
    }

    /// Deploys a process `p` with one task of type `work`.
    fn deploy_task(&mut self) {
        let content = r#"<bpmn:startEvent id="start"/>"#.to_owned() + &flow("start", "work") + &task("work");
        self.deploy(&content, "");
    }

    fn start(&mut self, variables: Value) -> Key {
        let Value::Object(variables) = variables else {
            panic!("variables must be an object")
        };
        let created = self.machine.create_instance(&Selector::Id("p".into(), None), variables);
        let instance = created.unwrap().0;
        self.settle();
        instance
    }

    /// More steps than any test here takes, but for the one that runs in a circle.
    fn settle(&mut self) {
        self.machine.settle(1_000);
    }

    /// Moves the time on.
    fn after(&mut self, millis: Millis) {
        self.now += millis;
        self.machine.advance(self.now);
        self.settle();
    }

    /// Takes what waits, without parking.
    fn poll(&mut self, job_type: &str, max: usize) -> Vec<ActivatedJob> {
        let (answer, mut jobs) = oneshot::channel();
        let parked = self.machine.poll(activation(job_type), max, -1, answer);
        assert_eq!(parked, None);
        self.settle();
        jobs.try_recv().unwrap()
    }

    fn park(&mut self, job_type: &str, wait: Millis) -> oneshot::Receiver<Vec<ActivatedJob>> {
        let (answer, jobs) = oneshot::channel();
        self.machine.poll(activation(job_type), 10, wait, answer);
        jobs
    }

    fn stream(&mut self, limit: usize) -> (Key, StreamReceiver) {
        let (client, jobs) = job_stream(limit);
        (self.machine.open_stream(activation("work"), client), jobs)
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.events.try_recv().ok()).collect()
    }
}

fn activation(job_type: &str) -> Activation {
    Activation {
        job_type: job_type.into(),
        worker: "test".into(),
        timeout: 10_000,
        fetch_variables: vec![],
        with_lease: false,
    }
}

fn task(id: &str) -> String {
    format!(
        r#"<bpmn:serviceTask id="{id}"><bpmn:extensionElements><zeebe:taskDefinition type="{id}"/></bpmn:extensionElements></bpmn:serviceTask>"#
    )
}

fn flow(from: &str, to: &str) -> String {
    format!(r#"<bpmn:sequenceFlow id="{from}-{to}" sourceRef="{from}" targetRef="{to}"/>"#)
}

fn no_variables() -> serde_json::Map<String, Value> {
    serde_json::Map::new()
}

fn variables(job: &ActivatedJob) -> Value {
    serde_json::from_str(&job.variables).unwrap()
}

#[test]
fn a_process_that_runs_in_a_circle_leaves_turns_to_others() {
    let mut bench = Bench::new();
    bench.deploy(
        &format!(
            r#"<bpmn:startEvent id="start"/><bpmn:task id="a"/><bpmn:task id="b"/>{}{}{}"#,
            flow("start", "a"),
            flow("a", "b"),
            flow("b", "a")
        ),
        "",
    );
    bench
        .machine
        .create_instance(&Selector::Id("p".into(), None), no_variables())
        .unwrap();
    bench.machine.settle(1_000);
    assert!(bench.machine.is_unsettled(), "the circle goes on");
    bench.deploy_task();
    bench
        .machine
        .create_instance(&Selector::Id("p".into(), None), no_variables())
        .unwrap();
    bench.machine.settle(1_000);
    assert_eq!(bench.poll("work", 10).len(), 1);
}

#[test]
fn the_engines_time_never_goes_back() {
    let mut bench = Bench::new();
    bench.deploy_task();
    bench.start(json!({}));
    let first = bench.poll("work", 1).remove(0);
    bench.machine.advance(START - 60_000);
    bench.start(json!({}));
    assert_eq!(bench.poll("work", 1).remove(0).deadline, first.deadline);
}
