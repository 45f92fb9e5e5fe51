//! What both halves share.

use crate::net::listen::ListenError;
use crate::transport::tls::TlsError;
use std::net::SocketAddr;
use thiserror::Error;

/// Why a half cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// One of its addresses cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Its TLS cannot be set up: a certificate, a key or a root is not what it should be.
    #[error("tls: {0}")]
    Tls(#[from] TlsError),
    /// It would dial itself.
    #[error("{0} leads back to this process, which listens on {1}")]
    Circle(String, SocketAddr),
    /// The pid file cannot be had.
    #[cfg(unix)]
    #[error(transparent)]
    PidFile(#[from] crate::os::pid_file::PidFileError),
}

impl StartError {
    /// Whether only another configuration helps. What else is in the way may be gone at the next start.
    pub fn is_about_the_configuration(&self) -> bool {
        match self {
            StartError::Listen(_) => false,
            StartError::Tls(_) | StartError::Circle(..) => true,
            #[cfg(unix)]
            StartError::PidFile(error) => !matches!(error, crate::os::pid_file::PidFileError::Taken(..)),
        }
    }
}
