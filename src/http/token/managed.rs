//! Managed identities: a token from the machine's own service, without any credential (Azure VMs and AKS nodes: IMDS; App
//! Service, Functions, Container Apps: an endpoint that the environment names).

use std::sync::LazyLock;
use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::super::{Answer, Client, Error, Method, Request};

/// IMDS's address, the same on every machine.
static IMDS: LazyLock<Url> = LazyLock::new(|| Url::parse("http://169.254.169.254/").expect("a URL"));
/// Pauses before the second and each further try (Microsoft's guidance for IMDS).
const PAUSES: [Duration; 4] = [
    Duration::from_secs(2),
    Duration::from_secs(6),
    Duration::from_secs(14),
    Duration::from_secs(30),
];
/// After those: the service can be away for 70 s while it is updated (410).
const UPDATING: Duration = Duration::from_secs(20);
/// Questions that reach nobody; more would only delay the news that this is no such machine.
const UNHEARD: usize = 3;
const PATIENCE: Duration = Duration::from_secs(10);

/// Which of the machine's identities, and who gives its tokens.
#[derive(Clone, Debug)]
pub struct ManagedIdentity {
    /// Who gives them.
    pub service: Service,
    /// The client id of a user-assigned identity; without one the machine's own.
    pub client_id: Option<String>,
}

/// Who gives the tokens of managed identities.
#[derive(Clone, Debug)]
pub enum Service {
    /// The instance metadata service at this address.
    Imds(Url),
    /// The endpoint of the platform, and what it wants to be shown.
    AppService {
        /// `IDENTITY_ENDPOINT`.
        endpoint: Url,
        /// `IDENTITY_HEADER`.
        header: SecretString,
    },
}

impl Default for Service {
    /// The instance metadata service where every machine of Azure has it.
    fn default() -> Self {
        Service::Imds(IMDS.clone())
    }
}

impl ManagedIdentity {
    /// What tells it from others in the key of a cache.
    pub(super) fn source(&self) -> String {
        let kind = match &self.service {
            Service::Imds(_) => "imds",
            Service::AppService { .. } => "app service",
        };
        format!("{kind} {}", self.client_id.as_deref().unwrap_or_default())
    }

    /// Where the service is.
    pub fn url(&self) -> &Url {
        match &self.service {
            Service::Imds(url) => url,
            Service::AppService { endpoint, .. } => endpoint,
        }
    }

    fn request(&self, resource: &str) -> Result<Request, Error> {
        let (mut url, version) = match &self.service {
            Service::Imds(base) => {
                let url = base
                    .join("/metadata/identity/oauth2/token")
                    .map_err(|error| Error::Invalid(error.to_string()))?;
                (url, "2018-02-01")
            }
            Service::AppService { endpoint, .. } => (endpoint.clone(), "2019-08-01"),
        };
        {
            let mut query = url.query_pairs_mut();
            query
                .append_pair("api-version", version)
                .append_pair("resource", resource);
            if let Some(client_id) = &self.client_id {
                query.append_pair("client_id", client_id);
            }
        }
        let mut request = Request::new(Method::GET, url);
        request.total_timeout = Some(PATIENCE);
        request.connect_timeout = Some(Duration::from_secs(3));
        request.max_answer_bytes = 1024 * 1024;
        match &self.service {
            Service::Imds(_) => {
                request.headers.insert("metadata", HeaderValue::from_static("true"));
            }
            Service::AppService { header, .. } => {
                let mut value = HeaderValue::from_str(header.expose_secret())
                    .map_err(|_| Error::Invalid("IDENTITY_HEADER cannot stand in a header.".into()))?;
                value.set_sensitive(true);
                request
                    .headers
                    .insert(HeaderName::from_static("x-identity-header"), value);
            }
        }
        Ok(request)
    }

    /// Asks until there is an answer that another try would not better: these services are away for moments, at a
    /// machine's start above all.
    pub(super) async fn ask(&self, resource: &str) -> Result<Answer, Error> {
        // Never through a proxy: it is another machine.
        let client = Client::direct()?;
        let mut tries = 0;
        loop {
            let result = client.send(self.request(resource)?).await;
            let pause = match &result {
                Ok(answer) if matches!(answer.status, 404 | 410 | 429) || answer.status >= 500 => {
                    let updating = (answer.status == 410 && tries == PAUSES.len()).then_some(&UPDATING);
                    PAUSES.get(tries).or(updating)
                }
                Err(error) if !matches!(error, Error::Invalid(_)) => PAUSES[..UNHEARD - 1].get(tries),
                _ => None,
            };
            match pause {
                Some(pause) => tokio::time::sleep(*pause).await,
                None => return result,
            }
            tries += 1;
        }
    }
}
