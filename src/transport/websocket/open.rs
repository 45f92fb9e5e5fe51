//! A client's side of WebSocket and HTTPUpgrade: the request of a Go program.

use super::{OpenWebSocket, PacketStream, WebSocket};
use crate::config::{Handshake, WebBody, WebConfig};
use crate::net::Dialer;
use crate::relay::Direction;
use crate::telemetry::{Kind, TunnelKind};
use crate::transport::answer::awaited;
use crate::transport::http::{eager_tunnel, granted_tunnel};
use crate::transport::tls::{Connector, TlsError};
use crate::transport::{NotOpened, Stream, Tunnel};
use crate::wire::http::{HeaderOrder, UpgradeRequest};
use crate::wire::websocket::{Role, encode_early_data, key};
use std::sync::Arc;

/// Opens tunnels with v2ray-plugin's disguises.
#[derive(Debug)]
pub struct WebOpener {
    config: WebConfig,
    dialer: Dialer,
    tls: Option<Connector>,
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

    /// What the tunnels are.
    pub fn kind(&self) -> Kind {
        match self.config.body {
            WebBody::Frames => Kind::Tunnel(TunnelKind::WebSocket),
            WebBody::Raw(_) => Kind::Tunnel(TunnelKind::HttpUpgrade),
        }
    }

    /// The servers that are dialled, for people.
    pub fn server(&self) -> &Arc<str> {
        self.dialer.shown()
    }

    /// Opens a tunnel in which `first` is said first.
    pub(in crate::transport) async fn open(&self, mut first: Vec<u8>) -> Result<Tunnel, NotOpened> {
        let all = first.len();
        let WebBody::Raw(handshake) = self.config.body else {
            let (server, flows, _) = self.websocket(&mut first).await?.into_flows();
            let mut flows = flows.with_passed(Direction::Up, all - first.len());
            if !first.is_empty() {
                flows.feed(Direction::Up, &mut first);
            }
            return Ok(Tunnel::dialled(server, flows));
        };
        let server = self.connect().await?;
        let mut request = request(&self.config, None, &mut first);
        if handshake == Handshake::Standard {
            return granted_tunnel(server, &request, all - first.len(), first).await;
        }
        request.append(&mut first);
        Ok(eager_tunnel(server, request, all))
    }

    /// Opens a WebSocket connection. As much of `first` as the configuration allows goes with the request,
    /// and is taken from it.
    ///
    /// # Errors
    ///
    /// The server cannot be reached, or does not grant it.
    pub async fn websocket(&self, first: &mut Vec<u8>) -> Result<OpenWebSocket<Stream>, NotOpened> {
        let (server, websocket, mut behind) = self.upgraded(&self.config, first).await?;
        let mut open = OpenWebSocket::new(server, websocket, Vec::new());
        open.take(&mut behind);
        Ok(open)
    }

    /// Opens a WebSocket connection in which each message is a packet of UDP.
    ///
    /// # Errors
    ///
    /// As above.
    pub async fn packets(&self) -> Result<PacketStream, NotOpened> {
        let mut config = self.config.clone();
        config.headers.push(("X-Sock-Type".to_owned(), "udp".to_owned()));
        let (server, websocket, behind) = self.upgraded(&config, &mut Vec::new()).await?;
        Ok(PacketStream::new(server, websocket, behind))
    }

    /// Has a server grant a WebSocket connection, and what came right behind its answer.
    async fn upgraded(
        &self,
        config: &WebConfig,
        first: &mut Vec<u8>,
    ) -> Result<(Stream, WebSocket, Vec<u8>), NotOpened> {
        let mut server = self.connect().await?;
        let key = key(rand::random());
        let request = request(config, Some(&key), first);
        let behind = awaited(&mut server, &request, Some(&key)).await?;
        let websocket = WebSocket::new(Role::Client, key.as_bytes()).kept_alive(config.keep_alive);
        Ok((server, websocket, behind))
    }

    /// Dials the server, through TLS if that is asked for.
    async fn connect(&self) -> Result<Stream, NotOpened> {
        let server = self.dialer.connect().await?;
        Ok(match &self.tls {
            None => server.into(),
            Some(tls) => tls.connect(server).await?.into(),
        })
    }
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
