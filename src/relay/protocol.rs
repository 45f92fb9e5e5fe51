//! What the format of a tunnel does with the bytes of its two directions.

use super::pieces::Pieces;
use std::time::Duration;
use tokio::time::Instant;

/// Why a protocol cannot go on.
pub type ProtocolError = Box<dyn std::error::Error + Send + Sync>;

/// One of the two directions of a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the stream that was accepted to the one that was dialled.
    Up,
    /// From the stream that was dialled to the one that was accepted.
    Down,
}

/// What becomes of bytes on their way from one stream to the other. A relay owns one value for both
/// directions, and lends it to the direction that it serves.
///
/// All protocols [transform](#transform) bytes. Few do more, so the rest has defaults: one that
/// [holds](#hold) bytes back, and one that has its own way to [close](#close).
///
/// # Transform
///
/// [`forward`](Self::forward) turns what was read into what is to be written, and [`end`](Self::end) is told
/// of the end of that. What passes as it is need not come up to us: [`passthrough_len`](Self::passthrough_len)
/// and [`skip`](Self::skip).
///
/// # Hold
///
/// Bytes of which it is not known yet whom they are for are held back, within a bound
/// ([`read_limit`](Self::read_limit)) and until a [`deadline`](Self::deadline). Then they go on their way
/// ([`release`](Self::release)), or the accepted stream is handed off with them
/// ([`wants_handoff`](Self::wants_handoff)).
///
/// # Close
///
/// A format that has no half-close of its connection says the end of a direction itself
/// ([`close_is_in_band`](Self::close_is_in_band)), in [control frames](Self::take_control_frames), and the end of
/// both with a [`close_frame`](Self::close_frame).
pub trait Protocol {
    /// Whether bytes that carry no payload are control frames, which do not keep a tunnel from being idle.
    const HAS_CONTROL_FRAMES: bool = false;

    // Transform

    /// Turns `input`, the next bytes of a direction, into the pieces that are to be written, and returns
    /// how many payload bytes they carry.
    ///
    /// # Errors
    ///
    /// The bytes are not what the format says; the tunnel ends when the pieces that came before are
    /// written.
    fn forward(
        &mut self,
        direction: Direction,
        input: &mut [u8],
        out: &mut Pieces,
    ) -> Result<usize, ProtocolError>;

    /// How many of the next bytes pass as they are, though nobody has seen them yet. The kernel may carry
    /// these; the protocol is told which it has to [skip](Self::skip). [`u64::MAX`]: all that is to come.
    fn passthrough_len(&self, _: Direction) -> u64 {
        0
    }

    /// So many of the bytes that [pass as they are](Self::passthrough_len) have passed.
    fn skip(&mut self, _: Direction, _n: u64) {}

    /// The stream of a direction has ended.
    ///
    /// # Errors
    ///
    /// It must not end here.
    fn end(&mut self, _: Direction) -> Result<(), ProtocolError> {
        Ok(())
    }

    // Hold

    /// The most bytes that may be read at once, which bounds what is held back. While it is 0 nothing is
    /// read, until the other direction has brought something or the [deadline](Self::deadline) is there.
    fn read_limit(&self, _: Direction) -> usize {
        usize::MAX
    }

    /// When what is held back is [due](Self::release_is_due) at the latest, or there is something to say though
    /// nothing has come.
    fn deadline(&self, _: Direction) -> Option<Instant> {
        None
    }

    /// The deadline of a direction has come. Returns how long its sink has been silent, if that is so long that
    /// its connection may be dead.
    fn reach_deadline(&mut self, _: Direction, _now: Instant) -> Option<Duration> {
        None
    }

    /// Whether what is held back is to go on its way now.
    fn release_is_due(&self, _: Direction) -> bool {
        false
    }

    /// Appends what is held back. Returns how many payload bytes that is.
    fn release(&mut self, _: Direction, _out: &mut Vec<u8>) -> usize {
        0
    }

    /// A direction breaks off. Appends what is held back: it had come before the source broke.
    fn release_on_error(&mut self, _: Direction, _out: &mut Vec<u8>) {}

    /// Whether what comes from the accepted stream is not for the dialled one any more: the relay
    /// [hands it off](super::Relay::run_or_hand_off) as soon as all that passed is written in both
    /// directions. What is held back stays in the protocol.
    fn wants_handoff(&self) -> bool {
        false
    }

    // Close

    /// Whether a direction has something to say of its own now, though its stream brings nothing.
    fn has_control_frames(&self, _: Direction) -> bool {
        false
    }

    /// Appends what there is to say, such as the answer to a ping. It is written between two pieces of the
    /// stream.
    fn take_control_frames(&mut self, _: Direction, _out: &mut Vec<u8>) {}

    /// Whether the end of a direction is said in its own terms: the connection stays open for what may come
    /// the other way and for the [close frame](Self::close_frame).
    fn close_is_in_band(&self, _: Direction) -> bool {
        false
    }

    /// How long the other direction may stand still once this one has ended, where that is not for the
    /// relay to say.
    fn grace(&self, _: Direction) -> Option<Duration> {
        None
    }

    /// Whether with this direction the other one has ended too.
    fn both_closed(&self, _: Direction) -> bool {
        false
    }

    /// What the sink of a direction is told before its connection is closed. `None` where nothing is said.
    fn close_frame(&mut self, _: Direction) -> Option<Vec<u8>> {
        None
    }
}

/// Bytes pass as they are.
#[derive(Debug, Default)]
pub struct Identity;

impl Protocol for Identity {
    fn forward(&mut self, _: Direction, input: &mut [u8], out: &mut Pieces) -> Result<usize, ProtocolError> {
        out.input(0..input.len());
        Ok(input.len())
    }

    fn passthrough_len(&self, _: Direction) -> u64 {
        u64::MAX
    }
}
