//! Azure Key Vault: a fake that speaks its REST API, and what deskhand makes of it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use deskhand::http::Client;
use deskhand::secrets::key_vault::{KeyVault, Settings};
use deskhand::secrets::provider::{Provider, ProviderError};
use secrecy::ExposeSecret;
use serde_json::json;
use url::Url;

use super::SCOPE;

const TOKEN: &str = "a-token-for-the-vault";

/// Name, version, value, enabled; the newest version of a name last.
type Row = (&'static str, &'static str, &'static str, bool);

struct FakeKeyVault {
    address: SocketAddr,
    rows: Arc<Mutex<Vec<Row>>>,
}

impl FakeKeyVault {
    async fn start(rows: &[Row]) -> Self {
        let rows = Arc::new(Mutex::new(rows.to_vec()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Router::new().fallback(answer).with_state((rows.clone(), address));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { address, rows }
    }

    fn store(&self, token: &'static str) -> KeyVault {
        let settings = Settings {
            url: Url::parse(&format!("http://{}/", self.address)).unwrap(),
            identity: "reader".into(),
        };
        KeyVault::new(Client::new().unwrap(), settings, move |_, identity| {
            assert_eq!(identity, "reader");
            Box::pin(std::future::ready(Ok(token.into())))
        })
    }
}

fn refused(status: StatusCode, code: &str, inner: Option<&str>) -> Response {
    let mut error = json!({"code": code, "message": format!("{code} (the server's own words)")});
    if let Some(inner) = inner {
        error["innererror"] = json!({ "code": inner });
    }
    (status, Json(json!({ "error": error }))).into_response()
}

async fn answer(State((rows, address)): State<(Arc<Mutex<Vec<Row>>>, SocketAddr)>, request: Request) -> Response {
    let bearer = request
        .headers()
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    if bearer != Some(&format!("Bearer {TOKEN}")) {
        let challenge = r#"Bearer authorization="https://login.windows.net/t", resource="https://vault.azure.net""#;
        let mut answer = refused(StatusCode::UNAUTHORIZED, "Unauthorized", None);
        answer
            .headers_mut()
            .insert("www-authenticate", challenge.parse().unwrap());
        return answer;
    }
    if !request.uri().query().unwrap_or_default().contains("api-version=") {
        return refused(StatusCode::BAD_REQUEST, "MissingApiVersionParameter", None);
    }
    let mut parts = request.uri().path().trim_start_matches('/').split('/');
    let (kind, name, version) = (
        parts.next(),
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    if kind != Some("secrets") || name == "forbidden" {
        return refused(StatusCode::FORBIDDEN, "Forbidden", Some("ForbiddenByRbac"));
    }
    let rows = rows.lock().unwrap();
    let found = rows
        .iter()
        .rev()
        .find(|row| row.0.eq_ignore_ascii_case(name) && (version.is_empty() || row.1 == version));
    match found {
        None => refused(StatusCode::NOT_FOUND, "SecretNotFound", None),
        Some((_, _, _, false)) => refused(StatusCode::FORBIDDEN, "Forbidden", Some("SecretDisabled")),
        Some((name, version, value, true)) => Json(json!({
            "value": value, "id": format!("http://{address}/secrets/{name}/{version}"),
            "attributes": {"enabled": true, "created": 1_764_000_000, "updated": 1_764_000_000, "recoveryLevel": "Recoverable"},
        }))
        .into_response(),
    }
}

async fn get(store: &KeyVault, name: &str) -> Result<Option<String>, ProviderError> {
    let value = store.get(name, &SCOPE).await?;
    Ok(value.map(|value| value.expose_secret().to_owned()))
}

const ROWS: &[Row] = &[
    ("PA-TOKEN", "v1", "old", true),
    ("PA-TOKEN", "v2", "new", true),
    ("OFF", "v1", "x", false),
];

/// A server that answers every request with this, or never.
async fn server(answer: Option<(StatusCode, &'static str)>) -> SocketAddr {
    let routes = Router::new().fallback(move || async move {
        match answer {
            Some(answer) => answer.into_response(),
            None => std::future::pending().await,
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

#[tokio::test]
async fn garbage_and_silence_are_errors_within_bounds_and_never_a_missing_secret() {
    for answer in [
        Some((StatusCode::OK, "<html>Sign in</html>")),
        Some((StatusCode::OK, r#"{"value": 7}"#)),
        Some((StatusCode::OK, r#"{"value": null}"#)),
        Some((StatusCode::OK, "")),
        Some((StatusCode::NOT_FOUND, "no such page")),
        Some((StatusCode::FOUND, "")),
        Some((StatusCode::INTERNAL_SERVER_ERROR, "{")),
        None,
    ] {
        let address = server(answer).await;
        let settings = Settings {
            url: Url::parse(&format!("http://{address}/")).unwrap(),
            identity: "reader".into(),
        };
        let store = KeyVault::new(Client::new().unwrap(), settings, |_, _| {
            Box::pin(std::future::ready(Ok(TOKEN.into())))
        });
        if answer.is_none() {
            tokio::time::pause();
        }
        let error = get(&store, "PA_TOKEN").await.unwrap_err().to_string();
        assert!(
            error.contains("Key Vault cannot be used") && !error.contains(TOKEN),
            "{answer:?}: {error}"
        );
    }
}

#[tokio::test]
async fn the_newest_version_counts_unless_one_is_named() {
    let fake = FakeKeyVault::start(ROWS).await;
    let store = fake.store(TOKEN);
    for (name, value) in [
        ("PA_TOKEN", Some("new")),
        ("PA-TOKEN", Some("new")),
        ("pa_token", Some("new")),
        ("PA_TOKEN/v1", Some("old")),
        ("PA_TOKEN/v9", None),
        ("MISSING", None),
        ("a.b", None),
        ("../keys", None),
        ("", None),
    ] {
        assert_eq!(get(&store, name).await.unwrap().as_deref(), value, "{name}");
    }
    fake.rows.lock().unwrap().push(("PA-TOKEN", "v3", "rotated", true));
    assert_eq!(get(&store, "PA_TOKEN").await.unwrap().as_deref(), Some("rotated"));
}

#[tokio::test]
async fn what_key_vault_refuses_is_an_error_that_says_why_and_never_a_missing_secret() {
    let fake = FakeKeyVault::start(ROWS).await;
    for (token, name, part) in [
        (TOKEN, "OFF", "disabled"),
        (TOKEN, "forbidden", "Key Vault Secrets User"),
        ("another-token", "PA_TOKEN", "401"),
    ] {
        let error = get(&fake.store(token), name).await.unwrap_err().to_string();
        assert!(error.contains(part) && !error.contains(token), "{error}");
    }
}

/// Somebody else's client is content with the fake.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Python with the package azure-keyvault-secrets: set DESKHAND_TEST_PYTHON to its interpreter"]
async fn microsofts_client_is_content_with_the_fake() {
    let fake = FakeKeyVault::start(ROWS).await;
    let script = r#"
import sys, time
from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.core.pipeline.transport import RequestsTransport
from azure.keyvault.secrets import SecretClient

class Plain(RequestsTransport):
    # The client sends tokens over TLS alone; the fake has none.
    def send(self, request, **kwargs):
        secure = request.url
        request.url = secure.replace("https://", "http://", 1)
        try:
            return super().send(request, **kwargs)
        finally:
            request.url = secure

class Credential:
    def get_token(self, *scopes, **kwargs):
        assert scopes == ("https://vault.azure.net/.default",), scopes
        return AccessToken("a-token-for-the-vault", int(time.time()) + 3600)

c = SecretClient(sys.argv[1].replace("http://", "https://"), Credential(), transport=Plain(), verify_challenge_resource=False,
                 retry_total=0)
assert c.get_secret("PA-TOKEN").value == "new"
s = c.get_secret("PA-TOKEN", "v1")
assert (s.value, s.properties.version, s.properties.enabled) == ("old", "v1", True), s
try:
    c.get_secret("MISSING"); raise SystemExit("found")
except ResourceNotFoundError as e:
    assert e.error.code == "SecretNotFound", e
try:
    c.get_secret("OFF"); raise SystemExit("found")
except HttpResponseError as e:
    assert e.status_code == 403, e
print("content")
"#;
    let said = super::python(script, &[&format!("http://{}", fake.address)]).await;
    assert_eq!(said.trim(), "content");
}

/// Microsoft's sign-in library is content with the simulator of Entra, which the tests of identities use.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Python with the package msal: set DESKHAND_TEST_PYTHON to its interpreter"]
async fn msal_is_content_with_the_simulated_entra() {
    use deskhand::sandbox::power_automate::{CLIENT_ID, Scenario, Simulator, World};

    let simulator = Simulator::start(([127, 0, 0, 1], 0).into(), World::demo(Scenario::Success))
        .await
        .unwrap();
    let script = r#"
import sys, json, msal, requests
endpoint, client, scope, pem = sys.argv[1:]
tenant = endpoint.split("/oauth2/")[0].rsplit("/", 1)[1]

class Plain:
    # The library wants TLS and asks for metadata; the simulator has the token endpoint alone.
    def get(self, url, **kwargs):
        base = "https://login.microsoftonline.com/" + tenant
        body = {"token_endpoint": base + "/oauth2/v2.0/token", "authorization_endpoint": base + "/oauth2/v2.0/authorize",
                "issuer": base + "/v2.0", "tenant_discovery_endpoint": base}
        return Answer(200, json.dumps(body), {})
    def post(self, url, data=None, headers=None, **kwargs):
        assert url == "https://login.microsoftonline.com/" + tenant + "/oauth2/v2.0/token", url
        answer = requests.post(endpoint, data=data, headers={k: v for k, v in (headers or {}).items()})
        return Answer(answer.status_code, answer.text, dict(answer.headers))
    def close(self):
        pass

class Answer:
    def __init__(self, status_code, text, headers):
        self.status_code, self.text, self.headers = status_code, text, headers
    def raise_for_status(self):
        assert self.status_code < 400

def app(credential, kind=msal.ConfidentialClientApplication, client=client):
    return kind(client, client_credential=credential, http_client=Plain(), instance_discovery=False,
                authority="https://login.microsoftonline.com/" + tenant)

good = app("demo-client-secret").acquire_token_for_client([scope])
assert good.get("access_token") and good["expires_in"] == 3599, good
wrong = app("wrong").acquire_token_for_client([scope])
assert wrong["error"] == "invalid_client" and wrong["error_codes"] == [7000215], wrong
user = app("demo-client-secret").acquire_token_by_username_password("robot@contoso.onmicrosoft.com", "demo-password", [scope])
assert user.get("access_token") and user.get("refresh_token"), user
again = app("demo-client-secret").acquire_token_by_refresh_token(user["refresh_token"], [scope])
assert again.get("access_token"), again
text = open(pem).read()
from cryptography import x509
from cryptography.hazmat.primitives import hashes
thumb = x509.load_pem_x509_certificate(text.encode()).fingerprint(hashes.SHA1()).hex()
key = text[text.index("-----BEGIN PRIVATE KEY"):]
signed = app({"private_key": key, "thumbprint": thumb}).acquire_token_for_client([scope])
assert signed.get("access_token"), signed
print("content")
"#;
    let pem = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/secrets_identity/client.pem");
    let (endpoint, client, scope) = (simulator.token_endpoint(), CLIENT_ID.to_string(), simulator.scope());
    let said = super::python(script, &[&endpoint, &client, &scope, pem]).await;
    assert_eq!(said.trim(), "content");
    simulator.stop().await;
}
