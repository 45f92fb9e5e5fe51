//! What a QUIC server says, as far as its bytes tell: packets (RFC 8999, RFC 9000 section 17, RFC 9369), frames
//! (section 19), transport parameters (section 18), and what HTTP/3 says first (RFC 9114 section 6.2.1).

use crate::wire::Reader;
use rustls::AlertDescription;
use std::fmt;

/// QUIC version 1 (RFC 9000).
pub const V1: u32 = 1;
/// QUIC version 2 (RFC 9369).
pub const V2: u32 = 0x6b33_43cf;
/// The last draft that was in wide use.
pub const DRAFT_29: u32 = 0xff00_001d;

/// Bytes of a Retry's integrity tag.
const RETRY_TAG: usize = 16;

/// A number of variable length (RFC 9000 section 16).
pub fn number(reader: &mut Reader<'_>) -> Option<u64> {
    let first = reader.u8()?;
    let rest = reader.take((1 << (first >> 6)) - 1)?;
    Some(rest.iter().fold(u64::from(first & 0x3f), |number, byte| number << 8 | u64::from(*byte)))
}

fn vector<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let length = number(reader)?;
    reader.take(usize::try_from(length).ok()?)
}

/// What a datagram can hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// The versions that the server takes instead.
    VersionNegotiation {
        /// The id of whom it is for.
        destination: &'a [u8],
        /// The id of whom it is from.
        source: &'a [u8],
        /// The versions in their order.
        versions: Vec<u32>,
    },
    /// The client is to come again and bring the token.
    Retry {
        /// The id of whom it is for.
        destination: &'a [u8],
        /// The id by which the server is called from now on.
        source: &'a [u8],
        /// What is to be brought.
        token: &'a [u8],
    },
    /// One that is sealed.
    Sealed(Sealed<'a>),
    /// One of a version that is not known here.
    Foreign(u32),
    /// One with a short header, up to the end of the datagram.
    Short(&'a [u8]),
    /// No packet.
    NotQuic(&'a [u8]),
}

/// A sealed packet with a long header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed<'a> {
    /// What it is for.
    pub kind: PacketKind,
    /// The version that it is written in.
    pub version: u32,
    /// The id of whom it is for.
    pub destination: &'a [u8],
    /// The id of whom it is from.
    pub source: &'a [u8],
    /// Where its number stands.
    pub number_at: usize,
    /// All of it.
    pub bytes: &'a [u8],
}

/// What a sealed packet with a long header is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketKind {
    /// The hellos.
    Initial,
    /// What a client says before it has heard anything.
    ZeroRtt,
    /// The rest of the handshake.
    Handshake,
}

/// What the two bits of a long header's type mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LongKind {
    Sealed(PacketKind),
    Retry,
}

impl LongKind {
    fn of(version: u32, first: u8) -> LongKind {
        let kinds = [
            LongKind::Sealed(PacketKind::Initial),
            LongKind::Sealed(PacketKind::ZeroRtt),
            LongKind::Sealed(PacketKind::Handshake),
            LongKind::Retry,
        ];
        // Version 2 counts from another place (RFC 9369 section 3.2).
        let from = if version == V2 { 3 } else { 0 };
        kinds[usize::from((first >> 4 & 3) + from) % 4]
    }
}

/// The packets of a datagram.
pub fn packets(datagram: &[u8]) -> Vec<Packet<'_>> {
    let (mut packets, mut rest) = (Vec::new(), datagram);
    while let [first, ..] = rest {
        let (packet, behind) = match first & 0xc0 {
            0x40 => (Packet::Short(rest), &[][..]),
            0 => (Packet::NotQuic(rest), &[][..]),
            _ => long(rest).unwrap_or((Packet::NotQuic(rest), &[])),
        };
        // Behind a packet a datagram may be filled up with anything.
        if packets.is_empty() || !matches!(packet, Packet::NotQuic(_)) {
            packets.push(packet);
        }
        rest = behind;
    }
    packets
}

