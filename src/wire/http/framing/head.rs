//! The head of a message (RFC 9112 sections 2 to 5), read byte by byte.

use super::{FramingError, MAX_HEAD};
use crate::wire::http::syntax::{is_token_byte, is_value_byte};

/// A head on its way, and what it says about what follows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageHead {
    place: HeadPlace,
    /// Bytes so far.
    len: usize,
    word: Word,
    field: BodyField,
    /// The request is a HEAD.
    pub(super) is_head: bool,
    pub(super) status: u16,
    pub(super) length: Option<u64>,
    pub(super) chunked: bool,
    pub(super) close: bool,
    pub(super) expects: bool,
}

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum HeadPlace {
    Method,
    Target,
    /// So many bytes of a request's version are there.
    Version(usize),
    /// So many bytes of an answer's version and status are there.
    Status(usize),
    Reason,
    /// A CR has come.
    LineFeed,
    #[default]
    FieldStart,
    Name,
    Value,
    /// The CR of the empty line has come.
    LastLineFeed,
    Ended,
}

/// The headers that say something about bodies and connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum BodyField {
    #[default]
    Other,
    ContentLength,
    TransferEncoding,
    Connection,
    Expect,
}

impl MessageHead {
    /// A request's head of which nothing has come.
    pub fn of_request() -> MessageHead {
        MessageHead { place: HeadPlace::Method, ..MessageHead::default() }
    }

    /// An answer's.
    pub fn of_answer() -> MessageHead {
        MessageHead { place: HeadPlace::Status(0), ..MessageHead::default() }
    }

    /// The trailers of a chunked body: a head without its start line.
    pub(super) fn of_trailers() -> MessageHead {
        MessageHead { place: HeadPlace::FieldStart, ..MessageHead::default() }
    }

    /// Reads on. The head ends after so many bytes of `input`; `None`: not in it.
    ///
    /// # Errors
    ///
    /// This is no head of HTTP/1.1, or an unclear one. The first wrong byte is enough to know.
    pub fn read(&mut self, input: &[u8]) -> Result<Option<usize>, FramingError> {
        for (at, &byte) in input.iter().enumerate() {
            self.len += 1;
            if self.len > MAX_HEAD {
                return Err(FramingError::LongHead);
            }
            self.place = self.step(byte)?;
            if self.place == HeadPlace::Ended {
                return Ok(Some(at + 1));
            }
        }
        Ok(None)
    }

