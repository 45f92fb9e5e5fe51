//! Whether the way to the peer still works, for the end that begins the sessions.
//!
//! A phone that changes networks and a NAT that forgets leave connections behind that are open and carry
//! nothing. So a WebSocket ping is sent (every server answers those, and v2ray's answers no keep-alive of
//! Mux.Cool) before a connection that was quiet for [`QUIET`] takes another session, and when data have
//! gone out and nothing has come for [`PING_AFTER`]; while an answer is awaited, again with twice the
//! interval each time. While nothing is open, or all that was said is answered, nothing is sent to this end: an
//! idle phone sleeps. (What keeps idle connections alive is another thing: `transport::websocket::keep_alive`.
//! Any ping counts for both, and the answers to those tell nothing here.)
//!
//! Any byte that comes proves that the way works, as a pong may be behind megabytes of data.
//!
//! A ping without an answer is not yet the end: the network may be away for a minute, as in a tunnel, and
//! a peer that does not read does not answer. Then other connections take the further sessions, and the
//! end comes only when another one has answered a later ping, so that it is this connection alone that
//! carries nothing.

use super::timers::TICK;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// A connection that was silent for so long is asked before it takes a session.
const QUIET: Duration = Duration::from_secs(1);

/// How long data go unanswered before a ping. (A server that works on its answer is asked too, and says
/// that it is there.)
const PING_AFTER: Duration = Duration::from_secs(2);

/// How long at most until it is asked again.
const MOST_INTERVAL: Duration = Duration::from_secs(3600);

/// How long a ping goes unanswered before the connection is over, where others answer theirs.
const DEAD: Duration = Duration::from_secs(10);

/// With so many bytes on their way since the peer was last heard, its silence says nothing: it may not
/// have got to the ping, or it may not read. Then the end is TCP's business.
const UNHEARD: u64 = 64 * 1024;

/// How long until another connection is tried once more, at first and at most.
const ANOTHER: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(60));

#[derive(Debug)]
pub(super) struct Liveness {
    /// When anything has come last.
    pub(super) heard: Instant,
    /// The same on the clock that goes on while the machine sleeps.
    heard_at: SystemTime,
    /// When the ping was sent since which nothing has come.
    pub(super) asked: Option<Instant>,
    /// When the first data were sent since which nothing has come, and how many bytes of data.
    unheard: Option<(Instant, u64)>,
    /// Data have been sent since payload has come last.
    waiting: bool,
    /// When a peer that has answered pings and no data is asked again.
    again: Option<Instant>,
    interval: Duration,
    /// The connection was read when that was asked last. If not, the peer's silence says nothing.
    was_read: bool,
    /// The ping with which the connection began has not been answered.
    proof_due: bool,
    /// The others have been told that the peer does not answer.
    doubtful: bool,
    /// When another connection is wanted next, and how long the one after that waits.
    another: Option<(Instant, Duration)>,
}

/// What liveness has to know of the connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// What comes is read.
    pub(super) is_read: bool,
    pub(super) has_sessions: bool,
    /// Since when sessions wait for the peer to show that it is there.
    pub(super) held_since: Option<Instant>,
    /// The peer answers no pings.
    pub(super) is_deaf: bool,
    pub(super) pong_timeout: Duration,
}

/// What is to be done now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Check {
    /// A ping is to be sent.
    pub(super) ping: bool,
    /// The others are to be told whether the peer can be counted on.
    pub(super) doubtful: Option<bool>,
    /// Sessions that wait are to go to other connections.
    pub(super) give_back: bool,
    /// Another connection is to be tried, younger than the ping that was sent then.
    pub(super) want_another: Option<Instant>,
    /// The connection is over if others have been answered since then.
    pub(super) mute_since: Option<Instant>,
    /// When to check again.
    pub(super) again: Option<Instant>,
}

impl Liveness {
    /// A connection whose peer has just answered the handshake.
    #[expect(clippy::disallowed_methods, reason = "it goes on while the machine sleeps")]
    pub(super) fn new(now: Instant) -> Liveness {
        Liveness {
            heard: now,
            heard_at: SystemTime::now(),
            asked: None,
            unheard: None,
            waiting: false,
            again: None,
            interval: PING_AFTER,
            was_read: true,
            proof_due: false,
            doubtful: false,
            another: None,
        }
    }

    pub(super) fn sent(&mut self, len: usize) {
        let (_, unheard) = self.unheard.get_or_insert_with(|| (Instant::now(), 0));
        *unheard = unheard.saturating_add(len as u64);
        self.waiting = true;
    }

