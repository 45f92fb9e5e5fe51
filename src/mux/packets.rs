//! Sessions of UDP: each frame with data is a packet.
//!
//! They have no order among each other, nothing waits for them, and nobody is slowed down by them: what the connection
//! does not take now waits in the queue of the session's [`Port`], and what the port does not take is dropped.

use super::state::Tell;
use crate::metrics::PacketDropped;
use crate::net::limits::Slot;
use crate::relay::Pieces;
use crate::runtime::buffers;
use crate::udp::{Backend, Ended, Packets, Port, dropped};
use crate::wire::FrameSizeError;
use crate::wire::mux::{Encoder, Head};
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// The longest packet that a peer takes which is not known to be ours: v2ray ends the whole connection at a longer one.
pub(super) const FOREIGN_LONGEST: usize = 2048;

/// How long a packet waits that is longer than that, until it is known whose the peer is.
pub(super) const ANSWER: Duration = Duration::from_secs(1);

/// The longest packet that the peer takes, and whether longer ones are to wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Longest {
    pub(super) taken: usize,
    pub(super) waits: bool,
}

/// Bytes of packets that are framed at once, with their heads: at least the longest one.
pub(super) const ROUND: usize = 72 * 1024;

/// The same where the process buffers as much as it may.
const SMALL_ROUND: usize = 8 * 1024;

/// Packets that are framed at once.
const FRAMES: usize = 64;

/// What a server has for sessions of UDP: the way to Shadowsocks.
pub(super) type OpenBackend<'a> = &'a mut dyn FnMut() -> Result<(Backend, Option<Slot>), PacketDropped>;

/// A session of UDP.
pub(super) struct PacketSession {
    pub(super) id: u16,
    /// Whose it is, for the log, if this end has begun it.
    pub(super) peer: Option<SocketAddr>,
    pub(super) began: Instant,
    encoder: Encoder,
    port: Undisguised,
    /// What has come for the port.
    incoming: Packets,
    /// How much of a packet is still to come.
    left: usize,
    /// How it ended, to be told to the peer.
    over: Option<Over>,
    /// Its place among the tunnels that there may be.
    slot: Option<Box<Slot>>,
}

/// The end of a session that is not disguised.
enum Undisguised {
    /// Nothing has come for it yet.
    None,
    Open(Box<Port>),
}

/// How a session has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// The peer has ended it.
    Told,
    /// The peer has ended it by an error, and has said nothing in it.
    NotTaken,
    Idle,
    Forgotten,
    /// There is no way to Shadowsocks.
    Refused,
}

impl PacketSession {
    /// A session that the peer has begun.
    pub(super) fn of_peer(id: u16) -> PacketSession {
        PacketSession::new(id, None, Encoder::server(id), Undisguised::None)
    }

    /// A session that this end begins.
    pub(super) fn of_ours(id: u16, peer: SocketAddr, port: Box<Port>) -> PacketSession {
        PacketSession::new(id, Some(peer), Encoder::udp_client(id), Undisguised::Open(port))
    }

    fn new(id: u16, peer: Option<SocketAddr>, encoder: Encoder, port: Undisguised) -> PacketSession {
        PacketSession {
            id,
            peer,
            began: Instant::now(),
            encoder,
            port,
            incoming: Packets::default(),
            left: 0,
            over: None,
            slot: None,
        }
    }

    /// How many bytes have gone up, and down.
    pub(super) fn up_and_down(&self) -> (u64, u64) {
        match &self.port {
            Undisguised::Open(port) => port.up_and_down(),
            Undisguised::None => (0, 0),
        }
    }

    /// How it has ended.
    pub(super) fn over(&self) -> Option<Over> {
        self.over
    }

    fn end(&mut self, over: Over) {
        self.over.get_or_insert(over);
    }

    /// When it is over, if nothing passes until then.
    fn idle_at(&self) -> Instant {
        match &self.port {
            Undisguised::Open(port) => port.idle_at(),
            Undisguised::None => self.began + crate::udp::IDLE,
        }
    }

    /// Sends on what has come.
    fn flush(&mut self, open: OpenBackend<'_>) {
        if self.incoming.is_empty() {
            return;
        }
        if let Undisguised::None = self.port {
            match open() {
                Ok((backend, slot)) => {
                    self.port = Undisguised::Open(Box::new(backend.into()));
                    self.slot = slot.map(Box::new);
                }
                // Its address is not known yet, or no way leads there now: the next packet may find one.
                Err(PacketDropped::Backend) => dropped(PacketDropped::Backend, self.incoming.len()),
                Err(why) => {
                    dropped(why, self.incoming.len());
                    self.end(Over::Refused);
                }
            }
        }
        if let Undisguised::Open(port) = &mut self.port {
            port.send(&mut self.incoming);
        }
        self.incoming.clear();
    }
}

/// The sessions of UDP in a connection.
#[derive(Default)]
pub(super) struct PacketSessions {
    list: Vec<PacketSession>,
    next_to_read: usize,
    /// The session that the data belong to which come now.
    current: Option<usize>,
}

impl PacketSessions {
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &PacketSession> {
        self.list.iter()
    }

    fn position(&self, id: u16) -> Option<usize> {
        self.list.iter().position(|session| session.id == id && session.over.is_none())
    }

