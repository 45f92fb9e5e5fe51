//! The disguises on sockets: what turns a fresh connection into a tunnel.

pub mod fake_tls;
pub mod framing;
pub mod http;
pub mod proxy_protocol;
mod stream;
pub mod tls;
pub mod websocket;

pub use stream::Stream;
