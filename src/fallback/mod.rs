//! Visitors: whoever is no client of ours meets the website behind the server, as if we were not there.

use crate::config::{Clear, ServerConfig, Website};
use crate::detect::Rules;
use crate::net::addr::HostPort;
use crate::net::budget::Budget;
use crate::net::conn_info::ConnInfo;
use crate::net::dial::{DialError, Dialer};
use crate::net::options::SocketOptions;
use crate::net::own_addresses::OwnAddresses;
use crate::relay::{Direction, Flows, Identity, Relay, RelayStream as _, Timeouts};
use crate::site::Site;
use crate::telemetry;
use crate::transport::Stream;
use crate::transport::tls::{TlsError, TlsStream, UpstreamTls};
use crate::wire::http::Upgrade;
use crate::wire::proxy_protocol::Version;
use std::fmt::Display;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tracing::{debug, warn};

mod follow;
mod visits;

use follow::Follow;
use visits::{NoAnswers, Visits};

/// The most that all connections hold together which have not shown what they are, in bytes: room for
/// seven thousand heads or two thousand handshakes at a time, on machines that have 256 MiB.
const UNDECIDED: usize = 32 * 1024 * 1024;

/// Where visitors go.
#[derive(Debug)]
pub struct Fallback {
    plain: Option<Dialer>,
    tls: Option<Dialer>,
    h2: Option<Dialer>,
    clear: ClearSite,
    names: Vec<Dialer>,
    /// What is served from here, where there is no address to go to.
    own: Site,
    /// Where the website has nothing but TLS: how those get there whose TLS was answered by us.
    again: Option<UpstreamTls>,
    /// The PROXY header that the websites are told with who came.
    proxy: Option<Version>,
    timeouts: Timeouts,
    undecided: Budget,
    visits: Visits,
    /// Who is no visitor, also of those who come later on a visitor's connection.
    rules: Rules,
    /// The same for those who come to a port for TLS without it.
    clear_rules: Rules,
}

/// Where those go who come to a port for TLS without it.
#[derive(Debug)]
enum ClearSite {
    Plain,
    Other(Box<Dialer>),
    Refused,
}

/// Which of the websites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The one for HTTP.
    Plain,
    /// The one for those who come to a port for TLS without it.
    Clear,
    /// The one for TLS, raw.
    Tls,
    /// The one for what was inside TLS.
    Inside,
    /// The one for HTTP/2, which was inside TLS.
    H2,
    /// The one for this route of names, raw TLS.
    Name(usize),
}

impl Fallback {
    /// Visitors go to these websites; without an address, to one that is served from here. Who asks for an
    /// upgrade that is taken is none, though it came as one.
    ///
    /// # Errors
    ///
    /// TLS with the website cannot be set up.
    pub fn new(
        config: &ServerConfig,
        sockets: &SocketOptions,
        timeouts: Timeouts,
        own: &OwnAddresses,
    ) -> Result<Fallback, TlsError> {
        let dialer = |site: &HostPort| Dialer::new(vec![site.clone()], sockets.clone()).without(own.clone());
        let sites = &config.failover;
        let only_tls = config.tls.is_some() && sites.plain == Website::Bare && sites.tls.is_some();
        Ok(Fallback {
            plain: sites.plain.port().map(dialer),
            tls: sites.tls.as_ref().map(dialer),
            h2: sites.h2.as_ref().map(dialer),
            clear: match &sites.clear {
                Clear::Plain => ClearSite::Plain,
                Clear::Site(site) => ClearSite::Other(Box::new(dialer(site))),
                Clear::Refused => ClearSite::Refused,
            },
            names: config.routes.iter().map(|route| dialer(&route.site)).collect(),
            own: Site::new(&sites.plain),
            again: only_tls.then(UpstreamTls::new).transpose()?,
            proxy: sites.proxy,
            timeouts: timeouts.of_visitors(),
            undecided: Budget::new(UNDECIDED),
            visits: Visits::default(),
            rules: config.rules.inside_tls(),
            clear_rules: config.rules.in_the_clear(),
        })
    }

    fn site(&self, place: Place) -> Option<&Dialer> {
        match (place, &self.clear) {
            (Place::Plain, _) | (Place::Clear, ClearSite::Plain) => self.plain.as_ref(),
            (Place::Clear, ClearSite::Other(site)) => Some(site),
            (Place::Clear, ClearSite::Refused) => None,
            (Place::Inside, _) if self.again.is_none() => self.plain.as_ref(),
            (Place::Tls | Place::Inside, _) => self.tls.as_ref(),
            (Place::H2, _) => self.h2.as_ref(),
            (Place::Name(index), _) => self.names.get(index),
        }
    }

    /// What all connections may hold together which have not shown what they are.
    pub fn undecided(&self) -> &Budget {
        &self.undecided
    }

    /// Who is no visitor at this place.
    fn rules(&self, place: Place) -> &Rules {
        if place == Place::Clear { &self.clear_rules } else { &self.rules }
    }

    /// Whether there is a website of this kind.
    pub fn has(&self, place: Place) -> bool {
        self.site(place).is_some()
    }

    /// A connection to the website for somebody who may yet turn out to be a client.
    pub async fn dial_early(&self, place: Place, peer: &ConnInfo) -> Option<TcpStream> {
        self.dial(place, self.site(place)?, peer).await.ok()
    }