    pub(super) fn add(&mut self, session: PacketSession) {
        self.list.push(session);
    }

    pub(super) fn take_all(&mut self) -> Vec<PacketSession> {
        self.current = None;
        std::mem::take(&mut self.list)
    }

    /// Takes the head of a frame of this session, whose data come next. Returns whether it is one of these.
    pub(super) fn begin_packet(&mut self, head: &Head) -> bool {
        self.current = self.position(head.id);
        let Some(session) = self.current.and_then(|index| self.list.get_mut(index)) else { return false };
        if let Some(data) = head.data {
            session.left = data.into();
            if session.left == 0 {
                session.incoming.finish();
            }
        }
        true
    }

    /// Takes data. Returns whether they are of one of these sessions.
    pub(super) fn take_data(&mut self, id: u16, data: &[u8]) -> bool {
        let Some(session) = self.current.and_then(|index| self.list.get_mut(index)) else { return false };
        if session.id != id {
            return false;
        }
        session.incoming.extend(data);
        session.left = session.left.saturating_sub(data.len());
        if session.left == 0 {
            session.incoming.finish();
        }
        true
    }

    /// The peer has ended this session, perhaps by an `error`, or begins another with its id. Returns whether it is one
    /// of these.
    pub(super) fn peer_ends(&mut self, id: u16, error: bool) -> bool {
        let Some(index) = self.position(id) else { return false };
        let session = &mut self.list[index];
        let nothing_came =
            session.peer.is_some() && session.up_and_down().1 == 0 && session.incoming.is_empty();
        session.end(if error && nothing_came { Over::NotTaken } else { Over::Told });
        true
    }

    /// Sends on what has come.
    pub(super) fn flush(&mut self, open: OpenBackend<'_>) {
        for session in &mut self.list {
            session.flush(open);
        }
    }

    /// Frames what the ports have, as far as there is room, `heads` bytes behind where each frame may begin; `frame` tells
    /// where it does. Returns how much of the buffer is used.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        frames: &mut Pieces,
        heads: usize,
        longest: Longest,
        mut frame: impl FnMut(&mut Encoder, &mut [u8]) -> Result<usize, FrameSizeError>,
    ) -> Result<usize, FrameSizeError> {
        let room = if buffers::are_full() { SMALL_ROUND } else { ROUND };
        let buffer = &mut buffer[..room];
        let (mut used, mut count) = (0, 0);
        let (begin, len) = (self.next_to_read, self.list.len());
        'sessions: for step in 0..len {
            let index = (begin + step) % len;
            self.next_to_read = (index + 1) % len;
            let session = &mut self.list[index];
            while let Undisguised::Open(port) = &mut session.port
                && session.over.is_none()
            {
                let packets = match port.poll_packets(cx) {
                    Poll::Pending => break,
                    Poll::Ready(Ok(packets)) => packets,
                    Poll::Ready(Err(ended)) => {
                        session.end(match ended {
                            Ended::Idle => Over::Idle,
                            Ended::Forgotten => Over::Forgotten,
                        });
                        break;
                    }
                };
                let mut taken = 0;
                let (mut is_full, mut waits) = (false, false);
                while let Some(packet) = packets.first() {
                    waits = longest.waits && packet.len() > longest.taken;
                    if waits {
                        break;
                    }
                    if packet.len() > longest.taken.min(room - heads) {
                        dropped(PacketDropped::TooLong, 1);
                        packets.take(1);
                        continue;
                    }
                    let end = used + heads + packet.len();
                    is_full = count == FRAMES || end > room;
                    if is_full {
                        break;
                    }
                    buffer[used + heads..end].copy_from_slice(packet);
                    taken += packet.len();
                    packets.take(1);
                    let start = frame(&mut session.encoder, &mut buffer[used..end])?;
                    frames.input(used + start..end);
                    (used, count) = (end, count + 1);
                }
                if taken > 0 || !waits {
                    port.note_taken(taken);
                }
                if waits {
                    break;
                }
                if is_full {
                    break 'sessions;
                }
            }
        }
        Ok(used)
    }

    /// Ends those in which nothing passes any more.
    pub(super) fn check_time(&mut self, now: Instant) {
        for session in self.list.iter_mut().filter(|session| session.idle_at() <= now) {
            session.end(Over::Idle);
        }
    }

    /// When one of them is to be looked at next.
    pub(super) fn next_check(&self) -> Option<Instant> {
        self.list.iter().map(PacketSession::idle_at).min()
    }

    /// Takes one out that is over, and what its peer is to be told.
    pub(super) fn take_over(&mut self, is_client: bool) -> Option<(PacketSession, Option<Tell>)> {
        let index = self.list.iter().position(|session| session.over.is_some())?;
        let session = self.list.swap_remove(index);
        // A packet of another one may have come in part.
        self.current = match self.current {
            Some(current) if current == index => None,
            Some(current) if current == self.list.len() => Some(index),
            current => current,
        };
        let tell = match session.over {
            // As v2ray's server does it; its client says nothing.
            Some(Over::Told | Over::NotTaken) => (!is_client).then_some(Tell::End { error: false }),
            _ => Some(Tell::End { error: false }),
        };
        Some((session, tell))
    }
}
