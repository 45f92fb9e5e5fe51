//! How the client half starts.

use super::udp::Carrier;
use super::{Client, Opening};
use crate::config::{self, ClientConfig, ClientDisguise, TunnelConfig};
use crate::mux::Pool;
use crate::net::dial::Dialer;
use crate::net::handed_over::HandedOver;
use crate::net::listen::Listeners;
use crate::net::options::SocketOptions;
use crate::net::own_addresses::OwnAddresses;
use crate::net::{self, Names};
use crate::relay::Timeouts;
use crate::service::{Half, Service, StartError};
#[cfg(feature = "grpc")]
use crate::transport::GrpcOpener;
use crate::transport::{Opener, WebOpener};
use std::pin::Pin;
use std::sync::Arc;

impl Client {
    /// Listens on the local addresses.
    ///
    /// # Errors
    ///
    /// One of them cannot be had, or the roots for TLS cannot.
    pub fn bind(
        config: ClientConfig,
        tunnel: &TunnelConfig,
        handed_over: HandedOver,
    ) -> Result<Service<Client>, StartError> {
        refuse_ourselves(&config, &OwnAddresses::to_be(&config.listen))?;
        // What is asked of the sockets is for the way to the server; the host is on the same machine.
        let listeners = Listeners::bind(&config.listen, &SocketOptions::default(), handed_over)?;
        let udp = config.udp.then(|| net::udp::bind_soon(&config.listen)).transpose()?;
        let client = Client::new(config, tunnel, &OwnAddresses::of(&listeners))?;
        let service = Service::new(listeners, client);
        Ok(match udp {
            Some(sockets) => service.with_udp(sockets),
            None => service,
        })
    }

    /// What opens its tunnels, each in a connection of its own, for one who does not listen, and what is known of the
    /// names that it dials.
    ///
    /// # Errors
    ///
    /// A server leads back to the `own` addresses, or the roots for TLS cannot be had.
    pub fn opener(
        config: &ClientConfig,
        tunnel: &TunnelConfig,
        own: &OwnAddresses,
    ) -> Result<(Opener, Arc<Names>), StartError> {
        refuse_ourselves(config, own)?;
        let dialer = dialer(config, tunnel, own);
        let names = Arc::clone(dialer.names());
        Ok((Opener::new(config.disguise.clone(), dialer, has_unknown_cuts(config, tunnel))?, names))
    }

    /// A client that listens at its `own` addresses.
    pub(super) fn new(
        config: ClientConfig,
        tunnel: &TunnelConfig,
        own: &OwnAddresses,
    ) -> Result<Client, StartError> {
        refuse_ourselves(&config, own)?;
        let timeouts = Timeouts::new(tunnel.idle_timeout);
        let unknown_cuts = has_unknown_cuts(&config, tunnel);
        let carrier = || Carrier::new(&config.disguise, dialer(&config, tunnel, own), timeouts);
        let udp = config.udp.then(carrier).transpose()?;
        let dialer = dialer(&config, tunnel, own);
        let names = Arc::clone(dialer.names());
        let opener = match config.disguise {
            ClientDisguise::Web(web) if web.mux > 0 => {
                let (most, early_data) = (web.mux, web.early_data);
                let opener = WebOpener::new(web, dialer)?;
                Opening::Session(Arc::new(Pool::new(opener, most, early_data, timeouts)))
            }
            #[cfg(feature = "grpc")]
            ClientDisguise::Grpc(grpc) if grpc.mux > 0 => {
                let most = grpc.mux;
                let opener = GrpcOpener::new(grpc, dialer)?;
                Opening::GrpcSession(Arc::new(Pool::new(opener, most, 0, timeouts)))
            }
            disguise => Opening::Tunnel(Box::new(Opener::new(disguise, dialer, unknown_cuts)?)),
        };
        Ok(Client { opener, udp, timeouts, names })
    }
}

/// What dials the servers.
fn dialer(config: &ClientConfig, tunnel: &TunnelConfig, own: &OwnAddresses) -> Dialer {
    let (servers, sockets) = (config.servers.clone(), tunnel.sockets.clone());
    let dialer = match &config.proxy {
        Some(proxy) => Dialer::through(proxy.clone(), servers, sockets),
        None => Dialer::new(servers, sockets),
    };
    dialer.without(own.clone())
}

/// Nobody knows where a proxy cuts what it passes on.
fn has_unknown_cuts(config: &ClientConfig, tunnel: &TunnelConfig) -> bool {
    tunnel.sockets.fast_open || config.proxy.is_some()
}

/// Makes sure that no server leads back.
fn refuse_ourselves(config: &ClientConfig, own: &OwnAddresses) -> Result<(), StartError> {
    // What a server's address means is a proxy's matter.
    let (what, dialled) = match &config.proxy {
        Some(proxy) => ("proxy", std::slice::from_ref(&proxy.address)),
        None => ("server", config.servers.as_slice()),
    };
    match own.find(dialled) {
        Some((target, own)) => Err(StartError::Circle(format!("the {what} {target}"), own)),
        None => Ok(()),
    }
}

impl Half for Client {
    fn renewed(
        &self,
        settings: config::Half,
        tunnel: &TunnelConfig,
        own: &OwnAddresses,
    ) -> Result<Client, StartError> {
        let config::Half::Client(settings) = settings else { return Err(StartError::OtherHalf) };
        let client = Client::new(*settings, tunnel, own)?;
        client.names.begin_with(&[Arc::clone(&self.names)]);
        Ok(client)
    }

    fn farewell(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send + '_>>> {
        let of_tunnels = match &self.opener {
            Opening::Tunnel(opener) => opener.farewell(),
            Opening::Session(_) => None,
            #[cfg(feature = "grpc")]
            Opening::GrpcSession(pool) => Some(Box::pin(pool.opener().close()) as Pin<Box<_>>),
        };
        match (&self.udp, of_tunnels) {
            (Some(udp), Some(of_tunnels)) => Some(Box::pin(async {
                tokio::join!(udp.close(), of_tunnels);
            })),
            (_, of_tunnels) => of_tunnels,
        }
    }

    fn retire(&self, _: &Client) {
        if let Some(udp) = &self.udp {
            udp.retire();
        }
        match &self.opener {
            Opening::Session(pool) => pool.retire(),
            #[cfg(feature = "grpc")]
            Opening::GrpcSession(pool) => pool.retire(),
            Opening::Tunnel(opener) => opener.retire(),
        }
    }
}
