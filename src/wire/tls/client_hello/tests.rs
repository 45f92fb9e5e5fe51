use super::*;
use crate::wire::tls::record;
use proptest::prelude::*;
use rustls::pki_types::ServerName;
use std::sync::Arc;

/// The first flight of a rustls client.
fn hello(name: &str, alpn: &[&[u8]]) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// The same message in records of so many bytes at the most.
fn in_records_of(bytes: &[u8], most: usize) -> Vec<u8> {
    let record = |part: &[u8]| record(content_type::HANDSHAKE, 0x0301, part);
    bytes[RECORD_HEAD..].chunks(most).flat_map(record).collect()
}

#[test]
fn names_and_protocols_are_found() {
    let bytes = hello("www.example.com", &[b"h2", b"http/1.1"]);
    let body = body(&bytes).unwrap().expect("complete");
    assert!(matches!(body, Cow::Borrowed(_)), "one record is not copied");
    let hello = ClientHello::parse(&body).unwrap();
    assert_eq!(hello.server_name, Some(&b"www.example.com"[..]));
    assert!(hello.has_alpn() && hello.offers(b"h2") && hello.offers(b"http/1.1"));
    assert!(!hello.offers(b"http/1.0") && !hello.offers(b""));
}

#[test]
fn a_hello_may_lack_both() {
    let bytes = hello("192.0.2.1", &[]);
    let body = body(&bytes).unwrap().unwrap();
    let hello = ClientHello::parse(&body).unwrap();
    assert_eq!((hello.server_name, hello.has_alpn(), hello.offers(b"h2")), (None, false, false));
}

/// However much has come: nothing is read that the whole does not say.
#[test]
fn a_beginning_says_what_the_whole_says_or_less() {
    let bytes = hello("www.example.com", &[b"h2", b"http/1.1"]);
    let body = body(&bytes).unwrap().unwrap();
    let whole = ClientHello::parse(&body).unwrap();
    let (mut names, mut protocols) = (0, 0);
    for length in 0..=body.len() {
        let beginning = ClientHello::parse_beginning(&body[..length]);
        assert!(beginning.server_name.is_none_or(|name| Some(name) == whole.server_name), "{length}");
        assert!(beginning.alpn.is_none_or(|list| Some(list) == whole.alpn), "{length}");
        names += usize::from(beginning.server_name.is_some());
        protocols += usize::from(beginning.has_alpn());
    }
    assert!(names > 0 && protocols > 0, "the last has both");
}

#[test]
fn several_records_are_one_hello() {
    let bytes = hello("www.example.com", &[b"http/1.1"]);
    let whole = body(&bytes).unwrap().unwrap();
    for most in [4, 5, 7, 100, 200] {
        let cut = in_records_of(&bytes, most);
        assert_eq!(body(&cut).unwrap().as_deref(), Some(&*whole), "{most}");
    }
    // More records than anybody makes of it.
    assert_eq!(body(&in_records_of(&bytes, 1)), Err(NotAHello));
}

#[test]
fn what_is_no_hello_is_refused_at_once() {
    for bytes in [
        &b"G"[..],
        b"\x16\x02",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\x40\x01",
        b"\x16\x03\x01\x00\x05\x02",
        b"\x16\x03\x01\x00\x05\x01\x00\x40\x01",
        // A record that is longer than its message.
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x00",
    ] {
        assert_eq!(body(bytes), Err(NotAHello), "{bytes:?}");
    }
    for bytes in [&b""[..], b"\x16", b"\x16\x03\x01\x02", b"\x16\x03\x01\x02\x00\x01"] {
        assert_eq!(body(bytes), Ok(None), "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn every_cut_has_one_verdict(bytes in prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        (proptest::collection::vec(any::<u8>(), 0..200)).prop_map(|tail| [&b"\x16\x03\x01\x00\x60\x01\x00\x00\x5c"[..], &tail].concat()),
        (1..80_usize).prop_map(|most| in_records_of(&hello("a.example", &[b"h2"]), most.max(4))),
        (0..300_usize, any::<u8>()).prop_map(|(at, byte)| {
            let mut bytes = hello("a.example", &[b"h2"]);
            if let Some(spoilt) = bytes.get_mut(at) { *spoilt = byte; }
            bytes
        }),
    ]) {
        let whole = body(&bytes);
        let first = (0..=bytes.len()).map(|cut| body(&bytes[..cut])).find(|found| *found != Ok(None));
        prop_assert_eq!(first.unwrap_or(Ok(None)), whole.clone());
        if let Ok(Some(body)) = whole {
            // Whatever it holds, it is read to its end or refused.
            if let Some(hello) = ClientHello::parse(&body) {
                prop_assert!(hello.server_name.is_none_or(|name| !name.is_empty()));
            }
        }
    }

    #[test]
    fn any_body_is_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Some(hello) = ClientHello::parse(&body) {
            prop_assert_eq!(hello.offers(b"h2") && !hello.has_alpn(), false);
        }
    }
}
