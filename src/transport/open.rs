//! A client's side of every disguise: the server is dialled, and the disguise opened around what the
//! application says first.

use super::answer::{Unanswered, awaited};
use super::fake_tls::{self, Cut};
use super::http::{self, StripAnswer, UpgradeError};
use super::tls::{ConnectError, Connector, TlsError};
use super::websocket::{Handoff, WebSocket};
use super::{Stream, Tunnel};
use crate::config::{ClientDisguise, Handshake, RequestConfig, WebBody, WebConfig};
use crate::net;
use crate::net::dial::{DialError, Dialer};
use crate::relay::{Direction, Flows, Identity, ProtocolError};
use crate::wire::http::{HeaderOrder, UpgradeRequest};
use crate::wire::websocket::{Role, encode_early_data, key};
use thiserror::Error;

/// Opens tunnels.
#[derive(Debug)]
pub enum Opener {
    /// With simple-obfs's `obfs=http`.
    Http(Dialer, RequestConfig, Handshake),
    /// With simple-obfs's `obfs=tls`: this name in the hello, and whether what is said first may leave before
    /// there is a connection.
    FakeTls(Dialer, String, bool),
    /// With v2ray-plugin's disguises.
    Web(WebOpener),
}

/// Opens tunnels with v2ray-plugin's disguises.
#[derive(Debug)]
pub struct WebOpener {
    config: WebConfig,
    dialer: Dialer,
    tls: Option<Connector>,
}

/// Why there is no tunnel.
#[derive(Debug, Error)]
pub enum NotOpened {
    /// There is no connection to the server.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// TLS with the server failed.
    #[error(transparent)]
    Tls(#[from] ConnectError),
    /// The server did not grant the upgrade.
    #[error(transparent)]
    Upgrade(#[from] UpgradeError),
    /// The disguise has no room for what is asked of it.
    #[error("{0}")]
    Malformed(ProtocolError),
}

impl NotOpened {
    /// Where it failed, for the log.
    pub fn stage(&self) -> &'static str {
        match self {
            NotOpened::Dial(_) => "dial",
            NotOpened::Tls(_) => "tls",
            NotOpened::Upgrade(_) | NotOpened::Malformed(_) => "open",
        }
    }
}

impl Opener {
    /// Opens tunnels of this kind to what the dialer dials.
    ///
    /// # Errors
    ///
    /// The roots for TLS cannot be had.
    pub fn new(disguise: ClientDisguise, dialer: Dialer, fast_open: bool) -> Result<Opener, TlsError> {
        Ok(match disguise {
            ClientDisguise::Http(request, handshake) => Opener::Http(dialer, request, handshake),
            ClientDisguise::FakeTls { server_name } => Opener::FakeTls(dialer, server_name, fast_open),
            ClientDisguise::Web(config) => Opener::Web(WebOpener::new(config, dialer)?),
        })
    }

    /// Opens a tunnel in which `first` is said first.
    ///
    /// # Errors
    ///
    /// The server cannot be reached, or does not grant it.
    pub async fn open(&self, first: Vec<u8>) -> Result<Tunnel, NotOpened> {
        match self {
            Opener::Http(dialer, request, handshake) => http(dialer, request, *handshake, first).await,
            Opener::FakeTls(dialer, name, fast_open) => fake_tls(dialer, name, *fast_open, first).await,
            Opener::Web(web) => web.open(first).await,
        }
    }
}

async fn http(
    dialer: &Dialer,
    request: &RequestConfig,
    handshake: Handshake,
    first: Vec<u8>,
) -> Result<Tunnel, NotOpened> {
    let first_len = first.len();
    match handshake {
        Handshake::Eager => {
            let mut flight = [http::request(request, Some(first_len)), first].concat();
            let (server, sent) = dialer.connect_with(&flight).await?;
            flight.drain(..sent);
            Ok(eager(server.into(), flight, first_len))
        }
        Handshake::Standard => {
            let mut request = http::request(request, None);
            let (server, sent) = dialer.connect_with(&request).await?;
            request.drain(..sent);
            standard(server.into(), &request, first).await
        }
    }
}

async fn fake_tls(
    dialer: &Dialer,
    server_name: &str,
    fast_open: bool,
    first: Vec<u8>,
) -> Result<Tunnel, NotOpened> {
    let (server, opening) = if fast_open {
        let mut opening = fake_tls::opening(server_name, first, Cut::Syn).map_err(NotOpened::Malformed)?;
        let (server, sent) = dialer.connect_with(&opening.flight).await?;
        opening.flight.drain(..sent);
        (server, opening)
    } else {
        let server = dialer.connect().await?;
        let cut = Cut::Segments(net::segment_size(&server));
        (server, fake_tls::opening(server_name, first, cut).map_err(NotOpened::Malformed)?)
    };
    Ok(Tunnel::dialled(Unanswered::new(server.into(), true), fake_tls::client_flows(opening)))
}

impl WebOpener {
    /// Opens tunnels of this kind to what the dialer dials.
    ///
    /// # Errors
    ///
    /// The roots for TLS cannot be had.
    pub fn new(config: WebConfig, dialer: Dialer) -> Result<WebOpener, TlsError> {
        let tls = config.tls.as_ref().map(Connector::new).transpose()?;
        Ok(WebOpener { config, dialer, tls })
    }

