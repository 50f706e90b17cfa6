//! Secrets from a job's variables to bound ones: what is replaced, where values come from, what is said when one is missing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use deskhand::outcome::{JobError, Remedy};
use deskhand::secrets::environment::Environment;
use deskhand::secrets::provider::{Provider, ProviderError};
use deskhand::secrets::{Bound, Redactor, SecretScope, Secrets, Settings, environment};
use futures_util::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

const SCOPE: SecretScope<'static> = SecretScope {
    tenant_id: "<default>",
    bpmn_process_id: "invoice",
    process_definition_key: 0,
    element_id: "task",
};

fn environment(variables: &[(&str, &str)]) -> Box<dyn Provider> {
    let variables: HashMap<String, String> = variables
        .iter()
        .map(|(name, value)| (format!("SECRET_{name}"), value.to_string()))
        .collect();
    Box::new(Environment::new(environment::Settings::default(), move |name| {
        variables.get(name).cloned()
    }))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("not an object: {other}"),
    }
}

async fn bind(variables: Value, secrets: &[(&str, &str)]) -> Result<Bound, JobError> {
    Secrets::new(vec![environment(secrets)], true)
        .bind(object(variables), &SCOPE)
        .await
}

async fn bound(variables: Value, secrets: &[(&str, &str)]) -> Value {
    Value::Object(bind(variables, secrets).await.expect("no error").variables)
}

async fn refused(variables: Value, secrets: &[(&str, &str)]) -> JobError {
    bind(variables, secrets).await.expect_err("an error")
}

#[tokio::test]
async fn both_forms_are_replaced_in_texts_at_any_depth() {
    let variables = json!({
        "field1": "{{secrets.KEY1}}", "field2": "secrets.KEY2",
        "deep": {"list": ["x {{ secrets.KEY1 }} y secrets.KEY2", 1, null, true]}
    });
    assert_eq!(
        bound(variables, &[("KEY1", "v1"), ("KEY2", "v2")]).await,
        json!({"field1": "v1", "field2": "v2", "deep": {"list": ["x v1 y v2", 1, null, true]}})
    );
}

