//! The task of a connection: it passes on what comes on the connection and from the sessions, and looks at
//! the clock.

mod ending;

use super::link::{Cursor, Event, Link, READ};
use super::packets::{ANSWER, FOREIGN_LONGEST, Longest, PacketSession, PacketSessions, ROUND};
use super::session::Session;
use super::sessions::{SESSIONS, Sessions};
use super::source::{App, Backend, NewSession, SessionSource};
use super::starts::Starts;
use super::state::Tell;
use super::timers::{TICK, Timers, UNREAD_MAX};
use crate::metrics::{self, Failure, PacketDropped};
use crate::relay::{End, EndSeen, Outcome, Pieces, RelayStream, Scratch, Timeouts, with_scratch};
use crate::runtime::buffers;
use crate::runtime::drain;
use crate::runtime::turn::{self, TURN, end_turn, note_moved};
use crate::runtime::watchdog;
use crate::transport::OpenMux;
use crate::transport::framed::{Framed, Received};
use crate::transport::framing::Framing;
use crate::wire::mux::{self, Encoder, Head, Network, Status};
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::time::Instant;

/// Serves the sessions that a client begins in a connection, until that is over. They go to the `backend`.
pub fn serve(
    open: OpenMux,
    backend: Backend,
    timeouts: Timeouts,
) -> Pin<Box<dyn Future<Output = Outcome> + Send>> {
    match open {
        OpenMux::WebSocket(open) => Box::pin(Engine::new(*open, backend, timeouts).run()),
        #[cfg(feature = "grpc")]
        OpenMux::Hunks(open) => Box::pin(Engine::new(*open, backend, timeouts).run()),
    }
}

pub(super) struct Engine<S: RelayStream, F: Framing, I: SessionSource> {
    link: Link<S, F>,
    sessions: Sessions,
    packets: PacketSessions,
    /// Those of UDP are asked first for what they have.
    packets_first: bool,
    /// When the peer was asked whether it is one of ours.
    asked_who: Option<Instant>,
    starts: Starts<I>,
    timers: Timers,
    /// What had come before the connection was ours.
    received: Option<Received>,
    /// Of the next session that this end begins.
    next_id: u16,
    /// The peer of a session with id 0 knows its end only by that of the connection.
    close_when_empty: bool,
    /// Payload of sessions that have ended.
    up: u64,
    down: u64,
    /// The connection is over.
    over: Option<End>,
    /// The peer has said that it is.
    is_closed_by_peer: bool,
    /// The reactor that watches the connection.
    reactor: u32,
    /// Ready when the process only waits for its sessions to end.
    drain: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Data for one session, as they are in the input.
struct Batch<'a> {
    id: Option<u16>,
    data: &'a mut Pieces,
}

impl<S: RelayStream, F: Framing, I: SessionSource> Engine<S, F, I> {
    /// A connection whose handshake is done.
    pub(super) fn new(handoff: Framed<S, F>, source: I, timeouts: Timeouts) -> Self {
        let (link, received) = Link::new(handoff, I::ROLE);
        Engine {
            link,
            sessions: Sessions::new(I::ROLE, source.may_be_many()),
            packets: PacketSessions::default(),
            packets_first: false,
            asked_who: None,
            starts: Starts::new(source),
            timers: Timers::new(I::ROLE, timeouts),
            received: Some(received),
            next_id: 1,
            close_when_empty: false,
            up: 0,
            down: 0,
            over: None,
            is_closed_by_peer: false,
            reactor: turn::reactor(),
            drain: Box::pin(drain::begun()),
        }
    }

    /// Serves the sessions until the connection is over, or can take no more of them.
    pub(super) async fn run(mut self) -> Outcome {
        watchdog::stage("mux");
        let end = poll_fn(|cx| {
            if let Some(received) = self.received.take() {
                let nothing_is_asked = self.has_no_sessions();
                self.starts.prove(&mut self.link, nothing_is_asked);
                // What has come may be for a session that waits to be begun.
                self.poll_starts(cx);
                self.over = self.take_received(cx, received);
            }
            if self.reactor != turn::reactor() {
                self.change_reactor();
            }
            catch_unwind(AssertUnwindSafe(|| self.poll(cx))).unwrap_or_else(|panic| {
                // Nobody may take what it got for all there was.
                self.sessions.iter().for_each(Session::reset);
                self.link.abort();
                resume_unwind(panic)
            });
            self.poll_timers(cx)
        })
        .await;
        self.starts.give_back();
        self.close(end).await
    }

