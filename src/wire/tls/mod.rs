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

/// Types of records (RFC 8446 section 5.1; heartbeat: RFC 6520).
pub mod content_type {
    /// `change_cipher_spec`
    pub const CHANGE_CIPHER_SPEC: u8 = 20;
    /// `alert`
    pub const ALERT: u8 = 21;
    /// `handshake`
    pub const HANDSHAKE: u8 = 22;
    /// `application_data`
    pub const APPLICATION_DATA: u8 = 23;
    /// `heartbeat`
    pub const HEARTBEAT: u8 = 24;
}

/// Types of handshake messages.
pub mod handshake_type {
    /// `client_hello`
    pub const CLIENT_HELLO: u8 = 1;
    /// `server_hello`
    pub const SERVER_HELLO: u8 = 2;
    /// `new_session_ticket`
    pub const NEW_SESSION_TICKET: u8 = 4;
    /// `certificate`
    pub const CERTIFICATE: u8 = 11;
    /// `server_key_exchange`
    pub const SERVER_KEY_EXCHANGE: u8 = 12;
    /// `server_hello_done`
    pub const SERVER_HELLO_DONE: u8 = 14;
    /// `certificate_status`
    pub const CERTIFICATE_STATUS: u8 = 22;
}

/// Types of extensions.
pub mod extension {
    /// `server_name`
    pub const SERVER_NAME: u16 = 0;
    /// `status_request`
    pub const STATUS_REQUEST: u16 = 5;
    /// `supported_groups`
    pub const SUPPORTED_GROUPS: u16 = 10;
    /// `ec_point_formats`
    pub const EC_POINT_FORMATS: u16 = 11;
    /// `signature_algorithms`
    pub const SIGNATURE_ALGORITHMS: u16 = 13;
    /// `application_layer_protocol_negotiation`
    pub const ALPN: u16 = 16;
    /// `padding`
    pub const PADDING: u16 = 21;
    /// `encrypt_then_mac`
    pub const ENCRYPT_THEN_MAC: u16 = 22;
    /// `extended_master_secret`
    pub const EXTENDED_MASTER_SECRET: u16 = 23;
    /// `session_ticket`
    pub const SESSION_TICKET: u16 = 35;
    /// `supported_versions`
    pub const SUPPORTED_VERSIONS: u16 = 43;
    /// `psk_key_exchange_modes`
    pub const PSK_KEY_EXCHANGE_MODES: u16 = 45;
    /// `key_share`
    pub const KEY_SHARE: u16 = 51;
    /// `renegotiation_info`
    pub const RENEGOTIATION_INFO: u16 = 0xff01;
}

/// The type of a name in a `server_name` extension (RFC 6066 section 3).
pub const HOST_NAME: u8 = 0;
