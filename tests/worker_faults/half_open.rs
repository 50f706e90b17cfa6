//! A peer that vanishes: its connections stay open, take every byte, and answer nothing.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes bytes on. Connections that were there when it vanished swallow them from then on; new ones work.
pub struct Vanishing {
    pub address: SocketAddr,
    generation: watch::Sender<u64>,
}

impl Vanishing {
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (generation, watched) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if let Ok(server) = TcpStream::connect(target).await {
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    tokio::spawn(pass(from_client, to_server, watched.clone()));
                    tokio::spawn(pass(from_server, to_client, watched.clone()));
                }
            }
        });
        Self { address, generation }
    }

    pub fn vanish(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }
}

async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, generation: watch::Receiver<u64>) {
    let born = *generation.borrow();
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        let lives = *generation.borrow() == born;
        if lives && to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
    // Neither side of a connection that has vanished hears of the other's end.
    if *generation.borrow() != born {
        std::future::pending::<()>().await;
    }
}
