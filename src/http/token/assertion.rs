//! What a client shows instead of a secret (RFC 7523): a token endpoint goes in, a signed text comes out, fresh for each
//! question. Made of a certificate's key, or of a token that another identity provider put into a file.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde_json::json;
use url::Url;

use super::x509::{blocks, validity};

/// How long an assertion is valid; Entra takes ten minutes at most.
const VALID: i64 = 300;
/// A clock that is a little fast must not make an assertion of the future.
const EARLIER: i64 = 30;
/// A file of a certificate or a token is not larger.
const LARGEST: u64 = 256 * 1024;
/// From this many days on, the end of a certificate is announced.
const ANNOUNCED: i64 = 30;

/// Makes assertions for one client.
pub trait Assertion: Send + Sync {
    /// An assertion for this endpoint and client.
    ///
    /// # Errors
    /// Says what is wrong and what to do; shows nothing of a key.
    fn make<'a>(&'a self, endpoint: &'a Url, client_id: &'a str) -> BoxFuture<'a, Result<SecretString, String>>;

    /// What tells it from others in the key of a cache.
    fn source(&self) -> String;
}

/// How an assertion is signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PSS with SHA-256: what Entra recommends.
    #[default]
    Ps256,
    /// RSASSA-PKCS1-v1_5 with SHA-256: for older servers.
    Rs256,
}

/// Signs with the key of a certificate; files that changed are read anew.
pub struct Certificate {
    certificate: PathBuf,
    private_key: PathBuf,
    algorithm: Algorithm,
    send_chain: bool,
    loaded: Mutex<Option<Arc<Loaded>>>,
}

struct Loaded {
    seen: [Option<(SystemTime, u64)>; 2],
    key: RsaKeyPair,
    sha256: String,
    sha1: String,
    chain: Vec<String>,
    ends: Timestamp,
}

impl Certificate {
    /// Signs with the key in `private_key` (PEM; the same file as the certificate's, if it holds both). `send_chain` shows
    /// the certificates themselves, for apps that trust a subject name and issuer.
    pub fn new(certificate: PathBuf, private_key: Option<PathBuf>, algorithm: Algorithm, send_chain: bool) -> Self {
        Self {
            private_key: private_key.unwrap_or_else(|| certificate.clone()),
            certificate,
            algorithm,
            send_chain,
            loaded: Mutex::default(),
        }
    }

