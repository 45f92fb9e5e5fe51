use super::*;
use crate::wire::Decoder as _;
use crate::wire::websocket::{close, frame_in_place, ping, pong};
use proptest::prelude::*;

/// What came out of a stream: all payload, pings and closes in order, and the error if any.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Outcome {
    data: Vec<u8>,
    /// How much payload had come before, and what came then.
    events: Vec<(usize, Step<Control>, Vec<u8>)>,
    error: Option<Error>,
}

/// Decodes a stream that arrives in these pieces.
fn decode<'a>(role: Role, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut decoder = Decoder::new(role);
    let mut outcome = Outcome::default();
    'pieces: for piece in pieces {
        let mut input = piece.to_vec();
        let mut at = 0;
        loop {
            match decoder.decode(&mut input, &mut at) {
                Ok(Step::NeedMore) => break,
                Ok(Step::Payload(range)) => {
                    assert!(!range.is_empty());
                    assert_eq!(range.end, at);
                    outcome.data.extend_from_slice(&input[range]);
                }
                Ok(step) => {
                    let control = decoder.control().to_vec();
                    outcome.events.push((outcome.data.len(), step, control));
                }
                Err(error) => {
                    assert_eq!(decoder.decode(&mut input, &mut at), Err(error));
                    outcome.error = Some(error);
                    break 'pieces;
                }
            }
        }
        assert_eq!(at, input.len());
    }
    outcome
}

fn whole(role: Role, stream: &[u8]) -> Outcome {
    let outcome = decode(role, [stream]);
    assert_eq!(outcome, decode(role, stream.chunks(1)), "byte by byte");
    outcome
}

fn data(bytes: &[u8]) -> Outcome {
    Outcome { data: bytes.to_vec(), ..Outcome::default() }
}

fn error(role: Role, stream: &[u8]) -> Option<(Error, u16)> {
    whole(role, stream).error.map(|error| (error, error.close_code()))
}

// === The examples of RFC 6455, section 5.7 ===

#[test]
fn an_unmasked_text_message() {
    assert_eq!(whole(Role::Client, b"\x81\x05Hello"), data(b"Hello"));
}

#[test]
fn a_masked_text_message() {
    let frame = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    assert_eq!(whole(Role::Server, frame), data(b"Hello"));
}

#[test]
fn a_fragmented_text_message() {
    assert_eq!(whole(Role::Client, b"\x01\x03Hel\x80\x02lo"), data(b"Hello"));
}

#[test]
fn a_ping_and_the_pong_to_it() {
    let outcome = whole(Role::Client, b"\x89\x05Hello");
    assert_eq!(outcome.events, [(0, Step::Event(Control::Ping), b"Hello".to_vec())]);
    let masked_pong = b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    assert_eq!(whole(Role::Server, masked_pong).events, [(0, Step::Event(Control::Pong), b"Hello".to_vec())]);
}

