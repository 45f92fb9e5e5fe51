//! `obfs=tls` against a captured stream of simple-obfs 0.0.5, and against every way to cut it.

use obfs_rs::wire::fake_tls::{
    FIRST_FLIGHT_HEAD, NotFakeTls, RECORD_PAYLOAD, ReceivedHello, RecordDecoder, RecordEncoder, SKIPPED,
    SentHello, UnexpectedRecord, random,
};
use obfs_rs::wire::{Decoder, Encoder, Step};
use proptest::collection::vec;
use proptest::prelude::*;
use std::sync::LazyLock;

struct Vector {
    payload_up: Vec<u8>,
    payload_down: Vec<u8>,
    up: Vec<u8>,
    down: Vec<u8>,
}

static VECTOR: LazyLock<Vector> = LazyLock::new(|| {
    let file = include_str!("vectors/simple-obfs-tls.json");
    let json: serde_json::Value = serde_json::from_str(file).expect("the vector is JSON");
    let bytes = |pointer: &str| {
        let hex = json.pointer(pointer).and_then(|value| value.as_str()).expect(pointer);
        let pairs = hex.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).expect("hex"));
        pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hex")).collect()
    };
    Vector {
        payload_up: bytes("/payload_up_hex"),
        payload_down: bytes("/payload_down_hex"),
        up: bytes("/connections/0/client_to_server_hex"),
        down: bytes("/connections/0/server_to_client_hex"),
    }
});

const SERVER_NAME: &str = "www.example.com";

/// Feeds `stream` in pieces that end at `cuts` and at its end.
fn decode(
    mut decoder: RecordDecoder,
    stream: &[u8],
    cuts: impl IntoIterator<Item = usize>,
) -> Result<Vec<u8>, UnexpectedRecord> {
    let (mut payload, mut from) = (Vec::new(), 0);
    for to in cuts.into_iter().chain([stream.len()]) {
        let mut input = stream[from..to].to_vec();
        let mut at = 0;
        loop {
            let before = at;
            match decoder.decode(&mut input, &mut at)? {
                Step::Payload(range) => {
                    assert!(before <= range.start && range.start < range.end && range.end <= at);
                    payload.extend_from_slice(&input[range]);
                }
                Step::NeedMore => break,
            }
        }
        assert_eq!(at, input.len(), "all is used");
        from = to;
    }
    Ok(payload)
}

/// The server's half on a stream of pieces that end at `cuts` and at its end: the payload.
fn serve(stream: &[u8], cuts: impl IntoIterator<Item = usize>) -> Vec<u8> {
    let mut cuts = cuts.into_iter();
    let hello = loop {
        let come = cuts.next().unwrap_or(stream.len());
        match ReceivedHello::parse(&stream[..come]).expect("a hello") {
            Some(hello) => break hello,
            None => assert!(come < stream.len(), "the hello does not end"),
        }
    };
    let mut payload = stream[hello.payload].to_vec();
    let records = &stream[hello.length..];
    let cuts = cuts.map(|cut| cut.saturating_sub(hello.length));
    payload.extend(decode(RecordDecoder::after_client_hello(), records, cuts).expect("records"));
    payload
}

/// Puts `payload` into frames of at most `size` bytes of payload.
fn encode<E: Encoder>(encoder: &mut E, payload: &[u8], size: usize) -> Vec<u8> {
    let mut stream = Vec::new();
    for chunk in payload.chunks(size) {
        encoder.encode(&mut chunk.to_vec(), &mut stream);
        stream.extend_from_slice(chunk);
    }
    stream
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("enough bytes")
}

fn captured_hello() -> (&'static [u8], ReceivedHello) {
    let hello = ReceivedHello::parse(&VECTOR.up).expect("a hello").expect("whole");
    (&VECTOR.up[..hello.length], hello)
}

#[test]
fn the_captured_hello_is_understood() {
    let (bytes, hello) = captured_hello();
    assert_eq!(bytes.len(), 749);
    assert_eq!(hello.session_id[..], bytes[44..76]);
    assert_eq!(bytes[hello.payload], VECTOR.payload_up[..517]);
    assert_eq!(&bytes[hello.server_name], SERVER_NAME.as_bytes());
}

#[test]
fn our_hello_is_the_captured_one() {
    let (bytes, ReceivedHello { session_id, .. }) = captured_hello();
    let hello = SentHello { random: array(&bytes[11..43]), session_id };
    let mut ours = Vec::new();
    hello.encode(SERVER_NAME, &VECTOR.payload_up[..517], &mut ours).expect("it fits");
    assert_eq!(ours, bytes);
}

