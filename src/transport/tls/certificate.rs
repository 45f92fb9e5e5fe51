//! A server's certificate and key, read from their files: what is wrong with them, and how to mend it.

use super::TlsError;
use crate::os::input;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, RootCertStore};
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;
use tracing::warn;

/// The most that is read of a file, in bytes: a chain is a few kilobytes, all authorities of a system some hundred.
const LONGEST: u64 = 4 * 1024 * 1024;

/// How rustls-webpki calls a certificate without extensions; rustls passes it on as text only.
const VERSION: &str = "UnsupportedCertVersion";

/// The object identifier of the extension that has a certificate's names (RFC 5280 section 4.2.1.6).
const NAMES: &[u8] = &[0x55, 0x1d, 0x11];

/// Reads both files, and makes sure that they belong together and can be served.
pub(super) fn load(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let chain = chain(certificate)?;
    let der = private_key(key)?;
    let kind = unusable(der.secret_der());
    let provider = ring::default_provider();
    let signer = provider.key_provider.load_private_key(der).map_err(|error| TlsError::file(key, match kind {
        Some(kind) => format!("{kind}, which cannot be served: take one on P-256 (openssl ecparam -genkey -name prime256v1)"),
        None => format!(
            "the key cannot be used ({error}): it may be RSA of 2048 to 4096 bits, on P-256 or P-384, or Ed25519"
        ),
    }))?;
    // rustls compares the two only where it can read the certificate, and takes one of version 1 for one of
    // another key. The public key stands in every certificate as it is.
    if let Some(public) = signer.public_key() {
        let has_key = |certificate: &CertificateDer<'_>| contains(certificate, &public);
        match (chain.iter().position(has_key), chain.first().map(ParsedCertificate::try_from)) {
            (Some(0), _) => {}
            (Some(at), _) => {
                let problem = format!(
                    "the certificate of the key {} is number {} of it: put it first, and those of its issuers \
                     behind it",
                    key.display(),
                    at + 1
                );
                return Err(TlsError::file(certificate, problem));
            }
            (None, Some(Err(error))) if !error.to_string().contains(VERSION) => {
                return Err(TlsError::file(certificate, format!("the certificate cannot be read: {error}")));
            }
            (None, _) => {
                let (certificate, key) = (certificate.to_owned(), key.to_owned());
                return Err(TlsError::Mismatch { certificate, key });
            }
        }
    }
    if let Some(own) = chain.first() {
        warn_of_names(certificate, own);
    }
    Ok(CertifiedKey::new(chain, signer))
}

/// Says so where no client that looks at the certificate can accept it. A proxy in front may, and clients
/// that do not look.
fn warn_of_names(path: &Path, certificate: &CertificateDer<'_>) {
    let path = path.display();
    let mend = "make one with a name: openssl req -x509 … -addext subjectAltName=DNS:NAME";
    match ParsedCertificate::try_from(certificate) {
        Err(error) if error.to_string().contains(VERSION) => {
            warn!(
                "{path}: the certificate is of version 1 and has no names, so clients that verify it refuse it: {mend}"
            );
        }
        Err(error) => warn!("{path}: clients may refuse the certificate: {error}"),
        Ok(_) if !contains(certificate, NAMES) => {
            warn!(
                "{path}: the certificate has no names (subjectAltName), so clients that verify it refuse it: {mend}"
            );
        }
        Ok(_) => {}
    }
}

/// When a certificate ends, in seconds since 1970. Nothing in rustls tells it but the refusal of one that has
/// ended, so it is asked for at a time when all have.
pub(super) fn end(certificate: &CertificateDer<'_>) -> Option<u64> {
    /// The year 33658: a certificate has four digits for it (RFC 5280 section 4.1.2.5).
    const AFTER_ALL: Duration = Duration::from_secs(1_000_000_000_000);
    let certificate = ParsedCertificate::try_from(certificate).ok()?;
    let at = UnixTime::since_unix_epoch(AFTER_ALL);
    let algorithms = ring::default_provider().signature_verification_algorithms;
    let roots = RootCertStore::empty();
    match verify_server_cert_signed_by_trust_anchor(&certificate, &roots, &[], at, algorithms.all) {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Some(not_after.as_secs())
        }
        _ => None,
    }
}