    fn step(&mut self, byte: u8) -> Result<HeadPlace, FramingError> {
        const VERSION: &[u8] = b"HTTP/1.1\r";
        const STATUS: &[u8] = b"HTTP/1.1 ";
        /// Behind the version: three digits and a space (RFC 9112 section 4).
        const REASON: usize = STATUS.len() + 4;
        Ok(match self.place {
            HeadPlace::Method if is_token_byte(byte) => {
                self.word.push(byte);
                HeadPlace::Method
            }
            HeadPlace::Method if byte == b' ' && !self.word.is_empty() => {
                if self.word.get() == b"CONNECT" {
                    return Err(FramingError::Connect);
                }
                self.is_head = self.word.get() == b"HEAD";
                self.word = Word::default();
                HeadPlace::Target
            }
            HeadPlace::Target if byte > b' ' && byte != 0x7f => {
                self.word.push(byte);
                HeadPlace::Target
            }
            HeadPlace::Target if byte == b' ' && !self.word.is_empty() => HeadPlace::Version(0),
            HeadPlace::Version(n) if VERSION.get(n) == Some(&byte) => {
                if n + 1 == VERSION.len() {
                    HeadPlace::LineFeed
                } else {
                    HeadPlace::Version(n + 1)
                }
            }
            HeadPlace::Status(n) if n < STATUS.len() && STATUS.get(n) == Some(&byte) => {
                HeadPlace::Status(n + 1)
            }
            HeadPlace::Status(n) if (STATUS.len()..REASON - 1).contains(&n) && byte.is_ascii_digit() => {
                self.status = self.status * 10 + u16::from(byte - b'0');
                HeadPlace::Status(n + 1)
            }
            HeadPlace::Status(n) if n == REASON - 1 && byte == b' ' && (100..600).contains(&self.status) => {
                HeadPlace::Reason
            }
            HeadPlace::Reason if is_value_byte(byte) => HeadPlace::Reason,
            HeadPlace::Reason if byte == b'\r' => HeadPlace::LineFeed,
            HeadPlace::Method
            | HeadPlace::Target
            | HeadPlace::Version(_)
            | HeadPlace::Status(_)
            | HeadPlace::Reason => {
                return Err(FramingError::StartLine);
            }
            HeadPlace::LineFeed if byte == b'\n' => HeadPlace::FieldStart,
            HeadPlace::FieldStart if byte == b'\r' => HeadPlace::LastLineFeed,
            HeadPlace::LastLineFeed if byte == b'\n' => HeadPlace::Ended,
            HeadPlace::FieldStart if is_token_byte(byte) => {
                self.word = Word::default();
                self.word.push(byte.to_ascii_lowercase());
                HeadPlace::Name
            }
            HeadPlace::Name if is_token_byte(byte) => {
                self.word.push(byte.to_ascii_lowercase());
                HeadPlace::Name
            }
            HeadPlace::Name if byte == b':' => {
                self.field = match self.word.get() {
                    b"content-length" => BodyField::ContentLength,
                    b"transfer-encoding" => BodyField::TransferEncoding,
                    b"connection" => BodyField::Connection,
                    b"expect" => BodyField::Expect,
                    _ => BodyField::Other,
                };
                self.word = Word::default();
                HeadPlace::Value
            }
            HeadPlace::Value if byte == b'\r' => {
                self.item()?;
                HeadPlace::LineFeed
            }
            HeadPlace::Value if is_value_byte(byte) => {
                match (self.field, byte) {
                    (BodyField::Other, _) => {}
                    (_, b',') => self.item()?,
                    (_, b' ' | b'\t') => self.word.gap(),
                    _ => self.word.push(byte.to_ascii_lowercase()),
                }
                HeadPlace::Value
            }
            _ => return Err(FramingError::Field),
        })
    }

    /// One item of a value has ended; each of these headers is a list (RFC 9110 section 5.6.1), or must
    /// not be one.
    fn item(&mut self) -> Result<(), FramingError> {
        let word = std::mem::take(&mut self.word);
        match self.field {
            BodyField::Other => {}
            BodyField::ContentLength => {
                if self.length.is_some() {
                    return Err(FramingError::Length);
                }
                self.length = Some(number(word.get()).ok_or(FramingError::Length)?);
            }
            BodyField::TransferEncoding => {
                if self.chunked || word.get() != b"chunked" {
                    return Err(FramingError::Encoding);
                }
                self.chunked = true;
            }
            BodyField::Connection => self.close |= word.get() == b"close",
            BodyField::Expect => self.expects = true,
        }
        Ok(())
    }
}

/// Digits and nothing else, of a number that fits.
fn number(digits: &[u8]) -> Option<u64> {
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
    let first = digit(digits.first()?)?;
    digits.iter().skip(1).try_fold(first, |n, byte| n.checked_mul(10)?.checked_add(digit(byte)?))
}

/// The last word that was read, as far as it can be one that matters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Word {
    bytes: [u8; 20],
    len: usize,
    /// White space has come behind it.
    gap: bool,
}

impl Word {
    fn push(&mut self, byte: u8) {
        match self.bytes.get_mut(self.len) {
            Some(slot) if !self.gap => {
                *slot = byte;
                self.len += 1;
            }
            // It is longer than any word that matters, or two words.
            _ => self.len = usize::MAX,
        }
    }

    fn gap(&mut self) {
        self.gap = self.len > 0;
    }

    fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The word; empty when it is none that could matter.
    fn get(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}
