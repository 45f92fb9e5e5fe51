//! A TLS connection.
//!
//! It is made here, on rustls alone, for what it costs: a thread's connections share one buffer for what comes
//! off the wire, so that a read of the socket brings many records and an idle connection owns no buffer; and
//! the end of a handshake travels with the first of what it was made for.

use super::provider::H2;
use crate::net::reached::{self, Reached};
use crate::relay::RelayStream;
use crate::runtime::buffers::Held;
use crate::wire::http::first_line;
use rustls::Connection;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a handshake may take.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes that are read off the wire at once: no more than a relay's buffer takes, so that what they hold
/// fits into it.
const SCRATCH_LEN: usize = 64 * 1024;

/// Bytes that may wait inside rustls to be written. A relay writes no more before they have gone.
const QUEUE: usize = 80 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_LEN].into_boxed_slice());
}

/// Whether the end of this direction is told by close_notify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CloseNotify {
    Always,
    UnlessPeerClosed,
    Never,
}

/// A TLS connection whose handshake is done.
#[derive(Debug)]
pub struct TlsStream {
    pub(super) tcp: TcpStream,
    pub(super) connection: Box<Connection>,
    /// The wire has ended.
    eof: bool,
    close_notify_sent: bool,
    close_notify: CloseNotify,
    close_notify_received: bool,
    /// What was wrong with the last that was read, behind plaintext that waits to be taken.
    read_error: Option<io::Error>,
    /// Nothing has been written since the handshake, so that what is left of it may go along.
    handshake_unflushed: bool,
    /// Bytes that the socket has taken after they had waited here.
    drained: u64,
    /// What waits inside rustls for the socket, in the account of the process.
    queued: Held,
}

impl TlsStream {
    /// A connection on which nothing has been said.
    pub(super) fn new(tcp: TcpStream, connection: impl Into<Connection>) -> TlsStream {
        let mut connection = Box::new(connection.into());
        connection.set_buffer_limit(Some(QUEUE));
        TlsStream {
            tcp,
            connection,
            eof: false,
            close_notify_sent: false,
            close_notify: CloseNotify::Always,
            close_notify_received: false,
            read_error: None,
            handshake_unflushed: true,
            drained: 0,
            queued: Held::default(),
        }
    }

