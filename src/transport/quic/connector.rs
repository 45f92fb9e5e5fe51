//! Makes QUIC connections to a server.

use super::ids::ConnectionIds;
use super::refused::Refused;
use super::{CODE, endpoint_config};
use crate::config::QuicClientConfig;
use crate::net::Dialer;
use crate::net::dial::DialError;
use crate::transport::tls::{self, TlsError};
use quinn::crypto::rustls::QuicClientConfig as Crypto;
use quinn::{ClientConfig, Connection, Endpoint, TokioRuntime, TransportConfig};
use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::timeout;
use tracing::debug;

/// What v2ray's client offers inside.
const PROTOCOLS: &[&[u8]] = &[b"h2", b"http/1.1"];

/// A server of ours answers nobody who asks for another name.
const NO_ANSWER: &str = "no answer over UDP: has the server `mode=quic` (or `quic`) at this port, is the option `host` (or `sni`) \
                         a name of its certificate, and does the firewall let UDP in?";

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes connections, from sockets of its own.
pub(super) struct Connector {
    dialer: Dialer,
    server_name: String,
    verifier: Arc<dyn ServerCertVerifier>,
    tls: Box<rustls::ClientConfig>,
    transport: Arc<TransportConfig>,
    /// For IPv4 and for IPv6; each is there once it was needed.
    endpoints: Mutex<[Option<Endpoint>; 2]>,
    /// Others that were in their place, while there are connections on them.
    replaced: Mutex<Vec<Endpoint>>,
}

impl Connector {
    /// Makes connections to what the dialer dials.
    ///
    /// # Errors
    ///
    /// The roots for TLS cannot be had.
    pub(super) fn new(
        config: QuicClientConfig,
        dialer: Dialer,
        transport: TransportConfig,
    ) -> Result<Connector, TlsError> {
        let verifier = tls::verifier(&config.tls)?;
        let mut tls = tls::client_config(Arc::clone(&verifier), &[&rustls::version::TLS13])?;
        tls.alpn_protocols = PROTOCOLS.iter().map(|name| name.to_vec()).collect();
        tls.resumption = Resumption::disabled();
        Ok(Connector {
            dialer,
            server_name: config.tls.server_name,
            verifier,
            tls: Box::new(tls),
            transport: Arc::new(transport),
            endpoints: Mutex::default(),
            replaced: Mutex::default(),
        })
    }

    /// The servers that are dialled, for people.
    pub(super) fn server(&self) -> &Arc<str> {
        self.dialer.shown()
    }

    /// Makes a connection.
    ///
    /// # Errors
    ///
    /// No address of the server can be reached.
    pub(super) async fn connect(&self) -> Result<Connection, DialError> {
        let connected = self.dialer.dial_with(|address| self.connect_to(address)).await;
        match &connected {
            Ok(connection) => {
                debug!(peer = %connection.remote_address(), rtt = ?connection.rtt(), "QUIC");
            }
            Err(_) => self.replace_endpoints(),
        }
        connected
    }

    /// Makes a connection to one address.
    async fn connect_to(&self, address: SocketAddr) -> io::Result<Connection> {
        let endpoint = self.endpoint(address).await?;
        let refused = Refused::default();
        let mut tls = rustls::ClientConfig::clone(&self.tls);
        tls.dangerous().set_certificate_verifier(refused.noting(Arc::clone(&self.verifier)));
        let crypto = Crypto::try_from(tls).map_err(io::Error::other)?;
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::clone(&self.transport));
        let connecting =
            endpoint.connect_with(config, address, &self.server_name).map_err(io::Error::other)?;
        match timeout(HANDSHAKE_TIMEOUT, connecting).await {
            Ok(connected) => connected.map_err(|error| refused.explain(error)),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, NO_ANSWER)),
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
        let endpoint = Endpoint::new(
            endpoint_config(rand::random(), ConnectionIds::random()),
            None,
            socket,
            Arc::new(TokioRuntime),
        )?;
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)[place] = Some(endpoint.clone());
        Ok(endpoint)
    }

    /// Puts others in the place of the endpoints: another socket may find a way that these do not.
    fn replace_endpoints(&self) {
        let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        let mut replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        replaced.extend(endpoints.iter_mut().filter_map(Option::take));
        replaced.retain(|endpoint| endpoint.open_connections() > 0);
    }

    /// Ends all connections, and waits a moment for their server to hear of it.
    pub(super) async fn close(&self) {
        const MOMENT: Duration = Duration::from_millis(300);
        let endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let endpoints: Vec<_> = endpoints.into_iter().flatten().chain(replaced).collect();
        for endpoint in &endpoints {
            endpoint.close(CODE, b"");
        }
        let heard = async {
            for endpoint in &endpoints {
                endpoint.wait_idle().await;
            }
        };
        let _ = timeout(MOMENT, heard).await;
    }
}
