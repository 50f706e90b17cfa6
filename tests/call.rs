//! `deskhand call` as people type it: what it prints, what Dataverse is asked, and how it ends.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use deskhand::sandbox::power_automate::{
    BOOK_INVOICE, CLIENT_ID, CONNECTION, Effect, Fault, RouteName, RunError, Script, Seed, Simulator, Status, Workflow,
    World,
};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);
const SECRET: &str = "demo-client-secret";

/// A simulator, and a directory with a `deskhand.toml` for it.
struct Desk {
    simulator: Simulator,
    directory: tempfile::TempDir,
}

impl Desk {
    /// `more` is added to the settings.
    async fn with(world: World, more: &str) -> Self {
        let simulator = Simulator::start(([127, 0, 0, 1], 0).into(), world).await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let settings = format!(
            "{more}\n[identities.robot]\ntoken_endpoint = \"{}\"\nclient_id = \"{CLIENT_ID}\"\n\
             client_secret = \"{{{{secrets.ROBOT}}}}\"\nhosts = [\"{}\"]\n",
            simulator.token_endpoint(),
            simulator.address(),
        );
        std::fs::write(directory.path().join("deskhand.toml"), settings).unwrap();
        Self { simulator, directory }
    }

    async fn new() -> Self {
        let mut world = World::default();
        world.clock.speed = 100.0;
        Self::with(world, "").await
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deskhand"));
        command
            .arg("call")
            .args(arguments)
            .args(["--environment", &self.simulator.organization()])
            .env_clear()
            .env("SECRET_ROBOT", SECRET)
            .env("SECRET_TOKEN", self.simulator.token().unwrap())
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    /// Runs a command to its end, while the simulator goes on.
    async fn call(&self, arguments: &[&str]) -> Said {
        let child = self.spawn(arguments);
        Said::by(child).await
    }

    /// A start of the default flow.
    async fn start(&self, operation: &str, more: &[&str]) -> Said {
        let workflow = format!("workflowId={BOOK_INVOICE}");
        let connection = format!("connectionName={CONNECTION}");
        let mut arguments = vec![
            operation,
            &workflow,
            &connection,
            "runMode=unattended",
            "inputs.InvoiceId=42",
        ];
        arguments.extend(more);
        self.call(&arguments).await
    }

    fn starts_sent(&self) -> usize {
        let requests = self.simulator.requests();
        requests
            .iter()
            .filter(|request| request.route == RouteName::Run)
            .count()
    }
}

/// What a command said, and how it ended.
struct Said {
    out: String,
    err: String,
    code: Option<i32>,
}

impl Said {
    async fn by(child: Child) -> Self {
        let waiting = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
        let Output { stdout, stderr, status } = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
        let said = Self {
            out: String::from_utf8(stdout).unwrap(),
            err: String::from_utf8(stderr).unwrap(),
            code: status.code(),
        };
        assert!(
            !said.out.contains(SECRET) && !said.err.contains(SECRET),
            "a secret came out"
        );
        said
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("{}\n{}", self.out, self.err))
    }

    #[track_caller]
    fn ends_with(&self, code: i32, said: &str) {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        assert!(self.err.contains(said), "{said:?} is not in {}", self.err);
    }
}

#[tokio::test]
async fn lists_are_tables_for_people_and_json_for_machines() {
    let desk = Desk::new().await;
    let people = desk.call(&["listFlows", "select=name,workflowid"]).await;
    people.ends_with(0, "signed in");
    let lines: Vec<&str> = people.out.lines().map(str::trim_end).collect();
    assert_eq!(lines[..4], ["count     2", "complete  true", "", "flows"]);
    assert!(lines[4].starts_with("  name            workflowid"), "{}", people.out);
    assert!(lines[5].starts_with("  Book invoice    5a1b"), "{}", people.out);
    let machines = desk.call(&["listFlows", "--json", "--quiet", "top:=1"]).await;
    machines.ends_with(0, "");
    assert_eq!(machines.err, "");
    assert_eq!(machines.json()["flows"][0]["name"], "Book invoice");
    assert_eq!(machines.json()["complete"], false);
}

#[tokio::test]
async fn a_run_is_started_waited_for_and_its_outputs_told() {
    let desk = Desk::new().await;
    let said = desk.start("runAndWait", &["inputs.Amount:=12.5", "--json"]).await;
    let run = desk.simulator.sessions()[0].id.to_string();
    said.ends_with(0, &format!("started run {run}"));
    assert!(said.err.contains("the run is Succeeded"), "{}", said.err);
    let response = said.json();
    assert_eq!(response["flowSessionId"], run);
    assert_eq!(response["outputs"]["InvoiceId"], "42");
    let inputs: Value = serde_json::from_str(desk.simulator.sessions()[0].inputs.as_deref().unwrap()).unwrap();
    assert_eq!(inputs, json!({"InvoiceId": "42", "Amount": 12.5}));

    let status = desk
        .call(&["getStatusOfFlowRun", &format!("flowSessionId={run}")])
        .await;
    assert!(status.out.contains("status         Succeeded"), "{}", status.out);
}

