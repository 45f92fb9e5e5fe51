//! QUIC on the client half: connections to the server, and a stream on one of them for each tunnel.

use super::connector::Connector;
use super::error::QuicError;
use super::heard::Heard;
use super::keep_alive::keep_alive;
use super::windows;
use super::{CLIENT_IDLE, CODE, QuicStream, transport_config};
use crate::config::QuicClientConfig;
use crate::net::Dialer;
use crate::net::dial::DialError;
use crate::relay::{Direction, Flows, Identity};
use crate::transport::tls::TlsError;
use crate::transport::usage::{Usage, all_have_arrived};
use crate::transport::{NotOpened, Tunnel};
use quinn::{Connection, ConnectionError};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;
use tracing::warn;

/// A connection that has had no tunnel for so long is not used again: its server may take it for dead before it hears of
/// the next one.
pub(super) const UNUSED: Duration = Duration::from_secs(20);

/// Opens tunnels in QUIC.
pub struct QuicOpener {
    connector: Connector,
    window: usize,
    connections: Mutex<Vec<Open>>,
    /// One dials for all who wait.
    dialling: tokio::sync::Mutex<LastFailure>,
}

/// When somebody had dialled in vain, and what was said.
type LastFailure = Option<(Instant, String)>;

/// A connection that stands.
#[derive(Clone)]
struct Open {
    connection: Connection,
    usage: Arc<Usage>,
    heard: Arc<Heard>,
}

impl std::fmt::Debug for QuicOpener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QuicOpener").field("server", self.server()).finish_non_exhaustive()
    }
}

impl QuicOpener {
    /// Opens tunnels to what the dialer dials.
    ///
    /// # Errors
    ///
    /// The roots for TLS cannot be had.
    pub fn new(config: QuicClientConfig, dialer: Dialer) -> Result<QuicOpener, TlsError> {
        let window = windows::of_client();
        // The server opens none.
        let transport = transport_config(config.congestion, window, CLIENT_IDLE, 0);
        let connector = Connector::new(config, dialer, transport)?;
        Ok(QuicOpener { connector, window, connections: Mutex::default(), dialling: Default::default() })
    }

    /// The servers that are dialled, for people.
    pub fn server(&self) -> &Arc<str> {
        self.connector.server()
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
        connections.iter().filter(|open| open.heard.answers()).cloned().collect()
    }

    /// A stream on a connection that is dialled now, by this one or by another who waits for the same.
    async fn stream_of_another(&self) -> Result<QuicStream, NotOpened> {
        let asked = Instant::now();
        let mut last_failure = self.dialling.lock().await;
        if let Some(stream) = self.stream().await {
            return Ok(stream);
        }
        // Whoever waited while nobody answered does not wait again.
        if let Some((at, why)) = &*last_failure
            && *at >= asked
        {
            return Err(NotOpened::Dial(DialError::Connect(why.clone())));
        }
        let connection = match self.connector.connect().await {
            Ok(connection) => connection,
            Err(error) => {
                if let DialError::Connect(why) = &error {
                    *last_failure = Some((Instant::now(), why.clone()));
                }
                return Err(NotOpened::Dial(error));
            }
        };
        let usage = Usage::new();
        let heard = Arc::new(Heard::new(connection.clone()));
        let open = Open { connection: connection.clone(), usage: Arc::clone(&usage), heard };
        let stream = match open.stream().await {
            Ok(Some(stream)) => stream,
            refused => {
                let error = refused.map_or_else(QuicError::Ended, |_| QuicError::NoStreams);
                *last_failure = Some((Instant::now(), format!("{}: {error}", self.server())));
                return Err(error.into());
            }
        };
        let (server, window) = (Arc::clone(self.server()), windows::window(self.window));
        tokio::spawn(async move {
            let (ended, tunnels) = keep_alive(connection, usage, || window).await;
            if ended == ConnectionError::TimedOut && tunnels > 0 {
                warn!(
                    %server,
                    tunnels,
                    "the server has said nothing for 30 s, and the tunnels of its QUIC connection end: packets are dropped on \
                     the way, or it is gone"
                );
            }
        });
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).push(open);
        Ok(stream)
    }

    /// Ends all connections when what was said in tunnels that are over has arrived, and waits until their server has
    /// heard of it.
    pub async fn close(&self) {
        const ARRIVAL: Duration = Duration::from_secs(5);
        let connections =
            std::mem::take(&mut *self.connections.lock().unwrap_or_else(PoisonError::into_inner));
        for open in connections.iter().filter(|open| !open.usage.has_arriving() || !open.heard.answers()) {
            open.connection.close(CODE, b"");
        }
        all_have_arrived(ARRIVAL).await;
        self.connector.close().await;
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
        if self.usage.tunnels() >= windows::STREAMS {
            return Ok(None);
        }
        let mut opening = pin!(self.connection.open_bi());
        let opened = poll_fn(|cx| match opening.as_mut().poll(cx) {
            Poll::Ready(opened) => Poll::Ready(opened.map(Some)),
            Poll::Pending => Poll::Ready(Ok(None)),
        });
        Ok(opened
            .await?
            .map(|stream| QuicStream::new(stream, self.usage.one_more(), Some(Arc::clone(&self.heard)))))
    }
}
