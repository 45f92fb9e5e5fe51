//! gRPC on the client half: connections to the server, and a stream on one of them for each tunnel.

use super::GrpcError;
use super::answer::{judge, once_ended};
use super::heard::Heard;
use super::hunks::Hunks;
use super::way::Way;
use crate::config::GrpcClientConfig;
use crate::net::Dialer;
use crate::relay::Direction;
use crate::transport::framed::Framed;
use crate::transport::h2::{self as transport_h2, H2Stream};
use crate::transport::tls::{Connector, TlsError};
use crate::transport::usage::Usage;
use crate::transport::{NotOpened, Stream, Tunnel, windows};
use crate::wire::grpc::Method;
use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use http::header::{CONTENT_TYPE, HeaderValue, TE, USER_AGENT};
use http::{Request, Uri};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

/// A connection that has had no tunnel for so long is closed.
const UNUSED: Duration = Duration::from_secs(60);

/// How long a server may take to say how many streams it takes, while the second tunnel waits. It says so at once.
const SETTINGS: Duration = Duration::from_secs(3);

/// Opens tunnels in gRPC.
pub struct GrpcOpener {
    dialer: Dialer,
    config: GrpcClientConfig,
    tls: Option<Connector>,
    connections: Mutex<Vec<Open>>,
    /// One dials for all who wait.
    dialling: Arc<tokio::sync::Mutex<LastFailure>>,
    /// What runs.
    running: Arc<Running>,
}

/// When somebody had dialled in vain, and what was said.
type LastFailure = Option<(Instant, String)>;

/// The connections that have not ended.
#[derive(Debug, Default)]
struct Running {
    connections: AtomicUsize,
    ended: Notify,
}

/// A connection that stands.
#[derive(Clone)]
struct Open {
    requests: SendRequest<Bytes>,
    usage: Arc<Usage>,
    way: Way,
    peer: Option<SocketAddr>,
}

impl std::fmt::Debug for GrpcOpener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GrpcOpener").field("server", self.dialer.shown()).finish_non_exhaustive()
    }
}

impl GrpcOpener {
    /// Opens tunnels to what the dialer dials.
    ///
    /// # Errors
    ///
    /// The roots for TLS cannot be had.
    pub fn new(config: GrpcClientConfig, dialer: Dialer) -> Result<GrpcOpener, TlsError> {
        let tls = config.tls.as_ref().map(Connector::for_h2).transpose()?;
        let (connections, dialling, running) = Default::default();
        Ok(GrpcOpener { dialer, config, tls, connections, dialling, running })
    }

    /// The servers that are dialled, for people.
    pub fn server(&self) -> &Arc<str> {
        self.dialer.shown()
    }

    /// Opens a tunnel in which `first` is said first.
    ///
    /// # Errors
    ///
    /// The server cannot be reached, or takes no stream.
    pub async fn open(&self, mut first: Vec<u8>) -> Result<Tunnel, NotOpened> {
        let (hunks, _) = self.hunks().await?;
        let (stream, mut flows, _) = hunks.into_flows();
        if !first.is_empty() {
            flows.feed(Direction::Up, &mut first);
        }
        Ok(Tunnel::dialled(stream, flows))
    }

    /// Opens a stream of hunks, on a connection that has this way.
    ///
    /// # Errors
    ///
    /// As above.
    pub async fn hunks(&self) -> Result<(Framed<Stream, Hunks>, Way), NotOpened> {
        let (stream, way) = match self.stream() {
            Some(stream) => stream,
            None => Box::pin(self.stream_of_another()).await?,
        };
        let hunks = Hunks::new(Direction::Up, Method::Tun);
        Ok((Framed::new(stream.into(), hunks, Vec::new()), way))
    }

    /// A stream on a connection that stands and has room.
    fn stream(&self) -> Option<(H2Stream, Way)> {
        self.usable().iter_mut().find_map(|open| self.stream_on(open).ok().flatten())
    }

    /// The connections that may have room.
    fn usable(&self) -> Vec<Open> {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        // (who drops the last one of these has the connection closed)
        connections.retain(|open| open.usage.unused_for().is_none_or(|time| time < UNUSED));
        connections.iter().filter(|open| open.way.answers()).cloned().collect()
    }

    /// A stream on a connection that is dialled now, by this one or by another who waits for the same.
    async fn stream_of_another(&self) -> Result<(H2Stream, Way), NotOpened> {
        let asked = Instant::now();
        let mut last_failure = Arc::clone(&self.dialling).lock_owned().await;
        if let Some(stream) = self.stream() {
            return Ok(stream);
        }
        // Whoever waited while nobody answered does not wait again.
        if let Some((at, why)) = &*last_failure
            && *at >= asked
        {
            return Err(NotOpened::Grpc(GrpcError::Ended(io::Error::other(why.clone()))));
        }
        let opened = match self.connect().await {
            Ok((mut open, heard)) => self.stream_on(&mut open).map(|stream| (open, heard, stream)),
            Err(error) => Err(error),
        };
        match opened {
            Ok((open, heard, Some(stream))) => {
                self.connections.lock().unwrap_or_else(PoisonError::into_inner).push(open);
                // The next one waits until it is known how many streams the server takes: one more than that would wait
                // for the end of another.
                tokio::spawn(async move {
                    let _ = timeout(SETTINGS, heard.notified()).await;
                    drop(last_failure);
                });
                Ok(stream)
            }
            Ok((_, _, None)) => Err(NotOpened::Grpc(GrpcError::NoStreams)),
            Err(error) => {
                *last_failure = Some((Instant::now(), error.to_string()));
                Err(error)
            }
        }
    }

