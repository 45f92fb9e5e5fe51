//! Tunnels in gRPC, as v2ray, xray and sing-box have them: a stream of an HTTP/2 connection for each, with the bytes in
//! messages.
//!
//! v2ray answers with its first bytes; a server of ours does at once, since proxies in front hold back what comes before
//! the answer. What is said in the end are trailers: without them grpc-go throws away what it has not passed on. v2ray
//! and sing-box end their own direction, and with it the tunnel, by breaking off. Between our halves each direction ends
//! for itself.

mod answer;
mod client;
mod heard;
mod hunks;
#[cfg(feature = "server")]
mod server;
mod way;

pub use client::GrpcOpener;
pub use hunks::Hunks;
#[cfg(feature = "server")]
pub(crate) use server::accept;
pub use way::Way;

use thiserror::Error;

/// Why there is no stream.
#[derive(Debug, Error)]
pub enum GrpcError {
    /// The server's TLS has no HTTP/2 inside.
    #[error(
        "the server speaks no HTTP/2 in TLS (it has chosen {0}): has it `mode=grpc`, or `failover-h2` beside `serviceName`?"
    )]
    NoH2(String),
    /// The connection ended at once.
    #[error("the server ended the HTTP/2 connection: {0}")]
    Ended(std::io::Error),
    /// Another one has dialled meanwhile, in vain.
    #[error("{0}")]
    AsAnother(String),
    /// It takes no stream on a connection that has none.
    #[error("the server takes no streams")]
    NoStreams,
}