fn contains(whole: &[u8], part: &[u8]) -> bool {
    whole.windows(part.len().max(1)).any(|window| window == part)
}

/// A file without the byte order mark that Notepad writes, which would hide the first line.
fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let read = open(path).and_then(|file| input::read(&file, LONGEST));
    let mut bytes = read.map_err(|error| TlsError::file(path, error))?;
    if bytes.starts_with("\u{feff}".as_bytes()) {
        bytes.drain(..'\u{feff}'.len_utf8());
    }
    if bytes.is_empty() {
        return Err(TlsError::file(path, "nothing is in it"));
    }
    Ok(bytes)
}

/// Opens one of the files, with the rights from before a change of user.
pub(super) fn open(path: &Path) -> io::Result<File> {
    crate::os::privileged::open(path)
}

/// What is wrong with a file's form.
fn form(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { end_marker } => {
            format!("a part of it has no end (`-----END {}-----`)", String::from_utf8_lossy(end_marker))
        }
        other => other.to_string(),
    }
}

/// What a file in the place of one in PEM is.
fn instead(bytes: &[u8], tool: &str) -> Option<String> {
    const SEQUENCE: u8 = 0x30;
    (bytes.first() == Some(&SEQUENCE)).then(|| {
        format!("it is in DER, and is to be in PEM (openssl {tool} -inform der -in FILE -out FILE.pem)")
    })
}

/// The certificates in a file, of which there is one at least.
pub(super) fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::file(path, form(&error)))?;
    if !chain.is_empty() {
        return Ok(chain);
    }
    let problem = match instead(&bytes, "x509") {
        Some(problem) => problem,
        None if contains(&bytes, b"PRIVATE KEY-----") => "no certificate is in it, but a key is".to_owned(),
        None => "no certificate is in it".to_owned(),
    };
    Err(TlsError::file(path, problem))
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = read(path)?;
    if contains(&bytes, b"ENCRYPTED") && contains(&bytes, b"PRIVATE KEY-----") {
        let problem = "the key is encrypted, and nobody is there to ask for its password: openssl pkey -in FILE \
                       -out FILE.open";
        return Err(TlsError::file(path, problem));
    }
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
        let problem = match instead(&bytes, "pkey") {
            Some(problem) => problem,
            None if contains(&bytes, b"BEGIN CERTIFICATE-----") => {
                "no key is in it, but a certificate is".to_owned()
            }
            None => format!("no key is in it: {}", form(&error)),
        };
        TlsError::file(path, problem)
    })
}

/// What follows from a key for this use, and says nothing of the key (HKDF, RFC 5869).
#[cfg(all(feature = "quic", feature = "server"))]
pub(super) fn secret(key: &Path, of: &[u8]) -> Result<[u8; 32], TlsError> {
    let key = private_key(key)?;
    let suite = ring::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13();
    let hkdf = suite.map(|suite| suite.hkdf_provider.extract_from_secret(None, key.secret_der()));
    let mut secret = [0; 32];
    let expanded = hkdf.and_then(|hkdf| hkdf.expand_slice(&[b"obfs-rs ", of], &mut secret).ok());
    expanded.map(|()| secret).ok_or_else(|| TlsError::Rustls(Error::General("there is no HKDF".into())))
}

/// What a key is that no ring key can be, by the object identifier in it.
fn unusable(key: &[u8]) -> Option<&'static str> {
    const KINDS: &[(&[u8], &str)] = &[
        (&[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23], "the key is on the curve P-521"),
        (&[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x21], "the key is on the curve P-224"),
        (&[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a], "the key is on the curve secp256k1"),
        (&[0x06, 0x03, 0x2b, 0x65, 0x71], "the key is one of Ed448"),
        (&[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x01], "the key is one of DSA"),
    ];
    KINDS.iter().find(|(identifier, _)| contains(key, identifier)).map(|(_, kind)| *kind)
}
