//! A client that signs with a certificate's key (RFC 7523): the certificate goes in, a signed assertion comes out, fresh for
//! each question.
//!
//! The certificate is a file of operations' (PEM or PFX; read anew when it changed) or a text that a task brings.

mod der;
mod material;
mod pfx;
mod sealed;
mod x509;

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use aws_lc_rs::digest;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use url::Url;
use zeroize::Zeroizing;

use self::material::{Material, Named, Password};
use self::x509::validity;
use super::super::{Error, Fingerprint};
use super::assertion::{Assertion, read as bytes};

/// How long an assertion is valid; Entra takes ten minutes at most.
const VALID: i64 = 300;
/// A clock that is a little fast must not make an assertion of the future.
const EARLIER: i64 = 30;

/// How an assertion is signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PSS with SHA-256: what Entra recommends.
    #[default]
    Ps256,
    /// RSASSA-PKCS1-v1_5 with SHA-256: for older servers.
    Rs256,
}

impl Algorithm {
    /// The algorithm of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Algorithm::Ps256, Algorithm::Rs256]
            .into_iter()
            .find(|one| one.name() == name.trim())
    }

    /// Its name in a JWT (RFC 7518).
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Ps256 => "PS256",
            Algorithm::Rs256 => "RS256",
        }
    }
}

/// Signs with the key of a certificate. Cheap to clone.
#[derive(Clone)]
pub struct Certificate {
    place: Arc<Place>,
    algorithm: Algorithm,
    send_chain: bool,
    password: SecretString,
}

/// Where certificate and key are.
enum Place {
    /// In files that may change.
    Files {
        certificate: PathBuf,
        private_key: Option<PathBuf>,
        loaded: Mutex<Option<(Seen, Arc<Loaded>)>>,
    },
    /// In texts: PEM, or a PFX file as base64.
    Texts {
        certificate: SecretString,
        private_key: Option<SecretString>,
    },
}

/// The files as they were, and the password that opened them.
#[derive(PartialEq, Eq)]
struct Seen {
    files: [Option<(SystemTime, u64)>; 2],
    password: Fingerprint,
}

struct Loaded {
    key: RsaKeyPair,
    sha256: String,
    sha1: String,
    chain: Vec<String>,
    ends: Timestamp,
}

impl Certificate {
    /// Signs with the key in the file `private_key`, or in the certificate's own. Files are PEM or PFX. `send_chain` shows
    /// the certificates themselves, for apps that trust a subject name and issuer.
    pub fn new(certificate: PathBuf, private_key: Option<PathBuf>, algorithm: Algorithm, send_chain: bool) -> Self {
        Self {
            place: Arc::new(Place::Files {
                certificate,
                private_key,
                loaded: Mutex::default(),
            }),
            algorithm,
            send_chain,
            password: SecretString::default(),
        }
    }

    /// Signs with what these texts hold: PEM, or a PFX file as base64.
    pub fn given(certificate: SecretString, private_key: Option<SecretString>, algorithm: Algorithm) -> Self {
        Self {
            place: Arc::new(Place::Texts {
                certificate,
                private_key,
            }),
            algorithm,
            send_chain: false,
            password: SecretString::default(),
        }
    }

    /// The same, opened with this password.
    #[must_use]
    pub fn with_password(mut self, password: SecretString) -> Self {
        self.password = password;
        self
    }

