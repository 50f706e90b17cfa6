//! The control API, the journal, starting and stopping.

use deskhand::sandbox::power_automate::{CLIENT_ID, MONTHLY_REPORT, Moment};
use reqwest::StatusCode;

use super::*;

impl Client {
    async fn control(&self, path: &str, body: Value) -> Response {
        self.http
            .post(format!("{}{path}", self.simulator.control()))
            .json(&body)
            .send()
            .await
            .unwrap()
    }

    async fn observe(&self, path: &str) -> Value {
        let answer = self
            .http
            .get(format!("{}{path}", self.simulator.control()))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        answer.json().await.unwrap()
    }
}

#[tokio::test]
async fn the_journal_tells_every_request_with_credentials_redacted() {
    let client = Client::new().await;
    let (id, scope) = (CLIENT_ID.to_string(), client.simulator.scope());
    let secret = "demo-client-secret";
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", &id),
        ("client_secret", secret),
        ("scope", &scope),
    ];
    let answer = client
        .http
        .post(client.simulator.token_endpoint())
        .form(&form)
        .send()
        .await
        .unwrap();
    let token = answer.json::<Value>().await.unwrap()["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    client
        .http
        .get(client.url("workflows?$select=name"))
        .bearer_auth(&token)
        .send()
        .await
        .unwrap();
    let session = client.start(json!({"inputs": "{\"InvoiceId\":\"42\"}"})).await;

    let seen = client.observe("/requests").await;
    assert_eq!(seen["count"], 3);
    let text = seen.to_string();
    assert!(!text.contains(secret) && !text.contains(&token), "{text}");
    let records = seen["requests"].as_array().unwrap();
    let routes: Vec<&str> = records.iter().map(|record| record["route"].as_str().unwrap()).collect();
    assert_eq!(routes, ["token", "workflows", "run"]);
    assert_eq!(records[1]["query"], "$select=name");
    assert_eq!(records[1]["headers"]["authorization"], "Bearer (redacted)");
    assert!(records[2]["body"].as_str().unwrap().contains("InvoiceId"));
    assert_eq!(
        (&records[2]["session"], &records[2]["status"]),
        (&json!(session), &json!(200))
    );
    let runs = client.observe("/requests?route=run&after=2").await;
    assert_eq!(runs["requests"].as_array().unwrap().len(), 1);
    assert_eq!(client.simulator.requests_received(), 3);
}

#[tokio::test]
async fn the_journal_keeps_only_the_last_requests() {
    let client = Client::of(World {
        journal: 5,
        ..World::default()
    })
    .await;
    for _ in 0..8 {
        client.get("workflows").await;
    }
    let records = client.simulator.requests();
    assert_eq!(
        (records.len(), records[0].sequence, client.simulator.requests_received()),
        (5, 4, 8)
    );
}

#[tokio::test]
async fn the_clock_is_pushed_forward_and_runs_go_with_it() {
    let start = "2026-03-01T08:00:00Z".parse().unwrap();
    let mut world = World::default();
    world.clock.start = Some(Moment(start));
    let client = Client::of(world).await;
    let session = client.start(json!({})).await;
    let answer = client.control("/clock/advance", json!({"by": "6h"})).await;
    assert!(
        answer.json::<Value>().await.unwrap()["now"]
            .as_str()
            .unwrap()
            .starts_with("2026-03-01T14:00:0")
    );
    assert_eq!(client.status(session).await, 4);
    for wrong in [json!({"by": "-1s"}), json!({"by": 5}), json!({"seconds": 5})] {
        assert_eq!(
            client.control("/clock/advance", wrong).await.status(),
            StatusCode::BAD_REQUEST
        );
    }
}

#[tokio::test]
async fn a_fast_clock_ends_runs_by_itself() {
    let mut world = World::default();
    world.clock.speed = 1000.0;
    let client = Client::of(world).await;
    let session = client.start(json!({})).await;
    let ended = async {
        while client.status(session).await != 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), ended).await.unwrap();
}

