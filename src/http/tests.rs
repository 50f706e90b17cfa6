//! What the client does on the wire, seen by a server that reads and writes bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use url::Url;

use super::{Client, Error, Method, Request, Sent};

/// A server that answers its requests, in order, with these bytes; each connection is closed after one answer.
pub(super) struct Server {
    pub(super) url: Url,
    pub(super) seen: mpsc::UnboundedReceiver<String>,
}

impl Server {
    pub(super) async fn answering(answers: Vec<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/path?q=1", listener.local_addr().unwrap())).unwrap();
        let (sender, seen) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                sender.send(read_request(&mut stream).await).unwrap();
                stream.write_all(&answer).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        });
        Self { url, seen }
    }

    async fn one(answer: &str) -> Self {
        Self::answering(vec![answer.as_bytes().to_vec()]).await
    }

    fn request(&self, method: Method) -> Request {
        let mut request = Request::new(method, self.url.clone());
        request.total_timeout = Some(Duration::from_secs(10));
        request
    }
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).await.unwrap();
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: "))
                .map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                return text;
            }
        }
        assert!(read > 0, "the request ended early: {text}");
    }
}

pub(super) fn client() -> Client {
    Client::new().unwrap()
}

#[tokio::test]
async fn a_get_has_neither_body_nor_content_length_and_names_deskhand() {
    let mut server =
        Server::one("HTTP/1.1 200 Everything Fine\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 2\r\n\r\nhi").await;
    let mut request = server.request(Method::GET);
    request.headers.append("x-empty", "".parse().unwrap());
    let answer = client().send(request).await.unwrap();
    assert_eq!((answer.status, answer.reason.as_str()), (200, "Everything Fine"));
    assert_eq!(answer.body, b"hi");
    assert_eq!(answer.headers.get_all("x-a").iter().count(), 2);
    let seen = server.seen.recv().await.unwrap();
    assert!(seen.starts_with("GET /path?q=1 HTTP/1.1\r\n"), "{seen}");
    assert!(!seen.to_lowercase().contains("content-length"), "{seen}");
    assert!(seen.contains("\r\nX-Empty: \r\n"), "{seen}");
    assert!(
        seen.contains(concat!("\r\nUser-Agent: deskhand/", env!("CARGO_PKG_VERSION"), "\r\n")),
        "{seen}"
    );
}

#[tokio::test]
async fn a_post_without_body_says_that_its_length_is_zero() {
    for body in [None, Some(Vec::new())] {
        let mut server = Server::one("HTTP/1.1 204\r\n\r\n").await;
        let mut request = server.request(Method::POST);
        request.body = body;
        let answer = client().send(request).await.unwrap();
        assert_eq!((answer.status, answer.reason.as_str()), (204, ""));
        let seen = server.seen.recv().await.unwrap();
        assert_eq!(seen.matches("Content-Length: 0\r\n").count(), 1, "{seen}");
        assert!(!seen.contains("Transfer-Encoding"), "{seen}");
    }
}

#[tokio::test]
async fn an_answer_over_the_cap_is_refused_announced_or_not() {
    for head in ["Content-Length: 100", "Transfer-Encoding: identity"] {
        let server = Server::one(&format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{}", "x".repeat(100))).await;
        let mut request = server.request(Method::GET);
        request.max_answer_bytes = 99;
        let error = client().send(request).await.unwrap_err();
        assert!(matches!(error, Error::TooLarge { limit: 99, .. }), "{error}");
        assert_eq!(error.sent(), Sent::Maybe);
    }
}

#[tokio::test]
async fn the_cap_counts_decompressed_bytes() {
    // gzip of 100 000 zero bytes: 121 bytes on the wire.
    let bomb = gzip_of_zeros();
    assert!(bomb.len() < 200);
    for (cap, fits) in [(100_000, true), (99_999, false)] {
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
            bomb.len()
        )
        .into_bytes();
        answer.extend_from_slice(&bomb);
        let server = Server::answering(vec![answer]).await;
        let mut request = server.request(Method::GET);
        request.max_answer_bytes = cap;
        match client().send(request).await {
            Ok(answer) => {
                assert!(fits);
                assert_eq!(answer.body, vec![0; 100_000]);
            }
            Err(error) => assert!(!fits && matches!(error, Error::TooLarge { .. }), "{error}"),
        }
    }
}

/// 100 000 zero bytes as gzip, made once with zlib.
fn gzip_of_zeros() -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD
        .decode(include_str!("zeros.gz.base64").replace('\n', ""))
        .unwrap()
}

#[tokio::test]
async fn a_refused_connection_and_an_unknown_host_surely_sent_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = format!("http://{}/secret-path", listener.local_addr().unwrap());
    drop(listener);
    for url in [closed.as_str(), "http://no-such-host.invalid/secret-path"] {
        let error = client()
            .send(Request::new(Method::POST, Url::parse(url).unwrap()))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Connect(_)), "{error}");
        assert_eq!(error.sent(), Sent::No);
        assert!(!error.to_string().contains("secret-path"), "{error}");
        assert!(!error.to_string().contains("127.0.0.1"), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_fails_the_handshake() {
    let server = Server::answering(Vec::new()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        // Let the client read it before the connection is reset.
        let _ = stream.read(&mut [0; 4096]).await;
        stream.shutdown().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await;
    });
    let mut request = server.request(Method::GET);
    request.url = Url::parse(&url).unwrap();
    let error = client().send(request).await.unwrap_err();
    assert!(matches!(error, Error::Tls(_)), "{error:?}");
    assert_eq!(error.sent(), Sent::No);
}

