//! Microsoft Entra's token endpoint: a form goes in, a token or an AADSTS error comes out.
//!
//! `client_credentials` with the secret in the body or in `Authorization: Basic`, `password`, and `refresh_token` with
//! rotation. A certificate assertion's claims are checked; its signature is not, because the simulated directory
//! holds no certificates.

mod error;
mod request;
pub(super) mod token;

use std::collections::HashMap;
use std::collections::VecDeque;
use std::time::Duration;

use axum::http::header::{CACHE_CONTROL, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde_json::json;

use super::answer::{Answer, json_body};
use super::clock::later;
use super::ids::{Guid, Ids};
use super::world::{Application, Directory, User};
use error::Refusal;
use request::{ClientProof, TokenRequest, audience};
use token::Claims;

/// Refresh tokens and used assertions that are remembered at the same time.
const REMEMBERED: usize = 10_000;

/// What the token endpoint remembers.
#[derive(Debug)]
pub(super) struct TokenService {
    refresh: HashMap<String, Grant>,
    order: VecDeque<String>,
    assertions: VecDeque<(Guid, String)>,
    families: u64,
    pub(super) issued: u64,
}

#[derive(Debug, Clone)]
struct Grant {
    client: Guid,
    username: String,
    /// All refresh tokens that came from one sign-in.
    family: u64,
    used: bool,
}

/// What the endpoint works with besides its memory.
pub(super) struct Desk<'a> {
    pub(super) directory: &'a Directory,
    pub(super) ids: &'a mut Ids,
    pub(super) key: u64,
    pub(super) now: Timestamp,
    /// By which the client reached the simulator.
    pub(super) host: &'a str,
    /// Other names of the organisation.
    pub(super) aliases: &'a [String],
}

impl TokenService {
    pub(super) fn starting(directory: &Directory) -> Self {
        let mut service = Self {
            refresh: HashMap::new(),
            order: VecDeque::new(),
            assertions: VecDeque::new(),
            families: 0,
            issued: 0,
        };
        for known in &directory.refresh_tokens {
            service.families += 1;
            let grant = Grant {
                client: known.client_id,
                username: known.username.clone(),
                family: service.families,
                used: false,
            };
            service.remember(known.token.0.clone(), grant);
        }
        service
    }

    /// Answers one request to `/{tenant}/oauth2/v2.0/token`.
    pub(super) fn answer(&mut self, desk: &mut Desk<'_>, tenant: &str, headers: &HeaderMap, body: &[u8]) -> Answer {
        match self.granted(desk, tenant, headers, body) {
            Ok(answer) => answer,
            Err(refusal) => refusal.answer(desk.now, desk.ids),
        }
    }

    /// The answer that a fault asks for.
    pub(super) fn refused(desk: &mut Desk<'_>, number: u32) -> Answer {
        Refusal::of(number).answer(desk.now, desk.ids)
    }

