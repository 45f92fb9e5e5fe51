//! Is this connection ours? Asked in the same way of the first bytes of a connection, of the first bytes inside
//! TLS, and of a later request to the website; answered as a pure function of the bytes.

use crate::wire::fake_tls::ReceivedHello;
#[cfg(feature = "grpc")]
use crate::wire::grpc::Method;
use crate::wire::grpc::Service;
#[cfg(feature = "grpc")]
use crate::wire::h2::PREFACE;
use crate::wire::http::host::is_host;
use crate::wire::http::{Upgrade, UpgradeDetector, UpgradeParse};
use crate::wire::tls::client_hello::{self, ClientHello};
use crate::wire::tls::content_type::HANDSHAKE;

mod missed;
pub mod read;

pub use crate::wire::http::HttpRule;
pub use missed::{Missed, missed};
pub use read::{Handoff, Upstream, UpstreamId};

/// What a server half takes as its own; by default, nothing.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Upgrade requests.
    pub http: Option<HttpRule>,
    /// The hellos of `obfs=tls`.
    pub fake_tls: Option<FakeTlsRule>,
    /// Requests for gRPC.
    pub grpc: Option<GrpcRule>,
    /// Whether real TLS is asked for its name. If not, it is a visitor's whatever it asks for.
    pub tls: bool,
    /// Whether upgrade requests are taken inside TLS alone: whoever speaks in the clear is a visitor.
    pub tls_alone: bool,
}

impl Rules {
    /// The rules for what is inside TLS.
    pub fn inside_tls(&self) -> Rules {
        Rules { http: self.http.clone(), grpc: self.grpc.clone(), ..Rules::default() }
    }

    /// The rules for further requests of those who speak in the clear.
    pub fn in_the_clear(&self) -> Rules {
        Rules { http: self.http.clone().filter(|_| !self.tls_alone), ..Rules::default() }
    }

    /// The same for somebody who is a visitor whatever is asked for.
    pub fn of_visitors(&self) -> Rules {
        Rules { tls: self.tls, tls_alone: self.tls_alone, ..Rules::default() }
    }

    /// Whether clients of simple-obfs may ask for any path.
    pub fn takes_any_http_path(&self) -> bool {
        self.http.as_ref().is_some_and(|rule| rule.path.is_none())
    }

    /// The method of gRPC that is asked for with this path, if it is taken.
    #[cfg(feature = "grpc")]
    pub fn grpc_method(&self, path: &str) -> Option<Method> {
        self.grpc.iter().flat_map(|rule| &rule.services).find_map(|service| service.method(path))
    }

    /// Whether something is taken over HTTP/2: gRPC, or a WebSocket (RFC 8441).
    pub fn takes_h2(&self) -> bool {
        cfg!(feature = "grpc")
            && (self.grpc.is_some() || self.http.as_ref().is_some_and(|rule| rule.web_path.is_some()))
    }

    /// What a connection with these first bytes speaks. One that says nothing is taken for what the
    /// port is chiefly for.
    pub fn guess_protocol(&self, bytes: &[u8]) -> VisitorProtocol {
        let Rules { http, fake_tls: _, grpc: _, tls: _, tls_alone: _ } = self;
        match bytes.first() {
            Some(&HANDSHAKE) => VisitorProtocol::Tls,
            None if http.is_none() => VisitorProtocol::Tls,
            _ => VisitorProtocol::Plain,
        }
    }
}

/// Which requests for gRPC a server takes as its own.
#[derive(Debug, Clone)]
pub struct GrpcRule {
    /// Their services.
    pub services: Vec<Service>,
}

/// What a visitor speaks, as far as it is known: each has a website of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VisitorProtocol {
    /// HTTP/1, or anything that is none of the others.
    Plain,
    /// TLS: a handshake record (RFC 8446 section 5.1).
    Tls,
    /// HTTP/2, which both ends agreed on in the handshake of TLS, or whose preface was read.
    H2,
}

