//! Mux.Cool against captured connections of v2ray-plugin 1.3.1, and of v2ray 4.45 in gRPC.

use std::collections::BTreeMap;

use obfs_rs::wire::grpc::{HunkDecoder, HunkEncoder, Method};
use obfs_rs::wire::mux::{self, Encoder, Head, IsMux, Network, Status, is_mux_stream};
use obfs_rs::wire::websocket::{self, Role};
use obfs_rs::wire::{Decoder as _, Step};
use proptest::prelude::*;
use proptest::sample::Index;

#[path = "vectors/v2ray.rs"]
mod v2ray;
use v2ray::{Capture, split_head};

/// What the two directions of a capture carry, without the frames around it: ours to read as a server, and as a client.
type Streams = fn(&Capture) -> [Vec<u8>; 2];

/// The captures of WebSocket with how many sessions each has. All sessions of a capture have the same payload.
fn in_websocket() -> [(Capture, u16); 2] {
    [
        (Capture::read(include_str!("vectors/v2ray-ws-mux1.json")), 1),
        (Capture::read(include_str!("vectors/v2ray-ws-mux4.json")), 3),
    ]
}

/// That of gRPC, with as many sessions.
fn in_grpc() -> (Capture, u16) {
    (Capture::read(include_str!("vectors/v2ray-grpc-mux.json")), 2)
}

/// All of them, and what takes off their frames.
fn all() -> Vec<(Capture, u16, Streams)> {
    let (grpc, count) = in_grpc();
    let [one, four] = in_websocket().map(|(capture, count)| (capture, count, streams as Streams));
    vec![one, four, (grpc, count, |capture| hunks(capture).map(|hunks| hunks.concat()))]
}

/// What is inside of the WebSocket frames that arrive in these pieces, piece by piece.
fn unframe<'a>(role: Role, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let mut decoder = websocket::Decoder::new(role);
    let mut inside = Vec::new();
    for piece in pieces {
        let mut input = piece.to_vec();
        let mut at = 0;
        while let Step::Payload(range) = decoder.decode(&mut input, &mut at).unwrap() {
            inside.push(input[range].to_vec());
        }
    }
    inside
}

/// The two directions of a capture without their WebSocket frames: ours to read as a server, and
/// as a client.
fn streams(capture: &Capture) -> [Vec<u8>; 2] {
    let (_, up) = split_head(&capture.wire.up);
    let (_, down) = split_head(&capture.wire.down);
    [unframe(Role::Server, [up]).concat(), unframe(Role::Client, [down]).concat()]
}

/// The DATA of an HTTP/2 connection with one stream (RFC 9113 section 4.1), frame by frame.
fn data_of(connection: &[u8]) -> Vec<&[u8]> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut rest = connection.strip_prefix(PREFACE).unwrap_or(connection);
    let mut found = Vec::new();
    while let [high, middle, low, kind, flags, _, _, _, _, after @ ..] = rest {
        let (payload, next) = after.split_at(u32::from_be_bytes([0, *high, *middle, *low]) as usize);
        if *kind == 0 {
            assert_eq!(flags & 0x8, 0, "padding");
            found.push(payload);
        }
        rest = next;
    }
    assert!(rest.is_empty());
    found
}

/// What is inside of the hunks that arrive in these pieces, piece by piece.
fn unhunk<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let mut decoder = HunkDecoder::new(Method::Tun);
    let mut inside = Vec::new();
    for piece in pieces {
        let mut input = piece.to_vec();
        let mut at = 0;
        while let Step::Payload(range) = decoder.decode(&mut input, &mut at).unwrap() {
            inside.push(input[range].to_vec());
        }
    }
    decoder.end().unwrap();
    inside
}

/// The hunks of both directions.
fn hunks(capture: &Capture) -> [Vec<Vec<u8>>; 2] {
    [&capture.wire.up, &capture.wire.down].map(|wire| {
        let data = data_of(wire).concat();
        unhunk([&data[..]])
    })
}

