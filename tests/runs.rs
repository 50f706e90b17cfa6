//! `deskhand runs`: runs that our starts began, those whose task is gone, and their end; Dataverse is the simulator, the
//! engine the sandbox's.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::process::{Command, Stdio};
use std::time::Duration;

use deskhand::engine::gateway::gateway_client::GatewayClient;
use deskhand::engine::gateway::{
    ActivateJobsRequest, ActivatedJob, CancelProcessInstanceRequest, CompleteJobRequest, CreateProcessInstanceRequest,
    DeployResourceRequest, Resource,
};
use deskhand::http::Client;
use deskhand::microsoft::dataverse::workflows::{RunRequest, Sending};
use deskhand::microsoft::dataverse::{Credential, Dataverse, Guid, Organization, Timeouts};
use deskhand::runs::token::{Subject, Tokens};
use deskhand::sandbox::engine::{Engine, Settings};
use deskhand::sandbox::power_automate::{BOOK_INVOICE, CLIENT_ID, CONNECTION, Simulator, Status, World};
use serde_json::{Map, Value};
use tonic::transport::Channel;

const NAMESPACE: &str = "runs-test";
const SECRET: &str = "demo-client-secret";
const PROCESS: &str = r#"<bpmn:definitions xmlns:bpmn="http://www.omg.org/spec/BPMN/20100524/MODEL"
    xmlns:zeebe="http://camunda.org/schema/zeebe/1.0" id="d" targetNamespace="x">
  <bpmn:process id="two" isExecutable="true">
    <bpmn:startEvent id="start"/>
    <bpmn:serviceTask id="one"><bpmn:extensionElements><zeebe:taskDefinition type="one"/></bpmn:extensionElements></bpmn:serviceTask>
    <bpmn:serviceTask id="other"><bpmn:extensionElements><zeebe:taskDefinition type="other"/></bpmn:extensionElements></bpmn:serviceTask>
    <bpmn:endEvent id="end"/>
    <bpmn:sequenceFlow id="a" sourceRef="start" targetRef="one"/>
    <bpmn:sequenceFlow id="b" sourceRef="one" targetRef="other"/>
    <bpmn:sequenceFlow id="c" sourceRef="other" targetRef="end"/>
  </bpmn:process>
</bpmn:definitions>"#;

struct Desk {
    simulator: Simulator,
    dataverse: Dataverse,
    directory: tempfile::TempDir,
    engine: Engine,
    gateway: GatewayClient<Channel>,
}

struct Said {
    out: String,
    err: String,
    code: Option<i32>,
}

impl Said {
    #[track_caller]
    fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{}", self.err);
        serde_json::from_str(&self.out).unwrap()
    }
}

impl Desk {
    /// Time stands still: runs go on until they are cancelled.
    async fn new() -> Self {
        let mut world = World::default();
        world.clock.speed = 0.001;
        let simulator = Simulator::start(([127, 0, 0, 1], 0).into(), world).await.unwrap();
        let organization = Organization::parse(&simulator.organization(), &[]).unwrap();
        let credential = Credential::Bearer(simulator.token().unwrap().into());
        let dataverse = Dataverse::new(Client::new().unwrap(), organization, credential, Timeouts::default());
        let directory = tempfile::tempdir().unwrap();
        let settings = format!(
            "[desktop_flow]\nnamespace = \"{NAMESPACE}\"\n[identities.robot]\ntoken_endpoint = \"{}\"\nclient_id = \
             \"{CLIENT_ID}\"\nclient_secret = \"{{{{secrets.ROBOT}}}}\"\nhosts = [\"{}\"]\n",
            simulator.token_endpoint(),
            simulator.address(),
        );
        std::fs::write(directory.path().join("deskhand.toml"), settings).unwrap();
        let engine = Engine::start(([127, 0, 0, 1], 0).into(), Settings::default())
            .await
            .unwrap();
        let mut gateway = GatewayClient::connect(format!("http://{}", engine.address()))
            .await
            .unwrap();
        let resources = vec![Resource {
            name: "two.bpmn".into(),
            content: PROCESS.into(),
        }];
        let deployment = DeployResourceRequest {
            resources,
            ..Default::default()
        };
        gateway.deploy_resource(deployment).await.unwrap();
        Self {
            simulator,
            dataverse,
            directory,
            engine,
            gateway,
        }
    }

