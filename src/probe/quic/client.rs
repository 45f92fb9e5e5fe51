//! A QUIC client as far as a visitor needs one: it reads whatever comes and keeps what there was to see; where it makes
//! a handshake, it answers. It owns no socket and no clock.
//!
//! A client's library would not tell what is looked for here: whether there was a Retry, what the transport parameters
//! say and in which order, and with what the server ends. TLS and its keys are rustls's.

use super::seal::{self, LongHead, SMALLEST};
use crate::probe::quic_answer::{self, Frame, Packet, PacketKind, Sealed, V1};
use crate::probe::script::{FirstFlight, QuicOffer};
use crate::probe::tls;
use crate::probe::tls_answer;
use crate::wire::tls::{content_type, record};
use rustls::quic::{ClientConnection, KeyChange, Keys, Version};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// The most of a handshake, or of a stream, that is kept.
const MAX_KEPT: usize = 64 * 1024;

/// The most pieces that wait for one before them, streams, and things that are told.
const MAX_WAITING: usize = 64;
const MAX_STREAMS: usize = 16;
const MAX_TOLD: usize = 40;

/// The most tokens, and ids, that are counted.
const MAX_GIVEN: usize = 64;

/// The packets that an acknowledgement tells of, at most.
const MAX_ACKED: usize = 32;

/// What of the handshake goes into one datagram.
const PIECE: usize = 1000;

/// The length of our own id, by which the server's packets with a short header are read.
const OWN_ID: usize = 8;

/// What was seen is told in this order, whatever it came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Negotiation,
    Retry,
    Hello,
    HandshakePackets,
    InnerPackets,
    Unread,
    Agreement,
    Inside,
    End,
}

impl Order {
    /// It shows how far the server had got: with an end in the handshake, that is by chance.
    fn is_on_the_way(self) -> bool {
        matches!(self, Order::Hello | Order::HandshakePackets | Order::InnerPackets)
    }
}

/// Something that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    order: Order,
    at: Duration,
    text: String,
}

/// Bytes that come in pieces, in any order and more than once.
#[derive(Debug, Default)]
struct Pieces {
    whole: Vec<u8>,
    waiting: BTreeMap<u64, Vec<u8>>,
}

impl Pieces {
    /// Takes a piece in; where what is new begins.
    fn insert(&mut self, offset: u64, data: &[u8]) -> usize {
        let had = self.whole.len();
        if self.waiting.len() < MAX_WAITING && offset <= MAX_KEPT as u64 {
            let waiting = self.waiting.entry(offset).or_default();
            if waiting.len() < data.len() {
                *waiting = data.to_vec();
            }
        }
        while let Some(first) = self.waiting.first_entry() {
            let Some(known) = (self.whole.len() as u64).checked_sub(*first.key()) else { break };
            let piece = first.remove();
            self.whole.extend_from_slice(piece.get(known as usize..).unwrap_or_default());
        }
        self.whole.truncate(MAX_KEPT);
        had
    }
}

/// One of the three numberings of packets (RFC 9000 section 12.3).
#[derive(Default)]
struct Space {
    keys: Option<Keys>,
    /// The number of the next packet.
    next: u32,
    received: BTreeSet<u64>,
    owes_ack: bool,
    incoming: Pieces,
    /// What is said of the handshake, all of it.
    outgoing: Vec<u8>,
    /// It is to be said (again).
    due: bool,
}

impl Space {
    fn expected(&self) -> u64 {
        self.received.last().map_or(0, |last| last + 1)
    }

