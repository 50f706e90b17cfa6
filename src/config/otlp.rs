//! Export of spans by OTLP: the settings under their standard names, what they mean, and whether this build can do it.

use std::fmt;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::sources::Sources;
use crate::secrets::Known;
use crate::secrets::redaction::{Label, SHORT};

/// Where spans go, as whose, and how many.
#[derive(Clone)]
pub struct Otlp {
    /// The collector's address.
    pub endpoint: String,
    /// What every export carries; credentials, most likely.
    pub headers: HeaderMap,
    /// How long one export may take, repetitions included.
    pub timeout: Duration,
    /// Attributes of this process, `service.name` among them.
    pub resource: Vec<(String, String)>,
    /// The share of traces that is recorded, from 0 to 1.
    pub share: f64,
    /// Spans that wait at most; what does not fit is lost.
    pub queue: usize,
    /// Spans that are exported at once.
    pub batch: usize,
    /// How long spans wait for others before they are exported.
    pub delay: Duration,
}

impl fmt::Debug for Otlp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Otlp")
            .field("endpoint", &self.endpoint)
            .field("resource", &self.resource)
            .field("share", &self.share)
            .finish_non_exhaustive()
    }
}

impl Otlp {
    /// What is said in a build that exports nothing: the endpoint alone.
    fn in_vain(endpoint: String) -> Self {
        Self {
            endpoint,
            headers: HeaderMap::new(),
            timeout: Duration::ZERO,
            resource: Vec::new(),
            share: 0.0,
            queue: 0,
            batch: 0,
            delay: Duration::ZERO,
        }
    }
}

/// `None` without an endpoint, and where an export is forbidden.
pub(super) fn settings(s: &mut Sources<'_>) -> Option<Otlp> {
    let forbidden = |name: &str, value: &str| {
        let variable = s.variable(name).unwrap_or_default();
        variable.trim().eq_ignore_ascii_case(value)
    };
    if forbidden("OTEL_SDK_DISABLED", "true") || forbidden("OTEL_TRACES_EXPORTER", "none") {
        return None;
    }
    let text = s.optional("otlp.endpoint")?;
    if cfg!(not(feature = "otlp")) {
        // Platforms set these variables for whatever runs there: that nothing is exported is said, and no fault.
        s.hide("otlp.endpoint");
        return Some(Otlp::in_vain(text));
    }
    let protocol = s.text("otlp.protocol");
    if protocol.trim() != "grpc" {
        let place = s.place("otlp.protocol");
        s.fault(
            place,
            format!("`{protocol}` is not grpc, by which alone deskhand exports (a collector's port 4317)"),
        );
    }
    let endpoint = endpoint(s, &text);
    let batch = s.count("otlp.batch_size", 1..=100_000);
    Some(Otlp {
        headers: headers(s),
        timeout: s.duration("otlp.timeout"),
        resource: resource(s),
        share: share(s),
        queue: s.count("otlp.queue_size", 1..=1_000_000).max(batch),
        batch,
        delay: s.duration("otlp.delay"),
        endpoint: endpoint?,
    })
}

fn endpoint(s: &mut Sources<'_>, text: &str) -> Option<String> {
    let place = s.place("otlp.endpoint");
    match Url::parse(text.trim()) {
        Ok(url) if !url.username().is_empty() || url.password().is_some() || url.query().is_some() => {
            s.hide("otlp.endpoint");
            s.fault(
                place,
                "a URL with a user name or a query ends up in logs: write credentials in otlp.headers",
            );
            None
        }
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Some(text.trim().to_owned()),
        _ => {
            s.fault(place, format!("`{text}` is not an address like http://localhost:4317"));
            None
        }
    }
}

