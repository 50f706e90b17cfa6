//! RunDesktopFlow, the rows of runs, and their cancellation.

use deskhand::sandbox::power_automate::{
    Application, ConnectionStatus, Effect, Environment, Fault, RouteName, RunError, Scenario, Script, Seed, Span,
    Status, Workflow,
};

use super::*;

/// The default flow with another script.
pub fn flow(script: Script) -> Seed {
    let workflow = Workflow {
        id: BOOK_INVOICE,
        name: "Book invoice".to_owned(),
        scripts: vec![script],
        ..Workflow::default()
    };
    Seed {
        workflows: vec![workflow],
        ..Seed::default()
    }
}

#[tokio::test]
async fn a_run_goes_from_waiting_over_running_to_succeeded_with_outputs() {
    let client = Client::new().await;
    let answer = client
        .start_request(&run_body(
            json!({"inputs": "{\"InvoiceId\":\"42\"}", "timeout": 7200, "connectionType": 1}),
        ))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["odata-version"], "4.0");
    let body: Value = answer.json().await.unwrap();
    assert!(
        body["@odata.context"]
            .as_str()
            .unwrap()
            .ends_with("$metadata#Microsoft.Dynamics.CRM.RunDesktopFlowResponse")
    );
    assert_eq!(body["licenseCheck"]["code"], "ValidLicenseCoverage");
    let session = id(&body["flowsessionId"]);

    let path = format!("flowsessions({session})?$select=statuscode,statecode,startedon,completedon,errorcode");
    let row = client.read(&path).await;
    assert_eq!(
        (&row["statuscode"], &row["startedon"], &row["completedon"]),
        (&json!(3), &Value::Null, &Value::Null)
    );
    assert_eq!(
        client
            .get(&format!("flowsessions({session})/outputs/$value"))
            .await
            .status(),
        404
    );

    client.advance(1);
    assert_eq!(client.status(session).await, 2);
    client.advance(3);
    let row = client.read(&path).await;
    assert_eq!(
        (&row["statuscode"], &row["statecode"], &row["errorcode"]),
        (&json!(4), &json!(0), &Value::Null)
    );
    assert_eq!(row["flowsessionid"], session.to_string());
    assert!(row["@odata.etag"].as_str().unwrap().starts_with("W/\""));
    let moment = row["completedon"].as_str().unwrap();
    assert!(moment.len() == 20 && moment.ends_with('Z'), "{moment}");

    let outputs = client.get(&format!("flowsessions({session})/outputs/$value")).await;
    assert_eq!(outputs.headers()["x-ms-file-name"], "outputs.json");
    assert_eq!(outputs.headers()["mimetype"], "application/octet-stream");
    assert_eq!(
        outputs.json::<Value>().await.unwrap(),
        json!({"InvoiceId": "42", "BookingNumber": "B-2026-0815"})
    );
    let inputs = client.get(&format!("flowsessions({session})/inputs/$value")).await;
    assert_eq!(inputs.text().await.unwrap(), "{\"InvoiceId\":\"42\"}");
    assert_eq!(client.simulator.runs_started(), 1);
}

#[tokio::test]
async fn a_failed_run_keeps_statecode_zero_and_tells_its_error() {
    let client = Client::of(World::demo(Scenario::Fails)).await;
    let session = client.start(json!({})).await;
    client.advance(10);
    let row = client
        .read(&format!(
            "flowsessions({session})?$select=statuscode,statecode,errorcode,errormessage"
        ))
        .await;
    assert_eq!((&row["statuscode"], &row["statecode"]), (&json!(8), &json!(0)));
    assert_eq!(row["errorcode"], "InvoiceAlreadyBooked");
    assert!(row["errormessage"].as_str().unwrap().contains("ledger"));
    assert_eq!(
        client
            .get(&format!("flowsessions({session})/outputs/$value"))
            .await
            .status(),
        404
    );
}

