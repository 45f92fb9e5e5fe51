//! Formats that cut the stream into frames, as what happens to bytes in a relay.

use crate::relay::{Codec, CodecError, Pieces};
use crate::wire::{Decoder, Encoder, Step};
use std::convert::Infallible;

/// Payload becomes frames.
#[derive(Debug)]
pub struct Framed<E>(pub E);

impl<E: Encoder> Codec for Framed<E> {
    fn pass(&mut self, input: &mut [u8], out: &mut Pieces) -> Result<usize, CodecError> {
        let mut at = 0;
        for payload in input.chunks_mut(E::PAYLOAD) {
            let end = at + payload.len();
            out.head(|head| self.0.encode(payload, head));
            out.input(at..end);
            at = end;
        }
        Ok(at)
    }
}

/// Frames become payload.
#[derive(Debug)]
pub struct Unframed<D>(pub D);

impl<D: Decoder<Event = Infallible>> Codec for Unframed<D> {
    fn pass(&mut self, input: &mut [u8], out: &mut Pieces) -> Result<usize, CodecError> {
        let (mut at, mut payload_len) = (0, 0);
        loop {
            match self.0.decode(input, &mut at)? {
                Step::Payload(range) => {
                    payload_len += range.len();
                    out.input(range);
                }
                Step::NeedMore => return Ok(payload_len),
            }
        }
    }
}
