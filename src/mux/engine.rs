//! The task of a connection: it polls everything in turn, and looks at the clock.

use super::exchange::Exchange;
use super::liveness::{Liveness, Seen};
use super::session::Session;
use super::source::{Held, NewSession, SessionSource};
use super::timers::{TICK, Timers};
use crate::relay::{End, Outcome, RelayStream, Timeouts};
use crate::runtime::turn::{self, TURN, end_turn};
use crate::runtime::watchdog;
use crate::transport::websocket::{Handoff, Received};
use crate::wire::mux::Encoder;
use crate::wire::websocket::Role;
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::task::{Context, Poll};
use tokio::time::Instant;

/// A Mux.Cool connection.
pub(super) struct Engine<S, I> {
    exchange: Exchange<S, I>,
    /// What had come before the connection was ours.
    received: Option<Received>,
    held: Held,
    liveness: Liveness,
    timers: Timers,
    /// There will be no more sessions of our own.
    no_more: bool,
    /// The connection is over.
    over: Option<End>,
    /// The reactor that watches the connection.
    reactor: u32,
}

impl<S: RelayStream, I: SessionSource> Engine<S, I> {
    const IS_CLIENT: bool = matches!(I::ROLE, Role::Client);

    /// A connection whose handshake is done.
    pub(super) fn new(handoff: Handoff<S>, source: I, timeouts: Timeouts) -> Self {
        let now = Instant::now();
        let (exchange, received) = Exchange::new(handoff, source);
        Engine {
            exchange,
            received: Some(received),
            held: Held::new(now),
            liveness: Liveness::new(now),
            timers: Timers::new(I::ROLE, timeouts),
            no_more: !Self::IS_CLIENT,
            over: None,
            reactor: turn::reactor(),
        }
    }

    /// The first session of a client's connection, of which the beginning went with the handshake:
    /// `rest` is what of its first frame did not. `encoder` is that of session 1.
    pub(super) fn with_first(mut self, session: NewSession, encoder: Encoder, rest: &[u8]) -> Self {
        self.exchange.begin_with_handshake(session, encoder, rest);
        self
    }

    /// Serves the sessions until the connection is over, or can take no more of them.
    pub(super) async fn run(mut self) -> Outcome {
        watchdog::stage("mux");
        let end = poll_fn(|cx| {
            if let Some(received) = self.received.take() {
                self.begin(cx, received);
            }
            if self.reactor != turn::reactor() {
                self.change_reactor();
            }
            catch_unwind(AssertUnwindSafe(|| self.poll(cx))).unwrap_or_else(|panic| {
                // Nobody may take what it got for all there was.
                self.exchange.sessions.reset_all();
                self.exchange.link.abort();
                resume_unwind(panic)
            });
            self.poll_timers(cx)
        })
        .await;
        self.give_back();
        self.exchange.close(end).await
    }

    fn begin(&mut self, cx: &mut Context<'_>, received: Received) {
        if Self::IS_CLIENT && self.exchange.source.is_to_be_proved() {
            self.liveness.prove(Instant::now(), self.exchange.sessions.is_empty());
            self.exchange.link.queue_ping();
        }
        // What has come may be for a session that waits to be begun.
        self.poll_source(cx);
        self.over = self.exchange.take_received(cx, received);
    }

    /// Does all there is to do, until everything waits or the turn is over.
    fn poll(&mut self, cx: &mut Context<'_>) {
        let before = turn::moved();
        loop {
            if turn::moved().wrapping_sub(before) >= 2 * TURN {
                return end_turn(cx);
            }
            let mut moved = false;
            self.flush(cx);
            self.poll_source(cx);
            self.exchange.sessions.poll_sockets(cx);
            if self.over.is_none() && !self.exchange.must_pause() {
                moved |= self.poll_link(cx);
            }
            if self.over.is_none() && !self.exchange.link.is_broken() && self.exchange.link.is_drained() {
                moved |= self.poll_sessions(cx);
            }
            moved |= self.exchange.sweep();
            if !moved {
                // What came last may have left something to say.
                if self.exchange.link.wants_flush() {
                    self.flush(cx);
                    if self.exchange.link.is_drained() && self.over.is_none() {
                        // The sockets were not looked at while something waited.
                        continue;
                    }
                }
                return;
            }
        }
    }