#[tokio::test]
async fn payloads_of_the_wrong_shape_are_refused_as_payloads() {
    let client = Client::new().await;
    let wrong_type = run_body(json!({"connectionType": "1"}));
    let (status, code, message) = client.refusal(&wrong_type).await;
    assert_eq!((status, code.as_str()), (400, "0x80048d19"));
    assert!(
        message.contains("Cannot convert the literal '1' to the expected type 'Edm.Int32'"),
        "{message}"
    );
    for body in [
        run_body(json!({"timeout": 1.5})),
        run_body(json!({"timeout": 4_000_000_000_u32})),
        run_body(json!({"runMode": 1})),
        run_body(json!({"inputs": {"InvoiceId": "42"}})),
        run_body(json!({"Inputs": "{}"})),
        json!([]),
    ] {
        assert_eq!(client.refusal(&body).await.1, "0x80048d19", "{body}");
    }
    let broken = client
        .request(Method::POST, &run_path(BOOK_INVOICE))
        .header("content-type", "application/json");
    assert_eq!(refusal(broken.body("{").send().await.unwrap()).await.1, "0x80048d19");
    let untyped = client
        .request(Method::POST, &run_path(BOOK_INVOICE))
        .body("{}")
        .send()
        .await
        .unwrap();
    assert_eq!(untyped.status(), 415);
    assert_eq!(client.simulator.runs_started(), 0);
}

#[tokio::test]
async fn values_that_the_action_refuses_are_refused_with_its_code_and_a_reason() {
    let client = Client::of(World::default()).await;
    let large = format!("{{\"Text\":\"{}\"}}", "x".repeat(2 * 1024 * 1024));
    for (changes, reason) in [
        (json!({"runMode": "sometimes"}), "run mode"),
        (json!({"runMode": null}), "'runMode'"),
        (json!({"connectionName": "elsewhere"}), "'elsewhere'"),
        (json!({"connectionType": 3}), "connection type 3"),
        (json!({"connectionType": 2}), "connection reference"),
        (json!({"timeout": 0}), "timeout 0"),
        (json!({"timeout": 86_401}), "timeout 86401"),
        (json!({"inputs": ""}), "JSON object"),
        (json!({"inputs": "[1]"}), "JSON object"),
        (json!({"inputs": large}), "bytes"),
        (json!({"callbackUrl": "http://hooks.example.com/"}), "https"),
        (json!({"callbackUrl": "https://127.0.0.1/"}), "IP address"),
    ] {
        let (status, code, message) = client.refusal(&run_body(changes)).await;
        assert_eq!((status, code.as_str()), (400, "0x80040265"), "{message}");
        assert!(message.contains(reason), "{message}");
    }
    assert_eq!(client.simulator.runs_started(), 0);
}

#[tokio::test]
async fn what_the_service_takes_is_taken() {
    let client = Client::new().await;
    for changes in [
        json!({"runMode": "Attended"}),
        json!({"connectionType": 2, "connectionName": "contoso_desktopflows_1f0a2"}),
        json!({"timeout": null, "inputs": null, "runPriority": "high", "callbackUrl": null}),
        json!({"inputs": "{}", "runPriority": "urgent"}),
    ] {
        client.start(changes).await;
    }
    assert_eq!(client.simulator.runs_started(), 4);
}

#[tokio::test]
async fn flows_that_cannot_be_run_are_refused() {
    let client = Client::new().await;
    let unknown: Guid = "11111111-1111-4111-8111-111111111111".parse().unwrap();
    let answer = client
        .request(Method::POST, &run_path(unknown))
        .json(&run_body(json!({})))
        .send()
        .await
        .unwrap();
    let (status, code, message) = refusal(answer).await;
    assert_eq!((status, code.as_str()), (404, "0x80040217"));
    assert!(message.contains("Does Not Exist"));
    for (last, reason) in [("f3", "draft"), ("f4", "not a desktop flow")] {
        let flow: Guid = format!("5a1b0000-0000-4000-8000-0000000000{last}").parse().unwrap();
        let answer = client
            .request(Method::POST, &run_path(flow))
            .json(&run_body(json!({})))
            .send()
            .await
            .unwrap();
        let (status, _, message) = refusal(answer).await;
        assert!(status == 400 && message.contains(reason), "{message}");
    }
}