#[test]
fn binary_messages_with_long_lengths() {
    let mut stream = b"\x82\x7e\x01\x00".to_vec();
    stream.extend_from_slice(&[1; 256]);
    stream.extend_from_slice(b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00");
    stream.extend_from_slice(&[2; 65_536]);
    let outcome = whole(Role::Client, &stream);
    assert_eq!(outcome.data[..256], [1; 256]);
    assert_eq!(outcome.data[256..], [2; 65_536]);
    assert_eq!(outcome.error, None);
}

// === What may come ===

#[test]
fn a_frame_of_the_greatest_length_passes_through() {
    let mut decoder = Decoder::new(Role::Client);
    let mut head = *b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff";
    let mut at = 0;
    assert_eq!(decoder.decode(&mut head, &mut at), Ok(Step::NeedMore));
    for _ in 0..1000 {
        let mut piece = [3; 1024];
        let mut at = 0;
        assert_eq!(decoder.decode(&mut piece, &mut at), Ok(Step::Payload(0..1024)));
        assert_eq!(decoder.decode(&mut piece, &mut at), Ok(Step::NeedMore));
    }
}

#[test]
fn a_length_written_too_long_is_taken() {
    assert_eq!(whole(Role::Client, b"\x82\x7e\x00\x01a\x82\x7f\0\0\0\0\0\0\0\x01b"), data(b"ab"));
}

#[test]
fn frames_without_payload_are_nothing() {
    let stream = b"\x82\x00\x82\x01a\x02\x00\x00\x00\x80\x01b\x81\x00";
    assert_eq!(whole(Role::Client, stream), data(b"ab"));
}

#[test]
fn control_frames_stand_between_fragments() {
    let stream = b"\x02\x01a\x89\x01!\x00\x01b\x8a\x02??\x89\x00\x80\x01c";
    let outcome = whole(Role::Client, stream);
    assert_eq!(outcome.data, b"abc");
    let pong = (2, Step::Event(Control::Pong), b"??".to_vec());
    assert_eq!(
        outcome.events,
        [(1, Step::Event(Control::Ping), b"!".to_vec()), pong, (2, Step::Event(Control::Ping), vec![])]
    );
}

#[test]
fn control_frames_have_up_to_125_bytes() {
    let payload: Vec<u8> = (0..125).collect();
    for (role, peer) in [(Role::Server, Role::Client), (Role::Client, Role::Server)] {
        let mut stream = pong(peer, &payload).as_bytes().to_vec();
        stream.extend_from_slice(ping(peer, &payload).as_bytes());
        let outcome = whole(role, &stream);
        let (ping, pong) = (Step::Event(Control::Ping), Step::Event(Control::Pong));
        assert_eq!(outcome.events, [(0, pong, payload.clone()), (0, ping, payload.clone())]);
        assert_eq!(outcome.error, None);
    }
}

#[test]
fn a_close_frame_ends_the_stream() {
    for peer in [Role::Server, Role::Client] {
        let role = match peer {
            Role::Server => Role::Client,
            Role::Client => Role::Server,
        };
        let mut stream = close(peer, Some(1000), "bye").as_bytes().to_vec();
        stream.extend_from_slice(b"\xff\xffwhat follows is void");
        let outcome = whole(role, &stream);
        let close = (0, Step::Event(Control::Close(Some(1000))), b"\x03\xe8bye".to_vec());
        assert_eq!(outcome.events, [close]);
        assert_eq!(outcome.error, None);
    }
    let outcome = whole(Role::Client, b"\x88\x00");
    assert_eq!(outcome.events, [(0, Step::Event(Control::Close(None)), vec![])]);
}

#[test]
fn a_key_fits_wherever_the_payload_is_cut() {
    let payload: Vec<u8> = (0..=255).collect();
    let mut frame = vec![0; Encoder::HEAD];
    frame.extend_from_slice(&payload);
    let start = frame_in_place(&mut frame, Some([0x10, 0x32, 0x54, 0x76])).unwrap();
    let stream = &frame[start..];
    for first in 0..stream.len() {
        for second in [first, first + 1, first + 2, first + 3, first + 33] {
            let second = second.min(stream.len());
            let pieces = [&stream[..first], &stream[first..second], &stream[second..]];
            assert_eq!(decode(Role::Server, pieces), data(&payload));
        }
    }
}

// === What may not ===

#[test]
fn wrong_masking_is_refused() {
    assert_eq!(error(Role::Server, b"\x82\x01a"), Some((Error::Unmasked, 1002)));
    assert_eq!(error(Role::Server, b"\x89\x00"), Some((Error::Unmasked, 1002)));
    assert_eq!(error(Role::Client, b"\x82\x81\0\0\0\0a"), Some((Error::Masked, 1002)));
}

#[test]
fn reserved_bits_and_opcodes_are_refused() {
    for bits in [0x10, 0x20, 0x40, 0x70] {
        let stream = [0x82 | bits, 0];
        assert_eq!(error(Role::Client, &stream), Some((Error::ReservedBits(bits), 1002)));
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        let stream = [0x80 | opcode, 0];
        assert_eq!(error(Role::Client, &stream), Some((Error::ReservedOpcode(opcode), 1002)));
    }
}

#[test]
fn fragmented_and_long_control_frames_are_refused() {
    for opcode in [8, 9, 10] {
        assert_eq!(error(Role::Client, &[opcode, 0]), Some((Error::FragmentedControl, 1002)));
        for length in [126, 127] {
            assert_eq!(error(Role::Client, &[0x80 | opcode, length]), Some((Error::LongControl, 1002)));
        }
    }
}

#[test]
fn fragments_out_of_order_are_refused() {
    for stream in [&b"\x80\x01a"[..], b"\x00\x01a", b"\x82\x01a\x80\x01b"] {
        assert_eq!(error(Role::Client, stream), Some((Error::StrayContinuation, 1002)));
    }
    for stream in [&b"\x02\x01a\x82\x01b"[..], b"\x01\x00\x89\x00\x00\x00\x01\x00"] {
        assert_eq!(error(Role::Client, stream), Some((Error::UnfinishedMessage, 1002)));
    }
}

#[test]
fn absurd_lengths_are_refused() {
    assert_eq!(error(Role::Client, b"\x82\x7f\x80\0\0\0\0\0\0\0"), Some((Error::Length(1 << 63), 1002)));
    assert_eq!(
        error(Role::Server, b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
        Some((Error::Length(u64::MAX), 1002))
    );
}

#[test]
fn bad_close_frames_are_refused() {
    assert_eq!(error(Role::Client, b"\x88\x01\x03"), Some((Error::HalfCloseCode, 1002)));
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
        let [high, low] = u16::to_be_bytes(code);
        assert_eq!(error(Role::Client, &[0x88, 2, high, low]), Some((Error::CloseCode(code), 1002)));
    }
    assert_eq!(error(Role::Client, b"\x88\x03\x03\xe8\xff"), Some((Error::CloseReason, 1007)));
}

#[test]
fn what_came_before_an_error_is_kept() {
    let outcome = whole(Role::Client, b"\x82\x03abc\x89\x01x\x83\x00");
    assert_eq!(outcome.data, b"abc");
    assert_eq!(outcome.events, [(3, Step::Event(Control::Ping), b"x".to_vec())]);
    assert_eq!(outcome.error, Some(Error::ReservedOpcode(3)));
}

#[test]
fn errors_name_what_was_wrong() {
    let text = [
        (Error::ReservedBits(0x40), "reserved bits 0x40"),
        (Error::ReservedOpcode(11), "reserved opcode 11"),
        (Error::Unmasked, "not masked"),
        (Error::Length(1 << 63), "9223372036854775808 bytes"),
        (Error::CloseCode(1005), "code 1005"),
    ];
    for (error, part) in text {
        assert!(error.to_string().contains(part), "{error}");
    }
}

// === Any bytes at all ===

/// A stream with some sense in it: frames of all kinds, some of them wrong.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        8 => prop::sample::select(vec![0x82, 0x81, 0x02, 0x80, 0x00, 0x89, 0x8a]),
        1 => any::<u8>(),
    ];
    let frame = (first, prop::collection::vec(any::<u8>(), 0..200), prop::option::of(any::<[u8; 4]>()))
        .prop_map(|(first, payload, key)| {
            let mut frame = vec![0; Encoder::HEAD];
            frame.extend_from_slice(&payload);
            let start = frame_in_place(&mut frame, key.or(Some([1, 2, 3, 4]))).unwrap();
            frame[start] = first;
            frame.split_off(start)
        });
    prop::collection::vec(frame, 0..8).prop_map(|frames| frames.concat())
}

