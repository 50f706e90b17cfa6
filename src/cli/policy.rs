//! `deskhand check --policy`: who may send which secret where, for a person's review or for a machine's.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::output::line;
use crate::config::Config;
use crate::secrets::allow_list::AllowList;
use crate::secrets::policy::{Policy, Rule};

/// Prints the policy of this configuration.
pub(super) fn print(config: &Config, as_json: bool) -> ExitCode {
    let names = names(config);
    if as_json {
        line(format_args!("{}", as_value(config, &names)));
    } else {
        print_text(config, &names);
    }
    ExitCode::SUCCESS
}

/// A secret that this worker can see: its name and where it is.
struct Seen {
    name: String,
    place: &'static str,
}

/// The names of secrets that can be listed: those of stores in the environment and in directories. Values are not read.
fn names(config: &Config) -> Vec<Seen> {
    let mut names = Vec::new();
    if let Some(environment) = config.secrets.environment.as_ref().filter(|one| !one.prefix.is_empty()) {
        let variables = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        names.extend(variables.filter_map(|variable| {
            let name = variable.strip_prefix(&environment.prefix)?.to_owned();
            Some(Seen {
                name,
                place: "environment",
            })
        }));
    }
    if let Some(directory) = &config.secrets.directory {
        let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
        names.extend(files.filter_map(|file| {
            let name = file.file_name().into_string().ok()?;
            (!name.starts_with('.')).then_some(Seen {
                name,
                place: "directory",
            })
        }));
    }
    names.sort_by(|one, other| one.name.cmp(&other.name));
    names
}

fn hosts(rule: &Rule) -> Vec<String> {
    rule.hosts().iter().map(ToString::to_string).collect()
}

/// Where a secret without a rule may go.
fn without_rule(config: &Config) -> (Vec<String>, Vec<String>) {
    let authorities = config.policy.cloud.authorities();
    (
        authorities.iter().map(ToString::to_string).collect(),
        config.policy.organizations.iter().map(ToString::to_string).collect(),
    )
}

fn print_text(config: &Config, names: &[Seen]) {
    let rules = &config.policy.rules;
    if rules.is_empty() {
        line(format_args!("No rule binds a secret to hosts."));
    } else {
        line(format_args!(
            "Rules (a secret that rules name goes to their hosts and nowhere else):"
        ));
    }
    for rule in rules {
        let whom = ["connectors", "processes", "tenants"]
            .iter()
            .zip(rule.audience())
            .filter(|(_, list)| !list.is_empty())
            .map(|(what, list)| format!("  only {what} {}", list.join(", ")))
            .collect::<String>();
        line(format_args!(
            "  {:24}  to {}{whom}",
            rule.name(),
            hosts(rule).join(", ")
        ));
    }
    let (authorities, organizations) = without_rule(config);
    line(format_args!("Every other secret:"));
    line(format_args!("  {:24}  to {}", "to get a token", authorities.join(", ")));
    match organizations.as_slice() {
        [] => line(format_args!(
            "  {:24}  nowhere: secrets.organizations lists no Dataverse organisation",
            "itself or as a token"
        )),
        listed => line(format_args!(
            "  {:24}  to {}",
            "itself or as a token",
            listed.join(", ")
        )),
    }
    if !names.is_empty() {
        line(format_args!("Secrets that are there:"));
    }
    let policy = Policy::new(config.policy.clone());
    for seen in names {
        let bound: Vec<String> = policy.rules_for(&seen.name).flat_map(hosts).collect();
        let goes = match bound.as_slice() {
            [] => "no rule: as every other secret".to_owned(),
            hosts => format!("to {}", hosts.join(", ")),
        };
        line(format_args!("  {:24}  {goes}  ({})", seen.name, seen.place));
    }
    let allow_list = AllowList::new(config.secrets.allow_list.clone());
    line(format_args!("Where in a task: {}", allow_list.describe()));
    let network: Vec<String> = config.network.iter().map(ToString::to_string).collect();
    line(format_args!(
        "Tasks reach the public Internet, the hosts above that are named one by one, and: {}",
        if network.is_empty() {
            "nothing else".to_owned()
        } else {
            network.join(", ")
        }
    ));
    line(format_args!(
        "A result that would hold a secret: {:?}; allowed in results: {}",
        config.secrets.output.on_secret,
        if config.secrets.output.allow.is_empty() {
            "none".to_owned()
        } else {
            config.secrets.output.allow.join(", ")
        }
    ));
}

fn as_value(config: &Config, names: &[Seen]) -> Value {
    let policy = Policy::new(config.policy.clone());
    let rules: Vec<Value> = config
        .policy
        .rules
        .iter()
        .map(|rule| {
            let [connectors, processes, tenants] = rule.audience();
            json!({
                "name": rule.name(), "hosts": hosts(rule),
                "connectors": connectors, "processes": processes, "tenants": tenants,
            })
        })
        .collect();
    let (authorities, organizations) = without_rule(config);
    let seen: Vec<Value> = names
        .iter()
        .map(|seen| {
            let bound: Vec<String> = policy.rules_for(&seen.name).flat_map(hosts).collect();
            json!({"name": seen.name, "provider": seen.place, "hosts": bound, "hasRule": !bound.is_empty()})
        })
        .collect();
    json!({
        "rules": rules,
        "withoutRule": {"tokenEndpoints": authorities, "organizations": organizations},
        "secrets": seen,
        "fields": AllowList::new(config.secrets.allow_list.clone()).describe(),
        "network": {"allow": config.network.iter().map(ToString::to_string).collect::<Vec<_>>()},
        "output": {
            "onSecret": format!("{:?}", config.secrets.output.on_secret).to_lowercase(),
            "allow": config.secrets.output.allow,
        },
    })
}
