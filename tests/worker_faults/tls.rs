//! A gateway that asks for client certificates, and a connection whose certificate was read once.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tonic::transport::Uri;

use super::subject::TlsFiles;

// Made for tests: valid from 2020 to 2120, and their keys protect nothing.
pub const AUTHORITY: &str = include_str!("../http_json/tls/authority.pem");
pub const CLIENT: &str = include_str!("../http_json/tls/client.pem");
pub const CLIENT_KEY: &str = include_str!("../http_json/tls/client.key.pem");
pub const NEXT_AUTHORITY: &str = include_str!("tls/authority-next.pem");
pub const NEXT_CLIENT: &str = include_str!("tls/client-next.pem");
pub const NEXT_CLIENT_KEY: &str = include_str!("tls/client-next.key.pem");
const SERVER: &str = include_str!("../http_json/tls/server.pem");
const SERVER_KEY: &str = include_str!("../http_json/tls/server.key.pem");

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn roots(pem: &[u8]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem).unwrap()).unwrap();
    roots
}

/// `localhost`, for clients with a certificate of this authority.
pub fn server(clients: &str) -> ServerConfig {
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(clients.as_bytes())), provider());
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(SERVER.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(SERVER_KEY.as_bytes()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

type Connecting = futures_util::future::BoxFuture<'static, std::io::Result<TokioIo<TlsStream<TcpStream>>>>;

pub fn static_connector(
    address: SocketAddr,
    files: &TlsFiles,
) -> impl tower::Service<Uri, Response = TokioIo<TlsStream<TcpStream>>, Error = std::io::Error, Future = Connecting>
+ Clone
+ use<> {
    let read = |path: &std::path::Path| std::fs::read(path).unwrap();
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots(&read(&files.authority)))
        .with_client_auth_cert(
            vec![CertificateDer::from_pem_slice(&read(&files.certificate)).unwrap()],
            PrivateKeyDer::from_pem_slice(&read(&files.key)).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    tower::service_fn(move |_: Uri| -> Connecting {
        let connector = connector.clone();
        Box::pin(async move {
            let tcp = TcpStream::connect(address).await?;
            let name = ServerName::try_from("localhost").unwrap();
            Ok(TokioIo::new(connector.connect(name, tcp).await?))
        })
    })
}
