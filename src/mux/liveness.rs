//! Whether the way to the peer still works, for the end that begins the sessions.
//!
//! A phone that changes networks and a NAT that forgets leave connections behind that are open and carry
//! nothing. So a WebSocket ping is sent (every server answers those, and v2ray's answers no keep-alive of
//! Mux.Cool) before a connection that was quiet for [`QUIET`] takes another session, and when data have
//! gone out and nothing has come for [`PING_AFTER`]; while an answer is awaited, again with twice the
//! interval each time. While nothing is open, or all that was said is answered, nothing is sent: an idle
//! phone sleeps.
//!
//! Any byte that comes proves that the way works, as a pong may be behind megabytes of data.
//!
//! A ping without an answer is not yet the end: the network may be away for a minute, as in a tunnel, and
//! a peer that does not read does not answer. Then other connections take the further sessions, and the
//! end comes only when another one has answered a later ping, so that it is this connection alone that
//! carries nothing.

use super::engine::{Fresh, Incoming, Mux, SCRATCH};
use super::looks::LOOK;
use crate::relay::{End, RelayStream};
use std::io;
use std::task::Context;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// A connection that was silent for so long is asked before it takes a session.
pub const QUIET: Duration = Duration::from_secs(1);

/// How long data go unanswered before a ping. (A server that works on its answer is asked too, and says
/// that it is there.)
pub const PING_AFTER: Duration = Duration::from_secs(2);

/// How long a ping goes unanswered before the connection is over, where others answer theirs.
pub const DEAD: Duration = Duration::from_secs(10);

/// With so many bytes on their way since the peer was last heard, its silence says nothing: it may not
/// have got to the ping, or it may not read. Then the end is TCP's business.
pub const UNHEARD: u64 = 64 * 1024;

/// What is known of the way.
#[derive(Debug)]
pub struct Liveness {
    /// When anything has come last.
    heard: Instant,
    /// The same on the clock that goes on while the machine sleeps.
    heard_at: SystemTime,
    /// When the ping was sent since which nothing has come.
    asked: Option<Instant>,
    /// When the first data were sent since which nothing has come.
    unheard_since: Option<Instant>,
    /// How many bytes of data.
    unheard: u64,
    /// Data have been sent since payload has come last.
    waiting: bool,
    /// When a peer that has answered pings and no data is asked again.
    again: Option<Instant>,
    interval: Duration,
}

impl Liveness {
    /// A connection whose peer has just answered the handshake.
    #[expect(clippy::disallowed_methods, reason = "it goes on while the machine sleeps")]
    pub fn new(now: Instant) -> Liveness {
        Liveness {
            heard: now,
            heard_at: SystemTime::now(),
            asked: None,
            unheard_since: None,
            unheard: 0,
            waiting: false,
            again: None,
            interval: PING_AFTER,
        }
    }

    /// So many bytes of data go out.
    pub fn sent(&mut self, len: usize) {
        self.unheard_since.get_or_insert_with(Instant::now);
        self.unheard = self.unheard.saturating_add(len as u64);
        self.waiting = true;
    }

    /// A ping goes out.
    pub fn ask(&mut self, now: Instant) {
        self.asked.get_or_insert(now);
    }

    /// Something has come. Returns when the ping was sent that it may be the answer to.
    #[expect(clippy::disallowed_methods, reason = "it goes on while the machine sleeps")]
    pub fn heard(&mut self, now: Instant) -> Option<Instant> {
        self.heard = now;
        self.heard_at = SystemTime::now();
        self.unheard_since = None;
        self.unheard = 0;
        let asked = self.asked.take();
        if self.waiting && asked.is_some() {
            self.interval = self.interval.saturating_mul(2);
            self.again = Some(now + self.interval);
        }
        asked
    }

    /// What has come was payload.
    pub fn answered(&mut self) {
        self.waiting = false;
        self.again = None;
        self.interval = PING_AFTER;
    }

