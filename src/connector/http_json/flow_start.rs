//! The start of a desktop flow that is written as a REST task, as Camunda's Power Automate template writes it.
//!
//! A request that starts a run is recognised by its URL and goes the way of all starts ([`crate::connector::desktop_flow::once`]): sent
//! once, found again when its answer is lost. What comes out is the answer that the task expects. The body is corrected
//! where the template makes what Dataverse refuses: numbers that are texts, fields that are null or blank.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use url::Url;

use super::authentication::{Authentication, OAuth};
use super::response::{self, ReturnFormat};
use super::{HttpJson, failure};
use crate::audit::Task;
use crate::connector::desktop_flow::once::{Once, Started, Starter, Wanted};
use crate::connector::desktop_flow::refusals;
use crate::connector::identity::Signed;
use crate::connector::{Call, Response};
use crate::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use crate::http::token::Grant;
use crate::http::{Answer, Method, Request};
use crate::microsoft::dataverse::workflows::RunRequest;
use crate::microsoft::dataverse::{Credential, Dataverse, Error, Gates, Guid, Organization, Timeouts};
use crate::outcome::JobError;
use crate::secrets::Redactor;

/// The last part of the URL that starts a run, with and without its namespace.
const ACTIONS: [&str; 2] = ["Microsoft.Dynamics.CRM.RunDesktopFlow", "RunDesktopFlow"];

/// What starts need; shared with the desktop-flow connector, so that both keep one promise.
#[derive(Clone)]
pub struct Starts {
    /// What all starts of the process share.
    pub once: Arc<Once>,
    /// One gate for each organisation and credential.
    pub gates: Gates,
    /// Bounds on single calls of Dataverse.
    pub timeouts: Timeouts,
    /// Pauses up to this long in all, asked for by a throttled start, are waited for here; longer ones in the engine.
    pub longest_pause: Duration,
    /// Hosts beside loopback that may be spoken to without TLS.
    pub plain_http_hosts: Vec<String>,
}

/// A start, read from a request.
pub(super) struct FlowStart {
    organization: Organization,
    flow: Guid,
    request: RunRequest,
    credential: Bearer,
}

enum Bearer {
    Given(SecretString),
    Named(String),
    Machine(Option<String>),
    Fetched(Box<OAuth>),
}

/// Reads a request that starts a run. One that is not understood, or signs in by something else than a token, goes out as
/// it is: Dataverse refuses it without executing it.
pub(super) fn recognise(
    request: &Request,
    authentication: Authentication,
    starts: &Starts,
) -> Result<FlowStart, Authentication> {
    let Some((organization, flow, run)) = read(request, starts) else {
        return Err(authentication);
    };
    let credential = match authentication {
        Authentication::OAuth(oauth) => Bearer::Fetched(oauth),
        Authentication::Identity(name) => Bearer::Named(name),
        Authentication::Managed(client_id) => Bearer::Machine(client_id),
        Authentication::Header(name, value) if name == AUTHORIZATION => match bearer(&value) {
            Some(token) => Bearer::Given(token),
            None => return Err(Authentication::Header(name, value)),
        },
        Authentication::None => match request.headers.get(AUTHORIZATION).and_then(bearer) {
            Some(token) => Bearer::Given(token),
            None => return Err(Authentication::None),
        },
        other => return Err(other),
    };
    Ok(FlowStart {
        organization,
        flow,
        request: run,
        credential,
    })
}

fn read(request: &Request, starts: &Starts) -> Option<(Organization, Guid, RunRequest)> {
    if request.method != Method::POST || request.tls.is_some() {
        return None;
    }
    let (organization, flow) = target(&request.url, &starts.plain_http_hosts)?;
    let body: Value = serde_json::from_slice(request.body.as_deref()?).ok()?;
    Some((organization, flow, run_request(body.as_object()?)?))
}

/// `{organisation}/api/data/v9.N/workflows({id})/Microsoft.Dynamics.CRM.RunDesktopFlow`
fn target(url: &Url, plain_http_hosts: &[String]) -> Option<(Organization, Guid)> {
    let path = url.path();
    let at = path.to_ascii_lowercase().find("/api/data/v9.")?;
    let mut below = path[at + 1..].split('/').skip(3);
    let (set, action) = (below.next()?, below.next()?);
    let action_known = ACTIONS.iter().any(|known| known.eq_ignore_ascii_case(action));
    let id = set
        .strip_suffix(')')?
        .split_once('(')
        .filter(|(set, _)| set.eq_ignore_ascii_case("workflows"))?
        .1;
    if !action_known || below.next().is_some() || url.query().is_some() {
        return None;
    }
    let mut organization = url.clone();
    organization.set_path(&path[..at]);
    organization.set_fragment(None);
    Some((
        Organization::parse(organization.as_str(), plain_http_hosts).ok()?,
        Guid::parse(id)?,
    ))
}

