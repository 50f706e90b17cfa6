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

use super::der::{Reader, tag};

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
    let mut certificate = Reader::new(der).inside(tag::SEQUENCE)?;
    let mut fields = certificate.inside(tag::SEQUENCE)?;
    // An explicit version comes first, where there is one.
    fields.take(tag::EXPLICIT_0);
    // Serial number, signature algorithm, issuer.
    for _ in 0..3 {
        fields.any()?;
    }
    let mut validity = fields.inside(tag::SEQUENCE)?;
    let (from_tag, from) = validity.any()?;
    let (until_tag, until) = validity.any()?;
    Some((time(from_tag, from)?, time(until_tag, until)?))
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
