//! The bodies of requests, which nobody reads: where they end.

/// How the end of a body is found (RFC 9112 section 6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// So many bytes are left of it.
    Length(u64),
    /// Chunks, and where in them it stands.
    Chunked(Chunks),
}

/// A chunked body that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl Body {
    /// No body at all.
    pub const NONE: Body = Body::Length(0);

    /// Whether all of it has come.
    pub fn is_over(&self) -> bool {
        matches!(self, Body::Length(0) | Body::Chunked(Chunks::Over))
    }

    /// How many of these bytes belong to it.
    pub fn take(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        match self {
            Body::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= taken as u64;
                Ok(taken)
            }
            Body::Chunked(chunks) => chunks.take(bytes),
        }
    }
}

/// Where in a chunked body (RFC 9112 section 7.1) the next byte stands. Lines may end with a line feed
/// alone, as nginx has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunks {
    /// Before the first digit of a size.
    Start,
    /// In a size.
    Size(u64),
    /// In an extension behind this size.
    Extension(u64),
    /// Behind the carriage return after this size.
    SizeEnd(u64),
    /// In data.
    Data(u64),
    /// Behind data.
    DataEnd,
    /// Behind the carriage return after data.
    DataEndFeed,
    /// At the beginning of a trailer line, or of the empty line behind them.
    Trailer,
    /// Behind the carriage return of the empty line.
    End,
    /// In a trailer line.
    TrailerLine,
    /// Behind the carriage return of a trailer line.
    TrailerEnd,
    /// Behind it all.
    Over,
}

impl Chunks {
    fn take(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut taken = 0;
        while *self != Chunks::Over {
            let Some(rest @ [byte, ..]) = bytes.get(taken..) else { break };
            if let Chunks::Data(left) = self {
                let some = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                taken += some;
                *left -= some as u64;
                if *left == 0 {
                    *self = Chunks::DataEnd;
                }
                continue;
            }
            *self = self.next(*byte)?;
            taken += 1;
        }
        Ok(taken)
    }

    fn next(self, byte: u8) -> Result<Chunks, Malformed> {
        let after_size = |size| if size == 0 { Chunks::Trailer } else { Chunks::Data(size) };
        Ok(match (self, byte) {
            (Chunks::Start, _) => Chunks::Size(digit(byte).ok_or(Malformed)?),
            (Chunks::Size(size), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let longer = size.checked_mul(16).and_then(|size| size.checked_add(digit(byte)?));
                // Beyond this, files and offsets have no numbers.
                Chunks::Size(longer.filter(|&size| size < i64::MAX as u64).ok_or(Malformed)?)
            }
            (Chunks::Size(size), b';' | b' ' | b'\t') => Chunks::Extension(size),
            (Chunks::Size(size) | Chunks::Extension(size), b'\r') => Chunks::SizeEnd(size),
            (Chunks::Size(size) | Chunks::Extension(size) | Chunks::SizeEnd(size), b'\n') => after_size(size),
            (Chunks::Extension(size), _) => Chunks::Extension(size),
            (Chunks::DataEnd, b'\r') => Chunks::DataEndFeed,
            (Chunks::DataEnd | Chunks::DataEndFeed, b'\n') => Chunks::Start,
            (Chunks::Trailer, b'\r') => Chunks::End,
            (Chunks::Trailer | Chunks::End, b'\n') => Chunks::Over,
            (Chunks::TrailerLine, b'\r') => Chunks::TrailerEnd,
            (Chunks::TrailerLine | Chunks::TrailerEnd, b'\n') => Chunks::Trailer,
            (Chunks::Trailer | Chunks::TrailerLine, _) => Chunks::TrailerLine,
            _ => return Err(Malformed),
        })
    }
}

fn digit(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes belong to the body, whatever the pieces; and whether it has ended.
    fn taken(bytes: &[u8]) -> Result<(usize, bool), Malformed> {
        let whole = |piece: usize| {
            let mut body = Body::Chunked(Chunks::Start);
            let mut sum = 0;
            for piece in bytes.chunks(piece) {
                sum += body.take(piece)?;
            }
            Ok((sum, body.is_over()))
        };
        let at_once = whole(usize::MAX);
        assert_eq!(whole(1), at_once);
        assert_eq!(whole(3), at_once);
        at_once
    }

    #[test]
    fn chunks_end_where_they_say() {
        for (bytes, left) in [
            ("5\r\nhello\r\n0\r\n\r\n", 0),
            ("5\r\nhello\r\n0\r\n\r\nGET", 3),
            ("5\nhello\n0\n\n", 0),
            ("a;x=\"y\"\r\n0123456789\r\n00 \r\nA: b\r\n\r\nrest", 4),
            ("A\t\r\n0123456789\r\n0;\n\r\n", 0),
        ] {
            assert_eq!(taken(bytes.as_bytes()), Ok((bytes.len() - left, true)), "{bytes:?}");
        }
        for bytes in ["", "5", "5\r\nhel", "5\r\nhello\r\n", "0\r\n", "0\r\nA: b\r\n", "0\r\n\r"] {
            assert_eq!(taken(bytes.as_bytes()), Ok((bytes.len(), false)), "{bytes:?}");
        }
        for bytes in ["x", "\r\n", "5x", "5\rx", "1\r\nab", "1\r\na\rb", "0\r\n\rx", "8000000000000000\r\n"] {
            assert_eq!(taken(bytes.as_bytes()), Err(Malformed), "{bytes:?}");
        }
    }

    #[test]
    fn a_length_is_counted_down() {
        let mut body = Body::Length(5);
        assert_eq!(body.take(b"abc"), Ok(3));
        assert!(!body.is_over());
        assert_eq!(body.take(b"defg"), Ok(2));
        assert!(body.is_over());
        assert_eq!(body.take(b"g"), Ok(0));
    }
}
