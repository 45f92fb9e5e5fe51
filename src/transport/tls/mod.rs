//! TLS around a disguise: rustls on a socket.

mod certificate;
mod client;
mod connect_error;
mod error;
mod facts;
mod files;
mod provider;
mod server;
mod stream;
mod tickets;
mod upstream;

pub use client::Connector;
#[cfg(feature = "quic")]
pub(super) use client::{client_config, verifier};
pub use connect_error::ConnectError;
#[cfg(feature = "quic")]
pub(super) use connect_error::explain;
pub use error::TlsError;
pub use facts::CertificateFacts;
pub use server::Acceptor;
pub use stream::TlsStream;
pub use upstream::{NoCertificateVerification, UpstreamTls};
