//! Claims challenges (OpenID Connect, continuous access evaluation): the 401 of an API goes in, the claims come out that the
//! next token must be asked for with.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use reqwest::header::WWW_AUTHENTICATE;
use serde_json::{Map, Value, json};

use super::super::Answer;

/// Claims are not longer, bytes in base64; a server must not make us send more.
const LONGEST: usize = 16 * 1024;

/// The claims that this answer asks for, as JSON; with them the capability `cp1`, which says that we understand such
/// challenges. `None`: the answer is no challenge, or one that cannot be read.
pub(super) fn claims(answer: &Answer) -> Option<String> {
    if answer.status != 401 {
        return None;
    }
    let challenges = answer.headers.get_all(WWW_AUTHENTICATE).iter();
    challenges
        .filter_map(|value| value.to_str().ok())
        .find_map(requested)
        .map(|claims| Value::Object(claims).to_string())
}

fn requested(challenge: &str) -> Option<Map<String, Value>> {
    if parameter(challenge, "error")? != "insufficient_claims" {
        return None;
    }
    let encoded = parameter(challenge, "claims").filter(|text| text.len() <= LONGEST)?;
    let Value::Object(mut claims) = serde_json::from_slice(&decoded(encoded)?).ok()? else {
        return None;
    };
    let wanted = claims.entry("access_token").or_insert_with(|| json!({}));
    wanted
        .as_object_mut()?
        .insert("xms_cc".into(), json!({"values": ["cp1"]}));
    Some(claims)
}

/// The quoted value of a parameter. Names are compared without case; a name inside a value is none.
fn parameter<'a>(challenge: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = challenge;
    while let Some((before, after)) = rest.split_once("=\"") {
        let (value, next) = after.split_once('"')?;
        let found = before.rsplit([' ', ',']).next()?;
        if found.eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = next;
    }
    None
}

/// Base64 as servers write it: either alphabet, padded or not.
fn decoded(text: &str) -> Option<Vec<u8>> {
    const EITHER: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet = match text.contains(['-', '_']) {
        true => base64::alphabet::URL_SAFE,
        false => base64::alphabet::STANDARD,
    };
    GeneralPurpose::new(&alphabet, EITHER).decode(text).ok()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose;
    use reqwest::header::{HeaderMap, HeaderValue};

    use super::*;

    fn asked(status: u16, challenge: &str) -> Option<Value> {
        let mut headers = HeaderMap::new();
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Negotiate"));
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(challenge).unwrap());
        let answer = Answer {
            status,
            reason: String::new(),
            headers,
            body: Vec::new(),
        };
        claims(&answer).map(|text| serde_json::from_str(&text).unwrap())
    }

    fn challenge(claims: &str) -> String {
        format!(
            "Bearer realm=\"\", authorization_uri=\"https://login.microsoftonline.com/common/oauth2/authorize\", \
             error=\"insufficient_claims\", claims=\"{claims}\""
        )
    }

    #[test]
    fn a_challenge_is_read_and_our_capability_put_in() {
        let json = r#"{"access_token":{"nbf":{"essential":true,"value":"1604106651"}}}"#;
        let expected = json!({"access_token": {
            "nbf": {"essential": true, "value": "1604106651"}, "xms_cc": {"values": ["cp1"]},
        }});
        let padded = general_purpose::STANDARD.encode(json);
        for encoded in [
            padded.trim_end_matches('='),
            &padded,
            &general_purpose::URL_SAFE_NO_PAD.encode(json),
        ] {
            assert_eq!(asked(401, &challenge(encoded)), Some(expected.clone()), "{encoded}");
        }
        assert_eq!(asked(403, &challenge(&padded)), None);
    }

    #[test]
    fn what_is_no_challenge_or_nonsense_asks_for_nothing() {
        let list = general_purpose::STANDARD.encode("[1]");
        let text = general_purpose::STANDARD.encode(r#"{"access_token":"x"}"#);
        let long = general_purpose::STANDARD.encode(format!(r#"{{"a":"{}"}}"#, "x".repeat(LONGEST)));
        for nonsense in ["", "***", "e30", &list, &text, &long] {
            let asked = asked(401, &challenge(nonsense));
            assert!(asked.is_none() || nonsense == "e30", "{nonsense}: {asked:?}");
        }
        for other in [
            "Bearer",
            "Bearer error=\"invalid_token\", claims=\"e30=\"",
            "Bearer error=\"insufficient_claims\"",
            "Bearer x=\"error=\", claims=\"e30=",
        ] {
            assert_eq!(asked(401, other), None, "{other}");
        }
    }
}
