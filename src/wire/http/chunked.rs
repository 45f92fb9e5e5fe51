//! Chunked bodies (RFC 9112 section 7.1): where they end. Their content is not used.

use super::syntax::is_value_byte;

/// The longest line with a chunk's size that is read strictly, extensions included, in bytes.
const MAX_SIZE_LINE: usize = 4096;

/// The most digits of a size that is read strictly: what a `u64` holds.
const MAX_DIGITS: usize = 16;

/// These bytes are no chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedChunk;

/// A chunked body on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunks {
    /// As nginx reads requests: a line feed alone ends a line, an extension is anything, and so are trailers.
    /// Otherwise nothing is taken that two readers could take in two ways, and the trailers are not read.
    lenient: bool,
    place: Place,
    /// The size that is read, or what is left of the chunk.
    size: u64,
    /// Bytes of the line with the size.
    line: usize,
}

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The first digit of a size.
    Start,
    Size,
    /// White space behind a size.
    Space,
    Extension,
    /// A CR has come behind a size.
    SizeEnd,
    Data,
    DataEnd,
    /// A CR has come behind data.
    DataLineFeed,
    /// The beginning of a trailer line, or the empty line behind all of them.
    Trailer,
    TrailerLine,
    /// A CR has come in a trailer line.
    TrailerLineFeed,
    /// The CR of the empty line has come.
    LastLineFeed,
    Over,
}

impl Chunks {
    /// A body that is read strictly, to the line behind the last chunk.
    pub fn strict() -> Chunks {
        Chunks { lenient: false, place: Place::Start, size: 0, line: 0 }
    }

    /// A body that is read as nginx reads it, to the end of its trailers.
    pub fn lenient() -> Chunks {
        Chunks { lenient: true, ..Chunks::strict() }
    }

    /// Whether all that is read has come.
    pub fn is_over(&self) -> bool {
        self.place == if self.lenient { Place::Over } else { Place::Trailer }
    }

    /// Whether the trailers are read with the chunks.
    pub fn includes_trailers(&self) -> bool {
        self.lenient
    }

    /// How many bytes of data come now.
    pub fn data_left(&self) -> u64 {
        if self.place == Place::Data { self.size } else { 0 }
    }

    /// So many bytes of the [data](Self::data_left) have come.
    pub fn skip(&mut self, n: u64) {
        if self.place == Place::Data {
            self.size = self.size.saturating_sub(n);
            if self.size == 0 {
                self.place = Place::DataEnd;
            }
        }
    }

    /// Reads on. Returns how many of these bytes belong to the body.
    ///
    /// # Errors
    ///
    /// The bytes are no chunks. The first wrong byte is enough to know.
    pub fn read(&mut self, input: &[u8]) -> Result<usize, MalformedChunk> {
        let mut at = 0;
        while !self.is_over()
            && let Some(rest @ [byte, ..]) = input.get(at..)
        {
            at += match self.data_left() {
                0 => {
                    self.place = self.step(*byte)?;
                    1
                }
                left => {
                    let n = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    self.skip(n as u64);
                    n
                }
            };
        }
        Ok(at)
    }

