//! An HTTP server for tests: it shows each request as it came over the wire, and writes each answer byte by byte.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub method: String,
    pub uri: String,
    /// Names with their case, values, in the order of the wire.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Seen {
    /// All values of a header.
    pub fn header(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    fn read(head: &str, body: &[u8]) -> Self {
        let mut lines = head.split("\r\n");
        let mut start = lines.next().unwrap().split(' ');
        Self {
            method: start.next().unwrap().to_owned(),
            uri: start.next().unwrap().to_owned(),
            headers: lines
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
                .collect(),
            body: String::from_utf8_lossy(body).into_owned(),
        }
    }
}

/// What the server does with a request.
pub struct Reply {
    pub bytes: Vec<u8>,
    pub after: Duration,
}

impl Reply {
    /// An answer with a body and its length.
    pub fn new(status: &str, headers: &[&str], body: &str) -> Self {
        let mut head = format!("HTTP/1.1 {status}\r\n");
        for header in headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        Self::raw(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()))
    }

    /// 200 with a JSON body.
    pub fn json(body: &str) -> Self {
        Self::new("200 OK", &["Content-Type: application/json"], body)
    }

    /// Exactly these bytes.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            bytes: bytes.into(),
            after: Duration::ZERO,
        }
    }

    /// The same, later.
    pub fn after(mut self, wait: Duration) -> Self {
        self.after = wait;
        self
    }
}

/// A server on a free port; it closes each connection after one answer.
pub struct Target {
    pub authority: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Target {
    pub async fn new(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let journal = Arc::clone(&seen);
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (journal, answer) = (Arc::clone(&journal), Arc::clone(&answer));
                tokio::spawn(async move { serve(stream, &journal, &*answer).await });
            }
        });
        Self { authority, seen }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.authority)
    }

    /// The requests since the last call.
    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

async fn serve(mut stream: TcpStream, journal: &Mutex<Vec<Seen>>, answer: &(dyn Fn(&Seen) -> Reply + Send + Sync)) {
    let Some(seen) = read_request(&mut stream).await else {
        return;
    };
    let reply = answer(&seen);
    journal.lock().unwrap().push(seen);
    if reply.after > Duration::ZERO {
        tokio::time::sleep(reply.after).await;
    }
    // A client that has given up is no failure of the server.
    let _ = stream.write_all(&reply.bytes).await;
    let _ = stream.shutdown().await;
}

async fn read_request(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let read = stream.read(&mut buffer).await.ok()?;
        if read == 0 {
            return None;
        }
        bytes.extend_from_slice(&buffer[..read]);
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let body = &bytes[end + 4..];
        let seen = Seen::read(&head, body);
        let length: usize = seen.header("content-length").first().map_or(0, |n| n.parse().unwrap());
        if body.len() >= length {
            return Some(seen);
        }
    }
}
