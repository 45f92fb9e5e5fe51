//! A connection that was accepted or dialled, with TLS on it or not.

#[cfg(feature = "grpc")]
use super::h2::H2Stream;
use super::tls::TlsStream;
use crate::relay::RelayStream;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;

/// A TCP connection, or TLS on one.
#[derive(Debug)]
pub enum Stream {
    /// The connection as it is.
    Tcp(TcpStream),
    /// TLS on it. Boxed: its state is a hundred times larger.
    Tls(Box<TlsStream>),
    /// A stream of an HTTP/2 connection.
    #[cfg(feature = "grpc")]
    H2(Box<H2Stream>),
}

/// Calls the same of whichever stream it is.
macro_rules! either {
    ($stream:expr, $inner:ident => $call:expr) => {
        match $stream {
            Stream::Tcp($inner) => $call,
            Stream::Tls($inner) => $call,
            #[cfg(feature = "grpc")]
            Stream::H2($inner) => $call,
        }
    };
}

impl Stream {
    /// Writes this with one call, and sends it off.
    ///
    /// # Errors
    ///
    /// The connection is broken.
    pub(super) async fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes).await?;
        self.flush().await
    }

    /// The TCP connection at the bottom, where it has no other streams.
    pub fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Stream::Tcp(tcp) => Some(tcp),
            Stream::Tls(tls) => Some(tls.tcp()),
            #[cfg(feature = "grpc")]
            Stream::H2(_) => None,
        }
    }

    /// Whether TLS is on it.
    pub fn is_tls(&self) -> bool {
        matches!(self, Stream::Tls(_))
    }

    /// The name that the TLS hello asked for, if there was one.
    pub fn server_name(&self) -> Option<&str> {
        match self {
            Stream::Tcp(_) => None,
            Stream::Tls(tls) => tls.asked_name(),
            #[cfg(feature = "grpc")]
            Stream::H2(_) => None,
        }
    }

    /// From now on no close_notify is sent to a peer that has ended its direction, as nginx sends none.
    pub fn close_notify_unless_peer_closed(&mut self) {
        if let Stream::Tls(tls) = self {
            tls.close_notify_unless_peer_closed();
        }
    }
}

impl From<TcpStream> for Stream {
    fn from(tcp: TcpStream) -> Stream {
        Stream::Tcp(tcp)
    }
}

impl From<TlsStream> for Stream {
    fn from(tls: TlsStream) -> Stream {
        Stream::Tls(Box::new(tls))
    }
}

#[cfg(feature = "grpc")]
impl From<H2Stream> for Stream {
    fn from(stream: H2Stream) -> Stream {
        Stream::H2(Box::new(stream))
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        either!(self, stream => stream.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx))
    }
}

impl RelayStream for Stream {
    fn abort(&mut self) {
        either!(self, stream => stream.abort());
    }

    fn is_broken(&self, cx: &mut Context<'_>) -> bool {
        either!(self, stream => stream.is_broken(cx))
    }

    fn as_tcp(&self) -> Option<&TcpStream> {
        either!(self, stream => stream.as_tcp())
    }

    fn peer_has_closed(&self) -> bool {
        either!(self, stream => stream.peer_has_closed())
    }

    fn bytes_acked(&self) -> Option<u64> {
        either!(self, stream => stream.bytes_acked())
    }

    fn unacked_for(&self) -> Option<Duration> {
        either!(self, stream => stream.unacked_for())
    }

    fn ended_abruptly(&self) -> bool {
        either!(self, stream => stream.ended_abruptly())
    }

    fn end_abruptly(&mut self) {
        either!(self, stream => stream.end_abruptly());
    }

    fn drained(&self) -> u64 {
        either!(self, stream => stream.drained())
    }

    fn change_reactor(&mut self) {
        either!(self, stream => stream.change_reactor());
    }
}
