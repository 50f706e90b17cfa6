//! Canaries: unique values in every store of secrets, every operation with every kind of trouble at the loudest log level,
//! and then a search of everything that came out. A search that finds nothing proves nothing unless it finds leaks that
//! were planted: [`planted`].
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod jobs;
mod planted;
mod scan;
#[path = "../support/mod.rs"]
mod support;
#[path = "../http_json/target.rs"]
mod target;

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use deskhand::sandbox::power_automate::{Scenario, Simulator, World};
use scan::{Canary, Scan};
use support::gateway::FakeGateway;
use target::{Reply, Seen, Target};

/// Awkward in a text, in JSON and in a URL.
const AWKWARD: &str = "q\"uo\\te <&+/%ü> line";

/// The stores and what lies in each: fits everywhere, or only where any character fits.
fn canaries() -> Vec<Canary> {
    let mut all = Vec::new();
    for (number, store) in STORES.iter().enumerate() {
        for (kind, value) in [
            ("HEADER", format!("canary-{number}-aZ09+/=~_{}", "x7Q".repeat(5))),
            ("TEXT", format!("canary-{number}-{AWKWARD}-{}", "k3R".repeat(5))),
            (
                "LINES",
                format!("canary-{number}-first\nsecond line\t{}", "m5T".repeat(4)),
            ),
            ("LONG", format!("canary-{number}-{}", "vW4.".repeat(2_000))),
        ] {
            all.push(Canary {
                name: format!("{store}_{kind}"),
                value,
            });
        }
    }
    all.push(Canary {
        name: "PA_SECRET".into(),
        value: "canary-pa-client~secret-8J2".into(),
    });
    all.push(Canary {
        name: "READER".into(),
        value: "canary-reader-client~secret-4W6".into(),
    });
    all
}

/// Every kind of store: environment, directory, dotenv file, Vault, Key Vault.
const STORES: [&str; 5] = ["ENV", "DIR", "DOT", "VLT", "KV"];

/// What the stores themselves are shown.
const VAULT_TOKEN: &str = "canary-vault-token.3nB8zz";
const READER_TOKEN: &str = "canary-key-vault-reader-token.7Yp";

