//! A server's side of every disguise: what was asked for is granted, and a tunnel stands.

use super::websocket::{self, Handoff, WebSocket};
use super::{Stream, Tunnel, fake_tls, http};
use crate::detect::ClientKind;
use crate::net::Dialer;
use crate::net::dial::DialError;
use crate::relay::ProtocolError;
use crate::wire::http::Upgrade;
use crate::wire::websocket::{Role, decode_early_data};
use std::io;
use thiserror::Error;
use tokio::net::TcpStream;

/// The most early data that is taken, in bytes: as much as the longest header line carries.
const EARLY_DATA: usize = 8192;

/// What stands.
pub enum Accepted {
    /// A tunnel with one stream in it, and the backend where it was dialled already.
    Tunnel(Tunnel, Option<TcpStream>),
    /// Sessions of Mux.Cool, and the backend where it was dialled already.
    Mux(Box<Handoff<Stream>>, Option<TcpStream>),
}

/// Why there is no tunnel.
#[derive(Debug, Error)]
pub enum NotAccepted {
    /// The client's connection broke.
    #[error("the connection broke: {0}")]
    Broken(io::Error),
    /// The backend was dialled before it was known what comes, and cannot be reached.
    #[error("Shadowsocks: {0}")]
    Backend(DialError),
    /// The client's bytes are not what its format says.
    #[error("{0}")]
    Malformed(ProtocolError),
    /// The client closed before it had said anything.
    #[error("closed before its first byte")]
    Empty,
}

/// Grants a client what it asks for. `bytes` were read from it, with its request or hello in front.
///
/// # Errors
///
/// The client says nothing, or not what its format says; or `backend`, which is dialled where a client of
/// WebSocket says nothing for a while, cannot be reached.
pub async fn accept(
    mut client: Stream,
    kind: ClientKind,
    mut bytes: Vec<u8>,
    backend: &Dialer,
) -> Result<Accepted, NotAccepted> {
    let tunnel = match kind {
        ClientKind::Http(upgrade) => {
            // Proxies in front hold the tunnel until they have seen the answer, so it does not wait for
            // anything.
            let granted = http::grant(&mut client, upgrade.key(&bytes), None).await;
            bytes.drain(..upgrade.head_len.min(bytes.len()));
            http::accepted(client, granted, bytes)
        }
        ClientKind::FakeTls(hello) => Tunnel::accepted(client, fake_tls::server_flows(&hello, bytes), None),
        ClientKind::Web(upgrade) => return web(client, upgrade, bytes, backend).await,
    };
    Ok(Accepted::Tunnel(tunnel, None))
}

/// Grants an upgrade with early data in it.
async fn web(
    mut client: Stream,
    upgrade: Upgrade,
    mut bytes: Vec<u8>,
    backend: &Dialer,
) -> Result<Accepted, NotAccepted> {
    // What is base64 is safe to echo.
    let protocol = upgrade.protocol(&bytes).and_then(|value| std::str::from_utf8(value).ok());
    let early = protocol.and_then(|value| decode_early_data(value.as_bytes(), EARLY_DATA));
    let protocol = protocol.filter(|_| early.is_some());
    let granted = http::grant(&mut client, upgrade.key(&bytes), protocol).await;
    let early = early.unwrap_or_default();
    let mut rest = bytes.split_off(upgrade.head_len.min(bytes.len()));
    if !upgrade.versioned {
        let payload = [early, rest].concat();
        return Ok(Accepted::Tunnel(http::accepted(client, granted, payload), None));
    }
    let websocket = WebSocket::new(Role::Server, upgrade.key(&bytes).unwrap_or_default());
    drop(bytes);
    let early_len = early.len();
    let mut handoff = Handoff::new(client, websocket, early);
    handoff.write_error = granted.err();
    handoff.take(&mut rest);
    drop(rest);
    Box::pin(websocket::accept(handoff, early_len, backend)).await
}
