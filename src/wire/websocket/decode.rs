//! From frames to payload.

use thiserror::Error;

use super::{
    CLOSE_INVALID_PAYLOAD, CLOSE_PROTOCOL_ERROR, CONTROL_PAYLOAD, Encoder, FIN, LENGTH, LENGTH_16_BIT,
    LENGTH_64_BIT, MASKED, OPCODE, Opcode, RESERVED_BITS, Role, mask,
};
use crate::wire::Step;

/// Takes the framing off a stream of WebSocket frames, cut anywhere.
///
/// Messages may be of any length and in any number of fragments, text or binary: their payload
/// passes through as one stream of bytes. (That text is UTF-8 is not checked.)
///
/// A length that is written longer than need be is taken as it stands, although section 5.2 of the
/// RFC forbids to write it: it is not ambiguous, and gorilla/websocket (under v2ray and xray),
/// gobwas/ws (under mihomo and sing-box) and ws (Node.js) take it too. In a control frame, which
/// is never that long, gorilla/websocket and ws refuse it, and so does this.
#[derive(Debug)]
pub struct Decoder {
    role: Role,
    state: State,
    /// The first bytes of a head of which the others have not come yet.
    partial: [u8; Encoder::HEAD],
    partial_len: u8,
    /// Between the first fragment of a message and its last.
    in_message: bool,
    /// Messages that have begun.
    messages: u32,
    control: [u8; CONTROL_PAYLOAD],
    control_len: u8,
}

/// What a control frame says. Its payload is in [`Decoder::control`] until the decoder reads on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// A ping: send a [`pong`](super::pong) with the same payload.
    Ping,
    /// A pong: nothing is to be done.
    Pong,
    /// The peer closes, with this code if it gave one; the payload is code and reason as they came. Answer
    /// with a [`close`](super::close) of the same code, if none has been sent, and end the connection. What
    /// follows in the input is void.
    Close(Option<u16>),
}

/// Why a peer's frames cannot be taken. [`close_code`](Self::close_code) is what to tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Error {
    /// RFC 6455, section 5.2: RSV1 to RSV3 are for extensions, and none was agreed on.
    #[error("reserved bits {0:#04x} are set in a WebSocket frame")]
    ReservedBits(u8),
    /// RFC 6455, section 5.2: opcodes 3 to 7 and 11 to 15 mean nothing yet.
    #[error("a WebSocket frame has the reserved opcode {0}")]
    ReservedOpcode(u8),
    /// RFC 6455, section 5.1: a client masks all of its frames.
    #[error("a WebSocket frame from the client is not masked")]
    Unmasked,
    /// RFC 6455, section 5.1: a server masks none of its frames.
    #[error("a WebSocket frame from the server is masked")]
    Masked,
    /// RFC 6455, section 5.5: a control frame is whole.
    #[error("a WebSocket control frame is fragmented")]
    FragmentedControl,
    /// RFC 6455, section 5.5: a control frame has at most 125 bytes of payload.
    #[error("a WebSocket control frame has more than 125 bytes of payload")]
    LongControl,
    /// RFC 6455, section 5.2: the most significant bit of a 64-bit length is 0.
    #[error("a WebSocket frame has the absurd length of {0} bytes")]
    Length(u64),
    /// RFC 6455, section 5.4: a continuation continues a message.
    #[error("a WebSocket continuation frame has no message to continue")]
    StrayContinuation,
    /// RFC 6455, section 5.4: the fragments of two messages do not mix.
    #[error("a WebSocket message begins inside of a fragmented one")]
    UnfinishedMessage,
    /// RFC 6455, section 5.5.1: if there is a payload, it begins with a code of two bytes.
    #[error("a WebSocket close frame has half a code")]
    HalfCloseCode,
    /// RFC 6455, section 7.4: no such code can be sent.
    #[error("a WebSocket close frame has the invalid code {0}")]
    CloseCode(u16),
    /// RFC 6455, section 5.5.1: the reason is UTF-8.
    #[error("the reason in a WebSocket close frame is not UTF-8")]
    CloseReason,
}

