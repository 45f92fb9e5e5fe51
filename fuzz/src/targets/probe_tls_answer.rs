//! What the probe reads of a TLS server's answer, beside rustls; and the session id in the hello that it sent.

use super::pieces::Numbers;
use obfs_rs::probe::tls_answer::{Item, What, read, session_id_of};
use obfs_rs::wire::tls::{HelloBuilder, record};
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::sync::{Arc, LazyLock};

const HANDSHAKE: u8 = 22;

static CLIENT: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().expect("versions");
    Arc::new(config.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
});

pub fn check(bytes: &[u8]) {
    let mut numbers = Numbers::new(bytes);
    let answer = read(bytes, &[], usize::MAX);
    let items = &answer.items;
    assert!(items.len() <= bytes.len() / 4 + 1, "a message has a head of four bytes");
    let listed: usize = answer.style.clear.iter().chain(&answer.style.encrypted).sum();
    assert!(listed <= bytes.len());
    // A line of a report.
    for item in items {
        let shown = item.to_string();
        assert!(!shown.is_empty() && !shown.chars().any(char::is_control), "{shown:?}");
    }
    assert!(
        answer.to_string().len()
            <= items.iter().take(20).map(|item| item.to_string().len() + 2).sum::<usize>() + 30
    );
    // Handshake messages are the same in any records.
    let cut = cut_anew(bytes, &mut numbers);
    assert_eq!(&read(&cut, &[], usize::MAX).items, items);
    // Where a first flight ends, only how often what cannot be read is listed.
    let flight = read(bytes, &[], numbers.below(bytes.len() + 1));
    assert_eq!(flight.style, answer.style);
    assert_eq!(once(&flight.items), once(items));
    beside_rustls(bytes, items);
    session_id(bytes);
}

/// Items without those that say again what cannot be read.
fn once(items: &[Item]) -> Vec<&Item> {
    let mut once: Vec<&Item> = items.iter().collect();
    once.dedup_by(|one, other| one == other && matches!(one.what, What::Encrypted(_)));
    once
}

/// The same with its handshake messages in smaller records.
fn cut_anew(mut bytes: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut anew = Vec::new();
    while let &[kind, high, low, a, b, ref rest @ ..] = bytes {
        let Some((content, behind)) = rest.split_at_checked(u16::from_be_bytes([a, b]).into()) else { break };
        let whole = content.len().max(1);
        let most = if kind == HANDSHAKE { 1 + numbers.below(whole) } else { whole };
        // (of nothing there are no pieces)
        let pieces = content.chunks(most).chain(content.is_empty().then_some(content));
        anew.extend(pieces.flat_map(|piece| record(kind, u16::from_be_bytes([high, low]), piece)));
        bytes = behind;
    }
    [&anew, bytes].concat()
}

/// What a client of rustls is told, or takes for chosen, is among what is read.
fn beside_rustls(mut bytes: &[u8], items: &[Item]) {
    let name = ServerName::try_from("www.example.com").expect("a name");
    let mut client = ClientConnection::new(Arc::clone(&CLIENT), name).expect("a client");
    let mut ended = None;
    while ended.is_none() && matches!(client.read_tls(&mut bytes), Ok(1..)) {
        ended = client.process_new_packets().err();
    }
    if let Some(rustls::Error::AlertReceived(alert)) = ended {
        let is_told = |item: &Item| matches!(item.what, What::Alert(_, code) if code == u8::from(alert));
        assert!(items.iter().any(is_told), "{alert:?}, and {items:?}");
    }
    if let (Some(version), Some(suite)) = (client.protocol_version(), client.negotiated_cipher_suite()) {
        let (version, suite) = (u16::from(version), u16::from(suite.suite()));
        let is_chosen = |item: &Item| matches!(&item.what, What::Hello(hello) if (hello.version, hello.suite) == (version, suite));
        assert!(items.iter().any(is_chosen), "{version:x} {suite:x}, and {items:?}");
    }
}

fn session_id(bytes: &[u8]) {
    let id = session_id_of(bytes);
    if !id.is_empty() {
        assert!(id.len() <= 255 && bytes[44..].starts_with(id));
    }
    let id = &bytes[..bytes.len().min(32)];
    let hello = HelloBuilder {
        record_version: 0x0301,
        version: 0x0303,
        random: [9; 32],
        session_id: id.to_vec(),
        suites: vec![0x1301],
        compression: vec![0],
        extensions: Vec::new(),
    };
    assert_eq!(session_id_of(&record(HANDSHAKE, 0x0301, &hello.message())), id);
}