    /// Does all there is to do, until everything waits or the turn is over.
    fn poll(&mut self, cx: &mut Context<'_>) {
        let before = turn::moved();
        loop {
            if turn::moved().wrapping_sub(before) >= 2 * TURN {
                return end_turn(cx);
            }
            let mut moved = false;
            self.flush(cx);
            self.poll_starts(cx);
            self.sessions.iter_mut().for_each(|session| session.poll_socket(cx));
            self.sessions.note_full();
            if self.over.is_none() && !self.link.is_full() && !self.sessions.are_full() {
                moved |= self.poll_link(cx);
            }
            if self.over.is_none() && !self.link.is_broken() && self.link.is_drained() {
                moved |= self.poll_ports(cx);
            }
            moved |= self.sweep();
            if !moved {
                if !self.link.wants_flush() {
                    return;
                }
                // What came last has left something to say. The sockets were not looked at while that waited.
                self.flush(cx);
                if self.over.is_some() || !self.link.is_drained() {
                    return;
                }
            }
        }
    }

    fn flush(&mut self, cx: &mut Context<'_>) {
        if self.over.is_none() {
            self.link.poll_flush(cx);
        }
    }

    /// Begins the sessions that this end wants.
    fn poll_starts(&mut self, cx: &mut Context<'_>) {
        while self.over.is_none()
            && !self.link.is_broken()
            && let Some(session) = self.starts.next(cx, &mut self.link)
        {
            let mut encoder = Encoder::client(self.next_id);
            // (the first packet of a source opens its session)
            let first_frame =
                if session.is_stream() { session.first_frame(&mut encoder) } else { Ok(Vec::new()) };
            let frame = first_frame.unwrap_or_else(|error| {
                self.link.break_off(io::Error::other(error));
                Vec::new()
            });
            self.starts.sent(session.start.first.len());
            self.begin_session(session, encoder, &frame);
            self.link.poll_flush(cx);
        }
    }

    /// Begins a session of this end, whose first frame was made by `encoder`; `frame` is what the peer has not
    /// been sent of it: the beginning may have gone with the handshake.
    pub(super) fn begin_session(&mut self, session: NewSession, encoder: Encoder, frame: &[u8]) {
        if !frame.is_empty() {
            self.link.queue_frame(frame);
        }
        let NewSession { app, start } = session;
        match app {
            App::Stream(socket) => {
                self.sessions.add(Session::of_ours(self.next_id, socket, start, encoder));
            }
            App::Packets(port) => {
                if self.packets.is_empty() && !self.link.peer_is_ours() {
                    self.link.queue_question();
                    self.asked_who = Some(Instant::now());
                }
                self.packets.add(PacketSession::of_ours(self.next_id, start.peer, port));
            }
        }
        self.next_id = self.next_id.wrapping_add(1).max(1);
    }

    /// Reads the connection once. Returns whether something has come, or its end.
    fn poll_link(&mut self, cx: &mut Context<'_>) -> bool {
        with_scratch(|Scratch { bytes, pieces }| {
            let input = match self.link.poll_read(cx, &mut bytes[..buffers::room(READ)]) {
                Poll::Pending => return false,
                Poll::Ready(Ok(input)) => input,
                Poll::Ready(Err(end)) => {
                    self.over = Some(end);
                    return true;
                }
            };
            let mut cursor = Cursor { frames: Some(0), ..Cursor::default() };
            self.over = self.take_input(cx, input, &mut cursor, pieces);
            self.starts.heard(cursor.payload_seen, self.link.pong_came());
            true
        })
    }

