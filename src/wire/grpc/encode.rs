//! From the stream to hunks.

use super::FIELD;
use crate::wire::{Encoder, FrameSizeError};

/// Makes hunks.
#[derive(Debug, Default)]
pub struct HunkEncoder;

impl HunkEncoder {
    /// Bytes of the longest head.
    pub const HEAD: usize = 5 + 1 + 3;

    /// A hunk of `frame[HEAD..]`, in place. Returns where in `frame` it begins.
    ///
    /// # Errors
    ///
    /// `frame` has no room for the head, or has more data than a hunk carries.
    pub fn encode_in_place(frame: &mut [u8]) -> Result<usize, FrameSizeError> {
        let size = FrameSizeError(frame.len());
        let data = frame.len().checked_sub(HunkEncoder::HEAD).ok_or(size)?;
        let (head, len) = head(data).ok_or(size)?;
        let start = HunkEncoder::HEAD - len;
        frame.get_mut(start..HunkEncoder::HEAD).ok_or(size)?.copy_from_slice(&head[..len]);
        Ok(start)
    }
}

impl Encoder for HunkEncoder {
    /// Receivers that keep a whole message before they pass it on are not to wait for long.
    const PAYLOAD: usize = 64 * 1024;

    fn encode(&mut self, payload: &mut [u8], out: &mut Vec<u8>) {
        if let Some((head, len)) = head(payload.len()) {
            out.extend_from_slice(&head[..len]);
        }
    }
}

/// What stands in front of so many bytes of data, and how much of it counts. `None` if these are more than a hunk
/// carries.
fn head(data: usize) -> Option<([u8; HunkEncoder::HEAD], usize)> {
    /// What three bytes of a varint can say.
    const MOST: u32 = (1 << 21) - 1;
    let data = u32::try_from(data).ok().filter(|&data| data <= MOST)?;
    let mut head = [0; HunkEncoder::HEAD];
    let mut len = 5;
    head[len] = FIELD;
    len += 1;
    let mut left = data;
    loop {
        let [low, ..] = (left & 0x7f).to_le_bytes();
        left >>= 7;
        head[len] = if left > 0 { low | 0x80 } else { low };
        len += 1;
        if left == 0 {
            break;
        }
    }
    let message = data + (len - 5) as u32;
    head[1..5].copy_from_slice(&message.to_be_bytes());
    Some((head, len))
}
