//! The connections of a client, and which of them carries which session.

use super::engine::Engine;
use super::source::{App, NewSession, SessionSource, Start};
use crate::metrics::{self, PacketDropped};
use crate::net::conn_info::ConnInfo;
use crate::relay::{Outcome, Timeouts};
use crate::runtime::admission::{OwnPlace, SessionPlace};
use crate::runtime::{balance, watchdog};
use crate::telemetry::{Kind, Record, Target};
use crate::transport::framed::Framed;
use crate::transport::framing::Framing;
#[cfg(feature = "grpc")]
use crate::transport::grpc::{self, GrpcOpener, Hunks};
use crate::transport::websocket::WebSocket;
use crate::transport::{NotOpened, Stream, WebOpener};
use crate::udp::{self, Pause, Port};
use crate::wire::mux::Encoder;
use crate::wire::websocket::Role;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
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

/// A connection, and what tells of its server; or why there is none.
pub type Opened<F, W> = Result<(Framed<Stream, F>, W), NotOpened>;

/// Opens connections that carry sessions.
pub trait OpenLink: Send + Sync + 'static {
    /// What their bytes mean.
    type Framing: Framing + Send + 'static;

    /// Whether a server may answer a ping.
    const HAS_PINGS: bool = true;

    /// What tells of a server that cannot be asked.
    type Way: Way;

    /// Opens one. As much of `early` as can go with the handshake does, and is taken from it.
    fn open(&self, early: &mut Vec<u8>) -> impl Future<Output = Opened<Self::Framing, Self::Way>> + Send;

    /// To what it opens them, for the logs.
    fn server(&self) -> &Arc<str>;

    /// None is opened any more.
    fn retire(&self) {}
}

/// How far the way to a server works, where there are no pings that tell.
pub trait Way: Send + Sync + 'static {
    /// Whether the server can be thought to be there.
    fn answers(&self) -> bool;
}

/// Pings tell.
impl Way for () {
    fn answers(&self) -> bool {
        true
    }
}

#[cfg(feature = "grpc")]
impl Way for grpc::Way {
    fn answers(&self) -> bool {
        self.answers()
    }
}

impl OpenLink for WebOpener {
    type Framing = WebSocket;
    type Way = ();

    async fn open(&self, early: &mut Vec<u8>) -> Opened<WebSocket, ()> {
        Ok((self.websocket(early).await?, ()))
    }

    fn server(&self) -> &Arc<str> {
        self.server()
    }
}

#[cfg(feature = "grpc")]
impl OpenLink for GrpcOpener {
    type Framing = Hunks;
    type Way = grpc::Way;

    const HAS_PINGS: bool = false;

    async fn open(&self, _: &mut Vec<u8>) -> Opened<Hunks, grpc::Way> {
        self.hunks().await
    }

    fn server(&self) -> &Arc<str> {
        self.server()
    }

    fn retire(&self) {
        self.retire();
    }
}

/// The connections that may take further sessions.
#[derive(Debug)]
pub struct Pool<O: OpenLink> {
    opener: O,
    /// Sessions of a connection at a time.
    most: usize,
    /// How many bytes may go with the handshake.
    early_data: usize,
    timeouts: Timeouts,
    members: Mutex<Vec<Member<O::Way>>>,
    /// No connection is given another session.
    is_retired: AtomicBool,
    /// Sources have no session, since the server could not be reached, or takes no UDP.
    pause: Pause,
    /// The server does not answer pings, so their answers are not waited for.
    deaf: AtomicBool,
    /// When the latest ping was sent that was answered.
    answered: Mutex<Option<Instant>>,
}

/// A connection, seen from the outside.
struct Member<W> {
    sender: mpsc::Sender<NewSession>,
    /// Sessions that it has been given in its life.
    given: usize,
    health: Arc<Health<W>>,
}

impl<W> std::fmt::Debug for Member<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("given", &self.given).finish_non_exhaustive()
    }
}

/// What a connection tells of itself.
struct Health<W> {
    made: Instant,
    /// Sessions that run now.
    running: AtomicUsize,
    /// The server does not answer on it.
    doubtful: AtomicBool,
    /// Once it stands.
    way: OnceLock<W>,
    /// That of one of its sessions.
    own: OwnPlace,
}

impl<W> Health<W> {
    /// Has a session take the place that is counted with the connection, if that is free.
    fn place(&self, session: &mut NewSession) {
        if session.is_stream() {
            session.start.place = Some(self.own.take().unwrap_or_else(SessionPlace::of_accepted));
        }
    }
}

impl<W: Way> Member<W> {
    fn is_open(&self) -> bool {
        !self.sender.is_closed() && self.given < LIFE
    }

    /// Whether it can be thought to work, and is younger than that.
    fn is_good(&self, younger_than: Option<Instant>) -> bool {
        !self.health.doubtful.load(Ordering::Acquire)
            && self.health.way.get().is_none_or(Way::answers)
            && younger_than.is_none_or(|than| self.health.made > than)
    }

