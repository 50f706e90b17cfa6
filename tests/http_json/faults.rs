//! Input that cannot be used: every fault is named, with what was found and what to write, and nothing is sent.

use deskhand::outcome::{ErrorType, Remedy};
use serde_json::json;

use super::{Rig, failure_of};

#[tokio::test]
async fn every_fault_of_an_input_is_named_at_once_and_nothing_is_sent() {
    let rig = Rig::new();
    let error = rig
        .run(json!({
            "method": "FETCH",
            "headers": {"X-O": {"a": 1}, "bad name": "x", "Content-Length": 5, "X-Line": "a\nb"},
            "connectionTimeoutInSeconds": "0xFF",
            "readTimeoutInSeconds": 0.1,
            "authentication": {"type": "bearer", "token": ""},
            "queryParameters": "a=b",
            "documentReturnFormat": {"choice": "DOCUMENT"},
            "clientTls": {"clientCertificate": "x", "privateKeyPassword": "hunter2"},
            "storeResponse": true,
        }))
        .await
        .unwrap_err();
    assert_eq!(
        (error.error_type, error.remedy, error.code),
        (ErrorType::Input, Remedy::Incident, None)
    );
    for says in [
        "`method` is \"FETCH\". Write `GET`, `POST`",
        "`headers.X-O` is an object",
        "\"bad name\"",
        "`headers.Content-Length` is set by deskhand itself",
        "`headers.X-Line` holds a line break",
        "`connectionTimeoutInSeconds` is \"0xFF\". Write a whole number of seconds",
        "`readTimeoutInSeconds` is a number",
        "`authentication.token` is empty. Write the token",
        "`queryParameters` is a string. Write an object",
        "`documentReturnFormat.choice` is \"DOCUMENT\"",
        "`clientTls.clientPrivateKey` is missing",
        "`storeResponse` is a boolean. Write false",
        "`url` is missing. Write the address to call",
    ] {
        assert!(error.message.contains(says), "{says}\n{}", error.message);
    }
    assert!(!error.message.contains("hunter2"), "{}", error.message);
    assert!(rig.steps.lock().unwrap().is_empty());
}

#[tokio::test]
async fn urls_and_types_that_cannot_be_used_say_what_to_write() {
    for (variables, says) in [
        (json!({"url": "", "method": "GET"}), "`url` is empty"),
        (
            json!({"url": "ftp://camunda.org/", "method": "GET"}),
            "begins with `http://`",
        ),
        (json!({"url": "iAmWrongUrl", "method": "GET"}), "\"iAmWrongUrl\""),
        (
            json!({"url": "http:/192.0.0.0", "method": "GET"}),
            "begins with `http://`",
        ),
        (
            json!({"url": "http://0000::1", "method": "GET"}),
            "Invalid URL: `url` is \"http://0000::1\"",
        ),
        (json!({"url": "http://h/", "method": " "}), "`method` is empty"),
        (
            json!({"url": "http://h/", "method": "GET", "authentication": {"type": "magic"}}),
            "`noAuth`, `basic`",
        ),
        (
            json!({"url": "http://h/", "method": "GET", "authentication": {}}),
            "`authentication.type` is missing",
        ),
        (
            json!({"url": "http://h/", "method": "GET", "authentication": "bearer"}),
            "an object with a `type`",
        ),
        (
            json!({"url": "http://h/", "method": "GET", "authentication": {"type": "bearer", "token": "a\nb"}}),
            "without line breaks",
        ),
        (
            json!({"url": "http://h/", "method": "POST", "body": {"camunda.document.type": "camunda"}}),
            "document store",
        ),
    ] {
        let error = failure_of(variables).await;
        assert_eq!(error.remedy, Remedy::Incident);
        assert!(error.message.contains(says), "{says}: {}", error.message);
    }
}
