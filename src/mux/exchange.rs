//! What passes between the connection and its sessions.

use super::link::{Cursor, Event, HEADS, Link, with_scratch};
use super::session::Session;
use super::sessions::Sessions;
use super::source::{NewSession, SessionSource};
use super::state::Tell;
use crate::relay::{End, EndSeen, Outcome, ProtocolError, RelayStream};
use crate::runtime::turn::note_moved;
use crate::telemetry;
use crate::transport::websocket::{OpenWebSocket, Received};
use crate::wire::mux::{self, Encoder, Head, Network, Status};
use crate::wire::websocket::Role;
use std::io;
use std::ops::Range;
use std::task::{Context, Poll};

/// Data for one session, as they are in the input.
#[derive(Default)]
struct Batch {
    id: Option<u16>,
    parts: Vec<Range<usize>>,
}

/// What a read of the connection has brought.
pub(super) struct ReadResult {
    /// Any bytes, and whether there was payload in them.
    pub(super) heard: Option<bool>,
    /// The connection is over.
    pub(super) end: Option<End>,
}

/// The connection, its sessions, and where they come from.
pub(super) struct Exchange<S, I> {
    pub(super) link: Link<S>,
    pub(super) sessions: Sessions,
    pub(super) source: I,
    next_id: u16,
    /// The peer of a session with id 0 knows its end only by that of the connection.
    close_when_empty: bool,
    /// Payload of sessions that have ended.
    up: u64,
    down: u64,
}

impl<S: RelayStream, I: SessionSource> Exchange<S, I> {
    /// A connection whose handshake is done, and what has come on it.
    pub(super) fn new(handoff: OpenWebSocket<S>, source: I) -> (Self, Received) {
        let (link, received) = Link::new(handoff, I::ROLE);
        let sessions = Sessions::new(I::ROLE, source.may_be_many());
        let exchange =
            Exchange { link, sessions, source, next_id: 1, close_when_empty: false, up: 0, down: 0 };
        (exchange, received)
    }

    /// Whether so much waits that the connection is to be read no further for now.
    pub(super) fn must_pause(&self) -> bool {
        self.link.is_full() || self.sessions.are_full()
    }

    /// Whether the connection has had its only session.
    pub(super) fn is_to_be_closed(&self) -> bool {
        self.close_when_empty && self.sessions.is_empty() && self.link.is_drained()
    }

