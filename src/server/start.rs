//! How the server half starts.

use super::{Backends, Server, reach};
use crate::config::{Routes, ServerConfig, TunnelConfig};
use crate::fallback::Fallback;
use crate::net::limits::Limits;
use crate::net::listen::Listeners;
use crate::net::own_addresses::OwnAddresses;
use crate::relay::Timeouts;
use crate::service::{Service, StartError};
use crate::transport::tls::Acceptor;
use std::sync::{Arc, Mutex, PoisonError};
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
        let timeouts = Timeouts::new(tunnel.idle_timeout);
        let own = OwnAddresses::of(&listeners);
        refuse_ourselves(&own)?;
        let backends = Backends::new(&config, &behind, &own);
        let routes = Routes::new(&config.failover, &config.names, tls.is_some());
        let fallback = Fallback::new(&routes, &behind, timeouts, &own)?;
        let (inside, in_the_clear) = (config.rules.inside_tls(), config.rules.in_the_clear());
        let limits = Limits::new(config.limits);
        let to_be_asked = Mutex::new(reach::targets(&config, &backends, &routes, &fallback));
        let server = Server {
            config,
            limits,
            routes,
            inside,
            in_the_clear,
            backends,
            fallback,
            timeouts,
            tls,
            to_be_asked,
        };
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
    let own_name = config.tls.as_ref().and_then(|tls| tls.name.as_deref()).unwrap_or_default();
    let is_ours = |name: &str| name.eq_ignore_ascii_case(own_name) || tls.has_name(name.as_bytes());
    for (_, backend) in config.routes.by_name.iter().filter(|(name, _)| !is_ours(name)) {
        warn!(
            "the certificate does not have the name whose route leads to {backend}: clients that verify it cannot come by \
             that name"
        );
    }
}

/// Starts what tells of the visitors once in a while, and of what is behind. Called on each thread.
pub(super) fn tell_in_the_background(server: &Server) {
    let to_be_asked = std::mem::take(&mut *server.to_be_asked.lock().unwrap_or_else(PoisonError::into_inner));
    for target in to_be_asked {
        tokio::spawn(target.ask());
    }
    let visitors = Arc::clone(server.fallback.visitors());
    tokio::spawn(async move { visitors.tell_in_time().await });
}
