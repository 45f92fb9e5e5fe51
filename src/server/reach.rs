//! Whether what is behind the server answers, asked at the start: who set it up need not wait for the first visitor
//! to learn that it does not.

use super::backends::Backends;
use crate::config::{Layer, Routes, ServerConfig};
use crate::detect::{UpstreamId, VisitorProtocol};
use crate::fallback::Fallback;
use crate::net::addr::{Host, HostPort};
use crate::net::dial::{DialError, Dialer};
use crate::os::listening::{is_listened_on, is_taken_over_udp};
use crate::wire::proxy_protocol::Version;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

mod http2;
mod visit;

pub use visit::Visited;

/// How long it may not answer before that is told. Hosts start their plugin before they listen, and where a
/// machine starts, so does everything on it.
const GRACE: Duration = Duration::from_secs(5);

/// How often it is asked meanwhile.
const SOON: Duration = Duration::from_millis(500);

/// How often it is asked once that is told.
const LATER: Duration = Duration::from_secs(10);

/// How often it is asked that speaks something else, and has that in its log each time.
const SELDOM: Duration = Duration::from_secs(60);

/// How long it may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// One of those behind the server.
#[derive(Debug)]
pub struct Target {
    what: String,
    /// What becomes of connections as long as it does not answer.
    otherwise: &'static str,
    address: HostPort,
    dialer: Arc<Dialer>,
    /// It is to speak HTTP/2.
    http2: Option<Http2>,
    /// What else is spoken to it.
    speech: Speech,
}

/// What is spoken to one behind the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speech {
    /// Shadowsocks, which answers nobody who does not know its key.
    Shadowsocks,
    /// HTTP/1, behind the PROXY header that it is told with who came.
    Http1(Option<Version>),
    /// TLS, in the same manner.
    Tls(Option<Version>),
}

/// A website that is to speak HTTP/2 in the clear.
#[derive(Debug)]
struct Http2 {
    /// The PROXY header that it is told with who came.
    proxy_header: Option<Version>,
    /// Who is not served as long as it does not.
    unserved: &'static str,
}

/// Whether this is an address of this machine for certain.
fn is_here(address: &HostPort) -> bool {
    match &address.host {
        Host::Ip(ip) => ip.is_loopback(),
        Host::Name(name) => name.eq_ignore_ascii_case("localhost"),
    }
}

/// Tells where nobody takes the UDP that goes to Shadowsocks on this machine. Whoever set it up sees clients that have UDP
/// all the same, past the plugin.
pub(super) async fn ask_for_udp(backend: HostPort) {
    if !is_here(&backend) {
        return;
    }
    sleep(GRACE).await;
    let mut is_told = false;
    while is_taken_over_udp(backend.port) == Some(false) {
        if !is_told {
            is_told = true;
            warn!("{}", lacks_udp(&backend));
        }
        sleep(LATER).await;
    }
    if is_told {
        info!("UDP is taken at {backend} now");
    }
}

/// What there is to say where nobody takes UDP at this address of this machine.
fn lacks_udp(backend: &HostPort) -> String {
    format!(
        "nobody takes UDP at {backend}: Shadowsocks is to do so with `\"mode\": \"tcp_and_udp\"` and `\"plugin_mode\": \
         \"tcp_and_udp\"` (shadowsocks-rust alone has that); without the latter its UDP goes past the plugin, in the open"
    )
}

/// What is wrong with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    /// Nobody answers.
    Silence,
    /// What answers speaks no HTTP/2.
    Language,
}

