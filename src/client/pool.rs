//! Mux.Cool on the client half: which connection carries which session.

use super::Client;
use crate::config::WebConfig;
use crate::mux::{Dial, Fresh, Incoming, Mux};
use crate::relay::{Outcome, reset};
use crate::runtime::{balance, watchdog};
use crate::telemetry;
use crate::transport::NotOpened;
use crate::wire::mux::Encoder;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{debug, warn};

/// The most sessions in a connection's life, as v2ray's client has it.
const LIFE: usize = 128;

/// The most connections that are kept without sessions: enough for the next page of a browser. After a
/// burst the others close at once.
const SPARE: usize = 8;

/// How long a session waits for the answer to a ping on a connection that was quiet before another one
/// takes it, at least and at most.
const PONG_TIMEOUT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3));

/// The connections that may take further sessions.
#[derive(Debug, Default)]
pub(super) struct Pool {
    connections: Mutex<Vec<Connection>>,
    /// The server does not answer pings, so their answers are not waited for.
    deaf: AtomicBool,
    /// When the latest ping was sent that was answered.
    answered: Mutex<Option<Instant>>,
}

/// A connection, seen from the outside.
#[derive(Debug)]
struct Connection {
    fresh: mpsc::Sender<Fresh>,
    /// Sessions that run now.
    running: Arc<AtomicUsize>,
    /// Sessions that it has been given in its life.
    given: usize,
    made: Instant,
    /// The server does not answer on it.
    doubtful: Arc<AtomicBool>,
}

impl Connection {
    fn is_open(&self) -> bool {
        !self.fresh.is_closed() && self.given < LIFE
    }

    /// Whether it can be thought to work, and is younger than that.
    fn is_good(&self, younger_than: Option<Instant>) -> bool {
        !self.doubtful.load(Ordering::Acquire) && younger_than.is_none_or(|than| self.made > than)
    }
}

impl Pool {
    fn connections(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answered(&self) -> MutexGuard<'_, Option<Instant>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the session to a connection that has room, and is younger than that. Returns it, with the
    /// channel of a new connection to be made for it, where there is none.
    fn give(
        shared: &Arc<Client>,
        mut session: Fresh,
        most: usize,
        younger_than: Option<Instant>,
    ) -> Option<Sessions> {
        let mut connections = shared.pool.connections();
        connections.retain(Connection::is_open);
        for connection in connections.iter_mut() {
            if connection.running.load(Ordering::Acquire) >= most || !connection.is_good(younger_than) {
                continue;
            }
            connection.running.fetch_add(1, Ordering::AcqRel);
            connection.given += 1;
            match connection.fresh.try_send(session) {
                Ok(()) => return None,
                Err(error) => session = error.into_inner(),
            }
        }
        Some(Pool::add(shared, &mut connections, Some(session), most))
    }

    /// A connection that is to be made without a session, where there is none that is younger than that.
    fn another(shared: &Arc<Client>, most: usize, younger_than: Instant) -> Option<Sessions> {
        let mut connections = shared.pool.connections();
        connections.retain(Connection::is_open);
        let there = connections.iter().any(|connection| connection.is_good(Some(younger_than)));
        (!there).then(|| Pool::add(shared, &mut connections, None, most))
    }

    /// Adds a connection that is to be made.
    fn add(
        shared: &Arc<Client>,
        connections: &mut Vec<Connection>,
        first: Option<Fresh>,
        most: usize,
    ) -> Sessions {
        let (fresh, inbox) = mpsc::channel(most);
        let given = usize::from(first.is_some());
        let running = Arc::new(AtomicUsize::new(given));
        let doubtful = Arc::new(AtomicBool::new(false));
        let to_be_proved = connections.iter().any(|connection| connection.doubtful.load(Ordering::Acquire));
        let made = Instant::now();
        let sessions = Sessions {
            inbox,
            running: Arc::clone(&running),
            first,
            most,
            doubtful: Arc::clone(&doubtful),
            to_be_proved,
            made,
            opened_in: Duration::ZERO,
            shared: Arc::clone(shared),
        };
        connections.push(Connection { fresh, running, given, made, doubtful });
        sessions
    }

    /// Takes note of the end of a session. Returns whether its connection is one too many without any.
    fn ended(&self, running: &AtomicUsize) -> bool {
        let connections = self.connections();
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
    doubtful: Arc<AtomicBool>,
    /// There are connections on which the server does not answer: does it on this one?
    to_be_proved: bool,
    made: Instant,
    /// How long it took until there was a connection.
    opened_in: Duration,
    shared: Arc<Client>,
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
        if self.shared.pool.ended(&self.running) {
            self.inbox.close();
        }
    }

    fn is_to_be_proved(&self) -> bool {
        self.to_be_proved
    }

    fn is_deaf(&self) -> bool {
        self.shared.pool.deaf.load(Ordering::Acquire)
    }

    fn found_deaf(&mut self) {
        if !self.shared.pool.deaf.swap(true, Ordering::AcqRel) {
            debug!("the server answers no pings: connections whose way is dead are found by TCP alone");
        }
    }

    fn found_alive(&mut self, asked: Instant) {
        let pool = &self.shared.pool;
        pool.deaf.store(false, Ordering::Release);
        let mut answered = pool.answered();
        *answered = (*answered).max(Some(asked));
    }

    fn others_answer(&self, asked: Instant) -> bool {
        self.shared.pool.answered().is_some_and(|answered| answered > asked)
    }

    fn set_doubtful(&mut self, doubtful: bool) {
        self.doubtful.store(doubtful, Ordering::Release);
    }

    fn give_back(&mut self, session: Fresh, asked: Instant) {
        self.ended();
        self.shared.carry_in(session, Some(asked));
    }

    fn want_another(&mut self, asked: Instant, peer: Option<SocketAddr>) {
        let Some(peer) = peer else { return };
        if let Some(sessions) = Pool::another(&self.shared, self.most, asked) {
            self.shared.open_connection(sessions, peer);
        }
    }

    fn pong_timeout(&self) -> Duration {
        // A way on which it took long to open a connection has long round trips.
        (2 * self.opened_in).clamp(PONG_TIMEOUT.0, PONG_TIMEOUT.1)
    }

    fn may_be_many(&self) -> bool {
        self.most > 1
    }
}

impl Client {
    /// Carries a session in one of the connections; makes one where none has room.
    pub(super) fn carry(self: &Arc<Client>, app: TcpStream, first: Vec<u8>, peer: SocketAddr) {
        self.carry_in(Fresh { socket: app, first, peer }, None);
    }

