//! The task of a connection.

use super::liveness::Liveness;
use super::looks::LOOK;
use super::outbound::{HEADS, frame_up};
use super::session::{Dial, Session, Socket};
use super::{DIALLING_TOTAL, STALL, STALL_ALONE, TOTAL, WORDS};
use crate::relay::{End, Outcome, RelayStream, Side, Timeouts};
use crate::runtime::turn::{self, TURN, end_turn};
use crate::runtime::watchdog::{self, Stage};
use crate::telemetry;
use crate::transport::websocket::{Handoff, Received, WebSocket};
use crate::wire::mux::{self, Decoder, Encoder};
use crate::wire::websocket::{self, CLOSE_NORMAL, CLOSE_PROTOCOL_ERROR};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

/// Bytes that are read at once.
pub(super) const SCRATCH: usize = 64 * 1024;

/// How long the parting words may take.
const PARTING: Duration = Duration::from_secs(1);

thread_local! {
    pub(super) static ROOM: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// A session that this end begins.
#[derive(Debug)]
pub struct Fresh {
    /// The application's connection.
    pub socket: TcpStream,
    /// What has been read from it.
    pub first: Vec<u8>,
    /// Who it is, for the log.
    pub peer: SocketAddr,
}

/// Where sessions come from.
pub trait Incoming {
    /// Whether the peer begins the sessions.
    const SERVER: bool;

    /// A session that this end begins. `Ready(None)` when there will be no more.
    fn poll_session(&mut self, cx: &mut Context<'_>) -> Poll<Option<Fresh>>;

    /// No further sessions are wanted; those that are on their way still come.
    fn close(&mut self) {}

    /// A socket for a session that the peer has begun; `None` where the peer begins none.
    fn dial(&mut self) -> Option<Dial>;

    /// A session has ended.
    fn ended(&mut self) {}

    /// Whether this connection is to show that the way works, with a ping as its first words.
    fn is_to_be_proved(&self) -> bool {
        false
    }

    /// Whether the peer is known not to answer pings, so that they say nothing.
    fn is_deaf(&self) -> bool {
        false
    }

    /// The peer has sent payload, and no answer to a ping that it got before.
    fn found_deaf(&mut self) {}

    /// A ping that was sent at `asked` has been answered.
    fn found_alive(&mut self, asked: Instant) {
        let _ = asked;
    }

    /// Whether somebody else's ping was answered that was sent after `asked`.
    fn others_answer(&self, asked: Instant) -> bool {
        let _ = asked;
        false
    }

    /// Whether further sessions are better off elsewhere for now: the peer does not answer.
    fn set_doubtful(&mut self, doubtful: bool) {
        let _ = doubtful;
    }

    /// A session that has not begun, since the ping that was sent at `asked` goes unanswered: for a
    /// connection that is younger.
    fn give_back(&mut self, session: Fresh, asked: Instant) {
        let _ = (session, asked);
    }

    /// There should be a connection that is younger than the ping of `asked`, to see whether the way works.
    /// `peer` is one of those who wait for this one, for the log.
    fn want_another(&mut self, asked: Instant, peer: Option<SocketAddr>) {
        let _ = (asked, peer);
    }

    /// How long a session waits for the answer to a ping before another connection takes it.
    fn pong_timeout(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// Whether the sessions of this connection may ever be more than one at a time.
    fn may_be_many(&self) -> bool {
        true
    }
}

/// A Mux.Cool connection.
pub struct Mux<S, I> {
    pub(super) wire: S,
    pub(super) websocket: WebSocket,
    pub(super) incoming: I,
    pub(super) timeouts: Timeouts,
    pub(super) decoder: Decoder,
    /// What had come before the connection was ours.
    received: Received,
    pub(super) sessions: Vec<Session>,
    /// Whose turn it is to be read.
    pub(super) turn: usize,
    pub(super) next_id: u16,
    /// What the connection has not taken yet, from `written` on; always whole messages.
    pub(super) out: Vec<u8>,
    pub(super) written: usize,
    /// There will be no more sessions of our own.
    pub(super) no_more: bool,
    /// There have been several sessions at once.
    pub(super) crowded: bool,
    /// Sessions whose socket was the first to end with id 0: their peer knows the end of a session only
    /// by that of the connection.
    pub(super) hang_up: bool,
    pub(super) wire_over: Option<End>,
    /// Since when that is known.
    pub(super) over_since: Option<Instant>,
    /// The connection could not be written to. What has come before that is still read.
    pub(super) write_error: Option<io::Error>,
    /// The reactor that watches the connection.
    reactor: u32,
    pub(super) liveness: Liveness,
    /// Sessions that wait for the peer to show that it is there, and since when.
    pub(super) held: VecDeque<Fresh>,
    pub(super) held_since: Instant,
    /// The others have been told that the peer does not answer.
    pub(super) doubtful: bool,
    /// The connection is not read, so the peer's silence says nothing.
    pub(super) listening: bool,
    /// The ping with which the connection began has not been answered.
    pub(super) proof_due: bool,
    /// When another connection is wanted next, and how long the one after that waits.
    pub(super) another: Option<(Instant, Duration)>,
    /// Since when the peer has taken nothing of what is too much to let it send more.
    pub(super) unread_since: Option<Instant>,
    pub(super) up: u64,
    pub(super) down: u64,
}

impl<S: RelayStream, I: Incoming> Mux<S, I> {
    /// A connection whose handshake is done.
    pub fn new(mut handoff: Handoff<S>, incoming: I, timeouts: Timeouts) -> Self {
        Mux {
            wire: handoff.io,
            websocket: handoff.websocket,
            incoming,
            timeouts,
            decoder: Decoder::new(),
            received: handoff.received,
            sessions: Vec::new(),
            turn: 0,
            next_id: 1,
            out: handoff.write_buf.take(),
            written: 0,
            no_more: I::SERVER,
            crowded: false,
            hang_up: false,
            wire_over: None,
            over_since: None,
            write_error: handoff.write_error,
            reactor: turn::reactor(),
            liveness: Liveness::new(Instant::now()),
            held: VecDeque::new(),
            held_since: Instant::now(),
            doubtful: false,
            listening: true,
            proof_due: false,
            another: None,
            unread_since: None,
            up: 0,
            down: 0,
        }
    }

    /// Serves the sessions until the connection is over, or can take no more of them.
    pub async fn run(mut self) -> Outcome {
        let mut timer = pin!(tokio::time::sleep(LOOK));
        let mut empty_since = Instant::now();
        let mut received = Some(std::mem::take(&mut self.received));
        watchdog::stage(Stage::Mux);
        let end = poll_fn(|cx| {
            if let Some(received) = received.take() {
                self.prove();
                // What has come may be for a session that waits to be begun.
                self.poll_incoming(cx);
                self.take_over(cx, received);
            }
            if self.reactor != turn::reactor() {
                self.change_reactor();
                let due = timer.deadline();
                timer.set(sleep_until(due));
            }
            catch_unwind(AssertUnwindSafe(|| self.poll(cx))).unwrap_or_else(|panic| {
                // Nobody may take what it got for all there was.
                self.sessions.iter().for_each(Session::reset);
                self.wire.abort();
                resume_unwind(panic)
            });
            self.look(cx, timer.as_mut(), &mut empty_since)
        })
        .await;
        self.release();
        self.part(&end).await;
        for session in &self.sessions {
            self.up += session.up;
            self.down += session.down;
            if let Some(peer) = session.peer {
                let end = match &end {
                    End::Reset(side, error) => End::Reset(*side, error.kind().into()),
                    _ => End::Closed,
                };
                let outcome = Outcome { up: session.up, down: session.down, end };
                telemetry::tunnel_ended(peer, "session", session.began, &outcome);
            }
        }
        Outcome { up: self.up, down: self.down, end }
    }

    /// The side of the tunnel on which the connection is.
    pub(super) fn wire_side(&self) -> Side {
        if I::SERVER { Side::Accepted } else { Side::Dialled }
    }

    /// Does all there is to do, until everything waits or the turn is over.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) {
        let before = turn::moved();
        loop {
            if turn::moved().wrapping_sub(before) >= 2 * TURN {
                return end_turn(cx);
            }
            let mut moved = false;
            self.poll_out(cx);
            self.poll_incoming(cx);
            self.poll_sockets(cx);
            if self.wire_over.is_none() && !self.must_pause() {
                match self.poll_wire(cx) {
                    Poll::Ready(Ok(())) => moved = true,
                    Poll::Ready(Err(end)) => self.wire_over = Some(end),
                    Poll::Pending => {}
                }
            }
            if self.wire_over.is_none() && self.write_error.is_none() && self.out.is_empty() {
                moved |= self.poll_sessions(cx);
            }
            moved |= self.sweep();
            if !moved {
                // What came last may have left something to say.
                if self.write_error.is_none() && (self.websocket.has_control_frames() || !self.out.is_empty())
                {
                    self.poll_out(cx);
                    if self.out.is_empty() && self.wire_over.is_none() {
                        // The sockets were not looked at while something waited.
                        continue;
                    }
                }
                return;
            }
        }
    }

    /// Has everything watched by the reactor of the thread to which the task has been moved.
    fn change_reactor(&mut self) {
        self.reactor = turn::reactor();
        self.wire.change_reactor();
        for session in &mut self.sessions {
            if let Socket::Open(socket) = &mut session.socket {
                socket.change_reactor();
            }
        }
        for fresh in &mut self.held {
            fresh.socket.change_reactor();
        }
    }

    /// Whether the connection is to be read no further for now.
    pub(super) fn must_pause(&self) -> bool {
        if self.out_is_full() || self.dialling() >= DIALLING_TOTAL {
            return true;
        }
        let given_up = self.sessions.iter().any(|session| self.is_stalled(session));
        let full = self.sessions.iter().any(|session| session.is_full() && !self.is_stalled(session));
        full || (!given_up && self.waiting() >= TOTAL)
    }

    /// Whether the peer has so much to read that it is to say no more. One read of the sockets is never
    /// that much: an end that waits for the other to read would wait for ever.
    pub(super) fn out_is_full(&self) -> bool {
        self.out.len() - self.written >= SCRATCH + WORDS
    }

    /// Bytes that wait for backends that are being dialled.
    fn dialling(&self) -> usize {
        self.sessions.iter().filter(|session| session.is_dialling()).map(Session::waiting).sum()
    }

    pub(super) fn waiting(&self) -> usize {
        self.sessions.iter().map(Session::waiting).sum()
    }

    /// Whether a session holds up the others.
    pub(super) fn is_stalled(&self, session: &Session) -> bool {
        let limit = if self.crowded { STALL } else { STALL_ALONE };
        // A server cannot know who waits behind what it does not read.
        let others_wait =
            I::SERVER || self.sessions.iter().any(|other| other.asking && other.id != session.id);
        self.incoming.may_be_many()
            && others_wait
            && session.is_full()
            && session.stalled_since.is_some_and(|since| since.elapsed() >= limit)
    }

    /// Writes what waits for the connection.
    pub(super) fn poll_out(&mut self, cx: &mut Context<'_>) {
        if self.wire_over.is_some() {
            return;
        }
        if self.write_error.is_some() {
            // Nobody takes it any more.
            self.out.clear();
            self.written = 0;
            return;
        }
        if self.websocket.has_control_frames() && self.out.len() - self.written < WORDS {
            self.websocket.take_control_frames(&mut self.out);
        }
        while self.written < self.out.len() {
            let left = self.out.get(self.written..).unwrap_or_default();
            match Pin::new(&mut self.wire).poll_write(cx, left) {
                Poll::Ready(Ok(n)) if n > 0 => {
                    self.written += n;
                    self.unread_since = None;
                }
                Poll::Ready(Ok(_)) => {
                    return self.broke(io::ErrorKind::WriteZero.into());
                }
                Poll::Ready(Err(error)) => return self.broke(error),
                Poll::Pending => {
                    if self.out_is_full() {
                        self.unread_since.get_or_insert_with(Instant::now);
                    }
                    // What was taken is moved out of the way when it is most of it.
                    if self.written > self.out.len() / 2 {
                        self.out.drain(..self.written);
                        self.written = 0;
                    }
                    return;
                }
            }
        }
        if !self.out.is_empty() {
            self.out = Vec::new();
            self.written = 0;
        }
        if let Poll::Ready(Err(error)) = Pin::new(&mut self.wire).poll_flush(cx) {
            self.broke(error);
        }
    }

    /// The connection takes nothing any more. What its peer had said before is still read, to the end or
    /// to the next error: that is when it is over.
    pub(super) fn broke(&mut self, error: io::Error) {
        self.write_error.get_or_insert(error);
    }

    /// Begins the sessions that this end wants.
    pub(super) fn poll_incoming(&mut self, cx: &mut Context<'_>) {
        while self.wire_over.is_none() && self.write_error.is_none() {
            if !self.held.is_empty() && self.may_begin() {
                let Some(fresh) = self.held.pop_front() else { return };
                self.begin_own(cx, fresh);
                continue;
            }
            if self.no_more {
                return;
            }
            match self.incoming.poll_session(cx) {
                Poll::Pending => return,
                Poll::Ready(None) => self.no_more = true,
                Poll::Ready(Some(fresh)) if self.may_begin() => self.begin_own(cx, fresh),
                Poll::Ready(Some(fresh)) => self.hold(fresh),
            }
        }
    }

    /// Begins a session of this end.
    fn begin_own(&mut self, cx: &mut Context<'_>, fresh: Fresh) {
        let mut encoder = Encoder::client(self.next_id);
        if fresh.first.is_empty() {
            if let Some(head) = encoder.open() {
                self.say(&head);
            }
        } else {
            let mut frame = vec![0; HEADS];
            frame.extend_from_slice(&fresh.first);
            match frame_up(&mut encoder, &mut self.websocket, &mut frame) {
                Ok(start) => self.out.extend_from_slice(frame.get(start..).unwrap_or_default()),
                Err(error) => return self.broke(io::Error::other(error)),
            }
            self.liveness.sent(fresh.first.len());
        }
        self.adopt(fresh, encoder);
        self.poll_out(cx);
    }

    /// The first session of a client's connection, of which the beginning went with the handshake:
    /// `rest` is what of its first frame did not. `encoder` is that of session 1.
    pub fn with_first(mut self, fresh: Fresh, encoder: Encoder, rest: &[u8]) -> Self {
        if !rest.is_empty() {
            self.say(rest);
        }
        self.adopt(fresh, encoder);
        self
    }

    fn adopt(&mut self, fresh: Fresh, encoder: Encoder) {
        let mut session = Session::new(self.next_id, Socket::Open(fresh.socket), encoder);
        session.peer = Some(fresh.peer);
        session.up = fresh.first.len() as u64;
        session.asking = !fresh.first.is_empty();
        self.next_id = self.next_id.wrapping_add(1).max(1);
        self.add(session);
    }

    pub(super) fn add(&mut self, session: Session) {
        self.sessions.push(session);
        self.crowded |= self.sessions.len() > 1;
    }

    /// Dials on, and gives the sockets what waits for them.
    fn poll_sockets(&mut self, cx: &mut Context<'_>) {
        for index in 0..self.sessions.len() {
            let Some(session) = self.sessions.get_mut(index) else { return };
            if let Socket::Dialling(dial) = &mut session.socket {
                match dial.as_mut().poll(cx) {
                    Poll::Pending => continue,
                    Poll::Ready(Ok(socket)) => session.socket = Socket::Open(socket),
                    Poll::Ready(Err(error)) => {
                        tracing::warn!(%error, "no session: Shadowsocks cannot be reached");
                        self.abort(index);
                        continue;
                    }
                }
            }
            session.poll_drain(cx);
            if session.reset_due {
                session.over = true;
                session.reset();
            }
        }
    }

    /// Ends a session by an error: the socket is reset, and the peer is told.
    pub(super) fn abort(&mut self, index: usize) {
        let Some(session) = self.sessions.get_mut(index) else { return };
        session.over = true;
        session.reset();
        if !std::mem::replace(&mut session.said_end, true) {
            let end = mux::end(session.id, true);
            self.hang_up |= session.id == 0;
            self.say(&end);
        }
    }

    /// Puts a frame without data into a message of its own.
    pub(super) fn say(&mut self, frame: &[u8]) {
        let mut message = vec![0; websocket::Encoder::HEAD];
        message.extend_from_slice(frame);
        match self.websocket.encode_in_place(&mut message) {
            Ok(start) => self.out.extend_from_slice(message.get(start..).unwrap_or_default()),
            Err(error) => self.broke(io::Error::other(error)),
        }
    }

    /// Says the end of a session. With many unsaid words waiting, the connection is not read, so there is
    /// an end to them.
    pub(super) fn say_end(&mut self, id: u16, error: bool) {
        self.say(&mux::end(id, error));
    }

    /// Takes out the sessions that are over. Returns whether there were any.
    fn sweep(&mut self) -> bool {
        let before = self.sessions.len();
        let mut index = 0;
        while let Some(session) = self.sessions.get_mut(index) {
            // The other direction is done, so the end that was held back can be said.
            if !I::SERVER && session.wire_ended && session.socket_ended && !session.said_end {
                session.said_end = true;
                let id = session.id;
                self.say(&mux::end(id, false));
                continue;
            }
            if session.is_done() {
                let session = self.sessions.swap_remove(index);
                self.up += session.up;
                self.down += session.down;
                self.incoming.ended();
                if let Some(peer) = session.peer {
                    let outcome = Outcome { up: session.up, down: session.down, end: End::Closed };
                    telemetry::tunnel_ended(peer, "session", session.began, &outcome);
                }
            } else {
                index += 1;
            }
        }
        self.sessions.len() < before
    }

    /// Says goodbye, and sees to how the sockets end.
    async fn part(&mut self, end: &End) {
        if let End::Reset(..) | End::Malformed(..) = end {
            // What they got is not all there was.
            for session in &self.sessions {
                session.reset();
            }
        }
        if let End::Reset(..) = end {
            self.wire.abort();
            return;
        }
        let code = if matches!(end, End::Malformed(..)) { CLOSE_PROTOCOL_ERROR } else { CLOSE_NORMAL };
        let mut words = self.out.split_off(self.written.min(self.out.len()));
        words.extend_from_slice(&self.websocket.close_frame(code));
        let wire = &mut self.wire;
        let part = async {
            wire.write_all(&words).await?;
            wire.shutdown().await?;
            let mut rest = vec![0; 4096];
            while wire.read(&mut rest).await? > 0 {}
            Ok::<_, io::Error>(())
        };
        // Whoever does not hear it has gone already.
        let _ = timeout(PARTING, part).await;
    }
}
