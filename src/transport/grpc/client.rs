//! gRPC on the client half: connections to the server, and a stream on one of them for each tunnel.

use super::GrpcError;
use super::answer::{judge, once_ended};
use super::heard::{FirstBytes, Heard};
use super::hunks::Hunks;
use super::way::Way;
use crate::config::GrpcClientConfig;
use crate::net::Dialer;
use crate::net::reached::{self, Reached};
use crate::relay::Direction;
use crate::transport::answer::{SILENCE, note_answer, tell_silence};
use crate::transport::framed::Framed;
use crate::transport::h2::{self as transport_h2, H2Stream, NoteSaid, Said};
use crate::transport::tls::{Connector, TlsError};
use crate::transport::usage::{InUse, Usage};
use crate::transport::{NotOpened, Stream, Tunnel, windows};
use crate::wire::grpc::Method;
use bytes::Bytes;
use h2::SendStream;
use h2::client::{Builder, ResponseFuture, SendRequest};
use http::header::{CONTENT_TYPE, HeaderValue, TE, USER_AGENT};
use http::{Request, Uri};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};

/// A connection that has had no tunnel for so long is closed.
const UNUSED: Duration = Duration::from_secs(60);

/// How long a server may take to say how many streams it takes, while the second tunnel waits. It says so at once.
const SETTINGS: Duration = Duration::from_secs(3);

/// How often a server is asked that has not looked at a request: it goes away, or a proxy in front does.
const ATTEMPTS: usize = 3;

/// Opens tunnels in gRPC.
#[derive(Debug)]
pub struct GrpcOpener(Arc<Connections>);

/// The connections to a server.
struct Connections {
    dialer: Dialer,
    config: GrpcClientConfig,
    tls: Option<Connector>,
    connections: Mutex<Vec<Open>>,
    /// One dials for all who wait.
    dialling: Arc<tokio::sync::Mutex<LastFailure>>,
    /// Those that have not ended.
    running: Mutex<Vec<Weak<Usage>>>,
    ended: Arc<Notify>,
}

/// When somebody had dialled in vain, and what was said.
type LastFailure = Option<(Instant, String)>;

/// A connection that stands.
#[derive(Clone)]
struct Open {
    requests: SendRequest<Bytes>,
    usage: Arc<Usage>,
    way: Way,
    peer: Option<SocketAddr>,
}