    /// A ping is wanted. Returns whether one is to be sent: not if another waits for its answer.
    pub(super) fn ask(&mut self, now: Instant) -> bool {
        let is_first = self.asked.is_none();
        self.asked.get_or_insert(now);
        is_first
    }

    /// Something has come. Returns when the ping was sent that it may be the answer to.
    #[expect(clippy::disallowed_methods, reason = "it goes on while the machine sleeps")]
    pub(super) fn heard(&mut self, now: Instant) -> Option<Instant> {
        self.heard = now;
        self.heard_at = SystemTime::now();
        self.unheard = None;
        let asked = self.asked.take();
        // (It may have been asked for another reason, which says nothing of when it is to be asked again.)
        let was_due = asked.is_some_and(|asked| self.again.is_none_or(|again| again <= asked));
        if self.waiting && was_due {
            self.interval = (self.interval * 2).min(MOST_INTERVAL);
            self.again = Some(now + self.interval);
        }
        asked
    }

    /// Whether the peer was silent for so long that it is to be asked first.
    pub(super) fn is_quiet(&self, now: Instant) -> bool {
        let asleep = self.heard_at.elapsed().unwrap_or_default();
        now.saturating_duration_since(self.heard).max(asleep) >= QUIET
    }

    /// When a ping is to be sent because data go unanswered.
    fn due(&self) -> Option<Instant> {
        match self.asked {
            Some(_) => None,
            None => self.unheard.map(|(since, _)| since + PING_AFTER).or(self.again),
        }
    }

    /// Whether so few bytes are on their way that the silence of the peer says something.
    fn is_little_unheard(&self) -> bool {
        self.unheard.is_none_or(|(_, bytes)| bytes < UNHEARD)
    }

    /// Whether the silence since the ping can have no other reason than a way that does not work, once
    /// somebody else has had an answer.
    fn is_mute(&self, now: Instant) -> bool {
        let asked_long_ago = |asked| now.saturating_duration_since(asked) >= DEAD;
        self.is_little_unheard() && self.asked.is_some_and(asked_long_ago)
    }

    /// Whether the connection begins with a ping whose answer is to show that the way works. A session that
    /// went with the handshake may be answered before it.
    pub(super) fn prove(&mut self, now: Instant, nothing_is_asked: bool) {
        self.proof_due = nothing_is_asked;
        self.ask(now);
    }

    /// Payload has come. Returns whether the peer has not answered a ping that it got before, as `pong_came`
    /// tells.
    pub(super) fn note_payload(&mut self, pong_came: bool) -> bool {
        self.waiting = false;
        self.again = None;
        self.interval = PING_AFTER;
        std::mem::take(&mut self.proof_due) && !pong_came
    }

    /// What is to be done about a peer that is silent.
    pub(super) fn check(&mut self, now: Instant, seen: &Seen) -> Check {
        if seen.is_read && !self.was_read {
            // The peer was not listened to, so its silence up to now says nothing.
            self.asked = self.asked.map(|_| now);
        }
        self.was_read = seen.is_read;
        let mut check = Check::default();
        if !seen.is_deaf && seen.has_sessions && self.due().is_some_and(|due| due <= now) {
            self.ask(now);
            check.ping = true;
        }
        let asked = self.asked.filter(|_| !seen.is_deaf);
        let late = asked.filter(|asked| now.saturating_duration_since(*asked) >= seen.pong_timeout);
        if late.is_some() != self.doubtful {
            self.doubtful = late.is_some();
            check.doubtful = Some(self.doubtful);
            self.another = None;
        }
        let held_until = seen.held_since.map(|since| since + seen.pong_timeout);
        check.give_back = late.is_some() || held_until.is_some_and(|until| until <= now);
        check.again = match (asked, late) {
            (None, _) if seen.is_deaf || !seen.has_sessions => None,
            (None, _) => self.due(),
            (Some(asked), None) => Some(asked + seen.pong_timeout),
            (Some(_), Some(_)) => None,
        };
        if !check.give_back {
            check.again = check.again.into_iter().chain(held_until).min();
        }
        if let Some(asked) = late
            && seen.is_read
            && seen.has_sessions
            && self.is_little_unheard()
        {
            check.again = Some(now + TICK);
            let (at, wait) = self.another.unwrap_or((now, ANOTHER.0));
            if at <= now {
                self.another = Some((now + wait, (wait * 2).min(ANOTHER.1)));
                check.want_another = Some(asked);
            }
            check.mute_since = self.is_mute(now).then_some(asked);
        }
        check
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
        assert!(!liveness.note_payload(false));
        assert_eq!(liveness.due(), None, "an idle connection is left alone");
    }