/// The name of the service, its version, and what else was said.
fn resource(s: &mut Sources<'_>) -> Vec<(String, String)> {
    let mut resource = vec![
        ("service.name".to_owned(), s.text("otlp.service_name")),
        ("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
    ];
    let named = s.used.iter().any(|used| used.key == "otlp.service_name");
    for (name, value) in resource_attributes(s) {
        match resource.iter_mut().find(|(known, _)| *known == name) {
            // The setting of its own says the service's name, unless it was left alone.
            Some(_) if name == "service.name" && named => {}
            Some((_, known)) => *known = value,
            None => resource.push((name, value)),
        }
    }
    resource
}

/// `NAME=VALUE`, separated by commas; values are percent-encoded. The faults name no value.
fn headers(s: &mut Sources<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let Some(text) = s.secret("otlp.headers") else {
        return headers;
    };
    for value in text.expose_secret().split(',').filter_map(|pair| pair.split_once('=')) {
        remember(&s.known, value.1.trim());
    }
    for (at, pair) in pairs(text.expose_secret()).into_iter().enumerate() {
        let parsed = pair.and_then(|(name, value)| {
            remember(&s.known, &value);
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            let mut value = HeaderValue::from_str(&value).ok()?;
            value.set_sensitive(true);
            Some((name, value))
        });
        match parsed {
            Some((name, value)) => _ = headers.insert(name, value),
            None => {
                let place = s.place("otlp.headers");
                s.fault(
                    place,
                    format!(
                        "entry {} is not NAME=VALUE with a percent-encoded value, as in authorization=Bearer%20TOKEN",
                        at + 1
                    ),
                );
            }
        }
    }
    headers
}

/// The value, and what follows its scheme (`Bearer`, `Basic`), are not to be seen anywhere. What is short is a name rather
/// than a credential, a tenant's for one, and masking it would hide much else.
fn remember(known: &Known, value: &str) {
    let label = Label::Setting("otlp.headers".to_owned());
    let credential = value.split_once(' ').or_else(|| value.split_once("%20"));
    let values = [Some(value), credential.map(|(_, credential)| credential)];
    for value in values
        .into_iter()
        .flatten()
        .filter(|value| value.chars().count() >= SHORT)
    {
        known.remember(&label, &SecretString::from(value));
    }
}

fn resource_attributes(s: &mut Sources<'_>) -> Vec<(String, String)> {
    let mut attributes = Vec::new();
    let text = s.text("otlp.resource_attributes");
    for (at, pair) in pairs(&text).into_iter().enumerate() {
        match pair {
            Some(pair) => attributes.push(pair),
            None => {
                let place = s.place("otlp.resource_attributes");
                s.fault(
                    place,
                    format!(
                        "entry {} is not NAME=VALUE with a percent-encoded value, as in deployment.environment.name=test",
                        at + 1
                    ),
                );
            }
        }
    }
    attributes
}

fn share(s: &mut Sources<'_>) -> f64 {
    // Nothing calls a worker, so no span of it has a parent elsewhere: the parent-based samplers decide as their roots.
    match s.choice("otlp.sampler") {
        "always_off" | "parentbased_always_off" => 0.0,
        "traceidratio" | "parentbased_traceidratio" => {
            let Some(text) = s.optional("otlp.sampler_arg") else {
                return 1.0;
            };
            let share = text.trim().parse().ok();
            share.filter(|share| (0.0..=1.0).contains(share)).unwrap_or_else(|| {
                let place = s.place("otlp.sampler_arg");
                s.fault(place, format!("`{text}` is not a share of all traces from 0 to 1"));
                1.0
            })
        }
        _ => 1.0,
    }
}

/// Pairs `NAME=VALUE` between commas; `None` for one that is not.
fn pairs(text: &str) -> Vec<Option<(String, String)>> {
    let written = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let name = Some(name.trim()).filter(|name| !name.is_empty())?;
        Some((name.to_owned(), decoded(value.trim())?))
    };
    written.map(pair).collect()
}

/// Percent-decoded; a plus sign is itself.
fn decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(part.get(2..)?.as_bytes());
    }
    String::from_utf8(bytes).ok()
}
