//! PFX files (PKCS#12, RFC 7292): bytes and a password go in, the key and the certificates come out.
//!
//! Only DER is read, which OpenSSL, Windows, Azure Key Vault and Java write.

use aws_lc_rs::{digest, hmac};
use zeroize::Zeroizing;

use super::der::{Reader, tag};
use super::sealed::{Closed, Purpose, open, pkcs12_key};

// Object ids (RFC 7292, RFC 2315, RFC 2985), their content.
const DATA: &[u8] = b"\x2A\x86\x48\x86\xF7\x0D\x01\x07\x01";
const ENCRYPTED_DATA: &[u8] = b"\x2A\x86\x48\x86\xF7\x0D\x01\x07\x06";
const KEY_BAG: &[u8] = b"\x2A\x86\x48\x86\xF7\x0D\x01\x0C\x0A\x01\x01";
const SEALED_KEY_BAG: &[u8] = b"\x2A\x86\x48\x86\xF7\x0D\x01\x0C\x0A\x01\x02";
const CERTIFICATE_BAG: &[u8] = b"\x2A\x86\x48\x86\xF7\x0D\x01\x0C\x0A\x01\x03";
const X509: &[u8] = b"\x2A\x86\x48\x86\xF7\x0D\x01\x09\x16\x01";
const SHA_1: &[u8] = b"\x2B\x0E\x03\x02\x1A";
const SHA_256: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x01";
const SHA_384: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x02";
const SHA_512: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x03";

/// The rounds of a file's checksum; more would only keep the process busy.
const MOST_ROUNDS: u32 = 5_000_000;

/// Why a file was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not PKCS#12, or not in DER.
    Format,
    /// The password is wrong, or the file is damaged.
    Password,
    /// It uses an algorithm that is not known here.
    Algorithm,
}

impl From<Closed> for Fault {
    fn from(closed: Closed) -> Self {
        match closed {
            Closed::Password => Fault::Password,
            Closed::Unknown => Fault::Algorithm,
        }
    }
}

/// What a file holds, in its order.
#[derive(Default)]
pub(super) struct Contents {
    /// Private keys, PKCS#8.
    pub(super) keys: Vec<Zeroizing<Vec<u8>>>,
    /// Certificates.
    pub(super) certificates: Vec<Vec<u8>>,
}

/// Could these bytes be a PFX file?
pub(super) fn looks_like_one(bytes: &[u8]) -> bool {
    bytes.first() == Some(&tag::SEQUENCE)
}

/// Opens a file.
pub(super) fn read(bytes: &[u8], password: &str) -> Result<Contents, Fault> {
    let mut file = Reader::new(bytes).inside(tag::SEQUENCE).ok_or(Fault::Format)?;
    if file.number() != Some(3) {
        return Err(Fault::Format);
    }
    let (kind, content) = content_info(&mut file).ok_or(Fault::Format)?;
    if kind != DATA {
        // Signed by a public key instead of a password: nobody makes these.
        return Err(Fault::Algorithm);
    }
    let safes = plain(content).ok_or(Fault::Format)?;
    if let Some(checksum) = file.inside(tag::SEQUENCE) {
        check(checksum, safes, password)?;
    }
    let mut contents = Contents::default();
    let mut safes = Reader::new(safes).inside(tag::SEQUENCE).ok_or(Fault::Format)?;
    while let Some((kind, content)) = content_info(&mut safes) {
        match kind {
            DATA => contents.take_bags(plain(content).ok_or(Fault::Format)?, password)?,
            ENCRYPTED_DATA => contents.take_bags(&decrypted(content, password)?, password)?,
            _ => return Err(Fault::Algorithm),
        }
    }
    Ok(contents)
}

/// A private key that is sealed by itself (PKCS#8, `EncryptedPrivateKeyInfo`).
pub(super) fn private_key(bytes: &[u8], password: &str) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let mut sealed = Reader::new(bytes).inside(tag::SEQUENCE).ok_or(Fault::Format)?;
    let algorithm = sealed.algorithm().ok_or(Fault::Format)?;
    let text = sealed.take(tag::OCTET_STRING).ok_or(Fault::Format)?;
    Ok(open(algorithm, text, password)?)
}