/// The parameters as Dataverse wants them. `None`: a required one is missing or of another kind.
fn run_request(body: &Map<String, Value>) -> Option<RunRequest> {
    let mut body = body.clone();
    body.retain(|_, value| match value {
        Value::Null => false,
        Value::String(text) => !text.trim().is_empty(),
        _ => true,
    });
    let mut text = |name: &str| match body.shift_remove(name) {
        None => Some(None),
        Some(Value::String(text)) => Some(Some(text)),
        Some(_) => None,
    };
    let run_mode = text("runMode")??;
    let connection_name = text("connectionName")??;
    let run_priority = text("runPriority")?;
    let callback_url = text("callbackUrl")?;
    let inputs = match body.shift_remove("inputs") {
        None => None,
        Some(Value::String(text)) => Some(text),
        Some(object @ Value::Object(_)) => Some(object.to_string()),
        Some(_) => return None,
    };
    let mut number = |name: &str| match body.shift_remove(name) {
        None => Some(None),
        Some(Value::Number(number)) => Some(Some(number.as_u64()?)),
        Some(Value::String(text)) => Some(Some(text.trim().parse().ok()?)),
        Some(_) => None,
    };
    let connection_type = number("connectionType")?.map(u8::try_from).transpose().ok()?;
    let timeout = number("timeout")?.map(u32::try_from).transpose().ok()?;
    Some(RunRequest {
        run_mode,
        run_priority,
        connection_name,
        connection_type,
        timeout,
        inputs,
        callback_url,
        others: body,
    })
}

fn bearer(value: &HeaderValue) -> Option<SecretString> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim().to_owned().into())
}

impl HttpJson {
    /// Starts the run once; gives what the task would get from Dataverse.
    pub(super) async fn start_flow(
        &self,
        call: Call<'_>,
        start: FlowStart,
        format: ReturnFormat,
        starts: &Starts,
    ) -> Result<Response, JobError> {
        let began = Instant::now();
        let FlowStart {
            organization,
            flow,
            request,
            credential,
        } = start;
        let task = Task {
            flow: Some(flow.to_string()),
            connection: Some(request.connection_name.clone()),
            identity: match &credential {
                Bearer::Named(name) => Some(name.clone()),
                _ => None,
            },
        };
        let credential = match credential {
            Bearer::Named(name) => match self.signed_in(&call, &name, organization.url()).await? {
                Signed::Bearer(token) => Bearer::Given(token),
                Signed::Request(request) => Bearer::Fetched(Box::new(OAuth {
                    request: *request,
                    path: None,
                })),
            },
            Bearer::Machine(client_id) => {
                Bearer::Fetched(Box::new(self.as_machine(&call, client_id, organization.url())?))
            }
            known => known,
        };
        let (credential, grant, token) = match credential {
            Bearer::Named(_) | Bearer::Machine(_) => {
                return Err(JobError::internal("An identity has no credential."));
            }
            Bearer::Given(token) => (Credential::Bearer(token.clone()), None, token),
            Bearer::Fetched(oauth) => {
                // Fetched now: a refused sign-in is told as for every other task.
                let token = self.token(&call, &oauth).await?.token;
                let grant = oauth.request.grant.clone();
                let fetched = Credential::Fetched {
                    tokens: self.tokens(&oauth).clone(),
                    request: Box::new(oauth.request),
                };
                (fetched, Some(grant), token)
            }
        };
        let dataverse = Dataverse::behind(
            &starts.gates,
            self.client.clone(),
            organization,
            credential,
            starts.timeouts,
        );
        let refused = |error: &Error| refusal(error, format, grant.as_ref());
        let starter = Starter {
            once: &starts.once,
            call,
            task: &task,
            dataverse: &dataverse,
            may_take: starts.timeouts.start,
            longest_pause: starts.longest_pause,
            began,
            refused: &refused,
        };
        let wanted = Wanted {
            message: None,
            flow,
            flow_name: None,
            request,
            token_input: None,
            exclusive: false,
        };
        // A server may echo what it was sent; the pipeline knows the task's secrets, a fetched token only we know.
        let redacted = |error: JobError| error.redacted(&Redactor::of([&token]));
        let started = starter.once(&wanted).await.map_err(redacted)?;
        response::read(&answer(started), format).map_err(redacted)
    }
}

