//! A server's side of WebSocket: the frames are unpacked, and it is found out what is in them.

use super::{OpenWebSocket, WebSocket};
use crate::net::Dialer;
use crate::net::dial::DialError;
use crate::relay::{CLOSE_TIMEOUT, EndSeen, RelayStream as _, close_gracefully};
#[cfg(feature = "grpc")]
use crate::transport::h2::{Arrived, EndOf, Extended};
use crate::transport::http::{accepted, grant};
use crate::transport::{NotAccepted, Stream, Tunnel};
use crate::wire::http::Upgrade;
use crate::wire::mux::{IsMux, is_mux_message, is_mux_stream};
#[cfg(feature = "grpc")]
use crate::wire::websocket::accept_key;
use crate::wire::websocket::{CLOSE_NORMAL, Role, decode_early_data};
#[cfg(feature = "grpc")]
use h2::Reason;
use std::pin::pin;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout_at};

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

/// The most early data that is taken, in bytes: as much as the longest header line carries.
const EARLY_DATA: usize = 8192;

/// What stands.
pub enum Accepted {
    /// A tunnel with one stream in it, and the backend where it was dialled already.
    Tunnel(Tunnel, Option<TcpStream>),
    /// Sessions of Mux.Cool, and the backend where it was dialled already.
    Mux(Box<OpenWebSocket<Stream>>, Option<TcpStream>),
}

/// Grants a client of WebSocket or HTTPUpgrade what it asks for, and finds out whether the stream in it is Mux.Cool.
/// `bytes` were read from the client, with its request in front. Where it says nothing for a while, `backend` is
/// dialled meanwhile.
///
/// # Errors
///
/// There is nothing in it, or the backend cannot be reached.
pub(in crate::transport) async fn accept(
    mut client: Stream,
    upgrade: &Upgrade,
    mut bytes: Vec<u8>,
    backend: &Dialer,
) -> Result<Accepted, NotAccepted> {
    // What is base64 is safe to echo.
    let protocol = upgrade.protocol(&bytes).and_then(|value| std::str::from_utf8(value).ok());
    let early = protocol.and_then(|value| decode_early_data(value.as_bytes(), EARLY_DATA));
    let protocol = protocol.filter(|_| early.is_some());
    let granted = grant(&mut client, upgrade.key(&bytes), protocol).await;
    let early = early.unwrap_or_default();
    let mut rest = bytes.split_off(upgrade.head_len.min(bytes.len()));
    if !upgrade.versioned {
        return Ok(Accepted::Tunnel(accepted(client, granted, [early, rest].concat()), None));
    }
    let websocket = WebSocket::new(Role::Server, upgrade.key(&bytes).unwrap_or_default());
    drop(bytes);
    let early_len = early.len();
    let mut open = OpenWebSocket::new(client, websocket, early);
    open.write_error = granted.err();
    open.take(&mut rest);
    drop(rest);
    detect(open, early_len, backend).await
}

/// Grants a client over HTTP/2 the WebSocket that it asks for (RFC 8441), and finds out what is in it.
///
/// # Errors
///
/// As above.
#[cfg(feature = "grpc")]
pub(crate) async fn accept_extended(
    arrived: Arrived,
    extended: Extended,
    backend: &Dialer,
) -> Result<Accepted, NotAccepted> {
    let mut answer = http::Response::new(());
    let mut put = |name, value: &[u8]| {
        if let Ok(value) = http::HeaderValue::from_bytes(value) {
            answer.headers_mut().insert(http::HeaderName::from_static(name), value);
        }
    };
    let Extended { key, protocol, .. } = extended;
    // A proxy that translates may leave it to us to show that the key was read.
    if let Some(key) = &key {
        put("sec-websocket-accept", accept_key(key).as_bytes());
    }
    let early = protocol.as_deref().and_then(|value| decode_early_data(value, EARLY_DATA));
    if let Some(protocol) = protocol.filter(|_| early.is_some()) {
        put("sec-websocket-protocol", &protocol);
    }
    let stream = arrived.accept(answer, EndOf::Data, Reason::CANCEL).map_err(NotAccepted::Broken)?;
    let websocket = WebSocket::new(Role::Server, &key.unwrap_or_default());
    let early = early.unwrap_or_default();
    let early_len = early.len();
    detect(OpenWebSocket::new(stream.into(), websocket, early), early_len, backend).await
}

/// Finds out whether the stream in an open connection is Mux.Cool. So much of it came with the handshake.
async fn detect(
    open: OpenWebSocket<Stream>,
    early_len: usize,
    backend: &Dialer,
) -> Result<Accepted, NotAccepted> {
    let mut detector = MuxDetector { open, early_len };
    let detected = Box::pin(detector.detect(backend)).await;
    let mut open = detector.open;
    let (detection, dialled) = detected.map_err(|error| {
        open.io.abort();
        NotAccepted::Backend(error)
    })?;
    match detection {
        MuxDetection::Mux => Ok(Accepted::Mux(Box::new(open), dialled)),
        MuxDetection::Stream => {
            let (client, flows, write_error) = open.into_flows();
            Ok(Accepted::Tunnel(Tunnel::accepted(client, flows, write_error), dialled))
        }
        MuxDetection::Nothing => {
            let end_seen = open.received.end_seen.take();
            if let Some(EndSeen::Broken(error)) = end_seen {
                return Err(NotAccepted::Broken(error));
            }
            // Nothing was said; the code says what has happened.
            open.write_buf.push(&open.websocket.close_frame(CLOSE_NORMAL));
            close_gracefully(&mut open.io, open.write_buf.take(), CLOSE_TIMEOUT).await;
            Err(match end_seen {
                Some(EndSeen::Malformed(error)) => NotAccepted::Malformed(error),
                _ => NotAccepted::Empty,
            })
        }
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

/// Finds out what is inside a WebSocket connection. What it has read to that end stays in it.
struct MuxDetector {
    open: OpenWebSocket<Stream>,
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
        match self.open.received.payload.len() {
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
            self.open.received.session_ends.clear();
            self.open.read(CHUNK).await;
        }
    }

    /// What it is, if that is known. It is the same whatever the pieces in which the bytes come.
    fn detection(&self) -> Option<MuxDetection> {
        let received = &self.open.received;
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
        let received = &self.open.received;
        let first = received.first_message.and_then(|len| received.payload.get(..len));
        match first.unwrap_or(&received.payload) {
            // A client that has only ended its direction may wait for a backend that speaks first.
            [] if matches!(received.end_seen, Some(EndSeen::Closed))
                && !self.open.websocket.peer_has_closed() =>
            {
                MuxDetection::Stream
            }
            [] => MuxDetection::Nothing,
            first if is_mux_message(first) => MuxDetection::Mux,
            _ => MuxDetection::Stream,
        }
    }
}
