//! The hello of real TLS, beside rustls.

use super::pieces::{Numbers, settled};
use obfs_rs::wire::tls::client_hello::{NotAHello, body};
use obfs_rs::wire::tls::{ClientHello, HelloBuilder, extension, list8, list16, numbers, record, server_name};
use rustls::server::Acceptor;

const PROTOCOLS: [&[u8]; 3] = [b"h2", b"http/1.1", b"http/1.0"];

pub fn check(bytes: &[u8]) {
    let (at, found) = settled(bytes, &Ok(None), body);
    match found {
        Ok(None) => assert!(bytes.len() < 64 * (5 + 16 * 1024)),
        Ok(Some(body)) => {
            assert!(body.len() <= 16 * 1024 && body.len() < bytes.len());
            hello(&bytes[..at], &body);
        }
        Err(NotAHello) => {}
    }
    // As what stands in an extension, and behind one.
    written(bytes);
}

/// What rustls takes is taken, with the same name and protocols.
fn hello(bytes: &[u8], body: &[u8]) {
    let ours = ClientHello::parse(body);
    if let Some(name) = ours.and_then(|hello| hello.server_name) {
        assert!(!name.is_empty() && body.windows(name.len()).any(|part| part == name));
    }
    let mut acceptor = Acceptor::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        if !matches!(acceptor.read_tls(&mut rest), Ok(1..)) {
            return;
        }
        // It asks for more than a hello has to have, so what it refuses may be taken here: it is an end of TLS, and
        // this is not.
        let Ok(accepted) = acceptor.accept() else { return };
        let Some(accepted) = accepted else { continue };
        let ours = ours.expect("rustls takes it");
        let theirs = accepted.client_hello();
        let offered: Option<Vec<&[u8]>> = theirs.alpn().map(Iterator::collect);
        assert_eq!(ours.has_alpn(), offered.is_some());
        for protocol in PROTOCOLS {
            assert_eq!(ours.offers(protocol), offered.as_ref().is_some_and(|list| list.contains(&protocol)));
        }
        let name = ours.server_name.map(<[u8]>::to_ascii_lowercase);
        // To it an address is no name, and it leaves out the dot at the end of one.
        if let Some(theirs) = theirs.server_name() {
            let name = name.as_deref().map(|name| name.strip_suffix(b".").unwrap_or(name));
            assert_eq!(name, Some(theirs.trim_end_matches('.').to_ascii_lowercase().as_bytes()));
        }
        return;
    }
}

/// A hello of our own with what the bytes say is read as it was written, in records of any length.
fn written(bytes: &[u8]) {
    let mut random = Numbers::new(bytes);
    let bytes = &bytes[..bytes.len().min(4096)];
    let (name, other) = bytes.split_at(random.below(bytes.len().min(256)));
    let listed: Vec<&[u8]> = PROTOCOLS.into_iter().filter(|_| random.below(2) == 0).collect();
    let mut built = HelloBuilder {
        record_version: 0x0301,
        version: 0x0303,
        random: [9; 32],
        session_id: bytes[..bytes.len().min(32)].to_vec(),
        suites: vec![0x1301, 0x1302],
        compression: vec![0],
        extensions: vec![(extension::SUPPORTED_GROUPS, numbers(&[0x1d]))],
    };
    if random.below(2) == 0 {
        built.suites.push(0x5600);
    }
    if !name.is_empty() {
        built = built.with(extension::SERVER_NAME, server_name(name));
    }
    if !listed.is_empty() {
        built = built
            .with(extension::ALPN, list16(&listed.iter().flat_map(|name| list8(name)).collect::<Vec<_>>()));
    }
    built = built.with(extension::PADDING, other.to_vec());
    let message = built.message();
    let pieces = message.chunks(message.len().div_ceil(1 + random.below(8)).max(4));
    let records: Vec<u8> = pieces.flat_map(|piece| record(22, 0x0301, piece)).collect();
    let (at, found) = settled(&records, &Ok(None), body);
    let found = found.expect("a hello").expect("all of it");
    assert_eq!((at, &*found), (records.len(), &message[4..]));
    let hello = ClientHello::parse(&found).expect("lengths that fit");
    assert_eq!(hello.server_name, Some(name).filter(|name| !name.is_empty()));
    assert_eq!(hello.is_fallback, built.suites.contains(&0x5600));
    assert_eq!(hello.has_alpn(), !listed.is_empty());
    assert!(PROTOCOLS.iter().all(|name| hello.offers(name) == listed.contains(name)));
}
