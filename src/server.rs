//! The server half: accept, look at the first bytes, open the disguise, dial Shadowsocks, relay; or
//! hand the visitor to the website.

use crate::config::{ServerConfig, TunnelConfig};
use crate::detect::read::{self, Arrival};
use crate::detect::{GuessedProtocol, Rules};
use crate::fallback::{Claimed, Fallback, Place};
use crate::net::conn_info::ConnInfo;
use crate::net::dial::Dialer;
use crate::net::listen::Listeners;
use crate::net::own_addresses::OwnAddresses;
use crate::relay::{Outcome, Timeouts};
use crate::service::{Half, Service, StartError};
use crate::transport::tls::Acceptor;
use crate::transport::{Accepted, Kind, NotAccepted, Stream, proxy_protocol};
use crate::wire::http::Upgrade;
use crate::{mux, telemetry, transport};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tracing::{debug, info, warn};

mod tls;

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
        server.tell_about_fake_tls();
        Ok(Service::new(listeners, server))
    }

    /// Says whether clients with `obfs=tls` are taken beside real TLS, where that may be asked.
    fn tell_about_fake_tls(&self) {
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
            tls.watch_files();
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
            Arrival::Http(upgrade, bytes) => self.tunnel(visitor.into(), self.kind(upgrade), bytes).await,
            Arrival::FakeTls(hello, bytes) => self.tunnel(visitor.into(), Kind::FakeTls(hello), bytes).await,
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
                        self.tunnel(visitor, self.kind(upgrade), bytes).await
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

    /// Which kind of tunnel an upgrade that is taken asks for.
    fn kind(&self, upgrade: Upgrade) -> Kind {
        if self.config.rules.websocket() { Kind::Web(upgrade) } else { Kind::Http(upgrade) }
    }

    /// Opens a tunnel on a connection of which `bytes` were read, and runs it.
    async fn tunnel(&self, client: Stream, kind: Kind, bytes: Vec<u8>) -> Result<Outcome, TunnelError> {
        // The stages before the relay are large and short: each is on the heap for as long as it runs, so
        // that a tunnel does not carry them through its life.
        match Box::pin(transport::accept(client, kind, bytes, &self.backend)).await? {
            Accepted::Tunnel(tunnel, dialled) => {
                let backend = match dialled {
                    Some(backend) => backend,
                    None => match Box::pin(self.backend.connect()).await {
                        Ok(backend) => backend,
                        Err(error) => {
                            // The client would take the end of the connection for that of an answer.
                            tunnel.abort();
                            return Err(NotAccepted::Backend(error).into());
                        }
                    },
                };
                Ok(tunnel.relay(backend, self.timeouts).await)
            }
            Accepted::Mux(handoff, dialled) => {
                let mux = mux::serve(*handoff, Arc::clone(&self.backend), dialled, self.timeouts);
                Ok(Box::pin(mux).await)
            }
        }
    }
}

/// Tells the log how a client fared.
fn note(peer: &ConnInfo, began: Instant, opened: Result<Outcome, TunnelError>) {
    match opened {
        Ok(outcome) => telemetry::tunnel_ended(peer, "tunnel", began, &outcome),
        Err(TunnelError::NotAccepted(NotAccepted::Empty)) => {
            debug!(%peer, "closed before its first byte: no tunnel")
        }
        Err(TunnelError::Gone(error) | TunnelError::NotAccepted(NotAccepted::Broken(error))) => {
            debug!(%peer, %error, "gone before there was a tunnel")
        }
        Err(error) => warn!(%peer, %error, "no tunnel"),
    }
}

/// Why a client got no tunnel.
#[derive(Debug, Error)]
enum TunnelError {
    #[error("the connection broke: {0}")]
    Gone(io::Error),
    #[error(transparent)]
    NotAccepted(#[from] NotAccepted),
}
