//! As whom a task calls Dataverse: its `authentication` fields go in, a [`Credential`] comes out, after the policy was
//! asked whether the secrets in it may go where they would go.

use std::sync::Arc;

use secrecy::SecretString;
use url::Url;

use super::fields::Fields;
use super::{JOB_TYPE, Settings};
use crate::connector::Call;
use crate::connector::identity::{Identities, MANAGED_IDENTITY, Signed};
use crate::http::token::{Algorithm, Assertion, Audience, Certificate, ClientAuthentication, TokenRequest, Tokens};
use crate::microsoft::dataverse::{Credential, Organization, is_safe_transport};
use crate::microsoft::entra;
use crate::outcome::JobError;
use crate::runs::journal;
use crate::secrets::{Bound, Destination, Policy};

/// How a task signs in.
pub enum Authentication {
    /// With a token of its own.
    Bearer(SecretString),
    /// As an app.
    ClientCredentials(Box<TokenRequest>),
    /// As what operations have under this name.
    Identity(String),
    /// As the machine, or as one of the identities that are assigned to it (a client id).
    Machine(Option<String>),
}

#[derive(Clone, Copy)]
enum Kind {
    Bearer,
    ClientCredentials,
    Machine,
}

const KINDS: &[(&str, Kind)] = &[
    ("bearer", Kind::Bearer),
    ("oauth-client-credentials-flow", Kind::ClientCredentials),
    (MANAGED_IDENTITY, Kind::Machine),
];

const PREFIX: &str = "authentication.";

/// Reads the fields below `authentication`.
pub fn read(
    fields: &mut Fields<'_>,
    organization: Option<&Organization>,
    settings: &Settings,
) -> Option<Authentication> {
    if let Some(name) = fields.text("identity").filter(|name| !name.trim().is_empty()) {
        return Some(Authentication::Identity(name.trim().to_owned()));
    }
    fields.inside("authentication", PREFIX, |fields| {
        match fields.required_choice("type", KINDS)? {
            Kind::Bearer => {
                let token = fields.required_text("token", "an access token, e.g. `{{secrets.DATAVERSE_TOKEN}}`")?;
                let bare = token
                    .get(..7)
                    .filter(|start| start.eq_ignore_ascii_case("bearer "))
                    .map_or(token.as_str(), |_| token[7..].trim());
                Some(Authentication::Bearer(bare.to_owned().into()))
            }
            Kind::ClientCredentials => client_credentials(fields, organization, settings)
                .map(|request| Authentication::ClientCredentials(Box::new(request))),
            Kind::Machine => Some(Authentication::Machine(fields.text("clientId"))),
        }
    })
}

fn client_credentials(
    fields: &mut Fields<'_>,
    organization: Option<&Organization>,
    settings: &Settings,
) -> Option<TokenRequest> {
    let endpoint = token_endpoint(fields, settings);
    let client_id = fields.required_text("clientId", "the app's client id");
    const SECRET: &str = "a reference such as `{{secrets.DATAVERSE_SECRET}}`";
    let certificate = certificate(fields);
    let client_secret = match &certificate {
        Some(_) => Some(None),
        None => fields.required_text("clientSecret", SECRET).map(Some),
    };
    let client_authentication = fields
        .choice(
            "clientAuthentication",
            &[
                ("basicAuthHeader", ClientAuthentication::BasicHeader),
                ("credentialsBody", ClientAuthentication::Body),
            ],
        )
        .unwrap_or(ClientAuthentication::BasicHeader);
    let scope = fields
        .text("scopes")
        .or_else(|| organization.map(|organization| entra::default_scope(organization.as_str())));
    let audience = fields.text("audience").map_or(Audience::Absent, Audience::Value);
    Some(TokenRequest {
        client_authentication,
        scope,
        audience,
        client_secret: client_secret?.map(Into::into),
        assertion: certificate.map(|certificate| Arc::new(certificate) as Arc<dyn Assertion>),
        ..TokenRequest::client_credentials(endpoint?, client_id?.into(), SecretString::default())
    })
}