    /// An acknowledgement of what came last.
    fn ack(&self) -> Option<Vec<u8>> {
        let mut numbers = self.received.iter().rev().take(MAX_ACKED);
        let largest = *numbers.next()?;
        // Each range as its largest and its smallest.
        let mut ranges = vec![(largest, largest)];
        for &number in numbers {
            match ranges.last_mut() {
                Some((_, smallest)) if number + 1 == *smallest => *smallest = number,
                _ => ranges.push((number, number)),
            }
        }
        let mut frame = vec![2];
        seal::put_number(&mut frame, largest);
        // (the delay)
        frame.push(0);
        seal::put_number(&mut frame, ranges.len() as u64 - 1);
        let mut before: Option<u64> = None;
        for (largest, smallest) in ranges {
            if let Some(before) = before {
                seal::put_number(&mut frame, before - largest - 2);
            }
            seal::put_number(&mut frame, largest - smallest);
            before = Some(smallest);
        }
        Some(frame)
    }
}

const INITIAL: usize = 0;
const HANDSHAKE: usize = 1;
const APPLICATION: usize = 2;

/// Where in `spaces` a packet belongs; of 0-RTT a server sends none.
fn space_of(kind: PacketKind) -> Option<usize> {
    match kind {
        PacketKind::Initial => Some(INITIAL),
        PacketKind::Handshake => Some(HANDSHAKE),
        PacketKind::ZeroRtt => None,
    }
}

pub struct Client {
    version: u32,
    /// The id by which the server is called, and our own.
    destination: Vec<u8>,
    source: Vec<u8>,
    token: Vec<u8>,
    spaces: [Space; 3],
    /// In which of them the handshake goes on.
    level: usize,
    tls: Option<ClientConnection>,
    /// When the server's first answer came, and with it its id.
    named_at: Option<Duration>,
    /// The client has what it came for.
    is_brief: bool,
    is_over: bool,
    /// The server has ended the handshake.
    has_failed: bool,
    /// What comes on streams, and since when.
    streams: BTreeMap<u64, (Duration, Pieces)>,
    told: Vec<Told>,
    /// What shows the server's library.
    style: BTreeMap<&'static str, String>,
    /// What the server gives for later: tokens, and ids by their numbers.
    tokens: BTreeSet<Vec<u8>>,
    ids: BTreeSet<u64>,
    now: Duration,
}

/// What a visitor keeps of a visit.
pub struct Answer {
    /// What came, with the time.
    pub told: Vec<(Duration, String)>,
    /// What shows the library.
    pub style: Vec<(&'static str, String)>,
}

impl Client {
    /// One that only listens; `ids` are those in the packets that are sent, if they have any: the server's and its own.
    pub fn listening(destination: &[u8], source: &[u8]) -> Client {
        // What answers a packet of version 1 is sealed with the keys of the id in that.
        let spaces = [seal::initial_keys(V1, destination), None, None];
        Client {
            version: V1,
            destination: destination.to_vec(),
            source: source.to_vec(),
            token: Vec::new(),
            spaces: spaces.map(|keys| Space { keys, ..Space::default() }),
            level: INITIAL,
            tls: None,
            named_at: None,
            is_brief: false,
            is_over: false,
            has_failed: false,
            streams: BTreeMap::new(),
            told: Vec::new(),
            style: BTreeMap::new(),
            tokens: BTreeSet::new(),
            ids: BTreeSet::new(),
            now: Duration::ZERO,
        }
    }

    /// One that has said a first flight, and listens; and the flight. It has no id, and calls the server by `id`.
    pub fn of_first_flight(flight: &FirstFlight, id: &[u8]) -> (Client, Vec<Vec<u8>>) {
        let mut client = Client::listening(id, &[]);
        client.version = flight.version;
        let Some(keys) = seal::initial_keys(flight.version, id) else { return (client, Vec::new()) };
        let head = LongHead {
            kind: PacketKind::Initial,
            version: flight.version,
            destination: id,
            source: &[],
            token: &flight.token,
            reserved: flight.reserved,
        };
        let sealed = (0..).zip(&flight.datagrams);
        let mut datagrams: Vec<_> = sealed
            .filter_map(|(number, frames)| head.seal(&keys.local, number, frames, flight.size))
            .collect();
        if flight.broken {
            datagrams.iter_mut().filter_map(|datagram| datagram.last_mut()).for_each(|byte| *byte ^= 1);
        }
        client.spaces[INITIAL].keys = Some(keys);
        (client, datagrams)
    }

