//! A process of two tasks, connectors that note what they are given, and what was noted.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use deskhand::connector::{Call, Connector, Response};
use deskhand::mapping::Mapper;
use deskhand::outcome::JobError;
use deskhand::progress::{Progress, Step};
use deskhand::secrets::Secrets;
use deskhand::worker::Pipeline;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::json;

/// Two tasks in a row: work, and a sign that the process went on.
pub fn process(work: &str, done: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<bpmn:definitions xmlns:bpmn="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0" targetNamespace="t">
  <bpmn:process id="two-tasks" isExecutable="true">
    <bpmn:startEvent id="start"><bpmn:outgoing>a</bpmn:outgoing></bpmn:startEvent>
    <bpmn:sequenceFlow id="a" sourceRef="start" targetRef="work" />
    <bpmn:serviceTask id="work"><bpmn:extensionElements>{work}</bpmn:extensionElements><bpmn:incoming>a</bpmn:incoming><bpmn:outgoing>b</bpmn:outgoing></bpmn:serviceTask>
    <bpmn:sequenceFlow id="b" sourceRef="work" targetRef="done" />
    <bpmn:serviceTask id="done"><bpmn:extensionElements>{done}</bpmn:extensionElements><bpmn:incoming>b</bpmn:incoming><bpmn:outgoing>c</bpmn:outgoing></bpmn:serviceTask>
    <bpmn:sequenceFlow id="c" sourceRef="done" targetRef="end" />
    <bpmn:endEvent id="end"><bpmn:incoming>c</bpmn:incoming></bpmn:endEvent>
  </bpmn:process>
</bpmn:definitions>"#
    )
}

/// What was executed: for each of work and done, the job or number, and how often.
#[derive(Default)]
pub struct Ledger {
    pub work: HashMap<i64, usize>,
    pub done: HashSet<u64>,
    pub acknowledged: HashMap<&'static str, HashSet<i64>>,
}

impl Ledger {
    pub fn repeated(&self) -> usize {
        self.work.values().map(|count| count - 1).sum()
    }
}

/// A connector that notes what it is given.
struct Noting {
    job_type: &'static str,
    ledger: Arc<Mutex<Ledger>>,
    takes: Duration,
}

impl Connector for Noting {
    fn job_type(&self) -> &'static str {
        self.job_type
    }

    fn fetch_variables(&self) -> &'static [&'static str] {
        &["n"]
    }

    fn call<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Result<Response, JobError>> {
        async move {
            let number = call.input.variables["n"].as_u64().unwrap();
            match self.job_type {
                "killer:work" => *self.ledger.lock().unwrap().work.entry(call.job.key).or_default() += 1,
                _ => _ = self.ledger.lock().unwrap().done.insert(number),
            }
            tokio::time::sleep(self.takes).await;
            Ok(json!({}).into())
        }
        .boxed()
    }
}

/// Connectors for `killer:work` and `killer:done` that take so long.
pub fn pipeline(ledger: &Arc<Mutex<Ledger>>, takes: Duration) -> Pipeline {
    let connectors = ["killer:work", "killer:done"].map(|job_type| {
        Arc::new(Noting {
            job_type,
            ledger: ledger.clone(),
            takes,
        }) as Arc<dyn Connector>
    });
    Pipeline::new(connectors.into(), Secrets::none(), Mapper::default(), Progress::none())
}

/// Notes what the engine acknowledged.
pub fn progress(ledger: &Arc<Mutex<Ledger>>) -> Progress {
    let seen = ledger.clone();
    Progress::watched_by(move |job, step| {
        if let Step::Answered {
            outcome: "completed", ..
        } = step
        {
            let which = if job.job_type == "killer:work" { "work" } else { "done" };
            seen.lock()
                .unwrap()
                .acknowledged
                .entry(which)
                .or_default()
                .insert(job.key);
        }
    })
}