    /// Gives it a session. Returns it where there is no room.
    fn give(&mut self, mut session: NewSession, most: usize) -> Option<NewSession> {
        if self.health.running.load(Ordering::Acquire) >= most {
            return Some(session);
        }
        self.health.place(&mut session);
        self.health.running.fetch_add(1, Ordering::AcqRel);
        self.given += 1;
        self.sender.try_send(session).err().map(mpsc::error::TrySendError::into_inner)
    }
}

impl<O: OpenLink> Pool<O> {
    /// A pool whose connections carry at most so many sessions at a time.
    pub fn new(opener: O, most: usize, early_data: usize, timeouts: Timeouts) -> Pool<O> {
        let (members, pause, deaf, answered) = Default::default();
        let is_retired = AtomicBool::default();
        Pool { opener, most, early_data, timeouts, members, is_retired, pause, deaf, answered }
    }

    /// Carries a session in one of the connections; makes one where none has room.
    pub fn carry(self: &Arc<Self>, app: TcpStream, first: Vec<u8>, peer: SocketAddr) {
        self.carry_in(NewSession::new(app, first, peer), None);
    }

    /// Carries what a source says over UDP, and hears. Packets may come at any rate, so no connection is tried for a moment
    /// after one has failed.
    pub fn carry_packets(self: &Arc<Self>, port: Port, peer: SocketAddr) {
        if self.pause.drops() {
            return;
        }
        self.carry_in(NewSession::of_packets(port, peer), None);
    }

    /// Gives no connection another session: each ends once it has none.
    pub fn retire(&self) {
        self.is_retired.store(true, Ordering::Release);
        self.members().clear();
        self.opener.retire();
    }

    /// What opens the connections.
    pub fn opener(&self) -> &O {
        &self.opener
    }

    /// Carries a session in a connection that is younger than that.
    fn carry_in(self: &Arc<Self>, session: NewSession, younger_than: Option<Instant>) {
        let peer = session.start.peer;
        if let Some(inbox) = self.place(Some(session), younger_than) {
            self.open_connection(inbox, peer);
        }
    }

    /// Finds a connection that can be thought to work, has room, and is younger than that, and gives it the
    /// session, if there is one. Where there is none, one is to be made, and has the session first.
    fn place(
        self: &Arc<Self>,
        mut session: Option<NewSession>,
        younger_than: Option<Instant>,
    ) -> Option<Inbox<O>> {
        let mut members = self.members();
        members.retain(|member| member.is_open());
        for member in members.iter_mut().filter(|member| member.is_good(younger_than)) {
            // Without a session it is enough that there is one.
            session = Some(member.give(session?, self.most)?);
        }
        let (sender, receiver) = mpsc::channel(self.most);
        let given = usize::from(session.is_some());
        let (made, running, doubtful) = (Instant::now(), given.into(), false.into());
        let health =
            Arc::new(Health { made, running, doubtful, way: OnceLock::new(), own: OwnPlace::default() });
        if let Some(session) = &mut session {
            health.place(session);
        }
        let to_be_proved = members.iter().any(|member| member.health.doubtful.load(Ordering::Acquire));
        if !self.is_retired.load(Ordering::Acquire) {
            members.push(Member { sender, given, health: Arc::clone(&health) });
        }
        let (pool, opened_in) = (Arc::clone(self), Duration::ZERO);
        Some(Inbox { receiver, first: session, health, to_be_proved, opened_in, pool })
    }

    fn members(&self) -> MutexGuard<'_, Vec<Member<O::Way>>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a connection and serves it. `peer` is for whom, for the log.
    fn open_connection(self: &Arc<Self>, mut inbox: Inbox<O>, peer: SocketAddr) {
        let pool = Arc::clone(self);
        balance::spawn(watchdog::watched(Some(peer), async move {
            let record = Record::of(Kind::Mux, ConnInfo::new(peer), Instant::now()).unlisted();
            let result = pool.serve(&mut inbox).await;
            let is_news = result.is_err() && pool.pause.begin(PacketDropped::Server);
            match &result {
                Ok(outcome) => record.ended(outcome),
                // Whose session it has is told below.
                Err(error) => debug!(%peer, %error, "mux connection failed"),
            }
            // Sessions that came when there was no connection yet, or none any more.
            while let Some(session) = inbox.left().await {
                let NewSession { app, start: Start { peer, began, .. } } = &session;
                match &result {
                    Ok(_) => pool.carry_in(session, None),
                    Err(error) => {
                        match app {
                            App::Stream(_) => warn!(%peer, stage = error.stage(), %error, "tunnel failed"),
                            // (others come at any rate, and are told by their number)
                            App::Packets(_) if is_news => {
                                warn!(%peer, stage = error.stage(), %error, "UDP session failed");
                            }
                            App::Packets(_) => {}
                        }
                        app.refuse();
                        metrics::connection_failed(error.failure());
                        pool.record(session.kind(), *peer, *began).failed("failed", error);
                    }
                }
            }
        }));
    }

