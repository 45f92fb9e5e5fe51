//! The sockets on which metrics are asked for.

use crate::config::MetricsAddress;
use crate::net::addr::{Host, HostPort};
use crate::net::resolve;
use crate::os::user::User;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tracing::{debug, warn};

#[cfg(unix)]
use super::unix_socket::SocketFile;

/// How long accepting pauses where it fails: there are no descriptors left, most likely.
const PAUSE: Duration = Duration::from_secs(1);

/// The metrics cannot be had at their address.
#[derive(Debug, Error)]
#[error("option `metrics`: cannot listen on {address}: {error}")]
pub struct ExporterError {
    address: String,
    error: io::Error,
}

impl ExporterError {
    /// Whether only another configuration helps.
    pub fn is_about_the_configuration(&self) -> bool {
        self.kind() == io::ErrorKind::InvalidInput
    }

    pub(super) fn kind(&self) -> io::ErrorKind {
        self.error.kind()
    }
}

/// A socket that listens, and is not the reactor's yet.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(std::net::TcpListener),
    #[cfg(unix)]
    Unix(SocketFile),
}

/// All sockets of an address.
pub(super) fn bind(address: &MetricsAddress, user: Option<&User>) -> Result<Vec<Listener>, ExporterError> {
    let listeners = match address {
        MetricsAddress::Tcp(address) => bind_tcp(address),
        #[cfg(unix)]
        MetricsAddress::Unix(path) => SocketFile::bind(path, user).map(|socket| vec![Listener::Unix(socket)]),
        #[cfg(not(unix))]
        MetricsAddress::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
    };
    #[cfg(not(unix))]
    let _ = user;
    #[cfg(windows)]
    let listeners = listeners.map_err(crate::net::refused_port::explained);
    listeners.map_err(|error| ExporterError { address: address.to_string(), error })
}

/// Sockets that nobody is served on.
pub struct Held {
    _sockets: Vec<Listener>,
}

/// Listens at this address, as a start does, to see whether that can be.
///
/// # Errors
///
/// It cannot be had.
pub fn try_address(address: &HostPort) -> io::Result<Held> {
    bind_tcp(address).map(|_sockets| Held { _sockets })
}

/// All addresses of a name, of which one is enough.
fn bind_tcp(address: &HostPort) -> io::Result<Vec<Listener>> {
    let found: Vec<SocketAddr> = match &address.host {
        Host::Ip(ip) => vec![SocketAddr::new(*ip, address.port)],
        Host::Name(name) => resolve::addresses(name, address.port)?,
    };
    let mut refused = io::Error::from(io::ErrorKind::AddrNotAvailable);
    let mut listeners = Vec::new();
    for address in found {
        #[cfg(not(windows))]
        let bound = std::net::TcpListener::bind(address);
        #[cfg(windows)]
        let bound = crate::net::exclusive::listen(address);
        match bound.and_then(|listener| listener.set_nonblocking(true).map(|()| listener)) {
            Ok(listener) => listeners.push(Listener::Tcp(listener)),
            // Another program there would be taken for this one.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            Err(error) => {
                debug!(%address, %error, "metrics: one address cannot be listened on");
                refused = error;
            }
        }
    }
    if listeners.is_empty() { Err(refused) } else { Ok(listeners) }
}

/// A connection, of whatever kind.
pub(super) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// A socket that accepts.
pub(super) enum Acceptor {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(tokio::net::UnixListener),
}

impl Listener {
    /// The same socket in this reactor. The other one stays open, and keeps the address.
    pub(super) fn acceptor(&self) -> Option<Acceptor> {
        let acceptor = match self {
            Listener::Tcp(tcp) => tcp.try_clone().and_then(TcpListener::from_std).map(Acceptor::Tcp),
            #[cfg(unix)]
            Listener::Unix(socket) => socket.acceptor().map(Acceptor::Unix),
        };
        acceptor.map_err(|error| warn!(%error, "metrics: cannot wait for connections")).ok()
    }
}

impl Acceptor {
    /// The next connection.
    pub(super) async fn accept(&mut self) -> Box<dyn Connection> {
        loop {
            let accepted: io::Result<Box<dyn Connection>> = match self {
                Acceptor::Tcp(listener) => listener.accept().await.map(|(tcp, _)| Box::new(tcp) as _),
                #[cfg(unix)]
                Acceptor::Unix(listener) => listener.accept().await.map(|(unix, _)| Box::new(unix) as _),
            };
            match accepted {
                Ok(connection) => return connection,
                Err(error) => {
                    debug!(%error, "metrics: accepting pauses");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}
