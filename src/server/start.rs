//! How the server half starts.

use super::Server;
use crate::config::{Routes, ServerConfig, TunnelConfig};
use crate::fallback::Fallback;
use crate::net::dial::Dialer;
use crate::net::limits::Limits;
use crate::net::listen::Listeners;
use crate::net::own_addresses::OwnAddresses;
use crate::relay::Timeouts;
use crate::service::{Service, StartError};
use crate::transport::tls::Acceptor;
use std::sync::Arc;
use tracing::{info, warn};

impl Server {
    /// Listens on the public addresses.
    ///
    /// # Errors
    ///
    /// One of them cannot be had, or the certificate cannot.
    pub fn bind(config: ServerConfig, tunnel: &TunnelConfig) -> Result<Service<Server>, StartError> {
        let h2 = config.failover.h2.is_some();
        let tls = config.tls.as_ref().map(|tls| Acceptor::new(tls, h2)).transpose()?;
        let refuse_ourselves = |own: &OwnAddresses| {
            let found = config.behind().find_map(|(name, address)| Some((name, own.find([address])?)));
            found.map_or(Ok(()), |(name, (address, own))| {
                Err(StartError::Circle(format!("{name} {address}"), own))
            })
        };
        refuse_ourselves(&OwnAddresses::to_be(&config.listen))?;
        let listeners = Listeners::bind(&config.listen, &tunnel.sockets)?;
        let behind = tunnel.sockets.for_upstream();
        let backend = Arc::new(Dialer::new(vec![config.backend.clone()], behind.clone()));
        let timeouts = Timeouts::new(tunnel.idle_timeout);
        let own = OwnAddresses::of(&listeners);
        refuse_ourselves(&own)?;
        let routes = Routes::new(&config.failover, &config.names, tls.is_some());
        let fallback = Fallback::new(&routes, &behind, timeouts, &own)?;
        let (inside, in_the_clear) = (config.rules.inside_tls(), config.rules.in_the_clear());
        let limits = Limits::new(config.limits);
        let server =
            Server { config, limits, routes, inside, in_the_clear, backend, fallback, timeouts, tls };
        Ok(Service::new(listeners, server))
    }
}

/// Logs whether clients with `obfs=tls` are taken beside real TLS, where that may be asked.
pub(super) fn log_hints(server: &Server) {
    let Server { config, tls: Some(tls), .. } = server else { return };
    if config.fake_tls_is_left_out() {
        info!(
            "clients with obfs=tls are not taken beside TLS; obfs-tls-host=NAME takes those that ask for NAME"
        );
    }
    let names = config.rules.fake_tls.iter().flat_map(|rule| &rule.server_names);
    for _ in names.filter(|name| tls.has_name(name.as_bytes())) {
        warn!(
            "the certificate has a name of obfs-tls-host: who asks the website for it may find the tunnel; give \
             these clients another name"
        );
    }
}
