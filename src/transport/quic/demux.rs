//! The socket that quinn reads from, without what is not for it: QUIC for the website, and whatever else is sent to the
//! port. quinn would answer all of it.
//!
//! - What carries one of our connection ids is quinn's, wherever it comes from, so that connections may move.
//! - The first flight of a connection is kept until its hello is read, which says whose it is.
//! - All else is the website's. Without a website it is dropped, and nobody answers.
//!
//! An id of ours can be seen by others, who may begin a connection with it. So a packet that begins one, which its keys
//! tell, is looked into whatever its id.

use super::flights::{Datagram, Flights, IsOurs, Whose};
use super::ids::ConnectionIds;
use super::website::{Visitors, Welcome};
use crate::net::Dialer;
use crate::wire::quic::{Header, ID_LENGTH, PacketKind};
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, ConnectionId, UdpPoller};
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::time::{Instant, Sleep, sleep_until};

/// How many ids are known without a look at what seals them.
const RECENT: usize = 256;

/// Whose connections are whose.
pub(crate) struct Rules {
    /// Whether a client with this hello is one of ours.
    pub(crate) is_ours: Box<IsOurs>,
    /// Where everything goes that is not ours. Without one, nobody answers.
    pub(crate) website: Option<Arc<Dialer>>,
    /// Counts a visitor until what it returns is dropped.
    pub(crate) welcome: Arc<Welcome>,
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules").field("website", &self.website).finish_non_exhaustive()
    }
}

/// A socket that quinn shares with a website.
#[derive(Debug)]
pub(super) struct Demux {
    inner: Arc<dyn AsyncUdpSocket>,
    ids: ConnectionIds,
    rules: Rules,
    visitors: Arc<Visitors>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    flights: Flights,
    /// What is quinn's and was kept, in the order in which it came.
    ready: VecDeque<Datagram>,
    /// Ids of ours that were seen last, by their first bytes: the next packet has one of them, mostly.
    recent: Box<[Option<[u8; ID_LENGTH]>; RECENT]>,
    /// When a flight is not waited for any longer.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Demux {
    /// Shares this socket: what has one of these ids is quinn's, and new connections are whose these rules say.
    pub(super) fn new(inner: Arc<dyn AsyncUdpSocket>, ids: ConnectionIds, rules: Rules) -> Arc<Demux> {
        let visitors = Visitors::new(Arc::clone(&inner), Arc::clone(&rules.welcome));
        let (flights, ready, recent) =
            (Flights::new(rules.website.is_some()), VecDeque::new(), Box::new([None; RECENT]));
        let state = Mutex::new(State { flights, ready, recent, alarm: None });
        Arc::new(Demux { inner, ids, rules, visitors, state })
    }

    /// Whether a client of ours that has begun with this id offers protocols.
    pub(super) fn offers_protocols(&self, from: SocketAddr, id: ConnectionId) -> bool {
        self.state().flights.offers_protocols(from, id)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves in the buffer what is quinn's. It may hold several datagrams of one length, of which the last may be
    /// shorter.
    fn sort_buffer(&self, state: &mut State, buffer: &mut [u8], meta: &mut RecvMeta, now: Instant) {
        let end = meta.len.min(buffer.len());
        let (mut at, mut left) = (0, 0);
        while at < end {
            let next = end.min(at + meta.stride.max(1));
            let datagram = buffer.get(at..next).unwrap_or_default();
            if self.sort(state, datagram, meta, now) {
                if left < at {
                    buffer.copy_within(at..next, left);
                }
                left += next - at;
            }
            at = next;
        }
        meta.len = left;
    }

    /// Whether a datagram is quinn's, and nothing that is quinn's stands before it. All others are passed on, or kept.
    fn sort(&self, state: &mut State, bytes: &[u8], meta: &RecvMeta, now: Instant) -> bool {
        let (is_own, head) = match Header::parse(bytes) {
            Some(Header::Short(id)) => (self.is_own(state, id), None),
            Some(Header::Long(head)) => {
                let is_own = head.destination.try_into().is_ok_and(|id| self.is_own(state, id));
                let begins = match head.kind {
                    PacketKind::Initial => true,
                    PacketKind::ZeroRtt => !is_own,
                    PacketKind::Handshake | PacketKind::Retry => false,
                };
                (is_own, begins.then_some(head))
            }
            Some(Header::OtherVersion { .. }) | None => (false, None),
        };
        let whose = match &head {
            Some(head) => state.flights.sort(head, bytes, meta, now, &self.rules.is_ours),
            None => Whose::Unknown,
        };
        match whose {
            Whose::Unknown if is_own => true,
            Whose::Ours(kept) if kept.is_empty() && state.ready.is_empty() => true,
            Whose::Ours(kept) => {
                state.ready.extend(kept);
                state.ready.push_back(Datagram::new(bytes, meta));
                false
            }
            Whose::Undecided => false,
            Whose::Others(kept) => {
                self.pass_on(&kept);
                self.visitors.pass(self.rules.website.as_ref(), bytes, meta);
                false
            }
            Whose::Unknown => {
                self.visitors.pass(self.rules.website.as_ref(), bytes, meta);
                false
            }
        }
    }

    fn is_own(&self, state: &mut State, id: &[u8; ID_LENGTH]) -> bool {
        let [first, ..] = *id;
        let Some(recent) = state.recent.get_mut(usize::from(first)) else { return false };
        let is_own = *recent == Some(*id) || self.ids.validates(id);
        if is_own {
            *recent = Some(*id);
        }
        is_own
    }

    /// Passes datagrams that were kept on to the website.
    fn pass_on(&self, kept: &[Datagram]) {
        for datagram in kept {
            self.visitors.pass(self.rules.website.as_ref(), &datagram.bytes, &datagram.meta);
        }
    }
}

impl State {
    /// Gives what was kept and is quinn's, as much as there are buffers. Returns how many there were.
    fn give(&mut self, buffers: &mut [IoSliceMut<'_>], metas: &mut [RecvMeta]) -> usize {
        let mut given = 0;
        for (buffer, meta) in buffers.iter_mut().zip(metas) {
            let Some(Datagram { bytes, meta: kept }) = self.ready.pop_front() else { break };
            *meta = kept;
            // It came out of a buffer of the same length.
            meta.len = kept.len.min(buffer.len());
            buffer.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
            given += 1;
        }
        given
    }

    /// Waits until the next flight is not waited for any longer. Ready: there is one now.
    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.flights.next_end() else { return Poll::Pending };
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if alarm.deadline() != at {
            alarm.as_mut().reset(at);
        }
        alarm.as_mut().poll(cx)
    }
}

impl AsyncUdpSocket for Demux {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.inner.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.state();
        let given = state.give(buffers, metas);
        if given > 0 {
            return Poll::Ready(Ok(given));
        }
        // Where nothing is left for quinn it learns of empty buffers, which it passes over: whatever comes, it works
        // no longer than it wants to at a time.
        let received = self.inner.poll_recv(cx, buffers, metas);
        if let Poll::Ready(Ok(count)) = received {
            let now = Instant::now();
            for (buffer, meta) in buffers.iter_mut().zip(metas).take(count) {
                self.sort_buffer(&mut state, buffer, meta, now);
            }
        }
        loop {
            let given_up = state.flights.take_given_up(Instant::now());
            self.pass_on(&given_up);
            if received.is_ready() || state.poll_alarm(cx).is_pending() {
                return received;
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

#[cfg(test)]
mod tests;
