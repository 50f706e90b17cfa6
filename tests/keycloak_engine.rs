//! The worker on a real gateway that lets in only the tokens of a real OpenID provider.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::time::Duration;

use deskhand::engine::Credentials;
use deskhand::http::token::Algorithm;
use deskhand::sandbox::power_automate::Scenario;
use support::keycloak::{certificate, client, gateway, make_signing_client, setting};
use support::stage::{BOOK_INVOICE, Stage, connect};
use tonic::Code;

/// One test at a time has the engine: the worker of another would take its jobs, and knows another simulator.
static ENGINE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Keycloak and a Zeebe that demands its tokens: set KEYCLOAK_TOKEN_ENDPOINT and ZEEBE_ADDRESS"]
async fn jobs_are_worked_on_with_tokens_and_nobody_else_is_let_in() {
    let _alone = ENGINE.lock().await;
    let url = gateway();

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
    let until = tokio::time::Instant::now() + Duration::from_secs(lifetime + 5);
    let mut instances = 0;
    while tokio::time::Instant::now() < until {
        let variables = stage.run("book-invoice", BOOK_INVOICE).await;
        assert_eq!(variables["bookingNumber"], "B-2026-0815");
        instances += 1;
    }
    assert_eq!(stage.simulator.runs_started(), instances);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Keycloak and a Zeebe that demands its tokens: set KEYCLOAK_TOKEN_ENDPOINT, KEYCLOAK_ADMIN and ZEEBE_ADDRESS"]
async fn a_key_signs_in_where_its_certificate_is_known() {
    let _alone = ENGINE.lock().await;
    let key = |client_id: &str, algorithm| Credentials::OAuthKey {
        token_url: setting("KEYCLOAK_TOKEN_ENDPOINT"),
        client_id: client_id.into(),
        certificate: certificate(),
        key: None,
        algorithm,
        audience: None,
        scope: None,
    };
    for (algorithm, name) in [(Algorithm::Ps256, "PS256"), (Algorithm::Rs256, "RS256")] {
        let id = format!("engine-{name}").to_lowercase();
        make_signing_client(&id, name, "zeebe-api").await;
        let stage = Stage::on(connect(&gateway(), key(&id, algorithm)), Scenario::Success).await;
        let variables = stage.run("book-invoice", BOOK_INVOICE).await;
        assert_eq!(variables["bookingNumber"], "B-2026-0815", "{name}");
        stage.end().await;
    }
    make_signing_client("engine-elsewhere", "PS256", "another-api").await;
    for (who, why) in [
        ("deskhand", "a client with a secret instead of this certificate"),
        ("engine-elsewhere", "a token for another audience"),
    ] {
        let refused = connect(&gateway(), key(who, Algorithm::Ps256)).topology().await;
        assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated, "{why}");
    }
}
