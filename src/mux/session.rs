//! One session: a socket, what waits for it, and its [`State`].

use super::source::{App, Connecting, NewSession, Start};
use super::state::{State, Tell};
use super::timers::Limits;
use crate::metrics::{self, Direction, Failure, Flow, Open, TunnelKind};
use crate::net::dial::DialError;
use crate::net::limits::{Refused, Slot};
use crate::relay::{End, Pieces, RelayStream as _, Side, WriteBuffer, reset};
use crate::runtime::admission::SessionPlace;
use crate::runtime::buffers;
use crate::wire::mux::Encoder;
use crate::wire::websocket::Role;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Bytes that wait for one session before the connection is read no further.
pub(super) const SOFT: usize = 256 * 1024;

/// How old a session may be that was on its way when the peer closed the connection.
const ON_ITS_WAY: Duration = Duration::from_secs(10);

/// Bytes that wait for a backend that is being dialled before the connection is read no further.
pub(super) const DIALLING: usize = 64 * 1024;

enum Socket {
    /// Not dialled: the peer has sent nothing yet.
    None,
    Connecting(Connecting),
    Connected(TcpStream),
}

pub(super) struct Session {
    pub(super) id: u16,
    /// Who is at the other end of the socket, for the log.
    pub(super) peer: Option<SocketAddr>,
    pub(super) began: Instant,
    /// Puts what was read from the socket into frames.
    pub(super) encoder: Encoder,
    role: Role,
    socket: Socket,
    /// Its place among the descriptors that there may be.
    place: Option<SessionPlace>,
    /// Its place among the tunnels that there may be, where these are limited.
    slot: Option<Box<Slot>>,
    state: State,
    tell: Option<Tell>,
    /// What the socket has not taken yet.
    out: WriteBuffer,
    /// When something last moved, to the precision of a look at the clock.
    quiet_since: Instant,
    moved: bool,
    /// Since when the socket has taken nothing of what waits.
    pub(super) stalled_since: Option<Instant>,
    /// The socket has brought data to which nothing has come back.
    pub(super) asking: bool,
    /// Which delivery of the connection was the last for this session.
    pub(super) delivery: u64,
    /// Where the socket has taken nothing since it became full.
    pub(super) full: Option<Full>,
    /// Bytes that have come for the socket, and from it.
    pub(super) to_socket: u64,
    pub(super) from_socket: u64,
    /// What an application has said first, until the peer answers.
    said: Vec<u8>,
    is_second_try: bool,
    /// Once it stands.
    open: Option<Open>,
    /// How it has ended, if not in order.
    failure: Option<Box<Failed>>,
}

/// How it was when a session became full.
#[derive(Debug, Clone, Copy)]
pub(super) struct Full {
    /// Which delivery of the connection was the last.
    pub(super) from: u64,
    /// How much waited for the session.
    pub(super) with: usize,
}

/// How a session has ended that has not ended in order.
pub(super) enum Failed {
    /// It never came to its backend: in a word, and why.
    NoTunnel(&'static str, String),
    /// It broke off.
    Ended(End),
}

impl Session {
    /// A session that the peer has begun.
    pub(super) fn of_peer(id: u16) -> Session {
        let now = Instant::now();
        Session {
            id,
            peer: None,
            began: now,
            encoder: Encoder::server(id),
            role: Role::Server,
            socket: Socket::None,
            place: None,
            slot: None,
            state: State::Open,
            tell: None,
            out: WriteBuffer::default(),
            quiet_since: now,
            moved: false,
            stalled_since: None,
            asking: false,
            delivery: 0,
            full: None,
            to_socket: 0,
            from_socket: 0,
            said: Vec::new(),
            is_second_try: false,
            open: None,
            failure: None,
        }
    }

