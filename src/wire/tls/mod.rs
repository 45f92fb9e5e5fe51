//! Real TLS in the clear: its numbers, how a ClientHello is written and how it is read.
//!
//! Sources: RFC 8446 (TLS 1.3) and RFC 5246 (TLS 1.2); the names of the numbers are those of IANA's
//! registries.

mod build;
pub mod client_hello;

pub use build::{HelloBuilder, list8, list16, numbers, record, server_name};
pub use client_hello::ClientHello;

/// Bytes of a record's head: content type, version, length.
pub const RECORD_HEAD: usize = 5;

/// Bytes of a handshake message's head: type and length.
pub const MESSAGE_HEAD: usize = 4;

/// Types of records (heartbeat: RFC 6520).
#[expect(missing_docs, reason = "the names are IANA's")]
pub mod content_type {
    pub const CHANGE_CIPHER_SPEC: u8 = 20;
    pub const ALERT: u8 = 21;
    pub const HANDSHAKE: u8 = 22;
    pub const APPLICATION_DATA: u8 = 23;
    pub const HEARTBEAT: u8 = 24;
}

/// Types of handshake messages.
#[expect(missing_docs, reason = "the names are IANA's")]
pub mod handshake_type {
    pub const CLIENT_HELLO: u8 = 1;
    pub const SERVER_HELLO: u8 = 2;
    pub const NEW_SESSION_TICKET: u8 = 4;
    pub const CERTIFICATE: u8 = 11;
    pub const SERVER_KEY_EXCHANGE: u8 = 12;
    pub const SERVER_HELLO_DONE: u8 = 14;
    pub const CERTIFICATE_STATUS: u8 = 22;
}

/// Types of extensions.
#[expect(missing_docs, reason = "the names are IANA's")]
pub mod extension {
    pub const SERVER_NAME: u16 = 0;
    pub const STATUS_REQUEST: u16 = 5;
    pub const SUPPORTED_GROUPS: u16 = 10;
    pub const EC_POINT_FORMATS: u16 = 11;
    pub const SIGNATURE_ALGORITHMS: u16 = 13;
    pub const ALPN: u16 = 16;
    pub const PADDING: u16 = 21;
    pub const ENCRYPT_THEN_MAC: u16 = 22;
    pub const EXTENDED_MASTER_SECRET: u16 = 23;
    pub const SESSION_TICKET: u16 = 35;
    pub const SUPPORTED_VERSIONS: u16 = 43;
    pub const PSK_KEY_EXCHANGE_MODES: u16 = 45;
    pub const KEY_SHARE: u16 = 51;
    pub const RENEGOTIATION_INFO: u16 = 0xff01;
}

/// The type of a name in a `server_name` extension (RFC 6066 section 3).
pub const HOST_NAME: u8 = 0;
