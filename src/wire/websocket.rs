//! WebSocket (RFC 6455) as a cover for a byte stream.
//!
//! A tunnel has no messages, only bytes. So an [`Encoder`] puts each piece of the stream into a
//! binary message of one frame, and a [`Decoder`] takes the framing off again and hands the payload
//! on piece by piece, as it arrives: where a message ends means nothing, and a frame of 2⁶³ − 1
//! bytes needs no more memory than a short one. Both work in the buffer of the caller.
//!
//! What the peers do, and what follows for what we write (nothing here follows for what we accept):
//!
//! - sing-box throws text messages away unread, so the encoder writes binary ones only.
//! - mihomo takes the end of a message for the end of a read, so a format inside (such as
//!   [`mux`](super::mux)) must not have its heads cut by the end of a message, and an empty message
//!   says nothing: do not write one.
//!
//! [`accept_key`], [`encode_early_data`] and their kin are the parts of the opening handshake that
//! need no HTTP to be understood.

mod decode;
mod encode;
mod handshake;

pub use decode::{Control, Decoder, Error};
pub use encode::{ControlFrame, Encoder, close, frame_in_place, ping, pong};
pub use handshake::{accept_key, decode_early_data, encode_early_data, key, split_early_data};

/// Which end of the connection we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// We opened the connection: we mask what we send, and what we get is not masked.
    Client,
    /// We accepted the connection: what we get is masked, what we send is not.
    Server,
}

/// The most payload a control frame can have, in bytes (RFC 6455, section 5.5).
pub const CONTROL_PAYLOAD: usize = 125;

/// Close code: nothing is wrong, the work is done (RFC 6455, section 7.4.1).
pub const CLOSE_NORMAL: u16 = 1000;
/// Close code: the peer broke the protocol (RFC 6455, section 7.4.1).
pub const CLOSE_PROTOCOL_ERROR: u16 = 1002;
/// Close code: the kind of data is one that this end does not take (RFC 6455, section 7.4.1).
pub const CLOSE_UNSUPPORTED_DATA: u16 = 1003;
/// Close code: this end cannot do what was asked of it (RFC 6455, section 7.4.1).
pub const CLOSE_INTERNAL_ERROR: u16 = 1011;
/// Close code: the bytes are not of their declared kind, such as text that is not UTF-8
/// (RFC 6455, section 7.4.1).
pub const CLOSE_INVALID_PAYLOAD: u16 = 1007;

const FIN: u8 = 0x80;
const RESERVED_BITS: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;
const LENGTH_16_BIT: u8 = 126;
const LENGTH_64_BIT: u8 = 127;

/// What a frame is (RFC 6455, section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opcode {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xa,
}

impl Opcode {
    fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return None,
        })
    }

    fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// Masks `data` with `key`, or takes the mask off: the two are the same (RFC 6455, section 5.3).
///
/// `key[0]` meets `data[0]`. For a later piece of a frame, rotate the key left by the number of
/// bytes that came before.
pub fn mask(key: [u8; 4], data: &mut [u8]) {
    // Blocks of a fixed size are what the compiler makes vector instructions of.
    const BLOCK: usize = 32;
    let wide: [u8; BLOCK] = std::array::from_fn(|i| key[i % 4]);
    let (blocks, tail) = data.as_chunks_mut::<BLOCK>();
    for block in blocks {
        for (byte, key) in block.iter_mut().zip(wide) {
            *byte ^= key;
        }
    }
    for (byte, key) in tail.iter_mut().zip(wide) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_every_length_as_the_formula_of_the_rfc_does() {
        let key = [0x12, 0x34, 0x56, 0x78];
        for length in 0..200 {
            let plain: Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
            let mut masked = plain.clone();
            mask(key, &mut masked);
            for (i, byte) in masked.iter().enumerate() {
                assert_eq!(*byte, plain[i] ^ key[i % 4], "byte {i} of {length}");
            }
            mask(key, &mut masked);
            assert_eq!(masked, plain);
        }
    }
}
