//! Where the bodies of requests end. Their content is not used.

use crate::wire::http::chunked::{Chunks, MalformedChunk};

/// How the end of a body is found (RFC 9112 section 6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestBody {
    /// So many bytes are left of it.
    Length(u64),
    /// Chunks.
    Chunked(Chunks),
}

impl RequestBody {
    /// No body at all.
    pub const NONE: RequestBody = RequestBody::Length(0);

    /// Whether all of it has come.
    pub fn is_over(&self) -> bool {
        match self {
            RequestBody::Length(left) => *left == 0,
            RequestBody::Chunked(chunks) => chunks.is_over(),
        }
    }

    /// How many of these bytes belong to it.
    pub fn take(&mut self, bytes: &[u8]) -> Result<usize, MalformedChunk> {
        match self {
            RequestBody::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= taken as u64;
                Ok(taken)
            }
            RequestBody::Chunked(chunks) => chunks.read(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_counted_down() {
        let mut body = RequestBody::Length(5);
        assert_eq!(body.take(b"abc"), Ok(3));
        assert!(!body.is_over());
        assert_eq!(body.take(b"defg"), Ok(2));
        assert!(body.is_over());
        assert_eq!(body.take(b"g"), Ok(0));
    }
}
