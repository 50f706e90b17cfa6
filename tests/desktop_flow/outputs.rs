//! What a run gave back: as a value of the process, or as a file below the directory that operations configured.

use std::os::unix::fs::symlink;
use std::path::Path;

use deskhand::connector::desktop_flow::Settings;
use deskhand::outcome::Remedy;
use deskhand::sandbox::power_automate::{Effect, Fault, Outputs, RouteName, Script};
use serde_json::{Value, json};

use crate::setting::{Setting, settings, standing_still, world};
use crate::waiting::{scripted, wait};

const MIB: usize = 1024 * 1024;

fn giving(outputs: Outputs) -> Script {
    Script {
        outputs,
        ..Script::default()
    }
}

#[tokio::test]
async fn outputs_are_given_as_what_they_are() {
    let setting = Setting::new().await;
    let object = json!({"Booked": true, "Number": 17});
    for (outputs, expected) in [
        (Outputs::None, Value::Null),
        (Outputs::Json(object.as_object().unwrap().clone()), object),
        (Outputs::Text("42 invoices".into()), json!("42 invoices")),
        (Outputs::Base64("/wA=".into()), json!({"base64": "/wA="})),
    ] {
        scripted(&setting, vec![giving(outputs)]);
        let response = setting.call(&wait(&setting)).await.response();
        assert_eq!(response["outputs"], expected);
    }
}

#[tokio::test]
async fn outputs_over_the_cap_are_an_incident_that_says_which_field_raises_it() {
    let setting = Setting::new().await;
    scripted(&setting, vec![giving(Outputs::Bytes(3 * 1024 * 1024))]);
    let mut task = wait(&setting);
    let error = setting.call(&task).await.error();
    assert_eq!(error.remedy, Remedy::Incident);
    assert!(error.message.contains("`outputsMaxBytes`"), "{}", error.message);

    // The work is done: with a larger cap the same run gives its outputs.
    task.variables.extend(task.journal.last().unwrap());
    task.variables.insert("outputsMaxBytes".into(), json!(4 * 1024 * 1024));
    let response = setting.call(&task).await.response();
    assert!(response["outputs"]["Filler"].is_string());
    assert_eq!(setting.simulator.runs_started(), 1);
}

/// Settings with a directory for files.
fn saving(directory: &Path) -> Settings {
    Settings {
        save_dir: Some(directory.to_owned()),
        ..settings()
    }
}

/// Everything that lies below a directory.
fn files(directory: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all.extend(files(&path)),
            false => all.push(path.file_name().unwrap().to_string_lossy().into_owned()),
        }
    }
    all.sort();
    all
}