    fn flush(&mut self, cx: &mut Context<'_>) {
        if self.over.is_none() {
            self.exchange.link.poll_flush(cx);
        }
    }

    fn poll_link(&mut self, cx: &mut Context<'_>) -> bool {
        let Poll::Ready(read) = self.exchange.poll_link(cx) else { return false };
        self.over = read.end;
        if let (true, Some(payload)) = (Self::IS_CLIENT, read.heard) {
            let asked = self.liveness.heard(Instant::now());
            let pong_came = self.exchange.link.pong_came();
            if payload && self.liveness.note_payload(pong_came) {
                self.exchange.source.found_deaf();
            }
            if let (Some(asked), true) = (asked, pong_came) {
                self.liveness.note_pong();
                self.exchange.source.found_alive(asked);
            }
        }
        true
    }

    fn poll_sessions(&mut self, cx: &mut Context<'_>) -> bool {
        let sent = self.exchange.poll_sessions(cx);
        if let (true, Some(len @ 1..)) = (Self::IS_CLIENT, sent) {
            self.liveness.sent(len);
        }
        sent.is_some()
    }

    /// Begins the sessions that this end wants.
    fn poll_source(&mut self, cx: &mut Context<'_>) {
        while self.over.is_none() && !self.exchange.link.is_broken() {
            if self.may_begin()
                && let Some(session) = self.held.pop()
            {
                self.begin_session(cx, session);
                continue;
            }
            if self.no_more {
                return;
            }
            match self.exchange.source.poll_session(cx) {
                Poll::Pending => return,
                Poll::Ready(None) => self.no_more = true,
                Poll::Ready(Some(session)) if self.may_begin() => self.begin_session(cx, session),
                Poll::Ready(Some(session)) => self.hold(session),
            }
        }
    }

    /// Whether a session can begin now, or waits for the peer to show that it is there.
    fn may_begin(&self) -> bool {
        let is_there = self.exchange.source.is_deaf() || !self.liveness.is_quiet(Instant::now());
        is_there && !self.exchange.link.is_busy()
    }

    fn begin_session(&mut self, cx: &mut Context<'_>, session: NewSession) {
        if !session.first.is_empty() {
            self.liveness.sent(session.first.len());
        }
        self.exchange.begin(cx, session);
    }

    /// Keeps a session until the peer shows that it is there, and asks it to.
    fn hold(&mut self, session: NewSession) {
        let now = Instant::now();
        self.held.push(session, now);
        if !self.exchange.source.is_deaf() && self.liveness.ask(now) {
            self.exchange.link.queue_ping();
        }
    }

    /// Hands the sessions that wait on to other connections.
    fn give_back(&mut self) {
        let asked = self.liveness.asked().unwrap_or_else(Instant::now);
        while let Some(session) = self.held.pop() {
            self.exchange.source.give_back(session, asked);
        }
    }

