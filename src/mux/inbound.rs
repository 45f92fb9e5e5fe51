//! From the connection to the sessions' sockets.

use super::engine::{Incoming, Mux, ROOM};
use super::session::{Session, Socket};
use super::{HARD, SESSIONS, SILENT, SOFT, TOTAL};
use crate::relay::{End, EndSeen, ProtocolError, RelayStream};
use crate::runtime::turn::note_moved;
use crate::transport::websocket::{Event, Received};
use crate::wire;
use crate::wire::Step;
use crate::wire::mux::{Encoder, Network, Status};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::ReadBuf;
use tokio::time::Instant;

/// Data for one session, as they are in the input.
#[derive(Default)]
struct Batch {
    id: Option<u16>,
    ranges: Vec<Range<usize>>,
}

impl<S: RelayStream, I: Incoming> Mux<S, I> {
    /// Reads the connection once.
    pub(super) fn poll_wire(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        ROOM.with_borrow_mut(|room| {
            let mut buffer = ReadBuf::new(room);
            match Pin::new(&mut self.wire).poll_read(cx, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(End::Reset(self.wire_side(), error))),
                Poll::Ready(Ok(())) => {}
            }
            let input = buffer.filled_mut();
            if input.is_empty() {
                return Poll::Ready(Err(match self.write_error.take() {
                    Some(error) => End::Reset(self.wire_side(), error),
                    None => End::Closed,
                }));
            }
            // Each byte is read and written.
            note_moved(2 * input.len() as u64);
            let asked = if I::SERVER { None } else { self.liveness.heard(Instant::now()) };
            let unframed = self.unframe(cx, input);
            if let Some(asked) = asked {
                self.note_answer(asked);
            }
            Poll::Ready(unframed.map_err(|error| End::Malformed(self.wire_side(), error)))
        })
    }

    /// Takes the WebSocket frames off. What comes before an error is delivered.
    fn unframe(&mut self, cx: &mut Context<'_>, input: &mut [u8]) -> Result<(), ProtocolError> {
        let mut at = 0;
        let mut pieces = Batch::default();
        let result = loop {
            match self.websocket.decode(input, &mut at) {
                Ok(wire::Step::NeedMore) => break Ok(()),
                Ok(wire::Step::Event(Event::End)) => {
                    self.wire_over = Some(End::Closed);
                    break Ok(());
                }
                Ok(wire::Step::Event(Event::SessionEnd(id))) => {
                    self.deliver(cx, input, &mut pieces);
                    self.session_ended(id);
                }
                Ok(wire::Step::Payload(mut range)) => {
                    self.note_payload();
                    if let Err(error) = self.demux_into(cx, input, &mut range, &mut pieces) {
                        break Err(error);
                    }
                }
                Err(error) => break Err(error),
            }
        };
        self.deliver(cx, input, &mut pieces);
        result
    }

    /// Takes what had come before the connection was ours, as [`poll_wire`](Self::poll_wire) takes what
    /// comes now.
    pub(super) fn take_over(&mut self, cx: &mut Context<'_>, received: Received) {
        let Received { payload, session_ends, end_seen, .. } = received;
        let mut pieces = Batch::default();
        let mut range = 0..0;
        let ends = session_ends.into_iter().map(|(at, id)| (at, Some(id)));
        for (at, id) in ends.chain([(payload.len(), None)]) {
            range.end = at;
            let result = self.demux_into(cx, &payload, &mut range, &mut pieces);
            self.deliver(cx, &payload, &mut pieces);
            if let Err(error) = result {
                self.wire_over = Some(End::Malformed(self.wire_side(), error));
                return;
            }
            if let Some(id) = id {
                self.session_ended(id);
            }
        }
        self.wire_over = match end_seen {
            None => return,
            Some(EndSeen::Closed) => Some(End::Closed),
            Some(EndSeen::Broken(error)) => Some(End::Reset(self.wire_side(), error)),
            Some(EndSeen::Malformed(error)) => Some(End::Malformed(self.wire_side(), error)),
        };
    }

    /// The peer sends nothing more in a session, and still takes what comes for it.
    fn session_ended(&mut self, id: u16) {
        if let Some(session) = self.session(id) {
            session.wire_ended = true;
        }
    }

    fn demux_into(
        &mut self,
        cx: &mut Context<'_>,
        input: &[u8],
        range: &mut Range<usize>,
        pieces: &mut Batch,
    ) -> Result<(), ProtocolError> {
        let payload = input.get(..range.end).unwrap_or_default();
        loop {
            match self.decoder.decode(payload, &mut range.start)? {
                Step::NeedMore => return Ok(()),
                Step::Payload(data) => {
                    let id = self.decoder.session();
                    if pieces.id != Some(id) {
                        self.deliver(cx, input, pieces);
                        pieces.id = Some(id);
                    }
                    pieces.ranges.push(data);
                }
                Step::Event(head) => {
                    if !matches!(head.status, Status::Keep) {
                        self.deliver(cx, input, pieces);
                    }
                    match head.status {
                        Status::New(network) => self.begin(head.id, network),
                        Status::End => self.ended(head.id, head.error),
                        Status::Keep if self.session(head.id).is_none() => self.say_end(head.id, false),
                        Status::Keep | Status::KeepAlive => {}
                    }
                }
            }
        }
    }

    fn session(&mut self, id: u16) -> Option<&mut Session> {
        self.sessions.iter_mut().find(|session| session.id == id && !session.over)
    }

    /// The peer begins a session.
    fn begin(&mut self, id: u16, network: Network) {
        if let Some(index) = self.sessions.iter().position(|session| session.id == id && !session.over) {
            // The peer has forgotten the old one.
            if let Some(session) = self.sessions.get_mut(index) {
                session.over = true;
                session.reset();
            }
        }
        let silent = self.sessions.iter().filter(|session| session.is_silent() && !session.over).count();
        if !I::SERVER || network != Network::Tcp || self.sessions.len() >= SESSIONS || silent >= SILENT {
            return self.say_end(id, true);
        }
        self.add(Session::new(id, Socket::Silent, Encoder::server(id)));
    }

    /// The peer ends a session.
    fn ended(&mut self, id: u16, error: bool) {
        let Some(session) = self.session(id) else { return };
        if error && session.waiting() > 0 && session.is_dialling() {
            session.reset_due = true;
        } else if error {
            session.over = true;
            session.reset();
        } else if session.wire_ended && session.said_end {
            session.over = true;
        } else {
            // The second one from a client says that it takes nothing more; so does each one that it
            // sends for data which it did not expect.
            session.over = session.wire_ended && I::SERVER;
            session.wire_ended = true;
        }
    }

    /// Gives a session's socket the data that have come for it.
    fn deliver(&mut self, cx: &mut Context<'_>, input: &[u8], pieces: &mut Batch) {
        let Some(id) = pieces.id.take() else { return };
        let (crowd, total) = (self.crowded, self.waiting());
        if let Some(index) = self.sessions.iter().position(|session| session.id == id && !session.over)
            && let Some(session) = self.sessions.get_mut(index)
        {
            if matches!(session.socket, Socket::Silent)
                && let Some(dial) = self.incoming.dial()
            {
                session.socket = Socket::Dialling(dial);
            }
            session.give(cx, input, &pieces.ranges);
            let limit = if total >= TOTAL { SOFT } else { HARD };
            let overrun = session.waiting() >= limit
                && self.sessions.get(index).is_some_and(|session| self.is_stalled(session));
            if overrun {
                tracing::debug!(id, crowd, "a session is reset: its receiver takes nothing");
                self.abort(index);
            }
        }
        pieces.ranges.clear();
    }
}
