//! Where a command of the shell goes, and as whom: flags, or what `deskhand.toml` leaves no doubt about.

use url::Url;

use crate::config::Config;
use crate::secrets::hosts::HostPattern;

/// The flags of commands that speak to Dataverse.
#[derive(Debug, clap::Args)]
pub(super) struct Target {
    /// The [identities.NAME] to sign in as. Not needed when deskhand.toml has only one.
    #[arg(long, value_name = "NAME")]
    identity: Option<String>,
    /// The organisation, e.g. https://contoso.crm4.dynamics.com. Not needed when the identity (or secrets.organizations)
    /// names only one.
    #[arg(long, value_name = "URL")]
    environment: Option<String>,
}

impl Target {
    /// Which identity; `None` where there is none to choose.
    ///
    /// # Errors
    /// What to type where there are several.
    pub(super) fn identity(&self, config: &Config) -> Result<Option<String>, String> {
        if let Some(name) = &self.identity {
            return Ok(Some(name.clone()));
        }
        match config.identities.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(one.name.clone())),
            several => {
                let names: Vec<&str> = several.iter().map(|identity| identity.name.as_str()).collect();
                Err(format!(
                    "deskhand.toml has several identities ({}): say which one with --identity NAME",
                    names.join(", ")
                ))
            }
        }
    }

    /// Which organisation.
    ///
    /// # Errors
    /// What to type where none or several are known.
    pub(super) fn environment(&self, config: &Config, identity: Option<&str>) -> Result<String, String> {
        if let Some(typed) = &self.environment {
            return Ok(if typed.contains("://") {
                typed.clone()
            } else {
                format!("https://{typed}")
            });
        }
        let identity = identity.and_then(|name| config.identities.iter().find(|one| one.name == name));
        let of_identity = identity.map_or(&[][..], |identity| &identity.hosts);
        let known = match organizations(of_identity) {
            known if known.is_empty() => organizations(&config.policy.organizations),
            known => known,
        };
        match known.as_slice() {
            [one] => Ok(one.clone()),
            [] => Err("no organisation is known: name it with --environment https://contoso.crm4.dynamics.com".into()),
            several => Err(format!(
                "several organisations are known ({}): say which one with --environment URL",
                several.join(", ")
            )),
        }
    }
}

/// The addresses of those hosts that are no patterns.
fn organizations(hosts: &[HostPattern]) -> Vec<String> {
    let addresses = hosts.iter().filter(|host| host.is_exact());
    let addresses = addresses.map(|host| format!("https://{}", host.to_string().trim_end_matches(":*")));
    addresses.filter(|address| Url::parse(address).is_ok()).collect()
}