    /// One that makes a handshake.
    ///
    /// # Errors
    ///
    /// rustls refuses the offer.
    pub fn handshake(
        offer: &QuicOffer,
        server_name: Option<&str>,
        id: [u8; OWN_ID],
        own: [u8; OWN_ID],
    ) -> Result<Client, rustls::Error> {
        let mut client = Client::listening(&id, &own);
        let config = tls::client_config(&[&rustls::version::TLS13], &offer.alpn)?;
        let name = tls::name_for_hello(offer.name, server_name);
        let parameters = seal::transport_parameters(&own);
        client.tls = Some(ClientConnection::new(Arc::new(config), Version::V1, name, parameters)?);
        client.is_brief = offer.brief;
        client.spaces[INITIAL].keys = seal::initial_keys(V1, &id);
        client.go_on();
        Ok(client)
    }

    /// Whether there is nothing more to wait for.
    pub fn is_over(&self) -> bool {
        self.is_over || (self.is_brief && self.is_done())
    }

    /// Whether the handshake is done.
    fn is_done(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| !tls.is_handshaking())
    }

    /// Whether something has come that is more than an acknowledgement.
    pub fn has_answer(&self) -> bool {
        !self.told.is_empty() || self.spaces.iter().any(|space| !space.incoming.whole.is_empty())
    }

    fn tell(&mut self, order: Order, text: impl Into<String>) {
        self.tell_of(self.now, order, text);
    }

    /// Tells of what came at another time.
    fn tell_of(&mut self, at: Duration, order: Order, text: impl Into<String>) {
        let told = Told { order, at, text: text.into() };
        let is_known = self.told.iter().any(|known| (known.order, &known.text) == (told.order, &told.text));
        if !is_known && self.told.len() < MAX_TOLD {
            self.told.push(told);
        }
    }

    /// Takes a datagram that came at this time; whether it brought something new.
    pub fn receive(&mut self, now: Duration, datagram: &[u8]) -> bool {
        self.now = now;
        let had = self.amount();
        if datagram.is_empty() {
            self.tell(Order::Unread, "an empty datagram");
        }
        for packet in quic_answer::packets(datagram) {
            self.packet(&packet);
        }
        self.amount() > had
    }

    /// How much is known.
    fn amount(&self) -> usize {
        let pieces = self.spaces.iter().map(|space| space.incoming.whole.len()).sum::<usize>();
        let streams = self.streams.values().map(|(_, stream)| stream.whole.len()).sum::<usize>();
        self.told.len() + usize::from(self.named_at.is_some()) + pieces + streams
    }

    fn packet(&mut self, packet: &Packet<'_>) {
        let ids_differ =
            |destination: &[u8]| if destination == self.source { "" } else { ", for another id" };
        match packet {
            Packet::VersionNegotiation { destination, source, versions } => {
                let echo = if (*destination, *source) == (&self.source, &self.destination) {
                    ""
                } else {
                    ", with other ids"
                };
                let list = quic_answer::versions(versions);
                self.tell(Order::Negotiation, format!("version negotiation: {list}{echo}"));
                self.is_over |= self.tls.is_some() && self.named_at.is_none();
            }
            Packet::Retry { destination, source, token } => {
                let text = format!("Retry{}", ids_differ(destination));
                self.tell(Order::Retry, text);
                self.retry(source, token);
            }
            Packet::Sealed(sealed) => self.sealed(sealed),
            Packet::Foreign(version) => {
                let version = quic_answer::version(*version);
                self.tell(Order::Unread, format!("a packet of version {version}"));
            }
            Packet::Short(bytes) => self.short(bytes),
            Packet::NotQuic(bytes) => {
                let shown = quic_answer::excerpt(bytes);
                self.tell(Order::Unread, format!("no QUIC, {} bytes: {shown}", bytes.len()));
            }
        }
    }

