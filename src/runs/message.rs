//! A run whose end a process waits for by a message: the mark that its callback URL carries beside the token.
//!
//! In goes what the message shall be; out comes a short text that a URL can carry, and from the URL of an ended run the
//! same again. So Dataverse itself keeps what is still to be published, and any replica can publish it.
//!
//! `m1.NAME.SECONDS.TENANT.SEAL`: name and tenant as base64, how long the message lives, and a keyed hash over these and the
//! token, so that nobody who may start runs can have other messages published.

use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::token::{Token, Tokens};

/// The parameter of the callback URL.
pub const PARAMETER: &str = "deskhandMessage";
/// The format that this version writes, and the only one that it reads.
const VERSION: &str = "m1";

/// What the message about a run's end shall be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mark {
    /// The message's name.
    pub name: String,
    /// How long it lives, whole seconds.
    pub time_to_live: Duration,
    /// The tenant of the process.
    pub tenant_id: String,
}

/// What a URL says about a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    None,
    /// This message is wanted.
    Wanted(Mark),
    /// A mark of another version, damaged, or with another's seal.
    Strange,
}

impl Mark {
    /// As it travels beside this token.
    pub fn sealed(&self, tokens: &Tokens, token: &Token) -> String {
        let name = URL_SAFE_NO_PAD.encode(&self.name);
        let tenant = URL_SAFE_NO_PAD.encode(&self.tenant_id);
        let body = format!("{VERSION}.{name}.{}.{tenant}", self.time_to_live.as_secs());
        let seal = tokens.seal(token, &body);
        format!("{body}.{seal}")
    }

    /// The mark beside this token in a callback URL.
    pub fn find(url: &str, tokens: &Tokens, token: &Token) -> Found {
        let parameters = url
            .split('#')
            .next()
            .unwrap_or_default()
            .split(['?', '&'])
            .skip(1)
            .filter_map(|parameter| parameter.strip_prefix(PARAMETER)?.strip_prefix('='));
        // Ours stands last; what the task's own URL holds does not count.
        match parameters.last() {
            None => Found::None,
            Some(text) => Self::read(text, tokens, token).map_or(Found::Strange, Found::Wanted),
        }
    }

    fn read(text: &str, tokens: &Tokens, token: &Token) -> Option<Self> {
        let (body, seal) = text.rsplit_once('.')?;
        let right = tokens.seal(token, body);
        verify_slices_are_equal(right.as_bytes(), seal.as_bytes()).ok()?;
        let mut parts = body.split('.');
        if parts.next()? != VERSION {
            return None;
        }
        let text = |part: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(part).ok()?).ok();
        let name = text(parts.next()?)?;
        let time_to_live = Duration::from_secs(parts.next()?.parse().ok()?);
        let tenant_id = text(parts.next()?)?;
        parts.next().is_none().then_some(Self {
            name,
            time_to_live,
            tenant_id,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::token::Subject;

    const SUBJECT: Subject = Subject {
        process_instance: 1,
        element_instance: 2,
        attempt: 1,
    };

    fn mark() -> Mark {
        Mark {
            name: "Invoice.booked & done".into(),
            time_to_live: Duration::from_secs(3600),
            tenant_id: "<default>".into(),
        }
    }

    #[test]
    fn a_mark_is_found_again_beside_its_token_wherever_that_stands() {
        let tokens = Tokens::new("n", None);
        let token = tokens.fresh(SUBJECT).unwrap();
        let text = mark().sealed(&tokens, &token);
        for url in [
            format!("https://h/p?sig=1&deskhandToken={token}&{PARAMETER}={text}"),
            format!("https://h/{token}?{PARAMETER}={text}"),
            format!("https://h/{token}?{PARAMETER}=mine&{PARAMETER}={text}#top"),
        ] {
            assert_eq!(Mark::find(&url, &tokens, &token), Found::Wanted(mark()), "{url}");
        }
        assert_eq!(Mark::find(&format!("https://h/{token}"), &tokens, &token), Found::None);
    }

    #[test]
    fn a_mark_that_was_changed_moved_or_made_by_others_wants_nothing() {
        let tokens = Tokens::new("n", Some(b"a key of operations' own"));
        let token = tokens.fresh(SUBJECT).unwrap();
        let text = mark().sealed(&tokens, &token);
        let find =
            |text: &str, token: &Token| Mark::find(&format!("https://h/{token}?{PARAMETER}={text}"), &tokens, token);
        assert_eq!(find(&text, &token), Found::Wanted(mark()));
        // The same start's other POST has another token.
        assert_eq!(find(&text, &tokens.fresh(SUBJECT).unwrap()), Found::Strange);
        let forged = mark().sealed(&Tokens::new("n", None), &token);
        for text in [
            text.replace(".3600.", ".3601."),
            text.replace("m1.", "m2."),
            forged,
            String::new(),
            "m1".into(),
        ] {
            assert_eq!(find(&text, &token), Found::Strange, "{text}");
        }
    }
}
