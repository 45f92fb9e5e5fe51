//! A packet of a UDP session in a QUIC datagram (RFC 9221), or alone in a unidirectional stream: the number of its flow
//! (a variable-length integer, RFC 9000 section 16), and the packet to the end. The format is our own.

use crate::wire::Reader;

/// The longest number, in bytes.
pub const LONGEST_FLOW_ID: usize = 8;

/// The number of a flow as it stands in front of its packets, in its shortest form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowId {
    bytes: [u8; LONGEST_FLOW_ID],
    length: usize,
}

impl FlowId {
    /// The flow of this number, of which 62 bits count.
    pub fn new(number: u64) -> FlowId {
        let number = number & (u64::MAX >> 2);
        let log = match number {
            0..0x40 => 0_u8,
            0x40..0x4000 => 1,
            0x4000..0x4000_0000 => 2,
            _ => 3,
        };
        let length = 1 << log;
        let mut bytes = (number << (64 - 8 * length)).to_be_bytes();
        bytes[0] |= log << 6;
        FlowId { bytes, length }
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The number of the flow, in whatever form, and the packet. `None`: the number is cut short.
pub fn split(datagram: &[u8]) -> Option<(u64, &[u8])> {
    let mut reader = Reader(datagram);
    let number = reader.varint()?;
    Some((number, reader.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 9000 appendix A.1 has these numbers, and the edges of each length.
    #[test]
    fn numbers_stand_as_the_rfc_has_them() {
        let shortest: [(u64, &[u8]); 9] = [
            (0, b"\0"),
            (37, b"\x25"),
            (63, b"\x3f"),
            (64, b"\x40\x40"),
            (15_293, b"\x7b\xbd"),
            (16_384, b"\x80\0\x40\0"),
            (494_878_333, b"\x9d\x7f\x3e\x7d"),
            (0x4000_0000, b"\xc0\0\0\0\x40\0\0\0"),
            (151_288_809_941_952_652, b"\xc2\x19\x7c\x5e\xff\x14\xe8\x8c"),
        ];
        for (number, bytes) in shortest {
            assert_eq!(FlowId::new(number).as_bytes(), bytes);
            assert_eq!(split(bytes), Some((number, &b""[..])));
        }
        assert_eq!(split(b"\x40\x25packet"), Some((37, &b"packet"[..])), "not in its shortest form");
    }

    #[test]
    fn a_number_that_is_cut_short_is_none() {
        for bytes in [&b""[..], b"\x40", b"\x80\0\0", b"\xc0\0\0\0\0\0\0"] {
            assert_eq!(split(bytes), None);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            number in 0..1_u64 << 62,
            few in 0..70_000_u64,
            packet in prop::collection::vec(any::<u8>(), 0..50),
        ) {
            for number in [number, few] {
                let datagram = [FlowId::new(number).as_bytes(), &packet].concat();
                prop_assert_eq!(split(&datagram), Some((number, &packet[..])));
            }
        }

        #[test]
        fn whatever_comes_is_a_number_and_the_rest(datagram in prop::collection::vec(any::<u8>(), 0..20)) {
            let length = datagram.first().map_or(1, |first| 1 << (first >> 6));
            let rest = split(&datagram).map(|(_, packet)| packet);
            prop_assert_eq!(rest, datagram.get(length..));
            if let Some((number, _)) = split(&datagram) {
                prop_assert!(FlowId::new(number).as_bytes().len() <= length);
            }
        }
    }
}
