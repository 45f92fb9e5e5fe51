//! QUIC on the client half: connections to the server, and a stream on one of them for each tunnel.

use super::error::QuicError;
use super::keep_alive::{Usage, keep_alive};
use super::refused::Refused;
use super::{CLIENT_IDLE, CODE, QuicStream, connection_window, endpoint_config, transport_config};
use crate::config::QuicClientConfig;
use crate::net::Dialer;
use crate::relay::{Direction, Flows, Identity};
use crate::transport::tls::{self, TlsError};
use crate::transport::{NotOpened, Tunnel};
use quinn::crypto::rustls::QuicClientConfig as Crypto;
use quinn::{ClientConfig, Connection, Endpoint, TokioRuntime, TransportConfig, VarInt};
use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::time::timeout;
use tracing::debug;

/// What v2ray's client offers inside.
const PROTOCOLS: &[&[u8]] = &[b"h2", b"http/1.1"];

/// A connection that has had no tunnel for so long is not used again: its server may take it for dead before it hears of
/// the next one.
const UNUSED: Duration = Duration::from_secs(20);

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens tunnels in QUIC.
pub struct QuicOpener {
    dialer: Dialer,
    server_name: String,
    verifier: Arc<dyn ServerCertVerifier>,
    tls: rustls::ClientConfig,
    transport: Arc<TransportConfig>,
    window: VarInt,
    connections: Mutex<Vec<Open>>,
    /// One dials for all who wait.
    dialling: tokio::sync::Mutex<()>,
    /// For IPv4 and for IPv6; each is there once it was needed.
    endpoints: Mutex<[Option<Endpoint>; 2]>,
}

/// A connection that stands.
#[derive(Clone)]
struct Open {
    connection: Connection,
    usage: Arc<Usage>,
}

impl std::fmt::Debug for QuicOpener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QuicOpener").field("server", self.dialer.shown()).finish_non_exhaustive()
    }
}

impl QuicOpener {
    /// Opens tunnels to what the dialer dials.
    ///
    /// # Errors
    ///
    /// The roots for TLS cannot be had.
    pub fn new(config: QuicClientConfig, dialer: Dialer) -> Result<QuicOpener, TlsError> {
        let verifier = tls::verifier(&config.tls)?;
        let mut tls = tls::client_config(Arc::clone(&verifier), &[&rustls::version::TLS13])?;
        tls.alpn_protocols = PROTOCOLS.iter().map(|name| name.to_vec()).collect();
        tls.resumption = Resumption::disabled();
        let window = connection_window();
        // The server opens none.
        let transport = Arc::new(transport_config(config.congestion, window, CLIENT_IDLE, 0));
        Ok(QuicOpener {
            dialer,
            server_name: config.tls.server_name,
            verifier,
            tls,
            transport,
            window,
            connections: Mutex::default(),
            dialling: tokio::sync::Mutex::default(),
            endpoints: Mutex::default(),
        })
    }

    /// The servers that are dialled, for people.
    pub fn server(&self) -> &Arc<str> {
        self.dialer.shown()
    }

    /// Opens a tunnel in which `first` is said first: a stream is heard of with its first bytes.
    ///
    /// # Errors
    ///
    /// The server cannot be reached, or takes no stream.
    pub async fn open(&self, first: Vec<u8>) -> Result<Tunnel, NotOpened> {
        let stream = match self.stream().await {
            Some(stream) => stream,
            None => Box::pin(self.stream_of_another()).await?,
        };
        Ok(Tunnel::dialled(stream, Flows::new(Identity).with_payload(Direction::Up, first)))
    }

    /// A stream on a connection that stands and has room.
    async fn stream(&self) -> Option<QuicStream> {
        for open in self.usable() {
            if let Some(stream) = open.stream().await.ok().flatten() {
                return Some(stream);
            }
        }
        None
    }

    /// The connections that may have room.
    fn usable(&self) -> Vec<Open> {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.retain(|open| {
            let is_old = open.usage.unused_for().is_some_and(|time| time >= UNUSED);
            if is_old {
                open.connection.close(CODE, b"");
            }
            !is_old && open.connection.close_reason().is_none()
        });
        connections.clone()
    }

    /// A stream on a connection that is dialled now, by this one or by another who waits for the same.
    async fn stream_of_another(&self) -> Result<QuicStream, NotOpened> {
        let _turn = self.dialling.lock().await;
        if let Some(stream) = self.stream().await {
            return Ok(stream);
        }
        let connect = |address| self.connect(address);
        let connection = match self.dialer.dial_with(connect).await {
            Ok(connection) => connection,
            Err(error) => {
                // Another socket may find a way that these do not.
                *self.endpoints.lock().unwrap_or_else(PoisonError::into_inner) = [None, None];
                return Err(NotOpened::Dial(error));
            }
        };
        debug!(peer = %connection.remote_address(), rtt = ?connection.rtt(), "QUIC");
        let usage = Usage::new();
        let open = Open { connection: connection.clone(), usage: Arc::clone(&usage) };
        let stream = open.stream().await.map_err(QuicError::Ended)?.ok_or(QuicError::NoStreams)?;
        tokio::spawn(keep_alive(connection, usage, self.window));
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).push(open);
        Ok(stream)
    }

    /// Makes a connection to one address.
    async fn connect(&self, address: SocketAddr) -> io::Result<Connection> {
        let endpoint = self.endpoint(address).await?;
        let refused = Refused::default();
        let mut tls = self.tls.clone();
        tls.dangerous().set_certificate_verifier(refused.noting(Arc::clone(&self.verifier)));
        let crypto = Crypto::try_from(tls).map_err(io::Error::other)?;
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::clone(&self.transport));
        let connecting =
            endpoint.connect_with(config, address, &self.server_name).map_err(io::Error::other)?;
        match timeout(HANDSHAKE_TIMEOUT, connecting).await {
            Ok(connected) => connected.map_err(|error| refused.explain(error)),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer")),
        }
    }

    /// What connections to addresses of this family are made with.
    async fn endpoint(&self, address: SocketAddr) -> io::Result<Endpoint> {
        let place = usize::from(address.is_ipv6());
        let known = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)[place].clone();
        if let Some(endpoint) = known {
            return Ok(endpoint);
        }
        let socket: UdpSocket = self.dialer.udp_socket(address).await?;
        let endpoint = Endpoint::new(endpoint_config(rand::random()), None, socket, Arc::new(TokioRuntime))?;
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)[place] = Some(endpoint.clone());
        Ok(endpoint)
    }

    /// Ends all connections, and waits until their server has heard of it.
    pub async fn close(&self) {
        let endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for endpoint in endpoints.iter().flatten() {
            endpoint.close(CODE, b"");
        }
        for endpoint in endpoints.iter().flatten() {
            endpoint.wait_idle().await;
        }
    }

    /// Ends what nobody uses; what is in use ends with its last tunnel.
    pub fn retire(&self) {
        self.usable().into_iter().filter(|open| open.usage.unused_for().is_some()).for_each(|open| {
            open.connection.close(CODE, b"");
        });
    }
}

impl Open {
    /// A stream, if the server takes one more now. Nobody waits for that.
    async fn stream(&self) -> Result<Option<QuicStream>, quinn::ConnectionError> {
        let mut opening = pin!(self.connection.open_bi());
        let opened = poll_fn(|cx| match opening.as_mut().poll(cx) {
            Poll::Ready(opened) => Poll::Ready(opened.map(Some)),
            Poll::Pending => Poll::Ready(Ok(None)),
        });
        Ok(opened.await?.map(|stream| QuicStream::new(stream, self.usage.one_more())))
    }
}
