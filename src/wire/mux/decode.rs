//! From the stream to frames.

use std::ops::Range;

use super::{Error, Head};

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

/// What [`Decoder::decode`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// All of the input has been used.
    NeedMore,
    /// A frame begins.
    Frame(Head),
    /// Data of the frame that began last: its session, and where they are in the input. Never
    /// empty. A frame's data may come in several pieces, [`Head::data`] bytes in all.
    Data(u16, Range<usize>),
}

impl Decoder {
    /// A decoder for the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads on in `input` from `*at` and moves `*at` behind what it used. To be called until it
    /// says [`Step::NeedMore`]; then `*at` is the input's length, and the next input continues
    /// where this one ended.
    ///
    /// # Errors
    ///
    /// What the peer did wrong. It is final: the same error comes back from all later calls.
    pub fn decode(&mut self, input: &[u8], at: &mut usize) -> Result<Step, Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let start = *at;
        let rest = input.get(start..).unwrap_or_default();
        if self.left > 0 {
            if rest.is_empty() {
                return Ok(Step::NeedMore);
            }
            let len = self.left.min(rest.len());
            self.left -= len;
            *at += len;
            return Ok(Step::Data(self.id, start..start + len));
        }
        match self.take_head(rest, at) {
            Ok(Some(head)) => {
                self.id = head.id;
                self.left = head.data.unwrap_or(0).into();
                Ok(Step::Frame(head))
            }
            Ok(None) => Ok(Step::NeedMore),
            Err(error) => {
                self.failed = Some(error);
                Err(error)
            }
        }
    }

    /// Whether the stream may end here: not in the middle of a frame.
    pub fn is_between_frames(&self) -> bool {
        self.left == 0 && self.partial.is_empty()
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
