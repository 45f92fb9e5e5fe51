//! The routing table: which website a connection goes to, or whether its TLS ends here.
//!
//! A row says what it is for: the layer, the protocol, the name that a hello asks for, and the protocols that it
//! offers. The first row that matches counts. Clients of ours stand above the table: whoever the rules take for
//! one, in whatever layer, has a tunnel (to which backend, [`BackendRoutes`](super::BackendRoutes) say).
//!
//! On a server with a certificate:
//!
//! | layer | protocol | server name | ALPN | route |
//! | --- | --- | --- | --- | --- |
//! | in the clear | TLS | one of the option `sni`, the closest first | any | the server of this name |
//! | in the clear | TLS | of the certificate | a client's | TLS ends here; if that cannot be, `failover-tls` |
//! | in the clear | TLS | any | any | `failover-tls`, if there is one, or else TLS ends here |
//! | in the clear | any | – | – | `failover-http`, if there is one, or else as inside TLS |
//! | inside TLS | HTTP/2 | – | – | `failover-h2`; where something is taken over HTTP/2, each request for itself |
//! | inside TLS | any | – | – | `failover`, or, where that is missing, `failover-tls` in TLS |
//!
//! And without one:
//!
//! | layer | protocol | server name | ALPN | route |
//! | --- | --- | --- | --- | --- |
//! | in the clear | TLS | one of the option `sni`, the closest first | any | the server of this name |
//! | in the clear | TLS | any | any | `failover-tls`, or `failover` |
//! | in the clear | any | – | – | `failover` |
//!
//! Where something is taken over HTTP/2 in the clear, with a certificate or without, a connection that begins so is for
//! `failover-h2`, or else for the website in the clear, but for the requests that are ours.

use super::names::{NamePattern, NameRoute};
use super::website::{Failover, Website};
use crate::detect::{ClientKind, Detection, TlsHello, UpstreamId, VisitorProtocol};
use crate::wire::proxy_protocol::Version;
use std::cmp::Reverse;

/// What is around the bytes that are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// Nothing: they are what the connection brings.
    Clear,
    /// TLS that ended here.
    Tls,
}

/// Where a connection goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// A tunnel is opened.
    Tunnel(ClientKind),
    /// TLS ends here. What cannot be answered here goes on to the other one, where there is one.
    TerminateTls(Option<UpstreamId>),
    /// To a website.
    Fallback(UpstreamId),
    /// HTTP/2: each request has its own way; all that are not ours have this website's, where there is one.
    H2(Option<UpstreamId>),
}

/// One of those behind the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// The option that says so.
    pub option: &'static str,
    /// Where it is, or what is served from here.
    pub website: Website,
    /// It is spoken to in TLS, which its visitors have already left.
    pub tls: bool,
    /// It is spoken to in HTTP/1, whose requests can be told apart.
    pub http1: bool,
    /// The PROXY header that tells it who came.
    pub proxy_header: Option<Version>,
}

#[derive(Debug)]
struct Row {
    layer: Layer,
    /// `None`: any.
    protocol: Option<VisitorProtocol>,
    name: ServerName,
    alpn: Alpn,
    route: Route,
}

/// For which names in hellos a row is. What is no hello matches `Any` alone.
#[derive(Debug)]
enum ServerName {
    Any,
    Matching(NamePattern),
    OfCertificate,
}

/// For which offers in hellos a row is.
#[derive(Debug)]
enum Alpn {
    Any,
    /// What a client of ours offers; `h2` says whether HTTP/2 is answered here, too.
    OfAClient {
        h2: bool,
    },
}

/// The table, and those behind the server that it leads to.
#[derive(Debug)]
pub struct Routes {
    rows: Vec<Row>,
    /// Where visitors go, by their [`UpstreamId`].
    pub upstreams: Vec<UpstreamConfig>,
    h2: Option<UpstreamId>,
}

