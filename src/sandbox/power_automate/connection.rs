//! Connections that can be cut: a listener goes in; streams come out that a handler can break on purpose.
//!
//! A cut works at the next write: the handler marks the connection and returns, the server writes the answer, and the
//! stream refuses it. That leaves the client with exactly what a broken network leaves: a reset before the first byte
//! of the answer, or a body that ends too early.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// The handle with which a handler cuts its own connection.
#[derive(Debug, Clone)]
pub(super) struct Cut(Arc<AtomicI64>);

/// Nothing is cut.
const WHOLE: i64 = -1;
/// The connection is reset without a byte of the answer.
const RESET: i64 = -2;
/// The rest of an answer is not sent.
const ENDED: i64 = -3;

impl Cut {
    /// Resets the connection instead of sending the answer.
    pub(super) fn reset(&self) {
        self.0.store(RESET, Ordering::Release);
    }

    /// Closes the connection after so many bytes of the answer's body.
    pub(super) fn after_body_bytes(&self, bytes: usize) {
        self.0
            .store(i64::try_from(bytes).unwrap_or(i64::MAX), Ordering::Release);
    }
}

/// A TCP listener whose streams can be cut.
pub(super) struct CuttableListener(pub(super) TcpListener);

impl Listener for CuttableListener {
    type Io = CuttableStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (CuttableStream, SocketAddr) {
        loop {
            match self.0.accept().await {
                Ok((stream, peer)) => {
                    // Small answers must not wait for the client's acknowledgement of the answer before.
                    let _ = stream.set_nodelay(true);
                    return (
                        CuttableStream {
                            stream,
                            cut: Cut(Arc::new(AtomicI64::new(WHOLE))),
                        },
                        peer,
                    );
                }
                Err(error) => {
                    tracing::warn!(%error, "the simulator cannot accept a connection");
                    // Out of file descriptors: accepting again at once would spin.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Connected<IncomingStream<'_, CuttableListener>> for Cut {
    fn connect_info(stream: IncomingStream<'_, CuttableListener>) -> Self {
        stream.io().cut.clone()
    }
}

pub(super) struct CuttableStream {
    stream: TcpStream,
    cut: Cut,
}

impl AsyncRead for CuttableStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for CuttableStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.cut.0.load(Ordering::Acquire) {
            WHOLE => Pin::new(&mut self.stream).poll_write(cx, bytes),
            RESET => {
                // With no linger, closing sends a reset and not an orderly end.
                let _ = self.stream.set_zero_linger();
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
            ENDED => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            body => {
                let head = bytes
                    .windows(4)
                    .position(|window| window == b"\r\n\r\n")
                    .map_or(0, |at| at + 4);
                let keep = head
                    .saturating_add(usize::try_from(body).unwrap_or(0))
                    .min(bytes.len())
                    .max(1);
                let written = std::task::ready!(Pin::new(&mut self.stream).poll_write(cx, &bytes[..keep]))?;
                if written >= keep {
                    self.cut.0.store(ENDED, Ordering::Release);
                }
                Poll::Ready(Ok(written))
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    /// Never: head and body then reach `poll_write` in one piece, where the cut is measured.
    fn is_write_vectored(&self) -> bool {
        false
    }
}
