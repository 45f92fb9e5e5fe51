//! What a server takes, as a client sees it.

use crate::config::{ConfigError, ServerConfig};
use crate::detect::HttpRule;
use crate::net::addr::Host;
use crate::wire::http::PathTable;
use crate::wire::http::host::escape_unprintable;
use std::fmt;

/// A disguise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// WebSocket.
    WebSocket,
    /// HTTPUpgrade.
    HttpUpgrade,
    /// simple-obfs's `obfs=http`.
    Http,
    /// simple-obfs's `obfs=tls`.
    FakeTls,
    /// v2ray-plugin's QUIC.
    Quic,
    /// v2ray's gRPC.
    Grpc,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 6] =
        [Kind::WebSocket, Kind::HttpUpgrade, Kind::Http, Kind::FakeTls, Kind::Quic, Kind::Grpc];

    /// The name in `obfs=` or `mode=`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::WebSocket => "websocket",
            Kind::HttpUpgrade => "httpupgrade",
            Kind::Http => "http",
            Kind::FakeTls => "tls",
            Kind::Quic => "quic",
            Kind::Grpc => "grpc",
        }
    }
}

/// A disguise that a server takes, with all that a client needs to know for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offer {
    pub kind: Kind,
    /// In real TLS. (QUIC has TLS inside.)
    pub tls: bool,
    /// The name that the request asks for.
    pub host: String,
    /// The name in the hello.
    pub server_name: String,
    /// The path of the request, fit for a request line.
    pub path: String,
    /// The method of `obfs=http`.
    pub method: String,
    /// Whether UDP goes through it.
    pub udp: bool,
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::WebSocket => "WebSocket",
            Kind::HttpUpgrade => "HTTPUpgrade",
            Kind::Http => "obfs=http",
            Kind::FakeTls => "obfs=tls",
            Kind::Quic => "QUIC",
            Kind::Grpc => "gRPC",
        })?;
        f.write_str(if self.tls && self.kind != Kind::Quic { " in TLS" } else { "" })
    }
}

/// Where clients meet the server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    /// The address that they connect to.
    pub host: &'a Host,
    /// Another program in front of the server ends TLS.
    pub tls_in_front: bool,
    /// The path or the name of one of the server's routes.
    pub route: Option<&'a str>,
}

/// A route of the server: by path or by name.
#[derive(Debug, Clone, Copy)]
enum Route<'a> {
    None,
    Path(&'a str),
    Name(&'a str),
}

/// What the server takes, the best first.
///
/// # Errors
///
/// There is no such route, or nobody knows the name of the certificate.
pub(super) fn offers(server: &ServerConfig, seen: Seen<'_>) -> Result<Vec<Offer>, ConfigError> {
    let route = route(server, seen.route)?;
    let maker = Maker { server, seen, route };
    let all = maker.all();
    if all.iter().any(|offer| offer.tls && offer.server_name.is_empty()) {
        return Err(ConfigError::Missing {
            name: "the name of the certificate (--host, or `host` among the options)".to_owned(),
            expected: "a name, which clients of TLS ask for".to_owned(),
        });
    }
    Ok(all)
}

fn route<'a>(server: &'a ServerConfig, wanted: Option<&str>) -> Result<Route<'a>, ConfigError> {
    let Some(wanted) = wanted else { return Ok(Route::None) };
    let found = if wanted.starts_with('/') {
        let key = PathTable::key(wanted);
        let path = server.routes.by_path.iter().find(|(path, _)| PathTable::key(path) == key);
        path.map(|(path, _)| Route::Path(path))
    } else {
        let name = server.routes.by_name.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        name.map(|(name, _)| Route::Name(name))
    };
    found.ok_or_else(|| {
        ConfigError::variable(
            "--route",
            wanted,
            "the path or the name of a `route` among the server's options",
        )
    })
}

struct Maker<'a> {
    server: &'a ServerConfig,
    seen: Seen<'a>,
    route: Route<'a>,
}

