//! Where sessions come from, and where they go.

use crate::metrics::PacketDropped;
use crate::net::Dialer;
use crate::net::conn_info::ConnInfo;
use crate::net::dial::DialError;
use crate::net::limits::{Admitting, SessionLimits, Slot};
use crate::relay::{RelayStream as _, reset};
use crate::runtime::admission::{OwnPlace, SessionPlace};
use crate::telemetry::{Kind, Record, Target};
use crate::udp::{self, Port};
use crate::wire::FrameSizeError;
use crate::wire::mux::Encoder;
use crate::wire::websocket::Role;
use std::future::ready;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// A session that this end begins.
#[derive(Debug)]
pub(super) struct NewSession {
    /// Whose it is.
    pub(super) app: App,
    pub(super) start: Start,
}

/// How a session begins.
#[derive(Debug)]
pub(super) struct Start {
    /// What has been read from its connection.
    pub(super) first: Vec<u8>,
    /// Who it is, for the log.
    pub(super) peer: SocketAddr,
    /// When it spoke, or it was found that it waits for the other end to.
    pub(super) began: Instant,
    /// That of its connection.
    pub(super) place: Option<SessionPlace>,
    /// It began on a connection that the peer was just closing.
    pub(super) is_second_try: bool,
}

/// Whose session it is.
#[derive(Debug)]
pub(super) enum App {
    /// An application's, with this connection.
    Stream(TcpStream),
    /// A source's, over UDP.
    Packets(Box<Port>),
}

impl App {
    /// It gets no session.
    pub(super) fn refuse(&self) {
        match self {
            App::Stream(socket) => reset(socket),
            // (the source is forgotten when this is dropped)
            App::Packets(_) => udp::dropped(PacketDropped::Server, 1),
        }
    }

    pub(super) fn change_reactor(&mut self) {
        if let App::Stream(socket) = self {
            socket.change_reactor();
        }
    }
}

impl NewSession {
    /// Of an application that has just said this.
    pub(super) fn new(socket: TcpStream, first: Vec<u8>, peer: SocketAddr) -> NewSession {
        let place = Some(SessionPlace::of_accepted());
        let start = Start { first, peer, began: Instant::now(), place, is_second_try: false };
        NewSession { app: App::Stream(socket), start }
    }

    /// Of a source that has said something over UDP.
    pub(super) fn of_packets(port: Port, peer: SocketAddr) -> NewSession {
        let (first, place) = (Vec::new(), None);
        let start = Start { first, peer, began: Instant::now(), place, is_second_try: false };
        NewSession { app: App::Packets(Box::new(port)), start }
    }

    /// What it is in the logs.
    pub(super) fn kind(&self) -> Kind {
        if self.is_stream() { Kind::SESSION } else { Kind::UDP }
    }

    /// Whether its connection takes a descriptor.
    pub(super) fn is_stream(&self) -> bool {
        matches!(self.app, App::Stream(_))
    }

    /// The frame of Mux.Cool that opens the session, with what is said first.
    pub(super) fn first_frame(&self, encoder: &mut Encoder) -> Result<Vec<u8>, FrameSizeError> {
        if self.start.first.is_empty() {
            return Ok(encoder.open().map(Vec::from).unwrap_or_default());
        }
        let mut frame = vec![0; Encoder::HEAD];
        frame.extend_from_slice(&self.start.first);
        let start = encoder.encode_in_place(&mut frame)?;
        Ok(frame.split_off(start))
    }
}

/// A connection to the backend that is being made.
pub(super) type Dialling = Pin<Box<dyn Future<Output = Result<TcpStream, DialError>> + Send>>;

/// What a session waits for that the peer has begun.
pub(super) struct Connecting {
    /// A place among the tunnels that there may be. The backend is dialled when it is had.
    pub(super) admitting: Option<Admitting>,
    pub(super) dialling: Dialling,
    /// A place among the descriptors that there may be.
    pub(super) place: Option<SessionPlace>,
}

#[cfg(test)]
impl Connecting {
    /// Without limits.
    pub(super) fn new(
        dialling: impl Future<Output = Result<TcpStream, DialError>> + Send + 'static,
    ) -> Connecting {
        Connecting { admitting: None, dialling: Box::pin(dialling), place: None }
    }
}

/// Where the sessions of a connection come from or go to, and what its end has to know of other connections.
pub(super) trait SessionSource {
    /// Which end this is.
    const ROLE: Role;

    /// Whether this end begins the sessions.
    const IS_CLIENT: bool = matches!(Self::ROLE, Role::Client);

    /// A session that this end begins. `Ready(None)` when there will be no more.
    fn poll_session(&mut self, _cx: &mut Context<'_>) -> Poll<Option<NewSession>> {
        Poll::Ready(None)
    }

    /// What there is to tell of a session. `peer` is the application whose it is, if this end has begun it.
    fn record(&self, _kind: Kind, _peer: Option<SocketAddr>, _began: Instant) -> Option<Record> {
        None
    }

