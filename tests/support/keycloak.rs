//! A real Keycloak that the environment names: clients made through its admin API, and its process, which a test may
//! stop, kill and start again.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use deskhand::engine::Credentials;
use deskhand::http::{Client, Method, Request};
use serde_json::{Value, json};
use url::Url;

/// A certificate with its key, made for tests.
pub const CERTIFICATE: &str = "tests/secrets_identity/client.pem";

pub fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("set {name}: this test needs Keycloak (docs/testing.md)"))
}

/// The gateway that demands its tokens.
pub fn gateway() -> String {
    format!("http://{}", setting("ZEEBE_ADDRESS").trim_start_matches("http://"))
}

/// The credentials of a client with a secret.
pub fn client(id: &str, secret: &str) -> Credentials {
    Credentials::OAuth {
        token_url: setting("KEYCLOAK_TOKEN_ENDPOINT"),
        client_id: id.into(),
        client_secret: secret.into(),
        audience: Some("zeebe-api".into()),
        scope: None,
    }
}

async fn send(method: Method, url: &str, token: Option<&str>, kind: &'static str, body: String) -> (u16, Value) {
    let mut request = Request::new(method, Url::parse(url).unwrap());
    request.headers.insert("content-type", kind.parse().unwrap());
    if let Some(token) = token {
        request
            .headers
            .insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    request.body = Some(body.into_bytes());
    let answer = Client::new().unwrap().send(request).await.unwrap();
    (
        answer.status,
        serde_json::from_slice(&answer.body).unwrap_or(Value::Null),
    )
}

/// What a token endpoint answers to this form.
pub async fn form(url: &str, body: &str) -> Value {
    let kind = "application/x-www-form-urlencoded";
    let (status, value) = send(Method::POST, url, None, kind, body.into()).await;
    assert_eq!(status, 200, "{value}");
    value
}

/// Makes a client that signs in with [`CERTIFICATE`] and this algorithm; its tokens are for this audience.
pub async fn make_signing_client(id: &str, algorithm: &str, audience: &str) {
    let admin = setting("KEYCLOAK_ADMIN");
    let root = admin.trim_end_matches("/admin");
    let master = format!("{root}/realms/master/protocol/openid-connect/token");
    let signed = form(
        &master,
        "grant_type=password&client_id=admin-cli&username=admin&password=admin",
    )
    .await;
    let certificate = std::fs::read_to_string(certificate()).unwrap();
    let body: String = certificate
        .lines()
        .skip_while(|line| !line.contains("BEGIN CERTIFICATE"))
        .skip(1)
        .take_while(|line| !line.contains("END CERTIFICATE"))
        .collect();
    let client = json!({
        "clientId": id, "publicClient": false, "serviceAccountsEnabled": true, "standardFlowEnabled": false,
        "clientAuthenticatorType": "client-jwt",
        "attributes": {"use.jwks.url": "false", "jwt.credential.certificate": body,
                       "token.endpoint.auth.signing.alg": algorithm},
        "protocolMappers": [{"name": "audience", "protocol": "openid-connect",
                             "protocolMapper": "oidc-audience-mapper",
                             "config": {"included.custom.audience": audience, "access.token.claim": "true"}}],
    });
    let url = format!("{admin}/realms/camunda-platform/clients");
    let token = signed["access_token"].as_str().unwrap();
    let (status, said) = send(Method::POST, &url, Some(token), "application/json", client.to_string()).await;
    assert!(status == 201 || status == 409, "{status} {said}");
}

pub fn certificate() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(CERTIFICATE)
}

/// Keycloak's own process (`KEYCLOAK_PID`).
pub struct Process {
    pid: u32,
    command: Vec<OsString>,
    environment: Vec<OsString>,
    directory: PathBuf,
    /// The one that this test has started.
    child: Option<Child>,
}

impl Process {
    /// How it was started is read from `/proc`, so that it can be started again.
    pub fn found() -> Self {
        let pid = setting("KEYCLOAK_PID").parse().unwrap();
        let about = |name: &str| PathBuf::from(format!("/proc/{pid}/{name}"));
        let texts = |name: &str| -> Vec<OsString> {
            std::fs::read(about(name))
                .unwrap()
                .split(|byte| *byte == 0)
                .filter(|text| !text.is_empty())
                .map(|text| OsString::from_vec(text.to_vec()))
                .collect()
        };
        Self {
            pid,
            command: texts("cmdline"),
            environment: texts("environ"),
            directory: std::fs::read_link(about("cwd")).unwrap(),
            child: None,
        }
    }

    /// SIGSTOP: connections are taken, nobody answers.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    pub fn go_on(&self) {
        self.signal("CONT");
    }

    /// SIGKILL: connections are refused.
    pub fn kill(&self) {
        self.signal("KILL");
    }

    /// Starts it again with its data; it needs a while until it answers.
    pub fn start_again(&mut self) {
        let pairs = self.environment.iter().filter_map(|pair| {
            let at = pair.as_bytes().iter().position(|byte| *byte == b'=')?;
            let (name, value) = pair.as_bytes().split_at(at);
            Some((OsStr::from_bytes(name), OsStr::from_bytes(&value[1..])))
        });
        let child = Command::new(&self.command[0])
            .args(&self.command[1..])
            .env_clear()
            .envs(pairs)
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.pid = child.id();
        self.child = Some(child);
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.pid.to_string()]).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        match &mut self.child {
            Some(child) => {
                let _ = child.kill();
                let _ = child.wait();
            }
            // Stopped, it could not even be ended.
            None => {
                _ = Command::new("kill")
                    .args(["-s", "CONT", &self.pid.to_string()])
                    .status()
            }
        }
    }
}
