//! Formats that cut the stream into frames, as what happens to bytes in a relay.

use crate::relay::{Direction, Pieces, Protocol, ProtocolError};
use crate::wire::{Decoder, Encoder, Step};
use std::convert::Infallible;

/// One direction is payload that becomes frames, the other one frames that become payload.
#[derive(Debug)]
pub struct Framing<E, D> {
    /// Which one becomes frames.
    pub encoded: Direction,
    /// What makes them.
    pub encoder: E,
    /// What reads those that come the other way.
    pub decoder: D,
}

impl<E: Encoder, D: Decoder<Event = Infallible>> Protocol for Framing<E, D> {
    fn forward(
        &mut self,
        direction: Direction,
        input: &mut [u8],
        out: &mut Pieces,
    ) -> Result<usize, ProtocolError> {
        let (mut at, mut payload_len) = (0, 0);
        if direction == self.encoded {
            for payload in input.chunks_mut(E::PAYLOAD) {
                let end = at + payload.len();
                out.head(|head| self.encoder.encode(payload, head));
                out.input(at..end);
                at = end;
            }
            return Ok(at);
        }
        loop {
            match self.decoder.decode(input, &mut at)? {
                Step::Payload(range) => {
                    payload_len += range.len();
                    out.input(range);
                }
                Step::NeedMore => return Ok(payload_len),
            }
        }
    }
}
