//! Mux.Cool on the client half: which connection carries which session.

use super::{NoTunnel, Shared, web};
use crate::config::{ClientDisguise, WebConfig};
use crate::net::{balance, watchdog};
use crate::relay::{Outcome, Transport, reset};
use crate::telemetry;
use crate::transport::mux::{Dial, Fresh, Incoming, Mux};
use crate::wire::mux::Encoder;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::warn;

/// The most sessions in a connection's life, as v2ray's client has it.
const LIFE: usize = 128;

/// The most connections that are kept without sessions: enough for the next page of a browser. After a
/// burst the others close at once.
const SPARE: usize = 8;

/// The connections that may take further sessions.
#[derive(Debug, Default)]
pub(super) struct Pool(Arc<Mutex<Vec<Connection>>>);

/// A connection, seen from the outside.
#[derive(Debug)]
struct Connection {
    fresh: mpsc::Sender<Fresh>,
    /// Sessions that run now.
    running: Arc<AtomicUsize>,
    /// Sessions that it has been given in its life.
    given: usize,
}

impl Pool {
    /// Gives the session to a connection that has room. Returns it, with the channel of a new
    /// connection to be made for it, where there is none.
    fn give(&self, mut session: Fresh, most: usize) -> Option<Sessions> {
        let mut connections = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        connections.retain(|connection| !connection.fresh.is_closed() && connection.given < LIFE);
        for connection in connections.iter_mut() {
            if connection.running.load(Ordering::Acquire) >= most {
                continue;
            }
            connection.running.fetch_add(1, Ordering::AcqRel);
            connection.given += 1;
            match connection.fresh.try_send(session) {
                Ok(()) => return None,
                Err(error) => session = error.into_inner(),
            }
        }
        let (fresh, inbox) = mpsc::channel(most);
        let running = Arc::new(AtomicUsize::new(1));
        let pool = Pool(Arc::clone(&self.0));
        let sessions = Sessions { inbox, running: Arc::clone(&running), first: Some(session), most, pool };
        connections.push(Connection { fresh, running, given: 1 });
        Some(sessions)
    }

    /// Takes note of the end of a session. Returns whether its connection is one too many without any.
    fn ended(&self, running: &AtomicUsize) -> bool {
        let connections = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |connection: &&Connection| {
            !connection.fresh.is_closed() && connection.running.load(Ordering::Acquire) == 0
        };
        running.fetch_sub(1, Ordering::AcqRel) == 1 && connections.iter().filter(idle).count() > SPARE
    }
}

/// The sessions for one connection.
struct Sessions {
    inbox: mpsc::Receiver<Fresh>,
    running: Arc<AtomicUsize>,
    first: Option<Fresh>,
    most: usize,
    pool: Pool,
}

impl Sessions {
    /// The next session that was given to this connection and that it has not begun. No others are taken.
    async fn left(&mut self) -> Option<Fresh> {
        self.inbox.close();
        match self.first.take() {
            Some(first) => Some(first),
            None => self.inbox.recv().await,
        }
    }
}

impl Incoming for &mut Sessions {
    const SERVER: bool = false;

    fn poll_session(&mut self, cx: &mut Context<'_>) -> Poll<Option<Fresh>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => self.inbox.poll_recv(cx),
        }
    }

    fn close(&mut self) {
        self.inbox.close();
    }

    fn dial(&mut self) -> Option<Dial> {
        None
    }

    fn ended(&mut self) {
        if self.pool.ended(&self.running) {
            self.inbox.close();
        }
    }

    fn may_be_many(&self) -> bool {
        self.most > 1
    }
}

impl Shared {
    /// Carries a session in one of the connections; makes one where none has room.
    pub(super) fn carry(self: &Arc<Shared>, app: TcpStream, first: Vec<u8>, peer: SocketAddr) {
        let ClientDisguise::Web(config) = &self.config.disguise else { return };
        let Some(mut sessions) = self.pool.give(Fresh { socket: app, first, peer }, config.mux) else {
            return;
        };
        let shared = Arc::clone(self);
        balance::spawn(watchdog::watched(Some(peer), async move {
            let ClientDisguise::Web(config) = &shared.config.disguise else { return };
            let began = Instant::now();
            let result = shared.connection(config, &mut sessions).await;
            if let Ok(outcome) = &result {
                telemetry::tunnel_ended(peer, "mux connection", began, outcome);
            }
            // Sessions that came when there was no connection yet, or none any more.
            while let Some(Fresh { socket, first, peer }) = sessions.left().await {
                match &result {
                    Ok(_) => shared.carry(socket, first, peer),
                    Err(error) => {
                        warn!(%peer, %error, "no tunnel");
                        reset(&socket);
                    }
                }
            }
        }));
    }

    async fn connection(&self, config: &WebConfig, sessions: &mut Sessions) -> Result<Outcome, NoTunnel> {
        let server = self.dial(&[]).await?.0;
        match &self.tls {
            None => self.mux(config, server, sessions).await,
            Some(tls) => self.mux(config, tls.connect(server).await?, sessions).await,
        }
    }

    async fn mux<S: Transport>(
        &self,
        config: &WebConfig,
        server: S,
        sessions: &mut Sessions,
    ) -> Result<Outcome, NoTunnel> {
        // With early data, the first session's first frame goes with the request, as far as it fits: its
        // head is not to be cut.
        let early = match &sessions.first {
            Some(fresh) if config.early_data >= Encoder::HEAD && !fresh.first.is_empty() => {
                sessions.first.take()
            }
            _ => None,
        };
        let mut encoder = Encoder::client(1);
        let mut frame = vec![0; Encoder::HEAD];
        if let Some(fresh) = &early {
            frame.extend_from_slice(&fresh.first);
            let start = encoder.encode(&mut frame);
            frame.drain(..start);
        } else {
            frame.clear();
        }
        let handoff = match web::open(config, server, &mut frame).await {
            Ok(handoff) => handoff,
            Err(error) => {
                // It is told with the others.
                sessions.first = early.or(sessions.first.take());
                return Err(error);
            }
        };
        let mut mux = Mux::new(handoff, sessions, self.patience);
        if let Some(fresh) = early {
            mux = mux.with_first(fresh, encoder, &frame);
        }
        Ok(mux.run().await)
    }
}
