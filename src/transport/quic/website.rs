//! The website's visitors who speak QUIC: what they send goes to the website from a socket of their own, so that it
//! tells them apart, and what it answers leaves by the port that they came to, byte for byte.
//!
//! Anybody can send datagrams from any address. So a visitor is forgotten soon, and makes room for others, until it has
//! used the id that the website gave it, which shows that it gets the answers.

use crate::metrics::{self, Direction, Dropped, Flow, Open};
use crate::net::conn_info::ConnInfo;
use crate::net::{Dialer, limits};
use crate::relay::{End, Outcome, Side};
use crate::runtime::admission::OpenVisitor;
use crate::telemetry::{Kind, Record, Target};
use crate::wire::quic::{Header, LEAST_INITIAL, LongHeader};
use quinn::AsyncUdpSocket;
use quinn::udp::{EcnCodepoint, RecvMeta, Transmit, UdpSocketState};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::io::{Interest, Ready};
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

/// The option that names the website.
const OPTION: &str = "failover-quic";

/// The most visitors at a time, and of one address.
const MOST: usize = 1024;
const MOST_OF_SOURCE: usize = 128;

/// So many are there before one has to begin a connection: its first datagram costs whoever sends it 1200 bytes.
const MOST_WITHOUT_BEGINNING: usize = MOST / 2;

/// How long a visitor is remembered who is silent: longer than servers keep their connections.
const IDLE: Duration = Duration::from_secs(120);

/// The same before it has shown that it gets the answers: longer than a client waits before it repeats itself.
const IDLE_AT_FIRST: Duration = Duration::from_secs(10);

/// The same of one who has not begun here: he may have come from another port, and the website may think about its answer.
const IDLE_ELSEWHERE: Duration = Duration::from_secs(60);

/// After so long one of these makes room for another, whatever it says: two round trips show that it gets the answers.
const MAKES_ROOM_AFTER: Duration = Duration::from_secs(1);

/// How long no room is looked for when there was none: in a flood each datagram would look through all visitors.
const FULL_FOR: Duration = Duration::from_millis(100);

/// The largest datagram, and the most that several of them have which are received at once.
const LARGEST: usize = 64 * 1024;

/// What is waited for: datagrams, and the word that nobody takes any.
const ANSWER: Interest = Interest::READABLE.add(Interest::ERROR);

thread_local! {
    /// What is received is sent on at once, so all visitors of a thread share the room for it.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; LARGEST].into());
}

/// Counts a visitor until what it returns is dropped.
pub(crate) type Welcome = dyn Fn() -> Open + Send + Sync;

/// A visitor's address, and the one of ours that it came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    from: SocketAddr,
    to: Option<IpAddr>,
}

/// The visitors of a port.
pub(super) struct Visitors {
    public: Arc<dyn AsyncUdpSocket>,
    welcome: Arc<Welcome>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    visitors: HashMap<Key, Arc<Visitor>>,
    /// Until then no room is looked for.
    full_until: Option<Instant>,
}

/// A visitor, on its way to the website.
#[derive(Debug)]
struct Visitor {
    key: Key,
    source: limits::Key,
    socket: UdpSocket,
    state: UdpSocketState,
    dialer: Arc<Dialer>,
    website: SocketAddr,
    traffic: Mutex<Traffic>,
    came: Instant,
    /// The first that he said may begin a connection.
    begins: bool,
    /// It is not known any more.
    gone: Notify,
    /// Counted as long as it is known.
    _open: Open,
    _place: OpenVisitor,
}

/// What has come and gone.
#[derive(Debug)]
struct Traffic {
    last: Instant,
    up: u64,
    down: u64,
    /// The id by which the website wants to be called.
    id: Option<Vec<u8>>,
    /// The visitor has called it so.
    is_confirmed: bool,
}

impl fmt::Debug for Visitors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visitors").field("known", &self.known).finish_non_exhaustive()
    }
}

