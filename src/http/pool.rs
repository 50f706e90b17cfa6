//! Connections: a task's TLS identity goes in, a client that keeps connections with that identity comes out.
//!
//! Almost every request uses the one plain client. Tasks with a certificate or trust of their own get a client each,
//! because connections must never be shared between identities; a bounded number of them is kept.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::ExposeSecret;

use super::connect::Watched;
use super::fingerprint::Fingerprint;
use super::guard::{Guard, Reach};
use super::{ClientTls, Error};

/// Clients with a TLS identity of their own that are kept; the one unused for longest goes first.
const KEPT: usize = 64;

/// Clients by TLS identity and reach. Cheap to clone.
#[derive(Clone)]
pub(super) struct Pool {
    plain: reqwest::Client,
    /// For hosts that operations allow by their name; without a guard the plain one.
    named: reqwest::Client,
    guard: Option<Guard>,
    /// Least recently used first.
    own: Arc<Mutex<Vec<(Key, reqwest::Client)>>>,
}

/// Connections are shared by requests with the same identity and the same reach.
type Key = (Fingerprint, Reach);

impl Pool {
    /// Connections that trust the system's certificate authorities.
    ///
    /// A machine without any (a bare container) can still call http: there, only https fails.
    pub(super) fn new(guard: Option<&Guard>) -> Result<Self, Error> {
        let client = |reach| {
            finish(base(guard, reach)).or_else(|error| {
                tracing::warn!(%error, "https will not work: install the system's certificate authorities (ca-certificates)");
                Self::trusting_nobody(guard, reach)
            })
        };
        let plain = client(Reach::Guarded)?;
        let named = match guard {
            Some(_) => client(Reach::Named)?,
            None => plain.clone(),
        };
        Ok(Self {
            plain,
            named,
            guard: guard.cloned(),
            own: Arc::default(),
        })
    }

    /// Connections past every proxy.
    pub(super) fn direct() -> Result<Self, Error> {
        let plain = finish(base(None, Reach::Anywhere).no_proxy())?;
        Ok(Self {
            named: plain.clone(),
            plain,
            guard: None,
            own: Arc::default(),
        })
    }

    fn trusting_nobody(guard: Option<&Guard>, reach: Reach) -> Result<reqwest::Client, Error> {
        finish(base(guard, reach).tls_certs_only([]))
    }

    /// The client whose connections carry this identity.
    pub(super) fn client_for(&self, tls: Option<&ClientTls>, reach: Reach) -> Result<reqwest::Client, Error> {
        let Some(tls) = tls else {
            let client = if reach == Reach::Named {
                &self.named
            } else {
                &self.plain
            };
            return Ok(client.clone());
        };
        let parts = [&tls.certificate, &tls.private_key, &tls.trusted];
        let identity = Fingerprint::of(parts.map(|part| part.as_ref().map(|text| text.expose_secret())));
        let key = (identity, reach);
        let lock = || self.own.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut own = lock();
            if let Some(at) = own.iter().position(|(known, _)| *known == key) {
                let found = own.remove(at);
                let client = found.1.clone();
                own.push(found);
                return Ok(client);
            }
        }
        // Built without the lock: it parses certificates. A twin built meanwhile costs a few connections, no more.
        let client = finish(with_identity(base(self.guard.as_ref(), reach), tls)?)?;
        let mut own = lock();
        if own.len() >= KEPT {
            own.remove(0);
        }
        own.push((key, client.clone()));
        Ok(client)
    }
}

fn base(guard: Option<&Guard>, reach: Reach) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("deskhand/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        // Some old servers compare header names with case; the usual spelling suits them all.
        .http1_title_case_headers()
        .pool_idle_timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(64)
        .connector_layer(Watched);
    match guard.and_then(|guard| guard.resolver(reach)) {
        Some(resolver) => builder.dns_resolver(resolver),
        None => builder,
    }
}

fn finish(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, Error> {
    builder
        .build()
        .map_err(|error| Error::Invalid(format!("TLS cannot be set up: {}.", super::error::root_text(&error))))
}

fn with_identity(mut builder: reqwest::ClientBuilder, tls: &ClientTls) -> Result<reqwest::ClientBuilder, Error> {
    match (&tls.certificate, &tls.private_key) {
        (None, None) => {}
        (Some(certificate), Some(key)) => {
            if key.expose_secret().contains("ENCRYPTED") {
                return Err(Error::Invalid(
                    "The client's private key is encrypted. Store it decrypted as a secret: `openssl pkey -in key.pem`."
                        .into(),
                ));
            }
            let both = zeroize::Zeroizing::new(format!("{}\n{}", key.expose_secret(), certificate.expose_secret()));
            let identity = reqwest::Identity::from_pem(both.as_bytes()).map_err(|_| {
                Error::Invalid(
                    "The client certificate or its private key is not PEM. Give the whole blocks, with their \
                     `-----BEGIN` and `-----END` lines."
                        .into(),
                )
            })?;
            builder = builder.identity(identity);
        }
        (Some(_), None) => return Err(Error::Invalid("The client certificate has no private key.".into())),
        (None, Some(_)) => return Err(Error::Invalid("The client's private key has no certificate.".into())),
    }
    if let Some(trusted) = &tls.trusted {
        let authorities = reqwest::Certificate::from_pem_bundle(trusted.expose_secret().as_bytes())
            .ok()
            .filter(|authorities| !authorities.is_empty())
            .ok_or_else(|| Error::Invalid("The trusted certificate authority is not a PEM certificate.".into()))?;
        builder = builder.tls_certs_only(authorities);
    }
    Ok(builder)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_machine_without_certificate_authorities_can_still_call_http() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        });
        let client = Pool::trusting_nobody(None, Reach::Anywhere).unwrap();
        assert_eq!(client.get(url).send().await.unwrap().status(), 204);
        serving.await.unwrap();
    }
}
