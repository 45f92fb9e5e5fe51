//! What is asked of sockets.

use std::net::IpAddr;
use std::path::PathBuf;

/// What is asked of the sockets.
#[derive(Debug, Clone, Default)]
pub struct SocketOptions {
    /// Send and take data with the SYN (RFC 7413), where the system can.
    pub fast_open: bool,
    /// Multipath TCP (RFC 8684), where the system can.
    pub mptcp: bool,
    /// The network interface that dialled connections leave by.
    pub interface: Option<String>,
    /// The address that is dialled from.
    pub source: Option<IpAddr>,
    /// Of a name's addresses, try IPv6 first.
    pub ipv6_first: bool,
    /// Where Android's VPN service takes the sockets that are to go around it.
    pub protect: Option<PathBuf>,
    /// `SO_MARK`, where the system has it.
    pub mark: Option<u32>,
}

impl SocketOptions {
    /// The same for connections to what stands behind a server. They are short: what saves round trips
    /// or joins paths on the way between the halves gains nothing there.
    pub fn for_upstream(&self) -> SocketOptions {
        SocketOptions { fast_open: false, mptcp: false, ..self.clone() }
    }
}
