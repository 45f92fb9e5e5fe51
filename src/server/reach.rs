//! Whether what is behind the server answers, asked at the start: who set it up need not wait for the first visitor
//! to learn that it does not.

use crate::config::ServerConfig;
use crate::net::addr::{Host, HostPort};
use crate::net::dial::{DialError, Dialer};
use crate::net::options::SocketOptions;
use crate::net::own_addresses::OwnAddresses;
use crate::os::listening::is_listened_on;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

/// How long it may not answer before that is told. Hosts start their plugin before they listen, and where a
/// machine starts, so does everything on it.
const GRACE: Duration = Duration::from_secs(5);

/// How often it is asked meanwhile.
const SOON: Duration = Duration::from_millis(500);

/// How often it is asked once that is told.
const LATER: Duration = Duration::from_secs(30);

/// How long it may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// One of those behind the server.
#[derive(Debug)]
pub(super) struct Target {
    what: String,
    /// What becomes of connections as long as it does not answer.
    otherwise: &'static str,
    address: HostPort,
    dialer: Dialer,
}

/// All that are behind the server, each once.
pub(super) fn targets(config: &ServerConfig, sockets: &SocketOptions, own: &OwnAddresses) -> Vec<Target> {
    let mut targets: Vec<Target> = Vec::new();
    for (name, address) in config.behind() {
        if targets.iter().any(|target| target.address == *address) {
            continue;
        }
        let is_backend = *address == config.backend;
        let (what, otherwise) = match is_backend {
            true => ("Shadowsocks".to_owned(), "clients are reset"),
            false => (format!("the website of the option `{name}`"), "its visitors are reset"),
        };
        let dialer = Dialer::new(vec![address.clone()], sockets.clone()).without(own.clone());
        targets.push(Target { what, otherwise, address: address.clone(), dialer });
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
        match timeout(ANSWER, self.dialer.connect()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(DialError::Connect(error))) => Err(error),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("{} said nothing within {} s", self.address, ANSWER.as_secs())),
        }
    }
}
