//! The server half: accept, detect, open a tunnel to Shadowsocks; or hand the visitor to the website.

use crate::config::{self, Layer, Route, Routes, ServerConfig, TunnelConfig};
use crate::detect::{ClientKind, Detection, Handoff, Rules, VisitorProtocol, read};
use crate::fallback::{Fallback, Served, Visit};
use crate::mux;
use crate::net::conn_info::ConnInfo;
use crate::net::dial::Dialer;
use crate::net::limits::{Arrival, Limits, SessionLimits, Slot};
use crate::net::own_addresses::OwnAddresses;
use crate::relay::Timeouts;
#[cfg(feature = "quic")]
use crate::service::Current;
use crate::service::{Half, StartError};
use crate::telemetry::{Kind, PathClass, Record, Target};
use crate::transport::proxy_protocol;
use crate::transport::tls::Acceptor;
use crate::transport::{self, Accepted, NotAccepted, Relaying, Stream};
use std::io;
use std::net::SocketAddr;
#[cfg(feature = "quic")]
use std::net::UdpSocket;
#[cfg(feature = "grpc")]
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tracing::debug;

mod backends;
mod error;
#[cfg(feature = "grpc")]
mod h2;
mod limits;
mod packets;
#[cfg(feature = "quic")]
mod quic;
mod reach;
mod start;
#[cfg(any(feature = "quic", feature = "grpc"))]
mod streams;
mod visitors;

use backends::Backends;
use error::Error;

/// The server half: what all its connections share.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    limits: Option<Arc<Limits>>,
    routes: Routes,
    /// Which connections are ours inside TLS, and which requests behind the first in the clear.
    inside: Rules,
    in_the_clear: Rules,
    backends: Backends,
    fallback: Fallback,
    timeouts: Timeouts,
    tls: Option<Acceptor>,
    /// With what QUIC connections are accepted.
    #[cfg(feature = "quic")]
    quic: Option<transport::quic::Settings>,
    /// The website's HTTP/3.
    #[cfg(feature = "quic")]
    quic_website: Option<Arc<Dialer>>,
    /// Tells those that were accepted by it that another is in its place.
    #[cfg(feature = "grpc")]
    retired: tokio::sync::watch::Sender<bool>,
    /// What is behind, until it is asked whether it answers.
    to_be_asked: Mutex<Vec<reach::Target>>,
    /// What runs beside the connections.
    beside: Mutex<Vec<AbortHandle>>,
}

impl Half for Server {
    fn start(&self) {
        if let Some(tls) = &self.tls {
            tls.watch_files();
        }
        start::tell_in_the_background(self);
    }

    #[cfg(feature = "quic")]
    async fn serve_udp(
        current: Arc<Current<Server>>,
        sockets: Vec<UdpSocket>,
        closing: impl Future<Output = ()> + Send,
    ) {
        quic::serve(current, sockets, closing).await;
    }

    async fn check(&self) -> Result<(), String> {
        self.backends.check().await
    }

    fn log_hints(&self) {
        start::log_hints(self);
    }

    fn renewed(
        &self,
        settings: config::Half,
        tunnel: &TunnelConfig,
        own: &OwnAddresses,
    ) -> Result<Server, StartError> {
        start::renewed(self, settings, tunnel, own)
    }

    fn retire(&self, next: &Server) {
        start::retire(self, next);
    }

    fn log_rest(&self) {
        self.fallback.visitors().tell_rest();
    }

    async fn serve(self: Arc<Server>, tcp: TcpStream, peer: SocketAddr) {
        let mut record = Record::new(ConnInfo::new(peer));
        // On the heap: a tunnel does not carry the large stages that opened it through its life.
        let opened = Box::pin(self.open(tcp, &mut record)).await;
        match opened {
            Ok(Opened::Tunnel(tunnel)) => {
                let mut outcome = tunnel.await;
                record.ended(&outcome);
                outcome.close().await;
            }
            #[cfg(feature = "grpc")]
            Ok(Opened::Requests(requests)) => {
                // Each of them has a line of its own.
                drop(record.unlisted());
                requests.await;
            }
            Ok(Opened::Visit(Visit::Relayed(outcome))) => record.ended(&outcome),
            Ok(Opened::Visit(Visit::Answered(answered))) => record.answered(answered),
            Err(error) => error.tell(record),
        }
    }
}

