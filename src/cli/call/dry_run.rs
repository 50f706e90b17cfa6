//! `--dry-run`: the requests that a call would send, shown and not sent.
//!
//! The call takes its whole way, policy and checks of its fields included, but over a client that sends nothing. Secrets
//! are not even looked up: where their values would stand, their references do. Answers are made up so that the call gets
//! as far as its main request.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::OneStart;
use crate::config::Config;
use crate::connector::{Anywhere, Call, Connector};
use crate::http::header::HeaderMap;
use crate::http::rehearsal::Rehearsal;
use crate::http::{self, Answer, Method, Request};
use crate::job::Job;
use crate::outcome::{ErrorType, JobError};
use crate::progress::Progress;

/// What a flow's id is where only its name is known.
const NOT_KNOWN: &str = "00000000-0000-0000-0000-000000000000";
/// Nothing is waited for in a rehearsal.
const PATIENCE: Duration = Duration::from_secs(10);
/// Fields of forms that hold a secret.
const SECRET_FIELDS: [&str; 5] = [
    "client_secret",
    "client_assertion",
    "refresh_token",
    "password",
    "assertion",
];
const MASK: &str = "***";

/// A request as it is shown.
pub(super) struct Shown {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: Option<Value>,
}

/// The requests that the call would send.
///
/// # Errors
/// What is wrong with the call itself: its fields, the policy.
pub(super) async fn requests(
    config: &Config,
    job: &Job,
    variables: Map<String, Value>,
) -> Result<Vec<Shown>, JobError> {
    let enough = CancellationToken::new();
    let rehearsal = Arc::new(Rehearsal::new({
        let enough = enough.clone();
        move |request| Ok(answer(request, &enough))
    }));
    let fault = |error: http::Error| JobError::internal(format!("HTTP cannot be set up: {error}"));
    let (secrets, connector) = config.rehearsed(rehearsal.clone()).map_err(fault)?;
    let input = secrets.bind(variables, &job.secret_scope()).await?;
    let progress = Progress::none();
    let journal = OneStart::default();
    let call = connector.call(Call {
        job,
        input: &input,
        abandoned: &enough,
        progress: &progress,
        journal: &journal,
        place: &Anywhere,
    });
    match tokio::time::timeout(PATIENCE, call).await {
        // The others are about the answers that were made up.
        Ok(Err(error)) if error.error_type == ErrorType::Input => return Err(error),
        _ => {}
    }
    Ok(rehearsal.requests().iter().map(shown).collect())
}

/// Enough of an answer to get on.
fn answer(request: &Request, enough: &CancellationToken) -> Answer {
    let path = request.url.path();
    let (status, body) = if request.method == Method::POST && path.ends_with("RunDesktopFlow") {
        enough.cancel();
        (200, json!({"flowsessionId": NOT_KNOWN}))
    } else if request.method == Method::POST && path.ends_with("CancelDesktopFlowRun") {
        (204, Value::Null)
    } else if path.ends_with("/workflows") {
        (200, json!({"value": [{"workflowid": NOT_KNOWN}]}))
    } else if path.ends_with("/flowsessions") {
        (200, json!({"value": []}))
    } else if path.ends_with("/$value") {
        (204, Value::Null)
    } else if path.contains("/api/data/") {
        (200, json!({"value": [], "statuscode": 2, "flowsessionid": NOT_KNOWN}))
    } else {
        (
            200,
            json!({"token_type": "Bearer", "expires_in": 3600, "access_token": "no-real-token"}),
        )
    };
    Answer {
        status,
        reason: String::new(),
        headers: HeaderMap::new(),
        body: match body {
            Value::Null => Vec::new(),
            body => body.to_string().into_bytes(),
        },
    }
}

fn shown(request: &Request) -> Shown {
    let headers = request.headers.iter().map(|(name, value)| {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let is_secret =
            value.is_sensitive() || matches!(name.as_str(), "authorization" | "cookie" | "x-identity-header");
        (name.as_str().to_owned(), if is_secret { masked(&text) } else { text })
    });
    Shown {
        method: request.method.to_string(),
        url: readable(&request.url),
        headers: headers.collect(),
        body: request.body.as_deref().filter(|body| !body.is_empty()).map(body),
    }
}

/// The scheme of a credential, and its reference where that is all of it.
fn masked(text: &str) -> String {
    let (scheme, value) = text.split_once(' ').unwrap_or(("", text));
    let value = if is_reference(value) { value } else { MASK };
    format!("{scheme} {value}").trim_start().to_owned()
}

fn is_reference(text: &str) -> bool {
    text.starts_with("{{secrets.") && text.ends_with("}}") && text.matches("{{").count() == 1
}

fn body(bytes: &[u8]) -> Value {
    if let Ok(Value::Object(body)) = serde_json::from_slice(bytes) {
        return body.into();
    }
    let fields = url::form_urlencoded::parse(bytes).map(|(name, value)| {
        let hidden = SECRET_FIELDS.contains(&name.as_ref()) && !is_reference(&value);
        let value = if hidden { MASK.into() } else { value.into_owned() };
        (name.into_owned(), value.into())
    });
    Value::Object(fields.collect())
}

/// The URL with its query as it was meant.
fn readable(url: &Url) -> String {
    let mut address = url.clone();
    address.set_query(None);
    let query: Vec<String> = url
        .query_pairs()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let text = match query.is_empty() {
        true => address.to_string(),
        false => format!("{address}?{}", query.join("&")),
    };
    text.replace(NOT_KNOWN, "<id of the flow>")
}

impl Shown {
    pub(super) fn as_json(&self) -> Value {
        let headers: Map<String, Value> = self
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), value.clone().into()))
            .collect();
        json!({"method": self.method, "url": self.url, "headers": headers, "body": self.body})
    }

    pub(super) fn as_text(&self) -> String {
        let mut text = format!("{} {}\n", self.method, self.url);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\n"));
        }
        if let Some(body) = &self.body {
            let body = serde_json::to_string_pretty(body).unwrap_or_default();
            text.push_str(&format!("\n{body}\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_shown_as_its_reference_or_not_at_all() {
        assert_eq!(masked("Bearer {{secrets.TOKEN}}"), "Bearer {{secrets.TOKEN}}");
        assert_eq!(masked("Bearer abc"), "Bearer ***");
        assert_eq!(masked("Basic YTpi"), "Basic ***");
        assert_eq!(masked("abc"), "***");
        assert_eq!(masked("Bearer {{secrets.A}}abc{{secrets.B}}"), "Bearer ***");
    }

    #[test]
    fn a_form_is_shown_field_by_field_without_its_secrets() {
        let form = b"grant_type=client_credentials&client_id=x&client_secret=abc&password=%7B%7Bsecrets.P%7D%7D";
        assert_eq!(
            body(form),
            json!({"grant_type": "client_credentials", "client_id": "x", "client_secret": "***",
                   "password": "{{secrets.P}}"})
        );
    }
}
