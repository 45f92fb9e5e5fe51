use super::*;
use crate::wire::fake_tls::{NotFakeTls, ReceivedHello};

const HELLO: SentHello = SentHello { random: [5; 32], session_id: [6; 32] };

fn encoded(server_name: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    HELLO.encode(server_name, payload, &mut out).expect("it fits");
    out
}

/// The hello with another `tail` after its server name, all lengths set right.
fn with_tail(server_name: &str, payload: &[u8], tail: &[u8]) -> Vec<u8> {
    let mut hello = encoded(server_name, payload);
    hello.truncate(hello.len() - OTHER_EXTENSIONS_LEN);
    hello.extend_from_slice(tail);
    let length = hello.len();
    for (at, rest) in [(3, 5), (7, 9), (136, 138)] {
        hello[at..at + 2].copy_from_slice(&((length - rest) as u16).to_be_bytes());
    }
    hello
}

fn wrong_field(input: &[u8]) -> (&'static str, usize) {
    let NotFakeTls { field, offset } = ReceivedHello::parse(input).expect_err("not a hello");
    (field, offset)
}

#[test]
fn what_was_sent_is_received() {
    for size in [0, 1, 517, 16_384, 16_385, 0xffff - 212 - 11] {
        let payload = vec![0xa5; size];
        let mut input = encoded("example.com", &payload);
        let length = input.len();
        assert_eq!(length, SentHello::OVERHEAD + 11 + size);
        input.extend(b"what follows");

        let hello = ReceivedHello::parse(&input).expect("a hello").expect("whole");
        assert_eq!(hello.length, length);
        assert_eq!(hello.session_id, HELLO.session_id);
        assert_eq!(&input[hello.payload], payload);
        assert_eq!(&input[hello.server_name], b"example.com");
    }
}

#[test]
fn what_the_record_cannot_hold_is_refused_and_leaves_no_trace() {
    let mut out = vec![1, 2, 3];
    let length = ReceivedHello::MAX + 1;
    let payload = vec![0; SentHello::max_payload("example.com", length)];
    let refused = HELLO.encode("example.com", &payload, &mut out);
    assert_eq!(refused, Err(HelloTooLong { length }));
    assert_eq!(out, [1, 2, 3]);
}

#[test]
fn room_is_what_fits_the_limit() {
    let room = SentHello::max_payload("example.com", 1400);
    assert_eq!(encoded("example.com", &vec![0; room]).len(), 1400);
    assert_eq!(SentHello::max_payload("example.com", 100), 0);
}

#[test]
fn random_is_a_clock_and_random_bytes() {
    let mut rng = rand::rng();
    let (a, b) = (SentHello::new(&mut rng, 1), SentHello::new(&mut rng, (1 << 32) + 1));
    assert_eq!((&a.random[..4], &b.random[..4]), (&[0, 0, 0, 1][..], &[0, 0, 0, 1][..]));
    assert_ne!(a.random[4..], b.random[4..]);
    assert_ne!(a.session_id, b.session_id);
}

#[test]
fn an_empty_server_name_is_a_name() {
    let input = encoded("", b"payload");
    let hello = ReceivedHello::parse(&input).expect("a hello").expect("whole");
    assert!(hello.server_name.is_empty());
    assert_eq!(&input[hello.payload], b"payload");
}

#[test]
fn leafs_swapped_name_length_is_taken() {
    let mut input = encoded("example.com", b"payload");
    let name_length = 142 + 7 + 7;
    assert_eq!(input[name_length..name_length + 2], [0, 11]);
    input[name_length..name_length + 2].copy_from_slice(&[11, 0]);
    let hello = ReceivedHello::parse(&input).expect("a hello").expect("whole");
    assert_eq!(&input[hello.server_name], b"example.com");

    input[name_length..name_length + 2].copy_from_slice(&[0, 10]);
    assert_eq!(wrong_field(&input), ("length of the server name", name_length));
}

#[test]
fn other_extensions_may_differ_but_not_break() {
    let shuffled = [0x00, 0x17, 0, 0, 0x00, 0x16, 0, 0, 0x00, 0x0b, 0, 2, 1, 0];
    for tail in [&[][..], &shuffled] {
        let input = with_tail("example.com", b"payload", tail);
        let hello = ReceivedHello::parse(&input).expect("a hello").expect("whole");
        assert_eq!(hello.length, input.len());
        assert_eq!(&input[hello.payload], b"payload");
    }
    for broken in [&[0][..], &[0, 0x17, 0], &[0, 0x17, 0, 1], &[0, 0x17, 0, 0, 0]] {
        let input = with_tail("example.com", b"payload", broken);
        assert_eq!(wrong_field(&input).0, "length of an extension");
    }
}

#[test]
fn each_field_is_judged() {
    let good = encoded("example.com", b"payload");
    let bad = |at: usize, bytes: &[u8]| {
        let mut input = good.clone();
        input[at..at + bytes.len()].copy_from_slice(bytes);
        let whole = wrong_field(&input);
        // What is wrong is known at once, without the rest of the hello.
        assert_eq!(wrong_field(&input[..at + bytes.len()]), whole);
        whole
    };
    let (record, name) = ("content type or version of the record", 142 + 7);
    for (at, bytes, field) in [
        (0, &[0x15][..], record),
        (1, &[0x02], record),
        (2, &[0x03], record),
        (3, &[0, 145], "length of the record"),
        (5, &[0x02], "type of the message"),
        (6, &[0x01], "type of the message"),
        (7, &[0x40], "length of the message"),
        (9, &[0x02], "client version"),
        (10, &[0x04], "client version"),
        (43, &[0x00], "length of the session id"),
        (76, &[0x00, 0x3a], "cipher suites or compression methods"),
        (78, &[0x13], "cipher suites or compression methods"),
        (134, &[0x02], "cipher suites or compression methods"),
        (136, &[0x01], "length of the extensions"),
        (138, &[0x00, 0x00], "type of the first extension"),
        (140, &[0xff, 0xff], "length of the session ticket"),
        (name, &[0x00, 0x0b], "type of the second extension"),
        (name + 2, &[0x00, 0x04], "length of the server name extension"),
        (name + 2, &[0xff, 0xff], "length of the server name extension"),
        (name + 4, &[0x00, 0x0d], "length of the server name list"),
        (name + 6, &[0x01], "type of the server name"),
        (name + 7, &[0x00, 0x0c], "length of the server name"),
    ] {
        let (found, offset) = bad(at, bytes);
        assert_eq!(found, field, "byte {at}");
        assert!((at..at + bytes.len()).contains(&offset), "{field}: {at}, not {offset}");
    }
}

#[test]
fn other_protocols_are_known_by_their_first_byte() {
    for input in [&b"GET / HTTP/1.1"[..], b"SSH-2.0", b"\0", b"\x17\x03\x03"] {
        assert_eq!(wrong_field(&input[..1]).1, 0);
    }
    assert_eq!(ReceivedHello::parse(b""), Ok(None));
}