/// What comes of a connection.
enum Opened {
    Tunnel(Relaying),
    /// A connection with many requests.
    #[cfg(feature = "grpc")]
    Requests(Pin<Box<dyn Future<Output = ()> + Send>>),
    Visit(Visit),
}

impl Server {
    /// The life of a connection, until its tunnel stands or it is over. `record` is what is known of it in the
    /// end.
    async fn open(self: &Arc<Server>, mut tcp: TcpStream, record: &mut Record) -> Result<Opened, Error> {
        let info = &mut record.info;
        // A website may want to be told, or to say where it is, and a certificate may be for an address.
        let failover = &self.config.failover;
        if self.tls.is_some() || failover.proxy.is_some() || failover.plain.says_where_it_is() {
            info.load_local_addr(&tcp).map_err(Error::Gone)?;
        }
        let mut is_proxys_own = false;
        if self.config.fronts.sends_proxy_header(info.visitor.ip()) {
            match Box::pin(proxy_protocol::receive(&mut tcp)).await.map_err(Error::ProxyHeader)? {
                Some(addresses) => info.apply_proxy_header(addresses),
                // Where the proxy speaks for itself, the ends of the socket are the right ones.
                None => is_proxys_own = true,
            }
        }
        let mut c = Handoff::new(Stream::from(tcp), *info, record.began);
        let mut arrival = Arrival::default();
        // Since when it may have been a client's: a visitor's time at the website is none of a handshake.
        let mut asked = record.began;
        loop {
            let (layer, protocol, mut seen) = Box::pin(self.detect(&mut c)).await.map_err(Error::Gone)?;
            // A proxy that looks whether the port answers is no visitor.
            if is_proxys_own
                && layer == Layer::Clear
                && c.read_buf.is_empty()
                && let Some(tcp) = c.io.tcp()
                && proxy_protocol::has_ended(tcp).await
            {
                return Err(Error::NotAccepted(NotAccepted::Empty));
            }
            // A proxy in front may speak for another user than before.
            c.info.read_forwarded_for(&c.read_buf, &self.config.fronts);
            record.info = c.info;
            record.tls = layer == Layer::Tls;
            let admitted = self.admit(&mut arrival, &c.info, &c.read_buf, &mut seen).await;
            let refused = admitted.is_err();
            if refused {
                // It is as old as the wait, and the website may have given it up.
                c.upstream = None;
            }
            let sni = seen.server_name();
            let of_certificate =
                |name: Option<&[u8]>| self.tls.as_ref().is_some_and(|tls| tls.is_asked_for(name, &c.info));
            let (site, reason) = match self.routes.route(layer, protocol, seen, of_certificate) {
                Route::Tunnel(kind) => {
                    let slot = admitted.ok().flatten();
                    let tunnel = self.tunnel(c, kind, slot, record).await.map_err(Error::NotAccepted)?;
                    record.stands(asked.elapsed());
                    return Ok(Opened::Tunnel(tunnel));
                }
                Route::TerminateTls(otherwise) => {
                    // The table has rows for it only where there is a certificate.
                    let tls =
                        self.tls.as_ref().ok_or(Error::TlsHandshake(io::ErrorKind::Unsupported.into()))?;
                    let accepting = tls.accept(c, otherwise.is_some(), self.fallback.undecided());
                    let (next, refused) = Box::pin(accepting).await.map_err(Error::TlsHandshake)?;
                    c = next;
                    match otherwise.zip(refused) {
                        Some(passed) => passed,
                        None => continue,
                    }
                }
                #[cfg(feature = "grpc")]
                Route::H2(site) => return self.open_h2(c, layer, site, record).await,
                // (nothing detects it)
                #[cfg(not(feature = "grpc"))]
                Route::H2(_) => return Err(Error::Gone(io::ErrorKind::Unsupported.into())),
                Route::Fallback(site) => (site, "it is not for a client of ours".into()),
            };
            let _open = visitors::note(self, &c, layer, protocol, site, refused);
            if let Some(sni) = sni {
                debug!(peer = %record.info, sni, reason = &*reason, "passing TLS through");
            }
            record.kind = Kind::Visitor;
            let path = if refused { PathClass::Ours } else { PathClass::Other };
            record.path = (protocol == VisitorProtocol::Plain).then_some(path);
            record.target = self.fallback.target(site);
            let rules = if layer == Layer::Tls { &self.inside } else { &self.in_the_clear };
            match Box::pin(self.fallback.serve(c, site, rules, refused)).await.map_err(Error::NoVisit)? {
                Served::Done(visit) => return Ok(Opened::Visit(visit)),
                Served::Upgrade(next, requests) => {
                    debug!(peer = %next.info, "upgrade after {requests} requests to the website");
                    c = *next;
                    asked = Instant::now();
                }
            }
        }
    }

