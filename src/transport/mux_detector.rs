//! Mux.Cool, or a bare stream? A server finds out what is inside the frames of a client.

use super::framed::Framed;
use super::framing::Framing;
#[cfg(feature = "grpc")]
use super::grpc::Hunks;
use super::websocket::{PacketStream, WebSocket};
use super::{NotAccepted, Stream, Tunnel};
use crate::net::Dialer;
use crate::net::dial::DialError;
use crate::relay::{CLOSE_TIMEOUT, EndSeen, RelayStream as _, close_gracefully};
use crate::wire::mux::{IsMux, is_mux_message, is_mux_stream};
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

/// What stands.
pub enum Accepted {
    /// A tunnel with one stream in it, and the backend where it was dialled already.
    Tunnel(Tunnel, Option<TcpStream>),
    /// Sessions of Mux.Cool, and the backend where it was dialled already.
    Mux(OpenMux, Option<TcpStream>),
    /// Packets of UDP.
    Packets(Box<PacketStream>),
}

/// A connection with sessions of Mux.Cool.
pub enum OpenMux {
    /// In WebSocket.
    WebSocket(Box<Framed<Stream, WebSocket>>),
    /// In gRPC.
    #[cfg(feature = "grpc")]
    Hunks(Box<Framed<Stream, Hunks>>),
}

impl From<Framed<Stream, WebSocket>> for OpenMux {
    fn from(open: Framed<Stream, WebSocket>) -> OpenMux {
        OpenMux::WebSocket(Box::new(open))
    }
}

#[cfg(feature = "grpc")]
impl From<Framed<Stream, Hunks>> for OpenMux {
    fn from(open: Framed<Stream, Hunks>) -> OpenMux {
        OpenMux::Hunks(Box::new(open))
    }
}

/// Finds out whether the stream in an open connection is Mux.Cool. So much of it came with the handshake. Where the
/// client says nothing for a while, `backend` is dialled meanwhile.
///
/// # Errors
///
/// There is nothing in it, or the backend cannot be reached.
pub(super) async fn detect<F>(
    open: Framed<Stream, F>,
    early_len: usize,
    backend: &Dialer,
) -> Result<Accepted, NotAccepted>
where
    F: Framing + Send + 'static,
    Framed<Stream, F>: Into<OpenMux>,
{
    let mut detector = MuxDetector { open, early_len };
    let detected = Box::pin(detector.detect(backend)).await;
    let mut open = detector.open;
    let (detection, dialled) = detected.map_err(|error| {
        open.io.abort();
        NotAccepted::Backend(error)
    })?;
    match detection {
        MuxDetection::Mux => Ok(Accepted::Mux(open.into(), dialled)),
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
            let last = open.framing.close_frame(open.framing.encoded());
            open.write_buf.push(&last.unwrap_or_default());
            close_gracefully(&mut open.io, open.write_buf.take(), CLOSE_TIMEOUT).await;
            Err(match end_seen {
                Some(EndSeen::Malformed(error)) => NotAccepted::Malformed(error),
                _ => NotAccepted::Empty,
            })
        }
    }
}

/// What is inside a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MuxDetection {
    /// A bare Shadowsocks stream.
    Stream,
    /// Sessions of Mux.Cool.
    Mux,
    /// The client closed before it had said anything.
    Nothing,
}

/// Finds out what is inside a connection. What it has read to that end stays in it.
struct MuxDetector<F> {
    open: Framed<Stream, F>,
    /// How much of the payload came with the handshake.
    early_len: usize,
}

impl<F: Framing> MuxDetector<F> {
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
                && !self.open.framing.peer_has_closed() =>
            {
                MuxDetection::Stream
            }
            [] => MuxDetection::Nothing,
            first if is_mux_message(first) => MuxDetection::Mux,
            _ => MuxDetection::Stream,
        }
    }
}

#[cfg(all(test, feature = "grpc"))]
mod tests {
    use super::*;
    use crate::net::addr::{Host, HostPort};
    use crate::net::options::SocketOptions;
    use crate::relay::Direction;
    use crate::relay::test_streams::connection;
    use crate::wire::grpc::Method;
    use crate::wire::mux::{Encoder, end};
    use std::net::Ipv4Addr;
    use tokio::io::AsyncWriteExt as _;

    /// What a client is that says this in hunks, each a message with these fields; found before its time is over.
    async fn found(method: Method, messages: &[&[&[u8]]]) -> MuxDetection {
        let (server, mut client) = connection().await;
        for fields in messages {
            let field = |data: &&[u8]| [&[0x0a, u8::try_from(data.len()).unwrap()][..], data].concat();
            let message = fields.iter().map(field).collect::<Vec<_>>().concat();
            let head = [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes()].concat();
            client.write_all(&[head, message].concat()).await.unwrap();
        }
        let open = Framed::new(Stream::from(server), Hunks::new(Direction::Down, method), Vec::new());
        let nobody = HostPort { host: Host::Ip(Ipv4Addr::LOCALHOST.into()), port: 1 };
        let dialer = Dialer::new(vec![nobody], SocketOptions::default());
        let mut detector = MuxDetector { open, early_len: 0 };
        let began = Instant::now();
        let (detection, backend) = detector.detect(&dialer).await.unwrap();
        assert!(backend.is_none() && began.elapsed() < SILENCE, "{detection:?} after {:?}", began.elapsed());
        detection
    }

    #[tokio::test]
    async fn the_first_hunk_decides() {
        let open = Encoder::client(1).open().unwrap();
        let gone = end(1, false);
        for (method, messages, expected) in [
            (Method::Tun, &[&[&open[..]][..]][..], MuxDetection::Mux),
            // An application that has left before its session began.
            (Method::Tun, &[&[&gone]], MuxDetection::Mux),
            (Method::TunMulti, &[&[&open[..3], &open[3..]]], MuxDetection::Mux),
            // The front of a head, which no program cuts.
            (Method::Tun, &[&[&open[..3]]], MuxDetection::Stream),
            (Method::Tun, &[&[&open[..3]], &[&open[3..]]], MuxDetection::Stream),
            (Method::TunMulti, &[&[&open[..1], &open[1..3]]], MuxDetection::Stream),
            (Method::Tun, &[&[b"a salt"]], MuxDetection::Stream),
        ] {
            assert_eq!(found(method, messages).await, expected, "{messages:?}");
        }
    }
}
