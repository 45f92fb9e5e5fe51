//! Accepting from a socket come what may.

use super::room::{PAUSE, Room};
use super::tcp;
#[cfg(unix)]
use rustix::io::Errno;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tracing::{debug, error, warn};

/// How long it pauses at most when it fails for another reason.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// So many connections may break in a row before accepting pauses: where each breaks, or the system only says so,
/// nothing is missed.
const MOST_BROKEN: usize = 1000;

/// A listening socket that gives connections for as long as it lives.
pub(super) struct TcpAcceptor {
    listener: TcpListener,
    room: Room,
    /// How long the next pause is.
    pause: Duration,
}

impl TcpAcceptor {
    /// Of this socket.
    pub(super) fn new(listener: TcpListener) -> TcpAcceptor {
        TcpAcceptor { listener, room: Room::default(), pause: PAUSE }
    }

    /// The next connection. Errors that belong to one connection are passed over: it broke while it
    /// waited, which concerns nobody. At every other one accepting pauses, whatever it is: an error that
    /// stays would have the loop turn for ever.
    pub(super) async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        let mut broken = 0;
        loop {
            self.room.wait().await;
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    self.pause = PAUSE;
                    if cfg!(not(any(target_os = "linux", target_os = "android"))) {
                        tcp::prepare(&stream);
                    }
                    return (stream, peer);
                }
                Err(error) if is_about_one_connection(&error) && broken < MOST_BROKEN => {
                    broken += 1;
                    debug!(%error, "a connection broke before it was accepted");
                }
                Err(error) => {
                    broken = 0;
                    if self.room.is_to_warn() {
                        if is_exhaustion(&error) {
                            warn!(%error, "accepting pauses until there are resources for more connections");
                        } else {
                            error!(%error, "accepting fails; trying again");
                        }
                    }
                    tokio::time::sleep(self.pause).await;
                    if !is_exhaustion(&error) {
                        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                    }
                }
            }
        }
    }
}

/// The connections that wait to be accepted now, on a socket that does not block.
pub(super) fn waiting(socket: &std::net::TcpListener) -> impl Iterator<Item = (TcpStream, SocketAddr)> {
    std::iter::from_fn(move || {
        loop {
            match socket.accept() {
                Ok((stream, peer)) => {
                    tcp::prepare(&stream);
                    let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
                    return Some((stream.ok()?, peer));
                }
                Err(error) if is_about_one_connection(&error) => {}
                Err(_) => return None,
            }
        }
    })
}

/// Whether an error is that of a connection which waited to be accepted, and not of the socket that listens.
/// Linux tells what the network has said of a new connection, too (accept(2), "Error handling").
fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, TimedOut};
    if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | TimedOut) {
        return true;
    }
    #[cfg(unix)]
    return [
        Errno::INTR,
        Errno::PROTO,
        Errno::NETDOWN,
        Errno::NOPROTOOPT,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        Errno::NETUNREACH,
        #[cfg(any(target_os = "linux", target_os = "android"))]
        Errno::NONET,
    ]
    .iter()
    .any(|errno| Errno::from_io_error(error) == Some(*errno));
    #[cfg(not(unix))]
    false
}

/// Whether the process or the system has run out of what a connection needs.
fn is_exhaustion(error: &io::Error) -> bool {
    #[cfg(unix)]
    return matches!(
        Errno::from_io_error(error),
        // (NOSPC: the event loops of the user watch all that they may)
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::NOSPC)
    );
    // WSAEMFILE and WSAENOBUFS.
    #[cfg(not(unix))]
    matches!(error.raw_os_error(), Some(10024 | 10055))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With the clock of the test, a pause takes no time; a loop without one would never end.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[tokio::test(start_paused = true)]
    async fn an_error_that_stays_is_paused_on() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // From now on accepting fails with EINVAL.
        socket2::SockRef::from(&listener).shutdown(std::net::Shutdown::Both).unwrap();
        let mut acceptor = TcpAcceptor::new(listener);
        let accepted = tokio::time::timeout(Duration::from_secs(30), acceptor.accept()).await;
        assert!(accepted.is_err(), "nothing can be accepted");
        assert_eq!(acceptor.pause, LONGEST_PAUSE);
        assert!(!acceptor.room.is_to_warn(), "it is logged");
    }

    #[cfg(unix)]
    #[test]
    fn only_what_belongs_to_one_connection_is_passed_over() {
        for (code, passing) in [
            (libc::ECONNABORTED, true),
            (libc::ECONNRESET, true),
            (libc::EPROTO, true),
            (libc::ENETDOWN, true),
            (libc::EHOSTUNREACH, true),
            (libc::ETIMEDOUT, true),
            (libc::EINTR, true),
            (libc::EMFILE, false),
            (libc::ENFILE, false),
            (libc::ENOMEM, false),
            (libc::EBADF, false),
            (libc::EINVAL, false),
            (libc::ENOTSOCK, false),
            (libc::EPERM, false),
            (libc::EOPNOTSUPP, false),
        ] {
            let error = io::Error::from_raw_os_error(code);
            assert_eq!(is_about_one_connection(&error), passing, "{error}");
        }
    }
}
