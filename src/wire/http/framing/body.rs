//! The body of a message (RFC 9112 sections 6 and 7).

use super::{Head, Unclear};
use crate::wire::http::syntax::is_value_byte;

/// The longest line with a chunk's size, extensions included, in bytes.
const MAX_SIZE_LINE: usize = 4096;

/// Hexadecimal digits that a `u64` holds.
const MAX_DIGITS: usize = 16;

/// A body, as far as it has not come.
#[derive(Debug, Clone)]
pub struct Body(Rest);

#[derive(Debug, Clone)]
enum Rest {
    /// So many bytes.
    Sized(u64),
    /// A line with the size of a chunk.
    Size(SizeLine),
    /// So many bytes of a chunk.
    Data(u64),
    /// The CR behind a chunk.
    DataCr,
    /// The LF behind it.
    DataLf,
    /// What stands behind the last chunk.
    Trailers(Head),
}

#[derive(Debug, Clone, Default)]
struct SizeLine {
    len: usize,
    size: u64,
    place: SizePlace,
}

#[derive(Debug, Clone, Copy, Default)]
enum SizePlace {
    #[default]
    Digits,
    /// White space, behind which an extension must come.
    Space,
    Extension,
    LineFeed,
}

impl Body {
    /// A body with a `Content-Length`, or none (0).
    pub fn sized(length: u64) -> Body {
        Body(Rest::Sized(length))
    }

    /// A body in chunks.
    pub fn chunked() -> Body {
        Body(Rest::Size(SizeLine::default()))
    }

    /// Whether nothing more of it comes.
    pub fn is_over(&self) -> bool {
        matches!(self.0, Rest::Sized(0))
    }

    /// How many bytes come now that need not be looked at.
    pub fn untouched(&self) -> u64 {
        match self.0 {
            Rest::Sized(left) | Rest::Data(left) => left,
            _ => 0,
        }
    }

    /// So many of the [untouched](Self::untouched) bytes have come.
    pub fn skip(&mut self, n: u64) {
        match &mut self.0 {
            Rest::Sized(left) => *left = left.saturating_sub(n),
            Rest::Data(left) => {
                *left = left.saturating_sub(n);
                if *left == 0 {
                    self.0 = Rest::DataCr;
                }
            }
            _ => {}
        }
    }

    /// Reads on. The body ends after so many bytes of `input`; `None`: not in it.
    ///
    /// # Errors
    ///
    /// This is no chunked body. That is told at the first byte that shows it.
    pub fn read(&mut self, input: &[u8]) -> Result<Option<usize>, Unclear> {
        let mut at = 0;
        loop {
            if self.is_over() {
                return Ok(Some(at));
            }
            let rest = input.get(at..).unwrap_or_default();
            let Some(&byte) = rest.first() else { return Ok(None) };
            match &mut self.0 {
                Rest::Sized(left) | Rest::Data(left) => {
                    let n = rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    self.skip(n as u64);
                    at += n;
                    continue;
                }
                Rest::Size(line) => {
                    if let Some(size) = line.step(byte)? {
                        self.0 = match size {
                            0 => Rest::Trailers(Head::of_trailers()),
                            size => Rest::Data(size),
                        };
                    }
                }
                Rest::DataCr if byte == b'\r' => self.0 = Rest::DataLf,
                Rest::DataLf if byte == b'\n' => self.0 = Rest::Size(SizeLine::default()),
                Rest::DataCr | Rest::DataLf => return Err(Unclear::Chunk),
                Rest::Trailers(trailers) => match trailers.read(rest)? {
                    None => return Ok(None),
                    // RFC 9110 section 6.5.1: nobody may send these.
                    Some(_) if trailers.is_chunked() || trailers.length().is_some() => {
                        return Err(Unclear::NoBody);
                    }
                    Some(n) => {
                        self.0 = Rest::Sized(0);
                        return Ok(Some(at + n));
                    }
                },
            }
            at += 1;
        }
    }
}

impl SizeLine {
    /// Reads one byte; the size when the line has ended.
    fn step(&mut self, byte: u8) -> Result<Option<u64>, Unclear> {
        let digit = char::from(byte).to_digit(16);
        self.place = match (self.place, byte) {
            (SizePlace::LineFeed, b'\n') => return Ok(Some(self.size)),
            (SizePlace::Digits, _) if digit.is_some() && self.len < MAX_DIGITS => {
                self.size = (self.size << 4) | u64::from(digit.unwrap_or_default());
                SizePlace::Digits
            }
            (SizePlace::Digits | SizePlace::Space, b';') if self.len > 0 => SizePlace::Extension,
            (SizePlace::Digits | SizePlace::Space, b' ' | b'\t') if self.len > 0 => SizePlace::Space,
            (SizePlace::Digits | SizePlace::Extension, b'\r') if self.len > 0 => SizePlace::LineFeed,
            (SizePlace::Extension, _) if is_value_byte(byte) => SizePlace::Extension,
            _ => return Err(Unclear::Chunk),
        };
        self.len += 1;
        if self.len > MAX_SIZE_LINE { Err(Unclear::Chunk) } else { Ok(None) }
    }
}