#[tokio::test]
async fn property_names_are_replaced_and_keep_their_place() {
    let result = bound(
        json!({"headers": {"a": 1, "{{secrets.NAME}}": "x", "z": 2}}),
        &[("NAME", "X-Key")],
    )
    .await;
    assert_eq!(result.to_string(), r#"{"headers":{"a":1,"X-Key":"x","z":2}}"#);
}

#[tokio::test]
async fn a_property_name_that_becomes_the_name_of_its_neighbour_is_refused() {
    let error = refused(
        json!({"headers": {"X-Key": 1, "{{secrets.NAME}}": "x"}}),
        &[("NAME", "X-Key")],
    )
    .await;
    assert_eq!(error.remedy, Remedy::Incident);
    assert!(
        error.message.contains("`headers.{{secrets.NAME}}`"),
        "{}",
        error.message
    );
    assert!(!error.message.contains("X-Key"));
}

#[tokio::test]
async fn a_value_stays_the_text_that_it_is() {
    for value in [
        r#"{"key": "secret"}"#,
        "line\nbreak",
        "quo\"te",
        "nul\0",
        "",
        "42",
        "  blanks  ",
    ] {
        assert_eq!(
            bound(json!({"value": "{{secrets.FOO}}"}), &[("FOO", value)]).await,
            json!({"value": value})
        );
    }
}

#[tokio::test]
async fn a_value_is_never_scanned_for_references() {
    let secrets = [("FOO", "secrets.BAR {{secrets.FOO}}"), ("BAR", "other")];
    assert_eq!(
        bound(json!({"a": "{{secrets.FOO}}"}), &secrets).await,
        json!({"a": "secrets.BAR {{secrets.FOO}}"})
    );
    assert_eq!(
        bound(
            json!({"a": "{{secrets.A}}{{secrets.B}}"}),
            &[("A", "{{secrets."), ("B", "A}}")]
        )
        .await,
        json!({"a": "{{secrets.A}}"})
    );
}

#[tokio::test]
async fn an_escaped_spelling_of_a_reference_is_a_reference_since_json_is_read_first() {
    let variables: Value = serde_json::from_str(r#"{"a": "{{\u0073ecrets.FOO}}"}"#).unwrap();
    assert_eq!(bound(variables, &[("FOO", "v")]).await, json!({"a": "v"}));
}

#[tokio::test]
async fn numbers_and_the_engines_own_references_pass_untouched() {
    let text = r#"{"n":1.10,"big":12345678901234567890,"s":"camunda.secrets.FOO","f":"{{secrets.FOO}}"}"#;
    let variables: Value = serde_json::from_str(text).unwrap();
    let untouched = json!({"n": 1.10, "big": 12_345_678_901_234_567_890_u64, "s": "camunda.secrets.FOO", "f": "v"});
    assert_eq!(bound(variables, &[("FOO", "v")]).await, untouched);
}

#[tokio::test]
async fn without_bare_references_only_braces_count() {
    let secrets = Secrets::new(vec![environment(&[("A", "v")])], false);
    let variables = object(json!({"a": "see secrets.example and {{secrets.A}}"}));
    let bound = secrets.bind(variables, &SCOPE).await.unwrap();
    assert_eq!(
        Value::Object(bound.variables),
        json!({"a": "see secrets.example and v"})
    );
}

#[tokio::test]
async fn what_was_used_where_is_known_once_for_each_field() {
    let variables = json!({
        "authentication": {"token": "{{secrets.T}}"},
        "body": {"list": [{"a": "{{secrets.T}}"}, {"a": "{{secrets.T}}{{secrets.U}}"}]},
        "{{secrets.U}}": 1
    });
    let bound = bind(variables, &[("T", "token"), ("U", "user")]).await.unwrap();
    let used: Vec<_> = bound
        .used
        .iter()
        .map(|used| (used.name.as_str(), used.path.as_str()))
        .collect();
    assert_eq!(
        used,
        [
            ("T", "authentication.token"),
            ("T", "body.list.a"),
            ("U", "body.list.a"),
            ("U", "{{secrets.U}}")
        ]
    );
    assert_eq!(bound.names_at(&["authentication"]), ["T"]);
    assert_eq!(bound.names_at(&["body"]), ["T", "U"]);
    let resolved: Vec<_> = bound.resolved().collect();
    assert_eq!(
        resolved,
        [("T".into(), "environment".into()), ("U".into(), "environment".into())]
    );
    assert!(!format!("{bound:?}").contains("token\""));
    assert_eq!(Redactor::new(&bound.used).text("Bearer token"), "Bearer ***");
}

#[tokio::test]
async fn a_missing_secret_is_an_incident_that_says_where_it_was_looked_for() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings {
        directory: Some(directory.path().to_owned()),
        ..Settings::default()
    };
    let secrets = Secrets::from_settings(&settings, |name| (name == "SECRET_FOO").then(|| "v".into()));
    let variables = object(json!({"headers": {"a": "{{secrets.FOO}}", "b": "{{secrets.FOO2}} {{secrets.FOO3}}"}}));
    let error = secrets.bind(variables, &SCOPE).await.err().unwrap();
    assert_eq!(error.remedy, Remedy::Incident);
    assert_eq!(
        error.error_type.as_str(),
        "io.camunda.connector.api.error.ConnectorInputException"
    );
    assert_eq!(error.code, None);
    let file = directory.path().join("FOO2");
    assert_eq!(
        error.message,
        format!(
            "Secret with name 'FOO2' is not available (field `headers.b`). This worker looked for the environment \
             variable SECRET_FOO2 and for the file {}. Missing as well: 'FOO3'.",
            file.display()
        )
    );
}

#[tokio::test]
async fn a_bare_name_that_swallowed_a_path_gets_the_form_to_write() {
    let error = refused(
        json!({"url": "secrets.ORG/api/data/v9.2/flowsessions(1)"}),
        &[("ORG", "https://x")],
    )
    .await;
    assert!(
        error
            .message
            .starts_with("Secret with name 'ORG/api/data/v9.2/flowsessions' is not available")
    );
    assert!(
        error.message.contains("write {{secrets.ORG}} instead of secrets.ORG"),
        "{}",
        error.message
    );
}

#[tokio::test]
async fn names_of_any_length_make_no_long_message() {
    let error = refused(json!({"a": format!("{{{{secrets.{}}}}}", "n".repeat(100_000))}), &[]).await;
    assert!(error.message.len() < 1000);
}

#[tokio::test]
async fn ten_thousand_references_are_bound_and_one_more_is_refused() {
    let list = |count: usize| json!({"list": vec!["{{secrets.A}}"; count]});
    let filled = bound(list(10_000), &[("A", "v")]).await;
    assert_eq!(
        filled["list"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|one| *one == "v")
            .count(),
        10_000
    );
    let error = refused(list(10_001), &[("A", "v")]).await;
    assert_eq!(error.remedy, Remedy::Incident);
    assert!(error.message.contains("10000"));
}

#[tokio::test]
async fn values_that_would_fill_the_memory_are_refused() {
    let large = "x".repeat(100_000);
    let error = refused(json!({"list": vec!["{{secrets.A}}"; 200]}), &[("A", &large)]).await;
    assert!(error.message.contains("16 MiB"));
}

#[tokio::test]
async fn variables_nested_too_deeply_are_refused() {
    for deep in [200, 1_000] {
        let lists = (0..deep).fold(json!("{{secrets.A}}"), |inner, _| json!([inner]));
        let objects = (0..deep).fold(json!("{{secrets.A}}"), |inner, _| json!({ "{{secrets.A}}": inner }));
        for nested in [lists, objects] {
            let error = refused(json!({"a": nested}), &[("A", "v")]).await;
            assert_eq!(error.remedy, Remedy::Incident);
            assert!(error.message.contains("128"), "{}", error.message);
        }
    }
}

#[tokio::test]
async fn a_value_that_refers_to_itself_or_to_others_is_put_in_once() {
    let secrets = [("A", "{{secrets.A}}{{secrets.B}}"), ("B", "{{secrets.A}}")];
    let bound = bound(json!({"{{secrets.B}}": "{{secrets.A}}{{secrets.B}}"}), &secrets).await;
    assert_eq!(
        bound,
        json!({"{{secrets.A}}": "{{secrets.A}}{{secrets.B}}{{secrets.A}}"})
    );
}

#[tokio::test]
async fn odd_names_are_looked_for_as_they_are_and_found_nowhere() {
    let long = "n".repeat(100_000);
    for name in [
        "../../etc/passwd",
        "A\"B",
        "%00",
        "\u{202e}A",
        "A}B",
        "ñ",
        "$(id)",
        "A;B",
        long.as_str(),
    ] {
        let error = refused(json!({"a": format!("{{{{secrets.{name}}}}}")}), &[("A", "v")]).await;
        assert_eq!(error.remedy, Remedy::Incident);
        assert!(
            error.message.contains("is not available") && error.message.len() < 1_000,
            "{name}: {error}"
        );
    }
}

/// Counts its questions, and answers as it was told.
struct Store {
    asked: Arc<AtomicUsize>,
    answer: fn() -> Result<Option<SecretString>, ProviderError>,
}

impl Provider for Store {
    fn kind(&self) -> &'static str {
        "store"
    }

    fn wanted(&self, name: &str, _scope: &SecretScope<'_>) -> String {
        format!("the entry {name}")
    }

    fn get<'a>(
        &'a self,
        _name: &'a str,
        _scope: &'a SecretScope<'a>,
    ) -> BoxFuture<'a, Result<Option<SecretString>, ProviderError>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::ready((self.answer)()))
    }
}

