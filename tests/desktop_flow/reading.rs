//! Operations that start nothing, and sign-ins that are refused.

use axum::Router;
use axum::routing::get;
use deskhand::connector::desktop_flow::Settings;
use deskhand::outcome::Remedy;
use deskhand::sandbox::power_automate::{BOOK_INVOICE, Effect, RouteName, Seed, Status, Workflow};
use serde_json::json;

use crate::setting::{Setting, connector, impatient, settings, standing_still, world};

const NOBODYS: &str = "99999999-0000-4000-8000-000000000009";

#[tokio::test]
async fn a_status_is_told_in_number_and_word_whatever_it_is() {
    let setting = Setting::of(standing_still(), settings()).await;
    let run = setting.started(json!({})).await;
    let task = setting.task("getStatusOfFlowRun", json!({"flowSessionId": run}));
    let response = setting.call(&task).await.response();
    assert_eq!(response["flowSessionId"], json!(run));
    assert_eq!(response["finished"], false);

    setting.simulator.advance(std::time::Duration::from_secs(60));
    let response = setting.call(&task).await.response();
    assert_eq!(
        (&response["statusCode"], &response["status"]),
        (&json!(4), &json!("Succeeded"))
    );
    assert_eq!(
        (&response["finished"], &response["succeeded"]),
        (&json!(true), &json!(true))
    );
}

#[tokio::test]
async fn a_failed_run_is_an_answer_of_its_status() {
    let setting = Setting::new().await;
    let flow = json!({"workflowid": BOOK_INVOICE.to_string(), "name": "x", "scripts": [
        {"ends": "Failed", "error": {"code": "Boom", "message": "It broke."}}]});
    let flow: Workflow = serde_json::from_value(flow).unwrap();
    setting
        .simulator
        .seed(Seed {
            workflows: vec![flow],
            ..Seed::default()
        })
        .unwrap();
    let run = setting.started(json!({})).await;
    setting.simulator.advance(std::time::Duration::from_secs(60));
    let task = setting.task("getStatusOfFlowRun", json!({"flowSessionId": run}));
    let response = setting.call(&task).await.response();
    assert_eq!(response["statusCode"], 8);
    assert_eq!(
        (&response["errorCode"], &response["errorMessage"]),
        (&json!("Boom"), &json!("It broke."))
    );
    assert_eq!(response["succeeded"], false);
}

#[tokio::test]
async fn a_run_that_does_not_exist_is_an_incident_for_every_operation() {
    let setting = Setting::of(world(), impatient()).await;
    for operation in ["getStatusOfFlowRun", "getFlowOutputs", "cancelFlowRun"] {
        let task = setting.task(operation, json!({"flowSessionId": NOBODYS}));
        let error = setting.call(&task).await.error();
        assert_eq!(error.remedy, Remedy::Incident, "{operation}");
        assert_eq!(error.code.as_deref(), Some("404"), "{operation}");
        assert!(error.message.contains(NOBODYS), "{}", error.message);
    }
}

#[tokio::test]
async fn outputs_are_read_on_their_own() {
    let setting = Setting::of(standing_still(), settings()).await;
    let run = setting.started(json!({})).await;
    let task = setting.task("getFlowOutputs", json!({"flowSessionId": run}));
    assert_eq!(
        setting.call(&task).await.response(),
        json!({"flowSessionId": run, "outputs": null}),
        "a run that goes on has none"
    );
    setting.simulator.advance(std::time::Duration::from_secs(60));
    let response = setting.call(&task).await.response();
    assert_eq!(response["outputs"]["InvoiceId"], "42");
}

