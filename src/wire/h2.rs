//! HTTP/2's frames (RFC 9113), as far as one looks at them who passes them on.

/// What a client says first (section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Both windows at the beginning (section 6.9.2).
pub const INITIAL_WINDOW: u32 = 65_535;

/// The largest window that there may be (section 6.9.1).
pub const MOST_WINDOW: u32 = (1 << 31) - 1;

/// Types of frames (section 6).
pub mod kind {
    /// The body of a request or an answer.
    pub const DATA: u8 = 0;
    /// A request or an answer, or what comes behind its body.
    pub const HEADERS: u8 = 1;
    /// What the sender wants its peer to know.
    pub const SETTINGS: u8 = 4;
    /// More may be sent.
    pub const WINDOW_UPDATE: u8 = 8;
    /// More of a HEADERS frame.
    pub const CONTINUATION: u8 = 9;
}

/// Of HEADERS and CONTINUATION: no more of it follows.
pub const END_HEADERS: u8 = 4;

/// Of SETTINGS: the peer's are known.
pub const ACK: u8 = 1;

/// Settings (section 6.5.2) by their numbers.
pub mod setting {
    /// The window that streams have at the beginning.
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
    /// The longest frame that is taken.
    pub const MAX_FRAME_SIZE: u16 = 5;
}

/// The head of a frame (section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    /// Bytes behind the head.
    pub len: usize,
    /// One of [`kind`].
    pub kind: u8,
    /// By the type.
    pub flags: u8,
    /// The stream, or 0 for the connection.
    pub stream: u32,
}

impl FrameHead {
    /// Bytes of a head.
    pub const LEN: usize = 9;

    /// The head at the front of `bytes`, if all of it is there.
    pub fn read(bytes: &[u8]) -> Option<FrameHead> {
        let &[l2, l1, l0, kind, flags, s3, s2, s1, s0, ..] = bytes else { return None };
        Some(FrameHead {
            len: u32::from_be_bytes([0, l2, l1, l0]) as usize,
            kind,
            flags,
            stream: u32::from_be_bytes([s3 & 0x7f, s2, s1, s0]),
        })
    }

    /// Bytes of the whole frame.
    pub fn frame_len(&self) -> usize {
        FrameHead::LEN + self.len
    }

    /// Whether this says that the peer's settings are known.
    pub fn is_settings_ack(&self) -> bool {
        self.kind == kind::SETTINGS && self.flags & ACK != 0
    }
}

/// The first frame in `bytes` with what is behind its head, if all of it is there.
pub fn frame(bytes: &[u8]) -> Option<(FrameHead, &[u8])> {
    let head = FrameHead::read(bytes)?;
    Some((head, bytes.get(FrameHead::LEN..head.frame_len())?))
}

/// The settings in a SETTINGS frame, without its head: each number with its value.
pub fn settings(payload: &[u8]) -> impl Iterator<Item = (u16, u32)> {
    payload.chunks_exact(6).filter_map(|setting| {
        let &[n1, n0, v3, v2, v1, v0] = setting else { return None };
        Some((u16::from_be_bytes([n1, n0]), u32::from_be_bytes([v3, v2, v1, v0])))
    })
}

/// What a WINDOW_UPDATE frame, without its head, adds to the window.
pub fn window_increment(payload: &[u8]) -> Option<u32> {
    let bytes: [u8; 4] = payload.try_into().ok()?;
    Some(u32::from_be_bytes(bytes) & MOST_WINDOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_once_all_of_it_is_there() {
        let bytes = [0, 0, 6, 4, 0, 0x80, 0, 0, 3, 0, 5, 0, 1, 2, 3, 0xff];
        for len in 0..15 {
            assert_eq!(frame(&bytes[..len]), None);
        }
        let (head, payload) = frame(&bytes).unwrap();
        assert_eq!(head, FrameHead { len: 6, kind: kind::SETTINGS, flags: 0, stream: 3 });
        assert!(!head.is_settings_ack());
        assert_eq!(settings(payload).collect::<Vec<_>>(), [(setting::MAX_FRAME_SIZE, 0x0001_0203)]);
    }

    #[test]
    fn what_is_no_window_update_adds_nothing() {
        assert_eq!(window_increment(&[0x80, 0, 0, 9]), Some(9));
        assert_eq!(window_increment(&[0, 0, 9]), None);
    }
}
