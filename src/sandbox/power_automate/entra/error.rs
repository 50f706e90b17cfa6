//! The token endpoint's errors: an AADSTS number goes in, Entra's error body comes out.

use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::json;

use crate::sandbox::power_automate::answer::{Answer, json_body};
use crate::sandbox::power_automate::ids::Ids;

/// What the endpoint refuses, by number, with the text that belongs to this request.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) number: u32,
    pub(super) text: String,
}

impl Refusal {
    pub(super) fn new(number: u32, text: impl Into<String>) -> Self {
        Self {
            number,
            text: text.into(),
        }
    }

    /// The refusal that a fault asks for: the text is the table's.
    pub(super) fn of(number: u32) -> Self {
        Self {
            number,
            text: row(number).2.to_owned(),
        }
    }

    /// The answer, in Entra's shape.
    pub(super) fn answer(&self, now: Timestamp, ids: &mut Ids) -> Answer {
        let Self { number, text } = self;
        let (status, error, _) = row(*number);
        let (trace, correlation) = (ids.guid(), ids.guid());
        let timestamp = now.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
        let body = json!({
            "error": error,
            "error_description": format!(
                "AADSTS{number}: {text}\r\nTrace ID: {trace}\r\nCorrelation ID: {correlation}\r\nTimestamp: {timestamp}"
            ),
            "error_codes": [number],
            "timestamp": timestamp,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": format!("https://login.microsoftonline.com/error?code={number}"),
        });
        json_body(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST), &body)
    }
}

/// Status, `error` and a text for an AADSTS number. Clients react to `error`; the numbers may change.
fn row(number: u32) -> (u16, &'static str, &'static str) {
    match number {
        7_000_215 | 70_002 => (401, "invalid_client", "Invalid client secret provided."),
        7_000_222 => (401, "invalid_client", "The provided client secret keys are expired."),
        7_000_218 => (
            401,
            "invalid_client",
            "The request must contain 'client_assertion' or 'client_secret'.",
        ),
        700_025 => (
            401,
            "invalid_client",
            "Client is public so a client secret should not be presented.",
        ),
        700_027 | 50_012 | 50_013 | 700_030 | 500_133 => (401, "invalid_client", "The client assertion is not valid."),
        700_016 | 700_011 => (
            400,
            "unauthorized_client",
            "The application was not found in the directory.",
        ),
        7_000_112 | 70_001 => (401, "unauthorized_client", "The application is disabled."),
        90_002 => (400, "invalid_request", "The tenant was not found."),
        900_144 | 90_014 => (400, "invalid_request", "A required parameter is missing."),
        9_002_313 | 90_023 => (
            400,
            "invalid_request",
            "Invalid request. Request is malformed or invalid.",
        ),
        9_001_023 => (
            400,
            "invalid_request",
            "The grant type is not supported over this endpoint.",
        ),
        70_003 => (
            400,
            "unsupported_grant_type",
            "The app requested an unsupported grant type.",
        ),
        70_011 | 28_002 | 28_003 => (400, "invalid_scope", "The provided value for 'scope' is not valid."),
        700_022 => (
            400,
            "invalid_scope",
            "The provided scope contains more than one resource.",
        ),
        500_011 | 50_001 | 650_057 => (400, "invalid_resource", "The resource was not found in the tenant."),
        65_001 | 90_094 => (400, "invalid_grant", "The user or administrator has not consented."),
        50_126 | 50_034 | 50_055 | 50_056 | 50_057 => (400, "invalid_grant", "Invalid username or password."),
        50_053 => (400, "invalid_grant", "The account is locked."),
        50_076 | 50_079 | 50_074 | 50_072 | 50_158 => (
            400,
            "interaction_required",
            "You must use multi-factor authentication to access the resource.",
        ),
        53_000..=53_003 | 530_032 | 530_035 => (
            400,
            "interaction_required",
            "Access has been blocked by Conditional Access policies.",
        ),
        70_000 | 70_008 | 700_082 | 700_084 | 70_043 | 50_173 => (
            400,
            "invalid_grant",
            "The refresh token is invalid, revoked or expired.",
        ),
        50_196 => (
            400,
            "invalid_grant",
            "The server terminated an operation because it met a client request loop.",
        ),
        700_213 | 70_021 => (400, "invalid_client", "No matching federated identity record found."),
        90_055 => (
            429,
            "temporarily_unavailable",
            "The tenant is throttled: too many requests.",
        ),
        50_033 | 50_087 | 90_006 | 90_012 | 90_024 | 90_033 | 90_090 | 40_010 | 70_012 | 80_002 | 80_005 | 80_014 => (
            503,
            "temporarily_unavailable",
            "A transient error has occurred. Please try again.",
        ),
        _ => (400, "invalid_request", "The request is refused."),
    }
}
