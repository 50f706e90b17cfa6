//! Identities: each way to sign in, against the simulator of Entra and servers of the test's own; who may use them and for
//! what; and how few tokens are asked for.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod certificates;
mod expiry;
mod federated;
mod machines;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Json;
use axum::routing::post;
use deskhand::connector::identity::{Identities, Settings, SignIn, Signed};
use deskhand::http::Client;
use deskhand::http::token::assertion::Assertion;
use deskhand::http::token::{Algorithm, Certificate, ClientAuthentication, RefreshTokenFile, TokenError, Tokens};
use deskhand::outcome::Remedy;
use deskhand::sandbox::power_automate::{
    CLIENT_ID, Credential, Effect, Fault, RefreshToken, RouteName, Scenario, Simulator, World,
};
use deskhand::secrets::{SecretScope, Secrets};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;

const SCOPE: SecretScope<'static> = SecretScope {
    tenant_id: "<default>",
    bpmn_process_id: "invoice-pay",
    process_definition_key: 0,
    element_id: "task",
};
const JOB_TYPE: &str = "deskhand:desktop-flow:1";

fn settings(sign_in: SignIn, endpoint: &str, host: &str) -> Settings {
    Settings {
        name: "robot".into(),
        sign_in,
        endpoint: Url::parse(endpoint).unwrap(),
        client_id: CLIENT_ID.to_string(),
        hosts: vec![host.parse().unwrap()],
        scope: None,
        audiences: BTreeMap::new(),
        connectors: vec![],
        processes: vec![],
        tenants: vec![],
        expires: None,
    }
}

fn identities(all: Vec<Settings>) -> Identities {
    let secrets = Secrets::fixed([
        ("APP", "demo-client-secret"),
        ("PASSWORD", "demo-password"),
        ("PFX", "pässwörd of a PFX"),
        ("REFRESH", "the-first-refresh-token"),
    ]);
    Identities::new(all, secrets, Arc::new(Tokens::new(Client::new().unwrap())))
}

async fn token(identities: &Identities, url: &str) -> Result<SecretString, TokenError> {
    let url = Url::parse(url).unwrap();
    match identities.sign_in("robot", &url, &SCOPE, JOB_TYPE).await.unwrap() {
        Signed::Bearer(token) => Ok(token),
        Signed::Request(request) => identities.tokens().get(&request).await.map(|fetched| fetched.token),
    }
}

fn pem(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/secrets_identity")
        .join(name)
}

/// The simulator with a user's refresh token in it.
async fn simulator(refresh: bool) -> Simulator {
    let mut world = World::demo(Scenario::Success);
    if refresh {
        world.directory.refresh_tokens = vec![RefreshToken {
            token: Credential("the-first-refresh-token".into()),
            client_id: CLIENT_ID,
            username: "robot@contoso.onmicrosoft.com".into(),
        }];
        world.directory.detect_reuse = true;
    }
    Simulator::start(([127, 0, 0, 1], 0).into(), world).await.unwrap()
}

/// Does the simulated Dataverse take this token?
async fn taken(simulator: &Simulator, token: &SecretString) -> bool {
    let url = format!("{}/api/data/v9.2/workflows?$select=name", simulator.organization());
    let mut request = deskhand::http::Request::new(deskhand::http::Method::GET, Url::parse(&url).unwrap());
    let bearer = format!("Bearer {}", token.expose_secret());
    request.headers.insert("authorization", bearer.parse().unwrap());
    Client::new().unwrap().send(request).await.unwrap().status == 200
}

