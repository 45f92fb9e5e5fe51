//! The sessions of a client: a connection of their own, so that a flood of packets holds up no tunnel.

use super::super::client::UNUSED;
use super::super::connector::Connector;
use super::super::heard::Heard;
use super::super::keep_alive::keep_alive;
use super::super::{CLIENT_IDLE, CODE, transport_config, windows};
use super::{Incoming, Outgoing, STREAMS, allow, poll_port};
use crate::config::QuicClientConfig;
use crate::metrics::PacketDropped;
use crate::net::Dialer;
use crate::net::conn_info::ConnInfo;
use crate::relay::{End, Outcome};
use crate::telemetry::{Kind, Record, Target};
use crate::transport::tls::TlsError;
use crate::transport::usage::{InUse, Usage};
use crate::udp::{Ended, IDLE, Packets, Port, dropped};
use quinn::Connection;
use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::consume_budget;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

/// Nobody dials for so long after it was in vain, and after a server was found to take no UDP.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_OF_NOT_TAKEN: Duration = Duration::from_secs(60);

/// What a connection may bring in streams that is not read yet.
const WINDOW: usize = STREAMS as usize * 64 * 1024;

/// Carries UDP sessions in QUIC.
pub struct QuicPackets {
    connector: Connector,
    window: usize,
    /// The connection for packets that come now.
    current: Mutex<Option<Arc<Link>>>,
    /// Until when nobody dials, and as what packets count that come until then.
    pause: Mutex<Option<(Instant, PacketDropped)>>,
    /// One dials for all who wait.
    dialling: tokio::sync::Mutex<()>,
    /// The server was dialled in vain, and that was told.
    is_told: Mutex<bool>,
}

/// A connection that stands.
#[derive(Debug)]
struct Link {
    connection: Connection,
    outgoing: Outgoing,
    usage: Arc<Usage>,
    heard: Heard,
    flows: Mutex<Flows>,
}

/// The flows of a connection. No number is used again.
#[derive(Debug, Default)]
struct Flows {
    next: u64,
    ports: HashMap<u64, Arc<Mutex<Port>>>,
}

/// A session's flow in a connection, until this is dropped.
#[derive(Debug)]
struct Flow {
    link: Arc<Link>,
    number: u64,
    in_use: InUse,
}

