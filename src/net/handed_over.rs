//! Sockets that somebody else has bound, and that this process is to accept from: a service manager keeps them
//! open while one process ends and the next begins, so that no connection is refused.

use super::conn_info::canonical;
use super::tcp;
use crate::net::options::SocketOptions;
use socket2::{SockRef, Socket};
use std::net::{SocketAddr, TcpListener};
use thiserror::Error;
use tracing::{info, warn};

/// A socket that was handed over and has none of the addresses that are to be listened on.
#[derive(Debug, Error)]
#[error(
    "the socket {name}, which the service manager hands over, has {address}, and that is none of the addresses to be \
     listened on: nobody would accept from it"
)]
pub struct NotTaken {
    /// By which the service manager calls it.
    pub name: String,
    /// Its address.
    pub address: String,
}

/// The sockets that were handed over.
#[derive(Debug, Default)]
pub struct HandedOver {
    sockets: Vec<Handed>,
}

#[derive(Debug)]
struct Handed {
    name: String,
    socket: TcpListener,
    is_found: bool,
}

impl HandedOver {
    /// These, each with its name.
    pub fn new(sockets: Vec<(String, TcpListener)>) -> HandedOver {
        let handed = |(name, socket)| Handed { name, socket, is_found: false };
        HandedOver { sockets: sockets.into_iter().map(handed).collect() }
    }

    /// Whether one of them has this address. It is made ready to be accepted from.
    pub(super) fn find(&mut self, address: SocketAddr, options: &SocketOptions) -> bool {
        let any = !self.sockets.is_empty();
        let Some(handed) = self.sockets.iter_mut().find(|handed| covers(&handed.socket, address)) else {
            if any {
                warn!(
                    "the service manager hands over no socket with {address}: it is bound here, as without it"
                );
            }
            return false;
        };
        if !std::mem::replace(&mut handed.is_found, true) {
            info!("listening on {address}: the socket {} of the service manager", handed.name);
            prepare(&handed.socket, address, options);
        }
        true
    }

    /// All of them, which were found to be needed.
    pub(super) fn into_found(self) -> Result<impl Iterator<Item = TcpListener>, NotTaken> {
        if let Some(Handed { name, socket, .. }) = self.sockets.iter().find(|handed| !handed.is_found) {
            let address = socket.local_addr().map_or_else(|error| error.to_string(), |at| at.to_string());
            return Err(NotTaken { name: name.clone(), address });
        }
        Ok(self.sockets.into_iter().map(|handed| handed.socket))
    }
}

/// Whether who dials the address gets to the socket.
fn covers(socket: &TcpListener, address: SocketAddr) -> bool {
    let Ok(own) = socket.local_addr() else { return false };
    let takes_both = || own.is_ipv6() && !SockRef::from(socket).only_v6().unwrap_or(true);
    let is_everywhere = own.ip().is_unspecified() && (own.is_ipv4() == address.is_ipv4() || takes_both());
    own.port() == address.port() && (canonical(own) == canonical(address) || is_everywhere)
}

/// What can still be asked of a socket that listens.
fn prepare(socket: &TcpListener, address: SocketAddr, options: &SocketOptions) {
    tcp::prepare(socket);
    let raw = SockRef::from(socket);
    if let Err(error) = raw.set_nonblocking(true) {
        warn!(%address, %error, "the socket may hold up others");
    }
    if options.fast_open
        && let Err(error) = tcp::listen_fast_open(&raw)
    {
        warn!(%address, %error, "TCP Fast Open cannot be had; listening without");
    }
    if options.mptcp && !is_multipath(&raw) {
        warn!(%address, "the socket of the service manager has no Multipath TCP: that is its to ask for");
    }
}

/// Whether a socket is one for Multipath TCP.
fn is_multipath(socket: &Socket) -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    return socket.protocol().is_ok_and(|protocol| protocol == Some(262.into()));
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let _ = socket;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handed(address: &str) -> (HandedOver, SocketAddr) {
        let socket = TcpListener::bind(address).unwrap();
        let address = socket.local_addr().unwrap();
        (HandedOver::new(vec![("web".into(), socket)]), address)
    }

    #[test]
    fn a_socket_is_taken_where_it_has_the_address() {
        let options = SocketOptions::default();
        for (own, asked, taken) in [
            ("127.0.0.1:0", "127.0.0.1", true),
            ("127.0.0.1:0", "127.0.0.2", false),
            ("127.0.0.1:0", "0.0.0.0", false),
            ("0.0.0.0:0", "127.0.0.1", true),
            ("0.0.0.0:0", "0.0.0.0", true),
        ] {
            let (mut handed, address) = handed(own);
            let asked = SocketAddr::new(asked.parse().unwrap(), address.port());
            assert_eq!(handed.find(asked, &options), taken, "{own} {asked}");
            assert_eq!(handed.into_found().is_ok(), taken);
        }
        let (mut handed, address) = handed("127.0.0.1:0");
        assert!(!handed.find(SocketAddr::new(address.ip(), address.port() ^ 1), &options));
        let Err(error) = handed.into_found() else { panic!("it is taken") };
        assert!(
            error.to_string().contains(&format!("web, which the service manager hands over, has {address}"))
        );
    }
}