#[tokio::test]
async fn every_kind_of_sign_in_gives_a_token_that_dataverse_takes() {
    let simulator = simulator(true).await;
    let directory = tempfile::tempdir().unwrap();
    let federated = directory.path().join("token");
    // The simulator reads an assertion's claims: one of a certificate serves as another provider's, too.
    let certificate = Certificate::new(pem("client.pem"), None, Algorithm::Rs256, true);
    let endpoint = Url::parse(&simulator.token_endpoint()).unwrap();
    let assertion = certificate.make(&endpoint, &CLIENT_ID.to_string()).await.unwrap();
    std::fs::write(&federated, assertion.expose_secret()).unwrap();
    let ways = [
        SignIn::Secret {
            secret: "{{secrets.APP}}".into(),
            way: ClientAuthentication::Body,
        },
        SignIn::Secret {
            secret: "{{secrets.APP}}".into(),
            way: ClientAuthentication::BasicHeader,
        },
        SignIn::Certificate {
            certificate: Certificate::new(pem("client.pem"), None, Algorithm::Ps256, false),
            password: None,
        },
        SignIn::Certificate {
            certificate: Certificate::new(pem("modern.pfx"), None, Algorithm::Ps256, false),
            password: Some("{{secrets.PFX}}".into()),
        },
        SignIn::FederatedFile(federated),
        SignIn::Password {
            username: "robot@contoso.onmicrosoft.com".into(),
            password: "{{secrets.PASSWORD}}".into(),
            secret: Some("{{secrets.APP}}".into()),
        },
        SignIn::RefreshToken {
            token: "{{secrets.REFRESH}}".into(),
            file: None,
            secret: Some("{{secrets.APP}}".into()),
        },
    ];
    for way in ways {
        let label = format!("{way:?}");
        let mut settings = settings(
            way,
            &simulator.token_endpoint(),
            &format!("127.0.0.1:{}", simulator.address().port()),
        );
        settings.scope = Some(simulator.scope());
        let identities = identities(vec![settings]);
        let token = token(&identities, &simulator.organization())
            .await
            .unwrap_or_else(|error| panic!("{label}: {error}"));
        assert!(taken(&simulator, &token).await, "{label}");
    }
    simulator.stop().await;
}

#[tokio::test]
async fn a_refresh_token_that_was_replaced_is_used_up_and_its_successor_survives_a_restart() {
    let simulator = simulator(true).await;
    let directory = tempfile::tempdir().unwrap();
    let file = RefreshTokenFile(directory.path().join("refresh-token"));
    let make = || {
        let way = SignIn::RefreshToken {
            token: "{{secrets.REFRESH}}".into(),
            file: Some(file.clone()),
            secret: Some("{{secrets.APP}}".into()),
        };
        let mut settings = settings(way, &simulator.token_endpoint(), "127.0.0.1:*");
        settings.scope = Some(format!("{} offline_access", simulator.scope()));
        identities(vec![settings])
    };
    // Each is a worker that was started anew; the endpoint takes no refresh token twice.
    for _ in 0..3 {
        token(&make(), &simulator.organization()).await.unwrap();
    }
    let kept = std::fs::read_to_string(&file.0).unwrap();
    assert!(!kept.is_empty() && kept != "the-first-refresh-token");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&file.0).unwrap().permissions().mode() & 0o777, 0o600);
    }
    simulator.stop().await;
}

#[tokio::test]
async fn a_user_with_a_second_factor_and_a_public_client_with_a_secret_are_explained() {
    let mut world = World::demo(Scenario::Success);
    world.directory.users[0].needs_second_factor = true;
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into(), world).await.unwrap();
    let way = SignIn::Password {
        username: "robot@contoso.onmicrosoft.com".into(),
        password: "{{secrets.PASSWORD}}".into(),
        secret: Some("{{secrets.APP}}".into()),
    };
    let mut one = settings(way, &simulator.token_endpoint(), "127.0.0.1:*");
    one.scope = Some(simulator.scope());
    let identities = identities(vec![one]);
    let url = Url::parse(&simulator.organization()).unwrap();
    let said = identities.token_for_operations("robot", &url).await.unwrap_err();
    assert!(said.contains("AADSTS50076") && said.contains("second factor"), "{said}");
    assert!(!said.contains("demo-password"), "{said}");
    simulator
        .add_fault(Fault::on(RouteName::Token, Effect::Entra(700_025)))
        .unwrap();
    let said = identities.token_for_operations("robot", &url).await.unwrap_err();
    assert!(
        said.contains("AADSTS700025") && said.contains("public client"),
        "{said}"
    );
    assert!(!said.contains("demo-client-secret"), "{said}");
    simulator.stop().await;
}

