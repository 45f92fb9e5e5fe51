//! Pings on a connection on which nothing passes, which keep it in the memory of proxies and home routers.
//!
//! Some of them look at one direction, such as the time between two reads from the server. So a ping is due
//! when either has been silent for a while: it moves the one, and the pong moves the other. Each silence is a
//! little shorter than the time that was set, and no two are the same: a clock would show.

use std::time::Duration;
use tokio::time::Instant;

/// How long a server whose kernel acknowledges nothing may be silent: as long as the kernel's own keep-alive
/// waits for it (`net::tcp`).
const DEAD: Duration = Duration::from_secs(240);

/// When pings are due.
#[derive(Debug)]
pub(super) struct KeepAlive {
    /// The longest silence, in seconds.
    every: u32,
    /// By how much the next one is shorter: 0 is not at all, and the most is a fifth.
    shorter: u16,
    /// When anything was sent last.
    sent: Instant,
    /// When anything has come last.
    heard: Instant,
    /// A ping is out, and nothing has come since.
    asked: bool,
    /// A ping is to be sent.
    pub(super) ping_due: bool,
}

impl KeepAlive {
    /// For a connection that has just been made.
    pub(super) fn new(every: Duration) -> KeepAlive {
        let now = Instant::now();
        let every = u32::try_from(every.as_secs()).unwrap_or(u32::MAX);
        KeepAlive { every, shorter: rand::random(), sent: now, heard: now, asked: false, ping_due: false }
    }

    /// Something was sent.
    pub(super) fn note_sent(&mut self) {
        self.sent = Instant::now();
    }

    /// Something has come.
    pub(super) fn note_heard(&mut self) {
        self.heard = Instant::now();
        self.asked = false;
    }

    /// A ping was sent, for whatever reason.
    pub(super) fn note_asked(&mut self) {
        self.note_sent();
        self.asked = true;
    }

    /// Nothing that was before counts any more.
    pub(super) fn begin_anew(&mut self, now: Instant) {
        (self.sent, self.heard, self.asked) = (now, now, false);
    }

    /// When the next ping is due.
    pub(super) fn due(&self) -> Instant {
        let oldest = if self.asked { self.sent } else { self.sent.min(self.heard) };
        let shorter = self.every() / 5 * self.shorter.into() / u16::MAX.into();
        oldest + self.every() - shorter
    }

    fn every(&self) -> Duration {
        Duration::from_secs(self.every.into())
    }

    /// The time has come: a ping is to be sent. Returns how long the peer has been silent, if that is so long
    /// that the way to it may be dead.
    pub(super) fn reach(&mut self, now: Instant) -> Option<Duration> {
        self.ping_due = true;
        self.asked = true;
        self.sent = now;
        self.shorter = rand::random();
        let suspect = DEAD.max(self.every() * 2);
        Some(now.saturating_duration_since(self.heard)).filter(|silence| *silence >= suspect).map(|_| suspect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    const EVERY: Duration = Duration::from_secs(45);
    const LEAST: Duration = Duration::from_secs(36);

    #[tokio::test(start_paused = true)]
    async fn either_direction_brings_a_ping_and_both_put_it_off() {
        let mut alive = KeepAlive::new(EVERY);
        let start = Instant::now();
        let in_time =
            |alive: &KeepAlive, since: Instant| (since + LEAST..=since + EVERY).contains(&alive.due());
        assert!(in_time(&alive, start));
        advance(LEAST / 2).await;
        alive.note_sent();
        assert!(in_time(&alive, start), "nothing has come");
        advance(LEAST / 4).await;
        alive.note_heard();
        assert!(in_time(&alive, start + LEAST / 2), "nothing was sent since");
        alive.note_sent();
        assert!(in_time(&alive, Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn silences_differ_and_none_is_longer_than_was_set() {
        let mut alive = KeepAlive::new(EVERY);
        let mut silences = std::collections::HashSet::new();
        for _ in 0..64 {
            let began = Instant::now();
            let silence = alive.due() - began;
            assert!((LEAST..=EVERY).contains(&silence), "{silence:?}");
            silences.insert(silence);
            advance(silence).await;
            assert_eq!(alive.reach(Instant::now()), None);
            assert!(std::mem::take(&mut alive.ping_due));
            alive.note_heard();
        }
        assert!(silences.len() > 50, "64 silences had {} lengths", silences.len());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn it_is_small_as_every_tunnel_has_one() {
        assert!(size_of::<Option<KeepAlive>>() <= 40, "{}", size_of::<Option<KeepAlive>>());
    }

    /// A peer that answers nothing is asked no more often, and is suspect after four minutes, or two silences.
    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_is_suspect_after_a_while() {
        for (every, suspect) in [(1, 240), (45, 240), (600, 1200)] {
            let mut alive = KeepAlive::new(Duration::from_secs(every));
            let suspect = Duration::from_secs(suspect);
            let mut silent = Duration::ZERO;
            loop {
                let silence = alive.due() - Instant::now();
                assert!(silence >= Duration::from_millis(every * 800), "{silence:?}");
                advance(silence).await;
                silent += silence;
                let told = alive.reach(Instant::now());
                assert_eq!(told, (silent >= suspect).then_some(suspect), "after {silent:?}");
                if told.is_some() {
                    break;
                }
            }
            alive.note_heard();
            advance(alive.due() - Instant::now()).await;
            assert_eq!(alive.reach(Instant::now()), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_before_can_be_forgotten() {
        let mut alive = KeepAlive::new(EVERY);
        advance(10 * EVERY).await;
        alive.begin_anew(Instant::now());
        assert!(alive.due() >= Instant::now() + LEAST);
    }
}