    fn step(&mut self, byte: u8) -> Result<Place, MalformedChunk> {
        use Place::*;
        let lenient = self.lenient;
        self.line = if self.place == Start { 1 } else { self.line + 1 };
        if !lenient && self.line > MAX_SIZE_LINE && matches!(self.place, Size | Space | Extension) {
            return Err(MalformedChunk);
        }
        let digit = char::from(byte).to_digit(16).map(u64::from);
        Ok(match (self.place, byte) {
            (Start | Size, _) if digit.is_some() => {
                let before = if self.place == Start { 0 } else { self.size };
                let size = before.checked_mul(16).and_then(|size| size.checked_add(digit?));
                // Beyond this, files and offsets have no numbers.
                self.size = size.filter(|&size| size < i64::MAX as u64).ok_or(MalformedChunk)?;
                if !lenient && self.line > MAX_DIGITS {
                    return Err(MalformedChunk);
                }
                Size
            }
            (Size | Space, b';') => Extension,
            (Size | Space, b' ' | b'\t') => {
                if lenient {
                    Extension
                } else {
                    Space
                }
            }
            (Size | Extension, b'\r') => SizeEnd,
            (SizeEnd, b'\n') => self.begin_chunk(),
            (Size | Extension, b'\n') if lenient => self.begin_chunk(),
            (Extension, _) if lenient || is_value_byte(byte) => Extension,
            (DataEnd, b'\r') => DataLineFeed,
            (DataLineFeed, b'\n') => Start,
            (DataEnd, b'\n') if lenient => Start,
            (Trailer, b'\r') => LastLineFeed,
            (Trailer | LastLineFeed, b'\n') => Over,
            (TrailerLine, b'\r') => TrailerLineFeed,
            (TrailerLine | TrailerLineFeed, b'\n') => Trailer,
            (Trailer | TrailerLine, _) => TrailerLine,
            _ => return Err(MalformedChunk),
        })
    }

    fn begin_chunk(&self) -> Place {
        if self.size == 0 { Place::Trailer } else { Place::Data }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes belong to the body, whatever the pieces; and whether it has ended.
    fn taken(bytes: &[u8], chunks: Chunks) -> Result<(usize, bool), MalformedChunk> {
        let whole = |piece: usize| {
            let mut chunks = chunks;
            let mut sum = 0;
            for piece in bytes.chunks(piece) {
                sum += chunks.read(piece)?;
            }
            Ok((sum, chunks.is_over()))
        };
        let at_once = whole(usize::MAX);
        assert_eq!(whole(1), at_once);
        assert_eq!(whole(3), at_once);
        at_once
    }

    #[test]
    fn chunks_end_where_they_say() {
        let lenient = |bytes: &str| taken(bytes.as_bytes(), Chunks::lenient());
        for (bytes, left) in [
            ("5\r\nhello\r\n0\r\n\r\n", 0),
            ("5\r\nhello\r\n0\r\n\r\nGET", 3),
            ("5\nhello\n0\n\n", 0),
            ("a;x=\"y\"\r\n0123456789\r\n00 \r\nA: b\r\n\r\nrest", 4),
            ("A\t\r\n0123456789\r\n0;\n\r\n", 0),
            ("0000000000000000000000\r\n\r\n", 0),
        ] {
            assert_eq!(lenient(bytes), Ok((bytes.len() - left, true)), "{bytes:?}");
        }
        for bytes in ["", "5", "5\r\nhel", "5\r\nhello\r\n", "0\r\n", "0\r\nA: b\r\n", "0\r\n\r"] {
            assert_eq!(lenient(bytes), Ok((bytes.len(), false)), "{bytes:?}");
        }
        for bytes in ["x", "\r\n", "5x", "5\rx", "1\r\nab", "1\r\na\rb", "0\r\n\rx", "8000000000000000\r\n"] {
            assert_eq!(lenient(bytes), Err(MalformedChunk), "{bytes:?}");
        }
    }

    #[test]
    fn what_two_readers_could_take_in_two_ways_is_not_taken_strictly() {
        let strict = |bytes: &str| taken(bytes.as_bytes(), Chunks::strict());
        // The trailers are left for their own reader.
        assert_eq!(strict("5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n"), Ok((17, true)));
        for bytes in ["5\nhello", "5 \r\n", "5;\0", "1\r\na\n", "00000000000000000", "8000000000000000\r\n"] {
            assert_eq!(strict(bytes), Err(MalformedChunk), "{bytes:?}");
        }
        assert_eq!(strict(&format!("5;{}\r\n", "a".repeat(MAX_SIZE_LINE))), Err(MalformedChunk));
    }
}
