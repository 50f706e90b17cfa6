//! Access tokens: claims go in, a text that looks like a JWT comes out, and the other way round.
//!
//! The header says `alg: none`, so nobody can mistake the token for a real one. The third part is a keyed checksum
//! with which the simulator recognises its own tokens without remembering them. It is no cryptography.

use std::hash::{DefaultHasher, Hash, Hasher};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde::{Deserialize, Serialize};

use crate::sandbox::power_automate::ids::Guid;

/// The claims that the simulator writes and reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox::power_automate) struct Claims {
    pub(in crate::sandbox::power_automate) aud: String,
    pub(in crate::sandbox::power_automate) iss: String,
    pub(in crate::sandbox::power_automate) iat: i64,
    pub(in crate::sandbox::power_automate) nbf: i64,
    pub(in crate::sandbox::power_automate) exp: i64,
    pub(in crate::sandbox::power_automate) tid: Guid,
    pub(in crate::sandbox::power_automate) appid: Guid,
    pub(in crate::sandbox::power_automate) oid: Guid,
    pub(in crate::sandbox::power_automate) sub: Guid,
    /// `app` for an application's own token, `user` for a person's.
    pub(in crate::sandbox::power_automate) idtyp: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::sandbox::power_automate) scp: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::sandbox::power_automate) upn: Option<String>,
    pub(in crate::sandbox::power_automate) uti: Guid,
    pub(in crate::sandbox::power_automate) ver: String,
}

/// Writes a token.
pub(in crate::sandbox::power_automate) fn issued(claims: &Claims, key: u64) -> String {
    let header = BASE64URL.encode(br#"{"typ":"JWT","alg":"none"}"#);
    let claims = BASE64URL.encode(serde_json::to_vec(claims).unwrap_or_default());
    let signed = format!("{header}.{claims}");
    let checksum = checksum(&signed, key);
    format!("{signed}.{checksum}")
}

/// The claims of a token that this simulator issued; anything else is `None`.
pub(in crate::sandbox::power_automate) fn recognised(token: &str, key: u64) -> Option<Claims> {
    let (signed, given) = token.rsplit_once('.')?;
    if given != checksum(signed, key) {
        return None;
    }
    let (_, claims) = signed.split_once('.')?;
    serde_json::from_slice(&BASE64URL.decode(claims).ok()?).ok()
}

fn checksum(signed: &str, key: u64) -> String {
    let mut bytes = Vec::with_capacity(32);
    for round in 0..4_u64 {
        let mut hasher = DefaultHasher::new();
        (key, round, signed).hash(&mut hasher);
        bytes.extend(hasher.finish().to_be_bytes());
    }
    BASE64URL.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unchanged_token_of_the_same_simulator_is_recognised() {
        let id = Guid::from_bits(3);
        let claims = Claims {
            aud: "http://here/org".to_owned(),
            iss: "i".to_owned(),
            iat: 1,
            nbf: 1,
            exp: 2,
            tid: id,
            appid: id,
            oid: id,
            sub: id,
            idtyp: "app".to_owned(),
            scp: None,
            upn: None,
            uti: id,
            ver: "1.0".to_owned(),
        };
        let token = issued(&claims, 7);
        assert_eq!(token.split('.').count(), 3);
        assert_eq!(recognised(&token, 7), Some(claims));
        assert_eq!(recognised(&token, 8), None);
        assert_eq!(recognised(&token.replacen("eyJ", "eyK", 2), 7), None);
        assert_eq!(recognised("static-token", 7), None);
    }
}
