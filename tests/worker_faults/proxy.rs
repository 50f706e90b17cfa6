//! A proxy that counts the HTTP/2 pings of clients.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub struct PingCounter {
    pub address: SocketAddr,
    pub pings: Arc<AtomicUsize>,
}

impl PingCounter {
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let pings = Arc::new(AtomicUsize::new(0));
        let counter = pings.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if let Ok(server) = TcpStream::connect(target).await {
                    tokio::spawn(pass(client, server, counter.clone()));
                }
            }
        });
        Self { address, pings }
    }
}

async fn pass(client: TcpStream, server: TcpStream, pings: Arc<AtomicUsize>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    let _ = count(&mut from_client, &mut to_server, &pings).await;
}

/// Passes frames on, RFC 9113 section 4.1: 24 bits of length, 8 of type, 8 of flags, 32 of stream.
async fn count(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    pings: &AtomicUsize,
) -> std::io::Result<()> {
    const PREFACE: usize = 24;
    const PING: u8 = 6;
    const ACK: u8 = 1;
    let mut preface = [0; PREFACE];
    from.read_exact(&mut preface).await?;
    to.write_all(&preface).await?;
    loop {
        let mut head = [0; 9];
        from.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        from.read_exact(&mut payload).await?;
        if head[3] == PING && head[4] & ACK == 0 {
            pings.fetch_add(1, Ordering::SeqCst);
        }
        to.write_all(&head).await?;
        to.write_all(&payload).await?;
    }
}