impl fmt::Debug for QuicPackets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicPackets").field("server", self.server()).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl QuicPackets {
    /// Carries sessions to what the dialer dials.
    ///
    /// # Errors
    ///
    /// The roots for TLS cannot be had.
    pub fn new(config: QuicClientConfig, dialer: Dialer) -> Result<QuicPackets, TlsError> {
        let window = windows::of_client().min(WINDOW);
        let mut transport = transport_config(config.congestion, window, CLIENT_IDLE, 0);
        allow(&mut transport);
        Ok(QuicPackets {
            connector: Connector::new(config, dialer, transport)?,
            window,
            current: Mutex::default(),
            pause: Mutex::default(),
            dialling: Default::default(),
            is_told: Mutex::default(),
        })
    }

    /// The servers that are dialled, for people.
    pub fn server(&self) -> &Arc<str> {
        self.connector.server()
    }

    /// Carries what a port's source says, and hears, until its session is over. To be called in a runtime.
    pub fn carry(self: &Arc<Self>, port: Port) {
        tokio::spawn(Arc::clone(self).serve(port));
    }

    async fn serve(self: Arc<Self>, port: Port) {
        let target = Target { role: "server", address: Arc::clone(self.server()) };
        let record = port
            .source()
            .map(|source| Record::of(Kind::UDP, ConnInfo::new(source.address), Instant::now()).to(target));
        let mut idle = pin!(sleep_until(port.idle_at()));
        let port = Arc::new(Mutex::new(port));
        let mut packets = Packets::default();
        let mut flow: Option<Flow> = None;
        let ended = loop {
            let next = poll_fn(|cx| poll_port(&mut lock(&port), &mut packets, idle.as_mut(), cx));
            if let Err(ended) = next.await {
                break ended;
            }
            // (nothing else makes way for other tasks where packets come without a pause)
            consume_budget().await;
            match self.flow(flow.take(), &port).await {
                Ok(found) => {
                    found.send(&mut packets);
                    flow = Some(found);
                }
                Err(why) => {
                    dropped(why, packets.len());
                    packets.clear();
                }
            }
        };
        drop(flow);
        let (up, down) = lock(&port).up_and_down();
        let end = match ended {
            Ended::Idle => End::Idle(IDLE),
            Ended::Forgotten => End::Closed,
        };
        if let Some(record) = record {
            record.ended(&Outcome { up, down, end, closing: None });
        }
    }

    /// A flow for a session: the one that it has, as long as its connection is the one for packets that come now.
    async fn flow(&self, flow: Option<Flow>, port: &Arc<Mutex<Port>>) -> Result<Flow, PacketDropped> {
        let link = self.link().await?;
        match flow {
            Some(flow) if Arc::ptr_eq(&flow.link, &link) => Ok(flow),
            _ => Ok(Flow::new(link, Arc::clone(port))),
        }
    }

    /// The connection for packets that come now, which this one dials, or another who waits for it.
    async fn link(&self) -> Result<Arc<Link>, PacketDropped> {
        if let Some(link) = self.current() {
            return Ok(link);
        }
        self.check_pause()?;
        let _turn = self.dialling.lock().await;
        if let Some(link) = self.current() {
            return Ok(link);
        }
        self.check_pause()?;
        let link = self.dial().await.inspect_err(|&why| {
            let pause = if why == PacketDropped::NotTaken { PAUSE_OF_NOT_TAKEN } else { PAUSE };
            *lock(&self.pause) = Some((Instant::now() + pause, why));
        })?;
        let before = lock(&self.current).replace(Arc::clone(&link));
        if let Some(before) = before.filter(|before| before.usage.tunnels() == 0) {
            before.close();
        }
        Ok(link)
    }

    fn current(&self) -> Option<Arc<Link>> {
        let current = lock(&self.current);
        current.as_ref().filter(|link| link.is_usable()).cloned()
    }

    fn check_pause(&self) -> Result<(), PacketDropped> {
        match *lock(&self.pause) {
            Some((until, why)) if Instant::now() < until => Err(why),
            _ => Ok(()),
        }
    }

    async fn dial(&self) -> Result<Arc<Link>, PacketDropped> {
        let connection = self.connector.connect().await.map_err(|error| {
            if std::mem::replace(&mut lock(&self.is_told), true) {
                debug!(%error, "no connection for UDP");
            } else {
                warn!(%error, "no connection for UDP");
            }
            PacketDropped::Server
        })?;
        *lock(&self.is_told) = false;
        let outgoing = Outgoing::new(connection.clone());
        if !outgoing.is_possible() {
            connection.close(CODE, b"");
            return Err(PacketDropped::NotTaken);
        }
        let (usage, heard) = (Usage::new(), Heard::new(connection.clone()));
        let window = windows::window(self.window);
        let alive = keep_alive(connection.clone(), Arc::clone(&usage), move || window);
        let link = Arc::new(Link { connection, outgoing, usage, heard, flows: Mutex::default() });
        tokio::spawn(Arc::clone(&link).receive());
        tokio::spawn(async move {
            let (ended, sessions) = alive.await;
            debug!(%ended, sessions, "a connection for UDP has ended");
        });
        Ok(link)
    }

    /// The connection ends under its sessions.
    #[cfg(all(test, feature = "server", feature = "metrics"))]
    pub(super) fn end_connection(&self) {
        lock(&self.current).as_ref().unwrap().close();
    }

    /// Ends what nobody uses.
    pub fn retire(&self) {
        if let Some(link) = &*lock(&self.current)
            && link.usage.unused_for().is_some()
        {
            link.close();
        }
    }

    /// Ends all connections, and waits a moment for their server to hear of it.
    pub async fn close(&self) {
        self.connector.close().await;
    }
}

impl Link {
    fn is_usable(&self) -> bool {
        let is_old = self.usage.unused_for().is_some_and(|time| time >= UNUSED);
        if is_old {
            self.close();
        }
        !is_old && self.connection.close_reason().is_none() && self.heard.answers()
    }

    fn close(&self) {
        self.connection.close(CODE, b"");
    }

    /// Gives what comes to the sources whose flows it comes in.
    async fn receive(self: Arc<Self>) {
        let mut incoming = Incoming::new(self.connection.clone());
        while let Ok((flow, packets)) = incoming.next().await {
            self.heard.note_heard();
            self.usage.note_activity();
            let port = lock(&self.flows).ports.get(&flow).cloned();
            if let Some(port) = port {
                lock(&port).send(packets);
            }
        }
    }
}

impl Flow {
    fn new(link: Arc<Link>, port: Arc<Mutex<Port>>) -> Flow {
        let in_use = link.usage.one_more();
        let mut flows = lock(&link.flows);
        let number = flows.next;
        flows.next += 1;
        flows.ports.insert(number, port);
        drop(flows);
        Flow { link, number, in_use }
    }

    fn send(&self, packets: &mut Packets) {
        self.link.outgoing.send(self.number, packets);
        self.link.heard.note_said();
        self.in_use.note_activity();
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        lock(&self.link.flows).ports.remove(&self.number);
        // The last one of a connection on which the server does not answer, and that another has replaced.
        if self.link.usage.tunnels() <= 1 && !self.link.heard.answers() {
            self.link.close();
        }
    }
}
