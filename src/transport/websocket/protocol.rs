//! WebSocket as what happens to bytes in a relay.

use super::{CLIENT_GRACE, Event, SERVER_GRACE, State, WebSocket};
use crate::relay::{Direction, Pieces, Protocol, ProtocolError};
use crate::wire::websocket::{CLOSE_NORMAL, Role};
use crate::wire::{Encoder as _, Step};
use std::time::Duration;
use tokio::time::Instant;

impl WebSocket {
    /// The direction whose payload becomes frames; in the other one frames become payload.
    pub fn encoded(&self) -> Direction {
        match self.role {
            Role::Client => Direction::Up,
            Role::Server => Direction::Down,
        }
    }

    /// The direction whose frames become payload.
    pub fn decoded(&self) -> Direction {
        match self.role {
            Role::Client => Direction::Down,
            Role::Server => Direction::Up,
        }
    }
}

impl Protocol for WebSocket {
    const HAS_CONTROL_FRAMES: bool = true;

    /// Payload becomes one frame for each piece that is read.
    fn forward(
        &mut self,
        direction: Direction,
        input: &mut [u8],
        out: &mut Pieces,
    ) -> Result<usize, ProtocolError> {
        if direction == self.encoded() {
            out.head(|head| self.encoder.encode(input, head));
            out.input(0..input.len());
            self.note_sent();
            return Ok(input.len());
        }
        self.note_heard();
        let (mut at, mut payload_len) = (0, 0);
        loop {
            match self.decode(input, &mut at)? {
                Step::Payload(range) => {
                    payload_len += range.len();
                    out.input(range);
                }
                // Of no concern to a bare stream.
                Step::Event(Event::SessionEnd(_)) => {}
                Step::NeedMore => return Ok(payload_len),
                Step::Event(Event::End) => {
                    out.finish();
                    return Ok(payload_len);
                }
            }
        }
    }

    fn end(&mut self, direction: Direction) -> Result<(), ProtocolError> {
        if direction == self.decoded() {
            self.connection_ended();
        } else if self.state == State::Open {
            self.state = State::EndDue;
        }
        Ok(())
    }

    fn deadline(&self, direction: Direction) -> Option<Instant> {
        self.ping_due_at().filter(|_| direction == self.encoded())
    }

    fn reach_deadline(&mut self, direction: Direction, now: Instant) -> Option<Duration> {
        if direction == self.encoded() { self.reach_ping(now) } else { None }
    }

    fn has_control_frames(&self, direction: Direction) -> bool {
        direction == self.encoded() && self.has_control_frames()
    }

    fn take_control_frames(&mut self, _: Direction, out: &mut Vec<u8>) {
        self.take_control_frames(out);
    }

    fn close_is_in_band(&self, direction: Direction) -> bool {
        direction == self.encoded()
    }

    /// A foreign peer is not waited for longer than its kind waits, once it has read up to the end.
    fn grace(&self, direction: Direction) -> Option<Duration> {
        match self.role {
            _ if direction == self.decoded() || !self.peer_is_foreign() => None,
            Role::Client => Some(CLIENT_GRACE),
            Role::Server => Some(SERVER_GRACE),
        }
    }

    fn both_closed(&self, direction: Direction) -> bool {
        direction == self.decoded() && self.peer_has_closed()
    }

    fn close_frame(&mut self, direction: Direction) -> Option<Vec<u8>> {
        (direction == self.encoded()).then(|| self.close_frame(CLOSE_NORMAL))
    }
}
