//! QUIC (RFC 9000) as v2ray-plugin's `mode=quic` has it.

#[cfg(feature = "server")]
pub mod demux;
#[cfg(feature = "server")]
mod expiring;
#[cfg(feature = "server")]
mod flights;
pub mod ids;
#[cfg(all(test, feature = "server"))]
mod test_socket;
#[cfg(feature = "server")]
mod website;
