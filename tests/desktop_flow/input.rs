//! Bad input: one message that names every field, and not a byte sent.

use deskhand::outcome::{ErrorType, Remedy};
use serde_json::{Value, json};

use crate::setting::Setting;

/// Each fault of a start on its own: what is written, and what the message must say.
fn faults() -> Vec<(Value, &'static [&'static str])> {
    vec![
        (
            json!({"operationType": null}),
            &["`operationType` is missing", "`runAndWait`"],
        ),
        (
            json!({"operationType": "triggerFlowRuns"}),
            &["\"triggerFlowRuns\"", "did you mean `triggerFlowRun`?"],
        ),
        (json!({"operationType": 5}), &["`operationType` is \"5\""]),
        (json!({"operationType": ["x"]}), &["`operationType` must be", "a list"]),
        (json!({"organizationUri": null}), &["`organizationUri` is missing"]),
        (
            json!({"organizationUri": "contoso.crm4.dynamics.com"}),
            &["`organizationUri` is not a URL"],
        ),
        (
            json!({"organizationUri": "http://contoso.crm4.dynamics.com"}),
            &["`organizationUri` must begin with `https://`"],
        ),
        (
            json!({"organizationUri": "https://contoso.crm4.dynamics.com/api/data/v9.2"}),
            &["`organizationUri` must end before `/api/data`"],
        ),
        (
            json!({"authentication": null}),
            &["`authentication.type` is missing", "`bearer`"],
        ),
        (
            json!({"authentication": "x"}),
            &["`authentication` must be an object, but is a string"],
        ),
        (
            json!({"authentication": {"type": "basic"}}),
            &["`authentication.type` is \"basic\""],
        ),
        (
            json!({"authentication": {"type": "bearer"}}),
            &["`authentication.token` is missing"],
        ),
        (
            json!({"authentication": {"type": "oauth-client-credentials-flow"}}),
            &[
                "`authentication.oauthTokenEndpoint` is missing",
                "`authentication.clientId` is missing",
                "`authentication.clientSecret` is missing",
            ],
        ),
        (
            json!({"authentication": {"type": "oauth-client-credentials-flow", "clientId": "a", "clientSecret": "b",
                "oauthTokenEndpoint": "http://login.example.com/token"}}),
            &["`authentication.oauthTokenEndpoint` must begin with `https://`"],
        ),
        (
            json!({"workflowId": null}),
            &["`workflowId` is missing", "`workflowName`"],
        ),
        (
            json!({"workflowId": "invoice"}),
            &["`workflowId` is \"invoice\"", "an id such as"],
        ),
        (
            json!({"workflowName": "Book"}),
            &["`workflowName` stands beside `workflowId`"],
        ),
        (json!({"connectionName": " "}), &["`connectionName` is missing"]),
        (
            json!({"connectionType": "3"}),
            &["`connectionType` is \"3\"", "`connectionReference`"],
        ),
        (json!({"connectionType": 1.5}), &["`connectionType` is \"1.5\""]),
        (
            json!({"runMode": null}),
            &["`runMode` is missing", "`attended` or `unattended`"],
        ),
        (json!({"runMode": "unatended"}), &["did you mean `unattended`?"]),
        (json!({"runTimeout": 0}), &["`runTimeout` is \"0\"", "from 1 to 86400"]),
        (json!({"runTimeout": "2h"}), &["`runTimeout` is \"2h\"", "seconds"]),
        (
            json!({"inputs": 5}),
            &["`inputs` must be an object, but is a number", "FEEL context"],
        ),
        (json!({"inputs": "{\"a\":"}), &["`inputs` is a text, but not JSON"]),
        (json!({"inputs": "[1]"}), &["`inputs` must hold an object", "a list"]),
        (json!({"runInputs": {}}), &["`inputs` stands beside `runInputs`"]),
        (
            json!({"inputs": {"a": "x".repeat(2 * 1024 * 1024)}}),
            &["`inputs` has 2097160 bytes", "at most 2097152"],
        ),
        (
            json!({"maxQueueWait": "10 minutes"}),
            &["`maxQueueWait` is \"10 minutes\"", "`PT30S`"],
        ),
        (
            json!({"pollInterval": "PT0.1S"}),
            &["`pollInterval` is \"PT0.1S\"", "at least PT1S"],
        ),
        (
            json!({"outputsMaxBytes": 1e12}),
            &["`outputsMaxBytes`", "from 1 to 33554432"],
        ),
        (
            json!({"saveTo": "../x"}),
            &["`saveTo` must not hold `.` or `..`", "`saveTo` needs a directory"],
        ),
    ]
}

#[tokio::test]
async fn each_fault_is_named_with_its_field_and_nothing_is_sent() {
    let setting = Setting::new().await;
    for (written, said) in faults() {
        let task = setting.start_task("runAndWait", written);
        let error = setting.call(&task).await.result.expect_err(said[0]);
        assert_eq!((error.error_type, error.remedy), (ErrorType::Input, Remedy::Incident));
        for text in said {
            assert!(error.message.contains(text), "expected {text:?} in: {}", error.message);
        }
        assert!(error.message.starts_with("Nothing was sent."), "{}", error.message);
        assert!(!error.message.contains("demo-client-secret"));
    }
    assert_eq!(setting.simulator.requests_received(), 0);
}

#[tokio::test]
async fn all_faults_of_a_task_are_told_at_once() {
    let setting = Setting::new().await;
    let task = setting.start_task(
        "runAndWait",
        json!({"runMode": "x", "connectionName": "", "inputs": 5, "maxWait": "soon", "runTimeout": -1}),
    );
    let message = setting.call(&task).await.error().message;
    assert!(message.contains("5 fields must be corrected"), "{message}");
    assert_eq!(
        message.lines().filter(|line| line.starts_with("- `")).count(),
        5,
        "{message}"
    );
}

#[tokio::test]
async fn a_listing_is_checked_too() {
    let setting = Setting::new().await;
    for (written, said) in [
        (json!({"select": "name;drop"}), "`select`"),
        (json!({"select": [1]}), "`select` is a list, but not of texts"),
        (json!({"filter": "name eq 'x"}), "`filter` has a quote"),
        (
            json!({"filter": "a eq 1) or (category eq 5"}),
            "`filter` has a quote or a parenthesis",
        ),
        (json!({"top": 0}), "`top` is \"0\""),
        (json!({"includeDrafts": "perhaps"}), "`includeDrafts` is \"perhaps\""),
    ] {
        let error = setting.call(&setting.task("listFlows", written)).await.error();
        assert!(error.message.contains(said), "{}", error.message);
    }
    for operation in ["getStatusOfFlowRun", "getFlowOutputs", "cancelFlowRun"] {
        let error = setting.call(&setting.task(operation, json!({}))).await.error();
        assert!(
            error.message.contains("`flowSessionId` is missing"),
            "{}",
            error.message
        );
    }
    assert_eq!(setting.simulator.requests_received(), 0);
}

#[tokio::test]
async fn a_callback_must_be_one_that_dataverse_calls() {
    let setting = Setting::new().await;
    let cloud = "https://contoso.crm4.dynamics.com";
    for url in [
        "here",
        "http://hooks.example.com/x",
        "https://localhost/x",
        "https://10.0.0.1/x",
    ] {
        let task = setting.start_task("triggerFlowRun", json!({"organizationUri": cloud, "callbackUrl": url}));
        let error = setting.call(&task).await.error();
        assert!(error.message.contains("`callbackUrl`"), "{url}: {}", error.message);
    }
    assert_eq!(setting.simulator.requests_received(), 0);
}
