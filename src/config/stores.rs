//! Remote stores of secrets: from their settings to what they mean.

use url::Url;

use super::sources::Sources;
use crate::connector::identity;
use crate::secrets::key_vault;
use crate::secrets::vault::{Auth, Settings};

/// The engine's REST API as the place of diagrams, if it is configured.
pub(super) fn engine_rest(s: &mut Sources<'_>) -> Option<Url> {
    let address = s.optional("secrets.engine_address")?;
    let place = s.place("secrets.engine_address");
    if s.optional("secrets.diagrams").is_some() {
        s.fault(place, "secrets.diagrams is set, too: diagrams come from one place");
        return None;
    }
    let url = Url::parse(&address).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none()
    });
    if url.is_none() {
        s.fault(place, "is not an address like http://localhost:8080");
    }
    url
}

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

/// Azure Key Vault, if it is configured.
pub(super) fn key_vault(s: &mut Sources<'_>, identities: &[identity::Settings]) -> Option<key_vault::Settings> {
    let url = s.optional("key_vault.url");
    let identity = s.optional("key_vault.identity");
    let url = url?;
    let place = s.place("key_vault.url");
    let Some(url) = Url::parse(&url)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
    else {
        s.fault(place, "is not an address like https://my-vault.vault.azure.net");
        return None;
    };
    let Some(identity) = identity else {
        s.fault(
            place,
            "Key Vault needs key_vault.identity: the name of an [identities.NAME] that may read it",
        );
        return None;
    };
    let Some(known) = identities.iter().find(|one| one.name == identity) else {
        s.fault(place, format!("there is no [identities.{identity}]"));
        return None;
    };
    if !known.hosts.iter().any(|host| host.matches(&url)) {
        s.fault(
            place,
            format!(
                "identities.{identity}.hosts does not name {}",
                url.host_str().unwrap_or_default()
            ),
        );
        return None;
    }
    Some(key_vault::Settings { url, identity })
}