#[tokio::test]
async fn faults_are_queued_and_forgotten_over_http() {
    let client = Client::new().await;
    let throttle = json!({"route": "workflows", "times": 2, "effect": {"throttle": {"retryAfter": "2s"}}});
    assert_eq!(client.control("/fault", throttle.clone()).await.status(), 204);
    assert_eq!(client.get("workflows").await.status(), 429);
    let url = format!("{}/fault", client.simulator.control());
    assert_eq!(client.http.delete(url).send().await.unwrap().status(), 204);
    assert_eq!(client.get("workflows").await.status(), 200);
    let several = json!([throttle, {"route": "run", "effect": "processThenDrop"}]);
    assert_eq!(client.control("/fault", several).await.status(), 204);
    for (wrong, reason) in [
        (json!({"route": "workflows", "effect": {"entra": 90033}}), "Token"),
        (json!({"route": "nowhere"}), "nowhere"),
        (json!({"effect": {"status": {"status": 200}}}), "200"),
        (json!({"effect": {"throttle": {"retry_after": "2s"}}}), "retry_after"),
    ] {
        let answer = client.control("/fault", wrong).await;
        assert_eq!(answer.status(), 400);
        let text = answer.text().await.unwrap();
        assert!(text.contains(reason), "{text}");
    }
}

#[tokio::test]
async fn seeds_add_rows_and_contradictions_change_nothing() {
    let client = Client::new().await;
    let flow = "22222222-2222-4222-8222-222222222222";
    let seed = json!({
        "workflows": [{"workflowid": flow, "name": "Sync stock"}],
        "connections": [{"name": "warehouse", "machineGroup": "hall"}],
        "machineGroups": [{"name": "hall", "sessions": 2}]
    });
    assert_eq!(client.control("/seed", seed).await.status(), 204);
    let body = json!({"runMode": "unattended", "connectionName": "warehouse"});
    let answer = client
        .request(Method::POST, &run_path(flow.parse().unwrap()))
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let dangling = json!({"connections": [{"name": "lost", "machineGroup": "nowhere"}]});
    let answer = client.control("/seed", dangling).await;
    assert_eq!(answer.status(), 400);
    assert!(answer.text().await.unwrap().contains("nowhere"));
    assert!(
        client
            .simulator
            .world()
            .environment
            .connections
            .iter()
            .all(|one| one.name != "lost")
    );
}

#[tokio::test]
async fn a_reset_returns_to_the_world_of_the_start() {
    let client = Client::new().await;
    let first = client.start(json!({})).await;
    let flow = "22222222-2222-4222-8222-222222222222";
    client
        .control("/seed", json!({"workflows": [{"workflowid": flow}]}))
        .await;
    client
        .control("/fault", json!({"route": "run", "effect": "dropBeforeProcess"}))
        .await;
    assert_eq!(client.control("/reset", json!({})).await.status(), 204);
    assert_eq!(
        (client.simulator.runs_started(), client.simulator.requests_received()),
        (0, 0)
    );
    assert_eq!(client.get(&format!("workflows({flow})")).await.status(), 404);
    assert_eq!(client.start(json!({})).await, first, "the ids start again too");
}

#[tokio::test]
async fn a_request_of_before_a_reset_is_not_executed_after_it() {
    let client = Client::new().await;
    let late = json!({"route": "run", "effect": {"dropThenProcess": {"after": "300ms"}}});
    client.control("/fault", late).await;
    assert!(client.start_request(&run_body(json!({}))).send().await.is_err());
    client.simulator.reset();
    client.get("workflows").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(client.simulator.runs_started(), 0);
    assert_eq!(client.simulator.requests()[0].status, Some(200));
}