    /// Reads the connection once.
    pub(super) fn poll_link(&mut self, cx: &mut Context<'_>) -> Poll<ReadResult> {
        with_scratch(|scratch| {
            let input = match self.link.poll_read(cx, scratch) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(end)) => return Poll::Ready(ReadResult { heard: None, end: Some(end) }),
                Poll::Ready(Ok(input)) => input,
            };
            let (mut cursor, mut batch) = (Cursor::default(), Batch::default());
            let end = loop {
                match self.link.next(input, &mut cursor) {
                    Ok(None) => break None,
                    Ok(Some(Event::End)) => break Some(End::Closed),
                    Ok(Some(event)) => self.take(cx, event, input, &mut batch),
                    // What has come before it is delivered.
                    Err(error) => break Some(self.link.malformed(error)),
                }
            };
            self.deliver(cx, input, &mut batch);
            Poll::Ready(ReadResult { heard: Some(cursor.payload_seen), end })
        })
    }

    /// Takes what had come before the connection was ours. Returns its end, if that has come too.
    pub(super) fn take_received(&mut self, cx: &mut Context<'_>, received: Received) -> Option<End> {
        let Received { payload, session_ends, end_seen, .. } = received;
        let mut range = 0..0;
        let ends = session_ends.into_iter().map(|(at, id)| (at, Some(id)));
        for (at, id) in ends.chain([(payload.len(), None)]) {
            range.end = at;
            if let Err(error) = self.take_payload(cx, &payload, &mut range) {
                return Some(self.link.malformed(error));
            }
            if let Some(session) = id.and_then(|id| self.sessions.get_mut(id)) {
                session.peer_ends();
            }
        }
        end_seen.map(|end| match end {
            EndSeen::Closed => End::Closed,
            EndSeen::Broken(error) => self.link.reset(error),
            EndSeen::Malformed(error) => self.link.malformed(error),
        })
    }

    fn take_payload(
        &mut self,
        cx: &mut Context<'_>,
        payload: &[u8],
        range: &mut Range<usize>,
    ) -> Result<(), ProtocolError> {
        let mut batch = Batch::default();
        let result = loop {
            match self.link.next_in_payload(payload, range) {
                Ok(None) => break Ok(()),
                Ok(Some(event)) => self.take(cx, event, payload, &mut batch),
                Err(error) => break Err(error),
            }
        };
        self.deliver(cx, payload, &mut batch);
        result
    }

    fn take(&mut self, cx: &mut Context<'_>, event: Event, input: &[u8], batch: &mut Batch) {
        match event {
            Event::Data(id, part) => {
                if batch.id != Some(id) {
                    self.deliver(cx, input, batch);
                    batch.id = Some(id);
                }
                batch.parts.push(part);
            }
            Event::Frame(head) => {
                if !matches!(head.status, Status::Keep) {
                    self.deliver(cx, input, batch);
                }
                self.take_head(head);
            }
            Event::HalfClose(id) => {
                self.deliver(cx, input, batch);
                if let Some(session) = self.sessions.get_mut(id) {
                    session.peer_ends();
                }
            }
            Event::End => {}
        }
    }

    fn take_head(&mut self, Head { id, status, error, .. }: Head) {
        match (status, self.sessions.get_mut(id)) {
            (Status::New(network), old) => {
                if let Some(old) = old {
                    old.forget();
                }
                if I::ROLE == Role::Client || network != Network::Tcp || !self.sessions.has_room() {
                    return self.link.queue_frame(&mux::end(id, true));
                }
                self.sessions.add(Session::of_peer(id));
            }
            (Status::End, Some(session)) => session.peer_ends_session(error),
            (Status::Keep, None) => self.link.queue_frame(&mux::end(id, false)),
            (Status::End, None) | (Status::Keep, Some(_)) | (Status::KeepAlive, _) => {}
        }
    }

    /// Gives a session's socket the data that have come for it.
    fn deliver(&mut self, cx: &mut Context<'_>, input: &[u8], batch: &mut Batch) {
        if let Some(id) = batch.id.take() {
            self.sessions.deliver(cx, id, input, &batch.parts, || self.source.connect());
            batch.parts.clear();
        }
    }

    /// Reads the sessions' sockets in turn, and writes what they have with one call. Returns how many bytes
    /// that was; `None` where there was nothing, and no socket has ended.
    pub(super) fn poll_sessions(&mut self, cx: &mut Context<'_>) -> Option<usize> {
        with_scratch(|scratch| {
            let Exchange { link, sessions, .. } = self;
            let round = sessions.poll_read(cx, scratch, HEADS, |encoder, frame| link.frame(encoder, frame));
            let round = match round {
                Ok(round) => round,
                Err(error) => {
                    link.break_off(io::Error::other(error));
                    return None;
                }
            };
            note_moved(2 * round.used as u64);
            if !round.frames.is_empty() {
                link.write(cx, scratch, &round.frames);
            }
            (round.used > 0 || round.any_ended).then_some(round.used)
        })
    }

    /// Begins a session of this end.
    pub(super) fn begin(&mut self, cx: &mut Context<'_>, session: NewSession) {
        let mut encoder = Encoder::client(self.next_id);
        if session.first.is_empty() {
            if let Some(head) = encoder.open() {
                self.link.queue_frame(&head);
            }
        } else {
            let mut frame = vec![0; HEADS];
            frame.extend_from_slice(&session.first);
            self.link.queue_data(&mut encoder, frame);
        }
        self.adopt(session, encoder);
        self.link.poll_flush(cx);
    }

    /// Begins the first session, of which the beginning went with the handshake: `rest` is what of its first
    /// frame did not. `encoder` is that of session 1.
    pub(super) fn begin_with_handshake(&mut self, session: NewSession, encoder: Encoder, rest: &[u8]) {
        if !rest.is_empty() {
            self.link.queue_frame(rest);
        }
        self.adopt(session, encoder);
    }

    fn adopt(&mut self, session: NewSession, encoder: Encoder) {
        self.sessions.add(Session::of_ours(self.next_id, session, encoder));
        self.next_id = self.next_id.wrapping_add(1).max(1);
    }

    /// Tells the peer what has become of sessions, and takes those out that are over. Returns whether there
    /// were any.
    pub(super) fn sweep(&mut self) -> bool {
        for (id, tell) in self.sessions.tells() {
            match tell {
                Tell::HalfClose => self.link.queue_half_close(id),
                Tell::End { error } => {
                    self.close_when_empty |= I::ROLE == Role::Server && id == 0;
                    self.link.queue_frame(&mux::end(id, error));
                }
            }
        }
        let mut any = false;
        while let Some(session) = self.sessions.take_closed() {
            self.note_end(&session, End::Closed);
            self.source.ended();
            any = true;
        }
        any
    }

    /// Counts and logs a session that has ended.
    fn note_end(&mut self, session: &Session, end: End) {
        let (up, down) = session.payload();
        self.up += up;
        self.down += down;
        if let Some(peer) = session.peer() {
            telemetry::tunnel_ended(peer, "session", session.began(), &Outcome { up, down, end });
        }
    }

    /// Closes the connection and all sockets.
    pub(super) async fn close(mut self, end: End) -> Outcome {
        if let End::Reset(..) | End::Malformed(..) = end {
            // What they got is not all there was.
            self.sessions.reset_all();
        }
        self.link.close(&end).await;
        for session in self.sessions.take_all() {
            let end = match &end {
                End::Reset(side, error) => End::Reset(*side, error.kind().into()),
                _ => End::Closed,
            };
            self.note_end(&session, end);
        }
        Outcome { up: self.up, down: self.down, end }
    }
}
