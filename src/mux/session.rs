//! One session: a socket, what waits for it, and how far its two directions are.
//!
//! ```text
//!      ┌─────────── Open ───────────────────────┐
//!      │ socket      │ writing                   │ peer
//!      │ ends        │ fails                     │ ends
//!      ▼             ▼          writing fails    ▼         all is written
//! SocketEnded     Broken ◄────────────────── PeerEnding ──────────────────► PeerEnded
//!      │             │                           │                              │
//!      │ peer ends   │ socket ends               │ socket ends                  │ socket ends
//!      │             │                           ▼                              │
//!      └─────────────┼────────────────────► BothEnding                          │
//!                    │ (a reset)                 │ all is written               │
//!                    ▼                           ▼                              ▼
//!                 Closed ◄───────────────────────┴──────────────────────────────┘
//! ```
//!
//! From each state a reset, an error of the socket or a time-out leads to `Closed`; an error that the peer
//! reports does, too, but while the backend is being dialled and bytes wait for it (`ResetDue`). "Ending"
//! means that bytes wait for the socket, behind which it is told the end.

use super::buffer::WriteBuffer;
use super::source::{Connecting, NewSession};
use super::timers::Limits;
use crate::relay::{RelayStream as _, reset};
use crate::wire::mux::Encoder;
use crate::wire::websocket::Role;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Bytes that wait for one session before the connection is read no further.
pub(super) const SOFT: usize = 256 * 1024;

/// Bytes that wait for a backend that is being dialled before the connection is read no further.
pub(super) const DIALLING: usize = 64 * 1024;

/// The socket of a session.
enum Socket {
    /// Not dialled: the peer has sent nothing yet.
    None,
    Connecting(Connecting),
    Connected(TcpStream),
}

/// How far the two directions of a session are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The peer sends nothing more. The socket is told when it has got what waits for it.
    PeerEnding,
    /// The socket has been told that the peer sends nothing more.
    PeerEnded,
    /// The socket sends nothing more, and the peer has been told so.
    SocketEnded,
    /// Neither sends anything more. The socket is told when it has got what waits for it.
    BothEnding,
    /// The socket could not be written to. What it brings is still passed on; then it is reset.
    Broken {
        peer_ended: bool,
    },
    /// The peer has ended the session by an error while its socket was being dialled: what had come before
    /// goes to the socket, and then a reset.
    ResetDue,
    /// Nothing is worth waiting for.
    Closed,
}

/// What the peer is to be told of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tell {
    /// It has ended.
    End { error: bool },
    /// This direction of it has ended, by a ping.
    HalfClose,
}

/// One session.
pub(super) struct Session {
    id: u16,
    role: Role,
    socket: Socket,
    state: State,
    tell: Option<Tell>,
    encoder: Encoder,
    peer: Option<SocketAddr>,
    began: Instant,
    /// What the socket has not taken yet.
    out: WriteBuffer,
    /// When something last moved, to the precision of a look at the clock.
    quiet_since: Instant,
    moved: bool,
    /// Since when the socket has taken nothing of what waits.
    stalled_since: Option<Instant>,
    /// The socket has brought data to which nothing has come back.
    asking: bool,
    up: u64,
    down: u64,
}

impl Session {
    /// A session that the peer has begun.
    pub(super) fn of_peer(id: u16) -> Session {
        Session::new(id, Role::Server, Socket::None, Encoder::server(id))
    }

    /// A session that this end has begun: the peer is told by `encoder`.
    pub(super) fn of_ours(id: u16, session: NewSession, encoder: Encoder) -> Session {
        Session {
            peer: Some(session.peer),
            up: session.first.len() as u64,
            asking: !session.first.is_empty(),
            ..Session::new(id, Role::Client, Socket::Connected(session.socket), encoder)
        }
    }

    fn new(id: u16, role: Role, socket: Socket, encoder: Encoder) -> Session {
        let now = Instant::now();
        Session {
            id,
            role,
            socket,
            state: State::Open,
            tell: None,
            encoder,
            peer: None,
            began: now,
            out: WriteBuffer::default(),
            quiet_since: now,
            moved: false,
            stalled_since: None,
            asking: false,
            up: 0,
            down: 0,
        }
    }

    pub(super) fn id(&self) -> u16 {
        self.id
    }

    /// Who is at the other end of the socket, for the log.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// Bytes that have come for the socket, and from it.
    pub(super) fn payload(&self) -> (u64, u64) {
        (self.up, self.down)
    }

    /// Bytes that wait for the socket.
    pub(super) fn waiting(&self) -> usize {
        self.out.len()
    }

    /// Whether so much waits that the connection is to be read no further.
    pub(super) fn is_full(&self) -> bool {
        self.waiting() >= if self.is_connecting() { DIALLING } else { SOFT }
    }

