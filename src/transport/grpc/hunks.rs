//! Hunks as what happens to bytes in a relay, and as what carries sessions.

use crate::relay::{Direction, Pieces, Protocol, ProtocolError};
use crate::transport::framing::{Event, Framing};
use crate::wire::grpc::{HunkDecoder, HunkEncoder, Method};
use crate::wire::{Decoder as _, Encoder, FrameSizeError, Step};

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

/// HTTP/2 has pings; none are sent: a server of grpc-go counts them, and closes the connection at the fourth.
impl Framing for Hunks {
    const HEAD: usize = HunkEncoder::HEAD;

    fn encoded(&self) -> Direction {
        self.encoded
    }

    fn decoded(&self) -> Direction {
        match self.encoded {
            Direction::Up => Direction::Down,
            Direction::Down => Direction::Up,
        }
    }

    fn decode(&mut self, input: &mut [u8], at: &mut usize) -> Result<Step<Event>, ProtocolError> {
        Ok(match self.decoder.decode(input, at)? {
            Step::Payload(range) => Step::Payload(range),
            Step::NeedMore => Step::NeedMore,
        })
    }

    fn messages(&self) -> u32 {
        self.decoder.messages()
    }

    fn is_between_messages(&self) -> bool {
        self.decoder.is_between_messages()
    }

    fn encode_in_place(&mut self, frame: &mut [u8]) -> Result<usize, FrameSizeError> {
        HunkEncoder::encode_in_place(frame)
    }
}
