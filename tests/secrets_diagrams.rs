//! Which secrets a task may use, and in which fields: what its diagram declares, or without diagrams the kind of field.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "secrets_diagrams/engine.rs"]
mod engine;

use std::path::Path;

use deskhand::outcome::{JobError, Remedy};
use deskhand::secrets::allow_list::{Fields, Mode, Settings};
use deskhand::secrets::{SecretScope, Secrets};
use serde_json::{Map, Value, json};

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("not an object: {other}"),
    }
}

fn secrets(settings: Settings) -> Secrets {
    Secrets::fixed([("A", "value-a"), ("B", "value-b"), ("ORG", "https://org.example")]).allowing(settings)
}

async fn bind(secrets: &Secrets, process: &str, element: &str, variables: Value) -> Result<Value, JobError> {
    bind_as(secrets, 0, process, element, variables).await
}

async fn bind_as(
    secrets: &Secrets,
    key: i64,
    process: &str,
    element: &str,
    variables: Value,
) -> Result<Value, JobError> {
    let scope = SecretScope {
        tenant_id: "<default>",
        bpmn_process_id: process,
        process_definition_key: key,
        element_id: element,
    };
    let bound = secrets.bind(object(variables), &scope).await?;
    Ok(bound.variables.into())
}

fn diagram(process: &str, inputs: &str) -> String {
    format!(
        r#"<?xml version="1.0"?><bpmn:definitions xmlns:bpmn="http://www.omg.org/spec/BPMN/20100524/MODEL"
        xmlns:zeebe="http://camunda.org/schema/zeebe/1.0"><bpmn:process id="{process}"><bpmn:serviceTask id="call">
        <bpmn:extensionElements><zeebe:ioMapping>{inputs}</zeebe:ioMapping></bpmn:extensionElements></bpmn:serviceTask>
        </bpmn:process></bpmn:definitions>"#
    )
}

fn with_diagrams(directory: &Path, mode: Mode) -> Secrets {
    secrets(Settings {
        diagrams: Some(directory.to_owned()),
        engine: None,
        mode,
        fields: Fields::Credentials,
    })
}

#[tokio::test]
async fn a_reference_counts_where_the_diagram_has_it_and_nowhere_else() {
    let directory = tempfile::tempdir().unwrap();
    let inputs = r#"<zeebe:input source="{{secrets.A}}" target="authentication.token" />
        <zeebe:input source="{{secrets.ORG}}" target="organizationUri" />
        <zeebe:input source="=organizationUri + &quot;/api&quot;" target="url" />
        <zeebe:input source="={note: text}" target="body" />"#;
    std::fs::write(directory.path().join("one.bpmn"), diagram("p", inputs)).unwrap();
    let secrets = with_diagrams(directory.path(), Mode::Strict);
    let good = json!({"authentication": {"token": "{{secrets.A}}"}, "organizationUri": "{{secrets.ORG}}",
                      "url": "{{secrets.ORG}}/api", "body": {"note": "x"}});
    let bound = bind(&secrets, "p", "call", good).await.unwrap();
    assert_eq!(bound["url"], "https://org.example/api");
    // What a variable brought along.
    for (bad, field) in [
        (json!({"body": {"note": "{{secrets.A}}"}}), "`body.note`"),
        (
            json!({"authentication": {"token": "{{secrets.B}}"}}),
            "`authentication.token`",
        ),
        (json!({"headers": {"{{secrets.A}}": "x"}}), "`headers.{{secrets.A}}`"),
        (json!({"url": "{{secrets.A}}"}), "`url`"),
    ] {
        let error = bind(&secrets, "p", "call", bad).await.unwrap_err();
        assert_eq!(error.remedy, Remedy::Incident);
        assert_eq!(error.code.as_deref(), Some("SECRET_NOT_DECLARED"));
        assert!(
            error.message.contains(field) && error.message.contains("Nothing was sent"),
            "{error}"
        );
        assert!(!error.message.contains("value-"), "{error}");
    }
    let error = bind(
        &secrets,
        "p",
        "other",
        json!({"authentication": {"token": "{{secrets.A}}"}}),
    )
    .await;
    assert!(error.unwrap_err().message.contains("'other'"));
}

