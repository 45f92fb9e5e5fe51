//! A stream of a QUIC connection, as a relay takes it.

use super::CODE;
use super::heard::Heard;
use crate::relay::RelayStream;
use crate::transport::usage::InUse;
use quinn::{RecvStream, SendStream, StoppedError, VarInt};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tracing::warn;

type Stopped = Pin<Box<dyn Future<Output = Result<Option<VarInt>, StoppedError>> + Send>>;

/// A bidirectional stream.
pub struct QuicStream {
    send: SendStream,
    receive: RecvStream,
    /// What waits for the peer's word that it takes nothing more; there once it was asked for.
    stopped: Mutex<Option<Stopped>>,
    in_use: Option<InUse>,
    /// Of a client's: what is heard of its server, and whether it has answered in this stream.
    server: Option<(Arc<Heard>, HasAnswered)>,
}

type HasAnswered = bool;

impl QuicStream {
    pub(super) fn new(
        (send, receive): (SendStream, RecvStream),
        in_use: InUse,
        server: Option<Arc<Heard>>,
    ) -> QuicStream {
        let server = server.map(|heard| (heard, false));
        QuicStream { send, receive, stopped: Mutex::new(None), in_use: Some(in_use), server }
    }

    fn note_activity(&self) {
        if let Some(in_use) = &self.in_use {
            in_use.note_activity();
        }
    }

    /// An end without an answer is worth a line: nobody else tells it.
    fn tell_break(&mut self, error: &io::Error) {
        if let Some((_, has_answered @ false)) = &mut self.server {
            *has_answered = true;
            warn!(%error, "the server, or somebody on the way, has broken off the tunnel before the server answered");
        }
    }
}

impl Drop for QuicStream {
    /// A connection that nobody uses may be closed, and with it what has not arrived.
    fn drop(&mut self) {
        if let Some(in_use) = self.in_use.take() {
            let stopped = self.send.stopped();
            in_use.until(async move { drop(stopped.await) });
        }
    }
}

impl AsyncRead for QuicStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.receive).poll_read(cx, buffer));
        self.note_activity();
        match &read {
            Ok(()) => {
                if let Some((heard, has_answered)) = &mut self.server {
                    *has_answered = true;
                    heard.note_heard();
                }
            }
            Err(error) => self.tell_break(error),
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for QuicStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.send).poll_write(cx, bytes));
        self.note_activity();
        if let Some((heard, _)) = &self.server {
            heard.note_said();
        }
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
