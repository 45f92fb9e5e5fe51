//! What the probe reads of a QUIC server's datagrams, sealed or opened, either of which may be hostile.

use super::pieces::Numbers;
use obfs_rs::probe::quic_answer::{
    Frame, Packet, PacketKind, TransportParameters, excerpt, frames, number, packets, settings,
    transport_parameters, versions,
};
use obfs_rs::wire::Reader;

pub fn check(bytes: &[u8]) {
    let mut numbers = Numbers::new(bytes);
    datagram(bytes);
    let at = numbers.below(bytes.len() + 1);
    behind_one_another(&bytes[..at], &bytes[at..]);
    said_by_a_server(bytes);
}

/// Packets stand one behind the other, and no byte counts twice.
fn datagram(bytes: &[u8]) {
    let packets = packets(bytes);
    assert_eq!(packets.is_empty(), bytes.is_empty());
    let mut used = 0;
    for (at, packet) in packets.iter().enumerate() {
        match packet {
            Packet::Sealed(sealed) => {
                assert!(sealed.number_at <= sealed.bytes.len());
                assert_eq!(sealed.bytes, &bytes[used..used + sealed.bytes.len()]);
                assert!(sealed.kind == PacketKind::Initial || !sealed.bytes.is_empty());
                used += sealed.bytes.len();
                continue;
            }
            Packet::VersionNegotiation { destination, source, versions: list } => {
                // Its parts are all there is of it.
                let parts = 1 + 4 + 1 + destination.len() + 1 + source.len() + 4 * list.len();
                assert_eq!(parts, bytes.len() - used);
                is_a_line(&versions(list));
                assert!(versions(list).len() < 300);
            }
            Packet::Retry { destination, source, token } => {
                assert_eq!(
                    1 + 4 + 1 + destination.len() + 1 + source.len() + token.len() + 16,
                    bytes.len() - used
                );
            }
            Packet::Short(rest) => assert_eq!(*rest, &bytes[used..]),
            Packet::NotQuic(rest) => assert_eq!((at, *rest), (0, bytes)),
            Packet::Foreign(version) => assert_eq!(bytes[used + 1..used + 5], version.to_be_bytes()),
        }
        assert_eq!(at + 1, packets.len(), "it goes to the end");
    }
}

/// The frames of two packets are those of both in one, if the first can be read to its end.
fn behind_one_another(first: &[u8], second: &[u8]) {
    let whole = [first, second].concat();
    let (all, before) = (frames(&whole), frames(first));
    assert!(all.len() <= whole.len());
    let has_an_end = before.iter().all(|frame| {
        // A stream, and a datagram, may go on to the end of the packet.
        !matches!(frame, Frame::Unreadable(_) | Frame::Stream { .. } | Frame::Other)
    });
    if has_an_end {
        assert_eq!(all, [before, frames(second)].concat());
    }
    let held: usize = all
        .iter()
        .map(|frame| match frame {
            Frame::Crypto { data, .. } | Frame::Stream { data, .. } => data.len(),
            Frame::Close(close) => {
                is_a_line(&close.to_string());
                close.reason.len()
            }
            Frame::Unreadable(_) => {
                assert_eq!(all.last(), Some(frame));
                0
            }
            _ => 0,
        })
        .sum();
    assert!(held <= whole.len());
}

fn said_by_a_server(bytes: &[u8]) {
    is_a_line(&excerpt(bytes));
    let mut reader = Reader(bytes);
    if let Some(number) = number(&mut reader) {
        assert!(number < 1 << 62);
        assert!([1, 2, 4, 8].contains(&(bytes.len() - reader.0.len())));
    }
    let TransportParameters { told, order } = transport_parameters(bytes).unwrap_or_default();
    assert!(told.len() == order.len() && told.len() <= bytes.len() / 2);
    told.iter().for_each(|line| is_a_line(line));
    if let Some(settings) = settings(bytes) {
        assert!(settings.len() <= bytes.len() / 2 && settings.is_sorted());
    }
}

/// Something that a report can show.
fn is_a_line(text: &str) {
    assert!(!text.is_empty() && !text.chars().any(char::is_control), "{text:?}");
}
