//! Which servers are believed: those of the system's authorities, or of the file that `SSL_CERT_FILE` names, as every other
//! tool on the machine does it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/http_json/tls")
        .join(name)
}

/// An organisation behind a certificate of the tests' own authority; gives its URL.
async fn organization() -> String {
    let read = |name: &str| std::fs::read(file(name)).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(&read("server.pem")).unwrap()],
            PrivateKeyDer::from_pem_slice(&read("server.key.pem")).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                    let body = r#"{"UserId":"u","OrganizationId":"o","value":[]}"#;
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

async fn check(organization: &str, trusted: Option<PathBuf>) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("deskhand.toml");
    let host = organization.trim_start_matches("https://");
    let text = format!("[identities.robot]\ntoken = \"{{{{secrets.TOKEN}}}}\"\nhosts = [\"{host}\"]\n");
    std::fs::write(&config, text).unwrap();
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_deskhand"));
    command
        .args([
            "check",
            "--identity",
            "robot",
            "--environment",
            organization,
            "--config",
        ])
        .arg(&config)
        .env_clear()
        .env("SECRET_TOKEN", "a-token-of-the-test");
    if let Some(trusted) = trusted {
        command.env("SSL_CERT_FILE", trusted);
    }
    command.output().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_of_ones_own_is_trusted_by_naming_its_file() {
    let organization = organization().await;
    let output = check(&organization, Some(file("authority.pem"))).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && text.contains("user u of organisation o"),
        "{text}"
    );

    // Another authority's file, one that is not there, and none: the server is not believed, and no token reaches it.
    for trusted in [Some(file("client.pem")), Some(file("missing.pem")), None] {
        let output = check(&organization, trusted.clone()).await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success(), "{trusted:?}: {text}");
        assert!(
            text.contains("FAILED  who am I") && text.contains("TLS handshake failed"),
            "{trusted:?}: {text}"
        );
        assert!(!text.contains("a-token-of-the-test"), "{text}");
    }
}