fn store(answer: fn() -> Result<Option<SecretString>, ProviderError>) -> (Box<dyn Provider>, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    (
        Box::new(Store {
            asked: asked.clone(),
            answer,
        }),
        asked,
    )
}

#[tokio::test]
async fn each_name_is_asked_for_once_and_the_first_provider_that_knows_it_wins() {
    let (first, asked_first) = store(|| Ok(None));
    let (second, asked_second) = store(|| Ok(Some("second".into())));
    let (third, asked_third) = store(|| Ok(Some("third".into())));
    let secrets = Secrets::new(vec![first, second, third], true);
    let bound = secrets
        .bind(
            object(json!({"a": "{{secrets.A}}{{secrets.A}}", "b": "secrets.A"})),
            &SCOPE,
        )
        .await;
    assert_eq!(bound.unwrap().variables["a"], "secondsecond");
    let counts = [asked_first, asked_second, asked_third].map(|asked| asked.load(Ordering::Relaxed));
    assert_eq!(counts, [1, 1, 0]);
}

#[tokio::test]
async fn a_provider_that_cannot_answer_postpones_the_job_and_the_next_is_not_asked() {
    let (down, _) = store(|| Err(ProviderError("the store is down".into())));
    let (next, asked) = store(|| Ok(Some("wrong".into())));
    let error = Secrets::new(vec![down, next], true)
        .bind(object(json!({"a": "{{secrets.A}}"})), &SCOPE)
        .await
        .err()
        .unwrap();
    assert!(matches!(error.remedy, Remedy::Postpone(pause) if pause >= Duration::from_secs(1)));
    assert!(error.message.contains("the store is down") && !error.message.contains("not available"));
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn variables_without_references_ask_nobody() {
    let (down, asked) = store(|| Err(ProviderError("down".into())));
    let bound = Secrets::new(vec![down], true)
        .bind(object(json!({"a": "b"})), &SCOPE)
        .await
        .unwrap();
    assert_eq!(Value::Object(bound.variables), json!({"a": "b"}));
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

mod directory {
    use std::path::Path;

    use deskhand::secrets::directory::Directory;

    use super::*;

    async fn get(directory: &Path, name: &str) -> Result<Option<String>, ProviderError> {
        let value = Directory::new(directory).get(name, &SCOPE).await?;
        Ok(value.map(|value| value.expose_secret().to_owned()))
    }

    #[tokio::test]
    async fn a_file_is_a_secret_without_its_last_line_break() {
        let directory = tempfile::tempdir().unwrap();
        for (content, value) in [
            ("v", "v"),
            ("v\n", "v"),
            ("v\r\n", "v"),
            ("v\n\n", "v\n"),
            ("", ""),
            ("\n", ""),
            (" v ", " v "),
        ] {
            fs::write(directory.path().join("NAME"), content).unwrap();
            assert_eq!(
                get(directory.path(), "NAME").await.unwrap().as_deref(),
                Some(value),
                "{content:?}"
            );
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_rotated_kubernetes_mount_is_followed() {
        use std::os::unix::fs::symlink;

        let mount = tempfile::tempdir().unwrap();
        let path = |name: &str| mount.path().join(name);
        for (revision, value) in [("..rev1", "old"), ("..rev2", "new")] {
            fs::create_dir(path(revision)).unwrap();
            fs::write(path(revision).join("TOKEN"), value).unwrap();
        }
        symlink("..rev1", path("..data")).unwrap();
        symlink("..data/TOKEN", path("TOKEN")).unwrap();
        assert_eq!(get(mount.path(), "TOKEN").await.unwrap().as_deref(), Some("old"));

        symlink("..rev2", path("..data_tmp")).unwrap();
        fs::rename(path("..data_tmp"), path("..data")).unwrap();
        assert_eq!(get(mount.path(), "TOKEN").await.unwrap().as_deref(), Some("new"));
        assert_eq!(get(mount.path(), "..data").await.unwrap(), None);
    }

    #[tokio::test]
    async fn names_that_lead_out_of_the_directory_find_nothing() {
        let outer = tempfile::tempdir().unwrap();
        let inner = outer.path().join("inner");
        fs::create_dir_all(inner.join("sub")).unwrap();
        fs::write(outer.path().join("outside"), "v").unwrap();
        fs::write(inner.join("sub/file"), "v").unwrap();
        let absolute = outer.path().join("outside").display().to_string();
        for name in [
            "../outside",
            "..",
            ".",
            "",
            "sub/file",
            "sub",
            "..\\outside",
            "a\0b",
            absolute.as_str(),
            &"n".repeat(300),
        ] {
            assert_eq!(get(&inner, name).await.unwrap(), None, "{name}");
        }
    }

    #[tokio::test]
    async fn a_directory_that_is_not_there_is_not_a_missing_secret() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(get(directory.path(), "NAME").await.unwrap(), None);
        let error = get(&directory.path().join("gone"), "NAME").await.unwrap_err();
        assert!(error.to_string().contains("gone cannot be used"));
    }

    #[tokio::test]
    async fn a_file_that_is_too_large_or_no_text_is_an_error_that_shows_nothing_of_it() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("LARGE"), "x".repeat(64 * 1024 + 1)).unwrap();
        fs::write(directory.path().join("BINARY"), [b'p', b'w', 0xff]).unwrap();
        let large = get(directory.path(), "LARGE").await.unwrap_err().to_string();
        assert!(
            large.contains("LARGE: larger than 65536 bytes") && !large.contains("xxx"),
            "{large}"
        );
        let binary = get(directory.path(), "BINARY").await.unwrap_err().to_string();
        assert!(
            binary.contains("BINARY") && binary.contains("UTF-8") && !binary.contains("pw"),
            "{binary}"
        );
    }
}

#[tokio::test]
async fn fixed_secrets_are_known_by_their_names() {
    let secrets = Secrets::fixed([("TOKEN", "v")]);
    let bound = secrets.bind(object(json!({"a": "{{secrets.TOKEN}}"})), &SCOPE).await;
    assert_eq!(bound.expect("no error").variables["a"], "v");
    let error = secrets.bind(object(json!({"a": "{{secrets.OTHER}}"})), &SCOPE).await;
    assert!(
        error
            .expect_err("an error")
            .message
            .starts_with("Secret with name 'OTHER' is not available")
    );
}