impl Visitors {
    /// Of this port.
    pub(super) fn new(public: Arc<dyn AsyncUdpSocket>, welcome: Arc<Welcome>) -> Arc<Visitors> {
        Arc::new(Visitors { public, welcome, known: Mutex::default() })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes a datagram on, which came as `meta` says. A new visitor goes to this website.
    pub(super) fn pass(self: &Arc<Self>, website: Option<&Arc<Dialer>>, bytes: &[u8], meta: &RecvMeta) {
        if let Err(why) = self.try_pass(website, bytes, meta) {
            metrics::datagram_dropped(why);
        }
    }

    fn try_pass(
        self: &Arc<Self>,
        website: Option<&Arc<Dialer>>,
        bytes: &[u8],
        meta: &RecvMeta,
    ) -> Result<(), Dropped> {
        let key = Key { from: meta.addr, to: meta.dst_ip };
        let visitor = {
            let mut known = self.known();
            match known.visitors.get(&key) {
                Some(visitor) => Arc::clone(visitor),
                None => {
                    let website = website.ok_or(Dropped::NoWebsite)?;
                    self.welcome(&mut known, key, website, may_begin(bytes))?
                }
            }
        };
        match visitor.send(bytes, meta.ecn) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Dropped::Busy),
            // It is too long for the way to the website: it is lost, as on any way.
            #[cfg(unix)]
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => Err(Dropped::Website),
            // Nobody listens there; what comes next may go to another address.
            Err(error) => {
                visitor.note_refusal(&error);
                self.forget(&visitor);
                visitor.gone.notify_one();
                Err(Dropped::Website)
            }
        }
    }

    /// A visitor comes.
    fn welcome(
        self: &Arc<Self>,
        known: &mut Known,
        key: Key,
        website: &Arc<Dialer>,
        begins: bool,
    ) -> Result<Arc<Visitor>, Dropped> {
        let source = key.from.ip().into();
        let place = known.place_for(source, begins, Instant::now()).ok_or(Dropped::Visitors)?;
        let visitor = Arc::new(Visitor::new(key, source, place, (self.welcome)(), begins, website)?);
        known.visitors.insert(key, Arc::clone(&visitor));
        tokio::spawn(serve(Arc::downgrade(self), Arc::clone(&visitor)));
        Ok(visitor)
    }

    /// A visitor is not known any more.
    fn forget(&self, visitor: &Arc<Visitor>) {
        let mut known = self.known();
        if known.visitors.get(&visitor.key).is_some_and(|known| Arc::ptr_eq(known, visitor)) {
            known.visitors.remove(&visitor.key);
        }
    }

    /// Sends datagrams of this length, and one that may be shorter, to a visitor. Returns how many bytes are sent; the
    /// socket takes no more now.
    fn answer(&self, to: Key, bytes: &[u8], meta: &RecvMeta) -> usize {
        let stride = meta.stride.max(1);
        let most = stride * self.public.max_transmit_segments().max(1);
        let mut sent = 0;
        for part in bytes.chunks(most) {
            let transmit = Transmit {
                destination: to.from,
                ecn: meta.ecn,
                contents: part,
                segment_size: (part.len() > stride).then_some(stride),
                src_ip: to.to,
            };
            match self.public.try_send(&transmit) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // What cannot be sent is lost, as anything may be.
                _ => sent += part.len(),
            }
        }
        sent
    }
}

impl Drop for Visitors {
    fn drop(&mut self) {
        self.known().visitors.values().for_each(|visitor| visitor.gone.notify_one());
    }
}

/// Whether a datagram may be the first of a connection.
fn may_begin(bytes: &[u8]) -> bool {
    let is_long = matches!(Header::parse(bytes), Some(Header::Long(_) | Header::OtherVersion { .. }));
    is_long && bytes.len() >= LEAST_INITIAL
}