/// A packet with a long header, and what is behind it.
fn long(bytes: &[u8]) -> Option<(Packet<'_>, &[u8])> {
    let mut reader = Reader(bytes);
    let first = reader.u8()?;
    let version = u32::from_be_bytes(reader.array()?);
    let (destination, source) = (reader.vector8()?, reader.vector8()?);
    let kind = match version {
        0 => {
            let (versions, []) = reader.0.as_chunks::<4>() else { return None };
            let versions = versions.iter().map(|version| u32::from_be_bytes(*version)).collect();
            return Some((Packet::VersionNegotiation { destination, source, versions }, &[]));
        }
        V1 | V2 | DRAFT_29 => LongKind::of(version, first),
        _ => return Some((Packet::Foreign(version), &[])),
    };
    let kind = match kind {
        LongKind::Sealed(kind) => kind,
        LongKind::Retry => {
            let token = reader.take(reader.0.len().checked_sub(RETRY_TAG)?)?;
            return Some((Packet::Retry { destination, source, token }, &[]));
        }
    };
    if kind == PacketKind::Initial {
        vector(&mut reader)?;
    }
    let length = number(&mut reader)?;
    let number_at = bytes.len() - reader.0.len();
    reader.take(usize::try_from(length).ok()?)?;
    let (bytes, behind) = bytes.split_at_checked(bytes.len() - reader.0.len())?;
    Some((Packet::Sealed(Sealed { kind, version, destination, source, number_at, bytes }), behind))
}

/// What a packet can hold, beside padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// It wants an acknowledgement.
    Ping,
    /// Packets have come.
    Ack,
    /// A piece of the TLS handshake.
    Crypto {
        /// Where it belongs.
        offset: u64,
        /// The piece.
        data: &'a [u8],
    },
    /// A token, for another connection.
    NewToken(&'a [u8]),
    /// A piece of a stream.
    Stream {
        /// Which stream.
        id: u64,
        /// Where it belongs.
        offset: u64,
        /// The piece.
        data: &'a [u8],
    },
    /// Another id for this connection, by its number.
    NewConnectionId(u64),
    /// The connection is over.
    Close(Close<'a>),
    /// The server has seen the client's end of the handshake.
    HandshakeDone,
    /// Another one.
    Other,
    /// One of a type that is not known here, or not all of one: nothing behind it can be read.
    Unreadable(u64),
}

/// Why a connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close<'a> {
    /// The reason's number.
    pub code: u64,
    /// It is the application's.
    pub by_application: bool,
    /// The reason in words.
    pub reason: &'a [u8],
}

impl Frame<'_> {
    /// Whether the peer wants to hear that it has come (RFC 9000 section 13.2).
    pub fn wants_ack(&self) -> bool {
        !matches!(self, Frame::Ack | Frame::Close(_))
    }
}

/// The frames of an opened packet.
pub fn frames(packet: &[u8]) -> Vec<Frame<'_>> {
    let (mut frames, mut reader) = (Vec::new(), Reader(packet));
    while let Some(&first) = reader.0.first() {
        let kind = number(&mut reader);
        match kind.and_then(|kind| frame(kind, &mut reader)) {
            Some(Some(frame)) => frames.push(frame),
            Some(None) => {}
            None => {
                frames.push(Frame::Unreadable(kind.unwrap_or(first.into())));
                break;
            }
        }
    }
    frames
}

