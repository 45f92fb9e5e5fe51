use super::*;
use crate::probe::quic_answer::{V2, packets};

const ID: &[u8; 8] = b"servers.";

/// A client of which the first flight has been sent.
fn handshaking() -> Client {
    let offer = QuicOffer { name: crate::probe::script::OfferedName::Own, alpn: vec!["h3"], brief: false };
    let mut client = Client::handshake(&offer, Some("www.example.com"), *ID, *b"clients.").unwrap();
    assert_eq!(client.datagrams().len(), 1);
    assert!(client.datagrams().is_empty(), "it is said once");
    client
}

/// A server's Initial with these frames, as an answer to what was sent to this id.
fn initial(version: u32, id: &[u8], to: &[u8], frames: &[u8]) -> Vec<u8> {
    let keys = seal::initial_keys(version, id).unwrap();
    let head = LongHead {
        kind: PacketKind::Initial,
        version,
        destination: to,
        source: b"named",
        token: b"",
        reserved: 0,
    };
    head.seal(&keys.remote, 0, frames, 0).unwrap()
}

fn told(client: Client) -> Vec<String> {
    client.answer().told.into_iter().map(|(_, text)| text).collect()
}

/// What a client tells that has got these datagrams.
fn after(mut client: Client, datagrams: &[&[u8]]) -> Vec<String> {
    for datagram in datagrams {
        client.receive(Duration::ZERO, datagram);
    }
    told(client)
}

fn flight(datagrams: Vec<Vec<u8>>) -> FirstFlight {
    FirstFlight {
        version: V1,
        id: 8,
        token: b"token".to_vec(),
        datagrams,
        size: SMALLEST,
        reserved: 0,
        broken: false,
    }
}

#[test]
fn pieces_are_put_together_in_any_order() {
    let mut pieces = Pieces::default();
    assert_eq!((pieces.insert(6, b"world"), pieces.whole.len()), (0, 0));
    assert_eq!((pieces.insert(0, b"hello wo"), &pieces.whole[..]), (0, &b"hello world"[..]));
    assert_eq!((pieces.insert(3, b"lo"), pieces.whole.len()), (11, 11));
    // Pieces that never meet, and too much of one.
    let mut pieces = Pieces::default();
    for offset in 1..1000 {
        pieces.insert(offset * 10, &[0; 5]);
    }
    assert!(pieces.waiting.len() <= MAX_WAITING);
    pieces.insert(1 << 40, b"far");
    assert!(pieces.waiting.len() <= MAX_WAITING);
    let mut pieces = Pieces::default();
    for piece in 0..100 {
        pieces.insert(piece * 1000, &[0; 1000]);
    }
    assert_eq!(pieces.whole.len(), MAX_KEPT);
}

#[test]
fn an_acknowledgement_has_the_ranges() {
    let space = |numbers: &[u64]| Space { received: numbers.iter().copied().collect(), ..Space::default() };
    assert_eq!(space(&[]).ack(), None);
    assert_eq!(space(&[0]).ack().unwrap(), [2, 0, 0, 0, 0]);
    // RFC 9000 section 19.3.1: a gap is the count of packets that lack, less one.
    assert_eq!(space(&[1, 2, 5, 6, 7, 9]).ack().unwrap(), [2, 9, 0, 2, 0, 0, 2, 1, 1]);
    let many: Vec<_> = (0..200).map(|number| number * 2).collect();
    assert!(space(&many).ack().unwrap().len() < 100);
}

#[test]
fn a_first_flight_is_as_it_is_described() {
    let (client, datagrams) = Client::of_first_flight(&flight(vec![vec![1], vec![1]]), ID);
    assert_eq!(datagrams.len(), 2);
    let keys = seal::initial_keys(V1, ID).unwrap();
    for (number, datagram) in (0..).zip(&datagrams) {
        assert_eq!(datagram.len(), SMALLEST);
        let [Packet::Sealed(sealed)] = packets(datagram)[..] else { panic!("{number}") };
        assert_eq!((sealed.destination, sealed.source), (&ID[..], &b""[..]));
        let (is, frames) = seal::open(&keys.local, datagram, sealed.number_at, 0).expect("it opens");
        assert_eq!((is, quic_answer::frames(&frames)), (number, vec![Frame::Ping]));
    }
    let broken = FirstFlight { broken: true, version: V2, ..flight(vec![vec![1]]) };
    let (_, datagrams) = Client::of_first_flight(&broken, ID);
    let [Packet::Sealed(sealed)] = packets(&datagrams[0])[..] else { panic!("no Initial") };
    let keys = seal::initial_keys(V2, ID).unwrap();
    assert!(seal::open(&keys.local, &datagrams[0], sealed.number_at, 0).is_none());
    assert_eq!(told(client), [""; 0]);
}

