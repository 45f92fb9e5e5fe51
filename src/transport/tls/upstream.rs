//! TLS to the website behind a server, for visitors whose own TLS was answered here.

use super::TlsStream;
use super::provider;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::net::TcpStream;

/// Makes TLS connections to the website, as its visitors would.
#[derive(Clone)]
pub struct UpstreamTls {
    config: Arc<ClientConfig>,
}

impl std::fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamTls").finish_non_exhaustive()
    }
}

impl UpstreamTls {
    /// Asks for nobody's certificate: the website is known by the address that the operator gave, as it
    /// is without TLS.
    ///
    /// # Errors
    ///
    /// rustls has no versions.
    pub fn new() -> Result<UpstreamTls, rustls::Error> {
        let mut config = ClientConfig::builder_with_details(provider::provider(), Arc::new(provider::Clock))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(NoCertificateVerification))
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(UpstreamTls { config: Arc::new(config) })
    }

    /// Makes a connection that asks for what the visitor asked for: the same name, if it named one, and
    /// the same protocol inside, if they agreed on one.
    ///
    /// # Errors
    ///
    /// The handshake failed, or took too long.
    pub async fn connect(&self, tcp: TcpStream, visitor: &TlsStream) -> io::Result<TlsStream> {
        self.shake_hands(tcp, visitor.asked_name(), visitor.protocol()).await
    }

    /// The same as a visitor who asks for this name would, and for no protocol.
    ///
    /// # Errors
    ///
    /// As above.
    pub async fn connect_as(&self, tcp: TcpStream, name: Option<&str>) -> io::Result<TlsStream> {
        self.shake_hands(tcp, name, None).await
    }

    async fn shake_hands(
        &self,
        tcp: TcpStream,
        name: Option<&str>,
        protocol: Option<&[u8]>,
    ) -> io::Result<TlsStream> {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = protocol.map(<[u8]>::to_vec).into_iter().collect();
        let name = name.and_then(|name| ServerName::try_from(name.to_owned()).ok());
        // An address is never named in a hello (RFC 6066 section 3).
        let nobody = ServerName::from(IpAddr::from([127, 0, 0, 1]));
        let connection = ClientConnection::new(Arc::new(config), name.unwrap_or(nobody));
        TlsStream::new(tcp, connection.map_err(io::Error::other)?).handshake().await
    }
}

/// Takes whoever answers at the address: for a website of one's own, and for looking at certificates.
#[derive(Debug)]
pub struct NoCertificateVerification;

impl ServerCertVerifier for NoCertificateVerification {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
