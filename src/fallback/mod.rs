//! Visitors: whoever is no client of ours meets the website behind the server, as if we were not there.

use crate::config::{Routes, UpstreamConfig, Website};
use crate::detect::{Handoff, Rules, Upstream, UpstreamId};
use crate::metrics::To;
use crate::net::budget::Budget;
use crate::net::conn_info::ConnInfo;
use crate::net::dial::{DialError, Dialer};
use crate::net::options::SocketOptions;
use crate::net::own_addresses::OwnAddresses;
use crate::relay::{Direction, Flows, Identity, Outcome, Relay, RelayStream as _, Timeouts};
use crate::runtime::buffers;
use crate::site;
use crate::telemetry::{Answered, Target};
use crate::transport::Stream;
use crate::transport::tls::{TlsError, UpstreamTls};
use crate::wire::proxy_protocol::Version;
use std::io;
use std::sync::Arc;
use thiserror::Error;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tracing::debug;

mod follow;
#[cfg(feature = "grpc")]
mod h2;
mod misses;
mod proxy_headers;
mod visitors;
mod visits;

pub use follow::Follow;
#[cfg(feature = "grpc")]
pub use h2::{Begun, H2Website, NoAnswer};
pub use visitors::{Visitors, class};
use visits::{NoAnswers, Visits};

/// The most that all connections hold together which have not shown what they are, in bytes: room for
/// seven thousand heads or two thousand handshakes at a time, on machines that have 512 MiB; on smaller ones it is less.
const UNDECIDED: usize = 32 * 1024 * 1024;

/// Where visitors go.
#[derive(Debug)]
pub struct Fallback {
    /// By their place in the routing table.
    upstreams: Vec<(Place, Target)>,
    timeouts: Timeouts,
    undecided: Arc<Budget>,
    visits: Arc<Visits>,
    visitors: Arc<Visitors>,
}

/// What is behind the server, or on it.
#[derive(Debug)]
enum Place {
    /// A server at another port.
    Port(Box<Port>),
    /// A website that is served from here.
    Own(Website),
}

/// A server at another port.
#[derive(Debug)]
struct Port {
    dialer: Arc<Dialer>,
    /// The first of those behind the server that is dialled as this one is: its early connection serves for both.
    dialled_as: UpstreamId,
    /// How visitors get there whose TLS was answered by us, where the website has nothing but TLS.
    tls: Option<UpstreamTls>,
    /// Its visitors speak HTTP/1, so that their requests can be told apart.
    http1: bool,
    /// The PROXY header that it is told with who came.
    proxy_header: Option<Version>,
}

/// How a visit went on.
#[derive(Debug)]
pub enum Served {
    /// It is over.
    Done(Visit),
    /// The visitor asks, behind so many requests, for an upgrade that is ours. The website has answered all that
    /// it was asked before.
    Upgrade(Box<Handoff<Stream>>, u64),
}

/// What there is to tell of a visit that is over.
#[derive(Debug)]
pub enum Visit {
    /// It was at another port.
    Relayed(Outcome),
    /// It was answered from here.
    Answered(Answered),
}

/// Why a visitor did not get to the website. It was reset, as where no website listens.
#[derive(Debug, Error)]
pub enum NoVisit {
    /// The website cannot be dialled.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// There is no TLS with the website.
    #[error(transparent)]
    Tls(#[from] io::Error),
    /// The visitor is one of ever more that say the same and get no answer.
    #[error("does it lead back here?")]
    Circle,
}

impl Fallback {
    /// Visitors go to these websites. Those of the one `before` count for its bounds, too.
    ///
    /// # Errors
    ///
    /// TLS with the website cannot be set up.
    pub fn new(
        routes: &Routes,
        sockets: &SocketOptions,
        timeouts: Timeouts,
        own: &OwnAddresses,
        before: Option<&Fallback>,
    ) -> Result<Fallback, TlsError> {
        let place = |&UpstreamConfig { option, ref website, tls, http1, proxy_header }: &UpstreamConfig| {
            let target = Target { role: option, address: website.to_string().into() };
            let Website::Port(address) = website else { return Ok((Place::Own(website.clone()), target)) };
            let is_same =
                |other: &UpstreamConfig| (&other.website, other.proxy_header) == (website, proxy_header);
            let dialled_as = UpstreamId(routes.upstreams.iter().position(is_same).unwrap_or_default());
            let dialer = Dialer::new(vec![address.clone()], sockets.clone());
            let dialer = Arc::new(dialer.without(own.clone()).to(To::Website));
            let tls = tls.then(UpstreamTls::new).transpose()?;
            Ok((Place::Port(Box::new(Port { dialer, dialled_as, tls, http1, proxy_header })), target))
        };
        Ok(Fallback {
            upstreams: routes.upstreams.iter().map(place).collect::<Result<_, TlsError>>()?,
            timeouts: timeouts.of_visitors(),
            undecided: before.map_or_else(
                || Arc::new(Budget::new(buffers::for_beginnings(UNDECIDED))),
                |it| Arc::clone(&it.undecided),
            ),
            visits: before.map(|it| Arc::clone(&it.visits)).unwrap_or_default(),
            visitors: Arc::new(Visitors::new(routes)),
        })
    }

    /// What dials the websites.
    pub fn dialers(&self) -> impl Iterator<Item = &Dialer> {
        self.upstreams.iter().filter_map(|(place, _)| match place {
            Place::Port(port) => Some(&*port.dialer),
            Place::Own(_) => None,
        })
    }

    /// Who the visitors are.
    pub fn visitors(&self) -> &Arc<Visitors> {
        &self.visitors
    }

