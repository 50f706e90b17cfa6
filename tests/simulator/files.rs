//! The file columns of runs.

use deskhand::sandbox::power_automate::{MONTHLY_REPORT, Outputs, Script};
use serde_json::Map;

use super::runs::flow;
use super::*;

#[tokio::test]
async fn outputs_are_a_file_that_can_be_read_in_ranges() {
    let client = Client::new().await;
    let script = Script {
        outputs: Outputs::Bytes(5_000_000),
        ..Script::default()
    };
    client.simulator.seed(flow(script)).unwrap();
    let session = client.start(json!({})).await;
    client.advance(10);
    let path = format!("flowsessions({session})/outputs/$value");
    let whole = client.get(&path).await;
    assert_eq!(whole.headers()["x-ms-file-size"], "5000000");
    assert_eq!(whole.bytes().await.unwrap().len(), 5_000_000);
    let ranged = |range: &'static str| client.request(Method::GET, &path).header("range", range).send();
    let first = ranged("bytes=0-4194303").await.unwrap();
    assert_eq!(
        (first.status().as_u16(), &first.headers()["x-ms-chunk-size"]),
        (206, &"4194304".parse().unwrap())
    );
    assert_eq!(first.headers()["content-range"], "bytes 0-4194303/5000000");
    let rest = ranged("bytes=4194304-8388607").await.unwrap();
    assert_eq!(rest.headers()["x-ms-chunk-size"], "805696");
    assert!(rest.text().await.unwrap().ends_with("xx\"}"));
    assert_eq!(ranged("bytes=5000000-").await.unwrap().status(), 416);
}

#[tokio::test]
async fn outputs_need_not_be_json_and_may_be_missing_in_two_ways() {
    let client = Client::new().await;
    let outputs = Outputs::Base64("AP/+".to_owned());
    client
        .simulator
        .seed(flow(Script {
            outputs,
            ..Script::default()
        }))
        .unwrap();
    let session = client.start(json!({})).await;
    client.advance(10);
    let bytes = client
        .get(&format!("flowsessions({session})/outputs/$value"))
        .await
        .bytes()
        .await
        .unwrap();
    assert_eq!(bytes.as_ref(), [0x00, 0xff, 0xfe]);

    let mut world = World::default();
    world.behaviour.empty_file_no_content = true;
    let client = Client::of(world).await;
    let body = run_body(json!({}));
    let started = client
        .request(Method::POST, &run_path(MONTHLY_REPORT))
        .json(&body)
        .send()
        .await
        .unwrap();
    let session = id(&started.json::<Value>().await.unwrap()["flowsessionId"]);
    client.advance(10);
    assert_eq!(
        client
            .get(&format!("flowsessions({session})/outputs/$value"))
            .await
            .status(),
        204
    );
}

#[tokio::test]
async fn outputs_are_what_the_script_says_and_not_the_inputs() {
    let client = Client::new().await;
    let outputs = Outputs::Json(Map::from_iter([("Answer".to_owned(), json!("42"))]));
    client
        .simulator
        .seed(flow(Script {
            outputs,
            ..Script::default()
        }))
        .unwrap();
    let session = client.start(json!({"inputs": "{\"Ignored\":true}"})).await;
    client.advance(10);
    let outputs = client.get(&format!("flowsessions({session})/outputs/$value")).await;
    assert_eq!(outputs.text().await.unwrap(), "{\"Answer\":\"42\"}");
}

#[tokio::test]
async fn an_environment_may_know_no_ranges() {
    let mut world = World::default();
    world.behaviour.whole_files = true;
    let client = Client::of(world).await;
    let outputs = Outputs::Bytes(100);
    client
        .simulator
        .seed(flow(Script {
            outputs,
            ..Script::default()
        }))
        .unwrap();
    let session = client.start(json!({})).await;
    client.advance(10);
    let path = format!("flowsessions({session})/outputs/$value");
    let ranged = client.request(Method::GET, &path).header("range", "bytes=0-9").send();
    let ranged = ranged.await.unwrap();
    assert_eq!(ranged.status(), 200);
    assert_eq!(ranged.bytes().await.unwrap().len(), 100);
}
