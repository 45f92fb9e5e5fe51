//! Why a handshake failed, in the words that TLS has for it: of a certificate that was refused the library passes on a
//! text, and of an alert a number.

use crate::transport::tls::{ConnectError, explain};
use quinn::ConnectionError;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{AlertDescription, DigitallySignedStruct, SignatureScheme};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// Asks another one, and keeps why a certificate was refused.
#[derive(Debug)]
pub(super) struct Noting {
    verifier: Arc<dyn ServerCertVerifier>,
    refused: Refused,
}

/// Why a connection's certificate was refused, if it was.
#[derive(Debug, Clone, Default)]
pub(super) struct Refused(Arc<Mutex<Option<rustls::Error>>>);

impl Refused {
    /// Asks `verifier`, for one connection.
    pub(super) fn noting(&self, verifier: Arc<dyn ServerCertVerifier>) -> Arc<Noting> {
        Arc::new(Noting { verifier, refused: self.clone() })
    }

    /// Says why there is no connection.
    pub(super) fn explain(&self, error: ConnectionError) -> io::Error {
        let refused = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let why = match refused.or_else(|| alert_of(&error).map(rustls::Error::AlertReceived)) {
            Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
                ConnectError::Failed(
                    "the server takes none of `h2` and `http/1.1` inside QUIC, as v2ray-plugin's clients offer them: is \
                     `mode=quic` set on the server, is this its port, and is the option `host` (or `sni`) a name of its certificate?"
                        .to_owned(),
                )
            }
            Some(why) => explain(io::Error::other(why)),
            None => return io::Error::other(error),
        };
        io::Error::other(why)
    }
}

/// The alert with which the server ended the handshake. (RFC 9001 section 4.8)
fn alert_of(error: &ConnectionError) -> Option<AlertDescription> {
    let ConnectionError::ConnectionClosed(close) = error else { return None };
    let alert = u64::from(close.error_code).checked_sub(0x100)?;
    Some(AlertDescription::from(u8::try_from(alert).ok()?))
}

impl ServerCertVerifier for Noting {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verifier
            .verify_server_cert(certificate, intermediates, server_name, ocsp_response, now)
            .inspect_err(|error| {
                *self.refused.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone())
            })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