    /// When the certificate ends.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn ends(&self) -> Result<Timestamp, String> {
        self.load().map(|loaded| loaded.ends)
    }

    /// What it is called in messages.
    fn name(&self) -> String {
        match &*self.place {
            Place::Files { certificate, .. } => certificate.display().to_string(),
            Place::Texts { .. } => "`authentication.clientCertificate`".into(),
        }
    }

    fn load(&self) -> Result<Arc<Loaded>, String> {
        let (certificate, private_key, loaded) = match &*self.place {
            Place::Files {
                certificate,
                private_key,
                loaded,
            } => (certificate, private_key, loaded),
            Place::Texts {
                certificate,
                private_key,
            } => {
                let name = self.name();
                let named = |text: &'_ SecretString| Zeroizing::new(text.expose_secret().as_bytes().to_vec());
                let (certificate, key) = (named(certificate), private_key.as_ref().map(named));
                return self
                    .read(
                        (&name, &certificate),
                        key.as_ref()
                            .map(|key| ("`authentication.clientPrivateKey`", key.as_slice())),
                    )
                    .map(Arc::new);
            }
        };
        let about = |path: Option<&PathBuf>| {
            let about = fs::metadata(path?).ok()?;
            Some((about.modified().ok()?, about.len()))
        };
        let seen = Seen {
            files: [about(Some(certificate)), about(private_key.as_ref())],
            password: Fingerprint::of([Some(self.password.expose_secret())]),
        };
        let mut loaded = loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = loaded.as_ref().filter(|(known, _)| *known == seen) {
            return Ok(known.clone());
        }
        let key = private_key
            .as_deref()
            .map(|path| Ok::<_, String>((path.display().to_string(), bytes(path)?)));
        let key = key.transpose()?;
        let fresh = self.read(
            (&certificate.display().to_string(), &bytes(certificate)?),
            key.as_ref().map(|(name, bytes)| (name.as_str(), bytes.as_slice())),
        )?;
        Ok(loaded.insert((seen, Arc::new(fresh))).1.clone())
    }

    fn read(&self, (name, bytes): (&str, &[u8]), key: Option<(&str, &[u8])>) -> Result<Loaded, String> {
        let key = key.map(|(name, bytes)| Named { bytes, name });
        let password = Password {
            text: self.password.expose_secret(),
            field: match &*self.place {
                Place::Files { .. } => "certificate_password",
                Place::Texts { .. } => "authentication.certificatePassword",
            },
        };
        let Material { key, certificates } = material::read(Named { bytes, name }, key, password)?;
        let unreadable = || format!("The certificate in {name} cannot be read.");
        let own = certificates.first().ok_or_else(unreadable)?;
        let (_, ends) = validity(own).ok_or_else(unreadable)?;
        Ok(Loaded {
            key,
            sha256: URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, own)),
            sha1: URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, own)),
            chain: certificates.iter().map(|der| STANDARD.encode(der)).collect(),
            ends,
        })
    }

    fn sign(&self, endpoint: &Url, client_id: &str) -> Result<SecretString, String> {
        let loaded = self.load()?;
        let now = Timestamp::now();
        let name = self.name();
        if loaded.ends <= now {
            return Err(format!(
                "The certificate in {name} ended at {}: register a new one with the app and put it there.",
                loaded.ends
            ));
        }
        let mut header = json!({"alg": self.algorithm.name(), "typ": "JWT", "x5t#S256": loaded.sha256});
        if self.algorithm == Algorithm::Rs256 {
            header["x5t"] = loaded.sha1.clone().into();
        }
        if self.send_chain {
            header["x5c"] = loaded.chain.clone().into();
        }
        let random = SystemRandom::new();
        let mut id = [0; 16];
        random
            .fill(&mut id)
            .map_err(|_| "No random numbers can be had.".to_owned())?;
        let seconds = now.as_second();
        let claims = json!({
            "aud": endpoint.as_str(), "iss": client_id, "sub": client_id, "jti": URL_SAFE_NO_PAD.encode(id),
            "iat": seconds - EARLIER, "nbf": seconds - EARLIER, "exp": seconds + VALID,
        });
        let encoded = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encoded(header), encoded(claims));
        let mut signature = vec![0; loaded.key.public_modulus_len()];
        let padding: &'static dyn RsaEncoding = match self.algorithm {
            Algorithm::Ps256 => &RSA_PSS_SHA256,
            Algorithm::Rs256 => &RSA_PKCS1_SHA256,
        };
        loaded
            .key
            .sign(padding, &random, signed.as_bytes(), &mut signature)
            .map_err(|_| format!("The private key of {name} cannot sign."))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)).into())
    }
}

impl Assertion for Certificate {
    fn make<'a>(&'a self, endpoint: &'a Url, client_id: &'a str) -> BoxFuture<'a, Result<SecretString, Error>> {
        // Opening a PFX file takes as long as its makers wanted guessing to take.
        let (this, endpoint, client_id) = (self.clone(), endpoint.clone(), client_id.to_owned());
        let signing = tokio::task::spawn_blocking(move || this.sign(&endpoint, &client_id));
        Box::pin(async move {
            let signed = signing.await.map_err(|error| Error::Invalid(error.to_string()))?;
            signed.map_err(Error::Invalid)
        })
    }

    fn source(&self) -> String {
        let place = match &*self.place {
            Place::Files { certificate, .. } => certificate.display().to_string(),
            // Whoever knows a certificate must not get the token of whoever has its key, too.
            Place::Texts {
                certificate,
                private_key,
            } => {
                let key = private_key.as_ref().map(|key| key.expose_secret());
                let password = self.password.expose_secret();
                Fingerprint::of([Some(certificate.expose_secret()), key, Some(password)]).to_string()
            }
        };
        format!("certificate {place} {:?}", self.algorithm)
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Certificate").field(&self.name()).finish()
    }
}
