//! Certificates and keys in PEM: text goes in, DER comes out, with what a sign-in must know of a certificate: when it ends.
//!
//! Only as much of X.509 is read as that takes (RFC 5280, 4.1): whether a certificate is to be trusted is the business of
//! whoever is shown it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use zeroize::Zeroizing;

/// A PEM block.
pub(super) struct Block {
    pub(super) label: String,
    pub(super) der: Zeroizing<Vec<u8>>,
}

/// The blocks of a PEM text; what stands between them is skipped.
pub(super) fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((_, begun)) = rest.split_once("-----BEGIN ") {
        let Some((label, body)) = begun.split_once("-----") else {
            break;
        };
        let end = format!("-----END {label}-----");
        let Some((body, after)) = body.split_once(&end) else {
            break;
        };
        rest = after;
        let body: Zeroizing<String> = Zeroizing::new(body.chars().filter(|c| !c.is_ascii_whitespace()).collect());
        if let Ok(der) = STANDARD.decode(body.as_bytes()) {
            blocks.push(Block {
                label: label.to_owned(),
                der: Zeroizing::new(der),
            });
        }
    }
    blocks
}

/// When a certificate begins and ends to be valid.
pub(super) fn validity(der: &[u8]) -> Option<(Timestamp, Timestamp)> {
    const SEQUENCE: u8 = 0x30;
    let (_, certificate, _) = element(der).filter(|(tag, ..)| *tag == SEQUENCE)?;
    let (_, mut rest, _) = element(certificate).filter(|(tag, ..)| *tag == SEQUENCE)?;
    // An explicit version comes first, where there is one.
    if rest.first() == Some(&0xA0) {
        rest = element(rest)?.2;
    }
    // Serial number, signature algorithm, issuer.
    for _ in 0..3 {
        rest = element(rest)?.2;
    }
    let (_, validity, _) = element(rest)?;
    let (from_tag, from, after) = element(validity)?;
    let (until_tag, until, _) = element(after)?;
    Some((time(from_tag, from)?, time(until_tag, until)?))
}

/// Tag, content and what follows of the first element (DER).
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7F => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
            let length = digits
                .iter()
                .fold(0_usize, |length, digit| length << 8 | usize::from(*digit));
            (length, rest)
        }
        _ => return None,
    };
    let (content, after) = rest.split_at_checked(length)?;
    Some((tag, content, after))
}

/// `UTCTime` (0x17) has two digits of the year, `GeneralizedTime` (0x18) four.
fn time(tag: u8, text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = text.split_at_checked(if tag == 0x17 { 2 } else { 4 })?;
    let year: i16 = year.parse().ok()?;
    let year = match (tag, year) {
        (0x17, 0..50) => 2000 + year,
        (0x17, _) => 1900 + year,
        _ => year,
    };
    let two = |at: usize| -> Option<i8> { rest.get(at..at + 2)?.parse().ok() };
    let civil = DateTime::new(year, two(0)?, two(2)?, two(4)?, two(6)?, two(8)?, 0).ok()?;
    Offset::UTC.to_timestamp(civil).ok()
}
