//! What a relay asks of the two streams that it joins.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::TcpStream;

/// A byte stream that can be joined to another one. A TCP connection is one, and what runs over it, such as
/// TLS; so can be one of several streams that share a connection.
pub trait RelayStream: AsyncRead + AsyncWrite + Unpin {
    /// Makes the closing of this stream a reset, so that the peer does not take it for an end in order.
    fn abort(&mut self);

    /// Whether the stream is known to have broken, though nothing is read from it or written to it. If it
    /// has not, the task is woken when it does.
    fn is_broken(&self, cx: &mut Context<'_>) -> bool;

    /// The TCP connection whose bytes are those of this stream, so that the kernel may carry them. `None`
    /// if there is none.
    fn as_tcp(&self) -> Option<&TcpStream> {
        None
    }

    /// How many bytes the peer has acknowledged. `None` where nobody tells.
    fn bytes_acked(&self) -> Option<u64> {
        None
    }

    /// Whether the peer has closed its direction of the connection, though not all of it has been read. False where
    /// nobody tells.
    fn peer_has_closed(&self) -> bool {
        false
    }

    /// For how long the peer has acknowledged nothing, not even that it got nothing. `None` where nobody tells.
    fn unacked_for(&self) -> Option<Duration> {
        None
    }

    /// Whether the peer has ended its direction without the message that the format has for it, such as
    /// TLS's close_notify. The end of the other stream is made the same.
    fn ended_abruptly(&self) -> bool {
        false
    }

    /// Leaves that message out when this direction is shut down.
    fn end_abruptly(&mut self) {}

    /// A number that grows with what leaves the stream's own buffer: progress that it makes while it takes
    /// nothing more.
    fn drained(&self) -> u64 {
        0
    }

    /// Registers the stream with the reactor of this thread.
    fn change_reactor(&mut self) {}
}

impl RelayStream for TcpStream {
    fn abort(&mut self) {
        reset(self);
    }

    fn is_broken(&self, cx: &mut Context<'_>) -> bool {
        match pin!(self.ready(Interest::ERROR)).poll(cx) {
            Poll::Ready(Ok(ready)) => ready.is_error(),
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        }
    }

    fn as_tcp(&self) -> Option<&TcpStream> {
        Some(self)
    }

    fn bytes_acked(&self) -> Option<u64> {
        super::acked::bytes_acked(self)
    }

    fn peer_has_closed(&self) -> bool {
        super::acked::peer_has_closed(self)
    }

    fn unacked_for(&self) -> Option<Duration> {
        super::acked::unacked_for(self)
    }

    /// By a second descriptor, as a reactor does not give the first one back without closing it. Where
    /// there is none, the old reactor goes on: it wakes tasks of other threads, too, for a system call more.
    fn change_reactor(&mut self) {
        #[cfg(unix)]
        {
            use std::os::fd::AsFd as _;
            let again = self.as_fd().try_clone_to_owned();
            if let Ok(again) = again.and_then(|socket| TcpStream::from_std(socket.into())) {
                *self = again;
            }
        }
    }
}

/// Makes the closing of this connection a reset.
pub fn reset(stream: &TcpStream) {
    // Bytes that the kernel holds back to send more at once would be thrown away by the reset: this sends
    // them. (Those for which the peer has no room are lost, as they are by every reset.)
    let _ = stream.set_nodelay(true);
    // A socket that refuses is closed in order instead; there is nothing better to do.
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Whether the peer of this connection is known to have sent all it will, though that is not read yet.
pub async fn has_ended(stream: &TcpStream) -> bool {
    let mut ready = pin!(stream.ready(Interest::READABLE));
    std::future::poll_fn(|cx| match ready.as_mut().poll(cx) {
        Poll::Ready(Ok(ready)) => Poll::Ready(ready.is_read_closed()),
        Poll::Ready(Err(_)) => Poll::Ready(true),
        Poll::Pending => Poll::Ready(false),
    })
    .await
}

/// An error for a stream whose other end has long been silent and acknowledges nothing.
pub(crate) fn unanswered() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "nothing that was sent is acknowledged")
}

/// An error for a stream that is known to be broken without saying why.
pub(super) fn broken() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}