/// What Dataverse answered, or would have.
fn answer(started: Started) -> Answer {
    started.answer.unwrap_or_else(|| {
        let mut headers = HeaderMap::new();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/json; odata.metadata=minimal"),
        );
        Answer {
            status: 200,
            reason: "OK".into(),
            headers,
            body: json!({"flowsessionId": started.entry.run}).to_string().into_bytes(),
        }
    })
}

/// A refusal as a REST task tells it.
fn refusal(error: &Error, format: ReturnFormat, grant: Option<&Grant>) -> JobError {
    match error {
        Error::Refused(refusal) => match response::read(&refusal.answer, format) {
            Err(error) => error,
            Ok(_) => refusals::refused_start(error),
        },
        Error::Token(error) => match grant {
            Some(grant) => failure::of_token(error, grant),
            None => JobError::internal("A given token was fetched."),
        },
        Error::Exchange(error) => failure::of_http(error),
        _ => refusals::refused_start(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(url: &str) -> Option<(String, String)> {
        let (organization, flow) = target(&Url::parse(url).unwrap(), &[])?;
        Some((organization.as_str().to_owned(), flow.to_string()))
    }

    #[test]
    fn a_start_is_recognised_by_its_url_and_nothing_else_is() {
        const ID: &str = "d9687093-d0c0-ec11-983e-0022480b428a";
        let host = "https://contoso.crm4.dynamics.com";
        for path in [
            format!("/api/data/v9.2/workflows({ID})/Microsoft.Dynamics.CRM.RunDesktopFlow"),
            format!(
                "/api/data/v9.0/workflows({})/microsoft.dynamics.crm.rundesktopflow",
                ID.to_uppercase()
            ),
            format!("/api/data/v9.1/workflows({ID})/RunDesktopFlow"),
        ] {
            assert_eq!(
                at(&format!("{host}{path}")),
                Some((host.to_owned(), ID.to_owned())),
                "{path}"
            );
        }
        for path in [
            format!("/api/data/v9.2/workflows({ID})"),
            format!("/api/data/v9.2/flowsessions({ID})/Microsoft.Dynamics.CRM.CancelDesktopFlowRun"),
            format!("/api/data/v9.2/flowsessions({ID})/Microsoft.Dynamics.CRM.RunDesktopFlow"),
            format!("/api/data/v9.2/workflows({ID})/Microsoft.Dynamics.CRM.RunDesktopFlow/x"),
            "/api/data/v9.2/workflows(x)/Microsoft.Dynamics.CRM.RunDesktopFlow".to_owned(),
            format!("/workflows({ID})/Microsoft.Dynamics.CRM.RunDesktopFlow"),
        ] {
            assert_eq!(at(&format!("{host}{path}")), None, "{path}");
        }
        let plain = format!("http://contoso.crm4.dynamics.com/api/data/v9.2/workflows({ID})/RunDesktopFlow");
        assert_eq!(at(&plain), None, "a token does not go out without TLS by this way");
    }

    #[test]
    fn the_body_is_made_what_dataverse_takes() {
        let template = json!({
            "runMode": "attended", "connectionName": "c", "connectionType": "1", "runPriority": null, "timeout": "7200",
            "inputs": {"a": 1}, "callbackUrl": "", "newParameter": true,
        });
        let request = run_request(template.as_object().unwrap()).unwrap();
        assert_eq!(
            serde_json::to_value(request).unwrap(),
            json!({
                "runMode": "attended", "connectionName": "c", "connectionType": 1, "timeout": 7200,
                "inputs": "{\"a\":1}", "newParameter": true,
            })
        );
        for broken in [
            json!({"connectionName": "c"}),
            json!({"runMode": "attended"}),
            json!({"runMode": "attended", "connectionName": "c", "connectionType": "first"}),
            json!({"runMode": "attended", "connectionName": "c", "inputs": [1]}),
            json!({"runMode": 5, "connectionName": "c"}),
        ] {
            assert!(run_request(broken.as_object().unwrap()).is_none(), "{broken}");
        }
    }
}