#[tokio::test]
async fn broken_and_foreign_connections_are_refused() {
    let mut environment = Environment::default();
    environment.connections[0].status = ConnectionStatus::Error;
    let client = Client::of(World {
        environment,
        ..World::default()
    })
    .await;
    assert!(client.refusal(&run_body(json!({}))).await.2.contains("error state"));
    let mut foreign = Environment::default().connections;
    foreign[0].owner = Some(BOOK_INVOICE);
    client
        .simulator
        .seed(Seed {
            connections: foreign,
            ..Seed::default()
        })
        .unwrap();
    assert!(client.refusal(&run_body(json!({}))).await.2.contains("permission"));
}

#[tokio::test]
async fn the_seventy_first_start_of_a_minute_is_throttled_until_the_minute_is_over() {
    let client = Client::new().await;
    for _ in 0..70 {
        client.start(json!({})).await;
    }
    let answer = client.start_request(&run_body(json!({}))).send().await.unwrap();
    assert_eq!(answer.status(), 429);
    let after: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&after), "{after}");
    assert_eq!(refusal(answer).await.1, "DesktopFlowsActionThrottled");
    assert_eq!(client.simulator.runs_started(), 70);
    client.advance(after);
    client.start(json!({})).await;
}

#[tokio::test]
async fn a_licence_that_is_missing_is_told_and_does_not_block() {
    let client = Client::new().await;
    let fault = Fault::on(RouteName::Run, Effect::LicenseCheck("UnattendedNoAddon".to_owned()));
    client.simulator.add_fault(fault).unwrap();
    let body: Value = client
        .start_request(&run_body(json!({})))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(body["licenseCheck"]["code"], "UnattendedNoAddon");
    let body: Value = client
        .start_request(&run_body(json!({})))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(body["licenseCheck"]["code"], "ValidLicenseCoverage");
}

