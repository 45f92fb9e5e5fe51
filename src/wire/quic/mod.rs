//! QUIC as far as it can be read without being an end of it: the heads of packets, and what a client's first flight
//! says, whose keys follow from what stands in its clear.
//!
//! Sources: RFC 8999 (what all versions have in common), RFC 9000 (version 1) sections 12, 16, 17 and 19, RFC 9001
//! sections 5.2 to 5.4.

pub mod datagram;
mod first_flight;
mod frame;
mod header;
mod hello_bytes;
#[cfg(test)]
pub(crate) mod test_packets;

pub use first_flight::FirstFlight;
pub use header::{Header, LongHeader, PacketKind};
pub use hello_bytes::MOST_HELLO;

use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::quic::Suite;

/// The length of the connection ids that a server of ours gives out, in bytes: quic-go's, which v2ray has.
pub const ID_LENGTH: usize = 12;

/// The number of version 1.
pub const VERSION_1: u32 = 1;

/// A datagram with an Initial packet has so many bytes, or is not answered (RFC 9000 section 14.1).
pub const LEAST_INITIAL: usize = 1200;

/// The packets are a client's who knew the keys, and are not what a client may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Bits are set that have no meaning.
    #[error("a packet with reserved bits")]
    Reserved,
    /// A frame is cut short, or none that a client may send.
    #[error("a frame that cannot be read")]
    Frame,
    /// The same place of the handshake has come twice, and not with the same bytes.
    #[error("two versions of the same bytes of the handshake")]
    Contradiction,
    /// The handshake is longer than any hello.
    #[error("a hello that is too long")]
    TooLong,
    /// What the handshake begins with is no hello.
    #[error("no TLS ClientHello")]
    NotAHello,
}

/// What protects Initial packets, whatever the ends agree on later (RFC 9001 section 5.2).
pub fn initial_suite() -> Suite {
    let suite = TLS13_AES_128_GCM_SHA256.tls13().and_then(|suite| suite.quic_suite());
    suite.expect("it is a suite of TLS 1.3 that QUIC has, too")
}
