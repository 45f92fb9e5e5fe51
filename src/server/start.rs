//! How the server half starts.

use super::backends::Backends;
use super::{Server, Target, reach};
use crate::config::{self, Routes, ServerConfig, TunnelConfig};
use crate::fallback::Fallback;
#[cfg(feature = "quic")]
use crate::metrics::To;
use crate::net::dial::Dialer;
use crate::net::handed_over::HandedOver;
use crate::net::limits::Limits;
use crate::net::listen::Listeners;
use crate::net::own_addresses::OwnAddresses;
use crate::relay::Timeouts;
use crate::service::{Half, Service, StartError};
#[cfg(feature = "quic")]
use crate::transport::quic::Settings;
use crate::transport::tls::{Acceptor, TlsError};
use std::sync::{Arc, Mutex, PoisonError};
use tracing::{info, warn};

impl Server {
    /// Listens on the public addresses.
    ///
    /// # Errors
    ///
    /// One of them cannot be had, or the certificate cannot.
    pub fn bind(
        config: ServerConfig,
        tunnel: &TunnelConfig,
        handed_over: HandedOver,
    ) -> Result<Service<Server>, StartError> {
        let tls = Server::acceptor(&config)?;
        refuse_ourselves(&config, &OwnAddresses::to_be(&config.listen))?;
        let on_tcp = if config.quic.as_ref().is_some_and(|quic| quic.alone) { &[] } else { &*config.listen };
        let listeners = Listeners::bind(on_tcp, &tunnel.sockets, handed_over)?;
        #[cfg(feature = "quic")]
        let udp = config.quic.as_ref().map(|_| crate::net::udp::bind(&config.listen)).transpose()?;
        let server = Server::new(config, tunnel, tls, &OwnAddresses::of(&listeners), None)?;
        let service = Service::new(listeners, server);
        #[cfg(feature = "quic")]
        if let Some(sockets) = udp {
            return Ok(service.with_udp(sockets));
        }
        Ok(service)
    }

    /// What takes TLS connections, where the server does.
    ///
    /// # Errors
    ///
    /// The certificate cannot be had.
    pub fn acceptor(config: &ServerConfig) -> Result<Option<Acceptor>, TlsError> {
        config.tls.as_ref().map(|tls| Acceptor::new(tls, config.offers_h2())).transpose()
    }

    /// A server that listens nowhere, to be looked at.
    ///
    /// # Errors
    ///
    /// Something behind it leads back to the `own` addresses.
    pub fn unbound(
        config: ServerConfig,
        tunnel: &TunnelConfig,
        tls: Option<Acceptor>,
        own: &OwnAddresses,
    ) -> Result<Server, StartError> {
        Server::new(config, tunnel, tls, own, None)
    }

