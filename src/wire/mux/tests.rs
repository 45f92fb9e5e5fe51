use super::*;
use crate::wire::{FrameSizeError, Step};
use proptest::prelude::*;

/// What came out of a stream: the frames in order, each with its data, and the error if any.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Outcome {
    frames: Vec<(Head, Vec<u8>)>,
    error: Option<Error>,
}

/// Decodes a stream that arrives in these pieces.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut decoder = Decoder::default();
    let mut outcome = Outcome::default();
    'pieces: for piece in pieces {
        let mut at = 0;
        loop {
            match decoder.decode(piece, &mut at) {
                Ok(Step::NeedMore) => break,
                Ok(Step::Event(head)) => outcome.frames.push((head, Vec::new())),
                Ok(Step::Payload(range)) => {
                    assert!(!range.is_empty());
                    assert_eq!(range.end, at);
                    let (head, data) = outcome.frames.last_mut().expect("data have a frame");
                    assert_eq!(head.id, decoder.session());
                    data.extend_from_slice(&piece[range]);
                    assert!(data.len() <= head.data.unwrap().into());
                }
                Err(error) => {
                    assert_eq!(decoder.decode(piece, &mut at), Err(error));
                    outcome.error = Some(error);
                    break 'pieces;
                }
            }
        }
        assert_eq!(at, piece.len());
    }
    outcome
}

fn whole(stream: &[u8]) -> Outcome {
    let outcome = decode([stream]);
    let bytewise = decode(stream.chunks(1));
    assert_eq!(outcome.frames, bytewise.frames, "byte by byte");
    assert_eq!(outcome.error, bytewise.error, "byte by byte");
    outcome
}

fn error(stream: &[u8]) -> Option<Error> {
    whole(stream).error
}

fn keep(id: u16, data: Option<u16>) -> Head {
    Head { id, status: Status::Keep, error: false, data }
}

/// Port, address type and address of v2ray-plugin's placeholder, 127.0.0.1 port 0.
const PLACEHOLDER: [u8; 7] = [0, 0, 1, 127, 0, 0, 1];

/// A head as it stands on the wire. `target` is port, address type and address, for a session that begins.
fn written(head: &Head, target: &[u8]) -> Vec<u8> {
    let (status, network) = match head.status {
        Status::New(Network::Tcp) => (1, Some(1)),
        Status::New(Network::Udp) => (1, Some(2)),
        Status::Keep => (2, None),
        Status::End => (3, None),
        Status::KeepAlive => (4, None),
    };
    let mut metadata = head.id.to_be_bytes().to_vec();
    metadata.extend([status, u8::from(head.data.is_some()) | (u8::from(head.error) << 1)]);
    if let Some(network) = network {
        metadata.push(network);
        metadata.extend(target);
    }
    let data = head.data.map(u16::to_be_bytes);
    [&(metadata.len() as u16).to_be_bytes()[..], &metadata, data.as_ref().map_or(&[], |data| data)].concat()
}

// === The encoder ===

#[test]
fn a_client_opens_its_session_with_the_first_data() {
    let mut encoder = Encoder::client(0x0102);
    let mut frame = [&[0xee; Encoder::HEAD][..], b"abc"].concat();
    let start = encoder.encode_in_place(&mut frame).unwrap();
    assert_eq!(frame[start..], *b"\x00\x0c\x01\x02\x01\x01\x01\x00\x00\x01\x7f\x00\x00\x01\x00\x03abc");
    let start = encoder.encode_in_place(&mut frame).unwrap();
    assert_eq!(frame[start..], *b"\x00\x04\x01\x02\x02\x01\x00\x03abc");
    assert_eq!(encoder.open(), None);
}

#[test]
fn a_client_can_open_its_session_without_data() {
    let mut encoder = Encoder::client(7);
    let open = encoder.open().unwrap();
    assert_eq!(open, *b"\x00\x0c\x00\x07\x01\x00\x01\x00\x00\x01\x7f\x00\x00\x01");
    let head = Head { id: 7, status: Status::New(Network::Tcp), error: false, data: None };
    assert_eq!(written(&head, &PLACEHOLDER), open);
    let mut frame = [0; Encoder::HEAD];
    assert_eq!(encoder.encode_in_place(&mut frame).unwrap(), Encoder::HEAD - 8);
}

#[test]
fn a_server_answers_in_the_session_it_is_given() {
    let mut frame = vec![9; Encoder::HEAD + Encoder::PAYLOAD];
    let start = Encoder::server(0xffff).encode_in_place(&mut frame).unwrap();
    assert_eq!(frame[start..start + 8], *b"\x00\x04\xff\xff\x02\x01\xff\xff");
    assert_eq!(frame[start + 8..], [9; Encoder::PAYLOAD]);
    for size in [0, Encoder::HEAD - 1, Encoder::HEAD + Encoder::PAYLOAD + 1] {
        let refused = Encoder::client(1).encode_in_place(&mut vec![0; size]);
        assert_eq!(refused, Err(FrameSizeError(size)));
    }
}

