//! The server half for those who speak real TLS: its own name is answered here, and the same question
//! asked of what is inside; other names, and hellos that no client of ours would send, go on as they are.

use super::{Server, TunnelError, note};
use crate::config::names;
use crate::detect::read::{self, Arrival};
use crate::fallback::{Claimed, Place};
use crate::net::budget::Share;
use crate::net::conn_info::ConnInfo;
use crate::transport::tls::{AcceptError, Acceptor, TlsStream};
use crate::transport::{Kind, Stream};
use crate::wire::http::Upgrade;
use crate::wire::tls::client_hello::{self, ClientHello};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tracing::debug;

/// What a handshake costs at the most, in bytes: rustls's state, its flight, and what waits of a record.
const HANDSHAKE: usize = 16 * 1024;

/// How long a handshake waits for others to end, which have as long themselves.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who answers a hello.
enum Answerer<'a> {
    /// We do.
    Us(&'a Acceptor),
    /// A server behind us.
    Site(Place),
}

impl Server {
    /// Takes a connection that began with a hello, or what looked like one. `site` is a connection to
    /// the website for TLS, if there is one already.
    pub(super) async fn tls(
        &self,
        visitor: TcpStream,
        bytes: Vec<u8>,
        site: Option<TcpStream>,
        peer: &mut ConnInfo,
        began: Instant,
    ) {
        let (visitor, place) = match self.answerer(&bytes, peer) {
            Answerer::Site(place) => (visitor, place),
            Answerer::Us(acceptor) => {
                let or_give_back = self.fallback.has(Place::Tls);
                let Some(share) = self.share_for_handshake(bytes.len(), or_give_back).await else {
                    if or_give_back {
                        debug!(%peer, "too many handshakes: TLS for the website");
                        let visit =
                            self.fallback.receive(visitor.into(), peer, Place::Tls, bytes, site, began);
                        let _ = Box::pin(visit).await;
                    }
                    return;
                };
                let accepted = Box::pin(acceptor.accept(visitor, &bytes, or_give_back)).await;
                drop(share);
                match accepted {
                    Ok(visitor) => {
                        drop((bytes, site));
                        return Box::pin(self.inside_tls(visitor, peer, began)).await;
                    }
                    Err(AcceptError::Refused(visitor, error)) => {
                        debug!(%peer, %error, "a hello for the website");
                        (visitor, Place::Tls)
                    }
                    Err(AcceptError::Failed(error)) => return debug!(%peer, %error, "no TLS handshake"),
                }
            }
        };
        let site = site.filter(|_| place == Place::Tls);
        // Nobody knows what is inside, so nobody comes back from there.
        let _ = Box::pin(self.fallback.receive(visitor.into(), peer, place, bytes, site, began)).await;
    }

    /// What a handshake may hold, beside the hello. Where nothing is left, one that somebody else can
    /// answer does not wait for it.
    async fn share_for_handshake(&self, hello: usize, or_give_back: bool) -> Option<Share<'_>> {
        let undecided = self.fallback.undecided();
        let mut share = undecided.share();
        if share.grow_to(hello + HANDSHAKE) {
            return Some(share);
        }
        if or_give_back {
            return None;
        }
        timeout(PATIENCE, undecided.wait_for(hello + HANDSHAKE)).await.ok()
    }

    fn answerer(&self, bytes: &[u8], peer: &ConnInfo) -> Answerer<'_> {
        let ours = self.tls.as_ref().map_or(Answerer::Site(Place::Tls), Answerer::Us);
        let Ok(Some(body)) = client_hello::body(bytes) else { return ours };
        let Ok(hello) = ClientHello::parse(&body) else { return ours };
        let route = hello.server_name.and_then(|name| names::route(&self.config.routes, name));
        if let Some((index, _)) = route {
            return Answerer::Site(Place::Name(index));
        }
        if self.fallback.has(Place::Tls) && !(self.is_for_us(&hello, peer) && self.may_be_a_clients(&hello)) {
            let name = hello.server_name.unwrap_or_default();
            debug!(%peer, name = %name.escape_ascii(), "TLS for the website");
            return Answerer::Site(Place::Tls);
        }
        ours
    }

    /// Whether a hello asks for a name of ours, or for none (RFC 6066: an address is none) at an address
    /// that our certificate has.
    fn is_for_us(&self, hello: &ClientHello<'_>, peer: &ConnInfo) -> bool {
        let address = peer.local_addr().ip().to_string();
        let asked = hello.server_name.unwrap_or(address.as_bytes());
        let named = self.config.tls.as_ref().and_then(|tls| tls.name.as_ref());
        named.is_some_and(|named| asked.eq_ignore_ascii_case(named.as_bytes()))
            || self.tls.as_ref().is_some_and(|tls| tls.has_name(asked))
    }

    /// Whether a client of ours may have sent this. It does not offer HTTP/2, which it could not speak if
    /// it were taken; some, and some proxies in front, offer nothing.
    fn may_be_a_clients(&self, hello: &ClientHello<'_>) -> bool {
        match (hello.offers(b"h2"), self.fallback.has(Place::H2)) {
            _ if hello.is_fallback => false,
            // Visitors are answered here, too.
            (true, true) => true,
            (true, false) => false,
            (false, _) => !hello.has_alpn() || hello.offers(b"http/1.1"),
        }
    }

    /// What was in TLS is in the clear from here on, for the website, too.
    async fn inside_tls(&self, mut visitor: TlsStream, peer: &mut ConnInfo, began: Instant) {
        if visitor.is_h2() {
            let visit = self.fallback.receive(visitor.into(), peer, Place::H2, Vec::new(), None, began);
            let _ = Box::pin(visit).await;
            return;
        }
        let arrival = read::read(&mut visitor, peer, &self.inside, &self.fallback, |_| Place::Inside);
        let arrival = Box::pin(arrival).await;
        peer.read_forwarded_for(arrival.bytes(), &self.config.fronts);
        let (bytes, site) = match arrival {
            Arrival::Http(upgrade, bytes) => {
                return self.web_inside(visitor.into(), upgrade, bytes, peer, began).await;
            }
            Arrival::Visitor(bytes, site) => (bytes, site),
            // Not asked for.
            Arrival::FakeTls(_, bytes) | Arrival::Tls(bytes, _) => (bytes, None),
            Arrival::Gone(error) => return note(peer, began, Err(TunnelError::Gone(error))),
        };
        let visit = self.fallback.receive_inside(visitor, peer, bytes, site, began);
        if let Some(Claimed { visitor, upgrade, bytes }) = Box::pin(visit).await {
            peer.read_forwarded_for(&bytes, &self.config.fronts);
            self.web_inside(visitor, upgrade, bytes, peer, began).await;
        }
    }

    /// A client whose upgrade is taken, inside TLS.
    async fn web_inside(
        &self,
        client: Stream,
        upgrade: Upgrade,
        bytes: Vec<u8>,
        peer: &ConnInfo,
        began: Instant,
    ) {
        let opened = self.tunnel(client, Kind::Web(upgrade), bytes).await;
        note(peer, began, opened);
    }
}
