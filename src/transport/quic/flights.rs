//! The first flights of connections: what has come of each is kept until its hello is read, and then it is known for
//! a while whose connection it is.

use super::expiring::Expiring;
use crate::metrics::{self, Verdict};
use crate::net::limits;
use crate::runtime::buffers::Held;
use crate::wire::quic::{FirstFlight, LEAST_INITIAL, LongHeader, MOST_HELLO, PacketKind};
use crate::wire::tls::ClientHello;
use quinn::ConnectionId;
use quinn::udp::RecvMeta;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::time::Instant;
use tracing::debug;

/// How long the rest of a hello is waited for that does not say yet whose it is. Its datagrams leave together. What of
/// them is lost comes again after a second (RFC 9002 section 6.2.2); where there is a website, whoever loses it is not
/// waited for: the website says at once what it says to half a hello, and is not to be told from it by a pause.
const WAIT: Duration = Duration::from_secs(3);
const WAIT_OF_WEBSITE: Duration = Duration::from_millis(100);

/// The most connections whose hello is not complete. The oldest makes room for a new one: those of a client come
/// within a moment, however many others there are.
const MOST_WAITING: usize = 256;

/// The same of one address, of which then the oldest makes room.
const MOST_WAITING_OF_SOURCE: usize = 32;

/// The most datagrams of a flight: Chromium's hello has two, and a few more with what it says before the answer.
const MOST_DATAGRAMS: usize = 8;

/// The most bytes of them.
const MOST_BYTES: usize = MOST_DATAGRAMS * 1500;

/// How long it is known whose connection it is that has not got its own id yet: as long as clients wait for an answer.
const REMEMBER: Duration = Duration::from_secs(30);

/// For so many connections, of ours and of others each.
const MOST_REMEMBERED: usize = 4096;

/// Whether a client with this hello, which came to this address, is one of ours.
pub(super) type IsOurs = dyn Fn(&ClientHello<'_>, Option<IpAddr>) -> bool + Send + Sync;

/// A datagram that was kept, with what is known of it.
#[derive(Debug)]
pub(super) struct Datagram {
    pub(super) meta: RecvMeta,
    pub(super) bytes: Vec<u8>,
}

impl Datagram {
    pub(super) fn new(bytes: &[u8], meta: &RecvMeta) -> Datagram {
        let meta = RecvMeta { len: bytes.len(), stride: bytes.len(), ..*meta };
        Datagram { meta, bytes: bytes.to_vec() }
    }
}

/// A connection that has no id of the server's yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    from: SocketAddr,
    /// The id that the client has chosen.
    id: ConnectionId,
}

/// Whose datagram it is.
#[derive(Debug)]
pub(super) enum Whose {
    /// It begins no connection.
    Unknown,
    /// It is not known yet: it is kept.
    Undecided,
    /// One of our clients', with what has come before it and was kept.
    Ours(Vec<Datagram>),
    /// Somebody else's, with what has come before it and was kept.
    Others(Vec<Datagram>),
}

/// All first flights.
#[derive(Debug)]
pub(super) struct Flights {
    waiting: Expiring<Key, Waiting>,
    /// With whether the hello offers protocols.
    ours: Expiring<Key, bool>,
    others: Expiring<Key, ()>,
    /// Datagrams of flights that are not waited for any more.
    given_up: Vec<Datagram>,
}

/// A flight whose hello is not complete.
#[derive(Debug)]
struct Waiting {
    flight: FirstFlight,
    source: limits::Key,
    datagrams: Vec<Datagram>,
    held: Held,
}

/// What a datagram has brought.
enum Progress {
    /// It cannot be opened.
    Nothing,
    /// There is more to come.
    More,
    Done(Verdict, bool),
}

impl Flights {
    /// Of a port behind which there is a website, or none.
    pub(super) fn new(has_website: bool) -> Flights {
        let wait = if has_website { WAIT_OF_WEBSITE } else { WAIT };
        Flights {
            waiting: Expiring::new(MOST_WAITING, wait),
            ours: Expiring::new(MOST_REMEMBERED, REMEMBER),
            others: Expiring::new(MOST_REMEMBERED, REMEMBER),
            given_up: Vec::new(),
        }
    }

    /// Says whose this datagram is, which begins with a packet with this head, and came as `meta` says.
    pub(super) fn sort(
        &mut self,
        head: &LongHeader<'_>,
        bytes: &[u8],
        meta: &RecvMeta,
        now: Instant,
        is_ours: &IsOurs,
    ) -> Whose {
        self.forget(now);
        let key = Key { from: meta.addr, id: ConnectionId::new(head.destination) };
        if self.ours.contains(&key) {
            return Whose::Ours(Vec::new());
        }
        if self.others.contains(&key) {
            return Whose::Others(Vec::new());
        }
        let is_new = !self.waiting.contains(&key);
        let mut new = None;
        let waiting = match self.waiting.get_mut(&key) {
            Some(waiting) => waiting,
            None if may_begin(head, bytes) => new.insert(Waiting::new(head.destination, meta)),
            None => return Whose::Unknown,
        };
        let verdict = match waiting.read(bytes, meta, is_ours) {
            Progress::Nothing if is_new => return Whose::Unknown,
            Progress::Nothing | Progress::More if waiting.keep(bytes, meta) => None,
            Progress::Nothing | Progress::More => Some((Verdict::Unfinished, false)),
            Progress::Done(verdict, offers) => Some((verdict, offers)),
        };
        let (verdict, offers) = match (verdict, new) {
            (Some(verdict), _) => verdict,
            (None, Some(new)) => {
                self.wait_for(key, new, now);
                return Whose::Undecided;
            }
            (None, None) => return Whose::Undecided,
        };
        let kept = self.waiting.remove(&key).map(|waiting| waiting.datagrams).unwrap_or_default();
        self.decide(key, verdict, offers, now);
        if verdict == Verdict::Ours { Whose::Ours(kept) } else { Whose::Others(kept) }
    }

