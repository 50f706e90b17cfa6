//! Each way to sign in that is not Entra's alone, against a real OpenID provider.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deskhand::connector::identity::{Identities, Settings, SignIn};
use deskhand::http::Client;
use deskhand::http::token::{Algorithm, Certificate};
use deskhand::http::token::{ClientAuthentication, RefreshTokenFile, Tokens};
use deskhand::secrets::Secrets;
use secrecy::ExposeSecret;
use serde_json::Value;
use support::keycloak::{certificate, form, make_signing_client, setting};
use url::Url;

fn identity(client_id: &str, sign_in: SignIn) -> Identities {
    let settings = Settings {
        name: "robot".into(),
        sign_in,
        endpoint: Url::parse(&setting("KEYCLOAK_TOKEN_ENDPOINT")).unwrap(),
        client_id: client_id.into(),
        hosts: vec!["api.example.com".parse().unwrap()],
        scope: Some("openid".into()),
        audiences: BTreeMap::new(),
        connectors: vec![],
        processes: vec![],
        tenants: vec![],
        expires: None,
    };
    let secrets = Secrets::fixed([
        ("SECRET", "deskhand-secret"),
        ("PASSWORD", "robot-password"),
        ("WRONG", "wrong-secret"),
    ]);
    Identities::new([settings], secrets, Arc::new(Tokens::new(Client::new().unwrap())))
}

/// Who the token is of.
async fn signed_in(client_id: &str, sign_in: SignIn) -> Result<String, String> {
    let url = Url::parse("https://api.example.com/").unwrap();
    let token = identity(client_id, sign_in).token_for_operations("robot", &url).await?;
    let claims = token.expose_secret().split('.').nth(1).unwrap().to_owned();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    Ok(claims["preferred_username"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Keycloak: set KEYCLOAK_TOKEN_ENDPOINT and KEYCLOAK_ADMIN"]
async fn secrets_passwords_refresh_tokens_and_signed_assertions_are_taken() {
    for way in [ClientAuthentication::Body, ClientAuthentication::BasicHeader] {
        let secret = "{{secrets.SECRET}}".into();
        let who = signed_in("deskhand", SignIn::Secret { secret, way }).await;
        assert_eq!(who.unwrap(), "service-account-deskhand");
        let secret = "{{secrets.WRONG}}".into();
        let error = signed_in("deskhand", SignIn::Secret { secret, way }).await.unwrap_err();
        assert!(error.contains("401") && !error.contains("wrong-secret"), "{error}");
    }

    let password = |password: &str| SignIn::Password {
        username: "robot".into(),
        password: password.into(),
        secret: Some("{{secrets.SECRET}}".into()),
    };
    assert_eq!(
        signed_in("deskhand", password("{{secrets.PASSWORD}}")).await.unwrap(),
        "robot"
    );
    assert!(signed_in("deskhand", password("{{secrets.WRONG}}")).await.is_err());

    let endpoint = setting("KEYCLOAK_TOKEN_ENDPOINT");
    let answer = form(
        &endpoint,
        "grant_type=password&client_id=deskhand&client_secret=deskhand-secret&username=robot&password=robot-password",
    )
    .await;
    let directory = tempfile::tempdir().unwrap();
    let file = RefreshTokenFile(directory.path().join("refresh"));
    let refresh = || SignIn::RefreshToken {
        token: answer["refresh_token"].as_str().unwrap().to_owned(),
        file: Some(file.clone()),
        secret: Some("{{secrets.SECRET}}".into()),
    };
    for _ in 0..3 {
        assert_eq!(signed_in("deskhand", refresh()).await.unwrap(), "robot");
        assert!(file.read().unwrap().is_some(), "the successor is kept");
    }

    let pem = certificate();
    for (algorithm, name) in [(Algorithm::Ps256, "PS256"), (Algorithm::Rs256, "RS256")] {
        let id = format!("signed-{name}").to_lowercase();
        make_signing_client(&id, name, "zeebe-api").await;
        let certificate = Certificate::new(pem.clone(), None, algorithm, false);
        let who = signed_in(
            &id,
            SignIn::Certificate {
                certificate,
                password: None,
            },
        )
        .await;
        assert_eq!(who.unwrap(), format!("service-account-{id}"), "{name}");
        let other = match algorithm {
            Algorithm::Ps256 => Algorithm::Rs256,
            Algorithm::Rs256 => Algorithm::Ps256,
        };
        let wrong = Certificate::new(pem.clone(), None, other, false);
        let error = signed_in(
            &id,
            SignIn::Certificate {
                certificate: wrong,
                password: None,
            },
        )
        .await;
        assert!(error.is_err(), "{name}: the other algorithm is not taken");
    }
}
