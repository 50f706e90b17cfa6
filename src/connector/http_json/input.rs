//! The input of a task: its variables go in, a request comes out that can be sent as it is, or every fault that was
//! found, each naming its field.

use std::time::Duration;

use serde_json::{Map, Value};
use url::Url;

use super::authentication::{self, Authentication};
use super::fields::{Faults, Fields};
use super::response::{Charset, ReturnFormat};
use super::{address, body};
use crate::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use crate::http::{ClientTls, Method, Request};
use crate::outcome::JobError;
use crate::runs::journal;
use crate::secrets::Bound;

/// The variables that the task may set; nothing else is fetched.
pub(super) const VARIABLES: &[&str] = &[
    "url",
    "method",
    "authentication",
    "authenticationConfiguration",
    "identity",
    "clientTls",
    "headers",
    "queryParameters",
    "skipEncoding",
    "connectionTimeoutInSeconds",
    "readTimeoutInSeconds",
    "body",
    "storeResponse",
    "documentReturnFormat",
    "groupSetCookieHeaders",
    "ignoreNullValues",
    "followRedirects",
    // Of starts of desktop flows.
    journal::RUN,
    journal::INTENT,
    journal::DECISION,
];

const METHODS: &str = "`GET`, `POST`, `PUT`, `PATCH` or `DELETE`";
const AN_URL: &str = "the address to call; it begins with `http://` or `https://`";

/// Seconds.
const DEFAULT_TIMEOUT: u32 = 20;

/// A task's input, ready to be sent.
pub(super) struct Input {
    /// The request, without what its authentication adds.
    pub(super) request: Request,
    /// Who it is from.
    pub(super) authentication: Authentication,
    /// How its answer is read.
    pub(super) format: ReturnFormat,
}

impl Input {
    /// Reads the variables; `bound` knows which fields hold secrets.
    ///
    /// # Errors
    /// An incident that names every field that cannot be used, what was found and what to write instead.
    pub(super) fn bind(variables: &Map<String, Value>, bound: &Bound) -> Result<Self, JobError> {
        let faults = Faults::new(bound);
        let fields = Fields::root(variables, &faults);
        let input = Self::read(&fields, &faults);
        faults.finish(input)
    }

    fn read(fields: &Fields<'_, '_>, faults: &Faults<'_>) -> Option<Self> {
        // Every part is read before the first `?`, so that all faults are found.
        let method = method(fields);
        let authentication = authentication::bind(fields);
        let headers = headers(fields, faults);
        let tls = client_tls(fields);
        let format = return_format(fields);
        let connect = fields.seconds("connectionTimeoutInSeconds").unwrap_or(DEFAULT_TIMEOUT);
        let read = fields.seconds("readTimeoutInSeconds").unwrap_or(connect);
        let ignore_nulls = fields.flag("ignoreNullValues");
        let follow_redirects = fields.flag("followRedirects");
        let url = url(fields, faults, authentication.as_ref());

        let mut request = Request::new(method?, url?);
        request.headers = headers;
        request.tls = tls;
        request.connect_timeout = bound_of(connect);
        request.read_timeout = bound_of(read);
        request.follow_redirects = follow_redirects;
        if matches!(request.method, Method::POST | Method::PUT | Method::PATCH) {
            let body = fields.value("body").unwrap_or(&Value::Null);
            let content_type = request.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
            if let Some(body) = body::write(body, content_type, ignore_nulls) {
                if let Some(content_type) = body.content_type.and_then(|text| HeaderValue::try_from(text).ok()) {
                    request.headers.insert(CONTENT_TYPE, content_type);
                }
                request.body = Some(body.bytes);
            }
        }
        Some(Self {
            request,
            authentication: authentication?,
            format: format?,
        })
    }
}

/// Zero seconds are no bound at all.
fn bound_of(seconds: u32) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
}

fn method(fields: &Fields<'_, '_>) -> Option<Method> {
    let method = fields.required("method", METHODS)?;
    let method = match method.trim().to_ascii_uppercase().as_str() {
        "GET" => Method::GET,
        "POST" => Method::POST,
        "PUT" => Method::PUT,
        "PATCH" => Method::PATCH,
        "DELETE" => Method::DELETE,
        _ => {
            fields.fault("method", METHODS);
            return None;
        }
    };
    Some(method)
}