impl Maker<'_> {
    fn all(&self) -> Vec<Offer> {
        let rules = &self.server.rules;
        let (front, route) = (self.seen.tls_in_front, self.route);
        let in_tls = front || self.server.tls.is_some();
        let in_clear = !front && !rules.tls_alone && !matches!(route, Route::Name(_));
        let by_path = matches!(route, Route::Path(_));
        let mut all = Vec::new();
        let web = rules.http.as_ref().filter(|rule| rule.method == "GET");
        let websocket = web.filter(|rule| rule.web_path.is_some());
        let grpc = rules.grpc.as_ref().filter(|_| !by_path).and_then(|rule| rule.services.first());
        if in_tls {
            all.extend(websocket.map(|rule| self.web(Kind::WebSocket, true, rule)));
            // Our own TLS has HTTP/2 only where somebody answers its visitors.
            let h2 = front || self.server.offers_h2();
            all.extend(grpc.filter(|_| h2).map(|service| self.grpc(true, &service.tun)));
            if self.server.quic.is_some() && !front && !by_path {
                all.push(self.offer(Kind::Quic, true));
            }
            // What takes `obfs=http` takes it in the TLS of somebody else as well, and this is its name there.
            all.extend(web.map(|rule| self.web(Kind::HttpUpgrade, true, rule)));
        }
        if in_clear {
            all.extend(websocket.map(|rule| self.web(Kind::WebSocket, false, rule)));
            all.extend(rules.http.as_ref().filter(|rule| self.takes_http(rule)).map(|rule| self.http(rule)));
            all.extend(websocket.map(|rule| self.web(Kind::HttpUpgrade, false, rule)));
            all.extend(grpc.map(|service| self.grpc(false, &service.tun)));
            if let (Some(rule), false) = (&rules.fake_tls, by_path) {
                let mut offer = self.offer(Kind::FakeTls, false);
                offer.server_name = rule.server_names.first().cloned().unwrap_or_else(|| self.public_name());
                all.push(offer);
            }
        }
        all
    }

    /// Whether clients of `obfs=http` are asked for. Where only WebSocket is, they come in by its path, too.
    fn takes_http(&self, rule: &HttpRule) -> bool {
        rule.web_path.is_none() || self.server.auto || rule.path != rule.web_path
    }

    fn web(&self, kind: Kind, tls: bool, rule: &HttpRule) -> Offer {
        let path = rule.web_path.as_ref().or(rule.path.as_ref());
        self.request(self.offer(kind, tls), rule, path)
    }

    fn http(&self, rule: &HttpRule) -> Offer {
        Offer {
            method: rule.method.clone(),
            ..self.request(self.offer(Kind::Http, false), rule, rule.path.as_ref())
        }
    }

    /// With the path and the host that are taken.
    fn request(&self, offer: Offer, rule: &HttpRule, path: Option<&String>) -> Offer {
        let path = match self.route {
            Route::Path(path) => path,
            _ => path.map_or("/", String::as_str),
        };
        Offer { path: escape_unprintable(path), host: rule.host.clone().unwrap_or(offer.host), ..offer }
    }

    fn grpc(&self, tls: bool, path: &str) -> Offer {
        Offer { path: path.to_owned(), ..self.offer(Kind::Grpc, tls) }
    }

    fn offer(&self, kind: Kind, tls: bool) -> Offer {
        let server_name = if tls { self.certificate_name() } else { String::new() };
        let host = if tls { server_name.clone() } else { self.public_name() };
        let udp = self.server.udp && matches!(kind, Kind::WebSocket | Kind::Quic | Kind::Grpc);
        Offer { kind, tls, host, server_name, path: "/".to_owned(), method: "GET".to_owned(), udp }
    }

    /// The name in the certificate as far as it is known: the one that the server was given, or the public one.
    fn certificate_name(&self) -> String {
        if let Route::Name(name) = self.route {
            return name.to_owned();
        }
        let own = self.server.tls.as_ref().and_then(|tls| tls.name.clone());
        let is_name = |text: &str| matches!(Host::parse(text), Some(Host::Name(name)) if !name.contains(':'));
        own.into_iter().chain([self.public_name()]).find(|name| is_name(name)).unwrap_or_default()
    }

    fn public_name(&self) -> String {
        self.seen.host.without_zone().to_string()
    }
}
