//! The messages of a tunnel in gRPC.

use super::pieces::{Numbers, cuts, decode};
use obfs_rs::wire::Encoder as _;
use obfs_rs::wire::grpc::{HunkDecoder, HunkEncoder, Method};

pub fn check(bytes: &[u8]) {
    for method in [Method::Tun, Method::TunMulti] {
        let read = |ends: &[usize]| decode(HunkDecoder::new(method), bytes, ends, |_, never| match never {});
        let whole = read(&[bytes.len()]);
        for ends in cuts(bytes) {
            assert_eq!(read(&ends), whole);
        }
        let (payload, is_right) = read_whole(bytes, method);
        assert!(whole.payload.starts_with(&payload));
        if is_right {
            assert_eq!((&whole.payload, whole.error), (&payload, None));
        }
        if let Some(error) = &whole.error {
            assert!(!is_right && !error.to_string().chars().any(char::is_control));
        }
    }
    written(bytes);
}

/// The data of all messages that are there as a whole, and whether these are all that there is.
fn read_whole(mut bytes: &[u8], method: Method) -> (Vec<u8>, bool) {
    let mut payload = Vec::new();
    while !bytes.is_empty() {
        let Some((&[0, l3, l2, l1, l0], rest)) = bytes.split_first_chunk() else { return (payload, false) };
        let len = u32::from_be_bytes([l3, l2, l1, l0]) as usize;
        let Some((mut message, behind)) = rest.split_at_checked(len) else { return (payload, false) };
        let mut data = Vec::new();
        let mut fields = 0;
        while let Some((&0x0a, field)) = message.split_first() {
            let Some((len, field)) = varint(field) else { return (payload, false) };
            let Some((field, rest)) = field.split_at_checked(len) else { return (payload, false) };
            data.extend_from_slice(field);
            message = rest;
            fields += 1;
        }
        if !message.is_empty() || len > 4 << 20 || (fields > 1 && method == Method::Tun) {
            return (payload, false);
        }
        payload.append(&mut data);
        bytes = behind;
    }
    (payload, true)
}

/// A number of at most four bytes.
fn varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (at, &byte) in bytes.iter().enumerate().take(4) {
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}

/// The bytes as data.
fn written(data: &[u8]) {
    let mut numbers = Numbers::new(data);
    let (mut stream, mut rest) = (Vec::new(), data);
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at((1 + numbers.below(rest.len())).min(HunkEncoder::PAYLOAD));
        let mut frame = [&[0; HunkEncoder::HEAD][..], piece].concat();
        let start = HunkEncoder::encode_in_place(&mut frame).expect("there is room");
        let mut head = Vec::new();
        HunkEncoder.encode(&mut piece.to_vec(), &mut head);
        assert_eq!(frame[start..HunkEncoder::HEAD], head);
        stream.extend_from_slice(&frame[start..]);
        rest = behind;
    }
    assert_eq!(read_whole(&stream, Method::Tun), (data.to_vec(), true));
    for ends in cuts(&stream) {
        let found = decode(HunkDecoder::new(Method::Tun), &stream, &ends, |_, never| match never {});
        assert_eq!((&found.payload[..], found.error), (data, None));
    }
}
