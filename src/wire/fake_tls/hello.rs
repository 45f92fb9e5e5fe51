//! The ClientHello as it is written. Its session ticket is the first payload.

use crate::wire::tls::{HelloBuilder, MESSAGE_HEAD, RECORD_HEAD, extension, server_name};

/// Bytes of a session id.
pub(super) const SESSION_ID: usize = 32;

/// The versions of the record and of the message: TLS 1.0 outside, TLS 1.2 inside.
pub(super) const RECORD_VERSION: u16 = 0x0301;
pub(super) const CLIENT_VERSION: u16 = 0x0303;

/// What OpenSSL 1.1.0 offers.
pub(super) const SUITES: [u16; 28] = [
    0xc02c, 0xc030, 0x009f, 0xcca9, 0xcca8, 0xccaa, 0xc02b, 0xc02f, 0x009e, 0xc024, 0xc028, 0x006b, 0xc023,
    0xc027, 0x0067, 0xc00a, 0xc014, 0x0039, 0xc009, 0xc013, 0x0033, 0x009d, 0x009c, 0x003d, 0x003c, 0x0035,
    0x002f, 0x00ff,
];

/// The one compression method, null.
pub(super) const COMPRESSION: [u8; 1] = [0];

/// The extensions behind the server name, with their bodies.
const OTHER_EXTENSIONS: [(u16, &[u8]); 5] = [
    // ansiX962 compressed prime, uncompressed, compressed char2
    (extension::EC_POINT_FORMATS, &[3, 1, 0, 2]),
    // x25519, secp256r1, secp521r1, secp384r1
    (extension::SUPPORTED_GROUPS, &[0, 8, 0, 0x1d, 0, 0x17, 0, 0x19, 0, 0x18]),
    // SHA-512, -384, -256, -224, -1, each with RSA, DSA and ECDSA
    (
        extension::SIGNATURE_ALGORITHMS,
        &[0, 30, 6, 1, 6, 2, 6, 3, 5, 1, 5, 2, 5, 3, 4, 1, 4, 2, 4, 3, 3, 1, 3, 2, 3, 3, 2, 1, 2, 2, 2, 3],
    ),
    (extension::ENCRYPT_THEN_MAC, &[]),
    (extension::EXTENDED_MASTER_SECRET, &[]),
];

/// Bytes of these extensions.
const OTHER_EXTENSIONS_LEN: usize = {
    let (mut sum, mut at) = (0, 0);
    while at < OTHER_EXTENSIONS.len() {
        sum += EXTENSION_HEAD + OTHER_EXTENSIONS[at].1.len();
        at += 1;
    }
    sum
};

/// Bytes of the suites and the compression methods, with their lengths.
pub(super) const SUITES_AND_COMPRESSION: usize = 2 + 2 * SUITES.len() + 1 + COMPRESSION.len();
/// Bytes of the message's body in front of its extensions, whose own length included.
pub(super) const BEFORE_EXTENSIONS: usize = 2 + 32 + 1 + SESSION_ID + SUITES_AND_COMPRESSION + 2;
/// Bytes of an extension's head: type and length.
pub(super) const EXTENSION_HEAD: usize = 4;
/// Bytes of a server name extension's body in front of its name: length of the list, type and
/// length of the name.
pub(super) const NAME_HEAD: usize = 2 + 1 + 2;

/// A new random for a hello, at `now` seconds since 1970: the first four of its bytes are a clock (RFC 5246
/// section 7.4.1.2).
pub fn random(rng: &mut impl rand::Rng, now: u64) -> [u8; 32] {
    let mut random = [0; 32];
    rng.fill_bytes(&mut random);
    // The field has four bytes; in 2106 every implementation starts again at 0.
    random[..4].copy_from_slice(&(now as u32).to_be_bytes());
    random
}

/// A hello to be sent: what is random in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentHello {
    /// The [random].
    pub random: [u8; 32],
    /// The session to be resumed, random too. The server echoes it.
    pub session_id: [u8; 32],
}

impl SentHello {
    /// Bytes of a hello besides its server name and its first payload.
    pub const OVERHEAD: usize = RECORD_HEAD
        + MESSAGE_HEAD
        + BEFORE_EXTENSIONS
        + EXTENSION_HEAD
        + EXTENSION_HEAD
        + NAME_HEAD
        + OTHER_EXTENSIONS_LEN;

    /// Those of them that stand behind the first payload.
    pub const OVERHEAD_BEHIND_TICKET: usize = EXTENSION_HEAD + NAME_HEAD + OTHER_EXTENSIONS_LEN;

    /// The longest hello, in bytes, that simple-obfs's server (0.0.5) holds; it damages the first
    /// payload of a longer one.
    ///
    /// It also damages it when the hello comes in pieces and the last cut is behind the ticket.
    pub const SIMPLE_OBFS_LIMIT: usize = 16_384;

    /// A new one, at `now` seconds since 1970.
    pub fn new(rng: &mut impl rand::Rng, now: u64) -> Self {
        let mut session_id = [0; SESSION_ID];
        rng.fill_bytes(&mut session_id);
        Self { random: random(rng, now), session_id }
    }

    /// The most bytes of payload for which the hello is at most `limit` bytes long.
    pub fn max_payload(server_name: &str, limit: usize) -> usize {
        limit.saturating_sub(Self::OVERHEAD + server_name.len())
    }

    /// Appends the hello, with `payload` as its session ticket, to `out`.
    ///
    /// # Errors
    ///
    /// The record's length field cannot hold name and payload; `out` is as before.
    pub fn encode(&self, name: &str, payload: &[u8], out: &mut Vec<u8>) -> Result<(), HelloTooLong> {
        let length = Self::OVERHEAD + name.len() + payload.len();
        // All other lengths are smaller than the record's, so they fit if it does.
        u16::try_from(length - RECORD_HEAD).map_err(|_| HelloTooLong { length })?;
        let first = [
            (extension::SESSION_TICKET, payload.to_vec()),
            (extension::SERVER_NAME, server_name(name.as_bytes())),
        ];
        let others = OTHER_EXTENSIONS.iter().map(|(kind, body)| (*kind, body.to_vec()));
        let hello = HelloBuilder {
            record_version: RECORD_VERSION,
            version: CLIENT_VERSION,
            random: self.random,
            session_id: self.session_id.to_vec(),
            suites: SUITES.to_vec(),
            compression: COMPRESSION.to_vec(),
            extensions: first.into_iter().chain(others).collect(),
        };
        out.extend(hello.record());
        Ok(())
    }
}

/// A hello of `length` bytes does not fit into one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a ClientHello of {length} bytes does not fit into one record (at most 65540)")]
pub struct HelloTooLong {
    /// Bytes of the whole record, its head included.
    pub length: usize,
}

#[cfg(test)]
mod tests;
