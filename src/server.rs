//! The server half: accept, detect, open a tunnel to Shadowsocks; or hand the visitor to the website.

use crate::config::{Layer, Route, Routes, ServerConfig};
use crate::detect::{ClientKind, Detection, Handoff, Rules, VisitorProtocol, detect, read};
use crate::fallback::{Fallback, NoVisit, Served, Visit};
use crate::net::conn_info::ConnInfo;
use crate::net::dial::Dialer;
use crate::net::limits::{Arrival, Limits, Refused, SessionLimits, Slot};
use crate::relay::Timeouts;
use crate::service::Half;
use crate::transport::proxy_protocol::{self, ReceiveError};
use crate::transport::tls::Acceptor;
use crate::transport::{self, Accepted, NotAccepted, Relaying, Stream};
use crate::{mux, telemetry};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tracing::{debug, warn};

mod start;

/// The server half: what all its connections share.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    limits: Option<Arc<Limits>>,
    routes: Routes,
    /// Which connections are ours inside TLS, and which requests behind the first in the clear.
    inside: Rules,
    in_the_clear: Rules,
    backend: Arc<Dialer>,
    fallback: Fallback,
    timeouts: Timeouts,
    tls: Option<Acceptor>,
}

impl Half for Server {
    fn start(&self) {
        if let Some(tls) = &self.tls {
            tls.watch_files();
        }
    }

    fn log_hints(&self) {
        start::log_hints(self);
    }

    async fn serve(self: Arc<Server>, tcp: TcpStream, peer: SocketAddr) {
        let began = Instant::now();
        let mut info = ConnInfo::new(peer);
        // On the heap: a tunnel does not carry the large stages that opened it through its life.
        let opened = Box::pin(self.open(tcp, &mut info, began)).await;
        // The one line in the log that a connection gets when it has ended.
        match opened {
            Ok(Opened::Tunnel(tunnel)) => telemetry::tunnel_ended(info, "tunnel", began, &tunnel.await),
            Ok(Opened::Visit(Visit::Relayed(outcome))) => {
                telemetry::tunnel_ended(info, "visitor", began, &outcome);
            }
            Ok(Opened::Visit(Visit::Answered(requests))) => {
                debug!(peer = %info, requests, "visitor of our own website");
            }
            Err(error) => error.tell(&info),
        }
    }
}

/// Why a connection became nothing.
enum Error {
    /// It broke before it was known what it is.
    Gone(io::Error),
    ProxyHeader(ReceiveError),
    /// TLS was to end here, and nobody else could answer it.
    TlsHandshake(io::Error),
    NotAccepted(NotAccepted),
    NoVisit(NoVisit),
}

/// What comes of a connection.
enum Opened {
    Tunnel(Relaying),
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
            && let Some(addresses) = Box::pin(proxy_protocol::receive(&mut tcp)).await.map_err(Error::ProxyHeader)?
        {
            info.apply_proxy_header(addresses);
        }
        let mut c = Handoff::new(Stream::from(tcp), *info, began);
        let mut arrival = Arrival::default();
        loop {
            let (layer, protocol, mut seen) = Box::pin(self.detect(&mut c)).await.map_err(Error::Gone)?;
            // A proxy in front may speak for another user than before.
            c.info.read_forwarded_for(&c.read_buf, &self.config.fronts);
            *info = c.info;
            let admitted = self.admit(&mut arrival, &c.info, &c.read_buf, &mut seen).await;
            let refused = admitted.is_err();
            let sni = seen.server_name();
            let of_certificate =
                |name: Option<&[u8]>| self.tls.as_ref().is_some_and(|tls| tls.is_asked_for(name, &c.info));
            let (site, reason) = match self.routes.route(layer, protocol, seen, of_certificate) {
                Route::Tunnel(kind) => {
                    return self
                        .tunnel(c, kind, admitted.ok().flatten())
                        .await
                        .map(Opened::Tunnel)
                        .map_err(Error::NotAccepted);
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
                Route::Fallback(site) => (site, "it is not for a client of ours".into()),
            };
            if let Some(sni) = sni {
                debug!(peer = %info, sni, reason = &*reason, "passing TLS through");
            }
            let rules = if layer == Layer::Tls { &self.inside } else { &self.in_the_clear };
            match Box::pin(self.fallback.serve(c, site, rules, refused)).await.map_err(Error::NoVisit)? {
                Served::Done(visit) => return Ok(Opened::Visit(visit)),
                Served::Upgrade(next, requests) => {
                    debug!(peer = %next.info, "upgrade after {requests} requests to the website");
                    c = *next;
                }
            }
        }
    }

