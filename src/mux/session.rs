//! One session: a socket, what waits for it, and how far its two directions are.

use super::{DIALLING, SOFT};
use crate::net::DialError;
use crate::relay::reset;
use crate::wire::mux::Encoder;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::AsyncWrite as _;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// A connection that is being made.
pub type Dial = Pin<Box<dyn Future<Output = Result<TcpStream, DialError>> + Send>>;

/// The socket of a session.
pub enum Socket {
    /// Not dialled: the peer has sent nothing yet.
    Silent,
    Dialling(Dial),
    Open(TcpStream),
}

/// One session.
pub struct Session {
    pub id: u16,
    pub socket: Socket,
    pub encoder: Encoder,
    /// Who is at the other end of the socket, for the log.
    pub peer: Option<SocketAddr>,
    pub began: Instant,
    /// What the socket has not taken yet, from `taken` on.
    queue: Vec<u8>,
    taken: usize,
    /// When something last moved, to the precision of a look at the clock.
    pub quiet_since: Instant,
    pub moved: bool,
    /// Since when the socket has taken nothing of what waits.
    pub stalled_since: Option<Instant>,
    /// The peer sends nothing more; the socket is told when the queue is empty.
    pub wire_ended: bool,
    pub socket_told: bool,
    /// The peer has ended the session by an error while its socket was being dialled: what had come
    /// before goes to the socket, and then a reset.
    pub reset_due: bool,
    /// The socket could not be written to. What it brings is still passed on; then it is over.
    pub broken: bool,
    /// The socket has brought data to which nothing has come back.
    pub asking: bool,
    /// The socket has nothing more to send.
    pub socket_ended: bool,
    /// The peer has been told the end.
    pub said_end: bool,
    /// Nothing is worth waiting for: to be taken out.
    pub over: bool,
    pub up: u64,
    pub down: u64,
}

impl Session {
    pub fn new(id: u16, socket: Socket, encoder: Encoder) -> Session {
        let now = Instant::now();
        Session {
            id,
            socket,
            encoder,
            peer: None,
            began: now,
            queue: Vec::new(),
            taken: 0,
            quiet_since: now,
            moved: false,
            stalled_since: None,
            wire_ended: false,
            socket_told: false,
            reset_due: false,
            broken: false,
            asking: false,
            socket_ended: false,
            said_end: false,
            over: false,
            up: 0,
            down: 0,
        }
    }

    /// Bytes that wait for the socket.
    pub fn waiting(&self) -> usize {
        self.queue.len() - self.taken
    }

    /// Whether so much waits that the connection is to be read no further.
    pub fn is_full(&self) -> bool {
        self.waiting() >= if self.is_dialling() { DIALLING } else { SOFT }
    }

    pub fn is_dialling(&self) -> bool {
        matches!(self.socket, Socket::Dialling(_))
    }

    /// Neither end has said anything yet.
    pub fn is_silent(&self) -> bool {
        self.up == 0 && self.down == 0
    }

    /// How long nothing has moved.
    pub fn quiet_for(&mut self, now: Instant) -> Duration {
        if std::mem::take(&mut self.moved) {
            self.quiet_since = now;
        }
        now.saturating_duration_since(self.quiet_since)
    }

    /// Whether it ends soon or stands still, so that it is to be looked at every now and then.
    pub fn wants_looks(&self) -> bool {
        self.waiting() > 0 || self.said_end || self.socket_ended || self.wire_ended
    }

    /// Both directions are over.
    pub fn is_done(&self) -> bool {
        self.over || (self.socket_told && self.said_end)
    }

    /// Takes pieces of `input` for the socket: writes what it takes, and keeps the rest.
    pub fn give(&mut self, cx: &mut Context<'_>, input: &[u8], pieces: &[std::ops::Range<usize>]) {
        /// Pieces that are written with one call.
        const MOST: usize = 64;
        let slice = |range: &std::ops::Range<usize>| input.get(range.clone()).unwrap_or_default();
        let mut skip = 0;
        if self.wire_ended || self.reset_due || self.broken {
            return;
        }
        self.moved = true;
        self.asking = false;
        if let (Socket::Open(socket), 0) = (&mut self.socket, self.queue.len()) {
            let mut slices = [IoSlice::new(&[]); MOST];
            for (to, range) in slices.iter_mut().zip(pieces) {
                *to = IoSlice::new(slice(range));
            }
            let slices = slices.get(..pieces.len().min(MOST)).unwrap_or_default();
            match Pin::new(socket).poll_write_vectored(cx, slices) {
                Poll::Ready(Ok(written)) => skip = written,
                Poll::Ready(Err(_)) => return self.break_off(),
                Poll::Pending => {}
            }
        }
        self.up += pieces.iter().map(|range| range.len() as u64).sum::<u64>();
        for range in pieces {
            let bytes = slice(range);
            let written = skip.min(bytes.len());
            skip -= written;
            self.queue.extend_from_slice(bytes.get(written..).unwrap_or_default());
        }
    }

    /// The socket takes nothing any more. What it had to say before that is still read.
    fn break_off(&mut self) {
        self.broken = true;
        self.queue = Vec::new();
        self.taken = 0;
        self.stalled_since = None;
    }

    /// Gives the socket what waits for it, and the end when that has come.
    pub fn poll_drain(&mut self, cx: &mut Context<'_>) {
        let Socket::Open(socket) = &mut self.socket else { return };
        while self.taken < self.queue.len() {
            let left = self.queue.get(self.taken..).unwrap_or_default();
            match Pin::new(&mut *socket).poll_write(cx, left) {
                Poll::Ready(Ok(0) | Err(_)) => return self.break_off(),
                Poll::Ready(Ok(n)) => {
                    self.taken += n;
                    self.moved = true;
                    self.stalled_since = None;
                }
                Poll::Pending => {
                    self.stalled_since.get_or_insert_with(Instant::now);
                    // What was taken is moved out of the way when it is most of it.
                    if self.taken > self.queue.len() / 2 {
                        self.queue.drain(..self.taken);
                        self.taken = 0;
                    }
                    return;
                }
            }
        }
        if !self.queue.is_empty() {
            self.queue = Vec::new();
            self.taken = 0;
        }
        self.stalled_since = None;
        if self.wire_ended && !self.socket_told {
            // Writing has ended before the call returns: a socket does not wait here.
            let _ = Pin::new(socket).poll_shutdown(cx);
            self.socket_told = true;
        }
    }

    /// Makes the closing of the socket a reset.
    pub fn reset(&self) {
        if let Socket::Open(socket) = &self.socket {
            reset(socket);
        }
    }
}
