//! Options that every TCP socket here gets.

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::IpAddr;
use std::time::Duration;
use tracing::{debug, warn};

/// A peer that is gone without a word is found after four minutes. Shorter intervals would keep
/// phones awake; longer ones outlive the memory of home routers.
fn keepalive() -> TcpKeepalive {
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(120));
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "macos", target_os = "freebsd"))]
    let keepalive = keepalive.with_interval(Duration::from_secs(30)).with_retries(4);
    // It probes ten times, which cannot be changed before Windows 10 1703.
    #[cfg(windows)]
    let keepalive = keepalive.with_interval(Duration::from_secs(12));
    keepalive
}

/// Has small writes go out at once, and silent peers probed. Both only tune a socket: a system that refuses
/// one of them carries the connection all the same.
pub(super) fn prepare<'a>(socket: impl Into<SockRef<'a>>) {
    let socket: SockRef<'_> = socket.into();
    tuned("TCP_NODELAY", socket.set_tcp_nodelay(true));
    tuned("keep-alive", socket.set_tcp_keepalive(&keepalive()));
}

/// The same for a socket that is going to dial. A peer on this machine does not go without a word, so
/// it is not probed, which saves four calls a connection.
pub(super) fn prepare_for<'a>(socket: impl Into<SockRef<'a>>, peer: IpAddr) {
    let socket: SockRef<'_> = socket.into();
    if peer.is_loopback() { tuned("TCP_NODELAY", socket.set_tcp_nodelay(true)) } else { prepare(socket) }
}

/// Takes note of whether a socket has taken an option that it works without.
pub(super) fn tuned(option: &str, result: io::Result<()>) {
    if let Err(error) = result {
        debug!(option, %error, "a socket option was refused");
    }
}

/// A stream socket that does not block.
pub(super) fn nonblocking(domain: Domain) -> io::Result<Socket> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    return Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP));
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    }
}

/// Lets a socket that is going to listen take data with the SYN.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn listen_fast_open(socket: &Socket) -> io::Result<()> {
    /// Connections that sent data with their SYN and whose handshake has not ended.
    const QUEUE: libc::c_int = 256;
    set_option(socket, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, QUEUE)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn listen_fast_open(_: &Socket) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Lets the first write of a socket that is going to dial travel with the SYN. False where the kernel
/// refuses, because it is too old or `net.ipv4.tcp_fastopen` says no.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn dial_fast_open(socket: &Socket) -> bool {
    set_option(socket, libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT, 1).is_ok()
}

/// A socket for Multipath TCP, prepared; `None` where the kernel has none, which is logged once.
pub(super) fn multipath(domain: Domain) -> Option<Socket> {
    /// Linux's number of the protocol, which not every libc has a name for. It is no other system's.
    const MPTCP: i32 = 262;
    static REFUSED: std::sync::Once = std::sync::Once::new();
    match Socket::new(domain, Type::STREAM, Some(Protocol::from(MPTCP))) {
        Ok(socket) => {
            socket.set_nonblocking(true).ok()?;
            // Older kernels know not all of these on such a socket.
            prepare(&socket);
            Some(socket)
        }
        Err(error) => {
            REFUSED.call_once(|| warn!(%error, "Multipath TCP cannot be had; using TCP"));
            None
        }
    }
}

/// Has a socket send through this device alone.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn bind_device(socket: &Socket, name: &str) -> io::Result<()> {
    socket.bind_device(Some(name.as_bytes()))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn bind_device(_: &Socket, _: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Lets the port be chosen at the connect, where it need only differ from those of connections to the
/// same peer: otherwise an address has as many connections as there are ports.
pub(super) fn choose_port_late(socket: &Socket) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Err(error) = set_option(socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1) {
        debug!(%error, "the port is chosen early");
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = socket;
}

/// Sets an option that socket2 does not know.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn set_option(socket: &Socket, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    use std::os::fd::AsRawFd as _;
    // SAFETY: the descriptor is open for as long as `socket` is borrowed, and the pointer and the
    // length are those of a living integer, which the kernel only reads.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The bytes of payload that one segment of an open connection carries, where the system tells.
pub fn segment_size(stream: &tokio::net::TcpStream) -> Option<u16> {
    #[cfg(unix)]
    return SockRef::from(stream).tcp_mss().ok().and_then(|mss| u16::try_from(mss).ok());
    #[cfg(not(unix))]
    {
        let _ = stream;
        None
    }
}
