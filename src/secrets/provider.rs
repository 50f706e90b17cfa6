//! Where values come from: a name and the job's scope go in, the value (or "not here") comes out.
//!
//! Providers are asked in the configured order, and the first that knows a name wins. One that cannot answer stops the
//! question: asking the next could give the value of another secret, and "missing" would be untrue.

use futures_util::future::BoxFuture;
use secrecy::SecretString;

/// Whose secret is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretScope<'a> {
    /// Tenant of the job, `<default>` where tenants are not in use.
    pub tenant_id: &'a str,
    /// Id of the process in its BPMN.
    pub bpmn_process_id: &'a str,
    /// The engine's key of the process's version; 0 where no job asks.
    pub process_definition_key: i64,
    /// Id of the task in its BPMN.
    pub element_id: &'a str,
}

/// A store of secrets.
pub trait Provider: Send + Sync + 'static {
    /// A short name of its kind for progress and logs, e.g. `environment`.
    fn kind(&self) -> &'static str;

    /// What a person has to create so that this provider knows the name, e.g. `the environment variable SECRET_TOKEN`.
    fn wanted(&self, name: &str, scope: &SecretScope<'_>) -> String;

    /// The value, or `None` if this store does not have it. An empty value is a value.
    ///
    /// Bounded in time.
    ///
    /// # Errors
    /// When the store cannot say whether it has the secret.
    fn get<'a>(
        &'a self,
        name: &'a str,
        scope: &'a SecretScope<'a>,
    ) -> BoxFuture<'a, Result<Option<SecretString>, ProviderError>>;
}

/// A store that cannot answer. Its text holds no value.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ProviderError(pub String);
