//! The server half for clients of v2ray-plugin's kind: WebSocket with Mux.Cool or without, and
//! HTTPUpgrade, after TLS or in the clear.

use super::{NoTunnel, Shared};
use crate::net::Dialer;
use crate::relay::{Flow, Identity, Outcome, Relay, Transport};
use crate::transport::http;
use crate::transport::mux::{Dial, Fresh, Incoming, Mux};
use crate::transport::websocket::{self, Receive, Send};
use crate::wire::http::Upgrade;
use crate::wire::mux::{IsMux, is_mux_stream};
use crate::wire::websocket::{CLOSE_NORMAL, Role, decode_early_data};
use std::future::ready;
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

/// How long a client and the backend may be silent both, after the handshake.
const OPENING: Duration = Duration::from_secs(300);

impl Shared {
    /// Grants the upgrade and serves what follows it.
    pub(super) async fn web<S: Transport>(
        &self,
        mut client: S,
        upgrade: Upgrade,
        mut bytes: Vec<u8>,
    ) -> Result<Outcome, NoTunnel> {
        // What is base64 is safe to echo.
        let protocol = upgrade.protocol(&bytes).and_then(|value| std::str::from_utf8(value).ok());
        let early = protocol.and_then(|value| decode_early_data(value.as_bytes(), EARLY_DATA).ok());
        let protocol = protocol.filter(|_| early.is_some());
        http::grant(&mut client, upgrade.key(&bytes), protocol).await.map_err(NoTunnel::Gone)?;
        let early = early.unwrap_or_default();
        let rest = bytes.split_off(upgrade.head_len.min(bytes.len()));
        if upgrade.versioned {
            let directions = websocket::directions(Role::Server, upgrade.key(&bytes).unwrap_or_default());
            drop(bytes);
            self.websocket(client, directions, early, rest).await
        } else {
            let payload = [early, rest].concat();
            let backend = Box::pin(self.backend.connect()).await.map_err(NoTunnel::Backend)?;
            let payload_len = payload.len();
            let up = Flow::with_pending(Identity, payload, payload_len);
            Ok(Relay::new(client, backend, up, Flow::new(Identity), self.patience).run().await)
        }
    }

    /// WebSocket: finds out whether the stream in it is Mux.Cool, and serves it.
    async fn websocket<S: Transport>(
        &self,
        client: S,
        (receive, send): (Receive, Send),
        early: Vec<u8>,
        mut frames: Vec<u8>,
    ) -> Result<Outcome, NoTunnel> {
        let mut opening = Opening { client, receive, send, payload: early };
        let result = match opening.receive.take(&mut frames, &mut opening.payload) {
            Ok(true) => {
                drop(frames);
                Box::pin(opening.decide(self)).await
            }
            Ok(false) => Ok(First::Closed),
            Err(error) => Err(NoTunnel::Malformed(error)),
        };
        let (is_mux, backend) = match result {
            Ok(First::Stream(is_mux, backend)) => (is_mux, backend),
            Ok(First::Closed) => {
                Box::pin(opening.close()).await;
                return Err(NoTunnel::Empty);
            }
            Err(error) => {
                Box::pin(opening.close()).await;
                return Err(error);
            }
        };
        let Opening { client, receive, send, payload } = opening;
        if is_mux {
            let incoming = Backend { dialer: Arc::clone(&self.backend), dialled: backend };
            let mux = Mux::new(client, receive, send, incoming, self.patience);
            return Ok(Box::pin(mux.run(payload, Vec::new())).await);
        }
        let backend = match backend {
            Some(backend) => backend,
            None => Box::pin(self.backend.connect()).await.map_err(NoTunnel::Backend)?,
        };
        let payload_len = payload.len();
        let up = Flow::with_pending(receive, payload, payload_len);
        Ok(Relay::new(client, backend, up, Flow::new(send), self.patience).run().await)
    }
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

/// What the first bytes inside a WebSocket connection are.
enum First {
    /// A stream: whether it is one of Mux.Cool, and the backend if it has been dialled.
    Stream(bool, Option<TcpStream>),
    /// The client closed before there were any.
    Closed,
}

/// A WebSocket connection of which it is not known what is inside.
struct Opening<S> {
    client: S,
    receive: Receive,
    send: Send,
    /// The stream, as far as it has come.
    payload: Vec<u8>,
}

impl<S: Transport> Opening<S> {
    /// Reads until it is known.
    async fn decide(&mut self, shared: &Shared) -> Result<First, NoTunnel> {
        let now = Instant::now();
        match timeout_at(now + SILENCE, self.read()).await {
            Ok(decided) => return decided,
            Err(_) if self.payload.is_empty() => {}
            // It has begun, and it may yet be Mux.Cool.
            Err(_) => return timeout_at(now + OPENING, self.read()).await.unwrap_or(Ok(First::Closed)),
        }
        let backend = shared.backend.connect().await.map_err(NoTunnel::Backend)?;
        let mut spoke = false;
        let first = tokio::select! {
            biased;
            first = self.read() => first?,
            _ = backend.readable() => { spoke = true; First::Closed }
            () = sleep_until(now + OPENING) => First::Closed,
        };
        Ok(match first {
            First::Stream(is_mux, _) => First::Stream(is_mux, Some(backend)),
            First::Closed if spoke => First::Stream(false, Some(backend)),
            First::Closed => First::Closed,
        })
    }

    /// Reads on until there is a verdict. Nothing is lost when it is dropped and called again.
    async fn read(&mut self) -> Result<First, NoTunnel> {
        loop {
            match is_mux_stream(&self.payload) {
                _ if self.payload.is_empty() => {}
                IsMux::Yes => return Ok(First::Stream(true, None)),
                IsMux::No => return Ok(First::Stream(false, None)),
                IsMux::NeedMore if self.payload.len() > CHUNK => return Ok(First::Stream(false, None)),
                IsMux::NeedMore => {}
            }
            let mut frames = Vec::with_capacity(CHUNK);
            if self.client.read_buf(&mut frames).await.map_err(NoTunnel::Gone)? == 0 {
                return Ok(First::Closed);
            }
            let open = self.receive.take(&mut frames, &mut self.payload).map_err(NoTunnel::Malformed)?;
            if self.send.is_urgent() {
                let mut words = Vec::new();
                self.send.urgent(&mut words);
                self.client.write_all(&words).await.map_err(NoTunnel::Gone)?;
                self.client.flush().await.map_err(NoTunnel::Gone)?;
            }
            if !open {
                return Ok(First::Closed);
            }
        }
    }

    /// Closes in order, with the code for what has happened.
    async fn close(&mut self) {
        let words = self.send.close(CLOSE_NORMAL);
        let part = async {
            self.client.write_all(&words).await?;
            self.client.shutdown().await?;
            let mut rest = Vec::with_capacity(CHUNK);
            while self.client.read_buf(&mut rest).await? > 0 {
                rest.clear();
            }
            Ok::<_, std::io::Error>(())
        };
        // Whoever does not hear it has gone already.
        let _ = timeout_at(Instant::now() + SILENCE, part).await;
    }
}