#[test]
fn our_stream_to_the_server_is_the_captured_one() {
    let (bytes, hello) = captured_hello();
    let mut ours = bytes.to_vec();
    let mut left = &VECTOR.payload_up[hello.payload.len()..];
    let mut at = ours.len();
    while let Some(head) = VECTOR.up.get(at..at + 5) {
        let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
        let (payload, rest) = left.split_at(length);
        ours.extend(encode(&mut RecordEncoder::after_client_hello(), payload, RECORD_PAYLOAD));
        (left, at) = (rest, at + 5 + length);
    }
    assert!(left.is_empty());
    assert_eq!(ours, VECTOR.up);
}

#[test]
fn our_stream_to_the_client_is_the_captured_one() {
    let (_, hello) = captured_hello();
    let mut server = RecordEncoder::from_server_hello(array(&VECTOR.down[11..43]), hello.session_id);
    let mut ours = Vec::new();
    let mut left = &VECTOR.payload_down[..];
    let mut at = SKIPPED;
    while let Some(length) = VECTOR.down.get(at..at + 2) {
        let length = usize::from(u16::from_be_bytes(array(length)));
        let (payload, rest) = left.split_at(length);
        ours.extend(encode(&mut server, payload, RECORD_PAYLOAD));
        (left, at) = (rest, at + 2 + length + 3);
    }
    assert!(left.is_empty());
    assert_eq!(ours, VECTOR.down);
}

#[test]
fn an_app_that_skips_105_bytes_finds_the_first_length() {
    let mut server = RecordEncoder::from_server_hello(array(&VECTOR.down[11..43]), [9; 32]);
    let flight = encode(&mut server, b"first payload", RECORD_PAYLOAD);
    assert_eq!(flight[SKIPPED..FIRST_FLIGHT_HEAD], [0, 13]);
    assert_eq!(&flight[FIRST_FLIGHT_HEAD..], b"first payload");
    assert_eq!(flight[44..76], [9; 32], "the session id is echoed");
}

#[test]
fn both_directions_survive_each_single_cut() {
    // Behind the first records nothing new comes; whole streams are cut below.
    let up = &VECTOR.up[..749 + 6];
    let down = &VECTOR.down[..FIRST_FLIGHT_HEAD + 1200 + 8 + 200];
    for cut in 0..=1500 {
        let payload = serve(up, [cut.min(up.len())]);
        assert_eq!(payload, VECTOR.payload_up[..518], "up, cut at {cut}");
        let payload = decode(RecordDecoder::from_server_hello(), down, [cut]).expect("records");
        assert_eq!(payload, VECTOR.payload_down[..1398], "down, cut at {cut}");
    }
}

#[test]
fn both_directions_survive_single_bytes() {
    assert_eq!(serve(&VECTOR.up, 1..VECTOR.up.len()), VECTOR.payload_up);
    let down = decode(RecordDecoder::from_server_hello(), &VECTOR.down, 1..VECTOR.down.len());
    assert_eq!(down.expect("records"), VECTOR.payload_down);
}

#[test]
fn each_prefix_of_the_hello_needs_more() {
    let (bytes, _) = captured_hello();
    for end in 0..bytes.len() {
        assert_eq!(ReceivedHello::parse(&bytes[..end]), Ok(None), "{end} bytes");
    }
}

#[test]
fn each_flipped_bit_of_the_hello_is_refused_or_harmless() {
    let (bytes, hello) = captured_hello();
    let free = |at: usize| {
        (11..43).contains(&at)
            || (44..76).contains(&at)
            || hello.payload.contains(&at)
            || hello.server_name.contains(&at)
    };
    let tail = hello.server_name.end;
    for (at, bit) in (0..bytes.len()).flat_map(|at| (0..8).map(move |bit| (at, 1 << bit))) {
        let mut input = VECTOR.up.clone();
        input[at] ^= bit;
        let verdict = ReceivedHello::parse(&input);
        if free(at) {
            let other = verdict.expect("a hello").expect("whole");
            assert_eq!((other.length, &other.payload), (hello.length, &hello.payload));
            assert_eq!(other.session_id[..], input[44..76]);
        } else if at < tail {
            assert!(verdict.is_err(), "byte {at}, bit {bit:#x}: {verdict:?}");
        } else if let Ok(other) = verdict {
            // What the other extensions say does not matter while they are well formed.
            assert_eq!(other, Some(hello.clone()));
        }
    }
}

/// ClientHellos of real programs, up to the bytes that tell them from ours.
#[test]
fn real_clients_are_told_apart() {
    // OpenSSL 1.1.0 has the very suites, but the server name first.
    let (bytes, _) = captured_hello();
    let mut openssl = bytes[..138].to_vec();
    openssl.extend([0, 0, 0, 20]);
    let NotFakeTls { field, offset } = ReceivedHello::parse(&openssl).expect_err("no ticket");
    assert_eq!((field, offset), ("type of the first extension", 139));

    // TLS 1.3 clients offer other suites, whatever their extensions are.
    let mut modern = bytes[..76].to_vec();
    modern.extend([0x00, 0x3e, 0x13, 0x02]);
    let NotFakeTls { offset, .. } = ReceivedHello::parse(&modern).expect_err("other suites");
    assert_eq!(offset, 77);
}

