//! What all connections have in common: the algorithms, the clock, and the protocols inside.

use super::TlsError;
use rustls::CipherSuite;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The only protocol that a client offers inside: most disguises are HTTP/1.1.
pub(super) const CLIENT_ALPN: &[&[u8]] = &[b"http/1.1"];

/// What a client offers that needs HTTP/2: as v2ray's, and browsers.
#[cfg(feature = "grpc")]
pub(super) const CLIENT_ALPN_H2: &[&[u8]] = &[b"h2", b"http/1.1"];

/// What a server takes: the same as nginx without HTTP/2, for the visitors.
pub(super) const SERVER_ALPN: &[&[u8]] = &[b"http/1.1", b"http/1.0", b"http/0.9"];

/// What a server takes before all others when it has a website that speaks it.
pub(super) const H2: &[u8] = b"h2";

/// What rustls computes with. Its own first choice is AES-256 with SHA-384; AES-128 with SHA-256, which
/// browsers prefer, is as safe here, and processors have instructions for all of it.
pub(super) fn provider() -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    Arc::new(provider)
}

/// The system's clock, which may be wrong: rustls's own reading of it panics before 1970.
#[derive(Debug)]
pub(super) struct Clock;

impl TimeProvider for Clock {
    #[expect(clippy::disallowed_methods, reason = "certificates are judged by the system's clock")]
    fn current_time(&self) -> Option<UnixTime> {
        SystemTime::now().duration_since(UNIX_EPOCH).ok().map(UnixTime::since_unix_epoch)
    }
}

/// Refuses to begin with a clock with which no certificate and no ticket can be judged.
pub(super) fn check_clock() -> Result<(), TlsError> {
    Clock.current_time().map(|_| ()).ok_or(TlsError::Rustls(rustls::Error::FailedToGetCurrentTime))
}
