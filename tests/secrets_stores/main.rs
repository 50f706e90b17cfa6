//! Stores of secrets that are servers: fakes that speak their API, and what deskhand makes of them in good and bad times.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod key_vault;
mod vault;

use deskhand::secrets::SecretScope;

const SCOPE: SecretScope<'static> = SecretScope {
    tenant_id: "<default>",
    bpmn_process_id: "process",
    process_definition_key: 0,
    element_id: "task",
};

/// What a Python program says.
async fn python(script: &'static str, arguments: &[&str]) -> String {
    let interpreter = std::env::var("DESKHAND_TEST_PYTHON")
        .expect("set DESKHAND_TEST_PYTHON to a Python with hvac, azure-keyvault-secrets and msal");
    let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    let output = tokio::task::spawn_blocking(move || {
        std::process::Command::new(interpreter)
            .arg("-c")
            .arg(script)
            .args(arguments)
            .output()
    })
    .await
    .unwrap()
    .unwrap();
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
