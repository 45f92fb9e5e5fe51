//! Frames (RFC 9113 section 4), of which a visitor may write any.

use crate::wire::Reader;

/// What a client says first (section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The bytes in front of a payload.
pub const HEAD: usize = 9;

/// The longest payload that everybody takes (section 4.2).
pub const PAYLOAD: usize = 16_384;

/// Types of frames (section 6).
#[allow(missing_docs)]
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Flags, each of which belongs to some types.
#[allow(missing_docs)]
pub mod flag {
    pub const END_STREAM: u8 = 1;
    pub const ACK: u8 = 1;
    pub const END_HEADERS: u8 = 4;
    pub const PADDED: u8 = 8;
    pub const PRIORITY: u8 = 0x20;
}

/// Identifiers of settings (section 6.5.2; RFC 8441 section 3; RFC 9218 section 2.1).
#[allow(missing_docs)]
pub mod setting {
    pub const HEADER_TABLE_SIZE: u16 = 1;
    pub const ENABLE_PUSH: u16 = 2;
    pub const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
    pub const MAX_FRAME_SIZE: u16 = 5;
    pub const MAX_HEADER_LIST_SIZE: u16 = 6;
    pub const ENABLE_CONNECT_PROTOCOL: u16 = 8;
    pub const NO_RFC7540_PRIORITIES: u16 = 9;
}

/// A frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// The stream that it belongs to; 0 is the connection.
    pub stream: u32,
    /// What it carries.
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// Whether a flag is set.
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// A frame as it goes over the wire.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    [&head(payload.len(), kind, flags, stream)[..], payload].concat()
}

/// A frame's head, which may say another length than its payload has. (Of a length, the last three bytes.)
pub fn head(length: usize, kind: u8, flags: u8, stream: u32) -> [u8; HEAD] {
    let [.., high, middle, low] = length.to_be_bytes();
    let [a, b, c, d] = stream.to_be_bytes();
    [high, middle, low, kind, flags, a, b, c, d]
}

/// A SETTINGS frame.
pub fn settings(settings: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> = settings
        .iter()
        .flat_map(|(id, value)| id.to_be_bytes().into_iter().chain(value.to_be_bytes()))
        .collect();
    frame(kind::SETTINGS, 0, 0, &payload)
}

/// The first frame, and what is behind it. `None`: it has not come whole.
pub fn next(bytes: &[u8]) -> Option<(Frame<'_>, &[u8])> {
    let mut reader = Reader(bytes);
    let [high, middle, low] = reader.array()?;
    let (kind, flags) = (reader.u8()?, reader.u8()?);
    // (the first bit is reserved, and ignored)
    let stream = u32::from_be_bytes(reader.array()?) & 0x7fff_ffff;
    let payload = reader.take(u32::from_be_bytes([0, high, middle, low]) as usize)?;
    Some((Frame { kind, flags, stream, payload }, reader.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_written_as_it_is_read() {
        let bytes = frame(kind::DATA, flag::END_STREAM, 3, b"hello");
        assert_eq!(bytes, b"\0\0\x05\0\x01\0\0\0\x03hello");
        let (frame, rest) = next(&bytes).expect("a frame");
        assert_eq!(frame, Frame { kind: 0, flags: 1, stream: 3, payload: b"hello" });
        assert!(rest.is_empty() && frame.has(flag::END_STREAM) && !frame.has(flag::PADDED));
        assert!((0..bytes.len()).all(|end| next(&bytes[..end]).is_none()));
    }

    #[test]
    fn settings_have_six_bytes_each() {
        let bytes = settings(&[(setting::INITIAL_WINDOW_SIZE, 65_536), (setting::ENABLE_PUSH, 0)]);
        assert_eq!(bytes, b"\0\0\x0c\x04\0\0\0\0\0\0\x04\0\x01\0\0\0\x02\0\0\0\0");
    }
}