impl Routes {
    /// The table of a server with these websites, with these servers for TLS of other names, with a certificate of
    /// its own or without. `h2`: HTTP/2 is offered inside TLS.
    pub fn new(failover: &Failover, names: &[NameRoute], certificate: bool, h2: bool) -> Routes {
        let mut routes = Routes { rows: Vec::new(), upstreams: Vec::new(), h2: None };
        let http1 = |option, website: &Website| UpstreamConfig {
            option,
            website: website.clone(),
            tls: false,
            http1: true,
            proxy_header: failover.proxy,
        };
        let raw = |option, address| UpstreamConfig { http1: false, ..http1(option, &Website::Port(address)) };
        // The first one is for all that no row is for.
        let plain = routes.add(http1("failover", &failover.plain));
        // (`failover` alone serves those who speak TLS, too)
        let of_tls = if failover.tls.as_ref() == failover.plain.port() { "failover" } else { "failover-tls" };
        let tls = failover.tls.clone().map(|address| routes.add(raw(of_tls, address)));
        let clear =
            failover.clear.as_ref().map_or(plain, |website| routes.add(http1("failover-http", website)));

        let mut names: Vec<&NameRoute> = names.iter().collect();
        names.sort_by_key(|route| Reverse(route.pattern.closeness()));
        for NameRoute { pattern, site } in names {
            // Servers of other names are nothing of ours, and expect nothing.
            let site = routes.add(UpstreamConfig { proxy_header: None, ..raw("sni", site.clone()) });
            let name = ServerName::Matching(pattern.clone());
            routes.row(Layer::Clear, Some(VisitorProtocol::Tls), name, Alpn::Any, Route::Fallback(site));
        }
        if certificate && tls.is_some() {
            let alpn = Alpn::OfAClient { h2 };
            let name = ServerName::OfCertificate;
            routes.row(Layer::Clear, Some(VisitorProtocol::Tls), name, alpn, Route::TerminateTls(tls));
        }
        let other_tls = match tls {
            Some(tls) => Route::Fallback(tls),
            // Nobody else is there to say what is wrong with it.
            None if certificate => Route::TerminateTls(None),
            None => Route::Fallback(plain),
        };
        routes.row(Layer::Clear, Some(VisitorProtocol::Tls), ServerName::Any, Alpn::Any, other_tls);
        let clear = if certificate { clear } else { plain };
        routes.row(Layer::Clear, None, ServerName::Any, Alpn::Any, Route::Fallback(clear));
        if let Some(h2) = failover.h2.clone() {
            let h2 = routes.add(raw("failover-h2", h2));
            routes.h2 = Some(h2);
            routes.row(
                Layer::Tls,
                Some(VisitorProtocol::H2),
                ServerName::Any,
                Alpn::Any,
                Route::Fallback(h2),
            );
        }
        let inside = match &failover.tls {
            // The website has nothing but TLS.
            Some(tls) if certificate && failover.plain == Website::Bare => {
                routes.add(UpstreamConfig { tls: true, ..http1("failover-tls", &Website::Port(tls.clone())) })
            }
            _ => plain,
        };
        routes.row(Layer::Tls, None, ServerName::Any, Alpn::Any, Route::Fallback(inside));
        routes
    }

    fn add(&mut self, upstream: UpstreamConfig) -> UpstreamId {
        self.upstreams.push(upstream);
        UpstreamId(self.upstreams.len() - 1)
    }

    fn row(
        &mut self,
        layer: Layer,
        protocol: Option<VisitorProtocol>,
        name: ServerName,
        alpn: Alpn,
        route: Route,
    ) {
        self.rows.push(Row { layer, protocol, name, alpn, route });
    }

    /// Where a connection goes. `of_certificate` says whether a name in a hello, or the lack of one, is for the
    /// certificate of this server.
    pub fn route(
        &self,
        layer: Layer,
        protocol: VisitorProtocol,
        seen: Detection,
        of_certificate: impl Fn(Option<&[u8]>) -> bool,
    ) -> Route {
        match seen {
            Detection::Client(kind) => Route::Tunnel(kind),
            Detection::Tls(hello) => self.find(layer, protocol, Some(&hello), of_certificate),
            Detection::H2 => Route::H2(self.h2.or_else(|| self.h2_in_the_clear(layer))),
            Detection::Visitor | Detection::NeedMore => self.find(layer, protocol, None, of_certificate),
        }
    }

    /// The website of those who speak HTTP/2, where there is one of their own.
    pub fn h2(&self) -> Option<UpstreamId> {
        self.h2
    }

    /// The website of those of whom no more is known than what they seem to speak.
    pub fn upstream_for(&self, layer: Layer, protocol: VisitorProtocol) -> Option<UpstreamId> {
        match self.find(layer, protocol, None, |_| false) {
            Route::Fallback(id) => Some(id),
            Route::Tunnel(_) | Route::TerminateTls(_) | Route::H2(_) => None,
        }
    }

    /// A website at another port, which knows best whether it speaks HTTP/2 in the clear.
    fn h2_in_the_clear(&self, layer: Layer) -> Option<UpstreamId> {
        let id = self.upstream_for(layer, VisitorProtocol::Plain).filter(|_| layer == Layer::Clear)?;
        self.upstreams.get(id.0)?.website.port().map(|_| id)
    }

    fn find(
        &self,
        layer: Layer,
        protocol: VisitorProtocol,
        hello: Option<&TlsHello>,
        of_certificate: impl Fn(Option<&[u8]>) -> bool,
    ) -> Route {
        let has_name = |wanted: &ServerName| {
            let name = hello.map(|hello| hello.server_name.as_deref());
            match wanted {
                ServerName::Any => true,
                ServerName::Matching(pattern) => name.flatten().is_some_and(|name| pattern.matches(name)),
                ServerName::OfCertificate => name.is_some_and(&of_certificate),
            }
        };
        let has_alpn = |wanted: &Alpn| match *wanted {
            Alpn::Any => true,
            Alpn::OfAClient { h2 } => hello.is_some_and(|hello| hello.alpn_fits_a_client(h2)),
        };
        let row = self.rows.iter().find(|row| {
            row.layer == layer
                && row.protocol.is_none_or(|wanted| wanted == protocol)
                // Before the name: to look into the certificate costs more.
                && has_alpn(&row.alpn)
                && has_name(&row.name)
        });
        row.map_or(Route::Fallback(UpstreamId(0)), |row| row.route.clone())
    }
}

#[cfg(test)]
mod tests;
