//! QUIC packets written, sealed and opened (RFC 9000 section 17, RFC 9001 section 5), and the frames that a client says.

use crate::probe::quic_answer::{DRAFT_29, PacketKind, Sealed, V1, V2};
use rustls::Side;
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::quic::{DirectionalKeys, Keys, Version};

/// Bytes of what seals a packet.
const TAG: usize = 16;

/// Bytes of a packet's number, as it is always written here.
const NUMBER: usize = 4;

/// The smallest datagram that a client begins with (RFC 9000 section 14.1).
pub const SMALLEST: usize = 1200;

/// Appends a number of variable length (RFC 9000 section 16), which has 62 bits.
pub fn put_number(out: &mut Vec<u8>, number: u64) {
    match number {
        0..0x40 => out.push(number as u8),
        0x40..0x4000 => out.extend((number as u16 | 0x4000).to_be_bytes()),
        0x4000..0x4000_0000 => out.extend((number as u32 | 0x8000_0000).to_be_bytes()),
        _ => out.extend((number | 0xc000_0000_0000_0000).to_be_bytes()),
    }
}

/// Appends bytes behind their length.
fn put_vector(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A CRYPTO frame.
pub fn crypto(offset: u64, data: &[u8]) -> Vec<u8> {
    let mut frame = vec![6];
    put_number(&mut frame, offset);
    put_vector(&mut frame, data);
    frame
}

/// A CONNECTION_CLOSE frame without a reason in words: the transport's, or the application's.
pub fn close(code: u64, by_application: bool) -> Vec<u8> {
    let mut frame = vec![0x1c];
    put_number(&mut frame, code);
    if by_application {
        frame[0] = 0x1d
    } else {
        frame.push(0)
    }
    frame.push(0);
    frame
}

/// A transport parameter.
pub fn parameter(id: u64, value: &[u8]) -> Vec<u8> {
    let mut parameter = Vec::new();
    put_number(&mut parameter, id);
    put_vector(&mut parameter, value);
    parameter
}

/// What a browser's transport parameters say, for a client with this id.
pub fn transport_parameters(source: &[u8]) -> Vec<u8> {
    let number = |id, value| {
        let mut bytes = Vec::new();
        put_number(&mut bytes, value);
        parameter(id, &bytes)
    };
    [
        number(0x01, 30_000),
        number(0x03, 1472),
        number(0x04, 1 << 20),
        number(0x05, 1 << 18),
        number(0x06, 1 << 18),
        number(0x07, 1 << 18),
        number(0x08, 100),
        number(0x09, 100),
        parameter(0x0f, source),
    ]
    .concat()
}

/// The head of a packet with a long header.
#[derive(Debug, Clone, Copy)]
pub struct LongHead<'a> {
    pub kind: PacketKind,
    pub version: u32,
    pub destination: &'a [u8],
    pub source: &'a [u8],
    /// What an Initial brings from a Retry.
    pub token: &'a [u8],
    /// The bits that have to be zero.
    pub reserved: u8,
}

impl LongHead<'_> {
    /// A packet with these frames, padded to this size. `None`: it would be too long.
    pub fn seal(&self, keys: &DirectionalKeys, number: u32, frames: &[u8], size: usize) -> Option<Vec<u8>> {
        let LongHead { kind, version, destination, source, token, reserved } = *self;
        let kind_bits = match kind {
            PacketKind::Initial => 0,
            PacketKind::ZeroRtt => 1,
            PacketKind::Handshake => 2,
        };
        // Version 2 counts from another place (RFC 9369 section 3.2).
        let kind_bits = if version == V2 { kind_bits + 1 } else { kind_bits };
        let mut out = vec![0xc0 | kind_bits << 4 | (reserved & 3) << 2 | (NUMBER as u8 - 1)];
        out.extend(version.to_be_bytes());
        for id in [destination, source] {
            out.push(u8::try_from(id.len()).ok()?);
            out.extend_from_slice(id);
        }
        if kind == PacketKind::Initial {
            put_vector(&mut out, token);
        }
        let length_at_least = NUMBER + frames.len() + TAG;
        let padding = size.saturating_sub(out.len() + 2 + length_at_least);
        let length = u16::try_from(length_at_least + padding).ok().filter(|length| *length < 0x4000)?;
        out.extend((length | 0x4000).to_be_bytes());
        seal(keys, out, number, frames, padding)
    }
}

/// A packet with a short header.
pub fn seal_short(keys: &DirectionalKeys, destination: &[u8], number: u32, frames: &[u8]) -> Option<Vec<u8>> {
    seal(keys, [&[0x43][..], destination].concat(), number, frames, 0)
}

fn seal(
    keys: &DirectionalKeys,
    head: Vec<u8>,
    number: u32,
    frames: &[u8],
    padding: usize,
) -> Option<Vec<u8>> {
    let number_at = head.len();
    let mut out = head;
    out.extend(number.to_be_bytes());
    let body_at = out.len();
    out.extend_from_slice(frames);
    out.resize(out.len() + padding, 0);
    let (head, body) = out.split_at_mut_checked(body_at)?;
    let tag = keys.packet.encrypt_in_place(number.into(), head, body).ok()?;
    out.extend_from_slice(tag.as_ref());
    let (first, number, sample) = parts(keys, &mut out, number_at)?;
    keys.header.encrypt_in_place(&sample, first, number).ok()?;
    Some(out)
}

/// The first byte of a packet, its number, and the sample that hides both (RFC 9001 section 5.4.2).
fn parts<'a>(
    keys: &DirectionalKeys,
    packet: &'a mut [u8],
    number_at: usize,
) -> Option<(&'a mut u8, &'a mut [u8], Vec<u8>)> {
    let sample = packet.get(number_at + NUMBER..)?.get(..keys.header.sample_len())?.to_vec();
    let (first, rest) = packet.split_first_mut()?;
    Some((first, rest.get_mut(number_at - 1..)?.get_mut(..NUMBER)?, sample))
}

