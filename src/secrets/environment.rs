//! Secrets in environment variables: `SECRET_TOKEN` is `{{secrets.TOKEN}}`.

use futures_util::future::BoxFuture;
use secrecy::SecretString;

use super::provider::{Provider, ProviderError, SecretScope};

/// How names become variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Put before every name. Without one a modeler can read every variable of the process.
    pub prefix: String,
    /// Put the tenant's id and `_` before the name?
    pub tenant_aware: bool,
    /// Put the process's BPMN id and `_` before the name, after the tenant's?
    pub process_aware: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            prefix: "SECRET_".into(),
            tenant_aware: false,
            process_aware: false,
        }
    }
}

/// Looks up variables; the process's environment, or a map in tests.
pub type Lookup = dyn Fn(&str) -> Option<String> + Send + Sync;

/// The environment as a store of secrets. There is no way back from a scoped name to an unscoped one.
pub struct Environment {
    settings: Settings,
    lookup: Box<Lookup>,
}

impl Environment {
    /// A store over `lookup`.
    pub fn new(settings: Settings, lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self {
            settings,
            lookup: Box::new(lookup),
        }
    }

    fn variable(&self, name: &str, scope: &SecretScope<'_>) -> String {
        let mut variable = self.settings.prefix.clone();
        let scopes = [
            (self.settings.tenant_aware, scope.tenant_id),
            (self.settings.process_aware, scope.bpmn_process_id),
        ];
        for (_, id) in scopes.iter().filter(|(aware, _)| *aware) {
            variable.push_str(id);
            variable.push('_');
        }
        variable.push_str(name);
        variable
    }

    fn find(&self, name: &str, scope: &SecretScope<'_>) -> Option<SecretString> {
        let variable = self.variable(name, scope);
        let value = (self.lookup)(&variable).or_else(|| (self.lookup)(&shell_name(&variable)));
        if value.is_none() && !self.settings.prefix.is_empty() && (self.lookup)(name).is_some() {
            tracing::warn!(
                wanted = variable,
                "an environment variable `{name}` is set, but secrets are read from variables with a prefix alone"
            );
        }
        value.map(SecretString::from)
    }
}

impl Provider for Environment {
    fn kind(&self) -> &'static str {
        "environment"
    }

    fn wanted(&self, name: &str, scope: &SecretScope<'_>) -> String {
        format!("the environment variable {}", shell_name(&self.variable(name, scope)))
    }

    fn get<'a>(
        &'a self,
        name: &'a str,
        scope: &'a SecretScope<'a>,
    ) -> BoxFuture<'a, Result<Option<SecretString>, ProviderError>> {
        Box::pin(std::future::ready(Ok(self.find(name, scope))))
    }
}

/// The name as a shell can set it: `db.user-name` is also found as `DB_USER_NAME`, as Camunda's runtime does.
pub(super) fn shell_name(name: &str) -> String {
    name.chars()
        .map(|character| match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' => character.to_ascii_uppercase(),
            _ => '_',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use secrecy::ExposeSecret;

    use super::{Environment, SecretScope, Settings};

    fn find(tenant_aware: bool, process_aware: bool, variables: &[(&str, &str)], name: &str) -> Option<String> {
        let variables: HashMap<String, String> = variables
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        let settings = Settings {
            tenant_aware,
            process_aware,
            ..Settings::default()
        };
        let scope = SecretScope {
            tenant_id: "t1",
            bpmn_process_id: "p1",
            process_definition_key: 0,
            element_id: "task",
        };
        Environment::new(settings, move |name| variables.get(name).cloned())
            .find(name, &scope)
            .map(|value| value.expose_secret().to_owned())
    }

    #[test]
    fn names_are_composed_of_prefix_tenant_process_and_name() {
        for (tenant, process, variable) in [
            (false, false, "SECRET_FOO"),
            (true, false, "SECRET_t1_FOO"),
            (false, true, "SECRET_p1_FOO"),
            (true, true, "SECRET_t1_p1_FOO"),
        ] {
            assert_eq!(find(tenant, process, &[(variable, "v")], "FOO").as_deref(), Some("v"));
        }
    }

    #[test]
    fn a_scoped_name_never_falls_back_to_an_unscoped_one() {
        assert_eq!(find(true, false, &[("SECRET_FOO", "v"), ("FOO", "w")], "FOO"), None);
    }

    #[test]
    fn a_variable_without_the_prefix_is_not_a_secret() {
        assert_eq!(find(false, false, &[("PATH", "/bin")], "PATH"), None);
    }

    #[test]
    fn names_that_no_shell_can_set_are_found_in_upper_case_with_underscores() {
        assert_eq!(
            find(false, false, &[("SECRET_DB_USER_NAME", "v")], "db.user-name").as_deref(),
            Some("v")
        );
        assert_eq!(
            find(
                false,
                false,
                &[("SECRET_token", "exact"), ("SECRET_TOKEN", "upper")],
                "token"
            )
            .as_deref(),
            Some("exact")
        );
    }

    #[test]
    fn an_empty_value_is_a_value() {
        assert_eq!(find(false, false, &[("SECRET_FOO", "")], "FOO").as_deref(), Some(""));
    }
}
