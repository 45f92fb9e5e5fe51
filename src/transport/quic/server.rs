//! QUIC on the server half: the endpoint, and who is let in.

use super::demux::{Demux, Rules};
use super::idle::{Idle, look_after};
use super::ids::ConnectionIds;
use super::keep_alive::keep_alive;
use super::packets;
use super::windows::{Grant, LEAST, MOST, of_stream, window};
use super::{CODE, QuicStream, SERVER_IDLE, endpoint_config, transport_config};
use crate::config::Congestion;
use crate::transport::tls::{Acceptor, TlsError};
use crate::transport::usage::{InUse, Usage, all_have_arrived};
use crate::wire::tls::ClientHello;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{
    AsyncUdpSocket, Connection, Endpoint, Incoming, Runtime as _, ServerConfig, TokioRuntime, TransportConfig,
};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use thiserror::Error;
use tokio::time::timeout;

/// The protocols that are taken inside: v2ray's, and sing-box's.
const PROTOCOLS: &[&[u8]] = &[b"h2", b"http/1.1", H3];
const H3: &[u8] = b"h3";

/// The streams that a connection may have at a time. They are announced from the start: a client that finds none left
/// dials again.
const STREAMS: u32 = 1024;

/// With so many handshakes at a time, each new one has to show that it comes from where it says (RFC 9000 section 8.1).
const UNVALIDATED: usize = 32;

/// More of them are not answered.
const HANDSHAKES: usize = 1024;

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a connection was not let in.
#[derive(Debug, Error)]
pub(crate) enum Refusal {
    #[error("there are as many handshakes as there may be")]
    TooMany,
    #[error("it is asked to show that it comes from there")]
    Retry,
    #[error("the handshake takes too long")]
    TimedOut,
    #[error(transparent)]
    Failed(#[from] quinn::ConnectionError),
}

/// What connections are accepted with.
#[derive(Clone)]
pub(crate) struct Settings {
    config: Arc<ServerConfig>,
    /// For clients that offer no protocol: to offer none, and to be given none, is in order, too (RFC 9001 section 8.1).
    without_protocols: Arc<ServerConfig>,
    congestion: Congestion,
    /// Whether packets of UDP are taken.
    udp: bool,
    reset_key: [u8; 32],
    ids: ConnectionIds,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Settings")
    }
}

impl Settings {
    /// With this certificate. `udp` says whether packets of UDP are taken.
    ///
    /// # Errors
    ///
    /// The library refuses it.
    pub(crate) fn new(tls: &Acceptor, congestion: Congestion, udp: bool) -> Result<Settings, TlsError> {
        // (each connection has what there is for it when it comes)
        let transport = Arc::new(server_transport(congestion, udp));
        let make = |protocols| -> Result<Arc<ServerConfig>, TlsError> {
            let crypto = QuicServerConfig::try_from(tls.config_of_tls_1_3(protocols)?)
                .map_err(|error| TlsError::Rustls(rustls::Error::General(error.to_string())))?;
            let mut config = ServerConfig::with_crypto(Arc::new(crypto));
            config.transport_config(Arc::clone(&transport)).max_incoming(HANDSHAKES).migration(true);
            Ok(Arc::new(config))
        };
        Ok(Settings {
            config: make(PROTOCOLS)?,
            without_protocols: make(&[])?,
            congestion,
            udp,
            reset_key: tls.secret(b"QUIC stateless reset")?,
            ids: ConnectionIds::new(tls.secret(b"QUIC connection ids")?),
        })
    }
}

impl Settings {
    /// With windows for streams of what there is for one more connection. (Its own window grows with its first tunnel.)
    fn transport(&self) -> TransportConfig {
        let mut transport = server_transport(self.congestion, self.udp);
        transport.stream_receive_window(of_stream(Grant::next(MOST).max(Grant::of_many(MOST))));
        transport
    }
}

fn server_transport(congestion: Congestion, udp: bool) -> TransportConfig {
    let mut transport = transport_config(congestion, LEAST, SERVER_IDLE, STREAMS);
    if udp {
        packets::allow(&mut transport);
    }
    transport
}

/// Whether the name that a client asks for, or the address where it says none, is one of ours.
pub(crate) fn asks_for_us(
    hello: &ClientHello<'_>,
    local: Option<IpAddr>,
    is_our_name: impl Fn(&[u8]) -> bool,
) -> bool {
    match hello.server_name {
        Some(name) => is_our_name(name),
        // An address is no name (RFC 6066), so a client that knows an address alone says none.
        None => local.is_some_and(|ip| is_our_name(ip.to_canonical().to_string().as_bytes())),
    }
}

/// Whether a client offers what one of ours does. One that says `h3` may be a browser (`h3_is_ours` says that none is).
pub(crate) fn offers_as_ours(hello: &ClientHello<'_>, h3_is_ours: bool) -> bool {
    let offered = || PROTOCOLS.iter().any(|name| hello.offers(name));
    (!hello.has_alpn() || offered()) && (h3_is_ours || !hello.offers(H3))
}

/// A UDP port at which connections are accepted.
pub(crate) struct Listener {
    endpoint: Endpoint,
    demux: Arc<Demux>,
    handshakes: Arc<AtomicUsize>,
    idle: Arc<Idle>,
}

