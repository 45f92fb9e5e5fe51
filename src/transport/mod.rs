//! The disguises on sockets: what turns a fresh connection into a tunnel. Each has the same two functions, a
//! client's `open` and a server's `accept`, and a row in both of the matches here.

mod answer;
mod error;
pub mod fake_tls;
pub mod framed;
pub mod framing;
#[cfg(feature = "grpc")]
pub mod grpc;
#[cfg(not(feature = "grpc"))]
#[path = "no_grpc.rs"]
pub mod grpc;
#[cfg(feature = "grpc")]
pub mod h2;
pub mod http;
mod mux_detector;
pub mod proxy_protocol;
#[cfg(any(feature = "quic", feature = "grpc"))]
mod question;
#[cfg(feature = "quic")]
pub mod quic;
#[cfg(not(feature = "quic"))]
#[path = "no_quic.rs"]
pub mod quic;
mod stream;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(not(feature = "tls"))]
#[path = "no_tls.rs"]
pub mod tls;
#[cfg(any(feature = "quic", feature = "grpc"))]
pub(crate) mod usage;
pub mod websocket;
#[cfg(any(feature = "quic", feature = "grpc"))]
mod windows;

pub use crate::relay::{Relaying, Tunnel};
pub use error::{NotAccepted, NotOpened};
pub use grpc::GrpcOpener;
pub use mux_detector::{Accepted, OpenMux};
pub use quic::{QuicOpener, QuicPackets};
pub use stream::Stream;
pub use websocket::WebOpener;

use crate::config::{ClientDisguise, Handshake, RequestConfig};
use crate::detect::ClientKind;
use crate::net::Dialer;
use crate::telemetry::{Kind, TunnelKind};
use std::pin::Pin;
use std::sync::Arc;
use tls::TlsError;

/// Opens tunnels.
#[derive(Debug)]
pub enum Opener {
    /// With simple-obfs's `obfs=http`.
    Http(Dialer, RequestConfig, Handshake),
    /// With simple-obfs's `obfs=tls`: this name in the hello, and whether nobody knows how it is cut into segments:
    /// what is said first may leave before there is a connection, or goes through a proxy.
    FakeTls(Dialer, String, bool),
    /// With v2ray-plugin's disguises.
    Web(WebOpener),
    /// With v2ray-plugin's QUIC.
    Quic(Box<QuicOpener>),
    /// With v2ray's gRPC.
    Grpc(Box<GrpcOpener>),
}

impl Opener {
    /// Opens tunnels of this kind to what the dialer dials. `unknown_cuts` is as of [`Opener::FakeTls`].
    ///
    /// # Errors
    ///
    /// The roots for TLS cannot be had.
    pub fn new(disguise: ClientDisguise, dialer: Dialer, unknown_cuts: bool) -> Result<Opener, TlsError> {
        Ok(match disguise {
            ClientDisguise::Http(request, handshake) => Opener::Http(dialer, request, handshake),
            ClientDisguise::FakeTls { server_name } => Opener::FakeTls(dialer, server_name, unknown_cuts),
            ClientDisguise::Web(config) => Opener::Web(WebOpener::new(config, dialer)?),
            ClientDisguise::Quic(config) => Opener::Quic(Box::new(QuicOpener::new(config, dialer)?)),
            ClientDisguise::Grpc(config) => Opener::Grpc(Box::new(GrpcOpener::new(config, dialer)?)),
        })
    }

    /// What the tunnels are.
    pub fn kind(&self) -> Kind {
        match self {
            Opener::Http(..) => Kind::Tunnel(TunnelKind::Http),
            Opener::FakeTls(..) => Kind::Tunnel(TunnelKind::FakeTls),
            Opener::Web(web) => web.kind(),
            Opener::Quic(_) => Kind::Tunnel(TunnelKind::Quic),
            Opener::Grpc(_) => Kind::Tunnel(TunnelKind::Grpc),
        }
    }

    /// The servers that are dialled, for people.
    pub fn server(&self) -> &Arc<str> {
        match self {
            Opener::Http(dialer, ..) | Opener::FakeTls(dialer, ..) => dialer.shown(),
            Opener::Web(web) => web.server(),
            Opener::Quic(quic) => quic.server(),
            Opener::Grpc(grpc) => grpc.server(),
        }
    }

    /// No tunnels are opened from now on.
    pub fn retire(&self) {
        match self {
            Opener::Quic(quic) => quic.retire(),
            Opener::Grpc(grpc) => grpc.retire(),
            Opener::Http(..) | Opener::FakeTls(..) | Opener::Web(_) => {}
        }
    }

    /// Tells servers that the process ends, where the system does not do that.
    pub fn farewell(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send + '_>>> {
        match self {
            Opener::Quic(quic) => Some(Box::pin(quic.close())),
            Opener::Grpc(grpc) => Some(Box::pin(grpc.close())),
            Opener::Http(..) | Opener::FakeTls(..) | Opener::Web(_) => None,
        }
    }

    /// Opens a tunnel in which `first` is said first.
    ///
    /// # Errors
    ///
    /// The server cannot be reached, or does not grant it.
    pub async fn open(&self, first: Vec<u8>) -> Result<Tunnel, NotOpened> {
        match self {
            Opener::Http(dialer, request, handshake) => http::open(dialer, request, *handshake, first).await,
            Opener::FakeTls(dialer, name, unknown_cuts) => {
                fake_tls::open(dialer, name, *unknown_cuts, first).await
            }
            Opener::Web(web) => web.open(first).await,
            Opener::Quic(quic) => quic.open(first).await,
            Opener::Grpc(grpc) => grpc.open(first).await,
        }
    }
}

/// What a client of this kind has.
pub fn kind(client: &ClientKind) -> Kind {
    match client {
        ClientKind::Http(_) => Kind::Tunnel(TunnelKind::Http),
        ClientKind::FakeTls(_) => Kind::Tunnel(TunnelKind::FakeTls),
        ClientKind::Web(upgrade) if upgrade.versioned => Kind::Tunnel(TunnelKind::WebSocket),
        // A key without a version is simple-obfs's.
        ClientKind::Web(upgrade) if upgrade.key.is_some() => Kind::Tunnel(TunnelKind::Http),
        ClientKind::Web(_) => Kind::Tunnel(TunnelKind::HttpUpgrade),
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