#[tokio::test]
async fn the_overview_and_the_sessions_tell_what_happened() {
    let client = Client::new().await;
    let session = client.start(json!({"callbackUrl": "http://127.0.0.1:9/a"})).await;
    let overview = client.observe("").await;
    assert_eq!(
        (&overview["runsStarted"], &overview["requests"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(overview["organization"], client.simulator.organization());
    assert_eq!(overview["tokenEndpoint"], client.simulator.token_endpoint());
    let sessions = client.observe("/sessions").await;
    assert_eq!(
        (&sessions["sessions"][0]["id"], &sessions["sessions"][0]["status"]),
        (&json!(session), &json!("Waiting"))
    );
    assert_eq!(sessions["sessions"][0]["callbackUrl"], "http://127.0.0.1:9/a");
    let token = client.control("/token", json!({})).await.json::<Value>().await.unwrap();
    let bearer = token["access_token"].as_str().unwrap();
    let answer = client
        .http
        .get(client.url("WhoAmI"))
        .bearer_auth(bearer)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn a_scenario_file_is_played() {
    let scenario = r#"{
        "seed": 7,
        "environment": {
            "workflows": [{
                "workflowid": "5a1b0000-0000-4000-8000-0000000000f2", "name": "Monthly report",
                "inputs": {"Month": "number"},
                "scripts": [{"waiting": "0s", "running": "PT1M", "ends": "Aborted", "error": {"code": "WcfServerCrash"}}]
            }]
        },
        "behaviour": {"notSpecified": "5s"},
        "faults": [{"route": "session", "skip": 1, "effect": {"status": {"status": 504}}}]
    }"#;
    let client = Client::of(World::from_json(scenario).unwrap()).await;
    let body = run_body(json!({}));
    let answer = client
        .request(Method::POST, &run_path(MONTHLY_REPORT))
        .json(&body)
        .send()
        .await
        .unwrap();
    let session = id(&answer.json::<Value>().await.unwrap()["flowsessionId"]);
    assert_eq!(client.status(session).await, 0);
    assert_eq!(client.get(&format!("flowsessions({session})")).await.status(), 504);
    client.advance(70);
    assert_eq!(client.status(session).await, 11);
}

#[tokio::test]
async fn a_world_that_contradicts_itself_is_not_started() {
    let mut world = World::default();
    world.environment.machine_groups.clear();
    let error = Simulator::start(([127, 0, 0, 1], 0).into(), world).await.unwrap_err();
    assert!(error.to_string().contains("office"), "{error}");
}

#[tokio::test]
async fn a_stopped_simulator_answers_nobody_and_leaves_nobody_waiting() {
    let client = Client::new().await;
    client
        .control("/fault", json!({"route": "workflows", "delay": "60s"}))
        .await;
    let waiting = client.request(Method::GET, "workflows").send();
    let (address, Client { simulator, .. }) = (client.simulator.address(), client);
    let waiting = tokio::spawn(waiting);
    until(|| simulator.requests_received() == 1).await;
    tokio::time::timeout(Duration::from_secs(5), simulator.stop())
        .await
        .unwrap();
    assert!(waiting.await.unwrap().is_err());
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_path_that_is_not_served_says_so() {
    let client = Client::new().await;
    for path in ["/", "/org/api/data/v8.2/workflows", "/login/a/b/oauth2/v2.0/token"] {
        let url = format!("http://{}{path}", client.simulator.address());
        assert_eq!(client.http.get(url).send().await.unwrap().status(), 404, "{path}");
    }
}

#[tokio::test]
async fn a_test_in_any_language_can_ask_whether_the_requests_were_right() {
    let client = Client::new().await;
    client.get("workflows?$select=name").await;
    client.get("workflows").await;
    client.start(json!({})).await;
    for (expected, status, said) in [
        (
            json!({"route": "run", "count": 1, "method": "post"}),
            200,
            "\"met\":true",
        ),
        (
            json!({"route": "workflows", "atLeast": 2, "atMost": 2}),
            200,
            "\"count\":2",
        ),
        (
            json!({"headers": {"Accept": "application/json", "authorization": null}}),
            200,
            "true",
        ),
        (json!({"never": ["demo-client-secret"]}), 200, "true"),
        (
            json!({"route": "run", "count": 2}),
            409,
            "1 requests arrived, exactly 2 were expected",
        ),
        (
            json!({"route": "workflows", "query": ["$select"]}),
            409,
            "request 2: its query has no $select",
        ),
        (
            json!({"after": 2, "query": ["$select"], "method": "GET"}),
            409,
            "request 3: its method is POST",
        ),
        (
            json!({"headers": {"if-none-match": null}}),
            409,
            "it has no header if-none-match",
        ),
        (
            json!({"headers": {"accept": "text/html"}}),
            409,
            "its header accept is another",
        ),
        (json!({"never": ["select=name"]}), 409, "request 1: it holds a text"),
        (json!({"rout": "run"}), 400, "unknown field"),
    ] {
        let answer = client.control("/expect", expected.clone()).await;
        assert_eq!(answer.status(), status, "{expected}");
        let text = answer.text().await.unwrap();
        assert!(text.contains(said), "{expected}: {text}");
    }
}

#[tokio::test]
async fn a_journal_that_forgot_something_promises_nothing() {
    let world = World {
        journal: 2,
        ..World::default()
    };
    let client = Client::of(world).await;
    for _ in 0..3 {
        client.get("workflows").await;
    }
    let answer = client.control("/expect", json!({"route": "run", "count": 0})).await;
    assert_eq!(answer.status(), 409);
    assert!(answer.text().await.unwrap().contains("forgotten"));
    let answer = client.control("/expect", json!({"after": 1, "count": 2})).await;
    assert_eq!(answer.status(), 200);
}