    /// A socket to Shadowsocks for a session of UDP that the peer has begun, and its place among the tunnels that there may
    /// be.
    ///
    /// # Errors
    ///
    /// Why its packets are dropped.
    fn open_for_packets(&mut self) -> Result<(udp::Backend, Option<Slot>), PacketDropped> {
        Err(PacketDropped::NotSet)
    }

    /// Whether the peer may begin sessions of UDP.
    fn takes_packets(&self) -> bool {
        false
    }

    /// No further sessions are wanted; those that are on their way still come.
    fn close(&mut self) {}

    /// A socket for a session that the peer has begun; `None` where the peer begins none.
    fn connect(&mut self) -> Option<Connecting> {
        None
    }

    fn ended(&mut self) {}

    /// The peer has ended a session of UDP by an error, in which it has said nothing: it takes none.
    fn refuses_packets(&mut self) {}

    /// Whether the connection begins with a ping, to show that the way works.
    fn is_to_be_proved(&self) -> bool {
        false
    }

    /// Whether the peer is known not to answer pings, so that they say nothing.
    fn is_deaf(&self) -> bool {
        false
    }

    /// The peer has sent payload, and no answer to a ping that it got before.
    fn found_deaf(&mut self) {}

    /// A ping that was sent at `asked` has been answered.
    fn found_alive(&mut self, _asked: Instant) {}

    /// Whether a ping on another connection was answered that was sent after `asked`.
    fn others_answer(&self, _asked: Instant) -> bool {
        false
    }

    /// Whether further sessions are better off elsewhere for now: the peer does not answer.
    fn set_doubtful(&mut self, _doubtful: bool) {}

    /// A session that has not begun, since the ping that was sent at `asked` goes unanswered: for a
    /// connection that is younger.
    fn give_back(&mut self, _session: NewSession, _asked: Instant) {}

    /// A session that the peer has not taken, since it was closing this connection, as it may be doing with others: for one
    /// that is younger than `since`.
    fn hand_on(&mut self, _session: NewSession, _since: Instant) {}

    /// There should be a connection that is younger than the ping of `asked`, to see whether the way works.
    /// `peer` is one of those who wait for this one, for the log.
    fn want_another(&mut self, _asked: Instant, _peer: SocketAddr) {}

    /// How long a session waits for the answer to a ping before another connection takes it.
    fn pong_timeout(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// Whether the sessions of this connection may ever be more than one at a time.
    fn may_be_many(&self) -> bool {
        true
    }
}

/// A server's backend, to which its sessions go.
#[derive(Debug)]
pub struct Backend {
    dialer: Arc<Dialer>,
    /// A connection that was made before it was known what comes.
    dialled: Option<TcpStream>,
    /// The places of the sessions, where tunnels are limited.
    limits: Option<SessionLimits>,
    /// Whose sessions they are, and where they go, for the logs.
    info: ConnInfo,
    target: Target,
    /// That of one of its sessions.
    own: OwnPlace,
    /// Whether sessions of UDP are taken.
    udp: bool,
}

impl Backend {
    /// Sessions of this client go there.
    pub fn new(
        dialer: Arc<Dialer>,
        dialled: Option<TcpStream>,
        limits: Option<SessionLimits>,
        info: ConnInfo,
        target: Target,
    ) -> Backend {
        Backend { dialer, dialled, limits, info, target, own: OwnPlace::default(), udp: false }
    }

    /// The same, which sessions of UDP go to as well where that is so.
    pub fn with_udp(self, udp: bool) -> Backend {
        Backend { udp, ..self }
    }
}

impl SessionSource for Backend {
    const ROLE: Role = Role::Server;

    fn record(&self, kind: Kind, _: Option<SocketAddr>, began: Instant) -> Option<Record> {
        Some(Record::of(kind, self.info, began).to(self.target.clone()))
    }

    fn open_for_packets(&mut self) -> Result<(udp::Backend, Option<Slot>), PacketDropped> {
        let slot = match &self.limits {
            Some(limits) => Some(limits.admit_packets().ok_or(PacketDropped::Sessions)?),
            None => None,
        };
        let backend = udp::Backend::open(&self.dialer).map_err(|error| match error {
            DialError::NoDescriptors => PacketDropped::Sessions,
            error => {
                tracing::debug!(%error, "cannot send to Shadowsocks over UDP");
                PacketDropped::Backend
            }
        })?;
        Ok((backend, slot))
    }

    fn takes_packets(&self) -> bool {
        self.udp
    }

    fn connect(&mut self) -> Option<Connecting> {
        let place = self.own.take().or_else(SessionPlace::of_dialled);
        let dialling: Dialling = match (self.dialled.take(), &place) {
            (Some(dialled), _) => Box::pin(ready(Ok(dialled))),
            (None, None) => Box::pin(ready(Err(DialError::NoDescriptors))),
            (None, Some(_)) => {
                let dialer = Arc::clone(&self.dialer);
                Box::pin(async move { dialer.connect().await })
            }
        };
        Some(Connecting { admitting: self.limits.as_mut().map(SessionLimits::admit), dialling, place })
    }
}