/// A stream that a server was asked for.
struct Asked {
    answer: ResponseFuture,
    send: SendStream<Bytes>,
    way: Way,
    in_use: InUse,
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connections").field("server", self.dialer.shown()).finish_non_exhaustive()
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
        let (connections, dialling, running, ended) = Default::default();
        Ok(GrpcOpener(Arc::new(Connections { dialer, config, tls, connections, dialling, running, ended })))
    }

    /// The servers that are dialled, for people.
    pub fn server(&self) -> &Arc<str> {
        self.0.server()
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
        let asked = self.0.ask().await?;
        let way = asked.way.clone();
        let hunks = Hunks::new(Direction::Up, Method::Tun);
        Ok((Framed::new(self.0.stream_of(asked).into(), hunks, Vec::new()), way))
    }

    /// Ends all connections that have no tunnels, when what was said in them is on its way.
    pub async fn close(&self) {
        const ARRIVAL: Duration = Duration::from_secs(5);
        self.retire();
        let all = async {
            loop {
                let next = self.0.ended.notified();
                // (those that have tunnels end with the process)
                if self.0.running().iter().filter_map(Weak::upgrade).all(|usage| usage.tunnels() > 0) {
                    return;
                }
                next.await;
            }
        };
        let _ = timeout(ARRIVAL, all).await;
    }

    /// Ends what nobody uses; what is in use ends with its last tunnel.
    pub fn retire(&self) {
        self.0.connections.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Connections {
    fn server(&self) -> &Arc<str> {
        self.dialer.shown()
    }

    fn running(&self) -> MutexGuard<'_, Vec<Weak<Usage>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a stream, on a connection that there is or on a new one.
    async fn ask(&self) -> Result<Asked, NotOpened> {
        match self.ask_known() {
            Some(asked) => Ok(asked),
            None => Box::pin(self.ask_another()).await,
        }
    }

    /// The stream, with its answer still to come. A server that has not looked at it is asked again.
    fn stream_of(self: &Arc<Self>, asked: Asked) -> H2Stream {
        let Asked { answer, send, way, in_use } = asked;
        let (said, connections) = (Arc::new(Said::default()), Arc::clone(self));
        let traffic = Arc::clone(way.traffic()) as Arc<dyn NoteSaid>;
        let again = Arc::clone(&said);
        let answer = Box::pin(async move { connections.answer(answer, way, &again).await });
        H2Stream::opened(send, answer, said, once_ended, traffic, in_use)
    }

    /// Waits for an answer. That there is none for long is told.
    async fn answer(
        &self,
        mut answer: ResponseFuture,
        mut way: Way,
        said: &Said,
    ) -> io::Result<transport_h2::Answered> {
        let mut instead: Option<(SendStream<Bytes>, InUse)> = None;
        let mut attempts = 1;
        loop {
            let judged = tokio::select! {
                biased;
                judged = judge(&mut answer) => judged,
                () = sleep(SILENCE) => {
                    tell_silence(way.peer());
                    judge(&mut answer).await
                }
            };
            let refusal = match judged {
                Ok(receive) => {
                    note_answer();
                    reached::note(|| Reached::Granted);
                    return Ok(transport_h2::Answered { receive, instead });
                }
                Err(refusal) => refusal,
            };
            if refusal.is_untouched() && said.is_whole() && attempts < ATTEMPTS {
                attempts += 1;
                debug!(server = %self.server(), %refusal, "asked again");
                let mut asked = self.ask().await.map_err(|error| io::Error::other(error.to_string()))?;
                said.say(&mut asked.send).map_err(transport_h2::io_error)?;
                answer = asked.answer;
                way = asked.way;
                instead = Some((asked.send, asked.in_use));
                continue;
            }
            // What becomes of the connection is told once.
            if refusal.is_of_stream() {
                warn!(server = %self.server(), error = %refusal, "the server has not granted the tunnel");
            }
            return Err(refusal.into());
        }
    }

    /// A stream on a connection that stands and has room.
    fn ask_known(&self) -> Option<Asked> {
        self.usable().iter_mut().find_map(|open| self.ask_on(open).ok().flatten())
    }

    /// The connections that may have room.
    fn usable(&self) -> Vec<Open> {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        // (who drops the last one of these has the connection closed)
        connections.retain(|open| open.usage.unused_for().is_none_or(|time| time < UNUSED));
        connections.iter().filter(|open| open.way.answers()).cloned().collect()
    }

    /// A stream on a connection that is dialled now, by this one or by another who waits for the same.
    async fn ask_another(&self) -> Result<Asked, NotOpened> {
        let asked = Instant::now();
        let mut last_failure = Arc::clone(&self.dialling).lock_owned().await;
        if let Some(asked) = self.ask_known() {
            return Ok(asked);
        }
        // Whoever waited while nobody answered does not wait again.
        if let Some((at, why)) = &*last_failure
            && *at >= asked
        {
            return Err(NotOpened::Grpc(GrpcError::AsAnother(why.clone())));
        }
        let opened = match self.connect().await {
            Ok((mut open, heard)) => self.ask_on(&mut open).map(|asked| (open, heard, asked)),
            Err(error) => Err(error),
        };
        match opened {
            Ok((open, heard, Some(asked))) => {
                self.connections.lock().unwrap_or_else(PoisonError::into_inner).push(open);
                // The next one waits until it is known how many streams the server takes: one more than that would wait
                // for the end of another.
                tokio::spawn(async move {
                    let _ = timeout(SETTINGS, heard.notified()).await;
                    drop(last_failure);
                });
                Ok(asked)
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
        let first = Arc::new(FirstBytes::default());
        let io = Heard::new(io, Arc::clone(&heard), Arc::clone(way.traffic()), Arc::clone(&first));
        let window = windows::of_client(transport_h2::MOST);
        let (requests, connection) = Builder::new()
            .enable_push(false)
            .initial_window_size(transport_h2::stream_window(window))
            .initial_connection_window_size(transport_h2::to_u32(window))
            .max_send_buffer_size(transport_h2::send_buffer())
            .initial_max_send_streams(1)
            .handshake::<_, Bytes>(io)
            .await
            .map_err(|error| NotOpened::Grpc(GrpcError::Ended(transport_h2::io_error(error))))?;
        let usage = Usage::new();
        let (told, ended, server) = (Arc::clone(&heard), Arc::clone(&self.ended), Arc::clone(self.server()));
        {
            let mut running = self.running();
            running.retain(|usage| usage.strong_count() > 0);
            running.push(Arc::downgrade(&usage));
        }
        let used = Arc::clone(&usage);
        tokio::spawn(async move {
            let result = connection.await;
            let tunnels = used.tunnels();
            match (result, first.complaint()) {
                (_, Some(complaint)) => warn!(%server, tunnels, "{complaint}"),
                (Err(error), None) if tunnels > 0 => {
                    let error = transport_h2::described(&error);
                    warn!(%server, tunnels, %error, "the HTTP/2 connection to the server broke, and its tunnels end");
                }
                (result, None) => debug!(%server, ?result, "HTTP/2 connection ended"),
            }
            told.notify_one();
            drop(used);
            ended.notify_waiters();
        });
        debug!(?peer, "HTTP/2");
        Ok((Open { requests, usage, way, peer }, heard))
    }

    /// A stream on this connection, if the server takes one more now. Nobody waits for that.
    fn ask_on(&self, open: &mut Open) -> Result<Option<Asked>, NotOpened> {
        if open.usage.tunnels() >= transport_h2::STREAMS.min(open.requests.current_max_send_streams()) {
            return Ok(None);
        }
        let request = self.request(open.peer);
        let in_use = open.usage.one_more();
        let (answer, send) = open
            .requests
            .send_request(request, false)
            .map_err(|error| NotOpened::Grpc(GrpcError::Ended(transport_h2::io_error(error))))?;
        Ok(Some(Asked { answer, send, way: open.way.clone(), in_use }))
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
}
