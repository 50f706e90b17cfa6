//! Signing in without a client secret, as a task's own `authentication` says: with a certificate, or as the machine.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use deskhand::connector::identity::{Identities, MANAGED_IDENTITY};
use deskhand::http::Client;
use deskhand::http::token::Tokens;
use deskhand::http::token::managed::Service;
use deskhand::outcome::Remedy;
use deskhand::secrets::{Bound, Policy, Secrets, Used};
use serde_json::{Value, json};
use url::Url;

use super::target::{Reply, Seen, Target};
use super::{Rig, object};

fn file(name: &str) -> Vec<u8> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/secrets_identity");
    std::fs::read(directory.join(name)).unwrap()
}

/// A server that gives tokens, and is an API.
async fn server() -> Target {
    Target::new(|seen| match seen.uri.as_str() {
        "/token" => Reply::json(r#"{"access_token":"t","expires_in":3600}"#),
        uri if uri.starts_with("/metadata/") => Reply::json(r#"{"access_token":"machine","expires_in":"3599"}"#),
        _ => Reply::json("{}"),
    })
    .await
}

fn with_certificate(target: &Target, fields: Value) -> Value {
    let mut authentication = json!({
        "type": "oauth-client-credentials-flow", "oauthTokenEndpoint": target.url("/token"),
        "clientId": "the-client", "clientAuthentication": "credentialsBody",
    });
    authentication.as_object_mut().unwrap().extend(object(fields));
    json!({"url": target.url("/api"), "method": "GET", "authentication": authentication})
}

/// The header of the assertion that a token endpoint was shown.
fn assertion(seen: &Seen) -> Value {
    let mut form = url::form_urlencoded::parse(seen.body.as_bytes());
    assert!(!seen.body.contains("client_secret"), "{}", seen.body);
    let (_, assertion) = form.find(|(name, _)| name == "client_assertion").unwrap();
    let header = assertion.split('.').next().unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap()
}

#[tokio::test]
async fn a_certificate_of_the_task_signs_as_pem_and_as_pfx() {
    let target = server().await;
    let pem = String::from_utf8(file("client.pem")).unwrap();
    let (certificate, key) = pem.split_at(pem.find("-----BEGIN PRIVATE KEY").unwrap());
    let password = "pässwörd of a PFX";
    for fields in [
        json!({"clientCertificate": pem, "algorithm": "RS256"}),
        json!({"clientCertificate": certificate, "clientPrivateKey": key}),
        json!({"clientCertificate": STANDARD.encode(file("modern.pfx")), "certificatePassword": password}),
        json!({"clientCertificate": STANDARD.encode(file("legacy.pfx")), "certificatePassword": password}),
    ] {
        let algorithm = fields["algorithm"].as_str().unwrap_or("PS256").to_owned();
        Rig::new().run(with_certificate(&target, fields)).await.unwrap();
        let seen = target.seen();
        assert_eq!(assertion(&seen[0])["alg"], algorithm);
        assert_eq!(seen[1].header("authorization"), ["Bearer t"]);
    }
}

#[tokio::test]
async fn whoever_knows_a_certificate_does_not_get_the_token_of_whoever_has_its_key() {
    let target = server().await;
    let pem = String::from_utf8(file("client.pem")).unwrap();
    let rig = Rig::new();
    rig.run(with_certificate(&target, json!({"clientCertificate": pem})))
        .await
        .unwrap();
    target.seen();
    let public = &pem[..pem.find("-----BEGIN PRIVATE KEY").unwrap()];
    let error = rig
        .run(with_certificate(&target, json!({"clientCertificate": public})))
        .await
        .unwrap_err();
    assert!(error.message.contains("no private key"), "{}", error.message);
    assert!(target.seen().is_empty());
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_an_incident_and_nothing_is_sent() {
    let target = server().await;
    let pem = String::from_utf8(file("client.pem")).unwrap();
    let expired = String::from_utf8(file("expired.pem")).unwrap();
    let pfx = STANDARD.encode(file("modern.pfx"));
    for (fields, part) in [
        (
            json!({"clientCertificate": pfx.clone()}),
            "authentication.certificatePassword",
        ),
        (
            json!({"clientCertificate": pfx, "certificatePassword": "wrong-password"}),
            "is wrong",
        ),
        (json!({"clientCertificate": "nonsense"}), "holds no certificate"),
        (json!({"clientCertificate": expired}), "ended at 2021"),
        (
            json!({"clientCertificate": pem.clone(), "clientSecret": "s"}),
            "not both",
        ),
        (json!({"clientCertificate": pem, "algorithm": "HS256"}), "PS256"),
    ] {
        let error = Rig::new().run(with_certificate(&target, fields)).await.unwrap_err();
        assert_eq!(error.remedy, Remedy::Incident, "{part}");
        assert!(error.message.contains(part), "{part}: {}", error.message);
        assert!(!error.message.contains("wrong-password"), "{}", error.message);
    }
    assert!(target.seen().is_empty());
}

#[tokio::test]
async fn a_certificate_is_a_secret_that_goes_where_its_rules_say() {
    let target = server().await;
    let pem = String::from_utf8(file("client.pem")).unwrap();
    let task = || {
        let used = Used {
            name: "CERTIFICATE".into(),
            path: "authentication.clientCertificate".into(),
            value: pem.clone().into(),
        };
        Bound::new(
            object(with_certificate(&target, json!({"clientCertificate": pem.clone()}))),
            vec![used],
        )
    };
    let error = Rig::new().run_bound(&task()).await.unwrap_err();
    assert_eq!(error.code.as_deref(), Some("SECRET_NOT_ALLOWED"));
    assert!(target.seen().is_empty());
    let rig = Rig::with_policy(Policy::allowing([("CERTIFICATE", target.authority.as_str())]));
    rig.run_bound(&task()).await.unwrap();
    assert_eq!(target.seen().len(), 2);
}

/// A rig on a machine whose identity service this server is.
fn on_machine(target: &Target, policy: Policy) -> Rig {
    let mut rig = Rig::with_policy(policy);
    let tokens = std::sync::Arc::new(Tokens::new(Client::new().unwrap()));
    let service = Service::Imds(Url::parse(&target.url("/")).unwrap());
    let identities = Identities::new([], Secrets::none(), tokens).on_machine(service);
    rig.connector = rig.connector.with_identities(Some(std::sync::Arc::new(identities)));
    rig
}

#[tokio::test]
async fn a_task_signs_in_as_the_machine_where_a_rule_lets_it_and_the_host_says_what_for() {
    let target = server().await;
    let task = |fields: Value| {
        let mut authentication = json!({"type": "managed-identity"});
        authentication.as_object_mut().unwrap().extend(object(fields));
        json!({"url": target.url("/api?x=1"), "method": "GET", "authentication": authentication})
    };
    let refusing = on_machine(&target, Policy::default());
    let error = refusing.run(task(json!({}))).await.unwrap_err();
    assert_eq!(error.code.as_deref(), Some("SECRET_NOT_ALLOWED"));
    assert!(
        error.message.contains("name = \"managed-identity\""),
        "{}",
        error.message
    );
    assert!(target.seen().is_empty());

    let rig = on_machine(
        &target,
        Policy::allowing([(MANAGED_IDENTITY, target.authority.as_str())]),
    );
    // What the token is for is not the task's to say.
    rig.run(task(
        json!({"scopes": "https://vault.azure.net/.default", "audience": "x"}),
    ))
    .await
    .unwrap();
    rig.run(task(json!({}))).await.unwrap();
    rig.run(task(json!({"clientId": "assigned"}))).await.unwrap();
    let seen = target.seen();
    let resource = format!("http%3A%2F%2F{}", target.authority.replace(':', "%3A"));
    let asked = format!("/metadata/identity/oauth2/token?api-version=2018-02-01&resource={resource}");
    let uris: Vec<&str> = seen.iter().map(|seen| seen.uri.as_str()).collect();
    assert_eq!(
        uris,
        [
            &asked,
            "/api?x=1",
            "/api?x=1",
            &format!("{asked}&client_id=assigned"),
            "/api?x=1"
        ]
    );
    assert_eq!(seen[1].header("authorization"), ["Bearer machine"]);
}

#[tokio::test]
async fn the_flow_service_takes_no_machine_and_that_is_said_before_the_call() {
    let target = server().await;
    let rig = on_machine(&target, Policy::allowing([(MANAGED_IDENTITY, "*.flow.microsoft.com")]));
    let task = json!({
        "url": "https://api.flow.microsoft.com/x", "method": "GET", "authentication": {"type": "managed-identity"},
    });
    let error = rig.run(task).await.unwrap_err();
    assert!(
        error.message.contains("ClientScopeAuthorizationFailed"),
        "{}",
        error.message
    );
    assert!(target.seen().is_empty());
}
