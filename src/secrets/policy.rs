//! Where a secret may go: the last question before a byte is sent.
//!
//! Rules bind names to hosts. A secret that no rule names may go to the sign-in authorities of the configured cloud, to
//! make a token of it, and to the organisations that operations listed; nowhere else. One that rules name may go to the
//! hosts of those rules and nowhere else. No address is exempt, loopback neither.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use url::Url;

use super::environment::shell_name;
use super::hosts::{HostPattern, PatternError};
use super::provider::SecretScope;
use crate::metrics::metrics;
use crate::outcome::JobError;

/// What a secret is sent for; some ways are open without a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A token endpoint that makes a token of it.
    TokenEndpoint,
    /// The API that the task calls.
    Api,
}

/// Microsoft's clouds, each with authorities of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cloud {
    /// The worldwide one.
    #[default]
    Public,
    /// US government, GCC.
    Gcc,
    /// US government, GCC High.
    GccHigh,
    /// US Department of Defense.
    Dod,
    /// 21Vianet.
    China,
}

impl Cloud {
    /// All of them.
    pub const ALL: [Cloud; 5] = [Cloud::Public, Cloud::Gcc, Cloud::GccHigh, Cloud::Dod, Cloud::China];

    /// The cloud that a setting names.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "public" => Some(Cloud::Public),
            "gcc" => Some(Cloud::Gcc),
            "gcc-high" => Some(Cloud::GccHigh),
            "dod" => Some(Cloud::Dod),
            "china" => Some(Cloud::China),
            _ => None,
        }
    }

    /// The cloud that a Dataverse organisation belongs to, by its host; `None`: it is no host of Microsoft's.
    pub fn of_organization(host: &str) -> Option<Self> {
        const SUFFIXES: [(&str, Cloud); 5] = [
            (".crm9.dynamics.com", Cloud::Gcc),
            (".dynamics.com", Cloud::Public),
            (".crm.microsoftdynamics.us", Cloud::GccHigh),
            (".crm.appsplatform.us", Cloud::Dod),
            (".dynamics.cn", Cloud::China),
        ];
        SUFFIXES
            .iter()
            .find(|(suffix, _)| host.ends_with(suffix))
            .map(|(_, cloud)| *cloud)
    }

    /// The authority that tokens are asked of, as a URL.
    pub fn authority(self) -> String {
        format!("https://{}", self.authorities()[0])
    }

    /// Hosts of Entra's token endpoints.
    pub fn authorities(self) -> &'static [&'static str] {
        match self {
            Cloud::Public | Cloud::Gcc => &["login.microsoftonline.com"],
            Cloud::GccHigh | Cloud::Dod => &["login.microsoftonline.us"],
            Cloud::China => &["login.chinacloudapi.cn", "login.partner.microsoftonline.cn"],
        }
    }
}

/// Names of secrets and the hosts that they may go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    name: String,
    hosts: Vec<HostPattern>,
    connectors: Vec<String>,
    processes: Vec<String>,
    tenants: Vec<String>,
}

impl Rule {
    /// Secrets whose name matches (`*` stands for any characters) may go to these hosts.
    ///
    /// # Errors
    /// When one of the hosts is none.
    pub fn new<'a>(name: &str, hosts: impl IntoIterator<Item = &'a str>) -> Result<Self, PatternError> {
        Ok(Self {
            name: shell_pattern(name),
            hosts: hosts.into_iter().map(str::parse).collect::<Result<_, _>>()?,
            connectors: Vec::new(),
            processes: Vec::new(),
            tenants: Vec::new(),
        })
    }

    /// The rule, for jobs of these types alone. None = all.
    #[must_use]
    pub fn for_connectors(mut self, job_types: Vec<String>) -> Self {
        self.connectors = job_types;
        self
    }

    /// The rule, for jobs of these processes alone (BPMN ids, `*` stands for any characters). None = all.
    #[must_use]
    pub fn for_processes(mut self, bpmn_process_ids: Vec<String>) -> Self {
        self.processes = bpmn_process_ids;
        self
    }

    /// The rule, for jobs of these tenants alone (ids, `*` stands for any characters). None = all.
    #[must_use]
    pub fn for_tenants(mut self, tenant_ids: Vec<String>) -> Self {
        self.tenants = tenant_ids;
        self
    }

    /// The names that the rule binds, in the spelling that names are compared in.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where they may go.
    pub fn hosts(&self) -> &[HostPattern] {
        &self.hosts
    }

    /// For whom the rule opens its hosts: job types, processes, tenants; an empty list is everybody.
    pub fn audience(&self) -> [&[String]; 3] {
        [&self.connectors, &self.processes, &self.tenants]
    }

    /// Does the rule open its hosts for this one? What is not known (no job yet) is not excluded.
    fn is_for(&self, who: &Who) -> bool {
        let listed = |list: &[String], one: Option<&str>| {
            list.is_empty() || one.is_none_or(|one| list.iter().any(|pattern| glob(pattern, one)))
        };
        listed(&self.connectors, who.connector.as_deref())
            && listed(&self.processes, who.process.as_deref())
            && listed(&self.tenants, who.tenant.as_deref())
    }
}

