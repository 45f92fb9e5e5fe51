//! The server half for clients of v2ray-plugin's kind: WebSocket with Mux.Cool or without, and
//! HTTPUpgrade, after TLS or in the clear.

use super::{Server, Tunnel, TunnelError};
use crate::mux::{Dial, Fresh, Incoming, Mux};
use crate::net::Dialer;
use crate::net::dial::DialError;
use crate::relay::{EndSeen, Relay, RelayStream as _, Side};
use crate::transport::Stream;
use crate::transport::http;
use crate::transport::websocket::{self, Handoff};
use crate::wire::http::Upgrade;
use crate::wire::mux::{IsMux, is_mux_message, is_mux_stream};
use crate::wire::websocket::{CLOSE_NORMAL, Role, decode_early_data};
use std::future::ready;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout_at};

/// The most early data that is taken, in bytes: as much as the longest header line carries.
const EARLY_DATA: usize = 8192;

/// Bytes that are read at once while it is not known what the stream is.
const CHUNK: usize = 4096;

/// How long the client may be silent before the backend is dialled all the same: it may be the one that
/// speaks first. Clients of Mux.Cool say at once that they are such.
const SILENCE: Duration = Duration::from_secs(1);

/// How long the rest of a head may take of which the front has come: long enough for a segment that was
/// lost twice. What is not whole by then is a bare stream.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client and the backend may be silent both, after the handshake.
const OPENING: Duration = Duration::from_secs(300);

impl Server {
    /// Grants the upgrade, and opens what it is for.
    pub(super) async fn web(
        &self,
        mut client: Stream,
        upgrade: Upgrade,
        mut bytes: Vec<u8>,
    ) -> Result<Tunnel, TunnelError> {
        // What is base64 is safe to echo.
        let protocol = upgrade.protocol(&bytes).and_then(|value| std::str::from_utf8(value).ok());
        let early = protocol.and_then(|value| decode_early_data(value.as_bytes(), EARLY_DATA).ok());
        let protocol = protocol.filter(|_| early.is_some());
        let granted = http::grant(&mut client, upgrade.key(&bytes), protocol).await;
        let early = early.unwrap_or_default();
        let mut rest = bytes.split_off(upgrade.head_len.min(bytes.len()));
        if !upgrade.versioned {
            return self.raw(client, granted, [early, rest].concat()).await;
        }
        let directions = websocket::directions(Role::Server, upgrade.key(&bytes).unwrap_or_default());
        drop(bytes);
        let early_len = early.len();
        let mut handoff = Handoff::new(client, directions, early);
        handoff.write_error = granted.err();
        handoff.take(&mut rest);
        drop(rest);
        self.websocket(MuxDetector { handoff, early_len }).await
    }

    /// WebSocket: finds out whether the stream in it is Mux.Cool.
    async fn websocket(&self, mut detector: MuxDetector) -> Result<Tunnel, TunnelError> {
        let detected = Box::pin(detector.detect(&self.backend)).await;
        let mut handoff = detector.handoff;
        let (detection, backend) = detected.map_err(|error| {
            handoff.io.abort();
            TunnelError::Backend(error)
        })?;
        match detection {
            MuxDetection::Mux => {
                let incoming = Backend { dialer: Arc::clone(&self.backend), dialled: backend };
                let mux = Mux::new(handoff, incoming, self.timeouts);
                Ok(Box::pin(mux.run()))
            }
            MuxDetection::Stream => {
                let backend = match backend {
                    Some(backend) => backend,
                    None => self.dial_backend(&mut handoff.io).await?,
                };
                let (client, up, down, write_error) = handoff.into_flows();
                let relay = Relay::new(client, backend, up, down, self.timeouts);
                Ok(Box::pin(relay.broken(Side::Near, write_error).run()))
            }
            MuxDetection::Nothing => {
                let end_seen = handoff.received.end_seen.take();
                if let Some(EndSeen::Broken(error)) = end_seen {
                    return Err(TunnelError::Gone(error));
                }
                Box::pin(close(handoff)).await;
                Err(match end_seen {
                    Some(EndSeen::Malformed(error)) => TunnelError::Malformed(error),
                    _ => TunnelError::Empty,
                })
            }
        }
    }
}

/// Closes a connection on which nothing was said in order, with the code for what has happened.
async fn close(mut handoff: Handoff<Stream>) {
    let mut words = handoff.write_buf;
    words.extend_from_slice(&handoff.send.close(CLOSE_NORMAL));
    let part = async {
        handoff.io.write_all(&words).await?;
        handoff.io.shutdown().await?;
        let mut rest = Vec::with_capacity(CHUNK);
        while handoff.io.read_buf(&mut rest).await? > 0 {
            rest.clear();
        }
        Ok::<_, std::io::Error>(())
    };
    // Whoever does not hear it has gone already.
    let _ = timeout_at(Instant::now() + SILENCE, part).await;
}

