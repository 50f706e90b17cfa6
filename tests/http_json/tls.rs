//! Client certificates and private authorities, against a server that asks for a certificate.
//!
//! The files in `tls/` were made for these tests alone: an authority, a server `localhost` and a client, valid from 2020
//! to 2120. Their keys protect nothing.

use std::sync::Arc;

use deskhand::outcome::Remedy;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto::aws_lc_rs};

use super::Rig;

const AUTHORITY: &str = include_str!("tls/authority.pem");
const SERVER: &str = include_str!("tls/server.pem");
const SERVER_KEY: &str = include_str!("tls/server.key.pem");
const CLIENT: &str = include_str!("tls/client.pem");
const CLIENT_KEY: &str = include_str!("tls/client.key.pem");

fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

fn server_config(asks_for_certificate: bool) -> ServerConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match asks_for_certificate {
        false => builder.with_no_client_auth(),
        true => {
            let mut roots = RootCertStore::empty();
            roots.add(certificate(AUTHORITY)).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let key = PrivateKeyDer::from_pem_slice(SERVER_KEY.as_bytes()).unwrap();
    builder.with_single_cert(vec![certificate(SERVER)], key).unwrap()
}

/// A server that answers 200 and keeps its connections; gives its URL.
async fn server(asks_for_certificate: bool) -> String {
    let acceptor = TlsAcceptor::from(Arc::new(server_config(asks_for_certificate)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let mut buffer = [0; 4096];
                // Each request of these tests comes in one piece.
                while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

fn task(url: &str, tls: Value) -> Value {
    json!({"url": url, "method": "GET", "clientTls": tls})
}

#[tokio::test]
async fn a_private_authority_is_trusted_by_the_task_that_names_it_alone() {
    let url = server(false).await;
    let rig = Rig::new();
    let response = rig
        .run(task(&url, json!({"trustedCertificate": AUTHORITY})))
        .await
        .unwrap();
    assert_eq!(response["status"], 200);
    let error = rig.run(task(&url, json!({}))).await.unwrap_err();
    assert_eq!(
        (error.code.as_deref(), error.remedy),
        (Some("SSL_HANDSHAKE_FAILED"), Remedy::Retry)
    );
    assert!(error.message.starts_with("TLS handshake failed: "), "{}", error.message);
    let error = rig
        .run(task(&url, json!({"trustedCertificate": CLIENT})))
        .await
        .unwrap_err();
    assert_eq!(error.code.as_deref(), Some("SSL_HANDSHAKE_FAILED"));
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_its_connection_is_not_shared() {
    let url = server(true).await;
    let rig = Rig::new();
    let with = json!({
        "clientCertificate": CLIENT, "clientPrivateKey": CLIENT_KEY, "trustedCertificate": AUTHORITY,
    });
    for _ in 0..2 {
        assert_eq!(rig.run(task(&url, with.clone())).await.unwrap()["status"], 200);
    }
    // The connection of the other task is still open, and this one must not use it.
    let without = json!({"trustedCertificate": AUTHORITY});
    assert!(rig.run(task(&url, without)).await.is_err());
}

#[tokio::test]
async fn keys_that_do_not_fit_or_are_encrypted_are_an_incident() {
    for (tls, says) in [
        (
            json!({"clientCertificate": CLIENT, "clientPrivateKey": "no PEM"}),
            "not PEM",
        ),
        (
            json!({"clientCertificate": CLIENT, "clientPrivateKey": SERVER_KEY}),
            "TLS cannot be set up",
        ),
        (
            json!({"clientCertificate": CLIENT, "clientPrivateKey": CLIENT_KEY, "privateKeyPassword": "word"}),
            "a decrypted key",
        ),
        (
            json!({"clientPrivateKey": CLIENT_KEY}),
            "`clientTls.clientCertificate` is missing",
        ),
    ] {
        let error = Rig::new().run(task("https://localhost/", tls)).await.unwrap_err();
        assert_eq!(error.remedy, Remedy::Incident);
        assert!(error.message.contains(says), "{says}: {}", error.message);
        for pem in [CLIENT, CLIENT_KEY, SERVER_KEY] {
            assert!(!error.message.contains(pem.lines().nth(1).unwrap()));
        }
    }
}

#[tokio::test]
async fn a_server_that_offers_http_2_is_spoken_to_in_http_1() {
    // With HTTP/2 a GOAWAY would let the library send a request again by itself. Whoever turns it on has to see to that.
    let mut config = server_config(false);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    let agreed = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(stream).await.unwrap();
        let agreed = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await.unwrap();
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        stream.write_all(answer).await.unwrap();
        (agreed, buffer[..read].to_vec())
    });
    let rig = Rig::new();
    let response = rig
        .run(task(&url, json!({"trustedCertificate": AUTHORITY})))
        .await
        .unwrap();
    assert_eq!(response["status"], 200);
    let (agreed, request) = agreed.await.unwrap();
    assert_ne!(agreed.as_deref(), Some(b"h2".as_slice()));
    assert!(request.starts_with(b"GET / HTTP/1.1"));
}
