//! `deskhand check --identity NAME --environment URL`: walks the way that a job's call takes, and says at each step what was
//! seen: token → who am I → the flows → the machines → the connections.

use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;

use super::output::line;
use super::{UNAVAILABLE, USAGE};
use crate::config::Config;
use crate::connector::identity::Identities;
use crate::http::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use crate::http::{Client, Method, Request};
use crate::microsoft::dataverse::{Organization, Refusal};

/// A step and what came of it; the first that fails is the last.
struct Step {
    name: &'static str,
    result: Result<String, String>,
}

/// What is read of an organisation: the step, the resource, and what to count.
const READS: [(&str, &str, &str); 3] = [
    (
        "flows",
        "workflows?$select=name&$filter=category eq 6&$top=50",
        "desktop flows that this identity sees",
    ),
    (
        "machines",
        "flowmachinegroups?$select=name&$top=50",
        "machine groups; share the group (or the machine) with the identity if yours is not among them",
    ),
    (
        "connections",
        "connectionreferences?$select=connectionreferencelogicalname,connectorid&$top=50",
        "connection references; a connection itself is named in the task (`connectionName`) and must be shared with the \
         identity in the maker portal",
    ),
];

/// Prints the steps; exit code 0 when all went well.
pub(super) async fn check(config: &Config, name: &str, environment: &str, as_json: bool) -> ExitCode {
    let usage = |message: String| {
        super::output::complain(format_args!("{message}"));
        ExitCode::from(USAGE)
    };
    let organization = match Organization::parse(environment, &config.connectors.desktop_flow.plain_http_hosts) {
        Ok(organization) => organization,
        Err(error) => return usage(format!("--environment {error}")),
    };
    let identities = match config.identities() {
        Ok(identities) => identities,
        Err(error) => return usage(error.to_string()),
    };
    let mut steps = Vec::new();
    walk(&identities, name, &organization, &mut steps).await;
    let well = steps.iter().all(|step| step.result.is_ok());
    // What a server says may repeat what it was shown.
    let redactor = config.known.redactor();
    let shown: Vec<(&str, bool, String)> = steps
        .iter()
        .map(|step| {
            let (ok, text) = match &step.result {
                Ok(text) => (true, text),
                Err(text) => (false, text),
            };
            (step.name, ok, redactor.text(text).into_owned())
        })
        .collect();
    if as_json {
        let steps: Vec<Value> = shown
            .iter()
            .map(|(name, ok, detail)| json!({"step": name, "ok": ok, "detail": detail}))
            .collect();
        line(format_args!("{}", json!({"ok": well, "steps": steps})));
    } else {
        for (name, ok, detail) in &shown {
            line(format_args!(
                "{}  {name:14} {detail}",
                if *ok { "ok    " } else { "FAILED" }
            ));
        }
    }
    if well {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(UNAVAILABLE)
    }
}

async fn walk(identities: &Identities, name: &str, organization: &Organization, steps: &mut Vec<Step>) {
    let mut took = |name, result: Result<String, String>| {
        let well = result.is_ok();
        steps.push(Step { name, result });
        well
    };
    let found = identities.find(name).map_err(|error| error.message);
    let known = found
        .as_ref()
        .map(|identity| match identity.goes_to(organization.url()) {
            true => Ok(format!("'{name}' signs in with {}", identity.sign_in.label())),
            false => Err(format!(
                "'{name}' may not be used for {}: add it to [identities.{name}] hosts",
                organization.url().host_str().unwrap_or_default()
            )),
        });
    if !took("identity", known.unwrap_or_else(|error| Err(error.clone()))) {
        return;
    }
    if let Ok(identity) = &found
        && let Some(ending) = identities.ending(identity).await
    {
        let credential = ending.credential;
        let left = match (&ending.ends, ending.days(Timestamp::now())) {
            (Err(error), _) => Err(error.clone()),
            (Ok(ends), None) => Err(format!("the {credential} ended at {ends}")),
            (Ok(ends), Some(days)) => Ok(format!("the {credential} expires in {days} days, at {ends}")),
        };
        if !took("expiry", left) {
            return;
        }
    }
    let token = match identities.token_for_operations(name, organization.url()).await {
        Ok(token) => token,
        Err(error) => {
            took("token", Err(error));
            return;
        }
    };
    took("token", Ok(claims(&token)));
    let who = get(organization, "WhoAmI", &token).await;
    let who = who.map(|body| {
        let id = |name: &str| body[name].as_str().unwrap_or("?").to_owned();
        format!("user {} of organisation {}", id("UserId"), id("OrganizationId"))
    });
    if !took("who am I", who) {
        return;
    }
    for (step, resource, what) in READS {
        let read = get(organization, resource, &token).await;
        let read = read.map(|body| {
            let rows = body["value"].as_array().map_or(0, Vec::len);
            format!("{rows}{} {what}", if rows == 50 { " or more" } else { "" })
        });
        took(step, read);
    }
}

/// What a token says about itself. It is not verified: only what it is good for is asked.
fn claims(token: &SecretString) -> String {
    let part = token.expose_secret().split('.').nth(1);
    let claims: Option<Value> = part
        .and_then(|part| URL_SAFE_NO_PAD.decode(part).ok())
        .and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let Some(claims) = claims else {
        return "a token that only its API can read".into();
    };
    let said = |name: &str| claims.get(name).and_then(Value::as_str);
    let mut text = "a token".to_owned();
    for (name, label) in [
        ("aud", " for"),
        ("tid", " of tenant"),
        ("appid", " for the app"),
        ("upn", " as user"),
    ] {
        if let Some(value) = said(name) {
            text.push_str(&format!("{label} {value}"));
        }
    }
    match said("scp") {
        Some(scopes) => text.push_str(&format!("; delegated: {scopes}")),
        None => text.push_str("; of an app, without a user (the flow service would not take it)"),
    }
    text
}

async fn get(organization: &Organization, resource: &str, token: &SecretString) -> Result<Value, String> {
    let base = organization.as_str();
    let url = Url::parse(&format!("{base}/api/data/v9.2/{resource}")).map_err(|error| error.to_string())?;
    let asked = url.clone();
    let mut request = Request::new(Method::GET, url);
    request.total_timeout = Some(std::time::Duration::from_secs(30));
    let mut bearer =
        HeaderValue::try_from(format!("Bearer {}", token.expose_secret())).map_err(|error| error.to_string())?;
    bearer.set_sensitive(true);
    request.headers.insert(AUTHORIZATION, bearer);
    request
        .headers
        .insert(ACCEPT, HeaderValue::from_static("application/json"));
    let client = Client::new().map_err(|error| error.to_string())?;
    let answer = client.send(request).await.map_err(|error| error.to_string())?;
    if answer.status == 200 {
        return serde_json::from_slice(&answer.body).map_err(|_| "the answer is no JSON".to_owned());
    }
    let refusal = Refusal::read(&answer).of_call("GET", &asked);
    let hint = refusal.hint();
    Err(format!(
        "{refusal}{}{hint}",
        if hint.is_empty() { "" } else { "\n        What to do: " }
    ))
}
