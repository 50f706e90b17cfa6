//! The shapes in which a secret's value travels: what to look for in a text that may hold it.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// The texts that give this value away: itself, JSON-escaped (once, and in a text that is escaped again), as Rust's
/// `Debug` shows it, percent- and form-encoded, and for values that are not
/// short base64 in both alphabets at each alignment (`Basic` credentials hold it in the middle). None twice.
pub(super) fn forms(value: &str, short: bool) -> Vec<String> {
    let escaped = json_escaped(value);
    let debug = format!("{value:?}");
    let mut forms = vec![
        value.to_owned(),
        json_escaped(&escaped),
        escaped,
        debug[1..debug.len() - 1].to_owned(),
    ];
    for kept in [&b"-._~"[..], b"-._~!'()*", b"-._~!$&'()*+,;=:@/", b"*-._", b""] {
        for hex in [b"0123456789ABCDEF", b"0123456789abcdef"] {
            let encoded = percent_encoded(value, kept, hex);
            // A form writes a blank as `+`.
            forms.push(encoded.replace("%20", "+"));
            forms.push(encoded);
        }
    }
    if !short {
        for skipped in 0..3 {
            forms.extend(base64_inside(value, skipped));
        }
    }
    forms.sort_unstable();
    forms.dedup();
    forms
}

fn json_escaped(value: &str) -> String {
    let quoted = serde_json::Value::from(value).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

fn percent_encoded(value: &str, kept: &[u8], hex: &[u8; 16]) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || kept.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push(char::from(hex[usize::from(byte >> 4)]));
            encoded.push(char::from(hex[usize::from(byte & 15)]));
        }
    }
    encoded
}

/// The characters of a base64 text that the value alone decides, where `before` bytes (modulo 3) stand before it.
fn base64_inside(value: &str, before: usize) -> [String; 2] {
    let mut bytes = vec![0; before];
    bytes.extend_from_slice(value.as_bytes());
    // Characters that share bits with what stands before, and the last one if it shares bits with what comes after.
    let first = [0, 2, 3][before];
    let whole = bytes.len() * 8 / 6;
    let inside = |text: String| text[first..whole].to_owned();
    [
        inside(STANDARD_NO_PAD.encode(&bytes)),
        inside(URL_SAFE_NO_PAD.encode(&bytes)),
    ]
}