    /// A connection that takes new sessions is asked before each of them; and one may go on for years.
    #[tokio::test(start_paused = true)]
    async fn answers_that_are_not_of_data_delay_no_ping_and_no_number_of_them_is_too_many() {
        let start = Instant::now();
        let mut liveness = Liveness::new(start);
        liveness.sent(100);
        for n in 0..200 {
            liveness.ask(start + n * MS);
            assert_eq!(liveness.heard(start + n * MS), Some(start + n * MS));
        }
        assert!(liveness.due().is_some_and(|due| due <= start + 3 * PING_AFTER), "{:?}", liveness.due());
        for _ in 0..200 {
            let due = liveness.due().unwrap();
            liveness.ask(due);
            liveness.heard(due);
            assert!(liveness.due().is_some_and(|next| next <= due + MOST_INTERVAL));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_byte_proves_life_and_much_on_the_way_proves_nothing() {
        let start = Instant::now();
        let mut liveness = Liveness::new(start);
        liveness.sent(100);
        liveness.ask(start);
        assert!(!liveness.is_mute(start + DEAD - MS));
        assert!(liveness.is_mute(start + DEAD));
        liveness.check(start + DEAD, &Seen { is_read: false, ..seen() });
        liveness.check(start + DEAD, &seen());
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

    fn seen() -> Seen {
        Seen {
            is_read: true,
            has_sessions: true,
            held_since: None,
            is_deaf: false,
            pong_timeout: Duration::from_secs(1),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_is_asked_then_doubted_and_then_taken_for_dead() {
        let start = Instant::now();
        let mut liveness = Liveness::new(start);
        liveness.sent(100);
        assert_eq!(
            liveness.check(start, &seen()),
            Check { again: Some(start + PING_AFTER), ..Check::default() }
        );
        let asked = start + PING_AFTER;
        let timeout = seen().pong_timeout;
        let check = liveness.check(asked, &seen());
        assert_eq!(check, Check { ping: true, again: Some(asked + timeout), ..Check::default() });
        let late = asked + timeout;
        let check = liveness.check(late, &seen());
        assert_eq!((check.doubtful, check.want_another, check.mute_since), (Some(true), Some(asked), None));
        assert!(check.give_back && !check.ping);
        let check = liveness.check(asked + DEAD, &seen());
        assert_eq!((check.doubtful, check.mute_since), (None, Some(asked)));
        assert_eq!(liveness.heard(asked + DEAD), Some(asked));
        assert_eq!(liveness.check(asked + DEAD, &seen()).doubtful, Some(false));
    }

    #[tokio::test(start_paused = true)]
    async fn the_silence_of_a_peer_that_is_not_read_says_nothing() {
        let start = Instant::now();
        let mut liveness = Liveness::new(start);
        liveness.sent(100);
        liveness.ask(start);
        let unread = Seen { is_read: false, ..seen() };
        assert_eq!(liveness.check(start + DEAD, &unread).mute_since, None);
        let check = liveness.check(start + 2 * DEAD, &seen());
        assert_eq!((check.mute_since, check.doubtful), (None, Some(false)), "its time begins anew");
        assert_eq!(liveness.check(start + 3 * DEAD, &seen()).mute_since, Some(start + 2 * DEAD));
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_are_not_held_for_long_though_no_ping_is_out() {
        let start = Instant::now();
        let mut liveness = Liveness::new(start);
        let held = Seen { held_since: Some(start), has_sessions: false, is_deaf: true, ..seen() };
        let check = liveness.check(start, &held);
        assert_eq!(check, Check { again: Some(start + held.pong_timeout), ..Check::default() });
        assert!(liveness.check(start + held.pong_timeout, &held).give_back);
    }

    #[tokio::test(start_paused = true)]
    async fn payload_before_the_pong_shows_a_deaf_peer_once() {
        let start = Instant::now();
        let mut liveness = Liveness::new(start);
        liveness.prove(start, true);
        assert!(liveness.note_payload(false));
        assert!(!liveness.note_payload(false));
        liveness.prove(start, true);
        assert!(!liveness.note_payload(true), "the pong came first");
        liveness.prove(start, false);
        assert!(!liveness.note_payload(false), "the payload answers what went with the handshake");
    }
}
