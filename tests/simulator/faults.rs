//! Faults: cut connections, throttling, broken answers, late execution.

use deskhand::sandbox::power_automate::{Effect, Fault, Limits, ProtectionLimit, RouteName, Scenario, Span, Throttle};

use super::*;

impl Client {
    fn fault(&self, fault: Fault) {
        self.simulator.add_fault(fault).unwrap();
    }

    async fn try_start(&self) -> Result<Response, reqwest::Error> {
        self.start_request(&run_body(json!({}))).send().await
    }
}

fn on_run(effect: Effect) -> Fault {
    Fault::on(RouteName::Run, effect)
}

/// Whether the error is a connection reset by the other side, and no answer, refusal or timeout.
fn is_reset(error: &reqwest::Error) -> bool {
    let mut source: Option<&dyn std::error::Error> = Some(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            return io.kind() == std::io::ErrorKind::ConnectionReset;
        }
        source = cause.source();
    }
    false
}

#[tokio::test]
async fn a_drop_before_processing_starts_nothing() {
    let client = Client::new().await;
    client.fault(on_run(Effect::DropBeforeProcess));
    assert!(is_reset(&client.try_start().await.unwrap_err()));
    assert_eq!(client.simulator.runs_started(), 0);
    let record = client.simulator.requests().pop().unwrap();
    assert_eq!(
        (record.fault, record.processed, record.status),
        (Some("dropBeforeProcess"), false, None)
    );
    client.start(json!({})).await;
}

#[tokio::test]
async fn a_drop_after_processing_looks_the_same_and_starts_a_run() {
    let client = Client::new().await;
    client.fault(on_run(Effect::ProcessThenDrop));
    assert!(is_reset(&client.try_start().await.unwrap_err()));
    assert_eq!(client.simulator.runs_started(), 1);
    let record = client.simulator.requests().pop().unwrap();
    assert_eq!((record.processed, record.status), (true, None));
    assert_eq!(record.session, Some(client.simulator.sessions()[0].id));
}

#[tokio::test]
async fn a_dropped_request_may_be_executed_later() {
    let client = Client::new().await;
    client.fault(on_run(Effect::DropThenProcess {
        after: Span::seconds(1),
    }));
    assert!(is_reset(&client.try_start().await.unwrap_err()));
    assert_eq!(client.simulator.runs_started(), 0);
    until(|| client.simulator.runs_started() == 1).await;
}

#[tokio::test]
async fn a_slow_request_is_executed_even_when_the_client_has_gone() {
    let client = Client::new().await;
    client.fault(Fault {
        delay: Span::seconds(1),
        ..on_run(Effect::Nothing)
    });
    let request = tokio::spawn(client.start_request(&run_body(json!({}))).send());
    until(|| client.simulator.requests_received() == 1).await;
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    assert_eq!(client.simulator.runs_started(), 0);
    until(|| client.simulator.runs_started() == 1).await;
}

#[tokio::test]
async fn a_throttled_request_is_told_when_to_come_back_in_seconds_or_as_a_date() {
    let client = Client::new().await;
    let throttle = |as_date, limit| {
        on_run(Effect::Throttle(Throttle {
            limit,
            retry_after: Span::seconds(7),
            as_date,
        }))
    };
    client.fault(throttle(false, ProtectionLimit::Requests));
    client.fault(throttle(true, ProtectionLimit::ExecutionTime));
    let answer = client.try_start().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["retry-after"]),
        (429, &"7".parse().unwrap())
    );
    assert_eq!(refusal(answer).await.1, "0x80072322");
    let before = client.simulator.now();
    let answer = client.try_start().await.unwrap();
    let date = answer.headers()["retry-after"].to_str().unwrap().to_owned();
    let date = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(date.replace("GMT", "+0000"))
        .unwrap();
    let wait = date.duration_since(before).as_secs();
    assert!((7..=8).contains(&wait), "{wait}");
    assert_eq!(refusal(answer).await.1, "0x80072321");
    assert_eq!(client.simulator.runs_started(), 0);
}

#[tokio::test]
async fn a_burst_of_errors_lasts_as_long_as_it_should_whether_processed_or_not() {
    let client = Client::new().await;
    let burst = |status, process| Effect::Status {
        status,
        code: String::new(),
        message: String::new(),
        retry_after: Some(Span::seconds(3)),
        process,
    };
    client.fault(on_run(burst(503, false)).times(2));
    client.fault(on_run(burst(502, true)));
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let answer = client.try_start().await.unwrap();
        if answer.status() != 200 {
            assert_eq!(answer.headers()["retry-after"], "3");
        }
        statuses.push(answer.status().as_u16());
    }
    assert_eq!(statuses, [503, 503, 502, 200]);
    assert_eq!(client.simulator.runs_started(), 2);
}

#[tokio::test]
async fn a_malformed_answer_is_not_json_and_the_run_is_started() {
    let client = Client::new().await;
    client.fault(on_run(Effect::MalformedJson));
    let answer = client.try_start().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(
        answer.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("application/json")
    );
    assert!(serde_json::from_str::<Value>(&answer.text().await.unwrap()).is_err());
    assert_eq!(client.simulator.runs_started(), 1);
}