fn url(fields: &Fields<'_, '_>, faults: &Faults<'_>, authentication: Option<&Authentication>) -> Option<Url> {
    let mut parameters = fields.texts("queryParameters", "an object of parameter names and values");
    if let Some(Authentication::Query(name, value)) = authentication {
        parameters.push((name.clone(), Some(value.clone())));
    }
    let skip_encoding = fields.flag("skipEncoding");
    let written = fields.required("url", AN_URL)?;
    if !(written.starts_with("http://") || written.starts_with("https://")) {
        fields.fault("url", AN_URL);
        return None;
    }
    match address::parse(&written, skip_encoding, &parameters) {
        Ok(url) => Some(url),
        Err(reason) => {
            let shown = faults.describe("url", &Value::String(written));
            faults.add(format!("Invalid URL: `url` is {shown}: {reason}."));
            None
        }
    }
}

fn headers(fields: &Fields<'_, '_>, faults: &Faults<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields.texts("headers", "an object of header names and values") {
        let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
            faults.add(format!(
                "`headers` has {name:?}, which is no name of a header. Write letters, digits and hyphens."
            ));
            continue;
        };
        if header == CONTENT_LENGTH || header == TRANSFER_ENCODING {
            faults.add(format!("`headers.{name}` is set by deskhand itself. Leave it out."));
            continue;
        }
        // A null takes the default of Content-Type, and is an empty value of any other header.
        let value = match value {
            None if header == CONTENT_TYPE => continue,
            None => HeaderValue::from_static(""),
            Some(text) => match HeaderValue::from_bytes(text.as_bytes()) {
                Ok(value) => value,
                Err(_) => {
                    faults.add(format!(
                        "`headers.{name}` holds a line break or another control character. Write a text without."
                    ));
                    continue;
                }
            },
        };
        headers.append(header, value);
    }
    headers
}

fn client_tls(fields: &Fields<'_, '_>) -> Option<ClientTls> {
    let tls = fields.object("clientTls", "an object with `clientCertificate` and `clientPrivateKey`")?;
    let pem = |name: &str| {
        tls.text(name, "a PEM text")
            .filter(|text| !text.trim().is_empty())
            .map(Into::into)
    };
    let (certificate, private_key, trusted) = (
        pem("clientCertificate"),
        pem("clientPrivateKey"),
        pem("trustedCertificate"),
    );
    if tls
        .text("privateKeyPassword", "nothing")
        .is_some_and(|text| !text.is_empty())
    {
        tls.fault(
            "privateKeyPassword",
            "nothing here and a decrypted key in `clientPrivateKey`, from a secret: deskhand does not decrypt keys",
        );
    }
    let complete = certificate.is_some() == private_key.is_some();
    if !complete {
        let (missing, other) = match certificate {
            Some(_) => ("clientPrivateKey", "the key of `clientCertificate`, PEM"),
            None => ("clientCertificate", "the certificate of `clientPrivateKey`, PEM"),
        };
        tls.fault(missing, other);
    }
    let any = certificate.is_some() || private_key.is_some() || trusted.is_some();
    any.then_some(ClientTls {
        certificate,
        private_key,
        trusted,
    })
}

fn return_format(fields: &Fields<'_, '_>) -> Option<ReturnFormat> {
    const CHOICES: &str = "`JSON` or `TEXT` (deskhand has no document store for `DOCUMENT`)";
    const CHARSETS: &str = "`UTF-8`, `UTF-16`, `ISO-8859-1` or `US-ASCII`";
    if fields.flag("storeResponse") {
        fields.fault(
            "storeResponse",
            "false: deskhand has no document store to put the response into",
        );
    }
    if fields.value("documentReturnFormat").is_none() {
        return Some(ReturnFormat::Guessed);
    }
    let format = fields.object("documentReturnFormat", "an object with `choice`")?;
    let charset = match format.text("encoding", CHARSETS) {
        None => Some(Charset::Utf8),
        Some(name) if name.trim().is_empty() => Some(Charset::Utf8),
        Some(name) => {
            let charset = Charset::named(name.trim());
            if charset.is_none() {
                format.fault("encoding", CHARSETS);
            }
            charset
        }
    };
    match format
        .text("choice", CHOICES)
        .unwrap_or_default()
        .to_ascii_uppercase()
        .as_str()
    {
        "JSON" => Some(ReturnFormat::Json),
        "TEXT" => Some(ReturnFormat::Text(charset?)),
        _ => {
            format.fault("choice", CHOICES);
            None
        }
    }
}
