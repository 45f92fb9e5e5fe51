//! The client half: accept, dial, open the disguise, relay.

use crate::config::{ClientConfig, ClientDisguise, Handshake, TunnelConfig};
use crate::net;
use crate::net::dial::{DialError, Dialer};
use crate::net::listen::Listeners;
use crate::net::options::SocketOptions;
use crate::net::own_addresses::OwnAddresses;
use crate::relay::{self, CodecError, Flow, Identity, Outcome, Relay, Timeouts};
use crate::service::StartError;
use crate::telemetry;
use crate::transport::fake_tls::{self, Cut};
use crate::transport::http::{self, OpenError, StripAnswer};
use crate::transport::tls::{ConnectError, Connector};
use answer::{Unanswered, address, awaited};
use pool::Pool;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

mod answer;
mod pool;
mod web;

/// How long the request waits for the application's first bytes. Shadowsocks speaks at once; where the
/// far end speaks first, the request goes out alone after this.
const FIRST_BYTES_WAIT: Duration = Duration::from_millis(100);

/// The most that travels with the request.
const FIRST_BYTES: usize = 16 * 1024;

/// A client half that listens.
#[derive(Debug)]
pub struct Client {
    listeners: Listeners,
    shared: Arc<Shared>,
}

/// What all connections of a client half share.
#[derive(Debug)]
struct Shared {
    config: ClientConfig,
    dialer: Dialer,
    /// Whether what is said first may leave before there is a connection.
    fast_open: bool,
    timeouts: Timeouts,
    tls: Option<Connector>,
    pool: Pool,
}

/// Why a connection got no tunnel.
#[derive(Debug, Error)]
enum TunnelError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Tls(#[from] ConnectError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("{0}")]
    Malformed(CodecError),
}

impl Client {
    /// Listens on the local addresses.
    ///
    /// # Errors
    ///
    /// One of them cannot be had, or the roots for TLS cannot.
    pub fn bind(config: ClientConfig, tunnel: &TunnelConfig) -> Result<Client, StartError> {
        let tls = match &config.disguise {
            ClientDisguise::Web(web) => web.tls.as_ref().map(Connector::new).transpose()?,
            _ => None,
        };
        let refuse_ourselves = |own: OwnAddresses| match own.find(&config.servers) {
            Some((server, own)) => Err(StartError::Circle(format!("the server {server}"), own)),
            None => Ok(()),
        };
        refuse_ourselves(OwnAddresses::to_be(&config.listen))?;
        // What is asked of the sockets is for the way to the server; the host is on the same machine.
        let listeners = Listeners::bind(&config.listen, &SocketOptions::default())?;
        refuse_ourselves(OwnAddresses::of(&listeners))?;
        let dialer = Dialer::new(config.servers.clone(), tunnel.sockets.clone());
        let fast_open = tunnel.sockets.fast_open;
        let timeouts = Timeouts::new(tunnel.idle_timeout);
        let shared = Shared { config, dialer, fast_open, timeouts, tls, pool: Pool::default() };
        Ok(Client { listeners, shared: Arc::new(shared) })
    }

    /// The addresses that are listened on.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.addresses()
    }

    /// The same half once more for each further core, to run on a thread of its own.
    ///
    /// # Errors
    ///
    /// There are no descriptors left.
    pub fn for_other_cores(&self) -> io::Result<Vec<Client>> {
        let listeners = self.listeners.for_other_cores()?.into_iter();
        Ok(listeners.map(|listeners| Client { listeners, shared: Arc::clone(&self.shared) }).collect())
    }

    /// Serves connections until it is dropped.
    pub async fn run(&self) {
        let shared = Arc::clone(&self.shared);
        self.listeners
            .serve(move |app, peer| {
                let shared = Arc::clone(&shared);
                async move { shared.serve(app, peer).await }
            })
            .await;
    }
}

impl Shared {
    async fn serve(self: &Arc<Shared>, mut app: TcpStream, peer: SocketAddr) {
        let began = Instant::now();
        let Some(first) = first_bytes(&mut app).await else {
            debug!(%peer, "closed before its first byte: no tunnel");
            return;
        };
        if matches!(&self.config.disguise, ClientDisguise::Web(web) if web.mux > 0) {
            return self.carry(app, first, peer);
        }
        match self.tunnel(&mut app, first).await {
            Ok(outcome) => telemetry::tunnel_ended(peer, "tunnel", began, &outcome),
            Err(error) => {
                // Its end in order would look like that of an answer.
                relay::reset(&app);
                warn!(%peer, %error, "no tunnel");
            }
        }
    }

    /// Dials. The future is large and short-lived: it is put on the heap, so that the tunnel does not
    /// carry it through its life.
    async fn dial(&self, first: &[u8]) -> Result<(TcpStream, usize), DialError> {
        Box::pin(self.dialer.connect_with(first)).await
    }

    /// Dials, opens the disguise and relays.
    async fn tunnel(&self, app: &mut TcpStream, first: Vec<u8>) -> Result<Outcome, TunnelError> {
        let first_len = first.len();
        Ok(match &self.config.disguise {
            ClientDisguise::Http(request, Handshake::Eager) => {
                let mut flight = [http::request(request, Some(first_len)), first].concat();
                let (server, sent) = self.dial(&flight).await?;
                flight.drain(..sent);
                let up = Flow::with_pending(Identity, flight, first_len);
                let down = Flow::new(StripAnswer::default());
                let server = Unanswered::new(server, false);
                Relay::new(app, server, up, down, self.timeouts).run().await
            }
            ClientDisguise::Http(request, Handshake::Standard) => {
                let mut request = http::request(request, None);
                let (mut server, sent) = self.dial(&request).await?;
                request.drain(..sent);
                let address = address(&server);
                let answer = http::ask_and_wait(&mut server, &request, None);
                let behind = Box::pin(awaited(address, answer)).await?;
                let behind_len = behind.len();
                let up = Flow::with_pending(Identity, first, first_len);
                let down = Flow::with_pending(Identity, behind, behind_len);
                Relay::new(app, server, up, down, self.timeouts).run().await
            }
            ClientDisguise::FakeTls { server_name } => {
                let (server, opening) = if self.fast_open {
                    let mut opening =
                        fake_tls::opening(server_name, first, Cut::Syn).map_err(TunnelError::Malformed)?;
                    let (server, sent) = self.dial(&opening.flight).await?;
                    opening.flight.drain(..sent);
                    (server, opening)
                } else {
                    let server = self.dial(&[]).await?.0;
                    let cut = Cut::Segments(net::segment_size(&server));
                    let opening =
                        fake_tls::opening(server_name, first, cut).map_err(TunnelError::Malformed)?;
                    (server, opening)
                };
                let (up, down) = fake_tls::client_flows(opening);
                let server = Unanswered::new(server, true);
                Relay::new(app, server, up, down, self.timeouts).run().await
            }
            ClientDisguise::Web(web) => {
                let server = self.dial(&[]).await?.0;
                match &self.tls {
                    // On the heap, like the next: other tunnels have no room for it.
                    None => Box::pin(self.web(web, app, server, first)).await?,
                    // On the heap: a tunnel without TLS has no room for it.
                    Some(tls) => {
                        let server = Box::pin(tls.connect(server)).await?;
                        Box::pin(self.web(web, app, server, first)).await?
                    }
                }
            }
        })
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