impl Known {
    /// A place for one more visitor of this source, whose first datagram `begins` a connection or not. Where there is
    /// none, one makes room that may be nobody.
    fn place_for(&mut self, source: limits::Key, begins: bool, now: Instant) -> Option<OpenVisitor> {
        let is_full = self.visitors.len() >= if begins { MOST } else { MOST_WITHOUT_BEGINNING };
        let of_source = |visitor: &Visitor| visitor.source == source;
        let source_is_full =
            self.visitors.values().filter(|visitor| of_source(visitor)).count() >= MOST_OF_SOURCE;
        if !is_full
            && !source_is_full
            && let Some(place) = OpenVisitor::count()
        {
            return Some(place);
        }
        if self.full_until.is_some_and(|until| now < until) {
            return None;
        }
        let candidates = self.visitors.values().filter(|visitor| !source_is_full || of_source(visitor));
        let candidates = candidates.filter_map(|visitor| Some((visitor.makes_room_since(now)?, visitor)));
        let Some((_, visitor)) = candidates.min_by_key(|(since, _)| *since) else {
            // (what is full for one source is not for others)
            self.full_until = (!source_is_full).then_some(now + FULL_FOR);
            return None;
        };
        visitor.gone.notify_one();
        let key = visitor.key;
        self.visitors.remove(&key);
        // The descriptor is free in a moment.
        OpenVisitor::count()
    }
}

impl Visitor {
    fn new(
        key: Key,
        source: limits::Key,
        place: OpenVisitor,
        open: Open,
        begins: bool,
        dialer: &Arc<Dialer>,
    ) -> Result<Visitor, Dropped> {
        let unreachable = |error: &dyn std::fmt::Display| {
            warn!(peer = %key.from, option = OPTION, %error, "the website cannot be reached");
            Dropped::Website
        };
        let (socket, website) = dialer.open_for_datagrams().map_err(|error| unreachable(&error))?;
        let state = UdpSocketState::new((&socket).into()).map_err(|error| unreachable(&error))?;
        let socket = UdpSocket::from_std(socket).map_err(|error| unreachable(&error))?;
        let traffic = Traffic { last: Instant::now(), up: 0, down: 0, id: None, is_confirmed: false };
        Ok(Visitor {
            key,
            source,
            socket,
            state,
            dialer: Arc::clone(dialer),
            website,
            traffic: Mutex::new(traffic),
            came: Instant::now(),
            begins,
            gone: Notify::new(),
            _open: open,
            _place: place,
        })
    }

    fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what the visitor says to the website.
    fn send(&self, bytes: &[u8], ecn: Option<EcnCodepoint>) -> io::Result<()> {
        let mut traffic = self.traffic();
        traffic.last = Instant::now();
        traffic.confirm(bytes);
        // (a socket that is new is not known to be ready, and nobody waits here)
        #[cfg(any(target_os = "linux", target_os = "android"))]
        self.state.try_send(
            (&self.socket).into(),
            &Transmit { destination: self.website, ecn, contents: bytes, segment_size: None, src_ip: None },
        )?;
        // Elsewhere a socket that is connected takes no address, without which there are no marks.
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        {
            let _ = ecn;
            socket2::SockRef::from(&self.socket).send(bytes)?;
        }
        traffic.up += bytes.len() as u64;
        metrics::moved(Flow::Visitor, Direction::Up, bytes.len() as u64);
        Ok(())
    }

    /// Receives what the website answers, and sends it on. Returns what could not be sent at once.
    fn receive(&self, visitors: &Visitors, ready: Ready) -> io::Result<(Vec<u8>, RecvMeta)> {
        // (the runtime takes one of them at a time)
        let interest = if ready.is_readable() { Interest::READABLE } else { Interest::ERROR };
        SCRATCH.with_borrow_mut(|scratch| {
            let mut metas = [RecvMeta::default()];
            self.socket.try_io(interest, || {
                self.state.recv((&self.socket).into(), &mut [IoSliceMut::new(scratch)], &mut metas)
            })?;
            let [meta] = metas;
            let bytes = scratch.get(..meta.len).unwrap_or_default();
            self.note_answer(bytes, meta.stride);
            let sent = visitors.answer(self.key, bytes, &meta);
            Ok((bytes.get(sent..).unwrap_or_default().to_vec(), meta))
        })
    }

    fn note_answer(&self, bytes: &[u8], stride: usize) {
        metrics::moved(Flow::Visitor, Direction::Down, bytes.len() as u64);
        let mut traffic = self.traffic();
        traffic.last = Instant::now();
        if traffic.down == 0 {
            self.dialer.note_answer(self.website);
        }
        traffic.down += bytes.len() as u64;
        if !traffic.is_confirmed {
            for datagram in bytes.chunks(stride.max(1)) {
                traffic.learn(datagram);
            }
        }
    }

