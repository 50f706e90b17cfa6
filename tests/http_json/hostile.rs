//! Bad input: hosts that only look like the one that a rule names, and values that fit nowhere. Each is a clear error, and
//! nothing is sent: no name is even looked up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use deskhand::connector::http_json::Settings;
use deskhand::http::Client;
use deskhand::http::guard::Guard;
use deskhand::outcome::{JobError, Remedy};
use deskhand::secrets::{Bound, Policy, Used};
use serde_json::{Value, json};

use super::target::{Reply, Target};
use super::{Rig, object};

const HOST: &str = "contoso.crm4.dynamics.com";
const SECRET: &str = "s3cr3t-value-of-the-test";

/// Hosts that somebody may hope pass for [`HOST`], or for an address that may be called.
const LOOK_ALIKES: &[&str] = &[
    "contoso.crm4.dynamics.com.evil.example",
    "crm4.dynamics.com.evil.example",
    "evil-contoso.crm4.dynamics.com",
    "evilcontoso.crm4.dynamics.com",
    "contoso.crm4.dynamics.com..",
    "contoso.crm4.dynamics.com:8443",
    "contoso.crm4.dynamics.com%2eevil.example",
    // Punycode, and the letters that it stands for: a Cyrillic o, a dotless i, a Greek omicron.
    "xn--contso-1of.crm4.dynamics.com",
    "cont\u{43e}so.crm4.dynamics.com",
    "contoso.crm4.dynam\u{131}cs.com",
    "c\u{3bf}ntoso.crm4.dynamics.com",
    "2130706433",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "127.1",
    "[::1]",
    "[::ffff:169.254.169.254]",
    "169.254.169.254",
    "2852039166",
    "0251.0376.0251.0376",
];

/// A rig behind the guard, in which every name leads to this machine's loopback, and how many names were looked up.
fn guarded(policy: Policy) -> (Rig, Arc<AtomicUsize>) {
    let lookups = Arc::new(AtomicUsize::new(0));
    let counted = lookups.clone();
    let guard = Guard::new(vec![]).with_lookup(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::ready(Ok(vec![[127, 0, 0, 1].into()])))
    });
    (
        Rig::through(Client::guarded(guard).unwrap(), Settings::default(), policy),
        lookups,
    )
}

fn bound(variables: Value, fields: &[&str]) -> Bound {
    let used = fields.iter().map(|path| Used {
        name: "WORD".into(),
        path: (*path).into(),
        value: SECRET.into(),
    });
    Bound::new(object(variables), used.collect())
}

#[track_caller]
fn assert_refused(error: &JobError, what: &str) {
    assert_eq!(error.remedy, Remedy::Incident, "{what}: {error}");
    assert!(!error.message.contains(SECRET), "{what}: {error}");
}

#[tokio::test]
async fn a_host_that_looks_like_the_one_of_a_rule_gets_neither_secret_nor_token() {
    let (rig, lookups) = guarded(Policy::allowing([("WORD", HOST)]));
    for host in LOOK_ALIKES {
        for url in [
            format!("https://{host}/x"),
            format!("https://{HOST}@{host}/x"),
            format!("https://{host}/{HOST}"),
        ] {
            let bearer = json!({"url": url, "method": "GET", "authentication": {"type": "bearer", "token": SECRET}});
            let error = rig
                .run_bound(&bound(bearer, &["authentication.token"]))
                .await
                .unwrap_err();
            assert_refused(&error, &url);
            let oauth = json!({"url": format!("https://{HOST}/x"), "method": "GET", "authentication": {
                "type": "oauth-client-credentials-flow", "oauthTokenEndpoint": url, "clientId": "id",
                "clientSecret": SECRET, "clientAuthentication": "credentialsBody",
            }});
            let error = rig
                .run_bound(&bound(oauth, &["authentication.clientSecret"]))
                .await
                .unwrap_err();
            assert_refused(&error, &url);
        }
    }
    assert_eq!(lookups.load(Ordering::SeqCst), 0, "no name was looked up");
}

