//! The worker on a real gateway that lets in only the tokens of a real OpenID provider.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use deskhand::engine::Credentials;
use deskhand::sandbox::power_automate::Scenario;
use support::stage::{BOOK_INVOICE, Stage, connect};
use tonic::Code;

fn setting(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("set {name}: this test needs Keycloak, and a Zeebe that demands its tokens"))
}

fn client(id: &str, secret: &str) -> Credentials {
    Credentials::OAuth {
        token_url: setting("KEYCLOAK_TOKEN_ENDPOINT"),
        client_id: id.into(),
        client_secret: secret.into(),
        audience: Some("zeebe-api".into()),
        scope: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Keycloak and a Zeebe that demands its tokens: set KEYCLOAK_TOKEN_ENDPOINT and ZEEBE_ADDRESS"]
async fn jobs_are_worked_on_with_tokens_and_nobody_else_is_let_in() {
    let url = format!("http://{}", setting("ZEEBE_ADDRESS").trim_start_matches("http://"));

    let nobody = connect(&url, Credentials::None).topology().await.unwrap_err();
    assert_eq!(nobody.code(), Code::Unauthenticated, "{nobody:?}");
    let stranger = connect(&url, client("stranger", "stranger-secret"))
        .topology()
        .await
        .unwrap_err();
    assert_eq!(stranger.code(), Code::Unauthenticated, "{stranger:?}");
    let liar = connect(&url, client("deskhand", "wrong")).topology().await.unwrap_err();
    assert_eq!(liar.code(), Code::Unauthenticated, "{liar:?}");
    assert!(
        liar.message().contains("401") && !liar.message().contains("wrong"),
        "{liar:?}"
    );

    let engine = connect(&url, client("deskhand", "deskhand-secret"));
    assert_eq!(engine.topology().await.unwrap().brokers, 1);
    let stage = Stage::on(engine, Scenario::Success).await;
    // Long enough that the first token has ended in between.
    let lifetime: u64 = setting("KEYCLOAK_LIFETIME").parse().unwrap();
    let until = tokio::time::Instant::now() + std::time::Duration::from_secs(lifetime + 5);
    let mut instances = 0;
    while tokio::time::Instant::now() < until {
        let variables = stage.run("book-invoice", BOOK_INVOICE).await;
        assert_eq!(variables["bookingNumber"], "B-2026-0815");
        instances += 1;
    }
    assert_eq!(stage.simulator.runs_started(), instances);
    stage.end().await;
}