#[tokio::test]
async fn large_outputs_come_in_pieces_and_whole_where_the_server_knows_no_ranges() {
    for whole in [false, true] {
        let mut world = world();
        world.behaviour.whole_files = whole;
        let setting = Setting::of(world, settings()).await;
        scripted(&setting, vec![giving(Outputs::Bytes(9 * MIB))]);
        let mut task = wait(&setting);
        task.variables.insert("outputsMaxBytes".into(), json!(32 * MIB));
        let response = setting.call(&task).await.response();
        let filler = response["outputs"]["Filler"].as_str().unwrap();
        assert_eq!(filler.len(), 9 * MIB - r#"{"Filler":""}"#.len());
        assert!(filler.bytes().all(|byte| byte == b'x'));
        let reads = setting.requests(RouteName::Outputs).len();
        assert_eq!(reads, if whole { 1 } else { 3 });
    }
}

#[tokio::test]
async fn outputs_over_the_cap_are_refused_before_they_are_fetched() {
    let setting = Setting::new().await;
    scripted(&setting, vec![giving(Outputs::Bytes(12 * MIB))]);
    let mut task = wait(&setting);
    task.variables.insert("outputsMaxBytes".into(), json!(10 * MIB));
    let error = setting.call(&task).await.error();
    assert_eq!(error.remedy, Remedy::Incident);
    assert!(error.message.contains("10485760 bytes"), "{}", error.message);
    assert_eq!(setting.requests(RouteName::Outputs).len(), 1);
    assert_eq!(
        error.noted()["deskhandRun"]["succeeded"],
        true,
        "it is noted that there is nothing to start again"
    );
}

#[tokio::test]
async fn a_piece_that_goes_wrong_is_asked_for_again_and_nothing_is_mixed_up() {
    let directory = tempfile::tempdir().unwrap();
    for effect in [
        Effect::TruncatedBody,
        Effect::DropBeforeProcess,
        Effect::ProcessThenDrop,
    ] {
        let setting = Setting::of(world(), saving(directory.path())).await;
        scripted(&setting, vec![giving(Outputs::Bytes(9 * MIB))]);
        let mut fault = Fault::on(RouteName::Outputs, effect.clone());
        fault.skip = 1;
        setting.fault(fault);
        let mut task = wait(&setting);
        task.variables.insert("saveTo".into(), json!("x.json"));
        let response = setting.call(&task).await.response();
        assert_eq!(response["outputsFile"]["size"], 9 * MIB, "{effect:?}");
        let text = std::fs::read_to_string(directory.path().join("x.json")).unwrap();
        assert!(serde_json::from_str::<Value>(&text).is_ok(), "{effect:?}");
        assert_eq!(files(directory.path()), ["x.json"], "{effect:?}");
    }
}

#[tokio::test]
async fn outputs_may_be_saved_as_a_file_and_the_process_learns_where() {
    let directory = tempfile::tempdir().unwrap();
    let setting = Setting::of(world(), saving(directory.path())).await;
    scripted(&setting, vec![giving(Outputs::Base64("/wBhYmM=".into()))]);
    let mut task = wait(&setting);
    task.variables.insert("saveTo".into(), json!("invoices/2026/42.bin"));
    let response = setting.call(&task).await.response();
    let path = directory.path().join("invoices/2026/42.bin");
    assert_eq!(response["outputs"], Value::Null);
    assert_eq!(
        response["outputsFile"],
        json!({
            "path": path.to_str().unwrap(),
            "size": 5,
            "sha256": "671c41a0cc12aac8fe94341219eca4d57319f6937d24a02d7613f4d6a9c7bb61",
            "contentType": "application/octet-stream",
        })
    );
    assert_eq!(std::fs::read(&path).unwrap(), b"\xff\0abc");

    let run = response["flowSessionId"].clone();
    let fields = json!({"flowSessionId": run, "saveTo": "again.bin"});
    let task = setting.task("getFlowOutputs", fields);
    let again = setting.call(&task).await.response();
    assert_eq!(again["outputsFile"]["sha256"], response["outputsFile"]["sha256"]);
    assert_eq!(files(directory.path()), ["42.bin", "again.bin"]);
}

#[tokio::test]
async fn a_run_without_outputs_leaves_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let setting = Setting::of(world(), saving(directory.path())).await;
    scripted(&setting, vec![giving(Outputs::None)]);
    let mut task = wait(&setting);
    task.variables.insert("saveTo".into(), json!("a/b.json"));
    let response = setting.call(&task).await.response();
    assert_eq!(
        (&response["outputs"], &response["outputsFile"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn no_path_leads_out_of_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let setting = Setting::of(standing_still(), saving(directory.path())).await;
    for path in ["../x", "/tmp/x", "a/../../x", "c:\\x", "a//b", "./x"] {
        let task = setting.start_task("runAndWait", json!({"saveTo": path}));
        let error = setting.call(&task).await.error();
        assert!(
            error.message.starts_with("Nothing was sent. `saveTo`"),
            "{}",
            error.message
        );
    }
    let none = Setting::of(standing_still(), settings()).await;
    let error = none
        .call(&none.start_task("runAndWait", json!({"saveTo": "x"})))
        .await
        .error();
    assert!(error.message.contains("desktop_flow.save_dir"), "{}", error.message);
    assert_eq!(setting.simulator.runs_started() + none.simulator.runs_started(), 0);
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_an_incident_that_starts_nothing_again() {
    let (directory, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    symlink(outside.path(), directory.path().join("out")).unwrap();
    let setting = Setting::of(world(), saving(directory.path())).await;
    let mut task = wait(&setting);
    task.variables.insert("saveTo".into(), json!("out/x.json"));
    let error = setting.call(&task).await.error();
    assert_eq!((error.code.as_deref(), error.remedy), (Some("SAVE"), Remedy::Incident));
    assert!(error.message.contains("`out`, which is a link"), "{}", error.message);
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);

    // Somebody mends it and resolves the incident: the same run gives its outputs.
    std::fs::remove_file(directory.path().join("out")).unwrap();
    task.comes_again_after(&error);
    let response = setting.call(&task).await.response();
    assert_eq!(files(directory.path()), ["x.json"]);
    assert!(response["outputsFile"]["size"].as_u64().unwrap() > 0);
    assert_eq!(setting.simulator.runs_started(), 1);
}
