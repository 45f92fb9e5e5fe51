//! The sessions of a connection: how many there may be, how much may wait for them, whose turn it is.

use super::session::{SOFT, Session};
use super::source::Connecting;
use super::state::Tell;
use super::timers::{Limits, SILENCE, SILENT_MAX, STALL, STALL_ALONE};
use crate::wire::FrameSizeError;
use crate::wire::mux::Encoder;
use crate::wire::websocket::Role;
use std::ops::Range;
use std::task::{Context, Poll};
use tokio::io::ReadBuf;
use tokio::time::Instant;

/// Sessions of one connection at a time.
pub(super) const SESSIONS: usize = 256;

/// Sessions of one connection in which the peer has sent nothing yet.
pub(super) const SILENT: usize = 64;

/// Bytes that wait for one session before it is reset, once it stalls.
pub(super) const HARD: usize = 1024 * 1024;

/// Bytes that wait for all sessions of a connection before one that stalls is reset.
pub(super) const TOTAL: usize = 4 * 1024 * 1024;

/// Bytes that wait for all backends of a connection that are being dialled.
pub(super) const DIALLING_TOTAL: usize = 256 * 1024;

/// Frames that are written with one call.
pub(super) const FRAMES: usize = 64;

/// The least room that is worth reading a socket into.
const LEAST: usize = 4096;

/// The sessions of a connection.
pub(super) struct Sessions {
    list: Vec<Session>,
    role: Role,
    /// Whether there may ever be more than one at a time.
    may_be_many: bool,
    /// There have been several at once.
    was_shared: bool,
    next_to_read: usize,
}

/// What one round of reading has brought.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// Where in the buffer the frames are.
    pub(super) frames: Vec<Range<usize>>,
    /// How much of the buffer is used.
    pub(super) used: usize,
    /// Sockets have ended.
    pub(super) any_ended: bool,
}