    /// A run whose start carried the token of this subject in this namespace.
    async fn started(&self, namespace: &str, subject: Subject) -> Guid {
        let token = Tokens::new(namespace, None).fresh(subject).unwrap();
        self.run_with(Some(format!("https://tokens.example.com/?deskhandToken={token}")))
            .await
    }

    async fn run_with(&self, callback_url: Option<String>) -> Guid {
        let request = RunRequest {
            run_mode: "unattended".into(),
            run_priority: None,
            connection_name: CONNECTION.into(),
            connection_type: None,
            timeout: None,
            inputs: None,
            callback_url,
            others: Map::new(),
        };
        let sending = Sending {
            within: Duration::from_secs(60),
            last_look: None,
        };
        let flow = Guid::parse(&BOOK_INVOICE.to_string()).unwrap();
        self.dataverse.start_run(&flow, &request, &sending).await.unwrap().id
    }

    /// A process that waits in its first task.
    async fn waiting(&mut self) -> ActivatedJob {
        let instance = CreateProcessInstanceRequest {
            bpmn_process_id: "two".into(),
            version: -1,
            ..Default::default()
        };
        self.gateway.create_process_instance(instance).await.unwrap();
        let poll = ActivateJobsRequest {
            r#type: "one".into(),
            worker: "test".into(),
            timeout: 600_000,
            max_jobs_to_activate: 1,
            request_timeout: 10_000,
            ..Default::default()
        };
        let mut batches = self.gateway.activate_jobs(poll).await.unwrap().into_inner();
        batches.message().await.unwrap().unwrap().jobs.remove(0)
    }

    async fn runs(&self, arguments: &[&str]) -> Said {
        self.runs_asking(&format!("http://{}", self.engine.address()), arguments)
            .await
    }

    async fn runs_asking(&self, engine: &str, arguments: &[&str]) -> Said {
        let child = Command::new(env!("CARGO_BIN_EXE_deskhand"))
            .arg("runs")
            .args(arguments)
            .args(["--environment", &self.simulator.organization()])
            .env_clear()
            .env("SECRET_ROBOT", SECRET)
            .env("ZEEBE_ADDRESS", engine)
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
        let output = tokio::time::timeout(Duration::from_secs(120), ended)
            .await
            .unwrap()
            .unwrap();
        let said = Said {
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
            code: output.status.code(),
        };
        assert!(
            !said.out.contains(SECRET) && !said.err.contains(SECRET),
            "a secret came out"
        );
        said
    }

    fn status(&self, run: Guid) -> Status {
        let sessions = self.simulator.sessions();
        sessions
            .iter()
            .find(|one| one.id.to_string() == run.to_string())
            .unwrap()
            .status
    }
}

fn subject(process_instance: i64, element_instance: i64) -> Subject {
    Subject {
        process_instance,
        element_instance,
        attempt: 1,
    }
}

fn of_job(job: &ActivatedJob) -> Subject {
    subject(job.process_instance_key, job.element_instance_key)
}