#[tokio::test]
async fn without_a_secret_addresses_inside_are_refused_however_they_are_written() {
    let (rig, lookups) = guarded(Policy::default());
    for host in &LOOK_ALIKES[11..] {
        let error = rig
            .run(json!({"url": format!("http://{host}/x"), "method": "GET"}))
            .await
            .unwrap_err();
        assert_eq!(error.code.as_deref(), Some("ADDRESS_NOT_ALLOWED"), "{host}: {error}");
        assert!(error.message.contains("Nothing was sent"), "{error}");
    }
    assert_eq!(lookups.load(Ordering::SeqCst), 0);
    // A name that leads inside, with a trailing dot or without.
    for host in ["inside.example", "inside.example."] {
        let error = rig
            .run(json!({"url": format!("http://{host}/x"), "method": "GET"}))
            .await
            .unwrap_err();
        assert_eq!(error.code.as_deref(), Some("ADDRESS_NOT_ALLOWED"), "{host}: {error}");
    }
    assert_eq!(lookups.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_trailing_dot_is_the_same_host_and_needs_the_same_rule() {
    let (rig, lookups) = guarded(Policy::allowing([("WORD", HOST)]));
    let task = json!({"url": format!("https://{HOST}./x"), "method": "GET",
                      "authentication": {"type": "bearer", "token": SECRET}});
    let error = rig
        .run_bound(&bound(task, &["authentication.token"]))
        .await
        .unwrap_err();
    // The rule let it go; the guard found that the name leads inside.
    assert_eq!(error.code.as_deref(), Some("ADDRESS_NOT_ALLOWED"), "{error}");
    assert_eq!(lookups.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_user_in_the_url_is_refused_before_anything_is_sent() {
    let target = Target::new(|_| Reply::json("{}")).await;
    for user in ["user", "user:password", ":password", "contoso.crm4.dynamics.com:443"] {
        let error = Rig::new()
            .run(json!({"url": format!("http://{user}@{}/x", target.authority), "method": "GET"}))
            .await
            .unwrap_err();
        assert_eq!(error.remedy, Remedy::Incident, "{error}");
        assert!(
            error.message.contains("authentication") && !error.message.contains("password@"),
            "{error}"
        );
    }
    assert!(target.seen().is_empty());
}

#[tokio::test]
async fn a_redirect_to_a_metadata_service_takes_nothing_along() {
    for metadata in [
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/",
        "http://168.63.129.16/",
    ] {
        let location = format!("Location: {metadata}");
        let target = Target::new(move |_| Reply::new("307 Temporary Redirect", &[&location], "")).await;
        let allow = vec![target.authority.parse().unwrap()];
        let client = Client::guarded(Guard::new(allow)).unwrap();
        let rig = Rig::through(
            client,
            Settings::default(),
            Policy::allowing([("WORD", target.authority.as_str())]),
        );
        let task = json!({"url": target.url("/x"), "method": "POST", "followRedirects": true, "body": SECRET});
        let error = rig.run_bound(&bound(task.clone(), &["body"])).await.unwrap_err();
        assert_refused(&error, metadata);
        assert_eq!(error.code.as_deref(), Some("SECRET_NOT_ALLOWED"));
        // Without a secret it is the guard that refuses.
        let error = rig.run(task).await.unwrap_err();
        assert_eq!(error.code.as_deref(), Some("ADDRESS_NOT_ALLOWED"), "{error}");
    }
}

#[tokio::test]
async fn values_of_any_size_and_with_any_character_are_sent_as_they_are_or_not_at_all() {
    let target = Target::new(|_| Reply::json("{}")).await;
    let rig = Rig::with_policy(Policy::allowing([("WORD", target.authority.as_str())]));
    let long = "x".repeat(100 * 1024);
    for (value, fits_a_header) in [
        (long.as_str(), true),
        ("quo\"te'd \\ <value>", true),
        ("line\nbreak", false),
        ("line\r\nX-Injected: 1", false),
        ("nul\0", false),
    ] {
        let as_body = json!({"url": target.url("/x"), "method": "POST", "body": {"a": value}});
        rig.run_bound(&bound(as_body, &["body.a"])).await.unwrap();
        assert_eq!(target.seen()[0].body, json!({ "a": value }).to_string());

        let as_token =
            json!({"url": target.url("/x"), "method": "GET", "authentication": {"type": "bearer", "token": value}});
        let as_header = json!({"url": target.url("/x"), "method": "GET", "headers": {"X-Key": value}});
        for (task, field) in [(as_token, "authentication.token"), (as_header, "headers.X-Key")] {
            let result = rig.run_bound(&bound(task, &[field])).await;
            let seen = target.seen();
            if fits_a_header {
                result.unwrap();
                let name = if field.starts_with('a') {
                    "authorization"
                } else {
                    "x-key"
                };
                assert!(seen[0].header(name)[0].ends_with(value));
            } else {
                let error = result.unwrap_err();
                assert_eq!(error.remedy, Remedy::Incident, "{error}");
                assert!(error.message.contains(&format!("`{field}`")), "{error}");
                assert!(!error.message.contains("X-Injected"), "{error}");
                assert!(seen.is_empty());
            }
        }
    }
}
