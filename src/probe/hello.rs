//! The ClientHello of a visitor, which the probes spoil.

use super::script::Noise;
use crate::wire::tls::{HelloBuilder, extension, list8, list16, numbers, server_name};

/// What the hello of a usual program offers, TLS 1.3 first.
const SUITES: [u16; 13] =
    [0x1301, 0x1303, 0x1302, 0xc02b, 0xc02f, 0xcca9, 0xcca8, 0xc02c, 0xc030, 0xc013, 0xc014, 0x009c, 0x002f];

const X25519: u16 = 29;
const SECP256R1: u16 = 23;
const SECP384R1: u16 = 24;

/// A hello that every HTTPS server takes: TLS 1.3 or 1.2, HTTP/1.1.
pub fn usual(noise: &mut Noise, name: Option<&str>) -> HelloBuilder {
    // Any 32 bytes are a key of X25519 (RFC 7748 section 5).
    let share = noise.bytes(32);
    let mut extensions = Vec::new();
    if let Some(name) = name {
        extensions.push((extension::SERVER_NAME, server_name(name.as_bytes())));
    }
    extensions.extend([
        (extension::EXTENDED_MASTER_SECRET, Vec::new()),
        (extension::RENEGOTIATION_INFO, vec![0]),
        (extension::SUPPORTED_GROUPS, list16(&numbers(&[X25519, SECP256R1, SECP384R1]))),
        (extension::EC_POINT_FORMATS, vec![1, 0]),
        (extension::SESSION_TICKET, Vec::new()),
        (extension::ALPN, list16(&list8(b"http/1.1"))),
        (extension::STATUS_REQUEST, vec![1, 0, 0, 0, 0]),
        (
            extension::SIGNATURE_ALGORITHMS,
            list16(&numbers(&[0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601])),
        ),
        (extension::KEY_SHARE, list16(&[&numbers(&[X25519])[..], &list16(&share)].concat())),
        (extension::PSK_KEY_EXCHANGE_MODES, vec![1, 1]),
        (extension::SUPPORTED_VERSIONS, list8(&numbers(&[0x0304, 0x0303]))),
    ]);
    HelloBuilder {
        record_version: 0x0301,
        version: 0x0303,
        random: noise.array(),
        session_id: noise.bytes(32),
        suites: SUITES.to_vec(),
        compression: vec![0],
        extensions,
    }
}

/// The same hello of a program that knows no TLS 1.3, and no version above this one.
pub fn up_to(version: u16, hello: HelloBuilder) -> HelloBuilder {
    let mut hello = hello
        .without(extension::KEY_SHARE)
        .without(extension::PSK_KEY_EXCHANGE_MODES)
        .without(extension::SUPPORTED_VERSIONS);
    hello.suites.retain(|suite| suite >> 8 != 0x13);
    hello.version = version;
    hello.record_version = version.min(0x0301);
    hello
}

#[cfg(test)]
mod tests {
    use super::*;

    /// rustls reads what is written here.
    #[test]
    fn a_usual_hello_is_one() {
        for (name, version) in [(Some("www.example.com"), None), (None, None), (Some("a"), Some(0x0303))] {
            let mut hello = usual(&mut Noise::new(1), name);
            if let Some(version) = version {
                hello = up_to(version, hello);
            }
            let mut acceptor = rustls::server::Acceptor::default();
            acceptor.read_tls(&mut hello.record().as_slice()).unwrap();
            let accepted = acceptor.accept().map_err(|(error, _)| error).unwrap().unwrap();
            let read = accepted.client_hello();
            assert_eq!(read.server_name(), name);
            assert_eq!(read.alpn().unwrap().collect::<Vec<_>>(), [b"http/1.1"]);
            let newest = read.cipher_suites().contains(&rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
            assert_eq!(newest, version.is_none());
        }
    }
}