/// Vault and Key Vault, as far as reading needs them, and the endpoint that gives Key Vault's reader a token.
async fn far_stores() -> Target {
    let json = |value: serde_json::Value| Reply::json(&value.to_string());
    Target::new(move |seen| {
        let path = seen.uri.split('?').next().unwrap_or_default();
        if path == "/token" {
            return json(serde_json::json!({"access_token": READER_TOKEN, "expires_in": 3600}));
        }
        if seen.header("x-vault-token") == [VAULT_TOKEN] {
            return match path {
                "/v1/secret/data/deskhand" => {
                    let data = canaries().into_iter().filter(|canary| canary.name.starts_with("VLT_"));
                    let data: serde_json::Map<_, _> = data.map(|one| (one.name, one.value.into())).collect();
                    json(serde_json::json!({"data": {"data": data, "metadata": {"version": 1}}}))
                }
                _ => json(serde_json::json!({"data": {"ttl": 3600, "renewable": false}})),
            };
        }
        let name = path.trim_start_matches("/secrets/").replace('-', "_");
        let known = canaries()
            .into_iter()
            .find(|canary| canary.name == name && name.starts_with("KV_"));
        match known.filter(|_| seen.header("authorization") == [format!("Bearer {READER_TOKEN}")]) {
            Some(canary) => json(serde_json::json!({"value": canary.value, "id": path})),
            None => Reply::new("404 Not Found", &[], r#"{"error":{"code":"SecretNotFound"}}"#),
        }
    })
    .await
}

/// The line of a dotenv file.
fn dotenv_line(canary: &Canary) -> String {
    let mut value = canary.value.replace('\\', "\\\\");
    for (character, escaped) in [('"', "\\\""), ('\n', "\\n"), ('\t', "\\t"), ('$', "\\$")] {
        value = value.replace(character, escaped);
    }
    format!("{}=\"{value}\"\n", canary.name)
}

/// No job takes longer.
const LONGEST: Duration = Duration::from_secs(60);

/// Tokens that the endpoint gives out: secrets that nobody wrote down.
const TOKEN: &str = "canary-access-token-5hT9.aa-bb_cc";

/// The worker as a process, its output in files.
struct Deskhand {
    child: Child,
    home: tempfile::TempDir,
    admin: String,
}

impl Deskhand {
    fn start(gateway: &FakeGateway, format: &str, hosts: &[&str], stores: &Target) -> Self {
        let home = tempfile::tempdir().unwrap();
        let secrets = tempfile::tempdir().unwrap().keep();
        let dotenv = secrets.join(".env");
        let lines = canaries().into_iter().filter(|canary| canary.name.starts_with("DOT_"));
        std::fs::write(&dotenv, lines.map(|canary| dotenv_line(&canary)).collect::<String>()).unwrap();
        let hosts = hosts
            .iter()
            .map(|host| format!("\"{host}\""))
            .collect::<Vec<_>>()
            .join(", ");
        std::fs::write(
            home.path().join("deskhand.toml"),
            format!(
                "[desktop_flow]\nmissing_grace = \"1s\"\nsettle_time = \"3s\"\nvisibility = \"1s\"\nstart_timeout = \"2s\"\n[secrets]\nfields = \"all\"\ndirectory = {:?}\ndotenv = {:?}\n[[secrets.rule]]\nname = \"*\"\nhosts = [{hosts}]\n\
                 [vault]\naddress = \"{vault}\"\npath = \"deskhand\"\n[key_vault]\nurl = \"{vault}\"\nidentity = \"reader\"\n\
                 [identities.reader]\ntoken_endpoint = \"{vault}/token\"\nclient_id = \"reader\"\n\
                 client_secret = \"{{{{secrets.READER}}}}\"\nhosts = [\"{}\"]\n",
                secrets.display().to_string(),
                dotenv.display().to_string(),
                stores.authority,
                vault = stores.url(""),
            ),
        )
        .unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_deskhand"));
        command.env_clear();
        for canary in canaries() {
            match canary.name.split('_').next() {
                Some("DIR") => std::fs::write(secrets.join(&canary.name), &canary.value).unwrap(),
                Some("DOT" | "VLT" | "KV") => {}
                _ => _ = command.env(format!("SECRET_{}", canary.name), &canary.value),
            }
        }
        let admin = {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            free.local_addr().unwrap().to_string()
        };
        let output = |name: &str| std::fs::File::create(home.path().join(name)).unwrap();
        let child = command
            .args(["run", "--log", "trace", "--log-format", format])
            .env("ZEEBE_ADDRESS", gateway.url())
            .env("DESKHAND_ADMIN_LISTEN", &admin)
            .env("DESKHAND_VAULT_TOKEN", VAULT_TOKEN)
            .env("RUST_BACKTRACE", "full")
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(output("stdout"))
            .stderr(output("stderr"))
            .spawn()
            .unwrap();
        Self { child, home, admin }
    }

    /// What the port for operations says.
    async fn pages(&self) -> Vec<(String, Vec<u8>)> {
        let client = deskhand::http::Client::new().unwrap();
        let mut pages = Vec::new();
        for page in ["metrics", "ready", "live", "log-level"] {
            let url = format!("http://{}/{page}", self.admin).parse().unwrap();
            let answer = client
                .send(deskhand::http::Request::new(deskhand::http::Method::GET, url))
                .await;
            pages.push((page.to_owned(), answer.unwrap().body));
        }
        assert!(pages[0].1.len() > 1_000, "there are metrics");
        pages
    }

    /// Stops it and gives all that it wrote: its streams and its files.
    fn stopped(mut self) -> Vec<(String, Vec<u8>)> {
        let told = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(told.success());
        self.child.wait().unwrap();
        let mut written = Vec::new();
        for file in std::fs::read_dir(self.home.path()).unwrap() {
            let path = file.unwrap().path();
            written.push((path.display().to_string(), read(&path)));
        }
        written
    }
}

impl Drop for Deskhand {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    std::fs::File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// A server that says back what it was told, and gives out tokens.
async fn echoing(foreign: String) -> Target {
    Target::new(move |seen| {
        let echo = serde_json::json!({"uri": seen.uri, "headers": seen.headers, "body": seen.body}).to_string();
        let path = seen.uri.split('?').next().unwrap();
        match path {
            "/token" => Reply::json(&serde_json::json!({"access_token": TOKEN, "expires_in": 3600}).to_string()),
            "/token-bad" => Reply::new(
                "400 Bad Request",
                &["Content-Type: application/json"],
                &serde_json::json!({"error": "invalid_client", "error_description": echo}).to_string(),
            ),
            "/redirect" => Reply::new("307 Temporary Redirect", &[&format!("Location: {foreign}/stolen")], ""),
            "/401" => Reply::new("401 Unauthorized", &["Content-Type: application/json"], &echo),
            "/500" => Reply::new(
                &format!("500 {}", first_line(&seen.body)),
                &["Content-Type: text/plain"],
                &echo,
            ),
            "/garbage" => Reply::raw(format!("HTTP/1.1 {echo}\r\n\r\n")),
            "/broken" => Reply::raw(format!("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{echo}")),
            _ => Reply::json(&echo),
        }
    })
    .await
}

fn first_line(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_ascii() && !c.is_ascii_control())
        .take(200)
        .collect()
}

async fn nothing_comes_out(format: &str) {
    let foreign = Target::new(|_| Reply::json("{}")).await;
    let target = echoing(foreign.url("")).await;
    let mut world = World::demo(Scenario::Success);
    let secret = canaries()
        .into_iter()
        .find(|canary| canary.name == "PA_SECRET")
        .unwrap();
    world.directory.applications[0].client_secret = Some(serde_json::from_value(secret.value.into()).unwrap());
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into(), world).await.unwrap();
    let gateway = FakeGateway::start().await;
    let simulated = simulator.address().to_string();
    let stores = far_stores().await;
    let hosts = [target.authority.as_str(), &simulated, "127.0.0.1:1"];
    let deskhand = Deskhand::start(&gateway, format, &hosts, &stores);

    let all = jobs::all(&target, &foreign, &simulator);
    let count = all.len();
    let (alone, together): (Vec<_>, Vec<_>) = all.into_iter().partition(|task| task.fault.is_some());
    let waiting = together.len();
    for task in together {
        gateway.push(task.job).await;
    }
    for _ in 0..waiting {
        gateway.outcome_within(LONGEST).await;
    }
    for task in alone {
        simulator.add_fault(task.fault.unwrap()).unwrap();
        gateway.push(task.job).await;
        gateway.outcome_within(LONGEST).await;
        simulator.clear_faults();
    }
    let mut canaries = canaries();
    for (name, value) in [
        ("a token", TOKEN),
        ("Vault's token", VAULT_TOKEN),
        ("Key Vault's token", READER_TOKEN),
    ] {
        canaries.push(Canary {
            name: name.into(),
            value: value.into(),
        });
    }
    let scan = Scan::for_all(&canaries);
    let mut hits = Vec::new();
    let pages = deskhand.pages().await;
    let mut written = deskhand.stopped();
    written.extend(pages);
    let logged: usize = written.iter().map(|(_, bytes)| bytes.len()).sum();
    for (name, bytes) in written {
        hits.extend(scan.hits(&name, &bytes));
    }
    hits.extend(scan.hits("the commands", gateway.transcript().as_bytes()));
    for Seen { uri, headers, body, .. } in foreign.seen() {
        hits.extend(scan.hits("a foreign host", format!("{uri}\n{headers:?}\n{body}").as_bytes()));
    }
    assert!(hits.is_empty(), "{} leaks:\n{}", hits.len(), hits.join("\n"));
    // The search had something to look at, and the allowed hosts did get what they were sent.
    assert!(count > 60 && logged > 100_000, "{count} jobs, {logged} bytes");
    let sent: String = target
        .seen()
        .iter()
        .map(|seen| format!("{} {:?} {}", seen.uri, seen.headers, seen.body))
        .collect();
    let shown: String = stores
        .seen()
        .iter()
        .map(|seen| format!("{} {:?} {}", seen.uri, seen.headers, seen.body))
        .collect();
    for canary in canaries
        .iter()
        .filter(|canary| !canary.name.ends_with("LINES") && canary.name != "PA_SECRET")
    {
        let of_a_store = canary.name == "READER" || canary.name.contains("Vault");
        let place = if of_a_store { &shown } else { &sent };
        let scan = Scan::for_all(std::slice::from_ref(canary));
        assert!(
            !scan.hits("", place.as_bytes()).is_empty(),
            "{} was never used",
            canary.name
        );
        if of_a_store {
            assert!(
                scan.hits("", sent.as_bytes()).is_empty(),
                "{} went to a task's host",
                canary.name
            );
        }
    }
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_comes_out_of_any_operation_with_logs_as_text() {
    nothing_comes_out("human").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_comes_out_of_any_operation_with_logs_as_json() {
    nothing_comes_out("json").await;
}