    /// When the certificate ends.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn ends(&self) -> Result<Timestamp, String> {
        self.load().map(|loaded| loaded.ends)
    }

    fn load(&self) -> Result<Arc<Loaded>, String> {
        let seen = [&self.certificate, &self.private_key].map(|path| {
            let about = fs::metadata(path).ok()?;
            Some((about.modified().ok()?, about.len()))
        });
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = loaded.as_ref().filter(|known| known.seen == seen) {
            return Ok(known.clone());
        }
        let fresh = Arc::new(self.read(seen)?);
        Ok(loaded.insert(fresh).clone())
    }

    fn read(&self, seen: [Option<(SystemTime, u64)>; 2]) -> Result<Loaded, String> {
        let path = self.certificate.display();
        let certificates: Vec<_> = blocks(&text(&self.certificate)?)
            .into_iter()
            .filter(|block| block.label == "CERTIFICATE")
            .collect();
        let Some(first) = certificates.first() else {
            return Err(format!(
                "{path} holds no certificate: it must be PEM, with its `-----BEGIN CERTIFICATE-----` line (a PFX file becomes \
                 one with `openssl pkcs12 -in x.pfx -out x.pem -nodes`)."
            ));
        };
        let (_, ends) = validity(&first.der).ok_or_else(|| format!("The certificate in {path} cannot be read."))?;
        Ok(Loaded {
            seen,
            key: self.key()?,
            sha256: URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &first.der)),
            sha1: URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &first.der)),
            chain: certificates.iter().map(|block| STANDARD.encode(&*block.der)).collect(),
            ends,
        })
    }

    fn key(&self) -> Result<RsaKeyPair, String> {
        let path = self.private_key.display();
        for block in blocks(&text(&self.private_key)?) {
            let key = match block.label.as_str() {
                "PRIVATE KEY" => RsaKeyPair::from_pkcs8(&block.der),
                "RSA PRIVATE KEY" => RsaKeyPair::from_der(&block.der),
                "ENCRYPTED PRIVATE KEY" => {
                    return Err(format!(
                        "The private key in {path} is encrypted: store it decrypted (`openssl pkey -in x.pem`), readable for \
                         this process alone."
                    ));
                }
                _ => continue,
            };
            return key.map_err(|_| format!("The private key in {path} is no RSA key of 2048 bits or more."));
        }
        Err(format!(
            "{path} holds no private key in PEM (`-----BEGIN PRIVATE KEY-----`)."
        ))
    }

    fn sign(&self, endpoint: &Url, client_id: &str) -> Result<SecretString, String> {
        let loaded = self.load()?;
        let now = Timestamp::now();
        let path = self.certificate.display();
        if loaded.ends <= now {
            return Err(format!(
                "The certificate in {path} ended at {}: register a new one with the app and put it there.",
                loaded.ends
            ));
        }
        let left = loaded.ends.duration_since(now).as_hours() / 24;
        if left < ANNOUNCED {
            tracing::warn!(certificate = %path, days = left, "credential expires in {left} days: register a new certificate with the app");
        }
        let algorithm = match self.algorithm {
            Algorithm::Ps256 => "PS256",
            Algorithm::Rs256 => "RS256",
        };
        let mut header = json!({"alg": algorithm, "typ": "JWT", "x5t#S256": loaded.sha256});
        if self.algorithm == Algorithm::Rs256 {
            header["x5t"] = loaded.sha1.clone().into();
        }
        if self.send_chain {
            header["x5c"] = loaded.chain.clone().into();
        }
        let random = SystemRandom::new();
        let mut id = [0; 16];
        aws_lc_rs::rand::SecureRandom::fill(&random, &mut id)
            .map_err(|_| "No random numbers can be had.".to_owned())?;
        let seconds = now.as_second();
        let claims = json!({
            "aud": endpoint.as_str(), "iss": client_id, "sub": client_id, "jti": URL_SAFE_NO_PAD.encode(id),
            "iat": seconds - EARLIER, "nbf": seconds - EARLIER, "exp": seconds + VALID,
        });
        let encoded = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encoded(header), encoded(claims));
        let mut signature = vec![0; loaded.key.public_modulus_len()];
        let padding: &'static dyn aws_lc_rs::signature::RsaEncoding = match self.algorithm {
            Algorithm::Ps256 => &RSA_PSS_SHA256,
            Algorithm::Rs256 => &RSA_PKCS1_SHA256,
        };
        loaded
            .key
            .sign(padding, &random, signed.as_bytes(), &mut signature)
            .map_err(|_| format!("The private key in {} cannot sign.", self.private_key.display()))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)).into())
    }
}

impl Assertion for Certificate {
    fn make<'a>(&'a self, endpoint: &'a Url, client_id: &'a str) -> BoxFuture<'a, Result<SecretString, String>> {
        // Two small files and a signature: less than a millisecond, once an hour.
        Box::pin(std::future::ready(self.sign(endpoint, client_id)))
    }

    fn source(&self) -> String {
        format!("certificate {} {:?}", self.certificate.display(), self.algorithm)
    }
}

/// Shows a token that another identity provider puts into a file (workload identity). It rotates: the file is read for
/// each question.
pub struct FederatedFile(pub PathBuf);

impl Assertion for FederatedFile {
    fn make<'a>(&'a self, _: &'a Url, _: &'a str) -> BoxFuture<'a, Result<SecretString, String>> {
        Box::pin(async move {
            let path = self.0.clone();
            let reading = tokio::task::spawn_blocking(move || text(&path));
            let read = tokio::time::timeout(Duration::from_secs(5), reading).await;
            let token = read
                .map_err(|_| format!("{} cannot be read: no answer within 5 s.", self.0.display()))?
                .map_err(|error| error.to_string())??;
            let token = token.trim();
            if token.is_empty() {
                return Err(format!("{} is empty: no federated token.", self.0.display()));
            }
            Ok(token.into())
        })
    }

    fn source(&self) -> String {
        format!("file {}", self.0.display())
    }
}

fn text(path: &Path) -> Result<zeroize::Zeroizing<String>, String> {
    let fault = |what: String| format!("{} cannot be read: {what}.", path.display());
    let length = fs::metadata(path)
        .map_err(|error| fault(error.kind().to_string()))?
        .len();
    if length > LARGEST {
        return Err(fault(format!("larger than {LARGEST} bytes")));
    }
    fs::read_to_string(path)
        .map(zeroize::Zeroizing::new)
        .map_err(|error| fault(error.kind().to_string()))
}

/// How long until `moment`, in whole days.
pub fn days_until(moment: Timestamp) -> i64 {
    moment
        .duration_since(Timestamp::now())
        .max(SignedDuration::ZERO)
        .as_hours()
        / 24
}