/// The frames of a stream that arrives in these pieces.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<(Head, Vec<u8>)> {
    let mut decoder = mux::Decoder::default();
    let mut frames: Vec<(Head, Vec<u8>)> = Vec::new();
    for piece in pieces {
        let mut at = 0;
        loop {
            match decoder.decode(piece, &mut at).unwrap() {
                Step::NeedMore => break,
                Step::Event(head) => frames.push((head, Vec::new())),
                Step::Payload(range) => {
                    let (head, data) = frames.last_mut().unwrap();
                    assert_eq!(head.id, decoder.session());
                    data.extend_from_slice(&piece[range]);
                }
            }
        }
        assert_eq!(at, piece.len());
    }
    frames
}

/// What each session had in it.
fn sessions(frames: &[(Head, Vec<u8>)]) -> BTreeMap<u16, Vec<u8>> {
    let mut sessions: BTreeMap<u16, Vec<u8>> = BTreeMap::new();
    for (head, data) in frames {
        assert_eq!(usize::from(head.data.unwrap_or(0)), data.len());
        sessions.entry(head.id).or_default().extend_from_slice(data);
    }
    sessions
}

#[test]
fn both_directions_decode_to_the_payload_of_each_session() {
    for (capture, count, streams) in all() {
        let [up, down] = streams(&capture);
        for (stream, payload) in [(up, &capture.payload.up), (down, &capture.payload.down)] {
            let frames = decode([&stream[..]]);
            let sessions = sessions(&frames);
            assert!(sessions.keys().copied().eq(1..=count));
            assert!(sessions.values().all(|data| data == payload));
            assert!(decode(stream.chunks(1)) == frames);
            assert!(decode(stream.chunks(1009)) == frames);
        }
    }
}

#[test]
fn sessions_begin_and_end_as_the_program_does_it() {
    for (capture, count, streams) in all() {
        let [up, down] = streams(&capture);
        let up = decode([&up[..]]);
        for id in 1..=count {
            let frames: Vec<_> = up.iter().filter(|(head, _)| head.id == id).collect();
            assert_eq!(frames[0].0.status, Status::New(Network::Tcp));
            assert_eq!(frames.last().unwrap().0.status, Status::End);
            for (head, _) in &frames[1..frames.len() - 1] {
                assert_eq!(head.status, Status::Keep);
            }
        }
        let down = decode([&down[..]]);
        // A server of 4.45 answers an end with one that says an error.
        let last = |head: &Head| head.status == Status::End && head.error;
        assert!(down.iter().all(|(head, _)| head.status == Status::Keep || last(head)));
    }
}

#[test]
fn every_cut_of_the_first_bytes_decodes_to_the_same() {
    for (capture, _, streams) in all() {
        for stream in streams(&capture) {
            // As far as the end of some frame: what comes later is not cut.
            let mut end = 0;
            for (head, data) in decode([&stream[..]]) {
                let metadata = u16::from_be_bytes([stream[end], stream[end + 1]]);
                let length = head.data.map_or(0, |_| 2);
                end += 2 + usize::from(metadata) + length + data.len();
                if end > 1600 {
                    break;
                }
            }
            let stream = &stream[..end];
            let frames = decode([stream]);
            for cut in 0..=1600 {
                let (first, second) = stream.split_at(cut);
                assert_eq!(decode([first, second]), frames, "cut at {cut}");
            }
        }
    }
}

#[test]
fn the_same_frames_are_written() {
    /// Where the port of the target is in a frame that begins a session.
    const PORT_AT: usize = 7;
    for (capture, _, streams) in all() {
        for mut stream in streams(&capture) {
            let mut written = Vec::new();
            let mut encoders = BTreeMap::new();
            for (head, data) in decode([&stream[..]]) {
                let new = matches!(head.status, Status::New(_));
                if new {
                    // v2ray names the target that it was given, at port 9; ours and v2ray-plugin port 0.
                    stream[written.len() + PORT_AT..][..2].fill(0);
                }
                let encoder = encoders.entry(head.id).or_insert_with(|| match new {
                    true => Encoder::client(head.id),
                    false => Encoder::server(head.id),
                });
                if head.status == Status::End {
                    written.extend_from_slice(&mux::end(head.id, head.error));
                } else if head.data.is_some() {
                    let mut frame = vec![0; Encoder::HEAD];
                    frame.extend_from_slice(&data);
                    let start = encoder.encode_in_place(&mut frame).unwrap();
                    written.extend_from_slice(&frame[start..]);
                } else {
                    written.extend_from_slice(&encoder.open().unwrap());
                }
            }
            assert!(written == stream);
        }
    }
}