#[tokio::test]
async fn a_run_is_cancelled_and_one_that_is_over_is_no_error() {
    let setting = Setting::of(standing_still(), settings()).await;
    let run = setting.started(json!({})).await;
    let task = setting.task("cancelFlowRun", json!({"flowSessionId": run}));
    let response = setting.call(&task).await.response();
    assert_eq!(
        (&response["accepted"], &response["alreadyFinished"]),
        (&json!(true), &json!(false))
    );

    setting.simulator.advance(std::time::Duration::from_secs(60));
    assert_eq!(setting.simulator.sessions()[0].status, Status::Cancelled);
    let response = setting.call(&task).await.response();
    assert_eq!(
        (&response["accepted"], &response["alreadyFinished"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(response["statusCode"], 7);
}

fn flow(number: u32, name: &str, published: bool) -> Workflow {
    Workflow {
        id: format!("11111111-0000-4000-8000-{number:012}").parse().unwrap(),
        name: name.into(),
        published,
        ..Workflow::default()
    }
}

#[tokio::test]
async fn flows_are_listed_over_all_pages_filtered_ordered_and_cut() {
    let mut world = world();
    world.limits.page_size = 2;
    world.environment.workflows = (0..5)
        .map(|number| flow(number, &format!("Flow {number}"), true))
        .collect();
    world.environment.workflows.push(flow(9, "Flow draft", false));
    let setting = Setting::of(world, settings()).await;
    let names = |response: &serde_json::Value| -> Vec<String> {
        let flows = response["flows"].as_array().unwrap();
        flows
            .iter()
            .map(|flow| flow["name"].as_str().unwrap().to_owned())
            .collect()
    };

    let task = setting.task("listFlows", json!({"orderBy": "name desc"}));
    let response = setting.call(&task).await.response();
    assert_eq!(names(&response), ["Flow 4", "Flow 3", "Flow 2", "Flow 1", "Flow 0"]);
    assert_eq!((&response["count"], &response["complete"]), (&json!(5), &json!(true)));
    let pages = setting.requests(RouteName::Workflows);
    assert_eq!(pages.len(), 3);
    for page in pages {
        assert_eq!(page.headers["prefer"], "odata.maxpagesize=500");
        assert!(page.query.contains("select"), "{}", page.query);
    }

    let task = setting.task("listFlows", json!({"orderBy": "name", "top": 3, "select": "name"}));
    let response = setting.call(&task).await.response();
    assert_eq!(names(&response), ["Flow 0", "Flow 1", "Flow 2"]);
    assert_eq!(response["complete"], false);

    let task = setting.task(
        "listFlows",
        json!({"filter": "contains(name,'draft') or name eq 'Flow 2'", "includeDrafts": true}),
    );
    let mut found = names(&setting.call(&task).await.response());
    found.sort();
    assert_eq!(found, ["Flow 2", "Flow draft"]);
}

#[tokio::test]
async fn a_link_to_another_host_is_not_followed() {
    let setting = Setting::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let organization = format!("http://{}", listener.local_addr().unwrap());
    let elsewhere = setting.simulator.organization();
    let page = json!({"value": [], "@odata.nextLink": format!("{elsewhere}/api/data/v9.2/workflows?$skiptoken=1")});
    let app = Router::new().route("/api/data/v9.2/workflows", get(move || async move { axum::Json(page) }));
    tokio::spawn(async move { axum::serve(listener, app).await });

    let task = setting.task(
        "listFlows",
        json!({"organizationUri": organization, "authentication": {"type": "bearer", "token": "t"}}),
    );
    let error = setting.call(&task).await.error();
    assert!(
        error.message.contains("leads out of the organisation"),
        "{}",
        error.message
    );
    assert_eq!(setting.simulator.requests_received(), 0);
}

#[tokio::test]
async fn a_refused_sign_in_says_what_to_renew() {
    let mut world = world();
    world.directory.applications[0].secret_expired = true;
    let setting = Setting::of(world, settings()).await;
    let error = setting.call(&setting.task("listFlows", json!({}))).await.error();
    assert_eq!((error.code.as_deref(), error.remedy), (Some("TOKEN"), Remedy::Incident));
    assert!(
        error.message.contains("AADSTS7000222") && error.message.contains("create a new one"),
        "{}",
        error.message
    );
    assert!(!error.message.contains("demo-client-secret"));
}

#[tokio::test]
async fn a_sign_in_service_in_trouble_is_asked_again_later() {
    let setting = Setting::new().await;
    setting.goes_wrong(RouteName::Token, Effect::Entra(90_033));
    let error = setting.call(&setting.task("listFlows", json!({}))).await.error();
    assert!(
        matches!(error.remedy, Remedy::Postpone(_)),
        "it costs no retry: {:?}",
        error.remedy
    );
    setting.call(&setting.task("listFlows", json!({}))).await.response();
}

#[tokio::test]
async fn a_missing_application_user_is_an_incident_that_tells_how_to_create_one() {
    let mut world = world();
    world.directory.applications[0].application_user = false;
    let setting = Setting::of(world, settings()).await;
    let error = setting.call(&setting.task("listFlows", json!({}))).await.error();
    assert_eq!(error.remedy, Remedy::Incident);
    assert!(
        error.message.contains("create an application user"),
        "{}",
        error.message
    );
}

#[tokio::test]
async fn a_tenant_may_stand_for_the_token_endpoint() {
    let world = world();
    let tenant = world.directory.tenant.to_string();
    let mut setting = Setting::of(world, settings()).await;
    let authority = setting.simulator.authority().replace(&tenant, "");
    setting.connector = connector(Settings {
        authority,
        ..settings()
    });
    let mut task = setting.task("listFlows", json!({}));
    let authentication = task.variables["authentication"].as_object_mut().unwrap();
    authentication.remove("oauthTokenEndpoint");
    authentication.insert("tenantId".into(), json!(tenant));
    setting.call(&task).await.response();

    task.variables["authentication"]["tenantId"] = json!(format!("{tenant}/../x"));
    let error = setting.call(&task).await.error();
    assert!(error.message.contains("`authentication.tenantId`"), "{}", error.message);
}
