//! TLS on the server half: its certificate, which changes on disk every few weeks.

use super::client_order::in_client_order;
use super::{H2, SERVER_ALPN, TlsError, TlsStream};
use crate::config::TlsServerConfig;
use crate::runtime::blocking;
use crate::runtime::watchdog::{self, Stage};
use rustls::client::verify_server_name;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, ServerConnection};
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::{Duration, SystemTime};
use thiserror::Error;
use tokio::net::TcpStream;
use tracing::{info, warn};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);

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
    pair: Arc<Pair>,
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acceptor").field("pair", &self.pair.files).finish_non_exhaustive()
    }
}

impl Acceptor {
    /// Reads the certificate and the key.
    ///
    /// # Errors
    ///
    /// They cannot be read, or are no pair.
    ///
    /// With `h2`, HTTP/2 is taken where it is offered.
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
        let first_look = files.look().ok();
        let pair = Arc::new(Pair {
            current: RwLock::new(files.load()?),
            files,
            first_look,
            kept_up: AtomicBool::new(false),
        });
        super::check_clock()?;
        let mut tls = ServerConfig::builder_with_details(super::provider(), Arc::new(super::Clock))
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
    pub fn keep_up(&self) {
        if !self.pair.kept_up.swap(true, Ordering::Relaxed) {
            tokio::spawn(keep_up(Arc::downgrade(&self.pair)));
        }
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
        watchdog::stage(Stage::TlsHandshake);
        let connection = ServerConnection::new(Arc::clone(&self.config)).map_err(io::Error::other)?;
        let mut stream = TlsStream::new(tcp, connection);
        match stream.feed(first) {
            Ok(()) => Ok(stream.handshake().await?),
            Err(error) if or_give_back => Err(AcceptError::Refused(stream.tcp, error)),
            Err(error) => {
                stream.say_last().await;
                Err(AcceptError::Failed(error))
            }
        }
    }

    /// Whether the certificate that is served now has this name, or address.
    pub fn has_name(&self, name: &[u8]) -> bool {
        let pair = self.pair.resolve_now();
        let certificate = pair.end_entity_cert().ok().and_then(|der| ParsedCertificate::try_from(der).ok());
        let name = ServerName::try_from(name.strip_suffix(b".").unwrap_or(name));
        match (certificate, name) {
            (Some(certificate), Ok(name)) => verify_server_name(&certificate, &name).is_ok(),
            _ => false,
        }
    }
}

/// The two files.
#[derive(Debug, Clone)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// What a file is known by without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Look {
    modified: Option<SystemTime>,
    length: u64,
    /// A file that was put in the other's place has another one.
    inode: u64,
}

impl Files {
    fn look(&self) -> Result<[Look; 2], TlsError> {
        let look = |path: &Path| -> Result<Look, TlsError> {
            let metadata = metadata(path).map_err(|error| TlsError::file(path, error))?;
            #[cfg(unix)]
            let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
            #[cfg(not(unix))]
            let inode = 0;
            Ok(Look { modified: metadata.modified().ok(), length: metadata.len(), inode })
        };
        Ok([look(&self.certificate)?, look(&self.key)?])
    }

    /// Reads both, and makes sure that they belong together.
    fn load(&self) -> Result<Arc<CertifiedKey>, TlsError> {
        super::pair::load(&self.certificate, &self.key).map(Arc::new)
    }
}

/// Opens one of the files, with the rights from before a change of user.
pub(super) fn open(path: &Path) -> io::Result<File> {
    crate::os::privileged::open(path)
}

fn metadata(path: &Path) -> io::Result<Metadata> {
    match std::fs::metadata(path) {
        // What is in a folder that only another user enters.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => open(path)?.metadata(),
        metadata => metadata,
    }
}

/// The pair that is served now.
#[derive(Debug)]
struct Pair {
    current: RwLock<Arc<CertifiedKey>>,
    files: Files,
    /// What the files looked like before they were first read.
    first_look: Option<[Look; 2]>,
    /// Whether somebody looks at the files already: every thread asks for it.
    kept_up: AtomicBool,
}

impl Pair {
    fn resolve_now(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for Pair {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(in_client_order(self.resolve_now(), hello.signature_schemes()))
    }
}

/// Looks at the files every now and then, and serves what they hold when they have changed. Where they
/// are no pair, or are broken, the old one stays.
async fn keep_up(pair: Weak<Pair>) {
    let Some(mut seen) = pair.upgrade().map(|pair| pair.first_look.clone()) else { return };
    let mut failed = 0;
    let mut unseen = 0;
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(pair) = pair.upgrade() else { return };
        let before = seen.clone();
        let looked = blocking::FILES.run_or_inline(move || {
            let now = match pair.files.look() {
                Ok(now) => Some(now),
                Err(error) => return (None, Some(Err(error))),
            };
            // A pair that did not fit is looked at again: times of files are not fine enough to show
            // every change.
            let loaded = (now != before || failed > 0).then(|| pair.files.load());
            if let Some(Ok(loaded)) = &loaded {
                *pair.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(loaded);
            }
            (now, loaded)
        });
        let Ok((now, loaded)) = looked.await else { continue };
        if now.is_none() {
            unseen += 1;
        } else {
            unseen = 0;
            if now != seen {
                failed = 0;
                seen = now;
            }
        }
        match loaded {
            // A renewal may take a file away for a moment.
            Some(Err(error)) if unseen == 2 => {
                warn!(%error, "the certificate cannot be looked at; the old one stays, also if it is renewed");
            }
            Some(Err(_)) if unseen > 0 => {}
            None => {}
            Some(Ok(_)) => {
                failed = 0;
                info!("the certificate has changed; the new one is served");
            }
            Some(Err(error)) => {
                failed += 1;
                // A renewal writes two files: that they do not fit for a moment is nothing to tell.
                if failed == 2 {
                    warn!(%error, "the certificate has changed and cannot be used; the old one stays");
                }
            }
        }
    }
}
