//! `obfs=tls`: a stream that looks like the resumption of a TLS 1.2 session, and is none.
//!
//! The format is that of the program simple-obfs (0.0.5), read from captured traffic. The names
//! of the fields are those of RFC 5246 (section 6.2.1 the record, section 7.4.1 the hellos),
//! RFC 5077 (the session ticket) and RFC 6066 (the server name).
//!
//! ```text
//! client                                           server
//! ClientHello, 16 03 01 len                  ──►
//!   its session ticket is the first payload
//! application data, 17 03 03 len + payload   ──►
//!                                            ◄──   ServerHello, 96 bytes, session id echoed
//!                                                  ChangeCipherSpec, 14 03 03 00 01 01
//!                                                  "Finished", 16 03 03 len + first payload
//!                                            ◄──   application data, 17 03 03 len + payload
//! ```
//!
//! | half | writes | reads |
//! | --- | --- | --- |
//! | client | [`SentHello::encode`], then [`RecordEncoder::after_client_hello`] | [`RecordDecoder::from_server_hello`] |
//! | server | [`RecordEncoder::from_server_hello`] | [`ReceivedHello::parse`], then [`RecordDecoder::after_client_hello`] |
//!
//! The client apps (mihomo, sing-box, leaf and others) do not parse the server's first flight:
//! they skip 105 bytes of it, [`SKIPPED`], and read a length. So its layout never changes.

mod hello;
mod received_hello;
mod record;

pub use hello::{HelloTooLong, SentHello, random};
pub use received_hello::{NotFakeTls, ReceivedHello};
pub use record::{RecordDecoder, RecordEncoder, UnexpectedRecord};

/// The most payload bytes in a record that we write (RFC 5246 section 6.2.1: 2^14).
///
/// simple-obfs and gost break off at a longer one; what we read may have any length.
pub const RECORD_PAYLOAD: usize = 1 << 14;

/// Bytes in front of the first payload length in the server's first flight: ServerHello (96),
/// ChangeCipherSpec (6), content type and version of the third record (3).
pub const SKIPPED: usize = 96 + 6 + 3;

/// Bytes in front of the first payload in the server's first flight.
pub const FIRST_FLIGHT_HEAD: usize = SKIPPED + 2;
