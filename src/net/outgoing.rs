//! One outgoing connection: the socket with everything that was asked of it, and its handshake.

use super::{protect, tcp};
use crate::net::options::SocketOptions;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// How long one address may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects to one address. With Fast Open, `first` travels in the SYN as far as it fits; returns how
/// many bytes of it are on their way.
///
/// # Errors
///
/// What the socket was asked for cannot be had, or nobody answers there.
pub(super) async fn connect(
    address: SocketAddr,
    options: &SocketOptions,
    first: &[u8],
) -> io::Result<(TcpStream, usize)> {
    let address = reachable(address, cfg!(windows));
    let socket = open(address, options)?;
    if let Some(path) = &options.protect {
        protect::protect(path, &socket).await?;
    }
    match timeout(CONNECT_TIMEOUT, establish(socket, address, options, first)).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer")),
    }
}

/// A UDP socket from which this address can be reached, with what was asked of sockets. It is not connected.
///
/// # Errors
///
/// What the socket was asked for cannot be had.
#[cfg(feature = "quic")]
pub(super) async fn udp_socket(
    address: SocketAddr,
    options: &SocketOptions,
) -> io::Result<std::net::UdpSocket> {
    let socket = bound_udp(address, options)?;
    super::udp::enlarge_buffers(&socket);
    if let Some(path) = &options.protect {
        protect::protect(path, &socket).await?;
    }
    Ok(socket.into())
}

/// A UDP socket for this address alone, for one of many who say little. (Whom a server has behind it no VPN hides.)
///
/// # Errors
///
/// What the socket was asked for cannot be had, or no way leads there.
pub(super) fn connected_udp(address: SocketAddr, options: &SocketOptions) -> io::Result<std::net::UdpSocket> {
    let address = reachable(address, cfg!(windows));
    let socket = bound_udp(address, options)?;
    socket.connect(&address.into())?;
    Ok(socket.into())
}

/// Who dials "any address" gets the loopback. Windows alone refuses that.
fn reachable(address: SocketAddr, windows: bool) -> SocketAddr {
    let loopback = match address.ip() {
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::from(Ipv6Addr::LOCALHOST),
    };
    if windows && address.ip().is_unspecified() { SocketAddr::new(loopback, address.port()) } else { address }
}

fn bound_udp(address: SocketAddr, options: &SocketOptions) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    restrict(&socket, address, options)?;
    let any = if address.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0_u16; 8]) };
    let source = options.source.unwrap_or(any);
    socket
        .bind(&SocketAddr::new(source, 0).into())
        .map_err(|error| with("source address", &source.to_string(), &error))?;
    Ok(socket)
}

/// A socket for connections to this address.
fn open(address: SocketAddr, options: &SocketOptions) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = match options.mptcp.then(|| tcp::multipath(domain)).flatten() {
        Some(socket) => socket,
        None => {
            let socket = tcp::nonblocking(domain)?;
            tcp::prepare_for(&socket, address.ip());
            socket
        }
    };
    restrict(&socket, address, options)?;
    if let Some(source) = options.source {
        tcp::choose_port_late(&socket);
        socket
            .bind(&SocketAddr::new(source, 0).into())
            .map_err(|error| with("source address", &source.to_string(), &error))?;
    }
    Ok(socket)
}

/// Has a socket go the way that it was asked to.
fn restrict(socket: &Socket, address: SocketAddr, options: &SocketOptions) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(mark) = options.mark {
        socket.set_mark(mark).map_err(|error| with("mark", &mark.to_string(), &error))?;
    }
    // No device but its own leads to this machine.
    if let Some(name) = options.interface.as_deref().filter(|_| !address.ip().is_loopback()) {
        tcp::bind_device(socket, name).map_err(|error| with("interface", name, &error))?;
    }
    Ok(())
}

fn with(what: &str, name: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what} {name}: {error}"))
}

/// Whether a device can be bound to.
///
/// # Errors
///
/// What the system says.
pub fn check_device(name: &str) -> io::Result<()> {
    tcp::bind_device(&Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?, name)
}

async fn establish(
    socket: Socket,
    address: SocketAddr,
    options: &SocketOptions,
    first: &[u8],
) -> io::Result<(TcpStream, usize)> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if options.fast_open && !first.is_empty() && tcp::dial_fast_open(&socket) {
        return establish_with_data(socket, address, first).await;
    }
    let _ = (options, first);
    let stream = TcpSocket::from_std_stream(socket.into()).connect(address).await?;
    Ok((stream, 0))
}

/// The handshake of a socket whose first write makes the SYN, if the kernel has a cookie of the server.
/// Otherwise the kernel sends a plain SYN that asks for one, and takes no data yet.
#[cfg(any(target_os = "linux", target_os = "android"))]
async fn establish_with_data(
    socket: Socket,
    address: SocketAddr,
    first: &[u8],
) -> io::Result<(TcpStream, usize)> {
    use rustix::io::Errno;
    let waits =
        |error: &io::Error| matches!(Errno::from_io_error(error), Some(Errno::INPROGRESS | Errno::AGAIN));
    match socket.connect(&address.into()) {
        Err(error) if !waits(&error) => return Err(error),
        _ => {}
    }
    let sent = match socket.send(first) {
        Ok(sent) => sent,
        Err(error) if waits(&error) => 0,
        Err(error) => return Err(error),
    };
    // Only now does the reactor see the socket: before the SYN is out, it would be told that it can be
    // written to, which it is to be told when the connection stands.
    let stream = TcpStream::from_std(socket.into())?;
    loop {
        stream.writable().await?;
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        match stream.peer_addr() {
            Ok(_) => return Ok((stream, sent)),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                let not_yet = || io::Result::<()>::Err(io::ErrorKind::WouldBlock.into());
                let _ = stream.try_io(tokio::io::Interest::WRITABLE, not_yet);
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_address_is_dialled_where_it_can_be() {
        for (address, dialled) in [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80"),
        ] {
            let address: SocketAddr = address.parse().unwrap();
            assert_eq!(reachable(address, true).to_string(), dialled);
            assert_eq!(reachable(address, false), address);
        }
    }
}
