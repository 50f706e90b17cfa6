//! How starts of desktop flows are kept from happening twice: the settings of `desktop_flow` that belong together.

use secrecy::ExposeSecret;
use url::{Host, Url};

use super::sources::Sources;
use crate::connector::desktop_flow::once::{LookFirst, Settings};
use crate::engine;
use crate::runs::token::Tokens;

/// Shorter keys can be guessed.
const SHORTEST_KEY: usize = 16;
/// The token is appended to it, and Dataverse stores 2,000 characters.
const LONGEST_URL: usize = 1_500;

pub(super) fn settings(s: &mut Sources<'_>, engine: &engine::Settings) -> Settings {
    let namespace = s
        .optional("desktop_flow.namespace")
        .unwrap_or_else(|| without_scheme(&engine.address).to_owned());
    let key = s.secret("desktop_flow.token_key");
    if key.as_ref().is_some_and(|key| key.expose_secret().len() < SHORTEST_KEY) {
        let place = s.place("desktop_flow.token_key");
        s.fault(
            place,
            format!("has fewer than {SHORTEST_KEY} characters: it can be guessed"),
        );
    }
    Settings {
        tokens: Tokens::new(namespace.trim(), key.as_ref().map(|key| key.expose_secret().as_bytes())),
        callback_url: None,
        token_url: token_url(s),
        append_token: s.switch("desktop_flow.append_token"),
        settle_time: s.optional_duration("desktop_flow.settle_time"),
        visibility: s.duration("desktop_flow.visibility"),
        look_first: match s.choice("desktop_flow.look_first") {
            "always" => LookFirst::Always,
            _ => LookFirst::WhenUncertain,
        },
        ..Settings::default()
    }
}

fn without_scheme(address: &str) -> &str {
    address.split_once("://").map_or(address, |(_, rest)| rest)
}

/// Dataverse calls https and public names alone; what it would refuse is refused here.
fn token_url(s: &mut Sources<'_>) -> Option<String> {
    let text = s.optional("desktop_flow.token_url")?.trim().to_owned();
    let public = |url: &Url| matches!(url.host(), Some(Host::Domain(name)) if name != "localhost");
    let problem = match Url::parse(&text) {
        Err(_) => "is not a URL: write one that begins with https://",
        Ok(url) if url.scheme() != "https" => "must begin with https://: Dataverse calls nothing else",
        Ok(url) if !public(&url) => "must name a public host: Dataverse calls neither localhost nor IP addresses",
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            "holds credentials, which Dataverse would show to everybody who may see runs"
        }
        Ok(_) if text.len() > LONGEST_URL => "is too long: at most 1500 characters",
        Ok(_) => return Some(text),
    };
    let place = s.place("desktop_flow.token_url");
    s.fault(place, format!("`{text}` {problem}"));
    None
}