#[tokio::test]
async fn a_run_that_fails_has_an_exit_code_of_its_own() {
    let desk = Desk::new().await;
    let flow = Workflow {
        id: BOOK_INVOICE,
        scripts: vec![Script {
            ends: Status::Failed,
            error: Some(RunError {
                code: "AttendedUserNotLoggedIn".into(),
                message: "Nobody is signed in.\u{1b}[2J".into(),
                details: None,
            }),
            ..Script::default()
        }],
        ..Workflow::default()
    };
    let workflows = vec![flow];
    desk.simulator
        .seed(Seed {
            workflows,
            ..Seed::default()
        })
        .unwrap();
    let said = desk.start("runAndWait", &["--json"]).await;
    said.ends_with(2, "What to do: An attended run needs its user signed in");
    assert!(
        said.err.contains("\\u{1b}[2J") && !said.err.contains('\u{1b}'),
        "{}",
        said.err
    );
    assert_eq!(said.json()["error"]["code"], "AttendedUserNotLoggedIn");
    assert_eq!(said.json()["error"]["variables"]["statusCode"], 8);
}

#[tokio::test]
async fn a_dry_run_shows_the_requests_without_secrets_and_sends_nothing() {
    let desk = Desk::new().await;
    let said = desk.start("runAndWait", &["--dry-run", "runTimeout:=60"]).await;
    said.ends_with(0, "nothing was sent");
    let organization = desk.simulator.organization();
    for shown in [
        &format!("POST {}", desk.simulator.token_endpoint()),
        "\"client_secret\": \"{{secrets.ROBOT}}\"",
        &format!("POST {organization}/api/data/v9.2/workflows({BOOK_INVOICE})/Microsoft.Dynamics.CRM.RunDesktopFlow"),
        "authorization: Bearer ***",
        "odata-version: 4.0",
        "\"inputs\": \"{\\\"InvoiceId\\\":\\\"42\\\"}\"",
        "\"timeout\": 60",
    ] {
        assert!(said.out.contains(shown), "{shown} is not in\n{}", said.out);
    }
    // Every operation has something to show.
    let run = "flowSessionId=d9687093-d0c0-ec11-983e-0022480b428a";
    let flow = "workflowName=Book invoice";
    for (arguments, method, path) in [
        (&["getStatusOfFlowRun", run][..], "GET", "flowsessions("),
        (&["getFlowOutputs", run], "GET", "/outputs/$value"),
        (&["cancelFlowRun", run], "POST", "CancelDesktopFlowRun"),
        (&["listFlows"], "GET", "/workflows?"),
        (&["findFlow", flow], "GET", "name eq 'Book invoice'"),
        (&["getFlowSchema", flow], "GET", "/inputs/$value"),
        (&["listRuns", flow], "GET", "/flowsessions?"),
        (&["checkConnection", flow], "GET", "/flowmachines?"),
    ] {
        let said = desk.call(&[arguments, &["--dry-run", "--json"]].concat()).await;
        said.ends_with(0, "");
        let requests = said.json()["requests"].as_array().unwrap().clone();
        let shown = |request: &Value| request["method"] == method && request["url"].as_str().unwrap().contains(path);
        assert!(requests.iter().any(shown), "{arguments:?}: {}", said.out);
    }
    assert_eq!(desk.simulator.requests_received(), 0);
}

#[tokio::test]
async fn what_is_wrong_is_told_before_anything_is_sent_dry_or_not() {
    let desk = Desk::new().await;
    for dry in [&[][..], &["--dry-run"]] {
        for (arguments, said) in [
            (&["listFlws"][..], "did you mean `listFlows`?"),
            (&["runAndWait", "runMode=unattended"], "`workflowId` is missing"),
            (&["listFlows", "fliter=x"], "did you mean `filter`?"),
            (&["listFlows", "identity=robto"], "did you mean 'robot'?"),
            (
                &["listFlows", "--identity", "nobody"],
                "there is no identity of this name",
            ),
        ] {
            let told = desk.call(&[arguments, dry].concat()).await;
            told.ends_with(64, said);
        }
    }
    assert_eq!(desk.simulator.requests_received(), 0);
}

#[tokio::test]
async fn a_secret_goes_only_where_those_of_tasks_may_go() {
    let mine = ["authentication.type=bearer", "authentication.token={{secrets.TOKEN}}"];
    let call = [&["listFlows", "--json"][..], &mine].concat();
    let desk = Desk::new().await;
    for dry in [&[][..], &["--dry-run"]] {
        let refused = desk.call(&[&call[..], dry].concat()).await;
        refused.ends_with(64, "TOKEN");
        assert!(refused.err.contains("secrets.rule"), "{}", refused.err);
    }
    assert_eq!(desk.simulator.requests_received(), 0);

    let rule = |processes: &str| {
        format!("[[secrets.rule]]\nname = \"TOKEN\"\nhosts = [\"127.0.0.1:*\"]\nprocesses = [{processes}]\n")
    };
    let desk = Desk::with(World::default(), &rule("")).await;
    assert_eq!(desk.call(&call).await.json()["count"], 2);
    let dry = desk.call(&[&call[..], &["--dry-run"]].concat()).await;
    assert_eq!(
        dry.json()["requests"][0]["headers"]["authorization"],
        "Bearer {{secrets.TOKEN}}"
    );
    let desk = Desk::with(World::default(), &rule("\"invoices\"")).await;
    desk.call(&call).await.ends_with(64, "TOKEN");
    let within = desk.call(&[&call[..], &["--as-process", "invoices"]].concat()).await;
    assert_eq!(within.json()["count"], 2);
}

