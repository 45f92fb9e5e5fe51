//! The HMAC of connection ids and of stateless resets: SHA-256's, as the library of TLS has it.

use crate::wire::quic::initial_suite;
use rustls::crypto::hmac::Tag;
use rustls::crypto::tls13::OkmBlock;

pub(super) fn sign(key: &OkmBlock, data: &[u8]) -> Tag {
    initial_suite().suite.hkdf_provider.hmac_sign(key, data)
}