    /// Comes again with a token (RFC 9000 section 17.2.5).
    fn retry(&mut self, source: &[u8], token: &[u8]) {
        let has_come = !self.token.is_empty() || self.named_at.is_some();
        if self.tls.is_none() || has_come || token.is_empty() {
            return;
        }
        self.destination = source.to_vec();
        self.token = token.to_vec();
        let space = &mut self.spaces[INITIAL];
        space.keys = seal::initial_keys(self.version, source);
        space.due = true;
    }

    fn sealed(&mut self, packet: &Sealed<'_>) {
        let name = match packet.kind {
            PacketKind::Initial => "Initial",
            PacketKind::ZeroRtt => "0-RTT",
            PacketKind::Handshake => "Handshake",
        };
        if packet.destination != self.source || packet.version != self.version {
            let version = quic_answer::version(packet.version);
            let text = format!("{name} packets of version {version}, for another id or not as asked for");
            return self.tell(Order::Unread, text);
        }
        let Some(level) = space_of(packet.kind) else {
            return self.tell(Order::Unread, format!("{name} packets"));
        };
        let space = &self.spaces[level];
        let opened = space.keys.as_ref().map(|keys| seal::open_long(keys, packet, space.expected()));
        match opened {
            Some(Some((number, frames))) => {
                if self.named_at.is_none() {
                    self.named_at = Some(self.now);
                    self.destination = packet.source.to_vec();
                    self.style.insert("the length of the server's ids", packet.source.len().to_string());
                }
                self.frames(level, number, &frames);
            }
            Some(None) => self.tell(Order::Unread, format!("{name} packets that cannot be read")),
            // Who makes a handshake gets the keys yet, and the packet again; who only listens never does.
            None if self.tls.is_none() => self.tell(Order::HandshakePackets, format!("{name} packets")),
            None => {}
        }
    }

    fn short(&mut self, packet: &[u8]) {
        let space = &self.spaces[APPLICATION];
        let is_ours = packet.get(1..).is_some_and(|rest| rest.starts_with(&self.source));
        let keys = space.keys.as_ref().filter(|_| is_ours);
        let opened =
            keys.and_then(|keys| seal::open(&keys.remote, packet, 1 + self.source.len(), space.expected()));
        match opened {
            Some((number, frames)) => self.frames(APPLICATION, number, &frames),
            // It comes again when there are keys.
            None if self.tls.is_some() && is_ours && space.keys.is_none() => {}
            None if self.named_at.is_some() => self.tell(Order::InnerPackets, "1-RTT packets"),
            None => self.tell(Order::Unread, "a short packet, as a stateless reset is one"),
        }
    }

    fn frames(&mut self, level: usize, number: u64, bytes: &[u8]) {
        let frames = quic_answer::frames(bytes);
        let space = &mut self.spaces[level];
        space.owes_ack |= frames.iter().any(Frame::wants_ack);
        let is_new = space.received.insert(number);
        if space.received.len() > MAX_ACKED {
            space.received.pop_first();
        }
        if !is_new {
            return;
        }
        for frame in frames {
            self.frame(level, frame);
        }
    }

    fn frame(&mut self, level: usize, frame: Frame<'_>) {
        match frame {
            Frame::Crypto { offset, data } => {
                let incoming = &mut self.spaces[level].incoming;
                let had = incoming.insert(offset, data);
                let new = incoming.whole.get(had..).unwrap_or_default();
                if let Some(tls) = self.tls.as_mut().filter(|_| !new.is_empty()) {
                    match tls.read_hs(new) {
                        Ok(()) => self.go_on(),
                        Err(error) => self.give_up(&error),
                    }
                }
            }
            Frame::Stream { id, offset, data } => {
                if self.streams.len() < MAX_STREAMS || self.streams.contains_key(&id) {
                    let (_, stream) = self.streams.entry(id).or_insert((self.now, Pieces::default()));
                    stream.insert(offset, data);
                }
            }
            // (what may have been lost comes again)
            Frame::NewToken(token) => {
                if self.tokens.len() < MAX_GIVEN {
                    self.tokens.insert(token.to_vec());
                }
            }
            Frame::NewConnectionId(sequence) => {
                if self.ids.len() < MAX_GIVEN {
                    self.ids.insert(sequence);
                }
            }
            Frame::HandshakeDone => {
                self.spaces[HANDSHAKE].outgoing.clear();
                self.tell(Order::Inside, "the handshake is confirmed");
            }
            Frame::Close(close) => {
                // Which of the packets of a handshake it is in is by chance, too.
                let place = if level == APPLICATION { " behind the handshake" } else { "" };
                self.tell(Order::End, format!("CONNECTION_CLOSE{place}: {close}"));
                self.is_over = true;
                self.has_failed |= level != APPLICATION;
            }
            Frame::Unreadable(kind) => {
                self.tell(Order::Unread, format!("a frame of type {kind:#x} that cannot be read"));
            }
            Frame::Ping | Frame::Ack | Frame::Other => {}
        }
    }

