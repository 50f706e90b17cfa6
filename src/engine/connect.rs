//! Connecting to the gateway. For every new connection the name is looked up and certificate files are read anew, so that
//! a changed address and a rotated certificate are used without a restart.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};
use tonic::transport::Uri;
use tower::Service;

/// Bound on one connection's TCP and TLS handshakes together.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What TLS needs, as files.
#[derive(Clone, Debug)]
pub(super) struct TlsFiles {
    /// The authority that signed the gateway's certificate; `None`: the system's.
    pub(super) authority: Option<PathBuf>,
    /// Our certificate and its key, where the gateway asks for one.
    pub(super) identity: Option<(PathBuf, PathBuf)>,
    /// The name that the gateway's certificate must be for.
    pub(super) server_name: String,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsFault {
    /// A file that cannot be used.
    #[error("{} {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system's trust store holds nothing.
    #[error("the system has no certificate authorities; name the gateway's in engine.ca_certificate")]
    NoAuthorities,
    /// No certificate can be for that name.
    #[error("`{0}` is no name that a certificate can be for")]
    Name(String),
    /// Certificate and key do not go together, or worse.
    #[error("{0}")]
    Rustls(#[from] rustls::Error),
}

type Lookup = dyn Fn(&str, u16) -> std::io::Result<Vec<SocketAddr>> + Send + Sync;

/// Who says where a host is. By default the operating system.
#[derive(Clone, Default)]
pub struct Resolver(Option<Arc<Lookup>>);

impl Resolver {
    /// Asks this instead of the operating system, for each connection anew. It must not block.
    pub fn new(look_up: impl Fn(&str, u16) -> std::io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(look_up)))
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Resolver(own)" } else { "Resolver" })
    }
}

/// Makes connections to one gateway.
#[derive(Clone)]
pub(super) struct Connector {
    host: String,
    port: u16,
    resolver: Resolver,
    tls: Option<Arc<Tls>>,
}

struct Tls {
    files: TlsFiles,
    name: ServerName<'static>,
    last_good: Mutex<Arc<ClientConfig>>,
}

impl Connector {
    /// A connector whose files were read once: what is wrong with them is said now, not in a retry loop.
    pub(super) fn new(host: String, port: u16, resolver: Resolver, files: Option<TlsFiles>) -> Result<Self, TlsFault> {
        let tls = match files {
            None => None,
            Some(files) => Some(Arc::new(Tls {
                name: ServerName::try_from(files.server_name.clone())
                    .map_err(|_| TlsFault::Name(files.server_name.clone()))?,
                last_good: Mutex::new(Arc::new(files.read()?)),
                files,
            })),
        };
        Ok(Self {
            host,
            port,
            resolver,
            tls,
        })
    }

    /// A connection to where the name leads now.
    pub(super) async fn reach(&self) -> std::io::Result<TcpStream> {
        match &self.resolver.0 {
            None => TcpStream::connect((self.host.as_str(), self.port)).await,
            Some(look_up) => TcpStream::connect(&look_up(&self.host, self.port)?[..]).await,
        }
    }

    /// One TLS handshake and no more; `None` without TLS.
    pub(super) async fn shake_hands(&self) -> std::io::Result<Option<String>> {
        let Some(tls) = &self.tls else {
            return Ok(None);
        };
        let shaking = async {
            let tcp = self.reach().await?;
            TlsConnector::from(tls.current()).connect(tls.name.clone(), tcp).await
        };
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, shaking)
            .await
            .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))?;
        let version = stream.get_ref().1.protocol_version();
        let version = version.and_then(|version| version.as_str()).unwrap_or("TLS");
        let shown = match &tls.files.identity {
            Some((certificate, _)) => format!("; we show {}", certificate.display()),
            None => String::new(),
        };
        let trust = match &tls.files.authority {
            Some(path) => path.display().to_string(),
            None => "the system's authorities".into(),
        };
        Ok(Some(format!(
            "{version}; the certificate is for {} by {trust}{shown}",
            tls.files.server_name
        )))
    }

    async fn connect(self) -> std::io::Result<Connection> {
        let tcp = self.reach().await?;
        tcp.set_nodelay(true)?;
        match self.tls {
            None => Ok(TokioIo::new(Box::new(tcp) as Box<dyn Stream>)),
            Some(tls) => {
                let stream = TlsConnector::from(tls.current()).connect(tls.name.clone(), tcp).await?;
                Ok(TokioIo::new(Box::new(stream)))
            }
        }
    }
}

/// A connection, encrypted or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

type Connection = TokioIo<Box<dyn Stream>>;

impl Service<Uri> for Connector {
    type Response = Connection;
    type Error = std::io::Error;
    type Future = BoxFuture<'static, std::io::Result<Connection>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connecting = self.clone().connect();
        async move {
            tokio::time::timeout(CONNECT_TIMEOUT, connecting)
                .await
                .unwrap_or_else(|_| {
                    Err(std::io::Error::new(
                        std::io::ErrorKind::TimedOut,
                        "no connection in time",
                    ))
                })
        }
        .boxed()
    }
}

impl Tls {
    /// What the files say now. While somebody replaces them they may not fit together: then what they said before.
    fn current(&self) -> Arc<ClientConfig> {
        let mut last_good = self.last_good.lock().unwrap_or_else(PoisonError::into_inner);
        // The system's authorities do not change while we run, and reading them takes a while.
        if self.files.authority.is_some() || self.files.identity.is_some() {
            match self.files.read() {
                Ok(config) => *last_good = Arc::new(config),
                Err(fault) => {
                    tracing::warn!(%fault, "certificate files for the engine cannot be used; the last ones are kept")
                }
            }
        }
        last_good.clone()
    }
}

impl TlsFiles {
    fn read(&self) -> Result<ClientConfig, TlsFault> {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.roots()?);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let pem = read(key)?;
                let key = PrivateKeyDer::from_pem_slice(&pem)
                    .map_err(|error| fault(key, format!("holds no private key in PEM form ({})", said(&error))))?;
                builder.with_client_auth_cert(certificates(certificate)?, key)?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }

    fn roots(&self) -> Result<RootCertStore, TlsFault> {
        let mut roots = RootCertStore::empty();
        match &self.authority {
            Some(path) => {
                for certificate in certificates(path)? {
                    roots.add(certificate).map_err(|error| fault(path, error.to_string()))?;
                }
            }
            None => {
                // Some stores hold old certificates that cannot be parsed; they are no reason to trust none.
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                if roots.is_empty() {
                    return Err(TlsFault::NoAuthorities);
                }
            }
        }
        Ok(roots)
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let pem = read(path)?;
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|error| fault(path, format!("is not PEM ({})", said(&error))))?;
    if found.is_empty() {
        return Err(fault(
            path,
            "holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)".into(),
        ));
    }
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsFault> {
    std::fs::read(path).map_err(|error| fault(path, format!("cannot be read: {error}")))
}

fn fault(path: &Path, reason: String) -> TlsFault {
    TlsFault::File {
        path: path.to_owned(),
        reason,
    }
}

/// The parser's texts may show what it read.
fn said(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::NoItemsFound => "nothing was found",
        pem::Error::MissingSectionEnd { .. } => "its end is missing",
        _ => "it is malformed",
    }
}
