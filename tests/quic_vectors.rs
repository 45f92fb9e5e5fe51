//! The first flights of real QUIC clients.

#![cfg(feature = "quic")]

use obfs_rs::wire::quic::{FirstFlight, Header, PacketKind};
use serde_json::Value;

struct Client {
    name: String,
    datagrams: Vec<Vec<u8>>,
    server_name: String,
    protocols: Vec<String>,
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

fn bytes(hex: &Value) -> Vec<u8> {
    let (digits, rest) = hex.as_str().expect("digits").as_bytes().as_chunks::<2>();
    assert!(rest.is_empty());
    digits.iter().map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn clients() -> Vec<Client> {
    let json: Value = serde_json::from_str(include_str!("vectors/quic-initials.json")).expect("JSON");
    let list = |value: &Value| value.as_array().expect("a list").clone();
    let client = |client: &Value| Client {
        name: text(&client["client"]),
        datagrams: list(&client["datagrams_hex"]).iter().map(bytes).collect(),
        server_name: text(&client["server_name"]),
        protocols: list(&client["alpn"]).iter().map(text).collect(),
    };
    list(&json["clients"]).iter().map(client).collect()
}

fn destination(datagram: &[u8]) -> &[u8] {
    match Header::parse(datagram) {
        Some(Header::Long(head)) if head.kind == PacketKind::Initial && head.is_fixed => head.destination,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_hello_is_read_in_whatever_order_its_datagrams_come() {
    let clients = clients();
    assert!(clients.iter().any(|client| client.datagrams.len() > 1));
    for client in clients {
        let turned: Vec<_> = client.datagrams.iter().rev().cloned().collect();
        for datagrams in [&client.datagrams, &turned] {
            let name = &client.name;
            let mut flight = FirstFlight::new(destination(&datagrams[0]));
            for datagram in datagrams {
                assert_eq!(flight.hello(), Ok(None), "{name}");
                assert_eq!(flight.take(datagram), Ok(true), "{name}");
            }
            let hello = flight.hello().expect("a hello").expect("all of it");
            assert_eq!(hello.server_name, Some(client.server_name.as_bytes()), "{name}");
            for protocol in ["h2", "http/1.1", "h3"] {
                let is_offered = client.protocols.iter().any(|offered| offered == protocol);
                assert_eq!(hello.offers(protocol.as_bytes()), is_offered, "{name}: {protocol}");
            }
        }
    }
}

/// A bit that is another, wherever it is in the packet: it is not opened, and nothing of it is believed. (What some
/// append to fill the datagram is no part of it.)
#[test]
fn a_packet_that_was_changed_says_nothing() {
    for client in clients() {
        let datagram = &client.datagrams[0];
        let id = destination(datagram);
        for at in (0..500).step_by(43) {
            let mut changed = datagram.clone();
            changed[at] ^= 0x20;
            let mut flight = FirstFlight::new(id);
            assert_eq!(flight.take(&changed), Ok(false), "{} at {at}", client.name);
        }
    }
}