    /// Takes what had come before the connection was ours. Returns its end, if that has come too.
    fn take_received(&mut self, cx: &mut Context<'_>, received: Received) -> Option<End> {
        let Received { mut payload, session_ends, end_seen, .. } = received;
        let mut from = 0;
        let ends = session_ends.into_iter().map(|(at, id)| (at, Some(id)));
        for (at, id) in ends.chain([(payload.len(), None)]) {
            let mut cursor = Cursor { payload: from..at, ..Cursor::default() };
            if let Some(end) = self.take_input(cx, &mut payload, &mut cursor, &mut Pieces::default()) {
                return Some(end);
            }
            if let Some(session) = id.and_then(|id| self.sessions.get_mut(id)) {
                session.peer_ends();
            }
            from = at;
        }
        end_seen.map(|end| match end {
            EndSeen::Closed => End::Closed,
            EndSeen::Broken(error) => self.link.reset(error),
            EndSeen::Malformed(error) => self.link.malformed(error),
        })
    }

    /// Takes what has come, and delivers what is in it for the sessions. Returns the end of the connection, if
    /// that is in it.
    fn take_input(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut [u8],
        cursor: &mut Cursor,
        data: &mut Pieces,
    ) -> Option<End> {
        data.clear();
        let mut batch = Batch { id: None, data };
        let end = loop {
            match self.link.next(input, cursor) {
                Ok(None) => break None,
                Ok(Some(Event::End)) => {
                    self.is_closed_by_peer = true;
                    break Some(End::Closed);
                }
                Ok(Some(Event::Data(id, part))) => {
                    if self.packets.take_data(id, input.get(part.clone()).unwrap_or_default()) {
                        continue;
                    }
                    if batch.id != Some(id) {
                        self.deliver(cx, input, &mut batch);
                        batch.id = Some(id);
                    }
                    batch.data.input(part);
                }
                Ok(Some(Event::Frame(head))) => {
                    if !matches!(head.status, Status::Keep) {
                        self.deliver(cx, input, &mut batch);
                    }
                    if !self.take_packet_head(&head) {
                        self.take_head(head);
                    }
                }
                Ok(Some(Event::HalfClose(id))) => {
                    self.deliver(cx, input, &mut batch);
                    if let Some(session) = self.sessions.get_mut(id) {
                        session.peer_ends();
                    }
                }
                // What has come before it is delivered.
                Err(error) => break Some(self.link.malformed(error)),
            }
        };
        self.deliver(cx, input, &mut batch);
        self.packets.flush(&mut || self.starts.source.open_for_packets());
        end
    }

    /// Takes the head of a frame of a session of UDP, if it is one.
    fn take_packet_head(&mut self, head: &Head) -> bool {
        match head.status {
            Status::Keep => self.packets.begin_packet(head),
            Status::End => self.packets.peer_ends(head.id, head.error),
            Status::KeepAlive => false,
            Status::New(network) => {
                self.packets.peer_ends(head.id, false);
                if network != Network::Udp || I::IS_CLIENT {
                    return false;
                }
                if let Some(old) = self.sessions.get_mut(head.id) {
                    old.forget();
                }
                let why = if !self.starts.source.takes_packets() {
                    PacketDropped::NotSet
                } else if self.sessions.iter().count() + self.packets.len() >= SESSIONS {
                    PacketDropped::Sessions
                } else {
                    self.packets.add(PacketSession::of_peer(head.id));
                    return self.packets.begin_packet(head);
                };
                crate::udp::dropped(why, 1);
                // An error tells our clients that there is no UDP here.
                self.link.queue_frame(&mux::end(head.id, why == PacketDropped::NotSet));
                true
            }
        }
    }

    fn take_head(&mut self, Head { id, status, error, .. }: Head) {
        match (status, self.sessions.get_mut(id)) {
            (Status::New(network), old) => {
                if let Some(old) = old {
                    old.forget();
                }
                let is_room =
                    self.sessions.iter().count() + self.packets.len() < SESSIONS && self.sessions.has_room();
                if I::IS_CLIENT || network != Network::Tcp || !is_room {
                    if network == Network::Tcp && !I::IS_CLIENT {
                        metrics::connection_failed(Failure::Sessions);
                    }
                    return self.link.queue_frame(&mux::end(id, true));
                }
                self.sessions.add(Session::of_peer(id));
            }
            (Status::End, Some(session)) => session.peer_ends_session(error),
            (Status::Keep, None) => self.link.queue_frame(&mux::end(id, false)),
            (Status::End, None) | (Status::Keep, Some(_)) | (Status::KeepAlive, _) => {}
        }
    }

