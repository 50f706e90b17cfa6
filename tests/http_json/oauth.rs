//! Tokens: fetched as Camunda's runtime fetches them, kept, and replaced when they are stale.

use std::sync::atomic::{AtomicUsize, Ordering};

use deskhand::outcome::Remedy;
use deskhand::progress::Step;
use serde_json::{Value, json};

use super::target::{Reply, Seen, Target};
use super::{Rig, failure_of};

/// A token endpoint that counts its tokens, beside an API that takes only the tokens that `accepts` names.
async fn oauth_target(expires_in: &'static str, accepts: fn(&str) -> bool) -> Target {
    let made = AtomicUsize::new(0);
    Target::new(move |seen| {
        if seen.uri == "/token" {
            let number = made.fetch_add(1, Ordering::Relaxed) + 1;
            return Reply::json(&format!(r#"{{"access_token":"t{number}"{expires_in}}}"#));
        }
        match accepts(seen.header("authorization")[0]) {
            true => Reply::json("{}"),
            false => Reply::new("401 Unauthorized", &[], ""),
        }
    })
    .await
}

fn oauth(target: &Target, way: &str) -> Value {
    json!({
        "url": target.url("/api"), "method": "GET",
        "authentication": {
            "type": "oauth-client-credentials-flow", "oauthTokenEndpoint": target.url("/token"),
            "clientId": "the-client", "clientSecret": "s3cr3t", "clientAuthentication": way, "scopes": "one two",
        },
    })
}

fn uris(seen: &[Seen]) -> Vec<&str> {
    seen.iter().map(|seen| seen.uri.as_str()).collect()
}

#[tokio::test]
async fn client_credentials_are_shown_in_the_header_or_in_the_body() {
    let target = oauth_target("", |_| true).await;
    let rig = Rig::new();
    rig.run(oauth(&target, "basicAuthHeader")).await.unwrap();
    let seen = target.seen();
    assert_eq!(uris(&seen), ["/token", "/api"]);
    assert_eq!(seen[0].method, "POST");
    assert_eq!(seen[0].header("authorization"), ["Basic dGhlLWNsaWVudDpzM2NyM3Q="]);
    assert_eq!(seen[0].header("content-type"), ["application/x-www-form-urlencoded"]);
    assert_eq!(seen[0].body, "audience&grant_type=client_credentials&scope=one+two");
    assert_eq!(seen[1].header("authorization"), ["Bearer t1"]);

    rig.run(oauth(&target, "credentialsBody")).await.unwrap();
    let seen = target.seen();
    assert_eq!(
        seen[0].body,
        "audience&grant_type=client_credentials&scope=one+two&client_id=the-client&client_secret=s3cr3t"
    );
    assert!(seen[0].header("authorization").is_empty());
    let fetched = rig.steps.lock().unwrap();
    assert!(matches!(&fetched[0], Step::TokenFetched { host, lifetime: None } if *host == target.authority));
}

#[tokio::test]
async fn a_token_that_lives_is_fetched_once() {
    let target = oauth_target(r#","expires_in":3600"#, |_| true).await;
    let rig = Rig::new();
    for _ in 0..3 {
        rig.run(oauth(&target, "basicAuthHeader")).await.unwrap();
    }
    assert_eq!(uris(&target.seen()), ["/token", "/api", "/api", "/api"]);
    let steps = rig.steps.lock().unwrap();
    let fetched = steps.iter().filter(|step| matches!(step, Step::TokenFetched { .. }));
    assert_eq!(fetched.count(), 1);
}

#[tokio::test]
async fn a_stale_token_is_replaced_and_the_request_repeated_once() {
    let target = oauth_target(r#","expires_in":3600"#, |token| token != "Bearer t1").await;
    let rig = Rig::new();
    // Fresh and refused: it is not kept, and the task fails as it would with any other 401.
    let error = rig.run(oauth(&target, "basicAuthHeader")).await.unwrap_err();
    assert_eq!(error.code.as_deref(), Some("401"));
    assert_eq!(uris(&target.seen()), ["/token", "/api"]);
    rig.run(oauth(&target, "basicAuthHeader")).await.unwrap();
    assert_eq!(uris(&target.seen()), ["/token", "/api"]);

    // From the cache and refused: a fresh one is fetched.
    static REVOKED: AtomicUsize = AtomicUsize::new(0);
    let target = oauth_target(r#","expires_in":3600"#, |token| {
        token != format!("Bearer t{}", REVOKED.load(Ordering::Relaxed))
    })
    .await;
    let rig = Rig::new();
    rig.run(oauth(&target, "basicAuthHeader")).await.unwrap();
    REVOKED.store(1, Ordering::Relaxed);
    rig.run(oauth(&target, "basicAuthHeader")).await.unwrap();
    assert_eq!(uris(&target.seen()), ["/token", "/api", "/api", "/token", "/api"]);
}

#[tokio::test]
async fn a_claims_challenge_is_met_with_a_new_token_and_the_request_is_repeated_once() {
    // `{"access_token":{"nbf":{"essential":true,"value":"1"}}}`
    const CHALLENGE: &str = "WWW-Authenticate: Bearer realm=\"\", error=\"insufficient_claims\", \
        claims=\"eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZSwidmFsdWUiOiIxIn19fQ==\"";
    for heals in [true, false] {
        let made = AtomicUsize::new(0);
        let target = Target::new(move |seen| match seen.uri.as_str() {
            "/token" => {
                let number = made.fetch_add(1, Ordering::Relaxed) + 1;
                Reply::json(&format!(r#"{{"access_token":"t{number}","expires_in":3600}}"#))
            }
            _ if heals && seen.header("authorization") != ["Bearer t1"] => Reply::json("{}"),
            _ => Reply::new("401 Unauthorized", &[CHALLENGE], ""),
        })
        .await;
        let done = Rig::new().run(oauth(&target, "credentialsBody")).await;
        assert_eq!(done.is_ok(), heals);
        let seen = target.seen();
        assert_eq!(uris(&seen), ["/token", "/api", "/token", "/api"]);
        assert!(!seen[0].body.contains("claims="));
        assert!(
            seen[2].body.contains("claims=%7B%22access_token%22"),
            "{}",
            seen[2].body
        );
        assert!(seen[2].body.contains("cp1"), "{}", seen[2].body);
    }
}

#[tokio::test]
async fn an_api_that_refuses_every_token_is_asked_twice_at_most() {
    let target = oauth_target(r#","expires_in":3600"#, |_| true).await;
    let rig = Rig::new();
    rig.run(oauth(&target, "basicAuthHeader")).await.unwrap();
    target.seen();
    // Another API takes neither the kept token nor a fresh one.
    let strict = Target::new(|seen| match seen.uri.as_str() {
        "/token" => Reply::json(r#"{"access_token":"t","expires_in":3600}"#),
        _ => Reply::new("401 Unauthorized", &[], ""),
    })
    .await;
    let mut elsewhere = oauth(&target, "basicAuthHeader");
    elsewhere["url"] = strict.url("/api").into();
    let error = rig.run(elsewhere).await.unwrap_err();
    assert_eq!(error.code.as_deref(), Some("401"));
    assert_eq!(uris(&strict.seen()), ["/api", "/api"]);
    assert_eq!(uris(&target.seen()), ["/token"]);
}

#[tokio::test]
async fn a_token_endpoint_that_refuses_says_why() {
    let target = Target::new(|_| {
        Reply::new(
            "401 Unauthorized",
            &["Content-Type: application/json"],
            r#"{"error":"invalid_client","error_description":"AADSTS7000222: The secret is expired.\r\nTrace ID: 1"}"#,
        )
    })
    .await;
    let error = failure_of(oauth(&target, "basicAuthHeader")).await;
    assert_eq!((error.code.as_deref(), error.remedy), (Some("401"), Remedy::Retry));
    for says in [
        "401 Unauthorized",
        "invalid_client",
        "AADSTS7000222: The secret is expired.",
    ] {
        assert!(error.message.contains(says), "{}", error.message);
    }
    assert_eq!(error.variables.unwrap()["response"]["body"]["error"], "invalid_client");
    assert_eq!(target.seen().len(), 1);

    let without = Target::new(|_| Reply::json("{}")).await;
    let error = failure_of(oauth(&without, "basicAuthHeader")).await;
    assert_eq!(error.code.as_deref(), Some("OAUTH_TOKEN_ERROR"));
}

#[tokio::test]
async fn a_refresh_token_that_is_dead_has_a_code_of_its_own() {
    let target = Target::new(|_| Reply::new("400 Bad Request", &[], r#"{"error":"invalid_grant"}"#)).await;
    let error = failure_of(json!({
        "url": target.url("/api"), "method": "GET",
        "authentication": {
            "type": "oauth-refresh-token", "oauthTokenEndpoint": target.url("/token"),
            "clientId": "id", "refreshToken": "old",
        },
    }))
    .await;
    assert_eq!(error.code.as_deref(), Some("OAUTH_REFRESH_TOKEN_EXPIRED"));
    assert_eq!(
        target.seen()[0].body,
        "grant_type=refresh_token&refresh_token=old&client_id=id"
    );
}
