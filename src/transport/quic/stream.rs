//! A stream of a QUIC connection, as a relay takes it.

use super::CODE;
use super::keep_alive::InUse;
use crate::relay::RelayStream;
use quinn::{RecvStream, SendStream, StoppedError, VarInt};
use std::io;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

type Stopped = Pin<Box<dyn Future<Output = Result<Option<VarInt>, StoppedError>> + Send>>;

/// A bidirectional stream.
pub struct QuicStream {
    send: SendStream,
    receive: RecvStream,
    /// What waits for the peer's word that it takes nothing more; there once it was asked for.
    stopped: Mutex<Option<Stopped>>,
    _in_use: InUse,
}

impl QuicStream {
    pub(super) fn new((send, receive): (SendStream, RecvStream), in_use: InUse) -> QuicStream {
        QuicStream { send, receive, stopped: Mutex::new(None), _in_use: in_use }
    }
}

impl AsyncRead for QuicStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.receive).poll_read(cx, buffer)
    }
}

impl AsyncWrite for QuicStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.send).poll_write(cx, bytes));
        Poll::Ready(written.map_err(io::Error::from))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.send).poll_shutdown(cx)
    }
}

impl RelayStream for QuicStream {
    fn abort(&mut self) {
        // Whichever direction has ended already is left as it is.
        let _ = self.send.reset(CODE);
        let _ = self.receive.stop(CODE);
    }

    fn is_broken(&self, cx: &mut Context<'_>) -> bool {
        let mut stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = stopped.get_or_insert_with(|| Box::pin(self.send.stopped()));
        match waiting.as_mut().poll(cx) {
            Poll::Pending => false,
            Poll::Ready(result) => {
                *stopped = None;
                // `None`: all that was sent has arrived.
                !matches!(result, Ok(None))
            }
        }
    }
}
