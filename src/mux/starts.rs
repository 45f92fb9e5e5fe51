//! The sessions that this end begins: when each may, and whether the peer is there to take it.

use super::link::Link;
use super::liveness::{Liveness, Seen};
use super::packets::PacketSessions;
use super::sessions::Sessions;
use super::source::{NewSession, SessionSource};
use crate::relay::{End, RelayStream};
use crate::transport::framing::Framing;
use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll};
use tokio::time::Instant;

/// Where sessions come from, and those that have come and not begun. A server begins none.
pub(super) struct Starts<I> {
    pub(super) source: I,
    liveness: Liveness,
    /// Sessions that wait for the peer to show that it is there, and since when.
    held: VecDeque<(Instant, NewSession)>,
    /// No more come.
    pub(super) no_more: bool,
    /// There are sessions, for which the connection is kept alive.
    in_use: bool,
}

impl<I: SessionSource> Starts<I> {
    pub(super) fn new(source: I) -> Starts<I> {
        let liveness = Liveness::new(Instant::now());
        Starts { source, liveness, held: VecDeque::new(), no_more: !I::IS_CLIENT, in_use: false }
    }

    /// Begins the connection with a ping, where it is to be proved that the way works. `nothing_is_asked` if
    /// nothing went with the handshake that the peer may answer before that.
    pub(super) fn prove<S: RelayStream, F: Framing>(
        &mut self,
        link: &mut Link<S, F>,
        nothing_is_asked: bool,
    ) {
        if I::IS_CLIENT && self.source.is_to_be_proved() {
            self.liveness.prove(Instant::now(), nothing_is_asked);
            link.queue_ping();
        }
    }

    /// A session that can begin now. One that cannot waits, and the peer is asked whether it is there.
    pub(super) fn next<S: RelayStream, F: Framing>(
        &mut self,
        cx: &mut Context<'_>,
        link: &mut Link<S, F>,
    ) -> Option<NewSession> {
        loop {
            let is_there = self.source.is_deaf() || !self.liveness.is_quiet(Instant::now());
            let may_begin = is_there && !link.is_busy();
            if may_begin && let Some((_, session)) = self.held.pop_front() {
                return Some(session);
            }
            if self.no_more {
                return None;
            }
            match self.source.poll_session(cx) {
                Poll::Pending => return None,
                Poll::Ready(None) => self.no_more = true,
                Poll::Ready(Some(session)) if may_begin => return Some(session),
                Poll::Ready(Some(session)) => {
                    let now = Instant::now();
                    self.held.push_back((now, session));
                    if !self.source.is_deaf() && self.liveness.ask(now) {
                        link.queue_ping();
                    }
                }
            }
        }
    }

    pub(super) fn sent(&mut self, len: usize) {
        if I::IS_CLIENT && len > 0 {
            self.liveness.sent(len);
        }
    }

    /// Something has come. Whether there was payload in it, and whether the peer has ever answered a ping.
    pub(super) fn heard(&mut self, payload: bool, pong_came: bool) {
        if !I::IS_CLIENT {
            return;
        }
        let asked = self.liveness.heard(Instant::now());
        if payload && self.liveness.note_payload(pong_came) {
            self.source.found_deaf();
        }
        if let (Some(asked), true) = (asked, pong_came) {
            self.source.found_alive(asked);
        }
    }

    /// Asks a peer that is silent, and sees to what follows from that. Returns when to do so again, or the
    /// end of the connection.
    pub(super) fn check<S: RelayStream, F: Framing>(
        &mut self,
        cx: &mut Context<'_>,
        link: &mut Link<S, F>,
        sessions: &Sessions,
        packets: &PacketSessions,
    ) -> Result<Option<Instant>, End> {
        if !I::IS_CLIENT || link.is_broken() {
            return Ok(None);
        }
        let now = Instant::now();
        let seen = Seen {
            is_deaf: self.source.is_deaf(),
            pong_timeout: self.source.pong_timeout(),
            is_read: !link.is_full() && !sessions.are_full(),
            has_sessions: !sessions.is_empty() || !packets.is_empty(),
            held_since: self.held.front().map(|(since, _)| *since),
        };
        let check = self.liveness.check(now, &seen);
        if check.ping {
            link.queue_ping();
            link.poll_flush(cx);
        }
        if let Some(doubtful) = check.doubtful {
            self.source.set_doubtful(doubtful);
        }
        if check.give_back {
            self.give_back();
        }
        if let Some(asked) = check.want_another
            && let Some(peer) = (sessions.iter().map(|session| session.peer))
                .chain(packets.iter().map(|session| session.peer))
                .find_map(|peer| peer)
        {
            self.source.want_another(asked, peer);
        }
        if !check.mute_since.is_some_and(|asked| self.source.others_answer(asked)) {
            let ping_due = self.keep_alive(cx, link, now, seen.has_sessions)?;
            return Ok(check.again.into_iter().chain(ping_due).min());
        }
        let silence = now.saturating_duration_since(self.liveness.heard).as_secs();
        tracing::warn!(
            sessions = sessions.iter().count() + packets.len(),
            "a mux connection to the server is dead: nothing has come for {silence} s, and the server answers \
             another one; its sessions are reset"
        );
        Err(link.reset(io::Error::new(io::ErrorKind::TimedOut, "no answer to a ping")))
    }

    /// Has the connection not be silent for long while there are sessions, for the proxies on the way. An answer
    /// is not waited for: who says nothing may be silent, and a peer that does not read yet is not gone.
    fn keep_alive<S: RelayStream, F: Framing>(
        &mut self,
        cx: &mut Context<'_>,
        link: &mut Link<S, F>,
        now: Instant,
        in_use: bool,
    ) -> Result<Option<Instant>, End> {
        let was_in_use = std::mem::replace(&mut self.in_use, in_use);
        if !in_use {
            return Ok(None);
        }
        if !was_in_use {
            link.begin_silence(now);
        }
        link.keep_alive(cx, now)
    }

    /// Hands the sessions that wait on to other connections.
    pub(super) fn give_back(&mut self) {
        let asked = self.liveness.asked.unwrap_or_else(Instant::now);
        for (_, session) in self.held.drain(..) {
            self.source.give_back(session, asked);
        }
    }

    pub(super) fn change_reactor(&mut self) {
        self.held.iter_mut().for_each(|(_, session)| session.app.change_reactor());
    }
}
