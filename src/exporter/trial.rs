//! Whether a Unix socket can be had: tried without anything being left, or taken from anybody.

use super::unix_socket::SocketFile;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use tokio::net::UnixStream;

/// What there is at the path of a Unix socket that is to be listened on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trial {
    /// Nothing: it was listened on for a moment.
    Free,
    /// A socket on which nobody answers any more. A start replaces it.
    Abandoned,
    /// Somebody who listens: this process, where the system tells it.
    Taken(Option<u32>),
}

/// Tries to listen there.
///
/// # Errors
///
/// It is not possible.
pub async fn try_socket(path: &Path) -> io::Result<Trial> {
    if !path.symlink_metadata().is_ok_and(|metadata| metadata.file_type().is_socket()) {
        return SocketFile::bind(path, None).map(|socket| {
            drop(socket);
            Trial::Free
        });
    }
    match UnixStream::connect(path).await {
        Ok(connection) => {
            let peer = connection.peer_cred().ok().and_then(|peer| peer.pid());
            Ok(Trial::Taken(peer.and_then(|id| u32::try_from(id).ok()).filter(|id| *id != 0)))
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(Trial::Abandoned),
        // (its queue is full)
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Trial::Taken(None)),
        Err(error) => Err(error),
    }
}