/// Which hellos of `obfs=tls` a server takes as its own.
#[derive(Debug, Clone)]
pub struct FakeTlsRule {
    /// The server names, in lower case (compared without port and case); where there are none, any.
    pub server_names: Vec<String>,
}

impl FakeTlsRule {
    /// Whether a hello with this server name is taken.
    pub fn takes(&self, server_name: &[u8]) -> bool {
        let is_wanted = |wanted: &String| is_host(server_name, wanted);
        self.server_names.is_empty() || self.server_names.iter().any(is_wanted)
    }
}

/// What the bytes are, from detection to the route that is taken for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detection {
    /// Not decided: the bytes could still become a client's.
    NeedMore,
    /// A client of ours.
    Client(ClientKind),
    /// A complete hello of real TLS.
    Tls(TlsHello),
    /// HTTP/2, some of whose requests may be a client's.
    H2,
    /// Anybody else.
    Visitor,
}

/// What a client of ours asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientKind {
    /// An upgrade as simple-obfs's clients ask for it, behind which the stream is raw.
    Http(Upgrade),
    /// An upgrade to WebSocket, or v2ray-plugin's HTTPUpgrade.
    Web(Upgrade),
    /// simple-obfs's look-alike of TLS.
    FakeTls(ReceivedHello),
}

impl ClientKind {
    /// The request in which it asks for a path, if it asks for one.
    pub fn upgrade(&self) -> Option<&Upgrade> {
        match self {
            ClientKind::Http(upgrade) | ClientKind::Web(upgrade) => Some(upgrade),
            ClientKind::FakeTls(_) => None,
        }
    }

    /// The number of the path that it asks for among the rule's [`routes`](HttpRule::routes), if it is one of them.
    pub fn route(&self) -> Option<usize> {
        self.upgrade()?.route
    }
}

/// What a hello of real TLS says, as far as its route depends on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsHello {
    /// The name of the server, as it is written.
    pub server_name: Option<Vec<u8>>,
    /// Whether it says which protocols it offers inside (ALPN).
    pub has_alpn: bool,
    /// Whether HTTP/2 is one of them.
    pub offers_h2: bool,
    /// Whether HTTP/1.1 is one of them.
    pub offers_http1: bool,
    /// Whether it says that an attempt with a newer version failed (RFC 7507).
    pub is_fallback: bool,
}

impl Detection {
    /// The name that a hello of real TLS asks for, fit for a log; empty, if it asks for none.
    pub fn server_name(&self) -> Option<String> {
        let Detection::Tls(hello) = self else { return None };
        Some(hello.server_name.as_deref().unwrap_or_default().escape_ascii().to_string())
    }
}

impl TlsHello {
    /// Whether a client of ours may have sent this. It does not offer HTTP/2, which it could not speak if it
    /// were taken, unless `h2` is answered here, too; some clients, and some proxies in front, offer nothing.
    pub fn alpn_fits_a_client(&self, h2: bool) -> bool {
        match self.offers_h2 {
            _ if self.is_fallback => false,
            true => h2,
            false => !self.has_alpn || self.offers_http1,
        }
    }
}

/// Decides what bytes are, as early as they allow. More bytes never change a detection other than
/// [`Detection::NeedMore`].
pub fn detect(bytes: &[u8], rules: &Rules) -> Detection {
    Detector::default().detect(bytes, rules)
}

/// Detects what bytes are while they come: what is known of the first ones need not be looked at again.
#[derive(Debug, Default)]
pub struct Detector {
    seen: usize,
    http: Option<UpgradeDetector>,
    records: Records,
}

