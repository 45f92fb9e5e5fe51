//! The server half: accept, look at the first bytes, open the disguise, dial Shadowsocks, relay; or
//! hand the visitor to the website.

use crate::config::{ServerConfig, TunnelConfig};
use crate::detect::read::{self, Arrival};
use crate::detect::{GuessedProtocol, Rules};
use crate::fallback::{Claimed, Fallback, Place};
use crate::net::conn_info::ConnInfo;
use crate::net::dial::{DialError, Dialer};
use crate::net::listen::Listeners;
use crate::net::own_addresses::OwnAddresses;
use crate::relay::{CodecError, Flow, Identity, Outcome, Relay, RelayStream as _, Side, Timeouts};
use crate::service::{Half, Service, StartError};
use crate::transport::tls::Acceptor;
use crate::transport::{Stream, proxy_protocol};
use crate::wire::fake_tls::ReceivedHello;
use crate::wire::http::Upgrade;
use crate::{telemetry, transport};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tracing::{debug, info, warn};

mod tls;
mod web;

/// The server half: what all its connections share.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    backend: Arc<Dialer>,
    fallback: Fallback,
    timeouts: Timeouts,
    tls: Option<Acceptor>,
    /// Which connections are ours inside TLS.
    inside: Rules,
}

impl Server {
    /// Listens on the public addresses.
    ///
    /// # Errors
    ///
    /// One of them cannot be had, or the certificate cannot.
    pub fn bind(config: ServerConfig, tunnel: &TunnelConfig) -> Result<Service<Server>, StartError> {
        let h2 = config.failover.h2.is_some();
        let tls = config.tls.as_ref().map(|tls| Acceptor::new(tls, h2)).transpose()?;
        let refuse_ourselves = |own: &OwnAddresses| {
            let found = config.behind().find_map(|(name, address)| Some((name, own.find([address])?)));
            found.map_or(Ok(()), |(name, (address, own))| {
                Err(StartError::Circle(format!("{name} {address}"), own))
            })
        };
        refuse_ourselves(&OwnAddresses::to_be(&config.listen))?;
        let listeners = Listeners::bind(&config.listen, &tunnel.sockets)?;
        let behind = tunnel.sockets.for_upstream();
        let backend = Arc::new(Dialer::new(vec![config.backend.clone()], behind.clone()));
        let timeouts = Timeouts::new(tunnel.idle_timeout);
        let own = OwnAddresses::of(&listeners);
        refuse_ourselves(&own)?;
        let fallback = Fallback::new(&config, &behind, timeouts, &own)?;
        let inside = config.rules.inside_tls();
        let server = Server { config, backend, fallback, timeouts, tls, inside };
        Ok(Service::new(listeners, server))
    }

    /// Says whether clients with `obfs=tls` are taken beside real TLS, where that may be asked.
    pub fn tell_about_fake_tls(&self) {
        let Server { config, tls: Some(tls), .. } = self else { return };
        if config.fake_tls_is_left_out() {
            info!(
                "clients with obfs=tls are not taken beside TLS; obfs-tls-host=NAME takes those that ask for NAME"
            );
        }
        let names = config.rules.fake_tls.iter().flat_map(|rule| &rule.server_names);
        for _ in names.filter(|name| tls.has_name(name.as_bytes())) {
            warn!(
                "the certificate has a name of obfs-tls-host: who asks the website for it may find the tunnel; give \
                 these clients another name"
            );
        }
    }
}

impl Half for Server {
    fn start(&self) {
        if let Some(tls) = &self.tls {
            tls.keep_up();
        }
    }

    async fn serve(self: Arc<Server>, visitor: TcpStream, peer: SocketAddr) {
        self.serve_visitor(visitor, peer).await;
    }
}

impl Server {
    async fn serve_visitor(&self, mut visitor: TcpStream, peer: SocketAddr) {
        let began = Instant::now();
        let mut peer = ConnInfo::new(peer);
        // A website may want to be told, or to say where it is, and a certificate may be for an address.
        let failover = &self.config.failover;
        if (self.tls.is_some() || failover.proxy.is_some() || failover.plain.says_where_it_is())
            && peer.load_local_addr(&visitor).is_err()
        {
            return debug!(%peer, "gone already");
        }
        if self.config.fronts.sends_proxy_header(peer.visitor.ip()) {
            match Box::pin(proxy_protocol::receive(&mut visitor)).await {
                Ok(Some(addresses)) => peer.apply_proxy_header(addresses),
                // Where the proxy speaks for itself, the ends of the socket are the right ones.
                Ok(None) => {}
                Err(error) => return error.tell(peer),
            }
        }
        // The stages before the relay are large and short: each is on the heap for as long as it runs,
        // so that a tunnel does not carry them through its life.
        let place = |speech| self.place(speech);
        let arrival = read::read(&mut visitor, &peer, &self.config.rules, &self.fallback, place);
        let arrival = Box::pin(arrival).await;
        peer.read_forwarded_for(arrival.bytes(), &self.config.fronts);
        let opened = match arrival {
            Arrival::Http(upgrade, bytes) => self.upgraded(visitor.into(), upgrade, bytes).await,
            Arrival::FakeTls(hello, bytes) => {
                match Box::pin(self.fake_tls(visitor.into(), hello, bytes)).await {
                    Ok(tunnel) => Ok(tunnel.await),
                    Err(error) => Err(error),
                }
            }
            // On the heap: whoever comes without TLS has no room for it.
            Arrival::Tls(bytes, site) => {
                return Box::pin(self.tls(visitor, bytes, site, &mut peer, began)).await;
            }
            Arrival::Visitor(bytes, site) => {
                let place = self.place(self.config.rules.speech(&bytes));
                if place == Place::Tls && self.tls.is_some() && !self.fallback.has(place) {
                    // Nobody else is there to say what is wrong with it.
                    return Box::pin(self.tls(visitor, bytes, None, &mut peer, began)).await;
                }
                match Box::pin(self.fallback.receive(visitor.into(), &peer, place, bytes, site, began)).await
                {
                    None => return,
                    Some(Claimed { visitor, upgrade, bytes }) => {
                        // A proxy in front may speak for another user than before.
                        peer.read_forwarded_for(&bytes, &self.config.fronts);
                        Box::pin(self.upgraded(visitor, upgrade, bytes)).await
                    }
                }
            }
            Arrival::Gone(error) => Err(TunnelError::Gone(error)),
        };
        note(&peer, began, opened);
    }