#[tokio::test(start_paused = true)]
async fn several_versions_count_together_and_a_new_diagram_is_seen() {
    let directory = tempfile::tempdir().unwrap();
    let input = |name: &str| format!(r#"<zeebe:input source="{{{{secrets.{name}}}}}" target="body" />"#);
    std::fs::create_dir(directory.path().join("v1")).unwrap();
    std::fs::write(directory.path().join("v1/p.bpmn"), diagram("p", &input("A"))).unwrap();
    let secrets = with_diagrams(directory.path(), Mode::Strict);
    let body = |name: &str| json!({"body": format!("{{{{secrets.{name}}}}}")});
    assert!(bind(&secrets, "p", "call", body("A")).await.is_ok());
    assert!(bind(&secrets, "p", "call", body("B")).await.is_err());
    std::fs::write(directory.path().join("p2.bpmn"), diagram("p", &input("B"))).unwrap();
    tokio::time::advance(std::time::Duration::from_secs(6)).await;
    assert!(bind(&secrets, "p", "call", body("A")).await.is_ok());
    assert!(bind(&secrets, "p", "call", body("B")).await.is_ok());
}

#[tokio::test]
async fn diagrams_that_cannot_be_read_delay_jobs_and_never_allow() {
    let directory = tempfile::tempdir().unwrap();
    let gone = directory.path().join("gone");
    let variables = || json!({"authentication": {"token": "{{secrets.A}}"}});
    let error = bind(&with_diagrams(&gone, Mode::Strict), "p", "call", variables())
        .await
        .unwrap_err();
    assert!(matches!(error.remedy, Remedy::Postpone(_)), "{error}");
    assert!(
        bind(&with_diagrams(&gone, Mode::Lax), "p", "call", variables())
            .await
            .is_ok()
    );
    // Broken XML declares nothing.
    std::fs::write(directory.path().join("broken.bpmn"), "<definitions>").unwrap();
    let strict = with_diagrams(directory.path(), Mode::Strict);
    let error = bind(&strict, "p", "call", variables()).await.unwrap_err();
    assert_eq!(error.remedy, Remedy::Incident);
    assert!(error.message.contains("has the process 'p'"), "{error}");
    assert!(
        bind(&with_diagrams(directory.path(), Mode::Lax), "p", "call", variables())
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn without_diagrams_secrets_stay_in_fields_of_credentials() {
    let careful = secrets(Settings::default());
    for good in [
        json!({"authentication": {"token": "{{secrets.A}}"}}),
        json!({"headers": {"X": ["{{secrets.A}}"]}}),
        json!({"clientTls": {"clientPrivateKey": "{{secrets.A}}"}}),
        json!({"url": "{{secrets.ORG}}/path?x=1"}),
        json!({"organizationUri": "{{secrets.ORG}}"}),
    ] {
        assert!(bind(&careful, "p", "t", good.clone()).await.is_ok(), "{good}");
    }
    for bad in [
        json!({"body": {"a": "{{secrets.A}}"}}),
        json!({"body": "{{secrets.A}}"}),
        json!({"queryParameters": {"a": "{{secrets.A}}"}}),
        json!({"url": "https://x.example/?a={{secrets.A}}"}),
        json!({"inputs": {"A": "{{secrets.A}}"}}),
        json!({"inputs": "{\"A\": \"secrets.A\"}"}),
        json!({"authenticationX": "{{secrets.A}}"}),
        json!({"{{secrets.A}}": 1}),
    ] {
        let error = bind(&careful, "p", "t", bad.clone()).await.expect_err(&bad.to_string());
        assert_eq!(error.remedy, Remedy::Incident);
        assert!(error.message.contains("fields = \"all\""), "{error}");
    }
    let open = secrets(Settings {
        fields: Fields::All,
        ..Settings::default()
    });
    assert!(bind(&open, "p", "t", json!({"body": "{{secrets.A}}"})).await.is_ok());
}
