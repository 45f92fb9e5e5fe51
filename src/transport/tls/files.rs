//! The files of the certificate and the key that a server serves: they change on disk every few weeks.

use super::TlsError;
use super::certificate;
use crate::metrics;
use crate::runtime::blocking;
use rustls::sign::CertifiedKey;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::{Duration, SystemTime};
use tracing::{info, warn};

/// How often the files are looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// The two files.
#[derive(Debug, Clone)]
pub(super) struct Files {
    certificate: PathBuf,
    key: PathBuf,
    /// Their stamps when they were last looked at.
    seen: Option<[FileStamp; 2]>,
}

/// What tells without reading a file that it has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FileStamp {
    modified: Option<SystemTime>,
    length: u64,
    /// A file that was put in the other's place has another one.
    inode: u64,
}

impl Files {
    /// The files as they are now, before they are first read.
    pub(super) fn new(certificate: PathBuf, key: PathBuf) -> Files {
        let files = Files { certificate, key, seen: None };
        Files { seen: files.stamp().ok(), ..files }
    }

    /// The certificate's.
    pub(super) fn certificate(&self) -> &Path {
        &self.certificate
    }

    fn stamp(&self) -> Result<[FileStamp; 2], TlsError> {
        let stamp = |path: &Path| -> Result<FileStamp, TlsError> {
            let metadata = metadata(path).map_err(|error| TlsError::file(path, error))?;
            #[cfg(unix)]
            let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
            #[cfg(not(unix))]
            let inode = 0;
            Ok(FileStamp { modified: metadata.modified().ok(), length: metadata.len(), inode })
        };
        Ok([stamp(&self.certificate)?, stamp(&self.key)?])
    }

    /// What follows from the key for this use: the same after a restart.
    #[cfg(all(feature = "quic", feature = "server"))]
    pub(super) fn secret(&self, of: &[u8]) -> Result<[u8; 32], TlsError> {
        certificate::secret(&self.key, of)
    }

    /// Reads both, and makes sure that they belong together.
    pub(super) fn load(&self) -> Result<Arc<CertifiedKey>, TlsError> {
        let pair = certificate::load(&self.certificate, &self.key)?;
        if let Some(end) = pair.cert.first().and_then(certificate::end) {
            metrics::certificate_expires(end);
        }
        Ok(Arc::new(pair))
    }
}

fn metadata(path: &Path) -> io::Result<Metadata> {
    match std::fs::metadata(path) {
        // What is in a folder that only another user enters.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => certificate::open(path)?.metadata(),
        metadata => metadata,
    }
}

/// When the certificate ends that is served, in seconds since 1970.
fn end(current: &RwLock<Arc<CertifiedKey>>) -> Option<u64> {
    let current = Arc::clone(&current.read().unwrap_or_else(PoisonError::into_inner));
    current.cert.first().and_then(certificate::end)
}

#[expect(clippy::disallowed_methods, reason = "certificates end by the time of day")]
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Looks at the files every now and then, and serves what they hold when they have changed, for as long as
/// anybody serves `current`. Where they are no pair, or are broken, the old one stays.
pub(super) async fn watch(files: Files, current: Weak<RwLock<Arc<CertifiedKey>>>) {
    let mut seen = files.seen.clone();
    let mut failed = 0;
    let mut unseen = 0;
    let mut end = current.upgrade().and_then(|current| end(&current));
    loop {
        // (told once, at the start or when it comes to that)
        if end.is_some_and(|end| end < now()) {
            end = None;
            warn!(file = %files.certificate.display(), "the certificate has expired: clients refuse it until it is renewed");
        }
        tokio::time::sleep(INTERVAL).await;
        let Some(current) = current.upgrade() else { return };
        let (files, before) = (files.clone(), seen.clone());
        let looked = blocking::FILES.run_or_inline(move || {
            let now = match files.stamp() {
                Ok(now) => Some(now),
                Err(error) => return (None, Some(Err(error))),
            };
            // A pair that did not fit is looked at again: times of files are not fine enough to show
            // every change.
            let loaded = (now != before || failed > 0).then(|| files.load());
            if let Some(Ok(loaded)) = &loaded {
                *current.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(loaded);
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
            Some(Ok(loaded)) => {
                failed = 0;
                end = loaded.cert.first().and_then(certificate::end);
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