    /// Takes from TLS what it has to say, and keys.
    fn go_on(&mut self) {
        let Some(tls) = &mut self.tls else { return };
        loop {
            let mut said = Vec::new();
            let change = tls.write_hs(&mut said);
            if let (false, Some(space)) = (said.is_empty(), self.spaces.get_mut(self.level)) {
                space.outgoing.extend_from_slice(&said);
                space.due = true;
            }
            let (level, keys) = match change {
                Some(KeyChange::Handshake { keys }) => (HANDSHAKE, keys),
                Some(KeyChange::OneRtt { keys, .. }) => (APPLICATION, keys),
                None if said.is_empty() => break,
                None => continue,
            };
            self.level = level;
            self.spaces[level].keys = Some(keys);
        }
        if self.is_done() {
            self.agreement();
        }
    }

    /// TLS does not go on.
    fn give_up(&mut self, error: &rustls::Error) {
        self.tell(Order::Agreement, format!("the visitor goes away: {error}"));
        self.is_over = true;
    }

    /// Tells what was agreed on.
    fn agreement(&mut self) {
        let Some(tls) = &self.tls else { return };
        let alpn =
            tls.alpn_protocol().map_or("no ALPN".to_owned(), |name| format!("ALPN {}", name.escape_ascii()));
        let certificates: Vec<_> =
            tls.peer_certificates().unwrap_or_default().iter().map(|der| tls_answer::digest(der)).collect();
        let parameters = tls.quic_transport_parameters().map(quic_answer::transport_parameters);
        let parameters = parameters.flatten().unwrap_or_default();
        self.tell(Order::Agreement, alpn);
        self.tell(Order::Agreement, format!("certificates: {}", certificates.join(" ")));
        self.tell(Order::Agreement, format!("transport parameters: {}", parameters.told.join(" ")));
        let order: Vec<_> = parameters.order.iter().map(|id| format!("{id:#x}")).collect();
        self.style.insert("the order of the transport parameters", order.join(" "));
    }

    /// What is to be sent now.
    pub fn datagrams(&mut self) -> Vec<Vec<u8>> {
        let mut datagrams = Vec::new();
        if self.tls.is_none() {
            return datagrams;
        }
        for level in [INITIAL, HANDSHAKE, APPLICATION] {
            let space = &mut self.spaces[level];
            let (owes_ack, due) = (std::mem::take(&mut space.owes_ack), std::mem::take(&mut space.due));
            let mut frames = if owes_ack { space.ack().unwrap_or_default() } else { Vec::new() };
            let outgoing = if due { space.outgoing.clone() } else { Vec::new() };
            for (number, piece) in outgoing.chunks(PIECE).enumerate() {
                frames.extend(seal::crypto((number * PIECE) as u64, piece));
                datagrams.extend(self.seal(level, &std::mem::take(&mut frames)));
            }
            if !frames.is_empty() {
                datagrams.extend(self.seal(level, &frames));
            }
        }
        // The keys of Initials are gone when a Handshake packet has been sent (RFC 9001 section 4.9.1).
        if self.spaces[HANDSHAKE].next > 0 {
            self.spaces[INITIAL].keys = None;
        }
        datagrams
    }