#[tokio::test]
async fn a_truncated_answer_ends_in_the_middle_of_its_body() {
    let client = Client::new().await;
    client.fault(on_run(Effect::TruncatedBody));
    let mut answer = client.try_start().await.unwrap();
    assert_eq!(answer.status(), 200);
    let promised = answer.content_length().unwrap();
    let mut received = 0;
    let failure = loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => received += chunk.len() as u64,
            Ok(None) => panic!("the whole body arrived"),
            Err(error) => break error,
        }
    };
    assert!(received < promised, "{failure}");
    assert_eq!(client.simulator.runs_started(), 1);
}

#[tokio::test]
async fn large_answers_are_truncated_too_and_empty_ones_are_cut() {
    let client = Client::new().await;
    let session = client
        .start(json!({"inputs": format!("{{\"Text\":\"{}\"}}", "x".repeat(1_500_000))}))
        .await;
    client.fault(Fault::on(RouteName::Inputs, Effect::TruncatedBody));
    let answer = client.get(&format!("flowsessions({session})/inputs/$value")).await;
    assert!(answer.bytes().await.is_err());
    client.fault(Fault::on(RouteName::Cancel, Effect::TruncatedBody));
    let path = format!("flowsessions({session})/Microsoft.Dynamics.CRM.CancelDesktopFlowRun");
    let cut = client
        .request(Method::POST, &path)
        .header("content-length", "0")
        .send()
        .await
        .unwrap_err();
    assert!(is_reset(&cut));
    client.advance(1);
    assert_eq!(client.status(session).await, 7);
}

#[tokio::test]
async fn a_revoked_token_is_answered_as_dataverse_does_and_only_once() {
    let client = Client::new().await;
    client.fault(Fault::on(RouteName::Dataverse, Effect::Unauthorized));
    let answer = client.get("workflows").await;
    assert_eq!(answer.status(), 401);
    assert!(answer.headers().contains_key("www-authenticate"));
    assert_eq!(client.get("workflows").await.status(), 200);
}

#[tokio::test]
async fn service_protection_counts_each_principal_s_requests_and_tells_what_is_left() {
    let limits = Limits {
        requests: 3,
        ..Limits::default()
    };
    let client = Client::of(World {
        limits,
        ..World::default()
    })
    .await;
    for left in ["2", "1", "0"] {
        let answer = client.get("workflows").await;
        assert_eq!(answer.headers()["x-ms-ratelimit-burst-remaining-xrm-requests"], left);
    }
    let answer = client.get("workflows").await;
    assert_eq!(answer.status(), 429);
    let after: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((290..=300).contains(&after), "{after}");
    assert_eq!(refusal(answer).await.1, "0x80072322");
    client.advance(after);
    assert_eq!(client.get("workflows").await.status(), 200);
}

#[tokio::test]
async fn too_many_requests_at_once_trip_the_limit_at_once() {
    let limits = Limits {
        concurrent: 1,
        ..Limits::default()
    };
    let client = Client::of(World {
        limits,
        ..World::default()
    })
    .await;
    client.fault(Fault {
        delay: Span::seconds(1),
        ..Fault::on(RouteName::Workflows, Effect::Nothing)
    });
    let slow = client.get("workflows");
    let second = async {
        until(|| client.simulator.requests_received() == 1).await;
        client.get("workflows").await
    };
    let (slow, second) = tokio::join!(slow, second);
    assert_eq!(slow.status(), 200);
    assert_eq!(refusal(second).await.1, "0x80072326");
}

#[tokio::test]
async fn the_throttled_story_refuses_the_first_starts_and_then_goes_on() {
    let client = Client::of(World::demo(Scenario::Throttled)).await;
    let mut waits = Vec::new();
    let answer = loop {
        let answer = client.try_start().await.unwrap();
        if answer.status() != 429 {
            break answer;
        }
        waits.push(answer.headers()["retry-after"].to_str().unwrap().to_owned());
        assert_eq!(refusal(answer).await.1, "0x80072322");
    };
    assert_eq!(
        (answer.status().as_u16(), waits.as_slice()),
        (200, ["1".to_owned(), "2".to_owned()].as_slice())
    );
}

#[tokio::test]
async fn a_body_beyond_the_cap_is_refused_unread() {
    let limits = Limits {
        body_bytes: 1000,
        ..Limits::default()
    };
    let client = Client::of(World {
        limits,
        ..World::default()
    })
    .await;
    let answer = client
        .start_request(&run_body(json!({"inputs": "x".repeat(2000)})))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 413);
}

#[tokio::test]
async fn a_connection_serves_many_requests_until_one_of_them_is_cut() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let client = Client::new().await;
    client.fault(Fault {
        skip: 3,
        ..Fault::on(RouteName::Other, Effect::ProcessThenDrop)
    });
    let address = client.simulator.address();
    let token = client.simulator.token().unwrap();
    let request =
        format!("GET /org/api/data/v9.2/WhoAmI HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n");
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    for _ in 0..3 {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"}") {
            assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0);
        }
        assert!(bytes.starts_with(b"HTTP/1.1 200"));
    }
    stream.write_all(request.as_bytes()).await.unwrap();
    let cut = stream.read_buf(&mut Vec::new()).await.unwrap_err();
    assert_eq!(cut.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(
        client
            .simulator
            .requests()
            .iter()
            .filter(|record| record.processed)
            .count(),
        4
    );
}
