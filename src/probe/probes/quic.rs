//! QUIC and other datagrams at a UDP port: versions that nobody has, packets that belong to nothing, first flights,
//! spoilt or not, and whole handshakes.

use super::ProbeContext;
use crate::probe::hello;
use crate::probe::quic::seal::{SMALLEST, close, crypto, parameter, transport_parameters};
use crate::probe::quic_answer::{DRAFT_29, V1, V2};
use crate::probe::script::{Action, Datagrams, FirstFlight, Noise, OfferedName, Probe, QuicOffer, UdpVisit};
use crate::wire::tls::{HelloBuilder, extension, list8, list16, numbers, server_name};
use std::time::Duration;

use Action::{Pause, Send};

/// The name of the probe that asks the network about the port.
pub const PORT: &str = "whether something listens";

/// The name of the probe that offers what v2ray-plugin's client does, and the protocol that it gets.
pub const OF_V2RAY: &str = "handshake, ALPN h2 and http/1.1, as v2ray-plugin's";
pub const GRANTED: &str = "ALPN h2";

/// Systems tell once a second or so that a port is closed (RFC 1812 section 4.3.2.8).
const GAP: Duration = Duration::from_millis(1200);

/// The datagram of a whole packet on most networks: 1500 bytes without the heads of IPv6 and UDP.
const LARGE: usize = 1452;

/// A version that nobody has, and one that is there to be ignored (RFC 9000 section 15).
const UNKNOWN: u32 = 0x5051_5253;
const RESERVED: u32 = 0x1a2a_3a4a;

/// Extension of a hello (RFC 9001 section 8.2).
const TRANSPORT_PARAMETERS: u16 = 57;

pub fn all(context: &mut ProbeContext) -> Vec<Probe> {
    let mut all = handshakes();
    all.extend(versions(&mut context.noise));
    all.extend(packets(&mut context.noise));
    all.extend(strangers(&mut context.noise));
    all.extend(first_flights(context));
    all.extend(hellos(context));
    all
}

/// Whether something listens.
pub fn port() -> Probe {
    let byte = || Send(vec![0]);
    Probe::over_udp(PORT, UdpVisit::Port, vec![byte(), Pause(GAP), byte(), Pause(GAP), byte()])
}

/// What every website with HTTP/3 answers.
pub fn control() -> Probe {
    let offer = QuicOffer { brief: true, ..offer(&["h3"]) };
    Probe::over_udp("an ordinary handshake", UdpVisit::Handshake(offer), Vec::new())
}

