//! TLS on the server half.

use super::files::{self, Files};
use super::provider::{self, H2, SERVER_ALPN};
use super::{CertificateFacts, TlsError, TlsStream};
use crate::config::TlsServerConfig;
use crate::detect::Handoff;
use crate::net::budget::Budget;
use crate::net::conn_info::ConnInfo;
use crate::runtime::watchdog;
use crate::transport::Stream;
use rustls::client::verify_server_name;
use rustls::crypto::ring;
use rustls::pki_types::{ServerName, SubjectPublicKeyInfoDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{ServerConfig, ServerConnection, SignatureAlgorithm, SignatureScheme};
use std::borrow::Cow;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// What a handshake costs at the most, in bytes: rustls's state, its flight, and what waits of a record.
const HANDSHAKE: usize = 16 * 1024;

/// How long a handshake waits for others to end, which have as long themselves.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);

/// Takes TLS connections.
#[derive(Clone)]
pub struct Acceptor {
    config: Arc<ServerConfig>,
    pair: Arc<ServedPair>,
    /// A name that is ours whether the certificate has it or not.
    name: Option<String>,
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
        let files = Files::new(absolute(certificate), absolute(key));
        let current = files.load().map_err(|error| match error {
            TlsError::File { path, reason } if config.candidates.len() > 1 && !path.exists() => {
                let why = "`cert` and `key` are not both set, so acme.sh's files of the option `host` are looked for";
                TlsError::File { path, reason: format!("{reason}; {why}") }
            }
            error => error,
        })?;
        let current = Arc::new(RwLock::new(current));
        let pair = Arc::new(ServedPair { current, files, watcher: Mutex::default() });
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
        Ok(Acceptor { config: Arc::new(tls), pair, name: config.name.clone() })
    }

    /// The same certificate for another protocol that has TLS 1.3 in it, which `protocols` are taken inside of.
    ///
    /// # Errors
    ///
    /// The library refuses it.
    #[cfg(all(feature = "quic", feature = "server"))]
    pub(in crate::transport) fn config_of_tls_1_3(
        &self,
        protocols: &[&[u8]],
    ) -> Result<ServerConfig, TlsError> {
        let mut tls = ServerConfig::builder_with_details(provider::provider(), Arc::new(provider::Clock))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.pair) as Arc<dyn ResolvesServerCert>);
        tls.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        // A hello would say that somebody has been here before.
        tls.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(tls)
    }

    /// What follows from the key for this use: the same after a restart.
    ///
    /// # Errors
    ///
    /// The key cannot be read.
    #[cfg(all(feature = "quic", feature = "server"))]
    pub(in crate::transport) fn secret(&self, of: &[u8]) -> Result<[u8; 32], TlsError> {
        self.pair.files.secret(of)
    }

    /// Reads the files anew whenever they change, for as long as a clone of this lives. To be called
    /// once there is a runtime; of several calls, the first counts.
    pub fn watch_files(&self) {
        let ServedPair { current, files, watcher } = &*self.pair;
        watcher.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| {
            tokio::spawn(files::watch(files.clone(), Arc::downgrade(current))).abort_handle()
        });
    }

    /// Reads the files anew no more: no new connection comes.
    pub fn stop_watching(&self) {
        if let Some(watcher) = self.pair.watcher.lock().unwrap_or_else(PoisonError::into_inner).take() {
            watcher.abort();
        }
    }

    /// Whether this is a clone of the other one.
    pub fn is_same(&self, other: &Acceptor) -> bool {
        Arc::ptr_eq(&self.pair, &other.pair)
    }

    /// Reads the files now.
    ///
    /// # Errors
    ///
    /// They cannot be read, or are no pair: the old ones are served.
    pub fn read_files(&self) -> Result<(), TlsError> {
        let loaded = self.pair.files.load()?;
        *self.pair.current.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(())
    }

    /// Makes the handshake with a connection whose hello was read; what is inside is in the clear from here on.
    /// With `or_give_back`, a connection whose hello cannot be answered here comes back as it was, with the reason,
    /// so that somebody else may answer it. What the handshake holds is part of `undecided`.
    ///
    /// # Errors
    ///
    /// The handshake failed, or took too long.
    pub async fn accept(
        &self,
        c: Handoff<Stream>,
        or_give_back: bool,
        undecided: &Budget,
    ) -> io::Result<(Handoff<Stream>, Option<Cow<'static, str>>)> {
        const TOO_MANY: &str = "too many handshakes";
        let needed = c.read_buf.len() + HANDSHAKE;
        let mut share = undecided.share();
        if !share.grow_to(needed) {
            // One that somebody else can answer does not wait for it.
            if or_give_back {
                return Ok((c, Some(TOO_MANY.into())));
            }
            let turn = timeout(TURN_TIMEOUT, undecided.wait_for(needed)).await;
            share = turn.map_err(|_| io::Error::other(TOO_MANY))?;
        }
        let Handoff { io, read_buf, info, began, upstream } = c;
        let Stream::Tcp(tcp) = io else { return Err(io::ErrorKind::Unsupported.into()) };
        watchdog::stage("TLS handshake");
        let connection = ServerConnection::new(Arc::clone(&self.config)).map_err(io::Error::other)?;
        let mut stream = TlsStream::new(tcp, connection);
        let done = match stream.feed(&read_buf) {
            Ok(()) => stream.handshake().await?,
            Err(error) if or_give_back => {
                let c = Handoff { io: stream.tcp.into(), read_buf, info, began, upstream };
                return Ok((c, Some(error.to_string().into())));
            }
            Err(error) => {
                stream.send_alert().await;
                return Err(error);
            }
        };
        drop(share);
        Ok((Handoff::new(done.into(), info, began), None))
    }

    /// Whether a hello asks for a name of ours, or for none (RFC 6066: an address is none) at an address
    /// that our certificate has.
    pub fn is_asked_for(&self, name: Option<&[u8]>, info: &ConnInfo) -> bool {
        let address = info.local_addr().ip().to_string();
        self.is_for(name.unwrap_or(address.as_bytes()))
    }

    /// Whether this name is ours.
    pub fn is_for(&self, name: &[u8]) -> bool {
        self.name.as_ref().is_some_and(|own| name.eq_ignore_ascii_case(own.as_bytes())) || self.has_name(name)
    }

    /// What stands in the certificate that is served now.
    pub fn facts(&self) -> Option<CertificateFacts> {
        let file = self.pair.files.certificate().to_owned();
        self.pair.now().end_entity_cert().ok().map(|certificate| CertificateFacts::of(certificate, file))
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

/// The certificate and the key that are served now.
#[derive(Debug)]
struct ServedPair {
    current: Arc<RwLock<Arc<CertifiedKey>>>,
    files: Files,
    /// The task that watches the files, once there is one: every thread asks for it.
    watcher: Mutex<Option<AbortHandle>>,
}

impl ServedPair {
    fn now(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for ServedPair {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(in_client_order(self.now(), hello.signature_schemes()))
    }
}

/// The pair for one hello, which has these schemes. Keys of other kinds than RSA have one scheme each.
fn in_client_order(pair: Arc<CertifiedKey>, schemes: &[SignatureScheme]) -> Arc<CertifiedKey> {
    if pair.key.algorithm() != SignatureAlgorithm::RSA {
        return pair;
    }
    let key = InClientOrder { key: Arc::clone(&pair.key), schemes: schemes.to_vec() };
    Arc::new(CertifiedKey { cert: pair.cert.clone(), key: Arc::new(key), ocsp: pair.ocsp.clone() })
}

/// A key that signs as its client prefers. OpenSSL, and with it most websites, takes the first of the signature
/// schemes in a hello that its key can do; rustls takes the one of them that it likes best itself, which for RSA is
/// another, and in TLS 1.2 everybody on the way can see it.
#[derive(Debug)]
struct InClientOrder {
    key: Arc<dyn SigningKey>,
    schemes: Vec<SignatureScheme>,
}

impl SigningKey for InClientOrder {
    /// What is offered are those that the connection can use, in rustls's order.
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let mut usable = self.schemes.iter().filter(|scheme| offered.contains(scheme));
        let chosen = usable.find_map(|scheme| self.key.choose_scheme(std::slice::from_ref(scheme)));
        chosen.or_else(|| self.key.choose_scheme(offered))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        self.key.public_key()
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.key.algorithm()
    }
}
