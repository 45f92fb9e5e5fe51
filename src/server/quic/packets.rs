//! UDP sessions in QUIC datagrams: each flow of a connection has a socket to Shadowsocks.

use super::Server;
use crate::metrics::PacketDropped;
use crate::net::conn_info::ConnInfo;
use crate::net::dial::DialError;
use crate::net::limits::Slot;
use crate::relay::{End, Outcome};
use crate::service::Current;
use crate::telemetry::{Kind, Record, Target};
use crate::transport::quic::QuicConnection;
use crate::transport::quic::packets::{Incoming, Outgoing, poll_port};
use crate::transport::usage::InUse;
use crate::udp::{Backend, IDLE, Packets, Port, dropped};
use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, ready};
use tokio::task::{AbortHandle, consume_budget};
use tokio::time::{Instant, sleep};
use tracing::debug;

/// The most flows of a connection at a time: as many as a client of ours has sources.
const FLOWS: usize = 1024;

/// One in so many makes room for others when there are as many as there may be.
const MAKE_ROOM: usize = 16;

/// The flows of a connection.
struct Flows<'a> {
    current: &'a Current<Server>,
    connection: &'a QuicConnection,
    name: Option<&'a str>,
    outgoing: Arc<Outgoing>,
    known: HashMap<u64, Flow>,
}

/// A flow, which may have been forgotten since.
struct Flow {
    session: Session,
    answering: AbortHandle,
}

/// What there is of a flow, until it is forgotten.
type Session = Arc<Mutex<Option<Open>>>;

struct Open {
    port: Port,
    record: Record,
    in_use: InUse,
    _slot: Option<Slot>,
}

/// Serves the packets of a connection, until it ends.
pub(super) async fn serve(
    current: &Current<Server>,
    connection: &QuicConnection,
    name: Option<&str>,
    (mut incoming, outgoing): (Incoming, Outgoing),
) {
    let (outgoing, known) = (Arc::new(outgoing), HashMap::new());
    let mut flows = Flows { current, connection, name, outgoing, known };
    while let Ok((flow, packets)) = incoming.next().await {
        flows.send(flow, packets);
    }
    flows.known.drain().for_each(|(_, flow)| flow.forget());
}

fn lock(session: &Session) -> MutexGuard<'_, Option<Open>> {
    session.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Flows<'_> {
    /// Sends packets of a flow to Shadowsocks.
    fn send(&mut self, number: u64, packets: &mut Packets) {
        if let Some(flow) = self.known.get(&number)
            && let Some(open) = &mut *lock(&flow.session)
        {
            return open.send(packets);
        }
        self.known.remove(&number);
        if self.known.len() >= FLOWS {
            self.make_room();
        }
        match self.open() {
            Ok(mut open) => {
                open.send(packets);
                let session = Arc::new(Mutex::new(Some(open)));
                let answers = answer(Arc::clone(&session), Arc::clone(&self.outgoing), number);
                let answering = tokio::spawn(answers).abort_handle();
                self.known.insert(number, Flow { session, answering });
            }
            Err(why) => dropped(why, packets.len()),
        }
    }

    /// # Errors
    ///
    /// Why the packets are dropped: there is no place for it, or no way to Shadowsocks.
    fn open(&self) -> Result<Open, PacketDropped> {
        let server = self.current.get();
        let info = ConnInfo::new(self.connection.peer());
        let _slot = match &server.limits {
            Some(limits) => Some(limits.admit_packets(&info).ok_or(PacketDropped::Sessions)?),
            None => None,
        };
        let (role, backend) = server.backends.of_name(self.name);
        let target = Target { role, address: Arc::clone(backend.shown()) };
        let port = Backend::open(backend).map_err(|error| match error {
            DialError::NoDescriptors => PacketDropped::Sessions,
            error => {
                debug!(%error, "cannot send to Shadowsocks over UDP");
                PacketDropped::Backend
            }
        })?;
        let mut record = Record::of(Kind::UDP, info, Instant::now()).to(target);
        record.tls = true;
        Ok(Open { port: port.into(), record, in_use: self.connection.one_more(), _slot })
    }

    /// Forgets those that are over; and, if there are still too many, those that were silent longest.
    fn make_room(&mut self) {
        let mut idle_at = Vec::with_capacity(self.known.len());
        self.known.retain(|&number, flow| {
            let open = lock(&flow.session);
            idle_at.extend(open.as_ref().map(|open| (open.port.idle_at(), number)));
            open.is_some()
        });
        if idle_at.len() < FLOWS {
            return;
        }
        let few = FLOWS.div_ceil(MAKE_ROOM).min(idle_at.len());
        idle_at.select_nth_unstable(few - 1);
        for (_, number) in &idle_at[..few] {
            if let Some(flow) = self.known.remove(number) {
                flow.forget();
            }
        }
    }
}

impl Flow {
    fn forget(self) {
        self.answering.abort();
        if let Some(open) = lock(&self.session).take() {
            open.ended(End::Closed);
        }
    }
}

impl Open {
    fn send(&mut self, packets: &mut Packets) {
        self.in_use.note_activity();
        self.port.send(packets);
    }

    fn ended(self, end: End) {
        let (up, down) = self.port.up_and_down();
        self.record.ended(&Outcome { up, down, end, closing: None });
    }
}

/// Sends on what Shadowsocks says in a flow, until nothing has passed in it for a time.
async fn answer(session: Session, outgoing: Arc<Outgoing>, number: u64) {
    let mut packets = Packets::default();
    let mut idle = pin!(sleep(IDLE));
    let over = loop {
        let next = poll_fn(|cx| {
            let mut session = lock(&session);
            let Some(open) = &mut *session else { return Poll::Ready(Err(None)) };
            let found = ready!(poll_port(&mut open.port, &mut packets, idle.as_mut(), cx));
            open.in_use.note_activity();
            Poll::Ready(found.map_err(|_| session.take()))
        });
        if let Err(over) = next.await {
            break over;
        }
        outgoing.send(number, &mut packets);
        consume_budget().await;
    };
    if let Some(open) = over {
        open.ended(End::Idle(IDLE));
    }
}