#[tokio::test]
async fn a_new_run_may_be_unreadable_for_a_while() {
    let client = Client::new().await;
    client
        .simulator
        .add_fault(Fault::on(RouteName::Run, Effect::Hidden(Span::seconds(20))))
        .unwrap();
    let session = client.start(json!({})).await;
    let answer = client.get(&format!("flowsessions({session})?$select=statuscode")).await;
    assert_eq!(refusal(answer).await.1, "0x80040217");
    assert_eq!(client.read("flowsessions?$select=statuscode").await["value"], json!([]));
    client.advance(20);
    assert_eq!(client.status(session).await, 4);
    assert_eq!(
        client.read("flowsessions?$select=statuscode").await["value"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn each_run_follows_its_own_script() {
    let client = Client::new().await;
    let failing = Script {
        ends: Status::Faulted,
        error: Some(RunError {
            code: "SessionNotFound".to_owned(),
            ..RunError::default()
        }),
        ..Script::default()
    };
    let mut seed = flow(failing);
    seed.workflows[0].scripts.push(Script::default());
    client.simulator.seed(seed).unwrap();
    let (first, second, third) = (
        client.start(json!({})).await,
        client.start(json!({})).await,
        client.start(json!({})).await,
    );
    client.advance(60);
    assert_eq!(
        (
            client.status(first).await,
            client.status(second).await,
            client.status(third).await
        ),
        (9, 4, 4)
    );
}

#[tokio::test]
async fn a_long_script_is_ended_by_the_run_s_timeout() {
    let client = Client::new().await;
    client
        .simulator
        .seed(flow(Script {
            running: Span::seconds(7200),
            ..Script::default()
        }))
        .unwrap();
    let session = client.start(json!({"timeout": 60})).await;
    client.advance(62);
    assert_eq!(client.status(session).await, 10);
}

#[tokio::test]
async fn six_hours_without_a_machine_end_in_no_candidate_machine() {
    let client = Client::new().await;
    let mut groups = Environment::default().machine_groups;
    groups[0].online = false;
    client
        .simulator
        .seed(Seed {
            machine_groups: groups,
            ..Seed::default()
        })
        .unwrap();
    let session = client.start(json!({})).await;
    client.advance(6 * 3600 - 10);
    assert_eq!(client.status(session).await, 3);
    client.advance(10);
    let row = client
        .read(&format!(
            "flowsessions({session})?$select=statuscode,errorcode,startedon"
        ))
        .await;
    assert_eq!(
        (&row["statuscode"], &row["errorcode"]),
        (&json!(8), &json!("NoCandidateMachine"))
    );
    assert_eq!(row["startedon"], Value::Null);
}

#[tokio::test]
async fn a_cancelled_run_ends_as_cancelled_after_a_moment() {
    let client = Client::new().await;
    let session = client.start(json!({})).await;
    let answer = client.cancel(session).await;
    assert_eq!(answer.status(), 204);
    assert!(answer.bytes().await.unwrap().is_empty());
    assert_ne!(client.status(session).await, 7);
    client.advance(1);
    assert_eq!(client.status(session).await, 7);
    let again = client.cancel(session).await;
    assert_eq!(again.status(), 400);
    assert_eq!(client.cancel(BOOK_INVOICE).await.status(), 404);
}

#[tokio::test]
async fn starting_needs_less_than_reading_and_cancelling() {
    let mut world = World::default();
    world.directory.applications = vec![Application {
        owns_runs: false,
        ..Application::default()
    }];
    let client = Client::of(world).await;
    let session = client.start(json!({})).await;
    assert_eq!(
        refusal(client.get(&format!("flowsessions({session})")).await).await.1,
        "0x80040220"
    );
    assert_eq!(client.cancel(session).await.status(), 403);
}

#[tokio::test]
async fn inputs_that_the_flow_does_not_declare_are_refused_only_when_the_world_says_so() {
    let body = run_body(json!({"inputs": "{\"Invoice\":\"42\"}"}));
    let mut world = World::default();
    world.behaviour.reject_unknown_inputs = true;
    let strict = Client::of(world).await;
    assert!(strict.refusal(&body).await.2.contains("'Invoice'"));
    assert_eq!(
        Client::new().await.start_request(&body).send().await.unwrap().status(),
        200
    );
}

#[tokio::test]
async fn the_same_seed_gives_the_same_run_ids_however_often_somebody_polls() {
    let (left, right) = (Client::new().await, Client::new().await);
    let first = left.start(json!({})).await;
    left.read("workflows").await;
    assert_eq!(first, right.start(json!({})).await);
    assert_eq!(left.start(json!({})).await, right.start(json!({})).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn starts_at_the_same_time_are_runs_of_their_own_in_the_order_of_their_creation() {
    let client = std::sync::Arc::new(Client::new().await);
    let starts: Vec<_> = (0..40)
        .map(|_| {
            let client = std::sync::Arc::clone(&client);
            tokio::spawn(async move { client.start(json!({})).await })
        })
        .collect();
    let mut ids = Vec::new();
    for start in starts {
        ids.push(start.await.unwrap());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 40);
    let sessions = client.simulator.sessions();
    let created: Vec<jiff::Timestamp> = sessions.iter().map(|run| run.created.parse().unwrap()).collect();
    assert!(created.is_sorted(), "{created:?}");
    assert_eq!(
        client
            .simulator
            .requests()
            .iter()
            .filter(|record| record.session.is_some())
            .count(),
        40
    );
}

#[tokio::test]
async fn a_start_is_executed_although_its_client_leaves_at_once() {
    use tokio::io::AsyncWriteExt;

    let client = Client::new().await;
    let body = run_body(json!({})).to_string();
    let request = client.start_request(&run_body(json!({}))).build().unwrap();
    let url = request.url();
    let authorization = request.headers()["authorization"].to_str().unwrap();
    let text = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nAuthorization: {authorization}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        url.path(),
        url.authority(),
        body.len(),
    );
    let mut stream = tokio::net::TcpStream::connect(url.authority()).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    drop(stream);
    tokio::time::timeout(Duration::from_secs(60), async {
        while client.simulator.sessions().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the start was executed");
}