fn content_info<'a>(reader: &mut Reader<'a>) -> Option<(&'a [u8], Reader<'a>)> {
    let mut info = reader.inside(tag::SEQUENCE)?;
    Some((info.take(tag::OBJECT_ID)?, info.inside(tag::EXPLICIT_0)?))
}

fn plain(mut content: Reader<'_>) -> Option<&[u8]> {
    content.take(tag::OCTET_STRING)
}

fn decrypted(mut content: Reader<'_>, password: &str) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let mut data = content.inside(tag::SEQUENCE).ok_or(Fault::Format)?;
    data.number().ok_or(Fault::Format)?;
    let mut inner = data.inside(tag::SEQUENCE).ok_or(Fault::Format)?;
    inner.take(tag::OBJECT_ID).ok_or(Fault::Format)?;
    let algorithm = inner.algorithm().ok_or(Fault::Format)?;
    let sealed = inner.take(tag::IMPLICIT_0).ok_or(Fault::Format)?;
    Ok(open(algorithm, sealed, password)?)
}

/// Compares the file's checksum, which only its password can make.
fn check(mut checksum: Reader<'_>, safes: &[u8], password: &str) -> Result<(), Fault> {
    let mut info = checksum.inside(tag::SEQUENCE).ok_or(Fault::Format)?;
    let (hash, _) = info.algorithm().ok_or(Fault::Format)?;
    let expected = info.take(tag::OCTET_STRING).ok_or(Fault::Format)?;
    let salt = checksum.take(tag::OCTET_STRING).ok_or(Fault::Format)?;
    let rounds = checksum.number().unwrap_or(1);
    if !(1..=MOST_ROUNDS).contains(&rounds) {
        return Err(Fault::Algorithm);
    }
    let (hash, keyed) = match hash {
        SHA_1 => (&digest::SHA1_FOR_LEGACY_USE_ONLY, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        SHA_256 => (&digest::SHA256, hmac::HMAC_SHA256),
        SHA_384 => (&digest::SHA384, hmac::HMAC_SHA384),
        SHA_512 => (&digest::SHA512, hmac::HMAC_SHA512),
        _ => return Err(Fault::Algorithm),
    };
    let key = pkcs12_key(hash, Purpose::Checksum, password, salt, rounds, hash.output_len());
    hmac::verify(&hmac::Key::new(keyed, &key), safes, expected).map_err(|_| Fault::Password)
}

impl Contents {
    fn take_bags(&mut self, bags: &[u8], password: &str) -> Result<(), Fault> {
        let mut bags = Reader::new(bags).inside(tag::SEQUENCE).ok_or(Fault::Password)?;
        while let Some(mut bag) = bags.inside(tag::SEQUENCE) {
            let kind = bag.take(tag::OBJECT_ID).ok_or(Fault::Format)?;
            let value = bag.take(tag::EXPLICIT_0).ok_or(Fault::Format)?;
            match kind {
                KEY_BAG => self.keys.push(Zeroizing::new(value.to_vec())),
                SEALED_KEY_BAG => self.keys.push(private_key(value, password)?),
                CERTIFICATE_BAG => {
                    let mut bag = Reader::new(value).inside(tag::SEQUENCE).ok_or(Fault::Format)?;
                    let is_x509 = bag.take(tag::OBJECT_ID) == Some(X509);
                    let certificate = bag
                        .inside(tag::EXPLICIT_0)
                        .and_then(|mut value| value.take(tag::OCTET_STRING));
                    self.certificates
                        .extend(certificate.filter(|_| is_x509).map(<[u8]>::to_vec));
                }
                // Revocation lists, secrets, bags in bags: nothing that signs.
                _ => {}
            }
        }
        Ok(())
    }
}
