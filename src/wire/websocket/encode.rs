//! From payload to frames.

use super::{CONTROL_PAYLOAD, FIN, LENGTH_16_BIT, LENGTH_64_BIT, MASKED, Opcode, Role, mask};
use crate::wire::FrameSizeError;

/// Puts each piece of a byte stream into a binary message of one frame.
///
/// It remembers nothing between frames. A client's frames are masked with a key of their own each,
/// from the operating system's randomness stretched by ChaCha (`rand`'s thread-local generator):
/// a peer cannot tell the next key from the ones before, which section 10.3 of RFC 6455 asks for.
#[derive(Debug, Clone)]
pub struct Encoder {
    role: Role,
}

impl Encoder {
    /// Bytes to leave free in front of the payload: the longest head there is.
    pub const HEAD: usize = 14;

    /// An encoder for the frames that this end sends.
    pub fn new(role: Role) -> Self {
        Self { role }
    }

    /// Makes a binary message of the payload `frame[HEAD..]`, in place, with the head directly in
    /// front of it. Returns where in `frame` the message begins.
    ///
    /// # Errors
    ///
    /// `frame` is shorter than [`HEAD`](Self::HEAD).
    pub fn encode_in_place(&mut self, frame: &mut [u8]) -> Result<usize, FrameSizeError> {
        frame_in_place(frame, fresh_key(self.role))
    }
}

impl crate::wire::Encoder for Encoder {
    /// Longer pieces would be framed rightly too, but the head would grow from 4 to 10 bytes (and the 4 of
    /// the mask).
    const PAYLOAD: usize = u16::MAX as usize;

    fn encode(&mut self, payload: &mut [u8], out: &mut Vec<u8>) {
        out.extend_from_slice(binary(payload, fresh_key(self.role)).as_bytes());
    }
}

/// As [`Encoder::encode_in_place`], with the masking key given, or with none for a server's frame.
///
/// # Errors
///
/// `frame` is shorter than [`Encoder::HEAD`].
pub fn frame_in_place(frame: &mut [u8], key: Option<[u8; 4]>) -> Result<usize, FrameSizeError> {
    let size = frame.len();
    let (room, payload) = frame.split_first_chunk_mut::<{ Encoder::HEAD }>().ok_or(FrameSizeError(size))?;
    let head = binary(payload, key);
    let start = room.len() - head.len;
    room[start..].copy_from_slice(head.as_bytes());
    Ok(start)
}

/// The head of a binary message of `payload`, which is masked where there is a key.
fn binary(payload: &mut [u8], key: Option<[u8; 4]>) -> FrameBytes<{ Encoder::HEAD }> {
    if let Some(key) = key {
        mask(key, payload);
    }
    FrameBytes::new(Opcode::Binary, key, payload.len())
}

/// A key for the next frame of this end.
fn fresh_key(role: Role) -> Option<[u8; 4]> {
    match role {
        Role::Client => Some(rand::random()),
        Role::Server => None,
    }
}

/// The first bytes of a frame, or all of them: at most `N`.
#[derive(Debug, Clone)]
pub struct FrameBytes<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

/// A control frame, ready to be sent: head, masking key and payload.
pub type ControlFrame = FrameBytes<{ 2 + 4 + CONTROL_PAYLOAD }>;