    fn deliver(&mut self, cx: &mut Context<'_>, input: &[u8], batch: &mut Batch<'_>) {
        if let Some(id) = batch.id.take() {
            self.sessions.deliver(cx, id, input, batch.data, || self.starts.source.connect());
            batch.data.clear();
        }
    }

    /// Asks the sessions for what they have: those of UDP and those of TCP take turns in being first.
    fn poll_ports(&mut self, cx: &mut Context<'_>) -> bool {
        self.packets_first = !self.packets_first;
        if self.packets_first {
            let moved = self.poll_packets(cx);
            return (self.link.is_drained() && !self.link.is_broken() && self.poll_sessions(cx)) || moved;
        }
        let moved = self.poll_sessions(cx);
        (self.link.is_drained() && !self.link.is_broken() && self.poll_packets(cx)) || moved
    }

    /// Writes what the sessions of UDP have with one call. Returns whether there was anything.
    fn poll_packets(&mut self, cx: &mut Context<'_>) -> bool {
        if self.packets.is_empty() {
            return false;
        }
        with_scratch(|Scratch { bytes, pieces }| {
            let (buffer, link) = (&mut bytes[..ROUND], &mut self.link);
            let longest = if link.peer_is_ours() { crate::udp::LONGEST } else { FOREIGN_LONGEST };
            // A long packet waits for the answer to the question whether it is taken.
            let may_be_ours = !link.peer_is_ours()
                && !link.peer_is_foreign()
                && self.asked_who.is_some_and(|at| at.elapsed() < ANSWER);
            let longest = Longest { taken: longest, waits: may_be_ours };
            pieces.clear();
            let frame = |encoder: &mut Encoder, frame: &mut [u8]| link.frame(encoder, frame);
            let heads = Link::<S, F>::HEADS;
            match self.packets.poll_read(cx, buffer, pieces, heads, longest, frame) {
                Ok(0) => false,
                Ok(used) => {
                    note_moved(2 * used as u64);
                    self.link.write(cx, buffer, pieces);
                    self.starts.sent(used);
                    true
                }
                Err(error) => {
                    self.link.break_off(io::Error::other(error));
                    false
                }
            }
        })
    }

    /// When a peer that was asked whether it is one of ours has not said so in time.
    fn answer_due(&self) -> Option<Instant> {
        let is_known = self.link.peer_is_ours() || self.link.peer_is_foreign();
        self.asked_who.filter(|at| !is_known && at.elapsed() < ANSWER).map(|at| at + ANSWER)
    }

    /// Whether there are no sessions now.
    fn has_no_sessions(&self) -> bool {
        self.sessions.is_empty() && self.packets.is_empty()
    }

    /// Reads the sessions' sockets in turn, and writes what they have with one call. Returns whether there was
    /// anything, or the end of one.
    fn poll_sessions(&mut self, cx: &mut Context<'_>) -> bool {
        with_scratch(|Scratch { bytes, pieces }| {
            let (buffer, link) = (&mut bytes[..buffers::room(READ)], &mut self.link);
            pieces.clear();
            let frame = |encoder: &mut Encoder, frame: &mut [u8]| link.frame(encoder, frame);
            let used = match self.sessions.poll_read(cx, buffer, pieces, Link::<S, F>::HEADS, frame) {
                Ok(Some(used)) => used,
                Ok(None) => return false,
                Err(error) => {
                    self.link.break_off(io::Error::other(error));
                    return false;
                }
            };
            note_moved(2 * used as u64);
            if used > 0 {
                self.link.write(cx, buffer, pieces);
                self.starts.sent(used);
            }
            true
        })
    }

