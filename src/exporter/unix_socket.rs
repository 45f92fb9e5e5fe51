//! A Unix socket with a name in the file system: it is its own file's, and goes with it.

use crate::os::user::User;
use rustix::fs::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};
use std::fs::{Permissions, set_permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use tracing::warn;

/// The owner and the group may ask.
const MODE: u32 = 0o660;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// A listening socket, whose file goes with it.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Which file it is. Another one of that name is another's.
    identity: (u64, u64),
    listener: UnixListener,
}

impl SocketFile {
    /// Listens under a name. What an earlier process has left there is replaced.
    pub(super) fn bind(path: &Path, user: Option<&User>) -> io::Result<SocketFile> {
        make_way(path)?;
        let listener = listen(path)?;
        let metadata = path.symlink_metadata()?;
        let socket =
            SocketFile { path: path.to_owned(), identity: (metadata.dev(), metadata.ino()), listener };
        socket.listener.set_nonblocking(true)?;
        if let Some(user) = user
            && let Err(error) = user.give(path)
        {
            warn!(%error, "metrics: the socket stays with the user who made it");
        }
        Ok(socket)
    }

    /// The same socket in this reactor.
    pub(super) fn acceptor(&self) -> io::Result<tokio::net::UnixListener> {
        self.listener.try_clone().and_then(tokio::net::UnixListener::from_std)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = |path: &Path| {
            path.symlink_metadata().is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity)
        };
        if is_ours(&self.path) {
            // In a folder that the user of the process may not write it stays, and the next start replaces it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Makes the socket, which nobody else may come by before its mode is right.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // On Linux the file has the socket's mode, less what the umask takes away. Elsewhere a socket has none: there the
    // umask alone keeps others out for this moment. (It is all threads' and stays as it is.)
    let _ = fchmod(&socket, Mode::from_raw_mode(MODE));
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(BACKLOG)?;
    set_permissions(path, Permissions::from_mode(MODE))?;
    Ok(socket.into())
}

/// Takes a socket away on which nobody answers any more. Nothing else is touched.
fn make_way(path: &Path) -> io::Result<()> {
    let metadata = match path.symlink_metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a file is there that is no socket"));
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Whoever has a long queue is there, too, and is not waited for.
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("obfs-rs-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).unwrap();
        folder
    }

    #[test]
    fn only_a_socket_that_nobody_answers_on_is_replaced() {
        let folder = folder("unix-socket");
        let path = folder.join("metrics");
        let socket = SocketFile::bind(&path, None).unwrap();
        assert_eq!(path.symlink_metadata().unwrap().mode() & 0o777, MODE);
        UnixStream::connect(&path).unwrap();
        assert_eq!(SocketFile::bind(&path, None).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(socket);
        assert!(!path.exists());
        // One whose process was killed.
        drop(UnixListener::bind(&path).unwrap());
        let socket = SocketFile::bind(&path, None).unwrap();
        // One of another process, which thought so.
        std::fs::remove_file(&path).unwrap();
        let other = UnixListener::bind(&path).unwrap();
        drop(socket);
        assert!(path.exists(), "it is the other's");
        drop(other);
        for make in [|path: &Path| std::fs::write(path, "x"), |path: &Path| std::fs::create_dir(path)] {
            std::fs::remove_file(&path).unwrap();
            make(&path).unwrap();
            assert_eq!(SocketFile::bind(&path, None).unwrap_err().kind(), io::ErrorKind::InvalidInput);
            assert!(path.exists());
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