/// All that are behind the server, each once, with what dials them for everybody: a name is looked up once.
pub(super) fn targets(
    config: &ServerConfig,
    backends: &Backends,
    routes: &Routes,
    fallback: &Fallback,
) -> Vec<Target> {
    let mut targets = vec![Target {
        what: "Shadowsocks".to_owned(),
        // (a host may have UDP alone)
        otherwise: if config.udp { "clients are reset, but for their UDP" } else { "clients are reset" },
        address: config.backend.clone(),
        dialer: Arc::clone(backends.main()),
        http2: None,
        speech: Speech::Shadowsocks,
    }];
    for (address, dialer) in backends.of_routes(config) {
        if targets.iter().all(|target| target.address != *address) {
            targets.push(Target {
                what: "the Shadowsocks server of an option `route`".to_owned(),
                otherwise: "its clients are reset",
                address: address.clone(),
                dialer: Arc::clone(dialer),
                http2: None,
                speech: Speech::Shadowsocks,
            });
        }
    }
    let of_grpc = website_of_grpc(config, routes);
    for (number, upstream) in routes.upstreams.iter().enumerate() {
        let id = UpstreamId(number);
        let is_http2 = Some(id) == routes.h2();
        if let Some(address) = upstream.website.port()
            && let Some(dialer) = fallback.dialer(id)
            // (one that speaks HTTP/1, too, has said nothing of HTTP/2 yet)
            && (is_http2 || targets.iter().all(|target| target.address != *address))
        {
            let what = format!("the website of the option `{}`", upstream.option);
            let otherwise = match of_grpc == Some(id) {
                true => "its visitors are reset, and so are clients of gRPC",
                false => "its visitors are reset",
            };
            let unserved = match of_grpc == Some(id) {
                true => "visitors over HTTP/2, and clients of gRPC that wait for it, are not served",
                false => "visitors over HTTP/2 are not served",
            };
            let http2 = is_http2.then_some(Http2 { proxy_header: upstream.proxy_header, unserved });
            let speech = match upstream.http1 && !upstream.tls {
                true => Speech::Http1(upstream.proxy_header),
                false => Speech::Tls(upstream.proxy_header),
            };
            targets.push(Target { what, otherwise, address: address.clone(), dialer, http2, speech });
        }
    }
    targets
}

/// The website that connections of clients of gRPC begin with.
fn website_of_grpc(config: &ServerConfig, routes: &Routes) -> Option<UpstreamId> {
    config.rules.grpc.as_ref()?;
    let in_the_clear = || routes.upstream_for(Layer::Clear, VisitorProtocol::Plain);
    routes.h2().or_else(|| in_the_clear().filter(|_| !config.rules.tls_alone))
}

impl Target {
    /// Asks until it answers, and tells.
    pub(super) async fn ask(self) {
        let Target { what, otherwise, address, http2, .. } = &self;
        let began = Instant::now();
        let mut told = None;
        loop {
            let (wrong, why) = match self.answers().await {
                Ok(()) if told.is_some() => return info!("{what} answers at {address} now"),
                Ok(()) => return debug!("{what} answers at {address}"),
                Err(wrong) => wrong,
            };
            if told != Some(wrong) && began.elapsed() >= GRACE {
                told = Some(wrong);
                match (wrong, http2) {
                    (Wrong::Language, Some(Http2 { unserved, .. })) => warn!(
                        "{what} does not speak HTTP/2 in the clear (nginx: `listen PORT http2`): {address} {why}; until it \
                         does, {unserved}"
                    ),
                    _ => warn!("{what} does not answer: {why}; until it does, {otherwise}"),
                }
            }
            let pause = match (wrong, told) {
                (Wrong::Silence, None) => SOON,
                (Wrong::Silence, Some(_)) => LATER,
                (Wrong::Language, None) => GRACE,
                (Wrong::Language, Some(_)) => SELDOM,
            };
            sleep(pause).await;
        }
    }

    /// Whether it answers, in HTTP/2 where it is to.
    async fn answers(&self) -> Result<(), (Wrong, String)> {
        let Some(Http2 { proxy_header, .. }) = self.http2 else {
            return self.is_there().await.map_err(|why| (Wrong::Silence, why));
        };
        let connection = self.connect().await.map_err(|why| (Wrong::Silence, why))?;
        http2::is_spoken(connection, proxy_header).await.map_err(|why| (Wrong::Language, why))
    }

    /// Whether somebody is there. Where the system knows that somebody listens, nobody is bothered.
    async fn is_there(&self) -> Result<(), String> {
        let HostPort { host, port } = &self.address;
        let known = match host {
            Host::Ip(ip) => Some(*ip),
            Host::Name(name) if name.eq_ignore_ascii_case("localhost") => Some(Ipv4Addr::LOCALHOST.into()),
            Host::Name(_) => None,
        };
        // (whether an interface, a source address or a mark leads there, only a connection shows)
        if !self.dialer.is_restricted()
            && known.is_some_and(|ip: IpAddr| is_listened_on(SocketAddr::new(ip, *port)))
        {
            return Ok(());
        }
        self.connect().await.map(drop)
    }

    async fn connect(&self) -> Result<TcpStream, String> {
        match timeout(ANSWER, self.dialer.check()).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(DialError::Connect(error))) => Err(error),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("{} said nothing within {} s", self.address, ANSWER.as_secs())),
        }
    }
}