    fn note_refusal(&self, error: &io::Error) {
        warn!(peer = %self.key.from, option = OPTION, address = %self.website, %error, "the website cannot be reached");
        self.dialer.note_refusal(self.website, error);
    }

    /// How long it may be silent, and until when.
    fn idle(&self) -> (Duration, Instant) {
        let traffic = self.traffic();
        let idle = match (traffic.is_confirmed, self.begins) {
            (true, _) => IDLE,
            (false, true) => IDLE_AT_FIRST,
            (false, false) => IDLE_ELSEWHERE,
        };
        (idle, traffic.last + idle)
    }

    /// Since when it is there, if it has to make room for others.
    fn makes_room_since(&self, now: Instant) -> Option<Instant> {
        (now >= self.came + MAKES_ROOM_AFTER && !self.traffic().is_confirmed).then_some(self.came)
    }
}

impl Traffic {
    /// Learns by which id the website wants to be called. One who comes from another address than before is called no
    /// ids; to him it sends a packet that fills a datagram, to see whether he is there (RFC 9000 section 8.2.1). What it
    /// says to those whom it does not know is shorter than what they have said (section 10.3).
    fn learn(&mut self, answer: &[u8]) {
        if matches!(Header::parse(answer), Some(Header::Short(_))) && answer.len() >= LEAST_INITIAL {
            self.is_confirmed = true;
        }
        let (Some(Header::Long(LongHeader { source, .. })) | Some(Header::OtherVersion { source, .. })) =
            Header::parse(answer)
        else {
            return;
        };
        if !source.is_empty() {
            self.id = Some(source.to_vec());
        }
    }

    /// Looks whether the visitor has learnt it, too.
    fn confirm(&mut self, said: &[u8]) {
        let Some(id) = self.id.as_deref().filter(|_| !self.is_confirmed) else { return };
        self.is_confirmed = match Header::parse(said) {
            Some(Header::Long(LongHeader { destination, .. })) => destination == id,
            Some(Header::OtherVersion { destination, .. }) => destination == id,
            Some(Header::Short(_)) => said.get(1..).is_some_and(|rest| rest.starts_with(id)),
            None => false,
        };
        if self.is_confirmed {
            self.id = None;
        }
    }
}

/// Sends the website's answers to a visitor, for as long as there is anything between them.
async fn serve(visitors: Weak<Visitors>, visitor: Arc<Visitor>) {
    let target = Target { role: OPTION, address: Arc::clone(visitor.dialer.shown()) };
    let began = Instant::now();
    let record = Record::of(Kind::Visitor, ConnInfo::new(visitor.key.from), began).to(target);
    let end = loop {
        let (idle, until) = visitor.idle();
        tokio::select! {
            answered = answer(&visitors, &visitor) => {
                if let Err(error) = answered {
                    visitor.note_refusal(&error);
                    break End::Reset(Side::Dialled, error);
                }
            }
            () = sleep_until(until) => {
                if visitor.idle().1 <= Instant::now() {
                    break End::Idle(idle);
                }
            }
            () = visitor.gone.notified() => break End::Closed,
        }
    };
    if let Some(visitors) = visitors.upgrade() {
        visitors.forget(&visitor);
    }
    let (up, down) = {
        let traffic = visitor.traffic();
        (traffic.up, traffic.down)
    };
    record.ended(&Outcome { up, down, end, closing: None });
}

/// Sends on what the website says next.
async fn answer(visitors: &Weak<Visitors>, visitor: &Visitor) -> io::Result<()> {
    let ready = visitor.socket.ready(ANSWER).await?;
    let Some(visitors) = visitors.upgrade() else { return Ok(()) };
    let (rest, meta) = match visitor.receive(&visitors, ready) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
        received => received?,
    };
    let mut rest = &rest[..];
    let mut poller = None;
    while !rest.is_empty() {
        let poller = poller.get_or_insert_with(|| Arc::clone(&visitors.public).create_io_poller());
        poll_fn(|cx| poller.as_mut().poll_writable(cx)).await?;
        rest = rest.get(visitors.answer(visitor.key, rest, &meta)..).unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests;
