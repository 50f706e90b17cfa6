//! HashiCorp Vault: a fake that speaks its HTTP API, and what deskhand makes of it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use deskhand::http::Client;
use deskhand::secrets::Known;
use deskhand::secrets::provider::{Provider, ProviderError};
use deskhand::secrets::vault::{Auth, Settings, Vault};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use url::Url;

use super::SCOPE;

/// A Vault with one KV engine (version 2) at `secret` in the namespace `team`.
pub struct FakeVault {
    pub address: SocketAddr,
    state: Arc<Mutex<World>>,
}

#[derive(Default)]
struct World {
    /// Path → versions, the newest last; `None` is a deleted one.
    entries: HashMap<String, Vec<Option<Map<String, Value>>>>,
    tokens: Vec<String>,
    issued: usize,
    logins: usize,
    renewals: usize,
    requests: usize,
    sealed: bool,
    /// Seconds that a token lives.
    lease: u64,
    renewable: bool,
}

impl FakeVault {
    pub async fn start() -> Self {
        let world = World {
            tokens: vec!["root-token".into()],
            lease: 3600,
            renewable: true,
            ..World::default()
        };
        let state = Arc::new(Mutex::new(world));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Router::new().fallback(answer).with_state(state.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { address, state }
    }

    fn with<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }

    fn put(&self, path: &str, data: Value) {
        let data = data.as_object().cloned();
        self.with(|world| world.entries.entry(path.into()).or_default().push(data));
    }

    fn settings(&self, auth: Auth) -> Settings {
        Settings {
            address: Url::parse(&format!("http://{}/", self.address)).unwrap(),
            namespace: Some("team".into()),
            mount: "secret".into(),
            path: "deskhand".into(),
            auth,
        }
    }

    fn client(&self, auth: Auth) -> Vault {
        Vault::new(Client::new().unwrap(), self.settings(auth), Known::default())
    }
}

fn refused(status: StatusCode, errors: &[&str]) -> Response {
    (status, Json(json!({ "errors": errors }))).into_response()
}

/// What Vault wraps around everything.
fn wrapped(data: Value, auth: Value) -> Response {
    Json(json!({
        "request_id": "4f3d1a2e-0000-4000-8000-000000000001", "lease_id": "", "renewable": false, "lease_duration": 0,
        "data": data, "wrap_info": null, "warnings": null, "auth": auth, "mount_type": "kv",
    }))
    .into_response()
}

async fn answer(State(state): State<Arc<Mutex<World>>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let mut world = state.lock().unwrap();
    world.requests += 1;
    if world.sealed {
        return refused(StatusCode::SERVICE_UNAVAILABLE, &["Vault is sealed"]);
    }
    let path = head.uri.path().trim_start_matches("/v1/").to_owned();
    let namespace = head
        .headers
        .get("x-vault-namespace")
        .and_then(|value| value.to_str().ok());
    if namespace != Some("team") {
        return refused(StatusCode::NOT_FOUND, &["no handler for route"]);
    }
    if let Some(mount) = path.strip_prefix("auth/").and_then(|rest| rest.strip_suffix("/login")) {
        return login(&mut world, mount, &body);
    }
    let Some(token) = token(&head.headers).filter(|token| world.tokens.contains(token)) else {
        return refused(StatusCode::FORBIDDEN, &["permission denied"]);
    };
    match path.as_str() {
        "auth/token/lookup-self" => {
            let (ttl, renewable) = (world.lease, world.renewable);
            wrapped(
                json!({"id": token, "ttl": ttl, "renewable": renewable, "policies": ["default"]}),
                Value::Null,
            )
        }
        "auth/token/renew-self" => {
            world.renewals += 1;
            let auth = auth(&world, &token);
            wrapped(Value::Null, auth)
        }
        _ => entry(&mut world, &head.method, &path, &body),
    }
}

fn token(headers: &HeaderMap) -> Option<String> {
    Some(headers.get("x-vault-token")?.to_str().ok()?.to_owned())
}

fn auth(world: &World, token: &str) -> Value {
    json!({
        "client_token": token, "accessor": "a", "policies": ["default"], "token_policies": ["default"], "metadata": {},
        "lease_duration": world.lease, "renewable": world.renewable, "entity_id": "", "token_type": "service", "orphan": true,
    })
}

fn login(world: &mut World, mount: &str, body: &Bytes) -> Response {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let good = match mount {
        "approle" => body["role_id"] == "role" && body["secret_id"] == "approle-secret-id",
        "kubernetes" => body["role"] == "worker" && body["jwt"] == "service.account.token",
        _ => false,
    };
    if !good {
        return refused(StatusCode::BAD_REQUEST, &["invalid role or secret ID"]);
    }
    world.logins += 1;
    world.issued += 1;
    let token = format!("hvs.issued-{}", world.issued);
    world.tokens.push(token.clone());
    let auth = auth(world, &token);
    wrapped(Value::Null, auth)
}

