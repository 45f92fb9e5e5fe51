//! WebSocket as what carries sessions.

use super::{Event, State, WebSocket};
use crate::relay::{Direction, ProtocolError};
use crate::transport::framing::Framing;
use crate::wire::websocket::{CLOSE_PROTOCOL_ERROR, Encoder};
use crate::wire::{FrameSizeError, Step};
use tokio::time::Instant;

impl Framing for WebSocket {
    const HEAD: usize = Encoder::HEAD;

    fn encoded(&self) -> Direction {
        self.encoded()
    }

    fn decoded(&self) -> Direction {
        self.decoded()
    }

    fn decode(&mut self, input: &mut [u8], at: &mut usize) -> Result<Step<Event>, ProtocolError> {
        self.decode(input, at)
    }

    fn messages(&self) -> u32 {
        self.decoder.messages()
    }

    fn is_between_messages(&self) -> bool {
        self.decoder.is_between_messages()
    }

    fn encode_in_place(&mut self, frame: &mut [u8]) -> Result<usize, FrameSizeError> {
        self.encode_in_place(frame)
    }

    fn peer_has_closed(&self) -> bool {
        self.peer_has_closed()
    }

    fn note_malformed(&mut self) {
        if !matches!(self.state, State::Closing(Some(_)) | State::Closed) {
            self.state = State::Closing(Some(CLOSE_PROTOCOL_ERROR));
        }
    }

    fn note_sent(&mut self) {
        self.note_sent();
    }

    fn note_heard(&mut self) {
        self.note_heard();
    }

    fn note_asked(&mut self) {
        self.note_asked();
    }

    fn begin_silence(&mut self, now: Instant) {
        self.begin_silence(now);
    }

    fn push_ping(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.ping().as_bytes());
    }

    fn push_session_end(&self, id: u16, out: &mut Vec<u8>) {
        out.extend_from_slice(self.session_end(id).as_bytes());
    }

    fn peer_answers_pings(&self) -> bool {
        self.peer_answers_pings()
    }

    fn push_question(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.question().as_bytes());
    }

    fn peer_is_ours(&self) -> bool {
        self.peer_is_ours()
    }

    fn peer_is_foreign(&self) -> bool {
        self.peer_is_foreign()
    }
}