    /// A connection to a website, which is told first of all who came, if it wants to know.
    async fn dial(&self, place: Place, site: &Dialer, peer: &ConnInfo) -> Result<TcpStream, DialError> {
        let mut site = site.connect().await?;
        // Servers of other names are nothing of ours, and expect nothing.
        let to_be_told = !matches!(place, Place::Name(_));
        if let Some(version) = self.proxy.filter(|_| to_be_told) {
            // A fresh socket has room for it. One that broke at once is a visitor's to see, as without it.
            let _ = site.write_all(&peer.proxy_header(version)).await;
        }
        Ok(site)
    }

    /// Takes a visitor, with the bytes that were read from it, and sees it through. Returns it if it
    /// turns out to be a client after all.
    pub async fn receive(
        &self,
        visitor: Stream,
        peer: &ConnInfo,
        place: Place,
        bytes: Vec<u8>,
        dialled: Option<TcpStream>,
        began: Instant,
    ) -> Option<Claimed> {
        let Some(dialer) = self.site(place) else {
            let own = match (place, &self.clear) {
                (Place::Clear, ClearSite::Refused) => &Site::HttpsOnly,
                _ => &self.own,
            };
            return Box::pin(own.serve(self.rules(place), visitor, peer, bytes, began)).await;
        };
        let mut visit = match self.visits.begin(&bytes).await {
            Ok(visit) => visit,
            Err(NoAnswers) => return goes_round(visitor, peer),
        };
        let site = match dialled {
            Some(site) => site,
            None => match Box::pin(self.dial(place, dialer, peer)).await {
                Ok(site) => site,
                Err(error) => return unreachable(visitor, peer, &error),
            },
        };
        let answers = visit.answers(&site);
        if matches!(place, Place::Plain | Place::Clear | Place::Inside) && self.rules(place).http.is_some() {
            // On the heap: only those who are followed have the room for it.
            let followed = self.follow(self.rules(place), visitor, site.into(), peer, bytes, began);
            return Box::pin(visit.run(answers, followed)).await;
        }
        let flows = Flows::new(Identity).with_payload(Direction::Up, bytes).modest();
        let relay = Relay::new(visitor, site, flows, self.timeouts);
        let outcome = visit.run(answers, relay.run()).await;
        telemetry::tunnel_ended(peer, "visitor", began, &outcome);
        None
    }

    /// The same for a visitor whose TLS was answered by us: to the website it goes in the clear, or in TLS
    /// again where that is all it has.
    pub async fn receive_inside(
        &self,
        mut visitor: TlsStream,
        peer: &ConnInfo,
        bytes: Vec<u8>,
        dialled: Option<TcpStream>,
        began: Instant,
    ) -> Option<Claimed> {
        let (Some(again), Some(dialer)) = (&self.again, &self.tls) else {
            visitor.close_notify_unless_peer_closed();
            return self.receive(visitor.into(), peer, Place::Inside, bytes, dialled, began).await;
        };
        let mut visit = match self.visits.begin(&bytes).await {
            Ok(visit) => visit,
            Err(NoAnswers) => return goes_round(visitor.into(), peer),
        };
        let site = match dialled {
            Some(site) => Ok(site),
            None => Box::pin(self.dial(Place::Inside, dialer, peer)).await,
        };
        let site = match site {
            Ok(site) => Box::pin(again.connect(site, &visitor)).await,
            Err(error) => return unreachable(visitor.into(), peer, &error),
        };
        match site {
            Ok(site) => {
                let answers = visit.answers(site.tcp());
                let followed = self.follow(&self.rules, visitor.into(), site.into(), peer, bytes, began);
                Box::pin(visit.run(answers, followed)).await
            }
            Err(error) => unreachable(visitor.into(), peer, &error),
        }
    }

    /// Joins a visitor to the website, until it asks for an upgrade that is ours.
    async fn follow(
        &self,
        rules: &Rules,
        visitor: Stream,
        site: Stream,
        peer: &ConnInfo,
        mut bytes: Vec<u8>,
        began: Instant,
    ) -> Option<Claimed> {
        // Who has said nothing yet, as a browser that connects beforehand, has all its requests to come.
        let decided = !bytes.is_empty();
        let mut flows = Flows::new(Follow::new(rules, &self.undecided, decided)).modest();
        flows.feed(Direction::Up, &mut bytes);
        drop(bytes);
        let relay = Relay::new(visitor, site, flows, self.timeouts);
        let (outcome, follow, visitor) = relay.run_or_hand_off().await;
        telemetry::tunnel_ended(peer, "visitor", began, &outcome);
        let Some(visitor) = visitor else {
            if let Some(why) = follow.unclear() {
                debug!(%peer, %why, "its connection was the website's for good");
            }
            return None;
        };
        let (upgrade, bytes, requests) = follow.into_claim()?;
        debug!(%peer, requests, "a visitor at the website became a client");
        Some(Claimed { visitor, upgrade, bytes })
    }
}

/// A visitor meets what it would meet where no website listens.
fn unreachable<C>(mut visitor: Stream, peer: &ConnInfo, error: &impl Display) -> Option<C> {
    warn!(%peer, %error, "the website cannot be reached");
    visitor.abort();
    None
}

/// A visitor is one of ever more that say the same and get no answer.
fn goes_round<C>(mut visitor: Stream, peer: &ConnInfo) -> Option<C> {
    warn!(
        %peer,
        "many visitors that begin alike wait for the website, which answers none of them: does it lead back \
         here? One of them is reset"
    );
    visitor.abort();
    None
}

/// A visitor that came to the website first, and then, on the same connection, asked for an upgrade that
/// is ours. The website has answered all it was asked.
#[derive(Debug)]
pub struct Claimed {
    /// Its connection.
    pub visitor: Stream,
    /// What it asks for.
    pub upgrade: Upgrade,
    /// The request, and what came behind it.
    pub bytes: Vec<u8>,
}
