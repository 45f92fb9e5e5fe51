//! Visitors: whoever is no client of ours meets the website behind the server, as if we were not there.

use crate::bare_site;
use crate::config::{Failover, HostPort, SocketOptions};
use crate::net::dial::Dialer;
use crate::origin::Origin;
use crate::relay::{self, Flow, Identity, Patience, Relay, Transport};
use crate::sniff::{Rules, Speech};
use crate::telemetry;
use crate::wire::http::Upgrade;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tracing::{debug, warn};

pub mod follow;

/// Where visitors go.
#[derive(Debug)]
pub struct Fallback {
    plain: Option<Dialer>,
    tls: Option<Dialer>,
    patience: Patience,
    /// Who is no visitor, also of those who come later on a visitor's connection.
    rules: Rules,
}

impl Fallback {
    /// Visitors go to these websites; without one, to a bare web server with nothing on it.
    /// Who asks for an upgrade that `rules` take is none, though it came as one.
    pub fn new(sites: &Failover, sockets: &SocketOptions, patience: Patience, rules: Rules) -> Fallback {
        let dialer =
            |site: &Option<HostPort>| site.clone().map(|site| Dialer::new(vec![site], sockets.clone()));
        Fallback { plain: dialer(&sites.plain), tls: dialer(&sites.tls), patience, rules }
    }

    fn site(&self, speech: Speech) -> Option<&Dialer> {
        match speech {
            Speech::Plain => self.plain.as_ref(),
            Speech::Tls => self.tls.as_ref(),
        }
    }

    /// A connection to the website for somebody who may yet turn out to be a client.
    pub async fn dial_early(&self, speech: Speech) -> Option<TcpStream> {
        self.site(speech)?.connect().await.ok()
    }

    /// Takes a visitor, with the bytes that were read from it, and sees it through. Returns it if it
    /// turns out to be a client after all.
    pub async fn receive<V: Transport>(
        &self,
        visitor: V,
        peer: Origin,
        speech: Speech,
        bytes: Vec<u8>,
        dialled: Option<TcpStream>,
        began: Instant,
    ) -> Option<Claimed<V>> {
        let Some(dialer) = self.site(speech) else {
            let status = Box::pin(bare_site::serve(visitor, bytes)).await;
            debug!(%peer, status, "visitor of the bare server");
            return None;
        };
        let site = match dialled {
            Some(site) => site,
            None => match Box::pin(dialer.connect()).await {
                Ok(site) => site,
                Err(error) => {
                    warn!(%peer, %error, "the website cannot be reached");
                    // What a visitor meets where no website listens.
                    relay::reset(visitor.tcp());
                    return None;
                }
            },
        };
        if speech == Speech::Plain && self.rules.http.is_some() {
            // On the heap: only those who are followed have the room for it.
            return Box::pin(self.follow(visitor, site, peer, bytes, began)).await;
        }
        let length = bytes.len();
        let up = Flow::with_pending(Identity, bytes, length);
        let outcome = Relay::new(visitor, site, up, Flow::new(Identity), self.patience).run().await;
        telemetry::tunnel_ended(peer, "visitor", began, &outcome);
        None
    }

    /// Joins a visitor to the website, until it asks for an upgrade that is ours.
    async fn follow<V: Transport>(
        &self,
        visitor: V,
        site: TcpStream,
        peer: Origin,
        mut bytes: Vec<u8>,
        began: Instant,
    ) -> Option<Claimed<V>> {
        // Who has said nothing yet, as a browser that connects beforehand, has all its requests to come.
        let decided = !bytes.is_empty();
        let (requests, answers, talk) = follow::directions(&self.rules, decided);
        let mut up = Flow::new(requests);
        // There are no bytes that a website may not get.
        let _ = up.feed(&mut bytes);
        drop(bytes);
        let relay = Relay::new(visitor, site, up, Flow::new(answers), self.patience);
        let (outcome, given_back) = relay.run_or_give_back().await;
        telemetry::tunnel_ended(peer, "visitor", began, &outcome);
        let Some((visitor, requests)) = given_back else {
            if let Some(why) = talk.unclear() {
                debug!(%peer, %why, "its connection was the website's for good");
            }
            return None;
        };
        let (upgrade, bytes, requests) = requests.into_claim()?;
        debug!(%peer, requests, "a visitor at the website became a client");
        Some(Claimed { visitor, upgrade, bytes })
    }
}

/// A visitor that came to the website first, and then, on the same connection, asked for an upgrade that
/// is ours. The website has answered all it was asked.
#[derive(Debug)]
pub struct Claimed<V> {
    /// Its connection.
    pub visitor: V,
    /// What it asks for.
    pub upgrade: Upgrade,
    /// The request, and what came behind it.
    pub bytes: Vec<u8>,
}