    fn granted(
        &mut self,
        desk: &mut Desk<'_>,
        tenant: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Answer, Refusal> {
        let request = TokenRequest::read(headers, body)?;
        let grant_type = request.required("grant_type")?;
        let directory = desk.directory;
        let known_tenant = tenant.eq_ignore_ascii_case(&directory.tenant.to_string())
            || tenant.eq_ignore_ascii_case(&directory.domain)
            || (tenant.eq_ignore_ascii_case("organizations") && grant_type != "client_credentials");
        if !known_tenant {
            return Err(Refusal::new(90_002, format!("Tenant '{tenant}' not found.")));
        }
        match grant_type {
            "client_credentials" => {
                let application = self.client(desk, &request, tenant, true)?;
                let resource = audience(&request, desk, true)?;
                let access = self.access(desk, application, None, &resource);
                Ok(token_answer(&access, directory.token_lifetime.get(), None, None))
            }
            "password" => {
                let application = self.client(desk, &request, tenant, false)?;
                let user = signed_in(directory, &request)?;
                let resource = audience(&request, desk, false)?;
                self.families += 1;
                let grant = Grant {
                    client: application.client_id,
                    username: user.username.clone(),
                    family: self.families,
                    used: false,
                };
                Ok(self.delegated(desk, &request, application, user, &resource, grant))
            }
            "refresh_token" => {
                let application = self.client(desk, &request, tenant, false)?;
                let grant = self.redeemed(desk, &request, application)?;
                let user = directory
                    .users
                    .iter()
                    .find(|user| user.username.eq_ignore_ascii_case(&grant.username));
                let user = user.ok_or_else(|| Refusal::new(50_034, "The user account does not exist."))?;
                let resource = audience(&request, desk, false)?;
                Ok(self.delegated(desk, &request, application, user, &resource, grant))
            }
            other => Err(Refusal::new(
                70_003,
                format!("The app requested an unsupported grant type '{other}'."),
            )),
        }
    }

    /// The application that asks, with its proof checked.
    fn client<'d>(
        &mut self,
        desk: &Desk<'d>,
        request: &TokenRequest,
        tenant: &str,
        proof_needed: bool,
    ) -> Result<&'d Application, Refusal> {
        let (id, proof) = request.client()?;
        let directory = desk.directory;
        let application = id
            .parse()
            .ok()
            .and_then(|id: Guid| directory.applications.iter().find(|a| a.client_id == id));
        let application = application.ok_or_else(|| {
            Refusal::new(
                700_016,
                format!(
                    "Application with identifier '{id}' was not found in the directory '{}'.",
                    directory.domain
                ),
            )
        })?;
        if application.disabled {
            return Err(Refusal::new(7_000_112, format!("Application '{id}' is disabled.")));
        }
        match (proof, &application.client_secret) {
            (ClientProof::Secret(_), None) => Err(Refusal::of(700_025)),
            (ClientProof::Secret(given), Some(secret)) if given != secret.0 => Err(Refusal::new(
                7_000_215,
                format!(
                    "Invalid client secret provided. Ensure the secret being sent in the request is the client secret \
                     value, not the client secret ID, for a secret added to app '{id}'."
                ),
            )),
            (ClientProof::Secret(_), Some(_)) if application.secret_expired => Err(Refusal::new(
                7_000_222,
                format!("The provided client secret keys for app '{id}' are expired."),
            )),
            (ClientProof::Assertion(assertion), _) => self.asserted(desk, application, tenant, &assertion),
            (ClientProof::None, Some(_)) => Err(Refusal::of(7_000_218)),
            (ClientProof::None, None) if proof_needed => Err(Refusal::of(7_000_218)),
            _ => Ok(()),
        }
        .map(|()| application)
    }

    fn asserted(&mut self, desk: &Desk<'_>, app: &Application, tenant: &str, assertion: &str) -> Result<(), Refusal> {
        let id = request::checked_assertion(assertion, app.client_id, tenant, desk.now)?;
        if self.assertions.contains(&(app.client_id, id.clone())) {
            return Err(Refusal::new(
                700_027,
                "The client assertion was used before: its 'jti' is not unique.",
            ));
        }
        if self.assertions.len() >= REMEMBERED {
            self.assertions.pop_front();
        }
        self.assertions.push_back((app.client_id, id));
        Ok(())
    }

    fn redeemed(
        &mut self,
        desk: &Desk<'_>,
        request: &TokenRequest,
        application: &Application,
    ) -> Result<Grant, Refusal> {
        let token = request.required("refresh_token")?;
        let Some(grant) = self.refresh.get_mut(token) else {
            return Err(Refusal::of(70_000));
        };
        if grant.client != application.client_id {
            return Err(Refusal::new(70_000, "The refresh token was issued to another client."));
        }
        let reused = std::mem::replace(&mut grant.used, true);
        let grant = Grant {
            used: false,
            ..grant.clone()
        };
        if reused && desk.directory.detect_reuse {
            self.refresh.retain(|_, known| known.family != grant.family);
            return Err(Refusal::new(
                70_000,
                "The refresh token was used before; all that came from it is revoked.",
            ));
        }
        Ok(grant)
    }

    fn delegated(
        &mut self,
        desk: &mut Desk<'_>,
        request: &TokenRequest,
        application: &Application,
        user: &User,
        resource: &str,
        grant: Grant,
    ) -> Answer {
        let access = self.access(desk, application, Some(user), resource);
        let offline = request.scopes().any(|scope| scope == "offline_access")
            || request.get("grant_type") == Some("refresh_token");
        let refresh = offline.then(|| format!("1.sim.{}.{}", desk.ids.guid(), desk.ids.guid()));
        if let Some(token) = &refresh {
            self.remember(token.clone(), grant);
        }
        let scope = request.get("scope").map(str::to_owned);
        token_answer(&access, desk.directory.token_lifetime.get(), scope, refresh)
    }

    fn access(
        &mut self,
        desk: &mut Desk<'_>,
        application: &Application,
        user: Option<&User>,
        resource: &str,
    ) -> String {
        self.issued += 1;
        let expires = later(desk.now, desk.directory.token_lifetime.get());
        let subject = user.map_or(application.object_id, |user| user.object_id);
        let claims = Claims {
            aud: resource.to_owned(),
            iss: format!("https://sts.windows.net/{}/", desk.directory.tenant),
            iat: desk.now.as_second(),
            nbf: desk.now.as_second(),
            exp: expires.as_second(),
            tid: desk.directory.tenant,
            appid: application.client_id,
            oid: subject,
            sub: subject,
            idtyp: if user.is_some() { "user" } else { "app" }.to_owned(),
            scp: user.map(|_| "user_impersonation".to_owned()),
            upn: user.map(|user| user.username.clone()),
            uti: desk.ids.guid(),
            ver: "1.0".to_owned(),
        };
        token::issued(&claims, desk.key)
    }

    /// A token for an application without any request: for tests, and for the control API.
    pub(super) fn minted(&mut self, desk: &mut Desk<'_>, application: &Application, resource: &str) -> String {
        self.access(desk, application, None, resource)
    }

    fn remember(&mut self, token: String, grant: Grant) {
        if self.order.len() >= REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.refresh.remove(&oldest);
        }
        self.order.push_back(token.clone());
        self.refresh.insert(token, grant);
    }
}

