//! The connector of Camunda's REST tasks, `io.camunda:http-json:1`: a task's input goes in, one HTTP request leaves, and
//! its answer comes out as `{status, headers, body, reason, document}`.
//!
//! Names, defaults and shapes are those of Camunda's connector runtime, so that diagrams run unchanged. Where that
//! runtime hurts, this one does not follow: `docs/differences.md` has the list.

mod address;
mod authentication;
mod body;
mod failure;
mod fields;
mod flow_start;
mod header_names;
mod input;
mod intrinsic;
mod response;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
use url::Url;
use zeroize::Zeroizing;

use self::authentication::{Authentication, OAuth};
use self::failure::Failure;
pub use self::flow_start::Starts;
use self::input::Input;
use super::identity::{Identities, MANAGED_IDENTITY, Signed, explain_app_only};
use super::{Call, Connector, Response, abandoned};
use crate::http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use crate::http::token::{Fetched, Grant, Tokens};
use crate::http::{self, Answer, LastLook, Request};
use crate::outcome::JobError;
use crate::progress::Step;
use crate::secrets::{Destination, Policy, Redactor};

/// The job type.
pub const JOB_TYPE: &str = "io.camunda:http-json:1";

/// The connector of Camunda's REST tasks.
pub struct HttpJson {
    client: http::Client,
    tokens: Arc<Tokens>,
    policy: Arc<Policy>,
    settings: Settings,
    identities: Option<Arc<Identities>>,
    starts: Option<Starts>,
}

/// What operations may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Starts of desktop flows are recognised, and sent once.
    pub flow_starts_once: bool,
    /// The largest response that is read, bytes, after decompression.
    pub max_response_bytes: usize,
    /// Bound on a whole call, whatever the task's own timeouts say.
    pub total_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            flow_starts_once: true,
            max_response_bytes: 10 * 1024 * 1024,
            total_timeout: Duration::from_secs(600),
        }
    }
}

impl HttpJson {
    /// The connector over the process's one client, its tokens and the policy of its secrets.
    pub fn new(client: http::Client, tokens: Arc<Tokens>, policy: Arc<Policy>, settings: Settings) -> Self {
        Self {
            client,
            tokens,
            policy,
            settings,
            identities: None,
            starts: None,
        }
    }

    /// The same, with identities that tasks may name.
    #[must_use]
    pub fn with_identities(mut self, identities: Option<Arc<Identities>>) -> Self {
        self.identities = identities;
        self
    }

    /// The same connector; starts of desktop flows go the way of all starts: once.
    #[must_use]
    pub fn starting_once(mut self, starts: Starts) -> Self {
        self.starts = Some(starts);
        self
    }

    async fn run(&self, call: Call<'_>) -> Result<Response, JobError> {
        let variables = intrinsic::resolve(&call.input.variables)?;
        let Input {
            mut request,
            authentication,
            format,
        } = Input::bind(&variables, call.input)?;
        request.max_answer_bytes = self.settings.max_response_bytes;
        request.total_timeout = Some(self.settings.total_timeout);
        // Asked before a token is fetched too: no token is made for a call that may not happen.
        self.may_call(&call, &request.url)?;
        let authentication = match &self.starts {
            None => authentication,
            Some(starts) => match flow_start::recognise(&request, authentication, starts) {
                Ok(start) => return self.start_flow(call, start, format, starts).await,
                Err(authentication) => authentication,
            },
        };
        let answer = match authentication {
            Authentication::None | Authentication::Query(..) => self.send(&call, request).await?,
            Authentication::Header(name, value) => {
                put_first(&mut request.headers, name, value);
                self.send(&call, request).await?
            }
            Authentication::Identity(name) => {
                let oauth = match self.signed_in(&call, &name, &request.url).await? {
                    Signed::Bearer(token) => {
                        let answer = self.send(&call, with_bearer(request, &token)?).await?;
                        return response::read(&answer, format)
                            .map_err(|error| error.redacted(&Redactor::of([&token])));
                    }
                    Signed::Request(request) => OAuth {
                        request: *request,
                        path: None,
                    },
                };
                let (answer, token) = self.send_with_token(&call, request, &oauth).await?;
                return response::read(&answer, format).map_err(|error| error.redacted(&Redactor::of([&token])));
            }
            Authentication::Managed(client_id) => {
                let oauth = self.as_machine(&call, client_id, &request.url)?;
                let (answer, token) = self.send_with_token(&call, request, &oauth).await?;
                return response::read(&answer, format).map_err(|error| error.redacted(&Redactor::of([&token])));
            }
            Authentication::OAuth(oauth) => {
                if matches!(oauth.request.grant, Grant::ClientCredentials) {
                    explain_app_only(&request.url, "client credentials give one")?;
                }
                let (answer, token) = self.send_with_token(&call, request, &oauth).await?;
                // A server may echo what it was sent; the pipeline knows the task's secrets, the token only we know.
                return response::read(&answer, format).map_err(|error| error.redacted(&Redactor::of([&token])));
            }
        };
        response::read(&answer, format)
    }