    /// All that is behind it, each once. To be taken before it starts.
    pub fn targets(&self) -> Vec<Target> {
        std::mem::take(&mut *self.to_be_asked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A server that listens at its `own` addresses, in the place of the one `before`.
    fn new(
        config: ServerConfig,
        tunnel: &TunnelConfig,
        tls: Option<Acceptor>,
        own: &OwnAddresses,
        before: Option<&Server>,
    ) -> Result<Server, StartError> {
        refuse_ourselves(&config, own)?;
        let behind = tunnel.sockets.for_upstream();
        let timeouts = Timeouts::new(tunnel.idle_timeout);
        let backends = Backends::new(&config, &behind, timeouts, own);
        let routes = Routes::new(&config.failover, &config.names, tls.is_some(), config.offers_h2());
        let fallback = Fallback::new(&routes, &behind, timeouts, own, before.map(|it| &it.fallback))?;
        let (inside, in_the_clear) = (config.rules.inside_tls(), config.rules.in_the_clear());
        #[cfg(feature = "quic")]
        let quic = match (&config.quic, &tls) {
            (Some(quic), Some(tls)) => Some(Settings::new(tls, quic.congestion, config.udp)?),
            _ => None,
        };
        #[cfg(feature = "quic")]
        let quic_website = config.quic.as_ref().and_then(|quic| quic.website.clone()).map(|address| {
            let dialer = Dialer::new(vec![address], behind.clone()).to(To::Website);
            Arc::new(dialer.without(own.clone()))
        });
        let limits = Limits::new(config.limits, before.and_then(|it| it.limits.as_ref()));
        let to_be_asked = Mutex::new(reach::targets(&config, &backends, &routes, &fallback));
        let beside = Mutex::default();
        Ok(Server {
            config,
            limits,
            routes,
            inside,
            in_the_clear,
            backends,
            fallback,
            #[cfg(feature = "quic")]
            timeouts,
            tls,
            #[cfg(feature = "quic")]
            quic,
            #[cfg(feature = "quic")]
            quic_website,
            #[cfg(feature = "grpc")]
            retired: Default::default(),
            to_be_asked,
            beside,
        })
    }

    /// What dials all that is behind.
    fn dialers(&self) -> impl Iterator<Item = &Dialer> {
        self.fallback.dialers().chain(self.backends.dialers())
    }
}

/// Makes sure that nothing behind leads back.
fn refuse_ourselves(config: &ServerConfig, own: &OwnAddresses) -> Result<(), StartError> {
    let found = config.behind().find_map(|(name, address)| Some((name, own.find([address])?)));
    found.map_or(Ok(()), |(name, (address, own))| Err(StartError::Circle(format!("{name} {address}"), own)))
}

impl Half for Server {
    /// Starts what tells of the visitors once in a while, and of what is behind. Called on each thread.
    fn start(&self) {
        if let Some(tls) = &self.tls {
            tls.watch_files();
        }
        let to_be_asked = self.targets();
        // (the first of the threads does it)
        let has_been_asked = to_be_asked.is_empty();
        let mut beside = self.beside.lock().unwrap_or_else(PoisonError::into_inner);
        beside.extend(to_be_asked.into_iter().map(|target| tokio::spawn(target.ask()).abort_handle()));
        if self.config.udp && !has_been_asked {
            let asking = reach::ask_for_udp(self.config.backend.clone());
            beside.push(tokio::spawn(asking).abort_handle());
        }
        let visitors = Arc::clone(self.fallback.visitors());
        beside.push(tokio::spawn(async move { visitors.tell_in_time().await }).abort_handle());
    }

    async fn check(&self) -> Result<(), String> {
        self.backends.check().await
    }

    /// Logs whether clients with `obfs=tls` are taken beside real TLS, where that may be asked.
    fn log_hints(&self) {
        let Server { config, tls: Some(tls), .. } = self else { return };
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

    /// The same server with other settings. A certificate in the same files is read anew, and the old one stays where
    /// that cannot be; the same tickets are taken.
    fn renewed(
        &self,
        settings: config::Half,
        tunnel: &TunnelConfig,
        own: &OwnAddresses,
    ) -> Result<Server, StartError> {
        let config::Half::Server(config) = settings else { return Err(StartError::OtherHalf) };
        let h2 = config.offers_h2();
        let is_same = (&config.tls, h2) == (&self.config.tls, self.config.offers_h2());
        let tls = if is_same {
            if let Some(Err(error)) = self.tls.as_ref().map(Acceptor::read_files) {
                warn!(%error, "the certificate cannot be used: the old one stays, and it is tried again");
            }
            self.tls.clone()
        } else {
            config.tls.as_ref().map(|tls| Acceptor::new(tls, h2)).transpose()?
        };
        let server = Server::new(*config, tunnel, tls, own, Some(self))?;
        let known: Vec<_> = self.dialers().map(|dialer| Arc::clone(dialer.names())).collect();
        server.dialers().for_each(|dialer| dialer.names().begin_with(&known));
        Ok(server)
    }

    /// Ends what runs beside the connections of a server in whose place there is another.
    fn retire(&self, next: &Server) {
        for task in self.beside.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
        if let Some(tls) = &self.tls
            && !next.tls.as_ref().is_some_and(|next| next.is_same(tls))
        {
            tls.stop_watching();
        }
        self.fallback.visitors().tell_rest();
        #[cfg(feature = "grpc")]
        self.retired.send_replace(true);
    }

    fn log_rest(&self) {
        self.fallback.visitors().tell_rest();
    }
}
