//! What cuts the stream of a tunnel into frames, seen by those who make and read single frames: WebSocket, and the
//! hunks of gRPC.

use crate::relay::{Direction, Protocol, ProtocolError};
use crate::wire::{FrameSizeError, Step};
use tokio::time::Instant;

/// What a peer says beside payload that concerns the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It sends nothing more.
    End,
    /// It sends nothing more in this session of Mux.Cool.
    SessionEnd(u16),
}

/// A protocol whose frames may carry many sessions. Where it has no control frames, nothing can be said but payload:
/// its peer cannot be asked whether it is there, and knows no end of a session but that of Mux.Cool.
pub trait Framing: Protocol {
    /// Bytes of the longest head of a frame.
    const HEAD: usize;

    /// The direction whose payload becomes frames.
    fn encoded(&self) -> Direction;

    /// The direction whose frames become payload.
    fn decoded(&self) -> Direction;

    /// The next thing in the peer's frames that concerns the stream.
    ///
    /// # Errors
    ///
    /// The bytes are not what the format says.
    fn decode(&mut self, input: &mut [u8], at: &mut usize) -> Result<Step<Event>, ProtocolError>;

    /// How many messages of the peer have begun, counted round and round.
    fn messages(&self) -> u32;

    /// Whether each message of the peer that has begun has come to its end.
    fn is_between_messages(&self) -> bool;

    /// A frame of `frame[HEAD..]`, in place. Returns where in `frame` it begins.
    ///
    /// # Errors
    ///
    /// `frame` has no room for the head, or more data than a frame carries.
    fn encode_in_place(&mut self, frame: &mut [u8]) -> Result<usize, FrameSizeError>;

    /// Whether the peer has closed the connection, and not only its own direction.
    fn peer_has_closed(&self) -> bool {
        false
    }

    /// What the peer has said inside is wrong: the end says so, where it can.
    fn note_malformed(&mut self) {}

    // Control frames

    /// Bytes were sent.
    fn note_sent(&mut self) {}

    /// Bytes have come.
    fn note_heard(&mut self) {}

    /// A [ping](Self::push_ping) was sent.
    fn note_asked(&mut self) {}

    /// There was no need to keep the connection alive until now.
    fn begin_silence(&mut self, _now: Instant) {}

    /// Appends what asks the peer whether it is there, if anything does.
    fn push_ping(&self, _out: &mut Vec<u8>) {}

    /// Appends what tells a peer of ours that one session of Mux.Cool has ended in this direction, if anything does.
    fn push_session_end(&self, _id: u16, _out: &mut Vec<u8>) {}

    /// Whether the peer has answered a ping.
    fn peer_answers_pings(&self) -> bool {
        false
    }

    /// Appends what asks the peer whether it is one of ours, if anything does.
    fn push_question(&self, _out: &mut Vec<u8>) {}

    /// Whether the peer is known to be one of ours.
    fn peer_is_ours(&self) -> bool {
        false
    }

    /// Whether the peer is known not to know half-closes.
    fn peer_is_foreign(&self) -> bool {
        true
    }
}