    /// Counts who comes, and has a client wait for a place where tunnels are limited. One that gets none is a visitor:
    /// whoever watches or asks sees the website, as from every other server that takes no such request.
    async fn admit(
        &self,
        arrival: &mut Arrival,
        info: &ConnInfo,
        read_buf: &[u8],
        seen: &mut Detection,
    ) -> Result<Option<Slot>, Refused> {
        let Some(limits) = &self.limits else { return Ok(None) };
        limits.note_arrival(arrival, info);
        if !matches!(seen, Detection::Client(_)) {
            return Ok(None);
        }
        let admitted = limits.admit(arrival, info, read_buf.len(), self.fallback.undecided()).await;
        if admitted.is_err() {
            *seen = detect(read_buf, &self.config.rules.of_visitors());
        }
        admitted.map(Some)
    }

    /// What a connection is, and what it seems to speak: first, inside TLS, or in a later request.
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

    /// Opens a tunnel for a client, which is to be run. It has its slot, where there is one, to its end.
    async fn tunnel(
        &self,
        c: Handoff<Stream>,
        kind: ClientKind,
        slot: Option<Slot>,
    ) -> Result<Relaying, NotAccepted> {
        let info = c.info;
        let (io, read_buf) = c.into_parts();
        let (tunnel, dialled) = match Box::pin(transport::accept(io, kind, read_buf, &self.backend)).await? {
            Accepted::Tunnel(tunnel, dialled) => (tunnel, dialled),
            Accepted::Mux(open, dialled) => {
                let limits = slot.map(|slot| SessionLimits::new(slot, info));
                let backend = Arc::clone(&self.backend);
                return Ok(Box::pin(mux::serve(*open, backend, dialled, limits, self.timeouts)));
            }
        };
        let backend = match dialled {
            Some(backend) => Ok(backend),
            None => Box::pin(self.backend.connect()).await,
        };
        match backend {
            Ok(backend) => Ok(with_slot(slot, tunnel.relay(backend, self.timeouts))),
            Err(error) => {
                // The client would take the end of the connection for that of an answer.
                tunnel.abort();
                Err(NotAccepted::Backend(error))
            }
        }
    }
}

/// A tunnel that has its slot until it ends.
fn with_slot(slot: Option<Slot>, tunnel: Relaying) -> Relaying {
    match slot {
        None => tunnel,
        Some(slot) => Box::pin(async move {
            let _slot = slot;
            tunnel.await
        }),
    }
}

impl Error {
    /// Tells the log.
    fn tell(self, peer: &ConnInfo) {
        match self {
            Error::Gone(error) | Error::NotAccepted(NotAccepted::Broken(error)) => {
                debug!(%peer, %error, "gone before there was a tunnel");
            }
            Error::ProxyHeader(error) => error.tell(peer),
            Error::TlsHandshake(error) => debug!(%peer, %error, "no TLS handshake"),
            Error::NotAccepted(NotAccepted::Empty) => debug!(%peer, "closed before sending anything"),
            Error::NotAccepted(error) => warn!(%peer, stage = error.stage(), %error, "tunnel failed"),
            Error::NoVisit(NoVisit::Circle) => warn!(
                %peer,
                "many visitors that begin alike wait for the website, which answers none of them: does it lead back \
                 here? One of them is reset"
            ),
            Error::NoVisit(error) => warn!(%peer, %error, "the website cannot be reached"),
        }
    }
}
