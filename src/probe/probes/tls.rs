//! TLS at the port: hellos in every condition, records that should not come, and whole handshakes.

use super::ProbeContext;
use crate::probe::hello;
use crate::probe::script::{
    Action, Entry, Noise, Offer, OfferedName, Probe, says, says_and_ends, says_slowly,
};
use crate::wire::fake_tls;
use crate::wire::tls::{HelloBuilder, content_type, extension, list8, list16, numbers, record, server_name};
use std::time::Duration;

use Action::{Fin, Listen, Pause, Send};

/// What a visitor with TLS does at a port that speaks HTTP.
pub fn at_a_plain_port(context: &mut ProbeContext) -> Vec<Probe> {
    let hello = hello::usual(&mut context.noise, context.server_name.as_deref()).record();
    let half = hello.get(..hello.len() / 2).unwrap_or_default();
    vec![
        says("a TLS hello", &hello),
        says("half a TLS hello", half).patiently(),
        says_and_ends("half a TLS hello, then the end", half),
        says_and_ends("a TLS hello, then the end", &hello),
        says("simple-obfs's TLS hello, for a random name", of_simple_obfs(&mut context.noise)),
    ]
}

/// The look-alike of simple-obfs's client, whose session ticket is payload.
fn of_simple_obfs(noise: &mut Noise) -> Vec<u8> {
    let name = format!("{}.example", noise.word(9));
    let hello = fake_tls::SentHello { random: noise.array(), session_id: noise.array() };
    let mut bytes = Vec::new();
    // (short enough for a record, whatever the seed)
    let _ = hello.encode(&name, &noise.bytes(60), &mut bytes);
    bytes
}

