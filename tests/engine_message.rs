//! A process that waits for the end of a run in a catch event: `deskhand run` as a process of its own, on the sandbox's
//! engine and on a real one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use deskhand::engine::{Credentials, Engine};
use deskhand::sandbox;
use deskhand::sandbox::power_automate::{CLIENT_ID, Scenario, Simulator, World};
use serde_json::{Value, json};
use support::stage::{PATIENCE, connect};
use tempfile::TempDir;

const ID: &str = "invoice-by-message";
const BPMN: &str = include_str!("../examples/invoice-by-message.bpmn");

/// The worker of one test would take the jobs of another.
static ONE_WORKER: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The engine at `ZEEBE_ADDRESS`; its absence is a failure, not a reason to skip.
fn engine_url() -> String {
    let address =
        std::env::var("ZEEBE_ADDRESS").expect("set ZEEBE_ADDRESS to a Zeebe gateway, e.g. http://127.0.0.1:26500");
    if address.contains("://") {
        address
    } else {
        format!("http://{address}")
    }
}

async fn sandbox_engine() -> (sandbox::engine::Engine, String) {
    let listen = ([127, 0, 0, 1], 0).into();
    let engine = sandbox::engine::Engine::start(listen, sandbox::engine::Settings::default()).await;
    let engine = engine.unwrap();
    let url = format!("http://{}", engine.address());
    (engine, url)
}

/// `deskhand run`; killed with `kill -9` when it is dropped.
struct Deskhand(Child);

impl Drop for Deskhand {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Setting {
    engine: Engine,
    url: String,
    simulator: Simulator,
    directory: TempDir,
}

impl Setting {
    /// With a receiver of callbacks there, where one is given.
    async fn new(url: &str, receives: Option<SocketAddr>, change: impl FnOnce(&mut World)) -> Self {
        let mut world = World::demo(Scenario::Success);
        world.callbacks.allow_insecure = true;
        // An engine knows the messages about an earlier simulator's runs.
        world.seed = fastrand::u64(..);
        change(&mut world);
        let simulator = Simulator::start(([127, 0, 0, 1], 0).into(), world).await.unwrap();
        let receiver = match receives {
            Some(address) => format!("[callback]\nlisten = \"{address}\"\npublic_url = \"http://{address}\"\n"),
            None => String::new(),
        };
        let settings = format!(
            r#"
            {receiver}
            [identities.rpa-prod]
            token_endpoint = "{}"
            client_id = "{CLIENT_ID}"
            client_secret = "{{{{secrets.PA}}}}"
            scope = "{}"
            hosts = ["{}"]

            [messages]
            outbox = ["rpa-prod@{}"]

            [desktop_flow]
            token_url = "https://hooks.example.com/nothing"
            "#,
            simulator.token_endpoint(),
            simulator.scope(),
            simulator.address(),
            simulator.organization(),
        );
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("deskhand.toml"), settings).unwrap();
        let engine = connect(url, Credentials::None);
        engine.deploy(&[(&format!("{ID}.bpmn"), BPMN)]).await.unwrap();
        Self {
            engine,
            url: url.to_owned(),
            simulator,
            directory,
        }
    }

    fn deskhand(&self) -> Deskhand {
        Command::new(env!("CARGO_BIN_EXE_deskhand"))
            .arg("run")
            .current_dir(self.directory.path())
            .env_clear()
            .envs([
                ("ZEEBE_ADDRESS", self.url.as_str()),
                ("SECRET_PA", "demo-client-secret"),
            ])
            .stderr(Stdio::null())
            .spawn()
            .map(Deskhand)
            .unwrap()
    }

    async fn instance(&self) -> Value {
        let variables = json!({
            "invoiceId": "4711", "amount": 129.9, "organizationUri": self.simulator.organization(),
        });
        let finished = self.engine.run_process(ID, &variables, PATIENCE).await;
        finished.unwrap().variables
    }

    async fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let give_up = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < give_up, "{what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Twenty instances: each goes on with the end of its own run, as the callback tells.
async fn each_instance_goes_on_with_its_own_run(url: &str) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let hooks = listener.local_addr().unwrap();
    drop(listener);
    let setting = Setting::new(url, Some(hooks), |_| {}).await;
    let _deskhand = setting.deskhand();
    let instances: Vec<Value> = futures_util::future::join_all((0..20).map(|_| setting.instance())).await;
    let mut runs = Vec::new();
    for variables in instances {
        assert_eq!(variables["bookingNumber"], "B-2026-0815", "{variables}");
        assert_eq!(variables["desktopFlowRun"]["flowSessionId"], variables["flowSessionId"]);
        assert_eq!(variables["desktopFlowRun"]["status"], "Succeeded");
        runs.push(variables["flowSessionId"].as_str().unwrap().to_owned());
    }
    runs.sort_unstable();
    runs.dedup();
    assert_eq!((runs.len(), setting.simulator.runs_started()), (20, 20));
}

/// Nobody is there when the runs end; whoever comes next publishes all of them, and the two that are there then publish no
/// run twice.
async fn a_worker_that_is_killed_loses_no_message(url: &str) {
    // Runs end when the clock is pushed, an hour on.
    let setting = Setting::new(url, None, |world| world.clock.speed = 0.001).await;
    let deskhand = setting.deskhand();
    let instances = futures_util::future::join_all((0..5).map(|_| setting.instance()));
    let in_between = async {
        setting
            .until("starts", |setting| setting.simulator.runs_started() == 5)
            .await;
        // The last job's completion is on its way.
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(deskhand);
        setting.simulator.advance(Duration::from_secs(3600));
        (setting.deskhand(), setting.deskhand())
    };
    let (instances, _replicas) = tokio::join!(instances, in_between);
    for variables in instances {
        assert_eq!(variables["bookingNumber"], "B-2026-0815", "{variables}");
        assert_eq!(variables["desktopFlowRun"]["flowSessionId"], variables["flowSessionId"]);
    }
    assert_eq!(setting.simulator.runs_started(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_wait_by_messages_on_the_sandbox_engine() {
    let _alone = ONE_WORKER.lock().await;
    let (_engine, url) = sandbox_engine().await;
    each_instance_goes_on_with_its_own_run(&url).await;
    a_worker_that_is_killed_loses_no_message(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real engine: set ZEEBE_ADDRESS"]
async fn instances_wait_by_messages_on_a_real_engine() {
    let _alone = ONE_WORKER.lock().await;
    let url = engine_url();
    each_instance_goes_on_with_its_own_run(&url).await;
    a_worker_that_is_killed_loses_no_message(&url).await;
}