    /// A session that this end has begun for an application: the peer is told by `encoder`.
    pub(super) fn of_ours(id: u16, socket: TcpStream, start: Start, encoder: Encoder) -> Session {
        let Start { first, peer, began, place, is_second_try } = start;
        if !is_second_try {
            count(Direction::Up, first.len());
        }
        Session {
            began,
            open: Some(metrics::tunnel_opened(TunnelKind::Session, began.elapsed())),
            peer: Some(peer),
            encoder,
            role: Role::Client,
            socket: Socket::Connected(socket),
            place,
            from_socket: first.len() as u64,
            asking: !first.is_empty(),
            said: first,
            is_second_try,
            ..Session::of_peer(id)
        }
    }

    /// The same of a session that is not begun.
    #[cfg(test)]
    pub(super) fn of_new(id: u16, session: NewSession, encoder: Encoder) -> Session {
        let NewSession { app: App::Stream(socket), start } = session else { panic!("it is one of UDP") };
        Session::of_ours(id, socket, start, encoder)
    }

    /// The session as it was before it began, to begin it on another connection, where this one was closed by a peer
    /// that cannot have taken it: it has neither answered nor ended it, and it is young.
    pub(super) fn take_back(&mut self) -> Option<NewSession> {
        let is_on_its_way = self.role == Role::Client
            && self.state == State::Open
            && self.to_socket == 0
            && self.from_socket == self.said.len() as u64
            && self.began.elapsed() < ON_ITS_WAY;
        if !is_on_its_way || self.is_second_try {
            return None;
        }
        let (peer, began) = (self.peer?, self.began);
        let Socket::Connected(socket) = std::mem::replace(&mut self.socket, Socket::None) else {
            return None;
        };
        let (first, place) = (std::mem::take(&mut self.said), self.place.take());
        let start = Start { first, peer, began, place, is_second_try: true };
        Some(NewSession { app: App::Stream(socket), start })
    }

    pub(super) fn waiting(&self) -> usize {
        self.out.len()
    }

    /// Whether so much waits that the connection is to be read no further.
    pub(super) fn is_full(&self) -> bool {
        self.waiting() >= buffers::room(if self.is_connecting() { DIALLING } else { SOFT })
    }

    pub(super) fn is_connecting(&self) -> bool {
        matches!(self.socket, Socket::Connecting(_))
    }

    /// Whether nobody has been dialled for it.
    pub(super) fn has_no_socket(&self) -> bool {
        matches!(self.socket, Socket::None)
    }

    /// Whether it waits for a place among the tunnels that there may be. Others are not to wait with it: it has no
    /// more than what waits for a backend, or none.
    pub(super) fn waits_for_place(&self) -> bool {
        matches!(self.socket, Socket::Connecting(Connecting { admitting: Some(_), .. }))
    }

    pub(super) fn connect(&mut self, connecting: Connecting) {
        self.socket = Socket::Connecting(connecting);
    }

    /// Neither end has said anything yet.
    pub(super) fn is_silent(&self) -> bool {
        self.to_socket == 0 && self.from_socket == 0 && self.state != State::Closed
    }

