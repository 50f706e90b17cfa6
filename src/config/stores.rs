//! Remote stores of secrets: from their settings to what they mean.

use url::Url;

use super::sources::Sources;
use crate::secrets::vault::{Auth, Settings};

/// HashiCorp Vault, if it is configured.
pub(super) fn vault(s: &mut Sources<'_>) -> Option<Settings> {
    let address = s.optional("vault.address");
    let namespace = s.optional("vault.namespace");
    let mount = s.text("vault.mount");
    let path = s.text("vault.path");
    let token = s.secret("vault.token");
    let role_id = s.optional("vault.role_id");
    let secret_id = s.secret("vault.secret_id");
    let kubernetes = s.optional("vault.kubernetes_role");
    let token_file = s.text("vault.kubernetes_token_file");
    let auth_mount = s.optional("vault.auth_mount");
    let address = address?;
    let place = s.place("vault.address");
    let parsed = Url::parse(&address)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"));
    let Some(address) = parsed else {
        s.fault(place, "is not an address like https://vault.example.com:8200");
        return None;
    };
    let mounted = |usual: &str| auth_mount.clone().unwrap_or_else(|| usual.to_owned());
    let auth = match (token, role_id, secret_id, kubernetes) {
        (_, Some(role_id), Some(secret_id), _) => Auth::AppRole {
            mount: mounted("approle"),
            role_id,
            secret_id,
        },
        (_, _, _, Some(role)) => Auth::Kubernetes {
            mount: mounted("kubernetes"),
            role,
            token_file: token_file.into(),
        },
        (Some(token), ..) => Auth::Token(token),
        _ => {
            s.fault(
                place,
                "signing in to Vault needs vault.token, or vault.role_id and vault.secret_id, or vault.kubernetes_role",
            );
            return None;
        }
    };
    Some(Settings {
        address,
        namespace,
        mount,
        path,
        auth,
    })
}