/// Whole handshakes, with what they offer, and nothing behind.
pub fn handshakes() -> Vec<Probe> {
    let offer = Offer::usual();
    let named = |name| Offer { name, ..Offer::usual() };
    let with = |alpn: &[&'static str]| Offer { alpn: alpn.to_vec(), ..Offer::usual() };
    let offers = [
        ("handshake", offer.clone()),
        ("handshake without a server name", named(OfferedName::None)),
        ("handshake for a foreign name", named(OfferedName::Foreign)),
        ("handshake, ALPN h2", with(&["h2"])),
        ("handshake, ALPN h2 and http/1.1", with(&["h2", "http/1.1"])),
        ("handshake, ALPN http/1.0", with(&["http/1.0"])),
        ("handshake, ALPN of no protocol", with(&["nobody-speaks-this"])),
        ("handshake without ALPN", with(&[])),
        ("handshake of TLS 1.2", Offer { only_tls12: true, ..offer.clone() }),
        (
            "handshake of TLS 1.2, ALPN of no protocol",
            Offer { only_tls12: true, ..with(&["nobody-speaks-this"]) },
        ),
    ];
    let mut probes: Vec<_> = offers
        .into_iter()
        .map(|(name, offer)| Probe { entry: Entry::Handshake(offer), ..Probe::new(name, Vec::new()) })
        .collect();
    let foreign = "GET / HTTP/1.1\r\nHost: foreign.example\r\nConnection: close\r\n\r\n";
    probes.push(Probe {
        entry: Entry::Handshake(named(OfferedName::Foreign)),
        ..says("a foreign name in hello and request", foreign)
    });
    probes
}

/// Hellos, spoilt or not, as far as the server's first flight.
pub fn hellos(context: &mut ProbeContext) -> Vec<Probe> {
    let name = context.server_name.clone();
    let noise = &mut context.noise;
    let mut usual = || hello::usual(noise, name.as_deref());
    let named = |hello: HelloBuilder, name: &[u8]| hello.with(extension::SERVER_NAME, server_name(name));
    let tls12 = |hello| hello::up_to(0x0303, hello);
    // x25519 is offered and there is no key for it: the server asks for one (RFC 8446 section 4.1.4).
    let no_share = list16(&[]);
    let secp521r1 = list16(&numbers(&[25]));
    let hellos = [
        ("usual", usual()),
        ("no server name", usual().without(extension::SERVER_NAME)),
        ("a foreign server name", named(usual(), b"foreign.example")),
        ("a server name in capitals", named(usual(), b"FOREIGN.EXAMPLE")),
        ("an address as server name", named(usual(), b"192.0.2.1")),
        ("an empty server name", named(usual(), b"")),
        ("a NUL in the server name", named(usual(), b"a\0b.example")),
        ("ALPN h2", usual().with(extension::ALPN, list16(&list8(b"h2")))),
        ("ALPN of no protocol", usual().with(extension::ALPN, list16(&list8(b"nobody-speaks-this")))),
        ("an empty ALPN", usual().with(extension::ALPN, list16(b""))),
        ("TLS 1.2", tls12(usual())),
        ("TLS 1.2, no server name", tls12(usual()).without(extension::SERVER_NAME)),
        ("TLS 1.2, a foreign server name", named(tls12(usual()), b"foreign.example")),
        ("TLS 1.2, no extensions", HelloBuilder { extensions: Vec::new(), ..tls12(usual()) }),
        ("TLS 1.2, a fallback (RFC 7507)", {
            let hello = tls12(usual());
            HelloBuilder { suites: [&hello.suites[..], &[0x5600]].concat(), ..hello }
        }),
        ("TLS 1.2, RSA key exchange only", HelloBuilder { suites: vec![0x009c, 0x002f], ..tls12(usual()) }),
        ("TLS 1.1", hello::up_to(0x0302, usual())),
        ("TLS 1.0", hello::up_to(0x0301, usual())),
        ("SSL 3.0", HelloBuilder { extensions: Vec::new(), ..hello::up_to(0x0300, usual()) }),
        (
            "a version to come",
            usual().with(extension::SUPPORTED_VERSIONS, list8(&numbers(&[0x0305, 0x7f1c]))),
        ),
        ("no common cipher suite", HelloBuilder { suites: vec![0x13ff, 0xc0ff], ..usual() }),
        ("TLS 1.2, no common cipher suite", HelloBuilder { suites: vec![0x0001, 0x00ff], ..tls12(usual()) }),
        ("no cipher suites at all", HelloBuilder { suites: Vec::new(), ..usual() }),
        ("no key share", usual().with(extension::KEY_SHARE, no_share.clone())),
        ("no common group", {
            usual()
                .with(extension::SUPPORTED_GROUPS, list16(&numbers(&[0x7777])))
                .with(extension::KEY_SHARE, no_share.clone())
        }),
        (
            "only P-521",
            usual().with(extension::SUPPORTED_GROUPS, secp521r1).with(extension::KEY_SHARE, no_share),
        ),
        ("no signature algorithms", usual().without(extension::SIGNATURE_ALGORITHMS)),
        (
            "only SHA-1 signatures",
            usual().with(extension::SIGNATURE_ALGORITHMS, list16(&numbers(&[0x0201, 0x0203]))),
        ),
        ("compression and no null method", HelloBuilder { compression: vec![1], ..usual() }),
        ("a session id of 33 bytes", HelloBuilder { session_id: vec![7; 33], ..usual() }),
        ("no session id", HelloBuilder { session_id: Vec::new(), ..usual() }),
        ("an extension twice", {
            let mut hello = usual();
            hello.extensions.push((extension::EXTENDED_MASTER_SECRET, Vec::new()));
            hello
        }),
        ("an unknown extension", usual().with(0x6a6a, vec![0])),
        ("8 KB of padding", usual().with(extension::PADDING, vec![0; 8000])),
    ];
    let mut probes: Vec<_> =
        hellos.into_iter().map(|(name, hello)| says(format!("hello: {name}"), hello.record())).collect();
    probes.push(says("simple-obfs's TLS hello, for a random name", of_simple_obfs(noise)));
    probes
}

/// What is wrong with the records around a hello, and with what comes in its place or behind it.
pub fn records(context: &mut ProbeContext) -> Vec<Probe> {
    let usual = hello::usual(&mut context.noise, context.server_name.as_deref());
    let (message, whole) = (usual.message(), usual.record());
    let (first, second) = message.split_at(message.len() / 2);
    let (start, rest) = whole.split_at(whole.len() / 2);
    let (byte, behind) = whole.split_at(1);
    let handshake = |bytes: &[u8]| record(content_type::HANDSHAKE, 0x0301, bytes);
    let two = [handshake(first), handshake(second)].concat();
    // Says that it is longer, or shorter, than it is: the three bytes behind the type.
    let resized = |mut message: Vec<u8>, by: i16| {
        if let [_, _, high, low, ..] = message.as_mut_slice() {
            [*high, *low] = u16::from_be_bytes([*high, *low]).wrapping_add_signed(by).to_be_bytes();
        }
        handshake(&message)
    };
    let mut extensions_too_long = usual.clone().with(extension::SERVER_NAME, server_name(b"a.example"));
    extensions_too_long.extensions.push((extension::PADDING, Vec::new()));
    let mut extensions_too_long = extensions_too_long.record();
    if let Some(last) = extensions_too_long.last_mut() {
        *last = 200;
    }
    let close_notify = record(content_type::ALERT, 0x0301, &[1, 0]);
    let fatal = record(content_type::ALERT, 0x0301, &[2, 40]);
    let data = record(content_type::APPLICATION_DATA, 0x0303, &context.noise.bytes(64));
    let heartbeat = record(content_type::HEARTBEAT, 0x0302, &[1, 0x40, 0]);
    let garbage = context.noise.bytes(100);
    let after = |name: &str, bytes: &[u8]| {
        Probe::new(format!("hello, then {name}"), vec![Send(whole.clone()), Listen, Send(bytes.to_vec())])
    };
    let gap = Duration::from_millis(300);
    vec![
        says("hello in two records", &two),
        Probe::new("hello in two segments", vec![Send(start.to_vec()), Pause(gap), Send(rest.to_vec())]),
        Probe::new(
            "hello behind one byte of it",
            vec![Send(byte.to_vec()), Pause(gap), Send(behind.to_vec())],
        ),
        says_slowly("hello, eight bytes at a time", &whole, 8, Duration::from_millis(15)),
        says("half a hello", start).patiently(),
        says_and_ends("half a hello, then the end", start),
        says("one of two records of a hello", handshake(first)),
        says("a record's head", whole.get(..5).unwrap_or_default()).patiently(),
        says_and_ends("hello, then the end", &whole),
        says("hello: longer than its record", resized(message.clone(), 50)),
        says("hello: shorter than its record", resized(message.clone(), -50)),
        says("hello: an extension too long", extensions_too_long),
        says("hello: bytes behind the extensions", resized([&message[..], &[0; 4]].concat(), 4)),
        says("an empty hello", handshake(&[1, 0, 0, 0])),
        says("an empty handshake record", handshake(&[])),
        says("a record longer than the longest", [&[22, 3, 1, 0x48, 1][..], &[1; 2000]].concat()),
        says("a record of version 2.0", record(content_type::HANDSHAKE, 0x0200, &message)),
        says("a record of version 3.9", record(content_type::HANDSHAKE, 0x0309, &message)),
        says("a record of no type", record(99, 0x0301, &message)),
        says("a handshake message of no type", handshake(&[99, 0, 0, 2, 0, 0])),
        says("a ServerHello", handshake(&[&[2][..], message.get(1..).unwrap_or_default()].concat())),
        says("a Finished", handshake(&[20, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
        says("an SSL 2.0 hello", SSL2),
        says("close_notify first", &close_notify),
        says("a fatal alert first", &fatal),
        says("an alert that is too short", record(content_type::ALERT, 0x0301, &[2])),
        says("application data first", &data),
        says("ChangeCipherSpec first", record(content_type::CHANGE_CIPHER_SPEC, 0x0303, &[1])),
        says("a heartbeat first", &heartbeat),
        after("another hello", &whole),
        after("close_notify", &close_notify),
        after("a fatal alert", &fatal),
        after("application data", &data),
        after("a heartbeat", &heartbeat),
        after("garbage", &garbage),
        after("HTTP", b"GET / HTTP/1.1\r\n\r\n"),
        Probe::new("hello, then the end behind the answer", vec![Send(whole.clone()), Listen, Fin]),
    ]
}

/// TLS 1.0 in the hello of SSL 2.0, as programs sent it long ago (RFC 5246 appendix E.2).
const SSL2: [u8; 30] = [
    0x80, 0x1c, 1, 3, 1, 0, 3, 0, 0, 0, 16, 0, 0, 0x2f, // one suite, a challenge of 16 bytes
    9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 1, 2, 3, 4, 5, 6,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_hello_has_the_length_it_says() {
        assert_eq!(usize::from(SSL2[1]), SSL2.len() - 2);
        assert_eq!(2 + 9 + 3 + 16, SSL2.len());
    }

    #[test]
    fn the_look_alike_is_one_that_a_server_without_a_name_takes() {
        let hello = of_simple_obfs(&mut Noise::new(1));
        assert!(matches!(fake_tls::ReceivedHello::parse(&hello), Ok(Some(_))));
    }
}
