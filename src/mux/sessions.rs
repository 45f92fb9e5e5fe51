//! The sessions of a connection: how many there may be, how much may wait for them, whose turn it is.

use super::session::{Failed, Full, SOFT, Session};
use super::source::{Connecting, NewSession};
use super::timers::{SILENCE, SILENT_MAX, STALL, STALL_ALONE};
use crate::relay::{End, Pieces};
use crate::runtime::buffers;
use crate::wire::FrameSizeError;
use crate::wire::mux::Encoder;
use crate::wire::websocket::Role;
use std::task::{Context, Poll};
use tokio::io::ReadBuf;

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

/// So much more may come for a session that is full already, where only that shows whether others wait.
const PAST: usize = 16 * 1024;

/// Frames that are written with one call.
pub(super) const FRAMES: usize = 64;

/// The least room that is worth reading a socket into.
const LEAST: usize = 4096;

pub(super) struct Sessions {
    list: Vec<Session>,
    role: Role,
    /// Whether there may ever be more than one at a time.
    may_be_many: bool,
    /// There have been several at once.
    was_shared: bool,
    next_to_read: usize,
    /// How often something was delivered.
    deliveries: u64,
}

impl Sessions {
    pub(super) fn new(role: Role, may_be_many: bool) -> Sessions {
        Sessions { list: Vec::new(), role, may_be_many, was_shared: false, next_to_read: 0, deliveries: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.list.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Session> {
        self.list.iter_mut()
    }

    fn position(&self, id: u16) -> Option<usize> {
        self.iter().position(|session| session.id == id && !session.is_closed())
    }

    pub(super) fn get_mut(&mut self, id: u16) -> Option<&mut Session> {
        self.position(id).map(|index| &mut self.list[index])
    }

    /// Whether there is room for a session that the peer begins.
    pub(super) fn has_room(&self) -> bool {
        self.list.len() < SESSIONS && self.iter().filter(|session| session.is_silent()).count() < SILENT
    }

    pub(super) fn add(&mut self, session: Session) {
        self.list.push(session);
        self.was_shared |= self.list.len() > 1;
    }

    pub(super) fn take_closed(&mut self) -> Option<Session> {
        let index = self.list.iter().position(Session::is_closed)?;
        Some(self.list.swap_remove(index))
    }

    /// Those that the peer, which has closed the connection, cannot have taken.
    pub(super) fn take_back(&mut self) -> Vec<NewSession> {
        let mut back = Vec::new();
        self.list.retain_mut(|session| {
            let taken = session.take_back();
            let stays = taken.is_none();
            back.extend(taken);
            stays
        });
        back
    }

    pub(super) fn take_all(&mut self) -> Vec<Session> {
        std::mem::take(&mut self.list)
    }

    /// Bytes that wait, but for those with which nobody is to wait.
    fn waiting(&self) -> usize {
        self.iter().filter(|session| !session.waits_for_place()).map(Session::waiting).sum()
    }

    /// Whether so much waits that the connection is to be read no further for now.
    pub(super) fn are_full(&self) -> bool {
        let dialling = self
            .iter()
            .filter(|session| session.is_connecting() && !session.waits_for_place())
            .map(Session::waiting);
        if dialling.sum::<usize>() >= buffers::room(DIALLING_TOTAL) {
            return true;
        }
        let mut one_is_stalled = false;
        let mut limit = buffers::room(TOTAL);
        for session in self.iter().filter(|session| session.is_full()) {
            if self.is_stalled(session) {
                one_is_stalled = true;
            } else if self.is_to_be_read_past(session) {
                limit += session.full.map_or(0, |full| full.with + PAST);
            } else {
                return true;
            }
        }
        !one_is_stalled && self.waiting() >= limit
    }

    /// Takes note of sessions that are full: by what came for them, or because there is less room than before; and of
    /// those that are not any more, because there is more.
    pub(super) fn note_full(&mut self) {
        for session in &mut self.list {
            let now = Full { from: self.deliveries, with: session.waiting() };
            session.full = session.is_full().then(|| session.full.unwrap_or(now));
        }
    }

    /// Whether the socket of a session that is full has taken nothing for long.
    fn takes_nothing(&self, session: &Session) -> bool {
        let limit = if self.was_shared { STALL } else { STALL_ALONE };
        self.may_be_many
            && session.is_full()
            && session.stalled_since.is_some_and(|since| since.elapsed() >= limit)
    }

    /// Those besides this one whose sockets have taken all that has come: only they can wait for more of it.
    fn others_that_take(&self, session: &Session) -> impl Iterator<Item = &Session> {
        let id = session.id;
        self.iter().filter(move |other| other.id != id && !other.is_closed() && other.waiting() == 0)
    }

    /// Whether a session holds up the others.
    ///
    /// A server cannot know who waits behind what it does not read. A client's session waits that has asked and heard
    /// nothing; and one that hears something is in the middle of it where this came behind what the full one does not
    /// take. (That it has heard something shortly before tells nothing: the answer may have been complete.)
    fn is_stalled(&self, session: &Session) -> bool {
        let others_wait = || {
            self.role == Role::Server
                || self.iter().any(|other| other.asking && other.id != session.id)
                || session.full.is_some_and(|full| {
                    self.others_that_take(session).any(|other| other.delivery > full.from)
                })
        };
        self.takes_nothing(session) && others_wait()
    }

    /// Whether the connection is to be read on, past a session that takes nothing, to see whether something comes for
    /// another: as far as may wait for that session in any case. That may be less than waits already, where there is
    /// room for nothing any more; then it is as far as one read goes.
    fn is_to_be_read_past(&self, session: &Session) -> bool {
        let and_once_more = session.full.map_or(0, |full| full.with + PAST);
        session.waiting() < buffers::room(HARD).max(and_once_more)
            && self.takes_nothing(session)
            && self.others_that_take(session).next().is_some()
    }

    /// Gives a session's socket what has come for it. `connect` makes a socket where it has none. A session
    /// that holds up the others with too much is reset.
    pub(super) fn deliver(
        &mut self,
        cx: &mut Context<'_>,
        id: u16,
        input: &[u8],
        data: &Pieces,
        connect: impl FnOnce() -> Option<Connecting>,
    ) {
        let limit = buffers::room(if self.waiting() >= buffers::room(TOTAL) { SOFT } else { HARD });
        let Some(index) = self.position(id) else { return };
        let session = &mut self.list[index];
        if session.has_no_socket()
            && let Some(connecting) = connect()
        {
            session.connect(connecting);
        }
        session.write(cx, input, data);
        self.deliveries += 1;
        session.delivery = self.deliveries;
        self.note_full();
        let session = &self.list[index];
        if session.waiting() >= limit && self.is_stalled(session) {
            tracing::debug!(id, self.was_shared, "a session is reset: its receiver takes nothing");
            self.list[index].fail(Failed::Ended(End::Stalled(STALL)));
        }
    }

    /// Reads the sockets in turn, each once, and has frames made of what they bring, `heads` bytes behind
    /// where each may begin; `frame` tells where it does. Returns how much of the buffer is used; `None` where
    /// nothing has come, and no socket has ended.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        frames: &mut Pieces,
        heads: usize,
        mut frame: impl FnMut(&mut Encoder, &mut [u8]) -> Result<usize, FrameSizeError>,
    ) -> Result<Option<usize>, FrameSizeError> {
        let (mut used, mut count, mut any_ended) = (0, 0, false);
        let (begin, len) = (self.next_to_read, self.list.len());
        for step in 0..len {
            let area = &mut buffer[used..];
            let most = area.len().min(heads + Encoder::PAYLOAD);
            if count == FRAMES || most < heads + LEAST {
                break;
            }
            let index = (begin + step) % len;
            self.next_to_read = (index + 1) % len;
            let session = &mut self.list[index];
            match session.poll_read(cx, &mut ReadBuf::new(&mut area[heads..most])) {
                Poll::Pending => {}
                Poll::Ready(0) => any_ended = true,
                Poll::Ready(len) => {
                    let end = heads + len;
                    let start = frame(&mut session.encoder, &mut area[..end])?;
                    frames.input(used + start..used + end);
                    used += end;
                    count += 1;
                }
            }
        }
        Ok((count > 0 || any_ended).then_some(used))
    }

    /// Ends sessions in which nobody says anything, and has one at a time dialled for: a stranger who opens
    /// sessions has no more connections to the backend from it than from none.
    pub(super) fn check_silent(&mut self, connect: impl FnOnce() -> Option<Connecting>) {
        let mut one_is_dialled = false;
        let mut oldest: Option<&mut Session> = None;
        for session in self.list.iter_mut().filter(|session| session.is_silent()) {
            if session.began.elapsed() >= SILENT_MAX {
                tracing::debug!(id = session.id, "a session is ended: neither end says anything");
                session.fail(Failed::Ended(End::Idle(SILENT_MAX)));
            } else if !session.has_no_socket() {
                one_is_dialled = true;
            } else if (session.peer_has_ended() || session.began.elapsed() >= SILENCE)
                && oldest.as_ref().is_none_or(|oldest| session.began < oldest.began)
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
}

#[cfg(test)]
mod tests;