    async fn signed_in(&self, call: &Call<'_>, name: &str, url: &Url) -> Result<Signed, JobError> {
        match &self.identities {
            Some(identities) => {
                let scope = call.job.secret_scope();
                call.unless_abandoned(identities.sign_in(name, url, &scope, JOB_TYPE))
                    .await
            }
            None => Err(JobError::input(format!(
                "`identity` is '{name}', but this worker has no identities (deskhand.toml: [identities.NAME])."
            ))),
        }
    }

    /// Signs in as the machine, if its tokens may go to this URL.
    fn as_machine(&self, call: &Call<'_>, client_id: Option<String>, url: &Url) -> Result<OAuth, JobError> {
        let policy = self.policy.for_job(&call.job.secret_scope());
        policy.check(&[MANAGED_IDENTITY], url, Destination::Api)?;
        let Some(identities) = &self.identities else {
            return Err(JobError::input("This worker signs in as no machine."));
        };
        let request = identities.as_machine(client_id, url)?;
        Ok(OAuth { request, path: None })
    }

    /// Where the tokens of this sign-in are kept.
    fn tokens(&self, oauth: &OAuth) -> &Arc<Tokens> {
        match (&oauth.path, &self.identities) {
            (None, Some(identities)) => identities.tokens(),
            _ => &self.tokens,
        }
    }

    /// Every secret of the task may end up in the request, also those that a token was made of.
    fn may_call(&self, call: &Call<'_>, url: &Url) -> Result<(), JobError> {
        self.policy
            .for_job(&call.job.secret_scope())
            .check(&call.input.names_at(&[""]), url, Destination::Api)
    }

    /// Sends the request, unless the job is to be let go of before its bytes leave. After that it is not cut off: it may be
    /// executed all the same, and then its result is worth offering; the worker gives up on it in the end. One that is
    /// safe to repeat is cut off when the worker stops.
    async fn send(&self, call: &Call<'_>, mut request: Request) -> Result<Answer, JobError> {
        if call.abandoned.is_cancelled() {
            return Err(abandoned());
        }
        let safe = request.method.is_safe();
        let look = LastLook::new(|| true, || {});
        // A request without a body is sent when it is begun: nobody is asked in between.
        let asks = request.body.as_ref().is_some_and(|body| !body.is_empty());
        request.last_look = asks.then(|| look.clone());
        let given_up = async {
            call.abandoned.cancelled().await;
            let stopping = !call.place.lease_left().is_zero() && !call.place.is_gone();
            let cut = (safe && stopping) || (asks && look.withdraw());
            if !cut {
                std::future::pending().await
            }
        };
        tokio::select! {
            answer = self.exchange(call, request) => answer,
            () = given_up => Err(abandoned()),
        }
    }

