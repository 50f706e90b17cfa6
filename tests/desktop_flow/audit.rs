//! The audit: what is noted about runs.

use deskhand::audit::Audit;
use deskhand::connector::desktop_flow::Settings;
use serde_json::{Value, json};

use crate::setting::{Setting, connector, settings, standing_still, world};

fn audited(directory: &tempfile::TempDir) -> Settings {
    Settings {
        audit: Audit::new(Some(directory.path().join("audit.jsonl"))),
        ..settings()
    }
}

fn lines(directory: &tempfile::TempDir) -> Vec<Value> {
    let text = std::fs::read_to_string(directory.path().join("audit.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn events(directory: &tempfile::TempDir) -> Vec<String> {
    let event = |line: &Value| line["event"].as_str().unwrap().to_owned();
    lines(directory).iter().map(event).collect()
}

#[tokio::test]
async fn start_adoption_and_end_are_noted_with_task_flow_and_connection_and_without_values() {
    let directory = tempfile::tempdir().unwrap();
    let setting = Setting::of(world(), audited(&directory)).await;
    let mut task = setting.start_task("triggerFlowRun", json!({"inputs": {"InvoiceId": "secret-business"}}));
    setting.call(&task).await.response();
    // The same job again, by another replica, which waits.
    task.comes_again();
    task.variables.insert("operationType".into(), "runAndWait".into());
    let replica = connector(audited(&directory));
    setting.call_by(&replica, &task).await.response();

    assert_eq!(events(&directory), ["start", "adoption", "end"]);
    let run = setting.simulator.sessions()[0].id.to_string();
    for line in lines(&directory) {
        assert_eq!(line["run"], run.as_str());
        assert_eq!(line["flow"], task.variables["workflowId"]);
        assert_eq!(line["connection"], task.variables["connectionName"]);
        assert_eq!(
            (&line["process"], &line["element"]),
            (&json!("invoices"), &json!("book"))
        );
        assert_eq!(line["identity"], Value::Null);
        let text = line.to_string();
        assert!(
            !text.contains("secret-business") && !text.contains("demo-client-secret"),
            "{text}"
        );
    }
    assert_eq!(lines(&directory)[2]["status"], "Succeeded");
}

#[tokio::test]
async fn who_cancelled_a_run_and_why_is_noted() {
    let directory = tempfile::tempdir().unwrap();
    let setting = Setting::of(standing_still(), audited(&directory)).await;
    let run = setting.started(json!({})).await;
    let task = setting.task("cancelFlowRun", json!({"flowSessionId": run}));
    setting.call(&task).await.response();
    let lines = lines(&directory);
    assert_eq!(
        (&lines[1]["event"], &lines[1]["reason"]),
        (&json!("cancel"), &json!("asked-for"))
    );
    assert_eq!(lines[1]["run"], run.as_str());
}
