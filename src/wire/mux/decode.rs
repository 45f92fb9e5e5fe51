//! From the stream to frames.

use super::{Error, Head};
use crate::wire::Step;

/// Walks a stream of Mux.Cool frames, cut anywhere.
///
/// Data pass in place, piece by piece. Only of a head that is cut the first part is kept.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The first bytes of a head of which the others have not come yet; else empty.
    partial: Vec<u8>,
    /// The session of the last frame, and how much of its data is still to come, in bytes.
    id: u16,
    left: usize,
    failed: Option<Error>,
}

impl Decoder {
    /// Reads on in `input`, as [`wire::Decoder`](crate::wire::Decoder) does. It only reads, so that the
    /// input can be shared meanwhile. An event is the head of a frame; payload behind it is data of that frame,
    /// which may come in several pieces, [`Head::data`] bytes in all.
    ///
    /// # Errors
    ///
    /// What the peer did wrong. It is final: the same error comes back from all later calls.
    pub fn decode(&mut self, input: &[u8], at: &mut usize) -> Result<Step<Head>, Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        debug_assert!(*at <= input.len(), "read beyond the input");
        let start = *at;
        let rest = input.get(start..).unwrap_or_default();
        if self.left > 0 {
            if rest.is_empty() {
                return Ok(Step::NeedMore);
            }
            let len = self.left.min(rest.len());
            self.left -= len;
            *at += len;
            return Ok(Step::Payload(start..start + len));
        }
        match self.take_head(rest, at) {
            Ok(Some(head)) => {
                self.id = head.id;
                self.left = head.data.unwrap_or(0).into();
                Ok(Step::Event(head))
            }
            Ok(None) => Ok(Step::NeedMore),
            Err(error) => {
                self.failed = Some(error);
                Err(error)
            }
        }
    }

    /// The session of the last frame.
    pub fn session(&self) -> u16 {
        self.id
    }

    /// Takes a head from the front of `rest`, or as much of one as is there.
    fn take_head(&mut self, mut rest: &[u8], at: &mut usize) -> Result<Option<Head>, Error> {
        if self.partial.is_empty()
            && let Some((head, size)) = Head::read(rest)?
        {
            *at += size;
            return Ok(Some(head));
        }
        loop {
            let lacking = Head::size(&self.partial)?.saturating_sub(self.partial.len());
            if lacking == 0 {
                let head = Head::read(&self.partial)?.map(|(head, _)| head);
                self.partial = Vec::new();
                return Ok(head);
            }
            if rest.is_empty() {
                return Ok(None);
            }
            let (taken, left) = rest.split_at(lacking.min(rest.len()));
            self.partial.extend_from_slice(taken);
            *at += taken.len();
            rest = left;
        }
    }
}