#[tokio::test]
async fn a_start_whose_answer_is_lost_is_looked_for_and_nothing_is_sent_twice() {
    let settings = "[desktop_flow]\ntoken_url = \"https://tokens.example.com/\"\nsettle_time = \"500ms\"\n\
                    visibility = \"300ms\"\n";
    for (effect, code, said, runs) in [
        (Effect::ProcessThenDrop, 0, "found run", 1),
        (
            Effect::DropBeforeProcess,
            1,
            "A call from the shell sends nothing twice",
            0,
        ),
    ] {
        let mut world = World::default();
        world.clock.speed = 20.0;
        let desk = Desk::with(world, settings).await;
        desk.simulator
            .add_fault(Fault::on(RouteName::Run, effect.clone()))
            .unwrap();
        let told = desk.start("triggerFlowRun", &[]).await;
        told.ends_with(code, said);
        assert!(
            told.err.contains("not known whether the flow was started"),
            "{}",
            told.err
        );
        assert_eq!(
            (desk.starts_sent(), desk.simulator.runs_started()),
            (1, runs),
            "{effect:?}"
        );
    }
}

#[tokio::test]
async fn a_start_that_nobody_can_clear_up_is_a_persons_turn() {
    let settings = "[desktop_flow]\nsettle_time = \"200ms\"\nvisibility = \"200ms\"\n";
    let desk = Desk::with(World::default(), settings).await;
    desk.simulator
        .add_fault(Fault::on(RouteName::Run, Effect::ProcessThenDrop))
        .unwrap();
    let told = desk.start("triggerFlowRun", &[]).await;
    told.ends_with(3, "call again only if none is yours");
    let run = desk.simulator.sessions()[0].id.to_string();
    assert!(told.err.contains(&run), "the look-alike is listed: {}", told.err);
    assert_eq!(desk.starts_sent(), 1);
}

#[cfg(unix)]
#[tokio::test]
async fn an_interrupted_wait_says_what_goes_on() {
    let mut world = World::default();
    world.clock.speed = 0.001;
    let desk = Desk::with(world, "").await;
    let workflow = format!("workflowId={BOOK_INVOICE}");
    let connection = format!("connectionName={CONNECTION}");
    let child = desk.spawn(&["runAndWait", &workflow, &connection, "runMode=unattended"]);
    let began = Instant::now();
    // A look at the run comes after the answer to its start.
    let looked = || {
        let requests = desk.simulator.requests();
        let after = requests.iter().skip_while(|request| request.route != RouteName::Run);
        after.skip(1).count() > 0
    };
    while !looked() {
        assert!(began.elapsed() < PATIENCE, "the run is looked at");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let told = Said::by(child).await;
    let run = desk.simulator.sessions()[0].id.to_string();
    told.ends_with(130, &format!("interrupted; run {run} goes on"));
    assert!(
        told.err
            .contains(&format!("deskhand call cancelFlowRun flowSessionId={run}"))
    );
    assert_ne!(desk.simulator.sessions()[0].status, Status::Cancelled);
}

#[tokio::test]
async fn who_cannot_be_reached_is_told_from_who_refuses() {
    let desk = Desk::new().await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let rule = "[[secrets.rule]]\nname = \"TOKEN\"\nhosts = [\"127.0.0.1:*\"]\n";
    std::fs::write(desk.directory.path().join("deskhand.toml"), rule).unwrap();
    let token = ["authentication.type=bearer", "authentication.token={{secrets.TOKEN}}"];
    let away = format!("organizationUri=http://{nobody}");
    let told = desk.call(&[&["listFlows", &away][..], &token].concat()).await;
    told.ends_with(69, "Listing the desktop flows failed");
    let told = desk
        .call(&[&["listFlows", "filter=nonsense"][..], &token].concat())
        .await;
    told.ends_with(1, "HTTP 400");
}

#[tokio::test]
async fn where_several_fit_one_is_to_be_named() {
    let desk = Desk::new().await;
    let file = desk.directory.path().join("deskhand.toml");
    let two = std::fs::read_to_string(&file).unwrap();
    let two = format!("{two}\n{}", two.trim().replace("identities.robot", "identities.other"));
    std::fs::write(&file, two).unwrap();
    let told = desk.call(&["listFlows"]).await;
    told.ends_with(
        64,
        "several identities (other, robot): say which one with --identity NAME",
    );
    let told = desk.call(&["listFlows", "--identity", "robot"]).await;
    told.ends_with(0, "");
}
