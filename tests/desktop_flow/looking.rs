//! Operations that look things up, and inputs that are checked before a run is burnt.

use deskhand::outcome::Remedy;
use deskhand::sandbox::power_automate::{
    BOOK_INVOICE, Effect, Fault, MachineGroup, RouteName, RunError, Script, Seed, Status, ValueType, Workflow,
};
use serde_json::{Value, json};

use crate::setting::Setting;

/// Lets the flow take these inputs, and end like this.
fn seed(setting: &Setting, inputs: &[(&str, ValueType)], scripts: Vec<Script>) {
    let flow = Workflow {
        id: BOOK_INVOICE,
        name: "Book invoice".into(),
        inputs: inputs.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect(),
        scripts,
        ..Workflow::default()
    };
    setting
        .simulator
        .seed(Seed {
            workflows: vec![flow],
            machine_groups: vec![MachineGroup {
                name: "office".into(),
                ..MachineGroup::default()
            }],
            ..Seed::default()
        })
        .unwrap();
}

#[tokio::test]
async fn a_flow_is_found_by_its_name_and_tells_what_it_takes() {
    let setting = Setting::new().await;
    seed(
        &setting,
        &[("InvoiceId", ValueType::String), ("Amount", ValueType::Number)],
        vec![Script::default()],
    );
    let task = setting.task("findFlow", json!({"workflowName": "Book invoice"}));
    let found = setting.call(&task).await.response();
    assert_eq!(found, json!({"workflowId": BOOK_INVOICE.to_string()}));
    let task = setting.task("findFlow", json!({"workflowName": "Nonsense"}));
    let error = setting.call(&task).await.error();
    assert_eq!(error.remedy, Remedy::Incident);
    assert!(error.message.contains("no published desktop flow"), "{}", error.message);

    let task = setting.task("getFlowSchema", json!({"workflowName": "Book invoice"}));
    let schema = setting.call(&task).await.response();
    let names: Vec<&Value> = schema["inputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|input| &input["name"])
        .collect();
    assert_eq!(names, ["Amount", "InvoiceId"]);
    assert_eq!(schema["inputs"][0]["type"], "number");
    let task = setting.task(
        "getFlowSchema",
        json!({"workflowId": "00000000-0000-4000-8000-00000000dead"}),
    );
    assert!(setting.call(&task).await.error().message.contains("0x80040217"));
}

#[tokio::test]
async fn a_name_must_fit_exactly_one_flow_and_its_case_tells_two_apart() {
    let setting = Setting::new().await;
    let named = |number: u32, name: &str| Workflow {
        id: format!("11111111-0000-4000-8000-{number:012}").parse().unwrap(),
        name: name.into(),
        ..Workflow::default()
    };
    let workflows = vec![named(1, "Post"), named(2, "POST"), named(3, "Twice"), named(4, "Twice")];
    let seed = Seed {
        workflows,
        ..Seed::default()
    };
    setting.simulator.seed(seed).unwrap();
    let found = async |name: &str| {
        let task = setting.task("findFlow", json!({"workflowName": name}));
        setting
            .call(&task)
            .await
            .result
            .map(|found| found["workflowId"].clone())
    };
    assert_eq!(
        found("POST").await.ok(),
        Some(json!("11111111-0000-4000-8000-000000000002"))
    );
    assert_eq!(found("book INVOICE").await.ok(), Some(json!(BOOK_INVOICE.to_string())));
    for (name, ids) in [
        ("post", ["000000000001", "000000000002"]),
        ("Twice", ["000000000003", "000000000004"]),
    ] {
        let error = found(name).await.expect_err(name);
        assert!(
            error.message.contains("more than one desktop flow"),
            "{}",
            error.message
        );
        assert!(ids.iter().all(|id| error.message.contains(id)), "{}", error.message);
    }
}

#[tokio::test]
async fn inputs_that_the_flow_does_not_have_burn_no_run() {
    let setting = Setting::new().await;
    seed(
        &setting,
        &[("InvoiceId", ValueType::String), ("Amount", ValueType::Number)],
        vec![Script::default()],
    );
    let task = setting.start_task("runAndWait", json!({"inputs": {"InvoiceID": "42", "Amount": true}}));
    let error = setting.call(&task).await.error();
    assert_eq!(error.remedy, Remedy::Incident);
    assert!(
        error.message.contains("did you mean `InvoiceId`?") && error.message.contains("`Amount` must be a number"),
        "{}",
        error.message
    );
    assert_eq!(setting.simulator.runs_started(), 0);
    assert!(task.journal.last().is_none(), "nothing was about to be started");

    let task = setting.start_task(
        "runAndWait",
        json!({"inputs": {"InvoiceID": "42"}, "checkInputs": false}),
    );
    setting.call(&task).await.response();
    assert_eq!(setting.simulator.runs_started(), 1);
}

#[tokio::test]
async fn inputs_are_not_checked_where_the_schema_cannot_be_read() {
    let setting = Setting::new().await;
    let fault = Effect::Status {
        status: 500,
        code: String::new(),
        message: String::new(),
        retry_after: None,
        process: false,
    };
    setting.fault(Fault::on(RouteName::Schema, fault));
    let task = setting.start_task("runAndWait", json!({"inputs": {"Whatever": 1}}));
    setting.call(&task).await.response();
}

#[tokio::test]
async fn runs_are_listed_newest_first_and_of_one_flow() {
    let setting = Setting::new().await;
    let first = setting.started(json!({})).await;
    setting.simulator.advance(std::time::Duration::from_secs(60));
    let second = setting.started(json!({})).await;
    let task = setting.task("listRuns", json!({"workflowId": BOOK_INVOICE.to_string()}));
    let listed = setting.call(&task).await.response();
    let ids: Vec<&Value> = listed["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| &run["flowSessionId"])
        .collect();
    assert_eq!(ids, [&json!(second), &json!(first)]);
    assert_eq!(listed["complete"], true);
    assert_eq!(listed["runs"][1]["status"], "Succeeded");
    let task = setting.task("listRuns", json!({"top": 1, "filter": "statuscode eq 4"}));
    let listed = setting.call(&task).await.response();
    assert_eq!(listed["count"], 1);
    assert_eq!(listed["runs"][0]["statusCode"], 4);
}

#[tokio::test]
async fn a_task_decides_itself_what_becomes_of_an_error_code() {
    let setting = Setting::new().await;
    let failing = Script {
        ends: Status::Failed,
        error: Some(RunError {
            code: "AccountLockedOut".into(),
            message: "locked".into(),
            details: None,
        }),
        ..Script::default()
    };
    seed(&setting, &[], vec![failing]);
    let fails = |actions: Value| setting.start_task("runAndWait", json!({"errorActions": actions, "inputs": null}));
    let error = setting.call(&fails(Value::Null)).await.error();
    assert_eq!((error.remedy, error.bpmn_error.as_deref()), (Remedy::Incident, None));
    assert!(error.message.contains("\nThe run: http"), "{}", error.message);
    let error = setting
        .call(&fails(json!({"AccountLockedOut": "bpmnError"})))
        .await
        .error();
    assert_eq!(error.bpmn_error.as_deref(), Some("DESKTOP_FLOW_FAILED"));
    let error = setting.call(&fails(json!({"*": "retry"}))).await.error();
    assert!(matches!(error.remedy, Remedy::RetryAfter(_)), "{:?}", error.remedy);
    let before = setting.simulator.runs_started();
    let error = setting.call(&fails(json!({"AccountLockedOut": "dance"}))).await.error();
    assert!(error.message.contains("`errorActions`"), "{}", error.message);
    assert_eq!(setting.simulator.runs_started(), before);
}
