//! UDP sockets.

use super::listen::{ListenError, is_v4_wildcard, lacks_family};
use super::resolve;
use super::tcp::tuned;
use crate::net::addr::{Host, HostPort};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io;
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;
use tracing::debug;

/// What the system is asked to keep for a socket each way: what comes in some milliseconds while its thread is busy. It
/// cuts it to its own limit.
const BUFFER: usize = 4 * 1024 * 1024;

/// Has the system keep more for a socket than it does by itself.
pub(super) fn enlarge_buffers<'a>(socket: impl Into<SockRef<'a>>) {
    set_buffers(socket, BUFFER);
}

/// Has the system keep so many bytes for a socket each way. It cuts that to its own limit, which is not root's.
pub(crate) fn set_buffers<'a>(socket: impl Into<SockRef<'a>>, bytes: usize) {
    let socket: SockRef<'_> = socket.into();
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if rustix::net::sockopt::set_socket_recv_buffer_size_force(&*socket, bytes).is_ok()
        && rustix::net::sockopt::set_socket_send_buffer_size_force(&*socket, bytes).is_ok()
    {
        return;
    }
    tuned("SO_RCVBUF", socket.set_recv_buffer_size(bytes));
    tuned("SO_SNDBUF", socket.set_send_buffer_size(bytes));
}

/// Takes the UDP port of every address; of all addresses of a name.
///
/// # Errors
///
/// The first address that cannot be had.
pub fn bind(addresses: &[HostPort]) -> Result<Vec<UdpSocket>, ListenError> {
    let mut sockets = Vec::new();
    for address in addresses {
        let fail = |error| ListenError::Udp { address: address.clone(), error };
        match &address.host {
            Host::Ip(ip) => {
                let only_v6 = *ip == Ipv6Addr::UNSPECIFIED && addresses.iter().any(is_v4_wildcard);
                match socket(SocketAddr::new(*ip, address.port), only_v6) {
                    // Both wildcards mean "everywhere", also where IPv6 is switched off.
                    Err(error) if only_v6 && lacks_family(&error) => {
                        debug!(%address, %error, "there is no IPv6 here");
                    }
                    socket => sockets.push(socket.map_err(fail)?),
                }
            }
            Host::Name(name) => {
                let mut refused = io::Error::from(io::ErrorKind::AddrNotAvailable);
                let before = sockets.len();
                for address in resolve::addresses(name, address.port).map_err(fail)? {
                    match socket(address, false) {
                        Ok(socket) => sockets.push(socket),
                        Err(error) => refused = error,
                    }
                }
                if sockets.len() == before {
                    return Err(fail(refused));
                }
            }
        }
    }
    Ok(sockets)
}

/// The same for ports that a host has chosen since they are free over TCP: somebody's short question may have one over UDP,
/// which is waited for a moment.
///
/// # Errors
///
/// As above.
pub fn bind_soon(addresses: &[HostPort]) -> Result<Vec<UdpSocket>, ListenError> {
    const TIMES: usize = 20;
    const PAUSE: Duration = Duration::from_millis(50);
    let mut tries = 1;
    loop {
        match bind(addresses) {
            Err(ListenError::Udp { error, .. })
                if error.kind() == io::ErrorKind::AddrInUse && tries < TIMES =>
            {
                tries += 1;
                #[expect(clippy::disallowed_methods, reason = "nothing is served yet")]
                std::thread::sleep(PAUSE);
            }
            bound => return bound,
        }
    }
}

fn socket(address: SocketAddr, only_v6: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    socket.set_nonblocking(true)?;
    enlarge_buffers(&socket);
    #[cfg(windows)]
    super::exclusive::keep_from_others(&socket);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_given_back_soon_is_waited_for() {
        let holder = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = HostPort::parse(&holder.local_addr().unwrap().to_string()).unwrap();
        assert!(bind(std::slice::from_ref(&address)).is_err());
        let waiting = std::thread::spawn({
            let address = address.clone();
            move || bind_soon(&[address]).map(|sockets| sockets.len())
        });
        drop(holder);
        assert_eq!(waiting.join().unwrap().unwrap(), 1);
        let _holder = UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, address.port)).unwrap();
        let refused = bind_soon(&[address]).unwrap_err().to_string();
        assert!(refused.contains("the next start finds another"), "{refused}");
    }
}
