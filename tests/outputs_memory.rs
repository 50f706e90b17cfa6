//! Memory while the largest outputs that Dataverse keeps are saved as a file: a piece at a time, whatever their size.
//!
//! The simulator is a process of its own, so that the memory of this one is the worker's.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use deskhand::connector::desktop_flow::{DesktopFlow, Settings};
use deskhand::connector::{Anywhere, Call, Connector, Journal};
use deskhand::http::Client;
use deskhand::http::token::Tokens;
use deskhand::job::Job;
use deskhand::outcome::JobError;
use deskhand::progress::Progress;
use deskhand::runs::Pace;
use deskhand::sandbox::power_automate::{BOOK_INVOICE, CLIENT_ID, CONNECTION, Outputs, Script, Workflow, World};
use deskhand::secrets::{Bound, Policy};
use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

const SIZE: usize = 32 * 1024 * 1024;
/// A piece of 4 MiB that is written, the next one, and what the connection buffers.
const MOST_KIB: u64 = 14 * 1024;

struct Simulator {
    child: Child,
    lines: Vec<String>,
}

impl Simulator {
    fn start(directory: &std::path::Path) -> Self {
        let mut world = World::default();
        world.clock.speed = 1000.0;
        world.environment.workflows = vec![Workflow {
            id: BOOK_INVOICE,
            name: "Book invoice".into(),
            scripts: [1000, SIZE]
                .map(|size| Script {
                    outputs: Outputs::Bytes(size),
                    ..Script::default()
                })
                .to_vec(),
            ..Workflow::default()
        }];
        let scenario = directory.join("world.json");
        std::fs::write(&scenario, serde_json::to_string(&world).unwrap()).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_deskhand"))
            .args(["simulate", "--listen", "127.0.0.1:0", "--scenario"])
            .arg(scenario)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let lines = out.lines().take(3).map(Result::unwrap).collect();
        Self { child, lines }
    }

    fn says(&self, name: &str) -> String {
        let line = self.lines.iter().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().to_owned()
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct NoJournal;

impl Journal for NoJournal {
    fn write(&self, _: Map<String, Value>) -> BoxFuture<'_, Result<(), JobError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

async fn run_and_save(variables: Map<String, Value>, connector: &DesktopFlow) -> Value {
    let job = Job {
        key: 7,
        job_type: connector.job_type().into(),
        process_instance_key: 5,
        bpmn_process_id: "invoices".into(),
        process_definition_version: 1,
        process_definition_key: 3,
        element_id: "book".into(),
        element_instance_key: 6,
        retries: 3,
        deadline: 0,
        tenant_id: "<default>".into(),
        lease_token: None,
        custom_headers: String::new(),
        variables: "{}".into(),
    };
    let call = Call {
        job: &job,
        input: &Bound::plain(variables),
        abandoned: &CancellationToken::new(),
        progress: &Progress::none(),
        journal: &NoJournal,
        place: &Anywhere,
    };
    match connector.call(call).await {
        Ok(response) => response.value().into_owned(),
        Err(error) => panic!("{}", error.message),
    }
}

#[test]
fn the_largest_outputs_are_saved_without_being_held() {
    let directory = tempfile::tempdir().unwrap();
    let simulator = Simulator::start(directory.path());
    let http = Client::direct().unwrap();
    let settings = Settings {
        save_dir: Some(directory.path().to_owned()),
        pace: Pace {
            first: std::time::Duration::from_millis(10),
            ..Pace::default()
        },
        ..Settings::default()
    };
    let tokens = Arc::new(Tokens::new(http.clone()));
    let connector = DesktopFlow::new(http, tokens, Arc::new(Policy::default()), settings);
    let variables = json!({
        "operationType": "runAndWait",
        "organizationUri": simulator.says("organizationUri"),
        "authentication": {
            "type": "oauth-client-credentials-flow",
            "oauthTokenEndpoint": simulator.says("tokenEndpoint"),
            "clientId": CLIENT_ID.to_string(),
            "clientSecret": "demo-client-secret",
        },
        "workflowId": BOOK_INVOICE.to_string(),
        "connectionName": CONNECTION,
        "runMode": "unattended",
        "saveTo": "large.json",
    });
    let variables = variables.as_object().unwrap().clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    // The first run pages the code in.
    runtime.block_on(run_and_save(variables.clone(), &connector));
    // 5 sets the peak back to what is there now (proc_pid_clear_refs).
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = kib("VmRSS:");
    let response = runtime.block_on(run_and_save(variables, &connector));
    let more = kib("VmHWM:").saturating_sub(before);
    println!("figure outputs_peak_more_rss {:.1} MiB", more as f64 / 1024.0);
    assert_eq!(response["outputsFile"]["size"], SIZE);
    let length = std::fs::metadata(directory.path().join("large.json")).unwrap().len();
    assert_eq!(length, SIZE as u64);
    assert!(more < MOST_KIB, "{more} KiB more were held at once");
}

/// A line of `/proc/self/status`, KiB.
fn kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