    fn seal(&mut self, level: usize, frames: &[u8]) -> Option<Vec<u8>> {
        let space = self.spaces.get_mut(level)?;
        let keys = &space.keys.as_ref()?.local;
        let (number, size) = (space.next, if level == INITIAL { SMALLEST } else { 0 });
        space.next += 1;
        if level == APPLICATION {
            return seal::seal_short(keys, &self.destination, number, frames);
        }
        let head = LongHead {
            kind: if level == INITIAL { PacketKind::Initial } else { PacketKind::Handshake },
            version: self.version,
            destination: &self.destination,
            source: &self.source,
            token: &self.token,
            reserved: 0,
        };
        head.seal(keys, number, frames, size)
    }

    /// Says again what may have been lost.
    pub fn say_again(&mut self) {
        for space in &mut self.spaces {
            space.due = !space.outgoing.is_empty();
        }
    }

    /// The last word: the connection is over.
    pub fn goodbye(&mut self) -> Option<Vec<u8>> {
        let level =
            [APPLICATION, HANDSHAKE, INITIAL].into_iter().find(|level| self.spaces[*level].keys.is_some())?;
        let alert = self.tls.as_ref()?.alert().map(|alert| 0x100 + u64::from(u8::from(alert)));
        let frames = match (level, alert) {
            // HTTP/3's way to say that nothing is wrong (RFC 9114 section 8.1).
            (APPLICATION, None) => seal::close(0x100, true),
            (_, alert) => seal::close(alert.unwrap_or(0), false),
        };
        self.seal(level, &frames)
    }

    /// What there was to see, at the end of a visit.
    pub fn answer(mut self) -> Answer {
        let hello = std::mem::take(&mut self.spaces[INITIAL].incoming.whole);
        let named_at = self.named_at.unwrap_or_default();
        if !hello.is_empty() {
            let hello = record(content_type::HANDSHAKE, 0x0303, &hello[..hello.len().min(MAX_KEPT / 4)]);
            self.tell_of(named_at, Order::Hello, tls_answer::read(&hello, &[], usize::MAX).to_string());
        }
        self.of_streams();
        if self.told.is_empty() && self.named_at.is_some() {
            self.tell_of(named_at, Order::Hello, "an acknowledgement");
        }
        if self.is_done() {
            let tickets = self.tls.as_ref().map_or(0, |tls| tls.tls13_tickets_received());
            for (what, count) in [
                ("session tickets", tickets as usize),
                ("tokens for other connections", self.tokens.len()),
                ("further connection ids", self.ids.len()),
            ] {
                self.style.insert(what, count.to_string());
            }
        } else if self.tls.is_some() && self.named_at.is_some() && !self.is_over {
            self.tell(Order::End, "the handshake goes no further");
        }
        let has_failed = self.has_failed;
        self.told.retain(|told| !has_failed || !told.order.is_on_the_way());
        self.told.sort_by(|one, other| (one.order, &one.text).cmp(&(other.order, &other.text)));
        let told = self.told.into_iter().map(|told| (told.at, told.text)).collect();
        Answer { told, style: self.style.into_iter().collect() }
    }

    /// What the server said on streams that nobody asked for.
    fn of_streams(&mut self) {
        let streams = std::mem::take(&mut self.streams);
        for (id, (at, Pieces { whole, .. })) in streams {
            let text = match quic_answer::settings(&whole) {
                _ if whole.is_empty() => continue,
                Some(settings) if settings.is_empty() => "no HTTP/3 settings".to_owned(),
                Some(settings) => {
                    let all: Vec<_> = settings.iter().map(|(id, value)| format!("{id:#x}={value}")).collect();
                    format!("HTTP/3 settings: {}", all.join(" "))
                }
                None => format!("stream {id} says {}", quic_answer::excerpt(&whole)),
            };
            self.tell_of(at, Order::Inside, text);
        }
    }
}

#[cfg(test)]
mod tests;
