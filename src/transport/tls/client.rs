//! TLS on the client half: whom it trusts.

use super::connect_error::{CA_AS_SERVER, explain};
use super::provider::{self, CLIENT_ALPN};
use super::tickets::Tickets;
use super::{ConnectError, TlsError, TlsStream, certificate};
use crate::config::{ExtraRoot, TlsClientConfig};
use crate::net::reached::{self, Reached};
use crate::runtime::watchdog;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, ProtocolVersion, RootCertStore,
    SignatureScheme, SupportedProtocolVersion,
};
use rustls_native_certs::CertificateResult;
use std::sync::Arc;
use tokio::net::TcpStream;
use tracing::debug;

/// Makes TLS connections to one server.
#[derive(Clone)]
pub struct Connector {
    config: Arc<ClientConfig>,
    server_name: ServerName<'static>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

impl Connector {
    /// Trusts the system's roots, and the extra one.
    ///
    /// # Errors
    ///
    /// The extra root cannot be read, or there is no root at all.
    pub fn new(config: &TlsClientConfig) -> Result<Connector, TlsError> {
        Connector::offering(CLIENT_ALPN, config)
    }

    /// The same for HTTP/2.
    ///
    /// # Errors
    ///
    /// As above.
    #[cfg(feature = "grpc")]
    pub fn for_h2(config: &TlsClientConfig) -> Result<Connector, TlsError> {
        Connector::offering(provider::CLIENT_ALPN_H2, config)
    }

    fn offering(protocols: &[&[u8]], config: &TlsClientConfig) -> Result<Connector, TlsError> {
        let mut tls = client_config(verifier(config)?, rustls::DEFAULT_VERSIONS)?;
        tls.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        tls.resumption = Resumption::store(Arc::new(Tickets::default()));
        let server_name = ServerName::try_from(config.server_name.clone())
            .map_err(|error| TlsError::Rustls(rustls::Error::General(error.to_string())))?;
        Ok(Connector { config: Arc::new(tls), server_name })
    }

    /// Makes a connection.
    ///
    /// # Errors
    ///
    /// The handshake failed, or took too long.
    pub async fn connect(&self, tcp: TcpStream) -> Result<TlsStream, ConnectError> {
        watchdog::stage("TLS handshake");
        let connection = ClientConnection::new(Arc::clone(&self.config), self.server_name.clone())
            .map_err(|error| ConnectError::Failed(error.to_string()))?;
        let stream = TlsStream::new(tcp, connection).handshake().await.map_err(explain)?;
        let (kind, version) = (stream.connection.handshake_kind(), stream.connection.protocol_version());
        debug!(?kind, ?version, "TLS");
        reached::note(|| Reached::Tls(version.map_or_else(String::new, version_name)));
        Ok(stream)
    }
}

fn version_name(version: ProtocolVersion) -> String {
    match version {
        ProtocolVersion::TLSv1_2 => "TLS 1.2".to_owned(),
        ProtocolVersion::TLSv1_3 => "TLS 1.3".to_owned(),
        other => format!("{other:?}"),
    }
}

/// What is the same in each of a client's protocols.
///
/// # Errors
///
/// The library refuses it.
pub(in crate::transport) fn client_config(
    verifier: Arc<dyn ServerCertVerifier>,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<ClientConfig, TlsError> {
    provider::check_clock()?;
    Ok(ClientConfig::builder_with_details(provider::provider(), Arc::new(provider::Clock))
        .with_protocol_versions(versions)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

/// Whom a client trusts.
///
/// # Errors
///
/// The extra root cannot be read, or there is no root at all.
pub(in crate::transport) fn verifier(
    config: &TlsClientConfig,
) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let extra = extra_roots(config)?;
    let mut roots = RootCertStore::empty();
    let found = system_roots();
    let (taken, ignored) = roots.add_parsable_certificates(found.certs);
    debug!(taken, ignored, "the system's roots");
    for root in &extra {
        roots.add(root.clone()).map_err(|error| match &config.extra_root {
            Some(ExtraRoot::File(path)) => TlsError::file(path, error),
            _ => TlsError::Raw(error),
        })?;
    }
    if roots.is_empty() {
        let errors: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
        return Err(TlsError::NoRoots(errors.join("; ")));
    }
    let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider::provider())
        .build()
        .map_err(|error| TlsError::Rustls(rustls::Error::General(error.to_string())))?;
    Ok(Arc::new(Verifier {
        webpki,
        pinned: extra,
        #[cfg(windows)]
        windows: rustls_platform_verifier::Verifier::new(provider::provider())?,
    }))
}

/// Where Android has its roots: those that updates of the system bring, and those that it came with. The ones that a
/// user has added are for apps that ask for them.
#[cfg(any(target_os = "linux", target_os = "android"))]
const ANDROID: [&str; 2] = ["/apex/com.android.conscrypt/cacerts", "/system/etc/security/cacerts"];

/// The roots of the system, or of the places that the variables of OpenSSL name.
fn system_roots() -> CertificateResult {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(|name| std::env::var_os(name).is_some());
        let folder = ANDROID.iter().map(std::path::Path::new).find(|folder| folder.is_dir());
        if let (false, Some(folder)) = (named, folder) {
            return rustls_native_certs::load_certs_from_paths(None, Some(folder));
        }
    }
    rustls_native_certs::load_native_certs()
}

fn extra_roots(config: &TlsClientConfig) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    match &config.extra_root {
        None => Ok(Vec::new()),
        Some(ExtraRoot::Raw(der)) => Ok(vec![CertificateDer::from(der.clone())]),
        Some(ExtraRoot::File(path)) => certificate::chain(path),
    }
}

/// The usual rules, and one more: a certificate that is itself among the configured ones is accepted
/// although it says that it is an authority's. `openssl req -x509` makes such certificates, and users
/// of v2ray-plugin have them, since Go's verifier does not mind.
#[derive(Debug)]
struct Verifier {
    webpki: Arc<WebPkiServerVerifier>,
    pinned: Vec<CertificateDer<'static>>,
    /// Windows itself. It fetches many authorities only when it is asked of a certificate of theirs.
    #[cfg(windows)]
    windows: rustls_platform_verifier::Verifier,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let usual =
            self.webpki.verify_server_cert(certificate, intermediates, server_name, ocsp_response, now);
        match usual {
            // Of all that webpki looks at, this comes after the dates.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(why)))
                if self.pinned.contains(certificate) && why.to_string().contains(CA_AS_SERVER) =>
            {
                let parsed = ParsedCertificate::try_from(certificate)?;
                rustls::client::verify_server_name(&parsed, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            #[cfg(windows)]
            Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => self
                .windows
                .verify_server_cert(certificate, intermediates, server_name, ocsp_response, now)
                .or(usual),
            usual => usual,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}