    /// Carries a session in a connection that is younger than that.
    fn carry_in(self: &Arc<Client>, session: Fresh, younger_than: Option<Instant>) {
        let Some(config) = self.opener.mux() else { return };
        let peer = session.peer;
        if let Some(sessions) = Pool::give(self, session, config.mux, younger_than) {
            self.open_connection(sessions, peer);
        }
    }

    /// Makes a connection and serves it. `peer` is for whom, for the log.
    fn open_connection(self: &Arc<Client>, mut sessions: Sessions, peer: SocketAddr) {
        let shared = Arc::clone(self);
        balance::spawn(watchdog::watched(Some(peer), async move {
            let Some(config) = shared.opener.mux() else { return };
            let began = Instant::now();
            let result = shared.mux(config, &mut sessions).await;
            match &result {
                Ok(outcome) => telemetry::tunnel_ended(peer, "mux connection", began, outcome),
                // Whose session it has is told below.
                Err(error) => debug!(%peer, %error, "no mux connection"),
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

    async fn mux(&self, config: &WebConfig, sessions: &mut Sessions) -> Result<Outcome, NotOpened> {
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
            match encoder.encode_in_place(&mut frame) {
                Ok(start) => drop(frame.drain(..start)),
                Err(error) => {
                    sessions.first = early;
                    return Err(NotOpened::Malformed(error.into()));
                }
            }
        } else {
            frame.clear();
        }
        let handoff = match self.opener.websocket(config, &mut frame).await {
            Ok(handoff) => handoff,
            Err(error) => {
                // It is told with the others.
                sessions.first = early.or(sessions.first.take());
                return Err(error);
            }
        };
        sessions.opened_in = sessions.made.elapsed();
        let mut mux = Mux::new(handoff, sessions, self.timeouts);
        if let Some(fresh) = early {
            mux = mux.with_first(fresh, encoder, &frame);
        }
        Ok(mux.run().await)
    }
}