    /// Looks at the clock: ends sessions that stand still, and the connection when it is over.
    fn poll_timers(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            if self.over.is_some() {
                if self.timers.note_over() {
                    self.tell_sessions();
                    self.poll(cx);
                    continue;
                }
                if !self.is_delivering() {
                    return Poll::Ready(self.over.take().unwrap_or(End::Closed));
                }
            } else if !self.exchange.sessions.is_empty() {
                self.timers.note_in_use();
            }
            if self.exchange.is_to_be_closed() {
                return Poll::Ready(End::Closed);
            }
            if self.exchange.link.is_given_up() {
                let error = io::Error::new(io::ErrorKind::TimedOut, "it does not read what it asks for");
                return Poll::Ready(self.exchange.link.reset(error));
            }
            let check = match self.check_liveness(cx) {
                Ok(at) => at,
                Err(end) => return Poll::Ready(end),
            };
            let mut wanted = if self.wants_ticks() {
                TICK
            } else if !self.exchange.sessions.is_empty() {
                self.timers.longest()
            } else if self.timers.unused_left().is_zero() || (self.no_more && Self::IS_CLIENT) {
                self.exchange.source.close();
                self.poll_source(cx);
                if self.exchange.sessions.is_empty() {
                    return Poll::Ready(End::Closed);
                }
                continue;
            } else {
                self.timers.unused_left()
            };
            if let Some(check) = check {
                wanted = wanted.min(check.saturating_duration_since(Instant::now()));
            }
            if self.timers.poll(cx, wanted).is_pending() {
                return Poll::Pending;
            }
            self.check_sessions();
            self.poll(cx);
        }
    }

    /// Tells each socket the end behind what waits for it, where the connection has ended in order.
    fn tell_sessions(&mut self) {
        if matches!(self.over, Some(End::Closed)) {
            self.exchange.sessions.iter_mut().for_each(Session::peer_ends);
        }
    }

    /// Whether what has come is still delivered though the connection is over: after an end in order for as
    /// long as it moves, as in a tunnel without mux; where the connection broke, to backends that are being
    /// dialled and have got nothing of it yet.
    fn is_delivering(&self) -> bool {
        let in_order = matches!(self.over, Some(End::Closed));
        let broken = matches!(self.over, Some(End::Reset(..)));
        let gets_it = |session: &Session| !broken || session.is_connecting();
        let any = self
            .exchange
            .sessions
            .iter()
            .any(|session| gets_it(session) && session.waiting() > 0 && !session.is_closed());
        any && (in_order || !self.timers.drain_is_over())
    }

    fn wants_ticks(&self) -> bool {
        self.over.is_some()
            || self.exchange.link.is_unread()
            || self
                .exchange
                .sessions
                .iter()
                .any(|session| session.wants_ticks() || (!Self::IS_CLIENT && session.is_silent()))
    }

    fn check_sessions(&mut self) {
        let limits = self.timers.limits(self.exchange.link.peer_is_ours());
        let Exchange { sessions, source, .. } = &mut self.exchange;
        sessions.check_times(&limits);
        if !Self::IS_CLIENT {
            sessions.check_silent(|| source.connect());
        }
    }

    /// Asks a peer that is silent, and sees to what follows from that. Returns when to do so again, or the
    /// end of the connection.
    fn check_liveness(&mut self, cx: &mut Context<'_>) -> Result<Option<Instant>, End> {
        if !Self::IS_CLIENT || self.over.is_some() || self.exchange.link.is_broken() {
            return Ok(None);
        }
        let now = Instant::now();
        let source = &mut self.exchange.source;
        let seen = Seen {
            is_deaf: source.is_deaf(),
            pong_timeout: source.pong_timeout(),
            is_read: !self.exchange.must_pause(),
            has_sessions: !self.exchange.sessions.is_empty(),
            held_since: self.held.since(),
        };
        let check = self.liveness.check(now, &seen);
        if check.ping {
            self.exchange.link.queue_ping();
            self.flush(cx);
        }
        if let Some(doubtful) = check.doubtful {
            self.exchange.source.set_doubtful(doubtful);
        }
        if check.give_back {
            self.give_back();
        }
        if let Some(asked) = check.want_another {
            let peer = self.exchange.sessions.iter().find_map(Session::peer);
            self.exchange.source.want_another(asked, peer);
        }
        match check.mute_since {
            Some(asked) if self.exchange.source.others_answer(asked) => Err(self.mute(now)),
            _ => Ok(check.again),
        }
    }

    /// The end of a connection that alone carries nothing.
    fn mute(&self, now: Instant) -> End {
        let silence = self.liveness.silence(now).as_secs();
        tracing::warn!(
            sessions = self.exchange.sessions.len(),
            "a mux connection to the server is dead: nothing has come for {silence} s, and the server answers \
             another one; its sessions are reset"
        );
        self.exchange.link.reset(io::Error::new(io::ErrorKind::TimedOut, "no answer to a ping"))
    }

    /// Has everything watched by the reactor of the thread to which the task has been moved.
    fn change_reactor(&mut self) {
        self.reactor = turn::reactor();
        self.exchange.link.change_reactor();
        self.exchange.sessions.change_reactor();
        self.held.change_reactor();
        self.timers.change_reactor();
    }
}