fn offer(alpn: &[&'static str]) -> QuicOffer {
    QuicOffer { name: OfferedName::Own, alpn: alpn.to_vec(), brief: false }
}

/// Whole handshakes, and what the server says behind them.
fn handshakes() -> Vec<Probe> {
    let named = |name, alpn: &[&'static str]| QuicOffer { name, ..offer(alpn) };
    let of_v2ray = &["h2", "http/1.1"];
    [
        ("handshake", offer(&["h3"])),
        ("handshake without a server name", named(OfferedName::None, &["h3"])),
        ("handshake for a foreign name", named(OfferedName::Foreign, &["h3"])),
        (OF_V2RAY, offer(of_v2ray)),
        ("handshake for a foreign name, ALPN h2 and http/1.1", named(OfferedName::Foreign, of_v2ray)),
        ("handshake, ALPN http/1.1", offer(&["http/1.1"])),
        ("handshake, ALPN h3-29", offer(&["h3-29"])),
        ("handshake, ALPN h2 and h3", offer(&["h2", "h3"])),
        ("handshake, ALPN of no protocol", offer(&["nobody-speaks-this"])),
        ("handshake without ALPN", offer(&[])),
        ("handshake for a foreign name without ALPN", named(OfferedName::Foreign, &[])),
    ]
    .into_iter()
    .map(|(name, offer)| Probe::over_udp(name, UdpVisit::Handshake(offer), Vec::new()))
    .collect()
}

/// A packet with a long header whose rest is random.
struct Long {
    first: u8,
    version: u32,
    ids: [usize; 2],
    size: usize,
}

impl Long {
    fn new(version: u32) -> Long {
        Long { first: 0xc3, version, ids: [8, 8], size: SMALLEST }
    }

    fn probe(self, name: impl Into<String>, noise: &mut Noise) -> Probe {
        let [destination, source] = self.ids.map(|length| noise.bytes(length));
        let mut packet = vec![self.first];
        packet.extend(self.version.to_be_bytes());
        packet.extend(list8(&destination));
        packet.extend(list8(&source));
        // An Initial has a token, of no length, and a length.
        if self.version != 0 && self.first & 0x30 == 0 {
            packet.push(0);
        }
        let rest = self.size.saturating_sub(packet.len() + 2);
        packet.extend((rest as u16 | 0x4000).to_be_bytes());
        packet.extend(noise.bytes(rest));
        Probe::over_udp(name, UdpVisit::Datagrams(Datagrams { destination, source }), vec![Send(packet)])
    }
}

/// Versions that the server may not have, and what it has instead.
fn versions(noise: &mut Noise) -> Vec<Probe> {
    let unknown = || Long::new(UNKNOWN);
    [
        ("an unknown version", unknown()),
        ("an unknown version, without ids", Long { ids: [0, 0], ..unknown() }),
        ("an unknown version, ids of 20 bytes", Long { ids: [20, 20], ..unknown() }),
        ("an unknown version, ids of 255 bytes", Long { ids: [255, 255], ..unknown() }),
        ("an unknown version in 1199 bytes", Long { size: SMALLEST - 1, ..unknown() }),
        ("an unknown version in 100 bytes", Long { size: 100, ..unknown() }),
        ("an unknown version in 1452 bytes", Long { size: LARGE, ..unknown() }),
        ("an unknown version without the fixed bit", Long { first: 0x80, ..unknown() }),
        ("an unknown version of another type", Long { first: 0xe3, ..unknown() }),
        ("a reserved version", Long::new(RESERVED)),
        ("draft 29, not sealed", Long::new(DRAFT_29)),
        ("draft 34", Long::new(0xff00_0022)),
        ("version 2, not sealed", Long { first: 0xd3, ..Long::new(V2) }),
        ("Google's version Q046", Long::new(u32::from_be_bytes(*b"Q046"))),
        ("Google's version Q050", Long::new(u32::from_be_bytes(*b"Q050"))),
        ("a version negotiation", Long::new(0)),
    ]
    .into_iter()
    .map(|(name, long)| long.probe(name, noise))
    .collect()
}

/// Packets of connections that there are not.
fn packets(noise: &mut Noise) -> Vec<Probe> {
    let one = || Long::new(V1);
    let mut probes: Vec<_> = [
        ("an Initial, not sealed", one()),
        ("an Initial, not sealed, in 100 bytes", Long { size: 100, ..one() }),
        ("an Initial, not sealed, ids of 21 bytes", Long { ids: [21, 21], ..one() }),
        ("a 0-RTT packet", Long { first: 0xd3, ..one() }),
        ("a Handshake packet", Long { first: 0xe3, ..one() }),
        ("a Handshake packet in 100 bytes", Long { first: 0xe3, size: 100, ..one() }),
        ("a Retry", Long { first: 0xf3, size: 100, ..one() }),
    ]
    .into_iter()
    .map(|(name, long)| long.probe(name, noise))
    .collect();
    // A stateless reset is shorter than what it answers, and has 21 bytes or more (RFC 9000 section 10.3).
    for length in [20, 22, 43, 100, SMALLEST, LARGE] {
        let rest = noise.bytes(length - 1);
        probes.push(datagram(format!("a short packet of {length} bytes"), [&[0x43][..], &rest].concat()));
    }
    let half = Long::new(V1).probe("a long header, cut off", noise);
    let cut = half.steps.iter().map(|step| match step {
        Send(packet) => Send(packet.get(..12).unwrap_or_default().to_vec()),
        other => other.clone(),
    });
    probes.push(Probe { steps: cut.collect(), ..half });
    probes
}

/// A datagram of which nothing is repeated in an answer.
fn datagram(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Probe {
    Probe::over_udp(name, UdpVisit::Datagrams(Datagrams::default()), vec![Send(bytes.into())])
}

/// Random bytes, and what is spoken at other UDP ports.
fn strangers(noise: &mut Noise) -> Vec<Probe> {
    let mut probes = vec![datagram("an empty datagram", [])];
    for length in [1, 16, 50, 221, SMALLEST] {
        // Neither with a long header nor with a short one, which have probes of their own.
        let mut bytes = noise.bytes(length);
        bytes.iter_mut().take(1).for_each(|first| *first &= 0x3f);
        let plural = if length == 1 { "" } else { "s" };
        probes.push(datagram(format!("{length} random byte{plural}"), bytes));
    }
    let dns = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07version\x04bind\0\0\x10\0\x03";
    let ntp = [&[0x23][..], &[0; 47]].concat();
    let stun = [&b"\0\x01\0\0\x21\x12\xa4\x42"[..], &noise.bytes(12)].concat();
    let dtls = [&b"\x16\xfe\xff\0\0\0\0\0\0\0\0\0\x30"[..], &noise.bytes(48)].concat();
    let wireguard = [&[1, 0, 0, 0][..], &noise.bytes(144)].concat();
    let openvpn = [&[0x38][..], &noise.bytes(8), &[0, 0, 0, 0, 0]].concat();
    probes.extend([
        datagram("DNS", dns.to_vec()),
        datagram("NTP", ntp),
        datagram("STUN", stun),
        datagram("DTLS", dtls),
        datagram("WireGuard", wireguard),
        datagram("OpenVPN", openvpn),
        datagram("HTTP", "GET / HTTP/1.1\r\n\r\n"),
    ]);
    probes
}

/// A first flight in which nothing is wrong but what is changed of it.
fn flight(frames: Vec<Vec<u8>>) -> FirstFlight {
    FirstFlight {
        version: V1,
        id: 8,
        token: Vec::new(),
        datagrams: frames,
        size: SMALLEST,
        reserved: 0,
        broken: false,
    }
}

fn says(name: impl Into<String>, flight: FirstFlight) -> Probe {
    Probe::over_udp(name, UdpVisit::FirstFlight(flight), Vec::new())
}

/// The hello of a usual client of HTTP/3, which has no connection id.
fn usual(noise: &mut Noise, name: Option<&str>) -> HelloBuilder {
    let hello = hello::usual(noise, name);
    HelloBuilder { session_id: Vec::new(), suites: vec![0x1301, 0x1302, 0x1303], ..hello }
        .without(extension::EXTENDED_MASTER_SECRET)
        .without(extension::RENEGOTIATION_INFO)
        .without(extension::EC_POINT_FORMATS)
        .without(extension::SESSION_TICKET)
        .with(extension::ALPN, list16(&list8(b"h3")))
        .with(extension::SUPPORTED_VERSIONS, list8(&numbers(&[0x0304])))
        .with(TRANSPORT_PARAMETERS, transport_parameters(&[]))
}

/// What is wrong with the packets around a hello, or with the frames in its place.
fn first_flights(context: &mut ProbeContext) -> Vec<Probe> {
    let noise = &mut context.noise;
    let hello = usual(noise, context.server_name.as_deref()).message();
    // (with its protocol, too: of two things that are wrong, quic-go complains of either)
    let of_draft = usual(noise, context.server_name.as_deref());
    let of_draft =
        of_draft.with(extension::ALPN, list16(&[list8(b"h3"), list8(b"h3-29")].concat())).message();
    let token = noise.bytes(64);
    let garbage = noise.bytes(200);
    let (start, rest) = hello.split_at(hello.len() / 2);
    let at = start.len() as u64;
    let whole = || flight(vec![crypto(0, &hello)]);
    let only = |frames: &[u8]| flight(vec![frames.to_vec()]);
    let lie: Vec<u8> = rest.iter().map(|byte| !byte).collect();
    // A list of one that is longer than its extension: see `hello: bytes behind the extensions` of TLS.
    let unfinished = hello.get(..hello.len() - 1).unwrap_or_default();
    let mut too_long = hello.clone();
    if let [_, _, high, low, ..] = too_long.as_mut_slice() {
        [*high, *low] = (u16::from_be_bytes([*high, *low]) - 7).to_be_bytes();
    }
    vec![
        says("first flight", whole()),
        says("first flight of 1199 bytes", FirstFlight { size: SMALLEST - 1, ..whole() }),
        says("first flight, not filled up", FirstFlight { size: 0, ..whole() }),
        says("first flight of 1452 bytes", FirstFlight { size: LARGE, ..whole() }),
        says("first flight to an id of 7 bytes", FirstFlight { id: 7, ..whole() }),
        says("first flight to an id of 20 bytes", FirstFlight { id: 20, ..whole() }),
        says("first flight to an id of 21 bytes", FirstFlight { id: 21, ..whole() }),
        says("first flight with a token of nobody's", FirstFlight { token, ..whole() }),
        says("first flight with a broken seal", FirstFlight { broken: true, ..whole() }),
        says("first flight with reserved bits", FirstFlight { reserved: 3, ..whole() }),
        says("first flight of version 2", FirstFlight { version: V2, ..whole() }),
        says(
            "first flight of draft 29",
            FirstFlight { version: DRAFT_29, ..flight(vec![crypto(0, &of_draft)]) },
        ),
        says("hello in two datagrams", flight(vec![crypto(0, start), crypto(at, rest)])),
        says("hello in two datagrams, the second first", flight(vec![crypto(at, rest), crypto(0, start)])),
        says("hello in two frames, the second first", only(&[crypto(at, rest), crypto(0, start)].concat())),
        says("hello in frames that overlap", only(&[crypto(0, start), crypto(0, &hello)].concat())),
        says("hello in frames that contradict", only(&[crypto(at, &lie), crypto(0, &hello)].concat())),
        says("half a hello", only(&crypto(0, start))),
        says("the other half of a hello", only(&crypto(at, rest))),
        says("hello without its last byte", only(&crypto(0, unfinished))),
        says("hello: shorter than it is", only(&crypto(0, &too_long))),
        says("garbage in the place of a hello", only(&crypto(0, &garbage))),
        says("a Finished in the place of a hello", only(&crypto(0, &[20, 0, 0, 2, 0, 0]))),
        says("a piece of a hello far behind", only(&crypto(1 << 40, b"hello"))),
        says("no frames but padding", only(&[])),
        says("a PING alone", only(&[1])),
        says("an acknowledgement of nothing", only(&[2, 0, 0, 0, 0])),
        says("an end first", only(&close(0, false))),
        says("an end of the application's first", only(&close(0x100, true))),
        says("a stream first", only(b"\x0a\0\x05hello")),
        says("a frame of no type", only(&[0x3f, 1, 2, 3])),
        says("half a frame", FirstFlight { size: 0, ..only(&crypto(0, &hello)[..40]) }),
        says("hello, then a frame of no type", only(&[&crypto(0, &hello)[..], &[0x3f, 1, 2, 3]].concat())),
    ]
}

/// What is wrong with a hello.
fn hellos(context: &mut ProbeContext) -> Vec<Probe> {
    let name = context.server_name.clone();
    let noise = &mut context.noise;
    let mut usual = || usual(noise, name.as_deref());
    let named = |hello: HelloBuilder, name: &[u8]| hello.with(extension::SERVER_NAME, server_name(name));
    let with_alpn = |hello: HelloBuilder, name: &[u8]| hello.with(extension::ALPN, list16(&list8(name)));
    let tuned = |hello: HelloBuilder, more: Vec<u8>| {
        hello.with(TRANSPORT_PARAMETERS, [transport_parameters(&[]), more].concat())
    };
    let hellos = [
        ("no server name", usual().without(extension::SERVER_NAME)),
        ("a foreign server name", named(usual(), b"foreign.example")),
        ("an address as server name", named(usual(), b"192.0.2.1")),
        ("an empty server name", named(usual(), b"")),
        ("a NUL in the server name", named(usual(), b"a\0b.example")),
        ("ALPN h2", with_alpn(usual(), b"h2")),
        ("ALPN of no protocol", with_alpn(usual(), b"nobody-speaks-this")),
        ("an empty ALPN", usual().with(extension::ALPN, list16(b""))),
        ("no ALPN", usual().without(extension::ALPN)),
        ("no ALPN, a foreign server name", named(usual().without(extension::ALPN), b"foreign.example")),
        ("no transport parameters", usual().without(TRANSPORT_PARAMETERS)),
        ("transport parameters of a draft", {
            let hello = usual().without(TRANSPORT_PARAMETERS);
            hello.with(0xffa5, transport_parameters(&[]))
        }),
        ("half a transport parameter", tuned(usual(), vec![0x01, 0x04, 0x80])),
        ("a transport parameter twice", tuned(usual(), parameter(0x01, &[1]))),
        ("a server's transport parameter", tuned(usual(), parameter(0x02, &[7; 16]))),
        ("a transport parameter out of bounds", tuned(usual(), parameter(0x0a, &[0x3f]))),
        ("another id in the transport parameters", {
            usual().with(TRANSPORT_PARAMETERS, transport_parameters(b"another!"))
        }),
        ("TLS 1.2", usual().with(extension::SUPPORTED_VERSIONS, list8(&numbers(&[0x0303])))),
        ("TLS 1.2, a foreign server name", {
            let hello = usual().with(extension::SUPPORTED_VERSIONS, list8(&numbers(&[0x0303])));
            named(hello, b"foreign.example")
        }),
        ("a session id", HelloBuilder { session_id: vec![7; 32], ..usual() }),
        ("no common cipher suite", HelloBuilder { suites: vec![0x13ff], ..usual() }),
        ("no key share", usual().with(extension::KEY_SHARE, list16(&[]))),
        ("no signature algorithms", usual().without(extension::SIGNATURE_ALGORITHMS)),
        ("compression", HelloBuilder { compression: vec![1, 0], ..usual() }),
    ];
    let hellos = hellos.into_iter().map(|(name, hello)| (name, hello.message()));
    hellos.map(|(name, hello)| says(format!("hello: {name}"), flight(vec![crypto(0, &hello)]))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::quic_answer::{Packet, packets as read};

    /// rustls reads what is written here.
    #[test]
    fn a_usual_hello_is_one() {
        for name in [Some("www.example.com"), None] {
            let hello = usual(&mut Noise::new(1), name);
            let mut acceptor = rustls::server::Acceptor::default();
            acceptor.read_tls(&mut hello.record().as_slice()).unwrap();
            let accepted = acceptor.accept().map_err(|(error, _)| error).unwrap().unwrap();
            let read = accepted.client_hello();
            assert_eq!(read.server_name(), name);
            assert_eq!(read.alpn().unwrap().collect::<Vec<_>>(), [b"h3"]);
        }
    }

    #[test]
    fn long_headers_have_the_size_and_the_form_they_are_said_to_have() {
        for probe in versions(&mut Noise::new(1)) {
            let [Send(packet)] = &probe.steps[..] else { panic!("{}", probe.name) };
            let size = match probe.name.rsplit_once(" in ") {
                Some((_, size)) => size.trim_end_matches(" bytes").parse().unwrap(),
                None => SMALLEST,
            };
            assert_eq!(packet.len(), size, "{}", probe.name);
            assert_eq!(packet[0] & 0x80, 0x80);
        }
        for probe in packets(&mut Noise::new(1)) {
            let [Send(packet)] = &probe.steps[..] else { panic!("{}", probe.name) };
            let read = &read(packet)[0];
            let is_right = match probe.name.as_str() {
                "a Retry" => matches!(read, Packet::Retry { .. }),
                "a long header, cut off" => matches!(read, Packet::NotQuic(_)),
                name if name.starts_with("a short packet") => matches!(read, Packet::Short(_)),
                _ => matches!(read, Packet::Sealed(sealed) if sealed.bytes.len() == packet.len()),
            };
            assert!(is_right, "{}: {read:?}", probe.name);
        }
    }
}