#[test]
fn frames_without_data_are_six_bytes() {
    assert_eq!(end(3, false), *b"\x00\x04\x00\x03\x03\x00");
    assert_eq!(end(3, true), *b"\x00\x04\x00\x03\x03\x02");
    assert_eq!(keep_alive(), *b"\x00\x04\x00\x00\x04\x00");
    let stream = [end(3, true), keep_alive()].concat();
    let outcome = whole(&stream);
    let status: Vec<_> = outcome.frames.iter().map(|(head, _)| &head.status).collect();
    assert_eq!(status, [&Status::End, &Status::KeepAlive]);
    assert!(outcome.frames[0].0.error);
}

// === What may come ===

#[test]
fn targets_of_every_type_are_read() {
    let domain = b"\x02\x9a\x02\x0bv1.mux.cool".to_vec();
    let longest = [&[2, 154, 2, 255][..], &[b'a'; 255]].concat();
    let literal = b"\0\0\x02\x05[::1]".to_vec();
    let ipv6 = [&[0, 80, 3][..], &[0; 16]].concat();
    for target in [PLACEHOLDER.to_vec(), ipv6, domain, longest, literal] {
        for (network, data) in [(Network::Tcp, Some(3)), (Network::Udp, None)] {
            let head = Head { id: 0, status: Status::New(network), error: false, data };
            let mut stream = written(&head, &target);
            stream.extend_from_slice(&b"abc"[..data.unwrap_or(0).into()]);
            let outcome = whole(&stream);
            assert_eq!(outcome.frames.len(), 1);
            assert_eq!(outcome.frames[0].0, head);
        }
    }
}

#[test]
fn the_first_frame_of_sing_box_is_read() {
    let stream = b"\x00\x14\x00\x00\x01\x01\x01\x02\x9a\x02\x0bv1.mux.cool\x00\x02hi";
    let outcome = whole(stream);
    let (head, data) = &outcome.frames[0];
    assert_eq!((head.id, head.data, &data[..]), (0, Some(2), &b"hi"[..]));
    assert_eq!(head.status, Status::New(Network::Tcp));
}

#[test]
fn metadata_that_mean_nothing_are_skipped() {
    // What xray adds for UDP: an id to a new session, an address to a packet.
    let stream = b"\x00\x14\x00\x01\x01\x01\x02\x00\x35\x01\x08\x08\x08\x08IDIDIDID\x00\x01a\
        \x00\x0c\x00\x01\x02\x01\x02\x00\x35\x01\x08\x08\x04\x04\x00\x01b";
    let outcome = whole(stream);
    let data: Vec<_> = outcome.frames.iter().map(|(_, data)| &data[..]).collect();
    assert_eq!(data, [b"a", b"b"]);
    assert_eq!(outcome.error, None);

    let mut longest = b"\x02\x00\x00\x01\x03\x00".to_vec();
    longest.resize(514, 0xff);
    assert_eq!(whole(&longest).frames[0].0.status, Status::End);
}

#[test]
fn option_bits_without_a_meaning_are_ignored() {
    let outcome = whole(b"\x00\x04\x00\x01\x02\xfd\x00\x01a");
    assert_eq!(outcome.frames, [(keep(1, Some(1)), b"a".to_vec())]);
    let outcome = whole(b"\x00\x04\x00\x01\x02\xfe");
    assert!(outcome.frames[0].0.error);
}

#[test]
fn data_may_be_empty_or_follow_any_status() {
    let stream = b"\x00\x04\x00\x01\x02\x01\x00\x00\x00\x04\x00\x01\x03\x01\x00\x01a\
        \x00\x04\x00\x00\x04\x01\x00\x02bc";
    let outcome = whole(stream);
    let data: Vec<_> = outcome.frames.iter().map(|(_, data)| &data[..]).collect();
    assert_eq!(data, [&b""[..], b"a", b"bc"]);
    assert_eq!(outcome.frames[0].0.data, Some(0));
}

#[test]
fn a_stream_that_ends_in_a_frame_is_known() {
    let stream = b"\x00\x04\x00\x01\x02\x01\x00\x03abc";
    for end in 0..=stream.len() {
        let outcome = decode([&stream[..end]]);
        assert_eq!(outcome.frames.len(), usize::from(end >= 8));
        assert_eq!(outcome.error, None);
    }
}

// === What may not ===