impl Sessions {
    pub(super) fn new(role: Role, may_be_many: bool) -> Sessions {
        Sessions { list: Vec::new(), role, may_be_many, was_shared: false, next_to_read: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.list.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Session> {
        self.list.iter_mut()
    }

    pub(super) fn get_mut(&mut self, id: u16) -> Option<&mut Session> {
        self.list.iter_mut().find(|session| session.id() == id && !session.is_closed())
    }

    /// Whether there is room for a session that the peer begins.
    pub(super) fn has_room(&self) -> bool {
        self.list.len() < SESSIONS && self.iter().filter(|session| session.is_silent()).count() < SILENT
    }

    pub(super) fn add(&mut self, session: Session) {
        self.list.push(session);
        self.was_shared |= self.list.len() > 1;
    }

    /// Takes a session out that is closed.
    pub(super) fn take_closed(&mut self) -> Option<Session> {
        let index = self.list.iter().position(Session::is_closed)?;
        Some(self.list.swap_remove(index))
    }

    /// Takes all out.
    pub(super) fn take_all(&mut self) -> Vec<Session> {
        std::mem::take(&mut self.list)
    }

    /// What the peer is to be told, each time with the session's id.
    pub(super) fn tells(&mut self) -> impl Iterator<Item = (u16, Tell)> {
        self.list.iter_mut().filter_map(|session| Some((session.id(), session.take_tell()?)))
    }

    fn waiting(&self) -> usize {
        self.iter().map(Session::waiting).sum()
    }

    /// Whether so much waits that the connection is to be read no further for now.
    pub(super) fn are_full(&self) -> bool {
        let dialling = self.iter().filter(|session| session.is_connecting()).map(Session::waiting);
        if dialling.sum::<usize>() >= DIALLING_TOTAL {
            return true;
        }
        let mut one_is_stalled = false;
        for session in self.iter().filter(|session| session.is_full()) {
            if !self.is_stalled(session) {
                return true;
            }
            one_is_stalled = true;
        }
        !one_is_stalled && self.waiting() >= TOTAL
    }

    /// Whether a session holds up the others.
    fn is_stalled(&self, session: &Session) -> bool {
        let limit = if self.was_shared { STALL } else { STALL_ALONE };
        // A server cannot know who waits behind what it does not read.
        let others_wait = || {
            self.role == Role::Server
                || self.iter().any(|other| other.is_asking() && other.id() != session.id())
        };
        self.may_be_many
            && session.is_full()
            && session.stalled_for().is_some_and(|time| time >= limit)
            && others_wait()
    }

    /// Gives a session's socket what has come for it. `connect` makes a socket where it has none. A session
    /// that holds up the others with too much is reset.
    pub(super) fn deliver(
        &mut self,
        cx: &mut Context<'_>,
        id: u16,
        input: &[u8],
        parts: &[Range<usize>],
        connect: impl FnOnce() -> Option<Connecting>,
    ) {
        let limit = if self.waiting() >= TOTAL { SOFT } else { HARD };
        let Some(session) = self.get_mut(id) else { return };
        if session.has_no_socket()
            && let Some(connecting) = connect()
        {
            session.connect(connecting);
        }
        session.write(cx, input, parts);
        if session.waiting() < limit {
            return;
        }
        let index = self.list.iter().position(|session| session.id() == id && !session.is_closed());
        if let Some(index) = index
            && self.is_stalled(&self.list[index])
        {
            tracing::debug!(id, self.was_shared, "a session is reset: its receiver takes nothing");
            self.list[index].abort();
        }
    }

    /// Dials on, and gives the sockets what waits for them.
    pub(super) fn poll_sockets(&mut self, cx: &mut Context<'_>) {
        self.list.iter_mut().for_each(|session| session.poll_socket(cx));
    }

    /// Reads the sockets in turn, each once, and has frames made of what they bring, `heads` bytes behind
    /// where each may begin; `frame` tells where it does.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        heads: usize,
        mut frame: impl FnMut(&mut Encoder, &mut [u8]) -> Result<usize, FrameSizeError>,
    ) -> Result<Round, FrameSizeError> {
        let mut round = Round::default();
        let (begin, len) = (self.next_to_read, self.list.len());
        for step in 0..len {
            let Some(area) = buffer.get_mut(round.used..) else { break };
            let most = area.len().min(heads + Encoder::PAYLOAD);
            let Some(space) = area.get_mut(heads..most).filter(|space| space.len() >= LEAST) else { break };
            if round.frames.len() == FRAMES {
                break;
            }
            let index = (begin + step) % len;
            self.next_to_read = (index + 1) % len;
            let session = &mut self.list[index];
            match session.poll_read(cx, &mut ReadBuf::new(space)) {
                Poll::Pending => {}
                Poll::Ready(0) => round.any_ended = true,
                Poll::Ready(len) => {
                    let end = heads + len;
                    let start = frame(session.encoder(), area.get_mut(..end).unwrap_or(&mut []))?;
                    round.frames.push(round.used + start..round.used + end);
                    round.used += end;
                }
            }
        }
        Ok(round)
    }

    /// Ends sessions that stand still.
    pub(super) fn check_times(&mut self, limits: &Limits) {
        let now = Instant::now();
        self.list.iter_mut().for_each(|session| session.check_time(now, limits));
    }

    /// Ends sessions in which nobody says anything, and has one at a time dialled for: a stranger who opens
    /// sessions has no more connections to the backend from it than from none.
    pub(super) fn check_silent(&mut self, connect: impl FnOnce() -> Option<Connecting>) {
        let mut one_is_dialled = false;
        let mut oldest: Option<&mut Session> = None;
        for session in self.list.iter_mut().filter(|session| session.is_silent()) {
            if session.began().elapsed() >= SILENT_MAX {
                tracing::debug!(id = session.id(), "a session is ended: neither end says anything");
                session.abort();
            } else if !session.has_no_socket() {
                one_is_dialled = true;
            } else if (session.peer_has_ended() || session.began().elapsed() >= SILENCE)
                && oldest.as_ref().is_none_or(|oldest| session.began() < oldest.began())
            {
                oldest = Some(session);
            }
        }
        if let Some(session) = oldest
            && !one_is_dialled
            && let Some(connecting) = connect()
        {
            session.connect(connecting);
        }
    }

    /// Makes the closing of all sockets a reset.
    pub(super) fn reset_all(&self) {
        self.list.iter().for_each(Session::reset);
    }

    /// Has the sockets watched by the reactor of this thread.
    pub(super) fn change_reactor(&mut self) {
        self.list.iter_mut().for_each(Session::change_reactor);
    }
}

#[cfg(test)]
mod tests;
