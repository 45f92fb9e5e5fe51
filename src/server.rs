//! The server half: accept, detect what comes, and open a tunnel to Shadowsocks; or hand the visitor to the
//! website.

use crate::config::{Layer, Route, Routes, ServerConfig, TunnelConfig};
use crate::detect::{ClientKind, Detection, Handoff, Rules, VisitorProtocol, read};
use crate::fallback::{Fallback, Served, Visit};
use crate::mux;
use crate::net::conn_info::ConnInfo;
use crate::net::dial::Dialer;
use crate::net::listen::Listeners;
use crate::net::own_addresses::OwnAddresses;
use crate::relay::Timeouts;
use crate::service::{Half, Service, StartError};
use crate::transport::{self, Accepted, NotAccepted, Relaying, Stream, proxy_protocol};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tracing::debug;

mod ended;
mod handshake;

use ended::{Ended, Error};
use handshake::{Handshake, OwnTls};

/// The server half: what all its connections share.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    routes: Routes,
    /// Which connections are ours inside TLS, and which requests behind the first in the clear.
    inside: Rules,
    in_the_clear: Rules,
    backend: Arc<Dialer>,
    fallback: Fallback,
    timeouts: Timeouts,
    tls: Option<OwnTls>,
}

impl Server {
    /// Listens on the public addresses.
    ///
    /// # Errors
    ///
    /// One of them cannot be had, or the certificate cannot.
    pub fn bind(config: ServerConfig, tunnel: &TunnelConfig) -> Result<Service<Server>, StartError> {
        let h2 = config.failover.h2.is_some();
        let tls = config.tls.as_ref().map(|tls| OwnTls::new(tls, h2)).transpose()?;
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
        let routes = Routes::new(&config.failover, &config.names, tls.is_some());
        let fallback = Fallback::new(&routes, &behind, timeouts, &own)?;
        let (inside, in_the_clear) = (config.rules.inside_tls(), config.rules.in_the_clear());
        let server = Server { config, routes, inside, in_the_clear, backend, fallback, timeouts, tls };
        if let Some(tls) = &server.tls {
            tls.tell_about_fake_tls(&server.config);
        }
        Ok(Service::new(listeners, server))
    }
}

impl Half for Server {
    fn start(&self) {
        if let Some(tls) = &self.tls {
            tls.acceptor.watch_files();
        }
    }

    async fn serve(self: Arc<Server>, tcp: TcpStream, peer: SocketAddr) {
        let began = Instant::now();
        let mut info = ConnInfo::new(peer);
        // The stages before the relay are large and short: they are on the heap for as long as they run, so that a
        // tunnel does not carry them through its life.
        let ended = match Box::pin(self.open(tcp, &mut info, began)).await {
            Ok(Opened::Tunnel(tunnel)) => Ok(Ended::Tunnel(tunnel.await)),
            Ok(Opened::Visit(visit)) => Ok(Ended::Visit(visit)),
            Err(error) => Err(error),
        };
        ended::tell(&info, began, ended);
    }
}

/// What comes of a connection.
enum Opened {
    /// A tunnel that stands, to be run.
    Tunnel(Relaying),
    /// A visitor was at the website.
    Visit(Visit),
}

impl Server {
    /// The life of a connection, until its tunnel stands or it is over. `info` is what is known of where it came
    /// from in the end.
    async fn open(&self, mut tcp: TcpStream, info: &mut ConnInfo, began: Instant) -> Result<Opened, Error> {
        // A website may want to be told, or to say where it is, and a certificate may be for an address.
        let failover = &self.config.failover;
        if self.tls.is_some() || failover.proxy.is_some() || failover.plain.says_where_it_is() {
            info.load_local_addr(&tcp).map_err(Error::Gone)?;
        }
        if self.config.fronts.sends_proxy_header(info.visitor.ip())
            // Where the proxy speaks for itself, the ends of the socket are the right ones.
            && let Some(addresses) = Box::pin(proxy_protocol::receive(&mut tcp)).await?
        {
            info.apply_proxy_header(addresses);
        }
        let undecided = self.fallback.undecided();
        let mut c = Handoff::new(Stream::from(tcp), *info, began);
        loop {
            let (layer, protocol, seen) = Box::pin(self.detect(&mut c)).await.map_err(Error::Gone)?;
            // A proxy in front may speak for another user than before.
            c.info.read_forwarded_for(&c.read_buf, &self.config.fronts);
            *info = c.info;
            let sni = seen.server_name();
            let of_certificate =
                |name: Option<&[u8]>| self.tls.as_ref().is_some_and(|tls| tls.is_asked_for(name, &c.info));
            let (site, reason) = match self.routes.route(layer, protocol, seen, of_certificate) {
                Route::Tunnel(kind) => return self.tunnel(c, kind).await.map(Opened::Tunnel),
                Route::TerminateTls(otherwise) => {
                    match Box::pin(handshake::accept(&self.tls, c, otherwise, undecided)).await? {
                        Handshake::Done(inside) => {
                            c = inside;
                            continue;
                        }
                        Handshake::PassThrough(outside, site, reason) => {
                            c = outside;
                            (site, reason)
                        }
                    }
                }
                Route::Fallback(site) => (site, "it is not for a client of ours".into()),
            };
            if let Some(sni) = sni {
                debug!(peer = %info, sni, reason = &*reason, "passing TLS through");
            }
            let rules = if layer == Layer::Tls { &self.inside } else { &self.in_the_clear };
            match Box::pin(self.fallback.serve(c, site, rules)).await? {
                Served::Done(visit) => return Ok(Opened::Visit(visit)),
                Served::Upgrade(next, requests) => {
                    debug!(peer = %next.info, "upgrade after {requests} requests to the website");
                    c = *next;
                }
            }
        }
    }

    /// What a connection is, and what it seems to speak: of its first bytes, of the first inside TLS, or of a later
    /// request.
    async fn detect(&self, c: &mut Handoff<Stream>) -> io::Result<(Layer, VisitorProtocol, Detection)> {
        let (layer, rules) = match &c.io {
            Stream::Tls(tls) if tls.is_h2() => {
                return Ok((Layer::Tls, VisitorProtocol::H2, Detection::Visitor));
            }
            Stream::Tls(_) => (Layer::Tls, &self.inside),
            Stream::Tcp(_) => (Layer::Clear, &self.config.rules),
        };
        let info = c.info;
        let dial = |protocol| self.fallback.dial_early(self.routes.upstream_for(layer, protocol), info);
        let seen = read::read(c, rules, self.fallback.undecided(), dial).await?;
        Ok((layer, rules.guess_protocol(&c.read_buf), seen))
    }

    /// Opens a tunnel for a client, which is to be run.
    async fn tunnel(&self, c: Handoff<Stream>, kind: ClientKind) -> Result<Relaying, Error> {
        let (io, read_buf) = c.into_parts();
        Ok(match Box::pin(transport::accept(io, kind, read_buf, &self.backend)).await? {
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
                tunnel.relay(backend, self.timeouts)
            }
            Accepted::Mux(handoff, dialled) => {
                Box::pin(mux::serve(*handoff, Arc::clone(&self.backend), dialled, self.timeouts))
            }
        })
    }
}
