//! Ports that nobody else is to take, on Windows.

use super::tcp::tuned;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::windows::io::AsRawSocket as _;
use windows_sys::Win32::Networking::WinSock::{SO_EXCLUSIVEADDRUSE, SOCKET, SOL_SOCKET, setsockopt};

/// Has nobody else take the port that a socket will have. Without this any program of the same user may, by asking for
/// it with `SO_REUSEADDR`, and have connections that were meant for us.
pub(super) fn keep_from_others(socket: &Socket) {
    let yes = 1_i32;
    // SAFETY: the socket is open for as long as it is borrowed, and the pointer and the length are those of a living
    // integer, which is only read.
    let result = unsafe {
        setsockopt(
            socket.as_raw_socket() as SOCKET,
            SOL_SOCKET,
            SO_EXCLUSIVEADDRUSE,
            (&raw const yes).cast(),
            size_of_val(&yes) as i32,
        )
    };
    tuned("SO_EXCLUSIVEADDRUSE", if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) });
}

/// Listens at an address, which nobody else is to have.
///
/// # Errors
///
/// It cannot be had.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    const BACKLOG: i32 = 128;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    keep_from_others(&socket);
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