    /// Takes bytes that were read off the wire before. Nothing is written.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while self.give_rustls(&mut bytes)? {
            self.process().map_err(invalid)?;
        }
        Ok(())
    }

    /// Gives rustls some bytes off the wire and takes them from `wire`. `false` when it takes none: there
    /// are none, or the peer has said close_notify, behind which nothing counts (RFC 8446 section 6.1).
    fn give_rustls(&mut self, wire: &mut &[u8]) -> io::Result<bool> {
        Ok(!wire.is_empty() && self.connection.read_tls(wire)? > 0)
    }

    /// Has rustls look at what it was given.
    fn process(&mut self) -> Result<(), rustls::Error> {
        let state = self.connection.process_new_packets()?;
        self.close_notify_received |= state.peer_has_closed();
        Ok(())
    }

    /// Makes the handshake. What is left to say of it in the end goes out with the first write, or
    /// before the first wait.
    pub(super) async fn handshake(mut self) -> io::Result<TlsStream> {
        match timeout(HANDSHAKE_TIMEOUT, poll_fn(|cx| self.poll_handshake(cx))).await {
            Ok(result) => result.map(|()| self),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Sends the alert that says what is wrong, within the time that a connection has that is done with.
    pub(super) async fn send_alert(&mut self) {
        const ALERT_TIMEOUT: Duration = Duration::from_secs(1);
        // A peer that has closed cannot read it; ignore the error.
        let _ = timeout(ALERT_TIMEOUT, poll_fn(|cx| self.poll_send(cx))).await;
    }

    /// From now on no close_notify is sent to a peer that has ended its direction, as nginx sends none.
    pub fn close_notify_unless_peer_closed(&mut self) {
        self.close_notify = CloseNotify::UnlessPeerClosed;
    }

    /// The connection that it runs on.
    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// The name that the other end asked for.
    pub fn asked_name(&self) -> Option<&str> {
        match &*self.connection {
            Connection::Server(connection) => connection.server_name(),
            Connection::Client(_) => None,
        }
    }

    /// The protocol inside that both ends agreed on (ALPN).
    pub(super) fn protocol(&self) -> Option<&[u8]> {
        self.connection.alpn_protocol()
    }

    /// What both ends agreed on to speak inside, for people.
    #[cfg(feature = "grpc")]
    pub fn chosen_protocol(&self) -> String {
        self.protocol().map_or_else(|| "none".to_owned(), |name| name.escape_ascii().to_string())
    }

    /// Whether HTTP/2 is spoken inside.
    pub fn is_h2(&self) -> bool {
        self.protocol() == Some(H2)
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.connection.is_handshaking() {
            // A peer that has closed, with close_notify or without, finishes no handshake.
            if self.eof || self.close_notify_received {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            ready!(self.poll_send(cx))?;
            // A buffer without room: what comes behind the handshake stays in rustls.
            ready!(self.poll_wire(cx, &mut ReadBuf::new(&mut [])))?;
            if let Some(error) = self.read_error.take() {
                return Poll::Ready(Err(error));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Moves plaintext that is ready to `buffer`. `Ok(true)` when there was some, or there is no more.
    fn take(&mut self, buffer: &mut ReadBuf<'_>) -> io::Result<bool> {
        match self.connection.reader().read(buffer.initialize_unfilled()) {
            Ok(n) => {
                buffer.advance(n);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(self.eof),
            // A peer that closes without saying so: what is inside has its own ends.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Reads the wire once and lets rustls have it. Plaintext goes to `buffer` on the way, so that rustls
    /// never holds more than one record.
    fn poll_wire(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let most = match buffer.remaining() {
                // In a handshake. rustls takes no more plaintext than that before it is fetched.
                0 => 16 * 1024,
                remaining => remaining,
            };
            let most = most.min(scratch.len());
            let mut wire = ReadBuf::new(scratch.get_mut(..most).unwrap_or_default());
            ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut wire))?;
            let read = wire.filled();
            let mut wire = read;
            if !wire.is_empty() && self.connection.is_handshaking() {
                reached::note(|| Reached::Said(String::new()));
            }
            if wire.is_empty() {
                self.eof = true;
                self.connection.read_tls(&mut wire)?;
                return Poll::Ready(Ok(()));
            }
            while self.give_rustls(&mut wire)? {
                if let Err(error) = self.process() {
                    let not_tls = self.connection.is_handshaking() && NotTls::is_one(read);
                    if matches!(error, rustls::Error::AlertReceived(_)) {
                        // To a peer that gives up in the clear OpenSSL says something, too.
                        self.connection.send_close_notify();
                    }
                    // The alert that says what was wrong.
                    let _ = self.poll_send(cx);
                    // What came before it in the same read is still read.
                    self.read_error = Some(if not_tls { NotTls::new(read).into() } else { invalid(error) });
                    return Poll::Ready(Ok(()));
                }
                while buffer.remaining() > 0 {
                    let before = buffer.filled().len();
                    if !self.take(buffer)? || buffer.filled().len() == before {
                        break;
                    }
                }
            }
            Poll::Ready(Ok(()))
        })
    }

    /// Writes what rustls has ready for the wire.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut Wire { tcp: &mut self.tcp, cx }) {
                // Asked again, it would take nothing again.
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(n) => self.drained += n as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        self.queued.set(0);
        Poll::Ready(Ok(()))
    }
}

/// What rustls says of bytes that are no TLS, or none that it takes.
fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// What came in the place of a handshake is no TLS.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no TLS")]
pub(super) struct NotTls(pub(super) String);

impl NotTls {
    /// Whether bytes that came in one go begin with the head of no record (RFC 8446 section 5.1).
    fn is_one(bytes: &[u8]) -> bool {
        !matches!(bytes, [20..=24, 3, ..] | [20..=24])
    }

    fn new(bytes: &[u8]) -> NotTls {
        NotTls(first_line(bytes))
    }
}

impl From<NotTls> for io::Error {
    fn from(error: NotTls) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}

/// A socket as rustls writes to it.
struct Wire<'a, 'b> {
    tcp: &'a mut TcpStream,
    cx: &'a mut Context<'b>,
}

impl io::Write for Wire<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match Pin::new(&mut *self.tcp).poll_write_vectored(self.cx, slices) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        loop {
            if this.take(buffer)? {
                return Poll::Ready(Ok(()));
            }
            if let Some(error) = this.read_error.take() {
                return Poll::Ready(Err(error));
            }
            // The rest of a handshake, and answers of the protocol's own, such as to a request for new keys.
            if this.connection.wants_write() {
                // A peer that takes nothing any more may have said something before: that is read first,
                // and then this error or its like.
                let _ = this.poll_send(cx);
            }
            ready!(this.poll_wire(cx, buffer))?;
            if buffer.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        // What was taken before has to go first, or the queue would grow.
        if !std::mem::take(&mut this.handshake_unflushed) {
            ready!(this.poll_send(cx))?;
        }
        let n = this.connection.writer().write_vectored(slices)?;
        let drained = this.drained;
        let sent = this.poll_send(cx);
        // What goes at once has not waited: whoever wrote it knows of that.
        this.drained = drained;
        match sent {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => Poll::Ready(Ok(n)),
            Poll::Pending => {
                this.queued.set(n);
                Poll::Ready(Ok(n))
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let unheard = match this.close_notify {
            CloseNotify::Always => false,
            CloseNotify::UnlessPeerClosed => this.eof || this.close_notify_received,
            CloseNotify::Never => true,
        };
        if !std::mem::replace(&mut this.close_notify_sent, true) && !unheard {
            this.connection.send_close_notify();
        }
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.tcp).poll_shutdown(cx)
    }
}

impl RelayStream for TlsStream {
    fn abort(&mut self) {
        self.tcp.abort();
    }

    fn is_broken(&self, cx: &mut Context<'_>) -> bool {
        self.tcp.is_broken(cx)
    }

    fn peer_has_closed(&self) -> bool {
        self.tcp.peer_has_closed()
    }

    fn bytes_acked(&self) -> Option<u64> {
        self.tcp.bytes_acked()
    }

    fn unacked_for(&self) -> Option<Duration> {
        self.tcp.unacked_for()
    }

    fn ended_abruptly(&self) -> bool {
        self.eof && !self.close_notify_received
    }

    fn end_abruptly(&mut self) {
        self.close_notify = CloseNotify::Never;
    }

    fn drained(&self) -> u64 {
        self.drained
    }

    fn change_reactor(&mut self) {
        self.tcp.change_reactor();
    }
}