/// The certificate that signs in place of a secret.
fn certificate(fields: &mut Fields<'_>) -> Option<Certificate> {
    let certificate = fields.text("clientCertificate")?;
    if fields.value("clientSecret").is_some() {
        fields.fault(
            "clientSecret",
            "must be absent where a certificate signs: write one of them",
        );
    }
    let algorithm = fields.choice("algorithm", &[("PS256", Algorithm::Ps256), ("RS256", Algorithm::Rs256)]);
    let private_key = fields.text("clientPrivateKey").map(Into::into);
    let password = fields.text("certificatePassword").unwrap_or_default();
    let certificate = Certificate::given(certificate.into(), private_key, algorithm.unwrap_or_default());
    Some(certificate.with_password(password.into()))
}

fn token_endpoint(fields: &mut Fields<'_>, settings: &Settings) -> Option<Url> {
    const EXAMPLE: &str = "`https://login.microsoftonline.com/<tenant>/oauth2/v2.0/token`";
    if fields.value("oauthTokenEndpoint").is_none()
        && let Some(tenant) = fields.text("tenantId")
    {
        let endpoint = entra::token_endpoint(&settings.authority, &tenant);
        if endpoint.is_none() {
            fields.fault("tenantId", "must be the id or the domain of a tenant");
        }
        return endpoint;
    }
    let text = fields.required_text("oauthTokenEndpoint", EXAMPLE)?;
    let url = Url::parse(&text)
        .ok()
        .filter(|url| matches!(url.scheme(), "https" | "http"));
    let problem = match &url {
        None => format!("is not a URL: write {EXAMPLE}"),
        Some(url) if !is_safe_transport(url, &settings.plain_http_hosts) => {
            "must begin with `https://`: the client secret goes there".to_owned()
        }
        Some(_) => return url,
    };
    fields.fault("oauthTokenEndpoint", problem);
    None
}

impl Authentication {
    /// Asks the policy whether the secrets of this task may go where this call sends them.
    ///
    /// What signs in goes to the token endpoint; the token made of it, and all other fields, go to the organisation.
    ///
    /// # Errors
    /// The policy's incident; nothing was sent.
    pub fn check(&self, input: &Bound, organization: &Organization, policy: &Policy) -> Result<(), JobError> {
        if let Authentication::Machine(_) = self {
            policy.check(&[MANAGED_IDENTITY], organization.url(), Destination::Api)?;
        }
        self.destinations(input, organization)
            .into_iter()
            .try_for_each(|(names, url, destination)| policy.check(&names, url, destination))
    }

