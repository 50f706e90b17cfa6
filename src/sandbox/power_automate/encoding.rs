//! `application/x-www-form-urlencoded` and percent-encoding, for queries, paths and form bodies.

/// The text is not percent-encoded UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a percent sign is not followed by two hexadecimal digits, or the decoded bytes are not UTF-8")]
pub(super) struct BadEncoding;

/// Name and value pairs of a query or a form, in their order.
pub(super) fn pairs(text: &str) -> Result<Vec<(String, String)>, BadEncoding> {
    text.split('&')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            Ok((decoded(name, true)?, decoded(value, true)?))
        })
        .collect()
}

/// Percent-decoded text; in forms and queries a plus sign is a space.
pub(super) fn decoded(text: &str, plus_is_space: bool) -> Result<String, BadEncoding> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let high = rest.next().and_then(hexadecimal).ok_or(BadEncoding)?;
                let low = rest.next().and_then(hexadecimal).ok_or(BadEncoding)?;
                high << 4 | low
            }
            b'+' if plus_is_space => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| BadEncoding)
}

/// Percent-encodes everything but letters, digits and `-._~`.
pub(super) fn encoded(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn hexadecimal(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded_and_keep_their_order() {
        let read = pairs("b=1+2&a=%C3%A4%26&empty=&flag").unwrap();
        let expected = [("b", "1 2"), ("a", "ä&"), ("empty", ""), ("flag", "")];
        assert_eq!(read, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn broken_escapes_are_refused() {
        for text in ["%", "%4", "%zz", "%ff"] {
            assert_eq!(decoded(text, false), Err(BadEncoding), "{text}");
        }
    }

    #[test]
    fn what_is_encoded_decodes_to_itself() {
        let text = "<cookie pagenumber=\"2\" a='ä+b' />";
        assert_eq!(decoded(&encoded(text), true).unwrap(), text);
    }
}