impl Error {
    /// The code of the [`close`](super::close) frame to end the connection with
    /// (RFC 6455, section 7.4.1).
    pub fn close_code(self) -> u16 {
        match self {
            Self::CloseReason => CLOSE_INVALID_PAYLOAD,
            _ => CLOSE_PROTOCOL_ERROR,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// At a head, of which the first bytes may be in `partial`.
    Head,
    /// In the payload of a data frame. The key is rotated to fit the next byte.
    Data {
        left: u64,
        key: Option<[u8; 4]>,
    },
    /// In the payload of a control frame.
    Control {
        opcode: Opcode,
        left: usize,
        key: Option<[u8; 4]>,
    },
    /// After the peer's close frame.
    Closed,
    Failed(Error),
}

impl Decoder {
    /// A decoder for the frames that this end receives.
    pub fn new(role: Role) -> Self {
        Self {
            role,
            state: State::Head,
            partial: [0; Encoder::HEAD],
            partial_len: 0,
            in_message: false,
            messages: 0,
            control: [0; CONTROL_PAYLOAD],
            control_len: 0,
        }
    }

    /// The payload of the control frame that was found last.
    pub fn control(&self) -> &[u8] {
        &self.control[..usize::from(self.control_len)]
    }

    /// How many messages have begun, counted round and round.
    pub fn messages(&self) -> u32 {
        self.messages
    }

    /// Whether each message that has begun has come to its end.
    pub fn is_between_messages(&self) -> bool {
        !self.in_message && !matches!(self.state, State::Data { left: 1.., .. })
    }

    fn step(&mut self, input: &mut [u8], at: &mut usize) -> Result<Step<Control>, Error> {
        loop {
            let start = *at;
            let rest = input.get_mut(start..).unwrap_or_default();
            match &mut self.state {
                State::Head => {
                    let Some(head) = self.take_head(rest, at)? else {
                        return Ok(Step::NeedMore);
                    };
                    self.state = self.enter(head)?;
                }
                State::Data { left: 0, .. } => self.state = State::Head,
                State::Data { left, key } => {
                    if rest.is_empty() {
                        return Ok(Step::NeedMore);
                    }
                    let len = usize::try_from(*left).map_or(rest.len(), |n| n.min(rest.len()));
                    if let Some(key) = key {
                        mask(*key, &mut rest[..len]);
                        key.rotate_left(len % 4);
                    }
                    *left -= len as u64;
                    *at += len;
                    return Ok(Step::Payload(start..start + len));
                }
                State::Control { opcode, left: 0, key } => {
                    let opcode = *opcode;
                    if let Some(key) = key {
                        mask(*key, &mut self.control[..usize::from(self.control_len)]);
                    }
                    self.state = State::Head;
                    match opcode {
                        Opcode::Ping => return Ok(Step::Event(Control::Ping)),
                        Opcode::Pong => return Ok(Step::Event(Control::Pong)),
                        Opcode::Close => {
                            let code = close_code(self.control())?;
                            self.state = State::Closed;
                            return Ok(Step::Event(Control::Close(code)));
                        }
                        _ => {}
                    }
                }
                State::Control { left, .. } => {
                    if rest.is_empty() {
                        return Ok(Step::NeedMore);
                    }
                    let len = rest.len().min(*left);
                    let have = usize::from(self.control_len);
                    // `left` is what lacks of a length of at most CONTROL_PAYLOAD.
                    self.control[have..have + len].copy_from_slice(&rest[..len]);
                    self.control_len += len as u8;
                    *left -= len;
                    *at += len;
                }
                State::Closed => {
                    *at += rest.len();
                    return Ok(Step::NeedMore);
                }
                State::Failed(error) => return Err(*error),
            }
        }
    }

    /// Takes a head from the front of `rest`, or as much of one as is there.
    fn take_head(&mut self, rest: &[u8], at: &mut usize) -> Result<Option<FrameHead>, Error> {
        let have = usize::from(self.partial_len);
        if have == 0
            && let Some(head) = FrameHead::read(rest, self.role)?
        {
            *at += head.size;
            return Ok(Some(head));
        }
        let len = rest.len().min(self.partial.len() - have);
        self.partial[have..have + len].copy_from_slice(&rest[..len]);
        let Some(head) = FrameHead::read(&self.partial[..have + len], self.role)? else {
            self.partial_len += len as u8;
            *at += len;
            return Ok(None);
        };
        self.partial_len = 0;
        *at += head.size - have;
        Ok(Some(head))
    }

    /// What a frame with this head leads to.
    fn enter(&mut self, head: FrameHead) -> Result<State, Error> {
        if head.opcode.is_control() {
            self.control_len = 0;
            return Ok(State::Control { opcode: head.opcode, left: head.length as usize, key: head.key });
        }
        match (head.opcode == Opcode::Continuation, self.in_message) {
            (true, false) => return Err(Error::StrayContinuation),
            (false, true) => return Err(Error::UnfinishedMessage),
            _ => self.in_message = !head.fin,
        }
        if head.opcode != Opcode::Continuation {
            self.messages = self.messages.wrapping_add(1);
        }
        Ok(State::Data { left: head.length, key: head.key })
    }
}

impl crate::wire::Decoder for Decoder {
    type Event = Control;
    type Error = Error;

    /// An error is final: the same comes back from all later calls.
    fn decode(&mut self, input: &mut [u8], at: &mut usize) -> Result<Step<Control>, Error> {
        debug_assert!(*at <= input.len(), "read beyond the input");
        self.step(input, at).inspect_err(|error| {
            self.state = State::Failed(*error);
        })
    }
}

/// A frame's head (RFC 6455, section 5.2).
#[derive(Debug)]
struct FrameHead {
    fin: bool,
    opcode: Opcode,
    key: Option<[u8; 4]>,
    /// Of the payload, in bytes.
    length: u64,
    /// Of the head itself, in bytes.
    size: usize,
}

impl FrameHead {
    /// The head at the front of `bytes`, or `None` if there is more of it to come.
    fn read(bytes: &[u8], role: Role) -> Result<Option<Self>, Error> {
        let [first, second, rest @ ..] = bytes else {
            return Ok(None);
        };
        if first & RESERVED_BITS != 0 {
            return Err(Error::ReservedBits(first & RESERVED_BITS));
        }
        let opcode = Opcode::from_bits(first & OPCODE).ok_or(Error::ReservedOpcode(first & OPCODE))?;
        let fin = first & FIN != 0;
        let masked = second & MASKED != 0;
        match role {
            Role::Server if !masked => return Err(Error::Unmasked),
            Role::Client if masked => return Err(Error::Masked),
            _ => {}
        }
        let short = second & LENGTH;
        if opcode.is_control() {
            if !fin {
                return Err(Error::FragmentedControl);
            }
            if usize::from(short) > CONTROL_PAYLOAD {
                return Err(Error::LongControl);
            }
        }
        let (length, rest) = match short {
            LENGTH_16_BIT => match rest.split_first_chunk() {
                Some((length, rest)) => (u16::from_be_bytes(*length).into(), rest),
                None => return Ok(None),
            },
            LENGTH_64_BIT => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from_be_bytes(*length), rest),
                None => return Ok(None),
            },
            short => (short.into(), rest),
        };
        if length > i64::MAX as u64 {
            return Err(Error::Length(length));
        }
        let (key, rest) = match (masked, rest.split_first_chunk()) {
            (false, _) => (None, rest),
            (true, Some((key, rest))) => (Some(*key), rest),
            (true, None) => return Ok(None),
        };
        Ok(Some(Self { fin, opcode, key, length, size: bytes.len() - rest.len() }))
    }
}

/// The code at the front of a close frame's payload (RFC 6455, sections 5.5.1 and 7.4).
fn close_code(payload: &[u8]) -> Result<Option<u16>, Error> {
    let (code, reason) = match payload {
        [] => return Ok(None),
        [_] => return Err(Error::HalfCloseCode),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
    };
    // 1004 is reserved, 1005, 1006 and 1015 are never sent; IANA has given out up to 1014.
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Error::CloseCode(code));
    }
    std::str::from_utf8(reason).map_err(|_| Error::CloseReason)?;
    Ok(Some(code))
}

#[cfg(test)]
mod tests;