/// Who wants to send.
#[derive(Clone, Debug, Default)]
struct Who {
    connector: Option<Arc<str>>,
    process: Option<Arc<str>>,
    tenant: Option<Arc<str>>,
}

/// What rules are made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The rules; all that name a secret count together.
    pub rules: Vec<Rule>,
    /// Hosts of the organisations (Dataverse) that a secret without a rule may go to, over https.
    pub organizations: Vec<HostPattern>,
    /// The cloud whose authorities are open.
    pub cloud: Cloud,
}

/// Which secret may be sent to which host. Cheap to clone; the default has no rules.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    settings: Arc<Settings>,
    who: Who,
    refusals: Arc<AtomicU64>,
}

impl Policy {
    /// The policy of these settings.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings: Arc::new(settings),
            ..Self::default()
        }
    }

    /// How often something was refused, by this policy and all that were made of it.
    pub fn refusals(&self) -> u64 {
        self.refusals.load(Ordering::Relaxed)
    }

    /// The policy of these rules alone.
    pub fn of_rules(rules: Vec<Rule>) -> Self {
        Self::new(Settings {
            rules,
            ..Settings::default()
        })
    }

    /// The policy of one rule for each pair of a name (`*` stands for any characters) and a host. A host that is none
    /// allows nothing.
    pub fn allowing<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let rules = pairs.into_iter().map(|(name, host)| match Rule::new(name, [host]) {
            Ok(rule) => rule,
            Err(error) => {
                tracing::warn!(name, %error, "a rule without a host allows nothing");
                Rule {
                    name: shell_pattern(name),
                    hosts: Vec::new(),
                    connectors: Vec::new(),
                    processes: Vec::new(),
                    tenants: Vec::new(),
                }
            }
        });
        Self::of_rules(rules.collect())
    }

    /// What this policy says to one connector. A rule for others still names its secrets, so that they do not count as
    /// having none; it only opens no way.
    #[must_use]
    pub fn for_connector(&self, job_type: &str) -> Self {
        let mut policy = self.clone();
        policy.who.connector = Some(job_type.into());
        policy
    }

    /// What this policy says to a job of this process and tenant.
    #[must_use]
    pub fn for_job(&self, scope: &SecretScope<'_>) -> Self {
        let mut policy = self.clone();
        let mut rules = self.settings.rules.iter();
        // Most policies name neither, and a job should not pay for texts that nobody compares.
        if rules.any(|rule| !rule.processes.is_empty() || !rule.tenants.is_empty()) {
            policy.who.process = Some(scope.bpmn_process_id.into());
            policy.who.tenant = Some(scope.tenant_id.into());
        }
        policy
    }

    /// May these secrets (or what was made of them) be sent to this URL?
    ///
    /// # Errors
    /// An incident that names the secret, the host and the rule to add; nothing was sent.
    pub fn check(&self, secrets: &[&str], url: &Url, destination: Destination) -> Result<(), JobError> {
        match secrets.iter().find(|name| !self.allows(name, url, destination)) {
            None => Ok(()),
            Some(name) => {
                self.refusals.fetch_add(1, Ordering::Relaxed);
                metrics().policy_refused("rule");
                let error = self.refusal(name, url);
                tracing::warn!(
                    secret = name,
                    host = url.host_str().unwrap_or_default(),
                    "a secret was not sent: no rule allows it"
                );
                Err(error)
            }
        }
    }

    /// The rules that name this secret.
    pub fn rules_for(&self, name: &str) -> impl Iterator<Item = &Rule> {
        // As the environment reads names: another spelling of a name must not slip past its rule.
        let name = shell_name(name);
        self.settings.rules.iter().filter(move |rule| glob(&rule.name, &name))
    }

    fn allows(&self, name: &str, url: &Url, destination: Destination) -> bool {
        if !matches!(url.scheme(), "http" | "https") {
            return false;
        }
        let mut rules = self.rules_for(name).peekable();
        if rules.peek().is_some() {
            return rules.any(|rule| rule.is_for(&self.who) && rule.hosts.iter().any(|host| host.matches(url)));
        }
        let authority = || {
            destination == Destination::TokenEndpoint
                && url.port().is_none()
                && self
                    .settings
                    .cloud
                    .authorities()
                    .iter()
                    .any(|host| url.host_str() == Some(host))
        };
        url.scheme() == "https" && (authority() || self.settings.organizations.iter().any(|host| host.matches(url)))
    }

    fn refusal(&self, name: &str, url: &Url) -> JobError {
        let host = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_owned(),
            (None, _) => {
                return JobError::input(format!(
                    "The secret '{name}' cannot be sent anywhere: the URL has no host. Nothing was sent."
                ));
            }
        };
        let leads_there = |rule: &Rule| rule.hosts.iter().any(|host| host.matches(url));
        let why = if self.rules_for(name).any(leads_there) {
            "the rule that names this host is for other connectors, processes or tenants"
        } else if self.rules_for(name).next().is_some() {
            "its rules name other hosts"
        } else {
            "no rule names it, and this is neither a sign-in authority of Microsoft nor one of the organizations listed"
        };
        let mut error = JobError::input(format!(
            "The secret '{name}' may not be sent to {host} ({scheme}): {why}. Nothing was sent. If it shall go there, \
             operations add to deskhand.toml: [[secrets.rule]] name = \"{name}\", hosts = [\"{host}\"]",
            scheme = url.scheme(),
        ));
        error.code = Some("SECRET_NOT_ALLOWED".into());
        error
    }
}

