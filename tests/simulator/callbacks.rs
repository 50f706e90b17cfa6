//! Callbacks, as a receiver sees them byte by byte.

use deskhand::sandbox::power_automate::{CallbackMode, Effect, Fault, RouteName, Span};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// A receiver that answers each request with the next status, and with 200 when none is left.
struct Receiver {
    url: String,
    requests: tokio::sync::mpsc::UnboundedReceiver<String>,
}

impl Receiver {
    async fn answering(statuses: &'static [u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?token=t-1", listener.local_addr().unwrap());
        let (sender, requests) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut statuses = statuses.iter();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut bytes = Vec::new();
                while !String::from_utf8_lossy(&bytes).ends_with('}') {
                    if stream.read_buf(&mut bytes).await.unwrap() == 0 {
                        break;
                    }
                }
                let status = statuses.next().unwrap_or(&200);
                stream
                    .write_all(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n").as_bytes())
                    .await
                    .unwrap();
                if sender.send(String::from_utf8(bytes).unwrap()).is_err() {
                    break;
                }
            }
        });
        Self { url, requests }
    }

    async fn next(&mut self) -> String {
        tokio::time::timeout(Duration::from_secs(5), self.requests.recv())
            .await
            .expect("a callback")
            .unwrap()
    }

    /// The next callback's run, status and body.
    async fn told(&mut self) -> (Guid, u64, Value) {
        let request = self.next().await;
        let body: Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
        let run = request
            .lines()
            .find_map(|line| line.strip_prefix("x-ms-run-id: "))
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(id(&body["flowsessionid"]), run);
        (run, body["statuscode"].as_u64().unwrap(), body)
    }

    fn silent(&mut self) -> bool {
        self.requests.try_recv().is_err()
    }
}

async fn client() -> Client {
    let mut world = World::default();
    world.callbacks.allow_insecure = true;
    world.callbacks.retry_pause = Span::milliseconds(20);
    Client::of(world).await
}

#[tokio::test]
async fn the_end_of_a_run_is_told_with_the_documented_headers_and_body() {
    let (client, mut receiver) = (client().await, Receiver::answering(&[]).await);
    let session = client.start(json!({"callbackUrl": receiver.url})).await;
    client.advance(10);
    let request = receiver.next().await;
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /hook?token=t-1 HTTP/1.1\r\n"), "{head}");
    for header in [
        "User-Agent: EnterpriseConnectors/1.0".to_owned(),
        "Content-type: application/json; charset=utf-8".to_owned(),
        format!("x-ms-workflow-id: {BOOK_INVOICE}"),
        format!("x-ms-run-id: {session}"),
        format!("Content-Length: {}", body.len()),
    ] {
        assert!(
            head.lines().any(|line| line == header),
            "{header} is missing in: {head}"
        );
    }
    let body: Value = serde_json::from_str(body).unwrap();
    let fields: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(
        fields,
        ["statuscode", "statecode", "startedon", "completedon", "flowsessionid"]
    );
    assert_eq!((&body["statuscode"], &body["statecode"]), (&json!(4), &json!(0)));
}

#[tokio::test]
async fn a_cancelled_run_is_told_too() {
    let (client, mut receiver) = (client().await, Receiver::answering(&[]).await);
    let session = client.start(json!({"callbackUrl": receiver.url})).await;
    assert_eq!(client.cancel(session).await.status(), 204);
    client.advance(1);
    let (run, status, _) = receiver.told().await;
    assert_eq!((run, status), (session, 7));
}

#[tokio::test]
async fn a_receiver_in_trouble_is_asked_three_times_more_and_then_given_up() {
    let (client, mut receiver) = (client().await, Receiver::answering(&[500, 408, 503, 502]).await);
    client.start(json!({"callbackUrl": receiver.url})).await;
    client.advance(10);
    for _ in 0..4 {
        receiver.next().await;
    }
    until(|| client.simulator.callbacks().len() == 4).await;
    let statuses: Vec<_> = client
        .simulator
        .callbacks()
        .iter()
        .map(|one| (one.attempt, one.status))
        .collect();
    assert_eq!(
        statuses,
        [(1, Some(500)), (2, Some(408)), (3, Some(503)), (4, Some(502))]
    );
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert!(receiver.silent());
}

