//! `checkConnection`: each prerequisite on its own, in place and missing.

use deskhand::outcome::Remedy;
use deskhand::sandbox::power_automate::{
    BOOK_INVOICE, CONNECTION, Connection, ConnectionReference, Effect, MachineGroup, RouteName, RunError, Script, Seed,
    Status, Workflow, World,
};
use serde_json::{Value, json};

use crate::setting::{Setting, settings, world};

const NOBODYS: &str = "99999999-0000-4000-8000-000000000009";

async fn of(change: impl FnOnce(&mut World)) -> Setting {
    let mut world = world();
    change(&mut world);
    Setting::of(world, settings()).await
}

/// Checks, and gives the whole answer.
async fn checked(setting: &Setting, fields: Value) -> Value {
    setting.call(&setting.task("checkConnection", fields)).await.response()
}

/// One check among others.
#[track_caller]
fn check<'a>(told: &'a Value, name: &str) -> (&'a Value, &'a str) {
    let all = told["checks"].as_array().unwrap();
    let one = all.iter().find(|one| one["check"] == name);
    let one = one.unwrap_or_else(|| panic!("no check {name} in {told}"));
    (&one["ok"], one["message"].as_str().unwrap())
}

#[track_caller]
fn fails(told: &Value, name: &str, said: &str) {
    let (ok, message) = check(told, name);
    assert_eq!(ok, &json!(false), "{told}");
    assert!(message.contains(said), "{said:?} is not in: {message}");
    assert_eq!(told["ok"], false);
}

fn names(told: &Value) -> Vec<&str> {
    let all = told["checks"].as_array().unwrap();
    all.iter().map(|one| one["check"].as_str().unwrap()).collect()
}

fn flow(script: Script, change: impl FnOnce(&mut Workflow)) -> Seed {
    let mut flow = Workflow {
        id: BOOK_INVOICE,
        name: "Book invoice".into(),
        scripts: vec![script],
        ..Workflow::default()
    };
    change(&mut flow);
    Seed {
        workflows: vec![flow],
        ..Seed::default()
    }
}

/// Everything that a start needs.
fn whole() -> Value {
    json!({"workflowId": BOOK_INVOICE.to_string(), "connectionName": CONNECTION})
}

#[tokio::test]
async fn where_everything_is_in_place_every_check_says_so() {
    let setting = Setting::new().await;
    setting.started(json!({})).await;
    setting.simulator.advance(std::time::Duration::from_secs(60));
    let told = checked(&setting, whole()).await;
    assert_eq!(
        names(&told),
        ["signIn", "applicationUser", "role", "flow", "connection", "machines"]
    );
    for name in names(&told) {
        assert_eq!(check(&told, name).0, &json!(true), "{told}");
    }
    assert_eq!(told["ok"], true);
    assert_eq!(setting.simulator.runs_started(), 1, "a check starts nothing");
}

#[tokio::test]
async fn a_refused_sign_in_is_the_answer_and_nothing_else_is_tried() {
    let setting = Setting::new().await;
    let mut task = setting.task("checkConnection", whole());
    task.variables["authentication"]["clientSecret"] = json!("wrong");
    let told = setting.call(&task).await.response();
    fails(&told, "signIn", "The client secret is wrong");
    assert_eq!(names(&told), ["signIn"]);
}

#[tokio::test]
async fn a_missing_application_user_is_told_from_a_missing_role() {
    let stranger = of(|world| world.directory.applications[0].application_user = false).await;
    let told = checked(&stranger, whole()).await;
    fails(&told, "applicationUser", "application user");
    assert_eq!(names(&told), ["signIn", "applicationUser"]);

    let powerless = of(|world| world.directory.applications[0].security_role = false).await;
    let told = checked(&powerless, whole()).await;
    assert_eq!(check(&told, "applicationUser").0, &json!(true));
    fails(&told, "role", "Environment Maker");

    // Who may start runs but not read them still learns about the rest.
    let blind = of(|world| world.directory.applications[0].owns_runs = false).await;
    let told = checked(&blind, whole()).await;
    fails(&told, "role", "prvReadflowsession");
    assert_eq!(check(&told, "flow").0, &json!(true));
    assert_eq!(check(&told, "connection").0, &Value::Null);
}

