//! The disguises on sockets: what turns a fresh connection into a tunnel. Each has the same two functions, a
//! client's `open` and a server's `accept`, and a row in both of the matches here.

mod answer;
pub mod fake_tls;
pub mod http;
pub mod proxy_protocol;
mod stream;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(not(feature = "tls"))]
#[path = "no_tls.rs"]
pub mod tls;
mod tunnel;
pub mod websocket;

pub use stream::Stream;
pub use tunnel::{NotAccepted, NotOpened, Relaying, Tunnel};
pub use websocket::Accepted;

use crate::config::{ClientDisguise, WebConfig};
use crate::detect::ClientKind;
use crate::net::Dialer;
use tls::{Connector, TlsError};
use websocket::OpenWebSocket;

/// Opens tunnels.
#[derive(Debug)]
pub struct Opener {
    disguise: ClientDisguise,
    dialer: Dialer,
    /// Whether what is said first may leave before there is a connection.
    fast_open: bool,
    tls: Option<Connector>,
}

impl Opener {
    /// Opens tunnels of this kind to what the dialer dials.
    ///
    /// # Errors
    ///
    /// The roots for TLS cannot be had.
    pub fn new(disguise: ClientDisguise, dialer: Dialer, fast_open: bool) -> Result<Opener, TlsError> {
        let tls = match &disguise {
            ClientDisguise::Web(web) => web.tls.as_ref().map(Connector::new).transpose()?,
            ClientDisguise::Http(..) | ClientDisguise::FakeTls { .. } => None,
        };
        Ok(Opener { disguise, dialer, fast_open, tls })
    }

    /// How many sessions of Mux.Cool share a connection, and its settings. `None` where each has its own.
    pub fn mux(&self) -> Option<&WebConfig> {
        match &self.disguise {
            ClientDisguise::Web(web) if web.mux > 0 => Some(web),
            _ => None,
        }
    }

    /// Opens a tunnel in which `first` is said first.
    ///
    /// # Errors
    ///
    /// The server cannot be reached, or does not grant it.
    pub async fn open(&self, first: Vec<u8>) -> Result<Tunnel, NotOpened> {
        match &self.disguise {
            ClientDisguise::Http(request, handshake) => {
                http::open(&self.dialer, request, *handshake, first).await
            }
            ClientDisguise::FakeTls { server_name } => {
                fake_tls::open(&self.dialer, self.fast_open, server_name, first).await
            }
            ClientDisguise::Web(web) => websocket::open(self.connect().await?, web, first).await,
        }
    }

    /// Opens a WebSocket connection. As much of `first` as the configuration allows goes with the request,
    /// and is taken from it.
    ///
    /// # Errors
    ///
    /// The server cannot be reached, or does not grant it.
    pub async fn websocket(
        &self,
        config: &WebConfig,
        first: &mut Vec<u8>,
    ) -> Result<OpenWebSocket<Stream>, NotOpened> {
        websocket::open_frames(self.connect().await?, config, first).await
    }

    /// Dials a server of v2ray-plugin's kind, through TLS if that is asked for.
    async fn connect(&self) -> Result<Stream, NotOpened> {
        let server = self.dialer.connect().await?;
        Ok(match &self.tls {
            None => server.into(),
            Some(tls) => tls.connect(server).await?.into(),
        })
    }
}

/// Grants a client what it asks for. `bytes` were read from it, with its request or hello in front.
///
/// # Errors
///
/// The client says nothing, or not what its format says; or `backend`, which is dialled where a client of
/// WebSocket says nothing for a while, cannot be reached.
pub async fn accept(
    client: Stream,
    kind: ClientKind,
    bytes: Vec<u8>,
    backend: &Dialer,
) -> Result<Accepted, NotAccepted> {
    let tunnel = match kind {
        ClientKind::Http(upgrade) => http::accept(client, &upgrade, bytes).await,
        ClientKind::FakeTls(hello) => fake_tls::accept(client, &hello, bytes),
        ClientKind::Web(upgrade) => return websocket::accept(client, &upgrade, bytes, backend).await,
    };
    Ok(Accepted::Tunnel(tunnel, None))
}
