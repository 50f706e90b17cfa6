//! The same configuration for a rehearsal: nothing is sent, and no secret is looked up.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use secrecy::SecretString;

use super::Config;
use crate::connector::desktop_flow::{DesktopFlow, JOB_TYPE};
use crate::connector::identity::Identities;
use crate::http;
use crate::http::Client;
use crate::http::rehearsal::Rehearsal;
use crate::http::token::Tokens;
use crate::secrets::policy::Policy;
use crate::secrets::provider::{Provider, ProviderError};
use crate::secrets::{SecretScope, Secrets};

/// Knows every secret: its value is the reference itself.
struct References;

impl Provider for References {
    fn kind(&self) -> &'static str {
        "rehearsal"
    }

    fn wanted(&self, _: &str, _: &SecretScope<'_>) -> String {
        String::new()
    }

    fn get<'a>(
        &'a self,
        name: &'a str,
        _: &'a SecretScope<'a>,
    ) -> BoxFuture<'a, Result<Option<SecretString>, ProviderError>> {
        Box::pin(std::future::ready(Ok(Some(reference(name).into()))))
    }
}

/// What stands for a secret's value in a rehearsal.
pub fn reference(name: &str) -> String {
    format!("{{{{secrets.{name}}}}}")
}

impl Config {
    /// The connector for desktop flows and the secrets as a job would meet them, the same policy before them; but requests
    /// go to `rehearsal`, and the value of each secret is its reference.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn rehearsed(&self, rehearsal: Arc<Rehearsal>) -> Result<(Secrets, DesktopFlow), http::Error> {
        let settings = &self.secrets;
        let secrets = Secrets::new(vec![Box::new(References)], settings.bare_references)
            .with_output(settings.output.clone())
            .allowing(settings.allow_list.clone());
        let client = Client::guarded(self.guard())?.rehearsing(rehearsal);
        let tokens = Arc::new(Tokens::new(client.clone()));
        let identities = Identities::new(self.identities.iter().cloned(), secrets.clone(), tokens.clone());
        let policy = Policy::new(self.policy.clone()).for_connector(JOB_TYPE);
        let connector = DesktopFlow::new(client, tokens, Arc::new(policy), self.connectors.desktop_flow.clone());
        Ok((secrets, connector.with_identities(Some(Arc::new(identities)))))
    }
}
