//! The body of a message (RFC 9112 sections 6 and 7).

use super::{FramingError, MessageHead};
use crate::wire::http::chunked::Chunks;

/// A body, as far as it has not come. Its content is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageBody {
    /// So many bytes.
    Sized(u64),
    /// Chunks.
    Chunked(Chunks),
    /// What stands behind the last chunk of a body that is read strictly.
    Trailers(MessageHead),
}

impl MessageBody {
    /// A body in chunks.
    pub fn chunked() -> MessageBody {
        MessageBody::Chunked(Chunks::strict())
    }

    /// Whether nothing more of it comes.
    pub fn is_over(&self) -> bool {
        matches!(self, MessageBody::Sized(0))
    }

    /// How many bytes come now that need not be looked at.
    pub fn passthrough_len(&self) -> u64 {
        match self {
            MessageBody::Sized(left) => *left,
            MessageBody::Chunked(chunks) => chunks.data_left(),
            MessageBody::Trailers(_) => 0,
        }
    }

    /// So many of the bytes that [need not be looked at](Self::passthrough_len) have come.
    pub fn skip(&mut self, n: u64) {
        match self {
            MessageBody::Sized(left) => *left = left.saturating_sub(n),
            MessageBody::Chunked(chunks) => chunks.skip(n),
            MessageBody::Trailers(_) => {}
        }
    }

    /// Reads on. The body ends after so many bytes of `input`; `None`: not in it.
    ///
    /// # Errors
    ///
    /// This is no chunked body. The first wrong byte is enough to know.
    pub fn read(&mut self, input: &[u8]) -> Result<Option<usize>, FramingError> {
        let mut at = 0;
        loop {
            let rest = input.get(at..).unwrap_or_default();
            match self {
                MessageBody::Sized(left) => {
                    let n = rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= n as u64;
                    return Ok((*left == 0).then_some(at + n));
                }
                MessageBody::Chunked(chunks) => {
                    at += chunks.read(rest).map_err(|_| FramingError::Chunk)?;
                    if !chunks.is_over() {
                        return Ok(None);
                    }
                    if chunks.includes_trailers() {
                        *self = MessageBody::Sized(0);
                        return Ok(Some(at));
                    }
                    *self = MessageBody::Trailers(MessageHead::of_trailers());
                }
                MessageBody::Trailers(trailers) => {
                    let Some(n) = trailers.read(rest)? else { return Ok(None) };
                    // RFC 9110 section 6.5.1: a sender must not send these.
                    if trailers.chunked || trailers.length.is_some() {
                        return Err(FramingError::NoBody);
                    }
                    *self = MessageBody::Sized(0);
                    return Ok(Some(at + n));
                }
            }
        }
    }
}
