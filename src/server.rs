//! The server half: accept, detect, open a tunnel to Shadowsocks; or hand the visitor to the website.

use crate::config::{Layer, Route};
use crate::detect::{Detection, Handoff, VisitorProtocol, read};
use crate::fallback::{Served, Visit};
use crate::net::conn_info::ConnInfo;
use crate::net::limits::Arrival;
#[cfg(feature = "quic")]
use crate::service::Current;
use crate::service::Serve;
use crate::telemetry::Record;
use crate::transport::proxy_protocol;
use crate::transport::{NotAccepted, Relaying, Stream};
use std::io;
use std::net::SocketAddr;
#[cfg(feature = "quic")]
use std::net::UdpSocket;
#[cfg(feature = "grpc")]
use std::pin::Pin;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tracing::debug;

mod arrival;
mod backends;
mod error;
#[cfg(feature = "grpc")]
mod h2;
mod limits;
mod packets;
#[cfg(feature = "quic")]
mod quic;
mod reach;
mod shared;
mod start;
#[cfg(any(feature = "quic", feature = "grpc"))]
mod streams;
mod visitors;

use error::Error;
pub use reach::{Target, Visited};
pub use shared::Server;

impl Serve for Server {
    #[cfg(feature = "quic")]
    async fn serve_udp(
        current: Arc<Current<Server>>,
        sockets: Vec<UdpSocket>,
        closing: impl Future<Output = ()> + Send,
    ) {
        quic::serve(current, sockets, closing).await;
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
        let is_proxys_own = self.receive_proxy_header(&mut tcp, &mut record.info).await?;
        let mut c = Handoff::new(Stream::from(tcp), record.info, record.began);
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
                    let tunnel =
                        self.backends.tunnel(c, kind, slot, record).await.map_err(Error::NotAccepted)?;
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
            if let Some(sni) = sni {
                debug!(peer = %record.info, sni, reason = &*reason, "passing TLS through");
            }
            let _open = visitors::note(self, &c, layer, protocol, site, refused, record);
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
}