#[test]
fn metadata_of_impossible_lengths_are_refused() {
    for length in [0u16, 1, 2, 3, 513, 0xffff] {
        assert_eq!(error(&length.to_be_bytes()), Some(Error::MetadataLength(length.into())));
    }
}

#[test]
fn unknown_numbers_are_refused() {
    for status in [0, 5, 0xff] {
        assert_eq!(error(&[0, 4, 0, 1, status, 0]), Some(Error::Status(status)));
    }
    for network in [0, 3, 0xff] {
        let stream = [0, 12, 0, 1, 1, 0, network, 0, 0, 1, 127, 0, 0, 1];
        assert_eq!(error(&stream), Some(Error::Network(network)));
    }
    for kind in [0, 4, 0xff] {
        let stream = [0, 12, 0, 1, 1, 0, 1, 0, 0, kind, 127, 0, 0, 1];
        assert_eq!(error(&stream), Some(Error::AddressType(kind)));
    }
}

#[test]
fn targets_that_do_not_fit_are_refused() {
    let target = [1, 0, 0, 1, 127, 0, 0, 1];
    for length in 0..target.len() {
        let mut stream = vec![0, 4 + length as u8, 0, 1, 1, 0];
        stream.extend_from_slice(&target[..length]);
        // What follows is not part of it.
        stream.extend_from_slice(&[0; 16]);
        assert_eq!(decode([&stream[..]]).error, Some(Error::ShortTarget));
    }
    // With data: their length is not part of the metadata either.
    assert_eq!(error(b"\x00\x0a\x00\x01\x01\x01\x01\x00\x00\x01\x7f\x00\x00\x01"), Some(Error::ShortTarget));
    assert_eq!(error(b"\x00\x0a\x00\x01\x01\x00\x01\x00\x00\x02\x02a"), Some(Error::ShortTarget));
}

#[test]
fn names_that_are_none_are_refused() {
    for name in ["", "a b", "a/b", "\u{e9}", "a\0"] {
        let mut stream = vec![0, 9 + name.len() as u8, 0, 1, 1, 0, 1, 0, 0, 2];
        stream.push(name.len() as u8);
        stream.extend_from_slice(name.as_bytes());
        assert_eq!(error(&stream), Some(Error::Domain), "{name:?}");
    }
}

// === Detection ===

/// The answer, which no byte that comes later may change.
fn detect(stream: &[u8]) -> (IsMux, usize) {
    let answers: Vec<_> = (0..=stream.len()).map(|end| is_mux_stream(&stream[..end])).collect();
    let first = answers.iter().position(|answer| *answer != IsMux::NeedMore).unwrap_or(stream.len());
    assert!(answers[first..].iter().all(|answer| *answer == answers[first]));
    (answers[first], first)
}

#[test]
fn the_first_frames_of_all_clients_are_known() {
    let v2ray = Encoder::client(1).open().unwrap();
    assert_eq!(detect(&v2ray), (IsMux::Yes, 10));
    let mihomo = Encoder::client(0).open().unwrap();
    assert_eq!(detect(&mihomo), (IsMux::Yes, 10));
    let sing_box = b"\x00\x14\x00\x00\x01\x01\x01\x02\x9a\x02\x0bv1.mux.cool\x00\x02hi";
    assert_eq!(detect(sing_box), (IsMux::Yes, 11));
    let late = [&keep_alive()[..], &keep_alive(), &v2ray].concat();
    assert_eq!(detect(&late), (IsMux::Yes, 22));
}

#[test]
fn a_stream_is_refused_at_the_first_byte_that_does_not_fit() {
    let fits = *b"\x00\x0c\x00\x01\x01\x01\x01\x00\x00\x01\x7f\x00\x00\x01";
    for (position, byte) in [
        (0, 3),
        (1, 9),
        (1, 3),
        (4, 0),
        (4, 2),
        (4, 4),
        (5, 2),
        (5, 3),
        (6, 0),
        (6, 3),
        (9, 0),
        (9, 3),
        (9, 4),
    ] {
        let mut stream = fits;
        stream[position] = byte;
        assert_eq!(detect(&stream), (IsMux::No, position + 1), "byte {byte} at {position}");
    }
    // A keep-alive with data, and something else after one without.
    assert_eq!(detect(b"\x00\x04\x00\x00\x04\x01"), (IsMux::No, 6));
    assert_eq!(detect(b"\x00\x04\x00\x00\x04\x00\x80"), (IsMux::No, 7));
    // A name that the metadata have no room for, or that is empty.
    assert_eq!(detect(b"\x00\x0a\x00\x01\x01\x00\x01\x00\x00\x02\x02"), (IsMux::No, 11));
    assert_eq!(detect(b"\x00\x0a\x00\x01\x01\x00\x01\x00\x00\x02\x00"), (IsMux::No, 11));
    assert_eq!(detect(b"\x00\x0a\x00\x01\x01\x00\x01\x00\x00\x02\x01"), (IsMux::Yes, 11));
}