#[test]
fn a_muxed_stream_is_told_from_a_bare_one() {
    for (capture, _, streams) in all() {
        let [up, _] = streams(&capture);
        for end in 0..10 {
            assert_eq!(is_mux_stream(&up[..end]), IsMux::NeedMore);
        }
        for end in 10..100 {
            assert_eq!(is_mux_stream(&up[..end]), IsMux::Yes);
        }
    }
    // The payloads are random bytes, as a Shadowsocks stream's are.
    let bare = Capture::read(include_str!("vectors/v2ray-ws.json"));
    for payload in [&bare.payload.up, &bare.payload.down] {
        for start in payload.windows(16) {
            assert_eq!(is_mux_stream(start), IsMux::No);
        }
    }
}

/// v2ray says a head and its data in hunks of their own, so what comes first may be a head alone: it is enough.
#[test]
fn the_first_hunk_is_a_whole_head() {
    let [up, down] = hunks(&in_grpc().0);
    assert_eq!(is_mux_stream(&up[0]), IsMux::Yes);
    for hunks in [up, down] {
        // (a frame's data may be several)
        let mut left = 0;
        for hunk in &hunks {
            if left > 0 {
                left -= hunk.len();
                continue;
            }
            let frames = decode([&hunk[..]]);
            assert_eq!(frames.len(), 1, "a head is cut, or not alone");
            left = frames[0].0.data.unwrap_or(0).into();
        }
        assert_eq!(left, 0);
    }
}

/// Ours make a hunk of a whole frame, and readers that look at the length of each find the same stream.
#[test]
fn frames_in_hunks_of_ours_are_read_as_theirs() {
    let (capture, _) = in_grpc();
    for stream in hunks(&capture).map(|hunks| hunks.concat()) {
        let mut written = Vec::new();
        let mut encoders = BTreeMap::new();
        for (head, data) in decode([&stream[..]]) {
            let encoder = encoders.entry(head.id).or_insert_with(|| Encoder::server(head.id));
            let mut frame = vec![0; HunkEncoder::HEAD + Encoder::HEAD];
            frame.extend_from_slice(&data);
            if head.status != Status::Keep || head.data.is_none() {
                continue;
            }
            let start = encoder.encode_in_place(&mut frame[HunkEncoder::HEAD..]).unwrap();
            let start = start + HunkEncoder::encode_in_place(&mut frame[start..]).unwrap();
            written.extend_from_slice(&frame[start..]);
        }
        let kept = |frames: Vec<(Head, Vec<u8>)>| -> Vec<_> {
            frames
                .into_iter()
                .filter(|(head, _)| head.status == Status::Keep && head.data.is_some())
                .collect()
        };
        let inside = unhunk(written.chunks(1009));
        assert!(kept(decode(inside.iter().map(Vec::as_slice))) == kept(decode([&stream[..]])));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Through both layers, cut on the wire.
    #[test]
    fn any_cuts_decode_to_the_payload(cuts in prop::collection::vec(any::<Index>(), 0..40)) {
        for (capture, count) in in_websocket() {
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
                let inside = unframe(role, pieces);
                let sessions = sessions(&decode(inside.iter().map(Vec::as_slice)));
                prop_assert_eq!(sessions.len(), usize::from(count));
                prop_assert!(sessions.values().all(|data| data == payload));
            }
        }
    }

    /// The same with HTTP/2 and gRPC around it.
    #[test]
    fn any_cuts_of_hunks_decode_to_the_payload(cuts in prop::collection::vec(any::<Index>(), 0..40)) {
        let (capture, count) = in_grpc();
        for (wire, payload) in [
            (&capture.wire.up, &capture.payload.up),
            (&capture.wire.down, &capture.payload.down),
        ] {
            let stream = data_of(wire).concat();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
            cuts.sort_unstable();
            cuts.push(stream.len());
            let mut start = 0;
            let pieces = cuts.iter().map(|&end| {
                let piece = &stream[start..end];
                start = end;
                piece
            });
            let inside = unhunk(pieces);
            let sessions = sessions(&decode(inside.iter().map(Vec::as_slice)));
            prop_assert_eq!(sessions.len(), usize::from(count));
            prop_assert!(sessions.values().all(|data| data == payload));
        }
    }
}
