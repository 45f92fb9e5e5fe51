//! Where a connection came from.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// The two ends of a connection that was accepted, as the visitor has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Who came.
    pub visitor: SocketAddr,
    /// The address that it came to.
    pub reached: SocketAddr,
}

impl Origin {
    /// The ends of the socket itself.
    ///
    /// # Errors
    ///
    /// It is gone already.
    pub fn of(socket: &TcpStream, visitor: SocketAddr) -> io::Result<Origin> {
        Ok(Origin { visitor, reached: socket.local_addr()? })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.fmt(f)
    }
}