impl<const N: usize> FrameBytes<N> {
    /// The head of a frame with so much payload.
    fn new(opcode: Opcode, key: Option<[u8; 4]>, length: usize) -> Self {
        let mut head = Self { bytes: [0; N], len: 0 };
        let masked = if key.is_some() { MASKED } else { 0 };
        head.put(&[FIN | opcode as u8]);
        if length <= CONTROL_PAYLOAD {
            head.put(&[masked | length as u8]);
        } else if let Ok(length) = u16::try_from(length) {
            head.put(&[masked | LENGTH_16_BIT]);
            head.put(&length.to_be_bytes());
        } else {
            head.put(&[masked | LENGTH_64_BIT]);
            head.put(&(length as u64).to_be_bytes());
        }
        head.put(key.as_ref().map_or(&[], |key| key));
        head
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

fn control(role: Role, opcode: Opcode, payload: &[u8]) -> ControlFrame {
    let payload = &payload[..payload.len().min(CONTROL_PAYLOAD)];
    let key = fresh_key(role);
    let mut frame = ControlFrame::new(opcode, key, payload.len());
    let head = frame.len;
    frame.put(payload);
    if let Some(key) = key {
        mask(key, &mut frame.bytes[head..frame.len]);
    }
    frame
}

/// A ping (RFC 6455, section 5.5.2) with up to [`CONTROL_PAYLOAD`] bytes of `payload`; the rest,
/// for which the frame has no room, is left out.
pub fn ping(role: Role, payload: &[u8]) -> ControlFrame {
    control(role, Opcode::Ping, payload)
}

/// The answer to a ping (RFC 6455, section 5.5.3): the ping's own payload. Cut as in [`ping`].
pub fn pong(role: Role, payload: &[u8]) -> ControlFrame {
    control(role, Opcode::Pong, payload)
}

/// A close frame (RFC 6455, section 5.5.1), with a code or without, and a reason, which is for the
/// peer's log and is cut where the room ends (123 bytes). Without a code there is no reason.
pub fn close(role: Role, code: Option<u16>, reason: &str) -> ControlFrame {
    let mut payload = [0; CONTROL_PAYLOAD];
    let mut len = 0;
    if let Some(code) = code {
        payload[..2].copy_from_slice(&code.to_be_bytes());
        len = 2;
        for char in reason.chars() {
            let Some(room) = payload.get_mut(len..len + char.len_utf8()) else {
                break;
            };
            len += char.encode_utf8(room).len();
        }
    }
    control(role, Opcode::Close, &payload[..len])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(payload: &[u8], key: Option<[u8; 4]>) -> Vec<u8> {
        let mut frame = vec![0xee; Encoder::HEAD];
        frame.extend_from_slice(payload);
        let start = frame_in_place(&mut frame, key).unwrap();
        frame.split_off(start)
    }

    #[test]
    fn heads_take_the_shortest_of_the_three_lengths() {
        let sizes = [(0, 2), (1, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)];
        for (length, head) in sizes {
            let payload = vec![7; length];
            let bare = framed(&payload, None);
            assert_eq!(bare.len(), head + length);
            assert_eq!(bare[head..], payload);
            assert_eq!(bare[0], 0x82);

            let masked = framed(&payload, Some([1, 2, 3, 4]));
            assert_eq!(masked.len(), head + 4 + length);
            assert_eq!(masked[head..head + 4], [1, 2, 3, 4]);
            assert_eq!(masked[1], bare[1] | 0x80);
            assert_eq!(masked[2..head], bare[2..head]);
        }
        assert_eq!(framed(&[7; 126], None)[..4], [0x82, 126, 0, 126]);
        assert_eq!(framed(&[7; 65_536], None)[..10], [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn only_a_client_masks_and_never_twice_with_the_same_key() {
        let mut keys = std::collections::HashSet::new();
        for _ in 0..64 {
            let mut frame = [0; Encoder::HEAD + 4];
            let start = Encoder::new(Role::Client).encode_in_place(&mut frame).unwrap();
            assert_eq!(frame[start..start + 2], [0x82, 0x84]);
            keys.insert(frame[start + 2..start + 6].to_vec());
        }
        assert!(keys.len() > 60, "64 keys had {} values", keys.len());

        let mut frame = [0; Encoder::HEAD + 1];
        let start = Encoder::new(Role::Server).encode_in_place(&mut frame).unwrap();
        assert_eq!(frame[start..], [0x82, 1, 0]);
        let short = Encoder::new(Role::Server).encode_in_place(&mut [0; Encoder::HEAD - 1]);
        assert_eq!(short, Err(FrameSizeError(13)));
    }

    #[test]
    fn control_frames_are_cut_to_their_room() {
        assert_eq!(ping(Role::Server, b"Hello").as_bytes(), b"\x89\x05Hello");
        assert_eq!(pong(Role::Server, b"").as_bytes(), b"\x8a\x00");
        assert_eq!(ping(Role::Server, &[1; 300]).as_bytes().len(), 2 + 125);
        assert_eq!(ping(Role::Client, &[1; 300]).as_bytes().len(), 6 + 125);

        assert_eq!(close(Role::Server, None, "unused").as_bytes(), b"\x88\x00");
        assert_eq!(close(Role::Server, Some(1000), "bye").as_bytes(), b"\x88\x05\x03\xe8bye");
        let long = "é".repeat(100);
        let cut = close(Role::Server, Some(1001), &long);
        assert_eq!(cut.as_bytes().len(), 2 + 2 + 122);
        assert!(std::str::from_utf8(&cut.as_bytes()[4..]).is_ok());
    }
}