/// Where the sessions of a Mux.Cool connection go.
struct Backend {
    dialer: Arc<Dialer>,
    /// A connection that was made before it was known what comes.
    dialled: Option<TcpStream>,
}

impl Incoming for Backend {
    const SERVER: bool = true;

    fn poll_session(&mut self, _: &mut Context<'_>) -> Poll<Option<Fresh>> {
        Poll::Ready(None)
    }

    fn dial(&mut self) -> Option<Dial> {
        Some(match self.dialled.take() {
            Some(dialled) => Box::pin(ready(Ok(dialled))),
            None => {
                let dialer = Arc::clone(&self.dialer);
                Box::pin(async move { dialer.connect().await })
            }
        })
    }
}

/// What is inside a WebSocket connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MuxDetection {
    /// A bare Shadowsocks stream.
    Stream,
    /// Sessions of Mux.Cool.
    Mux,
    /// The client closed before it had said anything.
    Nothing,
}

/// Finds out what is inside a WebSocket connection. What it has read to that end stays in the handoff.
struct MuxDetector {
    handoff: Handoff<Stream>,
    /// How much of the payload came with the handshake.
    early_len: usize,
}

impl MuxDetector {
    /// Reads until it is known, or the client has had its time. Returns the backend where it was dialled
    /// meanwhile.
    async fn detect(&mut self, dialer: &Dialer) -> Result<(MuxDetection, Option<TcpStream>), DialError> {
        let now = Instant::now();
        if let Ok(detection) = timeout_at(now + SILENCE, self.read()).await {
            return Ok((detection, None));
        }
        match self.handoff.received.payload.len() {
            0 => {}
            // A head may be cut where the early data end, but then the rest comes at once.
            len if len == self.early_len => return Ok((self.as_it_is(), None)),
            _ => {
                let late = timeout_at(now + HEAD_TIMEOUT, self.read()).await;
                return Ok((late.unwrap_or_else(|_| self.as_it_is()), None));
            }
        }
        // The client is read beside the dialling: it may speak at any moment, and a session of Mux.Cool
        // waits for no backend that answers slowly.
        let mut dialling = pin!(dialer.connect());
        let backend = tokio::select! {
            biased;
            detection = self.read() => {
                let backend = match detection {
                    MuxDetection::Stream => Some(dialling.await?),
                    MuxDetection::Mux | MuxDetection::Nothing => None,
                };
                return Ok((detection, backend));
            }
            backend = &mut dialling => backend?,
        };
        let detection = tokio::select! {
            biased;
            detection = self.read() => detection,
            _ = backend.readable() => MuxDetection::Stream,
            () = sleep_until(now + OPENING) => self.as_it_is(),
        };
        Ok((detection, Some(backend)))
    }

    /// Reads on until it is known. Nothing is lost when it is dropped and called again.
    async fn read(&mut self) -> MuxDetection {
        loop {
            if let Some(detection) = self.detection() {
                return detection;
            }
            // There is no session yet that could end.
            self.handoff.received.session_ends.clear();
            self.handoff.read(CHUNK).await;
        }
    }

    /// What it is, if that is known. It is the same whatever the pieces in which the bytes come.
    fn detection(&self) -> Option<MuxDetection> {
        let received = &self.handoff.received;
        let ended = received.end_seen.is_some();
        if received.payload.is_empty() {
            return ended.then(|| self.as_it_is());
        }
        let first = received.first_message.and_then(|len| received.payload.get(..len));
        match is_mux_stream(first.unwrap_or(&received.payload)) {
            IsMux::Yes => Some(MuxDetection::Mux),
            IsMux::No => Some(MuxDetection::Stream),
            // Heads of Mux.Cool are not cut by the end of a message.
            IsMux::NeedMore if first.is_some() || ended || received.payload.len() > CHUNK => {
                Some(self.as_it_is())
            }
            IsMux::NeedMore => None,
        }
    }

    /// What it is if nothing more comes.
    fn as_it_is(&self) -> MuxDetection {
        let received = &self.handoff.received;
        let first = received.first_message.and_then(|len| received.payload.get(..len));
        match first.unwrap_or(&received.payload) {
            // A client that has only ended its direction may wait for a backend that speaks first.
            [] if matches!(received.end_seen, Some(EndSeen::Closed))
                && !self.handoff.receive.has_closed() =>
            {
                MuxDetection::Stream
            }
            [] => MuxDetection::Nothing,
            first if is_mux_message(first) => MuxDetection::Mux,
            _ => MuxDetection::Stream,
        }
    }
}