    /// Makes a connection. What is returned with it tells when its server has said what it takes.
    async fn connect(&self) -> Result<(Open, Arc<Notify>), NotOpened> {
        let tcp = self.dialer.connect().await?;
        let (peer, way) = (tcp.peer_addr().ok(), Way::of(&tcp));
        let io: Stream = match &self.tls {
            None => tcp.into(),
            Some(tls) => {
                let stream = tls.connect(tcp).await?;
                if !stream.is_h2() {
                    return Err(NotOpened::Grpc(GrpcError::NoH2(stream.chosen_protocol())));
                }
                stream.into()
            }
        };
        let heard = Arc::new(Notify::new());
        let io = Heard::new(io, Arc::clone(&heard));
        let window = windows::of_client(transport_h2::MOST);
        let (requests, connection) = Builder::new()
            .enable_push(false)
            .initial_window_size(transport_h2::stream_window(window))
            .initial_connection_window_size(transport_h2::to_u32(window))
            .max_send_buffer_size(transport_h2::SEND_BUFFER)
            .initial_max_send_streams(1)
            .handshake::<_, Bytes>(io)
            .await
            .map_err(|error| NotOpened::Grpc(GrpcError::Ended(transport_h2::io_error(error))))?;
        let (told, running) = (Arc::clone(&heard), Arc::clone(&self.running));
        let usage = Usage::new();
        running.connections.fetch_add(1, Ordering::Relaxed);
        let server = Arc::clone(self.server());
        let tunnels = Arc::clone(&usage);
        tokio::spawn(async move {
            let ended = connection.await;
            let tunnels = tunnels.tunnels();
            match ended {
                Err(error) if tunnels > 0 => {
                    warn!(%server, tunnels, %error, "the HTTP/2 connection to the server broke, and its tunnels end");
                }
                ended => debug!(%server, ?ended, "HTTP/2 connection ended"),
            }
            told.notify_one();
            running.connections.fetch_sub(1, Ordering::Relaxed);
            running.ended.notify_waiters();
        });
        debug!(?peer, "HTTP/2");
        Ok((Open { requests, usage, way, peer }, heard))
    }

    /// A stream on this connection, if the server takes one more now. Nobody waits for that.
    fn stream_on(&self, open: &mut Open) -> Result<Option<(H2Stream, Way)>, NotOpened> {
        if open.usage.tunnels() >= transport_h2::STREAMS.min(open.requests.current_max_send_streams()) {
            return Ok(None);
        }
        let request = self.request(open.peer);
        let in_use = open.usage.one_more();
        let (answer, send) = open
            .requests
            .send_request(request, false)
            .map_err(|error| NotOpened::Grpc(GrpcError::Ended(transport_h2::io_error(error))))?;
        let server = Arc::clone(self.server());
        let answer = Box::pin(async move {
            judge(answer).await.inspect_err(|error| {
                warn!(%server, %error, "the server has not granted the tunnel");
            })
        });
        Ok(Some((H2Stream::opened(send, answer, once_ended, in_use), open.way.clone())))
    }

    /// What asks for a tunnel of a server at this address.
    fn request(&self, peer: Option<SocketAddr>) -> Request<()> {
        let GrpcClientConfig { path, authority, user_agent, tls, .. } = &self.config;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let authority = match (authority, peer) {
            (Some(authority), _) => authority.clone(),
            // As v2ray: what was dialled.
            (None, Some(peer)) => peer.to_string(),
            (None, None) => self.server().to_string(),
        };
        let uri =
            Uri::builder().scheme(scheme).authority(authority.as_str()).path_and_query(path.as_str()).build();
        let mut request = Request::new(());
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = uri.unwrap_or_default();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        if let Ok(user_agent) = HeaderValue::from_str(user_agent) {
            headers.insert(USER_AGENT, user_agent);
        }
        headers.insert(TE, HeaderValue::from_static("trailers"));
        request
    }

    /// Ends all connections once their tunnels have: what was said in them is on its way.
    pub async fn close(&self) {
        const ARRIVAL: Duration = Duration::from_secs(5);
        self.retire();
        let all = async {
            loop {
                let next = self.running.ended.notified();
                if self.running.connections.load(Ordering::Relaxed) == 0 {
                    return;
                }
                next.await;
            }
        };
        let _ = timeout(ARRIVAL, all).await;
    }

    /// Ends what nobody uses; what is in use ends with its last tunnel.
    pub fn retire(&self) {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