#[tokio::test]
async fn a_connection_that_breaks_or_talks_nonsense_may_have_executed_the_request() {
    let server = Server::one("").await;
    let error = client().send(server.request(Method::POST)).await.unwrap_err();
    assert!(matches!(error, Error::Broken(_)), "{error:?}");
    assert_eq!(error.sent(), Sent::Maybe);
    let server = Server::one("SMTP ready\r\n\r\n").await;
    let error = client().send(server.request(Method::POST)).await.unwrap_err();
    assert!(matches!(error, Error::Protocol(_)), "{error:?}");
    assert_eq!(error.sent(), Sent::Maybe);
}

#[tokio::test]
async fn nothing_is_sent_again_on_503_or_a_broken_connection() {
    for answer in ["HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n", ""] {
        let mut server = Server::answering(vec![answer.into(), answer.into()]).await;
        let mut request = server.request(Method::POST);
        request.body = Some(b"{}".to_vec());
        let result = client().send(request).await;
        if let Ok(answer) = &result {
            assert_eq!((answer.status, answer.retry_after()), (503, Some(Duration::ZERO)));
        }
        assert!(server.seen.recv().await.is_some());
        assert!(server.seen.try_recv().is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_waited_for_as_long_as_reading_may_take() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            open.push(stream);
        }
    });
    let mut request = Request::new(Method::GET, url);
    request.read_timeout = Some(Duration::from_secs(7));
    let started = tokio::time::Instant::now();
    let error = client().send(request.clone()).await.unwrap_err();
    assert!(matches!(error, Error::Timeout(_)), "{error:?}");
    assert_eq!(error.sent(), Sent::Maybe);
    assert!(started.elapsed() >= Duration::from_secs(7) && started.elapsed() < Duration::from_secs(8));

    request.read_timeout = None;
    request.total_timeout = Some(Duration::from_secs(40));
    let started = tokio::time::Instant::now();
    let error = client().send(request).await.unwrap_err();
    assert!(matches!(error, Error::Timeout(_)), "{error:?}");
    assert!(started.elapsed() >= Duration::from_secs(40));
}

#[tokio::test]
async fn the_clock_for_reading_stands_while_a_connection_is_made() {
    // The proxy-less way to a slow connection: a TLS handshake that never comes.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            open.push(stream);
        }
    });
    let mut request = Request::new(Method::POST, Url::parse(&url).unwrap());
    request.read_timeout = Some(Duration::from_millis(10));
    request.connect_timeout = Some(Duration::from_millis(100));
    let error = client().send(request).await.unwrap_err();
    assert!(
        matches!(&error, Error::Connect(text) if text.contains("0.1 s")),
        "{error:?}"
    );
    assert_eq!(error.sent(), Sent::No);
}

#[tokio::test]
async fn redirects_are_followed_only_when_asked_and_each_hop_is_asked_about() {
    let hop = "HTTP/1.1 302 Found\r\nLocation: /next\r\nContent-Length: 0\r\n\r\n";
    let end = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let server = Server::one(hop).await;
    assert_eq!(client().send(server.request(Method::GET)).await.unwrap().status, 302);

    let server = Server::answering(vec![hop.into(), end.into()]).await;
    let mut request = server.request(Method::GET);
    request.follow_redirects = true;
    assert_eq!(client().send(request).await.unwrap().status, 200);

    let server = Server::answering(vec![hop.into(), end.into()]).await;
    let mut request = server.request(Method::GET);
    request.follow_redirects = true;
    let refuse_next = |url: &Url| match url.path() {
        "/next" => Err(Error::Invalid("refused".into())),
        _ => Ok(()),
    };
    let refused = client().send_where(request, refuse_next).await;
    assert!(matches!(refused, Err(Error::Invalid(text)) if text == "refused"));
}

#[tokio::test]
async fn redirects_without_end_are_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let hops = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&hops);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_request(&mut stream).await;
            counted.fetch_add(1, Ordering::Relaxed);
            let answer = "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let mut request = Request::new(Method::GET, Url::parse(&url).unwrap());
    request.follow_redirects = true;
    let error = client().send(request).await.unwrap_err();
    assert!(
        matches!(&error, Error::Protocol(text) if text.contains("50 redirects")),
        "{error:?}"
    );
    assert_eq!(hops.load(Ordering::Relaxed), 51);
}

#[tokio::test]
async fn tls_material_that_is_not_usable_is_named() {
    let tls = |certificate: Option<&str>, key: Option<&str>, trusted: Option<&str>| super::ClientTls {
        certificate: certificate.map(Into::into),
        private_key: key.map(Into::into),
        trusted: trusted.map(Into::into),
    };
    for (tls, says) in [
        (tls(Some("x"), None, None), "no private key"),
        (tls(None, Some("x"), None), "no certificate"),
        (tls(Some("x"), Some("x"), None), "not PEM"),
        (
            tls(Some("x"), Some("-----BEGIN ENCRYPTED PRIVATE KEY-----"), None),
            "encrypted",
        ),
        (tls(None, None, Some("x")), "not a PEM certificate"),
    ] {
        let mut request = Request::new(Method::GET, Url::parse("https://localhost/").unwrap());
        request.tls = Some(tls);
        let error = client().send(request).await.unwrap_err();
        assert!(
            matches!(&error, Error::Invalid(text) if text.contains(says)),
            "{says}: {error}"
        );
    }
}
