//! How the system looks a name up. It blocks.

#[cfg(target_os = "linux")]
mod dnsproxyd;

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};

/// The addresses of a name, with this port.
///
/// # Errors
///
/// What the system says.
pub fn addresses(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    #[cfg(target_os = "linux")]
    if let Some(resolver) = dnsproxyd::Resolver::of_android() {
        return resolver.look_up(name, port);
    }
    Ok((name, port).to_socket_addrs()?.collect())
}