fn signed_in<'d>(directory: &'d Directory, request: &TokenRequest) -> Result<&'d User, Refusal> {
    let username = request.required("username")?;
    let password = request.required("password")?;
    let user = directory
        .users
        .iter()
        .find(|user| user.username.eq_ignore_ascii_case(username))
        .ok_or_else(|| {
            Refusal::new(
                50_034,
                format!("The user account {username} does not exist in the directory."),
            )
        })?;
    if user.locked {
        return Err(Refusal::of(50_053));
    }
    if user.password.0 != password {
        return Err(Refusal::new(
            50_126,
            "Error validating credentials due to invalid username or password.",
        ));
    }
    if user.needs_second_factor {
        Err(Refusal::of(50_076))
    } else {
        Ok(user)
    }
}

fn token_answer(access: &str, lifetime: Duration, scope: Option<String>, refresh: Option<String>) -> Answer {
    let mut body = json!({
        "token_type": "Bearer",
        "expires_in": lifetime.as_secs(),
        "ext_expires_in": lifetime.as_secs(),
        "access_token": access,
    });
    if let Some(scope) = scope {
        body["scope"] = scope.into();
    }
    if let Some(refresh) = refresh {
        body["refresh_token"] = refresh.into();
    }
    let mut answer = json_body(StatusCode::OK, &body);
    answer
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store, no-cache"));
    answer
}
