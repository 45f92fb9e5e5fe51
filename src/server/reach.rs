//! Whether what is behind the server answers, asked at the start: who set it up need not wait for the first visitor
//! to learn that it does not.

use super::Backends;
use crate::config::{Routes, ServerConfig};
use crate::detect::UpstreamId;
use crate::fallback::Fallback;
use crate::net::addr::{Host, HostPort};
use crate::net::dial::{DialError, Dialer};
use crate::os::listening::is_listened_on;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

/// How long it may not answer before that is told. Hosts start their plugin before they listen, and where a
/// machine starts, so does everything on it.
const GRACE: Duration = Duration::from_secs(5);

/// How often it is asked meanwhile.
const SOON: Duration = Duration::from_millis(500);

/// How often it is asked once that is told.
const LATER: Duration = Duration::from_secs(10);

/// How long it may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// One of those behind the server.
#[derive(Debug)]
pub(super) struct Target {
    what: String,
    /// What becomes of connections as long as it does not answer.
    otherwise: &'static str,
    address: HostPort,
    dialer: Arc<Dialer>,
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
        otherwise: "clients are reset",
        address: config.backend.clone(),
        dialer: Arc::clone(backends.main()),
    }];
    for (address, dialer) in backends.of_routes(config) {
        if targets.iter().all(|target| target.address != *address) {
            targets.push(Target {
                what: "the Shadowsocks server of an option `route`".to_owned(),
                otherwise: "its clients are reset",
                address: address.clone(),
                dialer: Arc::clone(dialer),
            });
        }
    }
    for (number, upstream) in routes.upstreams.iter().enumerate() {
        if let Some(address) = upstream.website.port()
            && let Some(dialer) = fallback.dialer(UpstreamId(number))
            && targets.iter().all(|target| target.address != *address)
        {
            let what = format!("the website of the option `{}`", upstream.option);
            let otherwise = "its visitors are reset";
            targets.push(Target { what, otherwise, address: address.clone(), dialer });
        }
    }
    targets
}

impl Target {
    /// Asks until it answers, and tells.
    pub(super) async fn ask(self) {
        let Target { what, otherwise, address, .. } = &self;
        let began = Instant::now();
        let mut told = false;
        loop {
            match self.answers().await {
                Ok(()) if told => return info!("{what} answers at {address} now"),
                Ok(()) => return debug!("{what} answers at {address}"),
                Err(error) if !told && began.elapsed() >= GRACE => {
                    told = true;
                    warn!("{what} does not answer: {error}; until it does, {otherwise}");
                }
                Err(_) => {}
            }
            sleep(if told { LATER } else { SOON }).await;
        }
    }

    /// Whether it answers. Where the system knows that somebody listens, nobody is bothered.
    async fn answers(&self) -> Result<(), String> {
        let HostPort { host, port } = &self.address;
        let known = match host {
            Host::Ip(ip) => Some(*ip),
            Host::Name(name) if name.eq_ignore_ascii_case("localhost") => Some(Ipv4Addr::LOCALHOST.into()),
            Host::Name(_) => None,
        };
        if known.is_some_and(|ip: IpAddr| is_listened_on(SocketAddr::new(ip, *port))) {
            return Ok(());
        }
        match timeout(ANSWER, self.dialer.check()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(DialError::Connect(error))) => Err(error),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("{} said nothing within {} s", self.address, ANSWER.as_secs())),
        }
    }
}