/// A token endpoint that counts, and gives each question a token of its own.
async fn counting() -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let answer = move || {
        let number = counted.fetch_add(1, Ordering::SeqCst);
        async move { Json(json!({"access_token": format!("token-{number}"), "expires_in": 3600})) }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/token", listener.local_addr().unwrap());
    let routes = Router::new().route("/token", post(answer));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (endpoint, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_jobs_over_twenty_identities_make_twenty_token_requests() {
    let (endpoint, asked) = counting().await;
    let all = (0..20).map(|number| {
        let way = SignIn::Secret {
            secret: "{{secrets.APP}}".into(),
            way: ClientAuthentication::Body,
        };
        Settings {
            name: format!("robot-{number}"),
            client_id: format!("client-{number}"),
            ..settings(way, &endpoint, "contoso.crm4.dynamics.com")
        }
    });
    let identities = Arc::new(identities(all.collect()));
    let jobs = (0..10_000).map(|number| {
        let identities = identities.clone();
        tokio::spawn(async move {
            let url = Url::parse("https://contoso.crm4.dynamics.com/api").unwrap();
            let name = format!("robot-{}", number % 20);
            let Signed::Request(request) = identities.sign_in(&name, &url, &SCOPE, JOB_TYPE).await.unwrap() else {
                panic!("a token is asked for");
            };
            let token = identities.tokens().get(&request).await.unwrap().token;
            (name, token.expose_secret().to_owned())
        })
    });
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for job in jobs.collect::<Vec<_>>() {
        let (name, token) = job.await.unwrap();
        assert_eq!(
            seen.entry(name).or_insert_with(|| token.clone()),
            &token,
            "one token for one identity"
        );
    }
    assert_eq!(seen.len(), 20);
    assert_eq!(asked.load(Ordering::SeqCst), 20);
}

#[tokio::test]
async fn an_identity_goes_to_its_hosts_for_its_jobs_and_nowhere_else() {
    let (endpoint, asked) = counting().await;
    let way = SignIn::Secret {
        secret: "{{secrets.APP}}".into(),
        way: ClientAuthentication::Body,
    };
    let mut one = settings(way, &endpoint, "contoso.crm4.dynamics.com");
    one.hosts.push("api.flow.microsoft.com".parse().unwrap());
    one.processes = vec!["invoice-*".into()];
    one.connectors = vec![JOB_TYPE.into()];
    let identities = identities(vec![one]);
    let refused = async |name: &str, url: &str, process: &str, connector: &str| {
        let scope = SecretScope {
            bpmn_process_id: process,
            ..SCOPE
        };
        let url = Url::parse(url).unwrap();
        let signed = identities.sign_in(name, &url, &scope, connector).await;
        signed.err().map(|error| {
            assert_eq!(error.remedy, Remedy::Incident);
            error.message
        })
    };
    let good = "https://contoso.crm4.dynamics.com/api";
    assert_eq!(refused("robot", good, "invoice-pay", JOB_TYPE).await, None);
    for (name, url, process, connector, part) in [
        ("robott", good, "invoice-pay", JOB_TYPE, "did you mean 'robot'"),
        ("robot", good, "other", JOB_TYPE, "processes = [\"other\"]"),
        ("robot", good, "invoice-pay", "io.camunda:http-json:1", "connectors"),
        (
            "robot",
            "https://evil.crm4.dynamics.com/",
            "invoice-pay",
            JOB_TYPE,
            "hosts = [\"evil.crm4.dynamics.com\"]",
        ),
        (
            "robot",
            "https://contoso.crm4.dynamics.com.evil.example/",
            "invoice-pay",
            JOB_TYPE,
            "hosts",
        ),
        (
            "robot",
            "http://contoso.crm4.dynamics.com/",
            "invoice-pay",
            JOB_TYPE,
            "(http)",
        ),
        (
            "robot",
            "https://api.flow.microsoft.com/",
            "invoice-pay",
            JOB_TYPE,
            "ClientScopeAuthorizationFailed",
        ),
    ] {
        let said = refused(name, url, process, connector).await.expect(part);
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0, "nothing was sent");
}