    /// Whether a client of ours that has begun so offers protocols. (One of whom nothing is known any more is taken for
    /// what most are.)
    pub(super) fn offers_protocols(&mut self, from: SocketAddr, id: ConnectionId) -> bool {
        self.ours.get_mut(&Key { from, id }).is_none_or(|offers| *offers)
    }

    fn decide(&mut self, key: Key, verdict: Verdict, offers: bool, now: Instant) {
        note(key, verdict);
        match verdict {
            Verdict::Ours => drop(self.ours.insert(key, offers, now)),
            _ => drop(self.others.insert(key, (), now)),
        }
    }

    /// Waits for the rest of a flight.
    fn wait_for(&mut self, key: Key, new: Waiting, now: Instant) {
        let source = new.source;
        let of_source = |waiting: &Waiting| waiting.source == source;
        if self.waiting.values().filter(|waiting| of_source(waiting)).count() >= MOST_WAITING_OF_SOURCE {
            let oldest = self.waiting.oldest(of_source);
            let oldest = oldest.and_then(|key| Some((key, self.waiting.remove(&key)?)));
            self.give_up(oldest);
        }
        let oldest = self.waiting.insert(key, new, now);
        self.give_up(oldest);
    }

    /// Forgets what is old.
    fn forget(&mut self, now: Instant) {
        while let Some(ended) = self.waiting.pop_ended(now) {
            self.give_up(Some(ended));
        }
        while self.ours.pop_ended(now).is_some() || self.others.pop_ended(now).is_some() {}
    }

    /// Does not wait any longer. A client who comes again has a hello that is read anew.
    fn give_up(&mut self, flight: Option<(Key, Waiting)>) {
        if let Some((key, waiting)) = flight {
            self.given_up.extend(waiting.datagrams);
            note(key, Verdict::Unfinished);
        }
    }

    /// When something is to be forgotten whose datagrams go on.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.waiting.next_end()
    }

    /// The datagrams of flights that are not waited for any more.
    pub(super) fn take_given_up(&mut self, now: Instant) -> Vec<Datagram> {
        self.forget(now);
        std::mem::take(&mut self.given_up)
    }
}

/// Counts, and tells, what has become of a flight.
fn note(key: Key, verdict: Verdict) {
    metrics::first_flight_read(verdict);
    debug!(peer = %key.from, ?verdict, "a QUIC connection begins");
}

/// Whether a datagram may be the first of a connection: another one no server answers.
fn may_begin(head: &LongHeader<'_>, bytes: &[u8]) -> bool {
    head.kind == PacketKind::Initial && head.is_fixed && bytes.len() >= LEAST_INITIAL
}

fn judge(hello: &ClientHello<'_>, meta: &RecvMeta, is_ours: &IsOurs) -> Progress {
    if is_ours(hello, meta.dst_ip) {
        Progress::Done(Verdict::Ours, hello.has_alpn())
    } else {
        Progress::Done(Verdict::Other, false)
    }
}

/// Judges a hello of which the end is missing, where what has come says enough. Most clients say first which name they
/// ask for, and then which protocols they offer. A name that is not ours is another's whatever is offered; one of ours
/// may yet come with a browser's protocol.
fn judge_beginning(hello: &ClientHello<'_>, meta: &RecvMeta, is_ours: &IsOurs) -> Progress {
    match judge(hello, meta, is_ours) {
        _ if hello.server_name.is_none() => Progress::More,
        Progress::Done(Verdict::Ours, false) => Progress::More,
        decided => decided,
    }
}

impl Waiting {
    fn new(destination: &[u8], meta: &RecvMeta) -> Waiting {
        let source = meta.addr.ip().into();
        let flight = FirstFlight::new(destination);
        Waiting { flight, source, datagrams: Vec::new(), held: Held::default() }
    }

    fn read(&mut self, bytes: &[u8], meta: &RecvMeta, is_ours: &IsOurs) -> Progress {
        let whole = self.flight.take(bytes).and_then(|is_open| Ok((is_open, self.flight.hello()?)));
        match whole {
            Ok((false, _)) => Progress::Nothing,
            // No client begins so; a server says at once what it says to that.
            Ok((true, None)) if self.flight.is_empty() => Progress::Done(Verdict::Other, false),
            Ok((true, None)) => judge_beginning(&self.flight.beginning(), meta, is_ours),
            Ok((true, Some(hello))) => judge(&hello, meta, is_ours),
            Err(malformed) => {
                debug!(peer = %meta.addr, %malformed, "no client begins a QUIC connection so");
                Progress::Done(Verdict::Malformed, false)
            }
        }
    }

    /// Keeps a datagram, if there is room.
    fn keep(&mut self, bytes: &[u8], meta: &RecvMeta) -> bool {
        let kept: usize = self.datagrams.iter().map(|datagram| datagram.bytes.len()).sum();
        let has_room = self.datagrams.len() < MOST_DATAGRAMS && kept + bytes.len() <= MOST_BYTES;
        if has_room {
            self.datagrams.push(Datagram::new(bytes, meta));
            self.held.set(kept + bytes.len() + MOST_HELLO);
        }
        has_room
    }
}

#[cfg(test)]
mod tests;