/// What is behind a frame's type; nothing of padding.
fn frame<'a>(kind: u64, reader: &mut Reader<'a>) -> Option<Option<Frame<'a>>> {
    let numbers = |count: u64, reader: &mut Reader<'a>| (0..count).try_for_each(|_| number(reader).map(drop));
    Some(Some(match kind {
        0 => return Some(None),
        1 => Frame::Ping,
        2 | 3 => {
            numbers(2, reader)?;
            let ranges = number(reader)?;
            number(reader)?;
            numbers(ranges.checked_mul(2)?, reader)?;
            numbers(if kind == 3 { 3 } else { 0 }, reader)?;
            Frame::Ack
        }
        6 => Frame::Crypto { offset: number(reader)?, data: vector(reader)? },
        7 => Frame::NewToken(vector(reader)?),
        8..=0xf => {
            let id = number(reader)?;
            let offset = if kind & 4 == 0 { 0 } else { number(reader)? };
            let data = if kind & 2 == 0 { reader.take(reader.0.len())? } else { vector(reader)? };
            Frame::Stream { id, offset, data }
        }
        0x18 => {
            let sequence = number(reader)?;
            number(reader)?;
            reader.vector8()?;
            reader.take(16)?;
            Frame::NewConnectionId(sequence)
        }
        0x1c | 0x1d => {
            let code = number(reader)?;
            let by_application = kind == 0x1d;
            numbers(if by_application { 0 } else { 1 }, reader)?;
            Frame::Close(Close { code, by_application, reason: vector(reader)? })
        }
        0x1e => Frame::HandshakeDone,
        _ => {
            match kind {
                4 => numbers(3, reader)?,
                5 | 0x11 | 0x15 => numbers(2, reader)?,
                0x10 | 0x12..=0x14 | 0x16 | 0x17 | 0x19 => numbers(1, reader)?,
                0x1a | 0x1b => drop(reader.take(8)?),
                0x30 => drop(reader.take(reader.0.len())?),
                0x31 => drop(vector(reader)?),
                _ => return None,
            }
            Frame::Other
        }
    }))
}

/// The names of the transport's own reasons (RFC 9000 section 20.1).
const REASONS: [&str; 17] = [
    "NO_ERROR",
    "INTERNAL_ERROR",
    "CONNECTION_REFUSED",
    "FLOW_CONTROL_ERROR",
    "STREAM_LIMIT_ERROR",
    "STREAM_STATE_ERROR",
    "FINAL_SIZE_ERROR",
    "FRAME_ENCODING_ERROR",
    "TRANSPORT_PARAMETER_ERROR",
    "CONNECTION_ID_LIMIT_ERROR",
    "PROTOCOL_VIOLATION",
    "INVALID_TOKEN",
    "APPLICATION_ERROR",
    "CRYPTO_BUFFER_EXCEEDED",
    "KEY_UPDATE_ERROR",
    "AEAD_LIMIT_REACHED",
    "NO_VIABLE_PATH",
];

/// How much of a reason, or of other bytes, is shown.
const SHOWN: usize = 60;

impl fmt::Display for Close<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Close { code, by_application, reason } = *self;
        match code {
            _ if by_application => write!(f, "by the application, {code:#x}")?,
            // A TLS alert (RFC 9001 section 4.8).
            0x100..=0x1ff => write!(f, "alert {:?}", AlertDescription::from(code as u8))?,
            _ => match usize::try_from(code).ok().and_then(|code| REASONS.get(code)) {
                Some(name) => f.write_str(name)?,
                None => write!(f, "{code:#x}")?,
            },
        }
        if reason.is_empty() { Ok(()) } else { write!(f, " {}", excerpt(reason)) }
    }
}

/// The start of some bytes, to be read by people.
pub fn excerpt(bytes: &[u8]) -> String {
    match bytes.get(..SHOWN) {
        Some(start) if bytes.len() > SHOWN => format!("\"{}\"…", start.escape_ascii()),
        _ => format!("\"{}\"", bytes.escape_ascii()),
    }
}

/// How many versions are shown.
const VERSIONS_SHOWN: usize = 20;

/// Whether a version is one of those that are there to be ignored (RFC 9000 section 15).
pub fn is_reserved(version: u32) -> bool {
    version & 0x0f0f_0f0f == 0x0a0a_0a0a
}

/// The versions of a negotiation in their order. Of reserved ones, which are random, only that there are some.
pub fn versions(versions: &[u32]) -> String {
    let known: Vec<_> = versions.iter().filter(|version| !is_reserved(**version)).collect();
    let mut text: Vec<_> = known.iter().take(VERSIONS_SHOWN).map(|known| version(**known)).collect();
    if known.len() > VERSIONS_SHOWN {
        text.push(format!("{} more", known.len() - VERSIONS_SHOWN));
    }
    if known.len() < versions.len() {
        text.push("a reserved one".to_owned());
    }
    if text.is_empty() { "none".to_owned() } else { text.join(", ") }
}