#[tokio::test]
async fn a_refusal_by_the_receiver_is_final() {
    for refusal in [&[404][..], &[302], &[429]] {
        let (client, mut receiver) = (client().await, Receiver::answering(refusal).await);
        client.start(json!({"callbackUrl": receiver.url})).await;
        client.advance(10);
        receiver.next().await;
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert!(receiver.silent(), "{refusal:?}");
        assert_eq!(client.simulator.callbacks().len(), 1);
    }
}

#[tokio::test]
async fn a_duplicate_is_delivered_twice_and_a_never_not_at_all() {
    let (client, mut receiver) = (client().await, Receiver::answering(&[]).await);
    for mode in [CallbackMode::Never, CallbackMode::Duplicate] {
        client
            .simulator
            .add_fault(Fault::on(RouteName::Run, Effect::Callback(mode)))
            .unwrap();
    }
    client.start(json!({"callbackUrl": receiver.url})).await;
    let twice = client.start(json!({"callbackUrl": receiver.url})).await;
    client.advance(10);
    assert_eq!((receiver.told().await.0, receiver.told().await.0), (twice, twice));
    until(|| client.simulator.callbacks().len() == 2).await;
    assert!(receiver.silent());
}

#[tokio::test]
async fn an_early_callback_comes_before_the_answer_that_names_the_run() {
    let (client, mut receiver) = (client().await, Receiver::answering(&[]).await);
    client
        .simulator
        .add_fault(Fault::on(RouteName::Run, Effect::Callback(CallbackMode::Early)))
        .unwrap();
    let session = client.start(json!({"callbackUrl": receiver.url})).await;
    let told: String = receiver.requests.try_recv().expect("it is there before the answer");
    assert!(told.contains(&session.to_string()));
    assert_eq!(client.status(session).await, 4);
    assert!(receiver.silent());
}

#[tokio::test]
async fn a_forged_callback_names_a_run_that_does_not_exist() {
    let (client, mut receiver) = (client().await, Receiver::answering(&[]).await);
    client
        .simulator
        .add_fault(Fault::on(RouteName::Run, Effect::Callback(CallbackMode::Forged)))
        .unwrap();
    client.start(json!({"callbackUrl": receiver.url})).await;
    client.advance(10);
    let (forged, status, _) = receiver.told().await;
    assert_eq!(status, 4);
    assert_eq!(client.get(&format!("flowsessions({forged})")).await.status(), 404);
    until(|| client.simulator.callbacks().first().is_some_and(|one| !one.honest)).await;
}

#[tokio::test]
async fn a_lie_claims_success_while_the_run_waits_and_the_truth_follows() {
    let (client, mut receiver) = (client().await, Receiver::answering(&[]).await);
    client
        .simulator
        .add_fault(Fault::on(RouteName::Run, Effect::Callback(CallbackMode::Lie)))
        .unwrap();
    let session = client.start(json!({"callbackUrl": receiver.url})).await;
    assert_eq!(receiver.told().await.1, 4);
    assert_eq!(client.status(session).await, 3);
    assert_eq!(client.cancel(session).await.status(), 204);
    client.advance(1);
    assert_eq!(receiver.told().await.1, 7);
}

#[tokio::test]
async fn a_callback_to_https_goes_where_the_world_says_or_is_recorded_as_undeliverable() {
    let mut receiver = Receiver::answering(&[]).await;
    let mut world = World::default();
    world.callbacks.connect_to = receiver.url["http://".len()..]
        .split('/')
        .next()
        .map(|address| address.parse().unwrap());
    let client = Client::of(world).await;
    let session = client
        .start(json!({"callbackUrl": "https://hooks.example.com/pad/1"}))
        .await;
    client.advance(10);
    let request = receiver.next().await;
    assert!(
        request.starts_with("POST /pad/1 HTTP/1.1\r\nHost: hooks.example.com\r\n"),
        "{request}"
    );
    assert!(request.contains(&session.to_string()));

    let mut world = World::default();
    world.callbacks.retry_pause = Span::ZERO;
    let client = Client::of(world).await;
    client
        .start(json!({"callbackUrl": "https://hooks.example.com/pad/1"}))
        .await;
    client.advance(10);
    until(|| client.simulator.callbacks().len() == 4).await;
    assert!(
        client.simulator.callbacks()[0]
            .failure
            .as_ref()
            .unwrap()
            .contains("TLS")
    );
}
