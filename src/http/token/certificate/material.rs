//! What a client signs with: the texts or bytes of certificate and key go in, in whatever way they are kept (PEM, PFX, PFX
//! as base64), a key and its certificates come out.

use aws_lc_rs::signature::{KeyPair as _, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;
use zeroize::Zeroizing;

use super::pfx::{self, Fault};
use super::x509::{Block, blocks};

/// A key and its certificates, DER.
pub(super) struct Material {
    pub(super) key: RsaKeyPair,
    /// The key's own certificate comes first.
    pub(super) certificates: Vec<Vec<u8>>,
}

/// Bytes, and what they are called in messages.
#[derive(Clone, Copy)]
pub(super) struct Named<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) name: &'a str,
}

/// What opens a file, and the field that it is given in.
#[derive(Clone, Copy)]
pub(super) struct Password<'a> {
    pub(super) text: &'a str,
    pub(super) field: &'a str,
}

/// Everything that stands in one file.
#[derive(Default)]
struct Found {
    certificates: Vec<Vec<u8>>,
    keys: Vec<Result<RsaKeyPair, String>>,
}

/// Reads a certificate, and its key from the same place or from another.
pub(super) fn read(certificate: Named<'_>, key: Option<Named<'_>>, password: Password<'_>) -> Result<Material, String> {
    let name = certificate.name;
    let Found { certificates, keys } = find(certificate, password)?;
    if certificates.is_empty() {
        return Err(format!(
            "{name} holds no certificate: it must be a PFX file, or PEM with its `-----BEGIN CERTIFICATE-----` line."
        ));
    }
    let (keys, place) = match key {
        Some(key) => (find(key, password)?.keys, key.name),
        None => (keys, name),
    };
    let mut problem = format!("{place} holds no private key (in PEM: `-----BEGIN PRIVATE KEY-----`).");
    for key in keys {
        match key {
            Err(error) => problem = error,
            Ok(key) => match own_first(&key, &certificates) {
                Some(certificates) => return Ok(Material { key, certificates }),
                None => problem = format!("The private key in {place} is not that of a certificate in {name}."),
            },
        }
    }
    Err(problem)
}

/// The certificates with the key's own before the others; a certificate is the key's if it holds its public half.
fn own_first(key: &RsaKeyPair, certificates: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
    let public = key.public_key();
    let own = certificates
        .iter()
        .position(|certificate| memmem::find(certificate, public.as_ref()).is_some())?;
    let mut certificates = certificates.to_vec();
    certificates[..=own].rotate_right(1);
    Some(certificates)
}

fn find(place: Named<'_>, password: Password<'_>) -> Result<Found, String> {
    if pfx::looks_like_one(place.bytes) {
        return find_in_pfx(place.bytes, place.name, password);
    }
    let text = std::str::from_utf8(place.bytes).unwrap_or_default();
    if text.contains("-----BEGIN ") {
        return find_in_pem(&blocks(text), place.name, password);
    }
    // Stores of secrets keep PFX files as base64.
    let packed: Zeroizing<String> = Zeroizing::new(text.chars().filter(|c| !c.is_ascii_whitespace()).collect());
    match STANDARD.decode(packed.as_bytes()).map(Zeroizing::new) {
        Ok(bytes) if pfx::looks_like_one(&bytes) => find_in_pfx(&bytes, place.name, password),
        _ => Ok(Found::default()),
    }
}

fn find_in_pfx(bytes: &[u8], name: &str, password: Password<'_>) -> Result<Found, String> {
    let contents = pfx::read(bytes, password.text).map_err(|fault| explain(fault, name, password))?;
    let keys = contents.keys.iter();
    Ok(Found {
        keys: keys
            .map(|der| RsaKeyPair::from_pkcs8(der).map_err(|_| no_rsa(name)))
            .collect(),
        certificates: contents.certificates,
    })
}

fn find_in_pem(blocks: &[Block], name: &str, password: Password<'_>) -> Result<Found, String> {
    let mut found = Found::default();
    for block in blocks {
        let key = match block.label.as_str() {
            "CERTIFICATE" => {
                found.certificates.push(block.der.to_vec());
                continue;
            }
            "PRIVATE KEY" => RsaKeyPair::from_pkcs8(&block.der),
            "RSA PRIVATE KEY" => RsaKeyPair::from_der(&block.der),
            "ENCRYPTED PRIVATE KEY" => {
                let der =
                    pfx::private_key(&block.der, password.text).map_err(|fault| explain(fault, name, password))?;
                RsaKeyPair::from_pkcs8(&der)
            }
            _ => continue,
        };
        found.keys.push(key.map_err(|_| no_rsa(name)));
    }
    Ok(found)
}

fn no_rsa(name: &str) -> String {
    format!("The private key in {name} is no RSA key of 2048 bits or more.")
}

fn explain(fault: Fault, name: &str, Password { text, field }: Password<'_>) -> String {
    match fault {
        Fault::Password if text.is_empty() => format!("{name} is encrypted, and no password is given (`{field}`)."),
        Fault::Password => {
            format!("{name} cannot be opened: the password (`{field}`) is wrong, or the file is damaged.")
        }
        Fault::Format => format!(
            "{name} is no PFX file that can be read. `openssl pkcs12 -in x.pfx -out x.pem -nodes` makes PEM of it, if it is one."
        ),
        Fault::Algorithm => format!(
            "{name} is encrypted in a way that is not known here: AES, triple DES and RC2 are, under a password. \
             `openssl pkcs12 -in x.pfx -out x.pem -nodes` makes PEM of it."
        ),
    }
}
