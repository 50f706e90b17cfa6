//! Where a task's secrets may go: asked before a byte is sent, for every hop.

use deskhand::outcome::Remedy;
use deskhand::secrets::{Bound, Policy, Rule, Used};
use serde_json::{Value, json};

use super::target::{Reply, Target};
use super::{Rig, object};

/// A rule for each secret: it may go to this address.
fn policy(rules: &[(&str, &str)]) -> Policy {
    Policy::of_rules(
        rules
            .iter()
            .map(|(name, host)| Rule::new(name, [*host]).unwrap())
            .collect(),
    )
}

/// Variables in which these fields hold these secrets.
fn bound(variables: Value, secrets: &[(&str, &str)]) -> Bound {
    let used = secrets.iter().map(|(path, name)| Used {
        name: (*name).to_owned(),
        path: (*path).to_owned(),
        value: "s3cr3t".into(),
    });
    Bound::new(object(variables), used.collect())
}

fn oauth(api: &str, endpoint: &str) -> Bound {
    bound(
        json!({
            "url": api, "method": "GET",
            "authentication": {
                "type": "oauth-client-credentials-flow", "oauthTokenEndpoint": endpoint, "clientId": "id",
                "clientSecret": "s3cr3t", "clientAuthentication": "credentialsBody",
            },
        }),
        &[("authentication.clientSecret", "WORD")],
    )
}

#[tokio::test]
async fn a_secret_is_sent_to_no_host_that_its_rules_do_not_name() {
    let target = Target::new(|_| Reply::json("{}")).await;
    let task = bound(
        json!({"url": target.url("/x"), "method": "POST", "body": {"a": {"b": "s3cr3t"}}}),
        &[("body.a.b", "WORD")],
    );
    let refusing = Rig::with_policy(policy(&[("WORD", "api.example.com")]));
    let error = refusing.run_bound(&task).await.unwrap_err();
    assert_eq!(error.remedy, Remedy::Incident);
    assert!(
        error.message.contains("WORD") && !error.message.contains("s3cr3t"),
        "{}",
        error.message
    );
    assert!(target.seen().is_empty());

    let allowing = Rig::with_policy(policy(&[("WORD", &target.authority)]));
    allowing.run_bound(&task).await.unwrap();
    assert_eq!(target.seen()[0].body, r#"{"a":{"b":"s3cr3t"}}"#);
}

#[tokio::test]
async fn a_token_goes_where_the_secrets_that_it_was_made_of_may_go() {
    let endpoint = Target::new(|_| Reply::json(r#"{"access_token":"t"}"#)).await;
    let api = Target::new(|_| Reply::json("{}")).await;
    let task = oauth(&api.url("/x"), &endpoint.url("/token"));

    // The endpoint alone: the token may not go on, so none is made.
    let rig = Rig::with_policy(policy(&[("WORD", &endpoint.authority)]));
    assert_eq!(rig.run_bound(&task).await.unwrap_err().remedy, Remedy::Incident);
    // The API alone: the secret may not go to the endpoint.
    let rig = Rig::with_policy(policy(&[("WORD", &api.authority)]));
    assert_eq!(rig.run_bound(&task).await.unwrap_err().remedy, Remedy::Incident);
    assert!(endpoint.seen().is_empty() && api.seen().is_empty());

    let both = policy(&[("WORD", &endpoint.authority), ("WORD", &api.authority)]);
    Rig::with_policy(both).run_bound(&task).await.unwrap();
    assert_eq!(api.seen()[0].header("authorization"), ["Bearer t"]);
}

#[tokio::test]
async fn a_redirect_to_a_host_that_may_not_have_the_secret_is_refused() {
    let elsewhere = Target::new(|_| Reply::json("{}")).await;
    let location = format!("Location: {}", elsewhere.url("/stolen"));
    let target = Target::new(move |_| Reply::new("307 Temporary Redirect", &[&location], "")).await;
    let task = bound(
        json!({"url": target.url("/x"), "method": "POST", "body": "s3cr3t", "followRedirects": true}),
        &[("body", "WORD")],
    );
    let rig = Rig::with_policy(policy(&[("WORD", &target.authority)]));
    let error = rig.run_bound(&task).await.unwrap_err();
    assert!(error.message.contains(&elsewhere.authority), "{}", error.message);
    assert_eq!(target.seen().len(), 1);
    assert!(elsewhere.seen().is_empty());
}

#[tokio::test]
async fn a_redirect_never_takes_credentials_to_another_origin() {
    let elsewhere = Target::new(|_| Reply::json("{}")).await;
    let location = format!("Location: {}", elsewhere.url("/stolen"));
    let target = Target::new(move |_| Reply::new("302 Found", &[&location], "")).await;
    let response = Rig::new()
        .run(json!({
            "url": target.url("/x"), "method": "GET", "followRedirects": true,
            "authentication": {"type": "bearer", "token": "t"},
        }))
        .await
        .unwrap();
    assert_eq!(response["status"], 302);
    assert!(elsewhere.seen().is_empty());
}