    /// Whether the peer was silent for so long that it is to be asked first.
    pub fn is_quiet(&self, now: Instant) -> bool {
        let asleep = self.heard_at.elapsed().unwrap_or_default();
        now.saturating_duration_since(self.heard).max(asleep) >= QUIET
    }

    /// When the ping was sent that has had no answer.
    pub fn asked(&self) -> Option<Instant> {
        self.asked
    }

    /// When a ping is to be sent because data go unanswered.
    pub fn due(&self) -> Option<Instant> {
        match self.asked {
            Some(_) => None,
            None => self.unheard_since.map(|since| since + PING_AFTER).or(self.again),
        }
    }

    /// The peer was not listened to, so its silence up to now says nothing.
    pub fn not_listening(&mut self, now: Instant) {
        if let Some(asked) = &mut self.asked {
            *asked = now;
        }
    }

    /// Whether the silence since the ping can have no other reason than a way that does not work, once
    /// somebody else has had an answer.
    pub fn is_mute(&self, now: Instant) -> bool {
        self.unheard < UNHEARD && self.asked.is_some_and(|asked| now.saturating_duration_since(asked) >= DEAD)
    }

    /// How long nothing has come.
    pub fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard)
    }
}

/// How long until another connection is tried once more, at first and at most.
const ANOTHER: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(60));

impl<S: RelayStream, I: Incoming> Mux<S, I> {
    /// Whether a session can begin now, or waits for the peer to show that it is there.
    pub(super) fn may_begin(&self) -> bool {
        let there = self.incoming.is_deaf() || !self.liveness.is_quiet(Instant::now());
        there && self.out.len() - self.written < SCRATCH
    }

    /// Keeps a session until the peer shows that it is there, and asks it to.
    pub(super) fn hold(&mut self, fresh: Fresh) {
        let now = Instant::now();
        if self.held.is_empty() {
            self.held_since = now;
        }
        self.held.push_back(fresh);
        if !self.incoming.is_deaf() {
            self.ask(now);
        }
    }

    /// The connection's first words, where it is to show that the way works.
    pub(super) fn prove(&mut self) {
        if !I::SERVER && self.incoming.is_to_be_proved() {
            // A session that went with the handshake may be answered before the ping.
            self.proof_due = self.sessions.is_empty();
            self.ask(Instant::now());
        }
    }

    /// Sends a ping, if there is none that waits for its answer.
    fn ask(&mut self, now: Instant) {
        if self.liveness.asked().is_none() {
            let ping = self.websocket.ping();
            self.out.extend_from_slice(ping.as_bytes());
            self.liveness.ask(now);
        }
    }

    /// Something has come after the ping of `asked`.
    pub(super) fn note_answer(&mut self, asked: Instant) {
        if self.websocket.peer_answers_pings() {
            self.proof_due = false;
            self.incoming.found_alive(asked);
        }
    }

    /// Payload has come.
    pub(super) fn note_payload(&mut self) {
        if !I::SERVER {
            self.liveness.answered();
            if std::mem::take(&mut self.proof_due) && !self.websocket.peer_answers_pings() {
                self.incoming.found_deaf();
            }
        }
    }

    /// Hands the sessions that wait on to other connections.
    pub(super) fn release(&mut self) {
        let asked = self.liveness.asked().unwrap_or_else(Instant::now);
        for fresh in std::mem::take(&mut self.held) {
            self.incoming.give_back(fresh, asked);
        }
    }