    async fn exchange(&self, call: &Call<'_>, request: Request) -> Result<Answer, JobError> {
        let sent = Step::RequestSent {
            method: request.method.to_string(),
            host: host_of(&request.url),
        };
        call.progress.report(call.job, sent);
        let may_call = |url: &Url| self.may_call(call, url).map_err(Failure::Refused);
        let answer = self
            .client
            .send_where(request, may_call)
            .await
            .map_err(Failure::into_job_error)?;
        let status = answer.status;
        call.progress.report(call.job, Step::AnswerReceived { status });
        Ok(answer)
    }

    /// A 401 means that nothing was executed. If the token came from the cache it may be stale, and if the answer is a
    /// claims challenge the next token will have what is missing: the request is repeated once with a fresh one. Without
    /// that, a fresh token that is refused will not be liked better a moment later.
    async fn send_with_token(
        &self,
        call: &Call<'_>,
        request: Request,
        oauth: &OAuth,
    ) -> Result<(Answer, SecretString), JobError> {
        let fetched = self.token(call, oauth).await?;
        let (answer, challenged) = self.send_bearing(call, request.clone(), &fetched, oauth).await?;
        if answer.status != 401 || !(fetched.from_cache || challenged) {
            return Ok((answer, fetched.token));
        }
        let fresh = self.token(call, oauth).await?;
        let (answer, _) = self.send_bearing(call, request, &fresh, oauth).await?;
        Ok((answer, fresh.token))
    }

    /// Sends the request with this token, and forgets a token that is refused; true: with claims for the next.
    async fn send_bearing(
        &self,
        call: &Call<'_>,
        request: Request,
        fetched: &Fetched,
        oauth: &OAuth,
    ) -> Result<(Answer, bool), JobError> {
        let answer = self.send(call, with_bearer(request, &fetched.token)?).await?;
        let refused = answer.status == 401;
        let challenged = refused && self.tokens(oauth).refused(&oauth.request, &fetched.token, &answer);
        Ok((answer, challenged))
    }

    async fn token(&self, call: &Call<'_>, oauth: &OAuth) -> Result<Fetched, JobError> {
        let endpoint = &oauth.request.endpoint;
        if let Some(path) = &oauth.path {
            self.policy.for_job(&call.job.secret_scope()).check(
                &call.input.names_at(&[path]),
                endpoint,
                Destination::TokenEndpoint,
            )?;
        }
        let fetched = call
            .unless_abandoned(async {
                let fetched = self.tokens(oauth).get(&oauth.request).await;
                fetched.map_err(|error| failure::of_token(&error, &oauth.request.grant))
            })
            .await?;
        if !fetched.from_cache {
            let step = Step::TokenFetched {
                host: host_of(endpoint),
                lifetime: fetched.lifetime,
            };
            call.progress.report(call.job, step);
        }
        Ok(fetched)
    }
}

impl Connector for HttpJson {
    fn job_type(&self) -> &'static str {
        JOB_TYPE
    }

    fn fetch_variables(&self) -> &'static [&'static str] {
        input::VARIABLES
    }

    fn call<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Result<Response, JobError>> {
        Box::pin(self.run(call))
    }
}

/// Host and port, nothing more of a URL.
fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

fn with_bearer(mut request: Request, token: &SecretString) -> Result<Request, JobError> {
    let text = Zeroizing::new(format!("Bearer {}", token.expose_secret()));
    let mut value = HeaderValue::from_bytes(text.as_bytes()).map_err(|_| {
        JobError::connector(
            "OAUTH_TOKEN_ERROR",
            "The token endpoint gave an access token that holds control characters.",
        )
    })?;
    value.set_sensitive(true);
    put_first(&mut request.headers, AUTHORIZATION, value);
    Ok(request)
}

/// The credentials come before a header of the same name that the task has written; both are sent.
fn put_first(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    let own: Vec<HeaderValue> = headers.get_all(&name).iter().cloned().collect();
    headers.insert(name.clone(), value);
    for value in own {
        headers.append(name.clone(), value);
    }
}