impl Listener {
    /// On this socket, of which what is not ours goes where these rules say. To be called in a runtime.
    ///
    /// # Errors
    ///
    /// The runtime cannot watch it.
    pub(crate) fn new(socket: UdpSocket, settings: &Settings, rules: Rules) -> io::Result<Listener> {
        let demux = Demux::new(TokioRuntime.wrap_udp_socket(socket)?, settings.ids.clone(), rules);
        let config = ServerConfig::clone(&settings.config);
        let socket = Arc::clone(&demux) as Arc<dyn AsyncUdpSocket>;
        let endpoint = Endpoint::new_with_abstract_socket(
            endpoint_config(settings.reset_key, settings.ids.clone()),
            Some(config),
            socket,
            Arc::new(TokioRuntime),
        )?;
        Ok(Listener { endpoint, demux, handshakes: Arc::default(), idle: Idle::new() })
    }

    /// Waits for the next connection. `None` once it is closed.
    pub(crate) async fn accept(&self) -> Option<Arriving> {
        let incoming = self.endpoint.accept().await?;
        let handshakes = Arc::clone(&self.handshakes);
        let before = handshakes.fetch_add(1, Ordering::Relaxed);
        let offers = self.demux.offers_protocols(incoming.remote_address(), incoming.orig_dst_cid());
        let idle = Arc::clone(&self.idle);
        Some(Arriving { incoming, handshake: Handshake(handshakes), before, offers, idle })
    }

    /// Ends all connections, and waits a moment for their peers to hear of it. Their tunnels end: the port is to be
    /// another process's.
    pub(crate) async fn close(&self) {
        /// (of many clients, one is away at any time, and the port is the next process's)
        const ARRIVAL: Duration = Duration::from_secs(1);
        const MOMENT: Duration = Duration::from_millis(300);
        all_have_arrived(ARRIVAL).await;
        self.endpoint.close(CODE, b"");
        let _ = timeout(MOMENT, self.endpoint.wait_idle()).await;
    }
}

/// A handshake that counts until this is dropped.
struct Handshake(Arc<AtomicUsize>);

impl Drop for Handshake {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection that has not made its handshake.
pub(crate) struct Arriving {
    incoming: Incoming,
    handshake: Handshake,
    /// How many handshakes there were when it came.
    before: usize,
    /// Whether it offers protocols.
    offers: bool,
    idle: Arc<Idle>,
}

impl Arriving {
    /// Where it says that it comes from.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.incoming.remote_address()
    }

    /// Makes the handshake.
    ///
    /// # Errors
    ///
    /// It is asked to come again with a sign that it is there, it is one too many, or the handshake fails.
    pub(crate) async fn establish(self, settings: &Settings) -> Result<QuicConnection, Refusal> {
        let Arriving { incoming, handshake, before, offers, idle } = self;
        if before >= HANDSHAKES {
            incoming.ignore();
            return Err(Refusal::TooMany);
        }
        if before >= UNVALIDATED && !incoming.remote_address_validated() {
            // (one that may not be asked is validated)
            let _ = incoming.retry();
            return Err(Refusal::Retry);
        }
        let config = if offers { &settings.config } else { &settings.without_protocols };
        let mut config = ServerConfig::clone(config);
        config.transport_config(Arc::new(settings.transport()));
        let connecting = incoming.accept_with(Arc::new(config))?;
        let connection = match timeout(HANDSHAKE_TIMEOUT, connecting).await {
            Ok(connected) => connected?,
            Err(_) => return Err(Refusal::TimedOut),
        };
        drop(handshake);
        let (usage, grant) = (Usage::new(), Arc::new(Grant::new(MOST)));
        let window = {
            let grant = Arc::clone(&grant);
            move || window(grant.bytes())
        };
        let alive = keep_alive(connection.clone(), Arc::clone(&usage), window);
        let looked_after = look_after(connection.clone(), Arc::clone(&usage), grant, idle);
        tokio::spawn(async move {
            tokio::select! {
                _ = alive => {}
                () = looked_after => {}
            }
        });
        Ok(QuicConnection { connection, usage, udp: settings.udp })
    }
}

/// A connection of a client, whose streams are tunnels.
pub(crate) struct QuicConnection {
    connection: Connection,
    usage: Arc<Usage>,
    udp: bool,
}

impl QuicConnection {
    /// The name in its hello.
    pub(crate) fn server_name(&self) -> Option<String> {
        use quinn::crypto::rustls::HandshakeData;
        self.connection.handshake_data()?.downcast::<HandshakeData>().ok()?.server_name
    }

    /// Where it comes from now: a phone changes its networks.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    /// Waits for the next stream.
    ///
    /// # Errors
    ///
    /// The connection has ended.
    pub(crate) async fn next_stream(&self) -> Result<QuicStream, quinn::ConnectionError> {
        let stream = self.connection.accept_bi().await?;
        Ok(QuicStream::new(stream, self.usage.one_more(), None))
    }

    /// Packets of UDP: what brings them and what sends them. `None` where they are not taken.
    pub(crate) fn packets(&self) -> Option<(packets::Incoming, packets::Outgoing)> {
        let connection = || self.connection.clone();
        self.udp.then(|| (packets::Incoming::new(connection()), packets::Outgoing::new(connection())))
    }

    /// Counts as used until this is dropped.
    pub(crate) fn one_more(&self) -> InUse {
        self.usage.one_more()
    }
}
