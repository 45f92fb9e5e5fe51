//! TLS on the server half.

use super::provider::{self, H2, SERVER_ALPN};
use super::served_pair::{Files, ServedPair};
use super::{TlsError, TlsStream};
use crate::config::TlsServerConfig;
use crate::runtime::watchdog;
use rustls::client::verify_server_name;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::server::{NoServerSessionStorage, ParsedCertificate, ResolvesServerCert};
use rustls::{ServerConfig, ServerConnection};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use thiserror::Error;
use tokio::net::TcpStream;

/// Why a connection has no TLS.
#[derive(Debug, Error)]
pub enum AcceptError {
    /// Its hello is refused. Nothing has been written to it.
    #[error("{1}")]
    Refused(TcpStream, io::Error),
    /// The handshake went wrong.
    #[error(transparent)]
    Failed(#[from] io::Error),
}

/// Takes TLS connections.
#[derive(Clone)]
pub struct Acceptor {
    config: Arc<ServerConfig>,
    pair: Arc<ServedPair>,
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acceptor").field("pair", &self.pair.files).finish_non_exhaustive()
    }
}

impl Acceptor {
    /// Reads the certificate and the key. With `h2`, HTTP/2 is taken where it is offered.
    ///
    /// # Errors
    ///
    /// They cannot be read, or are no pair.
    pub fn new(config: &TlsServerConfig, h2: bool) -> Result<Acceptor, TlsError> {
        let (certificate, key) = config
            .candidates
            .iter()
            .find(|(certificate, key)| certificate.exists() && key.exists())
            .or(config.candidates.first())
            .cloned()
            .unwrap_or_default();
        // The working directory changes when the process goes into the background.
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        let files = Files { certificate: absolute(certificate), key: absolute(key) };
        let pair = Arc::new(ServedPair::load(files)?);
        provider::check_clock()?;
        let mut tls = ServerConfig::builder_with_details(provider::provider(), Arc::new(provider::Clock))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&pair) as Arc<dyn ResolvesServerCert>);
        let protocols = h2.then_some(&H2).into_iter().chain(SERVER_ALPN);
        tls.alpn_protocols = protocols.map(|name| name.to_vec()).collect();
        // Resumption without memory, as nginx has it by default: the client keeps what is needed.
        tls.session_storage = Arc::new(NoServerSessionStorage {});
        tls.ticketer = ring::Ticketer::new()?;
        Ok(Acceptor { config: Arc::new(tls), pair })
    }

    /// Reads the files anew whenever they change, for as long as a clone of this lives. To be called
    /// once there is a runtime; of several calls, the first counts.
    pub fn watch_files(&self) {
        self.pair.watch();
    }

    /// Takes a connection of which these bytes have been read. With `or_give_back`, one whose hello
    /// is refused comes back as it was, so that somebody else may answer it.
    ///
    /// # Errors
    ///
    /// The handshake failed, or took too long.
    pub async fn accept(
        &self,
        tcp: TcpStream,
        first: &[u8],
        or_give_back: bool,
    ) -> Result<TlsStream, AcceptError> {
        watchdog::stage("TLS handshake");
        let connection = ServerConnection::new(Arc::clone(&self.config)).map_err(io::Error::other)?;
        let mut stream = TlsStream::new(tcp, connection);
        match stream.feed(first) {
            Ok(()) => Ok(stream.handshake().await?),
            Err(error) if or_give_back => Err(AcceptError::Refused(stream.tcp, error)),
            Err(error) => {
                stream.send_alert().await;
                Err(AcceptError::Failed(error))
            }
        }
    }

    /// Whether the certificate that is served now has this name, or address.
    pub fn has_name(&self, name: &[u8]) -> bool {
        let pair = self.pair.now();
        let certificate = pair.end_entity_cert().ok().and_then(|der| ParsedCertificate::try_from(der).ok());
        let name = ServerName::try_from(name.strip_suffix(b".").unwrap_or(name));
        match (certificate, name) {
            (Some(certificate), Ok(name)) => verify_server_name(&certificate, &name).is_ok(),
            _ => false,
        }
    }
}