/// A version as people call it.
pub fn version(version: u32) -> String {
    match version {
        V1 => "1".to_owned(),
        V2 => "2".to_owned(),
        0xff00_0001..=0xff00_00ff => format!("draft-{:02}", version & 0xff),
        // Google's own: a letter and three digits.
        _ => match version.to_be_bytes() {
            [letter, digits @ ..] if letter.is_ascii_uppercase() && digits.iter().all(u8::is_ascii_digit) => {
                format!("{}{}", char::from(letter), digits.escape_ascii())
            }
            _ => format!("{version:#010x}"),
        },
    }
}

/// Transport parameters that are numbers, by their ids (RFC 9000 section 18.2, RFC 9221).
const NUMBERS: [(u64, &str); 12] = [
    (0x01, "max_idle_timeout"),
    (0x03, "max_udp_payload_size"),
    (0x04, "initial_max_data"),
    (0x05, "initial_max_stream_data_bidi_local"),
    (0x06, "initial_max_stream_data_bidi_remote"),
    (0x07, "initial_max_stream_data_uni"),
    (0x08, "initial_max_streams_bidi"),
    (0x09, "initial_max_streams_uni"),
    (0x0a, "ack_delay_exponent"),
    (0x0b, "max_ack_delay"),
    (0x0e, "active_connection_id_limit"),
    (0x20, "max_datagram_frame_size"),
];

/// Those whose values are random, or another connection's: that they are there is told.
const RANDOM: [(u64, &str); 5] = [
    (0x00, "original_destination_connection_id"),
    (0x02, "stateless_reset_token"),
    (0x0d, "preferred_address"),
    (0x0f, "initial_source_connection_id"),
    (0x10, "retry_source_connection_id"),
];

/// How many bytes of a parameter's value are shown, and how many parameters.
const VALUE: usize = 16;
const PARAMETERS_SHOWN: usize = 40;

/// A server's transport parameters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TransportParameters {
    /// What tells servers apart, sorted by their ids.
    pub told: Vec<String>,
    /// The ids of all in the order in which they came, without reserved ones, which are random.
    pub order: Vec<u64>,
}

/// Reads transport parameters. `None`: they are none.
pub fn transport_parameters(bytes: &[u8]) -> Option<TransportParameters> {
    let (mut reader, mut all) = (Reader(bytes), Vec::new());
    while !reader.is_empty() {
        let (id, value) = (number(&mut reader)?, vector(&mut reader)?);
        if id % 31 != 27 {
            all.push((id, value));
        }
    }
    let order = all.iter().map(|(id, _)| *id).take(PARAMETERS_SHOWN).collect();
    all.sort_by_key(|(id, _)| *id);
    all.truncate(PARAMETERS_SHOWN);
    Some(TransportParameters {
        told: all.into_iter().map(|(id, value)| parameter(id, value)).collect(),
        order,
    })
}