    /// Where visitors go by what they speak to the port.
    fn place(&self, speech: GuessedProtocol) -> Place {
        match speech {
            GuessedProtocol::Tls => Place::Tls,
            GuessedProtocol::Plain if self.tls.is_some() => Place::Clear,
            GuessedProtocol::Plain => Place::Plain,
        }
    }

    /// A client whose upgrade is taken.
    async fn upgraded(
        &self,
        client: Stream,
        upgrade: Upgrade,
        bytes: Vec<u8>,
    ) -> Result<Outcome, TunnelError> {
        let tunnel = if self.config.rules.websocket() {
            Box::pin(self.web(client, upgrade, bytes)).await?
        } else {
            Box::pin(self.http(client, upgrade, bytes)).await?
        };
        Ok(tunnel.await)
    }

    /// `obfs=http`: grants the upgrade and dials Shadowsocks.
    async fn http(
        &self,
        mut client: Stream,
        upgrade: Upgrade,
        mut bytes: Vec<u8>,
    ) -> Result<Tunnel, TunnelError> {
        // Proxies in front hold the tunnel until they have seen the answer, so it does not wait for
        // anything.
        let granted = transport::http::grant(&mut client, upgrade.key(&bytes), None).await;
        bytes.drain(..upgrade.head_len.min(bytes.len()));
        self.raw(client, granted, bytes).await
    }

    /// Dials Shadowsocks for a stream that has no frames, from `payload` on. Where the upgrade could not be
    /// `granted` the client has reset its connection: what it had said before is passed on, and then the
    /// reset.
    async fn raw(
        &self,
        mut client: Stream,
        granted: io::Result<()>,
        payload: Vec<u8>,
    ) -> Result<Tunnel, TunnelError> {
        let backend = self.dial_backend(&mut client).await?;
        let payload_len = payload.len();
        let up = Flow::with_pending(Identity, payload, payload_len);
        let relay = Relay::new(client, backend, up, Flow::new(Identity), self.timeouts);
        Ok(Box::pin(relay.broken(Side::Near, granted.err()).run()))
    }

    /// Dials Shadowsocks. A client for which it cannot be reached is reset, or it would take the end of
    /// the connection for that of an answer.
    async fn dial_backend(&self, client: &mut Stream) -> Result<TcpStream, TunnelError> {
        Box::pin(self.backend.connect()).await.map_err(|error| {
            client.abort();
            TunnelError::Backend(error)
        })
    }

    /// `obfs=tls`: dials Shadowsocks.
    async fn fake_tls(
        &self,
        mut client: Stream,
        hello: ReceivedHello,
        bytes: Vec<u8>,
    ) -> Result<Tunnel, TunnelError> {
        let (up, down) = transport::fake_tls::server_flows(&hello, bytes);
        let backend = self.dial_backend(&mut client).await?;
        Ok(Box::pin(Relay::new(client, backend, up, down, self.timeouts).run()))
    }
}

/// A tunnel that stands, to be run. It is all that is left of the stages that opened it, each of which is
/// larger than it is.
type Tunnel = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// Tells the log how a client fared.
fn note(peer: &ConnInfo, began: Instant, opened: Result<Outcome, TunnelError>) {
    match opened {
        Ok(outcome) => telemetry::tunnel_ended(peer, "tunnel", began, &outcome),
        Err(TunnelError::Empty) => debug!(%peer, "closed before its first byte: no tunnel"),
        Err(TunnelError::Gone(error)) => debug!(%peer, %error, "gone before there was a tunnel"),
        Err(error) => warn!(%peer, %error, "no tunnel"),
    }
}

/// Why a client got no tunnel.
#[derive(Debug, Error)]
enum TunnelError {
    #[error("the connection broke: {0}")]
    Gone(io::Error),
    #[error("Shadowsocks cannot be reached: {0}")]
    Backend(DialError),
    #[error("{0}")]
    Malformed(CodecError),
    #[error("closed before its first byte")]
    Empty,
}