fn ids(listed: &Value) -> Vec<&str> {
    let runs = listed["runs"].as_array().unwrap();
    runs.iter().map(|run| run["flowSessionId"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn runs_of_our_namespace_that_go_on_are_listed_and_no_others() {
    let desk = Desk::new().await;
    let nobody = "http://127.0.0.1:9";
    let none = desk.runs_asking(nobody, &[]).await;
    assert_eq!((none.code, none.out.trim()), (Some(0), "no run of ours goes on"));

    let ended = desk.started(NAMESPACE, subject(1, 2)).await;
    desk.simulator.advance(Duration::from_secs(60));
    assert_eq!(desk.status(ended), Status::Succeeded);
    desk.started("others", subject(3, 4)).await;
    desk.run_with(None).await;
    desk.run_with(Some("https://hooks.example.com/x".into())).await;
    let ours = desk
        .started(NAMESPACE, subject(2_251_799_813_685_249, 2_251_799_813_685_268))
        .await;
    let by_hand = desk.started(NAMESPACE, subject(0, 77)).await;

    let listed = desk.runs_asking(nobody, &["--json"]).await.json();
    assert_eq!(ids(&listed), [ours.to_string(), by_hand.to_string()]);
    let [one, other] = [&listed["runs"][0], &listed["runs"][1]];
    assert_eq!(
        (&one["processInstanceKey"], &one["elementInstanceKey"]),
        (&"2251799813685249".into(), &"2251799813685268".into())
    );
    assert_eq!(
        (&one["flow"], &one["calledByHand"]),
        (&"Book invoice".into(), &false.into())
    );
    assert_eq!(
        (&other["processInstanceKey"], &other["calledByHand"]),
        (&Value::Null, &true.into())
    );

    let table = desk.runs_asking(nobody, &[]).await.out;
    let mut lines = table.lines();
    assert!(lines.next().unwrap().trim_start().starts_with("run  "), "{table}");
    assert!(
        lines.next().unwrap().contains("2251799813685268  Book invoice"),
        "{table}"
    );
    assert!(lines.next().unwrap().contains("deskhand call"), "{table}");
}

#[tokio::test]
async fn orphans_are_runs_whose_task_is_gone_and_are_cancelled_when_somebody_says_so() {
    let mut desk = Desk::new().await;
    let (stays, left, cancelled) = (desk.waiting().await, desk.waiting().await, desk.waiting().await);
    let mut runs = Vec::new();
    for job in [&stays, &left, &cancelled] {
        runs.push(desk.started(NAMESPACE, of_job(job)).await);
    }
    let by_hand = desk.started(NAMESPACE, subject(0, 77)).await;
    let none = desk.runs(&["--orphans"]).await;
    assert_eq!((none.code, none.out.trim()), (Some(0), "no run whose task is gone"));

    let complete = CompleteJobRequest {
        job_key: left.key,
        variables: "{}".into(),
        lease_token: None,
    };
    desk.gateway.complete_job(complete).await.unwrap();
    let cancel = CancelProcessInstanceRequest {
        process_instance_key: cancelled.process_instance_key,
        ..Default::default()
    };
    desk.gateway.cancel_process_instance(cancel).await.unwrap();
    let listed = desk.runs(&["--orphans", "--json"]).await.json();
    assert_eq!(ids(&listed), [runs[1].to_string(), runs[2].to_string()]);
    for (number, process_is_there) in [(0, true), (1, false)] {
        let run = &listed["runs"][number];
        assert_eq!(
            (&run["taskIsThere"], &run["processIsThere"]),
            (&false.into(), &process_is_there.into())
        );
    }

    let unasked = desk.runs(&["--orphans", "--cancel"]).await;
    assert_eq!(unasked.code, Some(64), "{}", unasked.err);
    assert!(unasked.err.contains("--yes"), "{}", unasked.err);
    let only = runs[2].to_string();
    let one = desk.runs(&["--orphans", "--cancel", "--yes", &only]).await;
    assert_eq!(one.code, Some(0), "{}", one.err);
    assert!(one.err.contains(&format!("run {only}: cancelled")), "{}", one.err);
    desk.simulator.advance(Duration::from_secs(1));
    assert_eq!(desk.status(runs[2]), Status::Cancelled);
    for run in [runs[0], runs[1], by_hand] {
        assert_ne!(desk.status(run), Status::Cancelled);
    }
}

#[tokio::test]
async fn who_cannot_be_asked_is_named() {
    let desk = Desk::new().await;
    desk.started(NAMESPACE, subject(5, 6)).await;
    let away = desk.runs_asking("http://127.0.0.1:9", &["--orphans"]).await;
    assert_eq!(away.code, Some(69), "{}", away.err);
    assert!(
        away.err.contains("The engine at http://127.0.0.1:9 does not say"),
        "{}",
        away.err
    );

    let file = desk.directory.path().join("deskhand.toml");
    let settings = std::fs::read_to_string(&file).unwrap();
    std::fs::write(
        &file,
        settings.replace(&desk.simulator.address().to_string(), "elsewhere.example.com"),
    )
    .unwrap();
    let refused = desk.runs(&[]).await;
    assert_eq!(refused.code, Some(64), "{}", refused.err);
    assert!(refused.err.contains("[identities.robot] hosts"), "{}", refused.err);

    std::fs::write(&file, "").unwrap();
    let nobody = desk.runs(&[]).await;
    assert_eq!(nobody.code, Some(64));
    assert!(nobody.err.contains("[identities.NAME]"), "{}", nobody.err);
}
