//! The end of a connection: what becomes of its sessions, and what is told of them.

use super::Engine;
use crate::mux::packets::{Over, PacketSession};
use crate::mux::session::{Failed, Session};
use crate::mux::source::SessionSource;
use crate::relay::{End, Outcome, RelayStream};
use crate::telemetry::Kind;
use crate::transport::framing::Framing;
use std::task::{Context, Poll};
use tokio::time::Instant;

impl<S: RelayStream, F: Framing, I: SessionSource> Engine<S, F, I> {
    /// Hands on the sessions that were on their way when the peer closed the connection, as a server does that ends, and
    /// every one that has long had no session. It has to have said so: what ends without a word may have been taken.
    pub(super) fn hand_on(&mut self, cx: &mut Context<'_>) {
        if !I::IS_CLIENT || !self.is_closed_by_peer {
            return;
        }
        let (since, source) = (Instant::now(), &mut self.starts.source);
        source.close();
        for session in self.sessions.take_back() {
            source.hand_on(session, since);
        }
        // Nor do those wait for the end that have not begun.
        while let Poll::Ready(Some(session)) = source.poll_session(cx) {
            source.hand_on(session, since);
        }
        self.starts.give_back();
    }

    /// Whether what has come is still delivered though the connection is over: after an end in order for as
    /// long as it moves, as in a tunnel without mux; where the connection broke, to backends that are being
    /// dialled and have got nothing of it yet.
    pub(super) fn is_delivering(&self) -> bool {
        let in_order = matches!(self.over, Some(End::Closed));
        let broken = matches!(self.over, Some(End::Reset(..)));
        let gets_it = |session: &Session| !broken || session.is_connecting();
        (in_order || !self.timers.drain_is_over())
            && self
                .sessions
                .iter()
                .any(|session| gets_it(session) && session.waiting() > 0 && !session.is_closed())
    }

    /// Tells of a session of UDP that is over.
    pub(super) fn note_packets_end(&mut self, session: &PacketSession, end: End) {
        let (up, down) = session.up_and_down();
        self.up += up;
        self.down += down;
        let Some(record) = self.starts.source.record(Kind::UDP, session.peer, session.began) else { return };
        let end = match session.over() {
            Some(Over::Refused) => {
                return record.failed("refused", &"there is no way to Shadowsocks over UDP for it");
            }
            Some(Over::NotTaken) => {
                self.starts.source.refuses_packets();
                return record.failed("refused", &"the server takes no UDP");
            }
            Some(Over::Idle) => End::Idle(crate::udp::IDLE),
            Some(Over::Told | Over::Forgotten) | None => end,
        };
        record.ended(&Outcome { up, down, end, closing: None });
    }

    pub(super) fn note_end(&mut self, mut session: Session, end: End) {
        let (up, down) = Self::bytes(&session);
        self.up += up;
        self.down += down;
        let Some(record) = self.starts.source.record(Kind::SESSION, session.peer, session.began) else {
            return;
        };
        match session.take_failure() {
            Some(Failed::NoTunnel(end, cause)) => record.failed(end, &cause),
            _ if !session.has_stood() => record.failed("gone", &"it ended before there was a tunnel"),
            Some(Failed::Ended(end)) => record.ended(&Outcome { up, down, end, closing: None }),
            None => record.ended(&Outcome { up, down, end, closing: None }),
        }
    }

    /// The bytes of a session, up and down.
    fn bytes(session: &Session) -> (u64, u64) {
        let (to_socket, from_socket) = (session.to_socket, session.from_socket);
        if I::IS_CLIENT { (from_socket, to_socket) } else { (to_socket, from_socket) }
    }

    pub(super) async fn close(mut self, end: End) -> Outcome {
        if let End::Reset(..) | End::Malformed(..) = end {
            // What they got is not all there was.
            self.sessions.iter().for_each(Session::reset);
        }
        for session in self.sessions.take_all() {
            let end = match &end {
                End::Reset(side, error) => End::Reset(*side, error.kind().into()),
                End::Idle(time) => End::Idle(*time),
                End::Stalled(time) => End::Stalled(*time),
                _ => End::Closed,
            };
            self.note_end(session, end);
        }
        for session in self.packets.take_all() {
            self.note_packets_end(&session, End::Closed);
        }
        self.link.close(&end, self.timers.half_closed()).await;
        Outcome { up: self.up, down: self.down, end, closing: None }
    }
}

/// Sessions that are open when the process ends, or the code has a fault, have their lines in the access log, too.
impl<S: RelayStream, F: Framing, I: SessionSource> Drop for Engine<S, F, I> {
    fn drop(&mut self) {
        for session in self.sessions.take_all() {
            let bytes = Self::bytes(&session);
            if let Some(record) = self.starts.source.record(Kind::SESSION, session.peer, session.began) {
                record.cut(bytes);
            }
        }
        for session in self.packets.take_all() {
            if let Some(record) = self.starts.source.record(Kind::UDP, session.peer, session.began) {
                record.cut(session.up_and_down());
            }
        }
    }
}
