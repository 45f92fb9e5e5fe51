//! From hunks to the stream.

use super::{FIELD, MOST_MESSAGE, Method};
use crate::wire::{Decoder, Step};
use std::convert::Infallible;

/// What is wrong with a peer's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nobody has asked for compression.
    #[error("a gRPC message is compressed")]
    Compressed,
    /// No program takes it.
    #[error("a gRPC message of {0} bytes is too long")]
    TooLong(u32),
    /// It is another message than that of tunnels.
    #[error("a gRPC message has another field than its data")]
    OtherField,
    /// In a tunnel's message there is one.
    #[error("a gRPC message has data twice")]
    TwoFields,
    /// The data end behind the message, or what says where they end does.
    #[error("a gRPC message is shorter than its data")]
    TooShort,
    /// The stream ended within a message.
    #[error("the stream ended within a gRPC message")]
    Cut,
}

/// Walks a stream of hunks, cut anywhere. Data pass in place, piece by piece; of a head no more is kept than what it
/// has said so far.
#[derive(Debug)]
pub struct HunkDecoder {
    method: Method,
    state: State,
    failed: Option<Error>,
    /// How many messages have begun, counted round and round.
    messages: u32,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The byte that says whether the message is compressed.
    Flag,
    /// The length of the message: so many bytes of it have come, which say this.
    Length { bytes: u8, value: u32 },
    /// A field, in a message of which this is left.
    Field { message: u32, is_first: bool },
    /// The number of its bytes: so many bits of it have come, which say this.
    Count { message: u32, bits: u8, value: u32 },
    /// Data, behind which this is left of the message.
    Data { data: u32, message: u32 },
}

impl HunkDecoder {
    /// Reads the messages of this method.
    pub fn new(method: Method) -> HunkDecoder {
        HunkDecoder { method, state: State::Flag, failed: None, messages: 0 }
    }

    /// How many messages have begun, counted round and round.
    pub fn messages(&self) -> u32 {
        self.messages
    }

    /// Whether each message that has begun has come to its end.
    pub fn is_between_messages(&self) -> bool {
        self.state == State::Flag
    }

    /// The stream has ended.
    ///
    /// # Errors
    ///
    /// It ended within a message, or it was wrong before.
    pub fn end(&self) -> Result<(), Error> {
        match (self.failed, self.state) {
            (Some(error), _) => Err(error),
            (None, State::Flag) => Ok(()),
            (None, _) => Err(Error::Cut),
        }
    }

    /// Takes the next byte of a head.
    fn take(&mut self, byte: u8) -> Result<State, Error> {
        Ok(match self.state {
            State::Flag if byte != 0 => return Err(Error::Compressed),
            State::Flag => {
                self.messages = self.messages.wrapping_add(1);
                State::Length { bytes: 0, value: 0 }
            }
            State::Length { bytes, value } => {
                let value = value << 8 | u32::from(byte);
                match bytes {
                    3 if value > MOST_MESSAGE => return Err(Error::TooLong(value)),
                    // An empty message is one without data, which says nothing.
                    3 => next_field(value, true),
                    _ => State::Length { bytes: bytes + 1, value },
                }
            }
            State::Field { .. } if byte != FIELD => return Err(Error::OtherField),
            State::Field { is_first: false, .. } if self.method == Method::Tun => {
                return Err(Error::TwoFields);
            }
            State::Field { message, .. } => State::Count { message: message - 1, bits: 0, value: 0 },
            State::Count { message: 0, .. } => return Err(Error::TooShort),
            State::Count { message, bits, value } => {
                let message = message - 1;
                let value = value | u32::from(byte & 0x7f) << bits;
                match byte & 0x80 {
                    // What four bytes say is more than a message has.
                    0x80 if bits >= 21 => return Err(Error::TooShort),
                    0x80 => State::Count { message, bits: bits + 7, value },
                    _ if value > message => return Err(Error::TooShort),
                    _ if value == 0 => next_field(message, false),
                    _ => State::Data { data: value, message: message - value },
                }
            }
            // (data are taken elsewhere)
            State::Data { .. } => self.state,
        })
    }
}

/// What comes in a message of which this is left.
fn next_field(message: u32, is_first: bool) -> State {
    if message == 0 { State::Flag } else { State::Field { message, is_first } }
}

impl Decoder for HunkDecoder {
    type Event = Infallible;
    type Error = Error;

    fn decode(&mut self, input: &mut [u8], at: &mut usize) -> Result<Step, Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        loop {
            let start = *at;
            let rest = input.get(start..).unwrap_or_default();
            let Some(&byte) = rest.first() else { return Ok(Step::NeedMore) };
            if let State::Data { data, message } = self.state {
                let len = rest.len().min(data as usize);
                *at += len;
                // (no more than `data`)
                let left = data - len as u32;
                self.state =
                    if left > 0 { State::Data { data: left, message } } else { next_field(message, false) };
                return Ok(Step::Payload(start..start + len));
            }
            *at += 1;
            self.state = self.take(byte).inspect_err(|&error| self.failed = Some(error))?;
        }
    }
}
