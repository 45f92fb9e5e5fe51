//! Mux.Cool, or a bare Shadowsocks stream?

use super::{
    ADDRESS_DOMAIN, ADDRESS_IPV4, ADDRESS_IPV6, METADATA_MAX, METADATA_MIN, NETWORK_TCP, NETWORK_UDP,
    OPTION_DATA, OPTION_ERROR, STATUS_END, STATUS_KEEP_ALIVE, STATUS_NEW,
};
use crate::wire::Reader;

/// The answer of [`is_mux_stream`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IsMux {
    /// It is a stream of mux frames.
    Yes,
    /// It is something else.
    No,
    /// It could be either: ask again with more bytes.
    NeedMore,
}

/// Whether a stream that begins with `first` is Mux.Cool, as a server may find it where a bare
/// Shadowsocks stream may come as well.
///
/// A client's first frame opens a session: every deployed client does so. The answer is yes when
/// the length of the metadata (at most 512), the status (1), the option (data or none), the network
/// (1 or 2) and the type of the address (1, 2 or 3) fit, and the address fits into the metadata.
/// Frames of status 3 or 4 without data may come before it: v2ray's client says the end of a session
/// that its application has left before it began, and never the beginning.
///
/// A yes needs 10 bytes, or 11 if the target is a name (6 more for each frame before);
/// a no is said at the first byte that does not fit, which is the very first byte of 253 random
/// streams in 256. A Shadowsocks stream begins with random bytes (a salt or an initialisation
/// vector) and is mistaken with a probability of
///
/// ```text
/// (501 + 489 + 374.5) / 2¹⁶ · 2⁻⁸    length and address type: IPv4, IPv6, name
///                     · 2⁻⁸          status
///                     · 2⁻⁷ · 2⁻⁷    option, network
/// = 1.9 · 10⁻¹¹ = 2⁻³⁵·⁶
/// ```
///
/// or once in 52 thousand million connections (the frames before add less than a thousand millionth to
/// that).
pub fn is_mux_stream(first: &[u8]) -> IsMux {
    let mut rest = first;
    loop {
        match Frame::read(rest) {
            Some(Frame::New) => return IsMux::Yes,
            Some(Frame::Other) => return IsMux::No,
            Some(Frame::Skipped(after)) => rest = after,
            None => return IsMux::NeedMore,
        }
    }
}

/// Whether a stream is Mux.Cool whose first message, as far as it has any payload, is this. Peers that
/// take the end of a message for the end of a read need heads that are not cut there, so no deployed
/// program cuts one: what is not whole here is something else.
pub fn is_mux_message(first: &[u8]) -> bool {
    let mut rest = first;
    loop {
        match Frame::read(rest) {
            Some(Frame::New | Frame::Skipped([])) => return true,
            Some(Frame::Other) | None => return false,
            Some(Frame::Skipped(after)) => rest = after,
        }
    }
}

/// What is at the front of some bytes.
enum Frame<'a> {
    New,
    /// One that may come before, without data; what comes after it.
    Skipped(&'a [u8]),
    Other,
}

impl<'a> Frame<'a> {
    /// From the front to the back: what is there is judged before the rest is asked for. `None`: it is cut.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut bytes = Reader(bytes);
        let high = bytes.u8()?;
        if usize::from(high) > METADATA_MAX >> 8 {
            return Some(Self::Other);
        }
        let metadata = usize::from(u16::from_be_bytes([high, bytes.u8()?]));
        let wanted: &[u8] = match metadata {
            METADATA_MIN => &[STATUS_END, STATUS_KEEP_ALIVE],
            // The least is a name of one byte.
            10..=METADATA_MAX => &[STATUS_NEW],
            _ => return Some(Self::Other),
        };
        let [_, _, status] = bytes.array()?;
        if !wanted.contains(&status) {
            return Some(Self::Other);
        }
        let allowed = match status {
            STATUS_NEW => OPTION_DATA,
            STATUS_END => OPTION_ERROR,
            _ => 0,
        };
        if bytes.u8()? & !allowed != 0 {
            return Some(Self::Other);
        }
        if status != STATUS_NEW {
            return Some(Self::Skipped(bytes.0));
        }
        if !matches!(bytes.u8()?, NETWORK_TCP | NETWORK_UDP) {
            return Some(Self::Other);
        }
        let [_, _, kind] = bytes.array()?;
        // What the metadata have beside the session id, status, option, network, port and type.
        let room = metadata - METADATA_MIN - 4;
        let fits = match kind {
            ADDRESS_IPV4 => room >= 4,
            ADDRESS_IPV6 => room >= 16,
            ADDRESS_DOMAIN => (1..room).contains(&bytes.u8()?.into()),
            _ => false,
        };
        Some(if fits { Self::New } else { Self::Other })
    }
}