fn parameter(id: u64, value: &[u8]) -> String {
    let find =
        |names: &[(u64, &'static str)]| names.iter().find(|(known, _)| *known == id).map(|(_, name)| *name);
    if let Some(name) = find(&RANDOM) {
        return name.to_owned();
    }
    let mut reader = Reader(value);
    if let (Some(name), Some(number), true) = (find(&NUMBERS), number(&mut reader), reader.is_empty()) {
        return format!("{name}={number}");
    }
    let name = if id == 0x0c { "disable_active_migration".to_owned() } else { format!("{id:#x}") };
    let value: String = value.iter().take(VALUE).map(|byte| format!("{byte:02x}")).collect();
    if value.is_empty() { name } else { format!("{name}={value}") }
}

/// What the stream begins with on which a server speaks of itself in HTTP/3: its settings, sorted, without reserved
/// ones, which are random. `None`: it is another stream, or they have not come.
pub fn settings(stream: &[u8]) -> Option<Vec<(u64, u64)>> {
    const CONTROL: u64 = 0;
    const SETTINGS: u64 = 4;
    let mut reader = Reader(stream);
    if number(&mut reader)? != CONTROL || number(&mut reader)? != SETTINGS {
        return None;
    }
    let (mut reader, mut settings) = (Reader(vector(&mut reader)?), Vec::new());
    while !reader.is_empty() {
        let (id, value) = (number(&mut reader)?, number(&mut reader)?);
        if id % 31 != 2 || id < 33 {
            settings.push((id, value));
        }
    }
    settings.sort_unstable();
    Some(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(datagram: &[u8]) -> Vec<Packet<'_>> {
        packets(datagram)
    }

    #[test]
    fn numbers_have_four_lengths() {
        // RFC 9000 appendix A.1
        for (bytes, value) in [
            (&b"\xc2\x19\x7c\x5e\xff\x14\xe8\x8c"[..], 151_288_809_941_952_652),
            (b"\x9d\x7f\x3e\x7d", 494_878_333),
            (b"\x7b\xbd", 15_293),
            (b"\x25", 37),
            (b"\x40\x25", 37),
        ] {
            let mut reader = Reader(bytes);
            assert_eq!((number(&mut reader), reader.is_empty()), (Some(value), true));
            assert_eq!(number(&mut Reader(&bytes[..bytes.len() - 1])), None);
        }
    }

    #[test]
    fn a_version_negotiation_lists_what_the_server_takes() {
        let bytes = b"\xf1\0\0\0\0\x02ab\x03xyz\0\0\0\x01\x6b\x33\x43\xcf\x1a\x2a\x3a\x4a\xff\0\0\x1dQ046";
        let [Packet::VersionNegotiation { destination: b"ab", source: b"xyz", versions: list }] =
            &all(bytes)[..]
        else {
            panic!("{:?}", all(bytes));
        };
        assert_eq!(versions(list), "1, 2, draft-29, Q046, a reserved one");
        assert_eq!(versions(&[]), "none");
        assert_eq!(versions(&[0x1a2a_3a4a]), "a reserved one");
        assert!(versions(&[7; 30]).ends_with("0x00000007, 10 more"));
        // Half a version.
        assert_eq!(all(&bytes[..bytes.len() - 1]), [Packet::NotQuic(&bytes[..bytes.len() - 1])]);
    }

    #[test]
    fn a_retry_is_all_but_its_tag() {
        let bytes = [b"\xf0\0\0\0\x01\x01a\x01btoken".as_slice(), &[9; RETRY_TAG]].concat();
        assert_eq!(all(&bytes), [Packet::Retry { destination: b"a", source: b"b", token: b"token" }]);
        // In version 2 the same bits say Handshake, and there are too few bytes for one.
        let second = [&[0xf0][..], &V2.to_be_bytes(), &bytes[5..]].concat();
        assert!(!matches!(all(&second)[..], [Packet::Retry { .. }]));
        let second = [&[0xc0][..], &V2.to_be_bytes(), &bytes[5..]].concat();
        assert!(matches!(all(&second)[..], [Packet::Retry { token: b"token", .. }]));
    }

    #[test]
    fn packets_of_a_datagram_are_told_apart_by_their_lengths() {
        let initial = b"\xc0\0\0\0\x01\x01a\x01b\x02tk\x04\x01\x02\x03\x04";
        let handshake = b"\xe0\0\0\0\x01\x01a\x01b\x40\x03\x01\x02\x03";
        let bytes = [&initial[..], handshake, b"\x40short"].concat();
        let [Packet::Sealed(first), Packet::Sealed(second), Packet::Short(b"\x40short")] = all(&bytes)[..]
        else {
            panic!("{:?}", all(&bytes));
        };
        assert_eq!((first.kind, first.number_at, first.bytes), (PacketKind::Initial, 13, &initial[..]));
        assert_eq!(
            (second.kind, second.number_at, second.bytes),
            (PacketKind::Handshake, 11, &handshake[..])
        );
        // What is no packet counts only where it stands first.
        assert_eq!(all(&[&initial[..], &[0; 9]].concat()).len(), 1);
        assert_eq!(all(&[0; 9]), [Packet::NotQuic(&[0; 9])]);
        assert_eq!(all(b"\xc0\0\0\0\x09\0\0more"), [Packet::Foreign(9)]);
        assert_eq!(all(b""), []);
    }

    #[test]
    fn frames_are_read_up_to_the_first_that_is_not_known() {
        let bytes = [
            &b"\0\0\x01"[..],
            b"\x02\x05\0\x01\x02\0\x01",
            b"\x03\x05\0\0\x02\x01\x01\x01",
            b"\x06\x40\x41\x02hi",
            b"\x07\x03abc",
            b"\x0e\x03\x01\x02yz\x10\x05\x18\x01\0\x02id0123456789abcdef\x1e",
            b"\x1c\x41\x78\x06\x02no",
            b"\x1d\x41\0\0",
            b"\x40\x7f\x01",
        ]
        .concat();
        let close = |code, by_application, reason| Frame::Close(Close { code, by_application, reason });
        assert_eq!(
            frames(&bytes),
            [
                Frame::Ping,
                Frame::Ack,
                Frame::Ack,
                Frame::Crypto { offset: 65, data: b"hi" },
                Frame::NewToken(b"abc"),
                Frame::Stream { id: 3, offset: 1, data: b"yz" },
                Frame::Other,
                Frame::NewConnectionId(1),
                Frame::HandshakeDone,
                close(0x178, false, b"no"),
                close(0x100, true, b""),
                Frame::Unreadable(0x7f),
            ]
        );
        // Half a type.
        assert_eq!(frames(b"\x01\x80\0\0"), [Frame::Ping, Frame::Unreadable(0x80)]);
        // Ranges that are not there do not take time.
        assert_eq!(frames(b"\x02\x05\0\xff\xff\xff\xff\xff\xff\xff\xff\0"), [Frame::Unreadable(2)]);
    }

    #[test]
    fn the_reason_of_an_end_is_told() {
        let told = |code, by_application, reason| Close { code, by_application, reason }.to_string();
        assert_eq!(told(0x178, false, b"tls: \n"), r#"alert NoApplicationProtocol "tls: \n""#);
        assert_eq!(told(10, false, b""), "PROTOCOL_VIOLATION");
        assert_eq!(told(99, false, b""), "0x63");
        assert_eq!(
            told(0x101, true, &[b'a'; 100]),
            format!("by the application, 0x101 \"{}\"…", "a".repeat(60))
        );
    }

    #[test]
    fn transport_parameters_are_told_without_what_is_random() {
        let bytes = b"\x04\x02\x40\x64\x01\x01\x1e\x02\x01x\x1b\x01y\x0c\0\x40\x40\x02ab\x03\x02\x07\x07";
        let read = transport_parameters(bytes).expect("parameters");
        let told = [
            "max_idle_timeout=30",
            "stateless_reset_token",
            "0x3=0707",
            "initial_max_data=100",
            "disable_active_migration",
            "0x40=6162",
        ];
        assert_eq!(read.told, told);
        assert_eq!(read.order, [4, 1, 2, 12, 64, 3]);
        assert_eq!(transport_parameters(&bytes[..2]), None);
        assert_eq!(transport_parameters(b""), Some(TransportParameters::default()));
    }

    #[test]
    fn settings_stand_on_the_control_stream() {
        // (0x21 is reserved)
        let stream = b"\0\x04\x08\x06\x40\x80\x01\0\x21\x07\x33more";
        assert_eq!(settings(b"\0\x04\x07\x06\x40\x80\x01\0\x21\x07more"), Some(vec![(1, 0), (6, 128)]));
        assert_eq!(settings(stream), None, "half a setting");
        assert_eq!(settings(b"\x02\x04\0"), None);
        assert_eq!(settings(b"\0\x04\x09"), None);
        assert_eq!(settings(b"\0\x04\0"), Some(Vec::new()));
    }
}
