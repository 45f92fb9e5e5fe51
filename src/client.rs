//! The client half: accept, dial, open the disguise, relay.

use crate::config::{ClientConfig, ClientDisguise, TunnelConfig};
use crate::metrics::{self, Failure};
use crate::mux::Pool;
use crate::net::conn_info::ConnInfo;
use crate::net::dial::Dialer;
use crate::net::listen::Listeners;
use crate::net::options::SocketOptions;
use crate::net::own_addresses::OwnAddresses;
use crate::relay::{self, Timeouts};
use crate::service::{Half, Service, StartError};
use crate::telemetry::{Record, Target};
use crate::transport::{NotAccepted, Opener, WebOpener};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

/// How long the request waits for the application's first bytes. Shadowsocks speaks at once; where the
/// far end speaks first, the request goes out alone after this.
const FIRST_BYTES_WAIT: Duration = Duration::from_millis(100);

/// The most that travels with the request.
const FIRST_BYTES: usize = 16 * 1024;

/// The client half: what all its connections share.
#[derive(Debug)]
pub struct Client {
    opener: Opening,
    timeouts: Timeouts,
}

/// Into what an application's connection goes.
#[derive(Debug)]
enum Opening {
    /// Into a tunnel of its own.
    Tunnel(Box<Opener>),
    /// Into a connection that it may share with others.
    Session(Arc<Pool<WebOpener>>),
}

impl Client {
    /// Listens on the local addresses.
    ///
    /// # Errors
    ///
    /// One of them cannot be had, or the roots for TLS cannot.
    pub fn bind(config: ClientConfig, tunnel: &TunnelConfig) -> Result<Service<Client>, StartError> {
        let ClientConfig { listen, servers, proxy, disguise } = config;
        let refuse_ourselves = |own: OwnAddresses| {
            // What a server's address means is a proxy's matter.
            let (what, dialled) = match &proxy {
                Some(proxy) => ("proxy", std::slice::from_ref(&proxy.address)),
                None => ("server", servers.as_slice()),
            };
            match own.find(dialled) {
                Some((target, own)) => Err(StartError::Circle(format!("the {what} {target}"), own)),
                None => Ok(()),
            }
        };
        refuse_ourselves(OwnAddresses::to_be(&listen))?;
        // What is asked of the sockets is for the way to the server; the host is on the same machine.
        let listeners = Listeners::bind(&listen, &SocketOptions::default())?;
        let own = OwnAddresses::of(&listeners);
        refuse_ourselves(own.clone())?;
        // Nobody knows where a proxy cuts what it passes on.
        let unknown_cuts = tunnel.sockets.fast_open || proxy.is_some();
        let dialer = match proxy {
            Some(proxy) => Dialer::through(proxy, servers, tunnel.sockets.clone()),
            None => Dialer::new(servers, tunnel.sockets.clone()),
        };
        let dialer = dialer.without(own);
        let timeouts = Timeouts::new(tunnel.idle_timeout);
        let opener = match disguise {
            ClientDisguise::Web(web) if web.mux > 0 => {
                let (most, early_data) = (web.mux, web.early_data);
                let opener = WebOpener::new(web, dialer)?;
                Opening::Session(Arc::new(Pool::new(opener, most, early_data, timeouts)))
            }
            disguise => Opening::Tunnel(Box::new(Opener::new(disguise, dialer, unknown_cuts)?)),
        };
        Ok(Service::new(listeners, Client { opener, timeouts }))
    }
}

impl Half for Client {
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
            Opening::Tunnel(opener) => opener,
        };
        record.kind = opener.kind();
        record.target = Some(Target { role: "server", address: Arc::clone(opener.server()) });
        // On the heap, and gone when the tunnel stands, which does not carry it through its life.
        match Box::pin(opener.open(first)).await {
            Ok(tunnel) => {
                record.stands(spoke.elapsed());
                let outcome = tunnel.relay(app, self.timeouts).await;
                record.ended(&outcome);
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
