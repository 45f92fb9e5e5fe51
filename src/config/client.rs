//! What the client half needs to know, and its reading.

use super::disguise::{self, ClientDisguise, Disguise};
use super::error::ConfigError;
use super::limits::limits;
use super::names;
use super::options::Options;
use super::proxy::proxy;
use super::tls::tls;
use super::trusted::trusted_proxies;
use super::udp::udp;
use super::values::fake_tls_names;
use super::website::failover;
use crate::net::addr::HostPort;
use crate::net::proxy::Proxy;
use std::fmt;

/// What the client half needs to know beyond the sockets.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Where the host's plain connections come in.
    pub listen: Vec<HostPort>,
    /// The server halves, the preferred one first.
    pub servers: Vec<HostPort>,
    /// The proxy that leads to them.
    pub proxy: Option<Proxy>,
    /// What the connections look like.
    pub disguise: ClientDisguise,
    /// Whether UDP is taken at the same local addresses.
    pub udp: bool,
}

impl ClientConfig {
    /// The path and the name that only clients are to know. [`Display`](fmt::Display) leaves them out.
    pub fn secrets(&self) -> String {
        self.disguise.secrets()
    }
}

impl fmt::Display for ClientConfig {
    /// What the start-up line says of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "server {}", list(&self.servers))?;
        if let Some(proxy) = &self.proxy {
            write!(f, " through the proxy {proxy}")?;
        }
        f.write_str(", disguise ")?;
        self.disguise.fmt(f)?;
        f.write_str(if self.udp {
            ", UDP from a host that passes it to plugins"
        } else {
            "; UDP does not go through the plugin (option `udp`)"
        })
    }
}

fn list(addresses: &[HostPort]) -> String {
    addresses.iter().map(HostPort::to_string).collect::<Vec<_>>().join(" or ")
}

/// Reads the settings of a client half that dials these servers.
pub(super) fn client(
    options: &Options,
    servers: Vec<HostPort>,
    listen: Vec<HostPort>,
    disguise: Disguise,
) -> Result<ClientConfig, ConfigError> {
    let tls = tls(options)?.is_some();
    // A server's option in a client's string is checked all the same: it is the string of both.
    let h2c = disguise == Disguise::Grpc || options.get("serviceName").is_some();
    failover(options, tls, false, h2c)?;
    fake_tls_names(options)?;
    names::routes(options)?;
    trusted_proxies(options)?;
    limits(options)?;
    let disguise = disguise::client(options, disguise, tls, servers.first())?;
    let udp = udp(options, disguise.carries_udp())?;
    Ok(ClientConfig { listen, servers, proxy: proxy(options)?, disguise, udp })
}
