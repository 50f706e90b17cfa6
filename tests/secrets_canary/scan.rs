//! The search for canaries, written apart from the redaction that it tests.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use percent::encoded;

/// A value that must not be seen, by the name of its secret.
#[derive(Clone)]
pub struct Canary {
    pub name: String,
    pub value: String,
}

/// What is looked for, and what it is.
pub struct Scan(Vec<(String, Vec<u8>)>);

impl Scan {
    pub fn for_all(canaries: &[Canary]) -> Self {
        let mut wanted = Vec::new();
        for canary in canaries {
            for (encoding, text) in forms(&canary.value) {
                wanted.push((format!("{} ({encoding})", canary.name), text.into_bytes()));
            }
        }
        Self(wanted)
    }

    /// What is found in these bytes, each with what stands before it.
    pub fn hits(&self, place: &str, bytes: &[u8]) -> Vec<String> {
        self.0
            .iter()
            .filter_map(|(what, wanted)| {
                let at = memchr::memmem::find(bytes, wanted)?;
                let before = String::from_utf8_lossy(&bytes[at.saturating_sub(150)..at]).into_owned();
                Some(format!("{what} in {place}, after: {before}"))
            })
            .collect()
    }
}

fn forms(value: &str) -> Vec<(&'static str, String)> {
    let json = |text: &str| {
        let quoted = serde_json::to_string(text).unwrap();
        quoted[1..quoted.len() - 1].to_owned()
    };
    let form: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
    let mut forms = vec![
        ("plain", value.to_owned()),
        ("JSON", json(value)),
        ("JSON in JSON", json(&json(value))),
        ("Debug", format!("{value:?}").trim_matches('"').to_owned()),
        ("form", form),
        ("percent", encoded(value, "-._~")),
        ("percent, component", encoded(value, "-._~!'()*")),
        ("percent, lower case", encoded(value, "-._~").to_lowercase()),
    ];
    // Whatever stands before and after the value in what is encoded, these characters are its own.
    for before in 0..3 {
        let mut bytes = vec![b'#'; before];
        bytes.extend_from_slice(value.as_bytes());
        let own = &bytes[(3 - before) % 3 + before..];
        let own = &own[..own.len() / 3 * 3];
        forms.push(("base64", STANDARD.encode(own)));
        forms.push(("base64url", URL_SAFE.encode(own)));
    }
    forms
}

mod percent {
    pub fn encoded(value: &str, kept: &str) -> String {
        value
            .bytes()
            .map(|byte| match char::from(byte) {
                c if c.is_ascii_alphanumeric() || kept.contains(c) => c.to_string(),
                _ => format!("%{byte:02X}"),
            })
            .collect()
    }
}

#[test]
fn the_scan_finds_what_it_looks_for_in_every_encoding() {
    let value = "s3cret +/&\"\\ü-value";
    let scan = Scan::for_all(&[Canary {
        name: "A".into(),
        value: value.into(),
    }]);
    let mut url = url::Url::parse("http://x/").unwrap();
    url.query_pairs_mut().append_pair("q", value);
    let mut texts = vec![
        value.to_owned(),
        serde_json::json!({ "a": value }).to_string(),
        serde_json::json!({ "a": serde_json::json!(value).to_string() }).to_string(),
        format!("{:?}", Some(value)),
        url.to_string(),
    ];
    for before in ["", "u", "us", "user:"] {
        texts.push(STANDARD.encode(format!("{before}{value}x")));
        texts.push(URL_SAFE.encode(format!("{before}{value}")));
    }
    for text in texts {
        assert!(!scan.hits("here", text.as_bytes()).is_empty(), "{text}");
    }
    assert!(scan.hits("here", b"s3cret and value").is_empty());
}
