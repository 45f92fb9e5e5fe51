//! A packet of a UDP session in a QUIC datagram.

use super::pieces::settled;
use obfs_rs::wire::quic::datagram::{FlowId, split};

pub fn check(bytes: &[u8]) {
    assert_eq!(split(bytes), read(bytes));
    // The number is settled once it is whole.
    settled(bytes, &None, |bytes| split(bytes).map(|(number, _)| number));
    if let Some((number, packet)) = split(bytes) {
        let written = [FlowId::new(number).as_bytes(), packet].concat();
        assert!(written.len() <= bytes.len(), "it is in its shortest form");
        assert_eq!(split(&written), Some((number, packet)));
    }
}

/// RFC 9000 section 16, word for word.
fn read(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let first = *bytes.first()?;
    let (number, packet) = bytes.split_at_checked([1, 2, 4, 8][usize::from(first / 64)])?;
    let number =
        number[1..].iter().fold(u64::from(first % 64), |number, &byte| number * 256 + u64::from(byte));
    Some((number, packet))
}