    async fn open(&self, mut first: Vec<u8>) -> Result<Tunnel, NotOpened> {
        let handshake = match self.config.body {
            WebBody::Frames => {
                let (server, mut flows, _) = self.websocket(&mut first).await?.into_flows();
                if !first.is_empty() {
                    flows.feed(Direction::Up, &mut first);
                }
                return Ok(Tunnel::dialled(server, flows));
            }
            WebBody::Raw(handshake) => handshake,
        };
        let server = self.connect().await?;
        let mut request = request(&self.config, None, &mut first);
        match handshake {
            Handshake::Eager => {
                let first_len = first.len();
                request.append(&mut first);
                Ok(eager(server, request, first_len))
            }
            Handshake::Standard => standard(server, &request, first).await,
        }
    }

    /// Opens a WebSocket connection. As much of `first` as the configuration allows goes with the request,
    /// and is taken from it.
    ///
    /// # Errors
    ///
    /// The server cannot be reached, or does not grant it.
    pub async fn websocket(&self, first: &mut Vec<u8>) -> Result<Handoff<Stream>, NotOpened> {
        let mut server = self.connect().await?;
        let key = key(rand::random());
        let request = request(&self.config, Some(&key), first);
        let mut behind = awaited(&mut server, &request, Some(&key)).await?;
        let websocket = WebSocket::new(Role::Client, key.as_bytes());
        let mut handoff = Handoff::new(server, websocket, Vec::new());
        handoff.take(&mut behind);
        Ok(handoff)
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

/// A raw stream behind a request whose answer nothing waits for. `flight` is what is left to send of the
/// request and of the `first_len` bytes behind it.
fn eager(server: Stream, flight: Vec<u8>, first_len: usize) -> Tunnel {
    let flows = Flows::new(StripAnswer::default()).with_pending(Direction::Up, flight, first_len);
    Tunnel::dialled(Unanswered::new(server, false), flows)
}

/// A raw stream behind a request that has been granted.
async fn standard(mut server: Stream, request: &[u8], first: Vec<u8>) -> Result<Tunnel, NotOpened> {
    let behind = awaited(&mut server, request, None).await?;
    let flows = Flows::new(Identity).with_payload(Direction::Up, first).with_payload(Direction::Down, behind);
    Ok(Tunnel::dialled(server, flows))
}

/// The request, with the front of `first` in it as far as early data are wanted.
fn request(config: &WebConfig, key: Option<&str>, first: &mut Vec<u8>) -> Vec<u8> {
    let rest = first.split_off(first.len().min(config.early_data));
    let early = std::mem::replace(first, rest);
    let protocol = (!early.is_empty()).then(|| encode_early_data(&early));
    UpgradeRequest {
        method: "GET",
        path: &config.path,
        host: &config.host,
        user_agent: &config.user_agent,
        key,
        versioned: key.is_some(),
        protocol: protocol.as_deref(),
        content_length: None,
        headers: &config.headers,
        order: HeaderOrder::GO,
    }
    .encode()
}