/// Does the text match one of these patterns, where `*` stands for any characters?
pub fn matches_any(patterns: &[String], text: &str) -> bool {
    patterns.iter().any(|pattern| glob(pattern, text))
}

/// A name with `*`, in the spelling that names are compared in.
pub(super) fn shell_pattern(pattern: &str) -> String {
    pattern.split('*').map(shell_name).collect::<Vec<_>>().join("*")
}

/// Does the text match the pattern, where `*` stands for any characters? In time linear in each part's search.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(first) else {
        return false;
    };
    let (middle, last) = rest
        .rsplit_once('*')
        .map_or((None, rest), |(middle, last)| (Some(middle), last));
    for part in middle.into_iter().flat_map(|middle| middle.split('*')) {
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::{Cloud, Destination, Policy, Rule, Settings, glob};
    use crate::outcome::Remedy;
    use crate::secrets::SecretScope;

    const TOKEN: &str = "https://login.microsoftonline.com/contoso/oauth2/v2.0/token";
    const ORG: &str = "https://contoso.crm4.dynamics.com/api/data/v9.2/";

    fn policy(rules: &[(&str, &str)]) -> Policy {
        Policy::new(Settings {
            rules: rules
                .iter()
                .map(|(name, host)| Rule::new(name, [*host]).unwrap())
                .collect(),
            organizations: vec!["contoso.crm4.dynamics.com".parse().unwrap()],
            cloud: Cloud::Public,
        })
    }

    fn may(policy: &Policy, name: &str, url: &str, destination: Destination) -> bool {
        policy.check(&[name], &Url::parse(url).unwrap(), destination).is_ok()
    }

    #[test]
    fn without_a_rule_a_secret_goes_to_the_authorities_and_the_listed_organizations_only() {
        let policy = policy(&[]);
        assert!(may(&policy, "A", TOKEN, Destination::TokenEndpoint));
        assert!(!may(&policy, "A", TOKEN, Destination::Api));
        assert!(may(&policy, "A", ORG, Destination::Api));
        for url in [
            "http://login.microsoftonline.com/x",
            "https://login.microsoftonline.com:8443/x",
            "https://login.microsoftonline.us/x",
            "https://evil.crm4.dynamics.com/",
            "http://contoso.crm4.dynamics.com/",
            "http://127.0.0.1/",
            "http://localhost/",
        ] {
            assert!(!may(&policy, "A", url, Destination::TokenEndpoint), "{url}");
        }
    }

    #[test]
    fn with_rules_a_secret_goes_to_their_hosts_and_nowhere_else() {
        let policy = policy(&[("PA_*", "api.example.com"), ("PA_KEY", "127.0.0.1:*")]);
        assert!(may(&policy, "PA_KEY", "https://api.example.com/x", Destination::Api));
        assert!(may(&policy, "PA_KEY", "http://127.0.0.1:4711/x", Destination::Api));
        assert!(!may(&policy, "PA_OTHER", "http://127.0.0.1:4711/x", Destination::Api));
        assert!(!may(&policy, "PA_KEY", ORG, Destination::Api));
        assert!(!may(&policy, "PA_KEY", TOKEN, Destination::TokenEndpoint));
    }

    #[test]
    fn another_spelling_of_a_name_does_not_slip_past_its_rule() {
        let policy = policy(&[("PA_*", "api.example.com")]);
        for name in ["pa_key", "pa-key", "Pa.Key", "pa/key"] {
            assert!(!may(&policy, name, ORG, Destination::Api), "{name}");
        }
    }

    #[test]
    fn every_secret_must_be_allowed() {
        let policy = policy(&[("A", "api.example.com")]);
        let url = Url::parse("https://api.example.com/").unwrap();
        assert!(policy.check(&["A"], &url, Destination::Api).is_ok());
        assert!(policy.check(&["A", "B"], &url, Destination::Api).is_err());
        assert!(policy.check(&[], &url, Destination::Api).is_ok());
    }

    #[test]
    fn a_rule_for_connectors_holds_for_them_alone() {
        let rule = Rule::new("A", ["api.example.com"])
            .unwrap()
            .for_connectors(vec!["x:1".into()]);
        let policy = Policy::of_rules(vec![rule]);
        assert!(may(
            &policy.for_connector("x:1"),
            "A",
            "https://api.example.com/",
            Destination::Api
        ));
        assert!(!may(
            &policy.for_connector("y:1"),
            "A",
            "https://api.example.com/",
            Destination::Api
        ));
    }

    #[test]
    fn a_rule_for_processes_and_tenants_holds_for_their_jobs_alone_and_refusals_are_counted() {
        let rule = Rule::new("A", ["api.example.com"])
            .unwrap()
            .for_processes(vec!["invoice-*".into()])
            .for_tenants(vec!["bank".into()]);
        let policy = Policy::of_rules(vec![rule]);
        let url = Url::parse("https://api.example.com/").unwrap();
        let allowed = |bpmn_process_id, tenant_id| {
            let scope = SecretScope {
                tenant_id,
                bpmn_process_id,
                process_definition_key: 0,
                element_id: "task",
            };
            policy.for_job(&scope).check(&["A"], &url, Destination::Api)
        };
        assert!(allowed("invoice-pay", "bank").is_ok());
        assert_eq!(policy.refusals(), 0);
        for (process, tenant) in [("invoice", "bank"), ("other", "bank"), ("invoice-pay", "<default>")] {
            let error = allowed(process, tenant).unwrap_err();
            assert!(
                error.message.contains("other connectors, processes or tenants"),
                "{error}"
            );
        }
        assert_eq!(policy.refusals(), 3);
    }

    #[test]
    fn a_pair_of_name_and_host_makes_a_rule_and_a_bad_host_allows_nothing() {
        let policy = Policy::allowing([("PA_*", "127.0.0.1:*"), ("B", "https://api.example.com")]);
        assert!(may(&policy, "PA_X", "http://127.0.0.1:9/", Destination::Api));
        assert!(!may(&policy, "B", "https://api.example.com/", Destination::Api));
        assert!(!may(&policy, "B", TOKEN, Destination::TokenEndpoint));
    }

    #[test]
    fn a_refusal_is_an_incident_that_names_secret_host_and_rule() {
        let url = Url::parse("https://user:pw@evil.example:8443/path?q=1").unwrap();
        let error = policy(&[]).check(&["PA_TOKEN"], &url, Destination::Api).unwrap_err();
        assert_eq!(error.remedy, Remedy::Incident);
        assert!(
            error
                .message
                .contains("'PA_TOKEN' may not be sent to evil.example:8443")
        );
        assert!(
            error
                .message
                .contains("name = \"PA_TOKEN\", hosts = [\"evil.example:8443\"]")
        );
        for part in ["pw", "path", "q=1"] {
            assert!(!error.message.contains(part), "{part}");
        }
    }

    #[test]
    fn stars_stand_for_any_characters() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "ABC", true),
            ("A*", "ABC", true),
            ("*C", "ABC", true),
            ("A*C", "ABC", true),
            ("A*B*C", "AXBXC", true),
            ("A*A", "A", false),
            ("A*B*B", "AB", false),
            ("ABC", "ABCD", false),
            ("A*D", "ABC", false),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }
}
