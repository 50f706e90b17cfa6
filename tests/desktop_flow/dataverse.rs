//! What the Dataverse client can do beyond what the operations need today.

use deskhand::http::Client;
use deskhand::microsoft::dataverse::sessions::MOST_IN_A_QUERY;
use deskhand::microsoft::dataverse::{Credential, Dataverse, Guid, Organization, Timeouts};
use deskhand::sandbox::power_automate::RequestRecord;
use deskhand::sandbox::power_automate::{BOOK_INVOICE, MONTHLY_REPORT, RouteName};
use serde_json::json;

use crate::setting::{Setting, settings, standing_still};

pub fn client(setting: &Setting) -> Dataverse {
    let organization = Organization::parse(&setting.simulator.organization(), &[]).unwrap();
    let token = Credential::Bearer(setting.simulator.token().unwrap().into());
    Dataverse::new(Client::new().unwrap(), organization, token, Timeouts::default())
}

fn id(text: impl ToString) -> Guid {
    Guid::parse(&text.to_string()).unwrap()
}

#[tokio::test]
async fn many_runs_are_asked_for_in_one_query_and_missing_ones_are_left_out() {
    let setting = Setting::of(standing_still(), settings()).await;
    let mut runs = Vec::new();
    for _ in 0..3 {
        runs.push(id(setting.started(json!({})).await));
    }
    let missing = id("99999999-0000-4000-8000-000000000009");
    let asked: Vec<Guid> = runs.iter().copied().chain([missing]).collect();
    let mut found: Vec<Guid> = client(&setting)
        .flow_sessions(&asked)
        .await
        .unwrap()
        .into_iter()
        .map(|session| session.id)
        .collect();
    found.sort();
    runs.sort();
    assert_eq!(found, runs);
    let asked = |request: &&RequestRecord| request.query.contains("flowsessionid%20eq");
    assert_eq!(setting.requests(RouteName::Sessions).iter().filter(asked).count(), 1);
}

#[tokio::test]
async fn a_full_query_is_short_enough_for_a_url_and_an_empty_one_is_not_sent() {
    let setting = Setting::of(standing_still(), settings()).await;
    let run = id(setting.started(json!({})).await);
    let dataverse = client(&setting);
    assert_eq!(dataverse.flow_sessions(&[]).await.unwrap(), []);
    let found = dataverse.flow_sessions(&[run; MOST_IN_A_QUERY]).await.unwrap();
    assert_eq!(found.len(), 1);
    let mut requests = setting.requests(RouteName::Sessions);
    requests.retain(|request| request.query.contains("flowsessionid%20eq"));
    assert_eq!(requests.len(), 1);
    assert!(requests[0].query.len() < 8192, "{}", requests[0].query.len());
}

#[tokio::test]
async fn what_a_run_was_given_can_be_read_back() {
    let setting = Setting::of(standing_still(), settings()).await;
    let dataverse = client(&setting);
    let given = id(setting.started(json!({})).await);
    let inputs = dataverse.run_inputs(&given, 1024).await.unwrap().unwrap();
    assert_eq!(inputs, br#"{"InvoiceId":"42","Amount":12.5}"#);
    let nothing = id(setting.started(json!({"inputs": null})).await);
    assert_eq!(dataverse.run_inputs(&nothing, 1024).await.unwrap(), None);
}

#[tokio::test]
async fn a_flow_tells_the_names_and_types_of_its_inputs_and_outputs() {
    let setting = Setting::of(standing_still(), settings()).await;
    let dataverse = client(&setting);
    let flow = id(BOOK_INVOICE);
    let inputs = dataverse.workflow_inputs_schema(&flow).await.unwrap().unwrap();
    assert_eq!(inputs["properties"]["InvoiceId"]["type"], "string");
    let outputs = dataverse.workflow_outputs_schema(&flow).await.unwrap().unwrap();
    assert!(outputs["properties"]["BookingNumber"].is_object());

    let none = dataverse.workflow_inputs_schema(&id(MONTHLY_REPORT)).await.unwrap();
    let properties = none.as_ref().and_then(|schema| schema["properties"].as_object());
    assert!(properties.is_none_or(|properties| properties.is_empty()), "{none:?}");
}