#[tokio::test]
async fn a_flow_that_cannot_be_run_is_told_with_the_reason() {
    let setting = Setting::new().await;
    fails(
        &checked(&setting, json!({"workflowId": NOBODYS})).await,
        "flow",
        "not shared with the user",
    );
    fails(
        &checked(&setting, json!({"workflowName": "Nonsense"})).await,
        "flow",
        "no published desktop flow",
    );
    type Change = fn(&mut Workflow);
    let changes: [(Change, &str); 3] = [
        (|flow| flow.activated = false, "turned off"),
        (|flow| flow.published = false, "a draft: publish it"),
        (|flow| flow.category = 5, "not a desktop flow"),
    ];
    for (number, (change, said)) in changes.into_iter().enumerate() {
        let mut seed = flow(Script::default(), change);
        seed.workflows[0].id = format!("11111111-0000-4000-8000-{number:012}").parse().unwrap();
        let id = seed.workflows[0].id.to_string();
        setting.simulator.seed(seed).unwrap();
        fails(&checked(&setting, json!({"workflowId": id})).await, "flow", said);
    }
}

#[tokio::test]
async fn a_reference_must_be_there_and_lead_to_a_connection() {
    let setting = Setting::new().await;
    let reference = |name: &str, connection: Option<&str>| ConnectionReference {
        logical_name: name.into(),
        connection: connection.map(str::to_owned),
    };
    setting
        .simulator
        .seed(Seed {
            connection_references: vec![reference("empty_ref", None), reference("good_ref", Some(CONNECTION))],
            ..Seed::default()
        })
        .unwrap();
    let told = |name: &str| checked(&setting, json!({"connectionName": name, "connectionType": 2}));
    fails(&told("no_ref").await, "connectionReference", "check `connectionName`");
    fails(
        &told("empty_ref").await,
        "connectionReference",
        "leads to no connection",
    );
    let good = told("good_ref").await;
    assert_eq!(check(&good, "connectionReference").0, &json!(true), "{good}");
    assert_eq!(check(&good, "connection").0, &Value::Null, "nothing ran with it yet");
}

#[tokio::test]
async fn the_last_run_is_the_witness_of_a_connection() {
    for (code, ok, said) in [
        ("MSEntraLogonFailure", json!(false), "renew them in the connection"),
        ("NoListenerConnected", Value::Null, "The machine is offline"),
        ("UIElementNotFound", json!(true), "reached its machine"),
    ] {
        let setting = Setting::new().await;
        let script = Script {
            ends: Status::Failed,
            error: Some(RunError {
                code: code.into(),
                message: "x".into(),
                details: None,
            }),
            ..Script::default()
        };
        setting.simulator.seed(flow(script, |_| {})).unwrap();
        setting.started(json!({})).await;
        setting.simulator.advance(std::time::Duration::from_secs(60));
        let told = checked(&setting, whole()).await;
        let (found, message) = check(&told, "connection");
        assert_eq!(found, &ok, "{code}: {message}");
        assert!(message.contains(said), "{code}: {message}");
        assert_eq!(told["ok"], ok != json!(false));
    }
    let setting = Setting::new().await;
    let told = checked(&setting, whole()).await;
    assert_eq!(check(&told, "connection").0, &Value::Null, "{told}");
}

#[tokio::test]
async fn a_machine_must_be_seen_and_have_been_heard_of() {
    let hidden = of(|world| {
        world.environment.machine_groups.clear();
        world.environment.connections = vec![Connection {
            name: CONNECTION.into(),
            ..Connection::default()
        }];
    })
    .await;
    fails(&checked(&hidden, json!({})).await, "machines", "share the machine");

    let group = |name: &str, online| MachineGroup {
        id: format!("22222222-0000-4000-8000-{:012}", name.len()).parse().unwrap(),
        name: name.into(),
        online,
        ..MachineGroup::default()
    };
    let offline = of(|world| {
        for one in &mut world.environment.machine_groups {
            one.online = false;
        }
    })
    .await;
    fails(
        &checked(&offline, json!({})).await,
        "machines",
        "Not heard of for an hour and more: office-machine",
    );
    offline
        .simulator
        .seed(Seed {
            machine_groups: vec![group("cellar", true)],
            ..Seed::default()
        })
        .unwrap();
    let told = checked(&offline, json!({})).await;
    let (ok, message) = check(&told, "machines");
    assert_eq!(ok, &json!(true), "{message}");
    assert!(
        message.starts_with("Machines that were heard of within an hour: cellar-machine."),
        "{message}"
    );
}

#[tokio::test]
async fn an_outage_is_no_answer() {
    for (route, effect) in [
        (RouteName::Sessions, Effect::DropBeforeProcess),
        (RouteName::Token, Effect::Entra(90033)),
    ] {
        let setting = Setting::new().await;
        setting.goes_wrong(route, effect);
        let error = setting.call(&setting.task("checkConnection", whole())).await.error();
        assert!(
            matches!(error.remedy, Remedy::Postpone(_)),
            "{route:?}: {}",
            error.message
        );
    }
}