    /// Asks a peer that is silent, and sees to what follows from that. Returns when to do so again, or the
    /// end of the connection.
    pub(super) fn check(&mut self, cx: &mut Context<'_>) -> Result<Option<Instant>, End> {
        if I::SERVER || self.wire_over.is_some() || self.write_error.is_some() {
            return Ok(None);
        }
        let now = Instant::now();
        let listening = !self.must_pause();
        if listening && !std::mem::replace(&mut self.listening, listening) {
            self.liveness.not_listening(now);
        }
        self.listening = listening;
        let deaf = self.incoming.is_deaf();
        if !deaf && !self.sessions.is_empty() && self.liveness.due().is_some_and(|due| due <= now) {
            self.ask(now);
            self.poll_out(cx);
        }
        let timeout = self.incoming.pong_timeout();
        let asked = self.liveness.asked().filter(|_| !deaf);
        let late = asked.filter(|asked| now.saturating_duration_since(*asked) >= timeout);
        if late.is_some() != self.doubtful {
            self.doubtful = late.is_some();
            self.incoming.set_doubtful(self.doubtful);
            self.another = None;
        }
        if late.is_some() || now.saturating_duration_since(self.held_since) >= timeout {
            self.release();
        }
        let mut next = match (asked, late) {
            (None, _) if deaf || self.sessions.is_empty() => None,
            (None, _) => self.liveness.due(),
            (Some(asked), None) => Some(asked + timeout),
            (Some(_), Some(_)) => None,
        };
        if !self.held.is_empty() {
            let until = self.held_since + timeout;
            next = Some(next.map_or(until, |next| next.min(until)));
        }
        if let Some(asked) = late
            && listening
            && !self.sessions.is_empty()
            && self.liveness.unheard < UNHEARD
        {
            next = Some(now + LOOK);
            self.seek_another(now, asked);
            if self.liveness.is_mute(now) && self.incoming.others_answer(asked) {
                return Err(self.mute(now));
            }
        }
        Ok(next)
    }

    /// Has another connection tried, now and then.
    fn seek_another(&mut self, now: Instant, asked: Instant) {
        let (at, wait) = self.another.unwrap_or((now, ANOTHER.0));
        if at <= now {
            let peer = self.sessions.iter().find_map(|session| session.peer);
            self.incoming.want_another(asked, peer);
            self.another = Some((now + wait, (wait * 2).min(ANOTHER.1)));
        }
    }

    /// The end of a connection that alone carries nothing.
    fn mute(&self, now: Instant) -> End {
        let silence = self.liveness.silence(now).as_secs();
        let sessions = self.sessions.len();
        tracing::warn!(
            sessions,
            "a mux connection to the server is dead: nothing has come for {silence} s, and the server answers \
             another one; its sessions are reset"
        );
        let error = io::Error::new(io::ErrorKind::TimedOut, "no answer to a ping");
        End::Reset(self.wire_side(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn unanswered_data_are_followed_by_pings_that_become_rarer() {
        let start = Instant::now();
        let mut liveness = Liveness::new(start);
        assert_eq!(liveness.due(), None, "nothing was said");
        liveness.sent(100);
        let mut at = Vec::new();
        // Pings are answered at once, data never.
        while let Some(due) = liveness.due()
            && due < start + Duration::from_secs(300)
        {
            liveness.ask(due);
            assert_eq!(liveness.heard(due + MS), Some(due));
            at.push((due - start).as_secs());
        }
        assert_eq!(at, [2, 6, 14, 30, 62, 126, 254]);
        liveness.answered();
        assert_eq!(liveness.due(), None, "an idle connection is left alone");
    }

    #[tokio::test(start_paused = true)]
    async fn every_byte_proves_life_and_much_on_the_way_proves_nothing() {
        let start = Instant::now();
        let mut liveness = Liveness::new(start);
        liveness.sent(100);
        liveness.ask(start);
        assert!(!liveness.is_mute(start + DEAD - MS));
        assert!(liveness.is_mute(start + DEAD));
        liveness.not_listening(start + DEAD);
        assert!(!liveness.is_mute(start + DEAD));
        liveness.heard(start + DEAD);
        assert!(!liveness.is_mute(start + 10 * DEAD));
        liveness.ask(start + DEAD);
        liveness.sent(UNHEARD as usize);
        assert!(!liveness.is_mute(start + 10 * DEAD));
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_of_silence_is_quiet() {
        let start = Instant::now();
        let liveness = Liveness::new(start);
        assert!(!liveness.is_quiet(start + QUIET - MS));
        assert!(liveness.is_quiet(start + QUIET));
    }
}