/// What the parser says of `input`, which it must have said of each prefix or not yet known.
fn verdict(input: &[u8]) -> Result<Option<ReceivedHello>, NotFakeTls> {
    let verdict = ReceivedHello::parse(input);
    for end in 0..input.len() {
        let early = ReceivedHello::parse(&input[..end]);
        assert!(early == Ok(None) || early == verdict, "at {end}: {early:?}, then {verdict:?}");
    }
    verdict
}

fn cuts(most: usize) -> impl Strategy<Value = Vec<usize>> {
    vec(0..=most, 0..40).prop_map(|mut cuts| {
        cuts.sort_unstable();
        cuts
    })
}

fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), Just(1), Just(16_384), Just(16_385), 0..70_000_usize]
}

proptest! {
    #[test]
    fn both_directions_survive_random_cuts(up in cuts(26_825), down in cuts(38_335)) {
        prop_assert_eq!(serve(&VECTOR.up, up), &VECTOR.payload_up[..]);
        let payload = decode(RecordDecoder::from_server_hello(), &VECTOR.down, down);
        prop_assert_eq!(payload, Ok(VECTOR.payload_down.clone()));
    }

    #[test]
    fn what_a_client_sends_its_server_reads(
        first in sizes(), rest in sizes(), size in 1..=RECORD_PAYLOAD, name in "[a-z.:0-9]{0,80}",
    ) {
        let first = first.min(SentHello::max_payload(&name, ReceivedHello::MAX));
        let payload: Vec<u8> = (0..first + rest).map(|i| (i * 31) as u8).collect();
        let mut stream = Vec::new();
        let hello = SentHello::new(&mut rand::rng(), 1_700_000_000);
        prop_assert!(hello.encode(&name, &payload[..first], &mut stream).is_ok());
        let received = ReceivedHello::parse(&stream).expect("a hello").expect("whole");
        prop_assert_eq!(received.length, stream.len());
        prop_assert_eq!(received.session_id, hello.session_id);
        prop_assert_eq!(&stream[received.server_name], name.as_bytes());
        stream.extend(encode(&mut RecordEncoder::after_client_hello(), &payload[first..], size));
        prop_assert_eq!(serve(&stream, []), payload);
    }

    #[test]
    fn what_a_server_sends_its_client_reads(length in sizes(), size in 1..=RECORD_PAYLOAD) {
        let payload: Vec<u8> = (0..length).map(|i| (i * 31) as u8).collect();
        let random = random(&mut rand::rng(), 1_700_000_000);
        let stream = encode(&mut RecordEncoder::from_server_hello(random, [7; 32]), &payload, size);
        let frames = length.div_ceil(size);
        let overhead = if frames == 0 { 0 } else { FIRST_FLIGHT_HEAD + (frames - 1) * 5 };
        prop_assert_eq!(stream.len(), overhead + length);
        prop_assert_eq!(decode(RecordDecoder::from_server_hello(), &stream, []), Ok(payload));
    }

    #[test]
    fn any_bytes_have_one_verdict(input in vec(any::<u8>(), 0..400)) {
        let _ = verdict(&input);
    }

    /// Foreign bytes seldom get past the first field, spoilt hellos do.
    #[test]
    fn any_spoilt_hello_has_one_verdict(
        payload in vec(any::<u8>(), 0..40),
        name in "[a-z.]{0,20}",
        spoil in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        keep in any::<prop::sample::Index>(),
    ) {
        let mut input = Vec::new();
        let hello = SentHello::new(&mut rand::rng(), 0);
        prop_assert!(hello.encode(&name, &payload, &mut input).is_ok());
        for (at, byte) in spoil {
            let at = at.index(input.len());
            input[at] = byte;
        }
        input.truncate(keep.index(input.len()) + 1);
        if let Ok(Some(hello)) = verdict(&input) {
            prop_assert!(hello.length <= input.len());
            prop_assert!(hello.payload.end <= hello.server_name.start);
            prop_assert!(hello.server_name.end <= hello.length);
        }
    }

    #[test]
    fn any_records_read_the_same_however_they_are_cut(
        bytes in vec(any::<u8>(), 0..300), skip in 0..FIRST_FLIGHT_HEAD + 50, cuts in cuts(450),
    ) {
        let mut stream = VECTOR.down[..skip].to_vec();
        stream.extend_from_slice(&bytes);
        let whole = decode(RecordDecoder::from_server_hello(), &stream, []);
        let bytewise = decode(RecordDecoder::from_server_hello(), &stream, 0..stream.len());
        prop_assert_eq!(&whole, &bytewise);
        let cuts = cuts.into_iter().map(|cut| cut.min(stream.len()));
        prop_assert_eq!(&whole, &decode(RecordDecoder::from_server_hello(), &stream, cuts));
        let _ = decode(RecordDecoder::after_client_hello(), &bytes, 0..bytes.len());
    }
}
