//! Looks at the clock.

use super::engine::{Incoming, Mux};
use super::session::{Session, Socket};
use super::{CLIENT_IDLE, SERVER_IDLE, SILENCE, SILENT_MAX, UNREAD_MAX};
use crate::relay::{End, RelayStream};
use crate::transport::websocket::{CLIENT_GRACE, SERVER_GRACE};
use crate::wire::mux;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// How often sessions that end or stall are looked at.
pub(super) const LOOK: Duration = Duration::from_millis(500);

/// How long what waits may take once the connection is broken: its sessions are reset after that in any case.
const DRAIN: Duration = Duration::from_secs(5);

impl<S: RelayStream, I: Incoming> Mux<S, I> {
    /// Looks at the clock: ends sessions that stand still, and the connection when it is over.
    pub(super) fn look(
        &mut self,
        cx: &mut Context<'_>,
        mut timer: Pin<&mut Sleep>,
        empty_since: &mut Instant,
    ) -> Poll<End> {
        loop {
            if self.wire_over.is_some() {
                // What has come is still delivered: after an end in order for as long as it moves, as in a
                // tunnel without mux; where the connection broke, to backends that are being dialled and have
                // got nothing of it yet.
                let in_order = matches!(self.wire_over, Some(End::Closed));
                let broken = matches!(self.wire_over, Some(End::Reset(..)));
                let over_since = match self.over_since {
                    Some(since) => since,
                    None => {
                        if in_order {
                            // Each socket is told the end behind what waits for it.
                            self.sessions.iter_mut().for_each(|session| session.wire_ended = true);
                        }
                        self.over_since = Some(Instant::now());
                        self.poll(cx);
                        continue;
                    }
                };
                let waits = self.sessions.iter().any(|session| {
                    let gets_it = !broken || matches!(session.socket, Socket::Dialling(_));
                    gets_it && session.waiting() > 0 && !session.over
                });
                if !waits || (!in_order && over_since.elapsed() > DRAIN) {
                    return Poll::Ready(self.wire_over.take().unwrap_or(End::Closed));
                }
            }
            if self.hang_up && self.sessions.is_empty() && self.out.is_empty() {
                return Poll::Ready(End::Closed);
            }
            if self.wire_over.is_none() && !self.sessions.is_empty() {
                *empty_since = Instant::now();
            }
            if self.unread_since.is_some_and(|since| since.elapsed() >= UNREAD_MAX) {
                let error = io::Error::new(io::ErrorKind::TimedOut, "it does not read what it asks for");
                return Poll::Ready(End::Reset(self.wire_side(), error));
            }
            let checked = match self.check(cx) {
                Ok(at) => at,
                Err(end) => return Poll::Ready(end),
            };
            let idle = if I::SERVER { SERVER_IDLE } else { CLIENT_IDLE };
            let wants_looks = |session: &Session| session.wants_looks() || (I::SERVER && session.is_silent());
            let wanted = if self.wire_over.is_some()
                || self.unread_since.is_some()
                || self.sessions.iter().any(wants_looks)
            {
                LOOK
            } else if self.sessions.is_empty() {
                if empty_since.elapsed() >= idle || (self.no_more && !I::SERVER) {
                    self.incoming.close();
                    self.poll_incoming(cx);
                    if self.sessions.is_empty() {
                        return Poll::Ready(End::Closed);
                    }
                    continue;
                }
                idle.saturating_sub(empty_since.elapsed())
            } else {
                idle.min(self.timeouts.idle)
            };
            let now = Instant::now();
            let wanted = checked.map_or(wanted, |at| wanted.min(at.saturating_duration_since(now)));
            let due = now + wanted;
            if timer.deadline() > due {
                timer.as_mut().reset(due);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            timer.as_mut().reset(Instant::now() + wanted.max(Duration::from_millis(1)));
            self.look_at_sessions();
            if I::SERVER {
                self.look_at_silent_sessions();
            }
            self.poll(cx);
        }
    }

    /// Ends sessions in which nobody says anything, and has one at a time dialled for: a stranger who opens
    /// sessions has no more connections to the backend from it than from none.
    fn look_at_silent_sessions(&mut self) {
        let mut dialled = false;
        let mut oldest: Option<(usize, Instant)> = None;
        for index in 0..self.sessions.len() {
            let Some(session) = self.sessions.get(index) else { return };
            if !session.is_silent() || session.over {
                continue;
            }
            if session.began.elapsed() >= SILENT_MAX {
                tracing::debug!(id = session.id, "a session is ended: neither end says anything");
                self.abort(index);
            } else if !matches!(session.socket, Socket::Silent) {
                dialled = true;
            } else if (session.wire_ended || session.began.elapsed() >= SILENCE)
                && oldest.is_none_or(|(_, began)| session.began < began)
            {
                oldest = Some((index, session.began));
            }
        }
        if let Some((index, _)) = oldest
            && !dialled
            && let Some(dial) = self.incoming.dial()
            && let Some(session) = self.sessions.get_mut(index)
        {
            session.socket = Socket::Dialling(dial);
        }
    }

    fn look_at_sessions(&mut self) {
        let now = Instant::now();
        let ours = self.websocket.peer_knows_half_closes();
        for index in 0..self.sessions.len() {
            let timeouts = self.timeouts;
            let Some(session) = self.sessions.get_mut(index) else { return };
            let quiet = session.quiet_for(now);
            let limit = match (session.socket_ended, session.wire_ended) {
                (true, false) if I::SERVER && session.id == 0 && session.waiting() == 0 => Duration::ZERO,
                (true, false) if I::SERVER && !ours => SERVER_GRACE,
                (true, false) if !I::SERVER && !ours => CLIENT_GRACE,
                (false, false) => timeouts.idle,
                _ => timeouts.half_closed,
            };
            if quiet < limit {
                continue;
            }
            session.over = true;
            if session.waiting() > 0 {
                // What the socket got is not all there was.
                session.reset();
            }
            if !std::mem::replace(&mut session.said_end, true) {
                let id = session.id;
                self.say(&mux::end(id, false));
            }
        }
    }
}
