//! Starts that are written as REST tasks, as Camunda's Power Automate template writes them.

use std::sync::Arc;

use deskhand::connector::http_json::{self, HttpJson};
use deskhand::http::Client;
use deskhand::http::token::Tokens;
use deskhand::sandbox::power_automate::{BOOK_INVOICE, CLIENT_ID, CONNECTION, Effect, RouteName, Span, Throttle};
use deskhand::secrets::Policy;
use serde_json::{Value, json};

use crate::setting::{Setting, Task, connector, with_token_url, world};
use crate::starting::unavailable;

/// The REST connector of a replica; with `once` starts are recognised.
fn rest(once: bool) -> HttpJson {
    let http = Client::new().unwrap();
    let tokens = Arc::new(Tokens::new(http.clone()));
    let rest = HttpJson::new(
        http,
        tokens,
        Arc::new(Policy::default()),
        http_json::Settings::default(),
    );
    if once {
        rest.starting_once(connector(with_token_url()).starts())
    } else {
        rest
    }
}

/// What the template writes; `body` overrides fields.
fn task(setting: &Setting, body: Value) -> Task {
    let mut whole = json!({
        "runMode": "unattended", "runPriority": "normal", "connectionName": CONNECTION, "connectionType": "1",
        "timeout": 7200, "inputs": "{\"InvoiceId\":\"42\"}", "callbackUrl": null,
    });
    whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    let organization = setting.simulator.organization();
    let mut task = setting.task("triggerFlowRun", json!({}));
    let variables = json!({
        "method": "POST",
        "url": format!("{organization}/api/data/v9.2/workflows({BOOK_INVOICE})/Microsoft.Dynamics.CRM.RunDesktopFlow"),
        "authentication": {
            "type": "oauth-client-credentials-flow",
            "oauthTokenEndpoint": setting.simulator.token_endpoint(),
            "clientId": CLIENT_ID.to_string(),
            "clientSecret": "demo-client-secret",
            "clientAuthentication": "basicAuthHeader",
            "scopes": format!("{organization}/.default"),
        },
        "headers": {"Accept": "application/json"},
        "connectionTimeoutInSeconds": 20,
        "body": whole,
    });
    task.variables = variables.as_object().unwrap().clone();
    task
}

#[tokio::test]
async fn the_templates_start_is_sent_as_dataverse_takes_it_and_answered_as_rest() {
    let setting = Setting::of(world(), with_token_url()).await;
    let done = setting.call_by(&rest(true), &task(&setting, json!({}))).await;
    let response = done.response();
    let run = setting.simulator.sessions()[0].id.to_string();
    assert_eq!(response["status"], 200);
    assert_eq!(response["body"]["flowsessionId"], json!(run));
    assert_eq!(response["body"]["licenseCheck"]["code"], "ValidLicenseCoverage");
    let sent: Value = serde_json::from_str(&setting.requests(RouteName::Run)[0].body).unwrap();
    assert_eq!(sent["connectionType"], json!(1));
    assert!(
        sent["callbackUrl"]
            .as_str()
            .unwrap()
            .starts_with("https://tokens.example.com/")
    );

    // As it is written, Dataverse refuses it.
    let error = setting.call_by(&rest(false), &task(&setting, json!({}))).await.error();
    assert_eq!(error.code.as_deref(), Some("400"));
}

#[tokio::test]
async fn the_templates_start_leads_to_one_run_whatever_becomes_of_it() {
    for effect in [
        Effect::ProcessThenDrop,
        Effect::DropBeforeProcess,
        Effect::MalformedJson,
        unavailable(503, true),
        unavailable(502, false),
    ] {
        let setting = Setting::of(world(), with_token_url()).await;
        setting.goes_wrong(RouteName::Run, effect.clone());
        let mut task = task(&setting, json!({}));
        let first = setting.call_by(&rest(true), &task).await.response();
        let run = json!(setting.simulator.sessions()[0].id.to_string());
        assert_eq!((&first["status"], &first["body"]["flowsessionId"]), (&json!(200), &run));
        // The job comes again, to another replica.
        task.comes_again();
        let again = setting.call_by(&rest(true), &task).await.response();
        assert_eq!(again["body"]["flowsessionId"], run, "{effect:?}");
        assert_eq!(setting.simulator.runs_started(), 1, "{effect:?}");
    }
}

#[tokio::test]
async fn a_refused_start_is_told_as_every_rest_task_tells_it() {
    let setting = Setting::of(world(), with_token_url()).await;
    let once = setting
        .call_by(&rest(true), &task(&setting, json!({"connectionName": "nobody's"})))
        .await
        .error();
    let plain = setting
        .call_by(
            &rest(false),
            &task(&setting, json!({"connectionName": "nobody's", "connectionType": 1})),
        )
        .await
        .error();
    assert_eq!(once.code, plain.code);
    assert_eq!(once.message, plain.message);
    assert_eq!(once.remedy, plain.remedy);
    let body = |error: &deskhand::outcome::JobError| error.variables.clone().unwrap()["response"]["body"].clone();
    assert_eq!(body(&once), body(&plain));
    assert_eq!(once.noted()["deskhandIntent"], Value::Null);

    let throttled = Effect::Throttle(Throttle {
        retry_after: Span::seconds(60),
        ..Throttle::default()
    });
    setting.goes_wrong(RouteName::Run, throttled);
    let error = setting.call_by(&rest(true), &task(&setting, json!({}))).await.error();
    assert_eq!(error.code.as_deref(), Some("429"));
    assert_eq!(setting.simulator.runs_started(), 0);
}

#[tokio::test]
async fn a_given_token_and_an_attended_start_work_too() {
    let setting = Setting::of(world(), with_token_url()).await;
    let mut task = task(&setting, json!({"runMode": "attended", "inputs": {"InvoiceId": "7"}}));
    let token = setting.simulator.token().unwrap();
    task.variables
        .insert("authentication".into(), json!({"type": "bearer", "token": token}));
    setting.goes_wrong(RouteName::Run, Effect::ProcessThenDrop);
    setting.call_by(&rest(true), &task).await.response();
    let sessions = setting.simulator.sessions();
    assert_eq!(sessions.len(), 1);
    assert_eq!(sessions[0].inputs.as_deref(), Some("{\"InvoiceId\":\"7\"}"));
}

#[tokio::test]
async fn what_is_no_start_goes_out_as_it_is() {
    let setting = Setting::of(world(), with_token_url()).await;
    let mut list = task(&setting, json!({}));
    let organization = setting.simulator.organization();
    list.variables.insert("method".into(), json!("GET"));
    list.variables
        .insert("url".into(), json!(format!("{organization}/api/data/v9.2/workflows")));
    list.variables.remove("body");
    let response = setting.call_by(&rest(true), &list).await.response();
    assert!(response["body"]["value"].is_array());
    assert_eq!(list.journal.last(), None);
    // A start that Dataverse will refuse for its shape.
    let error = setting
        .call_by(&rest(true), &task(&setting, json!({"runMode": ""})))
        .await
        .error();
    assert_eq!(error.code.as_deref(), Some("400"));
}
