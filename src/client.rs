//! The client half: accept, dial, open the disguise, relay.

use crate::config::{ClientConfig, ClientDisguise, Handshake, TunnelConfig};
use crate::net;
use crate::net::dial::{DialError, Dialer};
use crate::net::listen::Listeners;
use crate::net::options::SocketOptions;
use crate::net::own_addresses::OwnAddresses;
use crate::relay::{self, Codec, CodecError, Flow, Identity, Outcome, Relay, RelayStream, Timeouts};
use crate::service::{Half, Service, StartError};
use crate::telemetry;
use crate::transport::Stream;
use crate::transport::fake_tls::{self, Cut};
use crate::transport::http::{self, OpenError, StripAnswer};
use crate::transport::tls::{ConnectError, Connector};
use answer::{Unanswered, address, awaited};
use pool::Pool;
use std::net::SocketAddr;
use std::pin::Pin;
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

/// The client half: what all its connections share.
#[derive(Debug)]
pub struct Client {
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
    pub fn bind(config: ClientConfig, tunnel: &TunnelConfig) -> Result<Service<Client>, StartError> {
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
        let client = Client { config, dialer, fast_open, timeouts, tls, pool: Pool::default() };
        Ok(Service::new(listeners, client))
    }
}

impl Half for Client {
    async fn serve(self: Arc<Client>, app: TcpStream, peer: SocketAddr) {
        self.serve_app(app, peer).await;
    }
}

impl Client {
    async fn serve_app(self: &Arc<Client>, mut app: TcpStream, peer: SocketAddr) {
        let began = Instant::now();
        let Some(first) = first_bytes(&mut app).await else {
            debug!(%peer, "closed before its first byte: no tunnel");
            return;
        };
        if matches!(&self.config.disguise, ClientDisguise::Web(web) if web.mux > 0) {
            return self.carry(app, first, peer);
        }
        match Box::pin(self.open(first)).await {
            Ok(tunnel) => {
                let outcome = tunnel(app, self.timeouts).await;
                telemetry::tunnel_ended(peer, "tunnel", began, &outcome);
            }
            Err(error) => {
                // Its end in order would look like that of an answer.
                relay::reset(&app);
                warn!(%peer, %error, "no tunnel");
            }
        }
    }

    /// Dials, and opens the disguise around the application's `first` bytes.
    async fn open(&self, first: Vec<u8>) -> Result<Tunnel, TunnelError> {
        let first_len = first.len();
        Ok(match &self.config.disguise {
            ClientDisguise::Http(request, Handshake::Eager) => {
                let mut flight = [http::request(request, Some(first_len)), first].concat();
                let (server, sent) = self.dialer.connect_with(&flight).await?;
                flight.drain(..sent);
                let up = Flow::with_pending(Identity, flight, first_len);
                let down = Flow::new(StripAnswer::default());
                tunnel(Unanswered::new(server.into(), false), up, down)
            }
            ClientDisguise::Http(request, Handshake::Standard) => {
                let mut request = http::request(request, None);
                let (mut server, sent) = self.dialer.connect_with(&request).await?;
                request.drain(..sent);
                let address = address(&server);
                let answer = http::ask_and_wait(&mut server, &request, None);
                let behind = awaited(address, answer).await?;
                let behind_len = behind.len();
                let up = Flow::with_pending(Identity, first, first_len);
                let down = Flow::with_pending(Identity, behind, behind_len);
                tunnel(server, up, down)
            }
            ClientDisguise::FakeTls { server_name } => {
                let (server, opening) = if self.fast_open {
                    let mut opening =
                        fake_tls::opening(server_name, first, Cut::Syn).map_err(TunnelError::Malformed)?;
                    let (server, sent) = self.dialer.connect_with(&opening.flight).await?;
                    opening.flight.drain(..sent);
                    (server, opening)
                } else {
                    let server = self.dialer.connect().await?;
                    let cut = Cut::Segments(net::segment_size(&server));
                    let opening =
                        fake_tls::opening(server_name, first, cut).map_err(TunnelError::Malformed)?;
                    (server, opening)
                };
                let (up, down) = fake_tls::client_flows(opening);
                tunnel(Unanswered::new(server.into(), true), up, down)
            }
            ClientDisguise::Web(web) => self.web(web, self.connect().await?, first).await?,
        })
    }

    /// Dials a server of v2ray-plugin's kind, through TLS if that is asked for.
    async fn connect(&self) -> Result<Stream, TunnelError> {
        let server = self.dialer.connect().await?;
        Ok(match &self.tls {
            None => server.into(),
            Some(tls) => tls.connect(server).await?.into(),
        })
    }
}

/// A tunnel that stands: joins it to an application. It is all that is left of the stages that opened it,
/// each of which is larger than it is.
type Tunnel = Box<dyn FnOnce(TcpStream, Timeouts) -> Relaying + Send>;

/// A relay that runs.
type Relaying = Pin<Box<dyn Future<Output = Outcome> + Send>>;

fn tunnel<S, U, D>(server: S, up: Flow<U>, down: Flow<D>) -> Tunnel
where
    S: RelayStream + Send + 'static,
    U: Codec + Send + 'static,
    D: Codec + Send + 'static,
{
    Box::new(move |app, timeouts| Box::pin(Relay::new(app, server, up, down, timeouts).run()))
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