    async fn serve(&self, inbox: &mut Inbox<O>) -> Result<Outcome, NotOpened> {
        // With early data, the first session's first frame goes with the request, as far as it fits: its
        // head is not to be cut.
        let mut encoder = Encoder::client(1);
        let mut frame = match &inbox.first {
            Some(session) if !session.start.first.is_empty() && self.early_data >= Encoder::HEAD => {
                session.first_frame(&mut encoder).unwrap_or_default()
            }
            _ => Vec::new(),
        };
        let with_handshake = !frame.is_empty();
        let (handoff, way) = self.opener.open(&mut frame).await?;
        let _ = inbox.health.way.set(way);
        inbox.opened_in = inbox.health.made.elapsed();
        let _open = metrics::mux_connection_opened(inbox.opened_in);
        let early = inbox.first.take_if(|_| with_handshake);
        let mut engine = Engine::new(handoff, inbox, self.timeouts);
        if let Some(early) = early {
            engine.begin_session(early, encoder, &frame);
        }
        Ok(engine.run().await)
    }

    /// Takes note of the end of a session. Returns whether its connection is one too many without any.
    fn ended(&self, health: &Health<O::Way>) -> bool {
        let members = self.members();
        let idle = |member: &&Member<O::Way>| {
            !member.sender.is_closed() && member.health.running.load(Ordering::Acquire) == 0
        };
        health.running.fetch_sub(1, Ordering::AcqRel) == 1 && members.iter().filter(idle).count() > SPARE
    }

    /// Of an application whose session it was.
    fn record(&self, kind: Kind, peer: SocketAddr, began: Instant) -> Record {
        let target = Target { role: "server", address: Arc::clone(self.opener.server()) };
        Record::of(kind, ConnInfo::new(peer), began).to(target)
    }

    fn answered(&self) -> MutexGuard<'_, Option<Instant>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the sessions for one connection come in.
struct Inbox<O: OpenLink> {
    receiver: mpsc::Receiver<NewSession>,
    first: Option<NewSession>,
    health: Arc<Health<O::Way>>,
    /// There are connections on which the server does not answer: does it on this one?
    to_be_proved: bool,
    /// How long it took until there was a connection.
    opened_in: Duration,
    pool: Arc<Pool<O>>,
}

impl<O: OpenLink> Inbox<O> {
    /// The next session that was given to this connection and that it has not begun. No others are taken.
    async fn left(&mut self) -> Option<NewSession> {
        self.receiver.close();
        match self.first.take() {
            Some(first) => Some(first),
            None => self.receiver.recv().await,
        }
    }
}

impl<O: OpenLink> SessionSource for &mut Inbox<O> {
    const ROLE: Role = Role::Client;

    fn poll_session(&mut self, cx: &mut Context<'_>) -> Poll<Option<NewSession>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => self.receiver.poll_recv(cx),
        }
    }

    fn record(&self, kind: Kind, peer: Option<SocketAddr>, began: Instant) -> Option<Record> {
        Some(self.pool.record(kind, peer?, began))
    }

    fn close(&mut self) {
        self.receiver.close();
    }

    fn ended(&mut self) {
        if self.pool.ended(&self.health) {
            self.receiver.close();
        }
    }

    fn refuses_packets(&mut self) {
        udp::dropped(PacketDropped::NotTaken, 1);
        self.pool.pause.begin(PacketDropped::NotTaken);
    }

    fn is_to_be_proved(&self) -> bool {
        self.to_be_proved
    }

    fn is_deaf(&self) -> bool {
        !O::HAS_PINGS || self.pool.deaf.load(Ordering::Acquire)
    }

    fn found_deaf(&mut self) {
        if !self.pool.deaf.swap(true, Ordering::AcqRel) {
            debug!("the server answers no pings: connections whose way is dead are found by TCP alone");
        }
    }

    fn found_alive(&mut self, asked: Instant) {
        self.pool.deaf.store(false, Ordering::Release);
        let mut answered = self.pool.answered();
        *answered = (*answered).max(Some(asked));
    }

    fn others_answer(&self, asked: Instant) -> bool {
        self.pool.answered().is_some_and(|answered| answered > asked)
    }

    fn set_doubtful(&mut self, doubtful: bool) {
        self.health.doubtful.store(doubtful, Ordering::Release);
    }

    fn give_back(&mut self, session: NewSession, asked: Instant) {
        self.ended();
        self.pool.carry_in(session, Some(asked));
    }

    fn hand_on(&mut self, session: NewSession, since: Instant) {
        let peer = session.start.peer;
        self.ended();
        debug!(%peer, "the server was closing the connection: the session begins on another one");
        self.pool.carry_in(session, Some(since));
    }

    fn want_another(&mut self, asked: Instant, peer: SocketAddr) {
        if let Some(inbox) = self.pool.place(None, Some(asked)) {
            self.pool.open_connection(inbox, peer);
        }
    }

    fn pong_timeout(&self) -> Duration {
        // A way on which it took long to open a connection has long round trips.
        (2 * self.opened_in).clamp(PONG_TIMEOUT.0, PONG_TIMEOUT.1)
    }

    fn may_be_many(&self) -> bool {
        self.pool.most > 1
    }
}

#[cfg(test)]
mod tests;
