//! The client half: accept, dial, open the disguise, relay.

use crate::config::{self, ClientConfig, ClientDisguise, TunnelConfig};
use crate::metrics::{self, Failure};
use crate::mux::Pool;
use crate::net::conn_info::ConnInfo;
use crate::net::dial::Dialer;
use crate::net::handed_over::HandedOver;
use crate::net::listen::Listeners;
use crate::net::options::SocketOptions;
use crate::net::own_addresses::OwnAddresses;
use crate::net::{self, Names};
use crate::relay::{self, Timeouts};
use crate::service::{Current, Half, Service, StartError};
use crate::telemetry::{Record, Target};
#[cfg(feature = "grpc")]
use crate::transport::GrpcOpener;
use crate::transport::{NotAccepted, Opener, WebOpener};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

mod udp;

use udp::Carrier;

/// How long the request waits for the application's first bytes. Shadowsocks speaks at once; where the
/// far end speaks first, the request goes out alone after this.
const FIRST_BYTES_WAIT: Duration = Duration::from_millis(100);

/// The most that travels with the request.
const FIRST_BYTES: usize = 16 * 1024;

/// The client half: what all its connections share.
#[derive(Debug)]
pub struct Client {
    opener: Opening,
    /// What carries UDP, where that is taken.
    udp: Option<Carrier>,
    timeouts: Timeouts,
    /// What is known of the names of the servers.
    names: Arc<Names>,
}

/// Into what an application's connection goes.
#[derive(Debug)]
enum Opening {
    /// Into a tunnel of its own.
    Tunnel(Box<Opener>),
    /// Into a connection that it may share with others.
    Session(Arc<Pool<WebOpener>>),
    /// The same, into a stream of an HTTP/2 connection.
    #[cfg(feature = "grpc")]
    GrpcSession(Arc<Pool<GrpcOpener>>),
}

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
        let udp = config.udp.then(|| net::udp::bind(&config.listen)).transpose()?;
        let client = Client::new(config, tunnel, &OwnAddresses::of(&listeners))?;
        let service = Service::new(listeners, client);
        Ok(match udp {
            Some(sockets) => service.with_udp(sockets),
            None => service,
        })
    }

    /// A client that listens at its `own` addresses.
    fn new(config: ClientConfig, tunnel: &TunnelConfig, own: &OwnAddresses) -> Result<Client, StartError> {
        refuse_ourselves(&config, own)?;
        let ClientConfig { servers, proxy, disguise, udp, .. } = config;
        // Nobody knows where a proxy cuts what it passes on.
        let unknown_cuts = tunnel.sockets.fast_open || proxy.is_some();
        let dialer = || {
            let (servers, sockets) = (servers.clone(), tunnel.sockets.clone());
            let dialer = match &proxy {
                Some(proxy) => Dialer::through(proxy.clone(), servers, sockets),
                None => Dialer::new(servers, sockets),
            };
            dialer.without(own.clone())
        };
        let timeouts = Timeouts::new(tunnel.idle_timeout);
        let udp = udp.then(|| Carrier::new(&disguise, dialer(), timeouts)).transpose()?;
        let dialer = dialer();
        let names = Arc::clone(dialer.names());
        let opener = match disguise {
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

    async fn serve_udp(
        current: Arc<Current<Client>>,
        sockets: Vec<UdpSocket>,
        closing: impl Future<Output = ()> + Send,
    ) {
        let carry = move |source| {
            if let Some(carrier) = &current.get().udp {
                carrier.carry(source);
            }
        };
        udp::serve(carry, sockets, closing).await;
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

    async fn serve(self: Arc<Client>, mut app: TcpStream, peer: SocketAddr) {
        let mut record = Record::new(ConnInfo::new(peer));
        let Some(first) = first_bytes(&mut app).await else {
            debug!(%peer, "closed before sending anything");
            metrics::connection_failed(Failure::Empty);
            return record.failed("gone", &NotAccepted::Empty);
        };
        let spoke = Instant::now();
        let opener = match &self.opener {
            Opening::Session(pool) => {
                drop(record.unlisted());
                return pool.carry(app, first, peer);
            }
            #[cfg(feature = "grpc")]
            Opening::GrpcSession(pool) => {
                drop(record.unlisted());
                return pool.carry(app, first, peer);
            }
            Opening::Tunnel(opener) => opener,
        };
        record.kind = opener.kind();
        record.target = Some(Target { role: "server", address: Arc::clone(opener.server()) });
        // On the heap, and gone when the tunnel stands, which does not carry it through its life.
        match Box::pin(opener.open(first)).await {
            Ok(tunnel) => {
                record.stands(spoke.elapsed());
                let mut outcome = tunnel.relay(app, self.timeouts).await;
                record.ended(&outcome);
                outcome.close().await;
            }
            Err(error) => {
                // Its end in order would look like that of an answer.
                relay::reset(&app);
                warn!(%peer, stage = error.stage(), %error, "tunnel failed");
                metrics::connection_failed(error.failure());
                record.failed("failed", &error);
            }
        }
    }
}

/// What the application says at first; nothing, if it waits for the other end to speak. `None` if it
/// closes before it has said anything, as hosts do that only look whether somebody listens.
async fn first_bytes(app: &mut TcpStream) -> Option<Vec<u8>> {
    let mut first = Vec::new();
    match timeout(FIRST_BYTES_WAIT, relay::read_some(app, &mut first, FIRST_BYTES)).await {
        Ok(Ok(0) | Err(_)) => None,
        Ok(Ok(_)) | Err(_) => Some(first),
    }
}
