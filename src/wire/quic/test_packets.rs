//! Packets of clients as the tests want them.

use super::initial_suite;
use crate::wire::tls::{HelloBuilder, extension, list8, list16, server_name};
use rustls::Side;
use rustls::quic::Version;

/// A hello, with the head of its message. The padding, which is in front of the protocols, makes it longer.
pub(crate) fn hello(name: &str, protocols: &[&[u8]], padding: usize) -> Vec<u8> {
    empty_hello()
        .with(extension::SERVER_NAME, server_name(name.as_bytes()))
        .with(extension::PADDING, vec![0; padding])
        .with(extension::ALPN, alpn(protocols))
        .message()
}

/// The same with these extensions behind the name and the protocols.
pub(crate) fn hello_with(name: &str, protocols: &[&[u8]], extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let hello = empty_hello()
        .with(extension::SERVER_NAME, server_name(name.as_bytes()))
        .with(extension::ALPN, alpn(protocols));
    extensions.iter().fold(hello, |hello, (kind, data)| hello.with(*kind, data.clone())).message()
}

fn empty_hello() -> HelloBuilder {
    HelloBuilder {
        record_version: 0x0301,
        version: 0x0303,
        random: [9; 32],
        session_id: Vec::new(),
        suites: vec![0x1301, 0x1302],
        compression: vec![0],
        extensions: Vec::new(),
    }
}

fn alpn(protocols: &[&[u8]]) -> Vec<u8> {
    list16(&protocols.iter().flat_map(|name| list8(name)).collect::<Vec<_>>())
}

/// A CRYPTO frame.
pub(crate) fn crypto(offset: usize, bytes: &[u8]) -> Vec<u8> {
    let number = |number: usize| (0x8000_0000 | number as u32).to_be_bytes();
    [&[6][..], &number(offset), &number(bytes.len()), bytes].concat()
}

/// An Initial packet with these frames, which is a datagram of its own, of 1200 bytes at least.
pub(crate) fn initial(destination: &[u8], number: u32, frames: &[u8]) -> Vec<u8> {
    let mut payload = frames.to_vec();
    payload.resize(payload.len().max(1168 - destination.len()), 0);
    packet(destination, 0xc3, number, &payload)
}

/// An Initial packet with this first byte and nothing but this payload.
pub(crate) fn packet(destination: &[u8], first: u8, number: u32, payload: &[u8]) -> Vec<u8> {
    const TAG: usize = 16;
    let keys = initial_suite().keys(destination, Side::Client, Version::V1).local;
    let id = [&[destination.len() as u8][..], destination].concat();
    let length = (0x4000 | (4 + payload.len() + TAG) as u16).to_be_bytes();
    let head = [&[first, 0, 0, 0, 1][..], &id, &[4], b"from", &[0], &length, &number.to_be_bytes()].concat();
    let mut sealed = payload.to_vec();
    let tag = keys.packet.encrypt_in_place(number.into(), &head, &mut sealed).unwrap();
    let mut packet = [&head, &sealed[..], tag.as_ref()].concat();
    let number_at = head.len() - 4;
    let (head, sealed) = packet.split_at_mut(head.len());
    let (first, rest) = head.split_first_mut().unwrap();
    keys.header.encrypt_in_place(&sealed[..16], first, &mut rest[number_at - 1..]).unwrap();
    packet
}

/// A first flight whose hello is cut there, the end of it first where `turned`.
pub(crate) fn flight(destination: &[u8], hello: &[u8], cut: usize, turned: bool) -> [Vec<u8>; 2] {
    let (first, second) = hello.split_at(cut);
    let mut frames = [crypto(0, first), crypto(cut, second)];
    if turned {
        frames.reverse();
    }
    [initial(destination, 0, &frames[0]), initial(destination, 1, &frames[1])]
}