    /// What all connections may hold together which have not shown what they are.
    pub fn undecided(&self) -> &Budget {
        &self.undecided
    }

    /// What dials a website, where it is another port.
    pub fn dialer(&self, id: UpstreamId) -> Option<Arc<Dialer>> {
        let Some((Place::Port(port), _)) = self.upstreams.get(id.0) else { return None };
        Some(Arc::clone(&port.dialer))
    }

    /// Where visitors go who go there.
    pub fn target(&self, id: UpstreamId) -> Option<Target> {
        self.upstreams.get(id.0).map(|(_, target)| target.clone())
    }

    /// A connection to the website for somebody who may yet turn out to be a client.
    pub async fn dial_early(&self, id: Option<UpstreamId>, info: ConnInfo) -> Option<Upstream> {
        let Some((Place::Port(port), _)) = self.upstreams.get(id?.0) else { return None };
        Some(Upstream { id: port.dialled_as, tcp: port.dial(&info).await.ok()? })
    }

    /// Sees a visitor through, or to the request that shows that it is a client after all: one that `rules` take,
    /// behind the first where that was `refused`.
    ///
    /// # Errors
    ///
    /// The website cannot be reached.
    pub async fn serve(
        &self,
        mut c: Handoff<Stream>,
        id: UpstreamId,
        rules: &Rules,
        refused: bool,
    ) -> Result<Served, NoVisit> {
        let port = match self.upstreams.get(id.0) {
            Some((Place::Port(port), _)) => port,
            // It looks at each request, and would find the first again.
            Some((Place::Own(website), _)) if refused => {
                return Ok(serve_here(website, c, &rules.of_visitors()).await);
            }
            Some((Place::Own(website), _)) => return Ok(serve_here(website, c, rules).await),
            // Every row of the table leads to one of its upstreams.
            None => return Ok(serve_here(&Website::Bare, c, rules).await),
        };
        let mut visit = match self.visits.begin(&c.read_buf).await {
            Ok(visit) => visit,
            Err(NoAnswers) => {
                c.io.abort();
                return Err(NoVisit::Circle);
            }
        };
        let site = match Box::pin(port.connect(&mut c)).await {
            Ok(site) => site,
            Err(error) => {
                c.io.abort();
                return Err(error);
            }
        };
        let answers = site.tcp().and_then(|tcp| visit.answers(tcp));
        if port.http1 && rules.http.is_some() {
            // On the heap: only those who are followed have the room for it.
            let followed = self.follow(c, site, rules);
            return Ok(Box::pin(visit.run(answers, followed)).await);
        }
        let (io, bytes) = c.into_parts();
        let flows = Flows::new(Identity).with_payload(Direction::Up, bytes).modest();
        let relay = Relay::new(io, site, flows, self.timeouts);
        Ok(Served::Done(Visit::Relayed(visit.run(answers, relay.run()).await)))
    }

    /// Joins a visitor to the website, until it asks for an upgrade that is ours.
    async fn follow(&self, c: Handoff<Stream>, site: Stream, rules: &Rules) -> Served {
        let Handoff { io, mut read_buf, info, began, .. } = c;
        // Who has said nothing yet, as a browser that connects beforehand, has all its requests to come.
        let decided = !read_buf.is_empty();
        let mut flows =
            Flows::new(Follow::new(rules, &self.undecided, decided).telling(&self.visitors, info)).modest();
        flows.feed(Direction::Up, &mut read_buf);
        drop(read_buf);
        let (outcome, follow, io) = Relay::new(io, site, flows, self.timeouts).run_or_hand_off().await;
        let unclear = follow.unclear();
        match (io, follow.into_upgrade()) {
            (Some(io), Some((read_buf, requests))) => {
                let c = Handoff { io, read_buf, info, began, upstream: None };
                Served::Upgrade(Box::new(c), requests)
            }
            _ => {
                if let Some(reason) = unclear {
                    debug!(peer = %info, %reason, "stopped looking for upgrade requests");
                }
                Served::Done(Visit::Relayed(outcome))
            }
        }
    }
}

/// Serves a website of our own.
async fn serve_here(website: &Website, mut c: Handoff<Stream>, rules: &Rules) -> Served {
    c.io.close_notify_unless_peer_closed();
    match Box::pin(site::serve(website, c, rules)).await {
        (answered, Some(c)) => Served::Upgrade(Box::new(c), answered.requests),
        (answered, None) => Served::Done(Visit::Answered(answered)),
    }
}

impl Port {
    /// A connection to the website for this visitor, unless it was dialled already: in TLS where that is all it
    /// has.
    async fn connect(&self, c: &mut Handoff<Stream>) -> Result<Stream, NoVisit> {
        let tcp = match c.upstream.take().filter(|upstream| upstream.id == self.dialled_as) {
            Some(Upstream { tcp, .. }) => tcp,
            None => self.dial(&c.info).await?,
        };
        match (&self.tls, &mut c.io) {
            (Some(tls), Stream::Tls(visitor)) => Ok(tls.connect(tcp, visitor).await?.into()),
            (_, visitor) => {
                visitor.close_notify_unless_peer_closed();
                Ok(tcp.into())
            }
        }
    }

    /// A connection to the website, which is told first of all who came, if it wants to know.
    async fn dial(&self, info: &ConnInfo) -> Result<TcpStream, DialError> {
        let mut site = self.dialer.connect().await?;
        if let Some(version) = self.proxy_header {
            // A fresh socket has room for it. One that broke at once is a visitor's to see, as without it.
            let _ = site.write_all(&info.proxy_header(version)).await;
        }
        Ok(site)
    }
}
