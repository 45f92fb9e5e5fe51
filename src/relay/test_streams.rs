//! Streams for tests.

use super::RelayStream;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::net::{TcpListener, TcpStream};

/// The two ends of a connection over loopback.
pub(crate) async fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (dialled, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    (dialled.unwrap(), accepted.unwrap().0)
}

/// One end of a connection in memory, which a clock that is turned does not outrun.
pub(crate) struct InMemory {
    stream: DuplexStream,
    /// For how long the other end's kernel is to have been silent.
    pub(crate) unacked_for: Option<Duration>,
    /// Whether the other end is to have closed.
    pub(crate) peer_has_closed: bool,
}

impl InMemory {
    /// It, and its other end. So many bytes may be on their way.
    pub(crate) fn new(room: usize) -> (InMemory, DuplexStream) {
        let (stream, far) = duplex(room);
        (InMemory { stream, unacked_for: None, peer_has_closed: false }, far)
    }
}

impl AsyncRead for InMemory {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for InMemory {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl RelayStream for InMemory {
    fn abort(&mut self) {}

    fn is_broken(&self, _: &mut Context<'_>) -> bool {
        false
    }

    fn peer_has_closed(&self) -> bool {
        self.peer_has_closed
    }

    fn unacked_for(&self) -> Option<Duration> {
        self.unacked_for
    }
}

/// A stream on which a message comes again and again, and at once, until a bound that no turn may reach. It
/// takes everything.
pub(crate) struct Torrent {
    tcp: TcpStream,
    message: Vec<u8>,
    at: usize,
    read: Arc<AtomicUsize>,
}

impl Torrent {
    /// Bytes that come.
    pub(crate) const BOUND: usize = 64 << 20;

    /// One of this message, and how many bytes were read.
    pub(crate) async fn new(message: Vec<u8>) -> (Torrent, Arc<AtomicUsize>) {
        let read = Arc::new(AtomicUsize::new(0));
        (Torrent { tcp: connection().await.0, message, at: 0, read: Arc::clone(&read) }, read)
    }
}

impl AsyncRead for Torrent {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let left = Torrent::BOUND - self.read.load(Ordering::Relaxed);
            let n = buf.remaining().min(self.message.len() - self.at).min(left);
            if n == 0 {
                return Poll::Ready(Ok(()));
            }
            buf.put_slice(&self.message[self.at..self.at + n]);
            self.at = (self.at + n) % self.message.len();
            self.read.fetch_add(n, Ordering::Relaxed);
        }
    }
}

impl AsyncWrite for Torrent {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl RelayStream for Torrent {
    fn abort(&mut self) {
        self.tcp.abort();
    }

    fn is_broken(&self, cx: &mut Context<'_>) -> bool {
        self.tcp.is_broken(cx)
    }
}
