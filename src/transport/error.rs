//! Why there is no tunnel.

use super::answer::UpgradeError;
use super::grpc::GrpcError;
use super::quic::QuicError;
use super::tls::ConnectError;
use crate::metrics::Failure;
use crate::net::dial::DialError;
use crate::relay::ProtocolError;
use std::io;
use thiserror::Error;

/// Why a client has no tunnel.
#[derive(Debug, Error)]
pub enum NotOpened {
    /// There is no connection to the server.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// TLS with the server failed.
    #[error(transparent)]
    Tls(#[from] ConnectError),
    /// The QUIC connection has no stream.
    #[error(transparent)]
    Quic(#[from] QuicError),
    /// The HTTP/2 connection has no stream.
    #[error(transparent)]
    Grpc(#[from] GrpcError),
    /// The server did not grant the upgrade.
    #[error(transparent)]
    Upgrade(#[from] UpgradeError),
    /// The disguise has no room for what is asked of it.
    #[error("{0}")]
    Malformed(ProtocolError),
}

impl NotOpened {
    /// Where it failed, for the log.
    pub fn stage(&self) -> &'static str {
        match self {
            NotOpened::Dial(DialError::Proxy(..)) => "proxy",
            NotOpened::Dial(_) => "dial",
            NotOpened::Tls(_) => "tls",
            NotOpened::Quic(_) | NotOpened::Grpc(_) | NotOpened::Upgrade(_) | NotOpened::Malformed(_) => {
                "open"
            }
        }
    }

    /// Whether the time for the TLS handshake was over.
    pub fn is_late_handshake(&self) -> bool {
        #[cfg(feature = "tls")]
        {
            matches!(self, NotOpened::Tls(ConnectError::Silent))
        }
        #[cfg(not(feature = "tls"))]
        {
            false
        }
    }

    /// The same, for those who count.
    pub fn failure(&self) -> Failure {
        match self {
            NotOpened::Dial(_) => Failure::Server,
            NotOpened::Tls(_) => Failure::Tls,
            NotOpened::Quic(_) | NotOpened::Grpc(_) | NotOpened::Upgrade(_) => Failure::Upgrade,
            NotOpened::Malformed(_) => Failure::Malformed,
        }
    }
}

/// Why a server has no tunnel.
#[derive(Debug, Error)]
pub enum NotAccepted {
    /// The client's connection broke.
    #[error("the connection broke: {0}")]
    Broken(io::Error),
    /// The backend was dialled before it was known what comes, and cannot be reached.
    #[error("Shadowsocks: {0}")]
    Backend(DialError),
    /// The client's bytes are not what its format says.
    #[error("{0}")]
    Malformed(ProtocolError),
    /// The client closed before it had said anything.
    #[error("closed before its first byte")]
    Empty,
}

impl NotAccepted {
    /// Where it failed, for the log.
    pub fn stage(&self) -> &'static str {
        if matches!(self, NotAccepted::Backend(_)) { "dial" } else { "open" }
    }
}