#[test]
fn the_probability_of_a_mistake_is_the_stated_one() {
    // Counted over the bytes that matter; the others (id and port) are free.
    let mut fitting = 0u64;
    for length in 0..=u16::MAX {
        let [high, low] = length.to_be_bytes();
        if is_mux_stream(&[high, low, 0, 0, 1, 0]) == IsMux::No {
            continue;
        }
        for kind in 0..=u8::MAX {
            for name in [0, 255, 128].into_iter().chain(1..128).chain(129..255) {
                let stream = [high, low, 0, 0, 1, 0, 1, 0, 0, kind, name];
                if is_mux_stream(&stream) == IsMux::Yes {
                    fitting += 1;
                } else if name == 255 && is_mux_stream(&stream[..10]) == IsMux::No {
                    break;
                }
            }
        }
    }
    assert_eq!(fitting, (501 + 489) * 256 + 95_880);
    let status_option_network = (1.0 / 256.0) * (2.0 / 256.0) * (2.0 / 256.0);
    let probability = fitting as f64 / 2f64.powi(32) * status_option_network;
    assert!((1.93e-11..1.95e-11).contains(&probability), "{probability}");
}

// === Any bytes at all ===

/// Port, address type and address.
fn target() -> impl Strategy<Value = Vec<u8>> {
    let address = prop_oneof![
        any::<[u8; 4]>().prop_map(|octets| [&[1][..], &octets].concat()),
        any::<[u8; 16]>().prop_map(|octets| [&[3][..], &octets].concat()),
        "[a-z0-9.-]{1,255}".prop_map(|name| [&[2, name.len() as u8][..], name.as_bytes()].concat()),
    ];
    (any::<[u8; 2]>(), address).prop_map(|(port, address)| [&port[..], &address].concat())
}

fn frame() -> impl Strategy<Value = (Head, Vec<u8>, Vec<u8>)> {
    let status = prop_oneof![
        Just(Status::New(Network::Tcp)),
        Just(Status::New(Network::Udp)),
        Just(Status::Keep),
        Just(Status::End),
        Just(Status::KeepAlive),
    ];
    let data = prop::option::of(prop::collection::vec(any::<u8>(), 0..300));
    (any::<u16>(), status, target(), any::<bool>(), data).prop_map(|(id, status, target, error, data)| {
        let head = Head { id, status, error, data: data.as_ref().map(|data| data.len() as u16) };
        (head, target, data.unwrap_or_default())
    })
}

fn stream(frames: &[(Head, Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    frames.iter().flat_map(|(head, target, data)| [written(head, target), data.clone()].concat()).collect()
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
    fn frames_survive_the_round_trip(
        frames in prop::collection::vec(frame(), 0..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let stream = stream(&frames);
        let outcome = whole(&stream);
        let read: Vec<_> = frames.into_iter().map(|(head, _, data)| (head, data)).collect();
        prop_assert_eq!(&outcome.frames, &read);
        prop_assert_eq!(outcome, decode(pieces(&stream, &cuts)));
    }

    #[test]
    fn the_cut_does_not_matter_where_bytes_are_wrong(
        frames in prop::collection::vec(frame(), 0..6),
        wrong in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let mut stream = stream(&frames);
        for (position, byte) in wrong {
            if !stream.is_empty() {
                let position = position.index(stream.len());
                stream[position] = byte;
            }
        }
        let outcome = whole(&stream);
        let cut = decode(pieces(&stream, &cuts));
        prop_assert_eq!((outcome.frames, outcome.error), (cut.frames, cut.error));
    }

    #[test]
    fn any_bytes_have_one_meaning(
        length in 0..520u16,
        bytes in prop::collection::vec(prop_oneof![0..6u8, any::<u8>()], 0..600),
    ) {
        let stream = [&length.to_be_bytes()[..], &bytes].concat();
        let outcome = whole(&stream);
        // What opens a session is taken for a mux stream, and nothing that is an error is.
        match (detect(&stream), outcome.frames.first()) {
            ((IsMux::Yes, _), Some((head, _))) => {
                prop_assert!(matches!(head.status, Status::New(_) | Status::KeepAlive));
            }
            ((IsMux::Yes, _), None) => {
                prop_assert!(matches!(outcome.error, None | Some(Error::Domain)));
            }
            ((IsMux::NeedMore, _), _) => prop_assert!(stream.len() < 11 || length == 4),
            ((IsMux::No, _), Some((head, _))) => {
                prop_assert!(!matches!(head.status, Status::New(_)) || head.error
                    || stream[5] > 3);
            }
            ((IsMux::No, _), None) => {}
        }
    }
}