/// Opens a packet: its number, and its frames. `expected` is the number behind the highest that has come.
pub fn open(
    keys: &DirectionalKeys,
    packet: &[u8],
    number_at: usize,
    expected: u64,
) -> Option<(u64, Vec<u8>)> {
    let mut bytes = packet.to_vec();
    let (first, number, sample) = parts(keys, &mut bytes, number_at)?;
    keys.header.decrypt_in_place(&sample, first, number).ok()?;
    let length = usize::from(*first & 3) + 1;
    let cut = number.get(..length)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let number = whole_number(cut, length, expected);
    let mut body = bytes.split_off(number_at + length);
    let length = keys.packet.decrypt_in_place(number, &bytes, &mut body).ok()?.len();
    body.truncate(length);
    Some((number, body))
}

/// The number of which so many bytes were sent: the nearest to what is expected (RFC 9000 appendix A.3).
fn whole_number(cut: u64, length: usize, expected: u64) -> u64 {
    let window = 1u64 << (8 * length);
    let near = expected & !(window - 1) | cut;
    if near + window / 2 <= expected {
        near + window
    } else if near > expected + window / 2 && near >= window {
        near - window
    } else {
        near
    }
}

/// The keys of the first packets, which follow from the id that a client calls the server by at first.
pub fn initial_keys(version: u32, id: &[u8]) -> Option<Keys> {
    let version = match version {
        V1 => Version::V1,
        V2 => Version::V2,
        DRAFT_29 => Version::V1Draft,
        _ => return None,
    };
    Some(TLS13_AES_128_GCM_SHA256.tls13()?.quic_suite()?.keys(id, Side::Client, version))
}

/// Opens one of the server's packets with a long header.
pub fn open_long(keys: &Keys, packet: &Sealed<'_>, expected: u64) -> Option<(u64, Vec<u8>)> {
    open(&keys.remote, packet.bytes, packet.number_at, expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::quic_answer::{Frame, Packet, frames, number, packets};
    use crate::wire::Reader;

    #[test]
    fn numbers_are_read_as_they_are_written() {
        for value in [0, 0x3f, 0x40, 0x3fff, 0x4000, 0x3fff_ffff, 0x4000_0000, (1 << 62) - 1] {
            let mut bytes = Vec::new();
            put_number(&mut bytes, value);
            let mut reader = Reader(&bytes);
            assert_eq!((number(&mut reader), reader.is_empty()), (Some(value), true));
        }
    }

    /// RFC 9000 appendix A.3 has an example.
    #[test]
    fn a_number_is_found_from_its_end() {
        assert_eq!(whole_number(0x9b32, 2, 0xa82f_30eb), 0xa82f_9b32);
        assert_eq!(whole_number(0, 1, 0), 0);
        assert_eq!(whole_number(0, 1, 0xff), 0x100);
        assert_eq!(whole_number(0xff, 1, 0x100), 0xff);
    }

    /// What is sealed for a server is opened with the server's keys, as another library has them.
    #[test]
    fn what_is_sealed_can_be_opened() {
        for version in [V1, V2, DRAFT_29] {
            let head = LongHead {
                kind: PacketKind::Initial,
                version,
                destination: b"8 bytes.",
                source: b"",
                token: b"token",
                reserved: 0,
            };
            let keys = initial_keys(version, head.destination).expect("keys");
            let said = [crypto(0, b"hello"), close(0x178, false)].concat();
            let packet = head.seal(&keys.local, 7, &said, SMALLEST).expect("a packet");
            assert_eq!(packet.len(), SMALLEST);
            let [Packet::Sealed(sealed)] = packets(&packet)[..] else { panic!("{:?}", packets(&packet)) };
            assert_eq!(
                (sealed.kind, sealed.destination, sealed.source),
                (head.kind, head.destination, head.source)
            );
            let (number, opened) = open(&keys.local, &packet, sealed.number_at, 0).expect("it opens");
            assert_eq!(number, 7);
            assert!(matches!(
                frames(&opened)[..],
                [Frame::Crypto { offset: 0, data: b"hello" }, Frame::Close(_)]
            ));
            // Not with the other direction's keys, nor if it was touched.
            assert!(open_long(&keys, &sealed, 0).is_none());
            let mut touched = packet.clone();
            touched[900] ^= 1;
            assert!(open(&keys.local, &touched, sealed.number_at, 0).is_none());
        }
        assert!(initial_keys(9, b"12345678").is_none());
    }

    /// RFC 9001 appendix A.3: a server's Initial, opened with the keys of its client.
    #[test]
    fn the_servers_initial_of_the_rfc_is_opened() {
        let hex = "cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a5816b6394100f37a1c69797554780bb3\
                   8cc5a99f5ede4cf73c3ec2493a1839b3dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84\
                   022f8ef4cdd93795d77d06edbb7aaf2f58891850abbdca3d20398c276456cbc42158407dd074ee";
        let packet: Vec<u8> = hex
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect();
        let keys = initial_keys(V1, b"\x83\x94\xc8\xf0\x3e\x51\x57\x08").expect("keys");
        let [Packet::Sealed(sealed)] = packets(&packet)[..] else { panic!("no packet") };
        let (number, opened) = open_long(&keys, &sealed, 0).expect("it opens");
        assert_eq!(number, 1);
        assert!(matches!(frames(&opened)[..], [Frame::Ack, Frame::Crypto { offset: 0, data: [2, ..] }]));
    }
}
