//! Signing in without a client secret, as a task's own `authentication` says: with a certificate, or as the machine.

use std::path::PathBuf;

use deskhand::outcome::Remedy;
use deskhand::sandbox::power_automate::CLIENT_ID;
use serde_json::json;

use crate::setting::Setting;

#[tokio::test]
async fn a_certificate_of_the_task_signs_in_place_of_a_secret() {
    let setting = Setting::new().await;
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/secrets_identity/client.pem");
    let pem = std::fs::read_to_string(file).unwrap();
    let authentication = |certificate: &str, secret: Option<&str>| {
        json!({"authentication": {
            "type": "oauth-client-credentials-flow", "oauthTokenEndpoint": setting.simulator.token_endpoint(),
            "clientId": CLIENT_ID.to_string(), "clientCertificate": certificate, "clientSecret": secret,
        }})
    };
    let task = setting.task("listFlows", authentication(&pem, None));
    setting.call(&task).await.response();
    let asked = setting.simulator.requests().len();

    for (task, part) in [
        (
            setting.task("listFlows", authentication(&pem, Some("s"))),
            "clientSecret",
        ),
        (
            setting.task("listFlows", authentication("nonsense", None)),
            "holds no certificate",
        ),
    ] {
        let error = setting.call(&task).await.error();
        assert_eq!(error.remedy, Remedy::Incident);
        assert!(error.message.contains(part), "{}", error.message);
    }
    assert_eq!(setting.simulator.requests().len(), asked, "nothing was sent");
}

#[tokio::test]
async fn the_machine_signs_in_only_where_operations_let_it() {
    let setting = Setting::new().await;
    let task = setting.task("listFlows", json!({"authentication": {"type": "managed-identity"}}));
    let error = setting.call(&task).await.error();
    assert_eq!(error.code.as_deref(), Some("SECRET_NOT_ALLOWED"));
    assert!(
        error.message.contains("'managed-identity' may not be sent"),
        "{}",
        error.message
    );
    assert!(setting.simulator.requests().is_empty());
}