fn entry(world: &mut World, method: &Method, path: &str, body: &Bytes) -> Response {
    let Some(path) = path.strip_prefix("secret/data/") else {
        return refused(StatusCode::NOT_FOUND, &["no handler for route"]);
    };
    let metadata = |version: usize, deleted: &str| {
        json!({"created_time": "2026-11-25T10:00:00.000000000Z", "custom_metadata": null, "deletion_time": deleted,
               "destroyed": false, "version": version})
    };
    match *method {
        Method::POST | Method::PUT => {
            let body: Value = serde_json::from_slice(body).unwrap_or_default();
            let versions = world.entries.entry(path.to_owned()).or_default();
            versions.push(body["data"].as_object().cloned());
            wrapped(metadata(versions.len(), ""), Value::Null)
        }
        Method::DELETE => {
            world.entries.entry(path.to_owned()).or_default().push(None);
            StatusCode::NO_CONTENT.into_response()
        }
        _ => match world
            .entries
            .get(path)
            .map(|versions| (versions.len(), versions.last()))
        {
            Some((version, Some(Some(data)))) => {
                wrapped(json!({"data": data, "metadata": metadata(version, "")}), Value::Null)
            }
            // A deleted version is a 404 with its metadata.
            Some((version, _)) => (
                StatusCode::NOT_FOUND,
                Json(json!({"data": {"data": null, "metadata": metadata(version, "2026-11-25T11:00:00Z")}})),
            )
                .into_response(),
            None => refused(StatusCode::NOT_FOUND, &[]),
        },
    }
}

async fn get(vault: &Vault, name: &str) -> Result<Option<String>, ProviderError> {
    let value = vault.get(name, &SCOPE).await?;
    Ok(value.map(|value| value.expose_secret().to_owned()))
}

fn approle(secret_id: &str) -> Auth {
    Auth::AppRole {
        mount: "approle".into(),
        role_id: "role".into(),
        secret_id: secret_id.into(),
    }
}

#[tokio::test]
async fn fields_of_entries_are_secrets() {
    let fake = FakeVault::start().await;
    fake.put(
        "deskhand",
        json!({"TOKEN": "one", "PORT": 8443, "NESTED": {"a": 1}, "lines": "a\nb\"ü"}),
    );
    fake.put("deskhand/team/sap", json!({"PASSWORD": "two"}));
    let vault = fake.client(Auth::Token("root-token".into()));
    for (name, value) in [
        ("TOKEN", Some("one")),
        ("PORT", Some("8443")),
        ("lines", Some("a\nb\"ü")),
        ("team/sap/PASSWORD", Some("two")),
        ("MISSING", None),
        ("team/other/PASSWORD", None),
        ("../deskhand/TOKEN", None),
        ("team//PASSWORD", None),
        ("team/", None),
    ] {
        assert_eq!(get(&vault, name).await.unwrap().as_deref(), value, "{name}");
    }
    assert!(get(&vault, "NESTED").await.unwrap_err().to_string().contains("no text"));
    fake.put("deskhand", json!({"TOKEN": "rotated"}));
    assert_eq!(get(&vault, "TOKEN").await.unwrap().as_deref(), Some("rotated"));
    fake.with(|world| world.entries.get_mut("deskhand").unwrap().push(None));
    assert_eq!(get(&vault, "TOKEN").await.unwrap(), None, "a deleted version is none");
}

#[tokio::test]
async fn an_app_role_signs_in_once_and_again_when_its_token_was_revoked() {
    let fake = FakeVault::start().await;
    fake.put("deskhand", json!({"A": "value"}));
    let vault = fake.client(approle("approle-secret-id"));
    for _ in 0..5 {
        assert_eq!(get(&vault, "A").await.unwrap().as_deref(), Some("value"));
    }
    assert_eq!(fake.with(|world| world.logins), 1);
    fake.with(|world| world.tokens.clear());
    assert_eq!(get(&vault, "A").await.unwrap().as_deref(), Some("value"));
    assert_eq!(fake.with(|world| world.logins), 2);
}

#[tokio::test]
async fn a_service_account_signs_in_with_the_token_that_is_in_its_file_then() {
    let fake = FakeVault::start().await;
    fake.put("deskhand", json!({"A": "value"}));
    let directory = tempfile::tempdir().unwrap();
    let file: PathBuf = directory.path().join("token");
    let vault = fake.client(Auth::Kubernetes {
        mount: "kubernetes".into(),
        role: "worker".into(),
        token_file: file.clone(),
    });
    assert!(get(&vault, "A").await.is_err());
    std::fs::write(&file, "service.account.token\n").unwrap();
    assert_eq!(get(&vault, "A").await.unwrap().as_deref(), Some("value"));
}