/// Of two datagrams one may have been acknowledged and the other dropped: an acknowledgement answers neither.
#[test]
fn an_acknowledgement_is_no_answer() {
    let after = |datagram: &[u8]| {
        let (mut client, _) = Client::of_first_flight(&flight(vec![vec![1]]), ID);
        let is_new = client.receive(Duration::ZERO, datagram);
        (is_new, client.has_answer())
    };
    assert_eq!(after(&initial(V1, ID, b"", &[2, 0, 0, 0, 0])), (true, false));
    assert_eq!(after(&initial(V1, ID, b"", &seal::crypto(0, b"hello"))), (true, true));
    assert_eq!(after(&initial(V1, ID, b"", &seal::close(0x178, false))), (true, true));
    assert_eq!(after(b"\0garbage"), (true, true));
    assert!(!Client::listening(b"", b"").has_answer());
}

#[test]
fn what_answers_a_first_flight_is_told() {
    let client = || Client::of_first_flight(&flight(vec![vec![1]]), ID).0;
    let answer = |frames: &[u8]| initial(V1, ID, b"", frames);
    assert_eq!(after(client(), &[&answer(&[2, 0, 0, 0, 0])]), ["an acknowledgement"]);
    let close = answer(&seal::close(0x178, false));
    assert_eq!(after(client(), &[&close, &close]), ["CONNECTION_CLOSE: alert NoApplicationProtocol"]);
    // How far the server had got does not count where it has ended; and the end stands at the end.
    let garbage = "no QUIC, 8 bytes: \"\\x00garbage\"";
    assert_eq!(
        after(client(), &[&close, b"\0garbage", b"\x43 short"]),
        [garbage, "CONNECTION_CLOSE: alert NoApplicationProtocol"]
    );
    let acknowledged = answer(&[2, 0, 0, 0, 0]);
    assert_eq!(after(client(), &[b"\0garbage", &acknowledged, b"\x43 short"]), ["1-RTT packets", garbage]);
    assert_eq!(after(client(), &[b"\x43 short"]), ["a short packet, as a stateless reset is one"]);
    // For somebody else, and not to be read.
    let other = initial(V1, ID, b"another", &[1]);
    assert_eq!(
        after(client(), &[&other]),
        ["Initial packets of version 1, for another id or not as asked for"]
    );
    let unread = initial(V1, b"another", b"", &[1]);
    assert_eq!(after(client(), &[&unread]), ["Initial packets that cannot be read"]);
    assert_eq!(after(client(), &[b"\xc0\0\0\0\x09\0\0"]), ["a packet of version 0x00000009"]);
    assert_eq!(after(client(), &[b""]), ["an empty datagram"]);
}

#[test]
fn the_ids_of_a_negotiation_are_compared() {
    let client = || Client::listening(b"server", b"me");
    let own = b"\x80\0\0\0\0\x02me\x06server\0\0\0\x01";
    assert_eq!(after(client(), &[own]), ["version negotiation: 1"]);
    let other = b"\x80\0\0\0\0\x02me\x06SERVER\0\0\0\x01";
    assert_eq!(after(client(), &[other]), ["version negotiation: 1, with other ids"]);
    // Who makes a handshake has nothing more to wait for.
    let mut client = handshaking();
    client.receive(Duration::ZERO, own);
    assert!(client.is_over());
}