    pub(super) fn is_connecting(&self) -> bool {
        matches!(self.socket, Socket::Connecting(_))
    }

    /// Whether nobody has been dialled for it.
    pub(super) fn has_no_socket(&self) -> bool {
        matches!(self.socket, Socket::None)
    }

    pub(super) fn connect(&mut self, connecting: Connecting) {
        self.socket = Socket::Connecting(connecting);
    }

    /// Neither end has said anything yet.
    pub(super) fn is_silent(&self) -> bool {
        self.up == 0 && self.down == 0 && self.state != State::Closed
    }

    /// Whether the socket has brought data to which nothing has come back.
    pub(super) fn is_asking(&self) -> bool {
        self.asking
    }

    /// Whether the peer sends nothing more.
    pub(super) fn peer_has_ended(&self) -> bool {
        match self.state {
            State::PeerEnding | State::PeerEnded | State::BothEnding | State::Closed => true,
            State::Broken { peer_ended } => peer_ended,
            State::Open | State::SocketEnded | State::ResetDue => false,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// How long the socket has taken nothing of what waits.
    pub(super) fn stalled_for(&self) -> Option<Duration> {
        self.stalled_since.map(|since| since.elapsed())
    }

    /// Whether it ends soon or stands still, so that it is to be looked at every now and then.
    pub(super) fn wants_ticks(&self) -> bool {
        self.waiting() > 0 || !matches!(self.state, State::Open | State::Broken { peer_ended: false })
    }

    /// Ends the session if nothing has moved for too long.
    pub(super) fn check_time(&mut self, now: Instant, limits: &Limits) {
        if std::mem::take(&mut self.moved) {
            self.quiet_since = now;
        }
        let limit = match self.state {
            State::Open | State::Broken { peer_ended: false } | State::ResetDue => limits.idle,
            State::SocketEnded => limits.socket_ended,
            State::PeerEnding | State::PeerEnded | State::BothEnding | State::Broken { peer_ended: true } => {
                limits.peer_ended
            }
            State::Closed => return,
        };
        if now.saturating_duration_since(self.quiet_since) >= limit {
            if self.waiting() > 0 {
                // What the socket got is not all there was.
                self.reset();
            }
            self.close(Some(Tell::End { error: false }));
        }
    }

    /// What the peer is to be told, once.
    pub(super) fn take_tell(&mut self) -> Option<Tell> {
        self.tell.take()
    }

    /// The peer sends nothing more, and still takes what comes.
    pub(super) fn peer_ends(&mut self) {
        self.state = match self.state {
            State::Open => State::PeerEnding,
            State::SocketEnded => {
                if self.role == Role::Client {
                    self.tell = Some(Tell::End { error: false });
                }
                State::BothEnding
            }
            State::Broken { .. } => State::Broken { peer_ended: true },
            state => state,
        };
    }

    /// The peer sends nothing more. The second time a client says so it takes nothing more either; it
    /// answers data that it does not expect with it.
    pub(super) fn peer_ends_session(&mut self, error: bool) {
        if error && self.waiting() > 0 && self.is_connecting() {
            self.state = State::ResetDue;
        } else if error {
            self.reset();
            self.close(None);
        } else {
            match (self.state, self.role) {
                (State::PeerEnding, Role::Server) if self.waiting() > 0 => self.state = State::BothEnding,
                (State::PeerEnding | State::PeerEnded | State::Broken { peer_ended: true }, Role::Server) => {
                    self.close(None)
                }
                _ => self.peer_ends(),
            }
        }
    }

    /// The socket sends nothing more.
    fn socket_ends(&mut self) {
        let end = Some(Tell::End { error: false });
        match (self.state, self.role) {
            (State::Open, Role::Server) => {
                (self.state, self.tell) = (State::SocketEnded, end);
                self.close_if_peer_waits_for_that();
            }
            // The session was begun before its socket could end, so the peer knows it.
            (State::Open, Role::Client) => {
                (self.state, self.tell) = (State::SocketEnded, Some(Tell::HalfClose));
            }
            (State::PeerEnding, _) => (self.state, self.tell) = (State::BothEnding, end),
            (State::PeerEnded, _) => self.close(end),
            (State::Broken { .. }, _) => self.abort(),
            (State::SocketEnded | State::BothEnding | State::ResetDue | State::Closed, _) => {}
        }
    }

    /// A peer with session id 0 knows the end of its only session by that of the connection alone, so it will
    /// not say one itself.
    fn close_if_peer_waits_for_that(&mut self) {
        if self.id == 0 && self.role == Role::Server && self.waiting() == 0 {
            self.close(None);
        }
    }

    /// Ends the session by an error: the socket is reset, and the peer is told.
    pub(super) fn abort(&mut self) {
        self.reset();
        self.close(Some(Tell::End { error: true }));
    }

    /// The peer has forgotten the session, and begins another one with its id.
    pub(super) fn forget(&mut self) {
        self.reset();
        self.close(None);
    }

    /// Nothing is worth waiting for. The peer is told this, if it has not been told an end yet.
    fn close(&mut self, tell: Option<Tell>) {
        let end_sent = match self.state {
            State::SocketEnded => self.role == Role::Server,
            State::BothEnding | State::Closed => true,
            _ => false,
        };
        if !end_sent {
            self.tell = tell;
        }
        self.state = State::Closed;
    }

    /// Makes the closing of the socket a reset.
    pub(super) fn reset(&self) {
        if let Socket::Connected(socket) = &self.socket {
            reset(socket);
        }
    }

    /// Takes parts of `input` for the socket: writes what it takes, and keeps the rest.
    pub(super) fn write(&mut self, cx: &mut Context<'_>, input: &[u8], parts: &[Range<usize>]) {
        if !matches!(self.state, State::Open | State::SocketEnded) {
            return;
        }
        self.moved = true;
        self.asking = false;
        let socket = match &mut self.socket {
            Socket::Connected(socket) => Some(socket),
            Socket::None | Socket::Connecting(_) => None,
        };
        match self.out.write(cx, socket, input, parts) {
            Ok(()) => self.up += parts.iter().map(|part| part.len() as u64).sum::<u64>(),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => self.abort(),
            Err(_) => self.break_off(),
        }
    }

    /// The socket takes nothing any more. What it had to say before that is still read.
    fn break_off(&mut self) {
        self.out.clear();
        self.stalled_since = None;
        match self.state {
            State::Open => self.state = State::Broken { peer_ended: false },
            State::PeerEnding => self.state = State::Broken { peer_ended: true },
            // It has nothing more to say.
            _ => self.abort(),
        }
    }

    /// Dials on, and gives the socket what waits for it, and the end when that has come.
    pub(super) fn poll_socket(&mut self, cx: &mut Context<'_>) {
        if let Socket::Connecting(connecting) = &mut self.socket {
            match connecting.as_mut().poll(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(socket)) => self.socket = Socket::Connected(socket),
                Poll::Ready(Err(error)) => {
                    tracing::warn!(%error, "no session: Shadowsocks cannot be reached");
                    return self.abort();
                }
            }
        }
        let Socket::Connected(socket) = &mut self.socket else { return };
        let before = self.out.len();
        let written = self.out.poll_write(cx, socket);
        if self.out.len() < before {
            self.moved = true;
            self.stalled_since = None;
        }
        match written {
            Poll::Ready(Err(_)) => self.break_off(),
            Poll::Pending => {
                self.stalled_since.get_or_insert_with(Instant::now);
            }
            Poll::Ready(Ok(())) => {
                self.stalled_since = None;
                if let State::PeerEnding | State::BothEnding = self.state {
                    // Writing has ended before the call returns: a socket does not wait here.
                    let _ = Pin::new(socket).poll_shutdown(cx);
                }
                match self.state {
                    State::PeerEnding => self.state = State::PeerEnded,
                    State::BothEnding => self.state = State::Closed,
                    State::SocketEnded => self.close_if_peer_waits_for_that(),
                    _ => {}
                }
            }
        }
        if self.state == State::ResetDue {
            self.reset();
            self.close(None);
        }
    }

    /// Reads the socket once. `Ready(0)` when it has ended or the session is over.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<usize> {
        let Socket::Connected(socket) = &mut self.socket else { return Poll::Pending };
        match self.state {
            State::Open | State::PeerEnding | State::PeerEnded | State::Broken { .. } => {}
            State::SocketEnded | State::BothEnding | State::ResetDue | State::Closed => return Poll::Pending,
        }
        match Pin::new(socket).poll_read(cx, buffer) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(_)) => self.abort(),
            Poll::Ready(Ok(())) => {
                let len = buffer.filled().len();
                self.moved = true;
                if len > 0 {
                    self.down += len as u64;
                    self.asking = true;
                    return Poll::Ready(len);
                }
                self.socket_ends();
            }
        }
        Poll::Ready(0)
    }

    /// Puts what was read from the socket into frames.
    pub(super) fn encoder(&mut self) -> &mut Encoder {
        &mut self.encoder
    }

    /// Has the socket watched by the reactor of this thread.
    pub(super) fn change_reactor(&mut self) {
        if let Socket::Connected(socket) = &mut self.socket {
            socket.change_reactor();
        }
    }
}

#[cfg(test)]
mod tests;
