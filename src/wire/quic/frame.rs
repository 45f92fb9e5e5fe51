//! The frames of an Initial packet.

use super::Malformed;
use crate::wire::Reader;

/// The types that a client's Initial packets may have (RFC 9000 section 12.4).
mod kind {
    pub(super) const PADDING: u8 = 0x00;
    pub(super) const PING: u8 = 0x01;
    pub(super) const ACK: u8 = 0x02;
    pub(super) const ACK_ECN: u8 = 0x03;
    pub(super) const CRYPTO: u8 = 0x06;
    pub(super) const CONNECTION_CLOSE: u8 = 0x1c;
}

/// Reads all frames, and gives what CRYPTO frames have to `take`: where in the handshake it stands, and the bytes.
pub(super) fn read(
    payload: &[u8],
    mut take: impl FnMut(u64, &[u8]) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let mut reader = Reader(payload);
    if reader.is_empty() {
        return Err(Malformed::Frame);
    }
    while !reader.is_empty() {
        if let Some((offset, bytes)) = frame(&mut reader).ok_or(Malformed::Frame)? {
            take(offset, bytes)?;
        }
    }
    Ok(())
}

/// Reads one frame, and returns what it says if it is CRYPTO. `None`: it is cut short, or may not be there.
fn frame<'a>(reader: &mut Reader<'a>) -> Option<Option<(u64, &'a [u8])>> {
    match reader.u8()? {
        kind::PADDING | kind::PING => {}
        kind::CRYPTO => {
            let offset = reader.varint()?;
            return Some(Some((offset, bytes(reader)?)));
        }
        found @ (kind::ACK | kind::ACK_ECN) => {
            let [_largest, _delay, ranges, _first] = numbers(reader)?;
            for _ in 0..ranges {
                let [_gap, _length] = numbers(reader)?;
            }
            if found == kind::ACK_ECN {
                let [_ect0, _ect1, _ce] = numbers(reader)?;
            }
        }
        kind::CONNECTION_CLOSE => {
            let [_code, _of_frame] = numbers(reader)?;
            bytes(reader)?;
        }
        _ => return None,
    }
    Some(None)
}

fn numbers<const N: usize>(reader: &mut Reader<'_>) -> Option<[u64; N]> {
    let mut numbers = [0; N];
    for number in &mut numbers {
        *number = reader.varint()?;
    }
    Some(numbers)
}

/// Bytes behind their length.
fn bytes<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let length = reader.varint()?;
    reader.take(usize::try_from(length).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crypto(payload: &[u8]) -> Result<Vec<(u64, Vec<u8>)>, Malformed> {
        let mut found = Vec::new();
        read(payload, |offset, bytes| {
            found.push((offset, bytes.to_vec()));
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn crypto_is_found_among_all_that_may_be_there() {
        let payload = [
            &b"\x01\0\0"[..],
            b"\x06\x45\x00\x03abc",
            b"\x02\x05\0\x01\0\x01\x01",
            b"\x03\x05\0\0\0\x40\x01\x01\x01",
            b"\x06\0\x01d",
            b"\x1c\0\x06\x02no",
            b"\0\x01",
        ];
        assert_eq!(crypto(&payload.concat()), Ok(vec![(0x500, b"abc".to_vec()), (0, b"d".to_vec())]));
    }

    #[test]
    fn what_may_not_be_there_is_malformed() {
        for payload in [
            // Nothing at all; cut short; STREAM; an application's close; more ranges than there are bytes.
            &b""[..],
            b"\x06\0\x04abc",
            b"\x06",
            b"\x0aab",
            b"\x1d\0\0",
            b"\x02\0\0\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0",
        ] {
            assert_eq!(crypto(payload), Err(Malformed::Frame), "{payload:?}");
        }
    }
}
