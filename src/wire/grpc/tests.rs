use super::*;
use crate::wire::{Decoder as _, Encoder as _, Step};
use proptest::prelude::*;

/// All data in `bytes`, which come in pieces of this length.
fn decode(method: Method, bytes: &[u8], piece: usize) -> Result<Vec<u8>, Error> {
    let mut decoder = HunkDecoder::new(method);
    let mut data = Vec::new();
    for piece in bytes.chunks(piece.max(1)) {
        let (mut piece, mut at) = (piece.to_vec(), 0);
        while let Step::Payload(range) = decoder.decode(&mut piece, &mut at)? {
            assert!(!range.is_empty());
            data.extend_from_slice(&piece[range]);
        }
    }
    decoder.end().map(|()| data)
}

fn encode(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in data.chunks(HunkEncoder::PAYLOAD) {
        HunkEncoder.encode(&mut chunk.to_vec(), &mut out);
        out.extend_from_slice(chunk);
    }
    out
}

#[test]
fn a_hunk_is_what_the_programs_send() {
    // (the first hunks of v2ray 4.45 and of sing-box)
    assert!(encode(&[7; 517]).starts_with(&[0, 0, 0, 2, 8, 0x0a, 0x85, 4, 7]));
    assert!(encode(&[7; 1200]).starts_with(&[0, 0, 0, 4, 0xb3, 0x0a, 0xb0, 9, 7]));
    assert_eq!(encode(b"F3h"), [0, 0, 0, 0, 5, 0x0a, 3, b'F', b'3', b'h']);
    assert!(encode(&[7; HunkEncoder::PAYLOAD]).starts_with(&[0, 0, 1, 0, 4, 0x0a, 0x80, 0x80, 4, 7]));
}

#[test]
fn a_hunk_in_place_is_the_same() {
    for len in [1, 127, 128, 16383, 16384, HunkEncoder::PAYLOAD] {
        let mut frame = vec![9; HunkEncoder::HEAD + len];
        let start = HunkEncoder::encode_in_place(&mut frame).unwrap();
        assert_eq!(frame[start..], encode(&vec![9; len]));
    }
    assert!(HunkEncoder::encode_in_place(&mut [0; HunkEncoder::HEAD - 1]).is_err());
    assert!(HunkEncoder::encode_in_place(&mut vec![0; 3 << 20]).is_err());
}

#[test]
fn what_is_no_hunk_is_told() {
    for (bytes, wanted) in [
        (&[1, 0, 0, 0, 0][..], Error::Compressed),
        (&[0, 0, 0x40, 0, 1], Error::TooLong(0x40_0001)),
        (&[0, 0xff, 0xff, 0xff, 0xff], Error::TooLong(u32::MAX)),
        (&[0, 0, 0, 0, 2, 0x12, 0], Error::OtherField),
        (&[0, 0, 0, 0, 6, 0x0a, 1, 7, 0x0a, 1, 8], Error::TwoFields),
        (&[0, 0, 0, 0, 4, 0x0a, 0, 0x0a, 0], Error::TwoFields),
        (&[0, 0, 0, 0, 1, 0x0a, 0], Error::TooShort),
        (&[0, 0, 0, 0, 3, 0x0a, 2, 7], Error::TooShort),
        (&[0, 0, 0, 0, 9, 0x0a, 0x80, 0x80, 0x80, 0x80, 0x80], Error::TooShort),
        (&[0, 0, 0, 0, 3, 0x0a, 1], Error::Cut),
        (&[0, 0], Error::Cut),
    ] {
        for piece in [1, 2, 100] {
            assert_eq!(decode(Method::Tun, bytes, piece), Err(wanted), "{bytes:?}");
        }
    }
}

#[test]
fn what_says_nothing_is_passed_over() {
    let bytes =
        [&[0, 0, 0, 0, 0][..], &[0, 0, 0, 0, 2, 0x0a, 0], &encode(b"data"), &[0, 0, 0, 0, 0]].concat();
    for piece in 1..bytes.len() {
        assert_eq!(decode(Method::Tun, &bytes, piece).as_deref(), Ok(&b"data"[..]));
    }
    // A number with more bytes than it needs.
    assert_eq!(decode(Method::Tun, &[0, 0, 0, 0, 4, 0x0a, 0x81, 0, 7], 1).as_deref(), Ok(&[7][..]));
}

#[test]
fn several_fields_are_taken_where_they_are_the_method() {
    let bytes = [0, 0, 0, 0, 8, 0x0a, 1, 1, 0x0a, 0, 0x0a, 1, 2];
    for piece in 1..=bytes.len() {
        assert_eq!(decode(Method::TunMulti, &bytes, piece).as_deref(), Ok(&[1, 2][..]));
    }
}

#[test]
fn names_become_paths() {
    for (name, tun, multi) in [
        ("GunService", "/GunService/Tun", "/GunService/TunMulti"),
        ("", "//Tun", "//TunMulti"),
        ("a b", "/a%20b/Tun", "/a%20b/TunMulti"),
        ("a/b", "/a%2Fb/Tun", "/a%2Fb/TunMulti"),
        ("/a/b/tun|multi", "/a/b/tun", "/a/b/multi"),
        ("/a b/tun", "/a%20b/tun", "/a%20b/tun"),
        ("/tun|multi", "/tun", "/multi"),
        ("/", "/", "/"),
    ] {
        let service = Service::new(name);
        assert_eq!((&*service.tun, &*service.tun_multi), (tun, multi), "{name}");
        assert_eq!(service.method(tun), Some(Method::Tun));
        assert_eq!(service.method("/other/Tun"), None);
    }
    assert_eq!(Service::new("a/b").method("/a/b/Tun"), Some(Method::Tun), "as v2ray asks for it");
    assert_eq!(Service::new("/a/t|m").method("/a/m"), Some(Method::TunMulti));
    assert_eq!(Service::new("x").method("/x/TunMulti"), Some(Method::TunMulti));
}

proptest! {
    #[test]
    fn what_is_written_is_read(data in prop::collection::vec(any::<u8>(), 0..70_000), piece in 1..70_000usize) {
        for method in [Method::Tun, Method::TunMulti] {
            let decoded = decode(method, &encode(&data), piece);
            prop_assert_eq!(decoded.as_ref(), Ok(&data));
        }
    }

    #[test]
    fn any_bytes_are_the_same_in_any_pieces(bytes in prop::collection::vec(any::<u8>(), 0..200), piece in 1..50usize) {
        prop_assert_eq!(decode(Method::Tun, &bytes, piece), decode(Method::Tun, &bytes, bytes.len()));
    }
}
