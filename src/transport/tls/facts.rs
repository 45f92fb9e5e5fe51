//! What stands in a server's certificate, for one who looks at it.

use super::certificate::end;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error, RootCertStore};
use std::path::PathBuf;
use std::time::Duration;

/// What stands in a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Its file.
    pub file: PathBuf,
    /// Its names, in words.
    pub names: String,
    /// Since when it is valid, in seconds since 1970, where that can be read.
    pub begin: Option<u64>,
    /// Until when.
    pub end: Option<u64>,
}

impl CertificateFacts {
    pub(super) fn of(certificate: &CertificateDer<'_>, file: PathBuf) -> CertificateFacts {
        let (begin, end) = (begin(certificate), end(certificate));
        CertificateFacts { file, names: names(certificate), begin, end }
    }
}

/// When a certificate begins. Nothing in rustls tells it but the refusal of one that has not begun.
fn begin(certificate: &CertificateDer<'_>) -> Option<u64> {
    let certificate = ParsedCertificate::try_from(certificate).ok()?;
    let before_all = UnixTime::since_unix_epoch(Duration::ZERO);
    let algorithms = ring::default_provider().signature_verification_algorithms;
    let roots = RootCertStore::empty();
    match verify_server_cert_signed_by_trust_anchor(&certificate, &roots, &[], before_all, algorithms.all) {
        Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. })) => {
            Some(not_before.as_secs())
        }
        _ => None,
    }
}

/// The names. Nothing tells them but the refusal of another one.
fn names(certificate: &CertificateDer<'_>) -> String {
    let parsed = ParsedCertificate::try_from(certificate);
    let (Ok(parsed), Ok(nobody)) = (parsed, ServerName::try_from("nobody.invalid")) else {
        return "one that cannot be read".to_owned();
    };
    match verify_server_name(&parsed, &nobody) {
        Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. })) => {
            super::connect_error::names(&presented)
        }
        _ => super::connect_error::names(&[]),
    }
}
