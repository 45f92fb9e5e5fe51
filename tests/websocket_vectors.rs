//! The WebSocket frame layer against captured connections of v2ray-plugin 1.3.1.

use obfs_rs::wire::websocket::{Decoder, Encoder, Role, accept_key, frame_in_place, mask};
use obfs_rs::wire::{Decoder as _, Step};
use proptest::prelude::*;
use proptest::sample::Index;

#[path = "vectors/v2ray.rs"]
mod v2ray;
use v2ray::{Capture, split_head};

fn plain() -> Capture {
    Capture::read(include_str!("vectors/v2ray-ws.json"))
}

fn all() -> [Capture; 3] {
    [
        plain(),
        Capture::read(include_str!("vectors/v2ray-ws-mux1.json")),
        Capture::read(include_str!("vectors/v2ray-ws-mux4.json")),
    ]
}

/// Decodes a stream that arrives in these pieces.
fn decode<'a>(role: Role, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut decoder = Decoder::new(role);
    let mut data = Vec::new();
    for piece in pieces {
        let mut input = piece.to_vec();
        let mut at = 0;
        loop {
            match decoder.decode(&mut input, &mut at).unwrap() {
                Step::NeedMore => break,
                Step::Payload(range) => data.extend_from_slice(&input[range]),
                step => panic!("{step:?} in a capture without control frames"),
            }
        }
        assert_eq!(at, input.len());
    }
    data
}

/// A frame as a reader finds it who knows no more than these captures have in them: whole, binary,
/// shorter than 64 KiB. To check the decoder against.
struct Frame {
    bytes: Vec<u8>,
    key: Option<[u8; 4]>,
    payload: Vec<u8>,
}

fn frames(mut stream: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while !stream.is_empty() {
        assert_eq!(stream[0], 0x82);
        let (length, mut head) = match stream[1] & 0x7f {
            126 => (u16::from_be_bytes([stream[2], stream[3]]).into(), 4),
            short => (usize::from(short), 2),
        };
        let key: Option<[u8; 4]> =
            (stream[1] & 0x80 != 0).then(|| stream[head..head + 4].try_into().unwrap());
        head += key.map_or(0, |_| 4);
        let (bytes, rest) = stream.split_at(head + length);
        let mut payload = bytes[head..].to_vec();
        for (i, byte) in payload.iter_mut().enumerate() {
            *byte ^= key.map_or(0, |key| key[i % 4]);
        }
        frames.push(Frame { bytes: bytes.to_vec(), key, payload });
        stream = rest;
    }
    frames
}

#[test]
fn both_directions_decode_to_the_payload() {
    let capture = plain();
    let (_, up) = split_head(&capture.wire.up);
    let (_, down) = split_head(&capture.wire.down);
    assert_eq!(decode(Role::Server, [up]), capture.payload.up);
    assert_eq!(decode(Role::Client, [down]), capture.payload.down);
    assert_eq!(decode(Role::Server, up.chunks(1)), capture.payload.up);
    assert_eq!(decode(Role::Client, down.chunks(1)), capture.payload.down);
}

#[test]
fn every_cut_of_the_first_bytes_decodes_to_the_payload() {
    let capture = plain();
    for (role, wire, payload) in [
        (Role::Server, &capture.wire.up, &capture.payload.up),
        (Role::Client, &capture.wire.down, &capture.payload.down),
    ] {
        let (_, stream) = split_head(wire);
        // The first frames are enough: the rest of the stream is not cut.
        let stream = &stream[..6000];
        let decoded = decode(role, [stream]);
        assert!(payload.starts_with(&decoded) && decoded.len() > 5900);
        for cut in 0..=1600 {
            let (first, second) = stream.split_at(cut);
            assert_eq!(decode(role, [first, second]), decoded, "cut at {cut}");
        }
    }
}

#[test]
fn all_captures_hold_the_frames_that_a_plain_reader_finds() {
    for capture in all() {
        for (role, wire) in [(Role::Server, &capture.wire.up), (Role::Client, &capture.wire.down)] {
            let (_, stream) = split_head(wire);
            let payload: Vec<u8> = frames(stream).into_iter().flat_map(|frame| frame.payload).collect();
            assert!(decode(role, [stream]) == payload);
            assert!(decode(role, stream.chunks(1)) == payload);
            assert!(decode(role, stream.chunks(1009)) == payload);
        }
    }
}

#[test]
fn the_same_frames_are_written() {
    for capture in all() {
        for (wire, masked) in [(&capture.wire.up, true), (&capture.wire.down, false)] {
            let (_, stream) = split_head(wire);
            for frame in frames(stream) {
                assert_eq!(frame.key.is_some(), masked);
                let mut written = vec![0; Encoder::HEAD];
                written.extend_from_slice(&frame.payload);
                let start = frame_in_place(&mut written, frame.key).unwrap();
                assert!(written[start..] == frame.bytes);
            }
        }
    }
}

#[test]
fn the_encoder_writes_what_the_program_writes() {
    let capture = plain();
    let (_, up) = split_head(&capture.wire.up);
    let (_, down) = split_head(&capture.wire.down);

    let mut encoder = Encoder::new(Role::Server);
    let mut stream = Vec::new();
    for frame in frames(down) {
        let mut written = vec![0; Encoder::HEAD];
        written.extend_from_slice(&frame.payload);
        let start = encoder.encode_in_place(&mut written).unwrap();
        stream.extend_from_slice(&written[start..]);
    }
    assert!(stream == down);

    // A client's frames are equal but for the key.
    let mut encoder = Encoder::new(Role::Client);
    for frame in frames(up) {
        let mut written = vec![0; Encoder::HEAD];
        written.extend_from_slice(&frame.payload);
        let start = encoder.encode_in_place(&mut written).unwrap();
        let written = &mut written[start..];
        assert_eq!(written.len(), frame.bytes.len());
        let head = written.len() - frame.payload.len() - 4;
        assert_eq!(written[..head], frame.bytes[..head]);
        let key = written[head..head + 4].try_into().unwrap();
        mask(key, &mut written[head + 4..]);
        assert!(written[head + 4..] == frame.payload);
    }
}

#[test]
fn the_accept_value_answers_the_key() {
    for capture in all() {
        let (request, _) = split_head(&capture.wire.up);
        let (response, _) = split_head(&capture.wire.down);
        let field = |head: &'_ str, name: &str| -> String {
            let line = head.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim().to_owned()
        };
        let key = field(request, "Sec-WebSocket-Key:");
        let accept = field(response, "Sec-WebSocket-Accept:");
        assert_eq!(accept_key(key.as_bytes()), accept);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_cuts_decode_to_the_payload(cuts in prop::collection::vec(any::<Index>(), 0..40)) {
        let capture = plain();
        for (role, wire, payload) in [
            (Role::Server, &capture.wire.up, &capture.payload.up),
            (Role::Client, &capture.wire.down, &capture.payload.down),
        ] {
            let (_, stream) = split_head(wire);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
            cuts.sort_unstable();
            cuts.push(stream.len());
            let mut start = 0;
            let pieces = cuts.iter().map(|&end| {
                let piece = &stream[start..end];
                start = end;
                piece
            });
            prop_assert!(decode(role, pieces) == *payload);
        }
    }
}
