//! The head of a packet, as far as it is in the clear.

use super::{ID_LENGTH, VERSION_1};
use crate::wire::Reader;

/// The first byte's bit that says which form the head has.
const LONG: u8 = 0x80;

/// The first byte's bit that is set in each packet of version 1, or other protocols could not share the port.
const FIXED: u8 = 0x40;

/// The longest connection id of version 1, in bytes.
const LONGEST_ID: usize = 20;

/// What a packet with a long head is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketKind {
    /// It has a part of the hello, or of what answers it.
    Initial,
    /// What a client sends before the server has answered.
    ZeroRtt,
    /// The rest of the handshake.
    Handshake,
    /// A server that wants to know whether the client is where it says.
    Retry,
}

/// The head of the first packet in some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header<'a> {
    /// A short one: the connection id that is one of ours, if it is.
    Short(&'a [u8; ID_LENGTH]),
    /// A long one of version 1.
    Long(LongHeader<'a>),
    /// A long one of another version, or of a packet that says which versions there are.
    OtherVersion {
        /// The id of the connection to whoever receives it.
        destination: &'a [u8],
        /// The id by which whoever sends it wants to be answered.
        source: &'a [u8],
    },
}

/// A long head of version 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LongHeader<'a> {
    /// What the packet is.
    pub kind: PacketKind,
    /// The id of the connection to whoever receives it.
    pub destination: &'a [u8],
    /// The id by which whoever sends it wants to be answered.
    pub source: &'a [u8],
    /// Of an Initial packet: by what the client shows that it has been here before.
    pub token: &'a [u8],
    /// Whether the bit is set that each packet has.
    pub is_fixed: bool,
    /// Where the packet number begins, which is protected.
    pub(super) number_at: usize,
    /// Where the packet ends.
    pub(super) end: usize,
}

impl<'a> Header<'a> {
    /// Reads the head of the first packet. `None`: it is cut short, or not of QUIC.
    pub fn parse(bytes: &'a [u8]) -> Option<Header<'a>> {
        let (first, rest) = bytes.split_first()?;
        if first & LONG == 0 {
            return rest.first_chunk().map(Header::Short);
        }
        let mut reader = Reader(rest);
        let version = u32::from_be_bytes(reader.array()?);
        let (destination, source) = (reader.vector8()?, reader.vector8()?);
        if version != VERSION_1 {
            return Some(Header::OtherVersion { destination, source });
        }
        if destination.len().max(source.len()) > LONGEST_ID {
            return None;
        }
        let kind = match first >> 4 & 0b11 {
            0 => PacketKind::Initial,
            1 => PacketKind::ZeroRtt,
            2 => PacketKind::Handshake,
            _ => PacketKind::Retry,
        };
        let mut token: &[u8] = &[];
        if kind == PacketKind::Initial {
            let length = reader.varint()?;
            token = reader.take(usize::try_from(length).ok()?)?;
        }
        let length = match kind {
            PacketKind::Retry => reader.0.len(),
            _ => usize::try_from(reader.varint()?).ok()?,
        };
        let number_at = bytes.len() - reader.0.len();
        reader.take(length)?;
        let is_fixed = first & FIXED != 0;
        let end = number_at + length;
        Some(Header::Long(LongHeader { kind, destination, source, token, is_fixed, number_at, end }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn heads_are_read() {
        let initial = b"\xc3\0\0\0\x01\x02ab\x03cde\x01t\x40\x05number";
        let read = Header::parse(&initial[..]);
        let head = LongHeader {
            kind: PacketKind::Initial,
            destination: b"ab",
            source: b"cde",
            token: b"t",
            is_fixed: true,
            number_at: 16,
            end: 21,
        };
        assert_eq!(read, Some(Header::Long(head)));
        assert_eq!(Header::parse(&initial[..20]), None, "it is longer than the datagram");
        let handshake = b"\xa0\0\0\0\x01\0\0\x01n";
        let read = Header::parse(&handshake[..]);
        assert!(matches!(
            read,
            Some(Header::Long(LongHeader { kind: PacketKind::Handshake, end: 9, is_fixed: false, .. }))
        ));
        let retry = b"\xf0\0\0\0\x01\0\x01sno length";
        let read = Header::parse(&retry[..]);
        assert!(matches!(read, Some(Header::Long(LongHeader { kind: PacketKind::Retry, source: b"s", .. }))));
        let short = b"\x40twelve bytesand more";
        assert_eq!(Header::parse(&short[..]), Some(Header::Short(b"twelve bytes")));
        assert_eq!(Header::parse(&short[..12]), None);
        let too_long = [&b"\xc0\0\0\0\x01\x15"[..], &[0; 100]].concat();
        assert_eq!(Header::parse(&too_long), None);
        for other in [&b"\xc0\0\0\0\0\x01a\x02bc"[..], b"\xc0\x6b\x33\x43\xcf\x01a\x02bcrest"] {
            let ids = Header::OtherVersion { destination: b"a", source: b"bc" };
            assert_eq!(Header::parse(other), Some(ids), "{other:?}");
            assert_eq!(Header::parse(&other[..9]), None);
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_there(bytes in prop::collection::vec(any::<u8>(), 0..100), long in any::<bool>()) {
            let bytes = if long { [&b"\xc0\0\0\0\x01"[..], &bytes].concat() } else { bytes };
            if let Some(Header::Long(head)) = Header::parse(&bytes) {
                prop_assert!(head.number_at <= head.end && head.end <= bytes.len());
                prop_assert!(head.destination.len() <= 20 && head.source.len() <= 20);
            }
        }
    }
}
