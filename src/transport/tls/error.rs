//! Why TLS cannot be had.

use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why TLS cannot be had as it is configured.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read, or holds nothing that is wanted.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Certificate and key are no pair.
    #[error("{} is not the key of the certificate in {}", key.display(), certificate.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// rustls refuses something else.
    #[error("{0}")]
    Rustls(#[from] rustls::Error),
    /// The root in `certRaw` is none.
    #[error("`certRaw` holds no certificate: {0}")]
    Raw(rustls::Error),
    /// A client has nothing by which it could know its server.
    #[error("there are no trusted roots on this machine ({0}), and `cert` names none")]
    NoRoots(String),
}

impl TlsError {
    pub(super) fn file(path: &Path, reason: impl ToString) -> TlsError {
        TlsError::File { path: path.to_owned(), reason: reason.to_string() }
    }
}
