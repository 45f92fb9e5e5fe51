//! Visitors: whoever is no client of ours meets the website behind the server, as if we were not there.

use crate::bare_site;
use crate::config::{Failover, HostPort, SocketOptions};
use crate::net::dial::{DialError, Dialer};
use crate::origin::Origin;
use crate::relay::{self, Flow, Identity, Patience, Relay, Transport};
use crate::sniff::Speech;
use crate::telemetry;
use crate::wire::http::Upgrade;
use crate::wire::proxy_protocol::Version;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tracing::{debug, warn};

/// Where visitors go.
#[derive(Debug)]
pub struct Fallback {
    plain: Option<Dialer>,
    tls: Option<Dialer>,
    /// The PROXY header that the websites are told with who came.
    proxy: Option<Version>,
    patience: Patience,
}

impl Fallback {
    /// Visitors go to these websites; without one, to a bare web server with nothing on it.
    pub fn new(sites: &Failover, sockets: &SocketOptions, patience: Patience) -> Fallback {
        let dialer =
            |site: &Option<HostPort>| site.clone().map(|site| Dialer::new(vec![site], sockets.clone()));
        Fallback { plain: dialer(&sites.plain), tls: dialer(&sites.tls), proxy: sites.proxy, patience }
    }

    fn site(&self, speech: Speech) -> Option<&Dialer> {
        match speech {
            Speech::Plain => self.plain.as_ref(),
            Speech::Tls => self.tls.as_ref(),
        }
    }

    /// A connection to the website for somebody who may yet turn out to be a client.
    pub async fn dial_early(&self, speech: Speech, peer: &Origin) -> Option<TcpStream> {
        self.dial(self.site(speech)?, peer).await.ok()
    }

    /// A connection to a website, which is told first of all who came, if it wants to know.
    async fn dial(&self, site: &Dialer, peer: &Origin) -> Result<TcpStream, DialError> {
        let mut site = site.connect().await?;
        if let Some(version) = self.proxy {
            // A fresh socket has room for it. One that broke at once is a visitor's to see, as without it.
            let _ = site.write_all(&peer.header(version)).await;
        }
        Ok(site)
    }

    /// Takes a visitor, with the bytes that were read from it, and sees it through. Returns it if it
    /// turns out to be a client after all.
    pub async fn receive<V: Transport>(
        &self,
        visitor: V,
        peer: &Origin,
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
            None => match Box::pin(self.dial(dialer, peer)).await {
                Ok(site) => site,
                Err(error) => {
                    warn!(%peer, %error, "the website cannot be reached");
                    // What a visitor meets where no website listens.
                    relay::reset(visitor.tcp());
                    return None;
                }
            },
        };
        let length = bytes.len();
        let up = Flow::with_pending(Identity, bytes, length);
        let outcome = Relay::new(visitor, site, up, Flow::new(Identity), self.patience).run().await;
        telemetry::tunnel_ended(peer, "visitor", began, &outcome);
        None
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
