//! The server half: accept, detect, open a tunnel to Shadowsocks; or hand the visitor to the website.

use crate::config::{Layer, Route, Routes, ServerConfig};
use crate::detect::{Handoff, Rules, VisitorProtocol};
use crate::fallback::{Fallback, Served, Visit};
use crate::net::conn_info::ConnInfo;
#[cfg(feature = "quic")]
use crate::net::dial::Dialer;
use crate::net::limits::{Arrival, Limits};
use crate::relay::Timeouts;
use crate::telemetry::{Kind, PathClass, Record};
use crate::transport::proxy_protocol;
#[cfg(feature = "quic")]
use crate::transport::quic::Settings;
use crate::transport::tls::Acceptor;
use crate::transport::{NotAccepted, Relaying, Stream};
use std::io;
use std::net::SocketAddr;
#[cfg(feature = "grpc")]
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tracing::debug;

mod arrival;
mod backends;
mod error;
#[cfg(feature = "grpc")]
mod h2;
mod half;
mod limits;
mod packets;
#[cfg(feature = "quic")]
mod quic;
mod reach;
mod seen;
mod start;
#[cfg(any(feature = "quic", feature = "grpc"))]
mod streams;
mod tunnel;
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
    quic: Option<Settings>,
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

/// What comes of a connection.
enum Opened {
    Tunnel(Relaying),
    /// A connection with many requests.
    #[cfg(feature = "grpc")]
    Requests(Pin<Box<dyn Future<Output = ()> + Send>>),
    Visit(Visit),
}

impl Server {
    /// Serves a connection to its end.
    async fn serve_connection(self: &Arc<Server>, tcp: TcpStream, peer: SocketAddr) {
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
}