#[tokio::test]
async fn a_lease_is_renewed_and_replaced_when_it_cannot_be() {
    let fake = FakeVault::start().await;
    fake.put("deskhand", json!({"A": "value"}));
    fake.with(|world| world.lease = 2);
    let vault = fake.client(approle("approle-secret-id"));
    get(&vault, "A").await.unwrap();
    // Two thirds of its life, in real time: the server is real.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    get(&vault, "A").await.unwrap();
    assert_eq!(fake.with(|world| (world.logins, world.renewals)), (1, 1));
    fake.with(|world| world.renewable = false);
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    get(&vault, "A").await.unwrap();
    assert_eq!(fake.with(|world| world.logins), 2);
}

#[tokio::test]
async fn what_vault_refuses_is_an_error_that_says_why_and_never_a_missing_secret() {
    let fake = FakeVault::start().await;
    fake.put("deskhand", json!({"A": "value"}));
    let error = get(&fake.client(approle("wrong-secret-id")), "A")
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("signing in was refused with 400") && !error.contains("wrong-secret-id"),
        "{error}"
    );
    let error = get(&fake.client(Auth::Token("no-such-token".into())), "A")
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("permission denied") && !error.contains("no-such-token"),
        "{error}"
    );
    fake.with(|world| world.sealed = true);
    let vault = fake.client(Auth::Token("root-token".into()));
    let error = get(&vault, "A").await.unwrap_err().to_string();
    assert!(error.contains("sealed"), "{error}");
}

#[tokio::test]
async fn a_store_that_answers_garbage_or_hangs_is_an_error() {
    let garbage = Router::new().fallback(|| async { "<html>login</html>" });
    let silent = Router::new().fallback(|| async { std::future::pending::<()>().await });
    for (server, part) in [(garbage, "no JSON"), (silent, "took more than 10 s")] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, server).await });
        let settings = Settings {
            address: Url::parse(&format!("http://{address}")).unwrap(),
            namespace: None,
            mount: "secret".into(),
            path: "deskhand".into(),
            auth: Auth::Token("a-token".into()),
        };
        let vault = Vault::new(Client::new().unwrap(), settings, Known::default());
        if part.contains("more than") {
            tokio::time::pause();
        }
        let error = get(&vault, "A").await.unwrap_err().to_string();
        assert!(error.contains(part) && !error.contains("html"), "{error}");
    }
}

/// Somebody else's client is content with the fake: it is like Vault, not like what deskhand expects of it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Python with the package hvac: set DESKHAND_TEST_PYTHON to its interpreter"]
async fn hvac_is_content_with_the_fake() {
    let fake = FakeVault::start().await;
    let script = r#"
import sys, hvac
c = hvac.Client(url=sys.argv[1], token="root-token", namespace="team")
assert c.is_authenticated()
c.secrets.kv.v2.create_or_update_secret(path="deskhand", secret={"TOKEN": "from hvac"})
r = c.secrets.kv.v2.read_secret_version(path="deskhand", raise_on_deleted_version=True)
assert r["data"]["data"] == {"TOKEN": "from hvac"}, r
assert c.auth.token.lookup_self()["data"]["ttl"] == 3600
a = hvac.Client(url=sys.argv[1], namespace="team")
a.auth.approle.login(role_id="role", secret_id="approle-secret-id")
assert a.is_authenticated()
a.auth.token.renew_self()
try:
    a.secrets.kv.v2.read_secret_version(path="none", raise_on_deleted_version=True)
    raise SystemExit("a missing entry was found")
except hvac.exceptions.InvalidPath:
    pass
try:
    hvac.Client(url=sys.argv[1], namespace="team").auth.approle.login(role_id="role", secret_id="x")
    raise SystemExit("a wrong secret id was taken")
except hvac.exceptions.InvalidRequest:
    pass
k = hvac.Client(url=sys.argv[1], namespace="team")
k.auth.kubernetes.login(role="worker", jwt="service.account.token")
assert k.is_authenticated()
print("content")
"#;
    let said = super::python(script, &[&format!("http://{}", fake.address)]).await;
    assert_eq!(said.trim(), "content");
    // And what it wrote is what deskhand reads.
    let vault = fake.client(approle("approle-secret-id"));
    assert_eq!(get(&vault, "TOKEN").await.unwrap().as_deref(), Some("from hvac"));
}