#[test]
fn after_a_retry_the_client_comes_again_with_the_token() {
    let mut client = handshaking();
    let retry = [&b"\xf0\0\0\0\x01\x08clients.\x05other"[..], b"a token", &[0; 16]].concat();
    assert!(client.receive(Duration::ZERO, &retry));
    let [again] = &client.datagrams()[..] else { panic!("not again") };
    let [Packet::Sealed(sealed)] = packets(again)[..] else { panic!("no Initial") };
    assert_eq!(sealed.destination, b"other");
    assert!(again.windows(7).any(|window| window == b"a token"));
    let keys = seal::initial_keys(V1, b"other").unwrap();
    let (_, frames) = seal::open(&keys.local, again, sealed.number_at, 0).expect("it opens");
    assert!(matches!(quic_answer::frames(&frames)[..], [Frame::Crypto { offset: 0, .. }]));
    // Only once.
    client.receive(Duration::ZERO, &retry);
    assert!(client.datagrams().is_empty());
    assert_eq!(told(client), ["Retry"]);
}

#[test]
fn what_is_lost_is_said_again_and_garbage_ends_the_handshake() {
    let mut client = handshaking();
    client.say_again();
    assert_eq!(client.datagrams().len(), 1);
    let garbage = initial(V1, ID, b"clients.", &seal::crypto(0, b"\x63\0\0\x01g"));
    assert!(client.receive(Duration::ZERO, &garbage));
    assert!(client.is_over());
    assert!(client.goodbye().is_some());
    let all = told(client);
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(all[1].starts_with("the visitor goes away: "), "{all:?}");
}

#[test]
fn what_comes_again_is_counted_once() {
    let mut client = handshaking();
    let token = |token: &[u8]| [&[7, token.len() as u8], token].concat();
    let id = |sequence: u8| [&[0x18, sequence, 0, 2][..], b"id0123456789abcdef"].concat();
    let said = [token(b"one"), id(1), token(b"one"), id(1), token(b"two"), id(2)];
    for frame in said.iter().flat_map(|bytes| quic_answer::frames(bytes)) {
        client.frame(APPLICATION, frame);
    }
    assert_eq!((client.tokens.len(), client.ids.len()), (2, 2));
    for number in 0..200 {
        for bytes in [token(&[number]), id(number & 0x3f)] {
            quic_answer::frames(&bytes).into_iter().for_each(|frame| client.frame(APPLICATION, frame));
        }
    }
    assert_eq!((client.tokens.len(), client.ids.len()), (MAX_GIVEN, MAX_GIVEN));
}

/// A server that says ever new things.
#[test]
fn what_is_kept_is_bounded() {
    let mut client = Client::listening(b"", b"");
    for number in 0..1000u32 {
        client.receive(Duration::ZERO, &[&[0][..], &number.to_be_bytes()].concat());
    }
    assert_eq!(told(client).len(), MAX_TOLD);
}

proptest::proptest! {
    /// Whatever a server says, in packets that can be opened and in others, the visitor ends with something to tell.
    #[test]
    fn any_server_is_heard_to_its_end(
        said in proptest::collection::vec((0..4u8, proptest::collection::vec(proptest::num::u8::ANY, 0..200)), 0..20)
    ) {
        let keys = seal::initial_keys(V1, ID).unwrap();
        let head = LongHead {
            kind: PacketKind::Initial,
            version: V1,
            destination: b"clients.",
            source: b"named",
            token: b"",
            reserved: 0,
        };
        let first = Client::of_first_flight(&flight(vec![vec![1]]), ID).0;
        for mut client in [handshaking(), first, Client::listening(ID, b"clients.")] {
            client.spaces[APPLICATION].keys = seal::initial_keys(V1, ID);
            for (number, (kind, bytes)) in (0..).zip(&said) {
                let datagram = match kind {
                    0 => bytes.clone(),
                    1 => head.seal(&keys.remote, number, bytes, 0).unwrap(),
                    2 => head.seal(&keys.remote, number, &seal::crypto(u64::from(bytes.len() as u8), bytes), 0).unwrap(),
                    _ => seal::seal_short(&keys.remote, b"clients.", number, bytes).unwrap(),
                };
                client.receive(Duration::from_millis(number.into()), &datagram);
                proptest::prop_assert!(client.datagrams().iter().all(|datagram| datagram.len() <= 1500));
            }
            client.goodbye();
            let lines = told(client);
            proptest::prop_assert!(lines.len() <= MAX_TOLD && lines.iter().all(|line| line.len() < 20_000));
            proptest::prop_assert!(lines.iter().all(|line| !line.chars().any(char::is_control)));
        }
    }
}