impl Detector {
    /// What all bytes are that have come; they begin with those of the last call, and the rules are the same.
    pub fn detect(&mut self, bytes: &[u8], rules: &Rules) -> Detection {
        let seen = std::mem::replace(&mut self.seen, bytes.len());
        let Rules { http, fake_tls: _, grpc: _, tls: _, tls_alone } = rules;
        match (rules.guess_protocol(bytes), http) {
            _ if bytes.is_empty() => Detection::NeedMore,
            (VisitorProtocol::Tls, _) if self.records.may_decide(seen, bytes) => detect_hello(bytes, rules),
            (VisitorProtocol::Tls, _) => Detection::NeedMore,
            #[cfg(feature = "grpc")]
            _ if !tls_alone && rules.takes_h2() && begins_h2(bytes) => {
                if bytes.len() < H2_WORD {
                    Detection::NeedMore
                } else {
                    Detection::H2
                }
            }
            (_, Some(rule)) if !tls_alone => {
                let http = self.http.get_or_insert_default();
                match http.detect(bytes, rule) {
                    UpgradeParse::NeedMore => Detection::NeedMore,
                    UpgradeParse::Upgrade(upgrade) if rule.web_path.is_some() => {
                        Detection::Client(ClientKind::Web(upgrade))
                    }
                    UpgradeParse::Upgrade(upgrade) => Detection::Client(ClientKind::Http(upgrade)),
                    UpgradeParse::Other => Detection::Visitor,
                }
            }
            _ => Detection::Visitor,
        }
    }
}

/// So much of HTTP/2's preface no other protocol begins with: no method of HTTP/1 is PRI. (A website that speaks it answers
/// before it has all of it.)
#[cfg(feature = "grpc")]
const H2_WORD: usize = b"PRI ".len();

/// Whether these bytes are HTTP/2's preface, as far as they have come.
#[cfg(feature = "grpc")]
fn begins_h2(bytes: &[u8]) -> bool {
    // (HTTP/1 has methods that begin with a P, but a server that looks for upgrades knows these at once)
    bytes.iter().zip(&PREFACE[..H2_WORD]).all(|(byte, wanted)| byte == wanted)
}

/// Where the records of a hello end.
#[derive(Debug, Default)]
struct Records {
    /// Where the one that comes begins.
    start: usize,
    /// How many bytes there were when they were looked at last.
    looked: usize,
}

impl Records {
    /// Type, version and length.
    const HEAD: usize = 5;
    /// So few bytes are looked at each time: they tell the hellos of real TLS from the others.
    const FEW: usize = 512;

    /// Whether these bytes, of which `seen` were there before, may tell more than those: where the head or
    /// the end of a record has come, since servers answer nothing before, or where they are twice as many.
    fn may_decide(&mut self, seen: usize, bytes: &[u8]) -> bool {
        let mut crossed = false;
        while let Some(&[_, _, _, high, low]) = bytes.get(self.start..self.start + Self::HEAD) {
            crossed |= seen < self.start + Self::HEAD;
            let end = self.start + Self::HEAD + usize::from(u16::from_be_bytes([high, low]));
            if bytes.len() < end {
                break;
            }
            crossed = true;
            self.start = end;
        }
        let decides = crossed || bytes.len() <= Self::FEW || bytes.len() >= 2 * self.looked;
        if decides {
            self.looked = bytes.len();
        }
        decides
    }
}

/// A hello that is taken as that of `obfs=tls`, or else of real TLS.
fn detect_hello(bytes: &[u8], rules: &Rules) -> Detection {
    if let Some(rule) = &rules.fake_tls {
        match ReceivedHello::parse(bytes) {
            Ok(None) => return Detection::NeedMore,
            Ok(Some(hello)) if rule.takes(bytes.get(hello.server_name.clone()).unwrap_or_default()) => {
                return Detection::Client(ClientKind::FakeTls(hello));
            }
            Ok(Some(_)) | Err(_) => {}
        }
    }
    if !rules.tls {
        return Detection::Visitor;
    }
    match client_hello::body(bytes) {
        Ok(None) => Detection::NeedMore,
        Ok(Some(body)) => ClientHello::parse(&body).map_or(Detection::Visitor, |hello| {
            Detection::Tls(TlsHello {
                server_name: hello.server_name.map(<[u8]>::to_vec),
                has_alpn: hello.has_alpn(),
                offers_h2: hello.offers(b"h2"),
                offers_http1: hello.offers(b"http/1.1"),
                is_fallback: hello.is_fallback,
            })
        }),
        Err(_) => Detection::Visitor,
    }
}

#[cfg(test)]
mod tests;