fn pieces<'a>(stream: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    cuts.sort_unstable();
    cuts.push(stream.len());
    let mut start = 0;
    cuts.into_iter()
        .map(|end| {
            let piece = &stream[start..end];
            start = end;
            piece
        })
        .collect()
}

proptest! {
    #[test]
    fn the_cut_does_not_matter(
        stream in prop_oneof![frames(), prop::collection::vec(any::<u8>(), 0..300)],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        server in any::<bool>(),
    ) {
        let role = if server { Role::Server } else { Role::Client };
        let outcome = whole(role, &stream);
        prop_assert_eq!(outcome, decode(role, pieces(&stream, &cuts)));
    }

    #[test]
    fn frames_survive_the_round_trip(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..700), 0..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        for (peer, role) in [(Role::Client, Role::Server), (Role::Server, Role::Client)] {
            let mut encoder = Encoder::new(peer);
            let mut stream = Vec::new();
            for payload in &payloads {
                let mut frame = vec![0; Encoder::HEAD];
                frame.extend_from_slice(payload);
                let start = encoder.encode_in_place(&mut frame).unwrap();
                stream.extend_from_slice(&frame[start..]);
            }
            let outcome = decode(role, pieces(&stream, &cuts));
            prop_assert_eq!(outcome, data(&payloads.concat()));
        }
    }
}
