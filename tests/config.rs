//! Flags > environment > file, every fault at once, and a reference that cannot go stale.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "config/identities.rs"]
mod identities;
#[path = "config/messages.rs"]
mod messages;
#[path = "config/otlp.rs"]
mod otlp;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use deskhand::config::{Config, Fault, Faults, Flags, Source, reference};
use deskhand::engine::Credentials;

type Environment<'a> = HashMap<&'a str, &'a str>;

/// A file in a folder of its own that is gone with the test.
struct TestFile(PathBuf);

impl TestFile {
    fn new(name: &str, text: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("deskhand-config-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("deskhand.toml");
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn flags(&self) -> Flags {
        Flags {
            config: Some(self.0.clone()),
            ..Flags::default()
        }
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0.parent().unwrap());
    }
}

/// An empty file, so that no `deskhand.toml` of the working directory is read.
fn nothing(name: &str) -> TestFile {
    TestFile::new(name, "")
}

fn load(flags: &Flags, environment: &[(&str, &str)]) -> Result<Config, Vec<Fault>> {
    let environment: Environment<'_> = environment.iter().copied().collect();
    Config::load(flags, &environment).map_err(|Faults(faults)| faults)
}

fn faults(flags: &Flags, environment: &[(&str, &str)]) -> Vec<String> {
    let faults = load(flags, environment).expect_err("this configuration cannot work");
    faults
        .iter()
        .map(|fault| format!("{}: {}", fault.place, fault.message))
        .collect()
}

#[test]
fn without_anything_the_engine_is_on_this_machine() {
    let file = nothing("defaults");
    let config = load(&file.flags(), &[]).unwrap();
    assert_eq!(config.engine.address, "http://localhost:26500");
    assert!(matches!(config.engine.credentials, Credentials::None));
    assert_eq!(config.engine.worker_name, "deskhand");
    assert_eq!(
        (config.worker.max_jobs, config.worker.job_timeout),
        (32, Duration::from_secs(300))
    );
    assert!(config.worker.stream_enabled);
    assert_eq!(config.admin, None);
    assert_eq!(config.feel, deskhand::feel::Limits::default());
    assert_eq!(config.used, []);
}

#[test]
fn pings_are_not_more_frequent_than_gateways_allow() {
    let file = nothing("keep-alive");
    let config = load(&file.flags(), &[("ZEEBE_KEEP_ALIVE", "60000")]).unwrap();
    assert_eq!(config.engine.keep_alive, Duration::from_secs(60));
    let faults = load(&file.flags(), &[("CAMUNDA_KEEP_ALIVE", "10s")]).unwrap_err();
    let said = format!("{faults:?}");
    assert!(
        said.contains("CAMUNDA_KEEP_ALIVE") && said.contains("30s or more"),
        "{said}"
    );
}

#[test]
fn flags_win_over_the_environment_and_the_environment_over_the_file() {
    let file = TestFile::new(
        "order",
        "[worker]\nmax_jobs = 1\ndrain_grace = \"1s\"\n[engine]\nworker_name = \"file\"\n",
    );
    let mut flags = file.flags();
    flags.values.insert("worker.max_jobs", "3".into());
    let environment = [
        ("DESKHAND_WORKER_MAX_JOBS", "2"),
        ("DESKHAND_ENGINE_WORKER_NAME", "environment"),
    ];
    let config = load(&flags, &environment).unwrap();
    assert_eq!(config.worker.max_jobs, 3);
    assert_eq!(config.engine.worker_name, "environment");
    assert_eq!(config.worker.drain_grace, Duration::from_secs(1));
    let from = |key: &str| config.used.iter().find(|used| used.key == key).unwrap().source.clone();
    assert_eq!(from("worker.max_jobs"), Source::Flag("max-jobs"));
    assert_eq!(
        from("engine.worker_name"),
        Source::Variable("DESKHAND_ENGINE_WORKER_NAME".into())
    );
    assert!(matches!(from("worker.drain_grace"), Source::File(_)));
}

#[test]
fn the_variables_of_camundas_clients_work_old_and_new() {
    let file = nothing("camunda");
    for (variables, address) in [
        (vec![("ZEEBE_ADDRESS", "zeebe:26500")], "http://zeebe:26500"),
        (vec![("ZEEBE_ADDRESS", "zeebe")], "http://zeebe:26500"),
        (
            vec![
                ("CAMUNDA_GRPC_ADDRESS", "grpcs://zeebe:443"),
                ("ZEEBE_ADDRESS", "other:1"),
            ],
            "https://zeebe:443",
        ),
        (
            vec![("CAMUNDA_CLIENT_GRPCADDRESS", "https://zeebe")],
            "https://zeebe:443",
        ),
        (
            vec![("ZEEBE_ADDRESS", "abc.bru-2.zeebe.camunda.io:443")],
            "https://abc.bru-2.zeebe.camunda.io:443",
        ),
        (
            vec![("ZEEBE_ADDRESS", "zeebe:443"), ("ZEEBE_INSECURE_CONNECTION", "true")],
            "http://zeebe:443",
        ),
        (
            vec![
                ("CAMUNDA_CLIENT_CLOUD_CLUSTERID", "abc"),
                ("CAMUNDA_CLIENT_CLOUD_REGION", "bru-2"),
            ],
            "https://abc.bru-2.zeebe.camunda.io:443",
        ),
    ] {
        let config = load(&file.flags(), &variables).unwrap();
        assert_eq!(config.engine.address, address, "{variables:?}");
    }
    let saas = [("ZEEBE_CLIENT_ID", "id"), ("ZEEBE_CLIENT_SECRET", "s3cret")];
    match load(&file.flags(), &saas).unwrap().engine.credentials {
        Credentials::OAuth {
            token_url,
            client_id,
            audience,
            ..
        } => {
            assert_eq!(token_url, "https://login.cloud.camunda.io/oauth/token");
            assert_eq!(
                (client_id.as_str(), audience.as_deref()),
                ("id", Some("zeebe.camunda.io"))
            );
        }
        other => panic!("{other:?}"),
    }
    let basic = [
        ("CAMUNDA_BASIC_AUTH_USERNAME", "demo"),
        ("CAMUNDA_BASIC_AUTH_PASSWORD", "demo"),
    ];
    assert!(matches!(
        load(&file.flags(), &basic).unwrap().engine.credentials,
        Credentials::Basic { .. }
    ));
}

#[test]
fn every_fault_is_reported_at_once_with_its_place() {
    let file = TestFile::new(
        "faults",
        "[worker]\nmax_job = 5\njob_timeout = \"soon\"\n[secrets]\nrule = [{ name = \"A\" }]\n",
    );
    let mut flags = file.flags();
    flags.values.insert("worker.max_jobs", "0".into());
    flags.values.insert("admin.listen", "9600".into());
    let environment = [
        ("ZEEBE_ADDRESS", "ftp://zeebe"),
        ("ZEEBE_CLIENT_ID", "id"),
        ("DESKHAND_WORKER_STREAM_ENABLED", "perhaps"),
    ];
    let said = faults(&flags, &environment).join("\n");
    for expected in [
        "worker.max_job: there is no such setting; did you mean `worker.max_jobs`?",
        "worker.job_timeout: `soon` is not a time",
        "--max-jobs: `0` is not a whole number from 1 to",
        "--admin-listen: `9600` is not an address",
        "ZEEBE_ADDRESS: `ftp://` is not a scheme",
        "ZEEBE_CLIENT_ID: a client id needs a secret",
        "DESKHAND_WORKER_STREAM_ENABLED: `perhaps` is not true or false",
        "secrets.rule: missing field `hosts`",
    ] {
        assert!(said.contains(expected), "`{expected}` is not in:\n{said}");
    }
}

#[test]
fn contradictions_are_faults() {
    let file = nothing("contradictions");
    let both = [
        ("ZEEBE_CLIENT_ID", "id"),
        ("ZEEBE_CLIENT_SECRET", "s"),
        ("CAMUNDA_BASIC_AUTH_USERNAME", "u"),
        ("CAMUNDA_BASIC_AUTH_PASSWORD", "p"),
    ];
    assert!(faults(&file.flags(), &both)[0].contains("one of them"));
    let half = [("CAMUNDA_CLIENT_CLOUD_CLUSTERID", "abc")];
    assert!(faults(&file.flags(), &half)[0].contains("go together"));
    let certificate = [("CAMUNDA_CA_CERTIFICATE_PATH", "/does/not/exist.pem")];
    assert!(faults(&file.flags(), &certificate)[0].contains("cannot be read"));
}

#[test]
fn a_file_that_was_named_must_be_there_and_be_toml() {
    let missing = Flags {
        config: Some("/does/not/exist.toml".into()),
        ..Flags::default()
    };
    assert!(faults(&missing, &[])[0].contains("cannot be read"));
    let broken = TestFile::new("broken", "[worker\n");
    assert!(
        faults(&broken.flags(), &[])[0].contains("line 1"),
        "{:?}",
        faults(&broken.flags(), &[])
    );
}

#[test]
fn secrets_are_never_shown() {
    let file = nothing("secret");
    let environment = [("ZEEBE_CLIENT_ID", "id"), ("ZEEBE_CLIENT_SECRET", "very-s3cret")];
    let config = load(&file.flags(), &environment).unwrap();
    assert!(!format!("{config:?}").contains("very-s3cret"));
    assert!(
        config
            .used
            .iter()
            .any(|used| used.key == "engine.client_secret" && used.shown == "***")
    );
}

#[test]
fn rules_bind_secrets_to_hosts() {
    let file = TestFile::new(
        "rules",
        "[secrets]\norganizations = [\"contoso.crm4.dynamics.com\"]\n\
         [[secrets.rule]]\nname = \"BILLING_*\"\nhosts = [\"api.example.com\", \"127.0.0.1:8081\"]\n",
    );
    let config = load(&file.flags(), &[]).unwrap();
    assert_eq!((config.policy.rules.len(), config.policy.organizations.len()), (1, 1));
    let wrong = TestFile::new(
        "wrong-rule",
        "[[secrets.rule]]\nname = \"A\"\nhosts = [\"https://example.com/path\"]\n",
    );
    assert!(
        faults(&wrong.flags(), &[])[0].contains("secrets.rule number 1"),
        "{:?}",
        faults(&wrong.flags(), &[])
    );
}

#[test]
fn a_job_type_may_have_permits_of_its_own() {
    let file = TestFile::new(
        "own-permits",
        "[worker]\nmax_jobs = 4\n[connectors.\"io.camunda:http-json:1\"]\nmax_jobs = 7\n",
    );
    let worker = load(&file.flags(), &[]).unwrap().worker;
    assert_eq!((worker.max_jobs, worker.own_max_jobs["io.camunda:http-json:1"]), (4, 7));

    let wrong = TestFile::new(
        "wrong-permits",
        "[connectors.\"io.camunda:http-jsn:1\"]\nmax_jobs = 1\n\
         [connectors.\"deskhand:desktop-flow:1\"]\nmax_jobs = 0\n\
         [connectors.\"io.camunda:http-json:1\"]\nmax_job = 3\n",
    );
    let faults = faults(&wrong.flags(), &[]);
    assert_eq!(faults.len(), 3, "{faults:?}");
    for expected in ["did you mean `io.camunda:http-json:1`", "from 1 to 100000", "max_job"] {
        assert!(
            faults.iter().any(|fault| fault.contains(expected)),
            "{expected}: {faults:?}"
        );
    }
}

#[test]
fn starts_are_called_back_at_our_receivers_public_address() {
    let file = TestFile::new(
        "callback",
        "[callback]\nlisten = \"127.0.0.1:9700\"\npublic_url = \"https://hooks.example.com/deskhand/\"\npeers = [\"http://deskhand-1:9700\"]\n",
    );
    let config = load(&file.flags(), &[]).unwrap();
    let public = "https://hooks.example.com/deskhand";
    let callback = config.callback.unwrap();
    assert_eq!(callback.public_url, public);
    assert_eq!(callback.peers[0].as_str(), "http://deskhand-1:9700/");
    assert_eq!(
        config.connectors.desktop_flow.once.callback_url.as_deref(),
        Some(public)
    );
    let none = load(&nothing("no-callback").flags(), &[]).unwrap();
    assert_eq!(none.connectors.desktop_flow.once.callback_url, None);
}

#[test]
fn starts_have_a_pace_limits_and_pauses() {
    let file = TestFile::new(
        "turns",
        "[desktop_flow]\nstarts_per_minute = 60\npause = [\"Book*\", \"a8a8\"]\n\
         [[desktop_flow.limit]]\nconnections = [\"accounting_*\"]\nmax_running = 4\n",
    );
    let turns = load(&file.flags(), &[]).unwrap().connectors.desktop_flow.turns;
    assert_eq!((turns.starts_per_minute, turns.max_running), (60, None));
    let paused: Vec<String> = turns.pause.iter().map(ToString::to_string).collect();
    assert_eq!(paused, ["book*", "a8a8"]);
    assert_eq!(turns.limits.len(), 1);
    assert_eq!(turns.limits[0].max_running, 4);

    let wrong = TestFile::new(
        "wrong-turns",
        "[desktop_flow]\nstarts_per_minute = 0\n\
         [[desktop_flow.limit]]\nconnections = []\nmax_running = 0\n",
    );
    let faults = faults(&wrong.flags(), &[]);
    assert_eq!(faults.len(), 3, "{faults:?}");
    let unknown = TestFile::new(
        "unknown-turns",
        "[[desktop_flow.limit]]\nconnection = [\"a\"]\nmax_running = 1\n",
    );
    assert!(self::faults(&unknown.flags(), &[])[0].contains("a limit has `connections`"));
}

/// The committed text must be what the table of settings says; `DESKHAND_BLESS=1 cargo test --test config` writes it.
fn assert_current(name: &str, path: &str, expected: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("DESKHAND_BLESS").is_some() {
        std::fs::write(&path, expected).unwrap();
    }
    let current = std::fs::read_to_string(&path).unwrap();
    assert!(
        current == expected,
        "{name} is stale: run `DESKHAND_BLESS=1 cargo test --test config`"
    );
}

#[test]
fn the_reference_file_is_current_and_parses_to_the_defaults() {
    assert_current("deskhand.toml", "deskhand.toml", &reference::file());
    let active: Vec<String> = reference::file()
        .lines()
        .take_while(|line| !line.contains("[[secrets.rule]]"))
        .filter(|line| !line.starts_with("# "))
        .map(|line| line.trim_start_matches('#').to_owned())
        // An empty text means that the setting is left out.
        .filter(|line| !line.ends_with("= \"\""))
        .collect();
    let file = TestFile::new("reference", &active.join("\n"));
    let written = load(&file.flags(), &[]).unwrap();
    let empty = nothing("reference-defaults");
    let mut defaults = load(&empty.flags(), &[]).unwrap();
    defaults.used.clone_from(&written.used);
    assert_eq!(format!("{written:?}"), format!("{defaults:?}"));
}

#[test]
fn the_readmes_table_is_current() {
    const BEGIN: &str = "<!-- settings: begin -->\n";
    const END: &str = "<!-- settings: end -->";
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    assert_current(
        "README.md",
        "README.md",
        &format!("{before}{BEGIN}{}{END}{after}", reference::table()),
    );
}

#[test]
fn every_replica_makes_the_same_tokens_and_another_engine_makes_others() {
    use deskhand::runs::token::Subject;
    let subject = Subject {
        process_instance: 1,
        element_instance: 2,
        attempt: 1,
    };
    let stable = |variables: &[(&str, &str)]| {
        let file = nothing("tokens");
        let config = load(&file.flags(), variables).unwrap();
        config.connectors.desktop_flow.once.tokens.stable(subject)
    };
    let engine = ("ZEEBE_ADDRESS", "http://zeebe:26500");
    assert_eq!(stable(&[engine]), stable(&[("ZEEBE_ADDRESS", "zeebe:26500")]));
    assert_ne!(stable(&[engine]), stable(&[("ZEEBE_ADDRESS", "http://other:26500")]));
    let named = ("DESKHAND_DESKTOP_FLOW_NAMESPACE", "production");
    assert_eq!(stable(&[engine, named]), stable(&[named]));
    let key = ("DESKHAND_DESKTOP_FLOW_TOKEN_KEY", "0123456789abcdef");
    assert_ne!(stable(&[named, key]), stable(&[named]));
}

#[test]
fn what_dataverse_would_not_call_and_keys_that_can_be_guessed_are_refused() {
    let file = nothing("token-faults");
    for (name, value, told) in [
        ("DESKHAND_DESKTOP_FLOW_TOKEN_URL", "http://a.example.com", "https://"),
        ("DESKHAND_DESKTOP_FLOW_TOKEN_URL", "https://127.0.0.1/x", "IP addresses"),
        (
            "DESKHAND_DESKTOP_FLOW_TOKEN_URL",
            "https://u:p@a.example.com",
            "credentials",
        ),
        ("DESKHAND_DESKTOP_FLOW_TOKEN_KEY", "short", "can be guessed"),
        ("DESKHAND_DESKTOP_FLOW_SETTLE_TIME", "soon", "is not a time"),
    ] {
        let faults = format!("{:?}", load(&file.flags(), &[(name, value)]).unwrap_err());
        assert!(faults.contains(told), "{name}: {faults}");
        assert!(!faults.contains("short") || name.ends_with("URL"), "{faults}");
    }
}

#[test]
fn a_client_certificate_needs_its_key_and_both_must_be_pem() {
    let directory = tempfile::tempdir().unwrap();
    let certificate = directory.path().join("client.pem");
    std::fs::write(&certificate, "-----BEGIN CERTIFICATE-----\n").unwrap();
    let path = certificate.to_str().unwrap();
    let empty = nothing("client-certificate");
    let alone = faults(&empty.flags(), &[("CAMUNDA_MTLS_CERT_PATH", path)]);
    assert!(
        alone.iter().any(|fault| fault.contains("engine.client_key")),
        "{alone:?}"
    );
    let wrong = faults(
        &empty.flags(),
        &[("CAMUNDA_MTLS_CERT_PATH", path), ("CAMUNDA_MTLS_KEY_PATH", path)],
    );
    assert!(
        wrong
            .iter()
            .any(|fault| fault.starts_with("CAMUNDA_MTLS_KEY_PATH") && fault.contains("no private key")),
        "{wrong:?}"
    );
}

#[test]
fn tenants_are_listed_or_assigned_and_never_both() {
    let empty = nothing("tenants");
    let assigned = load(&empty.flags(), &[("DESKHAND_ENGINE_TENANT_FILTER", "assigned")]).unwrap();
    assert!(assigned.engine.assigned_tenants);
    let both = faults(
        &empty.flags(),
        &[
            ("DESKHAND_ENGINE_TENANT_FILTER", "assigned"),
            ("CAMUNDA_TENANT_ID", "red"),
        ],
    );
    assert!(both[0].starts_with("CAMUNDA_TENANT_ID"), "{both:?}");
    let wrong = faults(&empty.flags(), &[("CAMUNDA_TENANT_ID", "no such id")]);
    assert!(wrong[0].contains("1 to 31 letters"), "{wrong:?}");
}

#[test]
fn a_certificate_may_stand_for_the_client_secret_and_never_beside_it() {
    let certificate = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/http_json/tls/client.pem");
    let key = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/http_json/tls/client.key.pem");
    let empty = nothing("assertion");
    let variables = [
        ("CAMUNDA_CLIENT_ID", "worker"),
        ("CAMUNDA_OAUTH_URL", "https://login.example.com/token"),
        ("DESKHAND_ENGINE_CLIENT_ASSERTION_CERTIFICATE", certificate),
        ("DESKHAND_ENGINE_CLIENT_ASSERTION_KEY", key),
    ];
    let config = load(&empty.flags(), &variables).unwrap();
    assert!(
        matches!(&config.engine.credentials, Credentials::OAuthKey { client_id, .. } if client_id == "worker"),
        "{:?}",
        config.engine.credentials
    );
    let with_secret: Vec<_> = variables.into_iter().chain([("CAMUNDA_CLIENT_SECRET", "s")]).collect();
    let both = faults(&empty.flags(), &with_secret);
    assert!(both[0].contains("both a client secret and a certificate"), "{both:?}");
    let alone = faults(&empty.flags(), &variables[2..]);
    assert!(alone[0].contains("needs engine.client_id"), "{alone:?}");
}