    /// Tells the peer what has become of sessions, and takes those out that are over. Returns whether there
    /// were any.
    fn sweep(&mut self) -> bool {
        for session in self.sessions.iter_mut() {
            match session.take_tell() {
                None => {}
                Some(Tell::HalfClose) => self.link.queue_half_close(session.id),
                Some(Tell::End { error }) => {
                    self.close_when_empty |= !I::IS_CLIENT && session.id == 0;
                    self.link.queue_frame(&mux::end(session.id, error));
                }
            }
        }
        let mut any = false;
        while let Some(session) = self.sessions.take_closed() {
            self.note_end(session, End::Closed);
            self.starts.source.ended();
            any = true;
        }
        while let Some((session, tell)) = self.packets.take_over(I::IS_CLIENT) {
            if let Some(Tell::End { error }) = tell {
                self.link.queue_frame(&mux::end(session.id, error));
            }
            self.close_when_empty |= !I::IS_CLIENT && session.id == 0;
            self.note_packets_end(&session, End::Closed);
            self.starts.source.ended();
            any = true;
        }
        any
    }

    /// Looks at the clock: ends sessions that stand still, and the connection when it is over.
    fn poll_timers(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            if self.over.is_some() {
                if self.timers.note_over() {
                    if matches!(self.over, Some(End::Closed)) {
                        self.hand_on(cx);
                        // Each socket is told the end behind what waits for it.
                        self.sessions.iter_mut().for_each(Session::peer_ends);
                    }
                    self.poll(cx);
                    continue;
                }
                if !self.is_delivering() {
                    return Poll::Ready(self.over.take().unwrap_or(End::Closed));
                }
            } else if !self.has_no_sessions() {
                self.timers.note_in_use();
            }
            if self.close_when_empty && self.has_no_sessions() && self.link.is_drained() {
                return Poll::Ready(End::Closed);
            }
            if self.link.unread_for().is_some_and(|time| time >= UNREAD_MAX) {
                let error = io::Error::new(io::ErrorKind::TimedOut, "it does not read what it asks for");
                return Poll::Ready(self.link.reset(error));
            }
            let mut check = None;
            if self.over.is_none() {
                match self.starts.check(cx, &mut self.link, &self.sessions, &self.packets) {
                    Ok(at) => check = at,
                    Err(end) => return Poll::Ready(end),
                }
            }
            let mut wanted = if self.wants_ticks() {
                TICK
            } else if !self.has_no_sessions() {
                self.timers.longest()
            } else if self.timers.unused_left().is_zero()
                || (self.starts.no_more && I::IS_CLIENT)
                || self.is_draining(cx)
            {
                self.starts.source.close();
                self.poll_starts(cx);
                if self.has_no_sessions() {
                    return Poll::Ready(End::Closed);
                }
                continue;
            } else {
                self.timers.unused_left()
            };
            if let Some(check) =
                check.into_iter().chain(self.packets.next_check()).chain(self.answer_due()).min()
            {
                wanted = wanted.min(check.saturating_duration_since(Instant::now()));
            }
            if self.timers.poll(cx, wanted).is_pending() {
                return Poll::Pending;
            }
            let (now, limits) = (Instant::now(), self.timers.limits(self.link.peer_is_foreign()));
            self.sessions.iter_mut().for_each(|session| session.check_time(now, &limits));
            self.packets.check_time(now);
            if !I::IS_CLIENT {
                self.sessions.check_silent(|| self.starts.source.connect());
            }
            self.poll(cx);
        }
    }

    /// Whether the process only waits for the sessions to end. If not, the task is woken when it does.
    fn is_draining(&mut self, cx: &mut Context<'_>) -> bool {
        drain::is_draining() || self.drain.as_mut().poll(cx).is_ready()
    }

    fn wants_ticks(&self) -> bool {
        let wants_them = |session: &Session| session.wants_ticks() || (!I::IS_CLIENT && session.is_silent());
        self.over.is_some() || self.link.unread_for().is_some() || self.sessions.iter().any(wants_them)
    }

    /// Has everything watched by the reactor of the thread to which the task has been moved.
    fn change_reactor(&mut self) {
        self.reactor = turn::reactor();
        self.link.change_reactor();
        self.sessions.iter_mut().for_each(Session::change_reactor);
        self.starts.change_reactor();
        self.timers.change_reactor();
    }
}
