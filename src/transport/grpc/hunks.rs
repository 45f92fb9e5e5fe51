//! Hunks as what happens to bytes in a relay.

use crate::relay::{Direction, Pieces, Protocol, ProtocolError};
use crate::wire::grpc::{HunkDecoder, HunkEncoder, Method};
use crate::wire::{Decoder as _, Encoder, Step};

/// What becomes of the bytes of both directions.
#[derive(Debug)]
pub struct Hunks {
    encoded: Direction,
    decoder: HunkDecoder,
}

impl Hunks {
    /// A tunnel that has this direction in hunks that we make, and the other in those of the peer.
    pub fn new(encoded: Direction, method: Method) -> Hunks {
        Hunks { encoded, decoder: HunkDecoder::new(method) }
    }
}

impl Protocol for Hunks {
    fn forward(
        &mut self,
        direction: Direction,
        input: &mut [u8],
        out: &mut Pieces,
    ) -> Result<usize, ProtocolError> {
        if direction == self.encoded {
            let mut at = 0;
            for data in input.chunks_mut(HunkEncoder::PAYLOAD) {
                out.head(|head| HunkEncoder.encode(data, head));
                out.input(at..at + data.len());
                at += data.len();
            }
            return Ok(input.len());
        }
        let (mut at, mut payload_len) = (0, 0);
        while let Step::Payload(range) = self.decoder.decode(input, &mut at)? {
            payload_len += range.len();
            out.input(range);
        }
        Ok(payload_len)
    }

    fn end(&mut self, direction: Direction) -> Result<(), ProtocolError> {
        if direction != self.encoded {
            self.decoder.end()?;
        }
        Ok(())
    }
}