    /// Which secrets this call sends where, itself or as a token made of them.
    fn destinations<'a>(
        &'a self,
        input: &'a Bound,
        organization: &'a Organization,
    ) -> Vec<(Vec<&'a str>, &'a Url, Destination)> {
        let mut destinations = Vec::new();
        if let Authentication::ClientCredentials(request) = self {
            let names = input.names_at(&["authentication"]);
            destinations.push((names, &request.endpoint, Destination::TokenEndpoint));
        }
        // A form keeps the fields of the kind of sign-in that is not chosen: they are not sent.
        let unsent = |path: &str| match self {
            Authentication::Bearer(_) => path.starts_with(PREFIX) && path != "authentication.token",
            Authentication::ClientCredentials(_) => path == "authentication.token",
            Authentication::Identity(_) => path.starts_with(PREFIX),
            // An identity's id goes to the machine's own service alone.
            Authentication::Machine(_) => path.starts_with(PREFIX) && path != "authentication.clientId",
        };
        let is_journal = |path: &str| path.split('.').next().is_some_and(journal::is_ours);
        let mut names: Vec<&str> = input
            .used
            .iter()
            .filter(|used| !unsent(&used.path) && !is_journal(&used.path))
            .map(|used| used.name.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        destinations.push((names, organization.url(), Destination::Api));
        destinations
    }

    /// Host of the token endpoint, empty without one.
    pub fn token_host(&self) -> String {
        match self {
            Authentication::Bearer(_) | Authentication::Identity(_) | Authentication::Machine(_) => String::new(),
            Authentication::ClientCredentials(request) => request.endpoint.host_str().unwrap_or_default().into(),
        }
    }

    /// The credential for Dataverse.
    ///
    /// # Errors
    /// An incident when the identity may not be used so. Nothing was sent.
    pub async fn into_credential(
        self,
        call: &Call<'_>,
        organization: &Organization,
        tokens: &Arc<Tokens>,
        identities: Option<&Identities>,
    ) -> Result<Credential, JobError> {
        let name = match self {
            Authentication::Machine(client_id) => {
                let Some(identities) = identities else {
                    return Err(JobError::input("This worker signs in as no machine."));
                };
                let request = identities.as_machine(client_id, organization.url())?;
                return Ok(Credential::Fetched {
                    tokens: Arc::clone(identities.tokens()),
                    request: Box::new(request),
                });
            }
            Authentication::Bearer(token) => return Ok(Credential::Bearer(token)),
            Authentication::ClientCredentials(request) => {
                return Ok(Credential::Fetched {
                    tokens: Arc::clone(tokens),
                    request,
                });
            }
            Authentication::Identity(name) => name,
        };
        let Some(identities) = identities else {
            return Err(JobError::input(format!(
                "`identity` is '{name}', but this worker has no identities (deskhand.toml: [identities.NAME])."
            )));
        };
        let scope = call.job.secret_scope();
        match identities.sign_in(&name, organization.url(), &scope, JOB_TYPE).await? {
            Signed::Bearer(token) => Ok(Credential::Bearer(token)),
            Signed::Request(request) => Ok(Credential::Fetched {
                tokens: Arc::clone(identities.tokens()),
                request,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::Used;
    use serde_json::{Map, Value};

    fn bound(variables: Value, secrets: &[(&str, &str)]) -> Bound {
        let Value::Object(variables) = variables else {
            return Bound::plain(Map::new());
        };
        let mut input = Bound::plain(variables);
        input.used = secrets
            .iter()
            .map(|(name, path)| Used {
                name: (*name).into(),
                path: (*path).into(),
                value: "v".to_owned().into(),
            })
            .collect();
        input
    }

    fn sent(kind: &str, secrets: &[(&str, &str)]) -> Vec<(Vec<String>, String, Destination)> {
        let authentication = serde_json::json!({"authentication": {
            "type": kind, "token": "t", "clientId": "c", "clientSecret": "s",
            "oauthTokenEndpoint": "https://login.example.com/token"}});
        let input = bound(authentication, secrets);
        let organization = Organization::parse("https://contoso.crm4.dynamics.com", &[]).unwrap();
        let mut fields = Fields::of(&input);
        let read = read(&mut fields, Some(&organization), &Settings::default()).unwrap();
        read.destinations(&input, &organization)
            .into_iter()
            .map(|(names, url, destination)| {
                let names = names.into_iter().map(str::to_owned).collect();
                (names, url.host_str().unwrap().to_owned(), destination)
            })
            .collect()
    }

    const SECRETS: &[(&str, &str)] = &[
        ("APP_SECRET", "authentication.clientSecret"),
        ("BEARER", "authentication.token"),
        ("AMOUNT", "inputs.Amount"),
        ("OLD", "deskhandRun.flowSessionId"),
    ];

    #[test]
    fn a_token_goes_where_its_secrets_may_go_and_both_places_are_asked_for() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            sent("oauth-client-credentials-flow", SECRETS),
            [
                (
                    names(&["APP_SECRET", "BEARER"]),
                    "login.example.com".to_owned(),
                    Destination::TokenEndpoint
                ),
                (
                    names(&["AMOUNT", "APP_SECRET"]),
                    "contoso.crm4.dynamics.com".to_owned(),
                    Destination::Api
                ),
            ]
        );
    }

    #[test]
    fn what_a_form_keeps_of_another_sign_in_is_not_sent() {
        let all = sent("bearer", SECRETS);
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].0, ["AMOUNT", "BEARER"]);
        assert_eq!(all[0].2, Destination::Api);
    }
}