    /// What a connection is, and what it seems to speak: first, inside TLS, or in a later request.
    async fn detect(&self, c: &mut Handoff<Stream>) -> io::Result<(Layer, VisitorProtocol, Detection)> {
        let (layer, rules) = match &c.io {
            Stream::Tls(tls) if tls.is_h2() => {
                #[cfg(feature = "grpc")]
                if self.takes_h2(Layer::Tls, &c.info) {
                    return Ok((Layer::Tls, VisitorProtocol::H2, Detection::H2));
                }
                return Ok((Layer::Tls, VisitorProtocol::H2, Detection::Visitor));
            }
            Stream::Tls(_) => (Layer::Tls, &self.inside),
            Stream::Tcp(_) => (Layer::Clear, &self.config.rules),
            // (nobody looks into what is inside)
            #[cfg(feature = "grpc")]
            Stream::H2(_) => return Ok((Layer::Tls, VisitorProtocol::Plain, Detection::Visitor)),
        };
        let info = c.info;
        let dial = |protocol| self.fallback.dial_early(self.routes.upstream_for(layer, protocol), info);
        let seen = read::read(c, rules, self.fallback.undecided(), dial).await?;
        #[cfg(feature = "grpc")]
        if seen == Detection::H2 {
            let is_ours = self.takes_h2(layer, &c.info);
            return Ok((layer, VisitorProtocol::H2, if is_ours { seen } else { Detection::Visitor }));
        }
        Ok((layer, rules.guess_protocol(&c.read_buf), seen))
    }

    /// Opens a tunnel for a client, which is to be run. It has its slot, where there is one, to its end.
    async fn tunnel(
        &self,
        c: Handoff<Stream>,
        kind: ClientKind,
        slot: Option<Slot>,
        record: &mut Record,
    ) -> Result<Relaying, NotAccepted> {
        let (io, read_buf) = c.into_parts();
        let (role, backend) = self.backends.of(&kind, &io);
        let target = Target { role, address: Arc::clone(backend.shown()) };
        record.kind = transport::kind(&kind);
        record.path = match record.kind {
            Kind::FakeTls => None,
            Kind::Http if kind.route().is_none() && self.config.rules.takes_any_http_path() => {
                Some(PathClass::Any)
            }
            _ => Some(PathClass::Ours),
        };
        record.target = Some(target.clone());
        let accepted = Box::pin(transport::accept(io, kind, read_buf, backend)).await?;
        self.relaying(accepted, slot, backend, target, record).await
    }

    /// Joins what a client was granted to the backend.
    async fn relaying(
        &self,
        accepted: Accepted,
        slot: Option<Slot>,
        backend: &Arc<Dialer>,
        target: Target,
        record: &mut Record,
    ) -> Result<Relaying, NotAccepted> {
        let (tunnel, dialled) = match accepted {
            Accepted::Tunnel(tunnel, dialled) => (tunnel, dialled),
            Accepted::Mux(open, dialled) => {
                record.kind = Kind::Mux;
                let limits = slot.map(|slot| SessionLimits::new(slot, record.info));
                let backend = mux::Backend::new(Arc::clone(backend), dialled, limits, record.info, target)
                    .with_udp(self.config.udp);
                return Ok(mux::serve(open, backend, self.timeouts));
            }
            Accepted::Packets(open) => {
                record.kind = Kind::Udp;
                return Ok(limits::with_slot(slot, packets::serve(*open, backend, self.config.udp)));
            }
        };
        let backend = match dialled {
            Some(backend) => Ok(backend),
            None => Box::pin(backend.connect()).await,
        };
        match backend {
            Ok(backend) => Ok(limits::with_slot(slot, tunnel.relay(backend, self.timeouts))),
            Err(error) => {
                // The client would take the end of the connection for that of an answer.
                tunnel.abort();
                Err(NotAccepted::Backend(error))
            }
        }
    }
}