    pub(super) fn peer_has_ended(&self) -> bool {
        self.state.peer_has_ended()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Whether it ends soon or stands still, so that it is to be looked at every now and then.
    pub(super) fn wants_ticks(&self) -> bool {
        self.waiting() > 0 || !self.state.is_steady()
    }

    /// Ends the session if nothing has moved for too long.
    pub(super) fn check_time(&mut self, now: Instant, limits: &Limits) {
        if std::mem::take(&mut self.moved) {
            self.quiet_since = now;
        }
        let quiet = now.saturating_duration_since(self.quiet_since);
        if !self.is_closed() && quiet >= self.state.limit(limits) {
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

    fn change(&mut self, (state, tell): (State, Option<Tell>)) {
        self.state = state;
        self.tell = tell.or(self.tell);
    }

    /// The peer sends nothing more, and still takes what comes.
    pub(super) fn peer_ends(&mut self) {
        self.change(self.state.peer_ends(self.role));
    }

    /// The peer sends nothing more. The second time a client says so it takes nothing more either; it
    /// answers data that it does not expect with it.
    pub(super) fn peer_ends_session(&mut self, error: bool) {
        if error && self.waiting() > 0 && self.is_connecting() {
            self.state = State::ResetDue;
        } else if error {
            let side = if self.role == Role::Server { Side::Accepted } else { Side::Dialled };
            let error = io::ErrorKind::ConnectionReset.into();
            self.failure.get_or_insert_with(|| Box::new(Failed::Ended(End::Reset(side, error))));
            self.forget();
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

    fn socket_ends(&mut self) {
        if let State::Broken { .. } = self.state {
            return self.abort();
        }
        self.change(self.state.socket_ends(self.role));
        self.close_if_peer_waits_for_that();
    }

    /// A peer with session id 0 knows the end of its only session by that of the connection alone, so it will
    /// not say one itself.
    fn close_if_peer_waits_for_that(&mut self) {
        let of_id_0 = self.id == 0 && self.role == Role::Server;
        if of_id_0 && self.state == State::SocketEnded && self.waiting() == 0 {
            self.close(None);
        }
    }

    /// The same, with the first reason for the access log.
    pub(super) fn fail(&mut self, why: Failed) {
        self.failure.get_or_insert_with(|| Box::new(why));
        self.abort();
    }

    /// Whether it was joined to its backend, or to an application.
    pub(super) fn has_stood(&self) -> bool {
        self.open.is_some()
    }

    /// How it has ended, if not in order.
    pub(super) fn take_failure(&mut self) -> Option<Failed> {
        self.failure.take().map(|failure| *failure)
    }

    /// The socket's end of the relay that the session is.
    fn socket_side(&self) -> Side {
        if self.role == Role::Server { Side::Dialled } else { Side::Accepted }
    }

    /// Ends the session by an error: the socket is reset, and the peer is told.
    pub(super) fn abort(&mut self) {
        self.reset();
        self.close(Some(Tell::End { error: true }));
    }

    /// The peer has forgotten the session, or ended it by an error.
    pub(super) fn forget(&mut self) {
        self.reset();
        self.close(None);
    }

    /// Nothing is worth waiting for. The peer is told this, if it has not been told an end yet.
    fn close(&mut self, tell: Option<Tell>) {
        if !self.state.end_is_told(self.role) {
            self.tell = tell;
        }
        self.state = State::Closed;
    }

    pub(super) fn reset(&self) {
        if let Socket::Connected(socket) = &self.socket {
            reset(socket);
        }
    }

    /// Takes pieces of `input` for the socket: writes what it takes, and keeps the rest.
    pub(super) fn write(&mut self, cx: &mut Context<'_>, input: &[u8], data: &Pieces) {
        if !self.state.takes_data() {
            return;
        }
        self.moved = true;
        self.asking = false;
        self.said = Vec::new();
        if !data.fit(input.len()) {
            debug_assert!(false, "data of more than the {} bytes that have come", input.len());
            return self.abort();
        }
        let written = match &mut self.socket {
            Socket::Connected(socket) => self.out.write_slices(cx, socket, data.slices(input)),
            Socket::None | Socket::Connecting(_) => {
                data.slices(input).for_each(|slice| self.out.push(slice));
                Ok(0)
            }
        };
        match written {
            Ok(_) => {
                self.to_socket += data.input_len() as u64;
                count(self.direction(Direction::Up), data.input_len());
            }
            Err(_) => self.break_off(),
        }
        if self.waits_for_place() && self.is_full() {
            tracing::debug!(
                id = self.id,
                "a session is ended: it says too much while it waits for its place"
            );
            metrics::connection_failed(Failure::LimitWait);
            self.fail(Failed::NoTunnel(
                "refused",
                "it says too much while it waits for its place".to_owned(),
            ));
        }
    }

    /// The socket takes nothing any more. What it had to say before that is still read.
    fn break_off(&mut self) {
        self.out.clear();
        (self.stalled_since, self.full) = (None, None);
        match self.state.breaks() {
            Some(state) => self.state = state,
            None => self.abort(),
        }
    }

    /// Dials on, and gives the socket what waits for it, and the end when that has come.
    pub(super) fn poll_socket(&mut self, cx: &mut Context<'_>) {
        if let Socket::Connecting(Connecting { admitting, dialling, place }) = &mut self.socket {
            if let Some(place) = admitting {
                match place.as_mut().poll(cx) {
                    Poll::Pending => return,
                    Poll::Ready(Ok(slot)) => (self.slot, *admitting) = (Some(Box::new(slot)), None),
                    // Which the log was told.
                    Poll::Ready(Err(Refused(limit))) => {
                        let why = format!("{} is reached", limit.option());
                        return self.fail(Failed::NoTunnel("refused", why));
                    }
                }
            }
            match dialling.as_mut().poll(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(socket)) => {
                    self.place = place.take();
                    self.socket = Socket::Connected(socket);
                    self.open = Some(metrics::tunnel_opened(TunnelKind::Session, self.began.elapsed()));
                }
                Poll::Ready(Err(error)) => {
                    match error {
                        DialError::NoDescriptors => tracing::warn!("a session is refused: {error}"),
                        _ => tracing::warn!(%error, "cannot connect to Shadowsocks"),
                    }
                    metrics::connection_failed(Failure::Backend);
                    return self.fail(Failed::NoTunnel("failed", error.to_string()));
                }
            }
        }
        self.flush(cx);
        if self.state == State::ResetDue {
            self.forget();
        }
    }

    fn flush(&mut self, cx: &mut Context<'_>) {
        let Socket::Connected(socket) = &mut self.socket else { return };
        while !self.out.is_empty() {
            match self.out.poll_write(cx, socket) {
                Poll::Ready(Ok(_)) => {
                    self.moved = true;
                    (self.stalled_since, self.full) = (None, None);
                }
                Poll::Ready(Err(_)) => return self.break_off(),
                Poll::Pending => {
                    self.stalled_since.get_or_insert_with(Instant::now);
                    return;
                }
            }
        }
        if self.state.shuts_socket_down() {
            // Writing has ended before the call returns: a socket does not wait here.
            let _ = Pin::new(socket).poll_shutdown(cx);
        }
        self.state = self.state.is_drained();
        self.close_if_peer_waits_for_that();
    }

    /// Reads the socket once. `Ready(0)` when it has ended or the session is over.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<usize> {
        let Socket::Connected(socket) = &mut self.socket else { return Poll::Pending };
        if !self.state.reads_socket() {
            return Poll::Pending;
        }
        if let Err(error) = ready!(Pin::new(socket).poll_read(cx, buffer)) {
            self.fail(Failed::Ended(End::Reset(self.socket_side(), error)));
            return Poll::Ready(0);
        }
        let len = buffer.filled().len();
        self.moved = true;
        if len == 0 {
            self.socket_ends();
        } else {
            self.from_socket += len as u64;
            self.said = Vec::new();
            count(self.direction(Direction::Down), len);
            self.asking = true;
        }
        Poll::Ready(len)
    }

    /// The direction of what goes to the socket (`Up`), or comes from it (`Down`), as it is on a tunnel without mux:
    /// a client's sockets are its applications'.
    fn direction(&self, of_server: Direction) -> Direction {
        match (self.role, of_server) {
            (Role::Server, direction) => direction,
            (Role::Client, Direction::Up) => Direction::Down,
            (Role::Client, Direction::Down) => Direction::Up,
        }
    }

    pub(super) fn change_reactor(&mut self) {
        if let Socket::Connected(socket) = &mut self.socket {
            socket.change_reactor();
        }
    }
}

/// Counts payload of sessions.
fn count(direction: Direction, bytes: usize) {
    metrics::moved(Flow::Tunnel, direction, bytes as u64);
}

#[cfg(test)]
mod tests;
