//! The first datagrams of a QUIC client: each behind its length, as it comes, and as what its packet has inside.

use super::pieces::Numbers;
use obfs_rs::wire::Reader;
use obfs_rs::wire::quic::{FirstFlight, Header, LEAST_INITIAL, MOST_HELLO, Malformed, initial_suite};
use obfs_rs::wire::tls::{HelloBuilder, extension, list8, list16, server_name};
use rustls::Side;
use rustls::quic::Version;

/// The id that the client has chosen for the server, where it is made here.
const ID: &[u8] = b"destination";

/// What is known of a hello: its name, and whether it offers HTTP/3.
type Told = Option<(Option<Vec<u8>>, bool)>;

pub fn check(bytes: &[u8]) {
    let mut reader = Reader(bytes);
    let mut datagrams: Vec<&[u8]> = std::iter::from_fn(|| reader.vector16()).collect();
    datagrams.extend((!reader.is_empty()).then_some(reader.0));
    datagrams.truncate(16);
    as_they_come(&datagrams);
    as_payloads(&datagrams);
    written(bytes);
}

fn read<T: AsRef<[u8]>>(id: &[u8], datagrams: impl IntoIterator<Item = T>) -> Result<Told, Malformed> {
    let mut flight = FirstFlight::new(id);
    let told = |flight: &FirstFlight| -> Result<Told, Malformed> {
        Ok(flight.hello()?.map(|hello| (hello.server_name.map(<[u8]>::to_vec), hello.offers(b"h3"))))
    };
    for datagram in datagrams {
        let before = told(&flight);
        if !flight.take(datagram.as_ref())? {
            assert_eq!(told(&flight), before, "what is not opened says nothing");
        }
    }
    told(&flight)
}

fn as_they_come(datagrams: &[&[u8]]) {
    let heads = datagrams.iter().filter_map(|datagram| Header::parse(datagram));
    let ids = heads.filter_map(|head| match head {
        Header::Long(head) => Some(head.destination),
        _ => None,
    });
    for id in ids {
        assert!(id.len() <= 20);
        let _ = read(id, datagrams);
    }
}

/// Whatever the frames, the order of the datagrams makes no difference, nor does it that one comes twice.
fn as_payloads(payloads: &[&[u8]]) {
    let sealed = payloads.iter().enumerate().map(|(number, payload)| seal(number as u64, payload));
    let sealed: Vec<Vec<u8>> = sealed.collect();
    let told = read(ID, &sealed);
    let turned = read(ID, sealed.iter().rev());
    let twice = read(ID, sealed.iter().chain(&sealed));
    assert_eq!(told, twice);
    // (there may be more than one thing wrong, and a hello is looked at when all frames have come)
    assert_eq!(told.as_ref().ok(), turned.as_ref().ok());
}

/// An Initial packet with this payload.
fn seal(number: u64, payload: &[u8]) -> Vec<u8> {
    let keys = initial_suite().keys(ID, Side::Client, Version::V1).local;
    let payload = &payload[..payload.len().min(16 * 1024 - 20 - 4)];
    let mut sealed = payload.to_vec();
    let number = (number as u32).to_be_bytes();
    let length = 0x4000 | (number.len() + sealed.len() + 16) as u16;
    let id = [&[ID.len() as u8], ID].concat();
    let mut head = [&[0xc3, 0, 0, 0, 1][..], &id, &[0, 0], &length.to_be_bytes(), &number].concat();
    let tag = keys
        .packet
        .encrypt_in_place(u32::from_be_bytes(number).into(), &head, &mut sealed)
        .expect("a payload");
    sealed.extend_from_slice(tag.as_ref());
    let number_at = head.len() - number.len();
    let (first, rest) = head.split_first_mut().expect("a head");
    keys.header.encrypt_in_place(&sealed[..16], first, &mut rest[number_at - 1..]).expect("a sample");
    [head, sealed].concat()
}

/// A hello of our own with what the bytes say is read as it was written, in pieces of any length and in any order.
fn written(bytes: &[u8]) {
    let mut random = Numbers::new(bytes);
    let bytes = &bytes[..bytes.len().min(6 * 1024)];
    let (name, other) = bytes.split_at(random.below(bytes.len().min(256)));
    let protocols: &[&[u8]] = if random.below(2) == 0 { &[b"h3"] } else { &[b"h2", b"http/1.1"] };
    let mut built = HelloBuilder {
        record_version: 0x0301,
        version: 0x0303,
        random: [9; 32],
        session_id: Vec::new(),
        suites: vec![0x1301],
        compression: vec![0],
        extensions: vec![(extension::PADDING, other.to_vec())],
    };
    if !name.is_empty() {
        built = built.with(extension::SERVER_NAME, server_name(name));
    }
    built = built
        .with(extension::ALPN, list16(&protocols.iter().flat_map(|name| list8(name)).collect::<Vec<_>>()));
    let message = built.message();
    assert!(message.len() <= MOST_HELLO);
    let step = message.len().div_ceil(1 + random.below(12));
    let mut frames: Vec<Vec<u8>> = Vec::new();
    for (number, piece) in message.chunks(step).enumerate() {
        let varint = |number: usize| (0x8000_0000 | number as u32).to_be_bytes();
        let frame = [&[6][..], &varint(number * step), &varint(piece.len()), piece].concat();
        frames.insert(random.below(frames.len() + 1), frame);
    }
    let mut payloads: Vec<Vec<u8>> = Vec::new();
    for frame in frames {
        match payloads.last_mut() {
            Some(payload) if payload.len() < LEAST_INITIAL => payload.extend(frame),
            _ => payloads.push(frame),
        }
    }
    let datagrams = payloads.iter().enumerate().map(|(number, payload)| seal(number as u64, payload));
    let told = read(ID, datagrams).expect("a hello").expect("all of it");
    assert_eq!(told, (Some(name.to_vec()).filter(|name| !name.is_empty()), protocols.len() == 1));
}
